#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Disks that several machines can reach, and networks that a fleet's machines have:
# boot/fleet/storage/README.md, each recipe run for real. The servers are those of
# build/guest/storage.img (tests/host/debian-root storage), in a chroot; machines
# are network namespaces with a host name of their own, on one switch.
#
# TEST_STORAGE (nfs nbd iscsi thin sparse bond vlan) says which, if not all.
# needs: the minimal kernel
if [ "${STORAGE_ALONE-}" != 1 ] && [ "$(id -u)" = 0 ]; then
	# What is mounted here vanishes with this script.
	STORAGE_ALONE=1 exec unshare -m "$0" "$@"
fi
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

minimal
real_ip=$(which ip)
ip() {
	"$real_ip" "$@"
}
image=build/guest/storage.img
if [ "$(id -u)" != 0 ] || [ ! -e $image ]; then
	echo "1..0 # SKIP needs root, and tests/host/debian-root storage"
	exit 0
fi

# -- machines -----------------------------------------------------------------

images=$(mktemp -d /var/tmp/mote-storage-XXXXXX) || exit 1
# Not below $tmp, which is removed with all that is in it: /dev is in here.
place=$(mktemp -d /var/tmp/mote-root-XXXXXX) || exit 1
root=$place/root
mkdir "$place/lower" "$place/upper" "$root"
for m in loop overlay; do
	grep -qw $m /proc/filesystems || modprobe $m 2>/dev/null || :
done
mount -o loop,ro $image "$place/lower" &&
	mount -t tmpfs tmpfs "$place/upper" &&
	mkdir "$place/upper/up" "$place/upper/work" &&
	mount -t overlay -o "lowerdir=$place/lower,upperdir=$place/upper/up,workdir=$place/upper/work" \
		overlay "$root" || exit 1
mkdir -p "$root/srv" "$root/mnt/a" "$root/mnt/b"
for d in dev proc sys; do
	mount --rbind /$d "$root/$d"
done
mount --bind "$images" "$root/srv"
mount -t tmpfs tmpfs "$root/run"

# on MACHINE COMMAND...: a program of the image, on that machine
on() {
	on_name=$1
	shift
	nsenter --net=/run/netns/mote-"$on_name" \
		unshare -u sh -c 'hostname "$0"; exec chroot "$@"' \
		"machine-$on_name" "$root" "$@"
}

# in_background COMMAND...: until this script ends; $!
in_background() {
	"$@" >>"$tmp/background.log" 2>&1 &
	echo $! >"$tmp/background-$!.pid"
}

wire() {
	ip netns exec mote-srv ip link set "port-$1" "$2"
}

storage_end() {
	for part in nfs nbd iscsi thin sparse bond vlan; do
		"${part}_end"
	done
	boot_end
	for n in srv a b; do
		ip netns delete mote-$n
	done
	umount -l "$root"
	umount -l "$place/upper"
	umount -l "$place/lower"
	rmdir "$root" "$place/upper" "$place/lower" "$place"
	rm -rf "$images"
} >/dev/null 2>&1
for part in nfs nbd iscsi thin sparse bond vlan; do
	eval "${part}_end() { :; }"
done
trap storage_end EXIT

mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
for n in srv a b; do
	ip netns add mote-$n
	ip -n mote-$n link set lo up
done
ip -n mote-srv link add switch type bridge
ip -n mote-srv addr add 10.9.30.1/24 dev switch
ip -n mote-srv link set switch up
for n in a:2 b:3; do
	m=${n%:*}
	ip -n mote-srv link add "port-$m" type veth peer name eth0 netns "mote-$m"
	ip -n mote-srv link set "port-$m" master switch up
	ip -n "mote-$m" addr add "10.9.30.${n#*:}/24" dev eth0
	ip -n "mote-$m" link set eth0 up
done

# -- guests -------------------------------------------------------------------

# Writes numbers in sectors, each flushed; says which are there, and what fails.
job writer <<'END'
if grep -q discard=1 /proc/cmdline; then
	blkdiscard -o 1048576 -l 1048576 /dev/vda && echo discarded=yes
fi
i=0
while :; do
	i=$((i + 1))
	word=$(sed "s/.*who=\([^ ]*\).*/\1/" /proc/cmdline)
	printf "%s%08d" "$word" $i | dd of=/dev/vda bs=512 seek=$((i % 8)) \
		conv=notrunc,sync,fsync 2>/tmp/why || break
	echo ack=$i
done
sed 's/^/why=/' /tmp/why
echo failed=$i
END

# writer NAME ARG...
writer() {
	writer_name=$1
	shift
	boot "$writer_name" $modules -i "$tmp/writer.job" -m 64M \
		-a "who=$writer_name" "$@"
}

# acked NAME: the last number
acked() {
	tr -d '\r' <"$tmp/$1.out" | sed -n 's/^ack=//p' | tail -n 1
}

# goes_on NAME: two more numbers are there than now
more_than() {
	[ "$(acked "$1")" -gt "$2" ]
}
goes_on() {
	goes_before=$(acked "$1")
	until_is "$LIMIT" come "$1" more_than "$1" $((${goes_before:-0} + 1)) &&
		more_than "$1" "${goes_before:-0}"
}

# stopped NAME: that guest has come to an I/O error
stopped() {
	printed "$1" '^failed='
}

# refused TEXT NAME ARG...: mote does not start
refused() {
	refused_text=$1
	refused_name=$2
	shift 2
	mote -k "$kernel" -i "$INITRD" --check "$@"
	ends 125 error "$refused_name"
	like "$(cat "$err")" "$refused_text" "$refused_name: the message says what to do"
	is "$(wc -l <"$err")" 1 "$refused_name: in one line"
}

accepted() {
	"$MOTE" -k "$kernel" -i "$INITRD" --check "$@" 2>/dev/null
}

# words FILE: whose numbers are in its first sectors
words() {
	for n in 0 1 2 3 4 5 6 7; do
		dd if="$1" bs=512 skip=$n count=1 2>/dev/null |
			sed 's/[0-9]*//g' | tr -d '\0'
		echo
	done | sort -u
}

# come NAME COMMAND...: the command succeeds, or never will
come() {
	gone "$(pid_of "$1")" && return
	shift
	"$@"
}

# eight_more NAME: all sectors are that guest's
eight_more() {
	eight_before=$(acked "$1")
	until_is "$LIMIT" more_than "$1" $((${eight_before:-0} + 9))
}

# stands_still NAME: it has something under way that does not end
stands_still() {
	still=$(acked "$1")
	sleep 2
	[ "$(acked "$1")" = "$still" ]
}

# -- NFS ----------------------------------------------------------------------

nfs_serve() {
	on srv rpc.nfsd -N 3 --grace-time 10 --lease-time 10 2
}

nfs_end() {
	umount -f -l "$root/mnt/a"
	umount -f -l "$root/mnt/b"
	on srv rpc.nfsd 0
}

# What the server has to remember of clients, it remembers by nfsdcld. Where that
# is not there before it, a restart loses all locks.
nfs_set_up() {
	mkdir -p "$images/export" "$root/run/rpc_pipefs"
	truncate -s 1M "$images/export/disk.img"
	chown 65534:65534 "$images/export" "$images/export/disk.img"
	echo '/srv/export *(rw,fsid=0,no_subtree_check,insecure)' \
		>"$root/etc/exports"
	for m in nfsd nfs nfsv4; do modprobe $m; done
	on srv mount -t rpc_pipefs pipefs /run/rpc_pipefs
	on srv mount -t nfsd nfsd /proc/fs/nfsd
	in_background on srv nfsdcld -F -d -p /run/rpc_pipefs
	until_is 60 grep -q 'Starting event dispatch' "$tmp/background.log"
	in_background on srv rpc.mountd -F -N 2 -N 3
	on srv exportfs -r
	nfs_serve
	for n in a b; do
		on $n mount.nfs4 10.9.30.1:/ /mnt/$n -o vers=4.2,hard
	done
}

nfs() {
	nfs_set_up
	there=$root/mnt/b/disk.img
	writer first -d "$root/mnt/a/disk.img"
	ok "a guest writes to a disk on NFS" goes_on first
	refused 'of any machine.*stop that one' \
		"a disk on NFS that another machine writes to is refused" -d "$there"
	refused 'of any machine.*stop that one' \
		"a disk on NFS that another machine writes to cannot be read" \
		-d "$there,ro"

	on srv rpc.nfsd 0
	nfs_serve
	ok "a guest goes on when its NFS server has started anew" goes_on first
	refused 'of any machine' \
		"the lock of a disk on NFS outlives a restart of the server" \
		-d "$there"

	# The machine is cut off, and lives: so does its guest. The server gives
	# up on it when it has not been heard of for the time of a lease.
	wire a down
	ok "the lock of a machine that is cut off ends with its lease" \
		until_is 120 accepted -d "$there"
	writer second -d "$there,direct"
	ok "a guest starts elsewhere on the disk of a machine that is cut off" \
		goes_on second
	wire a up
	ok "a guest that was cut off gets an I/O error when it is back" \
		until_is 120 stopped first
	ok "the guest that took its disk over goes on" eight_more second
	is "$(words "$images/export/disk.img")" second \
		"a guest that was cut off writes no more to what another has"
	ended first
	ends 0 poweroff "a guest that was cut off is told, and powers off"
	like "$(cat "$err")" 'disk 0 .*I/O error' "mote names the disk that it has lost"

	# The server is away for good.
	wire b down
	until_is 60 stands_still second
	kill -INT "$(pid_of second)"
	until_is 60 gone "$(pid_of second)" ||
		cat /proc/"$(pid_of second)"/task/*/stack | tap_note
	ok "mote ends while the NFS server of a disk with direct is away" \
		gone "$(pid_of second)"
	ended second
	ends 130 signal "mote whose NFS server is away ends as it is told"
	wire b up

	# Through the page cache, and with an end to all waiting.
	on a umount /mnt/a
	on a mount.nfs4 10.9.30.1:/ /mnt/a -o vers=4.2,softerr,timeo=30,retrans=1
	until_is 60 accepted -d "$root/mnt/a/disk.img"
	writer third -d "$root/mnt/a/disk.img"
	ok "a guest writes to a disk on NFS with softerr" goes_on third
	wire a down
	ok "with softerr the guest gets an I/O error when the server is away" \
		until_is 120 stopped third
	ended third
	ends 0 poweroff "with softerr a guest powers off while the server is away"
	wire a up
}

# -- NBD ----------------------------------------------------------------------

nbd_end() {
	nbd_off
	kill "$(cat "$root/run/nbd.pid")"
}

nbd_off() {
	for n in 0 1; do
		chroot "$root" nbd-client -d /dev/nbd$n
	done
} >/dev/null 2>&1

# Not by netlink, which knows but one network namespace.
nbd_client() {
	on "$1" nbd-client 10.9.30.1 "/dev/nbd$2" -N disk -nonetlink
}

nbd_connected() {
	[ "$(cat "/sys/block/nbd$1/size")" -gt 0 ]
}

nbd_serve() {
	on srv nbd-server -C /run/nbd.conf -p /run/nbd.pid
}

nbd_file_calls() {
	sed -n 's/.*\(fdatasync\|fsync\|sync_file_range\|fallocate\)(.*/\1/p' \
		"$tmp/nbd.calls" | sort -u
}

nbd() {
	truncate -s 8M "$images/nbd.img"
	cat >"$root/run/nbd.conf" <<'END'
[generic]
	listenaddr = 10.9.30.1
	user = root
	group = root
[disk]
	exportname = /srv/nbd.img
	flush = true
	fua = true
	trim = true
	maxconnections = 1
END
	modprobe nbd nbds_max=2
	nbd_serve
	until_is 60 test -s "$root/run/nbd.pid"
	strace -f -qq -e trace=fsync,fdatasync,sync_file_range,fallocate \
		-o "$tmp/nbd.calls" -p "$(cat "$root/run/nbd.pid")" &
	echo $! >"$tmp/nbd-strace.pid"
	nbd_client a 0 >"$tmp/nbd.a" 2>&1
	ok "a machine has an NBD export" until_is 60 nbd_connected 0
	status=0
	nbd_client b 1 >"$tmp/nbd.b" 2>&1 || status=$?
	ok "an NBD export with maxconnections = 1 refuses a second machine" \
		[ "$status" != 0 ]
	ok "a machine that was refused has no NBD disk" \
		[ "$(cat /sys/block/nbd1/size)" = 0 ]
	writer nbd -d /dev/nbd0 -a discard=1
	ok "a guest writes to an NBD disk" eight_more nbd
	refused 'another program has it' "an NBD disk in use is refused" \
		-d /dev/nbd0
	is "$(words "$images/nbd.img")" nbd \
		"what a guest writes to an NBD disk is on the server"
	is "$(nbd_file_calls | tr '\n' ' ')" "fallocate fsync " \
		"a guest's flushes and discards reach an NBD server's file"
	kill "$(cat "$root/run/nbd.pid")"
	ok "a guest gets an I/O error when its NBD server is gone" \
		until_is 120 stopped nbd
	ended nbd
	is "$(got discarded)" yes "a guest can discard on an NBD disk"
	ends 0 poweroff "a guest whose NBD server is gone powers off"
	like "$(cat "$err")" 'disk 0 \(nbd0\): .*I/O error' \
		"mote names the NBD disk that fails"
	nbd_off
}

# -- what runs full -----------------------------------------------------------

job filler <<'END'
fill() {
	yes a line of text | dd of=/dev/vda bs=64k count=$1 iflag=fullblock \
		conv=fsync 2>/tmp/why && echo yes || echo no
	sed 's/^/why=/' /tmp/why | grep rror
}
step() {
	echo "@$1"
	read -r line
}
echo wrote=$(fill 256)
step 1
blkdiscard /dev/vda || echo bad=discard
step 2
echo full=$(fill 768)
step 3
# Not the first part, as file systems do not. More than once: a discard is advice,
# and a pool of dm-thin needs a moment to find that it has room.
n=0
again=no
until [ "$again" = yes ] || [ $n = 20 ]; do
	blkdiscard -o 1048576 /dev/vda || echo bad=discard
	echo 3 >/proc/sys/vm/drop_caches
	sleep 1
	again=$(fill 128)
	n=$((n + 1))
done
echo again=$again
echo 3 >/proc/sys/vm/drop_caches
echo holds=$(dd if=/dev/vda bs=64k count=128 2>/dev/null | md5sum | cut -d ' ' -f 1)
END

# looks NAME USED: as dmeventd does, which has a pool notice that it has room
looks() {
	"$2" >/dev/null
	printed "$1" '^again='
}

# full NAME USED DISK: a guest fills what is thin; USED prints KiB in use
full() {
	mkfifo "$tmp/$1.line"
	start "$1" $modules -i "$tmp/filler.job" -m 64M -d "$3" \
		<>"$tmp/$1.line" >"$tmp/$1.out"
	exec 8>"$tmp/$1.line"
	until_is "$LIMIT" come "$1" printed "$1" '^@1'
	full_before=$($2)
	echo >&8
	until_is "$LIMIT" come "$1" printed "$1" '^@2'
	full_after=$($2)
	echo >&8
	until_is "$LIMIT" come "$1" printed "$1" '^@3'
	echo >&8
	exec 8>&-
	until_is "$LIMIT" come "$1" looks "$1" "$2"
	ended "$1"
	ends 0 poweroff "$1: a guest whose disk ran full boots and powers off"
	is "$(got wrote)" yes "$1: what has room is written"
	ok "$1: it takes that much room ($full_before KiB)" \
		[ "$full_before" -ge 16384 ]
	ok "$1: what the guest discards is given back ($full_after KiB)" \
		[ "$full_after" -le 4096 ]
	like "$(got full)" '^no' "$1: the guest gets an I/O error when it is full"
	is "$(got bad) $(got again)" " yes" \
		"$1: the guest writes again when it has made room"
	is "$(got holds)" "$(yes a line of text | dd bs=64k count=128 \
		iflag=fullblock 2>/dev/null | md5sum | cut -d ' ' -f 1)" \
		"$1: what was written then is there"
	like "$(cat "$err")" 'No space left on device; the guest gets an I/O error' \
		"$1: mote says why"
}

sparse_end() {
	umount "$images/small"
}

sparse_used() {
	sync
	du -k "$images/small/disk.img" | cut -f 1
}

sparse() {
	truncate -s 40M "$images/small.img"
	mkdir "$images/small"
	/sbin/mke2fs -q -t ext4 -m 0 -O ^has_journal "$images/small.img"
	mount -o loop "$images/small.img" "$images/small"
	truncate -s 64M "$images/small/disk.img"
	full sparse sparse_used "$images/small/disk.img"
}

lvm() {
	chroot "$root" lvm "$@" --config \
		'activation { udev_sync=0 udev_rules=0 monitoring=0 }
		devices { use_devicesfile=0 }' >"$tmp/lvm.log" 2>&1 ||
		tap_note <"$tmp/lvm.log"
}

thin_loop=''
thin_end() {
	[ -n "$thin_loop" ] || return 0
	lvm vgchange -an motevg
	losetup -d "$thin_loop"
}

thin_used() {
	chroot "$root" dmsetup status motevg-pool-tpool |
		awk '{ split($6, n, "/"); print n[1] * 64 }'
}

thin() {
	truncate -s 64M "$images/pv.img"
	modprobe dm-thin-pool
	thin_loop=$(losetup -f)
	losetup "$thin_loop" "$images/pv.img"
	lvm pvcreate -q "$thin_loop"
	lvm vgcreate -q motevg "$thin_loop"
	lvm lvcreate -q --type thin-pool -L 32M -c 64k --poolmetadatasize 4M \
		-n pool motevg
	lvm lvchange -q --errorwhenfull y motevg/pool
	lvm lvcreate -q -V 64M --thinpool pool -n disk motevg
	full thin thin_used /dev/motevg/disk,direct
}

# -- iSCSI --------------------------------------------------------------------

# Two initiators, as two machines have: each has a device of its own, so what is
# of this host (O_EXCL, flock) keeps neither away from the other's.
target=/sys/kernel/config/target
iqn=iqn.2026-01.example.mote

iscsi_adm() {
	chroot "$root" iscsiadm "$@"
}

iscsi_end() {
	iscsi_adm -m node --logout
	iscsi_no_target
}

iscsi_no_target() {
	t=$target/iscsi/$iqn:disk
	echo 0 >"$t/tpgt_1/enable"
	for n in a b; do
		rm "$t/tpgt_1/acls/$iqn:$n/lun_0/disk"
		rmdir "$t/tpgt_1/acls/$iqn:$n/lun_0" "$t/tpgt_1/acls/$iqn:$n"
	done
	rm "$t/tpgt_1/lun/lun_0/disk"
	rmdir "$t/tpgt_1/lun/lun_0" "$t/tpgt_1/np/127.0.0.1:3268" \
		"$t/tpgt_1" "$t" "$target/iscsi"
	rmdir "$target/core/fileio_0/mote" "$target/core/fileio_0"
}

iscsi_target() {
	for m in configfs target_core_mod target_core_file iscsi_target_mod \
		iscsi_tcp sd_mod; do
		modprobe $m
	done
	[ -d $target ] ||
		mount -t configfs configfs /sys/kernel/config
	# Without that directory LIO makes no reservation.
	mkdir -p "$(cat $target/dbroot)/pr"
	d=$target/core/fileio_0/mote
	mkdir -p "$d"
	echo "fd_dev_name=$images/iscsi.img,fd_dev_size=8388608" >"$d/control"
	echo 1 >"$d/enable"
	mkdir -p "$target/iscsi"
	t=$target/iscsi/$iqn:disk/tpgt_1
	mkdir -p "$t/lun/lun_0" "$t/np/127.0.0.1:3268"
	ln -s "$d" "$t/lun/lun_0/disk"
	echo 0 >"$t/attrib/authentication"
	for n in a b; do
		mkdir -p "$t/acls/$iqn:$n/lun_0"
		ln -s "$t/lun/lun_0" "$t/acls/$iqn:$n/lun_0/disk"
	done
	echo 1 >"$t/enable"
}

iscsi_login() {
	mkdir -p "$root/run/lock/iscsi"
	echo "InitiatorName=$iqn:a" >"$root/etc/iscsi/initiatorname.iscsi"
	in_background chroot "$root" iscsid -f
	until_is 60 grep -q ISCSIADM_ABSTRACT_NAMESPACE /proc/net/unix
	for n in a b; do
		iscsi_adm -m iface -I $n --op=new &&
			iscsi_adm -m iface -I $n --op=update -n iface.initiatorname \
			-v "$iqn:$n"
	done
	iscsi_adm -m discovery -t sendtargets -p 127.0.0.1:3268 -I a -I b
	iscsi_adm -m node --login
}

# iscsi_device INITIATOR
iscsi_device() {
	for s in /sys/class/iscsi_session/session*; do
		[ "$(cat "$s/initiatorname")" = "$iqn:$1" ] || continue
		echo /dev/"$(basename "$s"/device/target*/*/block/sd*)"
	done
}

iscsi_there() {
	[ -b "$(iscsi_device a)" ] && [ -b "$(iscsi_device b)" ]
}

# reserve MACHINE VERB
reserve() {
	status=0
	run chroot "$root" env MOTE_RESERVE_KEY="${1}00" /run/mote-reserve "$2" \
		"$(iscsi_device "$1")"
}

iscsi() {
	truncate -s 8M "$images/iscsi.img"
	cp boot/fleet/storage/mote-reserve "$root/run/"
	# One that was killed may have left its own.
	iscsi_no_target >/dev/null 2>&1
	iscsi_target
	iscsi_login >"$tmp/iscsi.log" 2>&1
	ok "two initiators have a disk of an iSCSI target" \
		until_is 60 iscsi_there || tap_note <"$tmp/iscsi.log"
	iscsi_there || return 0
	reserve a take
	is "$status $(cat "$err")" "0 " "a machine reserves an iSCSI disk"
	like "$(cat "$(cat $target/dbroot)"/pr/aptpl_*)" 'PR_REG_START' \
		"a disk keeps a reservation over a loss of power"
	reserve a take
	is "$status $(cat "$err")" "0 " "a machine reserves what it has once more"
	mkdir "$root/run/silent"
	printf '#!/bin/sh\nexit 2\n' >"$root/run/silent/sg_persist"
	chmod 755 "$root/run/silent/sg_persist"
	run chroot "$root" env PATH="/run/silent:$PATH" MOTE_RESERVE_KEY=a00 \
		/run/mote-reserve release "$(iscsi_device a)"
	is "$status" 1 "a disk that does not answer is not released"
	writer one -d "$(iscsi_device a),direct"
	ok "a guest writes to a reserved iSCSI disk" eight_more one
	is "$(words "$images/iscsi.img")" one \
		"what a guest writes to an iSCSI disk is on the server"
	reserve b take
	is "$status" 1 "another machine cannot reserve it"
	like "$(cat "$err")" 'key a00 has it; stop its guest.*seize' \
		"another machine cannot reserve it: the message says what to do"
	ok "mote's lock of a device is this machine's: another one can open it" \
		accepted -d "$(iscsi_device b)"
	writer two -d "$(iscsi_device b),direct"
	ok "a guest of a machine without the reservation gets an I/O error" \
		until_is "$LIMIT" stopped two
	ended two
	like "$(cat "$err")" 'disk 0 .*another machine has reserved it; the guest gets an I/O error' \
		"mote names the disk that is another machine's"
	is "$(words "$images/iscsi.img")" one \
		"nothing is written without the reservation"
	ok "the guest with the reservation goes on" goes_on one

	reserve b seize
	is "$status $(cat "$err")" "0 " "another machine seizes the disk"
	writer three -d "$(iscsi_device b),direct"
	ok "a guest gets an I/O error when its disk was seized" \
		until_is "$LIMIT" stopped one
	ok "a guest writes to a disk that its machine has seized" \
		eight_more three
	is "$(words "$images/iscsi.img")" three \
		"whom a disk was taken from writes no more to it"
	ended one
	ends 0 poweroff "a guest whose disk was seized powers off"
	kill -INT "$(pid_of three)"
	ended three
	reserve a release
	reserve a take
	is "$status" 1 "releasing what another machine has changes nothing"
	reserve a release
	like "$(cat "$(cat $target/dbroot)"/pr/aptpl_*)" 'PR_REG_START' \
		"nor does it let the disk forget that at a loss of power"
	reserve b release
	is "$status $(cat "$err")" "0 " "a machine releases its disk"
	reserve a take
	is "$status $(cat "$err")" "0 " "a released disk can be reserved"
	reserve a release
	reserve a show
	like "$(cat "$out")" 'NO reservation' "then it is nobody's"
}

# -- networks -----------------------------------------------------------------

# Its network is eth0 of 10.9.31.0/24; it goes where it is told.
job reach <<'END'
address=$(sed "s/.*address=\([^ ]*\).*/\1/" /proc/cmdline)
ip addr add "$address/24" dev eth0
ip link set eth0 up
echo @up
while read -r n to seconds; do
	# A switch begins to use a port when it has noticed that this is up.
	while ! ping -c 1 -W 1 "$to" >/dev/null && [ $((seconds -= 1)) -gt 0 ]; do
		sleep 1
	done
	[ $seconds -gt 0 ] && echo "$n=yes" || echo "$n=no"
done
END

# net_guest NAME ADDRESS ARG...: its input is 8 or 7
net_guest() {
	net_name=$1 net_address=$2
	shift 2
	mkfifo "$tmp/$net_name.line"
	start "$net_name" $modules -i "$tmp/reach.job" -m 64M \
		-a "address=$net_address" "$@" \
		<>"$tmp/$net_name.line" >"$tmp/$net_name.out"
}

# reaches GUEST ADDRESS [SECONDS]: yes or no
reaches() {
	reach_count=$(($(grep -c = "$tmp/$1.out") + 1))
	echo "$reach_count $2 ${3:-60}" >"$tmp/$1.line"
	until_is "$LIMIT" come "$1" printed "$1" "^$reach_count="
	tr -d '\r' <"$tmp/$1.out" | sed -n "s/^$reach_count=//p"
}

# bond_has INTERFACE TEXT: the bond has found out
bond_has() {
	ip -n mote-a -d link show "$1" | grep -q "$2"
}

bond() {
	modprobe bonding max_bonds=0
	modprobe tun
	ip -n mote-srv link add bonded type bridge
	ip -n mote-srv addr add 10.9.31.1/24 dev bonded
	ip -n mote-srv link set bonded up
	ip -n mote-a link add bond0 type bond mode active-backup miimon 100
	ip -n mote-a link add br0 type bridge
	ip -n mote-a tuntap add tap0 mode tap
	for n in 1 2; do
		ip -n mote-srv link add leg$n type veth peer name leg$n netns mote-a
		ip -n mote-srv link set leg$n master bonded up
		ip -n mote-a link set leg$n master bond0
	done
	for n in bond0 tap0; do
		ip -n mote-a link set $n master br0
	done
	for n in bond0 tap0 br0; do
		ip -n mote-a link set $n up
	done
	net_guest bond 10.9.31.2 --netns /run/netns/mote-a -n tap=tap0
	exec 7>"$tmp/bond.line"
	until_is "$LIMIT" printed bond '^@up'
	is "$(reaches bond 10.9.31.1)" yes "a guest on a bond reaches others"
	ip -n mote-srv link set leg1 down
	until_is 60 bond_has bond0 'active_slave leg2'
	is "$(reaches bond 10.9.31.1)" yes \
		"a guest on a bond reaches others when one leg is down"
	ip -n mote-srv link set leg1 up
	until_is 60 bond_has leg1 'mii_status UP'
	ip -n mote-srv link set leg2 down
	until_is 60 bond_has bond0 'active_slave leg1'
	is "$(reaches bond 10.9.31.1)" yes \
		"a guest on a bond reaches others when the other leg is down"
	ip -n mote-srv link set leg1 down
	is "$(reaches bond 10.9.31.1 2)" no \
		"a guest on a bond reaches nobody when both legs are down"
	ip -n mote-srv link set leg1 up
	until_is 60 bond_has bond0 'active_slave leg1'
	is "$(reaches bond 10.9.31.1)" yes \
		"a guest on a bond reaches others when a leg is up again"
	exec 7>&-
	kill -INT "$(pid_of bond)"
	ended bond
	is "$(cat "$err")" "" "mote has nothing to say of a bond"
}

# The uplink has both VLANs tagged; each tap is in one, and knows nothing of it.
vlan() {
	modprobe 8021q
	modprobe tun
	ip -n mote-srv link add trunk type veth peer name trunk netns mote-b
	ip -n mote-srv link set trunk up
	# An address is the interface's that has it, and no other's.
	ip netns exec mote-srv sh -c \
		'echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore'
	ip -n mote-b link add br0 type bridge vlan_filtering 1 vlan_default_pvid 0
	ip -n mote-b link set trunk master br0 up
	for vid in 10 20; do
		ip -n mote-srv link add link trunk name "vlan$vid" type vlan id $vid
		ip -n mote-srv addr add "10.9.32.$vid/24" dev "vlan$vid" noprefixroute
		ip -n mote-srv link set "vlan$vid" up
		ip -n mote-b tuntap add "tap$vid" mode tap
		ip -n mote-b link set "tap$vid" master br0 up
		bridge -n mote-b vlan add dev trunk vid $vid
		bridge -n mote-b vlan add dev "tap$vid" vid $vid pvid untagged
		ip -n mote-srv route add "10.9.32.1$vid" dev "vlan$vid"
	done
	ip -n mote-b link set br0 up
	for vid in 10 20; do
		net_guest "vlan$vid" "10.9.32.1$vid" --netns /run/netns/mote-b \
			-n "tap=tap$vid"
	done
	exec 7>"$tmp/vlan10.line" 8>"$tmp/vlan20.line"
	for vid in 10 20; do
		until_is "$LIMIT" come "vlan$vid" printed "vlan$vid" '^@up'
		is "$(reaches "vlan$vid" "10.9.32.$vid")" yes \
			"a guest in VLAN $vid reaches that VLAN on the uplink"
		is "$(reaches "vlan$vid" "10.9.32.$((30 - vid))" 2)" no \
			"a guest in VLAN $vid does not reach the other one on the uplink"
	done
	is "$(reaches vlan10 10.9.32.120 2) $(reaches vlan20 10.9.32.110 2)" \
		"no no" "guests in two VLANs on one bridge do not reach each other"
	bridge -n mote-b vlan del dev tap20 vid 20
	bridge -n mote-b vlan add dev tap20 vid 10 pvid untagged
	is "$(reaches vlan10 10.9.32.120)" yes \
		"a guest whose tap is moved to the other VLAN is reached there"
	exec 7>&- 8>&-
	for vid in 10 20; do
		kill -INT "$(pid_of "vlan$vid")"
		ended "vlan$vid"
		is "$(cat "$err")" "" "mote has nothing to say of VLAN $vid"
	done
}

for part in ${TEST_STORAGE:-nfs nbd iscsi thin sparse bond vlan}; do
	$part
done
done_testing
