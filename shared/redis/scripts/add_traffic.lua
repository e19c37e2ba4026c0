-- Adds what one process has counted to the counts of the minute, by Redis' clock, and keeps the last refusals.
--
-- KEYS[1] counts: by minute (minutes since 1970), connector and, of refusals, code   KEYS[2] refusals, the newest last
-- ARGV[1] fields from which on counts are of the hour   ARGV[2] fields from which on nothing new is counted
-- ARGV[3] maximum refusals   ARGV[4] place of the counter that is no sum but a maximum
-- ARGV[5] counters in JSON, by `<connector>` or `<connector> <code>`
-- ARGV[6] and on: refusals, each in JSON
--
-- Returns the fields of the counts.

-- include: typed
local fields = redis.call('HLEN', typed(KEYS[1], 'hash'))
local minute = math.floor(redis.call('TIME')[1] / 60)
if fields >= tonumber(ARGV[1]) then minute = minute - minute % 60 end
local is_full, largest = fields >= tonumber(ARGV[2]), tonumber(ARGV[4])
for name, added in pairs(cjson.decode(ARGV[5])) do
  local field = string.format('%.0f %s', minute, name)
  local known, place = redis.call('HGET', KEYS[1], field), 0
  if known or not is_full then
    for number in string.gmatch(known or '', '%d+') do
      place = place + 1
      local one = added[place] or 0
      added[place] = place == largest and math.max(tonumber(number), one) or tonumber(number) + one
    end
    for i, number in ipairs(added) do added[i] = string.format('%.0f', number) end
    redis.call('HSET', KEYS[1], field, table.concat(added, ' '))
  end
end
if ARGV[6] then
  typed(KEYS[2], 'list')
  for i = 6, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end
  redis.call('LTRIM', KEYS[2], -tonumber(ARGV[3]), -1)
end
return redis.call('HLEN', KEYS[1])
