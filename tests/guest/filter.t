#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The filter from the inside: each kind of thread, once it runs, is made to call
# what somebody would who has taken mote over (tests/tools/inject sets its
# registers), and mote must die of it, at once and by SIGSYS, saying which call
# it was. The same calls with --sandbox off show that they would be made.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

truncate -s 1M "$tmp/a.img"

# What runs: a main thread, a vCPU, and a worker; and what $with adds.
with=
start() {
	# shellcheck disable=SC2086 # words
	guest_start hang -d "$tmp/a.img,engine=threads" $with "$@"
	case $with in
	*serial*) await happened start && sleep 0.3 ;;
	*) await says hanging ;;
	esac
}

# tid NAME: the thread of that name, as top shows it
tid() {
	for dir in /proc/"$pid"/task/*; do
		[ "$(cat "$dir/comm")" != "$1" ] || echo "${dir##*/}"
	done
}

# -- what the kernel says of a running mote -------------------------------------

start
is "$(cat /proc/"$pid"/task/*/comm | grep -v '^kvm' | sort | tr '\n' ,)" \
	"disk 0,mote,vCPU 0," "mote has three kinds of threads"
is "$(cat /proc/"$pid"/task/*/status | grep '^Seccomp:' | sort -u)" \
	"Seccomp:	2" "every thread of mote is filtered"
is "$(cat /proc/"$pid"/task/*/status | grep '^NoNewPrivs:' | sort -u)" \
	"NoNewPrivs:	1" "no thread of mote gets new privileges"
kill -INT "$pid"
guest_end

# -- calls ---------------------------------------------------------------------

# A row: thread (-: all), number, name, arguments, what is attempted. SELF is
# the victim's own number, OTHER that of this script.
calls() {
	cat <<-'END'
	- 2 open 0 0 0|opens a file
	- 257 openat -100 0 0|opens a file by a directory
	- 437 openat2 -100 0 0 24|opens a file in the newest way
	- 59 execve 0 0 0|runs a program
	- 322 execveat -100 0 0 0 0|runs a program by descriptor
	- 41 socket 2 1 0|a socket of the network
	- 41 socket 1 2 0|a datagram socket
	- 41 socket 16 3 0|a netlink socket
	- 42 connect 0 0 0|connects
	- 101 ptrace 0 0 0 0|asks to be traced
	- 310 process_vm_readv OTHER 0 0 0 0 0|reads another's memory
	- 62 kill OTHER 0|signals another process
	- 234 tgkill OTHER OTHER 19|stops another process
	- 234 tgkill OTHER OTHER 40|interrupts another process
	- 234 tgkill SELF SELF 9|SIGKILL for itself
	- 200 tkill OTHER 40|interrupts another process in the old way
	- 424 pidfd_send_signal 0 9 0 0|signals another process by descriptor
	- 9 mmap 0 4096 7 34 -1 0|memory to run code in
	- 9 mmap 0 4096 3 34 -1 0|any memory
	- 10 mprotect 0 4096 5|makes memory executable
	- 329 pkey_mprotect 0 4096 5 -1|makes memory executable in the other way
	- 30 shmat 0 0 32768|shared memory to run code in
	- 56 clone 17 0 0 0 0|forks
	- 57 fork|forks in the old way
	- 58 vfork|forks in the oldest way
	- 435 clone3 0 0|forks in the newest way
	- 13 rt_sigaction 31 0 0 8|another handler for SIGSYS
	- 157 prctl 4 1 0 0 0|dumpable again
	- 317 seccomp 1 0 0|another filter
	- 16 ioctl -1 0x5412 0|types on the terminal (TIOCSTI)
	- 16 ioctl -1 0x4020ae46 0|KVM_SET_USER_MEMORY_REGION
	- 16 ioctl -1 0xae41 0|KVM_CREATE_VCPU
	- 16 ioctl -1 0x4090ae82 0|KVM_SET_REGS
	- 16 ioctl -1 0xffffffff4020ae46 0|KVM_SET_USER_MEMORY_REGION with a sign, as musl passes it
	- 16 ioctl -1 0x4b3a 0|the console's mode
	- 25 mremap 0 4096 8192 0|moves memory
	- 72 fcntl 0 4 0|file status flags (F_SETFL)
	- 72 fcntl 0 8 0|who gets a file's signals (F_SETOWN)
	- 28 madvise 0 4096 10|what a fork would copy
	- 87 unlink 0|removes a file
	- 90 chmod 0 511|a file's mode
	- 165 mount 0 0 0 0 0|mounts
	- 272 unshare 0x10000000|a new user namespace
	- 308 setns 0 0|enters another's namespace
	- 105 setuid 0|becomes root
	- 321 bpf 0 0 0|BPF
	- 425 io_uring_setup 1 0|makes a ring of io_uring
	- 427 io_uring_register 0 0 0 0|other files for a ring of io_uring
	- 39 getpid|its own number
	mote 16 ioctl -1 0xae80 0|KVM_RUN in the main thread
	mote 56 clone 0x3d0f00 0 0 0 0|a thread
	mote 44 sendto 2 0 0 0 0 16|sends on standard error, to another address
	mote 46 sendmsg 2 0 0|the same, or passes descriptors
	mote 47 recvmsg 2 0 0|takes descriptors
	mote 307 sendmmsg 2 0 1 0|many messages
	mote 299 recvmmsg 2 0 1 0 0|takes many
	vCPU_0 0 read 0 0 0|input in a vCPU
	vCPU_0 17 pread64 0 0 0 0|a disk in a vCPU
	vCPU_0 3 close 0|closing in a vCPU
	vCPU_0 233 epoll_ctl 0 0 0 0|the loop's business in a vCPU
	disk_0 0 read 0 0 0|input in a worker
	disk_0 16 ioctl -1 0xae80 0|KVM_RUN in a worker
	disk_0 16 ioctl -1 0x1277 0|BLKDISCARD where no disk is a device
	disk_0 47 recvmsg 0 0 0|the network in a worker
	END
}

# attempt THREAD NUMBER NAME WHAT ARGUMENT...
attempt() {
	thread=$1 number=$2 name=$3 what=$4
	shift 4
	start
	for arg; do
		shift
		case $arg in
		SELF) arg=$pid ;;
		OTHER) arg=$$ ;;
		esac
		set -- "$@" "$arg"
	done
	"$TOOLS/inject" "$(tid "$thread")" "$number" "$@" >"$tmp/injected"
	guest_end
	shown=$thread
	[ "$thread" != mote ] || shown=main
	said=$(grep -c "killed by its own filter: thread $shown, call $number ($name), " \
		"$err")
	is "$(cat "$tmp/injected") $status $said $(reason)" \
		"trapped 159 1 error" "$name in $thread is the end of mote: $what"
}

attempt_all() {
	while IFS='|' read -r call what; do
		# shellcheck disable=SC2086 # words
		set -- $call
		threads=$1
		[ "$threads" != - ] || threads="mote vCPU_0 disk_0"
		shift
		number=$1 name=$2
		shift 2
		for thread in $threads; do
			attempt "$(echo "$thread" | tr _ ' ')" "$number" \
				"$name" "$what" "$@" </dev/null
		done
	done
}

calls >"$tmp/calls"
attempt_all <"$tmp/calls"

# Where a feature has a row for the call, its arguments decide.
truncate -s 1M "$tmp/b.img"
with="--vsock $tmp/v -d $tmp/b.img,engine=uring"
attempt_all <<-'END'
	mote 41 socket 1 526337 0|with --vsock: a socket, which the broker makes
	mote 42 connect 0 0 110|with --vsock: connects, which the broker does
	mote 28 madvise 0 4096 10|what a fork would copy
	mote 44 sendto -1 0 0 0 0 16|with --vsock: sends to another address
	mote 46 sendmsg -1 0 0|with --vsock: passes descriptors
	mote 47 recvmsg -1 0 0|with --vsock: takes descriptors
	mote 54 setsockopt -1 1 8 0 0|with --vsock: more room for what is received
	mote 54 setsockopt -1 6 7 0 0|with --vsock: an option of TCP
	mote 28 madvise 0 4096 16|memory without a swap
	mote 262 newfstatat -100 0 0 256|looks at a file
	mote 263 unlinkat -100 0 0|removes a file, as the broker does
	mote 426 io_uring_enter -1 0 0 2 0 0|with a disk: wakes a poller
	mote 426 io_uring_enter -1 0 0 9 0 0|with a disk: an argument of its own for the ring
	vCPU_0 426 io_uring_enter -1 0 0 1 0 0|with a disk: the ring in a vCPU
	disk_0 426 io_uring_enter -1 0 0 1 0 0|with a disk: the ring in a worker
END
with="--serial unix=$tmp/s"
attempt_all <<-'END'
	mote 72 fcntl 0 4 0|with a serial socket: file status flags
	mote 72 fcntl 0 8 0|with a serial socket: who gets its signals
	mote 72 fcntl 0 2 0|with a serial socket: open in another program
	mote 44 sendto -1 0 0 0 0 16|with a serial socket: sends to another address
	mote 46 sendmsg -1 0 0|with a serial socket: sends in another way
	mote 47 recvmsg -1 0 0|with a serial socket: takes descriptors
	mote 42 connect -1 0 16|with a serial socket: connects
	mote 425 io_uring_setup 1 0|with a serial socket: has a ring do it
	vCPU_0 288 accept4 -1 0 0 0|a client in a vCPU
END
with="--snapshot $tmp/x.snap"
attempt_all <<-'END'
	mote 264 ? -100 0 -100 0|with --snapshot: renames, as the committer does
	mote 82 ? 0 0|with --snapshot: renames by paths
	mote 316 ? -100 0 -100 0 0|with --snapshot: renames in the newest way
	mote 263 unlinkat -100 0 0|with --snapshot: removes, as the committer does
	mote 257 openat -100 0 194 384|with --snapshot: makes a file, as it does
	mote 74 ? 0|with --snapshot: waits for a disk, as it does
	mote 77 ? 0 4096|with --snapshot: another length for a file
	mote 46 sendmsg -1 0 0|with --snapshot: passes descriptors
	mote 47 recvmsg -1 0 0|with --snapshot: takes descriptors from others
	mote 16 ioctl -1 0x4138ae84 0|with --snapshot: KVM_SET_SREGS
	mote 16 ioctl -1 0x4008ae89 0|with --snapshot: KVM_SET_MSRS
	mote 16 ioctl -1 0x4020ae46 0|with --snapshot: maps memory
	vCPU_0 16 ioctl -1 0x8138ae83 0|with --snapshot: KVM_GET_SREGS in a vCPU
	vCPU_0 17 pread64 0 0 0 0|with --snapshot: reads in a vCPU
	vCPU_0 18 pwrite64 0 0 0 0|with --snapshot: writes in a vCPU
	disk_0 18 pwrite64 0 0 0 0|with --snapshot: the file in a worker
END
rm -f "$tmp/x.snap"
# A program that serves a network.
socat -u "UNIX-LISTEN:$tmp/n,fork" "OPEN:/dev/null,append" &
server=$!
await test -S "$tmp/n"
with="-n unix=$tmp/n"
attempt_all <<-'END'
	mote 44 sendto -1 0 0 0 0 16|with a network's socket: sends to another address
	mote 46 sendmsg -1 0 0|with a network's socket: passes descriptors
	mote 47 recvmsg -1 0 0|with a network's socket: takes descriptors
	mote 42 connect -1 0 16|with a network's socket: connects it elsewhere
END
kill "$server"
with=

# Calls of 32-bit programs have other numbers: none of them is meant.
start
"$TOOLS/inject" "$(tid 'vCPU 0')" 0x40000001 2 0 0 >"$tmp/injected"
guest_end
is "$(cat "$tmp/injected") $status" "trapped 159" \
	"a call of the x32 ABI ends mote"

# -- the broker: the process that has the sockets' directories -------------------

# In the broker's memory: see cpu/loop/broker.h.
name0=$((0x20000000)) name1=$((0x20000080)) port=$((0x20001000))
address=$((port - 100))

# start_broker OPTION...: $broker is the number of the process; of the committer,
# too, where the options have one start
start_broker() {
	with="$*"
	start
	broker=$(tr -d ' ' <"/proc/$pid/task/$pid/children")
	await grep -q '^Seccomp:.2' "/proc/$broker/status"
}

# beside_attempts NAME OPTION VALUE: of the process that has that name and comes
# with the option; its input has lines NUMBER NAME ARGUMENT...|WHAT
beside_attempts() {
	beside=$1 beside_option=$2 beside_value=$3
	while IFS='|' read -r call what; do
		# shellcheck disable=SC2086 # words
		set -- $call
		broker_number=$1 broker_call=$2
		shift 2
		start_broker "$beside_option" "$beside_value" </dev/null
		is "$("$TOOLS/inject" "$broker" "$broker_number" "$@")" trapped \
			"$broker_call is the end of the $beside: $what"
		until_gone "$broker"
		ok "mote goes on without it: $broker_call, $what" \
			kill -9 "$pid"
		guest_end
		rm -f "$tmp/v"
	done
}

until_gone() {
	await sh -c '! grep -q "^State:.[^Z]" "/proc/$1/status"' sh "$1"
}

beside_attempts broker --vsock "$tmp/v" <<-END
	41 socket 2 526337 0|a socket of the network
	41 socket 1 526338 0|a datagram socket
	41 socket 1 1 0|a socket that would wait
	42 connect 5 $name0 110|an address that is not where PATH_port lies
	42 connect 5 $((address - 1)) 110|an address one byte before it
	42 connect 5 $((address + 4)) 106|an address in the midst of it
	42 connect 5 $((address + (1 << 32))) 110|an address that looks alike
	42 connect 5 $address 12|the beginning of the address
	263 unlinkat 3 $port 0|removes what is not called as the socket
	263 unlinkat 3 $((name0 + 1)) 0|removes a file with the end of that name
	263 unlinkat -100 $name0 0|removes a file elsewhere
	263 unlinkat 4 $name0 0|removes a file in another directory
	263 unlinkat 3 $name0 512|removes a directory
	87 unlink $name0|removes a file by its path
	262 newfstatat 3 $port 0 256|looks at another file
	262 newfstatat 3 $name0 0 0|looks where a link leads
	10 mprotect $name0 4096 3|makes its names writable
	11 munmap $name0 4096|unmaps its names
	9 mmap $name0 4096 3 50 -1 0|maps others over them
	25 mremap $port 4096 4096 3 $name0|moves others over them
	0 read 3 $port 1|reads from elsewhere than from mote
	1 write 0 $port 1|writes
	46 sendmsg 5 $port 0|sends elsewhere than to mote
	47 recvmsg 0 $port 0|takes descriptors from mote
	33 dup2 3 0|another descriptor in place of mote
	81 fchdir 4|another directory
	80 chdir $name0|another directory by its name
	161 chroot $name0|another root directory
	2 open $name0 0|opens a file
	257 openat 3 $name0 0|opens a file by its directory
	59 execve 0 0 0|runs a program
	57 fork|forks
	56 clone 17 0 0 0 0|forks in the usual way
	62 kill 1 0|signals another process
	101 ptrace 0 0 0 0|asks to be traced
	122 setfsuid 0|becomes root for files
	105 setuid 0|becomes root
	272 unshare 0x10000000|a new user namespace
	13 rt_sigaction 31 0 0 8|a handler for SIGSYS
	425 io_uring_setup 1 0|makes a ring of io_uring
	72 fcntl 0 4 0|file status flags
	39 getpid|its own number
END

start_broker --vsock "$tmp/v" --serial "unix=$tmp/s"
is "$(sed -n 's/^20000000-20001000 \([rwxps-]*\) .*/\1/p' "/proc/$broker/maps")" \
	r--p "the broker's names cannot be written to"
is "$(sed -n 's/^Seccomp:.//p; s/^NoNewPrivs:.//p; s/^CapEff:.//p
	s/^CapBnd:.//p' "/proc/$broker/status" | sort -u | tr '\n' ' ')" \
	"$([ "$(id -u)" -eq 0 ] && echo '0000000000000000 1 2 ' ||
		grep '^CapBnd' "/proc/$broker/status" | sed 's/.*:.//
			s/^/0000000000000000 1 2 /')" \
	"the broker is filtered and has no capability"
# Would these be other names, they would be removed as well: they are there.
touch "$tmp/victim"
is "$("$TOOLS/inject" "$broker" 263 3 "$name0" 0)" "returned 0" \
	"the broker can remove the socket itself"
is "$("$TOOLS/inject" "$broker" 263 4 "$name1" 0)" "returned 0" \
	"the broker can remove the other socket itself"
kill -9 "$pid"
guest_end
ok "another file in the directory is left" test -e "$tmp/victim"

# -- the committer: the process that has the directory of snapshots ---------------

# In its memory and its numbers: see cpu/loop/committer.h.
begun=$((0x20000000)) named=$((0x20000200)) elsewhere=$((0x20000400))
flags=$((0302 | 02000000))
beside_attempts committer --snapshot "$tmp/x.snap" <<-END
	264 renameat 3 $elsewhere 3 $named|gives another file the name
	264 renameat 3 $begun 3 $elsewhere|gives the file another name
	264 renameat 3 $((begun + 1)) 3 $named|gives it to a file with the end of that name
	264 renameat 3 $named 3 $begun|the other way round
	316 renameat2 3 $begun 3 $named 2|exchanges them
	263 unlinkat 3 $named 0|removes what is there
	263 unlinkat 3 $((begun + 1)) 0|removes a file with the end of that name
	263 unlinkat 3 $begun 512|removes a directory
	257 openat 3 $named $flags 384|makes a file of the other name
	257 openat 3 $begun $((flags & ~0200)) 384|opens a file that is there
	257 openat 3 $begun 2|opens it to be written
	257 openat 3 $named $((02404000))|reads what has the other name
	257 openat 3 $begun $((flags | 01000)) 384|empties a file
	2 open $begun 0|opens a file by its path
	10 mprotect $begun 4096 3|makes its names writable
	11 munmap $begun 4096|unmaps its names
	9 mmap $begun 4096 3 50 -1 0|maps others over them
	0 read 3 $elsewhere 1|reads from elsewhere than from mote
	0 read 4 $elsewhere 1|reads what mote has written
	1 write 4 $elsewhere 1|writes to the file
	17 pread64 4 $elsewhere 1 0|reads it at a place
	46 sendmsg 4 $elsewhere 0|sends elsewhere than to mote
	47 recvmsg 0 $elsewhere 0|takes descriptors from mote
	77 ftruncate 4 0|empties the file
	91 fchmod 4 511|who may read it
	81 fchdir 3|another directory
	41 socket 1 526337 0|a socket
	59 execve 0 0 0|runs a program
	56 clone 17 0 0 0 0|forks
	62 kill 1 0|signals another process
	101 ptrace 0 0 0 0|asks to be traced
	105 setuid 0|becomes root
	272 unshare 0x10000000|a new user namespace
	39 getpid|its own number
END

start_broker --snapshot "$tmp/x.snap"
is "$(sed -n 's/^20000000-20001000 \([rwxps-]*\) .*/\1/p' "/proc/$broker/maps")" \
	r--p "the committer's names cannot be written to"
is "$(sed -n 's/^Seccomp:.//p; s/^NoNewPrivs:.//p; s/^CapEff:.//p
	s/^CapBnd:.//p' "/proc/$broker/status" | sort -u | tr '\n' ' ')" \
	"$([ "$(id -u)" -eq 0 ] && echo '0000000000000000 1 2 ' ||
		grep '^CapBnd' "/proc/$broker/status" | sed 's/.*:.//
			s/^/0000000000000000 1 2 /')" \
	"the committer is filtered and has no capability"
is "$("$TOOLS/inject" "$broker" 264 3 "$begun" 3 "$named")" "returned 0" \
	"the committer can rename the file itself"
ok "... which is there then" test -e "$tmp/x.snap"
is "$("$TOOLS/inject" "$broker" 257 3 "$begun" "$flags" 384)" "returned 1" \
	"... and make the next one"
kill -9 "$pid"
guest_end
ok "the committer removes it when mote is gone" \
	unlinked "$(echo "$tmp"/.x.snap.*)"

# -- again the broker ----------------------------------------------------------------

# What mote writes to it is a request, or its end.
channel_of() {
	for fd in /proc/"$1"/fd/*; do
		inode=$(readlink "$fd" | tr -dc 0-9)
		[ -z "$inode" ] || ! grep -q ": .* 0005 .* $inode\$" /proc/net/unix ||
			echo "${fd##*/}"
	done
}
for len in 1 7 9 100; do
	start_broker --vsock "$tmp/v"
	text=$((0x$(sed -n 's/-.* r--p .*//p' "/proc/$pid/maps" | head -n 1)))
	"$TOOLS/inject" "$pid" 1 "$(channel_of "$pid")" $text $len \
		>"$tmp/injected"
	is "$(cat "$tmp/injected")" "returned $len" "mote writes $len bytes to the broker"
	until_gone "$broker"
	ok "the broker ends by $len bytes and removes the socket" \
		test ! -e "$tmp/v"
	kill -INT "$pid"
	guest_end
	ends 130 signal "mote goes on without its broker, after $len bytes"
done
with=

# -- before the guest: an image is awaited ----------------------------------------

# A row: number, name, arguments, what is attempted.
loading() {
	cat <<-'END'
	272 unshare 0x10000000|a new user namespace
	308 setns 0 0|enters another's namespace
	41 socket 1 1 0|a socket
	41 socket 2 1 0|a socket of the network
	42 connect 0 0 110|connects
	425 io_uring_setup 1 0|makes a ring of io_uring
	59 execve 0 0 0|runs a program
	322 execveat -100 0 0 0 0|runs a program by descriptor
	101 ptrace 16 1 0 0|attaches to another process
	2 open 0 0 0|opens a file
	257 openat -100 0 0|opens a file by a directory
	437 openat2 -100 0 0 24|opens a file in the newest way
	9 mmap 0 4096 7 34 -1 0|memory to run code in
	10 mprotect 0 4096 5|makes memory executable
	56 clone 17 0 0 0 0|forks
	56 clone 0x10000100 0 0 0 0|a thread in another user namespace
	57 fork|forks in the old way
	62 kill 1 0|signals another process
	234 tgkill 1 1 19|stops another process
	13 rt_sigaction 31 0 0 8|another handler for SIGSYS
	157 prctl 4 1 0 0 0|dumpable again
	317 seccomp 0 0 0|strict mode
	16 ioctl 0 0x5412 0|types on the terminal (TIOCSTI)
	105 setuid 0|becomes root
	165 mount 0 0 0 0 0|mounts
	263 unlinkat -100 0 0|removes a file
	321 bpf 0 0 0|BPF
	END
}

# load COMMAND...: $pid waits for its kernel, at a FIFO
mkfifo "$tmp/kernel"
load() {
	: >"$out"
	rm -f "$events"
	exec 9<>"$tmp/kernel"
	"$@" -k "$tmp/kernel" -m 64M >"$out" 2>"$err" 9<&- &
	pid=$!
	await grep -q '^Seccomp:.2' "/proc/$pid/status"
}

loading >"$tmp/loading"
while IFS='|' read -r call what; do
	# shellcheck disable=SC2086 # words
	set -- $call
	number=$1 name=$2
	shift 2
	load "$MOTE" --events "$events" </dev/null
	"$TOOLS/inject" "$pid" "$number" "$@" >"$tmp/injected"
	guest_end
	said=$(grep -c "own filter: thread loading, call $number ($name), " "$err")
	is "$(cat "$tmp/injected") $status $said $(reason)" \
		"trapped 159 1 error" "while a kernel is awaited, $name is the end of mote: $what"
done <"$tmp/loading"

# The same for an ordinary user, who would be root in his namespace.
if [ "$(id -u)" -eq 0 ]; then
	chmod 711 "$tmp"
	chmod 666 "$tmp/kernel"
	mkdir -m 777 "$tmp/his"
	cp "$MOTE" "$tmp/his"
	for call in '272 0x10000000' '41 1 1 0' '425 1 0'; do
		load tests/as-user "$tmp/his/mote" </dev/null
		# shellcheck disable=SC2086 # words
		is "$("$TOOLS/inject" "$pid" $call)" trapped \
			"a user's mote, while a kernel is awaited: call ${call%% *} is trapped"
		guest_end
		is "$status" 159 "a user's mote ends by call ${call%% *}"
	done
fi

# What is allowed is made, and the guest starts.
load "$MOTE" --events "$events" </dev/null
is "$("$TOOLS/inject" "$pid" 3 -1)" "returned -9" \
	"while a kernel is awaited, what is allowed is made"
cat "$GUESTS/hello.elf" >"$tmp/kernel"
exec 9<&-
guest_end
ends 0 poweroff "a guest whose kernel came late runs"

# -- that these tests could fail -------------------------------------------------

start --sandbox off
for thread in mote 'vCPU 0' 'disk 0'; do
	like "$("$TOOLS/inject" "$(tid "$thread")" 41 1 1 0)" \
		'^returned [0-9]+$' "--sandbox off: $thread makes a socket"
	is "$("$TOOLS/inject" "$(tid "$thread")" 39)" "returned $pid" \
		"--sandbox off: $thread asks for its number"
done
is "$(cat /proc/"$pid"/task/*/status | grep '^Seccomp:' | sort -u)" \
	"Seccomp:	0" "--sandbox off: there is no filter"
kill -INT "$pid"
guest_end
ends 130 signal "--sandbox off: mote goes on after foreign calls"
start
is "$("$TOOLS/inject" "$(tid mote)" 3 -1)" "returned -9" \
	"with the filter, what is allowed is made in the main thread"
is "$("$TOOLS/inject" "$(tid 'vCPU 0')" 1 -1 0 0)" "returned -9" \
	"with the filter, what is allowed is made in a vCPU"
is "$("$TOOLS/inject" "$(tid 'disk 0')" 1 -1 0 0)" "returned -9" \
	"with the filter, what is allowed is made in a worker"
kill -INT "$pid"
guest_end
ends 130 signal "with the filter, mote goes on after what is allowed"

# -- --sandbox log ----------------------------------------------------------------

start --sandbox log
for thread in mote 'vCPU 0' 'disk 0'; do
	for time in 1 2; do
		is "$("$TOOLS/inject" "$(tid "$thread")" 39)" "trapped, returned $pid" \
			"--sandbox log: $thread makes a call, time $time"
	done
done
kill -0 "$pid" && alive=yes || alive=no
is "$alive" yes "--sandbox log: mote is alive after what would end it"
kill -INT "$pid"
guest_end
ends 130 signal "--sandbox log: mote ends as it should"
for thread in main 'vCPU 0' 'disk 0'; do
	is "$(grep -c "the filter would end mote: thread $thread, call 39 (getpid)" \
		"$err")" 1 "--sandbox log: what would end mote is named once, of $thread"
done

done_testing
