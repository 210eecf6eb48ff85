#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# 100 MB through one command in a guest.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

LIMIT=800

# As fast as either end can: every window fills up on the way.
head -c 100000000 /dev/urandom >"$tmp/random"
input=$tmp/random
boot cat -i "$MODULES" -- busybox cat
ended cat
ends 0 exited "cat ends with 100 MB of input"
ok "100 MB of random bytes go through a command unchanged" cmp "$tmp/random" "$out"

done_testing
