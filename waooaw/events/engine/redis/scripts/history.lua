-- Part of every script that writes: the bus as it stands, and the epoch that is being written.

local HEAD = {'ms', 'seq', 'replid', 'epoch', 'routes', 'events', 'bytes', 'trimmed_ms', 'trimmed_seq', 'first', 'cut_ms',
  'queue_routes'}

local function read_head(meta_key)
  local values = redis.call('HMGET', meta_key, unpack(HEAD))
  if not values[4] then return nil end
  local head = {}
  for i, name in ipairs(HEAD) do head[name] = values[i] end
  for _, name in ipairs({'ms', 'seq', 'events', 'bytes', 'trimmed_ms', 'trimmed_seq', 'cut_ms'}) do
    head[name] = tonumber(head[name])
  end
  head.routes = head.queue_routes or head.routes
  return head
end

local function text(number) return string.format('%.0f', number) end

local function replication_id()
  return redis.call('INFO', 'replication'):match('master_replid:(%w+)')
end

-- An epoch begins where another server, or the same one after another start, goes on writing.
local function begin_epoch(head, meta_key, epochs_key, id, replid)
  redis.call('RPUSH', epochs_key, id .. ' ' .. text(head.ms) .. '-' .. text(head.seq))
  redis.call('LTRIM', epochs_key, -10000, -1)
  redis.call('HSET', meta_key, 'epoch', id, 'replid', replid)
  head.epoch, head.replid = id, replid
end

-- Microseconds since 1970 by the server's clock; tests give their own.
local function now_us(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function routes_version(head) return head.epoch .. '-' .. head.routes end

local function describe(head)
  return {head.epoch, text(head.ms) .. '-' .. text(head.seq), text(head.trimmed_ms) .. '-' .. text(head.trimmed_seq),
    head.first, text(head.events), text(head.bytes), text(head.cut_ms), routes_version(head)}
end
