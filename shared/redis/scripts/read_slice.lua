-- Reads a slice of a lane for its drain: entries in order until a bound is reached, so that a worker's memory is bounded
-- whatever the sizes of entries. The last entry may pass the bound: an entry larger than the bound is read too.
--
-- KEYS[1] lane's stream
-- ARGV[1] group   ARGV[2] consumer
-- ARGV[3] '>' for entries never delivered; else what is pending after this id ('0': from the first)
-- ARGV[4] maximum entries   ARGV[5] items or log entries, ARGV[6] bytes at which to stop
-- ARGV[7] for '>': the last id that the caller has read and not settled, '' for none. If anything else is pending
--         (another drain has read it, or a reply was lost), nothing new is returned: that must be applied first.
--
-- Returns {{id, {field, value, …}}, …}. Raises NOGROUP if the stream or its group is gone.

local entries, rows, bytes, after = {}, 0, 0, ARGV[3]
if after == '>' then
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1])
  if pending[1] > 0 and pending[3] ~= ARGV[7] then return entries end
end
while #entries < tonumber(ARGV[4]) and rows < tonumber(ARGV[5]) and bytes < tonumber(ARGV[6]) do
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], after)
  local entry = reply and reply[1] and reply[1][2][1]
  if not entry then break end
  if after ~= '>' then after = entry[1] end
  if entry[2] then
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
return entries
