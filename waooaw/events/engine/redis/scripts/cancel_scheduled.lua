#!lua flags=allow-oom
-- Take an event off the schedule.     KEYS meta, schedule, scheduled     ARGV id
local call = redis.call
local is_there = call('ZREM', KEYS[2], ARGV[1])
call('HDEL', KEYS[3], ARGV[1])
-- As in change_subscriptions: a write for the WAIT behind it.
local format = call('HGET', KEYS[1], 'format')
if format then call('HSET', KEYS[1], 'format', format) end
return {'ok', is_there}
