#!lua flags=no-writes
-- The attempts that are kept, oldest first.     KEYS counts of the queue, attempts
if redis.call('EXISTS', KEYS[1]) == 0 then return {'gone'} end
return {'ok', redis.call('LRANGE', KEYS[2], 0, -1)}
