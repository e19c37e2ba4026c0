-- Takes a credential out and remembers the generation that did it, so that no older reading of Postgres, still on its
-- way here, can put the credential back.
--
-- KEYS[1] lane's generations   KEYS[2] credential
-- ARGV[1] connector   ARGV[2] generation
--
-- Returns 1.

if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
redis.call('DEL', KEYS[2])
return 1
