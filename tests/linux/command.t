#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One command in a guest: its status is mote's, and so are its signals; what it
# finds there. With the minimal kernel, and Debian's where it matters that
# drivers are modules. Its streams and its terminal: command_io.t.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

minimal

# Fewer where a byte on the serial port costs a quarter of a millisecond.
if emulated; then
	serial_bytes=5000
else
	serial_bytes=200000
fi

# command NAME [OPTION...] -- WORD...
command() {
	command_name=$1
	shift
	# shellcheck disable=SC2086 # words
	boot "$command_name" $modules "$@"
}

# says_nothing NAME: a test
says_nothing() {
	is "$(cat "$out" "$err")" "" "$1: nothing is printed, by mote neither"
}

# -- a root disk --------------------------------------------------------------

root=$tmp/root
mkdir -p "$root/bin" "$root/etc"
cp build/guest/busybox "$root/bin"
for applet in sh cat ls sleep hostname ip id env touch; do
	ln -s busybox "$root/bin/$applet"
done
echo 'not a program' >"$root/bin/plain"
echo '#!/no/such/interpreter' >"$root/bin/orphan"
chmod 755 "$root/bin/orphan"
# Not mke2fs: to busybox's shell that is one of its own programs.
/sbin/mke2fs -q -t ext4 -d "$root" "$tmp/ext4.img" 16M >"$tmp/mke2fs" 2>&1 || {
	cat "$tmp/mke2fs"
	exit 1
}
cp "$tmp/ext4.img" "$tmp/written.img"

# A disk that never answers, in effect: its first large write takes minutes.
sync_in_vain='busybox mount -t ext4 /dev/vdb /tmp
	busybox yes needle | busybox head -c BYTES >/tmp/needles
	busybox sync &
	until busybox grep -q "^State:.D" /proc/$!/status; do busybox sleep 0.1; done
	exit 8'
# These take longer than all else here: they are asked for at the end.
cp "$tmp/ext4.img" "$tmp/stuck.img"
command stuck -d "$tmp/stuck.img,root,ephemeral" \
	-d "$tmp/stuck.img,ephemeral,bw=1k" \
	-- sh -c "$(echo "$sync_in_vain" | sed s/BYTES/3000000/)"
cp "$tmp/ext4.img" "$tmp/slow.img"
command slow -d "$tmp/stuck.img,root,ephemeral" -d "$tmp/slow.img,bw=128k" -- \
	sh -c "$(echo "$sync_in_vain" | sed s/BYTES/1500000/)"
command timeout --timeout 30s -- sh -c 'echo begun; busybox sleep 999'

# -- statuses -----------------------------------------------------------------

debian
command exit0 -- sh -c 'exit 0'
minimal
command exit126 -- sh -c 'exit 126'
ended exit0
ends 0 exited "a command's status 0 is mote's (Debian's kernel)"
says_nothing "status 0"
ended exit126
ends 126 exited "a command's status 126 is mote's"
says_nothing "status 126"
command exit1 -- sh -c 'exit 1'
command exit127 -- sh -c 'exit 127'
ended exit1
ends 1 exited "a command's status 1 is mote's"
says_nothing "status 1"
ended exit127
ends 127 exited "a command's status 127 is mote's"
says_nothing "status 127"
command exit42 -d "$tmp/ext4.img,root,ephemeral" -- sh -c 'exit 42'
command exit255 -d "$tmp/ext4.img,root,ro" -- sh -c 'echo new >/new && cat /new; exit 255'
ended exit42
ends 42 exited "status 42 of a command on a root disk is mote's"
ended exit255
ends 255 exited "status 255 of a command on a read-only disk is mote's"
is "$(cat "$out" "$err")" new "a command on a read-only root disk can write"

command killed -- sh -c 'kill -KILL $$'
command fault -- sh -c 'kill -SEGV $$'
ended killed
ends 137 exited "a command killed by SIGKILL is status 137"
ended fault
ends 139 exited "a command killed by SIGSEGV is status 139"
says_nothing "a command that is killed"

command missing -- no-such-command one two
command plain -d "$tmp/ext4.img,root" -- /bin/plain
ended missing
ends 127 exited "a command that is not there is status 127"
is "$(cat "$err")" "mote: not found in the guest: no-such-command" \
	"a command that is not there is named"
ended plain
ends 126 exited "a file that is not executable is status 126"
is "$(cat "$err")" "mote: cannot be run: /bin/plain: permission denied" \
	"a file that is not executable is named"
command orphan -d "$tmp/ext4.img,root" -- orphan
command nodir --workdir /no/such -- sh
ended orphan
ends 126 exited "a script without its interpreter is status 126"
like "$(cat "$err")" "/?orphan: there is no such interpreter as it wants" \
	"a script without its interpreter is named"
ended nodir
ends 125 exited "--workdir that is not there is status 125"
is "$(cat "$err")" \
	"mote: cannot change to --workdir: /no/such: no such file or directory" \
	"--workdir that is not there is named"

# The guest ends, and there is no status.
# It panics once the host has what it printed: what is still in the guest then,
# in a pipe or a queue, is lost with it.
mkfifo "$tmp/panic.in"
exec 7<>"$tmp/panic.in"
input=$tmp/panic.in command panic -- \
	sh -c 'echo before; read -r go; echo c >/proc/sysrq-trigger; sleep 99'
command reboot -- sh -c 'echo before; busybox reboot -f; busybox sleep 99'
ok "what is printed before a panic arrives" until_is "$LIMIT" printed panic before
echo go >&7
exec 7<&-
ended panic
ends 123 panic "a panic during a command is status 123"
is "$(cat "$out")" before "what was printed before a panic is kept"
like "$(cat "$err")" "guest: .*Kernel panic - not syncing: sysrq" \
	"what the kernel said in a panic is on stderr"
ended reboot
ends 123 reboot "a reboot during a command is status 123"
like "$(cat "$err")" "^mote: the guest rebooted before the command had ended" \
	"a reboot during a command is told"
command no-disk -a root=/dev/vdz -- sh
command frozen -d "$tmp/ext4.img,root,ephemeral" -d "$tmp/ext4.img,ephemeral" -- \
	sh -c 'busybox mount -t ext4 /dev/vdb /tmp && busybox fsfreeze --freeze /tmp
	(echo held >/tmp/held) &
	until busybox grep -q "^State:.D" /proc/$!/status; do busybox sleep 0.1; done
	echo over; exit 7'
ended no-disk
ends 125 exited "a root disk that is not there is status 125"
like "$(cat "$err")" "there is no such disk .*: /dev/vdz$" \
	"a root disk that is not there is named"
ended frozen
ends 7 exited \
	"a process that cannot be killed does not keep a command from its end"
is "$(cat "$out")" over "a process that cannot be killed keeps no output back"
ended slow
ends 8 exited "a disk that takes its time at the end does not change the status"
is "$(cat "$err")" "" "a disk that takes its time at the end is waited for"
command needles -d "$tmp/ext4.img,root,ephemeral" -d "$tmp/slow.img,ro" -- sh -c '
	busybox mount -t ext4 -o ro /dev/vdb /tmp && busybox md5sum </tmp/needles'
ended needles
is "$(cat "$out")" "$(yes needle | head -c 1500000 | md5sum)" \
	"what a slow disk was given last is on it"

# -- what the command finds ---------------------------------------------------

MOTE_TEST_PASSED=through
export MOTE_TEST_PASSED
command env --workdir /bin -e "A=two words" -e B= -e MOTE_TEST_PASSED \
	-e NOT_THERE -d "$tmp/written.img,root" \
	-a ip=192.0.2.9::192.0.2.1:255.255.255.0:box:lo:off -- \
	sh -c 'pwd; env | busybox sort; echo "$#" "$1" "$2"; hostname
	id -u; ls /proc/self/fd /dev/stdin /dev/shm /dev/pts /tmp >/dev/null &&
	ip -o address show lo
	touch /written; (sleep 999 &) ; echo over' zero 'one  "two"' "three
four"
command initrd -- sh -c 'cat() { while read -r l; do echo "$l"; done; }
	cat </proc/cmdline; echo $0 $$; [ -e /.mote/run ] || echo gone'
ended env
ends 0 exited "a command that leaves a process behind ends"
is "$(grep -v '^SHLVL=\|^PWD=\|inet' "$out")" "/bin
A=two words
B=
HOME=/root
MOTE_TEST_PASSED=through
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
2 one  \"two\" three
four
box
0
over" "a command has its directory, variables, arguments and host name"
like "$(cat "$out")" "lo .*inet 192.0.2.9/24" \
	"a command has the address that ip= gives"
run e2fsck -fn "$tmp/written.img"
is "$status" 0 "the root disk's file system is clean after a command"
ended initrd
ends 0 exited "a command runs in the initrd where no disk is the root"
like "$(head -n 1 "$out")" "^rdinit=/.mote/init console=ttyS0" \
	"the kernel's command line has nothing of the command"
is "$(tail -n 1 "$out")" gone "no file has what mote's init was told"

# -- signals ------------------------------------------------------------------

command int -- sh -c 'trap "echo interrupted; exit 9" INT; echo begun
	while :; do busybox sleep 1; done'
command term -- sh -c 'echo begun; exec busybox sleep 999'
begun() {
	grep -q '"event":"start"' "$tmp/$1.events"
}
ok "a command that handles SIGINT runs" until_is "$LIMIT" printed int begun
kill -INT "$(pid_of int)"
ended int
ends 9 exited "SIGINT is the command's to handle"
is "$(tail -n 1 "$out")" interrupted "a command's handler of SIGINT runs"
ok "a command that does not handle SIGTERM runs" \
	until_is "$LIMIT" printed term begun
kill -TERM "$(pid_of term)"
ended term
ends 143 exited "SIGTERM ends the command"
command deaf -- sh -c 'trap "echo heard" TERM; echo begun
	while :; do busybox sleep 1; done'
command early -- sh -c 'busybox sleep 999'
ok "mote has begun with a command that is not there yet" \
	until_is "$LIMIT" begun early
kill -INT "$(pid_of early)"
ended early
is "$status" 130 "SIGINT before there is a command ends mote"
is "$(cat "$out")" "" "SIGINT before there is a command: nothing is printed"
ok "a command that stays after SIGTERM runs" \
	until_is "$LIMIT" printed deaf begun
kill -TERM "$(pid_of deaf)"
ok "the first SIGTERM is the command's" until_is "$LIMIT" printed deaf heard
kill -TERM "$(pid_of deaf)"
ended deaf
ends 143 signal "a second SIGTERM ends mote"
command patient --grace 1s -- sh -c 'trap "echo heard" TERM; echo begun
	while :; do sleep 1; done'
ok "a command with --grace runs" until_is "$LIMIT" printed patient begun
kill -TERM "$(pid_of patient)"
ended patient
like "$(cat "$out")" heard "with --grace a SIGTERM is the command's, too"
ends 143 signal "when --grace has passed mote ends"

# -- other ways ---------------------------------------------------------------

# No vsock driver: Debian's kernel without its modules.
debian
head -c "$serial_bytes" /dev/urandom >"$tmp/random.serial"
input=$tmp/random.serial
boot serial -- sh -c 'busybox cat; echo err >&2; exit 5'
input=
boot nowhere --serial off -- sh
ended serial
ends 5 exited "a command without a vsock driver runs by the serial port"
ok "a command on the serial port: $serial_bytes random bytes in and out" \
	cmp "$tmp/random.serial" "$out"
is "$(cat "$err")" err "a command on the serial port has its stderr apart"
ended nowhere
ends 125 exited "a command without vsock driver and serial port is status 125"
like "$(cat "$err")" "^mote: .*vsock" \
	"a command without vsock driver and serial port: what lacks is named"
minimal
command sock --vsock "$tmp/v,cid=77" --serial "file=$tmp/console" -- \
	sh -c 'echo "<0>to the console" >/dev/kmsg; echo out'
ended sock
ends 0 exited "a command beside a vsock and a serial port of the user's"
is "$(cat "$out" "$err")" out \
	"beside a serial port of the user's, the output is the command's alone"
like "$(cat "$tmp/console")" "to the console" \
	"beside a command, the console leads where the user wants it"

# How long a boot takes is the machine's affair: once more with more time, where
# the command had not begun when it was over.
ended timeout
if [ ! -s "$out" ]; then
	command timeout --timeout 200s -- sh -c 'echo begun; busybox sleep 999'
	ended timeout
fi
ends 124 timeout "--timeout ends a command"
is "$(cat "$out")" begun "what a command had printed before --timeout is there"
ended stuck
ends 8 exited "a disk that does not answer does not keep a command from its end"
like "$(cat "$err")" "what was written last may not be on it" \
	"a disk that does not answer is told of"

done_testing
