-- Reads a slice of a lane for its drain: entries in order until a bound is reached, so that a worker's memory is bounded
-- whatever the sizes of entries. The last entry may pass the bound: an entry larger than the bound is read too.
--
-- KEYS[1] lane's stream
-- ARGV[1] group   ARGV[2] consumer
-- ARGV[3] '>' for entries never delivered; else what is pending after this id ('0': from the first)
-- ARGV[4] maximum entries   ARGV[5] items or log entries, ARGV[6] bytes at which to stop
-- ARGV[7] for '>': the last id that the caller has read and not settled, '' for none. If anything else is pending
--         (another drain has read it, or a reply was lost), nothing new is returned: that must be applied first.
-- ARGV[8] largest milliseconds, ARGV[9] largest sequence of an id that a version can hold
--
-- Returns {entries, deleted}: {{id, {field, value, …}}, …}, and the ids of entries that a version can't hold. These were
-- added by hand, since append.lua makes no such ids; they can't be applied or kept as dead letters, and are deleted.
-- Raises NOGROUP if the stream or its group is gone.

local entries, deleted, rows, bytes, after = {}, {}, 0, 0, ARGV[3]
local max_milliseconds, max_sequence = tonumber(ARGV[8]), tonumber(ARGV[9])
if after == '>' then
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1])
  if pending[1] > 0 and pending[3] ~= ARGV[7] then return {entries, deleted} end
end
while #entries < tonumber(ARGV[4]) and rows < tonumber(ARGV[5]) and bytes < tonumber(ARGV[6]) do
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], after)
  local entry = reply and reply[1] and reply[1][2][1]
  if not entry then break end
  if after ~= '>' then after = entry[1] end
  local milliseconds, sequence = string.match(entry[1], '^(%d+)-(%d+)$')
  if tonumber(milliseconds) > max_milliseconds or tonumber(sequence) > max_sequence then
    redis.call('XACK', KEYS[1], ARGV[1], entry[1])
    redis.call('XDEL', KEYS[1], entry[1])
    deleted[#deleted + 1] = entry[1]
  elseif entry[2] then
    for i = 1, #entry[2], 2 do
      bytes = bytes + #entry[2][i + 1]
      if entry[2][i] == 'n' then rows = rows + (tonumber(entry[2][i + 1]) or 0) end
    end
    entries[#entries + 1] = entry
  else
    -- Pending, but no longer in the stream: it was deleted by hand. Nothing is left to apply.
    redis.call('XACK', KEYS[1], ARGV[1], entry[1])
  end
end
return {entries, deleted}
