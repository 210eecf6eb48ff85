#!/bin/sh
# Everything that mote does with a guest, under its filter: nothing of it is
# ended by it, the ways that fail included.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"
# shellcheck source=tests/guest/scenarios.sh
. tests/guest/scenarios.sh
trap 'scenarios_end; tap_end' EXIT

for name in $(scenarios); do
	ok "$name" "do_$name"
	[ "$status" != 159 ] || sed 's/^/# /' "$err"
done

done_testing
