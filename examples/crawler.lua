-- crawler.lua - a web crawler: workers that follow links, and share what they
-- have seen.
--
--   moonfork examples/crawler.lua [DIRECTORY | made] [WORKERS]
--
-- The site is a folder of HTML files (/usr/share/doc; where it has none, or for
-- `made`, pages made of the licences in /usr/share/common-licenses). A process
-- of its own serves it on 127.0.0.1, at a port which the system chooses.
--
--   frontier --> WORKERS --> links not seen before --> frontier
--
-- A shared dict has a key for each path that any worker has seen. `add` counts
-- it there and says how often it was: who is told 1 was the first, and puts the
-- path into the frontier, so each page is fetched once, whatever the number of
-- workers. How it ends: a worker tells the frontier that a page is done after
-- it has put the links of that page. So when all that was ever put is done,
-- nothing is under way that could bring more, and `join` returns.
--
-- Needs LuaSocket (Debian's lua-socket).
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"
local http = require "socket.http"
local socket = require "socket"
local url = require "socket.url"

local DOCUMENTS <const> = "/usr/share/doc"
local LICENCES <const> = "/usr/share/common-licenses"
local MOST_PAGES <const> = 100 -- that are fetched
local REQUEST_TIME <const> = 5 -- seconds for one answer
local CRAWL_TIME <const> = 60  -- seconds for all
local PAGE_LINES <const> = 60  -- of a page that is made

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

local function read(path)
  local file <close> = io.open(path, "rb")
  return file and file:read "a"
end

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
end

-- The site -------------------------------------------------------------------

-- The paths of HTML files below a folder, from there.
local function list_pages(root)
  local find <close> = assert(io.popen(("find %s -name '*.html' -type f "
    .. "-printf '/%%P\\n' 2>/dev/null | LC_ALL=C sort"):format(
    quote(root .. "/"))))
  local paths = {}
  for path in find:lines() do
    if #paths < MOST_PAGES then table.insert(paths, path) end
  end
  return paths
end

local function link(path, text)
  local escaped = path:gsub("[^%w/._#-]", function(character)
    return ("%%%02x"):format(character:byte())
  end)
  return ("<li><a href=\"%s\">%s</a>\n"):format(escaped, text)
end

-- What stands at / when there is no index.html: links to all pages.
local function make_index(paths)
  local links = {}
  for i, path in ipairs(paths) do links[i] = link(path, path) end
  return "<ul>\n" .. table.concat(links) .. "</ul>\n"
end

-- Turns a text into pages that lead to each other, and the last to nowhere.
local function make_pages(folder, name, text)
  local lines, count = {}, 0
  for line in text:gmatch "([^\n]*)\n" do
    table.insert(lines, (line:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;",
      [">"] = "&gt;" })))
  end
  for first = 1, #lines, PAGE_LINES do
    count = count + 1
    local last = math.min(first + PAGE_LINES - 1, #lines)
    write(("%s/%s-%d.html"):format(folder, name, count), table.concat {
      "<pre>", table.concat(lines, "\n", first, last), "</pre>\n<ul>\n",
      link("/", "start"), link(("%s-%d.html"):format(name, count + 1), "on"),
      link(("/%s-%d.html#top"):format(name, math.max(count - 1, 1)), "back"),
    })
  end
end

-- A folder that is removed where its scope ends.
local function make_folder()
  local make <close> = assert(io.popen "mktemp -d")
  local path = assert(make:read "l")
  return setmetatable({ path = path }, { __close = function()
    os.execute("rm -r " .. quote(path))
  end })
end

local function make_site(folder)
  local list <close> = assert(io.popen("find " .. LICENCES .. " -type f"))
  for path in list:lines() do
    make_pages(folder, path:match "[^/]*$", read(path))
  end
end

-- The server -----------------------------------------------------------------

local REASONS <const> = { [200] = "OK", [400] = "Bad Request",
  [404] = "Not Found" }

-- What the site has at a path: a status and the bytes.
local function look_up(root, index, path)
  path = url.unescape(path:match "^[^?#]*")
  if path:find("/..", 1, true) or path:find "%z" then return 404, "" end
  if path:sub(-1) == "/" then path = path .. "index.html" end
  local page = read(root .. path)
  if page then return 200, page end
  if path == "/index.html" then return 200, index end
  return 404, ""
end

-- Reads a request and answers it.
local function answer(client, root, index)
  client:settimeout(REQUEST_TIME)
  local request = client:receive "*l" or ""
  repeat
    local header = client:receive "*l"
  until not header or header == ""
  local status, body = 400, ""
  local path = request:match "^GET (/%S*) HTTP/1%.[01]$"
  if path then status, body = look_up(root, index, path) end
  client:send(("HTTP/1.1 %d %s\r\nContent-Length: %d\r\n"
    .. "Connection: close\r\n\r\n%s"):format(status, REASONS[status], #body,
    body))
  client:close()
end

-- The process that serves: says its port, then answers until it is ended.
local function serve(root, ports)
  local server = assert(socket.bind("127.0.0.1", 0, 64))
  local index = make_index(list_pages(root))
  local _, port = server:getsockname()
  ports:put(port)
  while true do
    local client = server:accept()
    if client then answer(client, root, index) end
  end
end

-- The workers ----------------------------------------------------------------

-- The path on this site that a link on a page leads to; nil when it leads
-- elsewhere.
local function resolve(site, page, target)
  local parts = url.parse(url.absolute(site .. page, target))
  if not parts or parts.scheme ~= "http" or not parts.path then return nil end
  if "http://" .. parts.authority ~= site then return nil end
  return parts.path
end

-- What one worker shares with the others.
local function new_crawl(site)
  return {
    site = site,
    frontier = mp.Queue(), -- paths to fetch
    seen = mp.Dict(),      -- path -> how many links lead there
    totals = mp.Dict(),    -- asked, pages, bytes
    dead = mp.Dict(),      -- path -> what is wrong with it
  }
end

-- A path was found: it is put into the frontier by the first who finds it.
local function follow(crawl, path)
  if crawl.seen:add(path) > 1 then return end
  if crawl.totals:add "asked" > MOST_PAGES then return end
  crawl.frontier:put(path)
end

local function visit(crawl, path)
  local page, status = http.request(crawl.site .. path)
  if not page or status ~= 200 then
    crawl.dead[path] = page and status or tostring(status)
    return
  end
  crawl.totals:add "pages"
  crawl.totals:add("bytes", #page)
  if not page:find "<" then return end
  for target in page:gmatch "[hH][rR][eE][fF]%s*=%s*[\"']([^\"']*)[\"']" do
    local found = resolve(crawl.site, path, target)
    if found then follow(crawl, found) end
  end
end

local function work(crawl)
  http.TIMEOUT = REQUEST_TIME
  for path in crawl.frontier:iter() do
    visit(crawl, path)
    crawl.frontier:task_done() -- its links are in
  end
end

-- The whole ------------------------------------------------------------------

-- Waits until all is done, or the time is up; raises when a worker ended.
local function wait_for(crawl, workers)
  local deadline = mp.now() + CRAWL_TIME
  while not crawl.frontier:join(0.2) do
    if mp.now() > deadline then error "the crawl takes too long" end
    for _, worker in ipairs(workers) do
      if not worker:is_alive() then worker:result() end
    end
  end
end

local function crawl_site(crawl, count)
  local workers = {}
  for i = 1, count do workers[i] = mp.run(work, crawl) end
  follow(crawl, "/")
  local frontier <close> = crawl.frontier -- ends the workers, in any case
  wait_for(crawl, workers)
  frontier:close()
  for _, worker in ipairs(workers) do worker:result() end
end

local function report(crawl, count, seconds)
  local paths = {}
  for path, why in pairs(crawl.dead) do
    table.insert(paths, ("  %s: %s"):format(path, why))
  end
  table.sort(paths)
  if paths[1] then print("dead links:\n" .. table.concat(paths, "\n")) end
  print(("%d pages, %d bytes, %d dead links"):format(
    crawl.totals:get("pages", 0), crawl.totals:get("bytes", 0), #crawl.dead))
  local left = crawl.totals.asked - MOST_PAGES
  if left > 0 then print(left .. " paths more were not fetched") end
  print(("%d workers, %.2f s"):format(count, seconds))
end

local function run(root, count)
  local ports = mp.Queue()
  local server <close> = mp.Process { name = "server", target = serve,
    args = { root, ports }, daemon = true }
  server:start()
  local port = ports:get(REQUEST_TIME)
  if not port then server:result(0) end -- says why
  local crawl = new_crawl(("http://127.0.0.1:%d"):format(port))
  local began = mp.now()
  crawl_site(crawl, count)
  report(crawl, count, mp.now() - began)
  server:terminate()
end

local function fail(text)
  io.stderr:write("crawler: ", text, "\n",
    "usage: moonfork crawler.lua [DIRECTORY | made] [WORKERS]\n")
  os.exit(2)
end

local root = arg[1] or (list_pages(DOCUMENTS)[1] and DOCUMENTS) or "made"
local count = math.tointeger(tonumber(arg[2] or mp.cpu_count() * 2))
if not count or count < 1 then fail "WORKERS must be a positive integer" end
if root == "made" then
  local folder <close> = make_folder()
  make_site(folder.path)
  run(folder.path, count)
else
  if not list_pages(root)[1] then fail("no HTML files in " .. root) end
  run(root, count)
end
