#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Linux guests that are saved and go on, again and again, while fio verifies what
# it has written to a disk and to an overlay, and streams are open; and what a
# guest's clock shows that was saved a while ago. TEST_GENERATIONS and
# TEST_PAUSE (seconds) say how many times, and how long ago.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

minimal
generations=${TEST_GENERATIONS:-20}
pause=${TEST_PAUSE:-90}
snap=$tmp/x.snap

# restore NAME ARG...: the guest of $snap, to be saved in its turn
restore() {
	restore_name=$1
	shift
	rm -f "$tmp/$restore_name.events"
	"$MOTE" --restore "$snap" --snapshot "$snap,on=signal,then=exit" \
		--events "$tmp/$restore_name.events" "$@" \
		<&9 >"$tmp/$restore_name.out" 2>"$tmp/$restore_name.err" &
	echo $! >"$tmp/$restore_name.pid"
}

# -- disks and streams ----------------------------------------------------------------

loader=/lib64/ld-linux-x86-64.so.2
fio=$(command -v fio) || { echo "fio is not installed"; exit 1; }
mkdir "$tmp/tools"
cp "$fio" "$loader" "$tmp/tools/"
"$loader" --list "$fio" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' |
	while read -r library; do
		cp -L "$library" "$tmp/tools/"
	done
/sbin/mke2fs -q -t ext4 -d "$tmp/tools" -m 0 -O ^has_journal "$tmp/tools.img" \
	"$(($(du -sm "$tmp/tools" | cut -f1) + 16))M" >/dev/null 2>&1
truncate -s 16M "$tmp/written.img" "$tmp/base.img"

job work "build/tests/vsock_serve=bin/vsock_serve" <<END
mkdir -p /t /tmp
mount -t ext4 -o ro /dev/vda /t || echo bad=mount
vsock_serve all vsock:0:1000 2>/dev/null &
fio() {
	/t/$(basename "$loader") --library-path /t /t/fio "\$@"
}
n=0
while :; do
	n=\$((n + 1))
	for disk in b c; do
		fio --name=v --filename=/dev/vd\$disk --size=1M --offset=\$((n % 8))M \\
			--rw=randwrite --bs=4k --direct=1 --ioengine=libaio \\
			--iodepth=8 --verify=crc32c --do_verify=1 \\
			--verify_fatal=1 --randrepeat=0 --thread >/tmp/fio 2>&1 ||
			{ echo bad=fio\$disk; head -n 5 /tmp/fio; }
	done
	echo round=\$n
	$(printf '%s' "$driver_warnings" | tr '\n' ' ')
done
END

# rounds NAME: how many it has done since it goes on
rounds() {
	grep -c '^round=' "$tmp/$1.out"
}
has_done_a_round() {
	[ "$(rounds "$1")" -ge 1 ]
}
stream_works() {
	timeout "$LIMIT" build/tests/vsock_load both "mote:$tmp/v.sock:1000" 65536
}

exec 9</dev/null
boot work -i "$tmp/work.job" -m 256M -d "$tmp/tools.img,ro" -d "$tmp/written.img" \
	-d "$tmp/base.img,ephemeral" --vsock "$tmp/v.sock" \
	--snapshot "$snap,on=signal,then=exit"
name=work
i=0
while [ "$i" -lt "$generations" ]; do
	i=$((i + 1))
	until_is "$LIMIT" has_done_a_round "$name" || break
	stream_works >"$tmp/stream" 2>&1 || break
	# One is open when it is saved.
	build/tests/vsock_load both "mote:$tmp/v.sock:1000" 100000000 \
		>/dev/null 2>&1 &
	stream=$!
	sleep 0.2
	kill -USR1 "$(pid_of "$name")"
	ended "$name"
	wait "$stream"
	[ "$status" = 0 ] || break
	! grep -aE 'bad=|late=' "$out" || break
	name=generation$i
	restore "$name"
done
is "$i $status" "$generations 0" \
	"$generations times a guest was saved with its disks and streams, and went on"
ok "the last one works, too" until_is "$LIMIT" has_done_a_round "$name"
is "$(grep -aE 'bad=|late=' "$tmp"/work.out "$tmp"/generation*.out)" "" \
	"fio found what it had written, on the disk and on the overlay; no driver warned"
is "$(cat "$tmp"/generation*.err)" "" "mote had nothing to say"
is "$(cmp "$tmp/base.img" /dev/zero 2>&1 | grep -c differ)" 0 \
	"the overlay's image is as it was"
kill -INT "$(pid_of "$name")"
ended "$name"

# -- the clock ---------------------------------------------------------------------------

# The time in microseconds, as adjtimex(2) has it.
now() {
	adjtimex | awk '/tv_sec/ { s = $2 } /tv_usec/ { print s * 1000000 + $2 }' \
		FS=':  *'
}
say_time="while read -r line; do adjtimex | awk '/tv_sec/ { s = \$2 }
	/tv_usec/ { printf \"now=%d%06d\\n\", s, \$2 }' FS=':  *'; done"
job clock <<'END'
(sleep 30; echo slept=1) &
echo ready=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)
outb 0x507 1
read -r line
END

# asleep NAME WORDS: a guest that is saved, and goes on after $pause seconds
asleep() {
	snap=$tmp/asleep-$1.snap
	mkfifo "$tmp/asleep-$1.in"
	exec 9<>"$tmp/asleep-$1.in"
	input=$tmp/asleep-$1.in
	boot "asleep-$1" -i "$tmp/clock.job" -a "$2" \
		--snapshot "$snap,on=signal,then=exit"
	input=
	until_is "$LIMIT" waiting "asleep-$1"
	kill -USR1 "$(pid_of "asleep-$1")"
	ended "asleep-$1"
	ends 0 snapshot "a guest on $1 is saved"
	is "$(got ready)" "$1" "its clock is $1"
}
awake() {
	snap=$tmp/asleep-$1.snap
	restore "awake-$1"
	ok "a sleep of 30 s on $1 is over $pause s later" \
		until_is 20 grep -q '^slept=1' "$tmp/awake-$1.out"
	kill -INT "$(pid_of "awake-$1")"
	ended "awake-$1"
}

# Who is asked for the time is a command of a clone's: without init a guest has the
# error of the clock that it booted with. In the emulated machine it answers late;
# of some answers the one counts that lies nearest to when it was asked for.
saved_init() {
	boot "init-$1" -a "$2" --snapshot "$tmp/init-$1.snap" -- true
	ended "init-$1"
	ends 0 snapshot "a guest on $1 whose init is ready is saved"
}
same_date() {
	mkfifo "$tmp/date-$1.in"
	exec 9<>"$tmp/date-$1.in"
	"$MOTE" --restore "$tmp/init-$1.snap" -- sh -c "$say_time" \
		<&9 >"$tmp/date-$1.out" 2>"$tmp/date-$1.err" &
	echo $! >"$tmp/date-$1.pid"
	best=
	for n in 1 2 3 4 5 6 7 8; do
		before=$(now)
		echo >&9
		until [ "$(grep -c '^now=' "$tmp/date-$1.out")" -ge "$n" ]; do
			sleep 0.01
		done
		after=$(now)
		guest=$(sed -n 's/^now=//p' "$tmp/date-$1.out" | tail -n 1)
		off=0
		[ "$guest" -ge "$before" ] || off=$((before - guest))
		[ "$guest" -le "$after" ] || off=$((guest - after))
		[ -n "$best" ] && [ "$best" -le "$off" ] || best=$off
	done
	ok "a clone on $1 has the host's date within 50 ms: $best us off" \
		[ "$best" -le 50000 ]
	kill -KILL "$(pid_of "date-$1")"
}
for which in tsc kvm-clock; do
	words=clocksource=$which
	[ $which != tsc ] || words="$words tsc=reliable"
	asleep $which "$words"
	saved_init $which "$words"
done
sleep "$pause"
for which in tsc kvm-clock; do
	awake $which
	same_date $which
done
done_testing
