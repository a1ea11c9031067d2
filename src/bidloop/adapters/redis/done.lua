-- Finishes entries; one that was finished before does not count again.
--
-- KEYS: the stream, the count of what the group has finished.
-- ARGV: the group, then of each entry its id and its number of parcels (empty: look).
for i = 2, #ARGV, 2 do
  local id, n = ARGV[i], ARGV[i + 1]
  if n == '' then
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    n = entry and field(entry, 'n') or 0
  end
  if redis.call('XACK', KEYS[1], ARGV[1], id) == 1 then
    redis.call('HINCRBY', KEYS[2], 'items', n)
    redis.call('HINCRBY', KEYS[2], 'entries', 1)
  end
end
