-- Part of every script that tells how a queue stands.

local COUNTED = {'matched', 'acked', 'waiting', 'leased', 'scheduled', 'dead', 'expired', 'overrun', 'dropped',
  'claimed_ms', 'fill_reached', 'fill_through'}

-- The first reference of each list, and of those that were taken out of the lists.
local function heads()
  local found = {}
  for i = 1, 5 do
    local item = call('LINDEX', FRESH[i] or FILL, 0)
    if item then found[#found + 1] = (read_item(item)) end
  end
  found[#found + 1] = call('ZRANGE', HELD, 0, 0)[1]
  return found
end

local function oldest(references)
  local first = nil
  for _, reference in ipairs(references) do
    if not first or reference < first then first = reference end
  end
  return first and sub(first, 1, POSITION_LENGTH) or ''
end

local function describe_queue()
  local said = call('HMGET', COUNTS, unpack(COUNTED))
  if not said[1] then return {} end
  said[11], said[12] = said[11] or '', said[12] or ''
  local references = heads()
  references[#references + 1] = call('ZRANGE', COPIED, 0, 0)[1]
  said[13] = oldest(references)
  local letter = tonumber(said[6]) > 0 and call('XRANGE', DEAD, '-', '+', 'COUNT', 1)[1]
  said[14] = letter and letter[1] or ''
  said[15] = call('LLEN', FILL)
  return said
end
