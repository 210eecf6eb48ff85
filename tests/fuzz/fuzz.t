#!/bin/sh
# Every fuzzer for FUZZ_TIME seconds (5 unless told otherwise): one TAP test
# each. The corpus in the tree is read; what is new, and what crashes, lands
# under build/fuzz, from where a person moves the telling ones into the tree.

set -u
cd "$(dirname "$0")/../.." || exit 1
time=${FUZZ_TIME:-5}

set -- tests/fuzz/fuzz_*.c
[ -e "$1" ] || { echo "1..0 # SKIP no fuzzers in the tree"; exit 0; }
echo "1..$#"
n=0
for source; do
	n=$((n + 1))
	name=$(basename "$source" .c)
	subject=${name#fuzz_}
	new=build/fuzz/corpus/$subject
	log=build/fuzz/$name.log
	kept=tests/fuzz/corpus/$subject
	[ -d "$kept" ] || kept=
	mkdir -p "$new"
	# -timeout: one input may take 10 s, sanitizers and a busy machine
	# included; more is a hang.
	if timeout -k 10 $((time * 2 + 120)) "build/fuzz/$name" \
		-max_total_time="$time" -timeout=10 -rss_limit_mb=2048 \
		-print_final_stats=1 -artifact_prefix="build/fuzz/$name-" \
		"$new" ${kept:+"$kept"} >"$log" 2>&1; then
		echo "ok $n - $name: $(sed -n \
			's/^stat::number_of_executed_units: *//p' "$log") runs"
	else
		echo "not ok $n - $name"
		tail -n 40 "$log" | sed 's/^/# /'
	fi
done
