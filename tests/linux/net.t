#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Networks under Linux: one guest with six interfaces (a tap, a jumbo tap, a
# VLAN trunk and an access port on a VLAN-aware bridge, a macvtap given as a
# descriptor, a stream of frames) and one that has passt's, for users without
# rights; and the ways in which --net fails.
#
# TEST_NET_MB is what goes each way: 100 unless told, and in the emulated
# machine 4. Guest and host act in turns: the guest prints @N and reads a line,
# which the host writes when it has done its part of step N.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

[ -c /dev/net/tun ] || modprobe tun
# busybox's shell prefers its own ip, which knows less.
real_ip=$(which ip)
ip() {
	"$real_ip" "$@"
}

megabytes=${TEST_NET_MB:-$(emulated && echo 4 || echo 100)}
seconds=$(emulated && echo 1 || echo 3)

md5() {
	md5sum <"$1" | cut -d ' ' -f 1
}

# in_background COMMAND...: until this script ends; $!
in_background() {
	"$@" >>"$tmp/background.log" 2>&1 7>&- &
	echo $! >"$tmp/background-$!.pid"
}

# serve ADDRESS...: socat there
serve() {
	in_background socat "$@"
}

# come NAME COMMAND...: the command succeeds, or never will
come() {
	gone "$(pid_of "$1")" && return
	shift
	"$@"
}

# at N: the guest has come to step N
at() {
	until_is "$LIMIT" come net printed net "^@$1" || :
}

go_on() {
	echo >&7
}

reaches() {
	ping -c 1 -W 60 "$@" >/dev/null
}

clean_up() {
	for n in plain jumbo trunk access frames many; do
		ip link delete "mote-$n"
	done
	ip route delete default via 10.9.6.2
	ip link delete mote-br
	ip link delete mote-dummy
	rm -rf "$passt_dir"
} 2>/dev/null
status=none err=$tmp/net.err out=$tmp/net.out events=$tmp/net.events
passt_dir=$(mktemp -d)
trap 'clean_up; boot_end' EXIT

# -- the host's side ----------------------------------------------------------

clean_up
mkdir -p "$passt_dir"
for n in plain jumbo trunk access frames; do
	ip tuntap add dev "mote-$n" mode tap
done
ip link set mote-jumbo mtu 9000
ip addr add 10.9.0.1/24 dev mote-plain
ip addr add 10.9.1.1/24 dev mote-jumbo
ip addr add 10.9.5.1/24 dev mote-frames
# VLAN 10 is tagged on the trunk and VLAN 20 is what the access port has.
ip link add mote-br type bridge vlan_filtering 1 vlan_default_pvid 0
ip link set mote-trunk master mote-br
ip link set mote-access master mote-br
bridge vlan add dev mote-trunk vid 10
bridge vlan add dev mote-access vid 20 pvid untagged
for vid in 10 20; do
	bridge vlan add dev mote-br vid $vid self
	ip link add link mote-br name "mote-v$vid" type vlan id $vid
	ip addr add "10.9.$vid.1/24" dev "mote-v$vid"
done
# A macvtap's descriptor, and a way to it from here.
ip link add mote-dummy type dummy
ip link add link mote-dummy name mote-mvtap type macvtap mode bridge
ip link add link mote-dummy name mote-mvlan type macvlan mode bridge
ip addr add 10.9.4.1/24 dev mote-mvlan
for n in br plain jumbo trunk access frames v10 v20 dummy mvtap mvlan; do
	ip link set "mote-$n" up
done
mvtap=/dev/tap$(cat /sys/class/net/mote-mvtap/ifindex)
mac=$(cat /sys/class/net/mote-mvtap/address)

# The guest sends on what it is sent, by the tap and by the stream of frames.
head -c "$((megabytes * 1000000))" /dev/urandom >"$tmp/data"
for n in 1 2; do
	serve -u "OPEN:$tmp/data" "TCP-LISTEN:7${n}02,reuseaddr"
	serve -u "TCP-LISTEN:7${n}03,reuseaddr" "CREATE:$tmp/back$n"
done
in_background build/tests/frames "$tmp/frames" mote-frames
in_background iperf3 -s

# -- a guest with six interfaces ----------------------------------------------

# shellcheck disable=SC2046 # words
job net $(with_libraries "$(which iperf3)") <<END
seconds=$seconds
$(cat <<'TEXT'
modprobe 8021q
step() {
	echo "@$1"
	read -r line
}
reaches() {
	ping -c 1 -W 60 "$@" >/p && echo yes || echo no
}
speed() {
	iperf3 -c 10.9.0.1 -t $seconds -f m "$@" >/i &&
		sed -n "s/.* sec .* MBytes *//; s/ *receiver$//p" /i
}
until_carrier() {
	i=0
	until [ "$(cat /sys/class/net/eth0/carrier)" = "$1" ] || [ $i -gt 100 ]
	do
		sleep 0.2
		i=$((i + 1))
	done
}
for n in 0 1 2 3 4 5; do ip link set eth$n up; done
for n in 0 1 4 5; do ip addr add 10.9.$n.2/24 dev eth$n; done
vconfig add eth2 10 >/dev/null
vconfig add eth2 20 >/dev/null
ip link set eth2.10 up
ip addr add 10.9.10.2/24 dev eth2.10
ip addr add 10.9.20.2/24 dev eth3

echo mac=$(cat /sys/class/net/eth0/address)
echo random=$(cat /sys/class/net/eth1/address)
echo mtus=$(cat /sys/class/net/eth0/mtu /sys/class/net/eth1/mtu)
echo features=$(cut -c 1-30 /sys/bus/virtio/devices/virtio0/features)
echo carrier=$(cat /sys/class/net/eth0/carrier)
echo ping=$(reaches 10.9.0.1)
echo jumbo=$(reaches -s 8900 10.9.1.1)
echo trunk=$(reaches 10.9.10.1)
echo access=$(reaches 10.9.20.1)
echo macvtap=$(reaches 10.9.4.1)
echo frames=$(reaches 10.9.5.1)
step 1
for n in 0:71 5:72; do
	host=10.9.${n%:*}.1 port=${n#*:}
	nc $host ${port}02 </dev/null | nc $host ${port}03
done
echo up=$(speed)
echo down=$(speed -R)

# The driver goes and comes back, with the host still sending.
for n in 1 2; do
	echo virtio0 >/sys/bus/virtio/drivers/virtio_net/unbind
	echo virtio0 >/sys/bus/virtio/drivers/virtio_net/bind
	ip link set eth0 up
	ip addr add 10.9.0.2/24 dev eth0
	echo rebound=$(reaches 10.9.0.1)
done
ip link set eth0 down
ip link set eth0 up
echo down_and_up=$(reaches 10.9.0.1)
step 2
echo @3
until_carrier 0
echo carrier_gone=$(cat /sys/class/net/eth0/carrier)
echo others=$(reaches 10.9.1.1)
TEXT
)
END

mkfifo "$tmp/line"
exec 6<>"$mvtap" 7<>"$tmp/line"
input=$tmp/line boot net -m 256M -i "$MODULES" -i "$tmp/net.job" \
	-n tap=mote-plain,mac=02:00:00:00:aa:01 -n tap=mote-jumbo \
	-n tap=mote-trunk -n tap=mote-access -n "fd=6,mac=$mac" \
	-n "unix=$tmp/frames"

# -- passt, and whoever has no rights -----------------------------------------

# passt wants to see a way out, and becomes nobody where root starts it.
chmod 777 "$passt_dir" "$tmp"
ip addr add 10.9.6.1/24 dev mote-dummy
ip route show default | grep -q . || ip route add default via 10.9.6.2
nobody=$tmp/nobody
cat >"$nobody" <<END
#!/bin/sh
exec $(which setpriv) --reuid 65534 --regid 65534 --clear-groups "\$@"
END
chmod 755 "$nobody"
socket=$passt_dir/socket
in_background passt -f -1 -4 -s "$socket" -a 10.8.0.2 -n 24 -g 10.8.0.1 -D none
passt_pid=$!
# Debian 12's passt loses itself in long transfers from this very machine when
# the guest is slow, and where the guest says first that it will not send (with
# QEMU as the monitor, too). So pages, as a browser gets and sends them.
mkdir "$tmp/pages"
for n in 1 2 3; do
	head -c 30000 /dev/urandom >"$tmp/pages/$n"
	serve -u "TCP-LISTEN:740$n,bind=127.0.0.1,reuseaddr" \
		"CREATE:$tmp/sent$n"
done
in_background "$PWD/build/guest/busybox" httpd -f -p 127.0.0.1:7301 \
	-h "$tmp/pages"
job user <<'END'
ip link set eth0 up
cat >/lease <<'DHCP'
#!/bin/sh
[ "$1" = bound ] || exit 0
ifconfig $interface $ip netmask $subnet
route add default gw $router
echo lease=$ip $router
DHCP
chmod 755 /lease
udhcpc -i eth0 -n -q -s /lease 2>/dev/null | grep lease=
echo mtu=$(cat /sys/class/net/eth0/mtu)
for n in 1 2 3; do
	wget -q -O /page "http://10.8.0.1:7301/$n"
	nc 10.8.0.1 740$n </page
done
outb 0x507 1
i=0
until [ "$(cat /sys/class/net/eth0/carrier)" = 0 ] || [ $i -gt 100 ]; do
	sleep 0.2
	i=$((i + 1))
done
echo carrier=$(cat /sys/class/net/eth0/carrier)
ping -c 1 -W 1 10.8.0.1 >/dev/null 2>&1 && echo alive=yes
END
until_is 20 test -S "$socket" || echo "# passt has made no socket"
chmod 666 "$socket"
# So do we, where nobody may use KVM here: no right is left then.
if "$nobody" test -w /dev/kvm && "$nobody" test -r "$tmp/user.job"; then
	cat >"$tmp/mote" <<END
#!/bin/sh
exec "$nobody" "$PWD/$MOTE" "\$@"
END
	chmod 755 "$tmp/mote"
	MOTE=$tmp/mote
fi
minimal
boot user $modules -i "$tmp/user.job" -n "unix=$socket,mtu=65520"
as_nobody=$MOTE
MOTE=build/mote

# -- what cannot be -----------------------------------------------------------

# refused TEXT NAME ARG...
refused() {
	refused_text=$1
	refused_name=$2
	shift 2
	run "$MOTE" -k "$kernel" -i "$INITRD" --check --serial off "$@"
	[ "$status" = 125 ] || refused_text="status 125, not $status"
	like "$(cat "$err")" "$refused_text" "$refused_name"
}
out=$tmp/check.out err=$tmp/check.err events=$tmp/check.events
ip tuntap add dev mote-many mode tap multi_queue user root
run "$MOTE" -k "$kernel" -i "$INITRD" --check -n tap=mote-many
is "$status" 0 "a multi_queue tap is opened as such"
like "$(cat "$err")" 'interface is down: ip link set mote-many up' \
	"a tap that is down is warned of"
ip link set mote-many up
run "$MOTE" -k "$kernel" -i "$INITRD" --check -n tap=mote-many
is "$status $(cat "$err")" "0 " "a tap that is up is not warned of"
refused 'ip tuntap add dev nosuch mode tap user .USER && ip link set nosuch up' \
	"a tap that does not exist: how to make one is said" -n tap=nosuch
ok "a tap that does not exist is not made" [ ! -e /sys/class/net/nosuch ]
refused 'it is not a tap' "a bridge for a tap is refused" -n tap=mote-br
refused 'passt -s' "a socket that does not exist: how to start passt is said" -n "unix=$tmp/nothing"
refused 'neither a tap nor a socket' "stdin that is no network is refused" -n fd=0
refused 'no such descriptor is open' "a closed descriptor for a network is refused" -n fd=99
refused 'only reaches|interface.s name has 1 to 15' "too long a name of a tap is refused" \
	-n tap=a-very-long-name
if [ "$as_nobody" != build/mote ]; then
	MOTE=$as_nobody
	chmod 666 /dev/net/tun
	refused 'belongs to another user.*user .USER' "another user's tap is refused" \
		-n tap=mote-many
	MOTE=build/mote
else
	pass "another user's tap is refused # SKIP nobody may not use /dev/kvm here"
fi

# -- in turns with the guest --------------------------------------------------

at 1
out=$tmp/net.out err=$tmp/net.err events=$tmp/net.events status=running
# What the guest answers to: its VLANs' packets come by those VLANs alone.
ok "the host reaches the guest by a tap" reaches 10.9.0.2
sent=/sys/class/net/mote-jumbo/statistics/tx_packets
one_packet=$(cat $sent)
ok "the host reaches the guest with jumbo packets" reaches -s 8900 10.9.1.2
one_packet=$(($(cat $sent) - one_packet))
is "$(ethtool -k mote-plain | sed -n "s/^tcp-segmentation-offload: //p")" on \
	"the tap has the offloads that the guest takes"
ok "a jumbo packet is one packet ($one_packet)" [ "$one_packet" -le 4 ]
out=$tmp/check.out err=$tmp/check.err
refused 'tap=mote-plain.*another program has it open' "a tap in use is refused" \
	-n tap=mote-plain
out=$tmp/net.out err=$tmp/net.err status=running
go_on
# The user's guest has no turns: it is to be found ready.
until_is "$LIMIT" come user waiting user
owner=$(stat -c %U "/proc/$(pid_of user)")
kill "$passt_pid"

at 2
# packets for an interface that is down, and a link that flaps
for n in 1 2 3; do
	ip link set mote-plain down
	sleep 0.2
	ip link set mote-plain up
done
ok "the host reaches the guest after its side went down and up" reaches 10.9.0.2
go_on
at 3
ip link delete mote-plain

ended user
ends 0 poweroff "a guest whose network is passt powers off"
is "$owner" "$([ "$as_nobody" = build/mote ] && id -un || echo nobody)" \
	"mote that uses passt is $owner"
is "$(got mtu)" 65520 "a guest has the MTU that passt can do"
is "$(got lease)" "10.8.0.2 10.8.0.1" "a guest has an address by DHCP of passt"
for n in 1 2 3; do
	is "$(md5 "$tmp/sent$n")" "$(md5 "$tmp/pages/$n")" \
		"a guest gets a page from a server on the host by passt, and sends it: $n"
done
is "$(got carrier)" 0 "the link goes down when passt ends"
is "$(got alive)" "" "nothing is reached when passt has ended"
like "$(cat "$err")" '^mote: net 0 \(unix=.*other end has closed' \
	"one line says that passt has ended"
is "$(wc -l <"$err")" 1 "no more is said of passt's end"
out=$tmp/check.out err=$tmp/check.err
refused 'start it again' "a socket that nobody serves is refused" -n "unix=$socket"

ended net
exec 6<&- 7<&-
ends 0 poweroff "a guest with six interfaces powers off"
is "$(got mac)" 02:00:00:00:aa:01 "mac= is the interface's address"
like "$(got random)" '^.[26ae]:' \
	"without mac= the address is a random one of local ones"
is "$(got mtus)" "1500 9000" "the MTUs of a guest's interfaces are the taps'"
like "$(got features)" '^1.010[01]011.[01]11.[01]11' \
	"offloads are negotiated with a tap"
is "$(got carrier)" 1 "the link of a tap is up"
for key in ping jumbo trunk access macvtap frames; do
	is "$(got $key)" yes "a guest reaches the host: $key"
done
is "$(md5 "$tmp/back1")" "$(md5 "$tmp/data")" \
	"$megabytes MB to the guest and back by a tap: the same"
is "$(md5 "$tmp/back2")" "$(md5 "$tmp/data")" \
	"$megabytes MB to the guest and back by a stream of frames: the same"
like "$(got up)" 'bits/sec' "iperf3 from the guest: $(got up)"
like "$(got down)" 'bits/sec' "iperf3 to the guest: $(got down)"
is "$(got rebound | tr '\n' ' ')" "yes yes " \
	"the driver that is bound again reaches the host"
is "$(got down_and_up)" yes \
	"a guest reaches the host after its side went down and up"
is "$(got carrier_gone)" 0 "the link goes down when its tap is deleted"
is "$(got others)" yes "other interfaces go on when a tap is deleted"
like "$(cat "$err")" '^mote: net 0 .*has been deleted' \
	"one line says that a tap is deleted"
is "$(wc -l <"$err")" 1 "no more is said of a tap that is deleted"
done_testing
