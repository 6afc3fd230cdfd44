#!lua
-- Change subscriptions in one step, and move the version of the routes where something changed.
-- KEYS meta, epochs, subscriptions, changes, then for each change all that goes with the queue (18 keys) that it is about
-- ARGV epoch id, now us, subscriptions max, changes kept, publish command, channel, then for each change:
--      what (put, pause, delete), name, incarnation of the queue whose keys are declared, whether it is one to be made,
--      definition, rules, start ('' none; padded), keyed ('1') or paused ('1') or unclaimed since ms ('' whenever),
--      max waiting
--@history
local STRIDE, QUEUE_KEYS = 9, 18
local SUBSCRIPTIONS, CHANGES = KEYS[3], KEYS[4]
local call = redis.call
local head = read_head(KEYS[1])
if not head then return {'no_bus'} end

-- A record: incarnation, created ms, after (padded), paused, keyed, max waiting, and the definition on the next line.
local function read_record(name)
  local found = call('HGET', SUBSCRIPTIONS, name)
  if not found then return nil end
  local incarnation, created, after, paused, keyed, max_waiting, definition =
    found:match('^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)\n(.*)$')
  return {incarnation = incarnation, created = created, after = after, paused = paused, keyed = keyed,
    max_waiting = max_waiting, definition = definition, text = found}
end

local function write_record(name, record)
  record.text = table.concat({record.incarnation, record.created, record.after, record.paused, record.keyed,
    record.max_waiting}, ' ') .. '\n' .. record.definition
  call('HSET', SUBSCRIPTIONS, name, record.text)
end

local given = {}
for i = 7, #ARGV, STRIDE do
  local n = #given + 1
  given[n] = {what = ARGV[i], name = ARGV[i + 1], incarnation = ARGV[i + 2], is_made = ARGV[i + 3] == '1',
    definition = ARGV[i + 4], rules = ARGV[i + 5], start = ARGV[i + 6], value = ARGV[i + 7], max_waiting = ARGV[i + 8],
    counts = KEYS[5 + (n - 1) * QUEUE_KEYS], at = 5 + (n - 1) * QUEUE_KEYS}
  local found = read_record(ARGV[i + 1])
  -- Somebody changed it since the caller looked: the keys are those of another queue.
  if (found and found.incarnation ~= ARGV[i + 2]) or (not found and ARGV[i] == 'put' and not given[n].is_made) then
    return {'again'}
  end
end

local replid = replication_id()
if head.replid ~= replid then begin_epoch(head, KEYS[1], KEYS[2], ARGV[1], replid) end
local now_ms = math.floor(now_us(ARGV[2]) / 1000)
local function padded(ms, seq) return string.format('%013.0f-%07.0f', ms, seq) end
local last = padded(head.ms, head.seq)
local subscriptions, is_changed = call('HLEN', SUBSCRIPTIONS), false
local version = tonumber(head.routes) + 1

local function note(name)
  is_changed = true
  call('RPUSH', CHANGES, text(version) .. ' ' .. name)
end

local CHANGE = {}

local function make(change)
  if subscriptions >= tonumber(ARGV[3]) then return 'too_many' end
  local record = {incarnation = change.incarnation, created = text(now_ms), after = last, paused = '0',
    keyed = change.value, max_waiting = change.max_waiting, definition = change.definition}
  local from = last
  if change.start ~= '' and change.start < last then
    from = change.start
    call('HSET', change.counts, 'fill_reached', from, 'fill_through', last)
  end
  call('HSET', change.counts, 'matched', '0', 'waiting', '0', 'acked', '0', 'leased', '0', 'scheduled', '0', 'dead', '0',
    'expired', '0', 'overrun', '0', 'dropped', '0', 'turn', '0', 'due_next', '1', 'copies', '0', 'paused', '0',
    'claimed_ms', text(now_ms), 'history_from', from, 'rules', change.rules)
  write_record(change.name, record)
  subscriptions = subscriptions + 1
  note(change.name)
  return 'made', record
end

function CHANGE.put(change, record)
  if not record then return make(change) end
  if change.is_made then return 'made', record end
  if change.start ~= '' then return 'exists', record end
  if change.value ~= record.keyed then return 'ordering', record end
  if call('HGET', change.counts, 'rules') ~= change.rules or record.definition ~= change.definition then
    record.definition, record.max_waiting = change.definition, change.max_waiting
    call('HSET', change.counts, 'rules', change.rules)
    write_record(change.name, record)
    note(change.name)
  end
  return 'put', record
end

function CHANGE.pause(change, record)
  if not record then return 'not_found' end
  if record.paused ~= change.value then
    record.paused = change.value
    call('HSET', change.counts, 'paused', change.value)
    write_record(change.name, record)
    note(change.name)
  end
  return 'put', record
end

function CHANGE.delete(change, record)
  if not record then return 'not_found' end
  if change.value ~= '' and tonumber(call('HGET', change.counts, 'claimed_ms') or '0') > tonumber(change.value) then
    return 'put', record
  end
  call('HDEL', SUBSCRIPTIONS, change.name)
  call('UNLINK', unpack(KEYS, change.at, change.at + QUEUE_KEYS - 1))
  subscriptions = subscriptions - 1
  note(change.name)
  return 'deleted', record
end

local answer = {'ok'}
for _, change in ipairs(given) do
  local became, record = CHANGE[change.what](change, read_record(change.name))
  answer[#answer + 1] = became
  answer[#answer + 1] = record and record.text or ''
end
if is_changed then
  head.routes = text(version)
  call('LTRIM', CHANGES, -tonumber(ARGV[4]), -1)
end
-- A write also where nothing changed: a WAIT behind it waits for what an earlier try wrote, too.
-- Under a name of its own, the old one gone: a release that knows no subscriptions, and would store events past their
-- queues, then stumbles before it writes. Its publishes get 503, which is told; a lost event would not be.
call('HSET', KEYS[1], 'queue_routes', head.routes)
call('HDEL', KEYS[1], 'routes')
if is_changed then call(ARGV[5], ARGV[6], '\146' .. cmsgpack.pack(2, '')) end
answer[#answer + 1] = describe(head)
return answer
