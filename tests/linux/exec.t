#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# More commands in a guest that runs: mote --exec. Each has its own streams,
# status, signals and terminal, fifty of them at once too; what ends them; and
# who may not have any.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

minimal
sock=$tmp/g
many=${TEST_SESSIONS:-50}
LOAD=build/tests/vsock_load

# x WORD...: another command in the guest; $as: words before it
as=
x() {
	# shellcheck disable=SC2086 # words
	timeout -s KILL "$LIMIT" $as "$MOTE" --exec "$sock" "$@"
}
# ran STATUS WORD...: the same; then $got has its output, and what it said on
# stderr is in $tmp/x.err
ran() {
	ran_wanted=$1
	shift
	ran_status=0
	got=$(x "$@" 2>"$tmp/x.err" </dev/null) || ran_status=$?
	[ "$ran_status" = "$ran_wanted" ]
}

# The first command: it runs until it is told to end, by a file.
first='cd /; echo begun; until [ -e /tmp/end ]; do busybox sleep 1; done; exit 3'
# shellcheck disable=SC2086 # words
boot g $modules -m 256M --vsock "$sock" -e FIRST=one -e BOTH=first -w /proc \
	-- sh -c "$first"
out=$tmp/g.out err=$tmp/g.err events=$tmp/g.events status=running
# It waits for a guest that boots, if not for one that takes its time.
until_is "$LIMIT" printed g begun

# -- one ----------------------------------------------------------------------

ran 7 -- sh -c 'echo out; echo err >&2; exit 7'
is "$ran_status $got $(cat "$tmp/x.err")" "7 out err" \
	"a second command has its own status, stdout and stderr"
is "$(echo typed | x -- busybox cat)" typed "a second command has mote's stdin"
head -c 300000 /dev/urandom >"$tmp/random"
x -- busybox cat <"$tmp/random" >"$tmp/random.out"
ok "random bytes go through a second command unchanged" \
	cmp "$tmp/random" "$tmp/random.out"
ran 0 -- busybox ps
like "$got" "sh -c cd /; echo begun" "ps in a second command sees the first one"
# shellcheck disable=SC2016 # the guest's
ran 0 -e BOTH=second -- sh -c 'echo $FIRST $BOTH $HOME; busybox pwd'
is "$got" "one second /root
/proc" "environment and directory are the first command's, unless it says else"
ran 0 -w /sys -- busybox pwd
is "$got" /sys "--workdir is that of a second command"
ran 127 -- nothing-such
is "$ran_status $(cat "$tmp/x.err")" \
	"127 mote: not found in the guest: nothing-such" \
	"a second command that is not there is status 127"
ran 125 -w /nowhere -- sh
like "$ran_status $(cat "$tmp/x.err")" "^125 .*cannot change to --workdir" \
	"a directory that is not there is status 125"
ran 137 -- sh -c 'kill -9 $$'
is "$ran_status" 137 "a second command that is killed has status 137"
ran 0 -- sh -c 'busybox sleep 1000 & echo left'
is "$ran_status $got" "0 left" \
	"a second command is not waited for longer than it runs"
ok "what a second command leaves running runs on" \
	ran 0 -- sh -c 'busybox ps | busybox grep "[s]leep 1000"'

# Somebody who has no right to /dev/kvm, nor to the socket until he is given it.
as="$(which setpriv) --reuid 4321 --regid 4321 --clear-groups --"
chmod 711 "$tmp"
ran 125 -- sh
like "$ran_status $(cat "$tmp/x.err")" "^125 .*: permission denied: it takes" \
	"who may not write to the socket has no second command"
chmod 666 "$sock"
ran 6 -- sh -c 'echo in; exit 6'
is "$ran_status $got" "6 in" "a second command takes no right but the socket's"
as=

# looped NAME TRAPS: a second command that goes on, in the background
looped() {
	"$MOTE" --exec "$sock" -- sh -c "$2; echo ready
		while :; do busybox sleep 0.2; done" \
		>"$tmp/$1.out" 2>"$tmp/$1.err" </dev/null &
	looped_pid=$!
	until_is "$LIMIT" printed "$1" ready
}
looped term 'trap "echo got; exit 9" TERM'
kill -TERM $looped_pid
ok "a second command that has a SIGTERM ends" until_is "$LIMIT" gone $looped_pid
wait $looped_pid
is "$? $(tail -n 1 "$tmp/term.out")" "9 got" \
	"signals of mote's are the second command's"
# Nobody reads what its shell says of the sleep that has the signal, too.
looped hup 'trap "" PIPE; trap "echo >/tmp/hup; exit" HUP'
kill -KILL $looped_pid
wait $looped_pid 2>/dev/null
ok "a second command whose mote was killed has a SIGHUP" \
	until_is "$LIMIT" ran 0 -- busybox test -e /tmp/hup
ran 124 --timeout 1s -- busybox sleep 1000
is "$ran_status" 124 "--timeout ends a second command"

# -- a terminal ---------------------------------------------------------------

cat >"$tmp/tty.sh" <<END
tty >$tmp/tty
stty rows 33 cols 77
stty -g >$tmp/before
$MOTE --exec $sock -t -- sh -i
echo "mote=\$?"
stty -g >$tmp/after
END
mkfifo "$tmp/keys"
exec 7<>"$tmp/keys"
socat -t 5 - "EXEC:sh $tmp/tty.sh,pty,setsid,ctty,stderr,sane" \
	<"$tmp/keys" >"$tmp/tty.out" 2>"$tmp/tty.err" &
socat=$!
# asks KEYS PATTERN: what is printed after them
asks() {
	# shellcheck disable=SC2059 # it is a format
	printf "$1" >&7
	until_is "$LIMIT" printed tty "$2"
}
ok "a shell with a terminal prompts in a second command" \
	until_is "$LIMIT" printed tty '# '
ok "the second terminal has the size of mote's" \
	asks 'busybox stty size | busybox tr " " x\r' '^33x77'
stty -F "$(cat "$tmp/tty")" rows 44 cols 99
# shellcheck disable=SC2016 # the guest's
ok "the second terminal follows a change of size" \
	asks 'until [ "$(busybox stty size)" = "44 99" ]; \
do busybox sleep 0.1; done; echo w=$((44 + 55))\r' '^w=99'
# shellcheck disable=SC2016
asks 'echo go=$((1 + 1)); busybox sleep 999\r' '^go=2'
ok "Ctrl-C interrupts a program on the second terminal" \
	asks '\003echo c=$?\r' '^c=130'
asks 'exit 7\r' '^mote=7'
printed tty '^mote=7' || kill $socat
ok "the status of a shell on the second terminal is mote's" printed tty '^mote=7'
wait $socat
exec 7>&-
is "$(cat "$tmp/after")" "$(cat "$tmp/before")" \
	"mote's terminal is as it was before --exec --tty"

# -- many ---------------------------------------------------------------------

# None ends before all have begun: their common input ends then.
mkfifo "$tmp/go"
exec 6<>"$tmp/go"
i=0
while [ $i -lt "$many" ]; do
	i=$((i + 1))
	{
		x -- sh -c "echo in $i; echo err $i >&2; busybox cat; exit $i" \
			<"$tmp/go" >"$tmp/many.$i" 2>"$tmp/many.$i.err"
		echo $? >>"$tmp/many.$i"
	} 6>&- &
	eval "many_$i=$!"
done
# shellcheck disable=SC2317 # until_is calls it
all_in() {
	[ "$(cat "$tmp"/many.*[0-9] | grep -c '^in')" = "$many" ]
}
# Where they do not, its counters, twice, say whether it still does anything.
until_is "$LIMIT" all_in || heard g
ok "$many second commands run at once" all_in
exec 6>&-
good=0
while [ $i -gt 0 ]; do
	eval "wait \$many_$i"
	[ "$(cat "$tmp/many.$i" "$tmp/many.$i.err")" != "in $i
$i
err $i" ] || good=$((good + 1))
	i=$((i - 1))
done
is "$good" "$many" "each of $many has its own streams and status"

# -- the end ------------------------------------------------------------------

looped last :
ran 0 -- sh -c 'echo >/tmp/end'
ended g
is "$status" 3 "the first command's status is that of the guest"
ok "the guest's end is a second command's" until_is "$LIMIT" gone $looped_pid
wait $looped_pid
is "$? $(cat "$tmp/last.err")" \
	"123 mote: the guest has ended before the command did" \
	"a second command whose guest has ended is status 123"
is "$(cat "$err")" "" "the first command's mote has nothing to say of all that"
ran 125 -- sh
like "$ran_status $(cat "$tmp/x.err")" "^125 mote: --exec .*: no such file" \
	"a guest that has ended takes no command"

# -- others -------------------------------------------------------------------

# Debian's kernel, which has loopback for vsock; and it is killed. The second one
# has no command: it only boots.
debian
job plain <<'END'
outb 0x507 1
while :; do sleep 1000; done
END
job load "$LOAD=bin/vsock_load" </dev/null
# shellcheck disable=SC2086 # words
boot plain $modules -i "$tmp/plain.job" --vsock "$tmp/p"
# shellcheck disable=SC2086 # words
boot g $modules -m 256M --vsock "$sock,cid=77" -i "$tmp/load.job" \
	-- sh -c "busybox modprobe vsock_loopback && echo loop; $first"
until_is "$LIMIT" printed g begun
ok "the guest has loopback for vsock" printed g loop
# What is written is the start of a frame: nothing would be answered to that, and
# the connection would not end.
for cid in 1 77; do
	ran 0 -- vsock_load part "vsock:$cid:1702389091" x
	like "$ran_status $got $(tail -n 1 "$tmp/x.err")" \
		"^0 ended after|^1 .*(reset|Broken pipe)" \
		"a process of the guest gets no command by itself (CID $cid)"
done
looped killed :
kill -KILL "$(pid_of g)"
ok "a second command's mote ends when the guest's is killed" \
	until_is "$LIMIT" gone $looped_pid
wait $looped_pid
is "$? $(cat "$tmp/killed.err")" \
	"123 mote: the guest has ended before the command did" \
	"a guest that is killed is status 123 for a second command"
ended g
ran 125 -- sh
like "$ran_status $(cat "$tmp/x.err")" "^125 mote: --exec .*: no (guest|such file)" \
	"a guest that was killed takes no command"
ok "a guest without a command is up" until_is "$LIMIT" waiting plain
sock=$tmp/p
ran 125 -- sh
like "$ran_status $(cat "$tmp/x.err")" \
	"^125 mote: --exec .*: nobody in the guest takes commands" \
	"a guest without a command takes none by --exec"
kill -KILL "$(pid_of plain)"
ended plain

# -- clones -------------------------------------------------------------------

minimal
sock=$tmp/c
# shellcheck disable=SC2016,SC2086 # the guest's; words
boot warm $modules --vsock "$sock" --snapshot "$tmp/warm.snap,on=program" \
	-- sh -c 'echo >$MOTE_READY; busybox cat $MOTE_ARGS
		echo begun; busybox sleep 1000'
# shellcheck disable=SC2086 # words
boot cold $modules --snapshot "$tmp/cold.snap" -- sh -c 'exit 5'
ended cold
ends 0 snapshot "a guest without --vsock is saved before its command"
ended warm
ends 0 snapshot "a guest with --vsock is saved in its command"
for name in warm cold; do
	sock=$tmp/$name.sock
	set --
	[ $name = warm ] || set -- -- sh -c 'echo begun; busybox sleep 1000'
	"$MOTE" --restore "$tmp/$name.snap" --vsock "$sock" \
		--events "$tmp/$name.events" "$@" \
		</dev/null >"$tmp/$name.out" 2>"$tmp/$name.err" &
	echo $! >"$tmp/$name.pid"
	until_is "$LIMIT" printed $name begun
	ran 4 -- sh -c 'echo in; exit 4'
	is "$ran_status $got" "4 in" "a clone takes a second command ($name)"
	kill -KILL "$(pid_of $name)"
	ended $name
done

done_testing
