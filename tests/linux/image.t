#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A guest from a container image that mote-oci has made a disk and arguments of:
# its command, environment, directory and user are the image's.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

minimal

# busybox's shell has an xargs of its own, which knows less.
real_xargs=$(which xargs)
XDG_CACHE_HOME=$tmp/cache
export XDG_CACHE_HOME
root=$tmp/root
image=$tmp/img:app
# shellcheck disable=SC2016 # the guest's
own='echo "it=$(busybox id -u):$(busybox id -G) $PWD $HOME $A"'
# shellcheck disable=SC2016 # the guest's
other='b=busybox; echo modes=$($b stat -c %u:%g:%a /bin/suid /etc/hidden .); $b cat file; $b cat /etc/hidden; echo new >file; $b cat file'
images() {
	mkdir -p "$root/bin" "$root/etc" "$tmp/app" &&
		cp build/guest/busybox "$root/bin" &&
		ln -s busybox "$root/bin/sh" && echo >"$root/bin/suid" &&
		chmod 4711 "$root/bin/suid" && echo hidden >"$root/etc/hidden" &&
		chmod 0 "$root/etc/hidden" && echo own >"$tmp/app/file" &&
		chown -R 1000:1001 "$tmp/app" && chmod 700 "$tmp/app" || return
	echo 'app:x:1000:1001::/app:/bin/sh' >"$root/etc/passwd"
	echo 'staff:x:50:app' >"$root/etc/group"
	umoci init --layout "$tmp/img" && umoci new --image "$image" &&
		umoci insert --image "$image" "$root/bin" /bin &&
		umoci insert --image "$image" "$root/etc" /etc &&
		umoci insert --image "$image" "$tmp/app" /app &&
		umoci config --image "$image" --config.env 'A=two  words' \
			--config.workingdir /app --config.user app \
			--config.entrypoint sh --config.entrypoint -c \
			--config.cmd "$own"
}
images >"$tmp/images" 2>&1 || {
	cat "$tmp/images"
	exit 1
}

# make ARG...: $tmp/box.erofs and $tmp/box.args
make() {
	run boot/image/mote-oci "oci:$image" "$tmp/box" "$@"
}

# box NAME: what is made runs, as the manual of mote-oci says
box() {
	rm -f "$tmp/$1.events"
	# shellcheck disable=SC2086 # words
	"$real_xargs" -a "$tmp/box.args" -d '\n' "$MOTE" -k "$kernel" $modules \
		--events "$tmp/$1.events" --timeout "${LIMIT}s" \
		-d "$tmp/box.erofs,ro,root" </dev/null \
		>"$tmp/$1.out" 2>"$tmp/$1.err" &
	echo $! >"$tmp/$1.pid"
}

make
is "$status $(cat "$out" "$err")" "0 " "an image of three layers is made"
box own
ended own
is "$status $(got it)" "0 1000:1001 50 /app /app two  words" \
	"an image's own command runs as its user, there, with its environment"
make -- "$other"
box given
ended given
is "$(cat "$out" | tr '\n' '|')" \
	"modes=0:0:4711 0:0:0 1000:1001:700|own|new|" \
	"a command that was given: files have their owners, modes and contents"
like "$(cat "$err")" "hidden.*Permission denied" "and are not everybody's"
is "$(reason)" exited "it has ended by itself"

done_testing
