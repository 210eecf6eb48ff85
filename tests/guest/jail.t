#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a running mote has left of the host, for root and for an ordinary user;
# that what it is to do it can do all the same; and resources by descriptor.
# The filters of system calls have tests of their own.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

root=$([ "$(id -u)" -eq 0 ] && echo yes)
user=54321 # of tests/as-user

# needs_root NAME: a test that is skipped where this is not root
needs_root() {
	[ "$root" ] && return
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - $1 # SKIP needs root to look into the process"
	return 1
}

# field NAME: of the status of all of mote's threads, each value once
field() {
	sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid"/task/*/status | sort -u |
		tr '\t' ' ' | sed 's/ $//'
}

# What can be seen of the running mote $pid without a right to look into it.
outside() {
	is "$(field Uid)" "$1" "$2: its uid"
	is "$(field Gid)" "$1" "$2: its gid"
	is "$(field Groups)" "" "$2: it has no other group"
	is "$(field NoNewPrivs)" 1 "$2: it can get no privilege"
	for set in Inh Prm Eff Bnd Amb; do
		is "$(field "Cap$set")" 0000000000000000 "$2: Cap$set"
	done
	is "$(sed -n 's/^Max core file size *\([0-9a-z]*\) .*/\1/p' \
		"/proc/$pid/limits")" 0 "$2: it leaves no core"
	ok "$2: its descriptors are few" test "$(sed -n \
		's/^Max open files *[0-9]* *\([0-9]*\) .*/\1/p' \
		"/proc/$pid/limits")" -le 2048
}

# own NAMESPACE: not the one that these tests are in
own() {
	[ "$(readlink "/proc/$pid/ns/$1")" != "$(readlink "/proc/self/ns/$1")" ]
}

# A device of another mount namespace has no name here.
open_file() {
	case $(readlink "$1") in
	anon_inode:* | pipe:* | socket:*) ;;
	# Of --events, where the host has a cgroup that counts memory.
	/sys/fs/cgroup/*/memory.peak | /sys/fs/cgroup/*/memory.max_usage_in_bytes) ;;
	/) if [ -c "$1" ]; then echo /dev/kvm; else echo /; fi ;;
	*) readlink "$1" ;;
	esac
}

shared() {
	! own "$1"
}

inside() {
	is "$(ls -A "/proc/$pid/root/" "/proc/$pid/cwd/")" \
		"$(printf '/proc/%s/cwd/:\n\n/proc/%s/root/:' "$pid" "$pid")" \
		"$1: its root directory is empty, and so is the working one"
	ok "$1: nobody can write to it, not even root" \
		sh -c "! touch /proc/$pid/root/file 2>/dev/null"
	is "$(cut -d ' ' -f 5 "/proc/$pid/mountinfo")" / \
		"$1: nothing else is mounted"
	is "$(stat -f -c %T "/proc/$pid/root/")" tmpfs "$1: it is a tmpfs"
	for space in mnt ipc uts; do
		ok "$1: a namespace of its own: $space" own $space
	done
	ok "$1: the network, for which it has no socket, is the caller's" \
		shared net
	is "$(tr -d '\0' <"/proc/$pid/environ" | wc -c)" 0 \
		"$1: its environment is empty"
	is "$(stat -c %u "/proc/$pid/environ")" 0 \
		"$1: others cannot look into it"
	is "$(for fd in "/proc/$pid/fd"/*; do open_file "$fd"; done |
		sort -u | tr '\n' ' ')" "$2" \
		"$1: what is open, without what the caller forgot to close"
}

# Where in its memory the argument $1 of mote's lies.
argument_at() {
	perl -e 'my ($pid, $text) = @ARGV;
		local $/;
		open my $words, "<", "/proc/$pid/cmdline" or die;
		open my $stat, "<", "/proc/$pid/stat" or die;
		print((split " ", <$stat>)[47] + index <$words>, "\0$text\0");
		' "$pid" "$1"
}

# refused RESULT TEXT NUMBER ARGUMENT...: a call that somebody makes who has
# taken it over, and that the filters, which only name it here, do not end.
refused() {
	refused_result=$1
	refused_text=$2
	shift 2
	is "$("$TOOLS/inject" "$pid" "$@")" "trapped, returned $refused_result" \
		"$refused_text"
}

# Without the filters, it has $1 no more than what the jail leaves.
without_filters() {
	passwd=$(($(argument_at /etc/passwd) + 1))
	slash=$(($(argument_at /) + 1))
	made=$(($(argument_at /made) + 1))
	refused -2 "$1: there is no file" 2 $passwd 0
	refused -13 "$1: the root directory may not be read" 2 $slash 0
	refused -30 "$1: and nothing made in it" 83 $made 0
	refused -1 "$1: no signal reaches another process" 62 $$ 0
	refused -1 "$1: nor does a debugger" 101 16 $$ 0 0
	refused "$2" "$1: it cannot become root" 117 0 0 0
	refused -1 "$1: nor change the root directory" 161 $slash
	refused -1 "$1: nor unmount what covers the old one" 166 $slash 0
	refused -1 "$1: nor mount" 165 $slash $slash 0 4096 0
	refused -1 "$1: nor enter other namespaces" 272 $((0x20000))
}

# -- root ---------------------------------------------------------------------

if needs_root "what root's mote has left is seen"; then
	SECRET=secret guest_start hang --log info 9<"$0"
	ok "root's guest runs" await says hanging
	outside "65534 65534 65534 65534" root
	inside root "/dev/kvm /dev/null /proc/$pid/status $err $events $out "
	ok "root: and no user namespace" shared user
	for line in "mount, ipc and uts namespaces; no network namespace: mote" \
		"the root directory is empty" "uid 65534, gid 65534" \
		"no capabilities, the bounding set is empty"; do
		ok "--log info: $line" grep -q "^mote: sandbox: .*$line" "$err"
	done
	kill "$pid"
	guest_heard
	kill "$pid"
	guest_end
	ends 143 signal "root: signals reach mote in the sandbox"

	# What could be led elsewhere: a socket, a ring, all that is only warned of.
	cat >"$tmp/given.pl" <<-'END'
	use Socket;
	socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, 0 or die;
	open my $kept, '<&', $ours or die;
	my $fd = shift;
	POSIX::dup2(fileno $theirs, $fd) // die;
	system @ARGV;
	END
	truncate -s 64K "$tmp/ring"
	for row in "the caller's socket is standard input:0" \
		"the caller's socket is standard error:2" \
		"the caller's socket is a network device:9:-n fd=9" \
		"a disk has a ring::-d $tmp/ring,engine=uring" \
		"filters only warn::--sandbox log"; do
		what=${row%%:*}
		row=${row#*:}
		fd=${row%%:*}
		with=${row#"$fd"}
		# shellcheck disable=SC2086 # words
		set -- "$MOTE" -k "$GUESTS/hang.elf" -m 64M ${with#:}
		: >"$out"
		if [ "$fd" ]; then
			perl -MPOSIX "$tmp/given.pl" "$fd" sh -c \
				'echo $$ >"$0" && exec "$@"' "$tmp/pid" "$@" >"$out" &
		else
			sh -c 'echo $$ >"$0" && exec "$@"' "$tmp/pid" "$@" \
				>"$out" 2>"$err" &
		fi
		starter=$!
		pid=
		ok "a guest runs whose mote has its own network: $what" \
			await says hanging
		pid=$(cat "$tmp/pid")
		ok "its own network: $what" own net
		is "$(sed -n 's/^ *\(.*\):.*/\1/p' "/proc/$pid/net/dev")" lo \
			"a network with nothing in it: $what"
		kill -INT "$pid"
		wait "$starter"
		pid=
	done

	rm -f "$events"
	"$MOTE" -k "$GUESTS/hang.elf" -m 64M --serial off 2>/dev/null &
	pid=$!
	ok "files can be as large as the guest's memory" await grep -q \
		'^Max file size  *67108864 ' "/proc/$pid/limits"
	kill -INT "$pid"
	guest_end

	guest_start hang --sandbox log -a /etc/passwd -a /made -a /
	ok "root's guest with --sandbox log runs" await says hanging
	without_filters root -1
	kill -INT "$pid"
	guest_end

	for row in 1234:1234:1234 1234_77:1234:77 0:0:0; do
		uid=${row%%:*}
		gid=${row##*:}
		guest_start hang --user "$(echo "$uid" | tr _ :)"
		ok "a guest with --user $(echo "$uid" | tr _ :) runs" await says hanging
		is "$(field Uid) / $(field Gid)" "${uid%_*} ${uid%_*} ${uid%_*} \
${uid%_*} / $gid $gid $gid $gid" "--user $uid is mote's uid and gid"
		is "$(field CapEff)$(field CapBnd)" \
			00000000000000000000000000000000 "--user $uid has no capability"
		kill -INT "$pid"
		guest_end
	done

	guest_start hang --sandbox off
	ok "a guest with --sandbox off runs" await says hanging
	is "$(field Uid)" "0 0 0 0" "--sandbox off: it stays root"
	for space in mnt ipc uts net; do
		ok "--sandbox off: no namespace: $space" shared $space
	done
	ok "--sandbox off: the root directory is the caller's" \
		test "/proc/$pid/root/" -ef /
	kill -INT "$pid"
	guest_end
fi

# -- an ordinary user -----------------------------------------------------------

# What he runs has to be where he gets at it.
chmod 711 "$tmp"
mkdir -m 777 "$tmp/his"
cp "$MOTE" "$GUESTS/hang.elf" "$GUESTS/hello.elf" "$GUESTS/virtio_write.elf" \
	"$GUESTS/vsock_dial.elf" "$tmp/his"

if needs_root "what an ordinary user's mote has left is seen"; then
	: >"$out" # or the last guest still says so
	SECRET=secret tests/as-user "$tmp/his/mote" -k "$tmp/his/hang.elf" \
		-m 64M --log info >"$out" 2>"$err" 9<"$0" &
	pid=$!
	ok "an ordinary user's guest runs" await says hanging
	outside "$user $user $user $user" user
	inside user "/dev/kvm /dev/null $err $out "
	ok "user: it is in a user namespace" own user
	kill -INT "$pid"
	guest_end
	is "$status" 130 "an ordinary user's mote ends as it should"

	: >"$out"
	tests/as-user "$tmp/his/mote" -k "$tmp/his/hang.elf" -m 64M \
		--sandbox log -a /etc/passwd -a /made -a / >"$out" 2>"$err" &
	pid=$!
	ok "an ordinary user's guest with --sandbox log runs" await says hanging
	without_filters user -22 # it has no number in the namespace
	victim=$(tests/as-user sh -c 'sleep 20 >&- & echo $!')
	refused -1 "user: no signal reaches his own other processes" 62 "$victim" 9
	kill "$victim"
	kill -INT "$pid"
	guest_end

	run tests/as-user "$tmp/his/mote" -k "$tmp/his/hello.elf" --user 1
	is "$status" 125 "an ordinary user cannot become another user"
	like "$(cat "$err")" '^mote: --user: only root' \
		"an ordinary user who would become another is told"
	run tests/as-user "$tmp/his/mote" -k "$tmp/his/hello.elf" --user $user
	is "$status" 0 "an ordinary user can become himself"
fi

# Where the host has no namespaces for him: a process whose root directory was
# changed may make none. Nothing is there but mote, and nothing is allowed.
by_fd() {
	chroot --userspec=$user:$user "$tmp/his" /mote --kvm fd=3 -m 64M "$@"
}
if needs_root "a mote without any right runs"; then
	head -c 64K /dev/zero >"$tmp/image"
	chmod 600 "$tmp/image"
	status=0
	by_fd -k fd=4 -d fd=5 --events fd=6 --serial fd=7 -a byte=9 \
		--log info >"$out" 2>"$err" 3<>/dev/kvm 4<"$GUESTS/virtio_write.elf" \
		5<>"$tmp/image" 6>"$events" 7>"$tmp/serial" || status=$?
	ends 0 poweroff "a mote without any right has everything by descriptor"
	like "$(cat "$tmp/serial")" '^same 512 of 512' \
		"a mote without any right writes its disk"
	like "$(cat "$err")" 'sandbox: no namespaces: .*: Operation not perm' \
		"a mote without any right says that there are no namespaces"
	is "$(grep -c 'sandbox: no [^:]*s[:;]' "$err")" 2 \
		"a mote without any right says once what it lacks"
	like "$(cat "$err")" 'sandbox: no capabilities' \
		"a mote without any right has no capabilities"

	# The launcher keeps one end of each socket.
	cat >"$tmp/launch.pl" <<-'END'
	use Socket;
	$^F = 100;
	my ($kvm, $kernel, $path, @command) = @ARGV;
	open my $k, '+<', $kvm or die;
	open my $e, '<', $kernel or die;
	socket my $listener, AF_UNIX, SOCK_STREAM, 0 or die;
	bind $listener, pack_sockaddr_un $path or die;
	listen $listener, 4 or die;
	socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, 0 or die;
	@command = map {
		s/KVM/fileno $k/er =~ s/KERNEL/fileno $e/er
			=~ s/LISTENER/fileno $listener/er
			=~ s/STREAM/fileno $theirs/er
	} @command;
	exec @command;
	END
	rm -f "$tmp/his/s"
	run perl "$tmp/launch.pl" /dev/kvm "$GUESTS/vsock_dial.elf" \
		"$tmp/his/s" chroot --userspec=$user:$user "$tmp/his" /mote \
		--kvm fd=KVM -k fd=KERNEL --vsock fd=LISTENER -m 64M \
		-n fd=STREAM --timeout 1s --log info
	is "$status" 124 \
		"a mote without any right has a network and a vsock by descriptor"
	like "$(cat "$err")" "vsock fd=[0-9]+: its directory cannot be" \
		"a mote without any right says what its guest cannot have"
	ok "a socket of the caller's stays" test -S "$tmp/his/s"
fi

# -- what has to work in there ---------------------------------------------------

# dial COMMAND...: a guest that dials, and its listener, which comes later
dial() {
	rm -f "$events"
	: >"$out"
	"$@" >"$out" 2>"$err" &
	pid=$!
	await says dialling
	sleep 0.3
	# shellcheck disable=SC2086 # words
	printf 'host here\n' | timeout 3 ${dial_by-} socat -t 3 - \
		"UNIX-LISTEN:$dial_at" >"$tmp/heard"
	guest_end
}

mkdir "$tmp/vs"
dial_at=$tmp/vs/v_1234
dial "$MOTE" -k "$GUESTS/vsock_dial.elf" -m 64M --vsock "$tmp/vs/v"
is "$status $(cat "$tmp/heard")" "0 guest calling" \
	"the guest reaches a listener that comes later"
is "$(last_line)" "host here" "a guest hears a listener that comes later"
ok "the socket's file of --vsock is removed" unlinked "$tmp/vs/v"
(
	cd "$tmp/vs" || exit
	dial_at=v_1234
	MOTE=$OLDPWD/$MOTE GUESTS=$OLDPWD/$GUESTS
	dial "$MOTE" -k "$GUESTS/vsock_dial.elf" -m 64M --vsock v
	echo "$status $(cat "$tmp/heard")"
) >"$tmp/relative"
is "$(cat "$tmp/relative")" "0 guest calling" \
	"a guest reaches a listener by a relative path"
ok "a socket's file by a relative path is removed" unlinked "$tmp/vs/v"

# broker_of PID: the process that has the sockets' directories, locked in
broker_of() {
	broker=$(tr -d ' ' <"/proc/$1/task/$1/children")
	await grep -q '^Seccomp:.2' "/proc/$broker/status"
}

# However mote ends, the socket's file is removed; unless it is another's by then.
guest_start hang --vsock "$tmp/vs/v" --serial "unix=$tmp/vs/s"
await happened start
broker_of "$pid"
kill -9 "$pid"
guest_end
ok "after SIGKILL the sockets' files are removed" await sh -c \
	'! ls "$1" | grep .' sh "$tmp/vs"
ok "after SIGKILL the broker is gone" await sh -c \
	'! grep -q "^State:.[^Z]" "/proc/$1/status"' sh "$broker"
guest_start hang --vsock "$tmp/vs/v"
await says hanging
broker_of "$pid"
rm "$tmp/vs/v"
echo other >"$tmp/vs/v"
kill -9 "$pid"
guest_end
await sh -c '! grep -q "^State:.[^Z]" "/proc/$1/status"' sh "$broker"
is "$(cat "$tmp/vs/v")" other "another's file at the path is left alone"
rm -f "$tmp/vs/v"

# Whoever reads mote's output to its end does not wait for another process.
timeout -s KILL "$LIMIT" sh -c '"$1" -k "$2" -m 64M --vsock "$3" </dev/null |
	cat' sh "$MOTE" "$GUESTS/hello.elf" "$tmp/vs/v" >"$out" 2>"$err"
is "$(last_line)" "hello from the guest" "with --vsock a pipe ends with mote"
ok "with --sandbox off a broker has the directory as well" sh -c '
	"$1" -k "$2" -m 64M --vsock "$3" --sandbox off --log info 2>&1 |
	grep -q "^mote: broker: process [0-9]* has the sockets"' sh "$MOTE" \
	"$GUESTS/hello.elf" "$tmp/vs/v"
mote -k "$GUESTS/hello.elf" -m 64M --log info --serial stdio
ok "without a socket's path there is no broker" sh -c '! grep -q broker "$1"' \
	sh "$err"

if needs_root "what is reachable for vsock is seen"; then
	touch "$tmp/vs/beside"
	guest_start vsock_dial --vsock "$tmp/vs/v"
	ok "a guest that dials runs" await says dialling
	is "$(ls -A "/proc/$pid/cwd/")$(ls -A "/proc/$pid/root/")" "" \
		"with --vsock there is nothing in the working and the root directory"
	is "$(for fd in "/proc/$pid/fd"/*; do
		[ ! -d "$fd/" ] || readlink "$fd"; done)" \
		"" "with --vsock no directory is open"
	is "$(field Uid)" "65534 65534 65534 65534" \
		"with --vsock mote is nobody for files"
	broker_of "$pid"
	is "$(sed -n 's/^Uid:.//p' "/proc/$broker/status" | tr '\t' ' ')" \
		"65534 65534 65534 0" \
		"the broker has the directory's owner for files, and for nothing else"
	is "$(sed -n 's/^Groups:.//p; s/^Cap[A-Z][a-z]*:.//p' \
		"/proc/$broker/status" | sort -u | tr -d ' \n')" \
		0000000000000000 "the broker has no capability and no group"
	is "$(for fd in "/proc/$broker/fd"/*; do
		echo "${fd##*/} $(readlink "$fd" | sed 's/:.*//')"; done)" \
		"$(printf '0 socket\n3 %s\n5 %s' "$tmp/vs" "$tmp/vs/v")" \
		"the broker has the directory, the socket's file and its end to mote"
	kill -INT "$pid"
	guest_end

	dial_at=$tmp/his/v_1234
	dial_by="setpriv --reuid $user --regid $user --clear-groups"
	dial tests/as-user "$tmp/his/mote" -k "$tmp/his/vsock_dial.elf" \
		-m 64M --vsock "$tmp/his/v"
	is "$status $(cat "$tmp/heard")" "0 guest calling" \
		"an ordinary user's guest reaches a listener"
	is "$(last_line)" "host here" \
		"an ordinary user's guest hears a listener"
	ok "an ordinary user's socket's file is removed" unlinked "$tmp/his/v"
	dial_by=
	chown $user "$tmp/vs"
	dial_at=$tmp/vs/v_1234
	dial "$MOTE" -k "$GUESTS/vsock_dial.elf" -m 64M --vsock "$tmp/vs/v" \
		--user $user --timeout 1s
	chown 0 "$tmp/vs"
	like "$(cat "$err")" 'may not connect to .*/vs/v_1234: give' \
		"--user: who may not use a listener is told how to"
fi

# -- descriptors that will not do --------------------------------------------------

# wrong OPTION HOW SAYS: with descriptor 7 opened so
wrong() {
	rm -f "$events"
	status=0
	case $1 in
	-k*) set -- "$1" "$2" "$3" "$MOTE" "$1" ;;
	*) set -- "$1" "$2" "$3" "$MOTE" -k "$GUESTS/hello.elf" "$1" ;;
	esac
	wrong_how=$2
	wrong_says=$3
	shift 3
	(eval "exec $wrong_how" && exec timeout -s KILL $LIMIT "$@") \
		>"$out" 2>"$err" || status=$?
	for last_word; do :; done
	is "$status $(wc -l <"$err")" "125 1" "$last_word $wrong_how: refused"
	like "$(cat "$err")" "^mote: .*$wrong_says" \
		"$last_word $wrong_how: why is said"
}

mkfifo "$tmp/fifo"
echo keep >"$tmp/file"
for option in -kfd=7 -ifd=7 -dfd=7 -nfd=7 --vsock=fd=7 --serial=fd=7 \
	--events=fd=7 --kvm=fd=7 --netns=fd=7 --cgroup=fd=7; do
	wrong $option '7<&-' 'fd=7: no such descriptor is open'
	wrong $option "7<$tmp" 'fd=7'
done
for option in -nfd=7 --vsock=fd=7 --kvm=fd=7 --netns=fd=7 --cgroup=fd=7 \
	-dfd=7; do
	wrong $option '7<>/dev/null' 'fd=7'
	wrong $option "7<>$tmp/fifo" 'fd=7'
done
wrong --kvm=fd=7 "7<$tmp/file" 'fd=7: it is not /dev/kvm'
wrong --netns=fd=7 "7<$tmp/file" 'fd=7: .*it is no network namespace'
wrong --cgroup=fd=7 "7<>$tmp/file" 'fd=7: .*it is no cgroup'
is "$(cat "$tmp/file")" keep "a file that is no cgroup is not written to"
wrong --events=fd=7 "7<$tmp/file" 'fd=7: it is not open for writing'
wrong -kfd=7 "7>$tmp/none" 'fd=7: it is not open for reading'
run sh -c '"$@" 7<"$0"' "$tmp/file" "$MOTE" -k "$GUESTS/hello.elf" -i fd=7 \
	-d fd=7
is "$status" 125 "one descriptor for two options is refused"
like "$(cat "$err")" "--initrd and --disk both take fd=7" \
	"one descriptor for two options is named"

# mote's own files do not take the place of one that is closed.
for fd in 3 4 5 6; do
	run sh -c 'exec "$@" 3<&- 4<&- 5<&- 6<&-' - "$MOTE" \
		-k "$GUESTS/hello.elf" --events "$events" -i "fd=$fd"
	like "$(cat "$err")" "--initrd fd=$fd: no such descriptor is open" \
		"fd=$fd is not one of mote's own"
done

# A guest that takes mote over finds no right that its option does not need.
if needs_root "what mote has left of a descriptor is seen"; then
	head -c 64K /dev/zero >"$tmp/disk"
	for row in fd=7:2 fd=7,ro:0 fd=7,ephemeral:0; do
		guest_start hang -d "${row%:*}" 7<>"$tmp/disk"
		await says hanging
		is "$(sed -n 's/^flags:.*\([0-3]\)$/\1/p' "/proc/$pid/fdinfo/7")" \
			"${row#*:}" "-d ${row%:*}: how its descriptor is open"
		kill -INT "$pid"
		guest_end
	done
fi

# -- what goes with the options ---------------------------------------------------

run "$MOTE" -k "$GUESTS/hello.elf" --user 1 --sandbox off
is "$status" 125 "--user needs the sandbox"
mote -k "$GUESTS/hello.elf" --kvm /dev/null
ends 125 error "a file that is no KVM is refused"
like "$(cat "$err")" '^mote: /dev/null is not KVM' \
	"a file that is no KVM is named"
mote -k "$GUESTS/hello.elf" --kvm /dev/kvm
ends 0 poweroff "KVM by its path works"
for with in '' --check; do
	mote -k "$GUESTS/hello.elf" --cgroup "$tmp" $with
	ends 125 error "a cgroup that does not exist is refused${with:+ by $with}"
	like "$(cat "$err")" 'there is no cgroup: make it with mkdir' \
		"a cgroup that does not exist: what to do is said${with:+ by $with}"
	mote -k "$GUESTS/hello.elf" --cgroup fd=7 $with 7>"$tmp/file"
	ends 125 error "a file that is no cgroup is refused${with:+ by $with}"
done
mote -k "$GUESTS/hello.elf" --netns "$tmp/none"
ends 125 error "a network namespace that does not exist is refused"

guest hello --check --serial "unix=$tmp/socket" --vsock "$tmp/vsock"
is "$status $(echo "$tmp"/*sock*)" "0 $tmp/*sock*" \
	"--check leaves no socket behind"
mkdir "$tmp/checked"
guest hello --check --vsock "$tmp/checked/v"
is "$status $(cat "$err")" "0 " "--check with --vsock complains of nothing"

if needs_root "--netns and --cgroup work"; then
	unshare -n sleep 60 &
	holder=$!
	spaces=/proc/$holder/ns
	sleep 0.2
	mote -k "$GUESTS/hello.elf" -n tap=mote-jail
	ends 125 error "a tap that is elsewhere is not found"
	if nsenter -t $holder -n ip tuntap add mote-jail mode tap; then
		guest_start hang -n tap=mote-jail --netns "$spaces/net"
		ok "--netns: the tap is found there" await says hanging
		ok "--netns: mote itself is not there" test "$(readlink \
			"/proc/$pid/ns/net")" != "$(readlink "$spaces/net")"
		ok "--netns: mote itself is not in the caller's network either" \
			own net
		kill -INT "$pid"
		guest_end
		guest hello -n tap=mote-jail --netns fd=7 7<"$spaces/net"
		ends 0 poweroff "--netns by a descriptor works"
	else
		tap_count=$((tap_count + 1))
		echo "ok $tap_count - a tap # SKIP this host has no taps"
	fi
	run tests/as-user "$tmp/his/mote" -k "$tmp/his/hello.elf" \
		--netns fd=7 7<"$spaces/net"
	is "$status" 125 "--netns: an ordinary user may not"
	like "$(cat "$err")" 'only root may enter it' \
		"--netns: an ordinary user is told so"
	kill $holder

	# Whichever the machine has.
	group=$(awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts | tail -n 1)
	if [ "$group" ] && mkdir "$group/mote-jail-$$"; then
		group=$group/mote-jail-$$
		guest_start hang --cgroup "$group"
		ok "a guest with --cgroup runs" await says hanging
		ok "--cgroup: mote is in there" grep -qx "$pid" \
			"$group/cgroup.procs"
		kill -INT "$pid"
		guest_end
		guest_start hang --cgroup fd=7 7>"$group/cgroup.procs"
		ok "a guest with --cgroup by descriptor runs" await says hanging
		ok "--cgroup by descriptor: mote is in there" grep -qx "$pid" \
			"$group/cgroup.procs"
		kill -INT "$pid"
		guest_end
		guest hello --cgroup "$group" --check
		is "$status $(cat "$err")" "0 " "--check of a good cgroup says nothing"
		# In version 2 it takes the cgroup above both as well.
		if [ "$(stat -f -c %T "$group")" = cgroup2fs ]; then
			chown 65534 "$group" "$group/cgroup.procs"
			mkdir "$tmp/mover"
			cp "$MOTE" "$GUESTS/hello.elf" "$tmp/mover"
			chmod 755 "$tmp" "$tmp/mover"
			for with in '' --check; do
				run setpriv --reuid 65534 --regid 65534 --clear-groups \
					"$tmp/mover/mote" -k "$tmp/mover/hello.elf" \
					--cgroup "$group" $with
				is "$status" 125 "a cgroup that is out of a user's reach is refused${with:+ by $with}"
				like "$(cat "$err")" "--cgroup $group: .*start mote from within" \
					"a cgroup out of reach: what to do is said${with:+ by $with}"
			done
		fi
		await rmdir "$group"
	else
		tap_count=$((tap_count + 1))
		echo "ok $tap_count - a cgroup # SKIP none can be made here"
	fi

	# A limit of memory: to go beyond it would be the end of mote.
	for group in /sys/fs/cgroup/memory /sys/fs/cgroup; do
		group=$group/mote-jail-$$
		mkdir "$group" 2>/dev/null || continue
		for limit in "$group/memory.limit_in_bytes" "$group/memory.max"; do
			[ ! -e "$limit" ] || break 2
		done
		rmdir "$group"
		limit=
	done
	if [ "$limit" ] && echo 64M >"$limit"; then
		for with in '' --check; do
			mote -k "$GUESTS/hello.elf" -m 256M,prefault \
				--cgroup "$group" $with
			ends 125 error "more memory than a cgroup has is refused${with:+ by $with}"
			like "$(cat "$err")" "prefault has 256 MiB .*the cgroup $group has (64|6[0-3]) MiB left" \
				"more memory than a cgroup has: the message names it${with:+, with $with}"
		done
		mote -k "$GUESTS/hello.elf" -m 32M,prefault --cgroup "$group"
		ends 0 poweroff "as much memory as a cgroup has can be allocated"
		await rmdir "$group"
	else
		tap_count=$((tap_count + 1))
		echo "ok $tap_count - a limit of memory # SKIP none can be set here"
	fi
fi

# Whoever starts mote may ask that it ends with him (PR_SET_PDEATHSIG), which a
# change of user or of capabilities takes back.
# launched PROGRAM ARG...: $pid is of a guest whose launcher has ended
launched() {
	: >"$tmp/his/launched"
	# shellcheck disable=SC2016 # expanded there
	"$@" sh -c '"$1" --pdeathsig KILL "$2" -k "$3" -m 64M \
		--sandbox "$4" >"$5" 2>/dev/null & echo $!
		until grep -q hanging "$5"; do sleep 0.02; done' - \
		"$(which setpriv)" "$tmp/his/mote" "$tmp/his/hang.elf" \
		"$sandbox" "$tmp/his/launched" >"$tmp/launched"
	pid=$(cat "$tmp/launched")
}

: >"$tmp/his/launched"
chmod 666 "$tmp/his/launched"
for sandbox in on off; do
	launched env
	ok "a guest of root ends with its launcher (--sandbox $sandbox)" \
		await guest_gone
	launched tests/as-user
	ok "a guest of a user ends with its launcher (--sandbox $sandbox)" \
		await guest_gone
done
pid=

done_testing
