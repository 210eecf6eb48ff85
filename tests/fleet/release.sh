# SPDX-License-Identifier: Apache-2.0
# What the tests of packages share, beside tests/lib.sh; sourced.
#
# shellcheck shell=sh
# shellcheck disable=SC2154 # tests/lib.sh sets it

# checkout DIRECTORY: a git checkout of the tree as it is now, whatever is committed
# of that, and with no other history; twice the same commit. The library for musl
# comes with it, for it takes a network to build.
checkout() {
	mkdir -p "$1"
	tests/check/run files | tar -cf - -T - | tar -xf - -C "$1"
	mkdir -p "$1/build"
	cp -a build/deps "$1/build/"
	(
		cd "$1" || exit
		GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
		GIT_AUTHOR_NAME=mote GIT_AUTHOR_EMAIL=mote@packages.invalid
		GIT_COMMITTER_NAME=mote GIT_COMMITTER_EMAIL=mote@packages.invalid
		GIT_AUTHOR_DATE='1700000000 +0000'
		GIT_COMMITTER_DATE='1700000000 +0000'
		export GIT_CONFIG_GLOBAL GIT_CONFIG_NOSYSTEM GIT_AUTHOR_NAME \
			GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE GIT_COMMITTER_NAME \
			GIT_COMMITTER_EMAIL GIT_COMMITTER_DATE
		git init -q && git add -A && git commit -qm release
	) || { fail "git makes a checkout of the tree"; done_testing; }
}

# version: the Makefile's
version() {
	sed -n 's/^VERSION[[:space:]]*:= *//p' Makefile
}
