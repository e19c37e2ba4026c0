#!lua flags=allow-oom
-- Reads the state of a lane and changes nothing. The age of the first entry is computed here: XRANGE and XINFO would
-- send its body to the client, up to 30 MB.
--
-- KEYS[1] lane's stream   KEYS[2] lane's lease   KEYS[3] lane's backlog   KEYS[4] lane's ready marker
--
-- Returns {ready, entries, bytes, lease, lease left, age}: ready is 0 or 1; lease is '' if there is none; the lease's
-- remaining time and the oldest entry's age are in milliseconds, -1 if there is none.

local ready = redis.call('EXISTS', KEYS[4]) == 1 and redis.call('EXISTS', KEYS[1]) == 1
local lease = redis.call('GET', KEYS[2])
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local age = -1
if first then
  local time = redis.call('TIME')
  age = math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(string.match(first[1], '^%d+')))
end
return {
  ready and 1 or 0,
  redis.call('XLEN', KEYS[1]),
  tonumber(redis.call('HGET', KEYS[3], 'bytes')) or 0,
  lease or '',
  lease and redis.call('PTTL', KEYS[2]) or -1,
  age,
}
