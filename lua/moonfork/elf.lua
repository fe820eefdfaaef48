-- moonfork/elf.lua - what an ELF file says of itself, for the doctor.
-- Reads files of 64 bits, either byte order; of others the head only. Names
-- are those of elf(5).
-- SPDX-License-Identifier: MIT

local elf = {}

local machines = { [3] = "i386", [8] = "MIPS", [20] = "PowerPC",
  [21] = "PowerPC64", [22] = "S390", [40] = "ARM", [62] = "x86-64",
  [183] = "AArch64", [243] = "RISC-V", [258] = "LoongArch" }
local kinds = { "object", "program", "shared", "core" } -- e_type

local SYMTAB <const>, DYNAMIC <const>, DYNSYM <const> = 2, 6, 11 -- sh_type
local NEEDED <const>, FLAGS_1 <const> = 1, 0x6ffffffb            -- d_tag
local PIE <const> = 0x08000000                                   -- DF_1_PIE
local LOCAL <const>, WEAK <const> = 0, 2                         -- ST_BIND

-- The machine and the size of its words, as one name: equal means that the
-- same process can run both. Nil when it is no ELF file.
local function read_machine(bytes)
  if #bytes < 20 or bytes:sub(1, 4) ~= "\127ELF" then return end
  local class, order = bytes:byte(5, 6)
  local prefix = order == 2 and ">" or "<"
  local machine = string.unpack(prefix .. "I2", bytes, 19)
  return ("%s, %d bits%s"):format(machines[machine] or "machine " .. machine,
    class == 2 and 64 or 32, order == 2 and ", big-endian" or ""), prefix
end

local function read_sections(bytes, prefix)
  local list = {}
  local at, size, count = string.unpack(prefix .. "I8 xxxx xx xx xx I2 I2",
    bytes, 0x28 + 1)
  if at == 0 then return list end
  for i = 0, count - 1 do
    local kind, place, length, link = string.unpack(
      prefix .. "xxxx I4 xxxxxxxx xxxxxxxx I8 I8 I4", bytes, at + i * size + 1)
    list[i] = { kind = kind, place = place, length = length, link = link }
  end
  return list
end

local function read_name(bytes, names, offset)
  return (string.unpack("z", bytes, names.place + offset + 1))
end

-- Adds what is asked for of a table of symbols to the three sets.
local function read_symbols(bytes, prefix, section, names, into)
  for at = section.place, section.place + section.length - 24, 24 do
    local name, info, other, index = string.unpack(prefix .. "I4 B B I2",
      bytes, at + 1)
    local bind = info >> 4
    name = read_name(bytes, names, name)
    if index == 0 then
      if bind ~= WEAK and name ~= "" then into.undefined[name] = true end
    elseif bind == LOCAL or other & 3 ~= 0 or section.kind == SYMTAB then
      into.hidden[name] = true
    else
      into.defined[name] = true
    end
  end
end

local function read_dynamic(bytes, prefix, section, names, file)
  for at = section.place, section.place + section.length - 16, 16 do
    local tag, value = string.unpack(prefix .. "I8 I8", bytes, at + 1)
    if tag == NEEDED then
      table.insert(file.needed, read_name(bytes, names, value))
    elseif tag == FLAGS_1 and value & PIE ~= 0 then
      file.kind = "program"
    end
  end
end

local function read_rest(bytes, prefix, file)
  local sections = read_sections(bytes, prefix)
  for _, section in pairs(sections) do
    local names = sections[section.link]
    if section.kind == DYNSYM or section.kind == SYMTAB then
      file.complete = file.complete or section.kind == DYNSYM
      read_symbols(bytes, prefix, section, names, file)
    elseif section.kind == DYNAMIC then
      read_dynamic(bytes, prefix, section, names, file)
    end
  end
end

---Reads a file's bytes. Raises for those that point beyond their end.
---@param bytes string
---@return table? file nil when it is no ELF file. `machine`: a name; `kind`:
--- "object", "program", "shared" or "core"; `needed`: a list of libraries;
--- `defined`, `hidden`, `undefined`: sets of symbols; `complete`: whether they
--- could be read
function elf.read(bytes)
  local machine, prefix = read_machine(bytes)
  if not machine then return end
  local file = { machine = machine, needed = {}, defined = {}, hidden = {},
    undefined = {}, complete = false }
  file.kind = kinds[string.unpack(prefix .. "I2", bytes, 17)]
  if bytes:byte(5) == 2 then read_rest(bytes, prefix, file) end
  return file
end

---The machine that runs this program, named as `read` names it.
---@return string? machine
function elf.own_machine()
  local file <close> = io.open("/proc/self/exe", "rb")
  return file and (read_machine(file:read(64)))
end

return elf
