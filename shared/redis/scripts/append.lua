-- Decides on the calls that one API process gathered for one lane, in one atomic step: checks each credential, bounds
-- the backlog, takes a token, appends the body to the lane, and claims the wake-up. A call sees the effects of earlier
-- calls of the same run. Each credential and its bucket are read and written once per run, so a further call costs
-- little more than its XADD.
--
-- KEYS[1] lane's stream          KEYS[2] lane's lease
-- KEYS[3] lane's backlog, with its era and the millisecond of its last entry   KEYS[4] lane's ready marker
-- KEYS[5] lane's large entries: of each, all but the body
-- KEYS[6] lane's revision: deleted if a credential is damaged, so that the sweeper loads the lane within a second
-- KEYS[7] lane's hash 'seen': when each connector's last submission was accepted, in milliseconds
-- then for each credential or hook: its hash, its bucket
-- then for each call of mode 'once': the idempotency key
--
-- ARGV[1] now, microseconds; '' = the server's clock
-- ARGV[2] job id of the wake-up, in case this run claims it
-- ARGV[3] lease of a claimed wake-up, milliseconds
-- ARGV[4] limit of the backlog of all lanes, bytes
-- ARGV[5] limit of one connector's part of the backlog, bytes
-- ARGV[6] largest sequence of an entry id within a millisecond
-- ARGV[7] lifetime of an idempotency key, milliseconds
-- ARGV[8] bytes that an entry counts in the backlog in addition to its body
-- ARGV[9] the server, as the caller's connection knows it: the credentials must have been compared with Postgres on it;
--         after the lanes were doubled also their number, as the caller knows it (shared/lanes.py)
-- ARGV[10] number of credentials; each pair of bucket and digest occurs once
-- then for each credential: SHA-256 of the secret that the client sent, hex; of a hook, its digest as it was verified
-- then for each call: number of its credential, from 1; mode; the mode's own arguments
--   'check'   check the credential
--   'charge'  and take a token
--   'append'  and append: meta, count (reported to the client in the 202) and body of the entry
--   'once'    and append, unless the idempotency key exists: the same three, and the submission's fingerprint, hex
--
-- Returns {woken, answer, answer, …}: woken is 1 if the caller must enqueue the job of ARGV[2]. An answer is one of
--   {'ok', connector, burst, remaining, reset, entry id or ''}   reset: whole seconds until the bucket is full
--   {'limited', connector, burst, 0, reset, retry after}         whole seconds until one request passes
--   {'replayed', connector, burst, remaining, reset, entry id}   the key's first entry, for the same submission
--   {'reused', connector, burst, remaining, reset, ''}           the key's first entry was another submission
--   {'full', connector, burst, remaining, reset, ''}             the backlog is full; no token taken
--   {'connector_full', connector, burst, remaining, reset, ''}   the connector's part is full; no token taken
--   {'unauthorized'}                                             unknown key id, or another secret
--   {'not_ready'}                                                credentials are not loaded into this server, or the
--                                                                stream or the credential is not usable

local stream, lease, backlog, ready, large = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local revision = KEYS[6]
local backlog_limit, connector_limit, max_sequence = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local entry_overhead, credential_count = tonumber(ARGV[8]), tonumber(ARGV[10])
local MAX_MILLISECONDS = 4398046511103 -- of an entry id: 42 bits, as in shared/request_id.py
local FIXED_KEYS, FIXED_ARGS, KEYS_PER_CREDENTIAL = 7, 10, 2
-- Bytes from which a body is large: a script that reads its entry would copy it.
local LARGE = 65536
-- After a failover the old primary may live on for seconds. So that it gives no id that the new one gives, too, sequences
-- within a millisecond begin at another number after each change of the server (`era`, counted by mark_ready.lua).
local ERAS, IDS_PER_ERA = 64, 4096
local ARGS_PER_CALL = {check = 2, charge = 2, append = 5, once = 6}

local now = tonumber(ARGV[1])
local has_server_clock = not now
if has_server_clock then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local loaded = redis.pcall('GET', ready) == ARGV[9] and redis.call('EXISTS', stream) == 1
local sizes = redis.call('HMGET', backlog, 'bytes', 'elsewhere', 'era', 'last')
local bytes, elsewhere = tonumber(sizes[1]) or 0, tonumber(sizes[2]) or 0
local first_sequence = ((tonumber(sizes[3]) or 1) - 1) % ERAS * IDS_PER_ERA
local this_millisecond = math.floor(now / 1000)
local first_id
if has_server_clock and first_sequence > 0 and this_millisecond > (tonumber(sizes[4]) or 0) then
  first_id = string.format('%.0f-%.0f', this_millisecond, first_sequence)
end

-- Bytes of the connectors' parts of the backlog, read on first use.
local parts = {}
local function part_of(connector)
  if not parts[connector] then parts[connector] = tonumber(redis.call('HGET', backlog, 'c:' .. connector)) or 0 end
  return parts[connector]
end

-- Connectors of which this run appends something.
local alive = {}

-- Buckets by key: a connector's credential and its hooks share one.
local buckets = {}

-- Returns a credential with the tokens in its bucket now; false if the digest is not the stored one; a credential
-- without a bucket if it is damaged, which no script of ours does.
local function read_credential(key, bucket, digest)
  local stored = redis.pcall('HMGET', key, 'digest', 'connector', 'rate', 'burst')
  -- Constant time: Lua keeps one copy of each string and compares addresses.
  local known = stored.err or stored[1] or stored[2]
  if not known or (stored[1] ~= digest and #(stored[1] or '') == #digest) then return false end
  local rate, burst = tonumber(stored[3]), tonumber(stored[4])
  local is_whole = stored[1] == digest and rate and rate > 0 and burst and burst >= 1
  if not (is_whole and string.match(stored[2] or '', '^%d+$')) then
    redis.call('DEL', revision)
    return {}
  end
  local credential = {connector = stored[2], rate = rate, burst = burst, bucket = buckets[bucket]}
  if credential.bucket then return credential end
  local shared = {key = bucket, rate = rate, burst = burst, tokens = burst}
  buckets[bucket], credential.bucket = shared, shared
  local state = redis.pcall('GET', bucket) -- an error if it is no string, which is replaced, as all that is no bucket
  local tokens, at = string.match(type(state) == 'string' and state or '', '^([%d.e+-]+) (%d+)$')
  if tonumber(tokens) then
    at = tonumber(at)
    shared.tokens = math.min(burst, tonumber(tokens) + math.max(0, now - at) * rate / 1000000)
    -- If the clock stepped back after the bucket was written, nothing is refilled.
    shared.stepped_back = at > now
  end
  return credential
end

-- The state expires when the bucket would be full again: a missing bucket is a full one.
local function write_bucket(bucket)
  -- At most thirty years: Redis rejects larger numbers, which would fail the run after its appends.
  local full_in = math.min(1e12, math.ceil((bucket.burst - bucket.tokens) / bucket.rate * 1000) + 1000)
  local state = string.format('%.17g %.0f', bucket.tokens, now)
  redis.call('SET', bucket.key, state, 'PX', string.format('%.0f', full_in))
end

-- Adds an entry, the first one of a millisecond with the era's first sequence; returns its id or an error.
local function add_next(...)
  local id = first_id and redis.pcall('XADD', stream, first_id, ...)
  first_id = nil
  -- If the clock is behind the stream, or in the same millisecond.
  if type(id) ~= 'string' then id = redis.pcall('XADD', stream, '*', ...) end
  return id
end

-- Adds an entry; returns its id, milliseconds and sequence. After an entry that was added by hand, with an id too large
-- for a request id, the next millisecond may do. If not, it returns nothing, and the sweeper creates the stream again.
local function add(connector, meta, count, body)
  for _ = 1, 2 do
    local id = add_next('c', connector, 'm', meta, 'n', count, 'b', body)
    local milliseconds, sequence = string.match(type(id) == 'string' and id or '', '^(%d+)-(%d+)$')
    if not milliseconds then break end
    milliseconds, sequence = tonumber(milliseconds), tonumber(sequence)
    if milliseconds <= MAX_MILLISECONDS and sequence <= max_sequence then return id, milliseconds, sequence end
    redis.call('XDEL', stream, id)
    redis.pcall('XSETID', stream, string.format('%.0f-0', milliseconds + 1))
  end
  redis.call('HSET', backlog, 'unusable', '1')
end

local function append(connector, cost, meta, count, body)
  local id, milliseconds, sequence = add(connector, meta, count, body)
  if not id then return nil end
  -- A stream that was deleted by hand starts at lower ids; then an entry is only more costly to look at.
  if #body >= LARGE then redis.pcall('XADD', large, id, 'c', connector, 'm', meta, 'n', count) end
  bytes = bytes + cost
  parts[connector] = part_of(connector) + cost
  alive[connector] = true
  -- While the clock is behind the last id, only the sequence of new ids grows. Go on in the next millisecond before
  -- the sequence outgrows its bits in a request id.
  if sequence >= max_sequence then
    redis.call('XSETID', stream, string.format('%.0f-0', milliseconds + 1))
  end
  return id
end

-- Returns the entry id and the fingerprint of the submission that used an idempotency key first; nothing if none has.
-- A key that holds anything else is replaced.
local function read_first(idempotency)
  local record = redis.pcall('GET', idempotency)
  local fingerprint, milliseconds, sequence =
    string.match(type(record) == 'string' and record or '', '^(%x+) (%d+)-(%d+)$')
  if fingerprint and tonumber(milliseconds) <= MAX_MILLISECONDS and tonumber(sequence) <= max_sequence then
    return milliseconds .. '-' .. sequence, fingerprint
  end
end

local function decide(credential, mode, idempotency, meta, count, body, fingerprint)
  if not credential then return {'unauthorized'} end
  if not credential.bucket then return {'not_ready'} end
  local connector, rate, burst, bucket = credential.connector, credential.rate, credential.burst, credential.bucket
  local function answer(status, last)
    local tokens = bucket.tokens
    return {status, connector, burst, math.floor(tokens), math.ceil((burst - tokens) / rate), last}
  end

  if mode == 'check' then return answer('ok', '') end
  if bucket.tokens < 1 then
    -- Store the stepped-back time, or the bucket would not refill until the clock reaches the old time again.
    if bucket.stepped_back then bucket.changed = true end
    return answer('limited', math.max(1, math.ceil((1 - bucket.tokens) / rate)))
  end
  local first_id, first_fingerprint
  if mode == 'once' then first_id, first_fingerprint = read_first(idempotency) end
  local cost = body and #body + entry_overhead
  if body and not first_id then
    if part_of(connector) + cost > connector_limit then return answer('connector_full', '') end
    if bytes + elsewhere + cost > backlog_limit then return answer('full', '') end
  end
  bucket.tokens, bucket.changed = bucket.tokens - 1, true
  if mode == 'charge' then return answer('ok', '') end
  if first_id then
    if first_fingerprint == fingerprint then return answer('replayed', first_id) end
    return answer('reused', '')
  end
  local id = append(connector, cost, meta, count, body)
  if not id then return {'not_ready'} end
  if fingerprint then redis.call('SET', idempotency, fingerprint .. ' ' .. id, 'PX', ARGV[7]) end
  return answer('ok', id)
end

local credentials = {}
for i = 1, loaded and credential_count or 0 do
  local k = FIXED_KEYS + (i - 1) * KEYS_PER_CREDENTIAL
  credentials[i] = read_credential(KEYS[k + 1], KEYS[k + 2], ARGV[FIXED_ARGS + i])
end

local answers, k, a = {0}, FIXED_KEYS + credential_count * KEYS_PER_CREDENTIAL, FIXED_ARGS + credential_count
while a < #ARGV do
  local credential, mode = credentials[tonumber(ARGV[a + 1])], ARGV[a + 2]
  local length = ARGS_PER_CALL[mode]
  if mode == 'once' then k = k + 1 end
  if not loaded then
    answers[#answers + 1] = {'not_ready'}
  elseif length == 2 then
    answers[#answers + 1] = decide(credential, mode)
  else
    -- After an 'append', ARGV[a + 6] belongs to the next call.
    local fingerprint = mode == 'once' and ARGV[a + 6] or nil
    answers[#answers + 1] = decide(credential, mode, KEYS[k], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], fingerprint)
  end
  a = a + length
end

for _, bucket in pairs(buckets) do
  if bucket.changed then write_bucket(bucket) end
end
if next(alive) then
  local total, at = string.format('%.0f', bytes), string.format('%.0f', this_millisecond)
  for connector in pairs(alive) do
    local part = string.format('%.0f', parts[connector])
    redis.call('HSET', backlog, 'bytes', total, 'last', at, 'c:' .. connector, part)
    -- A key of another type, which no script of ours has written, is replaced at the next append.
    if type(redis.pcall('HSET', KEYS[7], connector, at)) == 'table' then redis.call('DEL', KEYS[7]) end
  end
  if redis.call('SET', lease, 'queued:' .. ARGV[2], 'NX', 'PX', ARGV[3]) then answers[1] = 1 end
end
return answers
