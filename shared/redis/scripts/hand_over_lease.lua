#!lua flags=allow-oom
-- Replaces a drain's lease by one that waits: for the next job of the lane (the drain's turn is over), or for some time
-- (Postgres is away), after which the sweeper wakes the lane. Allowed on a full Redis, like all that a drain needs.
--
-- KEYS[1] lane's lease
-- ARGV[1] job id that holds it   ARGV[2] the new value   ARGV[3] lease, milliseconds
--
-- Returns 1 if it was replaced, 0 if another drain holds the lease.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= 'running:' .. ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
