# SPDX-License-Identifier: Apache-2.0
# What the tests of the rig share, beside tests/lib.sh; to be sourced. The file is
# skipped where there can be no rig; one that is up is used, else it is booted, and
# taken down at the end.
#
#	in_node NODE COMMAND...	run (tests/lib.sh) in a node, as root
#	as_guest NODE COMMAND...	the same as the ordinary user
#	until_is TEXT COMMAND...	until the command prints TEXT; LIMIT seconds
#	left_in NODE		the processes of mote that run there
#	$SHARED			the directory /shared of all nodes
#
# shellcheck shell=sh
# shellcheck disable=SC2034 # what is set here is for the scripts
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

CLUSTER=tests/fleet/cluster
SHARED=build/fleet/run/shared
LIMIT=120
rig_is_ours=

skip_all() {
	echo "1..0 # SKIP $1"
	exit 0
}

rig_end() {
	[ -z "$rig_is_ours" ] || "$CLUSTER" down
	tap_end
}

[ "$(id -u)" = 0 ] || skip_all "only root can boot nodes"
command -v systemd-nspawn >/dev/null ||
	skip_all "systemd-nspawn is not installed: make cluster installs it"
[ -e /dev/kvm ] || skip_all "there is no /dev/kvm"
"$CLUSTER" status >"$tmp/rig" || rig_is_ours=1
trap rig_end EXIT
# a node that a test has killed before is there again, too
"$CLUSTER" up >"$tmp/rig" 2>&1 || {
	tap_note <"$tmp/rig"
	echo "Bail out! the rig does not boot"
	exit 1
}

in_node() {
	run "$CLUSTER" in "$@"
}

as_guest() {
	run "$CLUSTER" in -u guest "$@"
}

# until_is TEXT COMMAND...: what it printed last is in $last
until_is() {
	until_end=$(($(date +%s) + LIMIT))
	until_text=$1
	shift
	while last=$("$@" 2>/dev/null); [ "$last" != "$until_text" ]; do
		[ "$(date +%s)" -lt "$until_end" ] || return 1
		sleep 0.1
	done
}

left_in() {
	"$CLUSTER" in "$1" pgrep -a -x mote
}
