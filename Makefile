# Makefile - builds, tests, checks and installs Moonfork.
#
# `make help` lists the targets. Variables: CC, CFLAGS, WERROR=1, PREFIX,
# DESTDIR, and VARIANT: plain, asan, ubsan or tsan. Each variant has objects,
# tests and a program of its own, so that they stand side by side: plain in
# build/ and ./moonfork, any other in build/VARIANT/.
# SPDX-License-Identifier: MIT

CC       = gcc
CFLAGS   = -O2 -g
PREFIX   = /usr/local
LUA_PC   = lua5.4
LUA      = lua5.4
BUSTED   = /usr/bin/busted
VARIANT  = plain
JOBS    := $(shell nproc 2>/dev/null || echo 1)

ifeq ($(VARIANT),plain)
  OUT     := build
  PROGRAM := moonfork
else
  OUT     := build/$(VARIANT)
  PROGRAM := $(OUT)/moonfork
endif

# The first failure ends the program, so that no test can overlook it.
SANITISE_asan  = -fsanitize=address,undefined -fno-sanitize-recover=all \
                 -fno-omit-frame-pointer
SANITISE_ubsan = -fsanitize=undefined -fno-sanitize-recover=all \
                 -fno-omit-frame-pointer
SANITISE_tsan  = -fsanitize=thread -Wno-tsan
SANITISE       = $(SANITISE_$(VARIANT))

LUA_CFLAGS := $(patsubst -I%,-isystem %,\
                $(shell pkg-config --cflags $(LUA_PC) 2>/dev/null))
LUA_STATIC := $(shell $(CC) -print-file-name=lib$(LUA_PC).a)

# A second compiler is used by `check`: both understand all of these.
WARNINGS = -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes \
           $(if $(WERROR),-Werror)
DIALECT  = -std=gnu11 -D_GNU_SOURCE -iquote host $(LUA_CFLAGS)
COMPILE  = $(CC) $(DIALECT) $(WARNINGS) -fvisibility=hidden $(SANITISE) \
           $(CFLAGS)

# Everything is bound at start: a child touches no page to find a function.
LINKING = -Wl,-z,now -Wl,-O1 -Wl,--hash-style=gnu -Wl,--as-needed
LIBS    = -lm -ldl

# What only the program has, what only the module has, and what both share.
SOURCES   := $(wildcard host/*.c)
STEMS     := $(patsubst host/%.c,%,$(SOURCES)) embedded
FOR_MAIN   = main prompt machine
FOR_MODULE = module
SHARED     = $(filter-out $(FOR_MAIN) $(FOR_MODULE),$(STEMS))

# What a child writes to of the program's variables shall be in one page: two of
# those first, and behind all others those that have large static memory. At the
# very end what says where Lua stands, which follows.
FIRST   = slot parcel
LARGE   = process target luaheap_arena
ORDERED = $(FIRST) $(filter-out $(FIRST) $(LARGE) machine,$(STEMS)) $(LARGE) \
          machine
OBJECTS = $(patsubst %,$(OUT)/obj/%.o,$(filter-out $(FOR_MODULE),$(ORDERED)))
PARTS   = $(SHARED:%=$(OUT)/obj/%.o)
PIC     = $(patsubst %,$(OUT)/pic/%.o,$(filter-out $(FOR_MAIN),$(STEMS)))

LUA_FILES := $(sort $(filter-out lua/moonfork/types/%,\
               $(wildcard lua/moonfork/*.lua lua/moonfork/*/*.lua)))

C_TESTS := $(patsubst tests/c/%.c,$(OUT)/tests/%,$(wildcard tests/c/*_test.c))
CRASH   := $(patsubst tests/crash/%.c,$(OUT)/tests/crash_%,\
             $(wildcard tests/crash/*.c))
FUZZ    := $(patsubst tests/fuzz/%.c,$(OUT)/tests/fuzz_%,\
             $(wildcard tests/fuzz/*.c))
TSAN    := $(patsubst tests/tsan/%.c,$(OUT)/tests/tsan_%,\
             $(wildcard tests/tsan/*.c))
FLOOR   := $(patsubst bench/floor/%.c,$(OUT)/bench/%,\
             $(wildcard bench/floor/*.c))

C_FILES   := $(wildcard host/*.c tests/c/*.c tests/crash/*.c tests/fuzz/*.c \
               tests/tsan/*.c tests/extend/*.c tests/extend/v1/*.c \
               bench/floor/*.c bench/modules/*.c examples/bindings/*/*.c)
H_FILES   := $(wildcard host/*.h tests/c/*.h tests/crash/*.h tests/tsan/*.h \
               bench/floor/*.h)
LUA_TOOLS  = scripts/bench-compare scripts/doccode scripts/doccov \
             scripts/layers scripts/sizes tests/run tests/model/run

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all help objects programs module demo test asan ubsan tsan \
        bench docs format check check-format check-lua check-tidy \
        check-rules check-docs check-warnings install uninstall clean FORCE
.PHONY: bench-full bench-plots check-instructions update-instructions

help: ## this list
	@echo 'make [target], the default is all:'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 21

all: $(PROGRAM) module ## build ./moonfork and build/moonfork.so

ifeq ($(VARIANT),plain)
module: $(OUT)/moonfork.so $(OUT)/moonfork.pc
else
# A stock lua5.4 cannot load a sanitised module: there is none.
module:
endif

objects: $(OBJECTS) $(PIC)

programs: $(PROGRAM) $(C_TESTS) $(CRASH) $(FUZZ)

# A stamp is rewritten only when its text changes, so that other flags, or a
# Lua file more or less, rebuild what they must.
define stamp
@mkdir -p $(@D)
@echo '$(1)' | cmp -s - $@ || echo '$(1)' >$@
endef

$(OUT)/flags: FORCE
	$(call stamp,$(COMPILE))

$(OUT)/lua-files: FORCE
	$(call stamp,$(LUA_FILES))

$(OUT)/embedded.c: scripts/embed.lua $(LUA_FILES) $(OUT)/lua-files
	$(LUA) scripts/embed.lua lua $(LUA_FILES) >$@

$(OUT)/obj/embedded.o $(OUT)/pic/embedded.o: $(OUT)/embedded.c

$(OUT)/obj/embedded.o: $(OUT)/flags
	@mkdir -p $(@D)
	$(COMPILE) -MMD -MP -c -o $@ $(OUT)/embedded.c

$(OUT)/pic/embedded.o: $(OUT)/flags
	@mkdir -p $(@D)
	$(COMPILE) -fPIC -MMD -MP -c -o $@ $(OUT)/embedded.c

$(OUT)/obj/%.o: host/%.c $(OUT)/flags
	@mkdir -p $(@D)
	$(COMPILE) -MMD -MP -c -o $@ $<

$(OUT)/pic/%.o: host/%.c $(OUT)/flags
	@mkdir -p $(@D)
	$(COMPILE) -fPIC -MMD -MP -c -o $@ $<

# The whole of Lua goes in and is exported, for modules written in C.
$(PROGRAM): $(OBJECTS) $(LUA_STATIC)
	$(CC) $(CFLAGS) $(SANITISE) $(LINKING) -Wl,-E -o $@ $(OBJECTS) \
	  -Wl,--whole-archive $(LUA_STATIC) -Wl,--no-whole-archive $(LIBS)

# No Lua in here: the lua5.4 that loads it has one.
$(OUT)/moonfork.so: $(PIC)
	$(CC) $(CFLAGS) $(SANITISE) $(LINKING) -shared -Wl,-z,nodelete \
	  -o $@ $(PIC) $(LIBS)

$(OUT)/moonfork.pc: scripts/moonfork.pc.in host/defs.h $(OUT)/flags
	sed -e 's/@LUA_PC@/$(LUA_PC)/' -e "s/@VERSION@/$$(sed -n \
	  's/.*MOONFORK_VERSION "\(.*\)"/\1/p' host/defs.h)/" $< >$@

# For the tests in C; the linker takes from it what each of them uses.
$(OUT)/parts.a: $(PARTS)
	@rm -f $@
	$(AR) rcs $@ $(PARTS)

define link_test
@mkdir -p $(@D)
$(COMPILE) -MMD -MP -o $@ $< $(OUT)/parts.a $(LUA_STATIC) $(LIBS)
endef

$(OUT)/tests/crash_%: tests/crash/%.c $(OUT)/parts.a
	$(link_test)

$(OUT)/tests/fuzz_%: tests/fuzz/%.c $(OUT)/parts.a
	$(link_test)

$(OUT)/tests/tsan_%: tests/tsan/%.c $(OUT)/parts.a
	$(link_test)

$(OUT)/tests/%: tests/c/%.c $(OUT)/parts.a
	$(link_test) -lcmocka

$(OUT)/bench/%: bench/floor/%.c $(OUT)/flags
	@mkdir -p $(@D)
	$(COMPILE) -MMD -MP -o $@ $< $(LINKING) $(LUA_STATIC) $(LIBS)

$(LUA_STATIC):
	@echo 'Lua is missing: run scripts/setup build' >&2; exit 1

-include $(wildcard $(OUT)/obj/*.d $(OUT)/pic/*.d $(OUT)/tests/*.d \
                    $(OUT)/bench/*.d)

demo: ## set up, build, run the tutorial and the word count
	scripts/setup build
	$(MAKE) -j$(JOBS) all
	./moonfork examples/tutorial.lua
	./moonfork examples/wordcount.lua

test: ## set up, build, run every test
	scripts/setup build test
	$(MAKE) -j$(JOBS) all programs
	tests/run $(OUT)

asan: ## the tests under the address and undefined-behaviour sanitisers
	$(MAKE) VARIANT=asan test

ubsan: ## the tests under the undefined-behaviour sanitiser alone, quicker
	$(MAKE) VARIANT=ubsan test

tsan: ## threads at the shared objects, under the thread sanitiser
	scripts/setup build
	$(MAKE) -j$(JOBS) VARIANT=tsan threads
	tests/run build/tsan

.PHONY: threads
threads: $(TSAN)

bench: ## measure against the physical floor and the peers, 5 minutes
	scripts/setup build test bench
	$(MAKE) -j$(JOBS) all floor
	./moonfork bench/run.lua

bench-full: ## the same with all that takes long, and the curves, 15 minutes
	scripts/setup build test bench
	$(MAKE) -j$(JOBS) all floor
	./moonfork bench/run.lua --full --seconds 900
	./moonfork bench/plain.lua
	./moonfork bench/heaps.lua
	bench/plot

bench-plots: ## measure and draw the curves of docs/*.svg
	scripts/setup build bench
	$(MAKE) -j$(JOBS) all floor
	bench/plot

.PHONY: floor
floor: $(FLOOR) $(OUT)/bench/tape.so

# Modules for the benchmark, and the program whose instructions are counted.
$(OUT)/bench/%.so: bench/modules/%.c $(OUT)/flags
	@mkdir -p $(@D)
	$(COMPILE) -fPIC -MMD -MP -shared -o $@ $<

ALIKE = -Wl,--wrap=lua_newstate -Wl,--wrap=luaS_new \
        -Wl,--wrap=luaS_clearcache
$(OUT)/bench/counted: bench/modules/seed.c $(OBJECTS) $(LUA_STATIC)
	@mkdir -p $(@D)
	$(COMPILE) -MMD -MP $(LINKING) -Wl,-E $(ALIKE) -o $@ $< $(OBJECTS) \
	  -Wl,--whole-archive $(LUA_STATIC) -Wl,--no-whole-archive $(LIBS)

COUNT_INSTRUCTIONS = CC='$(CC)' CFLAGS='$(CFLAGS)' MOONFORK=./$(PROGRAM) \
                     BENCH_FLOOR=$(OUT)/bench $(LUA) bench/instructions.lua

check-instructions: ## instructions per operation against the recorded ones
	scripts/setup build check
	$(MAKE) -j$(JOBS) $(PROGRAM) $(OUT)/bench/counted $(OUT)/bench/mark.so
	$(COUNT_INSTRUCTIONS)

update-instructions: ## write bench/instructions.txt anew
	scripts/setup build check
	$(MAKE) -j$(JOBS) $(PROGRAM) $(OUT)/bench/counted $(OUT)/bench/mark.so
	$(COUNT_INSTRUCTIONS) --update

docs: ## write docs/reference.md from the annotations
	$(LUA) scripts/reference.lua >docs/reference.md.new
	mv docs/reference.md.new docs/reference.md

format: ## lay out the C code as .clang-format says
	clang-format -i $(C_FILES) $(H_FILES)

check: ## format, lint, layers, sizes, documentation, warnings
	scripts/setup build check
	$(MAKE) check-format check-lua check-rules check-docs
	$(MAKE) check-warnings
	$(MAKE) check-tidy

check-format:
	clang-format --dry-run -Werror $(C_FILES) $(H_FILES)

check-lua:
	luacheck -q --no-color lua scripts tests examples bench $(LUA_TOOLS)

check-rules:
	scripts/layers
	scripts/sizes

check-docs: $(PROGRAM)
	scripts/doccov ./$(PROGRAM)
	mandoc -T lint -W warning docs/moonfork.1

check-warnings:
	$(MAKE) -j$(JOBS) VARIANT=gcc CC=gcc WERROR=1 objects
	$(MAKE) -j$(JOBS) VARIANT=clang CC=clang WERROR=1 objects

check-tidy:
	printf '%s\n' $(wildcard host/*.c) | xargs -P $(JOBS) -n 1 \
	  sh -c 'clang-tidy --quiet "$$0" -- $(DIALECT) 2>/dev/null'

install: all ## PREFIX (default /usr/local), DESTDIR
	scripts/install put '$(DESTDIR)$(PREFIX)'

uninstall: ## takes back what install put there
	scripts/install take '$(DESTDIR)$(PREFIX)'

# For luarocks, which has places of its own.
.PHONY: install-rock
install-rock: all
	install -d '$(BINDIR)' '$(LIBDIR)'
	install -m 755 moonfork '$(BINDIR)/moonfork'
	install -m 755 build/moonfork.so '$(LIBDIR)/moonfork.so'

clean: ## remove everything built
	rm -rf build moonfork
