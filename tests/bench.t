#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What tests/bench/table makes of measurements: from lines that were recorded, the
# medians, quartiles and ratios, as text, JSON and a chart; and that the program
# that measures a start does so, and goes on where a command fails.

# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"
mkdir "$tmp/made"

# table LINES...: $tmp/made has what it makes
table() {
	printf '%s\n' "$@" >"$tmp/figures"
	rm -f "$tmp"/made/*
	run tests/bench/table "$tmp/figures" "$tmp/made" 'a "machine"'
}

# json EXPRESSION
json() {
	jq -c "$1" "$tmp/made/bench.json" 2>&1
}

table "first us mote 10 50 30 20 40" \
	"first us limit 10 10 10 10 10" \
	'first us lkvm ! it says "no" \ and ends' \
	"first-exact kinsn mote 1.5 2.5" \
	"first-exact kinsn limit 1 2" \
	"launches 1/s mote 50 60" \
	"launches 1/s limit 100 100" \
	"memory-none KiB mote 100" \
	"randread-1 us mote 4" \
	"randread-1 us qemu 8 8"
is "$status $(cat "$err")" "0 " "a table is made of lines that are as they should be"
ok "the text on standard output is that of the file" \
	cmp "$out" "$tmp/made/bench.txt"
is "$(json '.machine')" '"a \"machine\""' "jq takes the JSON, quotes and all"
is "$(json '[.rows[].row]')" \
	'["first","first-exact","launches","randread-1","memory-none"]' \
	"rows come in the order of tests/bench/rows, the exact one after its row"
is "$(json '.rows[0].sides[0]')" \
	'{"side":"mote","turns":5,"least":10,"quartiles":[20,30,40],"most":50,"ratio":[2,3,4]}' \
	"a side has its quartiles, its extremes and its ratio"
is "$(json '.rows[0].sides[2]')" \
	'{"side":"lkvm","failed":"it says \"no\" \\ and ends"}' \
	"a side that failed says why"
is "$(json '.rows[1].sides[0].ratio')" '[1.3125,1.375,1.4375]' \
	"a ratio is the median of those of each turn, not of the medians"
is "$(json '.rows[3].sides[0] | has("ratio")')" false \
	"sides with different numbers of turns have no ratio"
is "$(json '.rows[4].sides')" \
	'[{"side":"mote","turns":1,"least":100,"quartiles":[100,100,100],"most":100}]' \
	"one value is its own median"
is "$(sed -n '/^launches/,/^$/p' "$out" | sed 's/  */ /g')" \
	"launches a second, 8 at a time
 1/s quartiles turns ratio to limit, more is better
 mote 55.0 52.5..57.5 2 0.550 0.525..0.575
 limit 100 100..100 2" "the text has a row's medians, quartiles, turns and ratios"
ok "the text says why a side failed" \
	grep -qF 'lkvm               -- it says "no" \ and ends' "$out"
is "$(cat "$tmp/made/bench.dat")" "row mote
first 3
first-exact 1.375
launches 1.81818" "the chart has costs: what is better for being more is turned over"
ok "gnuplot draws the chart" grep -q '<svg' "$tmp/made/bench.svg"
ok "the chart names its rows" grep -q first-exact "$tmp/made/bench.svg"

# refused LINE WHAT
refused() {
	table "$1"
	is "$status $(cat "$err")" "1 table: $tmp/figures:1: $2" "refused: $2"
	ok "no chart of what is refused" [ ! -e "$tmp/made/bench.svg" ]
}
refused "nothing us mote 1" "tests/bench/rows has no row nothing"
refused "first us mote" "not ROW UNIT SIDE VALUE..."
refused "first us mote 1 2x" "not a number: 2x"
table "first us mote 1" "first ms limit 1"
like "$(cat "$err")" ':2: row first is in us, not in ms$' \
	"refused: two units in a row"
table "first us mote 1" "first us mote 2"
like "$(cat "$err")" ':2: row first has side mote already$' \
	"refused: a side twice"
is "$(sed -n '/^[a-z]/s/	.*\| .*//p' tests/bench/rows | sort | uniq -d)" "" \
	"no row is there twice"

# -- start --------------------------------------------------------------------

# A guest's first byte, and what a monitor may print before it.
run build/bench/start 3 good /bin/sh -c "printf 'log\\n\\001'" -- \
	bad /bin/false -- number /bin/sh -c "printf '\\001'; echo \$0 >>$tmp/turns" @
is "$status" 0 "start goes on where a command fails"
is "$(sed -E 's/( [0-9]+\.[0-9]){3}$/ VALUES/' "$out")" "first us good VALUES
end us good VALUES
cpu us good VALUES
faults n good VALUES
first us bad ! wait status 0x100 and no byte of the guest
end us bad ! wait status 0x100 and no byte of the guest
cpu us bad ! wait status 0x100 and no byte of the guest
faults n bad ! wait status 0x100 and no byte of the guest
first us number VALUES
end us number VALUES
cpu us number VALUES
faults n number VALUES" "start prints a value a turn, or why there is none"
is "$(tr '\n' ' ' <"$tmp/turns")" "0 1 2 3 4 5 " "start numbers its turns"
run build/bench/start 2 mote "$MOTE" -k build/bench/first.elf -m 64M -- \
	limit build/bench/limit build/bench/first.elf 64
is "$status $(grep -c '!' "$out") $(wc -l <"$out")" "0 0 8" \
	"mote and limit run the guest that starts are measured with"
run build/bench/start 9 mote "$MOTE" -k build/bench/first.elf -m 64M \
	--sandbox off -- limit build/bench/limit build/bench/first.elf 64
# pages SIDE: the median
pages() {
	sed -n "s/^faults n $1 //p" "$out" | tr ' ' '\n' | sort -n | sed -n '5s/[.].*//p'
}
more=$(($(pages mote) - $(pages limit)))
ok "a start touches 26 pages at most that the barest monitor does not: $more" \
	[ $((more > 0 && more <= 26)) = 1 ]
"$MOTE" -k build/bench/clone.elf -m 64M --snapshot "$tmp/snap,on=ready" >"$out" 2>"$err"
is "$? $(cat "$out" "$err")" "0 " "the guest that restores are measured with is saved"
run build/bench/start 2 mote "$MOTE" --restore "$tmp/snap" -- \
	limit build/bench/limit_restore "$tmp/snap"
is "$status $(grep -c '!' "$out") $(wc -l <"$out")" "0 0 8" \
	"mote and limit_restore restore it"
"$MOTE" -k build/bench/first.elf -m 64M >"$out" 2>"$err"
is "$? $(od -An -tx1 "$out")$(cat "$err")" "0  01" \
	"that guest sends its byte and ends mote with status 0"

# -- sides --------------------------------------------------------------------

# config WORD=VALUE...: Firecracker's configuration, as jq writes it
config() {
	env -i PATH="$PATH" initrd= disk= tap= vsock= words=quiet mem=64 cpus=1 \
		"$@" sh -c '. tests/bench/sides; firecracker_config /vmlinux' |
		jq -c . 2>&1
}
boot='{"boot-source":{"kernel_image_path":"/vmlinux","boot_args":"console=ttyS0 reboot=k panic=-1 quiet"}'
is "$(config)" \
	"$boot,\"machine-config\":{\"vcpu_count\":1,\"mem_size_mib\":64},\"drives\":[]}" \
	"Firecracker's configuration is JSON without any device"
is "$(config initrd=/i disk=/d tap=t vsock=/v cpus=2 |
	jq -c '.["boot-source"].initrd_path, .["machine-config"].vcpu_count,
		.drives[0].path_on_host, .["network-interfaces"][0].host_dev_name,
		.vsock.uds_path' | tr '\n' ' ')" '"/i" 2 "/d" "t" "/v" ' \
	"and with all of them"

# -- a short run --------------------------------------------------------------

mkdir "$tmp/empty" "$tmp/peers"
run env BENCH_OUT="$tmp/made" PEERS="$tmp/empty" tests/bench/run 1 1 launch
is "$status $(cat "$err")" "1 bench: PEERS=$tmp/empty has no firecracker, jailer, lkvm or cloud-hypervisor" \
	"a directory without any peer is an error"

printf '#!/bin/sh\nexit 3\n' >"$tmp/peers/lkvm"
chmod +x "$tmp/peers/lkvm"
LIMIT=120
run env BENCH_OUT="$tmp/made" PEERS="$tmp/peers" tests/bench/run 2 1 launch
is "$status" 0 "a peer that fails does not end the measurements"
is "$(json '[.rows[].row]')" \
	'["first","cpu","end","faults","restore-128m","restore-4g","first-user","sandbox","launches","size","memory-clone"]' \
	"a short run has all rows of a start"
is "$(json '.rows[0].sides | map(.side)')" \
	'["mote","no-sandbox","limit","qemu","lkvm"]' \
	"a start is measured of mote, limit, QEMU and the peer that is there"
is "$(json '.rows[0].sides[4].failed')" \
	'"wait status 0x300 and no byte of the guest"' \
	"the row says how the peer failed"
is "$(json '[.rows[].sides[] | select(.side == "mote") | has("quartiles")] | all')" \
	true "no figure of mote's is missing"

done_testing
