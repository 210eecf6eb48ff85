#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Restores that learn: which pages the file names then, that nothing else of it
# changes, that the next ones have these pages before they run, and what is
# refused.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

x=$tmp/x.snap

# learned FILE: the runs of pages that it names
learned() {
	perl -e '
		local $/; open F, "<:raw", $ARGV[0] or die; $_ = <F>;
		my ($off, $len) = unpack "Q<Q<", substr $_, 32, 16;
		my $state = substr $_, $off, $len;
		for (my $at = 0; $at < $len;) {
			my ($tag, $index, $n) = unpack "vvV", substr $state, $at, 8;
			my @runs = unpack "V*", substr $state, $at + 8, $n;
			printf "%x+%d\n", splice @runs, 0, 2
				while $tag == 0x8000 && @runs;
			$at += 8 + ($n + 7 & ~7);
		}' "$1"
}

# damaged RUN: $tmp/bad.snap names that run first, and its check sums are good
damaged() {
	perl -e '
		use integer;
		sub crc {
			my $crc = 0xffffffff;
			for (unpack "C*", $_[0]) {
				$crc ^= $_;
				$crc = $crc >> 1 ^ ($crc & 1 ? 0x82f63b78 : 0)
					for 1 .. 8;
			}
			return $crc ^ 0xffffffff;
		}
		open F, "+<:raw", $ARGV[0] or die;
		read F, my $head, 4096;
		my ($off, $len) = unpack "Q<Q<", substr $head, 32, 16;
		seek F, $off, 0;
		read F, my $state, $len;
		my $at = 0;
		for (;;) {
			my ($tag, $index, $n) = unpack "vvV", substr $state, $at, 8;
			last if $tag == 0x8000;
			$at += 8 + ($n + 7 & ~7);
		}
		substr($state, $at + 8, 8) = pack "VV", $ARGV[1], $ARGV[2];
		substr($head, 64, 8) = pack "VV", crc($state), 0;
		substr($head, 68, 4) = pack "V", crc($head);
		seek F, 0, 0;
		print F $head;
		seek F, $off, 0;
		print F $state;' "$tmp/bad.snap" "$@"
}

# memory FILE: a sum over the guest's
memory() {
	tail -c "$((64 << 20))" "$1" | cksum
}

guest learn --snapshot "$x,on=ready"
ends 0 snapshot "a guest is saved"
is "$(learned "$x")" "" "its file names no pages"
cp --sparse=always "$x" "$tmp/first.snap"
before=$(stat -c %i "$x")
exec 5<"$x"

mote --restore "$x,learn"
is "$status $(reason) $(cat "$out" "$err")" "0 poweroff written" \
	"a clone that learns runs as any"
is "$(learned "$x" | grep '^1...+')" "1000+3
1004+1
1800+64" "the file names the pages that it has written, and none that it read"
ok "it is another file" [ "$(stat -c %i "$x")" != "$before" ]
is "$(stat -c %a "$x")" 600 "for its owner alone"
is "$(memory "$x")" "$(memory "$tmp/first.snap")" \
	"with the memory that was saved, not what the clone made of it"
ok "and no larger than the first by more than some KiB" \
	[ "$(stat -c %b "$x")" -le $(($(stat -c %b "$tmp/first.snap") + 32)) ]
is "$(find "$tmp" -name '.x*' | wc -l)" 0 "nothing is left behind"
mote --restore fd=5
is "$status $(reason)" "0 poweroff" "who had the old file open has it still"

# -- the next ones --------------------------------------------------------------

run strace -f -o "$tmp/trace" -e trace=madvise,ioctl,seccomp \
	"$MOTE" --restore "$x"
is "$status $(cat "$out")" "0 written" "a guest with learned pages runs"
is "$(grep -o '[0-9]*, MADV_POPULATE_WRITE' "$tmp/trace" | tail -n 3 |
	tr '\n' ' ')" \
	"12288, MADV_POPULATE_WRITE 4096, MADV_POPULATE_WRITE 262144, MADV_POPULATE_WRITE " \
	"these pages are copied ahead"
is "$(grep -c POPULATE "$tmp/trace")" "$(learned "$x" | wc -l)" "each run once"

mote --restore "$x,learn"
is "$status $(learned "$x" | grep '^1...+' | tr '\n' ' ')" \
	"0 1000+3 1004+1 1800+64 " "to learn once more is to begin anew"

mote --restore "$x" --snapshot "$tmp/again.snap,on=signal"
is "$status $(cat "$out")" "0 written" "with --snapshot it runs as well"

# A host that cannot copy within files, or that has no pages to give.
run strace -f -o /dev/null -e inject=copy_file_range:error=EXDEV \
	"$MOTE" --restore "$x,learn" --sandbox off
is "$status $(learned "$x" | wc -l) $(memory "$x")" \
	"0 $(learned "$tmp/x.snap" | wc -l) $(memory "$tmp/first.snap")" \
	"where files cannot share what they have it is copied"
run strace -f -o /dev/null -e inject=madvise:error=EINVAL \
	"$MOTE" --restore "$x" --sandbox off
is "$status $(cat "$out")" "0 written" \
	"where the host cannot copy ahead the guest writes its pages by itself"

# -- in whose place -------------------------------------------------------------
# It echoes what it reads, until that is a q: then it ends, and mote learns.
mkfifo "$tmp/in"
exec 6<>"$tmp/in"
y=$tmp/y.snap
learner() {
	rm -f "$events"
	: >"$out"
	"$MOTE" --restore "$y,learn" --events "$events" <&6 >"$out" 2>"$err" &
	pid=$!
	echo x >&6
	await says x
}
learner_ends() {
	echo q >&6
	guest_end
}
guest_start echo --snapshot "$y,then=exit" <&6
await says echo
kill -USR1 "$pid"
guest_end
ends 0 snapshot "a guest is saved while it runs"
learner
cp --sparse=always "$y" "$tmp/copy.snap"
mv "$tmp/copy.snap" "$y"
learner_ends
ok "a copy of the file is replaced by one that names pages" \
	[ "$status$(cat "$err") $(learned "$y" | grep -c .)" != "0 0" ]

# keeps WHAT: it is as it was
keeps() {
	keeps_sum=$(cksum "$y" 2>&1)
	learner_ends
	like "$status $(cat "$err")" \
		"^0 mote: snapshot .*y.snap: nothing was learned: another file has its name by now" \
		"$1 is not replaced, which is said"
	is "$(cksum "$y" 2>&1) $(find "$tmp" -name '.y*' | wc -l)" \
		"$keeps_sum 0" "... it is as it was, and nothing is left"
}
cp --sparse=always "$y" "$tmp/copy.snap"
learner
cp --sparse=always "$x" "$tmp/other.snap"
mv "$tmp/other.snap" "$y"
keeps "another snapshot of that name"
cp --sparse=always "$tmp/copy.snap" "$y"
learner
echo precious >"$tmp/precious"
mv "$tmp/precious" "$y"
keeps "a file that is no snapshot"
cp --sparse=always "$tmp/copy.snap" "$y"
learner
rm "$y"
keeps "a file that was removed"
exec 6<&-

# -- a limit ----------------------------------------------------------------------

# As if there were much to copy. strace itself waits until that is over.
rm -f "$events"
run strace -f -o /dev/null -e inject=madvise:delay_enter=8s \
	"$MOTE" --restore "$x" --sandbox off --timeout 1s --events "$events"
is "$(reason)" timeout "--timeout ends mote while pages are copied"
like "$(cat "$err")" '^mote: --timeout passed before the guest was started' \
	"... and does not wait for the guest"

# -- what fails -----------------------------------------------------------------

sum=$(cksum <"$x")
run strace -f -o /dev/null -e inject=pwrite64:error=ENOSPC \
	"$MOTE" --restore "$x,learn" --sandbox off
is "$status $(cat "$out")" "0 written" "a full disk does not change how it ends"
like "$(cat "$err")" "^mote: snapshot .*: nothing was learned: No space left" \
	"but is said"
is "$(cksum <"$x") $(find "$tmp" -name '.x*' | wc -l)" "$sum 0" \
	"the old file is as it was, and alone"

# refused WORDS TEXT
refused() {
	like "$status $(cat "$err")" "^125 mote: $1" "refused: $2"
}
for bad in '2 0' '4294967295 1' '16384 1' '16383 2' '1 4294967295' '300 1'; do
	cp --sparse=always "$x" "$tmp/bad.snap"
	# shellcheck disable=SC2086 # two words
	damaged $bad
	mote --restore "$tmp/bad.snap"
	refused "snapshot .*: its learned pages: they are" "a run of $bad"
done
mote --restore "$x,learn,copy"
refused "--restore .*learn.*all pages are there" "learn with copy"
mote --restore "$x,learn,prefault"
refused "--restore .*learn.*all pages are there" "learn with prefault"
mote --restore fd=5,learn
refused "--restore .*learn.*needs a PATH" "learn with a descriptor"
mote --restore "$x,learn" --snapshot "$tmp/y.snap"
refused "--restore .*learn.*with --snapshot" "learn with --snapshot"

done_testing
