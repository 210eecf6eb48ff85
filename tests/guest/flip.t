#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Damaged kernels: every byte of the first KiB of a good ELF file and of a good
# bzImage turned over, one at a time, and single bits of each, and the files cut
# at every length up to that: `mote --check` accepts or refuses, in one clear line,
# and never crashes or hangs. TEST_FLIP_BYTES: of how many bytes.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

LIMIT=300
# What the loader looks at lies in the first KiB of both.
bytes=${TEST_FLIP_BYTES:-1024}
elf=$GUESTS/hello.elf
bzimage=$tmp/hello.bz
tests/tools/bzimage "$elf" >"$bzimage"
ok "the bzImage to damage is a good one" "$MOTE" -k "$bzimage" --check

for kernel in "$elf" "$bzimage"; do
	for mask in 0xff 0x01 0x80; do
		run "$TOOLS/flip" "$MOTE" "$kernel" flip "$mask" "$bytes"
		is "$status $(sed 's/.* refused, //' "$out")" "0 0 wrong" \
			"${kernel##*.} with every byte XOR $mask: $(cat "$out")"
	done
	run "$TOOLS/flip" "$MOTE" "$kernel" cut "$bytes"
	is "$status $(cat "$out")" \
		"0 0 accepted, $bytes refused, 0 wrong" \
		"${kernel##*.} cut to every length is refused"
done

done_testing
