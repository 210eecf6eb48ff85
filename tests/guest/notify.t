#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a service manager is told through NOTIFY_SOCKET: every message, each from
# a guest that makes it so. tests/tools/notified is the manager here;
# tests/fleet/systemd.t has a real one.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

socket=$tmp/manager.sock
heard=$tmp/heard
manager=

notify_end() {
	[ -z "$manager" ] || kill "$manager" 2>/dev/null
	[ ! -e "/run/netns/mote$$" ] || ip netns del "mote$$"
	tap_end
}
trap notify_end EXIT

bound() {
	grep -q '^bound$' "$heard"
}

# manager ADDRESS [FILE]: it listens there, and no other any more
manager() {
	[ -z "$manager" ] || { kill "$manager"; wait "$manager"; } 2>/dev/null
	case $1 in /*) rm -f "$1" ;; esac
	: >"$heard"
	tests/tools/notified "$@" >"$heard" 2>&1 &
	manager=$!
	await bound
}

# All that was heard since: what this sends comes behind it.
said() {
	echo "caught up $1" | socat -u - "UNIX-SENDTO:$socket"
	await grep -q "^caught up $1" "$heard"
	grep -v -e '^bound$' -e '^caught up' "$heard"
}

has_heard() {
	grep -q -e "$1" "$heard"
}

# needs_root NAME: true for root; else that test is skipped, or not counted
# where root runs all of this beside its user
needs_root() {
	[ "$(id -u)" != 0 ] || return 0
	[ "$(id -u)" = 54321 ] || pass "$1 # SKIP it takes root"
	return 1
}

# told TEXT NAME: the guest that has just ended made the manager hear that
count=0
told() {
	count=$((count + 1))
	is "$(said $count)" "$1" "$2"
	manager "$socket"
}

manager "$socket"
export NOTIFY_SOCKET="$socket"

# -- a guest's life ------------------------------------------------------------

end='STOPPING=1 | STATUS=stopping
STOPPING=1 | STATUS='

guest ready
ends 0 poweroff "a guest that is notified of runs as any other"
is "$(cat "$err")" "" "... and says nothing of it"
told "STATUS=booting
READY=1 | STATUS=running
${end}the guest powered off | EXIT_STATUS=0" \
	"a guest that says ready and powers off is told of in each state"

guest hello --sandbox off
told "STATUS=booting
${end}the guest powered off | EXIT_STATUS=0" \
	"a guest that never says ready is never told to be"
guest exit -a status=7
told "STATUS=booting
${end}exited | EXIT_STATUS=7" "the status of a guest is EXIT_STATUS"
guest panic
told "STATUS=booting
${end}the guest panicked | EXIT_STATUS=123" "a panic is told"
guest reset -a by=triple
told "STATUS=booting
${end}the guest crashed | EXIT_STATUS=123" "a crash is told"
guest reset -a "by=acpi flag=4660" --reboot-status 133
told "STATUS=booting
${end}the guest rebooted | EXIT_STATUS=133" "a reboot is told"
guest hang --timeout 300ms
told "STATUS=booting
${end}stopped by --timeout | EXIT_STATUS=124" "a time limit is told"
guest hello -i "$tmp/no-such-file"
told "STOPPING=1 | STATUS=mote failed | EXIT_STATUS=125" \
	"a start that fails is told"
guest hello --check
told "" "--check, which runs nothing, tells nothing"

guest_start button
ok "a guest waits for its power button" await has_heard READY=1
kill -TERM "$pid"
guest_end
ends 0 poweroff "a guest that is told of powers off by its button"
told "STATUS=booting
READY=1 | STATUS=running
${end}the guest powered off | EXIT_STATUS=0" "it stops once"

guest_start hang
ok "a guest that is deaf runs" await says hanging
kill -TERM "$pid"
ok "that it is to stop is told at once" await has_heard STOPPING=1
kill -TERM "$pid"
guest_end
told "STATUS=booting
${end}stopped by a signal | EXIT_STATUS=143" "a stop by a signal is told"

guest_start button -a late=1
ok "a guest that is not ready yet runs" await says busy
kill -TERM "$pid"
guest_heard
kill -TERM "$pid"
guest_end
told "STATUS=booting
${end}stopped by a signal | EXIT_STATUS=143" \
	"a guest that is to stop before it is ready is not told to be ready"

mkfifo "$tmp/kernel"
"$MOTE" -k "$tmp/kernel" -m 64M >"$out" 2>"$err" &
pid=$!
exec 8>"$tmp/kernel"
kill -TERM "$pid"
guest_end
exec 8>&-
told "STOPPING=1 | STATUS=stopped by a signal | EXIT_STATUS=143" \
	"a stop before there is a guest is told"

guest_start hang
ok "a guest whose mote is to crash runs" await says hanging
kill -SEGV "$pid"
guest_end
told "STATUS=booting
STOPPING=1 | STATUS=mote failed | EXIT_STATUS=125" "a crash of mote's is told"

# -- a command, a snapshot ------------------------------------------------------

snap=$tmp/x.snap
guest_start button --snapshot "$snap,on=signal,then=exit"
ok "a guest that is ready is to be saved" await has_heard READY=1
kill -USR1 "$pid"
guest_end
told "STATUS=booting
READY=1 | STATUS=running
${end}a snapshot was taken | EXIT_STATUS=0" "that a guest was saved is told"

restore_start() {
	rm -f "$events"
	"$MOTE" --restore "$snap" --events "$events" "$@" >"$out" 2>"$err" &
	pid=$!
}

restore_start
ok "a guest that goes on from a snapshot of a ready one is ready at once" \
	await has_heard READY=1
kill -TERM "$pid"
guest_end
ends 0 poweroff "... and powers off by its button"
told "STATUS=booting
READY=1 | STATUS=running
${end}the guest powered off | EXIT_STATUS=0" "... as any other"
is "$(perl -MJSON::PP -ne 'my $e = decode_json($_);
	print "$e->{event} " if $e->{t_us} >= $t; $t = $e->{t_us};
	BEGIN { $t = 0 }' "$events")" "start ready exit " \
	"... as its events say, one after the other"

guest virtio_vsock -a clone=1 --snapshot "$snap" -- first 41
told "STATUS=booting
READY=1 | STATUS=running
${end}a snapshot was taken | EXIT_STATUS=0" \
	"a guest that is saved before its command is ready for it"
restore_start -- other 42
guest_end
ends 42 exited "a command that is told of ends with its status"
told "STATUS=booting
READY=1 | STATUS=running
${end}exited | EXIT_STATUS=42" "a command's start makes the guest ready"

# -- the watchdog ----------------------------------------------------------------

many() {
	[ "$(grep -c '^WATCHDOG=1$' "$heard")" -gt "$1" ]
}

export WATCHDOG_USEC=100000
guest_start hang
ok "WATCHDOG=1 comes again and again where a watchdog is asked for" \
	await many 5
kill -STOP "$pid"
await sh -c "grep -q '^State:.T' /proc/$pid/status"
before=$(said stopped)
sleep 0.5
is "$(said later)" "$before" "a mote that is stopped says nothing"
kill -CONT "$pid"
ok "WATCHDOG=1 comes again where it goes on" \
	await many "$(echo "$before" | grep -c WATCHDOG)"
kill -INT "$pid"
guest_end
is "$(said end | grep -v WATCHDOG)" "STATUS=booting
${end}stopped by a signal | EXIT_STATUS=130" "the watchdog is told beside the rest"
manager "$socket"
WATCHDOG_PID=1 guest hang --timeout 400ms
is "$(said pid | grep -c WATCHDOG)" 0 \
	"a watchdog of another process is not answered"
manager "$socket"
WATCHDOG_USEC=soon guest hello
is "$(cat "$err")" "mote: WATCHDOG_USEC=soon: this is no number of microseconds, so no WATCHDOG=1 is sent" \
	"a watchdog that is no number is told in one line"
unset WATCHDOG_USEC
manager "$socket"

# -- the socket ------------------------------------------------------------------

NOTIFY_SOCKET=@mote-notify.$$
export NOTIFY_SOCKET
manager "$NOTIFY_SOCKET"
guest ready
ok "an abstract socket is told, too" await has_heard 'powered off'
if needs_root "an abstract socket is found where --netns leads elsewhere"; then
	ip netns add "mote$$"
	manager "$NOTIFY_SOCKET"
	guest ready --netns "/run/netns/mote$$"
	ok "an abstract socket is found where --netns leads elsewhere" \
		await has_heard 'powered off'
	ip netns del "mote$$"
fi

for address in vsock:2:9999 relative /nowhere/at/all @nobody.listens; do
	NOTIFY_SOCKET=$address guest hello
	is "$status $(grep -c "^mote: NOTIFY_SOCKET=$address: .*; nobody is told" \
		"$err") $(wc -l <"$err")" "0 1 1" \
		"NOTIFY_SOCKET=$address is a warning, and the guest runs"
done

# Full: nothing is read until the file is there. What fills it is told first.
NOTIFY_SOCKET=$socket
manager "$socket" "$tmp/read"
ok "a manager's queue is full" perl -MSocket -MFcntl -e '
	socket my $s, AF_UNIX, SOCK_DGRAM, 0;
	connect $s, pack_sockaddr_un($ARGV[0]) or die;
	fcntl $s, F_SETFL, O_NONBLOCK;
	1 while defined send $s, "filled", 0;
	exit !$!{EAGAIN}' "$socket"
guest_start button
ok "a guest whose manager does not read becomes ready" await happened ready
: >"$tmp/read"
ok "... and the manager hears of it later" await has_heard READY=1
kill -TERM "$pid"
guest_end
ends 0 poweroff "... and it ends as any other"

manager "$socket"
guest_start button
ok "a guest has a manager" await has_heard READY=1
kill "$manager"
wait "$manager" 2>/dev/null
manager=
kill -TERM "$pid"
guest_end
ends 0 poweroff "a guest whose manager is gone ends as any other"
is "$(cat "$err")" "" "... and nothing is said of it"

# -- who else could -------------------------------------------------------------

# passt is mote's child, and a program of somebody else's.
manager "$socket"
mkdir "$tmp/bin"
printf '#!/bin/sh\nenv >"%s"\nls -l /proc/$$/fd >>"%s"\nexit 1\n' \
	"$tmp/env" "$tmp/env" >"$tmp/bin/passt"
chmod 755 "$tmp/bin/passt"
WATCHDOG_USEC=1000000 PATH=$tmp/bin:$PATH guest hello -n user
is "$(grep -c PATH= "$tmp/env") $(grep -c -e NOTIFY -e WATCHDOG "$tmp/env")" \
	"1 0" "passt has neither the variable nor the watchdog's"
guest_start hang --vsock "$tmp/v.sock"
ok "a guest of a manager runs, and is locked in" await says hanging
is "$(tr -d '\0' <"/proc/$pid/environ" 2>/dev/null | wc -c)" 0 \
	"nothing of the environment is left"
kill -INT "$pid"
guest_end
guest_start hang --vsock "$tmp/v.sock" --sandbox off
ok "a guest with a broker runs" await says hanging
is "$(tr '\0' '\n' <"/proc/$pid/environ" | grep -c '^NOTIFY_SOCKET=/')" 0 \
	"the variable is wiped also where the sandbox is off"
kill -INT "$pid"
guest_end

# -- none of it ------------------------------------------------------------------

unset NOTIFY_SOCKET
guest ready
ends 0 poweroff "without NOTIFY_SOCKET a guest runs as ever"

done_testing
