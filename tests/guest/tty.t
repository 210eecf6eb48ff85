#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# At a terminal: raw while the guest runs, and as it was before on every way
# out. build/tools/pty compares the settings and says 99 where they differ.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

# typed TEXT PTY-OPTION... -- GUEST ARG...: with TEXT (as printf has it) typed
# after the guest spoke
typed() {
	# shellcheck disable=SC2059 # escapes are wanted
	printf "$1" >"$tmp/typed"
	shift
	pty_options=
	while [ "$1" != -- ]; do
		pty_options="$pty_options $1"
		shift
	done
	pty_guest=$2
	shift 2
	rm -f "$events"
	# shellcheck disable=SC2086 # words
	run "$TOOLS/pty" -w "$said" $pty_options "$MOTE" \
		-k "$GUESTS/$pty_guest.elf" -m 64M --events "$events" "$@" \
		<"$tmp/typed"
}

said='echo'
typed 'by hand q' -- echo
ends 0 poweroff "poweroff leaves the terminal as it was"
like "$(tr -d '\r' <"$out")" '^by hand q$' "what is typed on a terminal arrives once"
typed 'a\003b\032c\004d\021\023\034\177e\r\nq' -- echo
is "$status $(tr -d '\r' <"$out" | sed -n 's/^echo \([0-9]*\)$/\1/p')" "0 15" \
	"keys that mean something to a terminal are the guest's"
typed '\001x' -- echo
ends 130 signal "Ctrl-A x ends the guest"
typed '\001\001q' -- echo
is "$status $(sed -n 's/^echo \([0-9]*\).*$/\1/p' "$out")" "0 2" \
	"Ctrl-A twice is one Ctrl-A"
typed '' -k 11 -- echo
is "$status $(reason)" "125 error" "a crash of mote's leaves the terminal as it was"
typed '' -k 7 -- echo
is "$status $(reason)" "125 error" "a bus error of mote's leaves the terminal as it was"
typed '' -k 6 -- echo
is "$status $(reason)" "125 error" "an abort of mote's leaves the terminal as it was"
typed '' -k 1 -- echo
ends 129 signal "a hangup leaves the terminal as it was"
said=hanging
typed '' -- hang --timeout 500ms
ends 124 timeout "a timeout leaves the terminal as it was"
said=jumping
typed '' -- fetch
ends 123 crash "a guest that crashes leaves the terminal as it was"
said=panic
typed '' -- panic
ends 123 panic "a guest that panics leaves the terminal as it was"
said=by
typed '' -- reset -a by=triple
ends 123 crash "a triple fault leaves the terminal as it was"
said=status
typed '' -- exit -a status=42
ends 42 exited "an exit status leaves the terminal as it was"
said=mote:
typed '' -- hello -i "$tmp/missing"
ends 125 error "bad flags leave the terminal as it was"
said=button
typed '' -k 15 -- button
ends 0 poweroff "the power button leaves the terminal as it was"

done_testing
