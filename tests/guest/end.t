#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# How a guest can end, and what mote says of it: every exit status and every
# event reason.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

guest hello
ends 0 poweroff "S5 is status 0, reason poweroff"
is "$(cat "$out")" "hello from the guest" \
	"a guest's output is on stdout, and nothing else"
is "$(cat "$err")" "" "a good run leaves stderr empty"
is "$(grep -c '"event":"start"' "$events")" 1 "a run has one start event"
is "$(grep -c '"event":"exit"' "$events")" 1 "a run has one exit event"
is "$(tail -n 1 "$events" | grep -c '"event":"exit"')" 1 \
	"a run's last event is exit"
ok "every event is a JSON object with event and a growing t_us" \
	perl -MJSON::PP -ne 'my $e = decode_json($_);
	die unless $e->{event} && $e->{t_us} =~ /^\d+$/ && $e->{t_us} >= $t;
	$t = $e->{t_us}; BEGIN { $t = 0 }' "$events"

ok "every event has the time, in UTC, and the process" \
	perl -MJSON::PP -MPOSIX -ne 'my $e = decode_json($_);
	my @t = $e->{time} =~ /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.\d{6}Z$/
		or die;
	$ENV{TZ} = "UTC";
	die if abs(mktime(@t[5, 4, 3, 2], $t[1] - 1, $t[0] - 1900) - time) > 60;
	die unless $e->{pid} > 1 && !exists $e->{name}' "$events"
guest hello --name job-7.a_B
is "$(grep -c '"name":"job-7.a_B"[,}]' "$events")" 2 "--name is in every event"

# Several guests write to one file, by its path and by descriptors that are
# open without O_APPEND: each line stays whole, and nothing is overwritten.
echo first >"$tmp/shared"
exec 8<>"$tmp/shared"
for n in 1 2 3; do
	"$MOTE" -k "$GUESTS/hello.elf" -m 64M --events "$tmp/shared" >/dev/null &
	"$MOTE" -k "$GUESTS/hello.elf" -m 64M --events fd=8 8<>"$tmp/shared" \
		>/dev/null &
done
wait
exec 8>&-
is "$(sed -n 1p "$tmp/shared"; wc -l <"$tmp/shared"; sed 1d "$tmp/shared" |
	grep -c '^{"event":"[a-z]*",.*}$')" "first
13
12" "--events goes to the end of a file that several guests share"

for n in 0 1 7 99 125 126 127 128 255; do
	guest exit -a "status=$n"
	ends $n exited "the exit status port with $n is that status"
done

guest ready
ends 0 poweroff "a guest that says ready goes on"
is "$(cat "$out")" "ready was said" \
	"the output of a guest that has said ready comes"
is "$(sed -n 's/.*"event":"\([a-z]*\)".*/\1/p' "$events" | tr '\n' ' ')" \
	"start ready exit " "ready is an event between start and exit"

# What Linux leaves at 0x472 tells a reboot (0x1234) from a panic (0), where
# the words that make it do so are on the command line.
for by in acpi i8042 triple; do
	guest reset -a "by=$by flag=4660"
	ends 0 reboot "a reboot by $by is status 0, reason reboot"
	guest reset -a "by=$by flag=0"
	ends 123 panic \
		"a panic without a driver, reset by $by, is told from a reboot"
done
guest reset -a by=acpi
ends 0 reboot "a reset without a word is a reboot"
guest reset -a by=i8042
ends 0 reboot "a reset by i8042 without a word is a reboot"
guest reset -a by=triple
ends 123 crash "a triple fault without a word is a crash"
is "$(cat "$err")" "mote: the guest crashed: a triple fault" \
	"a triple fault is told in one line"
guest reset --cmdline "by=triple flag=4660"
ends 123 crash "0x472 counts only where the command line has the words"
guest reset --cmdline "by=acpi flag=0"
ends 0 reboot "0 at 0x472 counts only where the command line has the words"
guest reset --cmdline "by=acpi flag=0 reboot=warm,panic_cold"
ends 123 panic \
	"0x472 counts with a command line of the user's own that has the words"

guest panic
ends 123 panic "a panic by pvpanic is status 123"
is "$(last_line)" "Kernel panic - not syncing: by choice" \
	"a panic's last words are printed"
guest fetch
ends 123 crash "a jump to where there is no memory is a crash"
is "$(grep -c ^mote: "$err")" 1 \
	"a jump to where there is no memory is told in one line"

guest hang --timeout 300ms
ends 124 timeout "--timeout ends a guest that is halted"
guest hang -a loop=1 --timeout 300ms
ends 124 timeout "--timeout ends a guest that is busy"
is "$(last_line)" "hanging" "output before --timeout is printed"
guest hello --timeout 20s
ends 0 poweroff "--timeout that does not pass changes nothing"

guest hello -m 64M --initrd "$tmp/no-such-file"
ends 125 error "a missing file is status 125, reason error"

# The power button is the first SIGTERM; the second one stops at once.
guest_start button
ok "a guest waits for its power button" await happened ready
kill -TERM "$pid"
guest_end
ends 0 poweroff "SIGTERM presses the power button"
is "$(last_line)" "pressed 1" "SIGTERM presses the power button once"

guest_start hang
ok "a guest that ignores SIGTERM hangs" await says hanging
kill -TERM "$pid"
guest_heard
ok "one SIGTERM does not stop a guest that ignores it" kill -0 "$pid"
kill -TERM "$pid"
guest_end
ends 143 signal "a second SIGTERM ends a guest that ignores one"

guest_start button -a ignore=1000000
ok "a guest that ignores its power button waits" await happened ready
kill -TERM "$pid"
guest_heard
kill -TERM "$pid"
guest_end
ends 143 signal "two SIGTERMs end a guest that has a driver and ignores it"

guest_start button -a ignore=2
ok "a guest that nobody listens in waits" await happened ready
kill -TERM "$pid"
guest_end
ends 0 poweroff "the button is pressed until the guest is off"
is "$(last_line)" "pressed 3" "each press is one interrupt and one event"

mkfifo "$tmp/late"
exec 8<>"$tmp/late"
rm -f "$events"
: >"$out"
"$MOTE" -k "$GUESTS/button.elf" -m 64M -a late=1 --events "$events" \
	<"$tmp/late" >"$out" 2>"$err" &
pid=$!
ok "a guest that boots masks the button" await says busy
kill -TERM "$pid"
guest_heard
printf x >&8
guest_end
ends 0 poweroff "SIGTERM before the guest has a driver is not lost"
exec 8>&-

# --grace: of a guest that does not act on SIGTERM, and of none that was not
# sent one.
guest_start hang --grace 200ms
ok "a guest with --grace runs" await says hanging
guest_heard
sleep 0.4
ok "--grace does not count from the start" kill -0 "$pid"
kill -TERM "$pid"
guest_end
ends 143 signal "when --grace has passed after a SIGTERM the guest is stopped"
guest_start button --grace 1h
ok "a guest with a long --grace waits" await happened ready
kill -TERM "$pid"
guest_end
ends 0 poweroff "a guest that ends within --grace has its own status"

guest reset -a "by=acpi flag=4660" --reboot-status 133
ends 133 reboot "--reboot-status is the status of a guest that reboots"
guest hello --reboot-status 133
ends 0 poweroff "--reboot-status says nothing of a guest that powers off"
guest reset -a "by=acpi flag=0" --reboot-status 133
ends 123 panic "--reboot-status says nothing of a guest that panics"

for row in INT:130 HUP:129 QUIT:131; do
	for loop in 0 1; do
		guest_start hang -a "loop=$loop"
		ok "a guest to be sent SIG${row%:*} runs (loop=$loop)" \
			await says hanging
		kill -"${row%:*}" "$pid"
		guest_end
		ends "${row#*:}" signal \
			"SIG${row%:*} without a terminal ends a guest (loop=$loop)"
	done
done

# Whoever reads what mote says may have stopped: the pipe is full.
mkfifo "$tmp/full"
exec 8<>"$tmp/full"
dd if=/dev/zero of="$tmp/full" bs=4096 count=1024 oflag=nonblock 2>/dev/null
rm -f "$events"
env --default-signal=INT "$MOTE" -k "$GUESTS/flood.elf" -m 64M \
	--events "$events" >&8 2>&8 &
pid=$!
ok "a guest whose output nobody reads runs" await happened start
kill -INT "$pid"
guest_end
ends 130 signal "SIGINT ends a mote whose stdout and stderr are one full pipe"
rm -f "$events"
: >"$out" # or the last guest still says so
"$MOTE" -k "$GUESTS/hang.elf" -m 64M --timeout 1s --events "$events" \
	>"$out" 2>&8 &
pid=$!
ok "a guest whose mote has a full pipe as stderr runs" await says hanging
kill -USR1 "$pid"
guest_end
ends 124 timeout "--timeout ends a mote that has a line for a full pipe"
exec 8>&-

guest_start hang
ok "a guest whose mote is to crash runs" await says hanging
kill -SEGV "$pid"
guest_end
is "$status $(reason)" "125 error" "a crash of mote's own is status 125"
like "$(cat "$err")" '^mote: .*signal' "a crash of mote's own is told"

done_testing
