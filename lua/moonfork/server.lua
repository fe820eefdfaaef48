-- moonfork/server.lua - what the server process of a manager does.
-- Clients announce each call in one queue, which puts all calls in an order;
-- what is called, and the answer, go through a pipe that each client has with
-- the server. So nothing that a client sends, or its death, can leave another
-- one without its answer.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.system"

local server = {}

local IDLE <const> = 1 -- seconds between two looks whether anybody is left
local KEPT_FIRST <const> = 64 -- objects, or clients, before some are looked for
                              -- that are no longer used

-- ---- what is served ----

local function copy(values)
  local made = {}
  for key, value in pairs(values) do made[key] = value end
  return made
end

-- The methods of lists: what table has, and what people look for.
local list = {
  insert = table.insert,
  remove = table.remove,
  sort = table.sort,
  concat = table.concat,
  unpack = table.unpack,
}

function list.append(self, value)
  self[#self + 1] = value
end

function list.extend(self, values)
  table.move(values, 1, #values, #self + 1, self)
end

-- All of it. A copy also for one that calls in this process.
function list.totable(self)
  return copy(self)
end

function list.clear(self)
  for key in pairs(self) do self[key] = nil end
end

-- The methods of tables, which reach every key, also one that is the name of a
-- method.
local map = { totable = list.totable, clear = list.clear }

function map.get(self, key, default)
  local value = self[key]
  if value == nil then return default end
  return value
end

function map.set(self, key, value)
  self[key] = value
end

function map.update(self, values)
  for key, value in pairs(values) do self[key] = value end
end

function map.pop(self, key, default)
  local value = map.get(self, key, default)
  self[key] = nil
  return value
end

-- Under that name: what methods there are beside those of the object itself.
server.methods = { list = list, table = map }

local function make_table(values)
  if values ~= nil and type(values) ~= "table" then
    error("give a table of initial values, or nothing", 0)
  end
  return copy(values or {})
end

local constructors = { list = make_table, table = make_table }

-- id -> { value =, kind =, token = }. The token is a shared object that all
-- proxies of the served one hold.
local objects = {}
local next_id = 1

local function find(id)
  return objects[id] or error("the object is no longer there", 0)
end

-- Forgets what nobody has a proxy of; when there are twice as many objects as
-- were in use the last time.
local object_limit = KEPT_FIRST
local function forget_objects()
  if next_id % KEPT_FIRST ~= 0 then return end
  local count = 0
  for _ in pairs(objects) do count = count + 1 end
  if count < object_limit then return end
  local here = server.used_here()
  for id, object in pairs(objects) do
    if core.references(object.token) == 1 and not here[id] then
      objects[id] = nil
      count = count - 1
    end
  end
  object_limit = math.max(KEPT_FIRST, 2 * count)
end

-- ---- calls ----

local calls = {}

-- That it answers is all.
function calls.hello()
end

function calls.register(name, constructor)
  if constructors[name] then
    error(("'%s' is registered already; take another name"):format(name), 0)
  end
  constructors[name] = constructor
end

function calls.new(token, kind, ...)
  local constructor = constructors[kind] or error(("no '%s' is registered; "
    .. "call manager:register(name, constructor) first"):format(kind), 0)
  local value = constructor(...)
  if value == nil then
    error(("the constructor of '%s' gave nil"):format(kind), 0)
  end
  forget_objects()
  local id = next_id
  next_id = id + 1
  objects[id] = { value = value, kind = kind, token = token }
  return id
end

-- The value. A function is called, not sent: nil, and whether it is a "field"
-- of the object, or comes from its class, a "method".
function calls.index(id, key)
  local object = find(id).value
  local value = object[key]
  if type(value) ~= "function" then return value end
  local own = type(object) == "table" and rawget(object, key) ~= nil
  return nil, own and "field" or "method"
end

function calls.newindex(id, key, value)
  find(id).value[key] = value
end

function calls.len(id)
  return #find(id).value
end

function calls.method(id, name, ...)
  local object = find(id)
  local methods = server.methods[object.kind]
  local method = methods and methods[name] or object.value[name]
  if method == nil then
    error(("the object has no method '%s'"):format(tostring(name)), 0)
  end
  return method(object.value, ...)
end

function calls.call(id, ...)
  return find(id).value(...)
end

-- Keys and values at one moment.
function calls.pairs(id)
  local keys, values = {}, {}
  for key, value in pairs(find(id).value) do
    keys[#keys + 1] = key
    values[#values + 1] = value
  end
  return keys, values
end

---Set by manager.lua: the ids of objects that a proxy in this process stands
---for, as one object may hold a proxy of another.
function server.used_here()
  return {}
end

---Carries out a call, here.
---@param name string which
---@param ... any its arguments
---@return any ... what it gives
function server.call(name, ...)
  return calls[name](...)
end

-- ---- the loop ----

---The queue that this process serves; nil in others.
server.serving = nil

-- What an error is to the client, before it becomes a remote error there.
local function describe(value)
  local text = value
  if type(value) ~= "string" then
    local ok, said = pcall(tostring, value)
    text = ok and said or ("(error object is a %s value)"):format(type(value))
  end
  return {
    kind = "error",
    message = text,
    value = value,
    traceback = debug.traceback(text, 2),
  }
end

local function run(request)
  local outcome = table.pack(xpcall(server.call, describe,
    table.unpack(request, 1, request.n)))
  -- The handler itself may fail, for want of stack or memory.
  if not outcome[1] and type(outcome[2]) ~= "table" then
    outcome[2] = describe(outcome[2])
  end
  return outcome
end

-- Sends the outcome of a call. What cannot be sent becomes an error that can.
local function answer(connection, outcome)
  local ok, message = pcall(connection.send, connection, outcome)
  if ok then return end
  local failed = outcome[1] and { kind = "unsendable", message = message }
    or outcome[2]
  failed.value = nil
  connection:send{ false, failed, n = 2 }
end

-- What pcall gives for the receipt of a client's next call. It is there when it
-- is announced, unless the client is gone.
local function take(client)
  local early = client.early
  client.early = nil
  if early then return table.unpack(early, 1, early.n) end
  return pcall(client.connection.recv, client.connection, 0)
end

local function serve(client)
  local ok, request, reason = take(client)
  if not ok then
    answer(client.connection, { false, describe(request), n = 2 })
  elseif not reason then
    answer(client.connection, run(request))
  end
end

-- Forgets clients that have ended; when there are twice as many as the last
-- time. What one has sent and is about to announce is kept for then.
local client_limit = KEPT_FIRST
local function forget_clients(clients)
  local count = 0
  for _ in pairs(clients) do count = count + 1 end
  if count < client_limit then return end
  for name, client in pairs(clients) do
    local took = table.pack(take(client))
    if took[3] == "closed" then
      clients[name] = nil
      count = count - 1
    elseif took[3] ~= "timeout" then
      client.early = took
    end
  end
  client_limit = math.max(KEPT_FIRST, 2 * count)
end

local function meet(clients, header)
  if header.connection then
    forget_clients(clients)
    clients[header.client] = { connection = header.connection }
  end
  return clients[header.client]
end

---Serves until the queue is closed, or nobody else has it any more.
---@param requests moonfork.Queue where clients announce their calls
function server.run(requests)
  local clients = {}
  server.serving = requests
  repeat
    local header, reason = requests:get(IDLE)
    local client = header and meet(clients, header)
    if client then serve(client) end
  until reason == "closed"
    or reason == "timeout" and core.references(requests) == 1
end

return server
