#!lua flags=allow-oom
-- Notes that a worker is alive, and names the workers that lately were. Allowed on a full Redis, since workers go on.
-- The time is the server's, so that clocks of machines need not agree; what is in the future was noted before the
-- server's clock was set back.
--
-- KEYS[1] workers by the time of their last report
-- ARGV[1] milliseconds for which a report counts   ARGV[2] name of the worker; '' to ask only
--
-- Returns the names of the workers that are alive.

-- include: typed
local time = redis.call('TIME')
local now, life = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[1])
if ARGV[2] ~= '' then
  redis.call('ZREMRANGEBYSCORE', typed(KEYS[1], 'zset'), '-inf', string.format('(%.0f', now - life))
  redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.0f', now + life), '+inf')
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[2])
end
return redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.0f', now - life), string.format('%.0f', now + life))
