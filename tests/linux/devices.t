#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Eight disks, seven networks and vsock in one Linux guest, all under load
# together: each device has a worker that goes on, round after round, until
# every other has ended a round too; what was moved is compared.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

LOAD=build/tests/vsock_load
SERVE=build/tests/vsock_serve
DISKS="a b c d e f g h"
NETS="0 1 2 3 4 5 6"
sock=$tmp/v
[ -c /dev/net/tun ] || modprobe tun
# busybox's shell prefers its own ip, which knows less.
real_ip=$(which ip)
ip() {
	"$real_ip" "$@"
}

clean_up() {
	for n in $NETS; do
		ip link delete "mote-all$n"
	done
} 2>/dev/null
trap 'clean_up; boot_end' EXIT

# in_background COMMAND...: until this script ends
in_background() {
	"$@" >>"$tmp/background.log" 2>&1 &
	echo $! >"$tmp/background-$!.pid"
}

kib=$(emulated && echo 256 || echo 8192)
clean_up
set --
for d in $DISKS; do
	truncate -s "$((kib + 1024))K" "$tmp/$d.img"
	# of two queues each, but one of them
	set -- "$@" -d "$tmp/$d.img$([ $# -gt 0 ] || echo ,queues=1)"
done
for n in $NETS; do
	ip tuntap add dev "mote-all$n" mode tap
	ip addr add "10.9.$n.1/24" dev "mote-all$n"
	ip link set "mote-all$n" up
	set -- "$@" -n "tap=mote-all$n"
done
in_background socat -t 120 TCP-LISTEN:7000,fork,reuseaddr,backlog=64 EXEC:cat
in_background "$SERVE" all "unix:${sock}_2000"
until_is 10 [ -S "${sock}_2000" ]

job all "$LOAD=bin/vsock_load" "$SERVE=bin/vsock_serve" <<END
vsock_serve all vsock:0:1000 2>/dev/null &
for n in $NETS; do
	ip link set eth\$n up
	ip addr add 10.9.\$n.2/24 dev eth\$n
done
mkdir -p /done /bad /tmp
head -c $((kib * 1024)) /dev/urandom >/blob
disk() {
	dd if=/blob of=/dev/vd\$1 bs=64k seek=16 conv=fsync &&
	dd if=/dev/vd\$1 of=/tmp/vd\$1 bs=64k skip=16 \
		iflag=direct &&
	cmp /blob /tmp/vd\$1
}
net() {
	nc 10.9.\$1.1 7000 </blob >/tmp/eth\$1 && cmp /blob /tmp/eth\$1
}
vsock() {
	vsock_load both vsock:2:2000 $((kib * 4096))
}
work() {
	until [ \$(ls /done | wc -l) = 17 ]; do
		"\$@" >"/tmp/said.\$1\$2" 2>&1 || {
			touch "/bad/\$1\$2"
			sed "s/^/said by \$1 \$2: /" "/tmp/said.\$1\$2"
		}
		echo . >>"/done/\$1\$2"
	done
}
echo disks=\$(ls /sys/block | grep -c "^vd")
echo nets=\$(ls /sys/class/net | grep -c "^eth")
echo queues=\$(ls /sys/block/vda/mq | wc -l),\$(ls /sys/block/vdb/mq | wc -l)
echo vsock=\$(vsock_load cid)
echo devices=\$(ls /sys/bus/virtio/devices | wc -l)
outb 0x507 1
workers=
for d in $DISKS; do work disk \$d & workers="\$workers \$!"; done
for n in $NETS; do work net \$n & workers="\$workers \$!"; done
work vsock & workers="\$workers \$!"
# From the host the same: it says when it has ended a round.
read -r line
touch /done/host
wait \$workers
echo rounds=\$(wc -l /done/* | sed -n "s/ *\([0-9]*\) .*done.\([a-z0-9]*\)/\2:\1/p")
echo bad=\$(ls /bad)
echo interrupts=\$(grep -c "IO-APIC.*virtio" /proc/interrupts)
echo quiet=\$(grep "IO-APIC.*virtio" /proc/interrupts | awk '\$2 + \$3 < 10')
$driver_warnings
END

mkfifo "$tmp/line"
exec 7<>"$tmp/line"
input=$tmp/line boot all -i "$MODULES" -i "$tmp/all.job" -c 2 -m 256M "$@" \
	--vsock "$sock,cid=77"
out=$tmp/all.out err=$tmp/all.err events=$tmp/all.events status=running
ok "a guest with 16 devices under load has begun" until_is "$LIMIT" waiting all
ok "the host has a stream each way to a guest whose devices are all busy" \
	timeout "$LIMIT" "$LOAD" both "mote:$sock:1000" $((kib * 4096))
echo >&7
ended all
exec 7<&-
ends 0 poweroff "a guest with 16 devices under load powers off"
is "$(got disks) $(got nets) $(got vsock) $(got devices)" "8 7 77 16" \
	"8 disks, 7 networks and vsock are found"
is "$(got queues)" "1,2" "a disk has as many queues as queues= says, or vCPUs"
is "$(got rounds | wc -w) $(got bad)" "17 " \
	"16 devices move what they should, all together: $(got rounds)"
is "$(got interrupts)" 16 "each of 16 devices has an interrupt of its own"
is "$(got quiet)" "" "each of 16 devices has had interrupts"
is "$(got late)" "" "no driver of 16 busy devices warns"
is "$(cat "$err")" "" "16 busy devices: mote has nothing to say"
done_testing
