#!lua flags=allow-oom
-- Lease references to members: what is due and what is fresh half and half, what is fresh by priority.
-- KEYS log, meta, queue (16), answer
-- ARGV sequence, now us, bytes max, answer seconds, nonces (16 digits each), then for each request: member, limit
--@history
--@queue
use_queue(3)
local ANSWER = KEYS[3 + QUEUE_KEYS]
local known = call('HMGET', COUNTS, 'rules', 'paused', 'leased', 'turn', 'due_next', 'fill_through')
if not known[1] then return {'gone'} end
local now = floor(now_us(ARGV[2]) / 1000)
local events = {}

local stored = call('GET', ANSWER)
if stored then
  local space = find(stored, ' ', 1, true)
  local last = tonumber(sub(stored, 1, space - 1))
  if last == tonumber(ARGV[1]) then
    local answer = sub(stored, space + 1)
    local leases = unpack_values(answer)[5]
    for i = 2, #leases, 3 do
      -- One that was settled since may be gone from everywhere: what is left of it is an empty place.
      local header, body = event_of(leases[i], true)
      events[#events + 1] = header or ''
      events[#events + 1] = body or ''
    end
    return {'ok', answer, '', events}
  end
  if tonumber(ARGV[1]) < last then return {'superseded', text(last)} end
end

-- Of a lease: the request, the reference, the nonce. Of one that was tried before also its place, attempt, first
-- delivery and last error.
local function reply(next_due, paused, until_ms, leases, tried)
  local answer = pack({next_due, paused, until_ms, now, leases, tried})
  call('SET', ANSWER, ARGV[1] .. ' ' .. answer, 'EX', ARGV[4])
  return {'ok', answer, moves(), events}
end

if known[2] == '1' then
  call('HSET', COUNTS, 'claimed_ms', text(now))
  return reply(-1, true, now, {}, {})
end

local rules = read_rules(known[1])
local is_keyed = rules.is_keyed
local leased = tonumber(known[3])
local turn, is_due_next = tonumber(known[4]), known[5] == '1'
local bytes_max, bytes, is_full = tonumber(ARGV[3]), 0, false
local nonces, until_ms = ARGV[5], now + rules.lease_ms

local members, wishes, wanted, request = {}, {}, 0, 0
for i = 6, #ARGV, 2 do
  members[#members + 1], wishes[#wishes + 1] = ARGV[i], tonumber(ARGV[i + 1])
  wanted = wanted + wishes[#wishes]
end
wanted = math.min(wanted, #nonces / 16)

local leases, tried, handed, taken_fresh = {}, {}, 0, 0
local states, times, held = {}, {}, {}
local until_text = text(until_ms)

-- Hand one out; return its nonce, and who has it.
local function lease(reference, header, body)
  repeat request = request % #wishes + 1 until wishes[request] > 0
  wishes[request] = wishes[request] - 1
  local nonce = sub(nonces, handed * 16 + 1, handed * 16 + 16)
  handed = handed + 1
  local at = #leases
  leases[at + 1], leases[at + 2], leases[at + 3] = request - 1, reference, nonce
  at = #times
  times[at + 1], times[at + 2] = until_text, reference
  at = #events
  events[at + 1], events[at + 2] = header, body
  bytes = bytes + #body
  is_full = bytes >= bytes_max
  leased = leased + 1
  return nonce, members[request]
end

local function keep(reference, packed)
  local at = #states
  states[at + 1], states[at + 2] = reference, packed
end

-- One that was handed out before, or was put back by hand.
local function lease_again(reference, state, header, body)
  state[STATE], state[AT] = 'L', until_ms
  state[NONCE], state[MEMBER] = lease(reference, header, body)
  if state[FIRST] == 0 then state[FIRST] = now end
  keep(reference, pack(unpack(state, 1, ERROR)))
  tried[#tried + 1] = {handed - 1, state[FAILURES] + 1, state[FIRST], state[ERROR] or ''}
end

-- What is due: leases that lapsed, and what waits for its time, by that time --------------------------------------------

local LOOKS_MAX = 2000
local looks = 0
local lapsed, due

-- The references of a set whose time has come, in chunks.
local function read_due(key)
  local size = wanted - handed + 10
  local found = call('ZRANGEBYSCORE', key, '-inf', text(now), 'WITHSCORES', 'LIMIT', 0, size)
  local references, scores = {}, {}
  for i = 1, #found, 2 do
    references[#references + 1], scores[#scores + 1] = found[i], tonumber(found[i + 1])
  end
  local packed = {}
  if #references > 0 then packed = call('HMGET', REFERENCES, unpack(references)) end
  return {references = references, scores = scores, packed = packed, at = 1, is_over = #references < size}
end

local function read_dues() lapsed, due = read_due(LEASES), read_due(DUE) end

-- The set whose first reference became due first; where no more may be leased, only what is leased already.
local function first_due()
  local one, other = lapsed.scores[lapsed.at], due.scores[due.at]
  if leased >= rules.in_flight then other = nil end
  if one and other then
    if one < other or (one == other and lapsed.references[lapsed.at] < due.references[due.at]) then return lapsed end
    return due
  end
  return one and lapsed or other and due
end

local function take_due(reference, state)
  local is_lapsed = state[STATE] == 'L'
  if is_lapsed then
    failed(state, LAPSED, now)
    leased = leased - 1
    local why = exhausted(state, rules, now)
    if why then return bury(reference, state, why, now, rules.drops) end
  end
  if is_expired(state[EXPIRES], now) then return end_as('expired', reference, state, now) end
  local header, body, is_copy = event_of(reference, may_have_copy(reference, state))
  if not header then return end_as('overrun', reference, state, now) end
  if is_lapsed then
    moved.lapsed = moved.lapsed + 1
    if not is_copy then keep_copy(reference, header, body) end
    if leased >= rules.in_flight then
      -- The limit was lowered meanwhile: it waits for room, as what failed.
      state[STATE], state[NONCE], state[AT] = 'S', '', now
      write_state(reference, state)
      call('ZADD', DUE, text(now), reference)
      gone.leases[#gone.leases + 1] = reference
      count('leased', -1)
      count('scheduled', 1)
      return
    end
  else
    count(PLACES[state[STATE]], -1)
    count('leased', 1)
    gone.due[#gone.due + 1] = reference
  end
  lease_again(reference, state, header, body)
end

-- Look at one; false where there is none.
local function look_at_due()
  local set = looks < LOOKS_MAX and first_due()
  if not set then return false end
  local reference, state = set.references[set.at], state_of(set.packed[set.at])
  set.at, looks = set.at + 1, looks + 1
  if state then take_due(reference, state) end
  return true
end

-- What is fresh: what a fill made, else by turns of the priorities -------------------------------------------------------

local TURNS = {1, 2, 1, 3, 1, 2, 1, 4, 1, 2, 1, 3, 1, 2, 1}
local is_filling = known[6] and true or false
local fill, lists = {key = FILL, items = {}, at = 1, taken = 0}, {}
for n, key in ipairs(FRESH) do lists[n] = {key = key, items = {}, at = 1, taken = 0} end

local function head(list)
  if list.at > #list.items then
    if list.is_over then return nil end
    local size = wanted - handed + 10
    list.items, list.at = call('LRANGE', list.key, list.taken, list.taken + size - 1), 1
    list.is_over = #list.items < size
  end
  return list.items[list.at]
end

local function most_urgent()
  for n = 1, 4 do
    if head(lists[n]) then return lists[n] end
  end
  return nil
end

-- Events of the log in a row, as a queue that has most of them wants them: one question for many. What was read in vain
-- has the next ones asked for one by one.
local RUN_MAX, RUN_BYTES = 64, 262144
local run, run_at, run_size, singles = {}, 1, 1, 0

local function next_logged(position)
  local entry = run[run_at]
  if not entry or entry[1] ~= position then
    if entry then
      run_size, singles = 1, 8
    elseif singles > 0 then
      singles = singles - 1
    else
      run_size = math.min(run_size * 2, RUN_MAX, wanted - handed)
    end
    if run_size > 1 then
      run = call('XRANGE', LOG, position, '+', 'COUNT', run_size)
    else
      run = call('XRANGE', LOG, position, position)
    end
    entry, run_at = run[1], 1
    if not entry or entry[1] ~= position then return nil end
    run_size = math.min(run_size, floor(RUN_BYTES / (#entry[2][4] + 1)) + 1)
  end
  run_at = run_at + 1
  return entry[2][2], entry[2][4]
end

local function let_go(name)
  count('waiting', -1)
  count(name, 1)
  moved[name] = moved[name] + 1
  return false
end

local function take_fresh(list)
  local item = list.items[list.at]
  list.at, list.taken, looks = list.at + 1, list.taken + 1, looks + 1
  local position, key, expires = item, '', 0
  local ms, seq = match(item, '^(%d+)%-(%d+)$')
  local reference
  if ms and #ms == 13 then
    reference = ms .. '-' .. sub(ZEROS, #seq + 7) .. seq
  else
    reference, key, expires = read_item(item)
    position = match(item, '^[^~|]+')
  end
  if is_expired(expires, now) then return let_go('expired') end
  if is_keyed and call('HEXISTS', BUSY, key) == 1 then
    park(reference, key, expires, 0)
    held[#held + 1], held[#held + 2] = '0', reference
    return false
  end
  local header, body = next_logged(position)
  if not header then return let_go('overrun') end
  if is_keyed then call('HSET', BUSY, key, reference) end
  held[#held + 1], held[#held + 2] = '0', reference
  taken_fresh = taken_fresh + 1
  local nonce, member = lease(reference, header, body)
  keep(reference, pack('L', 0, nonce, member, now, until_ms, key, expires))
  return true
end

local function hand_out_fresh()
  while leased < rules.in_flight and looks < LOOKS_MAX do
    local list = head(fill) and fill
    if not list then
      if is_filling then return false end
      list = lists[TURNS[turn % 15 + 1]]
      if not head(list) then list = most_urgent() end
      if not list then return false end
    end
    if take_fresh(list) then
      if list ~= fill then turn = turn + 1 end
      return true
    end
  end
  return false
end

-- The new places first, then the old ones are emptied.
local function write()
  each('HSET', REFERENCES, states)
  each('ZADD', LEASES, times)
  each('ZADD', HELD, held)
  states, times, held = {}, {}, {}
  write_gone()
end

-- One step: after it, whose turn it is is asked anew, for what goes may make room. False where nothing is left.
local function hand_out()
  local before = handed
  if not is_due_next and hand_out_fresh() then
    is_due_next = true
    return true
  end
  if look_at_due() then
    if handed > before then is_due_next = false end
    return true
  end
  return is_due_next and hand_out_fresh()
end

read_dues()
while handed < wanted and not is_full do
  if not hand_out() then
    -- What came from behind its key meanwhile, and what did not fit into the chunk.
    local is_more = woken or (not lapsed.is_over and lapsed.at > #lapsed.references)
      or (not due.is_over and due.at > #due.references)
    if not is_more or looks >= LOOKS_MAX then break end
    woken = false
    write()
    read_dues()
  end
end
write()
lists[5] = fill
for n = 1, 5 do
  if lists[n].taken > 0 then call('LTRIM', lists[n].key, lists[n].taken, -1) end
end
count('waiting', -taken_fresh)
count('leased', taken_fresh)
call('HSET', COUNTS, 'turn', turn % 15, 'due_next', is_due_next and '1' or '0', 'claimed_ms', text(now))
write_counts()

local next_due = tonumber(call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')[2] or '-1')
if leased < rules.in_flight then
  local score = tonumber(call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2] or '-1')
  if score >= 0 and (score < next_due or next_due < 0) then next_due = score end
  if head(fill) or (not is_filling and most_urgent()) then
    if next_due < 0 or next_due > now then next_due = now end
  end
end
return reply(next_due, false, until_ms, leases, tried)
