#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What --put and --get pack and unpack (boot/tar), against GNU tar and bsdtar, both
# ways; and streams that are not to be trusted. No guest: build/tools/pax does it.

# shellcheck disable=SC2016 # what stands in '...' is for other shells and perl
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"
LIMIT=300
PAX=$PWD/$TOOLS/pax
root=
[ "$(id -u)" != 0 ] || root=yes

# -- a tree -------------------------------------------------------------------

# sparse FILE SIZE: data at its beginning, in its middle, not at its end
sparse() {
	truncate -s "$2" "$1"
	echo first | dd of="$1" conv=notrunc status=none
	echo middle | dd of="$1" bs=1M seek=5000 conv=notrunc status=none
}

# Names of every kind, and 20,000 files; what file systems differ in is apart.
make_tree() {
	mkdir "$1" && cd "$1" || exit
	perl -e '
		for my $d (0 .. 199) {
			mkdir "many$d";
			for my $f (0 .. 99) {
				open my $file, ">", "many$d/$f" or die;
				print $file "$d $f\n" x ($f * 3);
				chmod 0400 + $f, $file;
			}
		}
		mkdir "names";
		my $long = "d" x 200;
		for my $name ("new\nline", "tab\tand blank ", "-rf", "\xff\xfe",
			"gr\xc3\xbc\xc3\x9fe", "\\", "*", ("x" x 255), "...",
			"..a", "a" x 100, "b" x 101) {
			open my $file, ">", "names/$name" or die;
			print $file $name;
		}
		mkdir "deep";
		my $deep = "deep";
		while (length("$deep/$long") < 3980) {
			$deep .= "/$long";
			mkdir $deep or die;
		}
		open my $file, ">", "$deep/" . ("f" x (3999 - length $deep)) or die;
		print $file "deep\n";
		symlink "../" x 300 . "to", "names/long link";
		symlink "to \xff", "names/link\xff";
		symlink "/etc/passwd", "absolute";
		symlink ".", "circle";
		symlink "nowhere", "dangling";
		link "many0/99", "names/hard";
		link "names/hard", "hard" . ("h" x 200);
		link "dangling", "dangling2";
	'
	mkdir modes
	for mode in 0000 0111 0644 0755 4755 2755 6755 1777; do
		touch "modes/$mode" && chmod $mode "modes/$mode"
		mkdir "modes/d$mode" && chmod "$mode" "modes/d$mode"
	done
	[ "$root" ] || chmod u+r modes/* # else nothing can be packed
	[ "$root" ] || chmod u+rx modes/d*
	mkfifo fifo
	sparse holes 9G
	truncate -s 1M hole
	: >empty
	touch -d '1961-08-13 12:00:00' old
	touch -d '2262-04-11 23:47:16.854775807' future
	touch -d @1.000000001 nano
	if [ "$root" ]; then
		mknod null c 1 3 && mknod sda b 8 4095
		touch owned && chown 12345:3000000 owned
	fi
	setfattr -n user.key -v 'a value' hole && setfattr -n user.empty names
	touch -d '2001-02-03 04:05:06.789' names modes many7 .
	cd - >/dev/null || exit
}

# What find says of it, times as $time; and what is in the files, but for the
# large one.
time=T@
look() (
	cd "$1" || exit
	LC_ALL=C find . \( -type d -printf "%P %y %m %$time\n" \) -o \
		-printf "%P %y %m %s %n %U %G %$time %l\n" | sort
	find . -type f ! -name holes ! -path './modes/*' -print0 | sort -z |
		xargs -0 sha256sum
	find . -links +1 ! -type d -printf '%i %P\n' | sort | awk '
		{ inode = $1; $1 = ""; names[inode] = names[inode] $0 }
		END { for (i in names) print names[i] }' | sort
	[ ! -e null ] || stat -c '%n %t %T' null sda
	[ ! "$attributes" ] || getfattr -d -m user names hole
)

# same NAME: $tmp/out.d is what the tree is
same() {
	look "$tmp/tree" >"$tmp/wanted" 2>&1
	look "$tmp/out.d" >"$tmp/got" 2>&1
	diff -a "$tmp/wanted" "$tmp/got" >"$err" 2>&1
	is "$?" 0 "$1"
	[ ! -e "$tmp/tree/holes" ] ||
		is "$(du -k "$tmp/out.d/holes" | awk '{ print $1 < 1000 }') $(
			dd if="$tmp/out.d/holes" bs=1M skip=5000 count=1 \
				status=none | head -c 6)" "1 middle" \
			"$1: holes are holes"
	chmod -R u+rwX "$tmp/out.d" && rm -rf "$tmp/out.d"
}

# into COMMAND...: unpacks $tmp/tar in a new directory, $tmp/out.d
into() {
	mkdir "$tmp/out.d"
	run sh -c 'file=$1; shift; exec "$@" <"$file"' - "$tmp/tar" "$@"
}

make_tree "$tmp/tree"
attributes=$(getfattr -d -m user "$tmp/tree/hole" 2>/dev/null)
[ "$attributes" ] || echo "# no extended attributes: $tmp has none"
ok "a tree of 20,000 files is there" \
	[ "$(look "$tmp/tree" 2>/dev/null | wc -l)" -gt 40000 ]

# -- both ways, with the others -----------------------------------------------

run sh -c "exec $PAX -k pack $tmp/tree >$tmp/tar"
is "$status $(cat "$err")" "0 " "it is packed, and nothing is said"
ok "and is about as long as what it holds" \
	[ "$(stat -c %s "$tmp/tar")" -lt 100000000 ]
into "$PAX" -k unpack "$tmp/out.d"
is "$status $(cat "$err")" "0 " "it is unpacked, and nothing is said"
same "what is unpacked is what was packed"
into tar --xattrs --warning=no-unknown-keyword --warning=no-timestamp -xpf - \
	-C "$tmp/out.d"
is "$status $(cat "$err")" "0 " "GNU tar unpacks it"
same "as what it was, says GNU tar"
into bsdtar --numeric-owner --same-owner -xpf - -C "$tmp/out.d"
is "$status $(cat "$err")" "0 " "bsdtar unpacks it"
touch -r "$tmp/tree" "$tmp/out.d" # it leaves that alone
same "as what it was, says bsdtar"
run bsdtar -tf "$tmp/tar"
is "$(grep -cv '^\./' "$out") $(grep -cE '(^|/)\.\.(/|$)' "$out")" "0 0" \
	"all of its names begin with ./, none goes up"

# theirs COMMAND...: what it packs becomes what it was
theirs() {
	run "$@" -cf "$tmp/tar" -C "$tmp/tree" .
	is "$status $(cat "$err")" "0 " "$* packs it"
	into "$PAX" -k unpack "$tmp/out.d"
	is "$status $(cat "$err")" "0 " "it is unpacked"
	same "what $* has packed is what it was"
}

rm -rf "$tmp"/tree/many?*[0-9]
touch -r "$tmp/tree/names" "$tmp/tree"
theirs tar --xattrs --format=pax -S
theirs bsdtar --format=pax --options hdrcharset=BINARY
rm "$tmp/tree/holes"
touch -r "$tmp/tree/names" "$tmp/tree"
theirs tar --xattrs --format=pax
attributes=
time=Ts
theirs tar --format=gnu

# -- streams that are not to be trusted ----------------------------------------

# $jail/in is unpacked into; what is beside it must stay as it is.
jail=$tmp/jail

jail_new() {
	rm -rf "$jail"
	mkdir -p "$jail/in" "$jail/beside" "$jail/in/old"
	echo secret >"$jail/beside/file"
	chmod 600 "$jail/beside/file"
	ln -s ../beside "$jail/in/out"
	ln -s "$jail/beside" "$jail/in/far"
	ln -s old "$jail/in/near"
	beside=$(jail_beside)
}

# Its times, too; links to the file are seen by their number.
jail_beside() {
	find "$jail" ! -path "$jail/in/*" ! -path "$jail/in" \
		-printf '%P %y %m %s %n %T@ %C@ %l\n' | sort
}

# hostile NAME STATUS SAID WANTED ENTRY...: with that status and that said the
# stream is unpacked; WANTED is a test of what is there then
hostile() {
	hostile_name=$1 hostile_status=$2 hostile_said=$3 hostile_wanted=$4
	shift 4
	jail_new
	tests/tools/hostile "$@" >"$tmp/tar"
	run sh -c 'exec "$0" unpack "$1" <"$2"' "$PAX" "$jail/in" "$tmp/tar"
	hostile_got=$status
	(cd "$jail/in" && eval "$hostile_wanted") >/dev/null 2>&1 ||
		hostile_got="$hostile_got, not $hostile_wanted"
	[ "$(jail_beside)" = "$beside" ] &&
		[ "$(cat "$jail/beside/file")" = secret ] ||
		hostile_got="$hostile_got, outside has changed"
	grep -q -e "$hostile_said" "$err" || [ ! "$hostile_said" ] ||
		hostile_got="$hostile_got, not said: $hostile_said"
	is "$hostile_got" "$hostile_status" "$hostile_name"
}

hostile "..: nothing comes of it" 1 'a name with \.\.' '[ "$(cat x)" = data ]' \
	"0 ../x  bad" "0 a/../../x  bad" "0 a/..  bad" "5 .." "0 x  data"
hostile "a name that begins with / is below" 0 'without the /' \
	'[ "$(cat etc/x)" = data ] && [ "$(cat y)" = data ]' \
	"0 /etc/x  data" "0 ///./y  data"
hostile "only once it is said" 0 'without the /' "[ \$(wc -l <$err) = 1 ]" \
	"0 /a  data" "0 /b  data"
hostile "a link that the stream makes is not the way out" 1 'Not a directory' \
	'[ -L l ] && [ -L m ] && [ ! -e old/file ]' \
	"2 l ../beside" "0 l/file  bad" "2 m $jail/beside" "0 m/file  bad" \
	"5 m/dir"
hostile "nor one to one" 1 'Not a directory' '[ -L two ]' \
	"2 one .." "2 two one/beside" "0 two/file  bad"
hostile "nor one that was there" 1 'Not a directory' '[ -L out ] && [ -L far ]' \
	"0 out/file  bad" "0 far/file  bad" "0 out/new  bad"
hostile "one that was there and stays inside is" 0 '' \
	'[ -L near ] && [ "$(cat old/x)" = data ]' \
	"0 near/x  data" "5 near"
hostile "a directory takes the place of one that leads out" 0 '' \
	'[ ! -L out ] && [ -d out ] && [ "$(cat out/file)" = data ]' \
	"5 out" "0 out/file  data"
hostile "a file takes the place of a link, and is not written through it" 0 '' \
	'[ ! -L l ] && [ "$(cat l)" = data ]' \
	"2 l ../beside/file" "0 l  data"
hostile "a directory that becomes a link in between" 1 'Not a directory' \
	'[ -L d ] && [ "$(cat e/x)" = data ]' \
	"5 d" "2 d ../beside" "0 d/file  bad" "0 d/x  bad" "5 e" "0 e/x  data"
hostile "one that is not empty does not" 1 'not empty' \
	'[ ! -L d ] && [ "$(cat d/y)" = data ]' \
	"5 d" "0 d/x  data" "2 d ../beside" "0 d/y  data"
hostile "a hard link to outside" 1 'link' '[ ! -e a ] && [ ! -e b ] && [ ! -e c ]' \
	"1 a ../beside/file" "1 b $jail/beside/file" "2 l ../beside" \
	"1 c l/file" "1 c out/file" "1 c ."
hostile "a hard link to a link is that link" 0 '' '[ -L a ] && [ ! -e x ]' \
	"2 l ../beside/file" "1 a l"
hostile "and is not written through" 0 '' '[ ! -L a ] && [ "$(cat a)" = data ]' \
	"2 l ../beside/file" "1 a l" "0 a  data"
hostile "hard links in a circle" 1 'No such file' '[ ! -e a ]' \
	"1 a b" "1 b a" "1 c c"
hostile "a file is no directory" 1 'Not a directory' '[ -f x ]' \
	"0 x  data" "0 x/y  bad" "5 x/z"
hostile "a directory with files in it stays" 1 'not empty' '[ -f d/x ]' \
	"0 d/x  data" "0 d  bad" "2 d nowhere"
hostile "the directory itself stays" 1 'Is a directory' '[ -d . ]' \
	"0 .  bad" "2 ./ x" "1 . x" "0 x  data" "5 ./"
hostile "a setuid program of a user does not become root's" 0 '' \
	'[ ! -u x ] && [ -u y ]' "x uid=1000" "04755 x  data" "04755 y  data"
hostile "pax paths are names like any other" 1 'a name with \.\.' \
	'[ ! -e y ] && [ -f etc/z ]' \
	"x path=../beside/file" "0 x  bad" "x path=/etc/z" "0 x  data" \
	"x linkpath=$jail/beside/file" "1 y x" "L long  ../beside/file" "0 x  bad" \
	"K long  ../beside/file" "1 y x"
hostile "a sparse file's, too" 1 'a name with \.\.' '[ ! -e x ]' \
	"x GNU.sparse.major=1,GNU.sparse.minor=0,GNU.sparse.realsize=4,GNU.sparse.name=../x" \
	"0 x  1$(printf '\n0\n4\n')"
hostile "kinds that nobody knows" 1 'what kind' '[ ! -e x ] && [ -f y ]' \
	"Q x  bad" "0 y  data"
hostile "a link to nothing" 1 'No such file' '[ ! -e x ]' "2 x" "0 y  data"
bad=$(seq 1000 | sed 's|.*|0 ../&|')
IFS='
'
# shellcheck disable=SC2086 # lines
hostile "a thousand bad names are no thousand lines" 1 'more of this kind' \
	"[ \$(wc -l <$err) = 31 ]" $bad
unset IFS

# -- disks that are full, devices ----------------------------------------------

# In mounts of its own; an ordinary user may not be let.
own=-m${root:-r}
own=${own%yes}
if unshare "$own" true 2>/dev/null; then
	"$PAX" pack "$tmp/tree" >"$tmp/tar"
	mkdir -p "$tmp/full"
	run unshare "$own" sh -c "mount -t tmpfs -o size=1m full $tmp/full &&
		exec $PAX unpack $tmp/full <$tmp/tar"
	is "$status $(grep -c 'No space left on device$' "$err")" "2 2" \
		"a disk that is full ends it, and says what did not fit"
else
	pass "a disk that is full # SKIP no mounts here"
fi
if [ "$root" ]; then
	hostile "devices are made for root" 0 '' \
		'[ -c n ] && [ -b b ] && [ -p f ]' "3 n 1:3" "4 b 8:1" "6 f"
fi

# -- trees that are not to be trusted -------------------------------------------

perl -MSocket -e 'socket my $s, AF_UNIX, SOCK_STREAM, 0 or die;
	chdir "$ARGV[0]"; bind $s, pack_sockaddr_un "socket" or die' "$tmp/tree"
mkdir "$tmp/deep"
(
	cd "$tmp/deep" || exit
	for _ in $(seq 300); do
		mkdir d && cd -P d || exit
	done
	: >bottom
)
run sh -c "exec $PAX pack $tmp/tree >$tmp/tar"
is "$status $(cat "$err")" "0 a socket is left out: ./socket" "a socket is left out"
run sh -c "exec $PAX pack $tmp/deep >$tmp/tar"
is "$status $(sed 's|\(/d\)*/$||' "$err")" \
	"1 too deep: what is in it is left out: ." "so is what is too deep"
is "$(tar -tf "$tmp/tar" | wc -l)" 257 "and nothing else"
run sh -c "exec $PAX pack /proc/self/fdinfo >$tmp/tar"
is "$status" 0 "files that are as long as they are read"
run sh -c "exec $PAX pack $tmp/nowhere >$tmp/tar"
is "$status $(cat "$err") $(stat -c %s "$tmp/tar")" \
	"2 failed: No such file or directory 0" "a path that is not there"
ln -s "$tmp/tree/empty" "$tmp/link"
ok "a path that is a link is what it leads to" \
	[ "$("$PAX" pack "$tmp/link" | tar -tvf - | awk '{ print $1, $2, $NF }')" = \
	"-rw-r--r-- root/root link" ]
done_testing
