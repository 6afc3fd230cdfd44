#!lua flags=no-writes
-- The leases that lapse first, and the references that fail, the oldest first.
-- KEYS log, meta, queue (16)     ARGV limit, how many to look at
--@history
--@queue
use_queue(3)
if call('EXISTS', COUNTS) == 0 then return {'gone'} end
local limit = tonumber(ARGV[1])

local function holdings(references, least)
  local found = {}
  if #references == 0 then return found end
  for i, packed in ipairs(call('HMGET', REFERENCES, unpack(references))) do
    local state = state_of(packed)
    if state and state[FAILURES] >= least and #found < limit then
      found[#found + 1] = {references[i], state[STATE], state[MEMBER] or '', text(state[FAILURES]), text(state[AT]),
        state[ERROR] or ''}
    end
  end
  return found
end

local leases = holdings(call('ZRANGE', LEASES, 0, limit - 1), 0)
return {'ok', leases, holdings(call('ZRANGE', COPIED, 0, tonumber(ARGV[2]) - 1), 1)}
