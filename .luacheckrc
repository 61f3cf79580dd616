-- luacheck's view of this repository: LuaJIT, and the names that tests get from the runner.
std = "luajit"
max_line_length = 120
exclude_files = { "build*/**", "lua/library/**" }
files["tests/lua"] = { globals = { "test" } }
