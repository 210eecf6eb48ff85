# SPDX-License-Identifier: Apache-2.0
# mote's build. `make` gives build/mote; `make help` lists the rest.
#
# Everything made lands under build/: objects in a tree per kind of build
# (obj: musl; debug: host libc with ASan and UBSan; tsan: with TSan; fuzz: clang
# with libFuzzer; native: programs run while building; guest-obj: freestanding)
# and libraries built for musl under build/deps. `make clean` keeps what came
# from elsewhere.
# A C file names what it is linked with in its own text, never here:
#	/* uses: mem/ram.c boot/kernel.c */	sources of mote under test
#	/* ldflags: -Wl,--wrap=read */		anything else that it needs

VERSION	:= 0.1.0
# What -V says behind it, where the tree is a checkout or a release. The header
# that has it changes only when it does, and one object with it.
COMMIT	:= $(firstword $(shell boot/fleet/package/commit))
B	:= build
PREFIX	?= /usr/local
DESTDIR	?=
WERROR	?= -Werror
FUZZ_TIME ?= 10
HOSTCC	?= gcc
CLANG	?= clang-14
MUSLCC	?= musl-gcc
MUSL	?= /usr/lib/x86_64-linux-musl
SIZE_LIMIT := 409600

# `make V=1` shows the commands instead of one short line for each.
Q	:= $(if $(V),,@)
say	= $(if $(V),,@printf '  %-5s %s\n' '$1' '$2')

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

# -- sources ------------------------------------------------------------------

DIRS	:= mem cpu cpu/loop cpu/console cpu/command boot boot/options \
	   boot/snapshot boot/tar virtio \
	   virtio/block virtio/net virtio/vsock seccomp
ASM	:= boot/archive_init.S
INIT	:= $(wildcard boot/init/*.c boot/tar/*.c)
GEN	:= $(wildcard boot/options/docs.c)
POLICY	:= seccomp/policy.c seccomp/dispatch.c seccomp/gen_filter.c
SRC	:= $(wildcard main.c) \
	   $(filter-out $(GEN) $(POLICY),$(wildcard $(DIRS:%=%/*.c)))
UNIT	:= $(wildcard tests/unit/test_*.c)
RACE	:= $(wildcard tests/unit/race_*.c)
FUZZ	:= $(wildcard tests/fuzz/fuzz_*.c)
RINGS	:= $(wildcard tests/fuzz/race_*.c)
GUESTLIB := $(wildcard tests/guest/lib*.c)
GUEST	:= $(filter-out $(GUESTLIB),$(wildcard tests/guest/*.c))

# What `make` makes: one program, or it and the texts that its option table
# fills in.
DOCS	:= $(if $(wildcard boot/options/docs.c),$B/mote.1 $B/mote.bash $B/_mote)
all: $(if $(DEBUG),$B/debug/mote,$B/mote $(DOCS))

# $(call note,KEY,FILES): what the files' `/* KEY: ... */` lines name.
note	= $(if $2,$(shell sed -n 's|^/\* $1:\(.*\)\*/$$|\1|p' $2))

# -- flags --------------------------------------------------------------------

WARN	:= -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes \
	   -Wmissing-prototypes -Wmissing-declarations -Wold-style-definition \
	   -Wredundant-decls -Wpointer-arith -Wcast-align=strict -Wundef \
	   -Wformat=2 -Wwrite-strings -Wlogical-op -Wduplicated-cond \
	   -Wduplicated-branches $(WERROR)
# What clang, which builds the fuzzers, does not know; and it takes a va_list
# printf for one with a computed format.
CLANGWARN = $(filter-out $(GCCWARN),$(WARN)) -Wno-format-nonliteral \
	   -Wno-gnu-variable-sized-type-not-at-end
GCCWARN	:= -Wcast-align=strict -Wlogical-op -Wduplicated-cond \
	   -Wduplicated-branches
LANG_C	:= -std=c11 -D_GNU_SOURCE -DMOTE_VERSION='"$(VERSION)"' -I. -I$B/gen
DEP	= -MMD -MP -MF $(@:.o=.d)

# A monitor pokes at foreign memory through many types: no strict aliasing, and
# no null check thrown away. Each variable starts as zero: what a guest can
# read back is never what lay on the stack.
CFLAGS	?= -O2
HARDEN	:= -fpie -fstack-protector-strong -fstack-clash-protection \
	   -ftrivial-auto-var-init=zero -fno-strict-aliasing \
	   -fno-delete-null-pointer-checks -fno-common -fvisibility=hidden \
	   -fcf-protection=none
TRIM	:= -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables
KERNEL_H := $(addprefix $B/deps/linux/,linux asm-generic video asm)
MUSLINC	:= -idirafter $B/deps/linux -isystem $B/deps/include
# What an exit, a request or a packet goes through most, and what each start
# computes, is fast. All else is small: a read, a write and a stream each way take
# the same then, to four digits of the instructions that they are in all.
HOT	:= mem/relocate.c mem/ram.c seccomp/shorten.c \
	   $(addprefix cpu/,bus.c vcpu.c loop/loop.c) \
	   $(addprefix virtio/,lazy.c limiter.c queue.c net/rx_buffers.c)
cold	= $(if $(filter $(HOT),$1),,-Os)
# What only the manual says of an option is not in the program, nor is the room
# for it: each pointer of a table has to be relocated at each start.
MUSLFLAGS = $(LANG_C) -DOPTIONS_WITHOUT_MANUAL $(WARN) $(HARDEN) $(TRIM) $(CFLAGS) \
	   $(MUSLINC)

# Debian's musl-gcc knows -static but not -static-pie, so the start files and
# the linker's share of -static-pie are given here: rcrt1.o relocates itself,
# and the program gets address space randomisation without a dynamic linker.
crt	= $(shell $(MUSLCC) -print-file-name=$1)
LDSTART	= -static -nostartfiles $(MUSL)/rcrt1.o $(MUSL)/crti.o \
	  $(call crt,crtbeginS.o)
LDEND	= $(call crt,crtendS.o) $(MUSL)/crtn.o
LDFLAGS	?=
# Sorted, what is large lies together, and so do the small variables: in two
# pages, not between large ones in five.
LDHARD	:= -Wl,-pie,--no-dynamic-linker,-z,text,-z,relro,-z,now \
	   -Wl,-z,noexecstack,-z,separate-code,--gc-sections,--build-id=none \
	   -Wl,--sort-section=alignment,--fatal-warnings -s
# mote's own: see mem/relocate.c.
LDPACK	:= -Wl,-z,pack-relative-relocs,-e,mote_start

SAN	:= -fsanitize=address,undefined -fno-sanitize-recover=all
HOSTWARN := $(if $(findstring clang,$(HOSTCC)),$(CLANGWARN),$(WARN))
HOSTFLAGS := $(LANG_C) $(HOSTWARN) -O1 -g -fno-omit-frame-pointer $(SAN)
TSANFLAGS := $(filter-out $(SAN),$(HOSTFLAGS)) -fsanitize=thread -Wno-tsan
FUZZFLAGS := $(LANG_C) $(CLANGWARN) -O1 -g -fno-omit-frame-pointer $(SAN)
GUESTFLAGS := -std=c11 $(WARN) -O1 -m64 -ffreestanding -nostdlib -static \
	   -mno-red-zone -mgeneral-regs-only -fno-pie -no-pie \
	   -fno-stack-protector -fno-asynchronous-unwind-tables \
	   -fcf-protection=none -ffunction-sections -fdata-sections -I.

# -- mote ---------------------------------------------------------------------

OBJ	:= $(SRC:%.c=$B/obj/%.o) $(ASM:%.S=$B/obj/%.o)

# Changes when a source comes or goes, or other flags are given: what was built
# before is then out of date, although every file in it is older.
MADE_OF	:= $B/made-of
made_of	:= $(SRC) $(INIT) $(HOT) $(subst ',,$(MUSLFLAGS) $(HOSTCC) $(HOSTFLAGS) $(LDFLAGS))
$(shell mkdir -p $B; echo '$(made_of)' | cmp -s - $(MADE_OF) || \
	echo '$(made_of)' >$(MADE_OF))

COMMIT_H := $B/gen/boot/options/commit.h
$(shell mkdir -p $(dir $(COMMIT_H)); \
	echo '#define MOTE_COMMIT "$(COMMIT:%= (%))"' | cmp -s - $(COMMIT_H) || \
	echo '#define MOTE_COMMIT "$(COMMIT:%= (%))"' >$(COMMIT_H))

$B/mote: $(OBJ) Makefile $(MADE_OF)
	$(call say,LD,$@)
	$Q$(MUSLCC) $(LDSTART) $(LDHARD) $(LDPACK) $(LDFLAGS) -o $@ $(OBJ) $(LDEND)
	@size=$$(stat -c %s $@); [ $$size -le $(SIZE_LIMIT) ] || \
	{ echo "$@: $$size bytes, more than $(SIZE_LIMIT)" >&2; exit 1; }

$B/obj/%.o: %.c Makefile $(MADE_OF) | tools-build $(KERNEL_H)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$Q$(MUSLCC) $(MUSLFLAGS) $(call cold,$<) $(DEP) -c -o $@ $<

# The guest's init, a program without any library, which mote has within it.
INITFLAGS := -std=c11 -D_GNU_SOURCE $(WARN) -Os -flto -m64 -ffreestanding \
	   -nostdlib -static -fno-pie -no-pie -mno-red-zone -mgeneral-regs-only \
	   -fno-stack-protector -fno-asynchronous-unwind-tables \
	   -fcf-protection=none -fno-tree-loop-distribute-patterns -I.
INIT_OBJ := $(INIT:%.c=$B/init-obj/%.o)
$B/init: $(INIT_OBJ)
	$(call say,INIT,$@)
	$Q$(HOSTCC) $(INITFLAGS) -s -o $@ $^ -Wl,--build-id=none \
		-Wl,-z,noexecstack,-z,noseparate-code,-z,max-page-size=4096

$B/init-obj/%.o: %.c Makefile $(MADE_OF) | tools-build
	@mkdir -p $(@D)
	$(call say,INIT,$<)
	$Q$(HOSTCC) $(INITFLAGS) -ffat-lto-objects $(DEP) -c -o $@ $<

embed	= $(HOSTCC) -DINIT='"$B/init"' -c -o $@ $<
$B/obj/%.o: %.S $B/init Makefile
	@mkdir -p $(@D)
	$(call say,AS,$<)
	$Q$(embed)

$B/debug/%.o: %.S $B/init Makefile
	@mkdir -p $(@D)
	$(call say,AS,$<)
	$Q$(embed)

# The kernel's own headers, and nothing else of the host's /usr/include.
$(KERNEL_H): | tools-build
	@mkdir -p $(@D)
	$Qln -sfn /usr/include/$(if $(filter asm,$(@F)),x86_64-linux-gnu/)$(@F) $@

$B/debug/mote: $(SRC:%.c=$B/debug/%.o) $(ASM:%.S=$B/debug/%.o) Makefile $(MADE_OF)
	$(call say,LD,$@)
	$Q$(HOSTCC) $(HOSTFLAGS) -o $@ $(filter %.o,$^)

$B/debug/%.o: %.c Makefile $(MADE_OF) | tools-build
	@mkdir -p $(@D)
	$(call say,HOST,$<)
	$Q$(HOSTCC) $(HOSTFLAGS) $(DEP) -c -o $@ $<

# -- programs that run while building -----------------------------------------

# They are linked with what their `uses:` line names.
define gen_rule
$B/native/$(notdir $1): $(1:%=$B/native/%.o) \
	$(patsubst %.c,$B/native/%.o,$(call note,uses,$1.c))
	$$(call say,LD,$$@)
	$$Q$$(HOSTCC) -o $$@ $$^
endef
$(foreach g,$(GEN:.c=),$(eval $(call gen_rule,$g)))
NATIVE_BINS := $(GEN:%.c=$B/native/%.o) $B/native/gen_filter

$B/native/%.o: %.c Makefile $(MADE_OF) | tools-build
	@mkdir -p $(@D)
	$(call say,HOST,$<)
	$Q$(HOSTCC) $(LANG_C) $(HOSTWARN) -O1 $(DEP) -c -o $@ $<

# The system call filters: the policy, compiled by libseccomp, which is built for
# musl; so is its compiler. The second one is for a test (tests/guest/rules.t).
# It shortens programs for all features.
$B/obj/seccomp/gen_shorten.o: seccomp/shorten.c Makefile $(MADE_OF) | \
	tools-build $(KERNEL_H)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$Q$(MUSLCC) $(MUSLFLAGS) -DSHORTEN_ROOM=2048 \
		-DSHORTEN_NEAR=255 $(DEP) -c -o $@ $<

$B/native/gen_filter: $(POLICY:%.c=$B/obj/%.o) $B/obj/seccomp/gen_shorten.o \
	$B/deps/lib/libseccomp.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$Q$(MUSLCC) $(LDSTART) $(LDHARD) -o $@ $^ $(LDEND)

$B/gen/seccomp/filter_table.h: TABLE :=
$B/gen/rows/seccomp/filter_table.h: TABLE := rows
$B/gen/seccomp/filter_table.h $B/gen/rows/seccomp/filter_table.h: $B/native/gen_filter
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$Q$< $(TABLE) >$@

$B/tests/mote-rows: $(filter-out $B/obj/seccomp/filter.o,$(OBJ)) \
	$B/obj/rows/filter.o $B/obj/tests/strip/strip.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$Q$(MUSLCC) $(LDSTART) $(LDHARD) -o $@ $^ $(LDEND)

$B/obj/rows/filter.o: seccomp/filter.c $B/gen/rows/seccomp/filter_table.h
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$Q$(MUSLCC) -I$B/gen/rows $(MUSLFLAGS) $(DEP) -c -o $@ $<

# The AML of the ACPI tables. The numbers in the source come from mote's headers;
# what else these hold stands above the definition block, and is dropped.
ASL	:= $(patsubst %.asl,$B/gen/%.hex,$(wildcard boot/*.asl))
$(ASL): $B/gen/%.hex: %.asl Makefile | tools-build
	@mkdir -p $(@D)
	$(call say,IASL,$@)
	$Q$(HOSTCC) -E -P -x c -std=c11 -I. -MMD -MP -MF $(@:.hex=.d) -MT $@ $< | \
		sed -n '/^DefinitionBlock/,$$p' >$(@:.hex=.asl)
	$Qiasl $(if $(WERROR),-we) -tc -p $(@:.hex=) $(@:.hex=.asl) >$(@:.hex=.log) || \
		{ cat $(@:.hex=.log) >&2; exit 1; }
	$Qsed -i 's/^unsigned char/static const &/' $@

$(foreach t,obj debug fuzz,$B/$t/boot/acpi.o): $(ASL)

$B/obj/seccomp/gen_filter.o: | $B/deps/lib/libseccomp.a
$(foreach t,obj debug fuzz,$B/$t/seccomp/filter.o): $B/gen/seccomp/filter_table.h

$(DOCS): $B/%: boot/options/%.in $B/native/docs
	$(call say,GEN,$@)
	$Q$B/native/docs <$< >$@

# -- test programs ------------------------------------------------------------

unit-bins: $(UNIT:tests/unit/%.c=$B/unit/%) $(RACE:tests/unit/%.c=$B/tsan/%)
race-bins: $(RINGS:tests/fuzz/%.c=$B/fuzz/%) $(RINGS:tests/fuzz/%.c=$B/tsan/%)
guest-bins: $(GUEST:tests/guest/%.c=$B/guest-tests/%.elf)
fuzz-bins: $(FUZZ:tests/fuzz/%.c=$B/fuzz/%)

# $(call objects,TREE,FILE): the objects that FILE is linked from: what it names,
# and what the helpers among that, which are in tests/, name in turn.
objects	= $(patsubst %.c,$B/$1/%.o,$2 $(call uses,$2))
uses	= $(call with_theirs,$(call note,uses,$1))
with_theirs = $(sort $1 $(if $(filter tests/%,$1),$(call uses,$(filter tests/%,$1))))

define unit_rule
$B/unit/$1: $(call objects,debug,tests/unit/$1.c) \
	$B/debug/tests/unit/one_case.o | tools-test
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$Q$$(HOSTCC) $$(HOSTFLAGS) -o $$@ $$^ -lcmocka \
		$(call note,ldflags,tests/unit/$1.c)
endef
$(foreach t,$(UNIT:tests/unit/%.c=%),$(eval $(call unit_rule,$t)))

# What several threads do at once is built with TSan, which no other sanitizer
# goes with.
define race_rule
$B/tsan/$(notdir $1): $(call objects,tsan,$1.c) | tools-test
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$Q$$(HOSTCC) $$(TSANFLAGS) -o $$@ $$^ -lcmocka \
		$(call note,ldflags,$1.c)
endef
$(foreach t,$(RACE:.c=) $(RINGS:.c=),$(eval $(call race_rule,$t)))

# What hostile drivers race with is built a second time, with the others.
define rings_rule
$B/fuzz/$1: $(call objects,debug,tests/fuzz/$1.c) | tools-test
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$Q$$(HOSTCC) $$(HOSTFLAGS) -o $$@ $$^ -lcmocka \
		$(call note,ldflags,tests/fuzz/$1.c)
endef
$(foreach t,$(RINGS:tests/fuzz/%.c=%),$(eval $(call rings_rule,$t)))

$B/tsan/%.o: %.c Makefile $(MADE_OF) | tools-test
	@mkdir -p $(@D)
	$(call say,TSAN,$<)
	$Q$(HOSTCC) $(TSANFLAGS) $(DEP) -c -o $@ $<

define fuzz_rule
$B/fuzz/$1: $(call objects,fuzz,tests/fuzz/$1.c) | tools-test
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$Q$$(CLANG) $$(FUZZFLAGS) -fsanitize=fuzzer -o $$@ $$^ \
		$(call note,ldflags,tests/fuzz/$1.c)
endef
$(foreach t,$(FUZZ:tests/fuzz/%.c=%),$(eval $(call fuzz_rule,$t)))

$B/fuzz/%.o: %.c Makefile $(MADE_OF) | tools-test
	@mkdir -p $(@D)
	$(call say,FUZZ,$<)
	$Q$(CLANG) $(FUZZFLAGS) -fsanitize=fuzzer-no-link $(DEP) -c -o $@ $<

# Bare-metal guests: ELF programs at 1 MiB that mote loads like a kernel. Each
# is linked with all of tests/guest/lib*.c; what it does not call falls away.
link_guest = $(HOSTCC) $(GUESTFLAGS) -T tests/guest/guest.ld \
	  -Wl,--build-id=none,-z,noexecstack,-z,max-page-size=4096 \
	  -Wl,--gc-sections,--no-warn-rwx-segments
define guest_rule
$B/guest-tests/$1.elf: tests/guest/guest.ld $B/guest-obj/tests/guest/start.o \
	$(GUESTLIB:%.c=$B/guest-obj/%.o) $(call objects,guest-obj,tests/guest/$1.c)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$Q$$(link_guest) -o $$@ $$(filter %.o,$$^)
endef
$(foreach t,$(GUEST:tests/guest/%.c=%),$(eval $(call guest_rule,$t)))

$B/guest-obj/%.o: %.c Makefile $(MADE_OF) | tools-build
	@mkdir -p $(@D)
	$(call say,GUEST,$<)
	$Q$(HOSTCC) $(GUESTFLAGS) $(DEP) -c -o $@ $<

$B/guest-obj/%.o: %.S Makefile | tools-build
	@mkdir -p $(@D)
	$(call say,GUEST,$<)
	$Q$(HOSTCC) $(GUESTFLAGS) $(DEP) -c -o $@ $<

# What the test scripts use that a shell does not have.
tool-bins: $(patsubst tests/tools/%.c,$B/tools/%,$(wildcard tests/tools/*.c))

$B/tools/%: tests/tools/%.c Makefile $(MADE_OF) | tools-test
	@mkdir -p $(@D)
	$(call say,HOST,$<)
	$Q$(HOSTCC) $(LANG_C) $(HOSTWARN) -O1 -o $@ $<

# One that is linked with parts of mote, as unit tests are.
$B/tools/pax: $(call objects,debug,tests/tools/pax.c) | tools-test
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$Q$(HOSTCC) $(HOSTFLAGS) -o $@ $^

# What runs in the guests of tests/linux. build/tests is in the test host, too.
linux-bins: $(patsubst tests/linux/%.c,$B/tests/%,$(wildcard tests/linux/*.c))

$B/tests/%: $B/obj/tests/linux/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$Q$(MUSLCC) $(LDSTART) $(LDHARD) $(LDFLAGS) -o $@ $< $(LDEND)

# What `make bench` measures against, built as mote is; and its guests.
bench-bins: $(patsubst tests/bench/%.c,$B/bench/%,$(wildcard tests/bench/*.c)) \
	$(addprefix $B/bench/,first.elf first.bin clone.elf idle.elf)

$B/bench/%: $B/obj/tests/bench/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$Q$(MUSLCC) $(LDSTART) $(LDHARD) $(LDFLAGS) -o $@ $< $(LDEND)

$B/bench/%.elf: $B/guest-obj/tests/bench/%.o tests/bench/first.ld
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$Q$(HOSTCC) $(GUESTFLAGS) -T tests/bench/first.ld -Wl,--build-id=none \
		-Wl,-z,noexecstack,--no-warn-rwx-segments -o $@ $<

$B/bench/%.bin: $B/bench/%.elf
	$(call say,GUEST,$@)
	$Qobjcopy -O binary -j .text $< $@

# -- dependencies -------------------------------------------------------------

# Says what is missing, and the one command that mends it.
tools-%:
	@tests/deps/packages missing $*

deps:
	@tests/deps/packages install
	@$(MAKE) -s $(KERNEL_H)

# For the policy compiler: built when something asks for it.
$B/deps/lib/libseccomp.a: | $(KERNEL_H)
	@tests/deps/build-lib libseccomp

# -- checks and tests ---------------------------------------------------------

TESTS	:= $(UNIT:tests/unit/%.c=$B/unit/%) $(wildcard tests/*.t) \
	   $(wildcard tests/fuzz/*.t tests/guest/*.t tests/host/*.t) \
	   $(wildcard tests/linux/*.t)

check: $(OBJ) $(INIT_OBJ) $(NATIVE_BINS) $(ASL) | tools-check
	@tests/check/run
format: | tools-check
	clang-format-14 -i $(shell tests/check/run files | grep '\.[ch]$$')

# One after the other, whatever -j says: first what the rest is built with.
# Then as many at once as there are processors, unless -j says otherwise. The
# guest kernel, where it is out of date, is built beside the first tests.
again	= $(MAKE) --no-print-directory \
	  $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
test:
	+@$(again) deps
	+@$(again) test-bins
	@tests/host/fetch generic
	@tests/deps/packages install kernel
	@tests/deps/build-kernel & kernel=$$!; tests/run $(TESTS); status=$$?; \
		wait $$kernel && exit $$status

# Minutes each in the nested host, hours in all: disks, networks and streams as in
# tests/linux, but with more; a thousand commands; all tests of guests once more,
# as an ordinary user; a whole Debian from its own disk; Debian's other kernels; and
# what programs in images want of a kernel, with the one that is made for them; disks
# on NFS, NBD and iSCSI, and what a cluster has besides.
soak:
	+@$(again) deps
	+@$(again) test-bins
	@tests/host/fetch generic && tests/host/debian-root && \
		tests/host/debian-root images && tests/host/debian-root storage && \
		tests/host/kernels
	@tests/deps/packages install kernel && tests/deps/build-kernel && \
		FULL=1 tests/deps/build-kernel
	@TEST_TIMEOUT=$${TEST_TIMEOUT:-3600} tests/run tests/soak/*.t
# Three machines on this one, with systemd and Slurm (tests/fleet/README.md): as
# root, on Debian 12. It leaves nothing, whatever ends it.
cluster:
	+@$(again) deps
	+@$(again) $B/mote $(DOCS) guest-bins tool-bins
	@tests/deps/packages install fleet
	@tests/deps/packages install package
	@trap 'tests/fleet/cluster down' EXIT; trap 'exit 130' INT TERM HUP; \
		tests/fleet/cluster up && tests/run tests/fleet/*.t
test-bins: $B/mote $B/debug/mote $(DOCS) unit-bins guest-bins fuzz-bins \
	race-bins tool-bins linux-bins bench-bins $B/tests/mote-rows

# The limit of tests/run is for seconds; the fuzzers run two at a time.
fuzz: fuzz-bins race-bins
	FUZZ_TIME=$(FUZZ_TIME) TEST_TIMEOUT=$$(($(words $(FUZZ)) * $(FUZZ_TIME) + 900)) \
		tests/run tests/fuzz/fuzz.t tests/fuzz/rings.t
race: race-bins
	FUZZ_TIME=$(FUZZ_TIME) TEST_TIMEOUT=$$((4 * $(FUZZ_TIME) + 900)) \
		tests/run tests/fuzz/rings.t
# PEERS=DIR: Firecracker, its jailer, kvmtool, Cloud Hypervisor, if they are there.
bench: $B/mote bench-bins linux-bins | tools-test tools-bench
	PEERS="$(PEERS)" tests/bench/run
# CMD=... comes to it in the environment.
run:
	+@$(again) deps
	+@$(again) $B/mote
	@tests/demo
# A guest kernel without what mote's machine does not have; see boot/guest.config.
# FULL=1: one with what programs in images use; see boot/guest-full.config.
kernel:
	+@$(again) deps
	@tests/deps/packages install kernel
	@FULL=$(FULL) tests/deps/build-kernel

# -- the rest -----------------------------------------------------------------

SHARE	:= $(DESTDIR)$(PREFIX)/share
ZSH_DIR	?= $(PREFIX)/share/zsh/site-functions
UNITDIR	?= $(PREFIX)/lib/systemd/system
UNITS	:= $(notdir $(wildcard boot/fleet/systemd/*@.*))
install: all install-units install-fleet
	install -D -m 755 $B/mote $(DESTDIR)$(PREFIX)/bin/mote
	install -D -m 755 boot/image/mote-oci $(DESTDIR)$(PREFIX)/bin/mote-oci
	install -D -m 644 $B/mote.1 $(SHARE)/man/man1/mote.1
	install -D -m 644 boot/image/mote-oci.1 $(SHARE)/man/man1/mote-oci.1
	install -D -m 644 $B/mote.bash \
		$(SHARE)/bash-completion/completions/mote
	install -D -m 644 $B/_mote $(DESTDIR)$(ZSH_DIR)/_mote

install-units:
	$Qfor unit in $(UNITS); do \
		sed 's|/usr/local/bin/|$(PREFIX)/bin/|' boot/fleet/systemd/$$unit | \
		install -D -m 644 /dev/stdin $(DESTDIR)$(UNITDIR)/$$unit || exit; \
	done

# What starts guests on many machines, but for units, which systemd wants
# elsewhere, and what packages are made of.
FLEET	:= $(shell find boot/fleet -type f ! -path 'boot/fleet/package/*' \
	   ! -path 'boot/fleet/systemd/*.service' \
	   ! -path 'boot/fleet/systemd/*.socket' | sort)
install-fleet:
	$Qfor file in $(FLEET); do mode=644; [ ! -x $$file ] || mode=755; \
	install -D -m $$mode $$file $(SHARE)/mote/$${file#boot/} || exit; done

# A package for Debian 12, and all that is given away; boot/fleet/package/README.md.
deb dist:
	@for group in build deps package; do \
	tests/deps/packages install $$group || exit; done
	@boot/fleet/package/dist $@

TREES	:= $(addprefix $B/,obj init-obj debug native gen unit fuzz tsan guest-obj guest-tests bench tools)
clean:
	rm -rf $(TREES) $B/mote $B/init $B/mote.1 $B/mote.bash $B/_mote $(MADE_OF) \
		$B/cppcheck $B/summary $B/tap $B/tests $B/dist $B/fleet/package
distclean:
	rm -rf $B

define help
make              build/mote, its manual page and shell completion
make DEBUG=1      build/debug/mote: host libc, ASan and UBSan
make run          boot Linux to a shell (all set-up included)
make run CMD='uname -a'   the same, with one command
make kernel       build/kernel/vmlinux, the minimal guest kernel (10 minutes);
                  FULL=1: build/kernel/full/vmlinux, for images (30 minutes)
make deps         install what is missing (Debian 12)
make test         build and run every test
make check        style, layers, static analysis; make format mends style
make fuzz         each fuzzer and the race harness for FUZZ_TIME=seconds
make race         the race harness alone, as long
make bench        all measurements, next to QEMU's and those of PEERS=DIR
make cluster      three nodes with systemd and Slurm, and what runs guests there
make soak         the long tests: commands, disks, network, vsock, users, kernels
make install      to PREFIX=/usr/local, below DESTDIR=; units to UNITDIR=
make deb          a Debian package of the commit, in build/dist
make dist         it, the source, the program, checksums and an SBOM
make clean        remove what was built; distclean: also libraries and kernels
V=1 shows the commands.
endef
export help
help:
	@echo "$$help"

-include $(shell find $(TREES) -type f -name '*.d' 2>/dev/null)

.PHONY: all deps check format test test-bins unit-bins guest-bins fuzz-bins \
	race-bins tool-bins linux-bins bench-bins fuzz race bench soak cluster run kernel install install-units install-fleet deb dist clean distclean help
