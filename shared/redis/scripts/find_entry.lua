#!lua flags=allow-oom
-- Finds a submission that is still in its lane, without its body.
--
-- KEYS[1] lane's stream
-- ARGV[1] entry id
--
-- Returns {connector, meta, count}, or nothing if the lane does not hold it (any more).

local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then return false end
local fields = {}
for i = 1, #found[2], 2 do fields[found[2][i]] = found[2][i + 1] end
return {fields.c, fields.m, fields.n}
