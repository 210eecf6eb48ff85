#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A project's tests in a guest, in one line: its directory goes in, `make test`
# runs there as an ordinary user with a network, what it has made comes out, and
# its status is mote's. For root, and for a user who has no right but to /dev/kvm.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

minimal
chmod 755 "$tmp"
socat=$(which socat)

# The root: busybox, make, and a client for the network, with their libraries.
root=$tmp/root
mkdir -p "$root/bin" "$root/tmp"
cp build/guest/busybox "$root/bin"
for applet in sh cat cut id mkdir stat; do
	ln -s busybox "$root/bin/$applet"
done
for program in "$(which make)" "$socat"; do
	for pair in $(with_libraries "$program"); do
		mkdir -p "$(dirname "$root/${pair#*=}")"
		cp -L "${pair%%=*}" "$root/${pair#*=}"
	done
done
mkfs.erofs --quiet --all-root "$tmp/root.erofs" "$root" >"$tmp/erofs" 2>&1 || {
	cat "$tmp/erofs"
	exit 1
}

# A service of the host's, which the project's tests want.
"$socat" TCP-LISTEN:7541,bind=127.0.0.1,fork,reuseaddr "SYSTEM:echo served" \
	>"$tmp/service" 2>&1 &
service=$!
trap 'kill $service; boot_end' EXIT

# project NAME: a directory with a Makefile
project() {
	mkdir -p "$tmp/$1/tests"
	cat >"$tmp/$1/Makefile" <<'END'
test: out/result out/who out/net
	@cat out/result
	@[ ! -e fails ]
out/result: tests/input | out
	cut -c 1-3 <tests/input >$@
out/who: | out
	echo $$(id -u):$$(id -G) $$(stat -c %u:%g .) $$PWD >$@
out/net: | out
	socat -u TCP:10.0.2.2:7541 - >$@
out:
	mkdir out
END
	echo abcdef >"$tmp/$1/tests/input"
	chmod -R a+rX "$tmp/$1"
}

# in_guest NAME: the line, in that directory, in the background. What is not in
# it for somebody at a shell: where the tree has the kernel, and the events.
top=$PWD
in_guest() {
	(
		cd "$tmp/$1" && rm -f events || exit 1
		# shellcheck disable=SC2086 # words
		exec $as "$top/$MOTE" -k "$top/$kernel" ${modules:+-i "$top/$MODULES"} \
			-d "$tmp/root.erofs,root,ro" --events events \
			-n user --put . --as 1000 -w /src --get /src/out:out.tar \
			-- make test
	) </dev/null >"$tmp/$1.out" 2>"$tmp/$1.err" &
	echo $! >"$tmp/$1.pid"
}

# over NAME: the status, and what the archive has, by unpacking it
over() {
	ended "$1"
	events=$tmp/$1/events
	rm -rf "$tmp/unpacked"
	mkdir "$tmp/unpacked"
	/bin/tar -xf "$tmp/$1/out.tar" -C "$tmp/unpacked"
	unpacked=$(cd "$tmp/unpacked" && find . -type f | sort | tr '\n' ' ' &&
		cat result who net)
}

# comes_out WHO: the archive is right
comes_out() {
	is "$unpacked" "./net ./result ./who abc
1000:0 1000:0 /src
served" "$1: the archive has what the tests have made"
	is "$(/bin/tar --numeric-owner -tvf "$tmp/$name/out.tar" |
		awk '{ print $1, $2 }' | sort -u | tr '\n' ' ')" "-rw-r--r-- 0/0 drwxr-xr-x 0/0 " \
		"$1: modes are as they were, and the owner is root"
}

as=
project root
in_guest root
set -- root
if [ "$(id -u)" -eq 0 ]; then
	user=54321 # of tests/as-user
	as=$top/tests/as-user
	project user
	chown -R "$user:$user" "$tmp/user"
	chmod 700 "$tmp/user"
	in_guest user
	set -- root user
fi
for name; do
	over "$name"
	ends 0 exited "$name: make test in a guest, its status 0"
	is "$(grep -v 'this host has no default route' "$err")" "" \
		"$name: nothing else is said"
	is "$(tail -n 1 "$out")" abc "$name: what make prints is mote's output"
	comes_out "$name"
done

# The last one again, with a test that fails; what was there is written anew.
: >"$tmp/$name/fails"
echo xyz123 >"$tmp/$name/tests/input"
in_guest "$name"
over "$name"
ends 2 exited "a test that fails: the status is make's"
like "$(cat "$err")" "make: .*\[Makefile:3: test\] Error 1" "and make says so"
is "$(cat "$tmp/unpacked/result")" xyz \
	"what has been made comes out all the same"

done_testing
