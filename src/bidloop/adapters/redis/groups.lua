-- Stands before the scripts that look at the groups of a stream.
local function groups(stream)
  local found = {}
  for _, told in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = {}
    for i = 1, #told, 2 do
      group[told[i]] = told[i + 1]
    end
    group['first-pending'] = redis.call('XPENDING', stream, group['name'])[2]
    found[#found + 1] = group
  end
  return found
end

local function field(entry, name)
  for i = 1, #entry[2], 2 do
    if entry[2][i] == name then
      return entry[2][i + 1]
    end
  end
end
