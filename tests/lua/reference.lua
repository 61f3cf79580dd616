-- reference.lua - holds lua/hato/api.lua against the program, name by name and option by option.
-- The runner passes what C gave (core); each mistake is a printed line, and no line is good.
local hato, api = require "hato", require "hato.api"
local core = core -- luacheck: ignore
local internal = { set_option = true, get_option = true, fail = true, near = true }

local function resolve(name)
  local value = hato
  for part in name:gmatch "[%w_]+" do value = value[part] end
  return value
end

-- Every entry is there, once, and says what it must.
local entries = {}
for _, f in ipairs(api.functions) do
  if entries[f.name] then print("two entries for " .. f.name) end
  entries[f.name] = f
  local ok, value = pcall(resolve, f.name)
  if not ok or value == nil then print("no hato." .. f.name) end
  for _, field in ipairs { "call", "does", "example" } do
    if type(f[field]) ~= "string" or f[field] == "" then print(f.name .. " lacks " .. field) end
  end
  if not f.call:find("hato." .. f.name, 1, true) then print(f.name .. ": its call does not name it") end
end

-- Every function has an entry.
for name, value in pairs(core) do
  if not internal[name] and not entries[name] then
    if type(value) ~= "table" then print("no entry for hato." .. name) end
  end
  if type(value) == "table" and name ~= "args" then
    for member in pairs(value) do
      if not entries[name .. "." .. member] then print(("no entry for hato.%s.%s"):format(name, member)) end
    end
  end
end

-- Every option is known to both sides: an option that nobody knows makes the program list those it knows.
for _, f in ipairs(api.functions) do
  if f.options then
    local call = resolve(f.name)
    if f.call:find '"NAME"' then call = call("probe-" .. f.name) end
    local ok, why = pcall(call, f.name == "csv" and { "people.csv", zzzzzzzzzz = 1 } or { zzzzzzzzzz = 1 })
    local known = {}
    local list = not ok and why:match "it knows (.*)$"
    if not list then print(f.name .. " did not refuse an unknown option") end
    for name in (list or ""):gmatch "[%w_]+" do known[name] = true end
    known.none = nil
    local written = {}
    for _, o in ipairs(f.options) do written[o.name] = true end
    for _, name in ipairs(f.later or {}) do written[name] = true end
    for name in pairs(known) do
      if not written[name] then print(("%s: the entry lacks option %s"):format(f.name, name)) end
    end
    for name in pairs(written) do
      if not known[name] then print(("%s: the program does not know option %s"):format(f.name, name)) end
    end
    for _, name in ipairs(f.later or {}) do
      local _, later = pcall(call, { [name] = 1 })
      if not later:find(name .. " comes with a later version", 1, true) then
        -- An option that is needed may be missed first.
        if not later:find "is missing" then print(("%s: %s is no later option: %s"):format(f.name, name, later)) end
      end
    end
  end
end

-- What waits says so: called inside a coroutine of the script's own it names itself.
for _, f in ipairs(api.functions) do
  if not f.value and type(resolve(f.name)) == "function" then
    local args = { ["dns.ptr"] = "127.0.0.1", sleep = "1 s" }
    local _, why = pcall(coroutine.wrap(function() return resolve(f.name)(args[f.name] or "x") end))
    local waits = type(why) == "string" and why:find("cannot wait inside a coroutine", 1, true) ~= nil
    if waits ~= (f.waits or false) then
      print(("hato.%s %s; its entry says otherwise"):format(f.name, waits and "waits" or "does not wait"))
    end
  end
end

-- The console's: each question has an entry, and nothing else but what every prompt has.
local asked, prompt = {}, { script = true, keys = true, print = true }
for _, name in ipairs(questions) do asked[name] = true end -- luacheck: ignore
for _, f in ipairs(api.console) do
  if not asked[f.name] and not prompt[f.name] then print("the console has no " .. f.name) end
  asked[f.name], prompt[f.name] = nil, nil
  for _, field in ipairs { "call", "does", "returns", "example" } do
    if type(f[field]) ~= "string" or f[field] == "" then print("console's " .. f.name .. " lacks " .. field) end
  end
  if not f.call:find(f.name, 1, true) then print("console's " .. f.name .. ": its call does not name it") end
end
for _, missing in ipairs { asked, prompt } do
  for name in pairs(missing) do print("no entry for the console's " .. name) end
end
