-- Moves an entry to the dead letters; one that was finished meanwhile is left where it is.
--
-- KEYS: the stream, the count of what the group has finished, the dead letters.
-- ARGV: group, id, how many dead letters to keep, number of parcels, lines, reason, attempts.
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 1 then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'entry', ARGV[2], 'n', ARGV[4], 'lines', ARGV[5],
    'reason', ARGV[6], 'attempts', ARGV[7])
  redis.call('HINCRBY', KEYS[2], 'items', ARGV[4])
  redis.call('HINCRBY', KEYS[2], 'entries', 1)
end
