#!lua flags=allow-oom
-- Deletes credentials and hooks of a connector and records the generation that revoked them, so that a loader which read
-- Postgres before cannot bring them back. Allowed in a full Redis: a rotation must not wait for memory.
--
-- KEYS[1] lane's generations   KEYS[2] lane's key ids   KEYS[3] lane's revision
-- then each credential or hook
-- ARGV[1] connector   ARGV[2] generation
-- then their key ids or hooks' ids
--
-- Returns 1, or 0 if a newer generation is known here: another key of the connector may be stored.

-- include: typed

local known = tonumber(redis.call('HGET', typed(KEYS[1], 'hash'), ARGV[1]) or 0) or 0 -- 0: written by hand
if known < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
typed(KEYS[2], 'set')
redis.call('DEL', KEYS[3])
for i = 3, #ARGV do
  redis.call('SREM', KEYS[2], ARGV[i])
  redis.call('DEL', KEYS[i + 1])
end
return known > tonumber(ARGV[2]) and 0 or 1
