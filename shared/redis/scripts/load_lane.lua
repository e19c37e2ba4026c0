-- Stores a part of a lane's credentials. The loader's token is lost with Redis' memory, so what was read from Postgres
-- before a restart cannot be written after it.
--
-- KEYS[1] lane's loading token   KEYS[2] lane's generations   KEYS[3] lane's key ids
-- then for each row: its credential
-- ARGV[1] token
-- then for each row: connector, generation, digest, rate, burst, key id or hook's id, hook ('' of a credential)
--
-- Returns the connectors whose generation here is higher: a change is under way, or Postgres was restored. Returns
-- nothing if the token is gone or another loader's: read Postgres again.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end

-- include: typed

local ahead = {}
local generations, key_ids = typed(KEYS[2], 'hash'), typed(KEYS[3], 'set')
for i = 0, #KEYS - 4 do
  local a = 2 + i * 7
  local known = tonumber(redis.call('HGET', generations, ARGV[a]) or 0) or 0 -- 0: written by hand
  if known <= tonumber(ARGV[a + 1]) then
    redis.call('HSET', generations, ARGV[a], ARGV[a + 1])
    redis.call('SADD', key_ids, ARGV[a + 5])
    redis.call('HSET', typed(KEYS[4 + i], 'hash'),
      'connector', ARGV[a], 'digest', ARGV[a + 2], 'rate', ARGV[a + 3], 'burst', ARGV[a + 4])
    if ARGV[a + 6] ~= '' then redis.call('HSET', KEYS[4 + i], 'hook', ARGV[a + 6]) end
  else
    ahead[#ahead + 1] = ARGV[a]
  end
end
return ahead
