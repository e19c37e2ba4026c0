#!lua flags=allow-oom
-- Reads the state of a lane and changes nothing. The first entry is not touched if it is large: XRANGE and XINFO STREAM
-- copy the body, up to 30 MB.
--
-- KEYS[1] lane's stream   KEYS[2] lane's lease   KEYS[3] lane's backlog   KEYS[4] lane's ready marker
-- KEYS[5] lane's large entries
-- ARGV[1] group
--
-- Returns {ready, entries, bytes, lease, lease left, age}: ready is 0 or 1; lease is '' if there is none; the lease's
-- remaining time and the oldest entry's age are in milliseconds, -1 if there is none.

local ready = redis.call('EXISTS', KEYS[4]) == 1 and redis.call('EXISTS', KEYS[1]) == 1

-- Returns the id of the first entry. Pending ones were delivered before all others; none of those is settled.
local function first_entry()
  local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])
  if pending[1] and pending[1] > 0 then return pending[2] end
  local after = '-'
  for _, group in ipairs(ready and redis.call('XINFO', 'GROUPS', KEYS[1]) or {}) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then after = '(' .. group[i + 1] end
    end
  end
  local large = redis.call('XRANGE', KEYS[5], after, '+', 'COUNT', 1)[1]
  local first = redis.call('XRANGE', KEYS[1], after, large and '(' .. large[1] or '+', 'COUNT', 1)[1] or large
  return first and first[1]
end

local lease = redis.call('GET', KEYS[2])
local age, first = -1, first_entry()
if first then
  local time = redis.call('TIME')
  age = math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(string.match(first, '^%d+')))
end
return {
  ready and 1 or 0,
  redis.call('XLEN', KEYS[1]),
  tonumber(redis.call('HGET', KEYS[3], 'bytes')) or 0,
  lease or '',
  lease and redis.call('PTTL', KEYS[2]) or -1,
  age,
}
