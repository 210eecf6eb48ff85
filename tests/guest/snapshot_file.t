#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The file of a snapshot: what is refused, and how; that it takes its name whole
# or not at all, whatever goes wrong; that saving one is in nobody's way.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

small=
file_end() {
	[ -z "$small" ] || umount -l "$small"
	tap_end
}
trap file_end EXIT

dir=$tmp/dir
mkdir "$dir"
x=$dir/x.snap

image() {
	perl -e 'print "M" x (1 << 20)' >"$1"
}
for i in a b; do
	image "$tmp/$i.img"
done

# left FILE...: what else is in the directory of snapshots
left() {
	find "$dir" -mindepth 1 -printf '%f\n' |
		grep -vxF "$(printf '%s\n' "$@")"
}

# nothing_left FILE...: now, or soon: the committer removes it
nothing_left() {
	left_tries=500
	while [ -n "$(left "$@")" ] && [ "$left_tries" -gt 0 ]; do
		left_tries=$((left_tries - 1))
		sleep 0.02
	done
	is "$(left "$@")" "" "... nothing is left in the directory"
}

# -- one to begin with --------------------------------------------------------------

guest generations -a generations=3 -d "$tmp/a.img,ephemeral" -d "$tmp/b.img,ro" \
	--snapshot "$x,on=ready"
is "$status $(reason) $(stat -c '%a %h' "$x")" "0 snapshot 600 1" \
	"a snapshot is its owner's alone"
nothing_left x.snap

mote --restore "$x"
is "$status $(last_line)" "0 lived through 3, with 2 disks, 0 net, 0 vsock" \
	"it is good"

# -- what is refused ------------------------------------------------------------------

# refused TEXT WHAT ARG...: by status and one line
refused() {
	refused_text=$1 refused_what=$2
	shift 2
	run "$MOTE" "$@" </dev/null
	if [ "$status $(wc -l <"$err")" = "125 1" ] &&
		grep -qF -e "$refused_text" "$err"; then
		pass "refused: $refused_what"
	else
		tap_result "not ok" "refused: $refused_what"
		echo "# status $status, and no line with: $refused_text"
		tap_diagnose
	fi
}

y=$tmp/y.snap
copy() {
	cp --sparse=always "$x" "$y"
}

# put AT BYTES: into the copy
put() {
	# shellcheck disable=SC2059 # a format
	printf "$2" | dd of="$y" bs=1 seek="$1" conv=notrunc status=none
}

none="it is no snapshot of mote's, or one that was never finished"
: >"$y"
refused "snapshot $y: $none" "an empty file" --restore "$y"
refused "snapshot $MOTE: $none" "another kind of file" --restore "$MOTE"
copy
put 0 '\0'
refused "$none" "one whose beginning was never written" --restore "$y"
copy
put 8 '\2'
refused 'its format is 2, and this mote reads 1' "another version's" \
	--restore "$y"
copy
truncate -s "$(($(stat -c %s "$x") / 2))" "$y"
refused "it is incomplete: $(stat -c %s "$y") bytes of $(stat -c %s "$x")" \
	"half of one" --restore "$y"
refused "No such file" "one that is not there" --restore "$tmp/none"
refused "snapshot $tmp: it is no file" "a directory" --restore "$tmp"
mkfifo "$tmp/fifo"
LIMIT=5
refused "$tmp/fifo" "a FIFO, and mote does not wait for its writer" \
	--restore "$tmp/fifo"
LIMIT=30

# numbers of the header: where the state is, how long, and the first areas
at() {
	od -An -t u8 -j "$1" -N 8 "$x" | tr -d ' '
}
state_end=$((4096 + $(at 40)))

# all_refused WHAT KIND FROM TO STEP
all_refused() {
	all_what=$1
	shift
	copy
	is "$(tests/tools/damage "$1" "$y" "$2" "$3" "$4" \
		"$MOTE" --restore "$y" 2>&1)" \
		"$((($3 - $2 + $4 - 1) / $4 * ($5))) tried" "$all_what"
}

all_refused "a byte of the header that is another one is refused" \
	bytes 0 4096 23 1
all_refused "a bit of it that is another one is refused" bits 0 200 1 8
all_refused "a byte of the state that is another one is refused" \
	bytes 4096 "$state_end" 29 1
all_refused "a bit of it that is another one is refused" \
	bits 4096 "$state_end" 449 8
all_refused "one that ends early is refused" end 0 20480 256 1
all_refused "... or before the end of memory" end 20480 69206016 7654321 1

# areas' ends, and where memory begins
for border in "$state_end" "$(at 80)" "$(($(at 80) + $(at 88)))" "$(at 104)" \
	"$(($(at 104) + $(at 112)))" "$(at 128)" "$(at 48)" \
	"$(($(at 48) + $(at 56) - 1))"; do
	copy
	truncate -s "$border" "$y"
	refused 'it is incomplete' "one that ends at $border" --restore "$y"
done

# With check sums that are right mote believes what it reads, and is well.
copy
is "$(tests/tools/damage sums "$y" 4096 "$state_end" \
	"${DAMAGE_STEP:-397}" "$MOTE" --restore "$y" --timeout 200ms 2>&1 |
	sed 's/[0-9]* tried/well/')" well \
	"whatever the state is, mote ends as it should"
copy
is "$(tests/tools/damage sums "$y" 80 152 5 "$MOTE" --restore "$y" \
	--timeout 200ms 2>&1 | sed 's/[0-9]* tried/well/')" well \
	"wherever the areas are, mote ends as it should"

# -- devices ------------------------------------------------------------------------

a="$tmp/a.img,ephemeral"
had='its machine: it has 2 disks, 0 networks and no vsock; this command line names'
refused "$had 1 disk, 0 networks and no vsock" "a disk less" \
	--restore "$x" -d "$a"
refused "$had 3 disks, 0 networks and no vsock" "a disk more" \
	--restore "$x" -d "$a" -d "$tmp/b.img,ro" -d "$tmp/b.img,ro"
refused "$had 2 disks, 0 networks and a vsock" "a vsock more" \
	--restore "$x" --vsock "$tmp/v"
refused 'it was read-only, this one is not' "a disk that may be written" \
	--restore "$x" -d "$a" -d "$tmp/b.img"
refused 'it was not read-only, this one is' "a disk that may not" \
	--restore "$x" -d "$tmp/a.img,ro" -d "$tmp/b.img,ro"
refused 'it was ephemeral, this one is not' "a disk that is written" \
	--restore "$x" -d "$tmp/a.img" -d "$tmp/b.img,ro"
truncate -s 2M "$tmp/larger.img"
refused '1048576 bytes, disk 1 (larger.img) has 2097152' "a larger disk" \
	--restore "$x" -d "$a" -d "$tmp/larger.img,ro"
cp "$tmp/b.img" "$tmp/copy.img"
touch -d @1000000 "$tmp/copy.img"
mote --restore "$x" -d "$a" -d "$tmp/copy.img,ro"
is "$status $(last_line)" "0 lived through 3, with 2 disks, 0 net, 0 vsock" \
	"another file that is only read will do"
is "$(grep -c 'copy.img) was written or replaced since the snapshot' "$err") $(
	wc -l <"$err")" "1 1" "... with a warning"

copy
chmod 620 "$y"
refused "it names files of its own, and others may write it, or own it" \
	"names of files that others may have written" --restore "$y"
chmod 602 "$y"
refused "it names files of its own" "... the whole world" --restore "$y"
mote --restore "$y" -d "$a" -d "$tmp/b.img,ro"
is "$status $(last_line)" "0 lived through 3, with 2 disks, 0 net, 0 vsock" \
	"where devices are named it may be anybody's"
if [ "$(id -u)" -eq 0 ]; then
	chmod 600 "$y"
	chown 54321 "$y"
	refused "it names files of its own" "... another user's" --restore "$y"
	rm -f "$y"
fi

# -- the command line ------------------------------------------------------------------

refused '--cpus' "how many CPUs, which it says itself" --restore "$x" -c 2
refused '--memory' "how much memory" --restore "$x" -m 64M
refused '--kernel' "a kernel" --restore "$x" -k "$GUESTS/hello.elf"
refused '--initrd' "an initramfs" --restore "$x" -i "$GUESTS/hello.elf"
refused '--append' "words of a command line" --restore "$x" -a quiet
refused '--cmdline' "a command line" --restore "$x" --cmdline quiet
refused "it was not taken when mote's init was ready" \
	"a command for a guest without mote's init" --restore "$x" -- true

# -- by descriptor ------------------------------------------------------------------

# with_fd MODE FILE COMMAND...: FILE is descriptor 3
with_fd() {
	fd_mode=$1 fd_file=$2
	shift 2
	# shellcheck disable=SC2016 # Perl
	run perl -e '$^F = 1000;
		sysopen my $file, $ARGV[1], $ARGV[0] or die;
		fileno $file == 3 or die;
		exec @ARGV[2 .. $#ARGV]' "$fd_mode" "$fd_file" "$@" </dev/null
}
RDONLY=0 RDWR=2

with_fd $RDONLY "$x" "$MOTE" --restore fd=3
is "$status $(last_line)" "0 lived through 3, with 2 disks, 0 net, 0 vsock" \
	"a snapshot may be a descriptor"
: >"$tmp/by-fd"
with_fd $RDWR "$tmp/by-fd" "$MOTE" -k "$GUESTS/snapshot.elf" -m 64M \
	-a case=string --snapshot fd=3,on=ready
is "$status $(last_line)" "0 saved" "one may be taken into a descriptor"
run "$MOTE" --restore "$tmp/by-fd"
is "$status $(last_line)" "0 eight bytes came" "... and is good"
truncate -s 100M "$tmp/by-fd"
with_fd $RDWR "$tmp/by-fd" "$MOTE" -k "$GUESTS/snapshot.elf" -m 64M \
	-a case=string --snapshot fd=3,on=ready
run "$MOTE" --restore "$tmp/by-fd"
is "$status $(last_line) $(stat -c %s "$tmp/by-fd")" \
	"0 eight bytes came 69206016" "what was in it before is gone"
with_fd $RDONLY "$tmp/by-fd" "$MOTE" -k "$GUESTS/snapshot.elf" -m 64M \
	-a case=string --snapshot fd=3,on=ready
is "$status $(wc -l <"$err")" "125 1" \
	"a descriptor that cannot be written is refused"
refused 'fd=9' "a descriptor that is not open" --restore fd=9
with_fd $RDWR "$tmp/fifo" "$MOTE" --restore fd=3
is "$status $(wc -l <"$err")" "125 1" "a descriptor that is no file is refused"
with_fd $RDWR "$tmp/fifo" "$MOTE" -k "$GUESTS/hello.elf" -m 64M \
	--snapshot fd=3,on=ready
is "$status $(wc -l <"$err")" "125 1" "... to take one, too"

# -- where one cannot be taken ---------------------------------------------------------

# not_taken TEXT WHAT PATH
not_taken() {
	refused "$1" "to take $2" -k "$GUESTS/hello.elf" -m 64M \
		--snapshot "$3,on=ready"
}
mkdir "$dir/there"
not_taken 'what has this name is no file' "one in place of a directory" \
	"$dir/there"
rmdir "$dir/there"
mkfifo "$dir/fifo"
not_taken 'what has this name is no file' "one in place of a FIFO" "$dir/fifo"
rm "$dir/fifo"
ln -s x.snap "$dir/link"
not_taken 'what has this name is no file' "one in place of a link" "$dir/link"
rm "$dir/link"
not_taken 'No such file' "one where no directory is" "$tmp/none/x"
not_taken 'a file there cannot be made' "one where no file can be" /proc/x.snap
not_taken '/' "one without a name" "$dir/"
if [ "$(id -u)" -ne 0 ]; then
	mkdir "$tmp/closed"
	chmod 500 "$tmp/closed"
	not_taken 'Permission denied' "one where the user may not" \
		"$tmp/closed/x.snap"
fi
nothing_left x.snap

# -- whole or not at all -----------------------------------------------------------------

cp --sparse=always "$x" "$tmp/old"
# What the guest goes on with, after a line that says why.
# goes_on WHY WHAT: how the last guest ended; the file is the old one
goes_on() {
	is "$status $(reason) $(last_line) $(wc -l <"$err") $(grep -c \
		"none was taken, and the guest goes on: its file: $1\$" \
		"$err") $(cmp "$x" "$tmp/old")" \
		"0 poweroff all of it is there 1 1 " "$2"
	nothing_left x.snap
}

for then in exit continue; do
	for call in pwrite64 fsync renameat; do
		rm -f "$events"
		run "$TOOLS/without" "$call:EIO" "$MOTE" --events "$events" \
			-k "$GUESTS/snapshot.elf" -m 64M -a 'case=memory mib=32' \
			--snapshot "$x,on=ready,then=$then"
		goes_on 'I/O error' \
			"where $call fails the guest goes on (then=$then)"
	done
	rm -f "$events"
	run sh -c 'ulimit -f 20000; exec "$@"' sh "$MOTE" --events "$events" \
		-k "$GUESTS/snapshot.elf" -m 64M -a 'case=memory mib=64' \
		--snapshot "$x,on=ready,then=$then"
	goes_on 'File too large' \
		"with a limit to files it goes on (then=$then)"
done

if [ "$(id -u)" -eq 0 ]; then
	mkdir "$tmp/small"
	mount -t tmpfs -o size=8M none "$tmp/small" && small=$tmp/small
	x=$tmp/small/x.snap dir=$tmp/small
	cp --sparse=always "$tmp/old" "$x"
	for then in exit continue; do
		guest snapshot -a 'case=memory mib=60' \
			--snapshot "$x,on=ready,then=$then"
		goes_on 'No space left on device' \
			"where the disk is full it goes on (then=$then)"
	done
	guest_start snapshot -a 'case=memory mib=60 stays=1' \
		--snapshot "$x,on=ready,then=continue"
	await says 'all of it'
	is "$(du -k "$dir"/.x.* | cut -f 1)" 0 \
		"what was begun takes no room while the guest goes on"
	kill -INT "$pid"
	guest_end
	umount -l "$small"
	small=
	x=$tmp/dir/x.snap dir=$tmp/dir
else
	pass "where the disk is full it goes on # SKIP root makes such a disk"
fi

# mote is killed: the file is the old one, or whole.
rounds=12
killed() {
	for i in $(seq $rounds); do
		cp --sparse=always "$tmp/old" "$x"
		guest_start snapshot -m 256M -a 'case=memory mib=64' \
			--snapshot "$x,on=ready,then=continue"
		await says saved
		sleep "0.$(perl -e 'printf "%03d", rand 60')"
		kill -KILL "$pid" 2>/dev/null
		guest_end
		if cmp -s "$x" "$tmp/old"; then
			echo old
			continue
		fi
		run "$MOTE" --restore "$x"
		echo "new $(grep 'all of it' "$out")"
	done | sort | uniq -c >"$tmp/killed"
	grep -vE '^ *[0-9]* (old|new all of it is there)$' "$tmp/killed"
}
is "$(killed)" "" "mote is killed: the file is the old one, or a whole one"
sed 's/^/# /' "$tmp/killed"
nothing_left x.snap
cp --sparse=always "$tmp/old" "$x"

# -- in nobody's way -----------------------------------------------------------------

# ends_meanwhile SIGNALS THEN STATUS-AND-REASON: much memory; mote is at it when it
# is to end. Its file may be whole by then: its status says nothing of that.
begun() {
	[ "$(du -ck "$dir"/.x.* 2>/dev/null | tail -n 1 | cut -f 1)" -gt 4000 ]
}
ends_meanwhile() {
	guest_start snapshot -m 1152M -a 'case=memory mib=1024' \
		--snapshot "$x,on=ready,then=$2"
	await begun
	began=$(date +%s%N)
	for signal in $1; do
		kill "-$signal" "$pid" 2>/dev/null
		sleep 0.01
	done
	# Two that come before the first is seen are one.
	until guest_gone; do
		kill "-$signal" "$pid" 2>/dev/null
		sleep 0.1
	done
	guest_end
	took=$((($(date +%s%N) - began) / 1000000))
	is "$status $(reason) $(head -c 8 "$x")" "$3 MOTESNAP" \
		"$1 ends mote while 1 GiB is saved (then=$2)"
	echo "# within $took ms"
	nothing_left x.snap
	cp --sparse=always "$tmp/old" "$x"
}
LIMIT=60
ends_meanwhile INT exit '130 signal'
ends_meanwhile INT continue '130 signal'
ends_meanwhile 'TERM TERM' exit '143 signal'
LIMIT=30

# One after the other, until the time is over.
guest_start snapshot -m 256M -a 'case=memory mib=200 stays=1' --timeout 4s \
	--snapshot "$x,then=continue"
await says 'all of it'
until guest_gone; do
	kill -USR1 "$pid" 2>/dev/null
	sleep 0.02
done
guest_end
is "$status $(reason) $(wc -l <"$err")" "124 timeout 0" \
	"--timeout ends mote while it saves, and saves"
nothing_left x.snap
run "$MOTE" --restore "$x" --timeout 200ms
is "$status" 124 "... and what there is is good"

# -- nothing is left -------------------------------------------------------------------

# Before there is a committer: mote waits for a disk that another process has.
has_disk() {
	for fd in /proc/"$pid"/fd/*; do
		[ "$(readlink "$fd")" != "$tmp/a.img" ] || return 0
	done
	return 1
}
exec 8<"$tmp/a.img"
flock 8
guest_start ready -d "$tmp/a.img" --snapshot "$x"
await has_disk
kill -INT "$pid"
guest_end
exec 8<&-
is "$status" 130 "SIGINT ends mote while it opens its devices"
nothing_left x.snap

# What they are of. One that has its name is not the next file any more.
descriptors() {
	for fd in /proc/"$pid"/fd/*; do
		readlink "$fd" | sed 's/:.*//; s,/.*/[.]x[.]snap.*,the next file,'
	done | sort
}
is_another() {
	inode_now=$(stat -c %i "$x")
	[ "$inode_now" != "$inode" ]
}
save() {
	inode=$(stat -c %i "$x")
	kill -USR1 "$pid"
	await is_another
}
guest_start hang --snapshot "$x,then=continue"
await says hanging
save
guest_heard
has_next() {
	descriptors | grep -q 'the next file'
}
[ ! -r "/proc/$pid/fd/0" ] || await has_next
descriptors >"$tmp/before"
for i in 1 2 3 4 5 6 7 8; do
	save
done
guest_heard
same_descriptors() {
	[ "$(descriptors)" = "$(cat "$tmp/before")" ]
}
if [ -r "/proc/$pid/fd/0" ]; then
	await same_descriptors
	is "$(descriptors)" "$(cat "$tmp/before")" \
		"eight snapshots later mote has the same descriptors"
else
	pass "mote has the same descriptors # SKIP needs root to look"
fi
is "$(stat -c %a "$x")" 600 "each of them is its owner's alone"
kill -INT "$pid"
guest_end
is "$status $(wc -l <"$err")" "130 0" "... and mote has said nothing"
nothing_left x.snap

# Where there is no room for the next file the next signal asks for it again.
if [ "$(id -u)" -eq 0 ]; then
	mkdir "$tmp/few"
	mount -t tmpfs -o nr_inodes=3 none "$tmp/few" && small=$tmp/few
	x=$small/x.snap dir=$small
	: >"$small/filler"
	guest_start hang --snapshot "$x,then=continue"
	await says hanging
	kill -USR1 "$pid"
	await test -e "$x"
	guest_heard
	inode=$(stat -c %i "$x")
	said() {
		[ "$(wc -l <"$err")" -ge "$1" ]
	}
	for i in 1 2; do
		kill -USR1 "$pid"
		await said "$i"
	done
	is "$(grep -c 'none was taken, and the guest goes on: a file for it could not be made: No space left on device$' "$err") $(
		stat -c %i "$x")" "2 $inode" \
		"without room for another file none is taken, which is said"
	rm "$small/filler"
	for i in 1 2; do
		save
	done
	kill -INT "$pid"
	guest_end
	is "$status $(wc -l <"$err")" "130 2" "with room they are taken again"
	mote --restore "$x" --timeout 200ms
	is "$status" 124 "... and good"
	nothing_left x.snap
	umount -l "$small"
	small=
	x=$tmp/dir/x.snap dir=$tmp/dir
else
	pass "with room they are taken again # SKIP root makes such a disk"
fi

# -- while a clone runs --------------------------------------------------------------

# It needs the file's bytes, not the file.
# kept_open: how many descriptors of it a clone has
kept_open() {
	rm -f "$events"
	"$MOTE" --restore "$x" --events "$events" >"$out" 2>"$err" &
	pid=$!
	await happened start
	for fd in /proc/"$pid"/fd/*; do
		readlink "$fd"
	done | grep -c '/x[.]snap$'
	kill -KILL "$pid"
	guest_end
}
guest_start hang -a loop=1 --snapshot "$x,then=exit"
await says hanging
kill -USR1 "$pid"
guest_end
if [ "$(id -u)" -eq 0 ]; then
	is "$(kept_open)" 0 "a clone has no descriptor of its snapshot"
else
	pass "a clone has no descriptor of its snapshot # SKIP needs root to look"
fi

# cut: it becomes short under a clone, which executes it
cut() {
	cp --sparse=always "$x" "$y"
	rm -f "$events"
	"$MOTE" --restore "$y$cut_keys" --events "$events" >"$out" 2>"$err" &
	pid=$!
	await happened start
	truncate -s 4096 "$y"
}
lost="a file behind guest memory cannot be read any more: did an image shrink while in use?"
cut_keys=
cut
guest_end
is "$status $(reason) $(cat "$err")" "125 error mote: $lost" \
	"a file that is cut short under a clone ends it, by one line"
# Most KVMs say so themselves, and no signal comes.
rm -f "$events"
run "$TOOLS/without" run:EFAULT "$MOTE" --restore "$x" --events "$events"
is "$status $(reason) $(cat "$err")" "125 error mote: $lost" \
	"... whoever finds that out"
cut_keys=,copy
cut
guest_heard
kill -INT "$pid"
guest_end
is "$status $(cat "$err")" "130 " "one that has read it is not ended"
rm "$y"

# -- with the sandbox, and without -------------------------------------------------------

for how in on log off; do
	guest snapshot -a case=string --sandbox "$how" --snapshot "$x,on=ready"
	saved="$status $(reason) $(grep -c filter "$err")"
	mote --restore "$x" --sandbox "$how"
	is "$saved, $status $(last_line) $(grep -c filter "$err")" \
		"0 snapshot 0, 0 eight bytes came 0" "with --sandbox $how"
done
nothing_left x.snap

done_testing
