# SPDX-License-Identifier: Apache-2.0
# What mote can do, each as a short run of a bare-metal guest: features.t shows
# that all of it works under the filter, rules.t that the filter allows nothing
# that none of it needs. To be sourced after lib.sh.
#
# A scenario is a function do_NAME; its status says whether mote did as it
# should. $status is mote's own, $err what it said. FLAGS go to every mote.
#
# shellcheck shell=sh
# shellcheck disable=SC2154 # what lib.sh sets

FLAGS=${FLAGS-}

# The loop device and the mount of scenarios; for a trap.
scenarios_end() {
	[ -z "${loop-}" ] || losetup -d "$loop"
	[ ! -d "$tmp/small" ] || umount -l "$tmp/small" 2>/dev/null
}

# sguest NAME ARG...: as guest of lib.sh
sguest() {
	# shellcheck disable=SC2086 # words
	guest "$@" $FLAGS
}

# quiet NAME ARG...: without --events, which takes calls of its own
quiet() {
	quiet_name=$1
	shift
	# shellcheck disable=SC2086 # words
	run "$MOTE" -k "$GUESTS/$quiet_name.elf" -m 64M "$@" $FLAGS
}

sguest_start() {
	# shellcheck disable=SC2086 # words
	guest_start "$@" $FLAGS
}

# well STATUS [TEXT]: it ended so, and the guest (or mote) said so
well() {
	# What --sandbox log says: for rules.t.
	grep -h 'the filter would end' "$out" "$err" >>"$tmp/would" 2>/dev/null
	[ "$status" = "$1" ] && {
		[ -z "${2-}" ] || grep -q -e "$2" "$out" "$err"
	}
}

# thread PID NAME: its number
thread() {
	for thread_dir in /proc/"$1"/task/*; do
		if [ "$(cat "$thread_dir/comm")" = "$2" ]; then
			echo "${thread_dir##*/}"
		fi
	done
}

# child_of PID: that of its only child
child_of() {
	tr -d ' ' <"/proc/$1/task/$1/children"
}

# fault PID NAME: SIGSEGV in one of its threads
fault() {
	perl -e 'syscall(234, $ARGV[0] + 0, $ARGV[1] + 0, 11) == 0 or die' \
		"$1" "$(thread "$1" "$2")"
}

# removed FILE: by the broker, while mote ends or a moment later
removed() {
	(LIMIT=3 && await test ! -e "$1")
}

# -- the guest and its end ------------------------------------------------------

do_hello() {
	sguest hello
	well 0 'hello from the guest'
}

do_memory() {
	sguest hello -m 64M,prefault,mergeable,hugepages=thp
	well 0 'hello from the guest'
}

# The kernel comes from a pipe, late, and reading that does not wait.
do_pipe() {
	cat >"$tmp/pipe.pl" <<-'END'
	use Fcntl;
	my ($elf, @command) = @ARGV;
	$^F = 1000;
	pipe my $r, my $w or die;
	unless (fork) {
		close $r;
		select undef, undef, undef, 0.2;
		open my $kernel, '<', $elf or die;
		local $/;
		print {$w} readline $kernel;
		exit;
	}
	close $w;
	fcntl $r, F_SETFL, O_NONBLOCK;
	exec @command, '-k', 'fd=' . fileno $r;
	END
	# shellcheck disable=SC2086 # words
	run perl "$tmp/pipe.pl" "$GUESTS/hello.elf" "$MOTE" -m 64M $FLAGS
	well 0 'hello from the guest'
}

do_serial_max() {
	sguest flood -a kib=192 --serial "file=$tmp/max,max=64K"
	well 0 && [ "$(stat -c %s "$tmp/max")" -le 65536 ]
}

do_crash() {
	sguest fetch
	well 123 'RIP 0x'
}

do_ready() {
	sguest ready
	well 0 && happened ready
}

# Without a vDSO; `ready` asks for the time in a vCPU's thread.
do_clock() {
	for clock_guest in hello ready; do
		rm -f "$events"
		# shellcheck disable=SC2086 # words
		run "$TOOLS/novdso" "$MOTE" -k "$GUESTS/$clock_guest.elf" \
			-m 64M --events "$events" $FLAGS
		well 0 || return
	done
}

do_timeout() {
	sguest hang --timeout 200ms
	well 124
}

do_timing() {
	sguest hello --timing
	well 0 'timing: exit'
}

do_button() {
	sguest_start button
	await says button
	kill -TERM "$pid"
	guest_end
	well 0
}

do_term() {
	sguest_start hang
	await says hanging
	kill -TERM "$pid"
	sleep 0.1
	kill -TERM "$pid"
	guest_end
	well 143
}

stopped() {
	grep -q '^State:[[:space:]]*T' "/proc/$pid/status"
}

do_stop() {
	sguest_start echo -a loop=1
	await says echo
	kill -TSTP "$pid"
	await stopped && stop_seen=1 || stop_seen=0
	kill -CONT "$pid"
	sleep 0.1
	kill -INT "$pid"
	guest_end
	well 130 && [ $stop_seen = 1 ]
}

do_counters() {
	sguest_start hang
	await says hanging
	kill -USR2 "$pid"
	await happened counters
	kill -INT "$pid"
	guest_end
	well 130 && happened counters
}

do_cpus() {
	sguest smp -c 2
	well 0
}

# -- mote's own crashes: reported from any thread --------------------------------

# crash THREAD
crash() {
	truncate -s 1M "$tmp/crash.img"
	sguest_start hang -d "$tmp/crash.img,engine=threads" "$@"
	await says hanging
}

do_fault_main() {
	crash
	fault "$pid" mote
	guest_end
	well 125 'mote itself crashed' && [ "$(reason)" = error ]
}

do_fault_vcpu() {
	crash
	fault "$pid" 'vCPU 0'
	guest_end
	well 125 'mote itself crashed' && [ "$(reason)" = error ]
}

do_fault_disk() {
	crash
	fault "$pid" 'disk 0'
	guest_end
	well 125 'mote itself crashed' && [ "$(reason)" = error ]
}

# The same without a vDSO: what is reported has a time.
fault_clock() {
	truncate -s 1M "$tmp/crash.img"
	rm -f "$events"
	: >"$out"
	# shellcheck disable=SC2086 # words
	"$TOOLS/novdso" "$MOTE" -k "$GUESTS/hang.elf" -m 64M \
		-d "$tmp/crash.img,engine=threads" \
		--events "$events" $FLAGS >"$out" 2>"$err" &
	pid=$!
	await says hanging
	fault "$(child_of "$pid")" "$1"
	guest_end
	well 125 'mote itself crashed'
}

do_fault_clock_vcpu() {
	fault_clock 'vCPU 0'
}

do_fault_clock_disk() {
	fault_clock 'disk 0'
}

# -- a terminal ------------------------------------------------------------------

# What mote itself says on a terminal may come in the midst of a guest's word.
terminal_said() {
	perl -0pe 's/mote: .*?\n//gs' "$out" | grep -q -e "$1"
}

# at_terminal GUEST ARG...: in the background; $child is mote
at_terminal() {
	terminal_guest=$1
	shift
	rm -f "$events"
	: >"$out"
	# shellcheck disable=SC2086 # words
	"$TOOLS/pty" -w 'never said' "$MOTE" -k "$GUESTS/$terminal_guest.elf" \
		-m 64M --events "$events" "$@" $FLAGS >"$out" 2>"$err" &
	pid=$!
	await terminal_said echo
	child=$(child_of "$pid")
}

do_tty() {
	rm -f "$events"
	printf 'typed q' >"$tmp/typed"
	# shellcheck disable=SC2086 # words
	run "$TOOLS/pty" -w echo "$MOTE" -k "$GUESTS/echo.elf" -m 64M \
		--events "$events" $FLAGS <"$tmp/typed"
	well 0 'typed q'
}

do_tty_quit() {
	rm -f "$events"
	printf '\001h\001x' >"$tmp/typed"
	# shellcheck disable=SC2086 # words
	run "$TOOLS/pty" -w echo "$MOTE" -k "$GUESTS/echo.elf" -m 64M \
		--events "$events" $FLAGS <"$tmp/typed"
	well 130 'Ctrl-A x'
}

do_tty_stop() {
	at_terminal echo
	kill -TSTP "$child"
	sleep 0.1
	kill -CONT "$child"
	sleep 0.1
	kill -INT "$child"
	guest_end
	well 130
}

# The terminal is put back by whichever thread crashed.
tty_fault() {
	truncate -s 1M "$tmp/crash.img"
	at_terminal echo -d "$tmp/crash.img,engine=threads"
	fault "$child" "$1"
	guest_end
	well 125 'mote itself crashed'
}

do_tty_fault_main() {
	tty_fault mote
}

do_tty_fault_vcpu() {
	tty_fault 'vCPU 0'
}

do_tty_fault_disk() {
	tty_fault 'disk 0'
}

# -- --serial --------------------------------------------------------------------

do_null() {
	# shellcheck disable=SC2086 # words
	run sh -c '"$@" >/dev/null' sh "$MOTE" -k "$GUESTS/hello.elf" -m 64M \
		$FLAGS
	well 0
}

do_full() {
	scenario_out=$out
	out=/dev/full
	sguest hello
	out=$scenario_out
	well 0
}

do_closed() {
	# shellcheck disable=SC2086 # words
	run sh -c '"$@" <&- >&-' sh "$MOTE" -k "$GUESTS/hello.elf" -m 64M $FLAGS
	well 0
}

# The vCPUs' threads are gone; KVM's own are none of them.
one_thread() {
	[ "$(cat "/proc/$pid"/task/*/comm | grep -vc '^kvm')" -eq 1 ]
}

# Its reader comes when the guest is over: it gets the last words, too.
do_late_reader() {
	rm -f "$tmp/fifo" "$events"
	mkfifo "$tmp/fifo"
	exec 9<>"$tmp/fifo"
	# shellcheck disable=SC2086 # words
	"$MOTE" -k "$GUESTS/flood.elf" -m 64M -a kib=96 --events "$events" \
		$FLAGS >"$tmp/fifo" 2>"$err" 9<&- &
	pid=$!
	await happened ready && await one_thread
	sleep 0.1
	# Opened while there is a writer, or it would wait for the next one.
	exec 8<"$tmp/fifo"
	cat <&8 >"$out" 9<&- &
	reader=$!
	exec 8<&- 9<&-
	guest_end
	wait "$reader"
	well 0
}

do_reader_gone() {
	{
		# shellcheck disable=SC2086 # words
		timeout -s KILL "$LIMIT" "$MOTE" -k "$GUESTS/flood.elf" -m 64M \
			-a kib=64 $FLAGS 2>"$err"
		echo $? >"$tmp/status"
	} | head -n 1 >/dev/null
	status=$(cat "$tmp/status")
	well 0
}

do_file() {
	sguest hello --serial "file=$tmp/serial"
	well 0 && grep -q hello "$tmp/serial"
}

do_off() {
	sguest hello --serial off
	well 0
}

# A socket of the caller's.
do_socket() {
	cat >"$tmp/socket.pl" <<-'END'
	use Socket;
	socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, 0 or die;
	my $pid = fork;
	unless ($pid) {
		$^F = 1000;
		open my $dup, '+<&=', fileno $theirs;
		fcntl $theirs, 2, 0;
		exec @ARGV, '--serial', 'fd=' . fileno $theirs;
	}
	close $theirs;
	syswrite $ours, "by socket q";
	1 while sysread $ours, my $seen, 4096;
	waitpid $pid, 0;
	exit($? & 127 ? 128 + ($? & 127) : $? >> 8);
	END
	# shellcheck disable=SC2086 # words
	run perl "$tmp/socket.pl" "$MOTE" -k "$GUESTS/echo.elf" -m 64M $FLAGS
	well 0
}

# echo_start ARG...: without --events, which has a use for poll itself
echo_start() {
	: >"$out"
	# shellcheck disable=SC2086 # words
	"$MOTE" -k "$GUESTS/echo.elf" -m 64M "$@" $FLAGS >"$out" 2>"$err" &
	pid=$!
}

do_unix() {
	echo_start --serial "unix=$tmp/socket"
	for unix_text in 'one ' 'two q'; do
		timeout 60 tests/tools/dialogue unix "$tmp/socket" "$unix_text" \
			"${unix_text% }" >/dev/null 2>&1
	done
	guest_end
	well 0 && removed "$tmp/socket"
}

# One client after the other; the last gets the last words, too.
do_pty() {
	echo_start --serial pty
	await grep -q /dev/pts/ "$err"
	pty_name=$(sed -n 's|.*\(/dev/pts/[0-9]*\).*|\1|p' "$err")
	timeout 60 tests/tools/dialogue pty "$pty_name" 'one ' one >/dev/null 2>&1
	sleep 0.1
	timeout 60 tests/tools/dialogue pty "$pty_name" 'two q' 'echo 9\n' \
		>"$out" 2>/dev/null
	guest_end
	well 0 'echo 9'
}

# -- --disk ----------------------------------------------------------------------

# with ENGINE COMMAND
with() {
	truncate -s 8M "$tmp/a.img"
	engine=$1
	"$2"
}

disk_all() {
	sguest virtio_block -d "$tmp/a.img,engine=$engine" &&
		well 0 'round 2 ok'
}
do_disk_uring() {
	with uring disk_all
}
do_disk_threads() {
	with threads disk_all
}

# A written disk and an ephemeral one; what was discarded there is a hole.
do_disk_snapshot() {
	truncate -s 64K "$tmp/written.img" "$tmp/below.img"
	sguest generations_disk -a generations=4 -d "$tmp/written.img" \
		-d "$tmp/below.img,ephemeral" \
		--snapshot "$tmp/disk.snap,on=ready,then=exit" && well 0 ||
		return 1
	# shellcheck disable=SC2086 # words
	mote --restore "$tmp/disk.snap" $FLAGS \
		--snapshot "$tmp/disk.snap,on=ready,then=exit" && well 0 ||
		return 1
	# shellcheck disable=SC2086 # words
	mote --restore "$tmp/disk.snap" $FLAGS && well 0 'generation 4'
}

# A clone that learns.
do_learn() {
	sguest learn --snapshot "$tmp/learn.snap,on=ready" && well 0 || return 1
	# shellcheck disable=SC2086 # words
	run "$MOTE" --restore "$tmp/learn.snap,learn" $FLAGS && well 0 written &&
		! grep -q 'nothing was learned' "$err"
}

disk_direct() {
	sguest virtio_write -a 'byte=7 sector=5 sectors=3 askew=1' \
		-d "$tmp/a.img,direct,engine=$engine" && well 0 'same 1536 of'
}
do_disk_direct_uring() {
	with uring disk_direct
}
do_disk_direct_threads() {
	with threads disk_direct
}

disk_ro() {
	sguest virtio_write -d "$tmp/a.img,ro,direct,engine=$engine" &&
		well 0 'write 1'
}
do_disk_ro_uring() {
	with uring disk_ro
}
do_disk_ro_threads() {
	with threads disk_ro
}

disk_ephemeral() {
	quiet virtio_write -a 'byte=7 sector=3 sectors=9' \
		-d "$tmp/a.img,ephemeral,engine=$engine" &&
		well 0 'same 4608 of' || return
	sguest virtio_write -a 'byte=7 sector=3 sectors=9 askew=1' \
		-d "$tmp/a.img,ephemeral,direct,engine=$engine" &&
		well 0 'same 4608 of' || return
	sguest virtio_trim -d "$tmp/a.img,ephemeral,engine=$engine" &&
		well 0 'zeroes unmapped 0, zeros 8192'
}
do_disk_ephemeral_uring() {
	with uring disk_ephemeral
}
do_disk_ephemeral_threads() {
	with threads disk_ephemeral
}

disk_trim() {
	sguest virtio_trim -d "$tmp/a.img,engine=$engine" &&
		well 0 'discard 0, zeros 8192'
}
do_disk_trim_uring() {
	with uring disk_trim
}
do_disk_trim_threads() {
	with threads disk_trim
}

disk_limits() {
	sguest virtio_block -d "$tmp/a.img,iops=2000,bw=1M,engine=$engine" &&
		well 0 'round 2 ok'
}
do_disk_limits_uring() {
	with uring disk_limits
}
do_disk_limits_threads() {
	with threads disk_limits
}

# Many large requests at a time: what they took is given back.
do_disk_burst() {
	truncate -s 240M "$tmp/large.img"
	sguest virtio_stop -m 128M -a 'disks=1 read=1 n=60 after=60 do=reset' \
		-d "$tmp/large.img" && well 0 stopped
}

# A block device of the host.
device_trim() {
	sguest virtio_trim -d "$loop,engine=$engine" && well 0 'discard 0'
}
# The kernel is on a block device.
do_device_kernel() {
	kernel_loop=$(losetup -r -f --show "$GUESTS/hello.elf" \
		2>/dev/null) || return
	# shellcheck disable=SC2086 # words
	run "$MOTE" -k "$kernel_loop" -m 64M $FLAGS
	losetup -d "$kernel_loop"
	well 0 'hello from the guest'
}
device() {
	truncate -s 8M "$tmp/loop.img"
	[ -n "${loop-}" ] || loop=$(losetup -f --show "$tmp/loop.img")
	with "$1" device_trim
}
do_device_uring() {
	device uring
}
do_device_threads() {
	device threads
}

# Its file system is full: an I/O error for the guest.
full_write() {
	sguest virtio_write -a sector=2048 \
		-d "$tmp/small/a.img,engine=$engine" && well 0 'write 1'
}
disk_full() {
	mkdir -p "$tmp/small"
	mount -t tmpfs -o size=64k none "$tmp/small" || return
	truncate -s 8M "$tmp/small/a.img"
	head -c 1M /dev/zero >"$tmp/small/rest" 2>/dev/null
	with "$1" full_write
	full_result=$?
	umount -l "$tmp/small"
	return $full_result
}
do_disk_full_uring() {
	disk_full uring
}
do_disk_full_threads() {
	disk_full threads
}

# -- --net -----------------------------------------------------------------------

# in_net COMMAND...: in a network of its own, with a tap mote0
in_net() {
	# shellcheck disable=SC2086,SC2016 # words
	run unshare -n sh -c 'ip tuntap add mote0 mode tap vnet_hdr 2>/dev/null ||
			ip tuntap add mote0 mode tap
		ip addr add 10.9.0.1/24 brd + dev mote0
		ip link set mote0 up
		'"$1"' &
		pid=$!
		"$@"
		status=$?
		kill $pid 2>/dev/null
		exit $status' sh "$MOTE" -k "$GUESTS/virtio_net.elf" -m 64M \
		-n tap=mote0,bw=100M -a "$2" $FLAGS
}

do_tap() {
	in_net 'while sleep 0.1; do
		echo x | socat -u - UDP-DATAGRAM:10.9.0.255:9,broadcast
	done' frames=2
	well 0 received
}

do_tap_gone() {
	in_net '{ sleep 0.5; ip link del mote0; }' down=1
	well 0 'link down'
}

# What listens for a guest ends with it, also where the guest never came.
server_end() {
	kill "$server" 2>/dev/null
	wait "$server" 2>/dev/null
	server=
}

# Frames come back as they were sent, on a connection that then ends.
stream_server() {
	cat >"$tmp/stream.pl" <<-'END'
	use IO::Socket::UNIX;
	my ($path, $frames) = @ARGV;
	my $l = IO::Socket::UNIX->new(Local => $path, Listen => 1) or die;
	my $s = $l->accept;
	while ($frames--) {
		sysread($s, my $frame, 65536) or exit;
		syswrite $s, substr $frame, 0, 10;
		select undef, undef, undef, 0.02;
		syswrite $s, substr $frame, 10;
	}
	END
	rm -f "$tmp/stream"
	perl "$tmp/stream.pl" "$tmp/stream" "$1" &
	server=$!
	await test -S "$tmp/stream"
}

do_stream() {
	stream_server 10000
	sguest virtio_net -n "unix=$tmp/stream" -a frames=3
	server_end
	well 0 received
}

do_stream_gone() {
	stream_server 2
	sguest virtio_net -n "unix=$tmp/stream" -a down=1
	server_end
	well 0 'link down'
}

# -- --vsock ---------------------------------------------------------------------

do_vsock_client() {
	sguest_start virtio_vsock --vsock "$tmp/vs" -a accept=1
	await says driving
	timeout 60 tests/tools/dialogue unix "$tmp/vs" 'CONNECT 52
hello' hello >/dev/null 2>&1
	guest_end
	well 0 'echoed 5' && removed "$tmp/vs"
}

# vsock_server PERL: what a listener of the host does with a connection $s
vsock_server() {
	cat >"$tmp/server.pl" <<-END
	use IO::Socket::UNIX;
	my \$l = IO::Socket::UNIX->new(Local => "$tmp/vs_1234", Listen => 1)
		or die;
	my \$s = \$l->accept;
	$1
	END
	rm -f "$tmp/vs_1234"
	perl "$tmp/server.pl" &
	server=$!
	await test -S "$tmp/vs_1234"
}

do_vsock_guest() {
	# shellcheck disable=SC2016 # Perl
	vsock_server 'sysread $s, my $x, 100; syswrite $s, "four";
		1 while sysread $s, $x, 4096;'
	sguest virtio_vsock --vsock "$tmp/vs" -a connect=1234
	server_end
	well 0 'received 4' && removed "$tmp/vs"
}

# A reader that does not read, and is gone once the guest has sent it more than a
# socket takes: what was kept for it is given back.
do_vsock_slow() {
	# shellcheck disable=SC2016 # Perl
	vsock_server "my \$out = '$out';"' for (1 .. 1000) {
		open my $text, "<", $out or die;
		last if grep /sent/, <$text>;
		select undef, undef, undef, 0.02;
	}'
	sguest virtio_vsock --vsock "$tmp/vs" -a 'connect=1234 kib=255'
	server_end
	well 0 sent
}

# More streams than there are whole buffers for: the others' sockets have less.
do_vsock_many() {
	# shellcheck disable=SC2016 # Perl
	vsock_server 'my @more = $s;
		while (my $next = $l->accept) { push @more, $next }'
	sguest_start vsock_many --vsock "$tmp/vs" -a n=6
	await says done
	kill -INT "$pid"
	guest_end
	server_end
	well 130 'streams 6'
}

do_vsock_refused() {
	rm -f "$tmp/vs_1234"
	sguest virtio_vsock --vsock "$tmp/vs" -a connect=1234
	well 0 refused
}

# -- a command, whose stream mote ends itself --------------------------------------

# command_guest WORDS ARG...: without --vsock
command_guest() {
	rm -f "$events"
	command_words=$1
	shift
	# shellcheck disable=SC2086 # words
	run "$MOTE" -k "$GUESTS/virtio_vsock.elf" -m 64M --events "$events" \
		-a "$command_words" "$@" $FLAGS -- a command </dev/null
}

do_command() {
	command_guest command=42
	well 42 'words of a command'
}

do_command_lost() {
	command_guest 'command=42 lost=1'
	well 123 'powered off before the command'
}

# Holes, links and attributes: all that a walker may do. What the guest sends back
# is what it had; a directory that is the kernel's own is left out.
do_put_get() {
	mkdir -p "$tmp/tree/sub"
	echo text >"$tmp/tree/sub/text"
	ln -sf text "$tmp/tree/link"
	truncate -s 1M "$tmp/tree/hole"
	perl -e 'my ($file, $name, $value) = (@ARGV, "x");
		syscall 188, $file, $name, $value, 1, 0' \
		"$tmp/tree/sub/text" user.mote
	[ "$(id -u)" != 0 ] || { mkdir -p "$tmp/tree/proc" &&
		mount -t proc none "$tmp/tree/proc"; } 2>/dev/null
	command_guest 'files=1 command=42' --put "$tmp/tree" \
		--get "/:$tmp/put_get.tar"
	umount -l "$tmp/tree/proc" 2>/dev/null
	well 42 && [ "$(tar -xOf "$tmp/put_get.tar" ./sub/text)" = text ]
}

do_put_file() {
	echo text >"$tmp/text"
	command_guest 'files=1 command=42' --put "$tmp/text" \
		--get "/:$tmp/put_get.tar"
	well 42 && [ "$(tar -xOf "$tmp/put_get.tar" text)" = text ]
}

# More at once than the stream has room for, and none of it sense.
do_command_flood() {
	command_guest 'connect=1836020837 kib=256 burst=1'
	well 123 'makes no sense'
}

# -- --snapshot --------------------------------------------------------------------

# snapshot_disks: what the guest writes, whole and as a layer
snapshot_disks() {
	for snapshot_image in a b; do
		perl -e 'print "M" x (1 << 20)' >"$tmp/$snapshot_image.img"
	done
}

# srestore ARG...: a snapshot goes on
srestore() {
	rm -f "$events"
	# shellcheck disable=SC2086 # words
	run "$MOTE" --restore "$tmp/x.snap" --events "$events" "$@" $FLAGS
}

# A clone is saved, too: what it has written and what it was restored with.
do_snapshot() {
	snapshot_disks
	sguest generations -a generations=3 -d "$tmp/a.img,ephemeral" \
		-d "$tmp/b.img" --snapshot "$tmp/x.snap,on=ready"
	well 0 'generation 1' && [ "$(reason)" = snapshot ] || return
	srestore --snapshot "$tmp/x.snap,on=ready"
	well 0 'generation 2' && [ "$(reason)" = snapshot ] || return
	srestore
	well 0 'lived through 3'
}

# Of zeros there are holes, which the clone of a clone has, too.
do_snapshot_zeros() {
	snapshot_disks
	sguest snapshot -a case=zeros -d "$tmp/a.img,ephemeral" \
		--snapshot "$tmp/x.snap,on=ready"
	well 0 saved && [ "$(reason)" = snapshot ] || return
	srestore --snapshot "$tmp/x.snap,on=ready"
	well 0 saved && [ "$(reason)" = snapshot ] || return
	srestore
	well 0 'zeros are zeros'
}

snapshot_is_another() {
	snapshot_new=$(stat -c %i "$tmp/x.snap") &&
		[ "$snapshot_new" != "$snapshot_old" ]
}

# The file of the next one is there: the committer makes it, and later than the
# one before has its name.
snapshot_is_begun() {
	[ -e "$(echo "$tmp"/.x.snap.*)" ]
}

# Those that were begun are removed.
snapshots_removed() {
	for snapshot_begun in "$tmp"/.x.snap.*; do
		unlinked "$snapshot_begun" || return
	done
}

# Twice, by a signal; the file of a third one is begun.
do_snapshot_signal() {
	rm -f "$tmp/x.snap" "$tmp"/.x.snap.*
	snapshot_old=none snapshot_count=0
	sguest_start hang --snapshot "$tmp/x.snap"
	await says hanging
	for _ in 1 2; do
		kill -USR1 "$pid"
		await snapshot_is_another || break
		snapshot_old=$snapshot_new
		snapshot_count=$((snapshot_count + 1))
		guest_heard
	done
	[ $snapshot_count != 2 ] || await snapshot_is_begun
	kill -INT "$pid"
	guest_end
	well 130 && [ $snapshot_count = 2 ] && snapshots_removed
}

do_snapshot_fd() {
	: >"$tmp/x.snap"
	# shellcheck disable=SC2086 # words
	run sh -c 'exec "$@" 3<>"$0"' "$tmp/x.snap" "$MOTE" \
		-k "$GUESTS/snapshot.elf" -m 64M -a case=string \
		--snapshot fd=3,on=ready $FLAGS
	well 0 saved || return
	srestore
	well 0 'eight bytes came'
}

# The guest goes on, ends at once, and mote waits for its file.
do_snapshot_continue() {
	sguest snapshot -a case=string \
		--snapshot "$tmp/x.snap,on=ready,then=continue"
	well 0 'eight bytes came'
}

# The names of all scenarios.
scenarios() {
	sed -n 's/^do_\([a-z_]*\)() {$/\1/p' tests/guest/scenarios.sh
}
