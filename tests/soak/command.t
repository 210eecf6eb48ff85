#!/bin/sh
# 100 MB through one command in a guest.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

LIMIT=800

# As fast as either end can: every window fills up on the way.
head -c 100000000 /dev/urandom >"$tmp/random"
input=$tmp/random
boot cat -i "$MODULES" -- busybox cat
ended cat
ends 0 exited "cat ends with its input"
ok "100 MB of random bytes in and out" cmp "$tmp/random" "$out"

done_testing
