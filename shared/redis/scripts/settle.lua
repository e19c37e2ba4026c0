#!lua flags=allow-oom
-- Removes applied entries from their lane and their bytes from the backlog. An entry that is no longer in the stream
-- changes nothing. Allowed on a full Redis: this is what makes room.
--
-- KEYS[1] lane's stream   KEYS[2] lane's backlog   KEYS[3] lane's large entries
-- ARGV[1] group, then for each entry: id, connector, cost (bytes, as counted when it was appended)
--
-- Returns how many entries this call removed.

local settled, freed, parts = 0, 0, {}
local has_large = redis.call('EXISTS', KEYS[3]) == 1
for i = 2, #ARGV, 3 do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  if has_large then redis.call('XDEL', KEYS[3], ARGV[i]) end
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then
    local connector, cost = ARGV[i + 1], tonumber(ARGV[i + 2])
    settled = settled + 1
    freed = freed + cost
    parts[connector] = (parts[connector] or 0) + cost
  end
end

-- Adds to a counter and returns it; one that is no number was written by hand, and is deleted: the sweeper counts again.
local function add(field, number)
  local sum = redis.pcall('HINCRBY', KEYS[2], field, string.format('%.0f', number))
  if type(sum) == 'number' then return sum end
  redis.pcall('HDEL', KEYS[2], field)
  return 0
end

-- Former versions and operators remove entries from the stream alone.
if has_large and redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[3]) end
if freed > 0 then add('bytes', -freed) end
-- By this the sweeper sees that the lane moves.
if settled > 0 then add('settled', settled) end
for connector, part in pairs(parts) do
  -- A connector with nothing in the backlog has no field, so the hash does not grow forever.
  if add('c:' .. connector, -part) <= 0 then
    redis.call('HDEL', KEYS[2], 'c:' .. connector)
  end
end
return settled
