-- Returns a key; deletes it first if it has a type that no script of ours gives it.
local function typed(key, kind)
  if redis.call('TYPE', key).ok ~= kind then redis.call('DEL', key) end
  return key
end
