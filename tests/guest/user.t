#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Bare-metal guests of an ordinary user: all features, all ends, a terminal, a
# network.
# mote needs no rights but those to /dev/kvm and to the files that it is given.
# All tests of bare-metal guests, as such a user: tests/soak/guest.t.
# shellcheck source=tests/user.sh
. tests/user.sh

for name in features end tty passt notify; do
	user_suites "tests/guest/$name.t"
done

done_testing
