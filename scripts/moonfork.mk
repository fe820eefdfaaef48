# moonfork.mk - builds, tests and installs a module for Lua 5.4 in C or C++.
#
# The whole Makefile of a module:
#
#   MODULE = thing
#   SRCS   = thing.c
#   TESTS  = test.lua
#   include $(shell pkg-config --variable=makefile moonfork)
#
# MODULE  what `require` takes: a.b makes a/b.so and needs luaopen_a_b
# SRCS    .c, .cc, .cpp, .cxx
# TESTS   scripts that `make check` runs, in a stock Lua, in a stock Lua with
#         Moonfork loaded first, and in the program; in the first there is no
#         Moonfork to be required. Status 0: passed; 77: skipped
# PKGS    libraries, as pkg-config calls them
#
# CC, CXX, CFLAGS, CXXFLAGS, CPPFLAGS, LDFLAGS, LDLIBS as usual; WARNINGS;
# PREFIX (where Moonfork is) and DESTDIR; LUA (lua5.4), PKG_CONFIG.
# Targets: all, check, install, uninstall, clean.
# SPDX-License-Identifier: MIT

MOONFORK_MAKEFILE := $(abspath $(lastword $(MAKEFILE_LIST)))
MOONFORK_PREFIX   := $(abspath $(dir $(MOONFORK_MAKEFILE))../..)

LUA        ?= lua5.4
PKG_CONFIG ?= pkg-config
PREFIX     ?= $(MOONFORK_PREFIX)
CFLAGS     ?= -O2 -g
CXXFLAGS   ?= $(CFLAGS)
WARNINGS   ?= -Wall -Wextra

ifeq ($(strip $(MODULE)),)
  $(error MODULE is not set: the name that require takes)
endif
ifeq ($(strip $(SRCS)),)
  $(error SRCS is not set: the files in C or C++)
endif

# Runs pkg-config with $(1); without what it asks for, nothing can be built.
moonfork_pkg = $(shell \
  PKG_CONFIG_PATH='$(MOONFORK_PREFIX)/lib/pkgconfig':"$$PKG_CONFIG_PATH" \
  $(PKG_CONFIG) $(1) $(PKGS))$(if $(filter 0,$(.SHELLSTATUS)),,$(error \
  pkg-config does not find what is needed: moonfork $(PKGS)))

MOONFORK_TARGET := $(subst .,/,$(strip $(MODULE))).so
MOONFORK_DIR    := $(patsubst ./,,$(dir $(MOONFORK_TARGET)))
MOONFORK_CXX    := $(filter %.cc %.cpp %.cxx,$(SRCS))
MOONFORK_OBJS   := $(SRCS:=.o)
MOONFORK_CFLAGS := -fPIC -MMD -MP $(call moonfork_pkg,--cflags moonfork)
MOONFORK_LIBS   := $(if $(strip $(PKGS)),$(call moonfork_pkg,--libs))
MOONFORK_LINK   := -shared -Wl,--as-needed \
  -Wl,--version-script='$(dir $(MOONFORK_MAKEFILE))moonfork.map' \
  -Wl,--require-defined=luaopen_$(subst .,_,$(strip $(MODULE)))

.DEFAULT_GOAL := all
.PHONY: all check install uninstall clean
.DELETE_ON_ERROR:

all: $(MOONFORK_TARGET)

$(MOONFORK_OBJS): $(firstword $(MAKEFILE_LIST)) $(MOONFORK_MAKEFILE)

%.c.o: %.c
	$(CC) $(MOONFORK_CFLAGS) $(WARNINGS) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

define moonfork_compile_cxx
%.$(1).o: %.$(1)
	$$(CXX) $$(MOONFORK_CFLAGS) $$(WARNINGS) $$(CPPFLAGS) $$(CXXFLAGS) \
	  -c -o $$@ $$<
endef
$(foreach suffix,cc cpp cxx,$(eval $(call moonfork_compile_cxx,$(suffix))))

$(MOONFORK_TARGET): $(MOONFORK_OBJS)
	@mkdir -p $(@D)
	$(if $(MOONFORK_CXX),$(CXX) $(CXXFLAGS),$(CC) $(CFLAGS)) \
	  $(MOONFORK_LINK) $(LDFLAGS) -o $@ $(MOONFORK_OBJS) \
	  $(MOONFORK_LIBS) $(LDLIBS)

-include $(MOONFORK_OBJS:.o=.d)

# A stock Lua in which `require "moonfork"` fails, wherever it is installed.
MOONFORK_WITHOUT = package.preload.moonfork = function() \
  error("there is no Moonfork here", 0) end

check: all
	@log=$$(mktemp) || exit 1; trap 'rm -f "$$log"' EXIT; \
	passed=0 failed=0 skipped=0; \
	LUA_CPATH_5_4="./?.so;$(MOONFORK_PREFIX)/lib/lua/5.4/?.so;$$( \
	  )$${LUA_CPATH_5_4:-$$LUA_CPATH};;"; export LUA_CPATH_5_4; \
	try() { \
	  words="$$test in $$1"; shift; \
	  "$$@" "$$test" >"$$log" 2>&1 </dev/null; status=$$?; \
	  case $$status in \
	  0) passed=$$((passed + 1)); echo "passed   $$words" ;; \
	  77) skipped=$$((skipped + 1)); echo "skipped  $$words" ;; \
	  *) failed=$$((failed + 1)); cat "$$log"; \
	    echo "FAILED   $$words: status $$status" ;; \
	  esac; \
	}; \
	for test in $(TESTS); do \
	  try "$(LUA)" $(LUA) -e '$(MOONFORK_WITHOUT)'; \
	  try "$(LUA) -l moonfork" $(LUA) -l moonfork; \
	  try moonfork '$(MOONFORK_PREFIX)/bin/moonfork'; \
	done; \
	echo "$$passed passed, $$failed failed, $$skipped skipped"; \
	[ $$failed -eq 0 ]

# Removes the directories of a module with dots in its name, when empty.
define moonfork_prune
$(if $(MOONFORK_DIR),[ ! -d '$(1)/$(MOONFORK_DIR)' ] || { cd '$(1)' && \
  rmdir -p --ignore-fail-on-non-empty $(MOONFORK_DIR); })
endef

MOONFORK_PLACE = $(DESTDIR)$(PREFIX)/lib/lua/5.4

install: all
	install -d '$(MOONFORK_PLACE)/$(MOONFORK_DIR)'
	install -m 644 $(MOONFORK_TARGET) '$(MOONFORK_PLACE)/$(MOONFORK_TARGET)'

uninstall:
	rm -f '$(MOONFORK_PLACE)/$(MOONFORK_TARGET)'
	$(call moonfork_prune,$(MOONFORK_PLACE))

clean:
	rm -f $(MOONFORK_TARGET) $(MOONFORK_OBJS) $(MOONFORK_OBJS:.o=.d)
	$(call moonfork_prune,.)
