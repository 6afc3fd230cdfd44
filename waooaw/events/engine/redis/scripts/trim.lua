#!lua flags=allow-oom
-- Remove the oldest events that a plan names, while the caller holds the lease of retention.
-- KEYS meta, log, lease
-- ARGV before ms ('' none), excess events, excess bytes, limit, replica, lease ms, now us, needed from ms and sequence
--      ('' nothing is)
--@history
local head = read_head(KEYS[1])
if not head then return {} end
local now_ms = math.floor(now_us(ARGV[7]) / 1000)
-- The token grows with each change of hands: who was overtaken can see it, and its steps are refused here in any case.
local lease = redis.call('HMGET', KEYS[3], 'replica', 'until_ms', 'token')
if lease[1] and lease[1] ~= ARGV[5] and tonumber(lease[2]) > now_ms then
  return {'held', lease[1], lease[3]}
end
local token = tonumber(lease[3] or '0')
if lease[1] ~= ARGV[5] then token = token + 1 end
redis.call('HSET', KEYS[3], 'replica', ARGV[5], 'until_ms', text(now_ms + tonumber(ARGV[6])), 'token', text(token))

local before_ms = tonumber(ARGV[1]) or 0
local excess_events, excess_bytes, limit = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local needed_ms, needed_seq = tonumber(ARGV[8]) or math.huge, tonumber(ARGV[9]) or 0
local removed, freed, through, from, first = 0, 0, nil, '-', ''
local done = false
while not done do
  local found = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 50)
  if #found == 0 then break end
  for _, entry in ipairs(found) do
    local ms, seq = entry[1]:match('^(%d+)-(%d+)$')
    ms, seq = tonumber(ms), tonumber(seq)
    -- What subscriptions need stays for as long as there is room; only the bytes go past it.
    local is_needed = ms > needed_ms or (ms == needed_ms and seq >= needed_seq)
    local goes = freed < excess_bytes or (not is_needed and (ms < before_ms or removed < excess_events))
    if removed >= limit or not goes then
      first, done = entry[1], true
      break
    end
    removed, freed, through = removed + 1, freed + #entry[2][4], entry[1]
    from = '(' .. through
  end
end
if removed == 0 then return {'ok', 0, token, describe(head)} end
local ms, seq = through:match('^(%d+)-(%d+)$')
redis.call('XTRIM', KEYS[2], 'MINID', ms .. '-' .. text(tonumber(seq) + 1))
head.trimmed_ms, head.trimmed_seq = tonumber(ms), tonumber(seq)
head.first, head.events, head.bytes = first, head.events - removed, head.bytes - freed
redis.call('HSET', KEYS[1], 'trimmed_ms', ms, 'trimmed_seq', seq, 'first', first, 'events', text(head.events),
  'bytes', text(head.bytes))
return {'ok', removed, token, describe(head)}
