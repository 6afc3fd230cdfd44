#!lua flags=no-writes
-- Dead letters after an id, the oldest first.     KEYS log, meta, queue (16)     ARGV after ('' none), limit, bytes max
--@history
--@queue
use_queue(3)
if call('EXISTS', COUNTS) == 0 then return {'gone'} end
local from, wanted, bytes_max = '-', tonumber(ARGV[2]), tonumber(ARGV[3])
if ARGV[1] ~= '' then from = '(' .. ARGV[1] end
local letters, bytes = {}, 0
while wanted > 0 and bytes < bytes_max do
  local step = math.min(wanted, 20)
  local found = call('XRANGE', DEAD, from, '+', 'COUNT', step)
  for _, letter in ipairs(found) do
    letters[#letters + 1] = letter
    bytes = bytes + #letter[2][22]
  end
  if #found < step then break end
  wanted = wanted - #found
  from = '(' .. found[#found][1]
end
return {'ok', letters}
