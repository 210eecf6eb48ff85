#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# --net user and --publish with Linux guests, one of root's and one of an
# ordinary user's at once: addresses by DHCP and router advertisement, servers
# in the guest that the host reaches by its published ports, servers of the host
# that the guest reaches, and a resolver of the host's: IPv4, IPv6, TCP and UDP.
# How passt is started, and ends: guest/passt.t.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

[ "$(id -u)" -eq 0 ] || {
	echo "1..0 # SKIP interfaces are root's to make"
	exit 0
}
ip=$(which ip) # not busybox's own
socat=$(which socat)
host4=10.0.2.2
clean_up() {
	[ ! -e "$tmp/resolv.conf" ] || cat "$tmp/resolv.conf" >/etc/resolv.conf
	"$ip" link delete mote-out
	# shellcheck disable=SC2046 # words
	kill $(cat "$tmp"/background-*)
} 2>/dev/null
trap 'clean_up; boot_end' EXIT

# in_background COMMAND...: until this script ends
in_background() {
	"$@" >/dev/null 2>&1 &
	echo $! >"$tmp/background-$!"
}

# -- the host's side -------------------------------------------------------------

# A way out of the host, which leads nowhere, and a resolver that is its own.
"$ip" link add mote-out type dummy
"$ip" link set mote-out up
"$ip" address add 10.9.7.1/24 dev mote-out
"$ip" address add fd09:7::1/64 dev mote-out
"$ip" route add default via 10.9.7.2 metric 1
"$ip" route add default via fd09:7::2 metric 1
touch /etc/resolv.conf
cp /etc/resolv.conf "$tmp/resolv.conf"
echo "nameserver 127.0.0.53" >/etc/resolv.conf

# It knows one name: each question has the answer 192.0.2.77, if for an A record.
cat >"$tmp/resolve" <<'END'
#!/bin/sh
query=$(dd bs=512 count=1 2>/dev/null | xxd -p | tr -d '\n')
id=$(echo "$query" | cut -c 1-4)
question=$(echo "$query" | cut -c 25-)
count=0000 answer=
case $question in
*00010001)
	count=0001
	answer=c00c00010001000000050004c000024d
	;;
esac
echo "${id}81800001${count}00000000$question$answer" | xxd -r -p
END
chmod 755 "$tmp/resolve"
in_background socat UDP-RECVFROM:53,bind=127.0.0.53,fork EXEC:"$tmp/resolve"
in_background socat TCP-LISTEN:7501,bind=127.0.0.1,fork,reuseaddr \
	"SYSTEM:echo the host by 4"
in_background socat "TCP6-LISTEN:7501,bind=[::1],fork,reuseaddr" \
	"SYSTEM:echo the host by 6"
in_background socat UDP-RECVFROM:7502,bind=127.0.0.1,fork PIPE

# -- the guests ------------------------------------------------------------------

cat >"$tmp/script" <<'END'
ip link set lo up
ip link set eth0 up
cat >/lease <<'DHCP'
#!/bin/sh
[ "$1" = bound ] || exit 0
ifconfig $interface $ip netmask $subnet
route add default gw $router
echo lease=$ip/$mask $router $dns
DHCP
chmod 755 /lease
udhcpc -i eth0 -n -q -s /lease 2>/dev/null | grep lease=
echo mtu=$(cat /sys/class/net/eth0/mtu)
i=0
until ip -6 route | grep -q ^default || [ $i -gt 300 ]; do
	sleep 0.2
	i=$((i + 1))
done
ip -6 address show dev eth0 scope global |
	sed -n 's/.*inet6 \(fd6d:6f74:65:0:\)[^ ]*\(.64\).*/six=\1\2/p'
echo name=$(nslookup -type=a host.test 10.0.2.2 | sed -n 's/^Address: //p')
for at in 10.0.2.2 "[fe80::2%eth0]"; do
	echo tcp=$(socat -u "TCP:$at:7501" -)
done
echo udp=$(echo there and back | socat -t 60 - UDP:10.0.2.2:7502,shut-none,readbytes=15)
mkdir /web
echo a page of a guest >/web/index.html
httpd -p 80 -h /web
socat UDP6-RECVFROM:7,ipv6only=0,fork PIPE &
outb 0x507 1
sleep 999
END
# shellcheck disable=SC2046 # words
set -- $(with_libraries "$socat")
job first "$@" <"$tmp/script"
job second "$@" <"$tmp/script"
chmod -R a+rX "$tmp"
chmod 777 "$tmp"
printf '#!/bin/sh\nexec %s/tests/as-user %s/%s "$@"\n' "$PWD" "$PWD" "$MOTE" \
	>"$tmp/his-mote"
chmod 755 "$tmp/his-mote"
minimal
# shellcheck disable=SC2086 # words
boot first $modules -i "$tmp/first.job" -n user -p 7511:80 -p 7511:7/udp
MOTE=$tmp/his-mote
# shellcheck disable=SC2086 # words
boot second $modules -i "$tmp/second.job" -n user -p 127.0.0.1:7521:80
MOTE=build/mote

come() {
	waiting "$1" || gone "$(pid_of "$1")"
}

# serves ADDRESS NAME: a page. (The wget of Debian's static busybox needs
# libraries that the test host has not.)
serves() {
	is "$(printf 'GET / HTTP/1.0\r\n\r\n' |
		"$socat" -t 60 - "TCP:$1,shut-none" 2>&1 | tail -n 1)" \
		"a page of a guest" "$2"
}

# echoes ADDRESS NAME: what is sent there comes back, 11 bytes
echoes() {
	is "$(echo over there | "$socat" -t 60 - "UDP:$1,shut-none,readbytes=11" 2>&1)" \
		"over there" "$2"
}

until_is "$LIMIT" come first
until_is "$LIMIT" come second
serves 127.0.0.1:7511 "a server in a guest is reached from the host itself"
serves 10.9.7.1:7511 "a server in a guest is reached by the host's address"
serves "[::1]:7511" "a server in a guest is reached by IPv6"
echoes 127.0.0.1:7511 "a server in a guest is reached by UDP"
echoes "[::1]:7511" "a server in a guest is reached by UDP and IPv6"
serves 127.0.0.1:7521 "a server in a user's guest is reached"
closed() {
	! "$socat" /dev/null "TCP:$1" 2>/dev/null
}
ok "a port of one address is not open on the others" closed 10.9.7.1:7521

for guest in first second; do
	kill -INT "$(pid_of "$guest")"
	ended "$guest"
	is "$status" 130 "the $guest guest ends by SIGINT"
	is "$(cat "$err")" "" "nothing is said of its network"
	is "$(got lease)" "10.0.2.15/24 $host4 $host4" \
		"the $guest guest has an address, a router and a resolver by DHCP"
	is "$(got six)" fd6d:6f74:65:0:/64 \
		"the $guest guest has an address by router advertisement"
	is "$(got mtu)" 65520 "the $guest guest has the MTU that passt can do"
	is "$(got name)" 192.0.2.77 \
		"the host's resolver, on its loopback, answers the $guest guest"
	is "$(got tcp | tr '\n' ,)" "the host by 4,the host by 6," \
		"the $guest guest reaches servers on the host's loopback"
	is "$(got udp)" "there and back" \
		"the $guest guest reaches a server on the host by UDP"
done

done_testing
