#!lua flags=no-writes
-- What the replicas know of a receiver together.     KEYS counts of the queue, record     ARGV now us
--@history
if redis.call('EXISTS', KEYS[1]) == 0 then return {'gone'} end
local found = redis.call('HMGET', KEYS[2], 'version', 'value')
return {'ok', found[1] or '0', found[2] or '', text(math.floor(now_us(ARGV[1]) / 1000))}
