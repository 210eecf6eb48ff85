# SPDX-License-Identifier: Apache-2.0
# What the test scripts share; to be sourced, from any directory of the tree.
# POSIX sh. TAP comes out, numbered by itself; done_testing ends a script.
#
#	run COMMAND...		runs with a time limit of $LIMIT seconds; then
#				$status is its status (137: it hung), $out and
#				$err the files of what it wrote, or where they
#				were set to something else, that
#	mote ARG...		the same for $MOTE, with --events
#	guest NAME ARG...	the same with a bare-metal guest of tests/guest
#				and 64 MiB; ARGs may say otherwise
#	guest_start NAME ARG...	the same in the background: $pid; then guest_end
#	guest_heard		it has acted on all signals sent before
#	ends STATUS REASON TEXT	a test: how the last guest ended
#
# shellcheck shell=sh
# shellcheck disable=SC2034 # what is set here is for the scripts

set -u
cd "$(dirname "$0")/$(case $0 in *tests/*/*) echo ../..;; *) echo ..;; esac)" ||
	exit 1
MOTE=${MOTE:-build/mote}
GUESTS=build/guest-tests
TOOLS=build/tools
LIMIT=30
tap_count=0
tmp=$(mktemp -d)
out=$tmp/out
err=$tmp/err
events=$tmp/events
pid=
status=

tap_end() {
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
	# What is mounted there is not the test's to remove.
	for tap_mount in $(cut -d ' ' -f 2 /proc/mounts | grep "^$tmp/" | sort -r); do
		umount -l "$tap_mount"
	done
	rm -rf "$tmp"
}
trap tap_end EXIT
trap 'exit 1' INT TERM HUP

# -- TAP ----------------------------------------------------------------------

tap_result() {
	tap_count=$((tap_count + 1))
	echo "$1 $tap_count - $2"
}

tap_note() {
	sed 's/^/#   /' | head -n 40
}

# What the last command wrote, where a test fails.
tap_diagnose() {
	[ ! -s "$err" ] || { echo "# stderr:"; tap_note <"$err"; }
	[ ! -s "$events" ] || { echo "# events:"; tap_note <"$events"; }
}

pass() {
	tap_result ok "$1"
}

fail() {
	tap_result "not ok" "$1"
	tap_diagnose
}

# is GOT WANTED NAME
is() {
	if [ "$1" = "$2" ]; then
		pass "$3"
	else
		tap_result "not ok" "$3"
		echo "# got:"
		echo "$1" | tap_note
		echo "# wanted:"
		echo "$2" | tap_note
		tap_diagnose
	fi
}

# like TEXT EXTENDED-REGULAR-EXPRESSION NAME: one line of it matches
like() {
	if echo "$1" | grep -Eq -e "$2"; then
		pass "$3"
	else
		tap_result "not ok" "$3"
		echo "# no line matches $2 in:"
		echo "$1" | tap_note
		tap_diagnose
	fi
}

# ok NAME COMMAND...: the command succeeds
ok() {
	tap_name=$1
	shift
	if "$@"; then
		pass "$tap_name"
	else
		fail "$tap_name"
	fi
}

done_testing() {
	echo "1..$tap_count"
	exit 0
}

# -- running ------------------------------------------------------------------

# Where time runs out, timeout kills its process group, itself in it, and so is
# over before the others are; what they hold would be in the way of the next test.
run() {
	status=0
	sh -c 'echo $$ >"$0"; exec timeout -s KILL "$@"' "$tmp/group" \
		"$LIMIT" "$@" >"$out" 2>"$err" || status=$?
	[ "$status" != 137 ] || await_group "$(cat "$tmp/group")"
}

# await_group NUMBER: until nobody is in that process group
await_group() {
	group_tries=200
	while kill -s 0 -- "-$1" 2>/dev/null && [ "$group_tries" -gt 0 ]; do
		group_tries=$((group_tries - 1))
		sleep 0.05
	done
}

# mote ARG...: $MOTE with --events
mote() {
	rm -f "$events"
	run "$MOTE" --events "$events" "$@"
}

guest() {
	guest_name=$1
	shift
	mote -k "$GUESTS/$guest_name.elf" -m 64M "$@"
}

# The reason of the exit event; several where there are several.
reason() {
	sed -n 's/.*"event":"exit","reason":"\([a-z]*\)".*/\1/p' "$events" \
		2>/dev/null
}

# Status and event agree with each other and with what is wanted; a status of
# an event is the process's own.
ends() {
	is "$status $(reason) $(sed -n \
		's/.*"event":"exit".*"status":\([0-9]*\).*/\1/p' "$events" 2>/dev/null)" \
		"$1 $2 $1" "$3"
}

# What the guest printed last.
last_line() {
	tail -n 1 "$out"
}

# -- in the background --------------------------------------------------------

# A shell starts what is in the background with SIGINT and SIGQUIT ignored, and
# that is not to be tested here.
guest_start() {
	guest_name=$1
	shift
	rm -f "$events"
	: >"$out"
	env --default-signal=INT,QUIT "$MOTE" -k "$GUESTS/$guest_name.elf" -m 64M --events "$events" \
		"$@" >"$out" 2>"$err" &
	pid=$!
}

# await COMMAND...: until the command succeeds, or the guest that runs in the
# background has ended without that; LIMIT seconds at most
await() {
	await_tries=$((LIMIT * 50))
	while [ "$await_tries" -gt 0 ]; do
		if "$@" 2>/dev/null; then
			return 0
		fi
		if [ -n "$pid" ] && guest_gone; then
			"$@" 2>/dev/null
			return
		fi
		await_tries=$((await_tries - 1))
		sleep 0.02
	done
	return 1
}

# unlinked FILE: it is gone, now or within 10 s: a broker removes it, and mote does
# not wait for it long where the machine is busy
unlinked() {
	unlinked_tries=500
	while [ -e "$1" ] && [ "$unlinked_tries" -gt 0 ]; do
		unlinked_tries=$((unlinked_tries - 1))
		sleep 0.02
	done
	[ ! -e "$1" ]
}

# says TEXT: the guest has printed it
says() {
	grep -q -e "$1" "$out"
}

happened() {
	grep -q "\"event\":\"$1\"" "$events"
}

more_counters() {
	[ "$(grep -c '"event":"counters"' "$events")" -gt "$1" ]
}

# guest_heard: mote has acted on all signals that were sent to it before. It may
# do so with its first answer, or just after it.
guest_heard() {
	for heard_time in first second; do
		heard_before=$(grep -c '"event":"counters"' "$events")
		kill -USR2 "$pid"
		await more_counters "$heard_before"
	done
}

# guest_end: its status, or 137 where it had to be killed
guest_end() {
	if ! await guest_gone; then
		kill -9 "$pid"
	fi
	status=0
	wait "$pid" 2>/dev/null || status=$?
	pid=
}

# A zombie has ended, too: only the shell has not asked yet.
guest_gone() {
	case $(sed -n 's/^State:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null) in
	'' | Z*) return 0 ;;
	*) return 1 ;;
	esac
}
