#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A real Debian: its stock kernel boots from a disk with its own root file
# system, by systemd, to a login prompt; root logs in and uses the network and
# vsock; the power button shuts it down, and the file system is clean.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

# systemd starts some 60 processes
LIMIT=420
image=build/guest/debian.img
disk=build/tests/debian.$$.img
sock=$tmp/v
tap=mote-debian
[ -c /dev/net/tun ] || modprobe tun
# busybox's shell prefers its own ip, which knows less.
real_ip=$(which ip)
ip() {
	"$real_ip" "$@"
}

clean_up() {
	exec 8>&-
	rm -f "$disk"
	ip link delete "$tap" 2>/dev/null
	boot_end
}
trap clean_up EXIT

if [ ! -e "$image" ]; then
	echo "Bail out! $image is missing: tests/host/debian-root makes it"
	exit 1
fi
cp "$image" "$disk"
ip tuntap add dev "$tap" mode tap
ip address add 198.51.100.1/24 dev "$tap"
ip link set "$tap" up
socat -u "UNIX-LISTEN:${sock}_4321" "CREATE:$tmp/from" 2>/dev/null &
echo $! >"$tmp/socat.pid"

# What is typed goes through a FIFO that has a writer until the end.
mkfifo "$tmp/in"
exec 8<>"$tmp/in"
keys() {
	cat >&8
}
start debian -m 512M -c 2 -i "$MODULES" -d "$disk,root" -n "tap=$tap" \
	--vsock "$sock,cid=55" 8>&- <"$tmp/in" >"$tmp/debian.out"
status=none out=$tmp/debian.out err=$tmp/debian.err events=$tmp/debian.events

ok "Debian boots to a login prompt" until_is $LIMIT printed debian 'debian login:'
echo root | keys
ok "root logs in to Debian" until_is $LIMIT printed debian 'root@debian:~#'

# A plain shell: no line editing, no echo, so what is printed is an answer.
keys <<'END'
exec env PS1= sh
stty -echo
echo; echo id=$(. /etc/os-release; echo $ID $VERSION_ID)
echo init=$(readlink /proc/1/exe)
echo kernel=$(uname -r)
echo disk=$(findmnt -no SOURCE,FSTYPE /)
echo written=$(sh -c 'echo yes >/root/note; sync; cat /root/note')
echo state=$(systemctl is-system-running --wait)
systemctl --failed --no-legend --plain | sed 's/^/failed=/'
nic=$(ls /sys/class/net | grep -v '^lo$')
ip address add 198.51.100.2/24 dev $nic
ip link set $nic up
echo ping=$(ping -c 3 -i 0.3 -W 20 198.51.100.1 | grep -c 'bytes from')
head -c 300000 /dev/urandom >/tmp/blob
socat -U VSOCK-LISTEN:1234,fork OPEN:/tmp/blob &
echo "blob=$(sha256sum </tmp/blob)"
echo "from $(hostname)" | socat -u - VSOCK-CONNECT:2:4321
echo socat=$?
lsmod | sed -n 's/^\(virtio_net\|vmw_vsock_virtio_transport\) .*/module=\1/p'
dmesg -l emerg,alert,crit,err,warn | grep -iE 'virtio|vd[a-z]|ext4|vsock' |
	grep -vF "unknown parameter 'device' ignored" | sed 's/^/warned=/'
echo done=yes
END
ok "Debian does what it is told" until_is $LIMIT printed debian '^done=yes'
like "$(got id)" '^debian 1[2-9]' "the guest is Debian: $(got id)"
is "$(got init)" /usr/lib/systemd/systemd "systemd is process 1 of Debian"
is "$(got kernel)" "$(cat build/guest/release)" "the kernel is Debian's own"
is "$(got disk) $(got written)" "/dev/vda ext4 yes" \
	"Debian's root file system is the disk's, and is written to"
is "$(got state) $(got failed)" "running " "every unit of Debian has started"
is "$(got module | sort | tr '\n' ' ')" "virtio_net vmw_vsock_virtio_transport " \
	"udev has loaded the drivers from Debian's disk"
is "$(got ping)" 3 "the guest pings the host"
is "$(ping -c 3 -W 20 198.51.100.2 | grep -c 'bytes from')" 3 \
	"the host pings the guest"

# A listener answers by itself; what is to be sent has to wait for its OK.
echo "CONNECT 1234" | socat -t 60 - "UNIX-CONNECT:$sock" >"$tmp/answer" \
	2>"$tmp/socat.err"
like "$(head -n 1 "$tmp/answer")" '^OK [0-9]+$' \
	"a host program connects to a port of the guest"
is "$(tail -n +2 "$tmp/answer" | sha256sum)" "$(got blob)" \
	"a host program has what a listener in Debian sends"
is "$(got socat) $(cat "$tmp/from")" "0 from debian" \
	"a program in the guest reaches a listener on the host"
is "$(got warned)" "" "no driver warns in Debian"

kill -TERM "$(pid_of debian)"
ended debian
ends 0 poweroff "SIGTERM lets systemd shut Debian down"
run e2fsck -fn "$disk"
is "$status" 0 "Debian leaves a clean file system"

done_testing
