-- Marks a lane ready after its credentials were compared with Postgres: its stream and group exist, and the stream's ids
-- start above what Postgres has applied. The marker names the server, so that it is worth nothing on a replica that is
-- promoted with a copy of it.
--
-- KEYS[1] lane's loading token   KEYS[2] lane's ready marker   KEYS[3] lane's revision   KEYS[4] lane's stream
-- KEYS[5] lane's backlog: its `era` counts the servers, so that no two in a row give the same ids (append.lua)
-- ARGV[1] token   ARGV[2] marker: the server, and the number of lanes if it was doubled
-- ARGV[3] revision that Postgres had before the credentials were read
-- ARGV[4] group   ARGV[5] milliseconds of the highest applied version   ARGV[6] its sequence
--
-- Returns 1, or 0 if the token is gone or another loader's: read Postgres again.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end

-- include: typed
redis.pcall('XGROUP', 'CREATE', typed(KEYS[4], 'stream'), ARGV[4], '0', 'MKSTREAM') -- BUSYGROUP: it exists
local floor, floor_sequence = tonumber(ARGV[5]), tonumber(ARGV[6])
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
if is_below(redis.call('XINFO', 'GROUPS', KEYS[4])[1], 'last-delivered-id')
  and is_below(redis.call('XINFO', 'STREAM', KEYS[4]), 'last-generated-id') then
  redis.call('XSETID', KEYS[4], ARGV[5] .. '-' .. ARGV[6])
end
if redis.pcall('GET', KEYS[2]) ~= ARGV[2] then redis.pcall('HINCRBY', KEYS[5], 'era', 1) end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SET', KEYS[3], ARGV[3])
redis.call('DEL', KEYS[1])
return 1
