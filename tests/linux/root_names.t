#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Roots that are named by what is on the disk and not by where it is: with a
# command, root=UUID=, LABEL= and PARTUUID=. There is no udev to ask; mote's init
# reads the disks itself.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

minimal

uuid=0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0
guid=03020100-0504-0706-0809-0a0b0c0d0e0f
mib=1048576

# le VALUE BYTES: little-endian, for printf
le() {
	le_value=$1 le_left=$2
	while [ "$le_left" -gt 0 ]; do
		printf '\\%03o' $((le_value & 255))
		le_value=$((le_value >> 8)) le_left=$((le_left - 1))
	done
}

# put FILE OFFSET FORMAT: bytes into a file
put() {
	# shellcheck disable=SC2059 # it is a format
	printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# crc FILE OFFSET SIZE: for printf; the end of a gzip file has it
crc() {
	dd if="$1" bs=1 skip="$2" count="$3" 2>/dev/null | gzip -c | tail -c 8 |
		head -c 4 | od -An -v -to1 | sed 's/ /\\/g'
}

# file_system FILE WORD [OPTION...]: ext4, in which /word says which it is
file_system() {
	fs_file=$1
	echo "$2" >"$tmp/root/word"
	shift 2
	# Not mke2fs: to busybox's shell that is one of its own programs.
	/sbin/mke2fs -q -t ext4 "$@" -d "$tmp/root" "$fs_file" 8M
}

# partitioned FILE FROM: two partitions, the second with that file system
partitioned() {
	truncate -s 12M "$1"
	dd if="$2" of="$1" bs=$mib seek=2 conv=notrunc 2>/dev/null
	put "$1" 510 '\125\252'
}

images() {
	mkdir -p "$tmp/root/bin" || return
	cp build/guest/busybox "$tmp/root/bin"
	ln -s busybox "$tmp/root/bin/sh"
	ln -s busybox "$tmp/root/bin/cat"
	file_system "$tmp/other" other -U 00112233-4455-6677-8899-aabbccddeeff \
		-L others &&
		file_system "$tmp/named" named -U $uuid -L "a_label" &&
		file_system "$tmp/on_gpt" gpt &&
		file_system "$tmp/on_mbr" mbr || return
	echo erofs >"$tmp/root/word"
	mkfs.erofs --quiet -U 12345678-9abc-def0-1234-56789abcdef0 "$tmp/erofs" \
		"$tmp/root" || return

	# UEFI 2.10, 5.2.3 and 5.3: protective MBR, header, two entries
	partitioned "$tmp/gpt" "$tmp/on_gpt"
	put "$tmp/gpt" 446 "\\0\\0\\2\\0\\356\\377\\377\\377$(le 1 4)$(le 24575 4)"
	for n in 0 1; do
		put "$tmp/gpt" $((1024 + n * 128)) "$(le 0x0FC63DAF 4)$(le \
			0x8483 2)$(le 0x4772 2)\\216\\171\\075\\151\\330\\107\\175\\344"
		put "$tmp/gpt" $((1048 + n * 128 + 8)) "$(le \
			$((2048 + n * 2048)) 8)$(le $((4095 + n * 16384)) 8)"
	done
	put "$tmp/gpt" 1040 '\377\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17'
	put "$tmp/gpt" 1168 '\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17'
	put "$tmp/gpt" 512 "EFI PART$(le 0x10000 4)$(le 92 4)$(le 0 8)$(le 1 8)$(
		le 24575 8)$(le 34 8)$(le 24542 8)$(le 1 8)$(le 2 8)$(le 2 8)$(
		le 4 4)$(le 128 4)$(crc "$tmp/gpt" 1024 512)"
	put "$tmp/gpt" 528 "$(crc "$tmp/gpt" 512 92)"

	partitioned "$tmp/mbr" "$tmp/on_mbr"
	put "$tmp/mbr" 440 "$(le 0xfedc0123 4)"
	put "$tmp/mbr" 462 "\\0\\0\\2\\0\\203\\377\\377\\377$(le 4096 4)$(le 16384 4)"
}
images >"$tmp/images" 2>&1 || {
	cat "$tmp/images"
	exit 1
}

# one NAME ROOT: a guest with all the disks prints the word of its root
one() {
	# shellcheck disable=SC2086 # words
	boot "$1" $modules -d "$tmp/other,ephemeral" -d "$tmp/gpt,ephemeral" \
		-d "$tmp/mbr,ephemeral" -d "$tmp/erofs,ro" \
		-d "$tmp/named,ephemeral" -a "root=$2 rw" -- cat /word
}

# says NAME WORD TEXT
says() {
	ended "$1"
	is "$status $(cat "$out" "$err")" "0 $2" "$3"
}

# refuses NAME LINE TEXT
refuses() {
	ended "$1"
	is "$status $(cat "$out" "$err")" "125 mote: $2" "$3"
}

one uuid "UUID=$uuid"
one label LABEL=a_label
says uuid named "root=UUID= is the disk with that file system"
one gpt "PARTUUID=$guid"
says label named "root=LABEL= is the disk with that label"
one mbr PARTUUID=FEDC0123-02
says gpt gpt "root=PARTUUID= is a partition of a GPT"
one erofs UUID=12345678-9abc-def0-1234-56789abcdef0
says mbr mbr "root=PARTUUID= is a partition of an MBR"
one none "UUID=${uuid%0}1"
says erofs erofs "root=UUID= is the disk with that erofs"
one other PARTLABEL=root
one zero PARTUUID=FEDC0123-00
refuses none "no disk has the name that root= gives: UUID=${uuid%0}1" \
	"a name that no disk has is refused, and said"
refuses other "root= is to be /dev/NAME, UUID=, LABEL= or PARTUUID=, not: PARTLABEL=root" \
	"a name of another kind is refused, and what is taken is said"
refuses zero "no disk has the name that root= gives: PARTUUID=FEDC0123-00" \
	"partitions of an MBR are numbered from 1: 0 is not the disk"

done_testing
