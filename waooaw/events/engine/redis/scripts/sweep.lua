#!lua flags=allow-oom
-- Do for queues what a claim would do where nobody claims, and let go of old dead letters.
-- KEYS log, meta, queues (16 each)
-- ARGV now us, limit, dead before ms, dead max, publish command, channel, then the incarnation of each queue
--@history
--@queue
local now = floor(now_us(ARGV[1]) / 1000)
local limit, dead_age_ms, dead_max = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local trimmed = call('HMGET', META, 'trimmed_ms', 'trimmed_seq')
local trimmed_through = position_of(trimmed[1] or '0', trimmed[2] or '0')
local STEP = 100
local rules, left

local function is_trimmed(reference) return sub(reference, 1, POSITION_LENGTH) <= trimmed_through end

local function states_of(references)
  if #references == 0 then return {} end
  return call('HMGET', REFERENCES, unpack(references))
end

local function sweep_lapsed()
  local references = call('ZRANGEBYSCORE', LEASES, '-inf', text(now), 'LIMIT', 0, left)
  for i, packed in ipairs(states_of(references)) do
    local reference, state = references[i], state_of(packed)
    if state then
      left = left - 1
      failed(state, LAPSED, now)
      local why = exhausted(state, rules, now)
      if why then
        bury(reference, state, why, now, rules.drops)
      elseif is_expired(state[EXPIRES], now) then
        end_as('expired', reference, state, now)
      else
        local header, body, is_copy = event_of(reference, may_have_copy(reference, state))
        if not header then
          end_as('overrun', reference, state, now)
        else
          if not is_copy then keep_copy(reference, header, body) end
          state[STATE], state[NONCE], state[AT] = 'S', '', now
          write_state(reference, state)
          call('ZADD', DUE, text(now), reference)
          gone.leases[#gone.leases + 1] = reference
          count('leased', -1)
          count('scheduled', 1)
          moved.lapsed, woken = moved.lapsed + 1, true
        end
      end
    end
  end
end

local function sweep_due()
  if left <= 0 then return end
  local references = call('ZRANGEBYSCORE', DUE, '-inf', text(now), 'LIMIT', 0, left)
  for i, packed in ipairs(states_of(references)) do
    local reference, state = references[i], state_of(packed)
    if state then
      if is_expired(state[EXPIRES], now) then
        left = left - 1
        end_as('expired', reference, state, now)
      elseif is_trimmed(reference) and call('HEXISTS', COPIES, reference) == 0 then
        left = left - 1
        end_as('overrun', reference, state, now)
      end
    end
  end
end

local function sweep_list(key)
  local is_over = false
  while left > 0 and not is_over do
    local size = math.min(STEP, left)
    local items, taken = call('LRANGE', key, 0, size - 1), 0
    for _, item in ipairs(items) do
      local reference, _, expires = read_item(item)
      local name = is_expired(expires, now) and 'expired' or is_trimmed(reference) and 'overrun'
      if not name then break end
      taken = taken + 1
      count('waiting', -1)
      count(name, 1)
      moved[name] = moved[name] + 1
    end
    if taken > 0 then call('LTRIM', key, taken, -1) end
    left = left - taken
    is_over = taken < size
  end
end

local function sweep_dead(dead)
  local before_ms, excess = now - dead_age_ms, dead - dead_max
  local dropped, is_over = 0, false
  while left > 0 and not is_over do
    local size = math.min(20, left)
    local letters = call('XRANGE', DEAD, '-', '+', 'COUNT', size)
    local ids, places = {}, {}
    for _, letter in ipairs(letters) do
      local died_ms = tonumber(match(letter[1], '^(%d+)'))
      if not (died_ms < before_ms or dropped < excess) then break end
      dropped = dropped + 1
      ids[#ids + 1] = letter[1]
      places[#places + 1] = letter[2][2] .. ' ' .. letter[1]
    end
    each('XDEL', DEAD, ids)
    each('ZREM', DEAD_PLACES, places)
    left = left - #ids
    is_over = #ids < size
  end
  if dropped > 0 then
    count('dead', -dropped)
    count('dropped', dropped)
  end
end

local answer = {}
for n = 1, #ARGV - 6 do
  use_queue(3 + (n - 1) * QUEUE_KEYS)
  local known = call('HMGET', COUNTS, 'rules', 'dead')
  if known[1] then
    rules, left = read_rules(known[1]), limit
    sweep_lapsed()
    write_gone()
    sweep_due()
    for _, key in ipairs(FRESH) do sweep_list(key) end
    sweep_list(FILL)
    local dead = tonumber(known[2]) + (changes.dead or 0)
    if dead > 0 then sweep_dead(dead) end
    write_gone()
    write_counts()
    if woken then wake(ARGV[5], ARGV[6], ARGV[6 + n]) end
    answer[n] = moves()
  else
    answer[n] = ''
  end
end
return answer
