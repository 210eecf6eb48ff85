#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The process that reads the tree of a --put: what it has left of the host, for
# root and for an ordinary user, and that it ends with mote. What it may call is
# shown by rules.t, what it makes of a tree by linux/put_get.t.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

chmod 755 "$tmp"
mkdir "$tmp/tree" "$tmp/his"
cp "$MOTE" "$GUESTS/hang.elf" "$tmp/his"
# More than fits into its socket: it waits for a guest that never asks.
head -c 3000000 /dev/zero >"$tmp/tree/file"
ln -s /etc/shadow "$tmp/tree/link"

# field NAME: of the walker's status
field() {
	sed -n "s/^$1:[[:space:]]*//p" "/proc/$walker/status" | tr '\t' ' ' |
		sed 's/ $//'
}

# is_locked_in: it has entered its jail, and waits
is_locked_in() {
	walker=$(tr -d ' ' <"/proc/$pid/task/$pid/children") &&
		[ "$(field Seccomp)" = 2 ] &&
		grep -q '^State:.S' "/proc/$walker/status"
}

# walker_is NAME UID CAPABILITIES
walker_is() {
	ok "$1: a walker with its filter waits for the guest" await is_locked_in
	is "$(field Name)" "mote walker" "$1: it has a name of its own"
	is "$(field NoNewPrivs)" 1 "$1: it can get no privilege"
	is "$(field Uid)" "$2 $2 $2 $2" "$1: who it is"
	is "$(field CapPrm) $(field CapEff)" "$3 $3" \
		"$1: it has no capability but to read"
	is "$(field CapInh)$(field CapAmb)" 00000000000000000000000000000000 \
		"$1: it passes none on"
	[ "$(id -u)" -ne 0 ] || is "$(for fd in "/proc/$walker/fd"/*; do
		readlink "$fd" | sed 's/:.*//'; done | sort -u)" "$4" \
		"$1: it has open what it reads, and its socket"
}

end_guest() {
	kill -9 "$pid"
	guest_end
	ok "$1: it is gone with mote, even after SIGKILL" await sh -c \
		'! grep -q "^State:.[^Z]" "/proc/$1/status"' sh "$walker"
}

if [ "$(id -u)" -eq 0 ]; then
	guest_start hang --put "$tmp/tree" -- command
	walker_is root 65534 0000000000000004 "$tmp/tree
$tmp/tree/file
socket"
	ok "root: the tree is its root directory" \
		test "/proc/$walker/root/" -ef "$tmp/tree"
	is "$(field Groups)$(field CapBnd)" 0000000000000000 \
		"root: it has no groups, nor a bounding set"
	end_guest root
	guest_start hang --put "$tmp/tree/file" -- command
	walker_is "one file" 65534 0000000000000004 "$tmp/tree/file
socket"
	is "$(ls -A "/proc/$walker/root/")" "" \
		"one file: its root directory is empty"
	end_guest "one file"

	: >"$out"
	tests/as-user "$tmp/his/mote" -k "$tmp/his/hang.elf" -m 64M \
		--put "$tmp/tree" -- command >"$out" 2>"$err" &
	pid=$!
	walker_is user 54321 0000000000000000 "$tmp/tree
$tmp/tree/file
socket"
	end_guest user
else
	guest_start hang --put "$tmp/tree" -- command
	walker_is user "$(id -u)" 0000000000000000
	end_guest user
fi

# A container's root that may read all, and has neither namespaces nor Landlock
# to be locked up by: his right is not given away for a namespace of users.
if [ "$(id -u)" -eq 0 ]; then
	mkdir -m 700 "$tmp/others"
	cp "$tmp/tree/file" "$tmp/others"
	chown -R 54321 "$tmp/others"
	for lack in chroot:EPERM,landlock_create_ruleset \
		chroot:EPERM,unshare:EPERM,landlock_create_ruleset; do
		"$TOOLS/without" $lack "$MOTE" -k "$GUESTS/hang.elf" -m 64M \
			--put "$tmp/others" -- command >"$out" 2>"$err" &
		pid=$!
		walker_is "without $lack" 65534 0000000000000004 "$tmp/others
$tmp/others/file
socket"
		end_guest "without $lack"
	done
fi

# One that fits into its socket is read at once.
mkdir "$tmp/small"
echo text >"$tmp/small/file"
# has_ended: no child is left, not even a zombie
has_ended() {
	grep -q '^Seccomp:.2' "/proc/$pid/status" &&
		! grep -q . "/proc/$pid/task/$pid/children"
}
guest_start hang --put "$tmp/small" -- command
ok "a walker that has read all of its tree is gone, and no zombie" \
	await has_ended
kill -9 "$pid"
guest_end

# -- calls that are none of its own ------------------------------------------------

# Who is not root cannot look into it.
while IFS='|' read -r call what; do
	[ "$(id -u)" -eq 0 ] || {
		pass "${call#* } of the walker # SKIP needs root to look into it"
		continue
	}
	# shellcheck disable=SC2086 # words
	set -- $call
	guest_start hang --put "$tmp/tree" -- command </dev/null
	await is_locked_in
	call_name=$2 call_number=$1
	shift 2
	is "$("$TOOLS/inject" "$walker" "$call_number" "$@")" trapped \
		"$call_name is the end of the walker: $what"
	kill -9 "$pid"
	guest_end
done <<-END
	257 openat 3 0 1|opens a file to write
	257 openat 3 0 64|makes a file
	2 open 0 0|opens a file in another way
	304 open_by_handle_at 3 0 0|opens a file by its number
	1 write 0 0 0|writes otherwise than it does
	20 writev 3 0 0|writes to something else
	46 sendmsg 0 0 0|passes a descriptor
	41 socket 2 1 0|makes a socket
	161 chroot 0|changes its root directory
	105 setuid 0|becomes root
	126 capset 0 0|takes capabilities
	101 ptrace 0 0 0 0|asks to be traced
	59 execve 0 0 0|runs a program
	57 fork|forks
END

# -- what is refused before a guest runs -----------------------------------------

mkfifo "$tmp/fifo"
mote -k "$GUESTS/hang.elf" --put "$tmp/fifo" -- command
is "$status" 125 "a FIFO is no tree"
like "$(cat "$err")" "neither a file nor a directory; what gives a tar stream is" \
	"a FIFO is no tree, which is said"
mote -k "$GUESTS/hang.elf" --put "$tmp/none:/a" -- command
is "$status" 125 "a tree that is not there is refused"
mote -k "$GUESTS/hang.elf" --put "$tmp/tree" --get "/a:$tmp/new.tar" --check \
	-- command
is "$status $(cat "$err" "$tmp/new.tar" 2>&1 | grep -c new.tar)" "0 1" \
	"--check makes no file"
echo old >"$tmp/new.tar"
mote -k "$GUESTS/hang.elf" --get "/a:$tmp/new.tar" --check -- command
is "$status $(cat "$tmp/new.tar")" "0 old" "--check leaves a file as it is"

done_testing
