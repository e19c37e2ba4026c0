-- Stores a connector's credential or one of its hooks, unless a newer generation of that connector is known here.
--
-- KEYS[1] lane's generations   KEYS[2] lane's key ids   KEYS[3] credential   KEYS[4] lane's revision
-- ARGV[1] connector   ARGV[2] generation   ARGV[3] digest, hex   ARGV[4] rate, tokens a second   ARGV[5] burst
-- ARGV[6] key id, or hook's id   ARGV[7] hook, '' of a credential
-- ARGV[8] '1' to lower a newer generation: the caller holds the connector's lock in Postgres
--
-- Returns 1 if it was stored, 0 if it was too old.

-- include: typed

local known = tonumber(redis.call('HGET', typed(KEYS[1], 'hash'), ARGV[1]) or 0) or 0 -- 0: written by hand
if ARGV[8] ~= '1' and known > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('SADD', typed(KEYS[2], 'set'), ARGV[6])
redis.call('HSET', typed(KEYS[3], 'hash'), 'connector', ARGV[1], 'digest', ARGV[3], 'rate', ARGV[4], 'burst', ARGV[5])
if ARGV[7] ~= '' then redis.call('HSET', KEYS[3], 'hook', ARGV[7]) end
redis.call('DEL', KEYS[4])
return 1
