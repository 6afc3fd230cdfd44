#!lua flags=no-writes
-- The bus as it stands, and its epochs where the caller does not know the current one.
-- KEYS meta, epochs, log     ARGV epoch known     answer {} where there is no bus
--@history
local head = read_head(KEYS[1])
if not head then return {} end
local epochs = {}
if head.epoch ~= ARGV[1] then epochs = redis.call('LRANGE', KEYS[2], 0, -1) end
local is_current = 0
if head.replid == replication_id() then is_current = 1 end
return {describe(head), epochs, is_current, redis.call('XLEN', KEYS[3])}
