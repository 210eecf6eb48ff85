#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The guest's side of --net: that a command finds its network there, with
# addresses of IPv4 and IPv6 that the command line gives, or dnsmasq by DHCP and
# by its router advertisements; names, by a resolver that runs here; and that
# none of it is written to a disk that is kept.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

[ "$(id -u)" -eq 0 ] || {
	echo "1..0 # SKIP taps are root's to make"
	exit 0
}
minimal
[ -c /dev/net/tun ] || modprobe tun
# busybox's shell prefers its own ip, which knows less.
real_ip=$(which ip)
ip() {
	"$real_ip" "$@"
}

clean_up() {
	for pid_file in "$tmp"/dnsmasq-*; do
		[ ! -e "$pid_file" ] || kill "$(cat "$pid_file")"
	done
	for n in 0 1 2; do
		ip link delete "mote-g$n"
	done
} 2>/dev/null
trap 'clean_up; boot_end' EXIT

# -- the host's side ----------------------------------------------------------

# A tap without duplicate address detection, for which there is nobody.
clean_up
for n in 0 1 2; do
	ip tuntap add dev "mote-g$n" mode tap
	echo 0 >"/proc/sys/net/ipv6/conf/mote-g$n/accept_dad"
	ip addr add "10.9.$n.1/24" dev "mote-g$n"
	ip addr add "fd09:$n::1/64" dev "mote-g$n"
	ip link set "mote-g$n" up
done

# serve N OPTION...: dnsmasq on mote-gN, for DHCP and DNS
serve() {
	serve_n=$1
	shift
	: >"$tmp/leases-$serve_n"
	dnsmasq --conf-file=/dev/null --user=root --no-resolv --no-hosts \
		--pid-file="$tmp/dnsmasq-$serve_n" --bind-interfaces \
		--interface="mote-g$serve_n" --except-interface=lo \
		--dhcp-leasefile="$tmp/leases-$serve_n" \
		--log-facility="$tmp/dnsmasq-log-$serve_n" --log-dhcp --no-ping \
		--address="/there.guest.test/10.9.$serve_n.1" "$@" ||
		echo "# dnsmasq does not start"
}
serve 1 --dhcp-range=10.9.1.50,10.9.1.99,255.255.255.0,2m \
	--domain=guest.test --dhcp-option=option:mtu,1400 \
	--dhcp-option=option:domain-search,guest.test,test \
	--dhcp-option=121,0.0.0.0/0,10.9.1.1,192.0.2.0/24,10.9.1.9 \
	--enable-ra --dhcp-range=fd09:1::,ra-stateless,64 \
	"--dhcp-option=option6:dns-server,[fd09:1::1]"

# Roots: one without /etc/resolv.conf, one with Debian's.
root=$tmp/root
mkdir -p "$root/bin" "$root/etc" "$root/run"
cp build/guest/busybox "$root/bin"
ln -s busybox "$root/bin/sh"
# Not mke2fs: to busybox's shell that is one of its own programs.
images() {
	mkfs.erofs --quiet --all-root "$tmp/bare.erofs" "$root" &&
		/sbin/mke2fs -q -t ext4 -d "$root" "$tmp/bare" 8M &&
		ln -s ../run/systemd/resolve/stub-resolv.conf \
			"$root/etc/resolv.conf" &&
		echo "192.0.2.7 elsewhere" >"$root/etc/hosts" &&
		/sbin/mke2fs -q -t ext4 -d "$root" "$tmp/debian" 8M
}
images >"$tmp/images" 2>&1 || {
	cat "$tmp/images"
	exit 1
}

# What is there at the command's start is asked first.
look='b=busybox
$b ip addr show dev eth0 >/dev/shm/addr
$b sort /proc/net/if_inet6 >/dev/shm/v6
$b ip route >/dev/shm/route
$b ip -6 route >/dev/shm/route6
echo v4=$($b sed -n "s/.*inet \([0-9./]*\) .*/\1/p" /dev/shm/addr)
echo v6=$($b sed -n "s/^fd.*\(....\) 02 \(..\) 00 \(..\) .*eth0$/\1 \2 \3/p" /dev/shm/v6)
echo tentative=$($b grep -c " [4-7c-f]. *eth0$" /dev/shm/v6)
echo mtu=$($b cat /sys/class/net/eth0/mtu)
echo route=$($b sed -n "s/^default via \([^ ]*\) .*/\1/p" /dev/shm/route)
echo other=$($b sed -n "s/^192.0.2.0.24 via \([^ ]*\) .*/\1/p" /dev/shm/route)
echo route6=$($b sed -n "s/^default via \([^ ]*\) .*/\1/p" /dev/shm/route6)
echo resolv=$($b cat /etc/resolv.conf)
echo hosts=$($b cat /etc/hosts)
reaches() { $b ping -c 1 -W 60 "$@" >/dev/shm/ping && echo yes || echo no; }
finds() { $b nslookup "$1" 2>&1 | $b sed -n "s/^Address.*: *\([0-9.]*\)$/\1/p" | $b tail -n 1; }
'

# command NAME OPTION...: a guest with a command
command() {
	command_name=$1
	shift
	# shellcheck disable=SC2086 # words
	boot "$command_name" $modules "$@"
}

# -- addresses that the command line gives ------------------------------------

command static -d "$tmp/debian,root" \
	-n tap=mote-g0,ip=10.9.0.2/24,ip=fd09::2/64,gw=10.9.0.1,gw=fd09::1,dns=10.9.0.1,dns=fd09::1 \
	-- sh -c "$look
	echo ping=\$(reaches 10.9.0.1) \$(reaches fd09:0::1)
	echo etc=\$(\$b umount /etc/hosts; \$b cat /etc/hosts)"
command dhcp -d "$tmp/bare.erofs,root,ro" -d "$tmp/bare,ro" \
	-n tap=mote-g1,mac=02:00:00:00:09:01,ip=dhcp --timeout 10m \
	-- sh -c "$look
	echo ping=\$(reaches 10.9.1.1) \$(reaches fd09:1::1)
	echo name=\$(finds there.guest.test) \$(finds there)
	echo client=\$(\$b grep -l mote-dhcp /proc/[0-9]*/comm | \$b wc -l)"
ended static
ends 0 exited "a guest with addresses of the command line"
is "$(got v4) $(got v6)" "10.9.0.2/24 0002 40 82" \
	"a command finds both addresses, and their prefixes"
is "$(got tentative)" 0 "none is tentative when it starts"
is "$(got route) $(got route6)" "10.9.0.1 fd09::1" \
	"and the gateways that gw= gives"
is "$(got resolv)" "nameserver 10.9.0.1 nameserver fd09::1" \
	"dns= is in /etc/resolv.conf, which was a link that led nowhere"
is "$(got hosts)" "127.0.1.1 mote 192.0.2.7 elsewhere" \
	"/etc/hosts has the machine's name and what was there"
is "$(got ping)" "yes yes" "the host is reached by IPv4 and IPv6"
is "$(got etc)" "192.0.2.7 elsewhere" "the disk's own /etc/hosts is as it was"
is "$(cat "$err")" "" "nothing is on stderr"

# -- DHCP ---------------------------------------------------------------------

ended dhcp
ends 0 exited "a guest with DHCP"
leased=$(sed -n 's/.* 02:00:00:00:09:01 \([0-9.]*\) .*/\1/p' "$tmp/leases-1")
is "$(got v4)" "$leased/24" "a command finds the address that dnsmasq has leased"
is "$(got mtu)" 1400 "the MTU is the server's"
is "$(got route) $(got other)" "10.9.1.1 10.9.1.9" \
	"the routes are those of option 121"
is "$(got resolv)" "search guest.test test nameserver 10.9.1.1 nameserver fd09:0001:0000:0000:0000:0000:0000:0001" \
	"/etc/resolv.conf is the server's and the router's, on a root that is read-only"
is "$(got hosts)" "127.0.0.1 localhost ::1 localhost 127.0.1.1 mote" \
	"/etc/hosts is there on a root that has none and is read-only"
like "$(got v6)" "^[0-9a-f]* 40 00$" \
	"the address that a router has advertised is there"
is "$(got tentative)" 0 "none is tentative when it starts"
like "$(got route6)" "^fe80::" "and so is its route"
is "$(got ping)" "yes yes" "the host is reached by IPv4 and IPv6"
is "$(got name)" "10.9.1.1 10.9.1.1" \
	"names are resolved, also without their domain"
is "$(got client)" 1 "a process of init's keeps the lease"
is "$(cat "$err")" "" "nothing is on stderr"

# -- nobody answers, at first -------------------------------------------------

command late -d "$tmp/debian,root,ephemeral" -n tap=mote-g2,ip=dhcp -- sh -c "
	echo begun; n=0
	until busybox ip addr show dev eth0 | busybox grep 10.9.2. ||
		[ \$((n += 1)) -gt 600 ]; do busybox sleep 0.2; done
	until busybox grep . /etc/resolv.conf || [ \$((n += 1)) -gt 700 ]; do
		busybox sleep 0.2; done 2>/dev/null
	echo name=\$(busybox hostname -i)"
# No file for servers, on a disk that is kept.
command bare -d "$tmp/bare,root" \
	-n tap=mote-g0,ip=10.9.0.3/24,dns=10.9.0.1 -- sh -c "$look"
until_is "$LIMIT" printed late begun
serve 2 --dhcp-range=10.9.2.50,10.9.2.99,255.255.255.0,infinite
ended late
ends 0 exited "a command starts where no DHCP server answers"
like "$(cat "$err")" "no DHCP server answers.*: eth0$" "and its user is told so"
like "$(cat "$out")" "nameserver 10.9.2.1" \
	"the address comes when a server does, and its DNS server, too"
ended bare
ends 0 exited "a guest whose disk has no /etc/resolv.conf"
is "$(got v4)" 10.9.0.3/24 "it has its address"
like "$(cat "$err")" "has no /etc/resolv.conf" "that it has no names is said"
command after -d "$tmp/bare,root,ro" -- sh -c 'busybox mount -t ext4 -o ro /dev/vda /dev/shm
	echo etc=$(busybox ls /dev/shm/etc)'

# -- clones -------------------------------------------------------------------

command saved -d "$tmp/debian,root,ephemeral" -n tap=mote-g1,ip=dhcp \
	--snapshot "$tmp/saved.snap" -- sh -c "$look"
ended after
is "$(got etc)" "" "no file is made on a disk that is kept"
ended saved
ends 0 snapshot "a guest with a lease is saved"
for n in 1 2; do
	timeout "$LIMIT" "$MOTE" --restore "$tmp/saved.snap" \
		-n "tap=mote-g1,ip=dhcp,mac=02:00:00:00:09:1$n" -- sh -c "$look
		echo mac=\$(\$b cat /sys/class/net/eth0/address)
		echo ping=\$(reaches 10.9.1.1) \$(reaches fd09:1::1)" \
		</dev/null >"$tmp/clone$n.out" 2>"$tmp/clone$n.err"
	status=$? out=$tmp/clone$n.out err=$tmp/clone$n.err
	is "$status $(got mac)" "0 02:00:00:00:09:1$n" "clone $n has its MAC"
	is "$(got v4)" "$(sed -n "s/.* 02:00:00:00:09:1$n \([0-9.]*\) .*/\1/p" \
		"$tmp/leases-1")/24" "clone $n has a lease of its own"
	is "$(got ping)" "yes yes" "clone $n reaches the host"
	is "$(cat "$err")" "" "nothing is on its stderr"
done
status=0
timeout "$LIMIT" "$MOTE" --restore "$tmp/saved.snap" \
	-n tap=mote-g1,ip=10.9.1.7/24,mac=02:00:00:00:09:13 -- sh -c "$look" \
	</dev/null >"$tmp/clone3.out" 2>"$tmp/clone3.err" || status=$?
out=$tmp/clone3.out
is "$status $(got v4) $(got resolv)" "0 10.9.1.7/24 " \
	"a clone without a server has not that of the guest that was saved"

done_testing
