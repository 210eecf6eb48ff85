#!/bin/sh
# One command in a guest: its input and output are mote's, byte for byte, and so
# is its terminal.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

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
	boot "$command_name" -i "$MODULES" "$@"
}

# -- bytes --------------------------------------------------------------------

head -c "$bytes" /dev/urandom >"$tmp/random"
input=$tmp/random
command cat -- busybox cat
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
# Once this is answered the terminal is no longer the shell's line editor's.
asks 'echo go=$((1 + 1)); busybox sleep 999\r' '^go=2'
ok "Ctrl-C interrupts" asks '\003echo c=$?\r' '^c=130'
ok "stderr is the terminal, too" asks 'busybox test -t 2 && echo e=0\r' '^e=0'
type_keys 'exit 7\r'
ok "exit" until_is 60 printed tty '^mote=7'
printed tty '^mote=7' || kill $socat
wait $socat
exec 7>&-
is "$(cat "$tmp/before")" "$(cat "$tmp/after")" "mote's terminal is as it was"

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
ends 125 error "output that cannot be written is no success"
like "$(cat "$err")" 'cannot write what the command has written to its stdout: No space' \
	"and why is said"
ended notty
is "$status $(tr -d '\r' <"$out")" "0 yes" "--tty without a terminal here"
ended unread
is "$status" 9 "what the command does not read does no harm"

done_testing
