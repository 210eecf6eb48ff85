#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What mote takes of the host's memory for itself, without the guest's: so many
# guests fit beside each other. tests/bench/memory has more of it, and Linux.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

if [ "$(id -u)" -ne 0 ] || ! grep -q Pss_Dirty /proc/self/smaps; then
	echo "1..0 # SKIP needs root to look into the process, and Linux 6.0"
	exit 0
fi

# own PID: KiB that this process has, but for the guest's RAM and its kernel; of
# what it shares with those that it has started, its share (Linux 6.0 has Pss_Dirty)
own() {
	awk '
	function flush() { if (!skip) sum += dirty; dirty = 0 }
	/^[0-9a-f]+-[0-9a-f]+ / { flush(); skip = $6 ~ /elf$/; next }
	/^Pss_Dirty:/ { dirty += $2 }
	/^VmFlags:/ { if (/ mg( |$)/) skip = 1 }
	END { flush(); print sum + 0 }' "/proc/$1/smaps"
}

# helpers: the processes that this mote has started
helpers() {
	for child in /proc/[0-9]*/status; do
		grep -Eq "^PPid:[[:space:]]$pid\$" "$child" 2>/dev/null || continue
		child=${child%/status}
		echo "${child##*/}"
	done
}

# measure ARG...: $kib, of mote itself and of the others, $own and $helpers
measure() {
	guest_start hang -m 64M,mergeable "$@"
	await says hanging
	own=$(own "$pid") helpers=0
	for helper in $(helpers); do
		helpers=$((helpers + $(own "$helper")))
	done
	kib=$((own + helpers))
	kill -KILL "$pid"
	guest_end
}

# has_at_most KIB WHAT ARG...
has_at_most() {
	most=$1 what=$2
	shift 2
	measure "$@"
	ok "with $what mote has at most $most KiB of its own: $own and $helpers" \
		[ "$kib" -le "$most" ]
	ok "with $what its own memory and its helper's are counted" \
		[ "$own" -gt 64 ] && [ "$helpers" -gt 16 ]
}

# Measured: 196 to 212, and 136 to 144; a page or two differ with the host's kernel,
# and with how long the environment is.
# A program that was just written is dirty itself, until the disk has it.
sync "$MOTE"
truncate -s 1M "$tmp/disk"
has_at_most 232 'a disk and a vsock' -d "$tmp/disk" --vsock "$tmp/v"
has_at_most 152 'a snapshot to take' --snapshot "$tmp/snap"
done_testing
