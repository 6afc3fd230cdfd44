#!lua flags=no-writes
-- The first position after which, or at which, queues need the log: {} for none, else whether it is itself needed.
-- KEYS log, meta, queues (16 each)     ARGV number of queues
--@history
--@queue
--@queue_state
local needed, after = '', ''
for n = 1, tonumber(ARGV[1]) do
  use_queue(3 + (n - 1) * QUEUE_KEYS)
  local first = oldest(heads())
  if first ~= '' and (needed == '' or first < needed) then needed = first end
  local reached = call('HGET', COUNTS, 'fill_reached')
  if reached and (after == '' or reached < after) then after = reached end
end
return {needed, after}
