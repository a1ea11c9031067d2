-- How far a group is behind: entries, items, and the age of the oldest in milliseconds.
--
-- KEYS: the stream, the counts of what was published and of what the group has finished.
-- ARGV: the group.
local function count(key, name)
  return tonumber(redis.call('HGET', key, name) or 0)
end

local oldest = redis.call('XPENDING', KEYS[1], ARGV[1])[2]
if not oldest then
  for _, group in ipairs(groups(KEYS[1])) do
    if group['name'] == ARGV[1] then
      local next = redis.call('XRANGE', KEYS[1], '(' .. group['last-delivered-id'], '+', 'COUNT', 1)[1]
      oldest = next and next[1]
    end
  end
end
if not oldest then
  return { 0, 0, 0 }
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {
  math.max(1, count(KEYS[2], 'entries') - count(KEYS[3], 'entries')),
  math.max(0, count(KEYS[2], 'items') - count(KEYS[3], 'items')),
  math.max(0, now - string.match(oldest, '%d+')),
}
