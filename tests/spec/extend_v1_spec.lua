-- extend_v1_spec.lua - modules that were built against version 1.0 of
-- moonfork.h work in this host.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local setup, teardown = setup, teardown
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local module = require "module"
local mp = require "moonfork"
local raises = helper.raises

local FIRST = "tests/extend/v1"

local function layout(include)
  local name = include:gsub("%W", "-")
  local path = module.build(FIRST .. "/layout.c", { include = include,
    name = name })
  return assert(package.loadlib(path, "luaopen_layout"))()
end

describe("a module of version 1.0", function()
  local old, cpath

  setup(function()
    module.build(FIRST .. "/module.c", { include = FIRST, name = "v1" })
    cpath = package.cpath
    package.cpath = module.pattern()
    old = require "v1"
  end)

  teardown(function()
    package.cpath = cpath
    helper.clean()
  end)

  before_each(helper.before)
  after_each(helper.after)

  it("finds its part of the table where it was", function()
    local first, today = layout(FIRST), layout "host"
    assert.is_not_nil(first["moonfork_api.log"])
    assert.same(first, today)
  end)

  it("finds a table that is large enough", function()
    assert.is_true(old.is_there)
    local version, fits = old.need(1 << 16)
    assert.is_true(fits)
    assert.equal(1, version >> 16)
    raises("built for version 2.0 of moonfork.h, this is 1%.%d+: update "
      .. "Moonfork", old.need, 2 << 16)
    raises("built for version 0.9 .*: build the module anew", old.need, 9)
  end)

  for _, method in ipairs(helper.methods) do
    it("sends what it has, " .. method, function()
      local q <close> = mp.Queue()
      local counter, block = old.counter(q), old.block "plain bytes"
      q:put { old.point(1.5, -0.0) }
      local p = mp.get_context(method).run(function(queue, n, b)
        local v1 = require "v1"
        local x, y = v1.numbers(queue:get()[1])
        local held, none = v1.held(n)
        held:put(v1.point(x + 1, y))
        return v1.text(b), none, v1.add(n, 1)
      end, q, counter, block)
      local text, none, number, size = p:result()
      assert.same({ "plain bytes", 101, 8 }, { text, number, size })
      assert.is_nil(none)
      assert.equal(102, (old.add(counter, 1)))
      assert.equal(2.5, (old.numbers(q:get())))
    end)
  end
end)
