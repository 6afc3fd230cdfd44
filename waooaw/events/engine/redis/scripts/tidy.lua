#!lua flags=allow-oom
-- Let go of the ids that are out of the window, also while nothing is published or can be: they may be what fills Redis.
-- KEYS meta, ids 0, ids 1     ARGV window ms, now us
--@history
local found = redis.call('HMGET', KEYS[1], 'generation', 'generation_ms')
if not found[1] then return 0 end
local now_ms = math.floor(now_us(ARGV[2]) / 1000)
if tonumber(found[2]) + tonumber(ARGV[1]) > now_ms then return 0 end
-- The younger generation is as old as the window: what is in the older one is out of it as a whole.
local older = 1 - tonumber(found[1])
local key = KEYS[2 + older]
redis.call('UNLINK', key)
redis.call('HSET', key, '', '')
redis.call('HSET', KEYS[1], 'generation', older, 'generation_ids', '0', 'generation_ms', text(now_ms))
return 1
