#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# mote before its guest runs, and what else may come between it and its end:
# signals and --timeout while it waits for a file, signals that it inherits or
# that mean nothing to it, descriptors that are closed, events nobody reads.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

HELLO=$GUESTS/hello.elf

mkfifo "$tmp/fifo"

# A kernel that never comes.
run "$MOTE" -k "$tmp/fifo" --events "$events" --timeout 200ms
ends 124 timeout "--timeout ends mote while it waits for the kernel"
like "$(cat "$err")" '^mote: --timeout passed before the guest' \
	"--timeout that passes before the guest is told"

# The writer keeps it open and writes nothing: it is read() that waits here, and
# open() above.
exec 9<>"$tmp/fifo"
for row in TERM:143 INT:130 HUP:129 QUIT:131 XCPU:152; do
	rm -f "$events"
	"$MOTE" -k "$tmp/fifo" --events "$events" >"$out" 2>"$err" &
	pid=$!
	await [ -e "$events" ]
	sleep 0.1
	kill -"${row%:*}" "$pid"
	guest_end
	ends "${row#*:}" signal \
		"SIG${row%:*} ends mote while it waits for the kernel"
done
exec 9>&-

# What asks for something waits until there is somebody to answer.
rm -f "$events"
"$MOTE" -k "$tmp/fifo" --events "$events" >"$out" 2>"$err" &
pid=$!
await [ -e "$events" ]
sleep 0.1
kill -USR2 "$pid"
sleep 0.1
cat "$HELLO" >"$tmp/fifo"
guest_end
ends 0 poweroff "SIGUSR2 while mote waits for the kernel does no harm"
ok "SIGUSR2 while mote waits for the kernel is answered" happened counters

guest_start hang
ok "a guest that is to be sent signals hangs" await says hanging
kill -USR1 "$pid"
kill -USR2 "$pid"
ok "SIGUSR2 writes the counters of a guest that hangs" await happened counters
ok "SIGUSR1 does not end mote" kill -0 "$pid"
kill -ALRM "$pid"
guest_end
ends 142 signal "any other signal ends mote, and its event says so"
like "$(cat "$err")" '^mote: SIGUSR1 is ignored' "SIGUSR1 is answered"
is "$(wc -l <"$err")" 1 "SIGUSR1 is answered by one line"

rm -f "$events"
: >"$out"
nohup "$MOTE" -k "$GUESTS/hang.elf" -m 64M --events "$events" \
	>"$out" 2>"$err" </dev/null &
pid=$!
ok "a guest of nohup hangs" await says hanging
kill -HUP "$pid"
sleep 0.3
ok "nohup keeps SIGHUP off mote" kill -0 "$pid"
kill -INT "$pid"
guest_end
ends 130 signal "nohup keeps no other signal off mote"

# Descriptors.
rm -f "$events"
run sh -c 'exec "$@" <&- 2>&-' - "$MOTE" -k "$HELLO" --events "$events"
ends 0 poweroff "mote runs with stdin and stderr closed"
is "$(cat "$out")" "hello from the guest" \
	"no file takes the place of a closed stdin or stderr"
rm -f "$events"
run sh -c 'exec "$@" >&-' - "$MOTE" -k "$HELLO" --events "$events"
ends 0 poweroff "mote runs with stdout closed"
rm -f "$events"
run sh -c 'exec "$@" 7<"$0"' "$HELLO" "$MOTE" -k fd=7 --events "$events"
ends 0 poweroff "a kernel by descriptor boots"
run sh -c 'exec "$@" 7>"$0"' "$tmp/empty" "$MOTE" -k fd=7
is "$status" 125 "a kernel's descriptor that is open for writing is refused"
like "$(cat "$err")" '--kernel fd=7: .*reading' \
	"a kernel's descriptor that is open for writing is named"
run "$MOTE" -k fd=77
is "$status" 125 "a kernel's descriptor that is not open is refused"
like "$(cat "$err")" '--kernel fd=77: .*leave it open' \
	"a kernel's descriptor that is not open: one line says why"

# Events.
run "$MOTE" -k "$HELLO" --events "$tmp/fifo"
is "$status" 125 "an events FIFO without a reader is an error"
like "$(cat "$err")" 'needs its reader first' \
	"an events FIFO without a reader: how to mend it is said"
# Open for reading from here on: mote does not wait for cat to come.
exec 9<>"$tmp/fifo"
cat "$tmp/fifo" >"$tmp/read" 9>&- &
reader=$!
run "$MOTE" -k "$HELLO" --events "$tmp/fifo"
await [ -s "$tmp/read" ]
exec 9>&-
wait "$reader"
is "$status $(tail -n 1 "$tmp/read" | grep -c poweroff)" "0 1" \
	"an events FIFO with a reader gets the events"
(
	exec 8<>"$tmp/fifo" 7>"$tmp/fifo" 8>&-
	run "$MOTE" -k "$HELLO" --events fd=7
	echo "$status"
) >"$tmp/status"
is "$(cat "$tmp/status")" 0 \
	"a reader of events that has gone does not end the guest"
run "$MOTE" -k "$HELLO" --events /dev/full
is "$status" 0 "a full disk for events does not end the guest"
like "$(cat "$err")" 'event was lost.*No space left' \
	"events that are lost are told of"
for option in --serial=unix=/no/such/dir/s --initrd=/no/such/file -c254,x; do
	rm -f "$events"
	run "$MOTE" -k "$HELLO" --events "$events" "$option"
	is "$status $(reason)" \
		"125 $([ "$option" = -c254,x ] || echo error)" \
		"$option: the failure is an event once options are read"
	is "$(wc -l <"$err")" 1 "$option: one line on stderr says what failed"
done

# Memory that is wanted at once. (That it is allocated in pieces, and signals
# are answered between them, is in unit/test_ram.c, which knows no speed.)
rm -f "$events"
"$MOTE" -k "$GUESTS/hang.elf" -m 1G,prefault --events "$events" \
	>"$out" 2>"$err" &
pid=$!
await [ -e "$events" ]
kill -TERM "$pid"
sleep 0.1
kill -TERM "$pid" 2>/dev/null
guest_end
ends 143 signal "SIGTERM ends mote while it allocates memory"
for with in '' --check; do
	mote -k "$HELLO" -m 3T,prefault $with
	ends 125 error "memory that this machine does not have is refused${with:+ by $with}"
	like "$(cat "$err")" '^mote: --memory: prefault has 3145728 MiB .* has [0-9]+ MiB left; give a smaller' \
		"memory that this machine does not have: the message says how much there is${with:+, with $with}"
	mote -k "$HELLO" -m 1T,hugepages=1G $with
	ends 125 error "huge pages that this machine does not have are refused${with:+ by $with}"
	like "$(cat "$err")" '^mote: cannot get 1048576 MiB .*reserve them first' \
		"huge pages that this machine does not have: the message says what to do${with:+, with $with}"
done

# --check looks and touches nothing.
echo keep >"$tmp/log"
run "$MOTE" -k "$HELLO" --check --serial "file=$tmp/log" --events "$events"
is "$status $(cat "$tmp/log")" "0 keep" \
	"--check leaves the console's file as it is"
cat >"$tmp/most.pl" <<'END'
# The most memory that a command had, in KiB: ru_maxrss of getrusage(2).
my $room = "\0" x 144;
system @ARGV;
syscall 98, -1, $room;
print unpack('x32 q', $room), "\n";
END
for with in 1G 1G,prefault 1G,hugepages=thp,prefault; do
	most=$(perl "$tmp/most.pl" "$MOTE" -k "$HELLO" -m "$with" --check)
	ok "--check -m $with takes no memory ($most KiB)" [ "$most" -lt 65536 ]
done

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
await happened ready
sleep 0.3
kill -USR2 "$pid"
ok "SIGUSR2 is answered after the guest's end" await happened counters
ok "SIGUSR2 does not stop the wait for a reader of the last words" \
	kill -0 "$pid"
guest_end
ends 0 poweroff \
	"--timeout stops the wait for a reader, and the status is the guest's"
like "$(cat "$err")" '^mote: [0-9]+ bytes .* are lost' \
	"last words that nobody has read are told of"
is "$(wc -l <"$err")" 1 \
	"last words that nobody has read are told of in one line"
# The pipe is as full as before.
: >"$events"
"$MOTE" -k "$GUESTS/flood.elf" -a kib=4 --events "$events" \
	>"$tmp/slow" 2>"$err" &
pid=$!
await happened ready
sleep 0.3
kill -TERM "$pid"
guest_end
ends 0 poweroff \
	"one SIGTERM stops the wait for a reader when the guest has ended"
exec 9>&-

# -- limits of whoever starts it ---------------------------------------------

# KVM's own thread is one more than those of mote: without it KVM_RUN says
# EAGAIN for ever. The user has no other process then.
if [ "$(id -u)" -eq 0 ]; then
	chmod 711 "$tmp"
	mkdir -m 755 "$tmp/his"
	cp "$MOTE" "$GUESTS/hello.elf" "$tmp/his"
	run tests/as-user prlimit --nproc=1 "$tmp/his/mote" -k "$tmp/his/hello.elf"
	is "$status" 125 "one process for a user is status 125"
	like "$(cat "$err")" 'raise the limit on processes' \
		"one process for a user is told to be too few"
	# Older kernels do not count that thread.
	run tests/as-user prlimit --nproc=2 "$tmp/his/mote" -k "$tmp/his/hello.elf"
	like "$status $(cat "$err")" '^0 |^125 .*raise the limit on processes' \
		"two processes for a user are enough, or told to be too few"
else
	echo "# SKIP limits on processes: takes root"
fi
for files in 5 7 9; do
	# shellcheck disable=SC2016 # expanded there
	run sh -c 'ulimit -n "$1" && exec "$0" -k "$2"' "$MOTE" "$files" \
		"$GUESTS/hello.elf"
	is "$status" 125 "$files open files are status 125"
	like "$(cat "$err")" 'raise the limit on open files' \
		"$files open files are told to be too few"
done

done_testing
