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

# Units, which systemd wants in a place of its own, are its test's.
installs() {
	make --no-print-directory install DESTDIR="$tmp/root" PREFIX=/opt/m &&
		(cd "$tmp/root" && find . -type f -o -type l | sort |
			grep -v ./opt/m/lib/systemd/) >"$tmp/files" &&
		{
			cat <<-'END'
			./opt/m/bin/mote
			./opt/m/bin/mote-oci
			./opt/m/share/bash-completion/completions/mote
			./opt/m/share/man/man1/mote-oci.1
			./opt/m/share/man/man1/mote.1
			./opt/m/share/zsh/site-functions/_mote
			END
			find boot/fleet -type f ! -path 'boot/fleet/package/*' \
				! -name '*.service' ! -name '*.socket' |
				sed 's|^boot|./opt/m/share/mote|'
		} | sort | diff - "$tmp/files"
}

# Scripts stay what they are, and texts too.
fleet_modes() {
	(cd boot && find fleet -type f -perm -100 ! -path 'fleet/package/*' | sort) \
		>"$tmp/scripts" &&
		(cd "$tmp/root/opt/m/share/mote" && find fleet -type f -perm -100 |
			sort) | diff "$tmp/scripts" -
}

runs_installed() {
	"$tmp/root/opt/m/bin/mote" --version
}

# A tree that is no checkout and no release has no commit.
names_commit() {
	commit=$(boot/fleet/package/commit)
	version=$(sed -n 's/^VERSION[[:space:]]*:= *//p' Makefile)
	"$mote" --version | tee "$tmp/version" |
		grep -qxF "mote $version${commit:+ (${commit% *})}" ||
		{ cat "$tmp/version"; return 1; }
}

# commit_of COMMAND [VARIABLE=VALUE]: what is said of a tree that the command has
# been run in
commit_of() {
	rm -rf "$tmp/tree"
	mkdir -p "$tmp/tree/cpu" "$tmp/tree/boot/fleet" &&
		cp -a boot/fleet/package "$tmp/tree/boot/fleet" &&
		touch "$tmp/tree/Makefile" "$tmp/tree/cpu/a.c" "$tmp/tree/README" &&
		(cd "$tmp/tree" && git init -q && git add -A &&
			GIT_COMMITTER_DATE='1700000000 +0000' git -c user.name=a \
			-c user.email=a@packages.invalid commit -qm a &&
			git rev-parse HEAD | cut -c 1-12 >"$tmp/hash" &&
			sh -c "$1") || return 1
	env ${2+"$2"} "$tmp/tree/boot/fleet/package/commit" |
		sed "s/^$(cat "$tmp/hash")/HASH/"
}

commit_states() {
	{
		commit_of true
		commit_of 'echo >README'
		commit_of 'echo >cpu/a.c'
		commit_of 'echo >cpu/new.c'
		commit_of 'git mv cpu/a.c cpu/b.c'
		commit_of 'git config status.showUntrackedFiles no
			echo >cpu/new.c'
		commit_of true "GIT_DIR=$tmp/nothing"
		commit_of 'git tag v1 && git config log.showSignature true'
		commit_of 'git archive --prefix=x/ HEAD | tar -x &&
			cp x/boot/fleet/package/archived boot/fleet/package && rm -rf .git x;
			git init -q; git add -A'
		commit_of 'rm -rf .git'
		commit_of 'rm -rf .git; mkdir ../outer; git -C .. init -q'
	} 2>&1 | diff - "$tmp/expected"
}

knows_states() {
	cat >"$tmp/expected" <<-'END'
	HASH 1700000000
	HASH 1700000000
	HASH-dirty 1700000000
	HASH-dirty 1700000000
	HASH-dirty 1700000000
	HASH-dirty 1700000000
	HASH 1700000000
	HASH 1700000000
	HASH 1700000000
	END
	commit_states
}

# So that none of what only tests are linked from is made anew by a commit.
one_line() {
	readelf -sW build/obj/boot/options/commit.o | tee "$tmp/symbols" |
		grep -q ' options_commit$' &&
		grep -rlF commit.h build/obj build/debug build/native \
			--include='*.d' | grep -v /commit.d && return 1
	grep -qF commit.h build/obj/boot/options/commit.d
}

manual() {
	mandoc -T lint -W warning "$tmp/root/opt/m/share/man/man1/mote.1" \
		"$tmp/root/opt/m/share/man/man1/mote-oci.1"
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

echo 1..19
check 'build/mote needs no interpreter' no_interpreter
check 'build/mote needs no shared library' no_library
check 'build/mote is position independent' relocatable
check 'build/mote is stripped' stripped
check 'the segments of build/mote are hardened' segments
check 'build/mote has at most 400 KiB' small
check 'nothing is left to make' current
check 'make deps does nothing the second time' deps_idle
check 'a missing tool is named with its cure' names_missing
check 'make install installs programs, documents and boot/fleet' installs
check 'make install leaves scripts of boot/fleet executable, and no more' fleet_modes
check 'the installed mote runs' runs_installed
check 'build/mote names the commit that it is made of' names_commit
check 'a commit is named as it is, changed, released and not at all' knows_states
check 'only one file is compiled anew for a commit' one_line
check 'mandoc finds nothing in the manual pages' manual
check 'bash accepts its completion' bash_completion
check 'the library for musl is proven' test -e build/deps/libseccomp.done
check 'no kernel is taken for missing where there is no network' kernels_offline
