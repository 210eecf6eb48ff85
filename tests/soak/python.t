#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Python that was warmed, on Debian's root file system: six clones at once go on
# in the one interpreter that was started, each with its own arguments, status,
# input and output, and with signals of its own; what they write to their disk is
# theirs, too.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

image=build/guest/debian.img
if [ ! -e "$image" ]; then
	echo "Bail out! $image is missing: tests/host/debian-root makes it"
	exit 1
fi
clones='1 2 3 4 5 6'
minimal

warm='
import os, signal, sys, time

def end(number, frame):
    print("heard=%d" % number, flush=True)
    sys.exit(66)

signal.signal(signal.SIGTERM, end)
token = os.urandom(8).hex()
print("started", flush=True)
open(os.environ["MOTE_READY"], "w").write("x")
args = open(os.environ["MOTE_ARGS"]).read().split("\0")
assert args.pop() == ""
print("token=" + token)
print("args=" + repr(args))
line = sys.stdin.readline().strip()
print("line=" + line)
rest = sys.stdin.read()
print("rest=%d" % len(rest), flush=True)
print("to stderr: " + line, file=sys.stderr, flush=True)
with open("/root/note", "a") as note:
    note.write(line + "\n")
print("note=" + open("/root/note").read().strip(), flush=True)
if args[0] == "wait":
    print("waits", flush=True)
while args[0] == "wait":
    time.sleep(0.1)
sys.exit(int(args[0]))
'

# shellcheck disable=SC2086 # words
boot warm $modules -d "$image,root,ephemeral" \
	--snapshot "$tmp/python.snap,on=program" -- python3 -c "$warm"
ended warm
ends 0 snapshot "Python that says that it is ready is saved"
is "$(cat "$out" "$err")" started "what it wrote before is the first mote's output"

for i in $clones; do
	{
		echo "line $i"
		head -c "${i}0000" /dev/zero | tr '\0' x
	} >"$tmp/input$i"
	set -- "$((40 + i))" "of  $i" ''
	[ "$i" != 6 ] || set -- wait
	"$MOTE" --restore "$tmp/python.snap" --timeout "${LIMIT}s" \
		--events "$tmp/clone$i.events" -- "$@" <"$tmp/input$i" \
		>"$tmp/clone$i.out" 2>"$tmp/clone$i.err" &
	echo $! >"$tmp/clone$i.pid"
done
ok "clone 6 waits" until_is "$LIMIT" printed clone6 waits
kill -TERM "$(pid_of clone6)"
for i in $clones; do
	ended "clone$i"
	if [ "$i" = 6 ]; then
		ends 66 exited "clone 6: SIGTERM is the program's, which ends by it"
		is "$(got args) $(got heard)" "['wait'] 15" \
			"clone 6: its own arguments, and the signal"
	else
		ends "$((40 + i))" exited "clone $i: its own status"
		is "$(got args)" "['$((40 + i))', 'of  $i', '']" \
			"clone $i: its own arguments"
	fi
	is "$(got line) $(got rest) $(cat "$err")" \
		"line $i ${i}0000 to stderr: line $i" \
		"clone $i: its own stdin, stdout and stderr"
	is "$(got note)" "line $i" "clone $i: its own disk"
done
is "$(cat "$tmp"/clone?.out | grep -c started)" 0 \
	"none of them has started an interpreter"
is "$(cat "$tmp"/clone?.out | grep -c '^token=')" 6 "all go on"
is "$(cat "$tmp"/clone?.out | grep '^token=' | sort -u | wc -l)" 1 \
	"... in the one that was"

done_testing
