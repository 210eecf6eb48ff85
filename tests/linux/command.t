#!/bin/sh
# One command in a guest: its status is mote's, its output mote's output, byte
# for byte, and so is its terminal. Debian's kernel, whose drivers are modules.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

# More where a guest starts in a second, not in five.
if emulated; then
	runs=6 bytes=3000000 serial_bytes=5000
else
	runs=100 bytes=100000000 serial_bytes=200000
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
for applet in sh cat ls head yes sleep stty tee sha256sum hostname ip id env \
	seq touch; do
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

for n in 0 1; do
	command "exit$n" -- sh -c "exit $n"
done
for n in 0 1; do
	ended "exit$n"
	ends $n exited "exit $n"
	is "$(cat "$out" "$err")" "" "and nothing is said"
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

# -- bytes --------------------------------------------------------------------

head -c "$bytes" /dev/urandom >"$tmp/random"
input=$tmp/random
command cat -d "$tmp/ext4.img,root,ephemeral" -- cat
input=
command both -- sh -c '
	i=0
	while [ $i -lt 400 ]; do
		echo "out $i"; echo "err $i" >&2; i=$((i + 1))
	done
	busybox head -c 200000 /dev/zero >&2
	busybox printf "\000\377\r\n\004\033[0m"'
ended cat
ends 0 exited "cat ends with its input"
ok "$bytes random bytes in and out" cmp "$tmp/random" "$out"
ended both
ends 0 exited "a command that writes to both"
{
	seq 0 399 | sed 's/^/out /'
	printf '\000\377\r\n\004\033[0m'
} >"$tmp/want.out"
{
	seq 0 399 | sed 's/^/err /'
	head -c 200000 /dev/zero
} >"$tmp/want.err"
ok "stdout, byte for byte" cmp "$tmp/want.out" "$out"
ok "stderr, byte for byte" cmp "$tmp/want.err" "$err"

# Whoever leaves early, on either side; both ways to the end of a stream.
command null -- busybox cat
timed() {
	timeout -s KILL "$LIMIT" "$MOTE" -k "$kernel" -i "$INITRD" \
		-i "$MODULES" -m 128M "$@"
}
{
	yes | { timed -- busybox head -n 1; echo $? >"$tmp/head.status"; } \
		>"$tmp/head.out"
} &
head=$!
{ timed -- sh -c 'busybox yes; echo yes=$? >&2' 2>"$tmp/yes.err"; \
	echo $? >"$tmp/yes.status"; } | head -n 2 >"$tmp/yes.out"
wait $head
ended null
ends 0 exited "no input at all, from /dev/null"
is "$(cat "$tmp/head.status" "$tmp/head.out")" "0
y" "yes | mote ... -- head -n 1 ends"
is "$(cat "$tmp/yes.status" "$tmp/yes.out" "$tmp/yes.err")" "0
y
y
yes=141" "a reader that leaves: SIGPIPE in the guest"

# -- signals ------------------------------------------------------------------

command int -- sh -c 'trap "echo interrupted; exit 9" INT; echo begun
	while :; do busybox sleep 1; done'
command term -- busybox sleep 999
begun() {
	grep -q '"event":"start"' "$tmp/$1.events"
}
ok "the command runs" until_is "$LIMIT" printed int begun
kill -INT "$(pid_of int)"
ended int
ends 9 exited "SIGINT is the command's"
is "$(tail -n 1 "$out")" interrupted "which handles it"
ok "the next one runs" until_is "$LIMIT" waiting term
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

# -- a terminal ---------------------------------------------------------------

# On a pseudo-terminal of socat's; what is typed comes through a FIFO.
cat >"$tmp/tty.sh" <<END
tty >$tmp/tty
stty rows 33 cols 77
stty -g >$tmp/before
$MOTE -k $kernel -i $INITRD -i $MODULES -m 128M -t -- sh -i
echo "mote=\$?"
stty -g >$tmp/after
END
mkfifo "$tmp/keys"
exec 7<>"$tmp/keys"
socat -t 5 - "EXEC:sh $tmp/tty.sh,pty,setsid,ctty,stderr,sane" \
	<"$tmp/keys" >"$tmp/tty.out" 2>"$tmp/tty.err" &
socat=$!
type_keys() {
	printf "$1" >&7
}
typed=0
# asks KEYS PATTERN: what is printed after them
asks() {
	typed=$((typed + 1))
	type_keys "$1"
	until_is 60 printed tty "$2"
}
status=none out=$tmp/tty.out err=$tmp/tty.err events=$tmp/tty.events
ok "a shell with a terminal prompts" until_is "$LIMIT" printed tty '# '
ok "the size is that of mote's terminal" \
	asks 'busybox stty size | busybox tr " " x\r' '^33x77'
ok "line editing: a key goes back" asks 'echo s=13\033[D2\r' '^s=123'
ok "line editing: a key deletes" asks 'echo s=abX\177c\r' '^s=abc'
stty -F "$(cat "$tmp/tty")" rows 44 cols 99
sleep 1
ok "the size follows" \
	asks 'busybox stty size | busybox tr " " x\r' '^44x99'
type_keys 'busybox sleep 999\r'
sleep 1
ok "Ctrl-C interrupts" asks '\003echo c=$?\r' '^c=130'
ok "stderr is the terminal, too" asks 'busybox test -t 2 && echo e=0\r' '^e=0'
type_keys 'exit 7\r'
ok "exit" until_is 60 printed tty '^mote=7'
wait $socat
exec 7>&-
is "$(cat "$tmp/before")" "$(cat "$tmp/after")" "mote's terminal is as it was"

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

# -- again and again ----------------------------------------------------------

seq 1 2000 >"$tmp/want"
good=0
i=0
while [ $i -lt "$runs" ]; do
	for j in a b; do
		command "many$j" -- sh -c "busybox seq 1 2000; exit $((i % 256))"
	done
	for j in a b; do
		ended "many$j"
		! [ "$status" = $((i % 256)) ] || ! cmp "$tmp/want" "$out" ||
			[ -s "$err" ] || good=$((good + 1))
	done
	i=$((i + 2))
done
is "$good" "$i" "$i runs, each with its status and every byte"

done_testing
