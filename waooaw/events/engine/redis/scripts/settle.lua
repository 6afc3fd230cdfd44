#!lua flags=allow-oom
-- Settle deliveries. A token that is not that of the lease changes nothing.
-- KEYS log, meta, queue (16), answer
-- ARGV sequence, now us, answer seconds, publish command, channel, incarnation, and as MessagePack for each delivery:
--      reference, nonce, and 0 for an ack or else {outcome, delay ms (-1: by the rules), chance, reason}
--@history
--@queue
use_queue(3)
local ANSWER = KEYS[3 + QUEUE_KEYS]
local known = call('HMGET', COUNTS, 'rules', 'leased', 'waiting', 'scheduled')
if not known[1] then return {'gone'} end
local now = floor(now_us(ARGV[2]) / 1000)

local stored = call('GET', ANSWER)
if stored then
  local last, answer = match(stored, '^(%d+) (.*)$')
  if last == ARGV[1] then return {'ok', answer, ''} end
  if tonumber(ARGV[1]) < tonumber(last) then return {'superseded', last} end
end

local rules = read_rules(known[1])
local requests = unpack_values(ARGV[7])
local references, states = {}, {}
for i = 1, #requests, 3 do references[#references + 1] = requests[i] end
if #references > 0 then
  for i, packed in ipairs(call('HMGET', REFERENCES, unpack(references))) do
    local reference = references[i]
    if packed and not states[reference] then states[reference] = state_of(packed) end
  end
end

local attempts, is_wake, acked = {}, false, 0

-- Set a reference that is leased no more where it waits for its next hand-out.
local function put_back(reference, state, place, at)
  count('leased', -1)
  count(PLACES[place], 1)
  state[STATE], state[NONCE], state[AT] = place, '', at
  write_state(reference, state)
  call('ZADD', DUE, text(at), reference)
  gone.leases[#gone.leases + 1] = reference
  is_wake = true
end

local function delay_ms_of(state, given, chance)
  if given >= 0 then return given end
  if rules.first_ms == 0 then return 0 end  -- times an infinite factor it is no number
  return floor(math.min(rules.first_ms * rules.factor ^ (state[FAILURES] - 1), rules.cap_ms) * chance + 0.5)
end

local SETTLE = {}

function SETTLE.extend(reference, state, delay_ms)
  state[AT] = now + (delay_ms >= 0 and delay_ms or rules.lease_ms)
  write_state(reference, state)
  call('ZADD', LEASES, text(state[AT]), reference)
end

function SETTLE.release(reference, state) put_back(reference, state, 'W', now) end

function SETTLE.reject(reference, state, _, _, reason)
  failed(state, reason, now)
  bury(reference, state, 'rejected', now, false)
  states[reference] = nil
end

function SETTLE.nack(reference, state, delay_ms, chance, reason)
  failed(state, reason, now)
  local why = exhausted(state, rules, now)
  if why then
    bury(reference, state, why, now, rules.drops)
    states[reference] = nil
    return
  end
  if call('HEXISTS', COPIES, reference) == 0 then
    local header, body = event_of(reference, false)
    if header then keep_copy(reference, header, body) end
  end
  put_back(reference, state, 'S', now + delay_ms_of(state, delay_ms, chance))
end

for i = 1, #requests, 3 do
  local reference, how = requests[i], requests[i + 2]
  local state = states[reference]
  if not state or state[STATE] ~= 'L' or state[NONCE] ~= requests[i + 1] then
    attempts[#attempts + 1] = 0
  else
    attempts[#attempts + 1] = state[FAILURES] + 1
    if how == 0 then
      acked = acked + 1
      forget(reference, state, now)
      states[reference] = nil
    else
      SETTLE[how[1]](reference, state, how[2], how[3], how[4])
    end
  end
end
write_gone()
count('leased', -acked)
count('acked', acked)
local leased = tonumber(known[2]) + (changes.leased or 0)
local is_roomy = tonumber(known[2]) >= rules.in_flight and leased < rules.in_flight
  and tonumber(known[3]) + tonumber(known[4]) > 0
write_counts()
local answer = table.concat(attempts, ' ')
call('SET', ANSWER, ARGV[1] .. ' ' .. answer, 'EX', ARGV[3])
if is_wake or woken or is_roomy then wake(ARGV[4], ARGV[5], ARGV[6]) end
return {'ok', answer, moves()}
