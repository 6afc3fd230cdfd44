#!lua
-- Store entries as one step, under the writer's sequence, and tell listeners in one frame.
-- KEYS meta, log, epochs, ids 0, ids 1, samples, writer; where an entry is from the schedule: schedule, scheduled;
--      then for each queue: counts, and its lists by priority
-- ARGV sequence, routes version, highest ms seen, now in us ('' the server's), epoch id, window ms, ids max,
--      sample step, publish command, channel, writer seconds, body bytes max in a frame,
--      the entries as they stand in a frame (header; 0xC6, length, body), for each 9 bytes: the sizes of header and body
--      and whether an id was given, and for each given id identity .. digest (16 bytes each);
--      where there are any: what is from the schedule (for each 4 bytes: its index, and 32 digits: its id), and for each
--      set of routes: the most that waits (4 bytes for each queue), its items (for each: index, priority, length of what
--      stands behind the position, that text)
--@history
local entries, sizes, given_ids = ARGV[13], ARGV[14], ARGV[15]
local SIZES, LENGTH, IDENTITY = 9, 5, 32
local head = read_head(KEYS[1])
if not head then return {'no_bus'} end
local stored = redis.call('GET', KEYS[7])
if not stored then return {'no_writer'} end
local last_sequence, last_answer = stored:match('^(%d+) (.*)$')
local sequence = tonumber(ARGV[1])
if sequence == tonumber(last_sequence) then
  -- A write, so that a WAIT after it waits for what the first try wrote, too.
  redis.call('SET', KEYS[7], stored, 'EX', ARGV[11])
  return {'ok', last_answer, describe(head)}
end
if sequence < tonumber(last_sequence) then return {'superseded', last_sequence} end

local replid = replication_id()
if head.replid ~= replid then begin_epoch(head, KEYS[1], KEYS[3], ARGV[5], replid) end
if ARGV[2] ~= routes_version(head) then return {'routes', routes_version(head)} end

local us = now_us(ARGV[4])
local now_ms = math.floor(us / 1000)
local window_ms, ids_max = tonumber(ARGV[6]), tonumber(ARGV[7])
local more = redis.call('HMGET', KEYS[1], 'generation', 'generation_ids', 'generation_ms', 'given')
local generation, generation_ids, generation_ms, given =
  tonumber(more[1]), tonumber(more[2]), tonumber(more[3]), tonumber(more[4])

local identities = {}
for at = 1, #given_ids, IDENTITY do identities[#identities + 1] = given_ids:sub(at, at + 15) end
local known = {}
if #identities > 0 then
  -- Two generations of ids: where the younger one is full or old enough, the older one is out of the window as a whole.
  if generation_ids >= ids_max or generation_ms + window_ms <= now_ms then
    generation, generation_ids, generation_ms = 1 - generation, 0, now_ms
    redis.call('UNLINK', KEYS[4 + generation])
  end
  local younger = redis.call('HMGET', KEYS[4 + generation], unpack(identities))
  local older = redis.call('HMGET', KEYS[5 - generation], unpack(identities))
  for i, identity in ipairs(identities) do known[identity] = younger[i] or older[i] or nil end
end

-- Positions: never at or before one that was handed out, whatever this server's clock says.
local count = #sizes / SIZES
local planned = nil
local first_queue = 8
if ARGV[16] and ARGV[16] ~= '' then
  planned, first_queue = {}, 10
  for place = 1, #ARGV[16], 36 do
    planned[struct.unpack('>I4', ARGV[16], place)] = ARGV[16]:sub(place + 4, place + 35)
  end
end
local ms, first_seq = now_ms, 0
local seen_ms = tonumber(ARGV[3])
if seen_ms > head.ms and seen_ms >= ms then ms = seen_ms + 1 end
if ms <= head.ms then ms, first_seq = head.ms, head.seq + 1 end
if first_seq + count > 1048576 then ms, first_seq = ms + 1, 0 end

local seq = first_seq
local exceptions, remembered, in_batch = {}, {}, {}
local frame_bytes_max = tonumber(ARGV[12])
local added_bytes, at, identity_at = 0, 1, 1
local travels_whole, not_stored = true, {}
local off_schedule, sequences = {}, nil
if ARGV[17] then sequences = {} end
local prefix, call, sub, unpack_sizes = text(ms) .. '-', redis.call, string.sub, struct.unpack
for index = 0, count - 1 do
  local header_bytes, body_bytes, is_given = unpack_sizes('>I4I4I1', sizes, index * SIZES + 1)
  local body_at = at + header_bytes + LENGTH
  local repeated = false
  local is_gone = planned and planned[index] and call('HEXISTS', KEYS[9], planned[index]) == 0
  if is_gone then
    exceptions[#exceptions + 1] = index .. 'g'
    if is_given == 1 then identity_at = identity_at + IDENTITY end
  elseif is_given == 1 then
    local identity, digest = sub(given_ids, identity_at, identity_at + 15), sub(given_ids, identity_at + 16, identity_at + 31)
    identity_at = identity_at + IDENTITY
    local found = known[identity]
    if found then
      local ordinal, found_ms, found_seq = struct.unpack('>I6I6I4', found)
      local is_trimmed = found_ms < head.trimmed_ms or (found_ms == head.trimmed_ms and found_seq <= head.trimmed_seq)
      if in_batch[identity] or (found_ms + window_ms > now_ms and given - ordinal < ids_max and not is_trimmed) then
        repeated = true
        if found:sub(17) == digest then
          if planned then off_schedule[#off_schedule + 1] = planned[index] end
          exceptions[#exceptions + 1] = index .. 'd' .. text(found_ms) .. '-' .. text(found_seq)
        else
          exceptions[#exceptions + 1] = index .. 'r'
        end
      end
    end
    if not repeated then
      given = given + 1
      local value = struct.pack('>I6I6I4', given, ms, seq) .. digest
      remembered[#remembered + 1] = identity
      remembered[#remembered + 1] = value
      known[identity], in_batch[identity] = value, true
    end
  end
  if repeated or is_gone then
    travels_whole, not_stored[index] = false, true
  else
    call('XADD', KEYS[2], prefix .. seq, 'h', sub(entries, at, at + header_bytes - 1),
      'b', sub(entries, body_at, body_at + body_bytes - 1))
    added_bytes = added_bytes + body_bytes
    if sequences then sequences[index] = seq end
    if planned then off_schedule[#off_schedule + 1] = planned[index] end
    seq = seq + 1
    if body_bytes > frame_bytes_max then travels_whole = false end
  end
  at = body_at + body_bytes
end

if #off_schedule > 0 then
  call('ZREM', KEYS[8], unpack(off_schedule))
  call('HDEL', KEYS[9], unpack(off_schedule))
end

-- Queues ----------------------------------------------------------------------------------------------------------------

-- Drop what a queue has too much, the oldest of the least urgent first; what is in no list stays.
local function drop_overrun(at, waiting, waiting_max)
  local excess = waiting - waiting_max
  for list = 4, 1, -1 do
    local dropped = math.min(excess, call('LLEN', KEYS[at + list]))
    if dropped > 0 then
      call('LTRIM', KEYS[at + list], dropped, -1)
      excess = excess - dropped
    end
  end
  call('HINCRBY', KEYS[at], 'overrun', waiting - waiting_max - excess)
  call('HSET', KEYS[at], 'waiting', text(waiting_max + excess))
end

-- The items of a set, built once for all its queues: a list of arguments for each priority.
local function items_of(spelled)
  local lists, items, place = {{''}, {''}, {''}, {''}}, 0, 1
  while place <= #spelled do
    local index, priority, length = unpack_sizes('>I2I1I1', spelled, place)
    local sequence_of = sequences[index]
    if sequence_of then
      local list = lists[priority + 1]
      list[#list + 1] = prefix .. sequence_of .. sub(spelled, place + 4, place + 3 + length)
      items = items + 1
    end
    place = place + 4 + length
  end
  return lists, items
end

local function push(at, lists, items, waiting_max)
  local known = call('HMGET', KEYS[at], 'matched', 'waiting')
  if not known[1] then return end
  for list = 1, 4 do
    local arguments = lists[list]
    if #arguments > 1 then
      arguments[1] = KEYS[at + list]
      local pushed = redis.pcall('RPUSH', unpack(arguments))
      if type(pushed) == 'table' then
        -- Somebody made the list something else: what cannot be put there must not stop the log, and is told.
        call('HINCRBY', KEYS[at], 'matched', #arguments - 1)
        call('HINCRBY', KEYS[at], 'overrun', #arguments - 1)
        items = items - #arguments + 1
      end
    end
  end
  local waiting = tonumber(known[2]) + items
  call('HINCRBY', KEYS[at], 'matched', items)
  call('HSET', KEYS[at], 'waiting', text(waiting))
  if waiting > waiting_max then drop_overrun(at, waiting, waiting_max) end
end

local queue_at = first_queue
for set = 17, #ARGV, 2 do
  local lists, items = items_of(ARGV[set + 1])
  for place = 1, #ARGV[set], 4 do
    if items > 0 then push(queue_at, lists, items, unpack_sizes('>I4', ARGV[set], place)) end
    queue_at = queue_at + 5
  end
end

local added = seq - first_seq
local answer = text(ms) .. '-' .. first_seq .. ' ' .. table.concat(exceptions, ',')
redis.call('SET', KEYS[7], sequence .. ' ' .. answer, 'EX', ARGV[11])
if added == 0 then return {'ok', answer, describe(head)} end

if #remembered > 0 then
  redis.call('HSET', KEYS[4 + generation], unpack(remembered))
  local ids = #remembered / 2
  local step = tonumber(ARGV[8])
  if math.floor(given / step) > math.floor((given - ids) / step) then
    redis.call('RPUSH', KEYS[6], text(given) .. ' ' .. text(ms))
    local oldest = redis.call('LINDEX', KEYS[6], 0)
    while oldest do
      local ordinal, sample_ms = oldest:match('^(%d+) (%d+)$')
      if tonumber(ordinal) > given - ids_max then break end
      head.cut_ms = tonumber(sample_ms)
      redis.call('LPOP', KEYS[6])
      oldest = redis.call('LINDEX', KEYS[6], 0)
    end
  end
  redis.call('HSET', KEYS[1], 'generation', generation, 'generation_ids', text(generation_ids + ids),
    'generation_ms', text(generation_ms), 'given', text(given), 'cut_ms', text(head.cut_ms))
end

local told = entries
if not travels_whole then
  -- Only what was stored; a body that is too large is nil, and read from the log by those who want it.
  local parts = {}
  at = 1
  for index = 0, count - 1 do
    local header_bytes, body_bytes = unpack_sizes('>I4I4', sizes, index * SIZES + 1)
    local body_at = at + header_bytes + LENGTH
    if not not_stored[index] then
      local ends_at, tail = body_at + body_bytes - 1, ''
      if body_bytes > frame_bytes_max then ends_at, tail = body_at - LENGTH - 1, '\192' end
      parts[#parts + 1] = sub(entries, at, ends_at) .. tail
    end
    at = body_at + body_bytes
  end
  told = table.concat(parts)
end
local message = '\152' .. cmsgpack.pack(1, head.epoch, head.ms, head.seq, ms, first_seq, us) ..
  '\220' .. struct.pack('>I2', added * 2) .. told
if head.first == '' then head.first = text(ms) .. '-' .. first_seq end
head.ms, head.seq, head.events, head.bytes = ms, seq - 1, head.events + added, head.bytes + added_bytes
redis.call('HSET', KEYS[1], 'ms', text(ms), 'seq', text(seq - 1), 'first', head.first,
  'events', text(head.events), 'bytes', text(head.bytes))
redis.call(ARGV[9], ARGV[10], message)
return {'ok', answer, describe(head)}
