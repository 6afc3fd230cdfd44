-- Part of every script on a queue. KEYS 1 log, 2 meta; the eighteen keys of a queue begin where `use_queue` says.
--
-- An item of a list is '<reference>', or '<reference>|<key>|<expires ms>' where one of them is not empty. Elsewhere a
-- reference is padded, so that references compare as texts in the order of the log. What one went through is kept as
-- values of MessagePack, in the order of the constants below; what was never set stands for nothing.

local LOG, META = KEYS[1], KEYS[2]
local COUNTS, FRESH, FILL, LEASES, DUE, HELD, COPIED, REFERENCES, COPIES, PARKED, BUSY, DEAD, DEAD_PLACES
local STATE, FAILURES, NONCE, MEMBER, FIRST, AT, KEY, EXPIRES, FAILED_FIRST, FAILED_LAST, ERROR =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local PLACES = {L = 'leased', S = 'scheduled', W = 'waiting'}
local LAPSED = 'the lease ended without an outcome'
local QUEUE_KEYS, POSITION_LENGTH, UNPACKED_MAX = 16, 21, 4000
local call, find, sub, match, floor = redis.call, string.find, string.sub, string.match, math.floor
local pack, unpack_values = cmsgpack.pack, cmsgpack.unpack

local changes, gone, moved, woken, dead_ms

local function use_queue(at)
  COUNTS, FRESH, FILL = KEYS[at], {KEYS[at + 1], KEYS[at + 2], KEYS[at + 3], KEYS[at + 4]}, KEYS[at + 5]
  LEASES, DUE, HELD, COPIED = KEYS[at + 6], KEYS[at + 7], KEYS[at + 8], KEYS[at + 9]
  REFERENCES, COPIES, PARKED, BUSY = KEYS[at + 10], KEYS[at + 11], KEYS[at + 12], KEYS[at + 13]
  DEAD, DEAD_PLACES = KEYS[at + 14], KEYS[at + 15]
  changes, woken, dead_ms = {}, false, nil
  gone = {references = {}, leases = {}, due = {}, held = {}, copies = {}}
  moved = {lapsed = 0, expired = 0, overrun = 0, buried = {}}
end

local function each(command, key, values)
  for i = 1, #values, UNPACKED_MAX do
    call(command, key, unpack(values, i, math.min(i + UNPACKED_MAX - 1, #values)))
  end
end

local function count(name, by) changes[name] = (changes[name] or 0) + by end

local function write_counts()
  for name, by in pairs(changes) do
    if by ~= 0 then call('HINCRBY', COUNTS, name, by) end
  end
  changes = {}
end

-- What was forgotten goes from its places, after all that took its place was written.
local function write_gone()
  each('HDEL', REFERENCES, gone.references)
  each('ZREM', LEASES, gone.leases)
  each('ZREM', DUE, gone.due)
  each('ZREM', HELD, gone.held)
  each('ZREM', COPIED, gone.copies)
  each('HDEL', COPIES, gone.copies)
  gone = {references = {}, leases = {}, due = {}, held = {}, copies = {}}
end

local function moves()
  if moved.lapsed + moved.expired + moved.overrun == 0 and #moved.buried == 0 then return '' end
  return pack({moved.lapsed, moved.expired, moved.overrun, moved.buried})
end

local function wake(command, channel, incarnation)
  call(command, channel, '\146' .. pack(2, incarnation))
end

local ZEROS = '0000000000000'
local function padded(reference)
  local dash = find(reference, '-', 2, true)
  local tilde = find(reference, '~', dash + 2, true)
  local tail = ''
  if tilde then tail = '~' .. sub(ZEROS, #reference - tilde + 4) .. sub(reference, tilde + 1) else tilde = #reference + 1 end
  return sub(ZEROS, dash) .. sub(reference, 1, dash) .. sub(ZEROS, tilde - dash + 6) ..
    sub(reference, dash + 1, tilde - 1) .. tail
end

local function position_of(ms, seq) return padded(ms .. '-' .. seq) end

local function read_item(item)
  local bar = find(item, '|', 3, true)
  if not bar then return padded(item), '', 0 end
  local second = find(item, '|', bar + 1, true)
  return padded(sub(item, 1, bar - 1)), sub(item, bar + 1, second - 1), tonumber(sub(item, second + 1))
end

local function state_of(packed)
  if packed then return {unpack_values(packed)} end
  return nil
end

local function write_state(reference, state)
  call('HSET', REFERENCES, reference, pack(unpack(state, 1, ERROR)))
end

local RULES = '^(%S+) (%S+) %S+ (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$'
local function read_rules(text)
  local lease_ms, in_flight, keyed, attempts, first_ms, factor, cap_ms, age_ms, drops = match(text, RULES)
  return {
    lease_ms = tonumber(lease_ms), in_flight = tonumber(in_flight), is_keyed = keyed == '1',
    attempts = tonumber(attempts), first_ms = tonumber(first_ms), factor = tonumber(factor),
    cap_ms = tonumber(cap_ms), age_ms = tonumber(age_ms), drops = drops == '1',
  }
end

-- Header and body, and whether they come from a copy of the reference's own; nothing where the log has them no more.
local function event_of(reference, may_have_copy)
  if may_have_copy then
    local copy = call('HGET', COPIES, reference)
    if copy then
      local header, body = unpack_values(copy)
      return header, body, true
    end
  end
  local position = sub(reference, 1, POSITION_LENGTH)
  local found = call('XRANGE', LOG, position, position)[1]
  if found then return found[2][2], found[2][4], false end
end

local function may_have_copy(reference, state) return state[FAILURES] > 0 or #reference > POSITION_LENGTH end

local function keep_copy(reference, header, body)
  call('HSET', COPIES, reference, pack(header, body))
  call('ZADD', COPIED, 0, reference)
  call('ZREM', HELD, reference)
end

local function is_expired(expires, now) return expires and expires > 0 and expires <= now end

-- The key of a reference that is done with is free: the next of it, if one is parked, becomes claimable at once.
local function free_key(reference, key, now)
  if not key or key == '' or call('HGET', BUSY, key) ~= reference then return end
  local parked = call('ZRANGEBYLEX', PARKED, '[' .. key .. ':', '(' .. key .. ';', 'LIMIT', 0, 1)[1]
  if not parked then
    call('HDEL', BUSY, key)
    return
  end
  local follower, expires, at = match(parked, '^[^:]*:([^|]*)|([^|]*)|(.*)$')
  at = math.max(tonumber(at), now)
  write_state(follower, {'W', 0, '', '', 0, at, key, tonumber(expires)})
  call('ZADD', DUE, text(at), follower)
  call('HSET', BUSY, key, follower)
  call('ZREM', PARKED, parked)
  woken = true
end

-- Set a reference behind a busy one of its key; it is not claimable before `at`.
local function park(reference, key, expires, at)
  call('ZADD', PARKED, 0, key .. ':' .. reference .. '|' .. text(expires or 0) .. '|' .. text(at))
end

local function forget(reference, state, now)
  gone.references[#gone.references + 1] = reference
  local place = state[STATE] == 'L' and gone.leases or gone.due
  place[#place + 1] = reference
  gone.held[#gone.held + 1] = reference
  if may_have_copy(reference, state) then gone.copies[#gone.copies + 1] = reference end
  free_key(reference, state[KEY], now)
end

-- A reference that leaves for good, by a way that is counted among the moves.
local function end_as(name, reference, state, now)
  count(PLACES[state[STATE]], -1)
  count(name, 1)
  moved[name] = moved[name] + 1
  forget(reference, state, now)
end

-- A full copy first, then the reference goes: what fails in between is there twice, and never nowhere.
local function bury(reference, state, reason, now, drops)
  if not drops then
    local header, body = event_of(reference, true)
    if not header then return end_as('overrun', reference, state, now) end
    dead_ms = math.max(now, dead_ms or tonumber(call('HGET', COUNTS, 'dead_ms') or '0'))
    local id = call('XADD', DEAD, text(dead_ms) .. '-*', 'r', reference, 'w', reason, 'f', state[FAILURES],
      'a', text(state[FAILED_FIRST] or now), 'z', text(state[FAILED_LAST] or now), 'e', state[ERROR] or '',
      'm', state[MEMBER] or '', 'k', state[KEY] or '', 'x', text(state[EXPIRES] or 0), 'h', header, 'b', body)
    call('ZADD', DEAD_PLACES, 0, reference .. ' ' .. id)
    call('HSET', COUNTS, 'dead_ms', text(dead_ms))
  end
  count(PLACES[state[STATE]], -1)
  count(drops and 'dropped' or 'dead', 1)
  moved.buried[#moved.buried + 1] =
    {reference, reason, state[FAILURES], state[ERROR] or '', state[MEMBER] or '', drops and true or false}
  forget(reference, state, now)
end

local function failed(state, reason, now)
  state[FAILURES] = state[FAILURES] + 1
  state[FAILED_FIRST] = state[FAILED_FIRST] or now
  state[FAILED_LAST], state[ERROR] = now, reason
end

local function exhausted(state, rules, now)
  if state[FAILURES] >= rules.attempts then return 'max_attempts' end
  if rules.age_ms >= 0 and now - state[FIRST] >= rules.age_ms then return 'max_age' end
  return nil
end
