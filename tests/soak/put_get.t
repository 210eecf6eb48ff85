#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# 1 GiB into a guest of 128 MiB and out again, and 20,000 small files of every
# kind: byte for byte, and neither mote's memory nor the guest's has to hold it.
# TEST_PUT_MB and TEST_PUT_FILES say otherwise.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

LIMIT=3000
mb=${TEST_PUT_MB:-1024}
count=${TEST_PUT_FILES:-20000}
minimal

# What it has in memory of its own, kB, at most, as long as that process runs.
watch_memory() {
	watch_most=0
	while watch_now=$(awk '/^Private_Dirty/ { print $2 }' \
		"/proc/$1/smaps_rollup" 2>/dev/null) && [ -n "$watch_now" ]; do
		[ "$watch_now" -le "$watch_most" ] || watch_most=$watch_now
		echo "$watch_most" >"$tmp/private"
		sleep 1
	done
}

# command NAME [OPTION...] -- WORD...
command() {
	command_name=$1
	shift
	# shellcheck disable=SC2086 # words
	boot "$command_name" $modules "$@"
}

seconds() {
	cut -d ' ' -f 1 /proc/uptime
}

# -- one large file ----------------------------------------------------------------

mkdir -p "$tmp/tree" "$tmp/root/bin"
cp build/guest/busybox "$tmp/root/bin"
ln -s busybox "$tmp/root/bin/sh"
/sbin/mke2fs -q -t ext4 -d "$tmp/root" "$tmp/ext4.img" $((mb + 256))M \
	>"$tmp/mke2fs" 2>&1 || {
	cat "$tmp/mke2fs"
	exit 1
}
head -c $((mb << 20)) /dev/urandom >"$tmp/tree/large"
sum=$(sha256sum <"$tmp/tree/large")
begin=$(seconds)
command large -d "$tmp/ext4.img,root" --put "$tmp/tree:/src" \
	--get "/src:$tmp/large.tar" -- sh -c \
	'busybox sha256sum </src/large; busybox cat /proc/uptime'
watch_memory "$(pid_of large)" &
ended large
wait
ends 0 exited "$mb MiB go into a guest of 128 MiB and out again"
is "$(head -n 1 "$out")" "$sum" "the guest has them byte for byte"
is "$(/bin/tar -xOf "$tmp/large.tar" ./large | sha256sum)" "$sum" \
	"and so has the archive"
echo "# $(awk -v a="$begin" -v b="$(seconds)" -v mb="$mb" \
	'BEGIN { printf "%.1f MB/s both ways together, boot and checksum included",
		2 * mb * 1.048576 / (b - a) }')"
# The guest's memory is shared with nobody, and is not looked at here.
like "$(cat "$tmp/private")" '^[0-9]+$' "mote's memory was seen"
ok "mote has no more memory of its own than the guest's and a little" \
	test "$(cat "$tmp/private")" -lt $(((128 + 16) << 10))
rm -f "$tmp/tree/large" "$tmp/large.tar" "$tmp/ext4.img"

# -- many small ones ---------------------------------------------------------------

# Of every kind, in 100 directories; the names of some are not what one types.
i=0
while [ "$i" -lt "$count" ]; do
	dir=$tmp/tree/$((i % 100))
	[ "$i" -ge 100 ] || mkdir "$dir"
	case $((i % 7)) in
	0) echo "$i" >"$dir/$i" && chmod "$((i % 8))$((i / 8 % 8))4" "$dir/$i" ;;
	1) ln -s "../$i" "$dir/$i" ;;
	2) echo "$i" >"$dir/first $i" && ln "$dir/first $i" "$dir/second $i" ;;
	3) truncate -s 1M "$dir/$i" && echo end >>"$dir/$i" ;;
	4) echo "$i" >"$dir/$(printf 'odd\n\377 %s' "$i")" ;;
	5) mkdir "$dir/$i" ;;
	6) : >"$dir/$i" && touch -d 2001-02-03 "$dir/$i" ;;
	esac
	i=$((i + 1))
done
/sbin/mke2fs -q -t ext4 -N $((count * 2 + 1000)) -d "$tmp/root" "$tmp/ext4.img" \
	512M >"$tmp/mke2fs" 2>&1
command many -d "$tmp/ext4.img,root" --put "$tmp/tree:/src" \
	--get "/src:$tmp/many.tar" -- sh -c 'busybox find /src | busybox wc -l'
ended many
ends 0 exited "$count small files go into a guest and out again"
is "$(cat "$err")" "" "nothing is said of them"
is "$(tr -d ' ' <"$out")" "$(find "$tmp/tree" -print0 | tr -dc '\n\0' |
	wc -c | tr -d ' ')" "the guest has as many names"
is "$(/bin/tar --warning=no-unknown-keyword --compare --file "$tmp/many.tar" -C "$tmp/tree" 2>&1)" "" \
	"GNU tar finds no difference"
mkdir "$tmp/got"
/bin/tar --warning=no-unknown-keyword -xf "$tmp/many.tar" -C "$tmp/got"
is "$(cd "$tmp/got" && find . -print0 | sort -z | sha256sum)" \
	"$(cd "$tmp/tree" && find . -print0 | sort -z | sha256sum)" \
	"the archive has the names of the tree"
is "$(find "$tmp/got" -links +1 -type f | wc -l)" \
	"$(find "$tmp/tree" -links +1 -type f | wc -l)" "hard links are hard links"

done_testing
