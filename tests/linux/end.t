#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
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
ends 123 panic "a panic told by pvpanic is status 123"
is "$(got drivers)" 1 "the guest that panics has pvpanic's driver"
like "$(cat "$out")" "Kernel panic - not syncing: sysrq triggered crash" \
	"a panic's words are on stdout (with pvpanic's driver)"
ended without
ends 123 panic "a panic without pvpanic's driver is told from a reboot"
is "$(got drivers)" 0 "the other guest that panics has not pvpanic's driver"
like "$(cat "$out")" "Kernel panic - not syncing: sysrq triggered crash" \
	"a panic's words are on stdout (without pvpanic's driver)"

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
ends 0 reboot "a reboot is status 0, reason reboot"
ok "a guest with a driver for the power button waits" \
	until_is "$LIMIT" waiting button
kill -TERM "$(pid_of button)"
ended button
ends 0 poweroff \
	"SIGTERM is the power button, by which Debian's kernel powers off"

# While it boots there is no driver yet, and later nobody who listens to that.
boot early -i "$MODULES" -i "$tmp/stay.job"
events=$tmp/early.events
ok "a guest that boots has started" until_is "$LIMIT" happened start
kill -TERM "$(pid_of early)"
ended early
ends 0 poweroff "one SIGTERM while Linux boots powers it off"

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
# barks: what the last whole line says of hangs that the kernel has seen
barks() {
	tr -d '\r' <"$tmp/pause.out" |
		sed -n 's/^tick=[0-9]* \([0-9]*\)$/\1/p' | tail -n 1
}
more_ticks() {
	[ "$(ticks)" -ge "$1" ]
}
ok "a guest prints a tick a second" until_is "$LIMIT" printed pause tick=2
pause=$(pid_of pause)
kill -STOP "$pause"
stopped=$(date +%s)
sleep 1
before=$(ticks)
barked=$(barks)

ok "a guest without a driver for the power button waits" \
	until_is "$LIMIT" waiting twice
twice=$(pid_of twice)
kill -TERM "$twice"
heard twice
ok "one SIGTERM does not end a guest that ignores it" kill -0 "$twice"
kill -TERM "$twice"
ended twice
ends 143 signal "a second SIGTERM ends a guest that ignores the first"

# The time runs from exec; the kernel may be anywhere by then.
boot timeout --timeout 2s
ended timeout
ends 124 timeout "--timeout ends a guest wherever its kernel is"
while [ $(($(date +%s) - stopped)) -lt 15 ]; do
	sleep 0.5
done
is "$(ticks)" "$before" "SIGSTOP stops a guest"
kill -CONT "$pause"
ok "SIGCONT lets a stopped guest go on" \
	until_is "$LIMIT" more_ticks $((before + 4))
kill -USR2 "$pause"
ok "SIGUSR2 makes an event" until_is "$LIMIT" more_counters pause 0
kill -INT "$pause"
ended pause
ends 130 signal "SIGINT without a terminal ends a guest at once"
is "$(barks)" "$barked" "no watchdog takes a pause for a hang"
like "$(cat "$events")" \
	'"event":"counters",.*"serial":.*"out_bytes":[1-9].*"exits":{"total":[1-9]' \
	"the counters of a Linux guest count"

done_testing
