-- Stores a part of a lane's credentials and, with the last part, marks the lane ready: its stream and group exist, and
-- the stream's ids start above what Postgres has applied. The loader's token is lost with Redis' memory, so what was
-- read from Postgres before a restart cannot be written after it.
--
-- KEYS[1] lane's loading token   KEYS[2] lane's ready marker   KEYS[3] lane's stream   KEYS[4] lane's generations
-- KEYS[5] lane's key ids
-- then for each row: its credential
-- ARGV[1] token   ARGV[2] '1' for the last part, else '0'
-- ARGV[3] group   ARGV[4] milliseconds of the highest applied version   ARGV[5] its sequence
-- then for each row: connector, generation, digest, rate, burst, key id
--
-- Returns 1, or 0 if the token is gone or another loader's: read Postgres again.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end

for i = 0, #KEYS - 6 do
  local a = 6 + i * 6
  local known = tonumber(redis.call('HGET', KEYS[4], ARGV[a]) or 0)
  if known <= tonumber(ARGV[a + 1]) then
    redis.call('HSET', KEYS[4], ARGV[a], ARGV[a + 1])
    redis.call('SADD', KEYS[5], ARGV[a + 5])
    redis.call('HSET', KEYS[6 + i],
      'connector', ARGV[a], 'digest', ARGV[a + 2], 'rate', ARGV[a + 3], 'burst', ARGV[a + 4])
  end
end
if ARGV[2] ~= '1' then return 1 end

redis.pcall('XGROUP', 'CREATE', KEYS[3], ARGV[3], '0', 'MKSTREAM') -- BUSYGROUP: it exists
local floor, floor_sequence = tonumber(ARGV[4]), tonumber(ARGV[5])
-- Whether an id among the members of a reply is below the floor.
local function is_below(reply, name)
  for i = 1, #reply, 2 do
    if reply[i] == name then
      local milliseconds, sequence = string.match(reply[i + 1], '^(%d+)-(%d+)$')
      milliseconds, sequence = tonumber(milliseconds), tonumber(sequence)
      return milliseconds < floor or (milliseconds == floor and sequence < floor_sequence)
    end
  end
end
-- XINFO STREAM copies the first entry and the last, so it is asked only if what was delivered is below the floor.
if is_below(redis.call('XINFO', 'GROUPS', KEYS[3])[1], 'last-delivered-id')
  and is_below(redis.call('XINFO', 'STREAM', KEYS[3]), 'last-generated-id') then
  redis.call('XSETID', KEYS[3], ARGV[4] .. '-' .. ARGV[5])
end
redis.call('SET', KEYS[2], '1')
redis.call('DEL', KEYS[1])
return 1
