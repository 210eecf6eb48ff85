#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Everything that mote does with a guest, under its filter: nothing of it is
# ended by it, the ways that fail included.
#
#	tests/guest/features.t [SCENARIO...]		all of them where none is named
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"
# shellcheck source=tests/guest/scenarios.sh
. tests/guest/scenarios.sh
trap 'scenarios_end; tap_end' EXIT

# What only root can make for them: block devices, mounts, taps. The user of
# tests/as-user, beside whom root runs them all, does not count them.
# shellcheck disable=SC2048 # names are words
for name in ${*:-$(scenarios)}; do
	what="under the filter, scenario $name does as it should"
	case $(id -u)$name in
	0*) ;;
	*device_* | *disk_full_* | *tap | *tap_gone)
		[ "$(id -u)" = 54321 ] ||
			pass "$what # SKIP root makes what it needs"
		continue
		;;
	esac
	ok "$what" "do_$name"
	[ "$status" != 159 ] || sed 's/^/# /' "$err"
done

done_testing
