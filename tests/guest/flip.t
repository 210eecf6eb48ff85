#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Damaged kernels: every byte of the first 4 KiB of a good ELF file and of a
# good bzImage turned over, one at a time, single bits of each byte of their
# headers, and the files cut at every length: `mote --check` accepts or refuses,
# in one clear line, and never crashes or hangs.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

LIMIT=300
elf=$GUESTS/hello.elf
bzimage=$tmp/hello.bz
tests/tools/bzimage "$elf" >"$bzimage"
ok "the bzImage to damage is a good one" "$MOTE" -k "$bzimage" --check

for kernel in "$elf" "$bzimage"; do
	# What the loader looks at lies in the first KiB of both.
	for round in 0xff:4096 0x01:1024 0x80:1024; do
		mask=${round%:*}
		run "$TOOLS/flip" "$MOTE" "$kernel" flip "$mask" "${round#*:}"
		is "$status $(sed 's/.* refused, //' "$out")" "0 0 wrong" \
			"${kernel##*.} with every byte XOR $mask: $(cat "$out")"
	done
	run "$TOOLS/flip" "$MOTE" "$kernel" cut 4096
	is "$status $(cat "$out")" \
		"0 0 accepted, 4096 refused, 0 wrong" \
		"${kernel##*.} cut to every length is refused"
done

done_testing
