#!/bin/sh
# Linux guests started by an ordinary user, who has no right but that to
# /dev/kvm: what they boot from, their disks and streams, a command in one.
# What needs root by its nature is left out: taps, and disks of the host.
# shellcheck source=tests/lib.sh
. tests/lib.sh

[ "$(id -u)" -eq 0 ] || {
	echo "1..0 # SKIP they are run by an ordinary user already"
	exit 0
}

for suite in boot end virtio command; do
	tests/as-user "tests/linux/$suite.t" >"$tmp/$suite" 2>&1
	status=$?
	grep -A 40 '^not ok' "$tmp/$suite" >"$err"
	is "$status $(grep -c '^ok' "$tmp/$suite")" \
		"0 $(sed -n 's/^1\.\.//p' "$tmp/$suite")" \
		"$suite.t: all of them pass"
done

done_testing
