-- Recounts a lane's backlog from its entries and corrects the counters. Scripts change both in one step, so a difference
-- means that the stream was changed by hand.
--
-- KEYS[1] lane's stream   KEYS[2] lane's backlog
-- ARGV[1] bytes that an entry counts beside its body
-- ARGV[2] maximum entries, ARGV[3] maximum bytes to look at: Redis serves no other client meanwhile
--
-- Returns by how many bytes the counters were off; nothing if the lane is too large to look at now.

if redis.call('XLEN', KEYS[1]) > tonumber(ARGV[2]) then return false end
local known, counted = redis.call('HGETALL', KEYS[2]), 0
for i = 1, #known, 2 do
  -- What is no number was written by hand; as -1 it is corrected.
  known[i + 1] = tonumber(known[i + 1]) or -1
  if known[i] == 'bytes' then counted = known[i + 1] end
end

local bytes, parts, from = 0, {}, '-'
while true do
  local entry = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 1)[1]
  if not entry then break end
  from = '(' .. entry[1]
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  local cost, connector = #(fields.b or '') + tonumber(ARGV[1]), fields.c or '0' -- added by hand: without fields
  bytes = bytes + cost
  if bytes > tonumber(ARGV[3]) then return false end
  parts[connector] = (parts[connector] or 0) + cost
end

local off = math.abs(counted - bytes)
for i = 1, #known, 2 do
  local connector = string.match(known[i], '^c:(.+)$')
  if connector then
    off = math.max(off, math.abs(known[i + 1] - (parts[connector] or 0)))
    if not parts[connector] then redis.call('HDEL', KEYS[2], known[i]) end
  end
end
if off == 0 then return 0 end
redis.call('HSET', KEYS[2], 'bytes', string.format('%.0f', bytes))
for connector, part in pairs(parts) do
  redis.call('HSET', KEYS[2], 'c:' .. connector, string.format('%.0f', part))
end
return off
