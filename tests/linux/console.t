#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The serial port under load, both ways, and each host end that it can have.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

# A byte costs two exits, in the emulated machine a quarter of a millisecond.
if emulated; then
	numbers=11000 typed=8192
else
	numbers=200000 typed=102400
fi

# Nobody reads stdout, and the pipe is full from the start. What a program
# prints then waits, and the rest of the guest goes on; the kernel's own words
# do not even wait. Later it is read, slowly, and all is there.
cat >"$tmp/flood.sh" <<END
stty -opost </dev/console
seq 1 $numbers >/big
END
cat >>"$tmp/flood.sh" <<'END'
echo begin
dd bs=512 </big >/dev/console 2>/dev/null &
last= same=0
while [ $same -lt 3 ]; do
	sleep 1
	at=$(grep pos: /proc/$!/fdinfo/0) || exit
	[ "$at" = "$last" ] && same=$((same + 1)) || same=0
	last=$at
done
echo "<1>told while it was full" >/dev/kmsg
outb 0x507 1
wait
echo end
END
job flood <"$tmp/flood.sh"
mkfifo "$tmp/full"
exec 8<>"$tmp/full"
# until the pipe takes no more, which a blocked cat is the sign of
cat /dev/zero >&8 &
cat=$!
asleep() {
	read -r _ _ state _ <"/proc/$cat/stat" && [ "$state" = S ] &&
		sleep 0.2 && read -r _ _ state _ <"/proc/$cat/stat" &&
		[ "$state" = S ]
}
until_is 10 asleep
kill $cat
output=$tmp/full
# Only what is worse than an error may come between the numbers: a host as busy
# as it may be makes a guest say that it stalled.
boot flood -c 2 -a loglevel=2 -i "$tmp/flood.job"
output=

# Bytes of every value, typed into a raw terminal.
cat >"$tmp/typed.sh" <<END
stty raw -echo </dev/console
outb 0x507 1
sum=\$(head -c $typed </dev/console | md5sum | cut -d' ' -f1)
stty sane </dev/console
echo sum=\$sum
END
job typed <"$tmp/typed.sh"
head -c "$typed" /dev/urandom >"$tmp/random"
mkfifo "$tmp/keyboard"
exec 7<>"$tmp/keyboard"
input=$tmp/keyboard
boot typed -i "$tmp/typed.job"
input=

ok "a guest in a raw terminal waits for input" until_is "$LIMIT" waiting typed
cat "$tmp/random" >"$tmp/keyboard" 8>&-
ended typed
ends 0 poweroff "a guest that is typed to ends"
is "$(got sum)" "$(md5sum <"$tmp/random" | cut -d' ' -f1)" \
	"$typed bytes of any value typed into the serial port come whole and in order"

# In the meantime the other one has filled all there is to fill.
ok "a guest whose output nobody reads goes on" until_is "$LIMIT" waiting flood
ok "mote goes on where nobody reads the guest's output" \
	kill -0 "$(pid_of flood)"
: >"$tmp/flood.out"
(
	exec 8>&-
	while dd bs=2000 count=1 2>/dev/null >"$tmp/piece" &&
		[ -s "$tmp/piece" ]; do
		cat "$tmp/piece" >>"$tmp/flood.out"
		sleep 0.05
	done
) <"$tmp/full" &
reader=$!
exec 8>&-
ended flood
wait $reader
ends 0 poweroff \
	"a guest whose output was kept back ends when that has been read"
tr -d '\0' <"$out" >"$out.text"
out=$out.text
like "$(cat "$out")" "told while it was full" \
	"the kernel's own words get through a serial port that is full"
# They are somewhere among the numbers, even within one, and so may be others that
# a kernel has for a host as busy as this.
tr -d '\r' <"$out" | tr '\n' '|' | sed 's/\[ *[0-9]*\.[0-9]*\] [^|]*|//g
	s/.*begin|//; s/|end|.*/|/' | tr '|' '\n' >"$tmp/numbers"
seq 1 $numbers >"$tmp/wanted"
is "$(diff "$tmp/wanted" "$tmp/numbers" | head -n 20)" "" \
	"every number of $numbers kept back is there, once and in order"

minimal
# A socket: the first client types, and sees the guest power off.
boot unix --serial "unix=$tmp/socket"
ok "--serial unix makes a socket" until_is 10 test -S "$tmp/socket"
{
	echo 'echo unix=$(uname -s)'
	echo 'poweroff -f'
} | socat -t "$LIMIT" - "UNIX-CONNECT:$tmp/socket" >"$tmp/socket.out" &
client=$!

# A terminal: its name is on stderr.
boot pty --serial pty
ok "--serial pty says the terminal's name" \
	until_is 10 grep -q /dev/pts "$tmp/pty.err"
pty=$(sed -n 's/.*serial is on //p' "$tmp/pty.err")
cat "$pty" >"$tmp/pty.seen" 2>/dev/null &
watcher=$!
printf 'echo pty=$(tty)\nreboot -f\n' >"$pty"

ended unix
ends 0 poweroff "a guest with --serial unix ends"
wait $client
is "$(cat "$out")" "" "--serial unix: nothing is on stdout"
out=$tmp/socket.out
is "$(got unix)" "Linux" \
	"--serial unix: the client's line is run, and its output comes"
ok "--serial unix: the socket's file is removed" unlinked "$tmp/socket"
ended pty
ends 0 reboot "a guest with --serial pty ends"
wait $watcher
out=$tmp/pty.seen
is "$(got pty)" "/dev/ttyS0" \
	"--serial pty: what is typed is run, and its output comes"

# A file; a descriptor of the caller's, with a closed stdout.
job words <<'END'
seq 1 100
outb 0x506 3
END
boot file --serial "file=$tmp/serial" -i "$tmp/words.job"
"$MOTE" -k "$kernel" -i "$INITRD" -i "$tmp/words.job" -m 128M \
	--events "$tmp/closed.events" </dev/null >&- 2>"$tmp/closed.err" &
echo $! >"$tmp/closed.pid"
: >"$tmp/closed.out"
ended file
ends 3 exited "a guest with --serial file ends"
is "$(cat "$out")" "" "--serial file: nothing is on stdout"
is "$(tr -d '\r' <"$tmp/serial" | grep '^[0-9]*$' | md5sum)" \
	"$(seq 1 100 | md5sum)" "--serial file: all output is in the file"
ended closed
ends 3 exited "a closed stdout does not change a guest's status"

done_testing
