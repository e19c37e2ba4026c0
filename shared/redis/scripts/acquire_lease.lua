#!lua flags=allow-oom
-- Takes or renews the lease of a lane. Any job may take a lease that is only queued, but not one that another drain
-- holds. Allowed on a full Redis: drains make room.
--
-- KEYS[1] lane's lease   KEYS[2] lane's retry marker
-- ARGV[1] job id   ARGV[2] lease, milliseconds
--
-- Returns {held, retry}: held is 1 if the job holds the lease now, retry is 1 if dead letters are to be retried.

local holder = redis.call('GET', KEYS[1])
local mine = 'running:' .. ARGV[1]
if holder and holder ~= mine and string.sub(holder, 1, 8) == 'running:' then return {0, 0} end
redis.call('SET', KEYS[1], mine, 'PX', ARGV[2])
return {1, redis.call('EXISTS', KEYS[2])}
