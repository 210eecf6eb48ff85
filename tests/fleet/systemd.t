#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The units of boot/fleet/systemd under a real systemd: which ends start a guest
# again, how one is stopped, READY=1 and the watchdog, what is left of the host for
# it, and guests that are started by connections.
# shellcheck source=tests/fleet/rig.sh
. "${0%/*}/rig.sh"

node=n1
units=/usr/local/lib/systemd/system
drop_ins=/run/systemd/system

in_n() {
	"$CLUSTER" in $node "$@"
}

systemd_end() {
	in_n sh -c "systemctl stop 'mote@*' 'guest@*' 'web@*'
		systemctl reset-failed
		rm -rf /etc/mote /var/lib/private/mote /var/lib/mote \
			$units/mote@.service $units/guest@.* $units/web@.* \
			$drop_ins/mote@* $drop_ins/guest@*
		systemctl daemon-reload" >/dev/null 2>&1
	rm -rf "$SHARED/inst" "$SHARED/clients"
	rig_end
}
trap systemd_end EXIT

# -- what is installed ---------------------------------------------------------

run make -s install-units PREFIX=/usr "DESTDIR=$tmp/usr"
is "$(cd "$tmp/usr" && find . -type f | LC_ALL=C sort)" \
	"./usr/lib/systemd/system/guest@.service
./usr/lib/systemd/system/guest@.socket
./usr/lib/systemd/system/mote@.service" "make install has the units"
is "$(cat "$tmp"/usr/usr/lib/systemd/system/*.service |
	sed -n 's/^ExecStart=\([^ ]*\) .*/\1/p' | sort -u)" /usr/bin/mote \
	"... with the place where mote is"
run make -s install-units "DESTDIR=$SHARED/inst"
in_n sh -c "mkdir -p $units /etc/mote && cp /shared/inst$units/* $units/ &&
	systemctl daemon-reload"
in_node $node systemd-analyze verify --man=no $units/mote@.service \
	$units/guest@.service $units/guest@.socket
is "$status$(cat "$out" "$err")" 0 "systemd has nothing to say of the units"

# -- guests --------------------------------------------------------------------

# conf NAME ARGS: what that guest is
conf() {
	echo "MOTE_ARGS='-m 64M $2'" | in_n sh -c "cat >/etc/mote/$1.conf"
}

# drop_in UNIT LINE...: of its section [Service]
drop_in() {
	drop=$drop_ins/$1.d
	shift
	{ echo "[Service]"; printf '%s\n' "$@"; } | in_n sh -c \
		"mkdir -p $drop && cat >$drop/test.conf && systemctl daemon-reload"
}

show() {
	in_n systemctl show -P "$2" "$1"
}

# state NAME: of the guest's unit
state() {
	show "mote@$1" ActiveState
}

# of NAME KEY...: what systemd says of it, in that order
of() {
	of_unit=mote@$1
	shift
	for key; do
		show "$of_unit" "$key"
	done | paste -sd ' '
}

# journal OPTION...: all of it; who ends before the journal has read what it said
# is waited for
journal() {
	in_n journalctl --sync
	in_n journalctl -q --no-pager -o cat "$@"
}

log_of() {
	journal -u "$1"
}

# ended_by NAME: the reasons and statuses in its exit events
ended_by() {
	log_of "mote@$1" | sed -n \
		's/.*"event":"exit","reason":"\([a-z]*\)","status":\([0-9]*\).*/\1 \2/p'
}

# begun NAME: how many have started
begun() {
	log_of "mote@$1" | grep -c '"event":"start"'
}

start() {
	in_node $node systemctl start "mote@$1"
}

guests=/opt/mote/guests

# -- which end starts it again --------------------------------------------------

conf panic "-k $guests/panic.elf"
conf reboot "-k $guests/reset.elf -a \"by=acpi flag=4660\""
conf timeout "-k $guests/hang.elf --timeout 300ms"
conf missing "-k $guests/no-such-file"
conf poweroff "-k $guests/hello.elf"
conf status "-k $guests/exit.elf -a status=7"
for name in panic reboot timeout missing poweroff status; do
	start $name
done
for name in timeout missing; do
	ok "a guest ends: $name" until_is failed state $name
done
ok "a guest ends by powering off" until_is inactive state poweroff
is "$(of timeout Result ExecMainStatus NRestarts)" "exit-code 124 0" \
	"124, a time limit, does not start a guest again"
is "$(of missing Result ExecMainStatus NRestarts)" "exit-code 125 0" \
	"125, a failure of mote's, does not, either"
like "$(log_of mote@missing)" 'no-such-file: No such file' \
	"... and the journal says what it was"
is "$(of poweroff Result ExecMainStatus NRestarts)" "success 0 0" \
	"a guest that powers off is inactive"
is "$(log_of mote@poweroff | grep -c '^hello from the guest$')" 1 \
	"... and what it said is in the journal"
for name in panic reboot status; do
	ok "a guest that comes to its start limit: $name" \
		until_is failed state $name
	is "$(begun $name)" 5 "... started five times"
done
is "$(ended_by panic | sort | uniq -c | xargs)" "5 panic 123" \
	"123, a guest that has died, starts it again"
is "$(ended_by reboot | sort | uniq -c | xargs)" "5 reboot 133" \
	"133, one that has rebooted, does, too"
is "$(log_of mote@reboot | grep -c 'Failed with result .exit-code')" 0 \
	"... and is no failure"
is "$(ended_by status | sort | uniq -c | xargs)" "5 exited 7" \
	"so does a status of its own that is not 0"

# -- how it is stopped -----------------------------------------------------------

conf polite "-k $guests/button.elf"
start polite
ok "a guest that is started runs" until_is running show mote@polite StatusText
is "$(of polite Type ActiveState SubState)" "exec active running" \
	"... without having to say that it is ready"
in_n systemctl stop mote@polite
is "$(of polite ActiveState Result); $(ended_by polite)" \
	"inactive success; poweroff 0" "systemctl stop presses the power button"

conf deaf "-k $guests/hang.elf --grace 1s"
start deaf
ok "a guest that is deaf runs" until_is 1 begun deaf
in_n systemctl stop mote@deaf
is "$(of deaf ActiveState Result); $(ended_by deaf)" \
	"inactive success; signal 143" \
	"a guest that does not act on it is ended after --grace, and says so"

conf longer "-k $guests/hang.elf --grace 1h"
drop_in mote@longer.service TimeoutStopSec=2s
start longer
ok "a guest runs that is to have more time than systemd gives it" \
	until_is 1 begun longer
in_n systemctl stop mote@longer
is "$(of longer ActiveState Result); $(ended_by longer)" "failed timeout; " \
	"it is killed by systemd, and no event tells of its end"

# -- ready, and the watchdog -------------------------------------------------------

conf ready "-k $guests/button.elf"
drop_in mote@ready.service Type=notify TimeoutStartSec=60s
start ready
is "$status $(of ready ActiveState StatusText)" "0 active running" \
	"with Type=notify a start is done"
like "$(log_of mote@ready)" '"event":"ready"' "... when the guest is ready"
in_n systemctl stop mote@ready

conf never "-k $guests/hang.elf --grace 1s"
drop_in mote@never.service Type=notify TimeoutStartSec=3s Restart=no
start never
is "$status $(of never ActiveState Result)" "1 failed timeout" \
	"with Type=notify a guest that is never ready has failed to start"

conf watched "-k $guests/button.elf"
drop_in mote@watched.service WatchdogSec=2s
start watched
ok "a guest with a watchdog runs" until_is running show mote@watched StatusText
watched_since=$(show mote@watched WatchdogTimestampMonotonic)
changed() {
	[ "$(show mote@watched WatchdogTimestampMonotonic)" -gt \
		$((watched_since + 5000000)) ] && echo yes
}
ok "the watchdog is answered for longer than its time" until_is yes changed
is "$(of watched ActiveState NRestarts)" "active 0" "... and the guest runs on"
in_n sh -c 'kill -STOP "$(systemctl show -P MainPID mote@watched)"'
ok "a mote that hangs is killed by its watchdog, and started again" \
	until_is 1 show mote@watched NRestarts
like "$(log_of mote@watched)" "Failed with result 'watchdog'" "... for that reason"
in_n systemctl stop mote@watched

# -- what is left of the host ------------------------------------------------------

exposure() {
	in_n systemd-analyze security --no-pager "$1" |
		sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p'
}

at_most() {
	awk -v n="$1" -v most="$2" 'BEGIN { exit !(n != "" && n <= most) }'
}

conf locked "-k $guests/button.elf --log info -n user -p 18080:80"
start locked
ok "a guest with a network runs" until_is running show mote@locked StatusText
of_locked=$(exposure mote@locked)
ok "systemd-analyze security: $of_locked of a guest, at most 3.0" \
	at_most "$of_locked" 3.0
pid_in=$(show mote@locked MainPID)
in_n sh -c "cat /proc/$pid_in/task/*/status" >"$tmp/status"
field() {
	sed -n "s/^$1:[[:space:]]*//p" "$tmp/status" | sort -u | tr '\t' ' '
}
uid=$(field Uid | cut -d ' ' -f 1)
is "$(field Uid)" "$uid $uid $uid $uid" "a guest in a unit: it is one user"
ok "... of systemd's own for it" test "$uid" -ge 61184 -a "$uid" -le 65519
for set in Inh Prm Eff Bnd Amb; do
	is "$(field "Cap$set")" 0000000000000000 "... Cap$set"
done
is "$(field NoNewPrivs) $(field Seccomp)" "1 2" \
	"... each thread is filtered and gets no privilege"
for space in mnt ipc uts user net; do
	in_node $node sh -c "[ \$(readlink /proc/$pid_in/ns/$space) != \
		\$(readlink /proc/1/ns/$space) ]"
	is "$status" 0 "... a namespace of its own: $space"
done
is "$(in_n sh -c "ls -A /proc/$pid_in/root/; cut -d ' ' -f 5 /proc/$pid_in/mountinfo")" \
	/ "... its root directory is empty, and nothing else is mounted"
is "$(in_n sh -c "tr -d '\\0' </proc/$pid_in/environ | wc -c")" 0 \
	"... its environment is empty"
log_of mote@locked >"$tmp/locked"
for line in "namespaces, in a user namespace$" "root directory is empty" \
	"no capabilities, the bounding set is empty" "Landlock, version" \
	"main thread: [0-9]* rules" "vCPU thread: [0-9]* rules"; do
	like "$(cat "$tmp/locked")" "^mote: sandbox: .*$line" \
		"mote's sandbox is full in the unit: $line"
done
is "$(in_n sh -c 'for p in $(pgrep passt); do
	sed -n "s/^Uid:.\([0-9]*\).*/\1/p" /proc/$p/status; done')" "$uid" \
	"passt is that user, too"
in_n systemctl stop mote@locked
is "$(in_n pgrep passt)" "" "... and ends with the guest"

# -- disks, limits -------------------------------------------------------------------

# Before the first start systemd gives to the guest what lies there; afterwards it
# looks at the directory only.
conf disk "-k $guests/button.elf -d disk.img"
in_n sh -c 'mkdir -p /var/lib/private/mote/disk && chmod 700 /var/lib/private &&
	truncate -s 1M /var/lib/private/mote/disk/disk.img'
start disk
ok "a disk in the guest's own directory is there" \
	until_is running show mote@disk StatusText
disk_pid=$(show mote@disk MainPID)
is "$(in_n stat -c %u /var/lib/mote/disk/disk.img)" \
	"$(in_n sed -n 's/^Uid:.\([0-9]*\).*/\1/p' "/proc/$disk_pid/status")" \
	"... and belongs to it"
in_n systemctl stop mote@disk
in_n sh -c 'truncate -s 1M /var/lib/mote/disk/new.img; chmod 600 /var/lib/mote/disk/new.img'
conf disk "-k $guests/button.elf -d new.img"
start disk
ok "a disk that root has put there since is not" until_is failed state disk
like "$(log_of mote@disk)" 'new.img: Permission denied' "... and the journal says so"
in_n sh -c 'cd /var/lib/mote/disk/ && chown --reference=. new.img'
start disk
ok "... until it is given to the guest" until_is running show mote@disk StatusText
in_n systemctl stop mote@disk

conf socket "-k $guests/button.elf --vsock /run/mote/socket/guest.sock"
start socket
ok "a guest with a socket for streams runs" \
	until_is running show mote@socket StatusText
is "$(in_n stat -c %F /run/mote/socket/guest.sock)" socket \
	"... which is in the guest's own directory of /run"
in_n systemctl stop mote@socket
is "$(in_n ls -A /run/mote)" "" "... and gone with it"

conf tap "-k $guests/button.elf -n tap=tap7"
in_n ip tuntap add dev tap7 mode tap group kvm
start tap
ok "a guest has a tap of the group kvm" until_is running show mote@tap StatusText
in_n systemctl stop mote@tap
in_n ip link del tap7

ok "memory has a limit" test "$(show mote@disk MemoryMax)" -gt 0
is "$(show mote@disk Slice)" system-mote.slice \
	"all guests are in one slice, which may have one, too"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	conf big "-k $guests/button.elf -m 256M,prefault"
	drop_in mote@big.service MemoryMax=128M MemorySwapMax=0
	start big
	ok "a guest that asks for more ends" until_is failed state big
	like "$(of big ExecMainStatus) $(log_of mote@big | paste -sd ' ')" \
		'^125 .*prefault has .* MiB still to allocate' \
		"... by its limit, which mote sees"
else
	pass "a guest that asks for more ends by its limit # SKIP the nodes of a host with cgroup v1 cannot limit memory"
fi

# -- a guest for each connection -------------------------------------------------------

clients=40
mkdir -p "$SHARED/clients"
cat >"$SHARED/clients/many" <<'END'
#!/usr/bin/perl
# many N ADDRESS...: N connections to each at once; when each of them has a guest
# each is told something of its own, and has to hear it from its guest.
use strict;
use warnings;
use IO::Socket::INET;
use IO::Socket::UNIX;
my ($n, @addresses) = @ARGV;
my @sockets;
for my $i (1 .. $n) {
	push @sockets, map { m{^/}
		? IO::Socket::UNIX->new(Peer => $_)
		: IO::Socket::INET->new(PeerAddr => $_) or die "$_: $!\n" } @addresses;
}
sub expect {
	my ($socket, $pattern) = @_;
	my $text = '';
	while ($text !~ $pattern) {
		sysread $socket, $text, 4096, length $text
			or die "closed, after: $text\n";
	}
}
alarm 300;
expect($_, qr/^echo by interrupts\r?\n/) for @sockets;
open my $list, '-|', 'systemctl list-units --plain --no-legend "guest@*.service"';
my $units = grep /active running/, <$list>;
print "$units at once\n";
syswrite $sockets[$_], "number $_ q" for 0 .. $#sockets;
my $right = 0;
for my $i (0 .. $#sockets) {
	expect($sockets[$i], qr/number $i q\s+received \d+ /);
	$right++;
}
print "$right answers\n";
END
echo "MOTE_ARGS='-m 32M -k $guests/echo_irq.elf --grace 1s'" |
	in_n sh -c 'cat >/etc/mote/guest.conf'
in_n sh -c "mkdir -p $drop_ins/guest@echo.socket.d
	printf '[Socket]\nListenStream=127.0.0.1:7777\nNoDelay=yes\n' \
		>$drop_ins/guest@echo.socket.d/tcp.conf
	systemctl daemon-reload; systemctl start guest@echo.socket"
is "$(in_n stat -c '%a %U %G' /run/guest/echo.sock)" "660 root kvm" \
	"who may use /dev/kvm may connect to the socket"
in_node $node perl /shared/clients/many $clients /run/guest/echo.sock \
	127.0.0.1:7777
is "$status $(paste -sd , "$out")" \
	"0 $((2 * clients)) at once,$((2 * clients)) answers" \
	"$clients connections to a unix socket and $clients by TCP have a guest each, at once"
printf 'from a user q' >"$tmp/words"
as_guest $node socat -t 60 - UNIX-CONNECT:/run/guest/echo.sock <"$tmp/words"
is "$status $(tr -d '\r' <"$out" | paste -sd ,)" \
	"0 echo by interrupts,from a user q,received 13 sent 13 by interrupts" "an ordinary user of the group has one"
connections() {
	in_n systemctl list-units --all --plain --no-legend 'guest@*.service' |
		wc -l
}
ok "no unit of a connection is left" until_is 0 connections
like "$(journal)" \
	'"event":"exit","reason":"poweroff".*"name":"guest"' \
	"their ends are in the journal"

in_n socat -u - UNIX-CONNECT:/run/guest/echo.sock </dev/null
ok "a guest whose client has left runs on" until_is 1 connections
of_connection=$(in_n systemctl list-units --plain --no-legend \
	'guest@*.service' | cut -d ' ' -f 1)
is "$(show "$of_connection" Slice)" system-guest.slice \
	"guests of connections are in one slice"
of_guest=$(exposure "$of_connection")
ok "systemd-analyze security: $of_guest of a connection's guest, at most 3.0" \
	at_most "$of_guest" 3.0
in_n systemctl stop 'guest@*.service'
ok "... until it is stopped" until_is 0 connections

# systemd names connections without the socket's own: see guest@.socket.
in_node $node systemctl start guest@second.socket
is "$status $(show guest@second.socket ActiveState)" "1 inactive" \
	"a second socket of one kind is refused, since their guests would share names"
in_n sh -c "cd $units; cp guest@.socket web@.socket; cp guest@.service web@.service
	systemctl daemon-reload; systemctl start web@echo.socket"
echo "MOTE_ARGS='-k $guests/exit.elf -a status=0'" |
	in_n sh -c 'cat >/etc/mote/web.conf'
in_node $node socat -u UNIX-CONNECT:/run/web/echo.sock -
is "$(tr -d '\r' <"$out"; cat "$err"; journal |
	grep -c '"event":"exit","reason":"exited","status":0.*"name":"web"')" \
	"status 0
1" "a copy of both units is another kind of guest"
in_n systemctl stop guest@echo.socket web@echo.socket
is "$(in_n find /run/guest /run/web -name '*.sock')" "" \
	"a socket that is stopped is gone"

# -- nothing is left ---------------------------------------------------------------

in_n systemctl reset-failed
is "$(left_in $node)" "" "no mote is left"
is "$(in_n systemctl list-units --plain --no-legend --state=active,failed 'mote@*' 'guest@*' 'web@*')" \
	"" "no unit is left"
is "$(in_n sh -c 'ls -A /run/mote 2>/dev/null; mount | grep -c /mote@')" 0 \
	"no runtime directory and no mount is left"
is "$(in_n systemctl is-system-running)" running "the machine is as it was"

done_testing
