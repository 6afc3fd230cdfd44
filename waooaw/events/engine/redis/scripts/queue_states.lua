#!lua flags=no-writes
-- Queues as they stand; nothing for one that is not there.     KEYS log, meta, queues (16 each)     ARGV number of queues
--@history
--@queue
--@queue_state
local answer = {}
for n = 1, tonumber(ARGV[1]) do
  use_queue(3 + (n - 1) * QUEUE_KEYS)
  answer[n] = describe_queue()
end
return answer
