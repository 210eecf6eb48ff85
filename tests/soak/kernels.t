#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Debian's kernels 5.10, 6.1, 6.12 and the newest (tests/host/kernels gets them),
# each with one and two CPUs, and once where KVM has no read-only memory: a disk,
# a tap, a stream of frames, vsock and the serial port are busy all at once, what
# they move is compared; then each driver is unbound and bound under that load,
# at last all of them together; the tap's link goes down and up; the other end of
# the stream goes, which is for good.
#
# In the guest each load goes on in rounds until the end. A round may fail only
# while its own device is being shaken. Guest and host act in turns: the guest
# prints @WHAT and reads a line, which the host writes when it has done that.
#
# TEST_KERNELS names those to boot, if not all; TEST_WAYS (1, 2, exits) how.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

LIMIT=600
LOAD=build/tests/vsock_load
SERVE=build/tests/vsock_serve
kernels=build/guest/kernels
[ -c /dev/net/tun ] || modprobe tun
# busybox's shell prefers its own ip, which knows less.
real_ip=$(which ip)
ip() {
	"$real_ip" "$@"
}

clean_up() {
	for n in 0 1; do
		ip link delete "mote-kern$n"
	done
	[ -z "$frames" ] || kill -9 "-$frames"
} 2>/dev/null
frames=
trap 'clean_up; boot_end' EXIT

# in_background COMMAND...: until this script ends
in_background() {
	"$@" >>"$tmp/background.log" 2>&1 7<&- &
	echo $! >"$tmp/background-$!.pid"
}

if [ ! -e "$kernels/missing" ]; then
	echo "Bail out! $kernels is missing: tests/host/kernels makes it"
	exit 1
fi

# -- the guest's part ---------------------------------------------------------

kib=$(emulated && echo 128 || echo 8192)
turns=$(emulated && echo 1 || echo 20)

# The disk's node is not the kernel's: what opens that one just when it is gone
# would make a file in its place, and the next disk may have another number.
job kernel "$LOAD=bin/vsock_load" <<END
kib=$kib turns=$turns
all='disk net0 net1 vsock serial'
$(cat <<'TEXT'
stty -echo
mkdir -p /done /bad /shaken /away /tmp
head -c $((kib * 1024)) /dev/urandom >/blob

find_disk() {
	until [ -e /sys/block/vd*/dev ]; do sleep 0.1; done
	cd /sys/block/vd*
	cat size
	mknod /disk.new b $(tr : ' ' <dev)
	cd /
	mv /disk.new /disk
}
find_net() {
	ip link set eth$1 up
	ip addr add 10.9.$1.2/24 dev eth$1
}

disk() {
	dd if=/disk of=/dev/null bs=4k count=64 iflag=direct & one=$!
	dd if=/disk of=/dev/null bs=64k iflag=direct & two=$!
	dd if=/blob of=/disk bs=16k seek=64 oflag=direct conv=notrunc,fsync &&
		dd if=/disk of=/tmp/disk bs=32k skip=32 iflag=direct &&
		cmp /blob /tmp/disk && wait $one && wait $two
}
net() {
	nc 10.9.$1.1 7000 </blob >/tmp/net$1 && cmp /blob /tmp/net$1
}
net0() { net 0; }
net1() { net 1; }
vsock() { vsock_load both vsock:2:2000 $((kib * 1024)); }
serial() {
	for i in 1 2 3 4; do
		sleep 0.1
		text=$(head -c 24 /dev/urandom | xxd -p)
		echo $text >>/text
		echo serial=$text >/dev/console
	done
}

# shakes NAME: changes with each; a round in whose time it did may have failed
shakes() {
	cat /shaken/$1 2>/dev/null | wc -l
}
work() {
	until [ -e /stop ]; do
		before=$(shakes $1)
		if $1 >/tmp/said.$1 2>&1; then
			echo . >>/done/$1
		else
			[ $(shakes $1) != $before ] || [ -e /away/$1 ] || {
				touch /bad/$1
				sed "s/^/said by $1: /" /tmp/said.$1
			}
			sleep 0.2
		fi
	done
}
rounds() {
	cat /done/$1 2>/dev/null | wc -l
}
# Two more of each: the first may have begun before.
go_on() {
	for name; do eval "want_$name=$(($(rounds $name) + 2))"; done
	for name; do
		eval "want=\$want_$name"
		until [ $(rounds $name) -ge $want ]; do sleep 0.1; done
	done
}
others() {
	for name in $all; do [ $name = $1 ] || echo $name; done
}
host() {
	echo "@$1"
	read -r line
}
# interrupts NAME: how many it has had
interrupts() {
	awk -v name=$1 '$NF == name { for (i = 2; $i ~ /^[0-9]+$/; i++)
		n += $i } END { print n + 0 }' /proc/interrupts
}

# device NAME: its number
device() {
	case $1 in disk) echo 0 ;; vsock) echo 3 ;; *) echo $((${1#net} + 1)) ;; esac
}
# driver NAME unbind|bind
driver() {
	n=$(device $1)
	echo virtio$n >/driver$n/$2
}
found() {
	case $1 in disk) find_disk ;; net*) find_net ${1#net} ;; esac
}
# give_up NAME: what waits for an answer on that network begins anew, sooner than
# TCP sends again what was lost with the driver
give_up() {
	for p in $(pidof nc); do
		! grep -q 10.9.${1#net}.1 /proc/$p/cmdline || kill $p
	done 2>/dev/null
}
# shake NAME...: takes their drivers away at once, and gives them back
shake() {
	echo "shaking $*" >/dev/console
	for name; do echo . >>/shaken/$name; touch /away/$name; done
	for name; do driver $name unbind; done
	for name; do driver $name bind; done
	for name; do found $name; done
	for name; do give_up $name; done
	for name; do
		echo . >>/shaken/$name
		[ $name = "$gone" ] || rm /away/$name
	done
	echo "given back: $*" >/dev/console
}
carrier() {
	i=0
	until [ "$(cat /sys/class/net/eth1/carrier)" = $1 ] || [ $i -gt 300 ]
	do
		sleep 0.2
		i=$((i + 1))
	done
	cat /sys/class/net/eth1/carrier
}

echo release=$(uname -r)
echo cpus=$(nproc)
for n in 0 1 2 3; do
	ln -s $(realpath /sys/bus/virtio/devices/virtio$n/driver) /driver$n
done
echo drivers=$(for n in 0 1 2 3; do basename $(realpath /driver$n); done)
for name in $all; do found $name; done >/sizes
for name in $all; do work $name & workers="$workers $!"; done
go_on $all
host type
echo typed=$(while read -r line && [ $line != end ]; do
	echo $line
done | md5sum | cut -d " " -f 1)
for turn in $(seq $turns); do
	for name in disk net0 net1 vsock; do
		shake $name
		go_on $name
	done
done >>/sizes
shake disk net0 net1 vsock >>/sizes
go_on $all
echo shaken=$((turns * 4 + 4))
host flap
go_on net0
echo link=$(carrier 1)
touch /away/net1
host hang_up
echo gone=$(carrier 0)
ip link set eth1 down
ip link set eth1 up
echo still_gone=$(sleep 1; cat /sys/class/net/eth1/carrier)
gone=net1
shake net1
echo bound_gone=$(sleep 1; cat /sys/class/net/eth1/carrier)
names='virtio0 virtio1 virtio3 ttyS0'
for n in $names; do eval "had_$n=$(interrupts $n)"; done
go_on $(others net1)
find_disk >>/sizes
touch /stop
for name in $names; do
	eval "had=\$had_$name"
	[ $(interrupts $name) -gt $had ] || echo quiet=$name
done
give_up net1
wait $workers
for name in $all; do echo rounds=$name $(rounds $name); done
echo bad=$(ls /bad)
echo capacity=$(sort -u /sizes)
echo text=$(md5sum </text | cut -d " " -f 1)
dmesg -r | sed -nE 's/^<[0-4]>\[[ 0-9.]*\] //p' |
	grep -E '^(WARNING: |BUG: [^sw]|kernel BUG|Oops|general protection)' |
	sed 's/^/late=/'
TEXT
)
$driver_warnings
END

# -- the host's part ----------------------------------------------------------

md5() {
	md5sum | cut -d ' ' -f 1
}

kernel_has() {
	[ -e "$kernels/$1/vmlinux" ]
}

# at WHAT: the guest has come to that, or has ended
at() {
	until_is "$LIMIT" at_or_gone "$1"
	printed kernel "^@$1"
}
at_or_gone() {
	printed kernel "^@$1" || gone "$(pid_of kernel)"
}

serve_frames() {
	rm -f "$tmp/frames"
	setsid build/tests/frames "$tmp/frames" mote-kern1 7<&- &
	frames=$!
	until_is 10 [ -S "$tmp/frames" ]
}

# What the guest asks for, in turn.
attend() {
	if at type; then
		{
			echo
			cat "$tmp/typed"
			echo end
		} >&7
	fi
	if at flap; then
		ip link set mote-kern0 down
		sleep 1
		ip link set mote-kern0 up
		echo >&7
	fi
	if at hang_up; then
		kill -TERM "-$frames"
		echo >&7
	fi
}

# try KERNEL CPUS: one boot, and what it shows
try() {
	kernel=$kernels/$1/vmlinux
	release=$(cat "$kernels/$1/release")
	serve_frames
	input=$tmp/line boot kernel -i "$kernels/$1/modules.cpio" \
		-i "$tmp/kernel.job" -c "$2" -m 256M -d "$tmp/disk.img" \
		-n tap=mote-kern0 -n "unix=$tmp/frames" \
		--vsock "$tmp/v,cid=55"
	attend
	ended kernel
	name="$release, $2 CPUs$3"
	ends 0 poweroff "$name: it boots, works and powers off"
	is "$(got release) $(got cpus)" "$release $2" "$name: that is what booted"
	is "$(got drivers)" \
		"virtio_blk virtio_net virtio_net vmw_vsock_virtio_transport" \
		"$name: a disk, two networks and vsock are found"
	is "$(got rounds | wc -l) $(got bad)" "5 " \
		"$name: all at once move what they should: $(got rounds | tr '\n' ' ')"
	is "$(got shaken) $(got capacity)" "$((turns * 4 + 4)) $sectors" \
		"$name: drivers are unbound and bound under load, the disk as large as before"
	is "$(got text)" "$(got serial | md5)" "$name: what it printed is here"
	is "$(got typed)" "$(md5 <"$tmp/typed")" \
		"$name: what was typed under load is there"
	is "$(got link) $(got gone) $(got still_gone) $(got bound_gone)" \
		"1 0 0 0" "$name: the link of a stream goes down with its other end, for good"
	is "$(got quiet)" "" "$name: interrupts are counted"
	is "$(got late)" "" "$name: no driver warns"
	is "$(sed 's/.*(unix=[^)]*)/net/' "$err")" \
		"net: the other end has closed the connection; the guest's link is down from now on" \
		"$name: mote says that the stream's other end has gone, and no more"
}

try_ways() {
	for way in ${TEST_WAYS:-1 2 exits}; do
		MOTE=$mote
		case $way in
		exits)
			MOTE=$tmp/exits
			try "$1" 2 ", no read-only memory"
			;;
		*) try "$1" "$way" "" ;;
		esac
	done
}

clean_up
for n in 0 1; do
	ip tuntap add dev "mote-kern$n" mode tap
	ip addr add "10.9.$n.1/24" dev "mote-kern$n"
	ip link set "mote-kern$n" up
done
in_background socat -t 120 TCP-LISTEN:7000,fork,reuseaddr,backlog=64 EXEC:cat
in_background "$SERVE" all "unix:$tmp/v_2000"
until_is 10 [ -S "$tmp/v_2000" ]
truncate -s "$((kib + 1024))K" "$tmp/disk.img"
sectors=$(((kib + 1024) * 2))
head -c 1500 /dev/urandom | xxd -p >"$tmp/typed"
mkfifo "$tmp/line"
exec 7<>"$tmp/line"
mote=$MOTE
printf '#!/bin/sh\nexec %s readonly %s "$@"\n' "$PWD/build/tools/without" \
	"$(realpath "$MOTE")" >"$tmp/exits"
chmod +x "$tmp/exits"

for k in ${TEST_KERNELS:-5.10 6.1 6.12 newest}; do
	if kernel_has "$k"; then
		try_ways "$k"
	else
		pass "kernel $k # SKIP no suite of this machine's mirrors has one"
	fi
done
exec 7<&-
done_testing
