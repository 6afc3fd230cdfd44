#!lua flags=allow-oom
-- Make a bus where there is none, begin an epoch where one is due or asked for, and let a writer in.
-- KEYS meta, log, epochs, ids 0, ids 1, samples, writer     ARGV epoch id, force ('1'), writer seconds ('' none)
--@history
local head = read_head(KEYS[1])
local replid = replication_id()
if not head then
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
  redis.call('HSET', KEYS[1], 'format', '1', 'ms', '0', 'seq', '0', 'replid', '', 'epoch', '', 'routes', '0',
    'events', '0', 'bytes', '0', 'trimmed_ms', '0', 'trimmed_seq', '0', 'first', '', 'cut_ms', '0',
    'generation', '0', 'generation_ids', '0', 'generation_ms', '0', 'given', '0')
  -- While a slot moves, a script with a key that does not exist is refused: so all of them exist from the start.
  redis.call('XGROUP', 'CREATE', KEYS[2], 'wowevent', '0', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', KEYS[2], 'wowevent')
  redis.call('HSET', KEYS[4], '', '')
  redis.call('HSET', KEYS[5], '', '')
  redis.call('RPUSH', KEYS[6], '0 0')
  head = read_head(KEYS[1])
end
if head.replid ~= replid or ARGV[2] == '1' then
  begin_epoch(head, KEYS[1], KEYS[3], ARGV[1], replid)
end
if ARGV[3] ~= '' then redis.call('SET', KEYS[7], '0 ', 'EX', ARGV[3]) end
return describe(head)
