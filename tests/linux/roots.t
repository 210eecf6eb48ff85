#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Root disks, made on the host by mke2fs and mkfs.erofs from one directory:
# that a command sees in each what was put there, where its writes go, and
# what is left of them. With the minimal kernel, which also boots from one
# without any initrd; and with Debian's, whose file systems are modules, one of
# each.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

root=$tmp/root
mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/proc" "$root/sbin" \
	"$root/data/empty"
cp build/guest/busybox "$root/bin"
ln -s busybox "$root/bin/sh"
ln -s ../etc/word "$root/data/link"
echo word >"$root/etc/word"
chmod 4751 "$root/etc/word"
# more than the disk's cache reads at a time, half of it compressible
head -c 700000 /dev/urandom >"$root/data/bytes"
seq 150000 >>"$root/data/bytes"
cat >"$root/sbin/init" <<'END'
#!/bin/sh
busybox mount -t proc proc /proc
echo init=$(busybox grep -c " / erofs ro" /proc/mounts)
busybox poweroff -f
END
chmod 755 "$root/sbin/init"
sum=$(sha256sum <"$root/data/bytes" | cut -c 1-64)

images() {
	# Not mke2fs: to busybox's shell that is one of its own programs.
	truncate -s 16M "$tmp/ext4" &&
		/sbin/mke2fs -q -t ext4 -d "$root" "$tmp/ext4" &&
		mkfs.erofs --quiet --all-root "$tmp/erofs" "$root" &&
		mkfs.erofs --quiet --all-root -zlz4hc "$tmp/packed" "$root"
}
images >"$tmp/images" 2>&1 || {
	cat "$tmp/images"
	exit 1
}
ok "a compressed erofs image is smaller" \
	[ "$(wc -c <"$tmp/packed")" -lt "$(wc -c <"$tmp/erofs")" ]

look='
echo type=$(sed -n "s/^[^ ]* \/ \([a-z0-9]*\) .*/\1/p" /proc/mounts | tail -n 1)
echo sum=$(sha256sum <data/bytes | cut -c 1-64)
echo link=$(cat data/link) $(stat -c %a.%u etc/word) $(ls data | wc -l)
echo before=$(cat etc/word new 2>/dev/null)
echo new >>new && echo other >etc/word && rm -r data && sync
echo after=$(cat etc/word new) $(ls -d data 2>/dev/null)
'

# one NAME OPTIONS: starts a guest that looks at the root, and writes
one() {
	one_name=$1 one_root=$2
	shift 2
	# shellcheck disable=SC2086 # words
	boot "$one_name" $modules -d "$tmp/$one_root" "$@" -- sh -c "$look"
}

# boot() always gives the usual initrd, which has another /bin/sh: that the
# disk's own is found says that the command ran there.
same() {
	ends 0 exited "$1"
	is "$(got sum) $(got link)" "$sum word 4751.0 3" "$1: the files and their owner are as they were made"
	is "$(cat "$err")" "" "$1: nothing is on stderr"
}

# one_of_each WHICH: with a file system that is written to, and one that cannot be
one_of_each() {
	cp "$tmp/ext4" "$tmp/written"
	one first written,root
	one packed packed,ro,root
	ended first
	same "$1: ext4"
	is "$(got type) $(got before)" "ext4 word" "$1: ext4: the root is ext4, as it was made"
	is "$(got after)" "other new" "$1: ext4: it is written to"
	run e2fsck -fn "$tmp/written"
	is "$status" 0 "$1: ext4: it is clean afterwards"
	ended packed
	same "$1: erofs, compressed"
	is "$(got type)" overlay "$1: erofs, compressed: a tmpfs is over it"
	is "$(got before) - $(got after)" "word - other new" "$1: erofs, compressed: it is written to"
}

# the_rest WHICH
the_rest() {
	one plain erofs,root,ro
	one readonly ext4,ro,root
	ended plain
	same "$1: erofs"
	is "$(got before) - $(got after)" "word - other new" "$1: erofs: it is written to"
	one ephemeral ext4,ephemeral,root
	ended readonly
	same "$1: ext4, read-only"
	is "$(got type) $(got after)" "overlay other new" "$1: ext4, read-only: it is written to, in memory"
	ended ephemeral
	same "$1: ext4, ephemeral"
	is "$(got type) $(got after)" "ext4 other new" "$1: ext4, ephemeral: it is written to"
}

before=$(sha256sum "$tmp/ext4" "$tmp/erofs" "$tmp/packed")
one_of_each "Debian's kernel"
minimal
one_of_each "minimal kernel"
the_rest "minimal kernel"
is "$(sha256sum "$tmp/ext4" "$tmp/erofs" "$tmp/packed")" "$before" \
	"the images that were not to be written to are as they were"

# The kernel mounts it itself, and no archive is read.
if [ -z "$modules" ]; then
	run timeout "$LIMIT" "$MOTE" -k "$kernel" -m 64M -d "$tmp/packed,ro,root"
	is "$status $(got init)" "0 1" "a disk with an init of its own boots without an initrd"
fi

done_testing
