-- Gives a lane's lease back, unless the lane has work: then the drain must go on. Appends happen before or after this
-- script, never within it, so an entry is either seen here or its append finds no lease and claims the wake-up.
--
-- KEYS[1] lane's stream   KEYS[2] lane's lease   KEYS[3] lane's retry marker
-- ARGV[1] job id
--
-- Returns 1 if the lease is gone or another drain's, 0 if the lane still has entries or letters to retry.

if redis.call('GET', KEYS[2]) ~= 'running:' .. ARGV[1] then return 1 end
if redis.call('XLEN', KEYS[1]) > 0 or redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
redis.call('DEL', KEYS[2])
return 1
