#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Virtio devices as bare-metal guests see them, politely driven and not.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

# prints EXTENDED-REGULAR-EXPRESSION NAME: the last guest did well, and so said
prints() {
	if [ "$status" -eq 0 ]; then
		like "$(cat "$out")" "$1" "$2"
	else
		is "$(cat "$out")" "(status 0)" "$2"
	fi
}

a=$tmp/a.img b=$tmp/b.img
truncate -s 8M "$a"
truncate -s 1M "$b"

guest virtio_slots
prints '^listed 0$' "without devices none is in the DSDT"
prints '^devices 0$' "without devices none is on the bus"
guest cmdline
is "$(grep -c virtio "$out")" 0 "without devices none is on the command line"

guest virtio_slots -d "$a" -d "$b"
prints '^listed 2$' "two disks: two devices in the DSDT"
prints '^devices 2$' "two disks: two devices on the bus"
prints '^slot 1 id 2 features 1[0-9a-f]{8}$' "a disk has modern features"
prints '^aliases 2$' "two disks have two more places, for kernels without ACPI"
prints '^devices with ACPI 2$' "two disks remain where the guest has ACPI"
prints '^aliases with ACPI 0$' "the places for kernels without ACPI are gone where the guest has ACPI"
guest cmdline -d "$a" -d "$b"
prints ' virtio_mmio.device=512@0xd0100fa0:5 virtio_mmio.device=512@0xd0102fa0:6\|' \
	"the command line names the places for kernels without ACPI"
guest cmdline --cmdline 'only this' -d "$a"
prints '^\|only this\|$' "--cmdline has no word of a device added"
guest virtio_slots --cmdline 'only this' -d "$a"
prints '^aliases 0$' "without words on the command line there are no places for kernels without ACPI"

set --
for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do
	truncate -s 1M "$tmp/$i.img"
	set -- "$@" -d "$tmp/$i.img"
done
guest virtio_slots "$@"
prints '^devices 19$' "19 devices are on the bus"
guest virtio_block "$@" -a slot=18
prints '^round 2 ok$' "the last of 19 devices works"
truncate -s 1M "$tmp/19.img"
guest virtio_slots "$@" -d "$tmp/19.img"
is "$status" 125 "20 devices are too many"

for engine in uring threads; do
	guest virtio_block -d "$a,engine=$engine,serial=a-disk"
	prints '^capacity 16384$' "$engine: a disk has its size"
	prints '^round 0 ok$' "$engine: a disk is written, flushed and read"
	prints '^round 1 ok$' "$engine: a disk works with EVENT_IDX"
	prints '^round 2 ok$' "$engine: a disk works with INDIRECT_DESC"
	prints '^id a-disk$' "$engine: a disk has its serial number"
done

# nices: the nice value of each thread of mote's
nices() {
	perl -e 'local $/;
		for (sort glob "/proc/$ARGV[0]/task/*/stat") {
			open my $stat, "<", $_ or next;
			my ($name, $rest) = <$stat> =~ /\((.*)\) (.*)/s;
			print "$name ", (split " ", $rest)[16], "; "
				unless $name =~ /^kvm/;
		}' "$pid"
}

# nice_is WANTED NAME ARG...: of a mote that nice(1) starts
nice_is() {
	nice_wanted=$1 nice_name=$2
	shift 2
	nice_mote=$MOTE
	printf '#!/bin/sh\nexec nice -n 5 %s "$@"\n' "$(realpath "$MOTE")" \
		>"$tmp/niced"
	chmod +x "$tmp/niced"
	MOTE=$tmp/niced
	guest_start hang "$@"
	MOTE=$nice_mote
	await says hanging
	is "$(nices)" "$nice_wanted" "$nice_name"
	kill -INT "$pid"
	guest_end
}
perl -MIO::Socket::UNIX -e '
	my $l = IO::Socket::UNIX->new(Local => shift, Listen => 4) or die;
	while (my $s = $l->accept) { push @keep, $s }' "$tmp/net" &
peer=$!
await test -S "$tmp/net"
nice_is 'mote 5; disk 0 5; vCPU 0 5; ' \
	"a mote that is nice has all threads so" -d "$b,engine=threads"
for sandbox in on off; do
	nice_is 'mote 6; vCPU 0 5; ' \
		"with a network its loop is a step nicer, sandbox $sandbox" \
		-n "unix=$tmp/net" --sandbox "$sandbox"
done
kill "$peer"
wait "$peer" 2>/dev/null

# registers HOW: what a driver does wrong, and what it can do to registers
registers() {
	how=$1
	guest virtio_block -d "$a"
	prints '^round 2 ok$' "${how}a disk works"
	guest virtio_registers -c 2 -d "$a" -d "$b" -a rounds=6000
	prints '^registers hold$' "${how}what two CPUs write changes no register"
	prints '^writes [0-9]{4,} changes [0-9]+ broken [1-9][0-9]*$' \
		"${how}devices change meanwhile"
	# As much memory as the lengths that overflow need.
	guest virtio_bad -m 512M -d "$a" -d "$b"
	for case in 'features without VERSION_1' 'features that were not offered' \
		'DRIVER_OK without FEATURES_OK' 'descriptors outside of RAM' \
		'avail ring outside of RAM' 'used ring outside of RAM' \
		'used ring on a device' 'queue address wraps' 'descriptors askew' \
		'used ring askew' 'queue of 0' 'queue of 3' 'queue of 65536' \
		'head past the table' 'next past the table' 'descriptor loop of one' \
		'descriptor loop of two' 'buffer outside of RAM' \
		'buffer over the end of RAM' 'buffer address wraps' \
		'buffer on a device' 'lengths overflow' 'empty buffer' \
		'write before read' 'index jumps' 'index goes back' \
		'chain longer than the ring' 'table in a table' 'table with NEXT' \
		'table of one and a half' 'empty table' 'the ring as its own table' \
		'table outside of RAM' 'any access'; do
		prints "^ok $case\$" "$how$case: the device asks for a reset"
	done
	prints '^all is well$' "${how}mote runs on whatever a driver has done wrong"
	is "$(grep -c 'broke the rules' "$err")" 3 "${how}the host's log is not flooded"
}

registers ''
printf '#!/bin/sh\nexec %s readonly %s "$@"\n' "$PWD/$TOOLS/without" \
	"$(realpath "$MOTE")" >"$tmp/old-host"
chmod +x "$tmp/old-host"
MOTE=$tmp/old-host
guest virtio_slots --log info -d "$a"
like "$(cat "$err")" 'no read-only memory' "a host without read-only memory: that is said"
registers 'without read-only memory: '

done_testing
