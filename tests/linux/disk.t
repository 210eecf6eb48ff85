#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Disks under Linux: a file system that holds what fio wrote, space
# that is given back, what a kill leaves, images that are shared.
#
# TEST_DISK_MB is what fio writes, twice: 256 unless told, and in the emulated
# machine 8. TEST_DISK_KILLS is how often mote is killed, by
# fours: 4 unless told. (More kills, and of each engine: tests/guest/disk.t.)
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

minimal

# On a file system of the disk's: /tmp may be in memory, and there O_DIRECT and
# much of fallocate are missing.
images=$(mktemp -d /var/tmp/mote-disk-XXXXXX) || exit 1
loop=
disk_end() {
	boot_end
	[ -z "$loop" ] || losetup -d "$loop"
	rm -rf "$images"
}
trap disk_end EXIT

# Not mke2fs: to busybox's shell that is one of its own programs.
fs() {
	/sbin/mke2fs -q -t ext4 "$@" >"$tmp/mke2fs" 2>&1 ||
		{ cat "$tmp/mke2fs"; exit 1; }
}

# -- fio, and a disk that it comes on -----------------------------------------

# fio with its libraries, found as the loader finds them.
loader=/lib64/ld-linux-x86-64.so.2
fio=$(command -v fio) || { echo "fio is not installed"; exit 1; }
mkdir -p "$images/tools"
cp "$fio" "$loader" "$images/tools/"
"$loader" --list "$fio" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' |
	while read -r library; do
		cp -L "$library" "$images/tools/"
	done
fs -d "$images/tools" -m 0 -O ^has_journal "$images/tools.img" \
	$(($(du -sm "$images/tools" | cut -f1) + 16))M
rm -rf "$images/tools"

# Random writes of 4 KiB to 1 MiB, eight at a time, read back and checked; the
# file system stays mounted only as long as that takes.
size=${TEST_DISK_MB:-$(emulated && echo 8 || echo 256)}
kills=${TEST_DISK_KILLS:-4}
job fio <<END
mkdir /t /d
mount -t ext4 -o ro /dev/vdb /t || echo bad=tools
mount -t ext4 /dev/vda /d || echo bad=mount
fio() {
	/t/ld-linux-x86-64.so.2 --library-path /t /t/fio "\$@"
}
for how in 0 1; do
	fio --name=v\$how --filename=/d/file\$how --size=${size}M \
		--rw=randwrite --bsrange=4k-1m --direct=\$how \
		--ioengine=libaio --iodepth=8 \
		--verify=crc32c --do_verify=1 --verify_fatal=1 --fsync=64 \
		--randrepeat=0 --thread >/tmp/fio.\$how 2>&1
	echo fio\$how=\$?
	sed "s/^/fio: /" /tmp/fio.\$how | grep -E "verify|err=|error" | head -5
done
cp /t/fio /d/copy && cmp /t/fio /d/copy || echo bad=copy
if [ -b /dev/vdc ]; then
	yes pattern | dd of=/dev/vdc bs=64k count=128 iflag=fullblock \
		conv=fsync 2>/dev/null
	blkdiscard -o 4194304 -l 4194304 /dev/vdc || echo bad=blkdiscard
	echo device=\$(blockdev --getsize64 /dev/vdc)
fi
echo serial=\$(cat /sys/block/vda/serial)/\$(cat /sys/block/vdb/serial)
echo ro=\$(cat /sys/block/vda/ro)/\$(cat /sys/block/vdb/ro)
dd if=/dev/zero of=/dev/vdb bs=4k count=1 2>/dev/null; echo rodd=\$?
umount /d || echo bad=umount
$driver_warnings
END

# The driver has writes in flight all the time, and is killed.
job kill <<'END'
i=0
while :; do
	i=$((i + 1))
	printf "%08d" $i | dd of=/dev/vda bs=512 seek=$((i % 8)) \
		conv=notrunc,sync,fsync 2>/dev/null || break
	echo ack=$i
done
END

# Writes, tells, waits for a line, discards.
job discard <<'END'
mkdir /d
mount -t ext4 /dev/vda /d || echo bad=mount
dd if=/dev/urandom of=/d/big bs=64k count=512 2>/dev/null
sync
echo written=1
read -r line
rm /d/big
sync
fstrim /d || echo bad=fstrim
umount /d || echo bad=umount
echo discards=$(cat /sys/block/vda/queue/discard_max_bytes)/$(cat \
	/sys/block/vda/queue/discard_granularity)
END

# What one of them writes, neither the other nor the image has.
for who in 1 2; do
	job share$who <<END
mkdir /d
root=\$(sed "s/.*root=\([^ ]*\).*/\1/" /proc/cmdline)
echo root=\$root/\$(grep -o "root=[^ ]* r[ow]" /proc/cmdline)
mount -t ext4 \$root /d || echo bad=mount
echo other=\$(ls /d | grep -c guest)
dd if=/dev/urandom of=/d/guest$who bs=64k count=64 2>/dev/null
md5sum </d/guest$who >/sum
sync
echo 3 >/proc/sys/vm/drop_caches
md5sum </d/guest$who | cmp - /sum && echo same=1
echo hello=\$(cat /d/hello)
umount /d
e=\$?
echo umount=\$e
END
done

fs "$images/a.img" $((2 * size + 48))M
fs "$images/d.img" 64M
mkdir "$images/root"
echo "of the base" >"$images/root/hello"
fs -d "$images/root" "$images/base.img" 5G
# The part of the base that a guest that got through would have changed.
base_now() {
	dd if="$images/base.img" bs=1M count=16 2>/dev/null | md5sum
	stat -c %y "$images/base.img"
}
base=$(base_now)

# used FILE: KiB on the host
used() {
	sync
	du -k "$images/$1" | cut -f1
}

whole() {
	e2fsck -fn "$images/$1" >"$tmp/fsck" 2>&1
}

# A block device of the host's, where there is one to be had: the loop driver's.
truncate -s 8M "$images/l.img"
[ "$(id -u)" != 0 ] || {
	modprobe loop
	loop=$(losetup -f)
	[ -n "$loop" ] && losetup "$loop" "$images/l.img" || loop=
} 2>/dev/null

boot fio $modules -i "$tmp/fio.job" -m 256M -c 2 \
	-d "$images/a.img,serial=the-first" -d "$images/tools.img,ro" \
	${loop:+-d "$loop"}
mkfifo "$tmp/line"
start discard $modules -i "$tmp/discard.job" -d "$images/d.img" \
	<>"$tmp/line" >"$tmp/discard.out"
exec 8>"$tmp/line"

until_is "$LIMIT" printed discard written=1 || echo "# nothing was written"
before=$(used d.img)
echo go >&8
ended discard
exec 8>&-
after=$(used d.img)
ends 0 poweroff "a guest that discards boots and powers off"
is "$(got bad)" "" "a disk is mounted, written and trimmed"
ok "32 MiB written take that much of the host's disk ($before KiB)" [ "$before" -ge 32768 ]
ok "fstrim gives the host's disk space back ($after KiB)" [ "$after" -le $((before - 30000)) ]
is "$(got discards)" 1073741824/4096 "discards are offered to Linux"
ok "the file system of a disk that was trimmed is whole" whole d.img

# With another engine each, while fio is at work.
boot share1 $modules -i "$tmp/share1.job" \
	-d "$images/base.img,ephemeral,root"
boot share2 $modules -i "$tmp/share2.job" -d "$images/tools.img,ro" \
	-d "$images/base.img,ephemeral,root,engine=threads"
for who in 1 2; do
	ended share$who
	ends 0 poweroff "ephemeral, guest $who: it boots and powers off"
	is "$(got bad)$(got other) $(got same) $(got umount)" "0 1 0" \
		"ephemeral, guest $who: it sees its own writes and no others"
	is "$(got hello)" "of the base" "ephemeral, guest $who: it sees what the image holds"
	is "$(got root)" \
		"$([ $who = 1 ] && echo '/dev/vda/root=/dev/vda rw' ||
			echo '/dev/vdb/root=/dev/vdb rw')" \
		"ephemeral, guest $who: its root disk is on the command line"
done
is "$(base_now)" "$base" "an image that two guests share as ephemeral does not change"

ended fio
ends 0 poweroff "a guest that runs fio boots and powers off"
is "$(got fio0) $(got fio1)" "0 0" \
	"random writes of 4k to 1M are read back right, cached and direct"
is "$(got bad)" "" "the disk that fio writes is mounted, copied to and unmounted"
is "$(got serial)" "the-first/" "a disk's serial number is in the guest's /sys"
is "$(got ro)" "0/1" "a disk's ro is known to the guest"
is "$(got rodd)" 1 "a guest cannot write to a disk that is ro"
is "$(got late)" "" "no driver of disks under fio warns"
ok "the file system that fio has written is whole" whole a.img

if [ -n "$loop" ]; then
	is "$(got device)" 8388608 "a block device of the host's is a disk"
	is "$(dd if="$loop" bs=64k count=64 2>/dev/null | md5sum)" \
		"$(yes pattern | dd bs=64k count=64 iflag=fullblock 2>/dev/null |
			md5sum)" "a block device of the host's is written to"
	ok "what was discarded on a block device takes no space ($(used l.img) KiB)" \
		[ "$(used l.img)" -lt 5000 ]
	/sbin/mke2fs -q "$loop" && mkdir "$images/m" &&
		mount "$loop" "$images/m"
	mote -k "$kernel" -d "$loop"
	ends 125 error "a block device that the host has mounted is refused"
	like "$(cat "$err")" "the host has it mounted" "a block device that the host has mounted: the message says so"
	umount "$images/m"
else
	for why in written discarded mounted; do
		pass "a block device, $why # SKIP needs root and the loop driver"
	done
fi

# number FILE N: what is in sector N of a killed guest's disk
number() {
	dd if="$images/$1" bs=512 skip="$2" count=1 2>/dev/null |
		head -c 8 | sed 's/^0*//' | tr -d '\0'
}

# lost_in ROUND: what dd had synced before the kill and is not there
lost_in() {
	last=$(got ack | tail -n 1)
	for back in 0 1 2 3 4 5; do
		n=$((last - back))
		[ "$n" -gt 0 ] || continue
		found=$(number "k$1.img" $((n % 8)))
		[ "$found" = "$n" ] || [ "$found" = $((n + 8)) ] ||
			echo "$n of $last in round $1: $found;"
	done
}

# Four at a time, each with another way to the file.
ways="engine=auto engine=uring engine=threads direct"
round=0
lost=
while [ "$round" -lt "$kills" ]; do
	first=$((round + 1))
	for way in $ways; do
		round=$((round + 1))
		truncate -s 64K "$images/k$round.img"
		boot kill$round $modules -i "$tmp/kill.job" \
			-d "$images/k$round.img,$way"
	done
	for n in $(seq "$first" "$round"); do
		until_is "$LIMIT" printed "kill$n" "ack=$((3 + n % 5))" ||
			lost="$lost nothing in $n;"
		sleep "0.$(printf %02d $((n * 37 % 100)))"
		kill -9 "$(pid_of "kill$n")"
		ended "kill$n"
		lost="$lost$(lost_in "$n")"
		rm "$images/k$n.img"
	done
done
is "$lost" "" "kill -9 of $round motes: what dd had synced through the guest's cache is there"

done_testing
