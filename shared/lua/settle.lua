-- Takes applied entries out of their lane and gives their bytes back to the backlog. An entry that another drain has
-- settled already gives back nothing.
--
-- KEYS[1] lane's stream   KEYS[2] lane's backlog
-- ARGV[1] group, then for each entry: id, cost (bytes, as it was counted when it was appended)
--
-- Returns how many entries this call took out.

local settled, freed = 0, 0
for i = 2, #ARGV, 2 do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then
    settled = settled + 1
    freed = freed + tonumber(ARGV[i + 1])
  end
end
if freed > 0 then redis.call('HINCRBY', KEYS[2], 'bytes', string.format('%.0f', -freed)) end
return settled
