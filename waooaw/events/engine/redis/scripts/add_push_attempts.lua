#!lua flags=allow-oom
-- Add attempts, of which the newest are kept.     KEYS counts of the queue, attempts     ARGV how many are kept, attempts
if redis.call('EXISTS', KEYS[1]) == 0 then return {'gone'} end
if #ARGV > 1 then
  redis.call('RPUSH', KEYS[2], unpack(ARGV, 2))
  redis.call('LTRIM', KEYS[2], '-' .. ARGV[1], -1)
end
return {'ok'}
