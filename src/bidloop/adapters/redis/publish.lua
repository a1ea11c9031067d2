-- Writes those of some parcels that are not known of late, many to an entry.
--
-- KEYS: the stream, the count of what was published, then of each parcel where its event is remembered.
-- ARGV: how long to remember, parcels and bytes per entry, then of each parcel line and digest (empty: not remembered).
-- Answers with one letter per parcel: fresh, known or changed.
local seconds, most, largest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local states, lines, size = {}, {}, 0

local function write()
  local n = #lines
  local before = redis.call('HINCRBY', KEYS[2], 'items', n) - n
  redis.call('HINCRBY', KEYS[2], 'entries', 1)
  redis.call('XADD', KEYS[1], '*', 'n', n, 'before', before, 'lines', table.concat(lines, '\n'))
  lines, size = {}, 0
end

for i = 1, #KEYS - 2 do
  local line, digest, state = ARGV[2 * i + 2], ARGV[2 * i + 3], 'f'
  if digest ~= '' then
    local told = redis.call('GET', KEYS[i + 2])
    if not told then
      redis.call('SET', KEYS[i + 2], digest, 'EX', seconds)
    else
      state = told == digest and 'k' or 'c'
    end
  end
  if state ~= 'k' then
    if #lines == most or (#lines > 0 and size + #line > largest) then
      write()
    end
    lines[#lines + 1] = line
    size = size + #line + 1
  end
  states[i] = state
end
if #lines > 0 then
  write()
end
return table.concat(states)
