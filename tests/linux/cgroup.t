#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# --cgroup with version 2 of it, which not every machine that builds mote has:
# what the kernel refuses is said, by --check as well, and a limit of memory is
# seen before it is the end of mote. Only one guest runs here. (tests/guest/jail.t has
# what any cgroup shows.)
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

top=/sys/fs/cgroup
group=$top/mote-test-$$
echo +memory >"$top/cgroup.subtree_control" 2>/dev/null
mkdir "$group" 2>/dev/null && [ -e "$group/memory.max" ] || {
	rmdir "$group" 2>/dev/null
	echo "1..0 # SKIP no cgroup of version 2 with a memory controller can be made"
	exit 0
}

# refused TEXT PATTERN ARG...: by the run and by --check, in the same words
refused() {
	refused_text=$1
	refused_pattern=$2
	shift 2
	for check in '' --check; do
		# shellcheck disable=SC2086 # words
		mote -k "$kernel" --cgroup "$group" "$@" $check
		ends 125 error "$refused_text is refused${check:+ by $check}"
		like "$(cat "$err")" "$refused_pattern" \
			"$refused_text: the message says why${check:+, with $check}"
	done
	ok "$refused_text: nobody is in the cgroup afterwards" \
		[ -z "$(cat "$group/cgroup.procs")" ]
}

mote -k "$kernel" --cgroup "$group" --check
is "$status $(cat "$err")" "0 " "a good cgroup of version 2: --check says nothing"

echo 128M >"$group/memory.max"
refused "more memory than a cgroup of version 2 has" \
	"prefault has 256 MiB .*the cgroup $group has 12[0-8] MiB left" \
	-m 256M,prefault
mkdir "$group/below"
group=$group/below
refused "more memory than the cgroup above has" \
	"the cgroup ${group%/below} has 12[0-8] MiB left" -m 256M,prefault
mote -k "$kernel" --cgroup "$group" -m 100M,prefault --check
is "$status $(cat "$err")" "0 " "as much memory as a cgroup has: --check says nothing"

# What the kernel has counted of it is told at the end.
rm -f "$events"
"$MOTE" -k "$kernel" --cgroup "$group" -m 100M,prefault --serial off \
	--events "$events" >"$out" 2>"$err" &
pid=$!
await happened start
kill -INT "$pid"
guest_end
ends 130 signal "a guest in a cgroup of version 2 is stopped"
peak=$(sed -n 's/.*"exit".*"cgroup_peak_bytes":\([0-9]*\).*/\1/p' "$events")
ok "the exit event has the peak of a cgroup of version 2 (${peak:-none})" \
	[ "${peak:-0}" -ge 104857600 ]

# The kernel takes no process beside cgroups that share memory out.
group=${group%/below}
echo +memory >"$group/cgroup.subtree_control"
refused "a cgroup that gives its memory on" \
	'Resource busy; .*name one of these' -m 64M
rmdir "$group/below" "$group"

done_testing
