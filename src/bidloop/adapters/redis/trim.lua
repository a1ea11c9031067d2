-- Drops the entries that every group of the stream has finished.
--
-- KEYS: the stream, the counts of what was published and of what the group has finished.
-- ARGV: the group.
local function parts(id)
  local ms, seq = string.match(id, '(%d+)-(%d+)')
  return tonumber(ms), tonumber(seq)
end

local ms, seq, mine
for _, group in ipairs(groups(KEYS[1])) do
  local first = group['first-pending']
  local its_ms, its_seq = parts(first or group['last-delivered-id'])
  if not first then
    its_seq = its_seq + 1
  end
  if not ms or its_ms < ms or (its_ms == ms and its_seq < seq) then
    ms, seq = its_ms, its_seq
  end
  if group['name'] == ARGV[1] then
    mine = group
  end
end
if not ms then
  return 0
end
local dropped = redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-%.0f', ms, seq))
-- Where somebody deleted entries by hand, the counts drift apart; once nothing is left they are known to be equal.
if mine and mine['pending'] == 0 and redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[3], 'items', redis.call('HGET', KEYS[2], 'items') or 0,
    'entries', redis.call('HGET', KEYS[2], 'entries') or 0)
end
return dropped
