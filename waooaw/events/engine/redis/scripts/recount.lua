#!lua flags=allow-oom
-- Take a log as it is, where somebody shortened it by hand: what is missing at its beginning counts as trimmed.
-- KEYS meta, log
--@history
local head = read_head(KEYS[1])
if not head then return {} end
local events = redis.call('XLEN', KEYS[2])
if events == head.events then return describe(head) end
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if first then
  local ms, seq = first[1]:match('^(%d+)-(%d+)$')
  head.first, ms, seq = first[1], tonumber(ms), tonumber(seq)
  if seq > 0 then seq = seq - 1 else ms, seq = ms - 1, 1048575 end
  if ms > head.trimmed_ms or (ms == head.trimmed_ms and seq > head.trimmed_seq) then
    head.trimmed_ms, head.trimmed_seq = ms, seq
  end
else
  head.first, head.trimmed_ms, head.trimmed_seq = '', head.ms, head.seq
end
-- Bytes by the share of events that is left: reading all of them would block the server.
if head.events > 0 then head.bytes = math.floor(head.bytes * events / head.events) end
if events == 0 then head.bytes = 0 end
head.events = events
redis.call('HSET', KEYS[1], 'first', head.first, 'trimmed_ms', text(head.trimmed_ms), 'trimmed_seq', text(head.trimmed_seq),
  'events', text(head.events), 'bytes', text(head.bytes))
return describe(head)
