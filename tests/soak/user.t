#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# All the tests of Linux guests, started by an ordinary user.
# shellcheck source=tests/user.sh
. "${0%/*}/../user.sh"

for suite in tests/linux/*.t; do
	case ${suite##*/} in
	user.t) ;;
	devices.t | net.t | passt.t | user_net.t) ;; # taps are root's to make: see the last
	readme.t | roots.t) ;; # whose images have root's files in them
	*) user_suites "$suite" ;;
	esac
done

done_testing
