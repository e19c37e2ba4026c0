#!lua flags=allow-oom
-- Sets counts and refusals aside to be moved to Postgres, unless a move is under way: that one is finished first.
--
-- KEYS[1] counts   KEYS[2] refusals   KEYS[3] counts that are being moved   KEYS[4] refusals that are being moved
-- ARGV[1] id of a new move: Postgres remembers the last one, so that nothing is added twice
--
-- Returns the id of the move; nothing if there is nothing to move. The caller deletes what it has moved.

-- include: typed
local moving = redis.call('HGET', typed(KEYS[3], 'hash'), 'move')
if moving then return moving end
if redis.call('EXISTS', typed(KEYS[1], 'hash')) == 0 then return false end
redis.call('RENAME', KEYS[1], KEYS[3])
redis.call('HSET', KEYS[3], 'move', ARGV[1])
redis.call('DEL', KEYS[4])
if redis.call('EXISTS', typed(KEYS[2], 'list')) == 1 then redis.call('RENAME', KEYS[2], KEYS[4]) end
return ARGV[1]
