#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# --put and --get: a tree goes in, is worked on, and comes out as a tar archive,
# for root and for an ordinary user; what a full disk, a missing path and a
# reader that leaves do; and what a link in the tree does not do.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

minimal
chmod 777 "$tmp"

# command NAME [OPTION...] -- WORD...
command() {
	command_name=$1
	shift
	# shellcheck disable=SC2086 # words
	boot "$command_name" $modules "$@"
}

# clone NAME [OPTION...] -- WORD...: the same without a boot
clone() {
	clone_name=$1
	shift
	"$MOTE" --restore "$tmp/s.snap" --events "$tmp/$clone_name.events" "$@" \
		</dev/null >"$tmp/$clone_name.out" 2>"$tmp/$clone_name.err" &
	echo $! >"$tmp/$clone_name.pid"
}

# same ARCHIVE DIR: GNU tar finds no difference
same() {
	/bin/tar --warning=no-unknown-keyword --compare --file "$1" \
		--directory "$2" 2>&1
}

# A project that a script builds: its result says what the guest saw.
tree=$tmp/tree
mkdir -p "$tree/sub/deep" "$tree/empty"
cat >"$tree/build" <<'END'
mkdir -p out
busybox cat sub/text >out/result
busybox stat -c "%n %a %u %F" build sub sub/deep/exe shadow fifo >out/seen
busybox ls -i first second | busybox awk '{ print $1 }' | busybox uniq |
	busybox wc -l >out/inodes
busybox readlink shadow >out/link
END
echo text >"$tree/sub/text"
echo exe >"$tree/sub/deep/exe"
chmod 751 "$tree/sub/deep/exe"
chmod 644 "$tree/build"
chmod 755 "$tree/sub"
echo one >"$tree/first"
ln "$tree/first" "$tree/second"
ln -s /etc/shadow "$tree/shadow"
mkfifo -m 600 "$tree/fifo"
odd=$(printf 'odd \001\n\377 name')
echo odd >"$tree/$odd"
truncate -s 3M "$tree/hole"
echo end >>"$tree/hole"
touch -d 2001-02-03 "$tree/sub/text"

# goes NAME: the tree in and out
goes() {
	command "$1" --put "$tree" -w /src/deep --get "/src/deep:$tmp/$1.tar" \
		--get "/src/deep/out:$tmp/$1-out.tar" -- sh -c 'sh build; exit 7'
}

# came NAME WHO: what was seen of it, by the command and in the archives
came() {
	ended "$1"
	ends 7 exited "$2: the status of a command with --put and --get is its own"
	is "$(cat "$err")" "" "$2: nothing is said of it"
	mkdir -p "$tmp/$1-got" "$tmp/$1-out"
	/bin/tar -xf "$tmp/$1-out.tar" -C "$tmp/$1-out"
	is "$(cd "$tmp/$1-out" && cat result link inodes seen)" "text
/etc/shadow
1
build 644 0 regular file
sub 755 0 directory
sub/deep/exe 751 0 regular file
shadow 777 0 symbolic link
fifo 600 0 fifo" "$2: the guest has the tree as it is, and it is root's there"
	/bin/tar --warning=no-unknown-keyword -xf "$tmp/$1.tar" -C "$tmp/$1-got"
	rm -rf "$tmp/$1-got/out"
	is "$(cd "$tmp/$1-got" && find . | sort | od -c)" \
		"$(cd "$tree" && find . | sort | od -c)" \
		"$2: the archive has the names of the tree"
	is "$(/bin/tar -cf - -C "$tree" . | same - "$tmp/$1-got" |
		grep -v 'Uid differs\|Gid differs')" "" \
		"$2: GNU tar finds no difference between both"
	is "$(du -k "$tmp/$1-got/hole" | awk '{ print ($1 < 1000) }')" 1 \
		"$2: a hole is a hole still"
}

# The snapshot is for all that need no boot of their own.
command saved --snapshot "$tmp/s.snap" -- sh -c :
if [ "$(id -u)" -eq 0 ]; then
	user=54321 # of tests/as-user
	printf '#!/bin/sh\nexec %s/tests/as-user %s/%s "$@"\n' "$PWD" "$PWD" \
		"$MOTE" >"$tmp/his-mote"
	chmod 755 "$tmp/his-mote"
	chown -R "$user" "$tree"
	chmod 700 "$tree"
fi
goes root
ended saved
ends 0 snapshot "a guest is saved before anything is put into it"
if [ "$(id -u)" -eq 0 ]; then
	ours=$MOTE
	MOTE=$tmp/his-mote
	goes user
	MOTE=$ours
fi
came root "root"

# -- one file, streams, and standard output -------------------------------------

ln -s tree/sub/text "$tmp/link"
printf 'a stream' >"$tmp/in"
/bin/tar -cf "$tmp/in.tar" -C "$tmp" in
mkfifo "$tmp/fifo1" "$tmp/fifo2"
clone files --put "$tmp/link:/a/b" --put fd=7:/c --get /a/b/link:- \
	--get /c:fd=6 -- sh -c 'echo words; busybox cat /c/in >&2' \
	7<"$tmp/in.tar" 6>"$tmp/fd6.tar"
[ ! -e "$tmp/user.pid" ] || came user "an ordinary user"
# Opened so that the shell waits for nobody, whose open a child's end would
# interrupt: one FIFO has a writer already, the other is open both ways.
exec 9<>"$tmp/fifo1"
cat "$tmp/in.tar" >"$tmp/fifo1" 9>&- &
cat "$tmp/fifo2" >"$tmp/fifo2.tar" 9>&- &
fifo2_cat=$!
clone pipes --put fd=7:/c --get /c:fd=6 --get /none:"$tmp/none.tar" -- sh -c \
	'exit 4' 7<"$tmp/fifo1" 6<>"$tmp/fifo2" 9>&-
exec 9>&-
ended files
ends 0 exited "a file, and tar streams by descriptors, go in and out"
is "$(/bin/tar -xOf "$out")" text \
	"a file lands under its own name, and --get - is standard output"
is "$(cat "$err")" "words
a stream" "with --get - what the command writes to stdout is on stderr"
is "$(/bin/tar -xOf "$tmp/fd6.tar" ./in)" "a stream" "a stream comes out by fd=N"

# -- what goes wrong -------------------------------------------------------------

head -c 7000000 /dev/urandom >"$tmp/tree/large"
mkdir -p "$tmp/root/bin"
cp build/guest/busybox "$tmp/root/bin"
ln -s busybox "$tmp/root/bin/sh"
/sbin/mke2fs -q -t ext4 -O ^has_journal -d "$tmp/root" "$tmp/ext4.img" 8M \
	>"$tmp/mke2fs" 2>&1
command full -d "$tmp/ext4.img,root" --put "$tree" -w /src -- sh -c :
ended pipes
wait "$fifo2_cat"
ends 4 exited "a path that is not there leaves the status as it is"
like "$(cat "$err")" "^mote: --get: /none: no such file" \
	"a path that is not there is a warning"
is "$(wc -l <"$err") $(/bin/tar -tf "$tmp/none.tar" | wc -l)" "1 0" \
	"its archive is empty"
is "$(/bin/tar -xOf "$tmp/fifo2.tar" ./in)" "a stream" "FIFOs are as good as files"

clone lost --put "$tree:/src" --get /src:/dev/full -- sh -c 'exit 0'
ended lost
ends 125 error "a full disk on the host is a failure, where the command had none"
like "$(cat "$err")" "cannot write its file: No space left on device" \
	"a full disk on the host is said"

# Something else than a tar stream, and one that is cut off.
head -c 700 "$tmp/in.tar" >"$tmp/cut.tar"
clone cut --put fd=7 -w /src -- sh -c : 7<"$tmp/cut.tar"
ended full
ends 125 exited "a full disk in the guest is mote's own failure"
is "$(wc -l <"$err")" 1 "a full disk is one line"
like "$(cat "$err")" "no space left on the guest's disk" "and says what it is"
command goes-on --snapshot "$tmp/c.snap,then=continue" \
	--put "$tree/sub:/in" -- sh -c 'busybox cat /in/text; exit 6'
ended cut
ends 125 exited "a tar stream that is cut off is a failure"
is "$(wc -l <"$err")" 1 "a tar stream that is cut off is one line"

# Its reader takes some, and no more: SIGTERM ends it all the same.
# shellcheck disable=SC2016 # expanded there
sh -c 'read -r some; : >"$0"; exec sleep 1000' "$tmp/some" <"$tmp/fifo1" &
reader=$!
clone stop --put "$tree:/src" --get /src:fd=6 -- sh -c : 6>"$tmp/fifo1"
until_is "$LIMIT" test -e "$tmp/some"
kill -TERM "$(pid_of stop)"
ended stop
kill "$reader"
ends 143 signal "SIGTERM ends mote while it waits for a reader of --get"
like "$(cat "$err")" "ended before all of it was there" \
	"what is not whole is said"

# -- snapshots, and another user ---------------------------------------------------

command other --as 1000:1001 --put "$tree/sub" -w /his/work \
	--put "$tree/sub:/kept,owner=keep" -- sh -c \
	'echo more >more && busybox stat -c "%n %u %g" . text deep /his /kept/text'
clone clone --put "$tree/sub:/in" --get "/in:$tmp/clone.tar" -- \
	sh -c 'busybox cat /in/text; exit 5'
ended clone
ends 5 exited "a clone gets files of its own, and gives some back"
is "$(cat "$out" "$err")" text "the command of a clone has its files"
is "$(/bin/tar -xOf "$tmp/clone.tar" ./text)" text "a clone's archive has them"
ended goes-on
ends 6 exited "a guest that is saved and goes on gets its files after that"
is "$(cat "$out" "$err")" text "and the command has them"

ended other
ends 0 exited "--as has files that it can write to"
is "$(cat "$out" "$err")" ". 1000 1001
text 1000 1001
deep 1000 1001
/his 1000 1001
/kept/text $(stat -c '%u %g' "$tree/sub/text")" "whose they are: the user of --as"

# -- without vsock ----------------------------------------------------------------

# More than a tty's buffers hold, of every byte there is; fewer where each is a
# quarter of a millisecond, and the kernel's watchdog barks at so many at once.
bytes=150000
! emulated || bytes=5000
mkdir -m 750 "$tmp/bytes"
head -c "$bytes" /dev/urandom >"$tmp/bytes/random"
debian
boot serial --put "$tmp/bytes:/in/" --get "/in:$tmp/serial.tar" \
	--get "/in/random/x:$tmp/none.tar" -- \
	sh -c 'busybox md5sum </in/random; busybox stat -c %a /in; exit 5'
ended serial
ends 5 exited "without a vsock driver files go in and out by the serial port"
is "$(cat "$out")" "$(md5sum <"$tmp/bytes/random")
750" "by the serial port a file comes in as it was, and its directory"
is "$(cat "$err")" "mote: --get: /in/random/x: not a directory" \
	"a path that leads through a file is said to"
is "$(/bin/tar -xOf "$tmp/serial.tar" ./random | md5sum)" \
	"$(md5sum <"$tmp/bytes/random")" "and goes out as it was"

done_testing
