#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A hundred clones of one guest at once, which says that it is ready as mote's
# init does, and is told what each is to run and who it is.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

clones=${TEST_CLONES:-100}
snap=$tmp/snap

# save NAME[,KEY...] ARG...: keys are those of --snapshot
save() {
	save_name=${1%%,*}
	save_keys=${1#"$save_name"}
	shift
	rm -f "$snap"
	mote -k "$GUESTS/$save_name.elf" -m 64M --snapshot "$snap$save_keys" \
		"$@" </dev/null
}

restore() {
	mote --restore "$snap" "$@" </dev/null
}

# told TYPE: what the clone was told of that type, one in a line
told() {
	sed -n "s/^$1//p" "$out"
}

save virtio_vsock -a clone=1 -e A=1 -- first 41
ends 0 snapshot "a guest that is ready for its command is saved"
is "$(wc -c <"$out")" 0 "and its command says nothing"

restore
ends 41 exited "without a command of its own a clone has the first one"
is "$(told a) $(told e | tail -n 1)" "first
41 A=1" "with its environment"
is "$(told H)" "" "and its name"

restore --name clone-x -e B=2 --workdir /src -- other 42
ends 42 exited "or another one"
is "$(told a) $(told e | tail -n 1) $(told w) $(told H)" "other
42 B=2 /src clone-x" "with an environment, a directory and a name of its own"
like "$(cat "$events")" '"event":"ready"' "and that it is ready is said"

# The one that is saved may go on, by the stream that it has.
save virtio_vsock,then=continue -a 'clone=1 command=7' -- first 41
ends 7 exited "a guest that is saved and goes on ends as it would have"
is "$(cat "$out")" "words of a command" "with what its command says"
restore -- other 43
ends 43 exited "and its clones as theirs do"

# All at once. A host that takes down so many machines may be slower at that than
# mote likes, and mote then says so.
slow='the host does not finish what the guest had begun'
i=0
while [ "$i" -lt "$clones" ]; do
	(
		status=0
		"$MOTE" --restore "$snap" --timeout "${LIMIT}s" --name "c$i" \
			-e "WHO=$i" -- run "$i" </dev/null >"$tmp/out$i" \
			2>"$tmp/err$i" || status=$?
		echo "$status" >"$tmp/status$i"
	) &
	i=$((i + 1))
done
wait
good=0 i=0
while [ "$i" -lt "$clones" ]; do
	out=$tmp/out$i
	err=$tmp/err$i
	if [ "$(cat "$tmp/status$i")" = "$i" ] &&
		[ "$(told a) $(told H)" = "run
$i c$i" ] && grep -qx "eWHO=$i" "$out" && ! grep -v "$slow" "$err"; then
		good=$((good + 1))
	else
		echo "# clone $i: status $(cat "$tmp/status$i"), it says:"
		tap_note <"$out"
		tap_diagnose
	fi
	i=$((i + 1))
done
is "$good" "$clones" "$clones clones at once have each its command, status and name"
# all TYPE EXPRESSION: how many are different
all() {
	cat "$tmp"/out[0-9]* | grep -Ex "$1" | sort -u | wc -l
}
is "$(all 'R[0-9a-f]{64}')" "$clones" "no two have the same random bytes"
is "$(all 'G[0-9a-f]{32}\+')" "$clones" \
	"no two have the same generation, and each is told that it is new"

# -- what is refused ----------------------------------------------------------

out=$tmp/out
err=$tmp/err
# refused TEXT NAME
refused() {
	is "$status" 125 "$2: status 125"
	like "$(cat "$err")" "^mote: $1" "$2: the message"
	is "$(wc -l <"$err")" 1 "$2: one line"
}
restore --events fd=1 -- run 1
refused '--events takes fd=1, which is stdout of the command' \
	"events where the command's output goes"
restore --snapshot "$tmp/again,on=signal"
refused ".*cannot be used with a command" "a snapshot by a signal, of a command"
restore --snapshot "$tmp/again" -- run 1
refused "--snapshot on: 'ready' was when" "to be ready once more"
save ready,on=ready
restore -- run 1
refused "snapshot .*: it was not taken when mote's init was ready" \
	"a command for a guest without mote's init"

done_testing
