-- moonfork/manager.lua - managers: ordinary Lua objects in a server process,
-- and the proxies through which others use them. server.lua is the other side.
-- SPDX-License-Identifier: MIT

local codec = require "moonfork.codec"
local connection = require "moonfork.connection"
local core = require "moonfork.core.system"
local core_process = require "moonfork.core.process"
local errors = require "moonfork.errors"
local process = require "moonfork.process"
local queue = require "moonfork.queue"
local server = require "moonfork.server"
local sync = require "moonfork.sync"

local manager = {}

local LOOK <const> = 0.1 -- seconds between two looks whether a server lives
local GRACE <const> = 1 -- seconds until a server that is closed is ended

local counter = 0

-- Raises a message with the first line outside of this file.
local function misuse(message)
  local here = debug.getinfo(1, "S").source
  local level = 2
  local info = debug.getinfo(level, "S")
  while info and (info.source == here or info.what == "C") do
    level = level + 1
    info = debug.getinfo(level, "S")
  end
  error(message, level)
end

-- ---- calls ----

-- What a server is to its clients; sent along with every proxy:
-- { requests = queue, name =, pid =, slot =, generation = }.

local made = 0 -- clients, by this process

local function server_error(of, fields)
  fields.process, fields.pid = of.name, of.pid
  return errors.new(fields)
end

local function raise_ended(of)
  error(server_error(of, {
    kind = "crashed",
    message = ("the server of the manager, process '%s', has ended")
      :format(of.name),
  }), 0)
end

local function raise_closed(of)
  misuse(("manager '%s' is closed"):format(of.name))
end

-- There is no server: nobody will want what it has not served.
local function raise_gone(of)
  local reason
  repeat reason = select(2, of.requests:get(0)) until reason
  if reason == "closed" then raise_closed(of) end
  raise_ended(of)
end

-- Of each server, this process's way to it. Not where an end of a pipe could
-- be found in what is sent, or given to a child. Who calls takes it out, so
-- what a finalizer calls in the midst has another, and a call that is broken
-- off leaves none behind whose answer is still to come.
local function take_client(of)
  local clients = core.private()
  local client = clients[of.requests]
  clients[of.requests] = nil
  local _, pid = core.self()
  if client and client.pid == pid then return client end
  if not core.lives(of.slot, of.generation) then raise_gone(of) end
  made = made + 1
  client = { pid = pid, name = ("%d.%d"):format(pid, made) }
  client.connection, client.offer = connection.Pipe()
  return client
end

local function give_client_back(of, client)
  core.private()[of.requests] = client
end

-- Until the server has taken the end that it was offered, nobody would see its
-- death in the pipe.
local function receive(of, client)
  local reply, reason
  repeat
    reply, reason = client.connection:recv(client.met == nil and LOOK or nil)
    if reason == "timeout" and not core.lives(of.slot, of.generation)
        and not client.connection:poll(0) then
      reason = "closed"
    end
  until reason ~= "timeout"
  if reason then raise_ended(of) end
  client.met = true
  return reply
end

-- Before a user's arguments in a call there are its name and so many others.
local BEFORE <const> = { register = 1, newindex = 2, call = 2, method = 3,
  new = 3 }

local function name_argument(call, message)
  return type(message) == "string"
    and message:gsub("^value%[(%d+)%]", function(i)
      return ("args[%d]"):format(i - (BEFORE[call[1]] or 0))
    end) or message
end

local function send(of, client, call)
  local ok, message, reason = pcall(client.connection.send, client.connection,
                                    call)
  if not ok then
    give_client_back(of, client)
    misuse(name_argument(call, message))
  end
  if reason then raise_ended(of) end
  local header = { client = client.name, connection = client.offer }
  if not pcall(of.requests.put, of.requests, header) then raise_closed(of) end
  client.offer = nil
end

-- Calls the server and gives what it gives, or raises what it raises.
local function call(of, ...)
  if server.serving == of.requests then return server.call(...) end
  local client = take_client(of)
  send(of, client, table.pack(...))
  local reply = receive(of, client)
  give_client_back(of, client)
  if reply[1] then return table.unpack(reply, 2, reply.n) end
  error(server_error(of, reply[2]), 0)
end

-- ---- proxies ----

---Stands for an object in the server of a manager. What is done with it is done
---there: reading and setting fields, `#`, calling it and its methods; `pairs`
---goes over what was there at one moment. Values go and come as copies: to
---change what stands inside of a field, set the field. An error that is raised
---there is raised here, as a remote error. Calls of several processes are
---carried out one at a time, in the order in which they come.
---
---A proxy may be sent to any process. The object is kept as long as there is a
---proxy of it.
---
---What `manager:list` gives has the methods `append(value)`, `extend(values)`,
---`insert`, `remove`, `sort`, `concat` and `unpack` as in the library `table`,
---`totable()` and `clear()`. What `manager:table` gives has `get(key,
---default)`, `set(key, value)`, `update(values)`, `pop(key, default)`,
---`totable()` and `clear()`; `get` and `set` reach fields whose names are those
---of methods.
---@class moonfork.Proxy
local Proxy = { __name = "moonfork.Proxy" }

-- proxy -> { of =, id =, kind =, token = }, and under `methods` the names that
-- are known to be methods, to be had without asking.
local proxies = setmetatable({}, { __mode = "k" })

-- name -> the function that calls the method of that name.
local stubs = {}

local function check(self)
  return proxies[self] or misuse(("a proxy is wanted, not a %s; methods are "
    .. "called with a colon, proxy:name(...)"):format(type(self)))
end

local function make_proxy(of, id, kind, token)
  local proxy = setmetatable({}, Proxy)
  proxies[proxy] = { of = of, id = id, kind = kind, token = token }
  return proxy
end

function server.used_here()
  local ids = {}
  for _, known in pairs(proxies) do
    if known.of.requests == server.serving then ids[known.id] = true end
  end
  return ids
end

local function find_stub(name)
  stubs[name] = stubs[name] or function(self, ...)
    local known = check(self)
    return call(known.of, "method", known.id, name, ...)
  end
  return stubs[name]
end

-- Whether it is the name of a method, as far as is known without asking.
local function is_method(known, key)
  local methods = server.methods[known.kind]
  return methods and methods[key] or known.methods and known.methods[key]
end

---Reads a field of the object, or gives one of its methods, to be called there.
---@param key any the field
---@return any value a copy; what is a function there is called there
---@raises what the object raises, and when the server has ended or was closed
function Proxy:__index(key)
  local known = check(self)
  if is_method(known, key) then return find_stub(key) end
  local value, found = call(known.of, "index", known.id, key)
  if not found then return value end
  if found == "method" then
    known.methods = known.methods or {}
    known.methods[key] = true
  end
  return find_stub(key)
end

---Sets a field of the object.
---@param key any the field
---@param value any a copy of it is set
---@raises as reading; and when key or value cannot be sent
function Proxy:__newindex(key, value)
  local known = check(self)
  known.methods = nil -- one may have become a field
  call(known.of, "newindex", known.id, key, value)
end

---The length of the object.
---@return any length what `#` gives there
---@raises as reading
function Proxy:__len()
  local known = check(self)
  return call(known.of, "len", known.id)
end

---Calls the object, a function or what has a `__call`.
---@param ... any arguments
---@return any ... what it gives
---@raises as reading; and when an argument cannot be sent
function Proxy:__call(...)
  local known = check(self)
  return call(known.of, "call", known.id, ...)
end

---Goes over what is in the object at the moment of the call.
---@return function next gives a key and the value
---@raises as reading
function Proxy:__pairs()
  local known = check(self)
  local keys, values = call(known.of, "pairs", known.id)
  local i = 0
  return function()
    i = i + 1
    return keys[i], values[i]
  end
end

---Tells whether both stand for the same object.
---@param other any another proxy
---@return boolean yes also of a proxy that went through other processes
---@raises nothing
function Proxy:__eq(other)
  local left, right = proxies[self], proxies[other]
  return left ~= nil and right ~= nil and left.id == right.id
    and left.of.requests == right.of.requests
end

function Proxy:__tostring()
  local known = check(self)
  return ("moonfork.Proxy: %s %d of %s"):format(known.kind, known.id,
                                                 known.of.name)
end

function Proxy.__encode(self)
  local known = check(self)
  return { of = known.of, id = known.id, kind = known.kind,
           token = known.token }
end

function Proxy.__decode(known)
  return make_proxy(known.of, known.id, known.kind, known.token)
end

codec.register("moonfork.Proxy", Proxy)

-- ---- managers ----

---Holds ordinary Lua objects in a process of its own, the server, for all
---processes to use by proxies; made by `mp.Manager`. The server ends with the
---process that made the manager, or by `close`, or when no process has the
---manager or a proxy of it any more. As a to-be-closed variable the manager is
---closed where its scope ends. A manager may be sent to other processes, which
---make objects by it and cannot close it.
---@class moonfork.Manager
---@field process moonfork.Process? the server, where it was started
---@field owner integer? the pid of the process that started it, in that one
local Manager = { __name = "moonfork.Manager" }
Manager.__index = Manager

local function check_manager(self)
  if getmetatable(self) ~= Manager then
    misuse(("a manager is wanted, not a %s; call methods with a colon")
           :format(type(self)))
  end
  return self.server
end

local function create(self, kind, ...)
  local of = check_manager(self)
  local token = sync.Event()
  return make_proxy(of, call(of, "new", token, kind, ...), kind, token)
end

---Makes a list in the server.
---@param values table? what is in it at first, 1 to `#values`; nil: nothing
---@return moonfork.Proxy list
---@raises when `values` cannot be sent, and when the server has ended or was
---closed
function Manager:list(values)
  return create(self, "list", values)
end

---Makes a table in the server.
---@param values table? what is in it at first; nil: nothing
---@return moonfork.Proxy table
---@raises as `list`
function Manager:table(values)
  return create(self, "table", values)
end

---Says how objects of a kind are made: `constructor` is called in the server,
---with the arguments of `new`, and gives the object, anything but nil. It goes
---there as functions do, with its upvalues and what globals it uses.
---@param name string what the kind is called
---@param constructor fun(...): any makes one
---@raises when there is a kind of that name already
function Manager:register(name, constructor)
  local of = check_manager(self)
  if type(name) ~= "string" then
    misuse(("register: name must be a string, not a %s"):format(type(name)))
  end
  if type(constructor) ~= "function" then
    misuse(("register: constructor must be a function, not a %s")
           :format(type(constructor)))
  end
  call(of, "register", name, constructor)
end

---Makes an object of a kind that was registered.
---@param name string the kind
---@param ... any what the constructor is called with
---@return moonfork.Proxy object
---@raises what its constructor raises, and when there is no such kind
function Manager:new(name, ...)
  check_manager(self)
  if type(name) ~= "string" then
    misuse(("new: name must be a string, not a %s"):format(type(name)))
  end
  return create(self, name, ...)
end

---Ends the server, when it is through with the calls that were made before; one
---that takes longer than a second is broken off. Proxies raise from then on.
---May be called again.
---@raises in a process that did not make the manager
function Manager:close()
  local of = check_manager(self)
  local _, pid = core.self()
  if self.owner ~= pid then
    misuse(("manager '%s' belongs to another process; close it there")
           :format(of.name))
  end
  of.requests:close()
  core.private()[of.requests] = nil
  if self.process:join(GRACE) then return end
  self.process:terminate()
  if self.process:join(GRACE) then return end
  self.process:kill()
  self.process:join()
end

---Ends the server at the end of the scope, as `close`.
---@raises in a process that did not make the manager
Manager.__close = Manager.close

function Manager:__tostring()
  return ("moonfork.Manager: %s"):format(self.server.name)
end

function Manager.__encode(self)
  return self.server
end

function Manager.__decode(of)
  return setmetatable({ server = of }, Manager)
end

codec.register("moonfork.Manager", Manager)

local function serve(requests)
  require "moonfork.server".run(requests)
end

---Makes a manager and starts its server.
---@param method string how the server starts: "spawn" or "forkserver"
---@return moonfork.Manager manager
function manager.create(method)
  counter = counter + 1
  local of = { requests = queue.Queue(), name = "Manager-" .. counter }
  local started = process.create({ target = serve, args = { of.requests },
                                   name = of.name, daemon = true }, method)
  local ok, message = pcall(started.start, started)
  if not ok then misuse(message) end
  of.pid = started.pid
  of.slot, of.generation = core_process.identity(started)
  call(of, "hello")
  local _, pid = core.self()
  return setmetatable({ server = of, process = started, owner = pid }, Manager)
end

---What a context has of this module.
---@param method fun(): string the start method of the context
---@return { Manager: fun(): moonfork.Manager }
function manager.bind(method)
  return {
    -- The server keeps nothing of this process: it is never its copy.
    Manager = function(...)
      if select("#", ...) > 0 then
        error("Manager takes no arguments; register says what it makes", 2)
      end
      return manager.create(method() == "forkserver" and "forkserver"
        or "spawn")
    end,
  }
end

return manager
