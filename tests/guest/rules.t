#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every row of the policy is needed: build/tests/mote-rows is mote with filters
# from which a row can be taken out (tests/strip/strip.h), and each time one of
# the scenarios must end by SIGSYS then. At first all of them run with nearly
# everything taken out and --sandbox log, which tells who calls what: only
# those that make a call are tried for its rows, the quickest first. Two run at a
# time, each with files of its own.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"
# shellcheck source=tests/guest/scenarios.sh
. tests/guest/scenarios.sh
trap 'scenarios_end; tap_end' EXIT

MOTE=build/tests/mote-rows
build/native/gen_filter list >"$tmp/rows"

# README.md's table: distinct calls without and with all features.
for row in 'loop main (event loop)' 'vcpu vCPU' 'worker disk' \
	'load main, before that' 'broker broker' 'committer committer' \
	'walker walker'; do
	counts=$(for rows in '$1 == t && $2 ~ /:0$/' '$1 == t'; do
		awk -v t="${row%% *}" "$rows"' { print $3 }' "$tmp/rows" |
			sort -u | wc -l
	done | tr '\n' '|' | sed 's/|/ | /g')
	ok "README.md: ${row#* }: $counts" \
		grep -qF "| ${counts% }" README.md
done

# What is called where, as `milliseconds scenario thread call`.
now() {
	date +%s%3N
}

# two_workers COMMAND...: runs it twice at once, with files of its own each. What
# is to be done is shared out by `claim`.
two_workers() {
	for worker in 1 2; do
		(
			tmp=$top/worker$worker
			out=$tmp/out err=$tmp/err events=$tmp/events
			mkdir -p "$tmp"
			trap scenarios_end EXIT
			"$@"
		) </dev/null >/dev/null 2>&1 &
	done
	wait
}

# claim NAME: nobody else has it
claim() {
	mkdir "$top/claimed.$1"
}

top=$tmp
# The log has numbers, and names of some calls only.
awk '{ print $3 " SYS_" $3 }' "$tmp/rows" | sort -u |
	gcc -include sys/syscall.h -E -P - >"$tmp/numbers"

# number CALL
number() {
	sed -n "s/^$1 //p" "$top/numbers"
}

row_write=$(sed -n 's/^loop 0:\([0-9]*\):0 write .*/\1/p' "$tmp/rows")

# All scenarios with all rows but one taken out, and what they call.
log_calls() {
	FLAGS='--sandbox log'
	export MOTE_STRIP="all:$row_write"
	for name in $(scenarios); do
		claim "$name" || continue
		: >"$tmp/would"
		start=$(now)
		"do_$name"
		took=$(($(now) - start))
		sed -n 's/.*thread \([a-zA-Z]*\).*, call \([0-9]*\) .*/\1 \2/p' \
			"$tmp/would" | sed 's/^main /loop /; s/^vCPU /vcpu /
				s/^disk /worker /; s/^loading /load /' | sort -u |
			while read -r thread call; do
				echo "$took $name $thread $call"
			done >>"$tmp/calls"
	done
}
two_workers log_calls
cat "$tmp"/worker?/calls >"$tmp/calls"
ok "all calls of all scenarios are known" [ "$(wc -l <"$tmp/calls")" -gt 100 ]
# Always allowed there.
echo "0 term vcpu $(number rt_sigreturn)" >>"$tmp/calls"
# The broker and others are no threads of mote's: what fails without a row of theirs
# does not end mote, but the scenario. (Where exit_group is not allowed, they end all
# the same.)
needed_by() {
	needed_time=0
	needed_thread=$1
	shift
	for needed_name; do
		needed_time=$((needed_time + 1))
		sed -n "s/^$needed_thread [^ ]* \([^ ]*\) .*/\1/p" "$tmp/rows" |
			sort -u | while read -r call; do
			echo "$needed_time $needed_name $needed_thread $(number "$call")"
		done
	done
}
needed_by broker vsock_guest vsock_client unix >>"$tmp/calls"
needed_by committer snapshot_signal learn >>"$tmp/calls"
needed_by walker put_get >>"$tmp/calls"
# Of the filter that lies under all others nothing was taken out.
needed_by load hello disk_uring tty memory pipe device_kernel \
	stream tap >>"$tmp/calls"
for thread in loop vcpu worker; do
	echo "0 disk_threads $thread $(number write)"
	echo "1 fault_disk $thread $(number write)"
done >>"$tmp/calls"

# users THREAD CALL: those whose rows are tried
users() {
	users_number=$(number "$2")
	sort -n "$top/calls" | while read -r _ name thread call; do
		[ "$thread $call" != "$1 $users_number" ] || echo "$name"
	done
}

# Each row's result, as a file of two lines or one: who needs it and how long that
# took, or nothing; and who was tried.
try_rows() {
	FLAGS=
	LIMIT=10
	while read -r thread row call _; do
		claim "$row" || continue
		needs='' tried=''
		started=$(now)
		for name in $(users "$thread" "$call"); do
			tried="$tried $name"
			export MOTE_STRIP="$row"
			did=0
			"do_$name" </dev/null || did=1
			# 99: killed before it could put the terminal back
			if [ "$status" = 159 ] || [ "$status" = 99 ] ||
				[ $did$thread = 1broker ] ||
				[ $did$thread = 1committer ] ||
				[ $did$thread = 1walker ] ||
				[ "$thread $call" = "broker exit_group" ] ||
				[ "$thread $call" = "committer exit_group" ] ||
				[ "$thread $call" = "walker exit_group" ]; then
				needs="$name, $(($(now) - started)) ms"
				break
			fi
		done
		printf '%s\n%s\n' "$needs" "$tried" >"$top/result.$row"
	done <"$top/rows"
}
two_workers try_rows

while read -r thread row call why; do
	needs=$(head -n 1 "$tmp/result.$row")
	what="the row of $call in $thread ($why) is needed"
	if [ -n "$needs" ]; then
		pass "$what, by $needs"
	else
		tap_result "not ok" "$what (row $row)"
		echo "# no scenario needs it, of:$(tail -n 1 "$tmp/result.$row")"
	fi
done <"$tmp/rows"

done_testing
