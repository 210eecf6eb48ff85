#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Guests that are saved and go on in another mote: what was half done at that
# moment, many generations under traffic, many clones at once. Of the file itself:
# snapshot_file.t. GENERATIONS=500 has that many of each kind, and not those for
# which some seconds suffice (tests/soak/snapshot.t).
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

peer=
snapshot_end() {
	[ -z "$peer" ] || kill "$peer" 2>/dev/null
	tap_end
}
trap snapshot_end EXIT

x=$tmp/x.snap
image() {
	perl -e 'print "M" x (1 << 20)' >"$1"
}
for i in a b c; do
	image "$tmp/$i.img"
done

# restore ARG...: what x goes on as
restore() {
	mote --restore "$x" "$@"
}

# -- what was half done --------------------------------------------------------

# case_of NAME DISK WORDS WHAT
case_of() {
	image "$tmp/case.img"
	guest snapshot -c 4 -a "case=$1" -d "$tmp/case.img,$2" \
		--snapshot "$x,on=ready"
	saved="$status $(reason) $(last_line)"
	restore
	if grep -q '^no deadlines' "$out"; then
		tap_result ok "$4 # SKIP this KVM has no TSC deadlines"
		return
	fi
	is "$saved; $status $(reason) $(last_line)" \
		"0 snapshot saved; 0 poweroff $3" "$4"
	image "$tmp/case.img"
	guest snapshot -c 4 -a "case=$1" -d "$tmp/case.img,$2" \
		--snapshot "$x,on=ready,then=continue"
	is "$status $(reason) $(last_line)" "0 poweroff $3" \
		"$4, in the guest that goes on, too"
}

case_of deadline ephemeral 'the deadline was heard of' \
	"a deadline that passed with interrupts off is heard of"
case_of soon ephemeral 'the deadline was heard of' \
	"... one that passes while it is saved, too"
case_of later ephemeral 'the deadline came' "a deadline comes, and not before"
case_of pending ephemeral 'interrupts came' \
	"interrupts that wait come, one of its own once"
case_of halted ephemeral 'CPUs are there' \
	"a CPU that sleeps wakes up, one that was not started starts"
case_of clock ephemeral 'the time goes on' \
	"four CPUs agree on the time, which never goes back"
case_of wall ephemeral "it is the guest's own" \
	"nothing is written to where KVM once wrote the time"
case_of flush iops=40 'all was written' \
	"requests that a slow disk holds, a FLUSH behind them, come to their end"
case_of zeros ephemeral 'zeros are zeros' \
	"zeros over an image are zeros, and not the image"
case_of stale ephemeral 'it was found' \
	"what the device was not told of is found"
case_of broken ephemeral 'a reset mends it' \
	"a device that is broken is so until it is reset"
case_of string ephemeral 'eight bytes came' \
	"an IN of a string goes on where it was"
case_of memory ephemeral 'all of it is there' "memory is what it was"

# -- generations -----------------------------------------------------------------

tests/tools/echo "$tmp/net" "$tmp/v_1234" "$tmp/w_1234" &
peer=$!
await test -S "$tmp/w_1234"

seconds=4 least=3
[ -z "${GENERATIONS-}" ] || seconds=100000 least=$GENERATIONS
wanted=${GENERATIONS-500}

# more_generations: is there time for the next one?
more_generations() {
	[ "$generation" -lt "$wanted" ] &&
		{ [ "$generation" -lt "$least" ] ||
			[ "$(date +%s)" -lt "$deadline" ]; }
}

generations_begin() {
	generation=0
	deadline=$(($(date +%s) + seconds))
	image "$tmp/b.img"
}

# What all of them have: two CPUs, three disks, a network, a vsock.
# start_generations COMMAND ROUNDS ARG...
start_generations() {
	start_command=$1 start_rounds=$2
	shift 2
	"$start_command" generations -c 2 \
		-a "cpus=2 generations=$start_rounds" -d "$tmp/a.img,ephemeral" \
		-d "$tmp/b.img" -d "$tmp/c.img,ephemeral" -n "unix=$tmp/net" \
		--vsock "$tmp/v" "$@"
}

generations_begin
start_generations guest 100000 --snapshot "$x,on=ready"
while [ "$status $(reason)" = "0 snapshot" ] && more_generations; do
	generation=$((generation + 1))
	restore --snapshot "$x,on=ready"
done
is "$status $(reason) $(last_line)" \
	"0 snapshot generation $((generation + 1))" \
	"ready with all devices busy, and again: $generation generations"

# restore_start ARG...: in the background
restore_start() {
	rm -f "$events"
	: >"$out"
	"$MOTE" --restore "$x" --events "$events" "$@" >"$out" 2>"$err" &
	pid=$!
}

# A moment of at most 60 ms, another one each time.
a_moment() {
	sleep "0.0$(perl -e 'printf "%02d", rand 60')"
}

# saved_at_any_moment: the guest that runs
saved_at_any_moment() {
	await happened start
	a_moment
	kill -USR1 "$pid"
	guest_end
}

generations_begin
start_generations guest_start 100000 --snapshot "$x,then=exit"
saved_at_any_moment
while [ "$status $(reason)" = "0 snapshot" ] && more_generations; do
	generation=$((generation + 1))
	restore_start --snapshot "$x,then=exit"
	saved_at_any_moment
done
is "$status $(reason)" "0 snapshot" \
	"saved at any moment, and again: $generation generations"

# Its file is another one, which has come whole.
is_another() {
	inode_now=$(stat -c %i "$x" 2>/dev/null)
	[ -n "$inode_now" ] && [ "$inode_now" != "$inode" ]
}

generations_begin
inode=none
rm -f "$x"
guest_start generations -c 2 -a 'cpus=2 generations=100000 every=50' \
	-d "$tmp/a.img,ephemeral" -d "$tmp/b.img" -d "$tmp/c.img,ephemeral" \
	-n "unix=$tmp/net" --vsock "$tmp/v" --snapshot "$x,then=continue"
await says generation
while more_generations; do
	generation=$((generation + 1))
	kill -USR1 "$pid"
	await is_another || break
	inode=$inode_now
	a_moment
done
before=$(grep -c generation "$out")
goes_on() {
	[ "$(grep -c generation "$out")" -gt $((before + 1)) ]
}
ok "a guest goes on behind $generation snapshots" await goes_on
kill -INT "$pid"
guest_end
is "$status $(reason) $(grep -c FAIL "$out") $(cat "$err")" \
	"130 signal 0 " "... and none of them was missed"

# -- clones ------------------------------------------------------------------------

# clone NUMBER FILE ARG...: in the background; its status and last words are kept
clone() {
	clone_number=$1 clone_file=$2
	shift 2
	{
		timeout -s KILL 300 "$MOTE" --restore "$clone_file" "$@" \
			>"$tmp/said.$clone_number" 2>&1
		echo "$? $(tail -n 1 "$tmp/said.$clone_number")" \
			>"$tmp/clone.$clone_number"
	} &
	clones="$clones $!"
}

# clones_end: how they ended, and how many so
clones_end() {
	# shellcheck disable=SC2086 # words
	wait $clones
	cat "$tmp"/clone.* | sort | uniq -c | sed 's/^ *//'
}

half=50 clones=
for i in $(seq $half); do
	set -- "$@" "$tmp/v${i}_1234"
done
kill "$peer"
tests/tools/echo "$tmp/net" "$tmp/v_1234" "$@" &
peer=$!
await test -S "$tmp/v${half}_1234"

# Those of the one name devices of their own, those of the other have its.
image "$tmp/b.img"
guest generations -m 32M -a 'generations=3' -d "$tmp/a.img,ephemeral" \
	-d "$tmp/b.img" -n "unix=$tmp/net" --vsock "$tmp/v" \
	--snapshot "$tmp/own.snap,on=ready"
guest generations -m 32M -a 'generations=3' -d "$tmp/a.img,ephemeral" \
	-d "$tmp/c.img,ephemeral" -n "unix=$tmp/net" \
	--snapshot "$tmp/shared.snap,on=ready"
for i in $(seq $half); do
	cp "$tmp/b.img" "$tmp/b$i.img"
done
for i in $(seq $half); do
	clone "$i" "$tmp/own.snap,moved" -d "$tmp/a.img,ephemeral" \
		-d "$tmp/b$i.img" --vsock "$tmp/v$i"
	clone "shared.$i" "$tmp/shared.snap"
done
clones_end >"$tmp/ends"
is "$(cat "$tmp/ends")" \
	"$half 0 lived through 3, with 2 disks, 1 net, 0 vsock
$half 0 lived through 3, with 2 disks, 1 net, 1 vsock" \
	"a hundred clones at once, half of them with disks and sockets of their own"
image "$tmp/as-it-was"
cp "$tmp/b$half.img" "$tmp/last.img"
restore_own() {
	mote --restore "$tmp/own.snap" -d "$tmp/a.img,ephemeral" \
		-d "$tmp/b.img" --vsock "$tmp/v"
}
restore_own
is "$status $(last_line) $(cmp "$tmp/a.img" "$tmp/as-it-was") $(cmp \
	"$tmp/b.img" "$tmp/last.img")" \
	"0 lived through 3, with 2 disks, 1 net, 1 vsock  " \
	"... and to the source's own disk, where the same is written"
restore_own
is "$status $(reason)" "125 error" "once it was written it fits no more"
ok "... which is said" grep -q "snapshot $tmp/own.snap: disk 1: its file was written or replaced" \
	"$err"
kill "$peer"
wait "$peer" 2>/dev/null
peer=

is "$(find "$tmp" -name '.*')" "" "no file that was begun is left"
done_testing
