#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Cgroups of version 2 with a memory controller, which the test host has and not
# every machine; what any has is in tests/guest/jail.t.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

# There is no process beside cgroups that share memory out.
group=/sys/fs/cgroup/mote-$$
# The test host is ours to set up.
[ "${MOTE_HOST:-}" != linux ] ||
	echo +memory >/sys/fs/cgroup/cgroup.subtree_control
if mkdir "$group" 2>/dev/null &&
	{ echo +memory >"$group/cgroup.subtree_control"; } 2>/dev/null; then
	for with in '' --check; do
		guest hello --cgroup "$group" $with
		ends 125 error "a cgroup that gives its memory on is refused${with:+ by $with}"
		like "$(cat "$err")" 'name one of these' \
			"a cgroup that gives its memory on: what to do is said${with:+ by $with}"
	done
else
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - a cgroup that gives its memory on # SKIP there is no version 2 with memory here"
fi
[ ! -d "$group" ] || rmdir "$group"

done_testing
