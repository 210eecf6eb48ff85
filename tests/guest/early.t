#!/bin/sh
# mote before its guest runs, and what else may come between it and its end:
# signals and --timeout while it waits for a file, signals that it inherits or
# that mean nothing to it, descriptors that are closed, events nobody reads.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

HELLO=$GUESTS/hello.elf

mkfifo "$tmp/fifo"

# A kernel that never comes.
run "$MOTE" -k "$tmp/fifo" --events "$events" --timeout 200ms
ends 124 timeout "--timeout passes while the kernel is waited for"
like "$(cat "$err")" '^mote: --timeout passed before the guest' "and says so"

# The writer keeps it open and writes nothing: it is read() that waits here, and
# open() above.
exec 9<>"$tmp/fifo"
for row in TERM:143 INT:130 HUP:129 QUIT:131 XCPU:152; do
	rm -f "$events"
	"$MOTE" -k "$tmp/fifo" --events "$events" >"$out" 2>"$err" &
	pid=$!
	await 10 [ -e "$events" ]
	sleep 0.1
	kill -"${row%:*}" "$pid"
	guest_end
	ends "${row#*:}" signal "SIG${row%:*} while the kernel is waited for"
done
exec 9>&-

# What asks for something waits until there is somebody to answer.
rm -f "$events"
"$MOTE" -k "$tmp/fifo" --events "$events" >"$out" 2>"$err" &
pid=$!
await 10 [ -e "$events" ]
sleep 0.1
kill -USR2 "$pid"
sleep 0.1
cat "$HELLO" >"$tmp/fifo"
guest_end
ends 0 poweroff "SIGUSR2 while the kernel is waited for does no harm"
ok "and is answered" happened counters

guest_start hang
ok "the guest hangs" await 10 says hanging
kill -USR1 "$pid"
kill -USR2 "$pid"
ok "SIGUSR2 writes the counters" await 10 happened counters
ok "SIGUSR1 does not end it" kill -0 "$pid"
kill -ALRM "$pid"
guest_end
ends 142 signal "any other signal ends it, and its event says so"
like "$(cat "$err")" '^mote: SIGUSR1 is ignored' "SIGUSR1 is answered"
is "$(wc -l <"$err")" 1 "by one line"

rm -f "$events"
: >"$out"
nohup "$MOTE" -k "$GUESTS/hang.elf" -m 64M --events "$events" \
	>"$out" 2>"$err" </dev/null &
pid=$!
ok "the guest hangs" await 10 says hanging
kill -HUP "$pid"
sleep 0.3
ok "nohup keeps SIGHUP off" kill -0 "$pid"
kill -INT "$pid"
guest_end
ends 130 signal "and no other signal"

# Descriptors.
rm -f "$events"
run sh -c 'exec "$@" <&- 2>&-' - "$MOTE" -k "$HELLO" --events "$events"
ends 0 poweroff "stdin and stderr closed"
is "$(cat "$out")" "hello from the guest" "no file took their place"
rm -f "$events"
run sh -c 'exec "$@" >&-' - "$MOTE" -k "$HELLO" --events "$events"
ends 0 poweroff "stdout closed"
rm -f "$events"
run sh -c 'exec "$@" 7<"$0"' "$HELLO" "$MOTE" -k fd=7 --events "$events"
ends 0 poweroff "a kernel by descriptor"
run sh -c 'exec "$@" 7>"$0"' "$tmp/empty" "$MOTE" -k fd=7
is "$status" 125 "a kernel's descriptor that is open for writing"
like "$(cat "$err")" '--kernel fd=7: .*reading' "one line names it"
run "$MOTE" -k fd=77
is "$status" 125 "a descriptor that is not open"
like "$(cat "$err")" '--kernel fd=77: .*leave it open' "one line says why"

# Events.
run "$MOTE" -k "$HELLO" --events "$tmp/fifo"
is "$status" 125 "an events FIFO without a reader is an error"
like "$(cat "$err")" 'needs its reader first' "and says how to mend it"
# Open for reading from here on: mote does not wait for cat to come.
exec 9<>"$tmp/fifo"
cat "$tmp/fifo" >"$tmp/read" 9>&- &
reader=$!
run "$MOTE" -k "$HELLO" --events "$tmp/fifo"
await 10 [ -s "$tmp/read" ]
exec 9>&-
wait "$reader"
is "$status $(tail -n 1 "$tmp/read" | grep -c poweroff)" "0 1" \
	"with a reader it gets them"
(
	exec 8<>"$tmp/fifo" 7>"$tmp/fifo" 8>&-
	run "$MOTE" -k "$HELLO" --events fd=7
	echo "$status"
) >"$tmp/status"
is "$(cat "$tmp/status")" 0 "a reader that has gone does not end the guest"
run "$MOTE" -k "$HELLO" --events /dev/full
is "$status" 0 "nor does a full disk"
like "$(cat "$err")" 'event was lost.*No space left' "it is said"
for option in --serial=unix=/no/such/dir/s --initrd=/no/such/file -c254,x; do
	rm -f "$events"
	run "$MOTE" -k "$HELLO" --events "$events" "$option"
	is "$status $(reason)" \
		"125 $([ "$option" = -c254,x ] || echo error)" \
		"$option: the failure is an event once options are read"
	is "$(wc -l <"$err")" 1 "$option: one line on stderr"
done

# --check looks and touches nothing.
echo keep >"$tmp/log"
run "$MOTE" -k "$HELLO" --check --serial "file=$tmp/log" --events "$events"
is "$status $(cat "$tmp/log")" "0 keep" "--check leaves the console's file"

# Nobody reads what the guest printed last, and the pipe is full. Its end waits
# for a reader: not longer than --timeout, and not once a signal has come that
# stops mote; others are answered meanwhile.
mkfifo "$tmp/slow"
exec 9<>"$tmp/slow"
head -c 65536 /dev/zero >&9
: >"$events"
"$MOTE" -k "$GUESTS/flood.elf" -a kib=4 --events "$events" --timeout 6s \
	>"$tmp/slow" 2>"$err" &
pid=$!
await 20 happened ready
sleep 0.3
kill -USR2 "$pid"
ok "SIGUSR2 is answered after the guest's end" await 1 happened counters
ok "and does not stop the wait for a reader" kill -0 "$pid"
guest_end
ends 0 poweroff "--timeout does, and the status is the guest's"
like "$(cat "$err")" '^mote: [0-9]+ bytes .* are lost' "the loss is said"
is "$(wc -l <"$err")" 1 "by one line"
# The pipe is as full as before.
: >"$events"
"$MOTE" -k "$GUESTS/flood.elf" -a kib=4 --events "$events" \
	>"$tmp/slow" 2>"$err" &
pid=$!
await 20 happened ready
sleep 0.3
kill -TERM "$pid"
guest_end 5
ends 0 poweroff "one SIGTERM stops the wait when the guest has ended"
exec 9>&-

done_testing
