# SPDX-License-Identifier: BSD-3-Clause
# A thin front to Meson: "make" builds build/softdcd.  Variables: BUILD, PREFIX, DESTDIR, ARGS.
BUILD ?= build
PROGRAMS = softdcd softdcd-keeper softdcd-guest-run agent/softdcd-agent
ARGS ?=

.PHONY: all configured demo demo-nested test bench install clean format

# Talk goes to stderr: the output of "make demo ARGS=--json" is the demo's alone.
all: configured
	@ninja --quiet -C $(BUILD) $(PROGRAMS) >&2

configured:
	@tools/deps build
	@[ -e $(BUILD)/build.ninja ] || meson setup $(BUILD) >&2

demo: all
	@tools/deps demo
	@$(BUILD)/softdcd demo $(ARGS)

# The demo's Linux guest where KVM cannot: on a host that QEMU emulates, from Debian packages.
demo-nested: all
	@tests/guest/nested --softdcd $(BUILD)/softdcd 'softdcd demo --guest'

# Everything; ARGS=--fast, or a glob of test names, for less.
test:
	@tools/deps test
	@tests/run --build $(BUILD) $(ARGS)

bench: configured
	@ninja --quiet -C $(BUILD) benchmarks >&2
	@bench/run $(BUILD)

install: configured
	$(if $(PREFIX),meson configure $(BUILD) -Dprefix=$(PREFIX))
	@ninja --quiet -C $(BUILD) $(PROGRAMS) documents
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-clang

format:
	find include src agent tests bench -name '*.[ch]' -exec clang-format -i {} +
