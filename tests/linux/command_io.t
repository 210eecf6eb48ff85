#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One command in a guest: its input and output are mote's, byte for byte, and so
# is its terminal.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

minimal

# More where a guest starts in a second, not in five.
if emulated; then
	bytes=3000000
else
	bytes=100000000
fi

# command NAME [OPTION...] -- WORD...
command() {
	command_name=$1
	shift
	# shellcheck disable=SC2086 # words
	boot "$command_name" $modules "$@"
}

# -- bytes --------------------------------------------------------------------

head -c "$bytes" /dev/urandom >"$tmp/random"
input=$tmp/random
debian
command cat -- busybox cat
minimal
input=
command both -- sh -c '
	i=0
	while [ $i -lt 400 ]; do
		echo "out $i"; echo "err $i" >&2; i=$((i + 1))
	done
	busybox head -c 200000 /dev/zero >&2
	busybox printf "\000\377\r\n\004\033[0m"'
ended cat
ends 0 exited "cat ends with its input (Debian's kernel)"
ok "$bytes random bytes go through a command unchanged" cmp "$tmp/random" "$out"
ended both
ends 0 exited "a command that writes much to stdout and stderr ends"
{
	seq 0 399 | sed 's/^/out /'
	printf '\000\377\r\n\004\033[0m'
} >"$tmp/want.out"
{
	seq 0 399 | sed 's/^/err /'
	head -c 200000 /dev/zero
} >"$tmp/want.err"
ok "the stdout of a command arrives byte for byte" cmp "$tmp/want.out" "$out"
ok "the stderr of a command arrives byte for byte" cmp "$tmp/want.err" "$err"

# Whoever leaves early, on either side; both ways to the end of a stream.
command null -- busybox cat
timed() {
	timeout -s KILL "$LIMIT" "$MOTE" -k "$kernel" -i "$INITRD" \
		$modules -m 128M "$@"
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
ends 0 exited "a command with no input at all ends"
is "$(cat "$tmp/head.status" "$tmp/head.out")" "0
y" "a command that reads one line of endless input ends (yes | mote ... -- head -n 1)"
is "$(cat "$tmp/yes.status" "$tmp/yes.out" "$tmp/yes.err")" "0
y
y
yes=141" "a reader that leaves is SIGPIPE for the command in the guest"

# -- a terminal ---------------------------------------------------------------

# On a pseudo-terminal of socat's; what is typed comes through a FIFO.
cat >"$tmp/tty.sh" <<END
tty >$tmp/tty
stty rows 33 cols 77
stty -g >$tmp/before
$MOTE -k $kernel -i $INITRD $modules -m 128M -t -- sh -i
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
	until_is "$LIMIT" printed tty "$2"
}
status=none out=$tmp/tty.out err=$tmp/tty.err events=$tmp/tty.events
ok "a shell with a terminal prompts" until_is "$LIMIT" printed tty '# '
ok "the guest's terminal has the size of mote's" \
	asks 'busybox stty size | busybox tr " " x\r' '^33x77'
ok "a cursor key edits the line in the guest's shell" asks 'echo s=13\033[D2\r' '^s=123'
ok "the delete key edits the line in the guest's shell" asks 'echo s=abX\177c\r' '^s=abc'
stty -F "$(cat "$tmp/tty")" rows 44 cols 99
ok "the guest's terminal follows a change of size" asks 'until [ "$(busybox stty size)" = "44 99" ]; \
do busybox sleep 0.1; done; echo w=$((44 + 55))\r' '^w=99'
# Once this is answered the terminal is no longer the shell's line editor's.
asks 'echo go=$((1 + 1)); busybox sleep 999\r' '^go=2'
ok "Ctrl-C interrupts a program on the guest's terminal" asks '\003echo c=$?\r' '^c=130'
ok "stderr of a command with --tty is the terminal, too" asks 'busybox test -t 2 && echo e=0\r' '^e=0'
type_keys 'exit 7\r'
ok "the status of a shell on a terminal is mote's" until_is "$LIMIT" printed tty '^mote=7'
printed tty '^mote=7' || kill $socat
wait $socat
exec 7>&-
is "$(cat "$tmp/before")" "$(cat "$tmp/after")" "mote's terminal is as it was before a command with --tty"

# Input that is no terminal, for a command that has one; and input that a command
# does not read, more than all buffers hold.
command notty -t -- sh -c 'busybox test -t 1 && echo yes'
yes | head -c 1048576 >"$tmp/yes"
input=$tmp/yes
command unread -- sh -c 'exit 9'
input=
output=/dev/full
command full -- sh -c 'echo lost'
output=
ended full
ends 125 error "output of a command that cannot be written is status 125"
like "$(cat "$err")" 'cannot write what the command has written to its stdout: No space' \
	"output of a command that cannot be written: why is said"
ended notty
is "$status $(tr -d '\r' <"$out")" "0 yes" "--tty gives a command a terminal where mote has none"
ended unread
is "$status" 9 "input that a command does not read does no harm"

done_testing
