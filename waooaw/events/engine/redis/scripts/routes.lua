#!lua flags=no-writes
-- The subscriptions: those that changed since a version of this epoch, or all.
-- KEYS meta, subscriptions, changes     ARGV version known ('' none)     answer version, whole (1), names and records
--@history
local head = read_head(KEYS[1])
if not head then return {'no_bus'} end
local version = routes_version(head)
local epoch, number = ARGV[1]:match('^(%x+)%-(%d+)$')
local routes = tonumber(head.routes)
number = tonumber(number)
if epoch == head.epoch and number <= routes then
  local kept, names, known = redis.call('LRANGE', KEYS[3], 0, -1), {}, {}
  local first = kept[1] and tonumber(kept[1]:match('^(%d+)')) or 0
  if number == routes or (kept[1] and first <= number) or (kept[1] and first == 1) then
    for _, change in ipairs(kept) do
      local changed, name = change:match('^(%d+) (.*)$')
      if tonumber(changed) > number and not known[name] then
        known[name] = true
        names[#names + 1] = name
      end
    end
    local answer = {}
    for _, name in ipairs(names) do
      answer[#answer + 1] = name
      answer[#answer + 1] = redis.call('HGET', KEYS[2], name) or ''
    end
    return {version, 0, answer}
  end
end
return {version, 1, redis.call('HGETALL', KEYS[2])}
