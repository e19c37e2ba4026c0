#!lua flags=allow-oom
-- Takes or renews the right to drain a lane. A lease that is only queued may be taken by whichever job comes first; one
-- that another drain holds may not. A full Redis allows it: drains make room.
--
-- KEYS[1] lane's lease
-- ARGV[1] job id   ARGV[2] lease, milliseconds
--
-- Returns 1 where the job holds the lease now, else 0.

local holder = redis.call('GET', KEYS[1])
local mine = 'running:' .. ARGV[1]
if holder and holder ~= mine and string.sub(holder, 1, 8) == 'running:' then return 0 end
redis.call('SET', KEYS[1], mine, 'PX', ARGV[2])
return 1
