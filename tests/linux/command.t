#!/bin/sh
# One command in a guest: its status is mote's, and so are its signals; what it
# finds there. Debian's kernel, whose drivers are modules. Its streams and its
# terminal: command_io.t.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

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
	boot "$command_name" -i "$MODULES" "$@"
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

# Long enough for a busy machine to start it: asked for at the end.
command timeout --timeout 90s -- sh -c 'echo begun; busybox sleep 999'

# -- statuses -----------------------------------------------------------------

for pair in '0 1' '126 127'; do
	for n in $pair; do
		command "exit$n" -- sh -c "exit $n"
	done
	for n in $pair; do
		ended "exit$n"
		ends "$n" exited "exit $n"
		is "$(cat "$out" "$err")" "" "and nothing is said"
	done
done
command exit42 -d "$tmp/ext4.img,root,ephemeral" -- sh -c 'exit 42'
command exit255 -d "$tmp/ext4.img,root,ro" -- sh -c 'echo new >/new && cat /new; exit 255'
ended exit42
ends 42 exited "exit 42, from a disk"
ended exit255
ends 255 exited "exit 255, from a disk that is read-only"
is "$(cat "$out" "$err")" new "which can be written to all the same"

command killed -- sh -c 'kill -KILL $$'
command fault -- sh -c 'kill -SEGV $$'
ended killed
ends 137 exited "killed by SIGKILL"
ended fault
ends 139 exited "killed by SIGSEGV"
is "$(cat "$out" "$err")" "" "and nothing is said"

command missing -- no-such-command one two
command plain -d "$tmp/ext4.img,root" -- /bin/plain
ended missing
ends 127 exited "a command that is not there"
is "$(cat "$err")" "mote: not found in the guest: no-such-command" "said so"
ended plain
ends 126 exited "a file that is not executable"
is "$(cat "$err")" "mote: cannot be run: /bin/plain: permission denied" \
	"said so"
command orphan -d "$tmp/ext4.img,root" -- orphan
command nodir --workdir /no/such -- sh
ended orphan
ends 126 exited "a script without its interpreter"
like "$(cat "$err")" "/?orphan: there is no such interpreter as it wants" \
	"said so"
ended nodir
ends 125 exited "a directory that is not there"
is "$(cat "$err")" \
	"mote: cannot change to --workdir: /no/such: no such file or directory" \
	"said so"

# The guest ends, and there is no status.
command panic -- sh -c 'echo before; echo c >/proc/sysrq-trigger; sleep 99'
command reboot -- sh -c 'echo before; busybox reboot -f; busybox sleep 99'
ended panic
ends 123 panic "a panic during it"
is "$(cat "$out")" before "what it had printed is there"
like "$(cat "$err")" "guest: .*Kernel panic - not syncing: sysrq" \
	"and what the kernel said"
ended reboot
ends 123 reboot "a reboot during it"
like "$(cat "$err")" "^mote: the guest rebooted before the command had ended" \
	"said so"
command no-disk -a root=/dev/vdz -- sh
command frozen -d "$tmp/ext4.img,root,ephemeral" -d "$tmp/ext4.img,ephemeral" -- \
	sh -c 'busybox mount -t ext4 /dev/vdb /tmp && busybox fsfreeze --freeze /tmp
	(echo held >/tmp/held) &
	until busybox grep -q "^State:.D" /proc/$!/status; do busybox sleep 0.1; done
	echo over; exit 7'
sync_in_vain='busybox mount -t ext4 /dev/vdb /tmp
	busybox yes needle | busybox head -c 3000000 >/tmp/needles
	busybox sync &
	until busybox grep -q "^State:.D" /proc/$!/status; do busybox sleep 0.1; done
	exit 8'
cp "$tmp/ext4.img" "$tmp/slow.img"
command slow -d "$tmp/ext4.img,root,ephemeral" -d "$tmp/slow.img,bw=128k" -- \
	sh -c "$sync_in_vain"
command stuck -d "$tmp/ext4.img,root,ephemeral" \
	-d "$tmp/ext4.img,ephemeral,bw=16k" -- sh -c "$sync_in_vain"
ended frozen
ends 7 exited "a process that cannot be killed, with the output open"
is "$(cat "$out")" over "and what was printed is there"
ended slow
ends 8 exited "a disk that takes its time"
is "$(cat "$err")" "" "is waited for"
command needles -d "$tmp/ext4.img,root,ephemeral" -d "$tmp/slow.img,ro" -- sh -c '
	busybox mount -t ext4 -o ro /dev/vdb /tmp && busybox md5sum </tmp/needles'
ended needles
is "$(cat "$out")" "$(yes needle | head -c 3000000 | md5sum)" \
	"what the slow one was given is there"
ended no-disk
ends 125 exited "a root disk that is not there"
like "$(cat "$err")" "there is no such disk .*: /dev/vdz$" "said so"

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
ends 0 exited "a command with an environment; it leaves a process behind"
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
over" "directory, variables, arguments, host name"
like "$(cat "$out")" "lo .*inet 192.0.2.9/24" "the address that ip= gives"
run e2fsck -fn "$tmp/written.img"
is "$status" 0 "the root disk's file system is clean afterwards"
ended initrd
ends 0 exited "in the initrd, where no disk is the root"
like "$(head -n 1 "$out")" "^rdinit=/.mote/init console=ttyS0" \
	"the command line has nothing of the command"
is "$(tail -n 1 "$out")" gone "nor has a file what mote's init was told"

# -- signals ------------------------------------------------------------------

command int -- sh -c 'trap "echo interrupted; exit 9" INT; echo begun
	while :; do busybox sleep 1; done'
command term -- sh -c 'echo begun; exec busybox sleep 999'
begun() {
	grep -q '"event":"start"' "$tmp/$1.events"
}
ok "the command runs" until_is "$LIMIT" printed int begun
kill -INT "$(pid_of int)"
ended int
ends 9 exited "SIGINT is the command's"
is "$(tail -n 1 "$out")" interrupted "which handles it"
ok "the next one runs" until_is "$LIMIT" printed term begun
kill -TERM "$(pid_of term)"
ended term
ends 143 exited "SIGTERM is the command's"
command deaf -- sh -c 'trap "" TERM; echo begun; busybox sleep 999'
command early -- sh -c 'busybox sleep 999'
ok "mote has begun" until_is "$LIMIT" begun early
kill -INT "$(pid_of early)"
ended early
is "$status" 130 "SIGINT before there is a command"
is "$(cat "$out")" "" "is the end"
ok "a command that does not listen" until_is "$LIMIT" printed deaf begun
kill -TERM "$(pid_of deaf)"
sleep 2
kill -TERM "$(pid_of deaf)"
ended deaf
ends 143 signal "a second SIGTERM ends mote"

# -- other ways ---------------------------------------------------------------

# No vsock driver: without the modules.
head -c "$serial_bytes" /dev/urandom >"$tmp/random.serial"
input=$tmp/random.serial
boot serial -- sh -c 'busybox cat; echo err >&2; exit 5'
input=
command sock --vsock "$tmp/v,cid=77" --serial "file=$tmp/console" -- \
	sh -c 'echo "<0>to the console" >/dev/kmsg; echo out'
ended serial
ends 5 exited "without a vsock driver: the serial port"
ok "$serial_bytes random bytes in and out" cmp "$tmp/random.serial" "$out"
is "$(cat "$err")" err "stderr apart"
ended sock
ends 0 exited "with a vsock and a serial port of the user's"
is "$(cat "$out" "$err")" out "the output is the command's alone"
like "$(cat "$tmp/console")" "to the console" "the console is where it leads"
boot nowhere --serial off -- sh
ended nowhere
ends 125 exited "no vsock driver and no serial port"
like "$(cat "$err")" "^mote: .*vsock" "said so"

ended timeout
ends 124 timeout "--timeout"
is "$(cat "$out")" begun "what it had printed until then"
ended stuck
ends 8 exited "a disk that does not answer for long"
like "$(cat "$err")" "what was written last may not be on it" "said so"

done_testing
