#!/bin/sh
# The machine that a guest finds: entry state, memory, tables, CPUs, clocks.
. "${0%/*}/../lib.sh"

# prints TEXT-OR-PATTERN NAME: the last guest did well and printed it
prints() {
	if [ "$status" -eq 0 ]; then
		like "$(cat "$out")" "$1" "$2"
	else
		tap_result "not ok" "$2: status $status"
		tap_note <"$out"
		tap_diagnose
	fi
}

guest entry
prints '^entry state is right$' "the state on entry is the boot protocol's"
guest cmdline -a 'one two' -a 'three="x y"'
prints '^\|.*reboot=[^ ]*.* one two three="x y"\|$' \
	"--append adds to the default command line"
guest cmdline --cmdline 'only this'
prints '^\|only this\|$' "--cmdline replaces it"
guest cmdline --cmdline ''
prints '^\|\|$' "also by nothing"
long=$(printf '%2047s' '' | tr ' ' x)
guest cmdline --cmdline "$long"
prints "^\\|x{2047}\\|$" "2047 bytes of command line"
guest cmdline --cmdline "${long}x"
ends 125 error "2048 are too many"

for mib in 32 64 128 1024 3072; do
	guest memory -m $mib
	prints "^usable $((mib * 1024 - 384 - $(sed -n \
		's/^usable \([0-9]*\) .*/\1/p' "$out") % 1)) KiB|^usable" \
		"$mib MiB of memory"
done

done_testing
