#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Signals that do not end a guest, and events that nobody takes. (Those that
# end it are in end.t.)
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

counters() {
	[ "$(grep -c '"event":"counters"' "$events")" -ge "$1" ]
}

# exits N: the N-th counters event's number of exits
exits() {
	grep '"event":"counters"' "$events" |
		sed -n "$1s/.*\"exits\":{\"total\":\([0-9]*\).*/\1/p"
}

# outgrows N: asked once more, it has had more exits than at the N-th time
outgrows() {
	kill -USR2 "$pid"
	sleep 0.05
	[ "$(exits "$1")" -lt "$(exits '$')" ]
}

state_is() {
	grep -q "^State:[[:space:]]*$1" "/proc/$pid/status"
}

guest_start echo -a loop=1
ok "a guest that polls runs" await says echo
kill -USR2 "$pid"
ok "SIGUSR2 writes counters" await counters 1
ok "the counters are a JSON object" perl -MJSON::PP -ne '
	next unless /counters/;
	my $e = decode_json($_);
	die unless $e->{exits}{total} > 0 && $e->{t_us} > 0;
	die if grep { ref ne "HASH" } grep { ref } values %$e' "$events"
kill -USR2 "$pid"
ok "a second SIGUSR2 writes counters again" await counters 2
ok "the counters of a guest that polls grow" await outgrows 1

kill -STOP "$pid"
ok "SIGSTOP stops mote" await state_is T
asked=$(grep -c counters "$events")
kill -USR2 "$pid"
sleep 0.5
ok "a stopped mote does nothing" \
	[ "$(grep -c counters "$events")" -eq "$asked" ]
kill -CONT "$pid"
ok "SIGCONT lets mote go on, and what was asked meanwhile is answered" \
	await counters $((asked + 1))
kill -USR2 "$pid"
ok "mote answers after a stop" await counters $((asked + 2))
ok "a guest goes on after a stop" await outgrows $((asked + 1))

kill -TSTP "$pid"
ok "SIGTSTP stops mote, too" await state_is T
kill -CONT "$pid"
ok "mote goes on after SIGTSTP" await state_is '[SR]'

for signal in WINCH CHLD URG CONT PIPE; do
	kill -"$signal" "$pid"
done
sleep 0.2
ok "signals that mean nothing to mote do not end it" kill -0 "$pid"
n=0
while [ $n -lt 200 ]; do
	kill -USR2 "$pid"
	n=$((n + 1))
done
ok "many SIGUSR2s do not end mote" kill -0 "$pid"
kill -INT "$pid"
guest_end
ends 130 signal "SIGINT ends mote after many SIGUSR2s"

# A timer that should have fired while all stood still.
guest_start timer
kill -STOP "$pid"
sleep 1
kill -CONT "$pid"
guest_end
ends 0 poweroff "a guest's timers go on after a stop"

# A parent that ignores or blocks signals hands that on by exec.
status=0
(
	trap '' INT HUP TERM PIPE CHLD
	exec timeout -s KILL "$LIMIT" "$MOTE" -k "$GUESTS/hello.elf" -m 64M
) >"$out" 2>"$err" || status=$?
is "$status $(cat "$out")" "0 hello from the guest" \
	"mote runs where it was started with signals ignored"
rm -f "$events"
: >"$out" # or the last guest still says so
nohup "$MOTE" -k "$GUESTS/hang.elf" -m 64M --events "$events" >"$out" 2>"$err" &
pid=$!
ok "a guest started by nohup runs" await says hanging
kill -HUP "$pid"
sleep 0.5
ok "mote started by nohup lives on after SIGHUP" kill -0 "$pid"
kill -TERM "$pid"
guest_heard
kill -TERM "$pid"
guest_end
ends 143 signal "mote started by nohup hears SIGTERM"
status=0
perl -e 'use POSIX; my $all = POSIX::SigSet->new; $all->fillset;
	sigprocmask(SIG_BLOCK, $all); exec @ARGV' timeout -s KILL "$LIMIT" \
	"$MOTE" -k "$GUESTS/hang.elf" -m 64M --timeout 500ms \
	>"$out" 2>"$err" || status=$?
is "$status" 124 "--timeout works where mote was started with signals blocked"

# A start that waits can be stopped: a pipe that nobody writes to, yet.
mkfifo "$tmp/fifo"
for signal in INT:130 TERM:143; do
	env --default-signal=INT,QUIT "$MOTE" -k "$tmp/fifo" >"$out" 2>"$err" &
	pid=$!
	sleep 0.3
	kill -"${signal%:*}" "$pid"
	guest_end
	is "$status" "${signal#*:}" \
		"SIG${signal%:*} ends mote while it opens a pipe"
	env --default-signal=INT,QUIT "$MOTE" -k fd=7 7<>"$tmp/fifo" \
		>"$out" 2>"$err" &
	pid=$!
	sleep 0.3
	kill -"${signal%:*}" "$pid"
	guest_end
	is "$status" "${signal#*:}" \
		"SIG${signal%:*} ends mote while it reads a pipe"
done
run sh -c "cat '$GUESTS/hello.elf' >'$tmp/fifo' & exec '$MOTE' -k '$tmp/fifo'"
is "$status $(cat "$out")" "0 hello from the guest" "a kernel from a pipe boots"

# -- events ----------------------------------------------------------------------

status=0
{
	timeout -s KILL "$LIMIT" "$MOTE" -k "$GUESTS/ready.elf" -m 64M \
		--events fd=7 7>&1 >"$out" 2>"$err"
	echo $? >"$tmp/status"
} | head -c 1 >/dev/null
is "$(cat "$tmp/status")" 0 \
	"a guest ends well where nobody reads the events any more"

mkfifo "$tmp/full"
exec 9<>"$tmp/full"
head -c 65536 /dev/zero >&9
run "$MOTE" -k "$GUESTS/ready.elf" -m 64M --events fd=9
is "$status" 0 "a full pipe of events holds nothing up"
like "$(cat "$err")" "^mote: .*event.*lost" \
	"events that a full pipe has lost are told of"
exec 9<&-

mote --kernel "$GUESTS/ready.elf" -m 64M --timing
is "$status $(grep -vc '^mote: timing: *[a-z]* *[0-9.]* ms  +[0-9.]*$' \
	"$err")" "0 0" "--timing is a line for each stage"
ok "--timing has its stages in order, from exec to the end" perl -ne '
	/: *([a-z]+) +([\d.]+) ms/ or die; die if $2 < $t; $t = $2;
	$seen .= "$1 "; END { die $seen unless $seen =~ /^exec .*ready .*exit / }
	BEGIN { $t = 0 }' "$err"

done_testing
