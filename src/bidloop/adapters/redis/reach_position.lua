-- Notes up to which position of the log everything is in; a later one that is noted already stays.
--
-- KEYS: where it is noted, and where the event that was told there.
-- ARGV: the position, a digest of that event, and the position that was noted when the writer last looked.
-- Answers with the position that is noted now. Where less was noted than that, the server has lost something: then nothing is
-- written, and the answer is nil.
local noted = tonumber(redis.call('GET', KEYS[1]) or 0)
if noted < tonumber(ARGV[3]) then
  return false
end
if tonumber(ARGV[1]) > noted then
  redis.call('SET', KEYS[1], ARGV[1])
  redis.call('SET', KEYS[2], ARGV[2])
  noted = tonumber(ARGV[1])
end
return noted
