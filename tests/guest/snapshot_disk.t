#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Disks of guests that are saved and restored: requests in flight, the layers of
# an ephemeral disk, and which file is taken back.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

disk=$tmp/disk.img
base=$tmp/base.img
snap=$tmp/s.snap
ready=on=ready,then=exit

# restore FILE ARG...
restore() {
	restored=$1
	shift
	mote --restore "$restored" "$@"
}

# refused NAME WORDS: nothing ran, and one line says why
refused() {
	if [ "$status" = 125 ] && [ ! -s "$out" ] &&
		[ "$(wc -l <"$err")" = 1 ] && grep -q -e "$2" "$err"; then
		pass "$1"
	else
		fail "$1"
	fi
}

head -c 65536 /dev/urandom >"$disk"
head -c 65536 /dev/urandom >"$base"
cp "$base" "$tmp/base"
head -c 20992 "$base" >"$tmp/short.img"

# -- generations --------------------------------------------------------------

# The last one is longer than its image, which ends within a cluster.
for with in "$base,ephemeral,engine=auto" "$base,ephemeral,engine=threads" \
	"$tmp/short.img,ephemeral,size=64K"; do
	rm -f "$snap"
	guest generations_disk -d "$disk" -d "$with" \
		-a generations=20 --snapshot "$snap,$ready"
	n=1
	while [ "$status" = 0 ] && [ "$n" -lt 20 ]; do
		restore "$snap" --snapshot "$snap,$ready"
		n=$((n + 1))
		grep -q -x "generation $((n - 1))" "$out" || break
	done
	restore "$snap"
	is "$n $status $(last_line)" "20 0 generation 20" \
		"twenty generations lose no request of two disks, ${with#*,}"
done
ok "the image below all layers is what it was" cmp "$base" "$tmp/base"

# -- clones -------------------------------------------------------------------

guest generations_disk -d "$disk" -d "$base,ephemeral" -a generations=3 \
	--snapshot "$snap,$ready"
cp "$disk" "$tmp/copy"
restore "$snap" -d "$disk" -d "$base,ephemeral"
is "$status $(last_line)" "0 generation 3" "a guest goes on with its disks"
restore "$snap"
refused "a disk that was written since is refused" \
	'disk 0: its file was written or replaced since the snapshot'
restore "$snap" -d "$tmp/copy" -d "$base,ephemeral"
refused "so is a copy of it" 'or say ,moved'
restore "$snap,moved" -d "$tmp/copy" -d "$base,ephemeral"
is "$status $(last_line)" "0 generation 3" "a copy is taken with moved"
touch "$base"
guest generations_disk -d "$disk" -d "$base,ephemeral" -a generations=3 \
	--snapshot "$snap,$ready"
touch -d '2 days ago' "$base"
restore "$snap"
is "$status $(last_line) $(grep -c 'disk 1 (base.img) was written or replaced' \
	"$err")" "0 generation 3 1" \
	"another time of an image that is only read is a warning"

# -- what does not fit --------------------------------------------------------

guest generations_disk -d "$disk" -d "$base,ephemeral" -a generations=3 \
	--snapshot "$snap,$ready"
restore "$snap" -d "$disk,ro" -d "$base,ephemeral"
refused "a disk that is read-only now" 'it was not read-only, this one is'
restore "$snap" -d "$disk" -d "$base"
refused "one that is ephemeral no more" 'it was ephemeral, this one is not'
restore "$snap" -d "$disk" -d "$base,ephemeral,size=1M"
refused "one that is longer" 'it had 65536 bytes, disk 1 (base.img) has 1048576'
restore "$snap" -d "$disk,serial=x" -d "$base,ephemeral"
refused "one with another serial number" 'its serial number was another one'
restore "$snap"
is "$status $(last_line)" "0 generation 3" "and none of that did any harm"

done_testing
