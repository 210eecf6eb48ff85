#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# How long mote, or a disk, takes to stop with 250 writes of 4 MiB in flight on
# each of four disks that do 40 MB/s: 50 rounds for each way, by a worker thread
# and by io_uring. What was queued would take 25 s.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

ROUNDS=${TEST_STOP_ROUNDS:-50}
LIMIT_MS=300
LOST_MS=3000
loops=
cgroup=

# shellcheck disable=SC2086,SC2317 # words; trap calls it
clean_up() {
	[ -z "$loops" ] || losetup -d $loops
	[ -z "$cgroup" ] || rmdir "$cgroup"
	tap_end
}
trap clean_up EXIT

# -- slow disks ----------------------------------------------------------------

images="$tmp/0.img $tmp/1.img $tmp/2.img $tmp/3.img"

# Calls that take 100 ms each: these are a worker's.
cat >"$tmp/slow" <<END
#!/bin/sh
exec "$TOOLS/slow" -o "$tmp/calls" preadv,pwritev,fdatasync:100 "$MOTE" "\$@"
END

# Block devices that the host's kernel holds to 40 MB/s for mote: its requests
# are in the kernel's hands meanwhile, as a ring's are.
cat >"$tmp/throttled" <<END
#!/bin/sh
echo \$\$ >"$tmp/cgroup/cgroup.procs" && exec "$MOTE" "\$@"
END
chmod +x "$tmp/slow" "$tmp/throttled"

# throttle: makes the loop devices and the cgroup; false: $why cannot that be
throttle() {
	for where in /sys/fs/cgroup/blkio /sys/fs/cgroup; do
		cgroup=$where/mote-stop.$$
		mkdir "$cgroup" 2>/dev/null || continue
		limit=$cgroup/blkio.throttle.write_bps_device
		rate=40000000
		[ -e "$limit" ] || limit=$cgroup/io.max rate=wbps=$rate
		[ ! -e "$limit" ] || break
		rmdir "$cgroup"
		cgroup=
	done
	[ -n "$cgroup" ] || {
		why="no cgroup here limits a disk's rate"
		return 1
	}
	ln -s "$cgroup" "$tmp/cgroup"
	for image in $images; do
		loop=$(losetup -f --show "$image") || {
			why="there are no loop devices"
			return 1
		}
		loops="$loops $loop"
		echo "$(printf %d:%d "$(stat -c 0x%t "$loop")" \
			"$(stat -c 0x%T "$loop")") $rate" >"$limit" || {
			why="the rate of $loop cannot be limited"
			return 1
		}
	done
}

# -- rounds --------------------------------------------------------------------

# stopped HOW WRAPPER DISK-OPTION...: one round; what was wrong goes to $bad
stopped() {
	how=$1
	shift
	wanted=0
	more=
	case $how in
	sigint) wanted=130 does=go-on ;;
	timeout) wanted=124 does=go-on more="--timeout 2s" ;;
	*) does=$how ;;
	esac
	# shellcheck disable=SC2086 # words
	said=$(tests/tools/stop_round "$how" "$out" "$@" \
		-k "$GUESTS/virtio_stop.elf" -m 64M $more \
		-a "do=$does one=1 disks=4" 2>"$err")
	[ "${said%% *}" = "$wanted" ] ||
		echo "round $round: status ${said%% *}: $(cat "$err")" >>"$bad"
	echo "${said#* }" >>"$times"
	# shellcheck disable=SC2086 # words
	tests/tools/written "$out" $images 2>>"$bad" ||
		echo "round $round: a write that was told of is lost" >>"$bad"
	# What the host has in hand keeps the lock: as long as one request, but
	# for a host whose own disk is busy.
	for disk in $used; do
		flock -w 20 -x "$disk" true ||
			echo "round $round: $disk is in use" >>"$bad"
	done
	[ -z "$loops" ] || is_quiet
}

# is_quiet: whoever has the lock by now has the disk alone
is_quiet() {
	quiet=$(sectors)
	sleep 0.2
	[ "$quiet" = "$(sectors)" ] ||
		echo "round $round: was written to without its lock" >>"$bad"
}

# What was ever written to the loop devices.
sectors() {
	for loop in $loops; do
		awk '{ print $7 }' "/sys/block/${loop#/dev/}/stat"
	done
}

# column N: minimum, median, maximum of $times
column() {
	cut -d' ' -f"$1" "$times" | sort -n | awk '{ v[NR] = $1 }
		END { print v[1], v[int((NR + 1) / 2)], v[NR] }'
}

# judge NAME: nine in ten are within the time of one request and 300 ms, where
# the host took as long as it ever did for one of the same rounds; and none
# comes near the time of all: a busy host makes one late, but not most.
judge() {
	# shellcheck disable=SC2046 # words
	set -- "$1" $(column 1) $(column 2)
	echo "# $1: $2 ms at least, $3 in the middle, $4 at most; one alone: $5, $6, $7"
	late=$(awk -v limit="$(($7 + LIMIT_MS))" '$1 < 0 || $1 > limit' "$times" |
		wc -l)
	ok "$1: within one request's time and $LIMIT_MS ms ($late of $ROUNDS were not)" \
		[ $((late * 10)) -le "$ROUNDS" ]
	ok "$1: never waits for what was not begun" \
		[ "$4" -le $(($7 + LOST_MS)) ]
	is "$(cat "$bad")" "" \
		"$1: ends as it should, loses no write, leaves nobody at work"
}

# rounds NAME COMMAND...: of every way
rounds() {
	name=$1
	shift
	for way in sigint timeout poweroff reset queue; do
		times=$tmp/times
		bad=$tmp/bad
		: >"$times"
		: >"$bad"
		round=0
		while [ "$round" -lt "$ROUNDS" ]; do
			round=$((round + 1))
			fresh
			stopped "$way" "$@"
		done
		judge "$name, $way"
	done
}

# The same files, but empty: what an earlier round wrote is no answer.
fresh() {
	for image in $images; do
		truncate -s 0 "$image"
		truncate -s 1000M "$image"
	done
}

fresh
used=$images
# shellcheck disable=SC2046,SC2086 # words
rounds "a thread" "$tmp/slow" $(printf ' -d %s,engine=threads' $images)

if throttle; then
	used=$loops
	# shellcheck disable=SC2046,SC2086 # words
	rounds io_uring "$tmp/throttled" \
		$(printf ' -d %s,direct,engine=uring' $loops)
else
	tap_result ok "io_uring # SKIP $why"
fi
done_testing
