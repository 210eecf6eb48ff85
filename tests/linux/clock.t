#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The guest's date and time is the host's, however busy that is while the guest
# boots: between two looks at the host's clock, but for the second that each of
# the three is cut to. With a command and without, and after a pause.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

busy=
for _ in 1 2 3 4; do
	sh -c 'while :; do :; done' &
	busy="$busy $!"
done
clock_end() {
	# shellcheck disable=SC2086 # words
	kill $busy
	boot_end
}
trap clock_end EXIT

# ask_with IN OUT NAME ARG...: a guest that says the time for each line that it
# reads, and the descriptors for that
ask_with() {
	ask_in=$1 ask_out=$2 ask_name=$3
	shift 2
	mkfifo "$tmp/$ask_name.in" "$tmp/$ask_name.answers"
	# Both ways, so that an open does not wait for the other end's.
	eval "exec $ask_in<>\"\$tmp/\$ask_name.in\" \
		$ask_out<>\"\$tmp/\$ask_name.answers\""
	input=$tmp/$ask_name.in output=$tmp/$ask_name.answers
	boot "$@"
	input='' output=''
}

# answer: the next time that is read; what a serial port echoes is none
answer() {
	# shellcheck disable=SC3045 # busybox has it
	while read -r -t "$LIMIT" answer_line; do
		case $answer_line in
		now=*) echo "${answer_line#now=}" | tr -d '\r' && return ;;
		esac
	done
}

# same_time IN OUT TEXT: a test
same_time() {
	same_before=$(date +%s)
	eval "echo >&$1; same_guest=\$(answer <&$2)"
	same_after=$(date +%s)
	if [ "${same_guest:-0}" -ge $((same_before - 1)) ] &&
		[ "${same_guest:-0}" -le $((same_after + 1)) ]; then
		pass "$3"
	else
		is "${same_guest:-nothing}" "$same_before to $same_after" "$3"
	fi
}

# up OUT: the guest says that it is
up() {
	eval "answer <&$1" >/dev/null
}

# pause NAME...: longer than any of this may be off
pause() {
	for pause_name; do
		kill -STOP "$(pid_of "$pause_name")"
	done
	sleep 5
	for pause_name; do
		kill -CONT "$(pid_of "$pause_name")"
	done
}

say_time='echo now=0; while read -r line; do echo now=$(date +%s); done'
echo "$say_time" | job clock

# Debian's kernel and the minimal one: their driver of the CMOS clock sets the
# time; with a command, init does.
ask_with 3 4 alone -i "$tmp/clock.job"
# shellcheck disable=SC2086 # words
ask_with 5 6 command $modules -- sh -c "$say_time"
up 4
same_time 3 4 "a guest without a command has the host's time"
up 6
same_time 5 6 "a guest with a command has the host's time"
pause alone
same_time 3 4 "a guest without a command has it after a pause"
pause command
same_time 5 6 "a guest with a command has it after a pause"
kill -INT "$(pid_of alone)"
ended alone
exec 5<&-
ended command
ends 0 exited "a guest with a command that is asked for the time ends"

# They are stopped while the kernel counts ticks.
minimal
ask_with 3 4 early-alone -i "$tmp/clock.job"
# shellcheck disable=SC2086 # words
ask_with 5 6 early-command $modules -- sh -c "$say_time"
pause early-alone early-command
up 4
same_time 3 4 \
	"a guest without a command that was stopped while it booted has the host's time"
up 6
same_time 5 6 "a guest with a command that was stopped while it booted has it"
kill -INT "$(pid_of early-alone)"
ended early-alone
exec 5<&-
ended early-command
ends 0 exited "a guest that was stopped while it booted ends"

# One that has lost the time, in place of one that never does anything but that.
# shellcheck disable=SC2086 # words
ask_with 5 6 wrong $modules -- \
	sh -c "date -s @1000000000 >/dev/null; $say_time"
up 6
pause wrong
# It is told when mote goes on: what is typed then comes behind that.
same_time 5 6 "a guest with another time has the host's after a pause"
exec 3<&- 5<&-
ended wrong
ends 0 exited "a guest that was paused ends"

done_testing
