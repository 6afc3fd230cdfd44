#!lua flags=no-writes
-- Events beside the log: those that are due, a page of all by time and id, or one.
-- KEYS schedule, scheduled     ARGV due: 'due', limit, bytes max, now us; page: 'page', limit, bytes max, after ms ('' none), after id;
--      one: 'one', id
--@history
local call = redis.call
local SCHEDULE, SCHEDULED = KEYS[1], KEYS[2]

local function event(id, due) return {id, due, (call('HGET', SCHEDULED, id) or ''):sub(17)} end

local function due_events()
  local limit, bytes_max, now = tonumber(ARGV[2]), tonumber(ARGV[3]), math.floor(now_us(ARGV[4]) / 1000)
  local found, events, bytes = call('ZRANGE', SCHEDULE, 0, limit, 'WITHSCORES'), {}, 0
  for i = 1, #found, 2 do
    if tonumber(found[i + 1]) > now or #events >= limit or bytes >= bytes_max then return {events, found[i + 1]} end
    events[#events + 1] = event(found[i], found[i + 1])
    bytes = bytes + #events[#events][3]
  end
  return {events, ''}
end

-- How many are at or before a place in the order of time and id.
local function rank_after(ms, id)
  local low, high = 0, call('ZCARD', SCHEDULE)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local found = call('ZRANGE', SCHEDULE, middle, middle, 'WITHSCORES')
    local due = tonumber(found[2])
    if due < ms or (due == ms and found[1] <= id) then low = middle + 1 else high = middle end
  end
  return low
end

local function page()
  local first, limit, bytes_max = 0, tonumber(ARGV[2]), tonumber(ARGV[3])
  if ARGV[4] ~= '' then first = rank_after(tonumber(ARGV[4]), ARGV[5]) end
  local found, events, bytes = call('ZRANGE', SCHEDULE, first, first + limit - 1, 'WITHSCORES'), {}, 0
  for i = 1, #found, 2 do
    events[#events + 1] = event(found[i], found[i + 1])
    bytes = bytes + #events[#events][3]
    if bytes >= bytes_max then break end
  end
  return {events, call('ZCARD', SCHEDULE)}
end

if ARGV[1] == 'due' then return due_events() end
if ARGV[1] == 'page' then return page() end
local due = call('ZSCORE', SCHEDULE, ARGV[2])
if not due then return {} end
return event(ARGV[2], due)
