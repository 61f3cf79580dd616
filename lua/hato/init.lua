-- hato/init.lua - what `require "hato"` gives a script: the functions of C, and words for what is not there.
local _, core = ...
local api = require "hato.api"

local M = {}
for _, entry in ipairs(api.functions) do
  local name = entry.name:match "^[%w_]+"
  M[name] = core[name]
end

local function is_option(name)
  for _, option in ipairs(api.options) do
    if option.name == name then return true end
  end
end

local function is_later(name)
  for _, later in ipairs(api.later) do
    if later == name then return true end
  end
end

local function absent(name)
  name = tostring(name)
  if is_later(name) then
    core.fail(("hato.%s comes with a later version of hato"):format(name))
  end
  local names = {}
  for known in pairs(M) do names[#names + 1] = known end
  for _, option in ipairs(api.options) do names[#names + 1] = option.name end
  for _, later in ipairs(api.later) do names[#names + 1] = later end
  table.sort(names)
  local near = core.near(name, names)
  core.fail(("hato has no %s%s"):format(name, near and ("; did you mean hato.%s?"):format(near) or ""))
end

return setmetatable({}, {
  __index = function(_, name)
    if M[name] ~= nil then return M[name] end
    if is_option(name) then return core.get_option(name) end
    absent(name)
  end,
  __newindex = function(_, name, value)
    if is_option(name) then return core.set_option(name, value) end
    if M[name] ~= nil then core.fail(("hato.%s cannot be replaced"):format(name)) end
    absent(name)
  end,
  __metatable = "none of a script's business",
})
