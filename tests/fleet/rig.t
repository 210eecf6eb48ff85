#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The rig itself: what its other tests take for granted.
# shellcheck source=tests/fleet/rig.sh
. "${0%/*}/rig.sh"

is "$("$CLUSTER" status | paste -sd ' ')" 'n0 n1 n2' "three nodes are up"
for node in n0 n1 n2; do
	in_node "$node" systemctl is-system-running
	is "$(last_line)" running "$node: systemd runs, and no unit has failed"
	as_guest "$node" sh -c 'id -un; id -Gn; pwd
		test -r /dev/kvm && test -w /dev/kvm && echo kvm
		mote -k /opt/mote/guests/hello.elf -m 32M'
	is "$(cat "$out")" "guest
guest kvm
/shared
kvm
hello from the guest" "$node: an ordinary user runs a guest"
done

as_guest n1 sh -c 'echo words >file; exit 7'
is "$status $(cat "$SHARED/file")" '7 words' \
	"a node's status comes through, and all share a directory"
in_node n0 touch /opt/mote/bin/mote
is "$status" 1 "a node cannot write what it is given of the tree"

in_node n0 sh -c 'ip -o route | cut -d " " -f 1-3; getent hosts n2'
is "$(cat "$out")" '10.77.0.0/24 dev host0
10.77.0.12      n2' "the nodes' network leads nowhere but to each other"
ok "nothing of it is to be seen on this machine" \
	sh -c '! ip -o link | grep -q fleet0 && ! grep -q fleet/run /proc/mounts'

"$CLUSTER" kill n2
is "$("$CLUSTER" status | paste -sd ' ')" 'n0 n1' "a node that is killed is gone"
as_guest n1 sh -c 'true'
is "$status" 0 "and the others go on"
ok "it boots once more" "$CLUSTER" up
is "$("$CLUSTER" status | paste -sd ' ')" 'n0 n1 n2' "and is there again"

# -- the end of it ------------------------------------------------------------

group() {
	find /sys/fs/cgroup -maxdepth 2 -type d -name "$("$CLUSTER" name)"
}

nodes=$("$CLUSTER" in n1 pgrep -c .)
ok "processes run in a node" [ "$nodes" -gt 5 ]
keeper=$(group | sed 's|$|/keeper/cgroup.procs|' | xargs cat | sort -u)
kill -KILL "$keeper"
# shellcheck disable=SC2046 # names
ok "whatever ends the rig, all of its nodes are gone with it" \
	until_is '' sh -c 'find "$@" -name cgroup.procs -exec cat {} +' sh $(group)
is "$("$CLUSTER" status)" '' "and it is not up any more"
ok "down" "$CLUSTER" down
is "$(group)$(find build/fleet -maxdepth 1 -name run)" '' \
	"leaves neither cgroups nor files"
ok "it can be had again" "$CLUSTER" up
done_testing
