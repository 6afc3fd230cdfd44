#!lua flags=allow-oom
-- Remove dead letters for good.     KEYS log, meta, queue (16)     ARGV ids
--@history
--@queue
use_queue(3)
if call('EXISTS', COUNTS) == 0 then return {'gone'} end
local purged = 0
for _, id in ipairs(ARGV) do
  local letter = call('XRANGE', DEAD, id, id)[1]
  if letter then
    call('XDEL', DEAD, id)
    call('ZREM', DEAD_PLACES, letter[2][2] .. ' ' .. id)
    purged = purged + 1
  end
end
count('dead', -purged)
count('dropped', purged)
write_counts()
return {'ok', purged}
