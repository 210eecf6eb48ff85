#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A host without KVM, or with one that may not be used: one line that says what
# to do, status 125. In a mount namespace of our own, as root or as a root of a
# user namespace.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

root=
[ "$(id -u)" -eq 0 ] || root=-r

# hidden SHELL-COMMANDS: mote after these
hidden() {
	rm -f "$events"
	run unshare $root -m sh -c "$1
		exec \"\$@\"" sh "$MOTE" -k "$GUESTS/hello.elf" -m 64M \
		--events "$events"
}

hidden "mount -t tmpfs none /dev"
ends 125 error "without /dev/kvm mote ends with status 125"
is "$(wc -l <"$err")" 1 "without /dev/kvm there is one line on stderr"
like "$(cat "$err")" '^mote: .*/dev/kvm.*(modprobe|load|enable)' \
	"without /dev/kvm that line says what to do"

hidden "mount --bind /dev/null /dev/kvm"
ends 125 error "a /dev/kvm that is something else is status 125"
is "$(wc -l <"$err")" 1 "a /dev/kvm that is something else: one line on stderr"
like "$(cat "$err")" '^mote: .*/dev/kvm' "a /dev/kvm that is something else is named"

# A regular file, so that also root's rights do not open it for what it is not.
: >"$tmp/kvm"
hidden "mount --bind '$tmp/kvm' /dev/kvm"
ends 125 error "a regular file for /dev/kvm is status 125"
is "$(wc -l <"$err")" 1 "a regular file for /dev/kvm: one line on stderr"

# No rights: root gives up its own; others lose sight of the node.
cp "$MOTE" "$GUESTS/hello.elf" "$tmp"
chmod 755 "$tmp" "$tmp/mote"
chmod 644 "$tmp/hello.elf"
: >"$tmp/denied"
chmod 000 "$tmp/denied"
drop="--bounding-set -all --inh-caps -all"
[ "$(id -u)" -ne 0 ] ||
	drop="--reuid 65534 --regid 65534 --clear-groups"
run unshare $root -m sh -c "mount --bind '$tmp/denied' /dev/kvm
	exec setpriv $drop '$tmp/${MOTE##*/}' -k '$tmp/hello.elf' -m 64M"
is "$status $(wc -l <"$err")" "125 1" "no right to /dev/kvm is one line"
like "$(cat "$err")" '^mote: .*/dev/kvm.*ermission denied.*-aG kvm' \
	"no right to /dev/kvm: that line says what to do"

run "$MOTE" -k "$GUESTS/hello.elf" --check
is "$status" 0 "--check of good flags is status 0"
is "$(cat "$out" "$err")" "" "--check of good flags prints nothing"

done_testing
