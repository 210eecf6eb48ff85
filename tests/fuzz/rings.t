#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Devices whose driver rewrites rings, tables and payloads while they walk them,
# and resets them with requests in flight (race_rings.c): FUZZ_TIME seconds (5
# unless told otherwise) with ASan and UBSan, then as long with TSan. On a busy
# machine it goes on until each device has done enough; what it has come to is
# said, and so is the seed of a run that found something.

set -u
cd "$(dirname "$0")/../.." || exit 1
time=${FUZZ_TIME:-5}
export TSAN_OPTIONS="halt_on_error=1 ${TSAN_OPTIONS:-}"
# TSan wants addresses where it looks for them; some kernels spread them wider.
fixed=
setarch -R true 2>/dev/null && fixed='setarch -R'
n=0

# rings NAME COMMAND...: one test
rings() {
	log=build/fuzz/race_rings-$1.log
	n=$((n + 1))
	what="rings rewritten under their devices upset none of them, with $1"
	shift
	if timeout -k 10 $((time * 2 + 600)) "$@" "$time" >"$log" 2>&1; then
		echo "ok $n - $what"
		sed -n '/^seed /s/^/# /p' "$log"
	else
		echo "not ok $n - $what"
		tail -n 60 "$log" | sed 's/^/# /'
	fi
}

echo 1..2
mkdir -p build/fuzz
rings ASan build/fuzz/race_rings
# shellcheck disable=SC2086 # words
rings TSan $fixed build/tsan/race_rings
