#!lua flags=no-writes
-- Where the newest reference to an event is.     KEYS log, meta, queue (16)     ARGV position (padded), priority
--@history
--@queue
use_queue(3)
local known = call('HMGET', COUNTS, 'history_from', 'fill_reached', 'fill_through')
if not known[1] then return {'gone'} end
local position = ARGV[1]

local function last_of(key)
  return call('ZREVRANGEBYLEX', key, '[' .. position .. '\255', '[' .. position, 'LIMIT', 0, 1)[1]
end

-- Lists are in the order of the log.
local function listed(key)
  local low, high = 0, call('LLEN', key) - 1
  while low <= high do
    local middle = floor((low + high) / 2)
    local reference = read_item(call('LINDEX', key, middle))
    local found = sub(reference, 1, POSITION_LENGTH)
    if found == position then return reference end
    if found < position then low = middle + 1 else high = middle - 1 end
  end
  return nil
end

local best, place = '', nil
local function consider(reference, where)
  if reference and reference > best then best, place = reference, where end
end
consider(last_of(HELD), 'taken')
consider(last_of(COPIED), 'taken')
consider(listed(FILL), 'listed')
consider(listed(FRESH[tonumber(ARGV[2]) + 1]), 'listed')
local letter = last_of(DEAD_PLACES)
consider(letter and match(letter, '^(%S+)'), 'dead')

if place == 'listed' then return {'ok', 'W', 0, '', ''} end
if place == 'dead' then
  local id = match(letter, ' (%S+)$')
  local found = call('XRANGE', DEAD, id, id)[1]
  if found then return {'ok', 'D', tonumber(found[2][6]), found[2][14], found[2][12]} end
end
if place == 'taken' then
  local state = state_of(call('HGET', REFERENCES, best))
  if not state then return {'ok', 'W', 0, '', ''} end
  local attempts = state[FAILURES]
  if state[STATE] == 'L' then attempts = attempts + 1 end
  return {'ok', state[STATE], attempts, state[MEMBER] or '', state[ERROR] or ''}
end
local last = call('HMGET', META, 'ms', 'seq')
local is_to_come = known[2] and position > known[2] and position <= known[3]
if position <= known[1] or is_to_come or position > position_of(last[1], last[2]) then return {'none'} end
return {'ok', 'G', 0, '', ''}
