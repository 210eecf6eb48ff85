#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Commands in guests, run after run, without one lost byte or wrong status: 10,
# or TEST_COMMAND_RUNS. With the minimal kernel, where that has been built.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

minimal
runs=${TEST_COMMAND_RUNS:-10}

root=$tmp/root
mkdir -p "$root/bin"
cp build/guest/busybox "$root/bin"
for applet in sh cat seq; do
	ln -s busybox "$root/bin/$applet"
done
# Not mke2fs: to busybox's shell that is one of its own programs.
/sbin/mke2fs -q -t ext4 -d "$root" "$tmp/ext4.img" 16M >"$tmp/mke2fs" 2>&1 || {
	cat "$tmp/mke2fs"
	exit 1
}

# Two at a time; both streams, and a status of its own each.
seq 1 2000 >"$tmp/want.out"
seq 1 999 >"$tmp/want.err"
good=0 i=0
while [ $i -lt "$runs" ]; do
	for j in a b; do
		# shellcheck disable=SC2086 # words
		boot "many$j" $modules -d "$tmp/ext4.img,root,ephemeral" \
			-- sh -c "seq 1 999 >&2; seq 1 2000; exit $((i % 256))"
	done
	for j in a b; do
		ended "many$j"
		if [ "$status" = $((i % 256)) ] &&
			cmp "$tmp/want.out" "$out" &&
			cmp "$tmp/want.err" "$err"; then
			good=$((good + 1))
		else
			tap_diagnose
		fi
	done
	i=$((i + 2))
done
is "$good" "$i" "$i commands in a row have each their status and every byte"

done_testing
