-- moonfork-scm-1.rockspec - for `luarocks make` in the source tree: the module
-- for a stock Lua 5.4, and the program. SPDX-License-Identifier: MIT
rockspec_format = "3.0"
package = "moonfork"
version = "scm-1"
source = { url = "file://." } -- the tree in which `luarocks make` is called
description = {
  summary = "Lua 5.4 with processes that run in parallel",
  detailed = [[
    Functions that run in parallel, each in a process of its own, and give back
    their values or their errors; queues, pipes, locks, shared arrays and
    dictionaries, pools of workers. Linux only.]],
  license = "MIT",
}
supported_platforms = { "linux" }
dependencies = { "lua >= 5.4, < 5.5" }
build = {
  type = "make",
  build_variables = { LUA = "$(LUA)" },
  install_target = "install-rock",
  install_variables = { LUA = "$(LUA)", BINDIR = "$(BINDIR)",
    LIBDIR = "$(LIBDIR)" },
  copy_directories = { "docs", "examples" },
}
