#!lua flags=allow-oom
-- Note that a replica lives (or, without members, that it left), drop those that went silent, return the rest.
-- KEYS replicas     ARGV replica, members, silent after ms, now us
--@history
local now_ms = math.floor(now_us(ARGV[4]) / 1000)
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], text(now_ms) .. ' ' .. ARGV[2])
end
local all, live = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local seen_ms = tonumber(all[i + 1]:match('^(%d+) '))
  if now_ms - seen_ms >= tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], all[i])
  else
    live[#live + 1] = all[i]
    live[#live + 1] = all[i + 1]
  end
end
return live
