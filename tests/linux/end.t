#!/bin/sh
# How Linux ends, and what mote says of it; and the signals that a guest only
# notices as Linux does: the power button, and a pause.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

# A panic, with pvpanic's driver and without: then all that tells it from a
# reboot is what Linux leaves at 0x472.
panic='
echo drivers=$(cut -d" " -f1 /proc/modules | grep -c pvpanic_mmio)
outb 0x507 1
echo c >/proc/sysrq-trigger
'
echo "$panic" | job panic
boot driver -i "$MODULES" -i "$tmp/panic.job"
boot without -c 2 -i "$tmp/panic.job"
ended driver
ends 123 panic "a panic, told by pvpanic"
is "$(got drivers)" 1 "the driver is there"
like "$(cat "$out")" "Kernel panic - not syncing: sysrq triggered crash" \
	"a panic's words are on stdout"
ended without
ends 123 panic "a panic, without pvpanic's driver"
is "$(got drivers)" 0 "it is not there"
like "$(cat "$out")" "Kernel panic - not syncing: sysrq triggered crash" \
	"a panic's words are on stdout"

# A job that stays until it is told to go.
job stay <<'END'
echo warned=$(dmesg | grep -ciE "soft lockup|stall")
outb 0x507 1
while :; do sleep 1; done
END
job reboot <<'END'
reboot -f
END
boot reboot -c 2 -i "$tmp/reboot.job"
boot button -i "$MODULES" -i "$tmp/stay.job"
ended reboot
ends 0 reboot "a reboot"
ok "the guest waits" until_is "$LIMIT" waiting button
kill -TERM "$(pid_of button)"
ended button
ends 0 poweroff "SIGTERM is the power button: the guest powers itself off"

# No driver for the button: the first SIGTERM goes unheard.
boot twice -i "$tmp/stay.job"
# Long enough for the watchdog to bark, if it were not told: it is set to bark
# after 8 seconds. It never does where a processor was idle.
job pause <<'END'
echo 4 >/proc/sys/kernel/watchdog_thresh
while :; do :; done &
i=0
while :; do
	sleep 1
	echo tick=$i $(dmesg | grep -ciE "soft lockup|stall|hung")
	i=$((i + 1))
done
END
boot pause -i "$tmp/pause.job"

ticks() {
	grep -c '^tick=' "$tmp/pause.out"
}
more_ticks() {
	[ "$(ticks)" -ge "$1" ]
}
ok "the guest ticks" until_is "$LIMIT" printed pause tick=2
pause=$(pid_of pause)
kill -STOP "$pause"
sleep 1
before=$(ticks)
sleep 14
is "$(ticks)" "$before" "SIGSTOP stops it"
kill -CONT "$pause"
ok "SIGCONT: it goes on" until_is 60 more_ticks $((before + 4))
kill -USR2 "$pause"
counted() {
	grep -q '"event":"counters"' "$tmp/pause.events"
}
ok "SIGUSR2: an event" until_is 10 counted
kill -INT "$pause"
ended pause
ends 130 signal "SIGINT without a terminal stops at once"
is "$(got tick | grep -vc ' 0$')" 0 "no watchdog took the pause for a hang"
like "$(cat "$events")" \
	'"event":"counters","exits":[1-9].*,"serial_out":[1-9][0-9]*,' \
	"the counters count"

ok "the guest waits" until_is "$LIMIT" waiting twice
twice=$(pid_of twice)
kill -TERM "$twice"
sleep 2
ok "a SIGTERM that the guest ignores does not stop it" kill -0 "$twice"
kill -TERM "$twice"
ended twice
ends 143 signal "a second one does"

# The time runs from exec; the kernel may be anywhere by then.
boot timeout --timeout 2s
ended timeout
ends 124 timeout "--timeout"

done_testing
