#!lua flags=allow-oom
-- Drop what waits or is scheduled, in bounded steps, and begin a fill from a place on.
-- KEYS log, meta, queue (16)     ARGV start (padded), limit of a step, publish command, channel, incarnation, now us
--@history
--@queue
--@queue_state
use_queue(3)
local known = call('HMGET', COUNTS, 'history_from')
if not known[1] then return {'gone'} end
local now, left = floor(now_us(ARGV[6]) / 1000), tonumber(ARGV[2])

-- What is parked goes first: where this ends half-way, nothing waits behind a key that nobody holds.
local parked = call('ZRANGE', PARKED, 0, left - 1)
for _, member in ipairs(parked) do
  local reference = match(member, '^[^:]*:([^|]*)|')
  gone.held[#gone.held + 1] = reference
  if #reference > POSITION_LENGTH then gone.copies[#gone.copies + 1] = reference end
end
each('ZREM', PARKED, parked)
count('waiting', -#parked)
count('dropped', #parked)
left = left - #parked
if left > 0 then
  local references = call('ZRANGE', DUE, 0, left - 1)
  if #references > 0 then
    for i, packed in ipairs(call('HMGET', REFERENCES, unpack(references))) do
      local state = state_of(packed)
      if state then
        count(PLACES[state[STATE]], -1)
        count('dropped', 1)
        forget(references[i], state, now)
      end
    end
  end
  left = left - #references
end
write_gone()
write_counts()
if left <= 0 then return {'more'} end

for i = 1, 5 do
  local key = FRESH[i] or FILL
  local length = call('LLEN', key)
  count('waiting', -length)
  count('dropped', length)
  call('UNLINK', key)
end
write_counts()
call('HDEL', COUNTS, 'fill_reached', 'fill_through')
local last = call('HMGET', META, 'ms', 'seq')
local through = position_of(last[1], last[2])
if ARGV[1] < through then
  call('HSET', COUNTS, 'fill_reached', ARGV[1], 'fill_through', through)
  if ARGV[1] < known[1] then call('HSET', COUNTS, 'history_from', ARGV[1]) end
end
call('HSET', COUNTS, 'sought_ms', text(now))
wake(ARGV[3], ARGV[4], ARGV[5])
return {'ok', describe_queue()}
