#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# 500 generations of each kind, as tests/guest/snapshot.t has some of; and the
# state of a snapshot damaged at every third byte, with check sums that are right,
# as tests/guest/snapshot_file.t has it at some.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

LIMIT=7200

# all_of FILE NAME=VALUE WHAT
all_of() {
	run env "$2" "$1"
	grep -A 40 '^not ok' "$out" >"$err"
	is "$status, $(grep -c '^ok' "$out") of $(sed -n 's/^1\.\.//p' "$out")" \
		"0, $(sed -n 's/^1\.\.\(.*\)/\1 of \1/p' "$out")" "$3"
	grep -o '[0-9]* generations' "$out" | sed 's/^/# /'
}

all_of tests/guest/snapshot.t GENERATIONS=500 \
	"500 generations, saved when ready, at any moment, and while they go on"
all_of tests/guest/snapshot_file.t DAMAGE_STEP=3 \
	"whatever the state is, at every third byte"

done_testing
