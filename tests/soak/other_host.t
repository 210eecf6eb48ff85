#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A snapshot of a Linux guest that is restored on other hosts: on one that has
# only booted since, on one whose processor lacks a feature that the guest was
# shown, and on one whose TSC has another rate; and one that was taken where the
# feature was not, where it is. Each host is a test host of its own, one after the
# other: QEMU's processors differ by -cpu; by its rate the TSC differs in what the
# host's kernel takes it for, since QEMU's is this machine's, whatever
# tsc-frequency= says: KVM and mote know no other.
# needs: the minimal kernel
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

export MOTE_HOST=emulated MOTE_HOST_RUN="$PWD/build/host/run.other"
export MOTE_HOST_MEM=1536 MOTE_HOST_SYNC=0
# In the test host, too.
mine=$PWD/build/tests/other-host
LIMIT=240

other_end() {
	tests/host/stop
	rm -rf "$mine" "$MOTE_HOST_RUN"
	tap_end
}
trap other_end EXIT

if ! command -v qemu-system-x86_64 >/dev/null; then
	pass "other hosts # SKIP no QEMU"
	done_testing
fi
kernel=build/kernel/vmlinux modules=
[ -e "$kernel" ] || {
	kernel=build/guest/vmlinux
	modules='-i build/guest/modules.cpio'
}

# host CPU WORDS: another one boots, with these flags of -cpu and words of its
# kernel besides
host() {
	tests/host/stop
	MOTE_HOST_CPU=$1 MOTE_HOST_WORDS=$2 tests/host/start -p $$ ||
		{ echo "Bail out! the test host does not start"; exit 1; }
}

# there COMMAND...: as run, in the host
there() {
	run tests/host/on -T "$LIMIT" "$@" </dev/null
}

# rate: kHz, as the host's kernel has measured its TSC
rate() {
	tests/host/on dmesg </dev/null |
		sed -n 's/.* tsc: .* \([0-9]*\)[.]\([0-9]*\) MHz.*/\1\2/p' |
		tail -n 1
}

# save NAME: a guest whose init is ready; the file is kept here
save() {
	# shellcheck disable=SC2086 # words
	there "$MOTE" -k "$kernel" -i build/guest/initrd.cpio $modules \
		-i "$mine/cpuid.job" -m 96M --snapshot "/tmp/$1.snap" -- true
	is "$status $(cat "$err")" "0 " "$2"
	tests/host/on gzip -1 -c "/tmp/$1.snap" </dev/null >"$mine/$1.gz"
}

# bring NAME: the file into this host
bring() {
	tests/host/put "$mine/$1.gz"
	tests/host/on sh -c 'umask 077; gunzip <"$1.gz" >"/tmp/$2.snap"' sh \
		"$mine/$1" "$1" </dev/null
}

# clone NAME: what it is shown; its status is 7
clone() {
	there "$MOTE" --restore "/tmp/$1.snap" -- sh -c 'cpuid; exit 7'
}
POPCNT=0x800000
has_popcnt() {
	[ $(($(cat "$out") & POPCNT)) != 0 ]
}

# refused NAME WORDS WHAT
refused() {
	clone "$1"
	is "$status $(cat "$err")" \
		"125 mote: snapshot /tmp/$1.snap: $2" "$3"
}

mkdir -p "$mine"
tests/host/job "$mine/cpuid.job" - build/tests/cpuid=bin/cpuid </dev/null

# -- the host as it is ----------------------------------------------------------

host '' ''
tests/host/put "$mine/cpuid.job"
save first "a guest is saved"
clone first
is "$status $(cat "$err")" "7 " "a clone runs on the same host"
ok "it is shown popcnt" has_popcnt
khz=$(rate)
boot=$(tests/host/on cat /proc/sys/kernel/random/boot_id </dev/null)
scales=$(tests/host/on grep -c -w tsc_scale /proc/cpuinfo </dev/null)
# No timer that the kernel could measure by once more: the rate is that one.
steady="tsc_early_khz=$khz pmtmr=0"

# -- without a feature ------------------------------------------------------------

host -popcnt "$steady"
tests/host/put "$mine/cpuid.job"
bring first
refused first "CPUID of vCPU 0: the guest may use popcnt, which this host lacks" \
	"a host without popcnt refuses a guest that was shown it, by name"
save lacks "a guest is saved that was not shown it"
clone lacks
is "$status $(cat "$err")" "7 " "its clones run there"

# -- the first one again, since booted ----------------------------------------------

host '' "$steady"
bring first
bring lacks
ok "another boot" [ "$boot" != "$(tests/host/on cat \
	/proc/sys/kernel/random/boot_id </dev/null)" ]
is "$(rate)" "$khz" "and the same rate"
clone first
is "$status $(cat "$err")" "7 " "a guest is restored after its host has booted"
ok "it is shown popcnt as before" has_popcnt
clone lacks
is "$status $(cat "$err")" "7 " \
	"a host that has more takes a guest that was shown less"
ok "which is shown no more than before" eval '! has_popcnt'

# -- another rate --------------------------------------------------------------------

slower=$((khz / 10 * 9))
host '' "tsc_early_khz=$slower pmtmr=0"
bring first
if [ "$scales" = 0 ]; then
	refused first "TSC of vCPU 0: its clock ran at $khz kHz, this host's at $slower and its KVM cannot scale it" \
		"a host of another rate that cannot scale it refuses, with both"
else
	clone first
	is "$status $(cat "$err")" "7 " "a host of another rate scales it"
fi

done_testing
