#!lua flags=allow-oom
-- Take or keep a job, unless another replica holds it.     KEYS job     ARGV replica, for how many ms, now us
--@history
local now = math.floor(now_us(ARGV[3]) / 1000)
local held = redis.call('GET', KEYS[1])
if held then
  local until_ms, replica = held:match('^(%d+) (.*)$')
  if replica ~= ARGV[1] and tonumber(until_ms) > now then return 0 end
end
redis.call('SET', KEYS[1], text(now + tonumber(ARGV[2])) .. ' ' .. ARGV[1], 'PX', ARGV[2])
return 1
