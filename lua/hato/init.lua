-- hato/init.lua - what `require "hato"` gives a script.
local M = {}
return M
