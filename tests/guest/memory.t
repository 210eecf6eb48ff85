#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What mote takes of the host's memory for itself, without the guest's: so many
# guests fit beside each other. tests/bench/memory has more of it, and Linux.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

# Measured: 168 to 176, 48 of it for its broker's process; a page
# or two differ with the host's kernel, and with how long the environment is.
MOST=200

# own PID: KiB that this process alone has, but for the guest's RAM and its kernel
own() {
	awk '
	function flush() { if (!skip) sum += private; private = 0 }
	/^[0-9a-f]+-[0-9a-f]+ / { flush(); skip = $6 ~ /elf$/; next }
	/^Private_Dirty:/ { private += $2 }
	/^VmFlags:/ { if (/ mg( |$)/) skip = 1 }
	END { flush(); print sum + 0 }' "/proc/$1/smaps"
}

# broker: the process that this mote has started
broker() {
	for child in /proc/[0-9]*/status; do
		grep -Eq "^PPid:[[:space:]]$pid\$" "$child" 2>/dev/null || continue
		child=${child%/status}
		echo "${child##*/}"
	done
}

# A program that was just written is dirty itself, until the disk has it.
sync "$MOTE"
truncate -s 1M "$tmp/disk"
guest_start hang -m 64M,mergeable -d "$tmp/disk" --vsock "$tmp/v"
await says hanging
broker=$(broker)
kib=$(($(own "$pid") + $(own "$broker")))
ok "with a disk and a vsock mote has at most $MOST KiB of its own: $kib" \
	[ "$kib" -le $MOST ]
ok "mote's own memory is counted" [ "$(own "$pid")" -gt 64 ]
ok "its broker's memory is counted" [ "$(own "$broker")" -gt 16 ]
kill -KILL "$pid"
guest_end
done_testing
