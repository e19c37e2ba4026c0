#!lua flags=allow-oom
-- Replaces a drain's lease by one that waits: for the next job of the lane (its holder's time is used up), or for a
-- while (Postgres is away), after which the sweeper wakes the lane. A full Redis allows it, as all that a drain needs.
--
-- KEYS[1] lane's lease
-- ARGV[1] job id that holds it   ARGV[2] the new value   ARGV[3] lease, milliseconds
--
-- Returns 1 where it was replaced, 0 where the lease was another's by now.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= 'running:' .. ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
