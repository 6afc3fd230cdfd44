#!lua flags=allow-oom
-- Replace a record where it has the version that is expected; answer with it as it is then.
-- KEYS counts of the queue, record
-- ARGV now us, expected version, value, publish command, channel ('': nobody is told), incarnation
--@history
local call = redis.call
if call('EXISTS', KEYS[1]) == 0 then return {'gone'} end
local now_ms = text(math.floor(now_us(ARGV[1]) / 1000))
local found = call('HMGET', KEYS[2], 'version', 'value')
local version = found[1] or '0'
if version ~= ARGV[2] then return {'ok', version, found[2] or '', now_ms} end
version = text(tonumber(version) + 1)
call('HSET', KEYS[2], 'version', version, 'value', ARGV[3])
if ARGV[5] ~= '' then call(ARGV[4], ARGV[5], '\146' .. cmsgpack.pack(2, ARGV[6])) end
return {'ok', version, ARGV[3], now_ms}
