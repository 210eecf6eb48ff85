#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# selftest: the test host does what tests/host/on promises.  Prints TAP.
#
# Where Linux guests run on this machine itself, the checks on streams, words
# and statuses are of commands that run directly; those on the test host's own
# machine are made all the same, if there is a QEMU.
#
# usage: tests/host/selftest.t
set -u
# shellcheck source=tests/host/common
. "$(dirname "$0")/common"
cd "$top" || exit 1

on=$here/on
tmp=$(mktemp -d)
second=$hostdir/run.selftest
trap 'MOTE_HOST_RUN=$second "$here/stop" 2>/dev/null
	rm -rf "$tmp" "$second" "$top/build/tests/selftest.$$"' EXIT
count=0

# ok NAME: the last command succeeded.
ok()
{
	r=$?
	count=$((count + 1))
	if [ $r -eq 0 ]; then
		echo "ok $count - $1"
	else
		echo "not ok $count - $1"
		sed 's/^/# /' "$tmp/err" 2>/dev/null
	fi
}

skip()
{
	count=$((count + 1))
	echo "ok $count - $1 # SKIP $2"
}

# is GOT WANTED NAME
is()
{
	[ "$1" = "$2" ]
	ok "$3"
	[ "$1" = "$2" ] || echo "# got '$1', wanted '$2'"
}

# within SECONDS COMMAND...: waits until it succeeds.
within()
{
	n=$(($1 * 5))
	shift
	while [ $n -gt 0 ]; do
		"$@" 2>/dev/null && return 0
		sleep 0.2
		n=$((n - 1))
	done
	return 1
}

status()
{
	"$on" -T 60 "$@" </dev/null >"$tmp/out" 2>"$tmp/err"
	echo $?
}

probes()
{
	word=$(timeout 60 "$hostdir/probe" -v 2>"$tmp/err")
	case $word in linux | emulated | none) ;; *) false ;; esac
	ok "the probe has an answer: $word"
	[ -n "${MOTE_HOST-}" ] || is "$word" "$where" "the probe's answer is the verdict"
	is "$("$on" -T 60 "$hostdir/probe")" linux \
	    "where commands run, Linux guests run"
}

statuses()
{
	for n in 0 1 42 123 125 255; do
		is "$(status sh -c "exit $n")" $n "status $n of a command comes back"
	done
	is "$(status sh -c 'kill -KILL $$')" 137 "a command killed by SIGKILL is status 128 + 9"
	is "$(status sh -c 'kill -TERM $$')" 143 "a command killed by SIGTERM is status 128 + 15"
	is "$(status /nowhere/command)" 127 "a command that does not exist is status 127"
	is "$(status "$here/common")" 126 "a file that is no program is status 126"
	is "$(status sh -c 'sleep 1000 & exit 3')" 3 \
	    "a command that leaves a child behind ends"
}

streams()
{
	"$on" sh -c 'echo out; echo err >&2' >"$tmp/o" 2>"$tmp/e" </dev/null
	is "$(cat "$tmp/o")/$(cat "$tmp/e")" out/err "output and error stay apart"
	is "$("$on" sh -c 'cat | wc -c' <&- 2>"$tmp/err")" 0 \
	    "a closed standard input is an empty one"
	head -c 10000000 /dev/urandom >"$tmp/big"
	sum=$(sha256sum <"$tmp/big")
	is "$("$on" sha256sum <"$tmp/big")" "$sum" "10 MB arrive unchanged at a command"
	is "$("$on" cat <"$tmp/big" | sha256sum)" "$sum" "10 MB come back unchanged from a command"
	is "$("$on" sh -c 'cat >&2' <"$tmp/big" 2>&1 >/dev/null | sha256sum)" \
	    "$sum" "10 MB come back unchanged on standard error"
	is "$("$on" cat <"$tmp/big" | { sleep 7; sha256sum; })" "$sum" \
	    "10 MB come back unchanged to a reader that is late"
	is "$("$on" head -c 5 <"$tmp/big" | wc -c)" 5 \
	    "a command that does not read all of its input ends"
	"$on" -T 60 yes 2>/dev/null | head -n 1 >"$tmp/o"
	is "$(cat "$tmp/o")" y "a reader that ends early ends the command"
}

words()
{
	nl='a
b'
	is "$("$on" printf '%s|' a '' 'b c' "it's" '$x"\' "$nl" -e -T 9)" \
	    "a||b c|it's|\$x\"\\|$nl|-e|-T|9|" "arguments arrive as they are"
	is "$("$on" -e "A=1  2" -e "B='\"\$" -e "C=$nl" \
	    sh -c 'echo "$A|$B|$C"')" "1  2|'\"\$|$nl" "what -e adds to the environment arrives as it is"
	is "$(MOTE_X=7 "$on" sh -c 'echo $MOTE_X')" 7 "MOTE_ variables arrive as they are"
	is "$(cd tests && "$on" pwd)" "$top/tests" "a command runs in the directory of its caller"
	is "$(status sh -c '[ -f tests/host/selftest.t ]')" 0 \
	    "the tree's files are there"
}

# Each waits for the other, so neither ends unless both run.
together()
{
	d=/tmp/selftest.$$
	meet='mkdir -p $D; : >$D/$1; n=0
	    while [ ! -e $D/$2 ] && [ $n -lt 300 ]; do
	    sleep 0.1; n=$((n + 1)); done; [ -e $D/$2 ]'
	"$on" -e D=$d -T 60 sh -c "$meet" sh a b </dev/null &
	one=$!
	"$on" -e D=$d -T 60 sh -c "$meet" sh b a </dev/null &&
	    wait $one
	ok "two commands run at once"
	"$on" rm -rf $d
}

limits()
{
	start=$(date +%s)
	"$on" -T 1 sleep 1000 2>"$tmp/err"
	is $? 124 "the status is 124 when a command's time is over"
	"$on" -T 1 sh -c 'trap "" TERM; while :; do sleep 1; done' \
	    </dev/null 2>"$tmp/err"
	r=$?
	[ $r -eq 124 ] || [ $r -eq 137 ]
	ok "a command that ignores SIGTERM is ended when its time is over"
	[ $(($(date +%s) - start)) -lt 15 ]
	ok "a command is over soon after its time"
}

terminal()
{
	is "$(script -qec "stty rows 33 cols 99; '$on' -t sh -c \
	    '[ -t 0 ] && [ -t 1 ] && stty size; exit 5'; echo \$?" \
	    /dev/null </dev/null | sed 's/^^@//' | tr '\r\n' ' /')" "33 99 /5 /" \
	    "-t gives a terminal of the right size"
}

# none WORD: no process there has it on its command line.
none()
{
	! "$on" sh -c 'grep -l "$1" /proc/[0-9]*/cmdline | grep -v "/$$/" |
	    grep -q .' sh "[${1%"${1#?}"}]${1#?}" </dev/null
}

killed()
{
	m=9$$
	"$on" sh -c "setsid sleep $m & sleep $m" </dev/null &
	client=$!
	within 10 eval "! none $m"
	ok "a command whose client is to be killed runs"
	kill -KILL $client
	wait $client 2>/dev/null
	within 10 none $m
	ok "a command and its children end when its client is killed"
	"$on" sh -c "trap 'echo got; exit 9' TERM; while :; do sleep 0.1; done" \
	    </dev/null >"$tmp/o" &
	client=$!
	sleep 1
	kill -TERM $client
	wait $client 2>/dev/null
	is "$?$(cat "$tmp/o")" 9got "SIGTERM goes on to the command"
	"$on" sh -c "sleep 7$m & exit 0" </dev/null
	none 7$m
	ok "what a command leaves running is killed"
}

refreshed()
{
	f=build/tests/selftest.$$
	mkdir -p build/tests
	echo one >"$f"
	is "$("$on" cat "$f")" one "a new file is there in the test host"
	echo two >"$f"
	is "$("$on" cat "$f")" two "a changed file is there, too"
	echo three >"$tmp/other"
	"$here/put" "$tmp/other"
	is "$("$on" cat "$tmp/other")" three "put copies any file"
}

gone()
{
	[ ! -e "/proc/$1/exe" ] # a zombie has none
}

machine()
{
	pid=$(cat "$second/pid")
	read -r qemu _ <"/proc/$pid/task/$pid/children"
	[ -n "$qemu" ] && ! gone "$qemu"
}

life()
{
	export MOTE_HOST_RUN="$second" MOTE_HOST_MEM=1024
	"$here/start" 2>"$tmp/err" && machine
	ok "a second machine starts"
	"$here/stop" && gone "$qemu" && gone "$pid"
	ok "after stop there is no QEMU"
	"$here/stop"
	ok "stop does nothing where no machine runs"
	sleep 1000 &
	watched=$!
	"$here/start" -p $watched 2>"$tmp/err" && machine
	ok "a second machine starts anew"
	kill $watched
	wait $watched 2>/dev/null
	within 10 gone "$qemu"
	ok "a machine ends with the process that it watches"
	MOTE_HOST_IDLE=2 "$here/start" 2>"$tmp/err" && machine
	within 20 gone "$qemu"
	ok "a machine ends when nobody uses it"
	"$here/start" 2>"$tmp/err" && machine
	kill -KILL "$pid"
	within 10 gone "$qemu"
	ok "a machine ends when hostd is killed"
	unset MOTE_HOST_RUN MOTE_HOST_MEM
}

"$here/build" || exit 1
where=$(verdict) || exit 1
echo "# commands run: $where"
"$here/start" || exit 1
probes
statuses
streams
words
together
limits
terminal
# The machine itself is checked everywhere, also where nothing needs it.
[ "$where" != linux ] || export MOTE_HOST=emulated
if [ "$where" = linux ] && ! command -v qemu-system-x86_64 >/dev/null; then
	for t in killed refreshed life; do
		skip "$t" "qemu-system-x86_64 is not installed"
	done
else
	"$here/start" || exit 1
	killed
	refreshed
	life
	[ "$where" != linux ] || "$here/stop"
fi
echo "1..$count"
