#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Kernels that are none, and files that cannot be had: one clear line each,
# status 125, reason error; and the good ways to give a kernel.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

good=$GUESTS/hello.elf

# refused PATTERN NAME: the last run was, and its one line matches
refused() {
	if [ "$status $(reason) $(grep -c ^mote: "$err") $(wc -l <"$err")" \
		= "125 error 1 1" ] && [ ! -s "$out" ]; then
		like "$(cat "$err")" "$1" "$2"
	else
		is "$status $(reason)" "125 error, and one line" "$2"
	fi
}

# try FILE PATTERN NAME: refused, with --check and without
try() {
	mote -k "$1"
	refused "$2" "$3 is no kernel"
	mote -k "$1" --check
	is "$status $(wc -l <"$err")" "125 1" "$3 is no kernel, with --check"
}

# patch OFFSET BYTES...: a copy of the good kernel with other bytes there
patch() {
	cp "$good" "$tmp/patched"
	patch_at=$1
	shift
	# shellcheck disable=SC2059 # the bytes are octal escapes
	printf "$(printf '\\%s' "$@")" |
		dd of="$tmp/patched" bs=1 seek="$patch_at" conv=notrunc \
			2>/dev/null
	echo "$tmp/patched"
}

try "$tmp/missing" "missing.*No such file" "a file that does not exist"
try "$tmp" "$tmp.*irectory" "a directory"
: >"$tmp/empty"
try "$tmp/empty" "empty" "an empty file"
echo "this is no kernel" >"$tmp/text"
try "$tmp/text" "text" "a text"
head -c 100000 /dev/zero >"$tmp/zeros"
try "$tmp/zeros" "zeros" "zeros"
head -c 100000 /dev/urandom >"$tmp/noise"
try "$tmp/noise" "noise" "noise"
try /dev/null "/dev/null" "/dev/null"
try /dev/zero "/dev/zero" "/dev/zero"
ln -s loop "$tmp/loop"
try "$tmp/loop" "loop" "a symbolic link to itself"
try "/proc/self/mem" "mem" "a file that cannot be read"

for bytes in 1 63 64 100 119 4097 8192; do
	head -c $bytes "$good" >"$tmp/cut"
	try "$tmp/cut" "cut" "an ELF file cut to $bytes bytes"
done
tests/tools/bzimage "$good" >"$tmp/bz"
for bytes in 512 600 1024 2048 3000 $(($(stat -c %s "$tmp/bz") - 1)); do
	head -c "$bytes" "$tmp/bz" >"$tmp/cut"
	try "$tmp/cut" "cut" "a bzImage cut to $bytes bytes"
done

# ELF-64 Object File Format: offsets in the header, then in the first and only
# program headers, which begin at 64.
try "$(patch 4 001)" "32" "a 32-bit ELF file"
try "$(patch 5 002)" "patched" "a big-endian ELF file"
try "$(patch 18 267)" "patched" "an ELF file for another machine"
try "$(patch 16 001)" "patched" "an object file"
try "$(patch 56 000)" "patched" "an ELF file without segments"
try "$(patch 54 001)" "patched" "program headers of another size"
try "$(patch 32 377 377 377 377 377 377 377 177)" "patched" \
	"program headers beyond the file"
try "$(patch 88 000 000 000 000 001)" "patched" "a segment outside of RAM"
try "$(patch 88 000 000 000 000 000 000 000 200)" "patched" \
	"a segment at 2^63"
try "$(patch 88 000 000 000 000)" "patched" "a segment at 0"
try "$(patch 96 377 377 377 377 377 377 377 377)" "patched" \
	"a segment that wraps"
try "$(patch 24 000 000 000 000)" "patched" "an entry outside of its segments"

mote -k "$good" -m 16M
is "$status" 125 "too little memory for a kernel is refused"
mote -k "$good" -m 32M
ends 0 poweroff "32 MiB are enough for a guest"

mote -k fd=7
refused "fd=7" "a descriptor that is not open is no kernel"
mote -k fd=7 7<"$tmp"
refused "irectory" "a descriptor of a directory is no kernel"
mote -k fd=7 7>"$tmp/unreadable"
refused "fd=7" "a descriptor that is open for writing only is no kernel"
mote -k fd=7 7<"$good"
ends 0 poweroff "a kernel by fd boots"
mote -k fd=7,copy 7<"$good"
ends 0 poweroff "a copy of a kernel by fd boots"
mote -k "$good,copy"
ends 0 poweroff "a copy of a kernel boots"
cp "$good" "$tmp/a,b"
mote -k "$tmp/a,,b"
ends 0 poweroff "a kernel with a comma in its name boots"
mote -k "$good" --check
is "$status $(cat "$out" "$err")" "0 " "--check of a good kernel says nothing"
mote --check
is "$status $(wc -l <"$err")" "125 1" "no kernel at all is status 125 and one line"

# As a user with no rights to the kernel, or none to /dev/kvm.
cp "$MOTE" "$good" "$tmp"
chmod 755 "$tmp" "$tmp/mote"
chmod 000 "$tmp/hello.elf"
plain=
[ "$(id -u)" -ne 0 ] || plain="setpriv --reuid 65534 --regid 65534 --clear-groups"
# shellcheck disable=SC2086 # words
run $plain "$tmp/${MOTE##*/}" -k "$tmp/hello.elf"
is "$status $(wc -l <"$err")" "125 1" "a kernel that may not be read is status 125 and one line"
like "$(cat "$err")" "hello.elf.*Permission denied" "a kernel that may not be read is named, and why"

done_testing
