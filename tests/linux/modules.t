#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Modules that the initrd brought, where the root disk has none of this kernel: that
# the kernel has them when it asks, and programs in /lib/modules, on roots that are
# written to and on others; and that a disk keeps nothing of it. What a root brings
# itself is its own.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

release=$(cat build/guest/release)
root=$tmp/root
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/tmp" \
	"$root/mnt"
cp build/guest/busybox "$root/bin"
ln -s busybox "$root/bin/sh"

# an ext4 NAME of what is in $root by now; an erofs
image() {
	truncate -s 16M "$tmp/$1"
	/sbin/mke2fs -q -t ext4 -d "$root" "$tmp/$1" >"$tmp/log" 2>&1 ||
		cat "$tmp/log"
}
mkfs.erofs --quiet --all-root "$tmp/bare.erofs" "$root" >"$tmp/log" 2>&1 ||
	cat "$tmp/log"
image bare
# As in Debian, but not relative, as some images have it.
mkdir -p "$root/usr/lib/modules/1.0-other"
ln -s /usr/lib "$root/lib"
: >"$root/usr/lib/modules/1.0-other/theirs"
image others
mkdir -p "$root/usr/lib/modules/$release" "$root/sbin"
: >"$root/usr/lib/modules/$release/modules.dep"
printf '#!/bin/sh\necho "$*" >>/asked\n' >"$root/sbin/modprobe"
chmod 755 "$root/sbin/modprobe"
image own

# No applet of busybox's goes before what it has to ask the kernel for. The
# initrd's own modules are more than an empty directory is.
look='
asks() { grep -cw "$1" /proc/filesystems; }
echo before=$(asks erofs)
mount -t erofs /dev/vdb /mnt 2>/dev/null
echo mounted=$(ls /mnt/bin | wc -l) after=$(asks erofs)
cd /lib/modules/$(uname -r) 2>/dev/null && echo listed=$(ls -d kernel modules.dep | wc -l)
cd /
mount -t nosuch /dev/vdb /mnt 2>/dev/null
dmesg | grep "still no fs" | sed "s/^/lied=/"
echo dirs=$(ls -d /lib/modules/* 2>/dev/null | wc -l)
echo theirs=$(ls /lib/modules/1.0-other 2>/dev/null)
touch /lib/modules/new 2>/dev/null; echo writable=$?
echo asked=$(sort -u asked 2>/dev/null | tr "\n" ";")
echo server=$(cat /proc/sys/kernel/modprobe)
'
# one NAME DISK
one() {
	boot "$1" -i "$MODULES" -d "$2" -d "$tmp/bare.erofs,ro" -- sh -c "$look"
}
# has NAME [BEFORE]: whether it had it before
has() {
	ends 0 exited "$1"
	is "$(cat "$err")" "" "$1: nothing is on stderr"
	is "$(got before) $(got mounted)" "${2:-0} 2 after=1" \
		"$1: the kernel has the file system that is mounted"
	is "$(got lied)" "" "$1: and is told that another one is not there"
}

sum=$(sha256sum "$tmp/bare.erofs")
one bare "$tmp/bare,root"
one others "$tmp/others,root"
ended bare
has "a root that is written to, without /lib"
is "$(got dirs)" 0 "a root that is written to is given no directory"
ended others
has "a root that is written to, with another kernel's modules"
is "$(got listed) $(got dirs) $(got theirs)" "2 2 theirs" \
	"a root with another kernel's modules shows those and the initrd's"
is "$(got writable)" 1 "nothing can be written where it would be lost"
one packed "$tmp/bare.erofs,ro,root"
one readonly "$tmp/others,ro,root"
ended packed
has "a root that cannot be written to, without /lib" 1
is "$(got listed) $(got dirs)" "2 1" \
	"a root that cannot be written to has the initrd's modules in /lib/modules"
ended readonly
has "a root under a tmpfs, with another kernel's modules"
is "$(got listed) $(got dirs) $(got theirs) $(got writable)" "2 2 theirs 0" \
	"a root under a tmpfs shows both, and can be written to"
is "$(sha256sum "$tmp/bare.erofs")" "$sum" "the image is as it was"

# The disk was written to, so nothing of the first start is to be in the second.
cp "$tmp/own" "$tmp/own.rw"
one again "$tmp/bare,root"
one own "$tmp/own.rw,root"
ended again
is "$(got dirs) $(got before)" "0 0" "the second start finds the disk as it was"
ended own
ends 0 exited "a root with modules of its own"
is "$(got listed) $(got server)" "1 /sbin/modprobe" \
	"a root with modules of its own has no others, and its own modprobe"
like "$(got asked)" "fs-erofs" "the kernel asks that modprobe"

done_testing
