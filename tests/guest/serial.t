#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The serial port's host side: where its output goes and its input comes from,
# and that nobody who reads slowly, or not at all, holds the guest up.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

echoed() {
	printf 'echo\n%s\necho %d' "$1" ${#1}
}

# -- standard input and output --------------------------------------------------

printf 'from a file q' >"$tmp/in"
guest echo <"$tmp/in"
is "$(cat "$out")" "$(echoed 'from a file q')" \
	"stdin from a file reaches the guest"
printf 'from a pipe q' | {
	guest echo
	is "$(cat "$out")" "$(echoed 'from a pipe q')" \
		"stdin from a pipe reaches the guest"
	echo "$tap_count" >"$tmp/count"
}
tap_count=$(cat "$tmp/count")
mkfifo "$tmp/late"
{
	sleep 1
	printf 'late q'
} >"$tmp/late" &
guest echo <"$tmp/late"
is "$(cat "$out")" "$(echoed 'late q')" \
	"stdin that comes late reaches the guest"
printf 'byte \001 \003 \004 \032 \034 \377 q' >"$tmp/in"
guest echo <"$tmp/in"
is "$(sed -n 2p "$out" | od -An -c)" "$(od -An -c <"$tmp/in" |
	sed '$s/$/  \\n/')" "control bytes on stdin pass through"

guest hello </dev/null
ends 0 poweroff "a guest with stdin from /dev/null ends"
guest hello <&-
ends 0 poweroff "a guest with stdin closed ends"
out=/dev/full guest hello
ends 0 poweroff "a guest with stdout on a full disk ends"

# Descriptors that are missing must not be taken for others: nothing of the
# guest's output may land in another file.
shut() {
	rm -f "$events"
	status=0
	(eval "timeout -s KILL $LIMIT $MOTE -k $GUESTS/hello.elf -m 64M \
		--events $events $1") >"$out" 2>"$err" || status=$?
	ends 0 poweroff "a guest run with $1 ends"
	is "$(grep -vc '^{"event":.*}$' "$events")" 0 \
		"only events are in --events, run with $1"
}
shut '>&-'
shut '2>&-'
shut '<&- >&-'
shut '<&- >&- 2>&-'

# -- readers ----------------------------------------------------------------------

guest flood -a kib=64
ends 0 poweroff "a guest with 64 KiB of output ends"
perl -e 'printf "%09d%s\n", $_, "." x 54 for 0 .. 1023; print "lines 1024\n"' \
	>"$tmp/want"
ok "every byte of 64 KiB of output comes, in order" cmp "$out" "$tmp/want"
rm -f "$events"
"$MOTE" -k "$GUESTS/flood.elf" -m 64M -a kib=32 --events "$events" |
	{ sleep 2; cat; } >"$out"
is "$(last_line) $(reason)" "lines 512 poweroff" \
	"the last words reach a reader that comes late"

# The reader goes away: not the guest's business.
rm -f "$events"
{
	timeout -s KILL "$LIMIT" "$MOTE" -k "$GUESTS/flood.elf" -m 64M \
		-a kib=32 --events "$events" 2>"$err"
	echo $? >"$tmp/status"
} | head -n 1 >/dev/null
status=$(cat "$tmp/status")
ends 0 poweroff "a reader that goes away does not end the guest"

# The vCPUs' threads are gone; KVM's own are none of them.
one_thread() {
	[ "$(cat "/proc/$pid"/task/*/comm | grep -vc '^kvm')" -eq 1 ]
}

# Nobody reads: more than the pipe and mote itself can hold.
mkfifo "$tmp/full"
exec 9<>"$tmp/full"
rm -f "$events"
env --default-signal=INT "$MOTE" -k "$GUESTS/flood.elf" -m 64M \
	-a kib=192 --events "$events" >"$tmp/full" 2>"$err" 9<&- &
pid=$!
ok "a full pipe does not hold the guest up" await happened ready
ok "mote waits for the reader of a full pipe when the guest has ended" \
	await one_thread
kill -INT "$pid"
guest_end
ends 0 poweroff "one signal ends the wait for the reader of a full pipe"
like "$(cat "$err")" 'mote: .*bytes.*lost' \
	"what a full pipe has lost is told of"
exec 9<&-

# -- by interrupts -----------------------------------------------------------------

perl -e 'srand 1; print map chr(33 + int rand 80), 1 .. 20000; print "q"' |
	tr q Q >"$tmp/in"
printf q >>"$tmp/in"
guest echo_irq <"$tmp/in"
is "$(sed -n 2p "$out")" "$(cat "$tmp/in")" \
	"20,000 bytes go in and out by interrupts"
is "$(last_line)" "received 20002 sent 20002 by interrupts" \
	"no byte is lost, and none comes twice, by interrupts"

# -- other places --------------------------------------------------------------------

guest hello --serial "file=$tmp/serial"
ends 0 poweroff "a guest with --serial file ends"
is "$(cat "$tmp/serial" "$out")" "hello from the guest" \
	"--serial file: the output is there alone"
guest hello --serial "file=$tmp/serial"
is "$(cat "$tmp/serial")" "hello from the guest" \
	"--serial file: the file is emptied first"
guest hello --serial "file=$tmp/serial,append"
is "$(cat "$tmp/serial")" "hello from the guest
hello from the guest" "--serial file,append: the file is added to"
guest flood -a kib=192 --serial "file=$tmp/serial,max=64K"
ends 0 poweroff "a guest with --serial file,max ends"
ok "--serial file,max: the file is no larger than that" \
	test "$(stat -c %s "$tmp/serial")" -le 65536
is "$(tail -n 1 "$tmp/serial")" "lines 3072" \
	"--serial file,max: what came last is there"
guest hello --serial "file=/dev/null,max=64K"
is "$status" 125 "--serial file,max for a device is refused"

# There is room for the first line, "waiting for the button", and for the next
# one only because the file was rotated meanwhile.
head -c $((65536 - 26)) /dev/zero | tr '\0' . >"$tmp/serial"
guest_start button --serial "file=$tmp/serial,append,max=64K"
ok "a guest whose file is nearly full runs" \
	await grep -q 'the button' "$tmp/serial"
echo rotated >"$tmp/serial"
kill -TERM "$pid"
guest_end
is "$(cat "$tmp/serial")" "rotated
pressed 1" "--serial file,max: a file that was rotated is not full"

# As logrotate's copytruncate does it.
guest_start flood -a kib=512 --serial "file=$tmp/serial"
ok "--serial file: the guest has begun" await test -s "$tmp/serial"
: >"$tmp/serial"
guest_end
ends 0 poweroff "a guest whose --serial file is emptied ends"
is "$(tr -dc '\000' <"$tmp/serial" | wc -c)" 0 \
	"--serial file: no hole is left where it was emptied"

guest hello --serial off
is "$status $(cat "$out")" "0 " "--serial off prints nothing"
guest hello --serial fd=7 7>"$tmp/serial"
is "$status $(cat "$tmp/serial" "$out")" "0 hello from the guest" \
	"--serial fd= writes to the descriptor"
# Paths that stand for descriptors, some of which cannot be opened anew.
cat "$GUESTS/hello.elf" | mote -k /dev/fd/0 -m 64M --serial file=/dev/stderr
ends 0 poweroff "-k /dev/fd/0 reads a pipe"
is "$(cat "$err" "$out")" "hello from the guest" \
	"--serial file=/dev/stderr writes there"
run bash -c '"$0" -k <(cat "$1") -m 64M --events >(cat >"$2")' "$MOTE" \
	"$GUESTS/hello.elf" "$events"
await happened exit
ends 0 poweroff "a kernel by <(...) and events by >(...) are taken"
run perl -MSocket -e 'socketpair(A, B, AF_UNIX, SOCK_STREAM, 0) or die;
	open(STDIN, "<&A") or die; open(STDOUT, ">&A") or die; close A;
	my $pid = fork // die;
	exec @ARGV if !$pid; close STDIN; close STDOUT;
	print STDERR $_ while <B>; waitpid $pid, 0; exit $? >> 8' \
	"$MOTE" -k "$GUESTS/hello.elf" -m 64M --serial off --events /dev/stdout
is "$status" 0 "--events /dev/stdout is taken where that is a socket"
like "$(cat "$err")" '"reason":"poweroff"' \
	"--events /dev/stdout writes to a socket"

guest_start echo --serial "unix=$tmp/socket"
is "$(tests/tools/dialogue unix "$tmp/socket" 'by socket q' 'echo \d+\n' |
	tail -n 2)" "$(printf 'by socket q\necho 11')" "--serial unix carries both ways"
guest_end
ends 0 poweroff "a guest with --serial unix ends"
ok "--serial unix: the socket's file is removed" unlinked "$tmp/socket"

guest_start echo --serial "unix=$tmp/socket"
tests/tools/dialogue unix "$tmp/socket" 'one ' 'one ' >/dev/null
is "$(tests/tools/dialogue unix "$tmp/socket" 'two q' 'echo \d+\n' |
	tail -n 1)" "echo 9" "--serial unix: a second client takes up where the first left"
guest_end
ends 0 poweroff "a guest with --serial unix ends after a second client"

# The guest has said all that it will before anybody comes.
guest_start hang --serial "unix=$tmp/socket"
ok "--serial unix: a guest runs without a client" await happened start
sleep 1
is "$(timeout 10 perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0) or die;
	connect(S, sockaddr_un(shift)) or die; print scalar <S>' "$tmp/socket")" \
	hanging "--serial unix: the first client finds what was printed before"
kill -INT "$pid"
guest_end

guest_start echo --serial pty
ok "--serial pty names the terminal" await grep -q /dev/pts/ "$err"
like "$(tests/tools/dialogue pty "$(sed -n 's|.*\(/dev/pts/[0-9]*\).*|\1|p' \
	"$err")" 'by pty q' 'echo \d+')" "by pty q" "--serial pty carries both ways"
guest_end
ends 0 poweroff "a guest with --serial pty ends"

guest hello --serial "file=$tmp/no/such"
ends 125 error "--serial file that cannot be made is refused"
guest hello --serial "unix=$tmp/no/such"
ends 125 error "--serial unix that cannot be made is refused"
guest hello --serial fd=7
ends 125 error "--serial fd= that is not open is refused"

done_testing
