#!/bin/sh
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
is "$(cat "$out")" "$(echoed 'from a file q')" "stdin from a file"
printf 'from a pipe q' | {
	guest echo
	is "$(cat "$out")" "$(echoed 'from a pipe q')" "stdin from a pipe"
	echo "$tap_count" >"$tmp/count"
}
tap_count=$(cat "$tmp/count")
mkfifo "$tmp/late"
{
	sleep 1
	printf 'late q'
} >"$tmp/late" &
guest echo <"$tmp/late"
is "$(cat "$out")" "$(echoed 'late q')" "stdin that comes late"
printf 'byte \001 \003 \004 \032 \034 \377 q' >"$tmp/in"
guest echo <"$tmp/in"
is "$(sed -n 2p "$out" | od -An -c)" "$(od -An -c <"$tmp/in" |
	sed '$s/$/  \\n/')" "control bytes pass through"

guest hello </dev/null
ends 0 poweroff "stdin from /dev/null"
guest hello <&-
ends 0 poweroff "stdin closed"
out=/dev/full guest hello
ends 0 poweroff "stdout on a full disk"

# Descriptors that are missing must not be taken for others: nothing of the
# guest's output may land in another file.
shut() {
	rm -f "$events"
	status=0
	(eval "timeout -s KILL $LIMIT $MOTE -k $GUESTS/hello.elf -m 64M \
		--events $events $1") >"$out" 2>"$err" || status=$?
	ends 0 poweroff "run with $1"
	is "$(grep -vc '^{"event":.*}$' "$events")" 0 "only events in --events"
}
shut '>&-'
shut '2>&-'
shut '<&- >&-'
shut '<&- >&- 2>&-'

# -- readers ----------------------------------------------------------------------

guest flood -a kib=64
ends 0 poweroff "64 KiB of output"
perl -e 'printf "%09d%s\n", $_, "." x 54 for 0 .. 1023; print "lines 1024\n"' \
	>"$tmp/want"
ok "every byte of it came, in order" cmp "$out" "$tmp/want"
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
ok "a full pipe does not hold the guest up" await 20 happened ready
ok "it ends, and mote waits for the reader" await 10 one_thread
kill -INT "$pid"
guest_end
ends 0 poweroff "and one signal ends the wait for its reader"
like "$(cat "$err")" 'mote: .*bytes.*lost' "what is lost is said"
exec 9<&-

# -- by interrupts -----------------------------------------------------------------

perl -e 'srand 1; print map chr(33 + int rand 80), 1 .. 20000; print "q"' |
	tr q Q >"$tmp/in"
printf q >>"$tmp/in"
guest echo_irq <"$tmp/in"
is "$(sed -n 2p "$out")" "$(cat "$tmp/in")" \
	"20,000 bytes in and out by interrupts"
is "$(last_line)" "received 20002 sent 20002 by interrupts" \
	"none lost, none twice"

# -- other places --------------------------------------------------------------------

guest hello --serial "file=$tmp/serial"
ends 0 poweroff "serial to a file"
is "$(cat "$tmp/serial" "$out")" "hello from the guest" "and only there"
guest hello --serial off
is "$status $(cat "$out")" "0 " "serial off"
guest hello --serial fd=7 7>"$tmp/serial"
is "$status $(cat "$tmp/serial" "$out")" "0 hello from the guest" \
	"serial to a descriptor"
guest_start echo --serial "unix=$tmp/socket"
is "$(tests/tools/dialogue unix "$tmp/socket" 'by socket q' 'echo \d+\n' |
	tail -n 2)" "$(printf 'by socket q\necho 11')" "serial on a unix socket"
guest_end
ends 0 poweroff "it ends well"
ok "the socket's file is removed" test ! -e "$tmp/socket"

guest_start echo --serial "unix=$tmp/socket"
tests/tools/dialogue unix "$tmp/socket" 'one ' 'one ' >/dev/null
is "$(tests/tools/dialogue unix "$tmp/socket" 'two q' 'echo \d+\n' |
	tail -n 1)" "echo 9" "a second client takes up where the first left"
guest_end
ends 0 poweroff "it ends well"

guest_start echo --serial pty
ok "the terminal is named" await 10 grep -q /dev/pts/ "$err"
like "$(tests/tools/dialogue pty "$(sed -n 's|.*\(/dev/pts/[0-9]*\).*|\1|p' \
	"$err")" 'by pty q' 'echo \d+')" "by pty q" "serial on a pty"
guest_end
ends 0 poweroff "it ends well"

guest hello --serial "file=$tmp/no/such"
ends 125 error "a file that cannot be made"
guest hello --serial "unix=$tmp/no/such"
ends 125 error "a socket that cannot be made"
guest hello --serial fd=7
ends 125 error "a descriptor that is not open"

done_testing
