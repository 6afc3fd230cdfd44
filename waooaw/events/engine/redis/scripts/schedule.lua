#!lua
-- Store events beside the log until they are due.
-- KEYS meta, schedule, scheduled
-- ARGV events max, and for each event: id, due ms, digest of its content (16 bytes), body
local call = redis.call
if call('EXISTS', KEYS[1]) == 0 then return {'no_bus'} end
local held, answer = call('ZCARD', KEYS[2]), {}
for i = 2, #ARGV, 4 do
  local id, due, digest = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local found = call('HGET', KEYS[3], id)
  if found then
    answer[#answer + 1] = found:sub(1, 16) == digest and 'd' .. call('ZSCORE', KEYS[2], id) or 'r'
  elseif held >= tonumber(ARGV[1]) then
    answer[#answer + 1] = 'f'
  else
    call('HSET', KEYS[3], id, digest .. ARGV[i + 3])
    call('ZADD', KEYS[2], due, id)
    held = held + 1
    answer[#answer + 1] = 's' .. due
  end
end
-- As in change_subscriptions: a write for the WAIT behind it.
call('HSET', KEYS[1], 'format', call('HGET', KEYS[1], 'format') or '1')
return {'ok', answer}
