#!lua flags=no-writes
-- A page of the log, its epoch, and how far it was trimmed, in one instant.
-- KEYS meta, log     ARGV first id, last id, limit, newest first ('1'), bytes max
local head = redis.call('HMGET', KEYS[1], 'epoch', 'trimmed_ms', 'trimmed_seq', 'ms', 'seq')
if not head[1] then return {} end
local command, from, to = 'XRANGE', ARGV[1], ARGV[2]
if ARGV[4] == '1' then command, from, to = 'XREVRANGE', to, from end
local wanted, bytes_max = tonumber(ARGV[3]), tonumber(ARGV[5])
local entries, bytes = {}, 0
while wanted > 0 and bytes < bytes_max do
  -- In steps, so that large events do not come in their thousands.
  local step = math.min(wanted, 50)
  local found = redis.call(command, KEYS[2], from, to, 'COUNT', step)
  for _, entry in ipairs(found) do
    entries[#entries + 1] = entry
    bytes = bytes + #entry[2][4]
    if bytes >= bytes_max then break end
  end
  if #found < step then break end
  wanted = wanted - #found
  from = '(' .. found[#found][1]
end
return {head[1], head[2] .. '-' .. head[3], head[4] .. '-' .. head[5], entries}
