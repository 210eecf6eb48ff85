#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Disks from the host's side, with bare-metal guests: what survives a kill,
# what is refused, what is never written.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

img=$tmp/disk.img

# byte FILE OFFSET
byte() {
	od -An -t u1 -j "$2" -N 1 "$1" | tr -d ' '
}

# -- flush and kill -9 --------------------------------------------------------

# Every write that was acknowledged is in the image, or a later one is.
cat >"$tmp/check.pl" <<'END'
my ($image, $blocks, $output) = @ARGV;
open my $text, '<', $output or die;
my $last = 0;
while (<$text>) { $last = $1 if /^ack (\d+)\n/ }
open my $disk, '<:raw', $image or die;
for my $block (0 .. $blocks - 1) {
	my $wanted = $last - ($last - $block) % $blocks;
	next if $wanted <= 0;
	read $disk, my $bytes, 4096 if seek $disk, $block * 4096, 0;
	my %seen = map { $_ => 1 } unpack 'V*', $bytes;
	for my $n (keys %seen) {
		die "block $block: $n, not $wanted of $last\n"
			unless $n == $wanted
			|| $n == $wanted + $blocks && $n == $last + 1;
	}
}
print "$last\n";
END

rounds=30
round=0
acks=0
: >"$tmp/lost"
while [ "$round" -lt "$rounds" ]; do
	round=$((round + 1))
	case $((round % 5)) in
	0) with=engine=uring ;;
	1) with=engine=threads ;;
	2) with=direct,engine=uring ;;
	3) with=direct,engine=threads ;;
	4) with=engine=auto ;;
	esac
	rm -f "$img"
	truncate -s 64K "$img"
	guest_start virtio_ack -d "$img,$with" -a blocks=16
	# Not at the same place of a write each time.
	await says "ack $((20 + round))" ||
		echo "round $round: too few flushes" >>"$tmp/lost"
	sleep "0.0$((round * 37 % 10))"
	kill -9 "$pid"
	guest_end
	if n=$(perl "$tmp/check.pl" "$img" 16 "$out" 2>>"$tmp/lost"); then
		acks=$((acks + n))
	fi
done
is "$(cat "$tmp/lost")" "" \
	"kill -9 of $rounds motes: what was flushed is there ($acks flushes)"
ok "a killed mote had flushed 20 times at least, in each round" \
	[ "$acks" -ge $((rounds * 20)) ]

# The next one can start at once: nothing of the killed one holds the image.
for engine in auto uring threads; do
	guest_start virtio_ack -d "$img,engine=$engine"
	await says "ack 1"
	kill -9 "$pid"
	guest virtio_block -d "$img,engine=$engine" -d "$img,ro"
	is "$status" 125 "$engine: an image twice in one guest is refused"
	like "$(cat "$err")" "another --disk, has it open" \
		"$engine: an image twice in one guest: the message says why"
	guest_end
	guest virtio_block -d "$img,engine=$engine"
	ends 0 poweroff "$engine: the image is free after kill -9"
done

# -- who may use it -----------------------------------------------------------

guest_start virtio_ack -d "$img"
await says "ack 1"
for with in '' ,ro ,ephemeral; do
	mote -k "$GUESTS/hello.elf" -d "$img$with"
	ends 125 error "an image in use is refused${with:+ with $with}"
	like "$(cat "$err")" "disk 0 \(disk.img\): another process" \
		"an image in use: the message says so${with:+ with $with}"
done
kill -9 "$pid"
guest_end
guest_start virtio_ack -d "$img,ephemeral"
await says "ack 1"
guest virtio_write -d "$img,ephemeral" -a byte=7
ends 0 poweroff "two guests share an image with ephemeral"
guest virtio_write -d "$img,ro"
ends 0 poweroff "a guest with ro shares an image of one with ephemeral"
guest virtio_write -d "$img"
ends 125 error "a guest that writes shares no image with one with ephemeral"
kill -9 "$pid"
guest_end

# udev holds a shared lock on a block device for a moment each time that a writer
# has closed it; flock(1) stands in.
for with in -s -x; do
	flock "$with" "$img" sleep 0.5 &
	await sh -c "! flock -n -x '$img' true"
	guest virtio_write -d "$img"
	ends 0 poweroff "whoever has the image for a moment (flock $with) is waited for"
done
perl -e 'open F, "<", shift; flock F, 2; sleep 60' "$img" &
holder=$!
await sh -c "! flock -n -x '$img' true"
guest virtio_write -d "$img" --timeout 300ms
ends 124 timeout "--timeout ends the wait for an image"
guest_start virtio_write -d "$img"
await [ -e "$events" ]
kill -TERM "$pid"
guest_end
ends 143 signal "SIGTERM ends the wait for an image"
guest virtio_write -d "$img"
ends 125 error "an image that another process keeps is refused"
kill "$holder"
wait "$holder" 2>/dev/null

# The caller's own open file keeps nobody out when mote has ended.
exec 8<>"$img"
guest virtio_write -d fd=8
ends 0 poweroff "a disk by a descriptor runs while the caller keeps it, too"
guest virtio_write -d "$img"
ends 0 poweroff "what the caller keeps of a disk's file locks nobody out"
guest_start virtio_ack -d "$img"
await says "ack 1"
guest_ack=$pid
pid=
mote -k "$GUESTS/hello.elf" -d fd=8
ends 125 error "a disk by a descriptor that another mote has is refused"
pid=$guest_ack
kill -9 "$pid"
guest_end
exec 8>&-

# -- what is written, and what never is ---------------------------------------

for engine in uring threads; do
	head -c 1M /dev/zero | tr '\0' o >"$img"
	before=$(cksum "$img")
	guest virtio_write -d "$img,ro,engine=$engine" -a byte=7
	like "$(cat "$out")" '^offered ro flush$' \
		"$engine: a disk with ro is offered as such"
	like "$(cat "$out")" '^write 1$' \
		"$engine: a write to a disk with ro is an I/O error"
	like "$(cat "$out")" '^read 0$' \
		"$engine: a read of a disk with ro is none"
	like "$(cat "$out")" '^same 0 of 512, then 111$' \
		"$engine: a read of a disk with ro gives the image"
	is "$(cksum "$img")" "$before" \
		"$engine: the image of a disk with ro does not change"

	guest virtio_write -d "$img,ephemeral,engine=$engine" \
		-a "byte=7 sector=3 sectors=9"
	like "$(cat "$out")" '^write 0$' \
		"$engine: a disk with ephemeral takes a write"
	like "$(cat "$out")" '^same 4608 of 4608' \
		"$engine: a disk with ephemeral gives a write back"
	is "$(cksum "$img")" "$before" \
		"$engine: the image of a disk with ephemeral does not change"

	guest virtio_write -d "$img,engine=$engine" -a "byte=7 sector=3 sectors=2"
	like "$(cat "$out")" '^same 1024 of 1024' \
		"$engine: what is written is read back"
	is "$(byte "$img" 1535) $(byte "$img" 1536) $(byte "$img" 2559)" \
		"111 7 7" "$engine: what is written is in the image"
	is "$(byte "$img" 2560)" 111 \
		"$engine: what is written is not beyond its sectors"

	# Buffers and sectors that O_DIRECT would refuse.
	for askew in 0 1 256; do
		guest virtio_write -d "$img,direct,engine=$engine" \
			-a "byte=$((askew % 100 + 9)) sector=5 sectors=3 askew=$askew"
		like "$(cat "$out")" '^same 1536 of 1536' \
			"$engine, direct, buffers askew by $askew: what is written is read back"
		is "$(byte "$img" 2560)" $((askew % 100 + 9)) \
			"$engine, direct, buffers askew by $askew: what is written is in the image"
	done
done

# -- descriptors, and files that are none -------------------------------------

head -c 64K /dev/zero >"$img"
mote -k "$GUESTS/virtio_write.elf" -m 64M -d fd=3 -a byte=9 3<>"$img"
like "$(cat "$out")" '^same 512 of 512' \
	"a disk by a descriptor of the caller's is read and written"
is "$(byte "$img" 0)" 9 "a descriptor of the caller's is written to"
mote -k "$GUESTS/virtio_write.elf" -m 64M -d fd=3 3<"$img"
ends 125 error "a descriptor for reading only is refused as a disk"
like "$(cat "$err")" "add .ro." \
	"a descriptor for reading only: the message says how to mend that"
mote -k "$GUESTS/virtio_write.elf" -m 64M -d fd=3,ro 3<"$img"
ends 0 poweroff "a descriptor for reading only is a disk with ro"
for bad in "$tmp" /dev/null "$tmp/none" "$tmp/empty"; do
	: >"$tmp/empty"
	mote -k "$GUESTS/hello.elf" -d "$bad"
	ends 125 error "${bad##*/} is no disk"
	is "$(wc -l <"$err")" 1 "${bad##*/} is no disk: one line says why"
	mote --check -k "$GUESTS/hello.elf" -d "$bad"
	is "$status" 125 "${bad##*/} is no disk: --check finds that, too"
done

head -c 64K /dev/zero | tr '\0' r >"$img"
for with in ro ephemeral; do
	mote -k "$GUESTS/virtio_write.elf" -m 64M -d "fd=3,$with" -a byte=9 \
		3<>"$img"
	ends 0 poweroff "a descriptor for writing, too, is a disk with $with"
	is "$(byte "$img" 0)" 114 "a descriptor for writing, too, is not written to with $with"
done

guest virtio_write -d "$img,ephemeral" -a byte=5
ends 0 poweroff "a disk with ephemeral has its overlay in \$TMPDIR"

# -- an overlay that is larger than its image ---------------------------------------

# The image ends in the middle of a cluster.
truncate -s $((64 * 1024 - 1024)) "$img"
before=$(cksum "$img")
for engine in uring threads; do
	for row in 0:114:114 120:114:114 124:114:0 128:0:0 8388604:0:0; do
		sector=${row%%:*}
		guest virtio_write -d "$img,ephemeral,size=4G,engine=$engine" \
			-a "byte=7 sector=$sector sectors=4"
		was=${row#*:}
		like "$(cat "$out")" "^capacity 8388608, was ${was%:*} and ${was#*:}\$" \
			"$engine, size=: what the guest reads at sector $sector"
		like "$(cat "$out")" '^same 2048 of 2048' \
			"$engine, size=: what it writes at sector $sector is read back"
		is "$(cksum "$img")" "$before" \
			"$engine, size=: the image does not change at sector $sector"
	done
done
for with in size=32K size=4G,ro,ephemeral size=4G ephemeral,size=70000; do
	for check in '' --check; do
		mote -k "$GUESTS/hello.elf" -d "$img,ephemeral,$with" $check
		[ "$with" != size=4G ] || mote -k "$GUESTS/hello.elf" -d "$img,$with" $check
		is "$status $(wc -l <"$err")" "125 1" \
			"size= that will not do is refused${check:+ by $check}: $with"
	done
done

done_testing
