# The everyday commands. `make run` opens a chat on a fresh machine; `make test` runs every test.
# Building itself is Meson's and Ninja's: this file only names what people type.

BUILD     = build
NINJA     = ninja -C $(BUILD)
QUESTION  = What is gravity?
FUZZ_S    = 60

# Homebrew keeps some libraries out of pkg-config's way; scripts/setup sets the same path.
ifeq ($(shell uname -s),Darwin)
BREW_OPT := $(shell brew --prefix)/opt
export PKG_CONFIG_PATH := $(BREW_OPT)/openssl@3/lib/pkgconfig:$(BREW_OPT)/libedit/lib/pkgconfig:$(BREW_OPT)/curl/lib/pkgconfig:$(PKG_CONFIG_PATH)
endif

.PHONY: all run test test-fast test-build bench fmt style fuzz install clean

all:
	@scripts/setup
	@test -e $(BUILD)/build.ninja || meson setup $(BUILD) --buildtype=release
	@$(NINJA)

# Chats on a terminal; without one it answers one question and is done.
run: all
	@model=$$(scripts/get_model) && if test -t 0; then exec $(BUILD)/weft run "$$model"; \
	else exec $(BUILD)/weft run "$$model" "$(QUESTION)" --temp 0 --max-tokens 200; fi

test: test-build
	@scripts/run_tests

# What needs no model, network or GPU, within a minute.
test-fast: test-build
	@scripts/run_tests --fast

# A build directory configured before cmocka was there has no tests in it: add them.
test-build:
	@scripts/setup --test
	@test -e $(BUILD)/build.ninja || meson setup $(BUILD) --buildtype=release -Dtests=enabled
	@test "$$(meson introspect $(BUILD) --tests)" != "[]" || meson setup --reconfigure $(BUILD) -Dtests=enabled
	@$(NINJA)

bench: all
	@model=$$(scripts/get_model) && exec $(BUILD)/weft bench "$$model"

fmt:
	@scripts/check_style --fix

style:
	@scripts/check_style --format; a=$$?; scripts/check_rooms; b=$$?; scripts/check_style; c=$$?; \
	test $$a$$b$$c = 000

# Every fuzz target for FUZZ_S seconds, from its corpus; what it finds stays in build-fuzz/found.
fuzz:
	@scripts/setup --test
	@test -e build-fuzz/build.ninja || CC=clang meson setup build-fuzz -Dfuzz=true -Db_lundef=false
	@ninja -C build-fuzz $(patsubst %.c,%,$(wildcard tests/fuzz/fuzz_*.c))
	@scripts/run_fuzz $(FUZZ_S)

install: all
	@meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf build build-*
