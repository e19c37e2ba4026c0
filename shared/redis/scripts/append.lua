-- Decides on the submissions that one API process gathered for one lane, in one atomic step: compares the secret's
-- digest with the stored one, bounds the backlog, takes a token, appends the body to the lane, claims the wake-up.
-- A later call in the same batch sees what an earlier one did. Who asks is read once, however often he asks, and his
-- bucket written once: of what a call costs here, an append to a stream is what is left.
--
-- KEYS[1] lane's stream          KEYS[2] lane's lease
-- KEYS[3] lane's backlog         KEYS[4] lane's ready marker
-- then for each asker: credential, bucket
-- then for each call of mode 'once': idempotency
--
-- ARGV[1] now, microseconds; '' = the server's clock
-- ARGV[2] job id of the wake-up, should this call have to claim it
-- ARGV[3] lease of a claimed wake-up, milliseconds
-- ARGV[4] bound of the backlog over all lanes, bytes
-- ARGV[5] bound of one connector's part of it, bytes
-- ARGV[6] largest sequence of an entry id within a millisecond
-- ARGV[7] life of an idempotency key, milliseconds
-- ARGV[8] bytes that an entry counts in the backlog beside its body
-- ARGV[9] number of askers; no two of them have the same bucket and the same digest
-- then for each asker: SHA-256 of the presented secret, hex
-- then for each call: its asker's number, from 1; its mode; and what that mode takes
--   'check'   is the credential good?
--   'charge'  and take a token
--   'append'  and append: meta, count (what its sender is told that was received) and body of the entry
--   'once'    and append, unless the idempotency key did: the same three, and the submission's fingerprint, hex
--
-- Returns {woken, answer, answer, …}: woken is 1 where the caller must enqueue the job of ARGV[2]. An answer is
--   {'ok', connector, burst, remaining, reset, entry id or ''}   reset: whole seconds until the bucket is full
--   {'limited', connector, burst, 0, reset, retry after}         whole seconds until one request passes
--   {'replayed', connector, burst, remaining, reset, entry id}   the key's first submission, this very one
--   {'reused', connector, burst, remaining, reset, ''}           the key's first submission was another one
--   {'full', connector, burst, remaining, reset, ''}             no room for anybody; nothing was taken
--   {'connector_full', connector, burst, remaining, reset, ''}   no room for this connector; nothing was taken
--   {'unauthorized'}                                             no such key, or another secret
--   {'not_ready'}                                                this Redis has not been loaded

local stream, lease, backlog, ready = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local backlog_limit, connector_limit, max_sequence = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local entry_overhead, asking = tonumber(ARGV[8]), tonumber(ARGV[9])
local FIXED_KEYS, FIXED_ARGS, KEYS_AN_ASKER = 4, 9, 2
local ARGS_OF = {check = 2, charge = 2, append = 5, once = 6}

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local loaded = redis.call('EXISTS', ready, stream) == 2
local sizes = redis.call('HMGET', backlog, 'bytes', 'elsewhere')
local bytes, elsewhere = tonumber(sizes[1]) or 0, tonumber(sizes[2]) or 0
local bytes_before = bytes

-- Bytes of each connector's part of the backlog that this run has looked at.
local parts = {}
local function part_of(connector)
  if not parts[connector] then parts[connector] = tonumber(redis.call('HGET', backlog, 'c:' .. connector)) or 0 end
  return parts[connector]
end

-- A credential and the tokens in its bucket now; false where the digest is not the stored one.
local function read_asker(credential, bucket, digest)
  local stored = redis.call('HMGET', credential, 'digest', 'connector', 'rate', 'burst')
  -- Lua keeps one copy of each string and compares addresses: this takes the same time wherever they differ.
  if stored[1] ~= digest then return false end
  local rate, burst = tonumber(stored[3]), tonumber(stored[4])
  local asker = {bucket = bucket, connector = stored[2], rate = rate, burst = burst, tokens = burst}
  local state = redis.call('GET', bucket)
  if state then
    local tokens, at = string.match(state, '^(%S+) (%S+)$')
    at = tonumber(at)
    asker.tokens = math.min(burst, tonumber(tokens) + math.max(0, now - at) * rate / 1000000)
    -- The clock has stepped back since it was written: that refills nothing.
    asker.stepped_back = at > now
  end
  return asker
end

-- The state expires once the bucket would be full again: a missing bucket is a full one.
local function write_bucket(asker)
  -- At most thirty years: a larger number is none to Redis, and would fail what is appended already.
  local full_in = math.min(1e12, math.ceil((asker.burst - asker.tokens) / asker.rate * 1000) + 1000)
  local state = string.format('%.17g %.0f', asker.tokens, now)
  redis.call('SET', asker.bucket, state, 'PX', string.format('%.0f', full_in))
end

local function append(connector, cost, meta, count, body)
  local id = redis.call('XADD', stream, '*', 'c', connector, 'm', meta, 'n', count, 'b', body)
  bytes = bytes + cost
  parts[connector] = part_of(connector) + cost
  -- While the clock stands behind the last id, ids grow by sequence alone: go on in the next millisecond before the
  -- sequence outgrows its bits in a request id.
  local milliseconds, sequence = string.match(id, '^(%d+)-(%d+)$')
  if tonumber(sequence) >= max_sequence then
    redis.call('XSETID', stream, string.format('%.0f-0', milliseconds + 1))
  end
  return id
end

local function decide(asker, mode, idempotency, meta, count, body, print)
  if not asker then return {'unauthorized'} end
  local connector, rate, burst = asker.connector, asker.rate, asker.burst
  local function answer(word, last)
    local tokens = asker.tokens
    return {word, connector, burst, math.floor(tokens), math.ceil((burst - tokens) / rate), last}
  end

  if mode == 'check' then return answer('ok', '') end
  if asker.tokens < 1 then
    -- Refilling goes on from the clock's new time, or nothing would pass until it is where it was.
    if asker.stepped_back then asker.changed = true end
    return answer('limited', math.max(1, math.ceil((1 - asker.tokens) / rate)))
  end
  local first = mode == 'once' and redis.call('GET', idempotency)
  local cost = body and #body + entry_overhead
  if body and not first then
    if part_of(connector) + cost > connector_limit then return answer('connector_full', '') end
    if bytes + elsewhere + cost > backlog_limit then return answer('full', '') end
  end
  asker.tokens, asker.changed = asker.tokens - 1, true
  if mode == 'charge' then return answer('ok', '') end
  if first then
    local first_print, first_id = string.match(first, '^(%x+) (%S+)$')
    if first_print == print then return answer('replayed', first_id) end
    return answer('reused', '')
  end
  local id = append(connector, cost, meta, count, body)
  if print then redis.call('SET', idempotency, print .. ' ' .. id, 'PX', ARGV[7]) end
  return answer('ok', id)
end

local askers = {}
for i = 1, loaded and asking or 0 do
  local k = FIXED_KEYS + (i - 1) * KEYS_AN_ASKER
  askers[i] = read_asker(KEYS[k + 1], KEYS[k + 2], ARGV[FIXED_ARGS + i])
end

local answers, k, a = {0}, FIXED_KEYS + asking * KEYS_AN_ASKER, FIXED_ARGS + asking
while a < #ARGV do
  local asker, mode = askers[tonumber(ARGV[a + 1])], ARGV[a + 2]
  local length = ARGS_OF[mode]
  if mode == 'once' then k = k + 1 end
  if not loaded then
    answers[#answers + 1] = {'not_ready'}
  elseif length == 2 then
    answers[#answers + 1] = decide(asker, mode)
  else
    -- What an 'append' has no fingerprint for is the next call's; only 'once' reads it.
    local print = mode == 'once' and ARGV[a + 6] or nil
    answers[#answers + 1] = decide(asker, mode, KEYS[k], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], print)
  end
  a = a + length
end

for _, asker in ipairs(askers) do
  if asker and asker.changed then write_bucket(asker) end
end
if bytes > bytes_before then
  redis.call('HSET', backlog, 'bytes', string.format('%.0f', bytes))
  for connector, part in pairs(parts) do
    if part > 0 then redis.call('HSET', backlog, 'c:' .. connector, string.format('%.0f', part)) end
  end
  if redis.call('SET', lease, 'queued:' .. ARGV[2], 'NX', 'PX', ARGV[3]) then answers[1] = 1 end
end
return answers
