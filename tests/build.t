#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the build promises of build/mote, of `make deps` and `make install`.

set -u
cd "$(dirname "$0")/.." || exit 1
mote=build/mote
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
n=0

# check NAME COMMAND...: one test, with the command's output if it fails.
check() {
	name=$1
	shift
	n=$((n + 1))
	if "$@" >"$tmp/out" 2>&1; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		sed 's/^/# /' "$tmp/out"
	fi
}

no_interpreter() {
	readelf -lW "$mote" >"$tmp/headers" && cat "$tmp/headers" &&
		! grep -q INTERP "$tmp/headers"
}

no_library() {
	readelf -dW "$mote" >"$tmp/dynamic" && cat "$tmp/dynamic" &&
		! grep -q NEEDED "$tmp/dynamic"
}

relocatable() {
	readelf -hW "$mote" | tee "$tmp/header" | grep -q 'Type:.*DYN' ||
		{ cat "$tmp/header"; return 1; }
}

stripped() {
	readelf -SW "$mote" >"$tmp/sections" &&
		! grep -E '\.symtab|\.debug' "$tmp/sections"
}

# No segment is writable and executable, the stack neither, and what the
# program's relocation has written is read-only afterwards.
segments() {
	readelf -lW "$mote" >"$tmp/headers" && cat "$tmp/headers" &&
		! grep -E '^ +[A-Z].*RWE' "$tmp/headers" &&
		grep -q 'GNU_STACK.* RW ' "$tmp/headers" &&
		grep -q GNU_RELRO "$tmp/headers"
}

small() {
	stat -c '%s bytes' "$mote"
	[ "$(stat -c %s "$mote")" -le 409600 ]
}

# unchanged FILES COMMAND...: runs it, and it changes none of these, nor what is in
# them where they are directories.
unchanged() {
	where=$1
	shift
	touch "$tmp/now"
	"$@" || return 1
	# shellcheck disable=SC2086 # names
	found=$(find $where -newer "$tmp/now") || return 1
	[ -z "$found" ] || { echo "changed: $found"; return 1; }
}

# What `make` makes, and on the way to it. Beside these tests others write to
# build/tap and build/host, and the guest kernel's build to build/kernel.
current() {
	unchanged "build/obj build/init-obj build/native build/gen build/made-of
		build/init build/mote build/mote.1 build/mote.bash build/_mote" \
		make --no-print-directory all
}

# The second `make deps` neither asks the network nor changes a file.
deps_idle() {
	unchanged build/deps env http_proxy=http://127.0.0.1:9 \
		https_proxy=http://127.0.0.1:9 \
		timeout 10 make --no-print-directory deps
}

# A compiler that is not there is named, and so is the cure.
names_missing() {
	mkdir -p "$tmp/bin"
	for tool in sh dirname sort sed cat gcc; do
		ln -s "$(command -v "$tool")" "$tmp/bin/$tool"
	done
	! PATH=$tmp/bin tests/deps/packages missing build 2>"$tmp/said" &&
		cat "$tmp/said" && grep -q musl-tools "$tmp/said" &&
		grep -q 'make deps' "$tmp/said"
}

installs() {
	make --no-print-directory install DESTDIR="$tmp/root" PREFIX=/opt/m &&
		(cd "$tmp/root" && find . -type f | sort) >"$tmp/files" &&
		diff - "$tmp/files" <<-'END'
		./opt/m/bin/mote
		./opt/m/bin/mote-oci
		./opt/m/share/bash-completion/completions/mote
		./opt/m/share/man/man1/mote.1
		./opt/m/share/zsh/site-functions/_mote
		END
}

runs_installed() {
	"$tmp/root/opt/m/bin/mote" --version
}

manual() {
	mandoc -T lint -W warning "$tmp/root/opt/m/share/man/man1/mote.1"
}

bash_completion() {
	bash -n "$tmp/root/opt/m/share/bash-completion/completions/mote"
}

# kernels VERSIONS: what tests/host/kernels says and its status, in a tree of
# its own, where apt has lists of these versions and downloads nothing
kernels() {
	mkdir -p "$tmp/bin" "$tmp/tree/build/guest"
	ln -sfn "$PWD/tests" "$tmp/tree/tests"
	cat >"$tmp/bin/apt-get" <<-END
		#!/bin/sh
		case "\$*" in
		*indextargets*) echo http://mirror/debian/ ;;
		*) exit 100 ;;
		esac
	END
	cat >"$tmp/bin/apt-cache" <<-END
		#!/bin/sh
		case "\$*" in
		*madison*) for v in $1; do echo " meta | \$v | suite"; done ;;
		*) echo "Depends: linux-image-x (= 1)" ;;
		esac
	END
	chmod +x "$tmp/bin/apt-get" "$tmp/bin/apt-cache"
	PATH=$tmp/bin:$PATH FETCH_LOCKED=1 "$tmp/tree/tests/host/kernels" 2>&1
	echo "status $?"
	[ ! -s "$tmp/tree/build/guest/kernels/missing" ] ||
		sed 's/^/missing /' "$tmp/tree/build/guest/kernels/missing"
}

# What the mirrors do not have is a skip of soak/kernels.t; a network that does
# not work is not.
kernels_offline() {
	kernels '' | tee "$tmp/none" && kernels '6.1.5-1' | tee "$tmp/some" &&
		grep -q 'kernels: no list of packages came' "$tmp/none" &&
		grep -q 'kernels: .* 6.1.5-1 cannot be downloaded' "$tmp/some" &&
		! grep -v '^missing 5.10' "$tmp/none" "$tmp/some" |
		grep -E 'missing|status 0'
}

echo 1..15
check 'build/mote needs no interpreter' no_interpreter
check 'build/mote needs no shared library' no_library
check 'build/mote is position independent' relocatable
check 'build/mote is stripped' stripped
check 'the segments of build/mote are hardened' segments
check 'build/mote has at most 400 KiB' small
check 'nothing is left to make' current
check 'make deps does nothing the second time' deps_idle
check 'a missing tool is named with its cure' names_missing
check 'make install installs five files' installs
check 'the installed mote runs' runs_installed
check 'mandoc finds nothing in the manual page' manual
check 'bash accepts its completion' bash_completion
check 'the library for musl is proven' test -e build/deps/libseccomp.done
check 'no kernel is taken for missing where there is no network' kernels_offline
