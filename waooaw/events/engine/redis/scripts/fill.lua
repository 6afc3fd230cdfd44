#!lua
-- Add what a chunk of history holds to the list of the fill, and note how far it came.
-- KEYS log, meta, queue (16)
-- ARGV publish command, channel, incarnation, expected, reached (both padded), and as MessagePack for each reference:
--      its position, and what stands behind the reference in its item
--@history
--@queue
--@queue_state
use_queue(3)
local known = call('HMGET', COUNTS, 'fill_reached', 'fill_through', 'copies', 'matched')
if not known[4] then return {} end
if known[1] == ARGV[4] then
  local given, items, copies = unpack_values(ARGV[6]), {}, tonumber(known[3])
  for i = 1, #given, 2 do
    copies = copies + 1
    items[#items + 1] = given[i] .. '~' .. text(copies) .. given[i + 1]
  end
  each('RPUSH', FILL, items)
  if ARGV[5] >= known[2] then
    call('HDEL', COUNTS, 'fill_reached', 'fill_through')
  else
    call('HSET', COUNTS, 'fill_reached', ARGV[5])
  end
  call('HSET', COUNTS, 'copies', text(copies))
  count('matched', #items)
  count('waiting', #items)
  write_counts()
  wake(ARGV[1], ARGV[2], ARGV[3])
end
return describe_queue()
