-- Takes over entries that were taken long ago and not finished.
--
-- KEYS: the stream.
-- ARGV: group, consumer, milliseconds that are long, how many at most.
-- Answers with entries of (id, how often handed out, fields). What was deleted meanwhile, XAUTOCLAIM itself is done with.
local limit = tonumber(ARGV[4])
local cursor, found = '0-0', {}
repeat
  local answer = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], cursor, 'COUNT', limit - #found)
  cursor = answer[1]
  for _, entry in ipairs(answer[2]) do
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
    found[#found + 1] = { entry[1], pending[1][4], entry[2] }
  end
until cursor == '0-0' or #found >= limit
return found
