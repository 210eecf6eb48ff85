#!/bin/sh
# Root disks, made on the host by mke2fs and mkfs.erofs from one directory:
# that a command sees in each what was put there, where its writes go, and
# what is left of them. With Debian's kernel, and with the minimal one where
# that was built; which also boots from them without any initrd.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

minimal=build/kernel/vmlinux

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
ok "the packed one is smaller" \
	[ "$(wc -c <"$tmp/packed")" -lt "$(wc -c <"$tmp/erofs")" ]

look='
echo type=$(sed -n "s/^[^ ]* \/ \([a-z0-9]*\) .*/\1/p" /proc/mounts | tail -n 1)
echo sum=$(sha256sum <data/bytes | cut -c 1-64)
echo link=$(cat data/link) $(stat -c %a.%u etc/word) $(ls data | wc -l)
echo before=$(cat etc/word new 2>/dev/null)
echo new >>new && echo other >etc/word && rm -r data && sync
echo after=$(cat etc/word new) $(ls -d data 2>/dev/null)
'

# one KERNEL NAME OPTIONS: starts a guest that looks at the root, and writes
one() {
	kernel=$1
	archive=$MODULES
	[ "$kernel" != "$minimal" ] || archive=
	one_name=$2 one_root=$3
	shift 3
	boot "$one_name" ${archive:+-i "$archive"} -d "$tmp/$one_root" "$@" \
		-- sh -c "$look"
}

# boot() always gives the usual initrd, which has another /bin/sh: that the
# disk's own is found says that the command ran there.
same() {
	ends 0 exited "$1"
	is "$(got sum) $(got link)" "$sum word 4751.0 3" "its files, their owner"
	is "$(cat "$err")" "" "nothing is said"
}

# roots KERNEL WHICH
roots() {
	cp "$tmp/ext4" "$tmp/written"
	one "$1" first written,root
	one "$1" packed packed,ro,root
	ended first
	same "$2: ext4"
	is "$(got type) $(got before)" "ext4 word" "as it was made"
	is "$(got after)" "other new" "it is written to"
	run e2fsck -fn "$tmp/written"
	is "$status" 0 "and clean afterwards"

	one "$1" plain erofs,root,ro
	ended packed
	same "$2: erofs, compressed"
	is "$(got type)" overlay "with a tmpfs over it"
	is "$(got before) - $(got after)" "word - other new" "it is written to"
	ended plain
	same "$2: erofs"
	is "$(got before) - $(got after)" "word - other new" "it is written to"

	one "$1" readonly ext4,ro,root
	one "$1" ephemeral ext4,ephemeral,root
	ended readonly
	same "$2: ext4, read-only"
	is "$(got type) $(got after)" "overlay other new" "it is written to"
	ended ephemeral
	same "$2: ext4, ephemeral"
	is "$(got type) $(got after)" "ext4 other new" "it is written to"
}

before=$(sha256sum "$tmp/ext4" "$tmp/erofs" "$tmp/packed")
roots "$kernel" Debian
[ ! -e "$minimal" ] || roots "$minimal" minimal
is "$(sha256sum "$tmp/ext4" "$tmp/erofs" "$tmp/packed")" "$before" \
	"the images that were not to be written to are as they were"

# The kernel mounts it itself, and no archive is read.
if [ -e "$minimal" ]; then
	run timeout "$LIMIT" "$MOTE" -k "$minimal" -m 64M -d "$tmp/packed,ro,root"
	is "$status $(got init)" "0 1" "minimal: an init of its own, no initrd"
fi

done_testing
