#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The README's examples, run as they are written: every indented line that
# starts with a $ is a command, the indented lines after it are what it prints
# ("..." stands for anything; a carriage return of the console for nothing).
# Those that load modules boot Debian's kernel, which has them; but for those that
# write to a disk, whose modules others have loaded.
# needs: the minimal kernel
# Root has a network of its own here, with a way out that leads nowhere.
[ "$(id -u)" != 0 ] || [ -n "${README_NETWORK-}" ] ||
	README_NETWORK=own exec unshare -n "$0" "$@"
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

top=$PWD
mkdir "$tmp/bin" "$tmp/here"
ln -s "$top/$MOTE" "$tmp/bin/mote" 2>/dev/null || ln -s "$MOTE" "$tmp/bin/mote"
ln -s "$top/$INITRD" "$tmp/here/initrd.cpio"
ln -s "$top/$MODULES" "$tmp/here/modules.cpio"
ln -s "$top/boot/image/mote-oci" "$tmp/bin/mote-oci"
XDG_CACHE_HOME=$tmp/cache
export XDG_CACHE_HOME
# What skopeo would have fetched: an OCI image, made here from the initramfs.
(
	mkdir "$tmp/oci" && cd "$tmp/oci" && cpio -id <"$top/$INITRD" &&
		cd "$tmp/here" && umoci init --layout busybox &&
		umoci new --image busybox:latest &&
		umoci insert --image busybox:latest "$tmp/oci/bin" /bin &&
		umoci config --image busybox:latest --config.cmd sh \
			--config.cmd -c --config.cmd 'echo hello from busybox'
) >"$tmp/oci.log" 2>&1 || { cat "$tmp/oci.log"; exit 1; }
PATH=$tmp/bin:/usr/sbin:/sbin:$PATH
[ -z "${README_NETWORK-}" ] || {
	ip link set lo up
	ip link add out type dummy
	ip link set out up
	ip address add 10.9.8.1/24 dev out
	ip route add default via 10.9.8.2
}

# One file each: NN.run the command, NN.want what it prints.
awk -v dir="$tmp" '
	/^    \$ / {
		n++
		base = sprintf("%s/%02d", dir, n)
		print substr($0, 7) >(base ".run")
		printf "" >(base ".want")
		next
	}
	/^    / && base != "" { print substr($0, 5) >(base ".want"); next }
	{ base = "" }
' README.md

# matches WANT GOT: the files agree, line by line
matches() {
	awk '
		function pattern(line) {
			gsub(/[][\\.^$*+?(){}|]/, "\\\\&", line)
			gsub(/\\\.\\\.\\\./, ".*", line)
			return "^" line "$"
		}
		NR == FNR { want[++n] = $0; next }
		{ got[++m] = $0 }
		END {
			j = 1
			for (i = 1; i <= n; i++) {
				if (want[i] == "..." && i == n)
					exit 0
				if (j > m || got[j++] !~ pattern(want[i]))
					exit 1
			}
			exit j <= m
		}
	' "$1" "$2"
}

# Busybox's shell takes its own mke2fs and xargs, which know less.
real_xargs=$(which xargs)
export real_xargs
prelude='mke2fs() { /sbin/mke2fs "$@"; }; xargs() { "$real_xargs" "$@"; }; . "$0"'
examples=0
for run in "$tmp"/[0-9][0-9].run; do
	base=${run%.run}
	case $(cat "$run") in
	*modules.cpio*root.img*) minimal ;;
	*modules.cpio*) debian ;;
	*) minimal ;;
	esac
	ln -sfn "$top/$kernel" "$tmp/here/vmlinux"
	# A file, not a pipe: what an example leaves running would keep that open.
	(cd "$tmp/here" && timeout "$LIMIT" sh -c "$prelude" "$run") </dev/null \
		>"$base.printed" 2>&1
	tr -d '\r' <"$base.printed" >"$base.got"
	if matches "$base.want" "$base.got"; then
		pass "$(cat "$run")"
	else
		fail "$(cat "$run")"
		tap_note <"$base.got"
	fi
	examples=$((examples + 1))
done
ok "the README has ten examples at least" [ "$examples" -ge 10 ]
done_testing
