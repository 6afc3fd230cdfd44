#!lua
-- Put dead letters back into their queue, to be tried anew.
-- KEYS log, meta, queue (16)
-- ARGV now us, delay ms, spacing ms, publish command, channel, incarnation, then the ids
--@history
--@queue
use_queue(3)
local known = call('HMGET', COUNTS, 'rules', 'copies')
if not known[1] then return {'gone'} end
local now = floor(now_us(ARGV[1]) / 1000)
local is_keyed = read_rules(known[1]).is_keyed
local copies, back = tonumber(known[2]), 0
for i = 7, #ARGV do
  local id = ARGV[i]
  local letter = call('XRANGE', DEAD, id, id)[1]
  if letter then
    local fields = letter[2]
    local key, expires = is_keyed and fields[16] or '', tonumber(fields[18])
    local at = now + floor(tonumber(ARGV[2]) + back * tonumber(ARGV[3]) + 0.5)
    copies, back = copies + 1, back + 1
    local number = text(copies)
    local reference = sub(fields[2], 1, POSITION_LENGTH) .. '~' .. sub(ZEROS, #number + 4) .. number
    call('HSET', COUNTS, 'copies', number)
    call('HSET', COPIES, reference, pack(fields[20], fields[22]))
    call('ZADD', COPIED, 0, reference)
    if key ~= '' and call('HEXISTS', BUSY, key) == 1 then
      park(reference, key, expires, at)
    else
      write_state(reference, {'W', 0, '', '', 0, at, key, expires})
      call('ZADD', DUE, text(at), reference)
      if key ~= '' then call('HSET', BUSY, key, reference) end
    end
    call('XDEL', DEAD, id)
    call('ZREM', DEAD_PLACES, fields[2] .. ' ' .. id)
    count('dead', -1)
    count('waiting', 1)
  end
end
write_counts()
if back > 0 then wake(ARGV[4], ARGV[5], ARGV[6]) end
return {'ok', back}
