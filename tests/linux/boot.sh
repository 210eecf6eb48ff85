# SPDX-License-Identifier: Apache-2.0
# What the Linux tests share, on top of tests/lib.sh; to be sourced. POSIX sh,
# and no program but busybox's and socat: it runs in the test host.
#
#	job NAME [FILE=NAME]... <SCRIPT
#		an archive, $tmp/NAME.job, with what the guest is to run: see
#		tests/host/job. `outb PORT VALUE` is there in each.
#	with_libraries PROGRAM
#		prints FILE=NAME for it and for all that it needs
#	boot NAME ARG...
#		starts $MOTE in the background with $kernel, the usual initrd,
#		128 MiB and --events; ARGs may say otherwise. It has no input
#		unless $input names a file, its output goes to $tmp/NAME.out
#		or $output.
#	start NAME ARG...
#		the same with stdin and stdout as they are
#	ended NAME
#		waits for that guest, at most LIMIT seconds; then $status, $out,
#		$err and $events are its own, for what tests/lib.sh has
#	minimal, debian
#		which kernel boots from here on: Debian's, as at first, whose
#		drivers are modules, which $modules brings; or the minimal one,
#		a quarter of the work, for tests whose subject is not the
#		kernel. Where that was not built, Debian's does all. A test that
#		uses it says so in a line of its own (see tests/run).
#	$driver_warnings
#		for a job: prints as late=... what drivers warn of
#	got KEY
#		what it printed as KEY=...
#	heard NAME
#		that guest's mote has acted on all signals that were sent to it
#	until_is SECONDS COMMAND...
#		waits for a command to succeed. See printed, waiting.
#
# Two guests at a time are as quick as one where there are two processors.
#
# shellcheck shell=sh
# shellcheck disable=SC2034 # what is set here is for the scripts

. tests/lib.sh

BZIMAGE=build/guest/bzImage
INITRD=build/guest/initrd.cpio
MODULES=build/guest/modules.cpio
OUTB=build/tests/outb

debian() {
	kernel=build/guest/vmlinux
	modules="-i $MODULES"
}

minimal() {
	[ -e build/kernel/vmlinux ] || return 0
	kernel=build/kernel/vmlinux
	modules=
}

debian

# A driver's message begins with its name or a device's. In what a kernel says
# otherwise, such as the trace of a stall where the host is busy, there may be
# such names anywhere. Debian builds virtio_mmio without the parameter that names
# slots for kernels without ACPI, and says so.
driver_warnings='
dmesg -r | sed -nE "s/^<[0-4]>\[[ 0-9.]*\] //p" |
	grep -iE "^(virtio|vd[a-p]|blk|eth[0-9]|netdev|vsock|irq|ext4|jbd2)|I/O error" |
	grep -v "unknown parameter .device. ignored" |
	sed "s/^/late=/"
'

# A boot takes a second on a machine with virtualisation, 4 to 30 in the
# emulated one, as busy as it is.
LIMIT=240

boot_end() {
	for boot_pid in "$tmp"/*.pid; do
		[ ! -e "$boot_pid" ] || kill -9 "$(cat "$boot_pid")" 2>/dev/null
	done
	tap_end
}
trap boot_end EXIT

# Everything is some 50 times slower in the emulated machine, the console most
# of all: tests that move much data move less of it there.
emulated() {
	grep -q 'QEMU TCG' /proc/cpuinfo
}

job() {
	job_name=$1
	shift
	tests/host/job "$tmp/$job_name.job" - "$OUTB=bin/outb" "$@"
}

# with_libraries PROGRAM: it and what it needs, as arguments of job
with_libraries() {
	echo "$1=bin/${1##*/}"
	loader=/lib64/ld-linux-x86-64.so.2
	echo "$loader=${loader#/}"
	"$loader" --list "$1" | sed -n 's/.* => \/\(.*\) (0x.*/\/\1=\1/p'
}

# Its input is 9 and its output 8: what a shell starts in the background has
# /dev/null for 0.
boot_mote() {
	boot_name=$1
	shift
	rm -f "$tmp/$boot_name.events"
	"$MOTE" -k "$kernel" -i "$INITRD" -m 128M \
		--events "$tmp/$boot_name.events" "$@" \
		<&9 >&8 9<&- 8>&- 2>"$tmp/$boot_name.err" &
	echo $! >"$tmp/$boot_name.pid"
}

start() {
	boot_mote "$@" 9<&0 8>&1
}

boot() {
	boot_mote "$@" 9<"${input:-/dev/null}" 8>"${output:-$tmp/$1.out}"
}

pid_of() {
	cat "$tmp/$1.pid"
}

# gone PID: it has ended, if only as a zombie that nobody has asked for yet
gone() {
	read -r _ _ gone_state _ 2>/dev/null <"/proc/$1/stat" || return 0
	[ "$gone_state" = Z ]
}

until_is() {
	until_left=$(($1 * 4))
	shift
	until "$@" 2>/dev/null; do
		until_left=$((until_left - 1))
		[ "$until_left" -gt 0 ] || return 1
		sleep 0.25
	done
}

# printed NAME TEXT: it is in that guest's output
printed() {
	grep -q -e "$2" "$tmp/$1.out"
}

# waiting NAME: the guest has said that it is ready
waiting() {
	grep -q '"event":"ready"' "$tmp/$1.events"
}

counters_of() {
	grep -c '"event":"counters"' "$tmp/$1.events"
}

more_counters() {
	[ "$(counters_of "$1")" -gt "$2" ]
}

# What was sent before may be acted on with the first answer, or just after it.
heard() {
	for heard_time in first second; do
		heard_before=$(counters_of "$1")
		kill -USR2 "$(pid_of "$1")"
		until_is "$LIMIT" more_counters "$1" "$heard_before"
	done
}

boot_over() {
	gone "$(pid_of "$1")"
}

ended() {
	out=$tmp/$1.out
	err=$tmp/$1.err
	events=$tmp/$1.events
	until_is "$LIMIT" boot_over "$1" || kill -9 "$(pid_of "$1")"
	status=0
	wait "$(pid_of "$1")" 2>/dev/null || status=$?
	rm -f "$tmp/$1.pid"
}

got() {
	tr -d '\r' <"$out" | sed -n "s/^$1=//p"
}

# What the guest said, where a test fails: more than its last words.
tap_diagnose() {
	echo "# status $status"
	for diagnose_file in "$err" "$events" "$out"; do
		[ -s "$diagnose_file" ] || continue
		echo "# ${diagnose_file##*/}:"
		tail -n 25 "$diagnose_file" | tr -d '\0' | tap_note
	done
}
