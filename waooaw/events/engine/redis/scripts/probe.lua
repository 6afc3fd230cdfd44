#!lua
-- Do on a key of its own what appends do, so that a right that is missing, or a key of another type, is found before an
-- append is stopped by it half-way: scripts do not roll back.
-- KEYS meta, log, epochs, ids 0, ids 1, samples, probe     ARGV publish command, channel
local TYPES = {'hash', 'stream', 'list', 'hash', 'hash', 'list'}
for i, wanted in ipairs(TYPES) do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= wanted and found ~= 'none' then return {KEYS[i], found, wanted} end
end
local key = KEYS[7]
redis.call('UNLINK', key)
redis.call('SET', key, '', 'EX', 1)
redis.call('GET', key)
redis.call('UNLINK', key)
redis.call('XADD', key, '1-0', 'h', '', 'b', '')
redis.call('XTRIM', key, 'MINID', '2')
redis.call('UNLINK', key)
redis.call('HSET', key, 'field', '')
redis.call('HMGET', key, 'field')
redis.call('UNLINK', key)
redis.call('RPUSH', key, '', '')
redis.call('LTRIM', key, 0, 0)
redis.call('LINDEX', key, 0)
redis.call('LPOP', key)
redis.call('UNLINK', key)
redis.call('HDEL', key, 'field')
redis.call('ZREM', key, '')
redis.call('LLEN', key)
redis.call('TIME')
redis.call('INFO', 'replication')
redis.call(ARGV[1], ARGV[2], '')
return {}
