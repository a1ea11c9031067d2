-- Notes up to which position of the log everything is in; a later one that is noted already stays.
--
-- KEYS: where it is noted. ARGV: the position.
if tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[1]) or 0) then
  redis.call('SET', KEYS[1], ARGV[1])
end
