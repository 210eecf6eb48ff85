#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# All the tests of bare-metal guests once more, by an ordinary user: mote needs
# no rights but those to /dev/kvm and to the files that it is given.
# shellcheck source=tests/user.sh
. tests/user.sh

for suite in tests/guest/*.t; do
	case ${suite##*/} in
	user.t) ;;
	flip.t) ;;			  # looks at files, and starts no guest
	filter.t | rules.t | poor.t | memory.t) ;; # look into mote as root
	*) user_suites "$suite" ;;
	esac
done

done_testing
