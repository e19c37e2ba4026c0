-- Decides on the submissions that one API process gathered for one lane, in one atomic step: compares the secret's
-- digest with the stored one, bounds the backlog, takes a token, appends the body to the lane, claims the wake-up.
-- A later call in the same batch sees what an earlier one did.
--
-- KEYS[1] lane's stream          KEYS[2] lane's lease
-- KEYS[3] lane's backlog         KEYS[4] lane's ready marker
-- then for each call: credential, bucket, idempotency (without one: the bucket again, so that no other slot is named)
--
-- ARGV[1] now, microseconds; '' = the server's clock
-- ARGV[2] job id of the wake-up, should this call have to claim it
-- ARGV[3] lease of a claimed wake-up, milliseconds
-- ARGV[4] bound of the backlog over all lanes, bytes
-- ARGV[5] bound of one connector's part of it, bytes
-- ARGV[6] largest sequence of an entry id within a millisecond
-- ARGV[7] life of an idempotency key, milliseconds
-- then for each call, seven values:
--   mode    'check' (is the credential good?), 'charge' (and take a token), 'append' (and append)
--   digest  SHA-256 of the presented secret, hex
--   cost    bytes that the entry counts in the backlog
--   meta    entry's meta field
--   count   entry's count field: what its sender is told that was received
--   body    entry's body field
--   print   fingerprint of the submission, hex, where it came with an idempotency key; else ''
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
local FIXED_KEYS, FIXED_ARGS, KEYS_A_CALL, ARGS_A_CALL = 4, 7, 3, 7
local calls = (#KEYS - FIXED_KEYS) / KEYS_A_CALL

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

if redis.call('EXISTS', ready) == 0 or redis.call('EXISTS', stream) == 0 then
  local answers = {0}
  for i = 1, calls do answers[i + 1] = {'not_ready'} end
  return answers
end

local sizes = redis.call('HMGET', backlog, 'bytes', 'elsewhere')
local bytes, elsewhere = tonumber(sizes[1]) or 0, tonumber(sizes[2]) or 0
local bytes_before = bytes

-- Bytes of each connector's part of the backlog that this run has looked at.
local parts = {}
local function part_of(connector)
  if not parts[connector] then parts[connector] = tonumber(redis.call('HGET', backlog, 'c:' .. connector)) or 0 end
  return parts[connector]
end

-- Tokens in the bucket now, and whether the clock stepped back since it was written: that refills nothing.
local function read_bucket(key, rate, burst)
  local state = redis.call('GET', key)
  if not state then return burst, false end
  local tokens, at = string.match(state, '^(%S+) (%S+)$')
  at = tonumber(at)
  return math.min(burst, tonumber(tokens) + math.max(0, now - at) * rate / 1000000), at > now
end

-- The state expires once the bucket would be full again: a missing bucket is a full one.
local function write_bucket(key, tokens, rate, burst)
  local full_in = math.ceil((burst - tokens) / rate * 1000) + 1000
  redis.call('SET', key, string.format('%.17g %.0f', tokens, now), 'PX', string.format('%.0f', full_in))
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

local function decide(credential, bucket, idempotency, mode, digest, cost, meta, count, body, print)
  local stored = redis.call('HMGET', credential, 'digest', 'connector', 'rate', 'burst')
  -- Lua keeps one copy of each string and compares addresses: this takes the same time wherever they differ.
  if stored[1] ~= digest then return {'unauthorized'} end
  local connector, rate, burst = stored[2], tonumber(stored[3]), tonumber(stored[4])
  local tokens, stepped_back = read_bucket(bucket, rate, burst)
  local function answer(word, last)
    return {word, connector, burst, math.floor(tokens), math.ceil((burst - tokens) / rate), last}
  end

  if mode == 'check' then return answer('ok', '') end
  if tokens < 1 then
    -- Refilling goes on from the clock's new time, or nothing would pass until it is where it was.
    if stepped_back then write_bucket(bucket, tokens, rate, burst) end
    return answer('limited', math.max(1, math.ceil((1 - tokens) / rate)))
  end
  local first = print ~= '' and redis.call('GET', idempotency)
  if mode == 'append' and not first then
    if part_of(connector) + cost > connector_limit then return answer('connector_full', '') end
    if bytes + elsewhere + cost > backlog_limit then return answer('full', '') end
  end
  tokens = tokens - 1
  write_bucket(bucket, tokens, rate, burst)
  if mode == 'charge' then return answer('ok', '') end
  if first then
    local first_print, first_id = string.match(first, '^(%x+) (%S+)$')
    if first_print == print then return answer('replayed', first_id) end
    return answer('reused', '')
  end
  local id = append(connector, cost, meta, count, body)
  if print ~= '' then redis.call('SET', idempotency, print .. ' ' .. id, 'PX', ARGV[7]) end
  return answer('ok', id)
end

local answers = {0}
for i = 1, calls do
  local k, a = FIXED_KEYS + (i - 1) * KEYS_A_CALL, FIXED_ARGS + (i - 1) * ARGS_A_CALL
  answers[i + 1] = decide(
    KEYS[k + 1], KEYS[k + 2], KEYS[k + 3],
    ARGV[a + 1], ARGV[a + 2], tonumber(ARGV[a + 3]), ARGV[a + 4], ARGV[a + 5], ARGV[a + 6], ARGV[a + 7])
end

if bytes > bytes_before then
  redis.call('HSET', backlog, 'bytes', string.format('%.0f', bytes))
  for connector, part in pairs(parts) do
    if part > 0 then redis.call('HSET', backlog, 'c:' .. connector, string.format('%.0f', part)) end
  end
  if redis.call('SET', lease, 'queued:' .. ARGV[2], 'NX', 'PX', ARGV[3]) then answers[1] = 1 end
end
return answers
