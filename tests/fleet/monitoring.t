#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What boot/fleet/monitoring makes of guests' events: metrics by mote-metrics and by
# a real mtail, which promtool accepts and which say what the guests did; a
# dashboard that asks for nothing else; and snmpd's answers.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"

for program in mtail promtool snmpget /usr/sbin/snmpd; do
	command -v $program >/dev/null || {
		echo "1..0 # SKIP there is no $program here; 'tests/deps/packages install fleet' installs it"
		exit 0
	}
done

here=boot/fleet/monitoring
metrics=$PWD/$here/mote-metrics
all=$tmp/log/events
prom=$tmp/prom/mote.prom
mkdir "$tmp/log" "$tmp/prom"
: >"$all"

# -- what there is to see -----------------------------------------------------

# update: the metrics, from what has come since the last time
update() {
	err=$tmp/update.err
	status=0
	timeout "$LIMIT" "$metrics" "$all" "$prom" 2>"$err" || status=$?
}

# rows METRIC [FILE]: its values, in order, each with its labels
rows() {
	grep "^$1[{ ]" "${2:-$prom}" | sort
}

# value METRIC: all of its values added
value() {
	awk -v metric="$1" '{ split($1, part, "{") }
		part[1] == metric { sum += $NF } END { print sum + 0 }' "$prom"
}

# told OBJECT FIELD: what all guests have said at their ends, added, by a reader
# that knows nothing of differences
told() {
	jq -s "[.[] | select(.event == \"exit\") |
		to_entries[] | select(.key | test(\"^$1[0-9]*$\")) |
		.value[\"$2\"] // 0] | add // 0" "$all"
}

# see NAME GUEST ARG...: a guest, with its output in $tmp/NAME.out
see() {
	see_name=$1
	see_guest=$2
	shift 2
	"$MOTE" -k "$GUESTS/$see_guest.elf" -m 64M --name "$see_name" \
		--events "$all" "$@" >"$tmp/$see_name.out" 2>"$tmp/$see_name.err"
}

# -- mtail, which is there before the guests ----------------------------------

mtail_pid='' snmp_pid=''
end_all() {
	# shellcheck disable=SC2086 # words, or none
	[ -z "$mtail_pid$snmp_pid" ] || kill $mtail_pid $snmp_pid 2>/dev/null
	wait 2>/dev/null
	tap_end
}
trap end_all EXIT
mtail --logtostderr --address 127.0.0.1 --port 0 --emit_prog_label=false \
	--progs $here/mote.mtail --logs "$all" 2>"$tmp/mtail.log" &
mtail_pid=$!
mtail_listens() {
	mtail_port=$(sed -n 's/.*Listening on 127\.0\.0\.1:\([0-9]*\).*/\1/p' \
		"$tmp/mtail.log")
	[ -n "$mtail_port" ]
}
ok "mtail takes the program" await mtail_listens

# from_mtail: its metrics, as they are now
from_mtail() {
	# shellcheck disable=SC2016 # Perl's
	perl -MHTTP::Tiny -e 'print HTTP::Tiny->new->get(shift)->{content}' \
		"http://127.0.0.1:$mtail_port/metrics" >"$tmp/mtail.prom"
}

# -- guests -------------------------------------------------------------------

update
is "$status $(cat "$err")" "0 " "a file without events makes metrics"
is "$(promtool check metrics <"$prom" 2>&1)" "" "and promtool accepts those"

truncate -s 1M "$tmp/disk" "$tmp/second"
for n in 1 2 3; do
	see "job-$n" exit -a status=$n
done
see job-4 panic
see job-5 hang --timeout 1s
see job-6 nothing
see job-8 reset -a by=triple
see disks virtio_block -d "$tmp/disk" -d "$tmp/second,ro" # it reads and writes
update
is "$status $(cat "$err")" "0 " "metrics are made of guests' events"
is "$(promtool check metrics <"$prom" 2>&1)" "" "promtool accepts them"
is "$(rows mote_guests_ended_total)" \
	'mote_guests_ended_total{name="disks",reason="poweroff",status="0"} 1
mote_guests_ended_total{name="job",reason="crash",status="123"} 1
mote_guests_ended_total{name="job",reason="error",status="125"} 1
mote_guests_ended_total{name="job",reason="exited",status="1"} 1
mote_guests_ended_total{name="job",reason="exited",status="2"} 1
mote_guests_ended_total{name="job",reason="exited",status="3"} 1
mote_guests_ended_total{name="job",reason="panic",status="123"} 1
mote_guests_ended_total{name="job",reason="timeout",status="124"} 1' \
	"how guests have ended is told by reason and status"
is "$(rows mote_guests_started_total)" 'mote_guests_started_total{name="disks"} 1
mote_guests_started_total{name="job"} 6' \
	"names that differ by a number are one label, and what could not start did not"
is "$(value mote_serial_out_bytes_total)" \
	"$(cat "$tmp"/job-*.out "$tmp/disks.out" | wc -c)" \
	"the bytes of the serial port are those that came out of it"
ok "a disk was read and written" [ "$(value mote_disk_reads_total)" -gt 0 ] &&
	[ "$(value mote_disk_writes_total)" -gt 0 ]
is "$(rows mote_disk_written_bytes_total | sed 's/ .*//')" \
	'mote_disk_written_bytes_total{name="disks",device="disk0"}
mote_disk_written_bytes_total{name="disks",device="disk1"}' \
	"each disk is a label"
before=$(cat "$prom")
update
is "$(cat "$prom")" "$before" "what was read is not counted again"

# -- a guest that runs --------------------------------------------------------

# Its counters are those of now, and then its last ones.
guest_start button --name service --events "$all" --vsock "$tmp/sock"
ready_service() {
	grep -q '"event":"ready".*"name":"service"' "$all"
}
# All of its line: it does that when it is ready.
has_printed() {
	[ "$(wc -l <"$out")" -ge 1 ]
}
counted() {
	[ "$(grep -c '"event":"counters".*"name":"service"' "$all")" -ge "$1" ]
}
await ready_service
await has_printed
kill -USR2 "$pid"
await counted 1
update
is "$(rows mote_guests_running)" 'mote_guests_running{name="disks"} 0
mote_guests_running{name="job"} 0
mote_guests_running{name="service"} 1' "a guest that runs is counted"
is "$(rows mote_guest_ready_seconds_count)" \
	'mote_guest_ready_seconds_count{name="service"} 1' "as one that is ready"
like "$(rows mote_guest_ready_seconds_bucket)" \
	'name="service",le="\+Inf"} 1' "a histogram has how long that took"
is "$(rows mote_serial_out_bytes_total | grep service)" \
	"mote_serial_out_bytes_total{name=\"service\"} $(wc -c <"$out")" \
	"and so are its counters so far"

kill -USR2 "$pid"
await counted 2
update
is "$(rows mote_serial_out_bytes_total | grep service)" \
	"mote_serial_out_bytes_total{name=\"service\"} $(wc -c <"$out")" \
	"counters are added once, however often they are told"
kill -TERM "$pid"
guest_end
is "$status" 0 "the guest powers off"
update
is "$(rows mote_guests_running | grep service)" \
	'mote_guests_running{name="service"} 0' "then it runs no more"
is "$(rows mote_serial_out_bytes_total | grep service)" \
	"mote_serial_out_bytes_total{name=\"service\"} $(wc -c <"$out")" \
	"and what it has done since is added"

# -- all counters -------------------------------------------------------------

wrong=
for pair in disk:reads disk:read_bytes disk:writes disk:written_bytes \
	disk:flushes disk:discards disk:discarded_bytes disk:errors \
	disk:throttled vsock:streams vsock:refused vsock:rx_bytes \
	vsock:tx_bytes serial:in_bytes serial:out_bytes serial:dropped_bytes \
	exits:pio exits:mmio exits:signal; do
	got=$(value "mote_${pair%:*}_${pair#*:}_total")
	wanted=$(told "${pair%:*}" "${pair#*:}")
	[ "$got" = "$wanted" ] || wrong="$wrong $pair: $got, not $wanted;"
done
[ "$(value mote_exits_total)" = "$(told exits total)" ] ||
	wrong="$wrong exits:total"
is "$wrong" "" "each sum is that of what the guests have told at their ends"

# Names that are not in this list yet: what counters.h has, each as an event.
names=$(awk '/^#define COUNTERS_OF_/ { of = tolower(substr($2, 13)); sub(/\(.*/, "", of) }
	/COUNTER\([A-Z_]+, "/ { split($0, part, "\""); print of, part[2] }' \
	cpu/loop/counters.h)
like "$(echo "$names" | wc -l)" '^(3[3-9]|[4-9][0-9])$' "counters.h has all counters"
# line DEVICES: an exit event with every counter, each with a value of its own
line() {
	echo "$names" | jq -Rnc --argjson devices "$1" '
		[inputs | split(" ")] as $names |
		reduce range($names | length) as $i (
			{event: "exit", reason: "exited", status: 0, t_us: 1000000,
				time: "2026-01-01T00:00:00.000000Z", pid: 1, name: "made-1"};
			reduce $devices[$names[$i][0]][] as $device (.;
				.[$device][$names[$i][1]] = 1000 + $i))'
}
line '{"disk": ["disk0", "disk1"], "net": ["net0"], "vsock": ["vsock"],
	"serial": ["serial"], "exits": ["exits"], "process": ["process"]}' >>"$all"
update
is "$(promtool check metrics <"$prom" 2>&1)" "" \
	"promtool accepts metrics of all counters"
# metric_of OBJECT FIELD
metric_of() {
	case $2 in
	total) echo "mote_$1_total" ;;
	open | *peak*) echo "mote_$1_$2" ;;
	*_us) echo "mote_$1_${2%_us}_seconds_total" ;;
	*) echo "mote_$1_$2_total" ;;
	esac
}
echo "$names" | while read -r object field; do
	metric_of "$object" "$field"
done | sort -u >"$tmp/known"
is "$(while read -r metric; do
	rows "$metric" | grep -q 'name="' || echo "$metric"
done <"$tmp/known")" "" "each counter has its metric"

# -- guests that were killed --------------------------------------------------

# made EVENT PID NAME [MEMBERS]: an event as mote writes it
made() {
	echo "{\"event\":\"$1\",${4-}\"t_us\":5,\"time\":\"$(date -u +%FT%T.%6NZ)\",\"pid\":$2,\"name\":\"$3\"}"
}
made start 5000001 killed-1 >>"$all"
made start 1 box-1 >>"$all"
made start 1 box-2 >>"$all"
update
made start 5000001 after-1 >>"$all"
update
is "$(rows mote_guests_running | grep -e killed -e after)" \
	'mote_guests_running{name="after"} 1
mote_guests_running{name="killed"} 0' \
	"a guest that was killed runs until another one has its process number"
is "$(rows mote_guests_running | grep box)" 'mote_guests_running{name="box"} 2' \
	"guests that are the first processes of containers run side by side"
is "$(grep -c killed-1 "$tmp/prom/mote.state")" 0 \
	"and nothing is kept of one that was killed"
made exit 1 box-2 '"reason":"exited","status":0,' |
	sed 's/}$/,"guest":{"ready_peak_bytes":1,"x":1}}/' >>"$all"
made exit 1 box-1 '"reason":"exited","status":0,' >>"$all"
made exit 5000001 after-1 '"reason":"exited","status":0,' >>"$all"
update
is "$(promtool check metrics <"$prom" 2>&1; grep guest_x "$prom")" "" \
	"objects that are none of mote's make no metrics"

# -- mtail has the same -------------------------------------------------------

# sums FILE: without how long things took, which have no end in decimals, labels
# in order; what is 0 in one and not in the other is the same
sums() {
	perl -ne 'next if /^#/ or !/^mote_/ or /_seconds/;
		my ($metric, $labels, $value) = /^(\w+)\{(.*)\} (\S+)$/ or next;
		next if $value == 0;
		print "$metric\{", join(",", sort split /,/, $labels), "} ",
			$value + 0, "\n"' "$1" | sort
}
same() {
	from_mtail && sums "$prom" >"$tmp/sums" &&
		sums "$tmp/mtail.prom" | cmp -s - "$tmp/sums"
}
if await same; then
	pass "mtail, which has read along, has the same metrics"
else
	fail "mtail, which has read along, has the same metrics"
	sums "$tmp/mtail.prom" | diff "$tmp/sums" - | tap_note
	tail -n 5 "$tmp/mtail.log" | tap_note
fi
# What Prometheus stores of mtail has no units to check: only its form.
is "$(promtool check metrics <"$tmp/mtail.prom" 2>&1 |
	grep -E '^mote_|error' | grep -v 'non-histogram')" "" \
	"promtool accepts mtail's"
is "$(rows mote_guest_ready_seconds_count "$tmp/mtail.prom")" \
	"$(rows mote_guest_ready_seconds_count)" "mtail has the histogram, too"

# -- files that are rotated ---------------------------------------------------

mkdir "$tmp/turn"
all=$tmp/turn/events
prom=$tmp/turn/mote.prom
guest_start button --name service --events "$all"
await ready_service
update
# A guest has the file open that it began with.
mv "$all" "$all.1"
see job-7 exit -a status=7
kill -TERM "$pid"
guest_end
update
is "$status$(cat "$err")
$(rows mote_guests_ended_total)" '0
mote_guests_ended_total{name="job",reason="exited",status="7"} 1
mote_guests_ended_total{name="service",reason="poweroff",status="0"} 1' \
	"after a rotation both files are read, each to its end"
mv "$all.1" "$tmp/renamed"
update
echo '{"event":"exit","reason":"exited","status":9,"t_us":1,"pid":9,"name":"job-9"}' \
	>>"$tmp/renamed"
mv "$tmp/renamed" "$all.1"
update
is "$(value mote_guests_ended_total)" 3 \
	"a file that is not there for a moment is read where it was left"
cp "$all.1" "$all.2"
update
is "$(value mote_guests_ended_total)" 3 "a copy is not read"
mv "$all.1" "$all-20260101"
update
is "$(value mote_guests_ended_total)" 3 "nor is a file again by another name"
rm "$all"*
see job-8 exit -a status=8
update
is "$(value mote_guests_ended_total)" 4 "files that have gone are not missed"
all=$tmp/log/events
prom=$tmp/prom/mote.prom

# -- what else may be in the file ---------------------------------------------

before=$(sums "$prom")
printf '%s\n' 'not JSON' '{' '[1]' '7' '{"event":"exit"}' '{"event":7,"pid":"x"}' \
	'{"event":"exit","pid":1,"t_us":"x"}' '{"event":"ready","pid":3}' \
	'{"event":"counters","pid":1,"disk0":{"Reads\"} 7":1,"writes":"7"},"x y":{"a":1}}' \
	'{"event":"exit","reason":"exited","status":1000,"t_us":1,"pid":1}' \
	>>"$all"
printf '{"event":"start","t_us":5,"pid":77,"na' >>"$all"
update
is "$status $(sums "$prom")" "0 $before" \
	"lines that are none of mote's, and half a line, count nothing"
is "$(promtool check metrics <"$prom" 2>&1)" "" "nor do they spoil the metrics"
echo 'me":"late-1"}' >>"$all"
update
is "$(rows mote_guests_started_total | grep late)" \
	'mote_guests_started_total{name="late"} 1' "the rest of a line completes it"
n=0
while [ $n -lt 150 ]; do
	echo "{\"event\":\"start\",\"t_us\":1,\"pid\":$((1000 + n)),\"name\":\"n${n}x\"}"
	n=$((n + 1))
done >>"$all"
update
is "$(rows mote_guests_running | wc -l) $(rows mote_guests_running |
	grep -c '"other"')" "101 1" "there are no more than a hundred names"
before=$(rows mote_guests_started_total | grep '"other"')
: >"$all"
echo '{"event":"start","t_us":1,"pid":5,"name":"anew"}' >>"$all"
update
is "$(rows mote_guests_started_total | grep '"other"')" \
	"${before% *} $((${before##* } + 1))" \
	"a file that was emptied is read from its beginning"
before=$(cat "$prom")
made start 5000002 second >>"$all"
flock "$tmp/prom/mote.state.lock" "$metrics" "$all" "$prom"
is "$? $(cat "$prom")" "0 $before" \
	"a second one at the same time leaves it to the first"
is "$(ls "$tmp/prom")" "mote.prom
mote.state
mote.state.lock" "nothing else is left beside the metrics"

# -- the dashboard ------------------------------------------------------------

board=$here/grafana.json
jq -r '[.panels[].targets[].expr] | .[]' $board >"$tmp/exprs"
# metrics_in FILE
metrics_in() {
	grep -o 'mote_[a-z_]*' "$1" | sed 's/_bucket$//' | sort -u
}
{
	cat "$tmp/known"
	printf '%s\n' mote_guests_started_total mote_guests_ended_total \
		mote_guests_running mote_guest_seconds_total \
		mote_guest_ready_seconds
} | sort >"$tmp/there"
is "$(metrics_in "$tmp/exprs")" "$(cat "$tmp/there")" \
	"the dashboard shows each metric, and none that there is not"
is "$(while read -r metric; do
	rows "$metric" | grep -q . || rows "${metric}_count" | grep -q . ||
		echo "$metric"
done <"$tmp/there")" "" "all that it asks for is in the metrics"
# Grafana's variables in the way that Grafana fills them in
jq '{groups: [{name: "dashboard", rules: [.panels[].targets[] |
	{record: "dashboard:expr:\(.refId | ascii_downcase)",
	expr: (.expr | gsub("\\$__rate_interval"; "5m") | gsub("\\$name"; ".*"))}] |
	to_entries | map(.value + {record: "\(.value.record)\(.key)"})}]}' \
	$board >"$tmp/rules.yml"
like "$(promtool check rules "$tmp/rules.yml" 2>&1)" \
	"SUCCESS: $(wc -l <"$tmp/exprs") rules found" \
	"promtool accepts each of its expressions"
is "$(jq -c '[.schemaVersion >= 36, (.panels | length > 10), .id,
	([.panels[].id] | length == (unique | length)),
	([.panels[] | .datasource.uid, .targets[].datasource.uid] | unique),
	([.panels[] | .title and .gridPos.w and .type and .fieldConfig] | all),
	([.templating.list[] | [.name, .type]])]' $board)" \
	'[true,true,null,true,["${datasource}"],true,[["datasource","datasource"],["name","query"]]]' \
	"it can be imported: no number of its own, and the source is a variable"

# -- SNMP ---------------------------------------------------------------------

snmp=$tmp/snmp
mkdir "$snmp"
export SNMP_PERSISTENT_DIR="$snmp/kept" SNMPCONFPATH="$snmp" MIBS=
sed "s|/var/lib/prometheus/node-exporter/mote.prom|$prom|" $here/snmpd.conf \
	>"$snmp/snmpd.conf"
is "$(grep -c "$prom" "$snmp/snmpd.conf")" 5 "snmpd has five lines"
echo "rocommunity public 127.0.0.1" >>"$snmp/snmpd.conf"
# net-snmp cannot be given port 0: one that is free now.
snmp_port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(
	Proto => "udp", LocalAddr => "127.0.0.1")->sockport')
/usr/sbin/snmpd -f -Lo -C -c "$snmp/snmpd.conf" -p "$snmp/pid" \
	"udp:127.0.0.1:$snmp_port" >"$snmp/log" 2>&1 &
snmp_pid=$!

# asked NAME: nsExtendOutLine."NAME".1, by number: the names of objects are in
# packages that are not free
asked() {
	snmpget -v2c -c public -r 1 -t 5 -Oqv -m '' "127.0.0.1:$snmp_port" \
		".1.3.6.1.4.1.8072.1.3.2.4.1.2.${#1}.$(printf %s "$1" | od -An -v -tu1 |
			xargs | tr ' ' .).1" 2>>"$snmp/asked" | tr -d '"'
}
answers() {
	[ -n "$(asked mote-running)" ]
}
ok "snmpd answers" await answers
is "$(asked mote-running) $(asked mote-started) $(asked mote-ended)" \
	"$(value mote_guests_running) $(value mote_guests_started_total) $(value mote_guests_ended_total)" \
	"it tells how many guests run, have started and have ended"
is "$(asked mote-failed)" 3 "it tells how many failed by the machine or a kernel"
is "$(asked mote-disk-errors)" "$(value mote_disk_errors_total)" \
	"it tells the disks' errors"

done_testing
