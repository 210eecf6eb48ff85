#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every fuzzer for FUZZ_TIME seconds (5 unless told otherwise), two at a time:
# one TAP test each. The corpus in the tree is read; what is new, and what
# crashes, lands under build/fuzz, from where a person moves the telling ones
# into the tree. On a machine too busy for FLOOR inputs besides those of
# the corpus in that time it goes on until there were so many: a fuzzer that
# tries next to nothing fails.

set -u
cd "$(dirname "$0")/../.." || exit 1
time=${FUZZ_TIME:-5}
FLOOR=1000

# corpus SUBJECT: its directories; what is new comes first
corpus() {
	mkdir -p "build/fuzz/corpus/$1"
	echo "build/fuzz/corpus/$1"
	[ ! -d "tests/fuzz/corpus/$1" ] || echo "tests/fuzz/corpus/$1"
}

# executed FILE: how many inputs that run says it has tried
executed() {
	sed -n 's/^stat::number_of_executed_units: *//p' "$1" | tail -n 1
}

# fuzz NAME OPTION...: -timeout: one input may take 100 s, in which a machine that
# stands still now and then is included; more is a hang.
fuzz() {
	fuzz_name=$1
	shift
	# shellcheck disable=SC2046 # words
	timeout -k 10 $((time * 2 + 300)) "build/fuzz/$fuzz_name" -timeout=100 \
		-rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="build/fuzz/$fuzz_name-" "$@" \
		$(corpus "${fuzz_name#fuzz_}")
}

# one NAME: fuzzes; a line of its result, NAME.said, without number
one() {
	log=build/fuzz/$1.log
	runs=
	# shellcheck disable=SC2046 # words
	floor=$((FLOOR + $(find $(corpus "${1#fuzz_}") -type f | wc -l)))
	if fuzz "$1" -max_total_time="$time" >"$log" 2>&1; then
		runs=$(executed "$log")
		if [ "${runs:-0}" -lt $floor ]; then
			fuzz "$1" -runs=$floor >"$log" 2>&1 &&
				runs=$(executed "$log") || runs=
		fi
	fi
	if [ "${runs:-0}" -ge "$floor" ]; then
		echo "ok $1 finds nothing in $runs inputs"
	else
		echo "not ok $1 finds nothing in $floor inputs or more"
	fi >"build/fuzz/$1.said"
}

# explain NAME: what it found, in few lines first
explain() {
	grep -E '^(violated|==[0-9]+==|SUMMARY|ALARM|Base64|artifact)' \
		"build/fuzz/$1.log" | sed 's/^/# /'
	tail -n 40 "build/fuzz/$1.log" | sed 's/^/# /'
}

set -- tests/fuzz/fuzz_*.c
[ -e "$1" ] || { echo "1..0 # SKIP no fuzzers in the tree"; exit 0; }
echo "1..$#"
mkdir -p build/fuzz
n=0
while [ $# -gt 0 ]; do
	first=$(basename "$1" .c)
	second=$(basename "${2-}" .c)
	one "$first" &
	[ -z "$second" ] || one "$second"
	wait
	for name in $first $second; do
		n=$((n + 1))
		sed "s/ok /ok $n - /" "build/fuzz/$name.said"
		grep -q '^ok' "build/fuzz/$name.said" || explain "$name"
	done
	shift
	[ $# -eq 0 ] || shift
done
