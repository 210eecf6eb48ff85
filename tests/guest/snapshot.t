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
case_of later ephemeral 'the deadline came' "a deadline comes, and not before"
case_of pending ephemeral 'interrupts came' \
	"interrupts that wait come, one of its own once"
case_of halted ephemeral 'CPUs are there' \
	"a CPU that sleeps wakes up, one that was not started starts"
case_of clock ephemeral 'the time goes on' \
	"four CPUs agree on the time, which never goes back"
case_of flush iops=40 'all was written' \
	"requests that a slow disk holds, a FLUSH behind them, come to their end"
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

# What a guest says of itself at last.
last_words='lived through 300, with 2 disks, 1 net, 1 vsock'

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

# Of a snapshot that was taken while the guest went on each clone is as good.
start_generations guest_start 30 --snapshot "$x,on=ready,then=continue"
guest_end
is "$status $(reason) $(last_line)" \
	"0 poweroff lived through 30, with 2 disks, 1 net, 1 vsock" \
	"the first one lives on"
restore
is "$status $(reason)" "125 error" \
	"with a written disk it cannot be had twice"
ok "... which is said" grep -q 'disk 1: .*b.img was written' "$err"

clones=100
image "$tmp/b.img"
guest generations -c 2 -m 32M -a 'cpus=2 generations=2' \
	-d "$tmp/a.img,ephemeral" -d "$tmp/b.img,ro" -d "$tmp/c.img,ephemeral" \
	-n "unix=$tmp/net" --vsock "$tmp/v" --snapshot "$x,on=ready"
