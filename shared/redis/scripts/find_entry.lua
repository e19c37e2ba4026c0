#!lua flags=allow-oom
-- Finds a submission that is still in its lane, without its body. A large entry is not touched, since it would be copied.
--
-- KEYS[1] lane's stream   KEYS[2] lane's large entries
-- ARGV[1] entry id   ARGV[2] group
--
-- Returns {connector, meta, count}, or nothing if the lane does not hold it (any more), or holds one without these
-- fields, which no script of ours has written.

-- Whether the stream still holds an entry that it held once: nothing leaves it before it was delivered, and then it is
-- pending until it leaves.
local function is_unsettled(id)
  local pending = redis.pcall('XPENDING', KEYS[1], ARGV[2], id, id, 1)
  if pending.err or pending[1] then return true end
  local milliseconds, sequence = string.match(id, '^(%d+)-(%d+)$')
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then
        local last, last_sequence = string.match(group[i + 1], '^(%d+)-(%d+)$')
        milliseconds, last = tonumber(milliseconds), tonumber(last)
        return milliseconds > last or (milliseconds == last and tonumber(sequence) > tonumber(last_sequence))
      end
    end
  end
end

local found = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1]
if found and not is_unsettled(ARGV[1]) then return false end
found = found or redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then return false end
local fields = {}
for i = 1, #found[2], 2 do fields[found[2][i]] = found[2][i + 1] end
return fields.c and fields.m and fields.n and {fields.c, fields.m, fields.n}
