#!lua flags=allow-oom
-- Counts the entries of a lane before one of them, for an operator. Bodies stay in the server.
--
-- KEYS[1] lane's stream
-- ARGV[1] entry id   ARGV[2] maximum count
--
-- Returns the count.

local ahead, from, most = 0, '-', tonumber(ARGV[2])
while ahead < most do
  -- One at a time: a hundred entries may be three gigabytes.
  local found = redis.call('XRANGE', KEYS[1], from, '(' .. ARGV[1], 'COUNT', 1)[1]
  if not found then break end
  ahead = ahead + 1
  from = '(' .. found[1]
end
return ahead
