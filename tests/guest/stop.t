#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A guest does not decide when mote stops: with 250 requests of 4 MiB in flight
# on each of four disks that do 40 MB/s, whatever ends it, or a disk, waits for
# none that was not begun; and what the guest was told is written is written.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

LIMIT=60
calls=$tmp/calls

# The host's calls take 100 ms for each step, which is 4 MiB; all of them would
# take 25 s.
cat >"$tmp/mote" <<END
#!/bin/sh
exec "$TOOLS/slow" -o "$calls" preadv,pwritev,fdatasync:100 "$MOTE" "\$@"
END
chmod +x "$tmp/mote"
fast=$MOTE

# disks OPTIONS: anew, for the command line
disks() {
	for disk in 0 1 2 3; do
		rm -f "$tmp/$disk.img"
		truncate -s 1000M "$tmp/$disk.img"
		printf ' -d %s' "$tmp/$disk.img,$1"
	done
}

begun() {
	wc -c <"$calls"
}

# Every write that was told of is in its image.
written() {
	tests/tools/written "$out" "$tmp/0.img" "$tmp/1.img" "$tmp/2.img" \
		"$tmp/3.img"
}

# few NAME: it is over, and of all that was queued little was begun: what four
# disks do in 15 seconds, so that a busy machine is no finding. Where none was,
# these are not the calls that this mote makes.
few() {
	few_begun=$(begun)
	if [ "$few_begun" -gt 0 ] && [ "$few_begun" -le 600 ]; then
		pass "$1: what was not begun is given up"
	else
		is "$few_begun" few "$1: what was not begun is given up"
	fi
	ok "$1: what the guest was told is written is written" written
}

for with in engine=threads engine=auto; do
	MOTE=$tmp/mote
	# shellcheck disable=SC2046 # words
	guest_start virtio_stop -a "disks=4 do=go-on" $(disks "$with")
	ok "$with: a guest has much in flight" await says back
	kill -INT "$pid"
	guest_end
	ends 130 signal "$with: SIGINT ends a guest with much in flight"
	few "$with: SIGINT"

	# shellcheck disable=SC2046 # words
	guest virtio_stop -a "disks=4 do=go-on" $(disks "$with") --timeout 2s
	ends 124 timeout "$with: --timeout ends a guest with much in flight"
	few "$with: --timeout"

	# shellcheck disable=SC2046 # words
	guest_start virtio_stop -a "disks=4 do=go-on" $(disks "$with")
	await says back
	kill -TERM "$pid"
	guest_heard
	kill -TERM "$pid"
	guest_end
	ends 143 signal "$with: a second SIGTERM ends a guest with much in flight"
	few "$with: a second SIGTERM"

	# shellcheck disable=SC2046 # words
	guest virtio_stop -a "disks=4 do=poweroff" $(disks "$with")
	ends 0 poweroff "$with: a guest with much in flight powers off"
	few "$with: a power-off"

	for how in reset queue; do
		# shellcheck disable=SC2046 # words
		guest virtio_stop -a "disks=4 do=$how" $(disks "$with")
		ends 0 poweroff "$with: $how: a guest stops disks with much in flight"
		is "$(grep -c '^silent$\|^used again$' "$out")" 2 \
			"$with: $how: nothing comes later, and the disk works again"
		few "$with: $how"
	done
done
MOTE=$fast

# io_uring, which nothing here can slow (tests/soak/guest_stop.t does); and
# reads, that would come later.
for engine in uring threads; do
	for how in reset queue; do
		# shellcheck disable=SC2046 # words
		guest virtio_stop -a "disks=4 read=1 do=$how after=9" \
			$(disks "direct,engine=$engine")
		ends 0 poweroff "$engine: $how with many reads in flight"
	done
	# shellcheck disable=SC2046 # words
	guest virtio_stop -a "disks=4 do=reset" $(disks "engine=$engine")
	ends 0 poweroff "$engine: a reset with many writes in flight"
	ok "$engine: a reset: what the guest was told is written is written" \
		written
done

# The last resort: a call that never comes back, once the guest is to end.
cat >"$tmp/mote" <<END
#!/bin/sh
exec "$TOOLS/slow" -o "$calls" -a "$tmp/hang" munmap:86400000 "$fast" "\$@"
END
MOTE=$tmp/mote
guest_start hang
ok "a guest whose host is to hang runs" await says hanging
: >"$tmp/hang"
kill -INT "$pid"
guest_end
is "$(begun)" 1 "the host hangs while mote ends"
ends 130 signal "an alarm ends mote where the host hangs"
like "$(cat "$err")" '^mote: the host does not finish' \
	"a host that hangs is told of"

done_testing
