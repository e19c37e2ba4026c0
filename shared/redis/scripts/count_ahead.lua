#!lua flags=allow-oom
-- Counts the entries of a lane before one of them, for an operator. Bodies stay in the server, and large ones are not
-- copied there either.
--
-- KEYS[1] lane's stream   KEYS[2] lane's large entries
-- ARGV[1] entry id   ARGV[2] maximum count
--
-- Returns the count.

local ahead, from, most = 0, '-', tonumber(ARGV[2])

-- Counts the small entries from `from` to before an id. One at a time: a former version's may be large.
local function count_small(before)
  while ahead < most do
    local found = redis.call('XRANGE', KEYS[1], from, '(' .. before, 'COUNT', 1)[1]
    if not found then return end
    ahead, from = ahead + 1, '(' .. found[1]
  end
end

for _, large in ipairs(redis.call('XRANGE', KEYS[2], '-', '(' .. ARGV[1])) do
  count_small(large[1])
  ahead, from = ahead + 1, '(' .. large[1]
end
count_small(ARGV[1])
return math.min(ahead, most)
