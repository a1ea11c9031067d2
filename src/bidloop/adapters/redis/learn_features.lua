-- Writes what was learned of some entities, of each if nobody wrote to it since it was read.
--
-- KEYS: where the position is noted up to which everything is in, then where each entity is kept.
-- ARGV: seconds to keep it (0: for ever), the position that was noted when the writer last looked, then of each entity the
-- revision that was read (empty: none was there) and the new value.
-- Answers with the places, from 1 on, of those that somebody else has written to: they are left as they are. Where less is noted
-- than was, the server has lost something: then nothing is written, and the answer is nil.
if tonumber(redis.call('GET', KEYS[1]) or 0) < tonumber(ARGV[2]) then
  return false
end
local seconds, changed = tonumber(ARGV[1]), {}
for i = 1, #KEYS - 1 do
  local key, revision, value = KEYS[i + 1], ARGV[2 * i + 1], ARGV[2 * i + 2]
  if redis.call('GETRANGE', key, 8, 15) == revision then
    if seconds > 0 then
      redis.call('SET', key, value, 'EX', seconds)
    else
      redis.call('SET', key, value)
    end
  else
    changed[#changed + 1] = i
  end
end
return changed
