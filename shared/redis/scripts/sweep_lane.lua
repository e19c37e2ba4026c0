-- Looks at a lane for the sweeper. Claims the wake-up if work waits and no drain holds the lease. Keeps the lease alive
-- while the lane's job is still queued (all workers are busy, or none runs), so that jobs don't pile up.
--
-- KEYS[1] lane's stream   KEYS[2] lane's lease   KEYS[3] lane's backlog   KEYS[4] lane's ready marker
-- KEYS[5] lane's retry marker   KEYS[6] lane's large entries
-- ARGV[1] job id of the wake-up, should it be claimed
-- ARGV[2] lease, milliseconds
-- ARGV[3] '1' if a job of this lane is queued
-- ARGV[4] bytes in the backlogs of all other lanes, for the append script's bound
-- ARGV[5] '1' if dead letters of this lane are to be retried   ARGV[6] life of the retry marker, milliseconds
-- ARGV[7] longest life of a lease, that of a paused lane, milliseconds
--
-- Repairs what no script of ours has written: keys of another type are deleted, a lease that lasts longer is shortened,
-- and an empty stream whose ids have grown too large (see append.lua) is deleted, so that the lane is loaded again.
--
-- Returns {ready, claimed, entries, bytes, settled}; ready and claimed are 0 or 1; settled is the number of entries that
-- ever left the lane.

local function of_type(key, reply)
  if type(reply) ~= 'table' or not reply.err then return reply end
  redis.call('DEL', key)
  return false
end

of_type(KEYS[6], redis.pcall('XLEN', KEYS[6]))
if not of_type(KEYS[3], redis.pcall('HSET', KEYS[3], 'elsewhere', ARGV[4])) then
  redis.call('HSET', KEYS[3], 'elsewhere', ARGV[4])
end
if redis.call('EXISTS', KEYS[4]) == 0 or redis.call('EXISTS', KEYS[1]) == 0 then return {0, 0, 0, 0, 0} end
local entries = of_type(KEYS[1], redis.pcall('XLEN', KEYS[1]))
if entries == 0 and redis.call('HDEL', KEYS[3], 'unusable') == 1 then
  redis.call('DEL', KEYS[1])
  entries = false
end
if not entries then return {0, 0, 0, 0, 0} end
if ARGV[5] == '1' then redis.call('SET', KEYS[5], '1', 'PX', ARGV[6]) end

local claimed = 0
if entries > 0 or ARGV[5] == '1' then
  local holder = of_type(KEYS[2], redis.pcall('GET', KEYS[2]))
  if holder then redis.call('PEXPIRE', KEYS[2], ARGV[7], 'LT') end
  if ARGV[3] == '1' and (not holder or string.sub(holder, 1, 7) == 'queued:') then
    redis.call('SET', KEYS[2], holder or 'queued:', 'PX', ARGV[2])
  elseif not holder then
    redis.call('SET', KEYS[2], 'queued:' .. ARGV[1], 'PX', ARGV[2])
    claimed = 1
  end
end
local counters = redis.call('HMGET', KEYS[3], 'bytes', 'settled')
return {1, claimed, entries, tonumber(counters[1]) or 0, tonumber(counters[2]) or 0}
