#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What programs in images want of a kernel, one after the other in a Debian as
# images are, without modules and without modprobe (tests/host/debian-root images):
# with the kernel of `make kernel FULL=1`, and with Debian's and modules-full.cpio,
# which init loads as the kernel asks for them.
#
# TEST_KERNELS (full, debian) says which, if not both; TEST_TRIES what, if not all.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

LIMIT=900
image=build/guest/images.img
full=build/kernel/full

# -- the guest's part ---------------------------------------------------------

# try NAME: NAME=ok, or what its last command said. In a shell of its own, with
# -e, so that each step of it has to succeed.
tries=$(cat <<'TEXT'
cat >/usr/bin/calls
chmod 755 /usr/bin/calls
cd /tmp
set -u

try_unshare() {
	unshare --mount --uts --ipc --net --pid --cgroup --time --fork true
	setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps=-all \
		unshare --user --map-root-user --mount --net ip link set lo up
}
try_bwrap() {
	setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps=-all \
		bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc \
		--tmpfs /tmp --die-with-parent true
}
try_crun() {
	mkdir -p bundle/rootfs
	cd bundle
	mount --bind / rootfs
	crun spec
	sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"true"/
		s/"resources": {/&"memory": {"limit": 67108864},/' config.json
	grep -q 67108864 config.json
	crun --cgroup-manager=cgroupfs --root=/run/crun run --bundle . one
	umount rootfs
}
try_controllers() {
	for c in cpuset cpu io memory hugetlb pids; do
		grep -qw $c /sys/fs/cgroup/cgroup.controllers
	done
	grep -q some /proc/pressure/memory
	mkdir /sys/fs/cgroup/one
	grep -q some /sys/fs/cgroup/one/cpu.pressure
	echo 1 >/sys/fs/cgroup/one/cgroup.freeze
	rmdir /sys/fs/cgroup/one
}

try_fuse() {
	mksquashfs /etc etc.squashfs -quiet -no-progress
	mkdir fuse
	squashfuse etc.squashfs fuse
	cmp /etc/hostname fuse/hostname
	umount fuse
}
# holds TYPE FILE: that image is mounted, and has /etc
holds() {
	mkdir -p on.$1
	mount -t $1 -o loop,ro $2 on.$1
	cmp /etc/hostname on.$1/hostname
	umount on.$1
}
# keeps TYPE FILE: it is mounted, and keeps a file
keeps() {
	mkdir -p on.$1
	mount -t $1 -o loop $2 on.$1
	cp /etc/hostname on.$1/hostname
	umount on.$1
	holds $@
	rm $2
}
try_erofs() {
	mkfs.erofs --quiet etc.erofs /etc
	holds erofs etc.erofs
	mkfs.erofs --quiet -zlz4 etc.lz4 /etc
	holds erofs etc.lz4
}
try_squashfs() {
	for z in gzip xz lz4 zstd; do
		mksquashfs /etc squashfs.$z -comp $z -quiet -no-progress
		holds squashfs squashfs.$z
	done
}
try_xfs() {
	truncate -s 320M disk.xfs
	mkfs.xfs -q disk.xfs
	keeps xfs disk.xfs
}
try_btrfs() {
	truncate -s 128M disk.btrfs
	mkfs.btrfs -q disk.btrfs
	keeps btrfs disk.btrfs
}
try_ext4() {
	truncate -s 32M disk.ext4
	mke2fs -q -t ext4 disk.ext4
	keeps ext4 disk.ext4
}
try_vfat() {
	truncate -s 64M disk.vfat
	mkfs.vfat disk.vfat
	keeps vfat disk.vfat
}
try_overlay() {
	mkdir -p upper work merged
	mount -t overlay -o lowerdir=/etc,upperdir=upper,workdir=work \
		none merged
	echo new >merged/hostname
	umount merged
	grep -q new upper/hostname
	# Not a directory in which init has mounted something, such as /etc:
	# what is under that stays hidden.
	setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps=-all \
		unshare --user --map-root-user --mount sh -ec '
			cd /tmp
			mkdir mine
			mount -t tmpfs none mine
			mkdir mine/upper mine/work mine/merged
			cd mine
			mount -t overlay -o lowerdir=/usr/share,upperdir=upper \
				-o workdir=work,userxattr none merged
			echo new >merged/new'
}
try_config() {
	zcat /proc/config.gz >config
	grep -q CONFIG_9P_FS=y config
}
try_9p() {
	mkdir 9p
	calls 9p 9p
}

try_nft() {
	nft -f - <<'END'
table inet one {
	set hosts { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }
	chain in {
		type filter hook input priority 0; policy accept;
		ct state established,related accept
		ip saddr @hosts tcp dport { 80, 443 } counter accept
		icmp type echo-request limit rate 5/second accept
		meta skuid 1000 log prefix "one " reject with icmpx port-unreachable
		fib daddr type local quota 1 mbytes drop
	}
	chain first { type filter hook prerouting priority mangle
		tcp dport 5000 tproxy ip to 127.0.0.1:5001 meta mark set 1
	}
	chain out { type nat hook postrouting priority 100
		oifname "eth0" masquerade
	}
	chain pre { type nat hook prerouting priority -100
		tcp dport 8080 dnat ip to 10.1.1.1:80
		tcp dport 8081 redirect to :81
	}
}
table bridge two {
	chain in { type filter hook input priority 0
		ether type arp accept
	}
}
END
	nft list ruleset | grep -q masquerade
	nft flush ruleset
}
# rules COMMAND: the matches and targets that container engines write down
rules() {
	$1 -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED \
		-m comment --comment one -j ACCEPT
	$1 -A INPUT -p tcp -m multiport --dports 80,443 -m limit \
		--limit 5/second -j ACCEPT
	$1 -A INPUT -p tcp --syn -m connlimit --connlimit-above 9 -j REJECT
	$1 -A INPUT -m recent --name one --update --seconds 9 -j DROP
	$1 -A INPUT -m hashlimit --hashlimit-name two --hashlimit-mode srcip \
		--hashlimit-upto 9/sec -j LOG --log-prefix one
	$1 -A INPUT -m string --algo bm --string one -j DROP
	$1 -A INPUT -p tcp -m u32 --u32 "0 & 0xf=0" -j NFLOG
	$1 -A OUTPUT -m owner --uid-owner 1000 -m cgroup --cgroup 1 -j DROP
	$1 -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j ACCEPT
	$1 -t nat -A PREROUTING -p tcp --dport 1 -m statistic --mode random \
		--probability 0.5 -j REDIRECT --to-ports 2
	$1 -t nat -A POSTROUTING -m mark --mark 1/1 -j MASQUERADE
	$1 -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN \
		-j TCPMSS --clamp-mss-to-pmtu
	$1 -t mangle -A PREROUTING -m connmark --mark 1 -j MARK --set-mark 2
	$1 -t mangle -A PREROUTING -m socket -j CONNMARK --save-mark
	$1 -t mangle -A PREROUTING -p udp -j TPROXY --on-port 1 --tproxy-mark 1
	$1 -t raw -A PREROUTING -m rpfilter --invert -j CT --notrack
	$1 -t filter -S | grep -q hashlimit
	for t in filter nat mangle raw; do $1 -t $t -F; done
}
try_iptables_legacy() {
	rules iptables-legacy
	rules ip6tables-legacy
}
try_iptables_nft() {
	rules iptables-nft
	rules ip6tables-nft
}
try_ipset() {
	ipset create one hash:ip
	ipset add one 10.1.1.1
	iptables-legacy -A INPUT -m set --match-set one src -j DROP
	iptables-legacy -F
	ipset destroy one
}

# What a container engine makes, and a packet through all of it.
try_veth() {
	ip link add br0 type bridge
	ip address add 10.9.8.1/24 dev br0
	ip link set br0 up
	ip netns add one
	ip link add veth0 type veth peer name eth0 netns one
	ip link set veth0 master br0 up
	ip -n one address add 10.9.8.2/24 dev eth0
	ip -n one link set eth0 up
	ip -n one link set lo up
	bridge vlan show dev veth0
	ping -q -c 1 -W 60 10.9.8.2
	ip netns delete one
	ip link delete br0
}
# one TYPE...: an interface of that kind can be made
one() {
	ip link add one "$@"
	ip link set one up
	ip link delete one
}
try_interfaces() {
	ip link add base type dummy
	ip link set base up
	one link base type vlan id 7
	one link base type macvlan mode bridge
	one link base type ipvlan mode l2
	one type vxlan id 7 dstport 4789 dev base
	one type ifb
	one type vrf table 7
	ip link delete base
}
try_tun() {
	ip tuntap add dev tun7 mode tun
	ip tuntap add dev tap7 mode tap user 1000
	ip link delete tun7
	ip link delete tap7
}
try_wireguard() {
	ip link add wg0 type wireguard
	wg genkey >key
	wg set wg0 private-key key listen-port 51820
	ip address add 10.7.7.1/24 dev wg0
	ip link set wg0 up
	wg show wg0 | grep -q 51820
	ip link delete wg0
}
try_tc() {
	ip link add base type dummy
	tc qdisc add dev base root handle 1: htb default 1
	tc class add dev base parent 1: classid 1:1 htb rate 1mbit
	tc qdisc add dev base parent 1:1 netem delay 10ms
	tc qdisc add dev base clsact
	tc filter add dev base egress matchall action drop
	ip link delete base
}
# Nothing of it is built in, with either kernel.
try_module() {
	one type geneve id 7 remote 10.0.0.1
	one type bond
}

# loop SIZE: $loop, a disk of that size
loop() {
	truncate -s $1 disk.$1
	loop=$(losetup --find --show disk.$1)
}
try_swap() {
	loop 16M
	mkswap -q $loop
	swapon $loop
	grep -q $loop /proc/swaps
	swapoff $loop
	losetup -d $loop
}
try_dm() {
	loop 17M
	dmsetup create one --table "0 32768 linear $loop 8"
	dmsetup mknodes # there is no udev
	dmsetup create two --table "0 32768 crypt aes-xts-plain64 \
$(head -c 64 /dev/urandom | od -An -v -tx1 | tr -d ' \n') 0 /dev/mapper/one 0"
	dmsetup mknodes
	echo secret | dd of=/dev/mapper/two conv=fsync status=none
	[ "$(head -n 1 /dev/mapper/two)" = secret ]
	! grep -q secret disk.17M
	dmsetup remove two
	dmsetup remove one
	losetup -d $loop
}
try_binfmt() {
	mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
	echo ':one:M::MOTE::/usr/bin/cat:' >/proc/sys/fs/binfmt_misc/register
	printf 'MOTE one\n' >mote
	chmod 755 mote
	[ "$(./mote)" = "MOTE one" ]
	umount /proc/sys/fs/binfmt_misc
}
try_keys() {
	[ "$(keyctl session - sh -ec 'keyctl add user one word @s >/dev/null
		keyctl print %user:one')" = word ]
}
try_bpf() {
	[ "$(cat /proc/sys/net/core/bpf_jit_enable)" = 1 ]
	calls kprobe
	bpftool prog list
}
try_calls() {
	for c in userfaultfd fanotify io_uring landlock inet_diag; do
		calls $c
	done
}

for name in $want; do
	# -e does nothing in what a condition is.
	(set -e; "try_$name") </dev/null >said 2>&1
	case $? in
	0) echo "$name=ok" ;;
	*) echo "$name=no: $(tail -n 1 said)"
		dmesg | tail -n 2 >>said
		sed "s/^/said of $name: /" said ;;
	esac
done
TEXT
)
all='unshare bwrap crun controllers fuse erofs squashfs xfs btrfs ext4 vfat
	overlay nft iptables_legacy iptables_nft ipset veth interfaces tun wireguard
	tc module swap dm binfmt keys bpf calls'

# What a boot with all devices says, and what there is before the first of them.
# A stall is the host's, which is busy.
warnings='dmesg -r | sed "/rcu: INFO: .* stall/,/<\/TASK>/d
	/BUG: soft lockup/,/<\/TASK>/d; /Long readout/d" | grep "^<[0-4]>"'
look=$(cat <<'TEXT'
echo release=$(uname -r)
eval "$warnings" | sed "s/^/boot=/"
echo own=$(ls /sbin/modprobe /usr/bin/kmod 2>/dev/null | wc -l)
echo listed=$(ls /lib/modules/$(uname -r)/modules.dep.bin 2>/dev/null | wc -l)
echo nodes=$(ls /dev/fuse /dev/net/tun /dev/loop-control /dev/mapper/control | wc -l)
echo free=$(sed -n "s/MemAvailable: *\(.*\) kB/\1/p" /proc/meminfo)
TEXT
)

# -- here ---------------------------------------------------------------------

# images NAME KERNEL MODULES TRY...
images() {
	name=$1 one_kernel=$2 archive=$3
	shift 3
	truncate -s 1M "$tmp/disk"
	socat "UNIX-LISTEN:$tmp/net" PIPE &
	peer=$!
	until_is 10 [ -S "$tmp/net" ]
	# One processor: the kernel's text changes under a kprobe, which QEMU 7.2
	# does not always show to another one (tests/README.md, the third fault).
	"$MOTE" -k "$one_kernel" -i "$archive" -m 640M \
		--events "$tmp/$name.events" -d "$image,ro,root" \
		-d "$tmp/disk,ro" -n "unix=$tmp/net" --vsock "$tmp/vsock" \
		-- sh -c "warnings='$warnings' want='$*'
$look
$tries" <build/tests/calls >"$tmp/$name.out" 2>"$tmp/$name.err" &
	echo $! >"$tmp/$name.pid"
	ended "$name"
	kill "$peer" 2>/dev/null
	rm -f "$tmp/net" "$tmp/vsock"
	is "$status $(cat "$err")" "0 " "$name: a guest goes through all of it"
	is "$(got own)" 0 "$name: its root has no modprobe"
	is "$(got listed) $(got nodes)" "1 4" \
		"$name: modules are in /lib/modules, and nodes in /dev"
	for try; do
		is "$(got "$try")" ok "$name: $try"
	done
	echo "# $name: $(got release), $(got free) KiB available"
}

try_full() {
	# shellcheck disable=SC2086 # words
	images "FULL kernel" "$full/vmlinux" "$full/modules.cpio" \
		${TEST_TRIES:-$all 9p config}
	is "$(got release)" "$(cat "$full/release")" \
		"FULL kernel: it is the one that was built"
	is "$(got boot)" "" "FULL kernel: it boots without a warning"
}

# It has no 9p, and its configuration is in a file. It says that there is no PCI,
# and of its virtio_mmio what tests/linux/boot.sh says.
try_debian() {
	# shellcheck disable=SC2086 # words
	images "Debian's kernel" build/guest/vmlinux \
		build/guest/modules-full.cpio ${TEST_TRIES:-$all}
	is "$(got boot | grep -vE "unknown parameter 'device' ignored|\] PCI: ")" "" \
		"Debian's kernel: it boots without a warning"
}

for k in ${TEST_KERNELS:-full debian}; do
	case $k in full) f=$full/vmlinux ;; *) f=$image ;; esac
	[ -e "$f" ] && [ -e "$image" ] || {
		echo "Bail out! $f or $image is missing: see 'make soak'"
		exit 1
	}
	"try_$k"
done
done_testing
