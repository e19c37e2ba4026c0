-- Hands a dead letter back to its lane: appends it as an entry that carries the id under which it was first accepted,
-- counts it in the backlog, claims the wake-up. All that append.lua does once it has let a submission in; the bounds
-- are the caller's own, lower ones, so that what is retried leaves room for what comes.
--
-- KEYS[1] lane's stream          KEYS[2] lane's lease
-- KEYS[3] lane's backlog         KEYS[4] lane's ready marker
--
-- ARGV[1] 'ask' (is there room?), 'append'
-- ARGV[2] job id of the wake-up, should this call have to claim it
-- ARGV[3] lease of a claimed wake-up, milliseconds
-- ARGV[4] bound of the backlog over all lanes, bytes
-- ARGV[5] bound of one connector's part of it, bytes
-- ARGV[6] largest sequence of an entry id within a millisecond
-- ARGV[7] connector   ARGV[8] bytes that the entry counts in the backlog
-- and to append: ARGV[9] meta   ARGV[10] count   ARGV[11] body   ARGV[12] the entry's first id
--
-- Returns {word, woken}: 'ok', 'full' (nothing was done) or 'not_ready' (this Redis has not been loaded); woken is 1
-- where the caller must enqueue the job of ARGV[2].

local stream, lease, backlog, ready = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local connector, cost = ARGV[7], tonumber(ARGV[8])
if redis.call('EXISTS', ready) == 0 or redis.call('EXISTS', stream) == 0 then return {'not_ready', 0} end

local sizes = redis.call('HMGET', backlog, 'bytes', 'elsewhere', 'c:' .. connector)
local bytes, elsewhere, part = tonumber(sizes[1]) or 0, tonumber(sizes[2]) or 0, tonumber(sizes[3]) or 0
if bytes + elsewhere + cost > tonumber(ARGV[4]) or part + cost > tonumber(ARGV[5]) then return {'full', 0} end
if ARGV[1] == 'ask' then return {'ok', 0} end

local id = redis.call('XADD', stream, '*', 'c', connector, 'm', ARGV[9], 'n', ARGV[10], 'b', ARGV[11], 'o', ARGV[12])
-- This id is nobody's request id, but the next one may be: see append.lua.
local milliseconds, sequence = string.match(id, '^(%d+)-(%d+)$')
if tonumber(sequence) >= tonumber(ARGV[6]) then
  redis.call('XSETID', stream, string.format('%.0f-0', milliseconds + 1))
end
redis.call('HSET', backlog,
  'bytes', string.format('%.0f', bytes + cost), 'c:' .. connector, string.format('%.0f', part + cost))
local woken = redis.call('SET', lease, 'queued:' .. ARGV[2], 'NX', 'PX', ARGV[3])
return {'ok', woken and 1 or 0}
