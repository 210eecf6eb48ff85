#!/bin/sh
# All the tests of bare-metal guests once more, by an ordinary user: mote needs
# no rights but those to /dev/kvm and to the files that it is given.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

[ "$(id -u)" -eq 0 ] || {
	echo "1..0 # SKIP they are run by an ordinary user already"
	exit 0
}

# Without flip.t, which looks at files and starts no guest.
for suite in end early serial tty signals kernels machine virtio disk kvm jail; do
	timeout -k 10 300 tests/as-user "tests/guest/$suite.t" >"$tmp/$suite" 2>&1
	status=$?
	grep -A 40 '^not ok' "$tmp/$suite" >"$err"
	is "$status $(grep -c '^ok' "$tmp/$suite")" \
		"0 $(sed -n 's/^1\.\.//p' "$tmp/$suite")" \
		"$suite.t: all of them pass"
done

done_testing
