#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-License-Identifier: Apache-2.0
# Hosts that lack part of what the sandbox is made of: older kernels, and such
# as do not let a user have it (tests/tools/without makes one of them of this).
# What is missing is said, the rest holds, and where it decides what a mote that
# was taken over could reach, mote does without rather than leave it open.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

[ "$(id -u)" -eq 0 ] || {
	echo "1..0 # SKIP needs root to look into the process"
	exit 0
}

# What an ordinary user runs has to be where he gets at it.
chmod 711 "$tmp"
mkdir -m 777 "$tmp/his"
cp "$MOTE" "$GUESTS/hang.elf" "$GUESTS/hello.elf" "$tmp/his"
mkdir "$tmp/vs"

# poor CALLS GUEST OPTION...: in the background, until the guest is there
poor() {
	poor_calls=$1
	poor_mote=$MOTE
	shift
	MOTE="$tmp/poor"
	printf '#!/bin/sh\nexec %s %s %s "$@"\n' "$PWD/$TOOLS/without" \
		"$poor_calls" "$PWD/$poor_mote" >"$MOTE"
	chmod +x "$MOTE"
	guest_start "$@" --log info
	MOTE=$poor_mote
	poor_where="without $poor_calls"
	ok "$poor_where a guest runs" await says hanging
}

# over: it ends, and leaves no message of its own death
over() {
	kill -INT "$pid"
	guest_end
	ends 130 signal "$poor_where mote ends as it should"
}

said() {
	like "$(cat "$err")" "$1" "$poor_where mote says: $2"
}

# dies TEXT NUMBER ARGUMENT...: of that call, made by the main thread
dies() {
	dies_text=$1
	shift
	is "$("$TOOLS/inject" "$pid" "$@")" trapped \
		"$poor_where a call is trapped: $dies_text"
	guest_end
	is "$status" 159 "$poor_where that call is the end of mote: $dies_text"
}

# The guest reaches a listener of the host, whatever mote itself lacks.
dials() {
	rm -f "$tmp/vs"/*
	: >"$out"
	"$TOOLS/without" "$1" "$MOTE" -k "$GUESTS/vsock_dial.elf" -m 64M \
		--vsock "$tmp/vs/v" >"$out" 2>"$err" &
	pid=$!
	await says dialling
	printf 'host here\n' | timeout "$LIMIT" socat -t 3 - \
		"UNIX-LISTEN:$tmp/vs/v_1234" >"$tmp/heard"
	guest_end
	is "$status $(cat "$tmp/heard")" "0 guest calling" \
		"without $1 a guest reaches a listener"
	ok "without $1 the socket is removed" unlinked "$tmp/vs/v"
}

# -- older kernels ------------------------------------------------------------

poor close_range hang 8<"$0" 9<"$0"
is "$(for fd in "/proc/$pid/fd"/*; do readlink "$fd"; done |
	grep -c "poor.t")" 0 \
	"without close_range what the caller forgot to close is closed"
over

poor core hang
said 'no core scheduling: Function not implemented' "it shares cores"
over
poor core:ENODEV hang
said 'no core scheduling: this host has no hyperthreads' "so it is"
over
poor core:done hang
said 'shares no core with another' "core scheduling is there, and used"
over
poor core:done hang --sandbox on,core-scheduling=off
is "$(grep -c 'core' "$err")" 0 "with core-scheduling=off nothing asks for it"
over
poor core:EPERM hang --sandbox log
said 'no core scheduling: Operation not permitted' "with --sandbox log, too"
over

poor landlock_create_ruleset hang
said 'no Landlock: Function not implemented' "there is no Landlock"
is "$(ls -A "/proc/$pid/root/")" "" \
	"without Landlock the root directory is empty"
over

poor pivot_root hang
is "$(ls -A "/proc/$pid/root/")" "" \
	"without pivot_root the root directory is empty"
over

# What would fail later is tried by --check, too.
truncate -s 64K "$tmp/disk"
for with in '' --check; do
	run "$TOOLS/without" io_uring_setup:EPERM "$MOTE" \
		-k "$GUESTS/hello.elf" -d "$tmp/disk,engine=uring" $with
	is "$status" 125 "without io_uring, engine=uring is refused${with:+ by $with}"
	like "$(cat "$err")" '^mote: disk 0 .*this host has no io_uring' \
		"without io_uring: the message says so${with:+, with $with}"
done

# -- no /proc, no disk ---------------------------------------------------------

# in_mounts COMMAND ARGUMENT...: mote in a mount namespace that COMMAND changed
in_mounts() {
	mounts_command=$1
	shift
	run unshare -m sh -c "$mounts_command"'
		exec "$0" "$@"' "$MOTE" -m 64M "$@"
}

mv "$tmp/disk" "$tmp/image"
in_mounts 'umount -l /proc' -k "$GUESTS/virtio_write.elf" -d fd=3,ro \
	3<>"$tmp/image"
is "$status" 125 "without /proc a descriptor for writing is refused as a disk with ro"
like "$(cat "$err")" '^mote: --disk fd=3: it is open for writing, .*open it so' \
	"without /proc, a disk with ro: the message says how to mend it"
in_mounts 'umount -l /proc' -k "$GUESTS/virtio_write.elf" -d fd=3 \
	3<>"$tmp/image"
is "$status" 0 "without /proc a descriptor is a disk"
in_mounts "umount -l /proc
	'$MOTE' -m 64M -k '$GUESTS/virtio_ack.elf' -d '$tmp/image' >'$tmp/acks' &
	while ! grep -q 'ack 1' '$tmp/acks'; do sleep 0.02; done
	trap 'kill -9 \$!' EXIT
	'$MOTE' -k '$GUESTS/hello.elf' -d '$tmp/image' || exit; exit" -h
is "$status" 125 "without /proc an image in use is refused"
in_mounts 'umount -l /proc' -k "$GUESTS/virtio_write.elf" -d "$tmp/image"
is "$status" 0 "without /proc an image is free after kill -9"

in_mounts 'mount -t tmpfs none /var/tmp; unset TMPDIR' \
	-k "$GUESTS/virtio_write.elf" -d "$tmp/image,ephemeral"
is "$status" 0 "without a directory on a disk there is an overlay"
like "$(cat "$err")" '^mote: disk 0 [(]image[)]: its overlay in /var/tmp takes memory' \
	"without a directory on a disk mote says what the overlay takes"
is "$(wc -l <"$err")" 1 "without a directory on a disk: one line says so"
mkdir "$tmp/full"
in_mounts "mount -t tmpfs -o size=16k none '$tmp/full'; TMPDIR='$tmp/full'
	export TMPDIR" -k "$GUESTS/virtio_write.elf" -d "$tmp/image,ephemeral" \
	-a sectors=63
like "$(cat "$out")" '^write 1$' "an overlay without room: the guest is told"
like "$(cat "$err")" "^mote: disk 0 [(]image[)]: its overlay in $tmp/full: .*the guest gets an I/O error" \
	"an overlay without room: the message names its directory"

# -- no namespaces ----------------------------------------------------------------

for lacks in unshare:EPERM pivot_root,chroot mount:EPERM \
	netns:EPERM,landlock_create_ruleset \
	unshare:EPERM,landlock_create_ruleset close_range; do
	dials "$lacks"
done

# As a container's root is one: it lacks what a host's has.
run setpriv --no-new-privs --bounding-set=-sys_admin "$TOOLS/without" \
	unshare:EPERM,landlock_create_ruleset "$MOTE" -k "$GUESTS/hello.elf"
like "$(cat "$err")" 'only the filters.*this container lacks CAP_SYS_ADMIN, or a seccomp profile that allows unshare' \
	"root without CAP_SYS_ADMIN is told what a container lacks"

truncate -s 64K "$tmp/ring" # one of what a network namespace is made for
poor netns:EPERM hang -d "$tmp/ring,engine=uring"
said 'no network namespace: Operation not permitted' "the network namespace is missing"
is "$(ls -A "/proc/$pid/root/")" "" \
	"without a network namespace the root directory is empty"
over

poor unshare:EPERM,landlock_create_ruleset hang --vsock "$tmp/vs/v"
said "neither namespaces nor Landlock: .*only the filters" \
	"that little is left"
dies "a socket, which the broker makes" 41 1 $((1 | 04000 | 02000000)) 0
await test ! -e "$tmp/vs/v"
poor unshare:EPERM,landlock_create_ruleset hang --vsock "$tmp/vs/v"
dies "to remove a file" 263 -100 0 0
ok "mote's own filter is the end of it, and its socket is removed" \
	await test ! -e "$tmp/vs/v"

# -- who ----------------------------------------------------------------------

poor setresuid:EPERM hang
said 'cannot become uid 65534: Operation not permitted; it stays 0' "who it is"
is "$(sed -n 's/^CapEff:.//p' "/proc/$pid/status")" 0000000000000000 \
	"a mote that stays root has no capability"
over
run "$TOOLS/without" setresuid:EPERM "$MOTE" -k "$GUESTS/hello.elf" --user 7:8
is "$status" 125 "--user that cannot be had is status 125"
like "$(cat "$err")" '^mote: --user 7:8: Operation not permitted' \
	"--user that cannot be had is named"
run "$TOOLS/without" setresuid:EPERM "$MOTE" -k "$GUESTS/hello.elf" --user 7:8 \
	--vsock "$tmp/vs/left"
is "$status" 125 "--user that cannot be had is status 125 with a socket, too"
ok "--user that cannot be had leaves no socket's file" unlinked "$tmp/vs/left"

# A host may take capabilities away from user namespaces.
cp "$TOOLS/without" "$tmp/his"
run tests/as-user "$tmp/his/without" capbset:EPERM "$tmp/his/mote" \
	-k "$tmp/his/hello.elf" --log info
is "$status" 0 "a user namespace without a bounding set to empty is enough"
poor_where="without a bounding set"
said 'no capabilities; this host does not let the bounding set' "the bounding set stays"

poor setgroups:EPERM hang
said 'uid 65534, gid 65534, its other groups' "groups that stay"
over

# -- what the caller has -----------------------------------------------------------

guest_start hang --serial "file=$tmp/serial" </etc/passwd
poor_where="with a file on stdin and --serial file"
ok "a guest with --serial file runs" await grep -q hanging "$tmp/serial"
is "$(readlink "/proc/$pid/fd/0") $(readlink "/proc/$pid/fd/1")" \
	"/dev/null /dev/null" "standard input and output are /dev/null where nothing uses them"
over

# Of a directory for everybody, the owner's rights are not kept.
mkdir -m 1777 "$tmp/all"
guest_start hang --vsock "$tmp/all/v"
poor_where="with a vsock in a directory for everybody"
ok "a guest with a vsock in a directory for everybody runs" await says hanging
broker=$(tr -d ' ' <"/proc/$pid/task/$pid/children")
ok "with a vsock in a directory for everybody, the broker is nobody" \
	await grep -q '^Uid:.*65534	65534	65534	65534' "/proc/$broker/status"
said 'all/v: others write to its directory, too' "why listeners may refuse"
over
rm -f "$tmp/all/v"
guest_start hang --serial "unix=$tmp/all/s"
await happened start
kill -9 "$pid"
guest_end
ok "a serial port's socket in a directory for everybody is removed" \
	await test ! -e "$tmp/all/s"

done_testing
