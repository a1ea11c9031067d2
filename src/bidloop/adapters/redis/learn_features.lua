-- Writes what was learned of some entities, of each if nobody wrote to it since it was read.
--
-- KEYS: where each is kept.
-- ARGV: seconds to keep it (0: for ever), then of each the revision that was read (empty: none was there) and the new value.
-- Answers with the places, from 1 on, of those that somebody else has written to: they are left as they are.
local seconds, changed = tonumber(ARGV[1]), {}
for i = 1, #KEYS do
  if redis.call('GETRANGE', KEYS[i], 8, 15) == ARGV[2 * i] then
    if seconds > 0 then
      redis.call('SET', KEYS[i], ARGV[2 * i + 1], 'EX', seconds)
    else
      redis.call('SET', KEYS[i], ARGV[2 * i + 1])
    end
  else
    changed[#changed + 1] = i
  end
end
return changed
