-- module.lua - builds modules in C for the specifications, as their users do.
--
-- They are compiled against the header alone, and never with a sanitiser: so
-- they are strangers to a sanitised program, too.
-- SPDX-License-Identifier: MIT

local helper = require "helper"

local module = {}

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local output = pipe:read "a"
  if not pipe:close() then error(command .. ": " .. output, 3) end
  return output
end

local flags

---Compiles a C file to a shared object among the files of the tests, where
---`module.pattern()` finds it. `options.name`: what it is called, else as the
---source; `options.include`: where the header is (default: host);
---`options.flags`: more for the compiler. Gives its path.
function module.build(source, options)
  options = options or {}
  flags = flags or run "pkg-config --cflags lua5.4":gsub("%s+$", "")
  local name = options.name or source:match "([^/]+)%.c$"
  local path = helper.path(name .. ".so")
  run(("cc -std=c11 -Wall -Wextra -Werror -O1 -shared -fPIC -I %s %s %s -o %s"
    .. " %s"):format(options.include or "host", flags, options.flags or "",
    path, source))
  return path
end

---What package.cpath must be to find them.
function module.pattern()
  return helper.path "?.so"
end

return module
