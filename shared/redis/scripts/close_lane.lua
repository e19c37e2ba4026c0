#!lua flags=allow-oom
-- Closes a lane to processes that work with fewer lanes, unless it was loaded for the new number already: connectors
-- that such a process looks for here are in another lane. A process that is loading it must read Postgres again.
--
-- KEYS[1] lane's ready marker   KEYS[2] lane's loading token   KEYS[3] lane's stream
-- ARGV[1] end of the ready marker of a lane that is loaded for the new number
--
-- Returns the last id of the stream: entries of those processes have this one or lower ones.

local marker = redis.pcall('GET', KEYS[1])
if type(marker) ~= 'string' or string.sub(marker, -#ARGV[1]) ~= ARGV[1] then redis.call('DEL', KEYS[1], KEYS[2]) end
local state = redis.pcall('XINFO', 'STREAM', KEYS[3]) -- an error if there is none
for i = 1, #state, 2 do
  if state[i] == 'last-generated-id' then return state[i + 1] end
end
return '0-0'
