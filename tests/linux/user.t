#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Linux guests started by an ordinary user, who has no right but that to
# /dev/kvm: Debian's kernel with two disks, a vsock and the power button; a
# command on a root disk, with its streams; a panic. All of the tests of Linux
# guests once more, started by him: tests/soak/user.t.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

[ "$(id -u)" -eq 0 ] || {
	echo "1..0 # SKIP all tests are an ordinary user's already"
	exit 0
}

user=54321 # of tests/as-user
chmod 777 "$tmp"
printf '#!/bin/sh\nexec %s/tests/as-user %s/%s "$@"\n' "$PWD" "$PWD" "$MOTE" \
	>"$tmp/his-mote"
chmod 755 "$tmp/his-mote"
MOTE=$tmp/his-mote

# his FILE: it becomes the user's, and nobody else can read it
his() {
	chown "$user" "$1"
	chmod 600 "$1"
}

# -- Debian's kernel, and devices ---------------------------------------------

for disk in a b; do
	echo "disk $disk" >"$tmp/$disk"
	truncate -s 1M "$tmp/$disk"
	his "$tmp/$disk"
done
job devices <<'END'
echo disks=$(head -n 1 /dev/vda), $(head -n 1 /dev/vdb)
echo written >/dev/vda
sync
ls /dev/vsock >/dev/null && echo vsock=yes
outb 0x507 1
while :; do sleep 1; done
END
boot devices -c 2 -i "$MODULES" -i "$tmp/devices.job" -d "$tmp/a" \
	-d "$tmp/b,engine=threads,ro" --vsock "$tmp/v"

# -- a command ----------------------------------------------------------------

minimal
root=$tmp/root
mkdir -p "$root/bin"
cp build/guest/busybox "$root/bin"
for applet in sh cat wc; do
	ln -s busybox "$root/bin/$applet"
done
# Not mke2fs: to busybox's shell that is one of its own programs.
/sbin/mke2fs -q -t ext4 -d "$root" "$tmp/ext4.img" 16M >"$tmp/mke2fs" 2>&1 || {
	cat "$tmp/mke2fs"
	exit 1
}
his "$tmp/ext4.img"
head -c 300000 /dev/urandom >"$tmp/random"
input=$tmp/random
# shellcheck disable=SC2086 # words
boot command $modules -d "$tmp/ext4.img,root" -- \
	sh -c 'cat; echo err >&2; echo kept >/kept; exit 42'
input=

ok "an ordinary user's guest with devices is up" \
	until_is "$LIMIT" waiting devices
is "$(sed -n 's/^Uid:.//p' "/proc/$(pid_of devices)/status" | tr '\t' ' ')" \
	"$user $user $user $user" "mote is the ordinary user who started it"
ok "an ordinary user's vsock has its socket" test -S "$tmp/v"
kill -TERM "$(pid_of devices)"
ended devices
ends 0 poweroff "an ordinary user's guest is powered off by SIGTERM"
is "$(got disks)" "disk a, disk b" "an ordinary user's disks are read"
is "$(head -c 7 "$tmp/a")" written "an ordinary user's disk is written"
is "$(got vsock)" yes "an ordinary user's guest finds its vsock"
is "$(cat "$err")" "" "an ordinary user is told nothing where all is well"

ended command
ends 42 exited "an ordinary user's command has its status"
ok "an ordinary user's command has its input and output" \
	cmp "$tmp/random" "$out"
is "$(cat "$err")" err "an ordinary user's command has its stderr"
run e2fsck -fn "$tmp/ext4.img"
is "$status" 0 "an ordinary user's root disk is clean after a command"

# -- an end that is none -------------------------------------------------------

job panic <<'END'
outb 0x507 1
echo c >/proc/sysrq-trigger
END
# shellcheck disable=SC2086 # words
boot panic $modules -i "$tmp/panic.job"
ended panic
ends 123 panic "a panic of an ordinary user's guest is told"

done_testing
