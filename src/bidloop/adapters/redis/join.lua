-- Makes the group, from the beginning of the stream, if it is not there.
--
-- KEYS: the stream, the counts of what was published and of what the group has finished.
-- ARGV: the group.
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if made.err then
  if string.find(made.err, 'BUSYGROUP', 1, true) then
    return 0
  end
  return made
end
-- What was trimmed before the group was made is nothing that it is behind with.
local items = redis.call('HGET', KEYS[2], 'items') or 0
local entries = (redis.call('HGET', KEYS[2], 'entries') or 0) - redis.call('XLEN', KEYS[1])
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if first then
  items = field(first, 'before') or items
end
redis.call('HSET', KEYS[3], 'items', items, 'entries', entries)
return 1
