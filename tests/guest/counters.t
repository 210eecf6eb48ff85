#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What --events counts is what a guest did, to the last byte and operation: the
# guest (counters.c) says what it asked for and was told.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"
LIMIT=120
servers=
# shellcheck disable=SC2086 # words
trap '[ -z "$servers" ] || kill $servers 2>/dev/null; tap_end' EXIT

# -- what events say -------------------------------------------------------------

cat >"$tmp/events.pm" <<'END'
package events;
use strict;
use warnings;
use JSON::PP;
use base 'Exporter';
our @EXPORT = qw(lines said);

# The events of a file, each a whole line.
sub lines {
	open my $file, '<', shift or die;
	my @lines = <$file>;
	for (@lines) {
		die "not a line of 4096 bytes at most: $_"
			if length > 4096 || !/\n\z/;
	}
	return map { decode_json($_) } @lines;
}

# What the guest says that it did.
sub said {
	open my $file, '<', shift or die;
	my ($line) = grep { /^\{/ } <$file>;
	return decode_json($line);
}
1;
END

# events PERL ARG...: the Perl program agrees with the events, @e; @ARGV is ARGs
events() {
	events_program=$1
	shift
	perl -I"$tmp" -Mevents -we 'use strict;
		my @e = lines(shift);
		my %exit = %{$e[-1]};
		die "the last one is no exit" unless $exit{event} eq "exit";
		'"$events_program" "$events" "$@" 2>"$tmp/why" && return
	sed 's/^/# /' "$tmp/why"
	return 1
}

# agrees: the exit event counts what the guest says
agrees() {
	# shellcheck disable=SC2016 # Perl
	events 'my $said = said($ARGV[0]);
		for my $object (sort keys %$said) {
			for my $name (sort keys %{$said->{$object}}) {
				my $got = $exit{$object}{$name};
				my $did = $said->{$object}{$name};
				warn "$object.$name: ", $got // "none",
					", and the guest says $did\n"
					if !defined $got || $got != $did;
			}
		}
		die "\n" if -s "'"$tmp/why"'"' "$out"
}

# counter OBJECT NAME: of the exit event
counter() {
	# shellcheck disable=SC2016 # Perl
	events 'print $exit{$ARGV[0]}{$ARGV[1]}, "\n"' "$@"
}

# -- the host's side ---------------------------------------------------------------

# server PATH COMMAND...: it makes a socket there
server() {
	server_path=$1
	shift
	rm -f "$server_path"
	"$@" 2>/dev/null &
	servers="$servers $!"
	await test -S "$server_path"
}

# What comes goes back.
echo_frames() {
	server "$tmp/net" socat "UNIX-LISTEN:$tmp/net" PIPE
}
server "$tmp/vs_1234" socat "UNIX-LISTEN:$tmp/vs_1234,fork" PIPE

images() {
	for image in a b c d; do
		truncate -s 0 "$tmp/$image.img"
		head -c 1M /dev/urandom >"$tmp/$image.img"
	done
}
images

# all_devices ENGINE QUEUES ARG...
all_devices() {
	all_with=engine=$1,queues=$2
	shift 2
	echo_frames
	guest counters -d "$tmp/a.img,$all_with" \
		-d "$tmp/b.img,ephemeral,$all_with" -d "$tmp/c.img,ro,$all_with" \
		-d "$tmp/d.img,direct,$all_with" -n "unix=$tmp/net" \
		--vsock "$tmp/vs" "$@"
}

# -- to the last byte ---------------------------------------------------------------

for engine in uring threads; do
	for queues in 1 4; do
		what="engine=$engine, queues=$queues"
		all_devices $engine $queues -a "rounds=12 seed=$queues"
		ends 0 poweroff "$what: a guest with all devices ends well"
		ok "$what: all devices count what the guest did" agrees
		cp "$events" "$tmp/all.events"
		ok "$what: all that comes of the serial port was counted" \
			[ "$(counter serial out_bytes)" = "$(stat -c %s "$out")" ]
		# A test of no errors would be one of less.
		# shellcheck disable=SC2016 # Perl
		ok "$what: requests of all kinds were done, and some failed" \
			events 'for my $disk ("disk0", "disk1") {
				for (keys %{$exit{$disk}}) {
					die "$disk.$_" unless /throttled/ ||
						$exit{$disk}{$_};
				}
			}
			die if $exit{disk2}{writes} || !$exit{disk2}{reads};
			die if $exit{vsock}{refused} != 12;
			die if grep { /throttled/ && $exit{disk0}{$_} }
				keys %{$exit{disk0}}'
	done
done

all_devices auto 2 -c 2 -a 'rounds=12 seed=77'
ok "two CPUs, engine=auto: all devices count what the guest did" agrees
echo_frames
guest counters -d "$tmp/a.img,iops=500,bw=4M" -d "$tmp/b.img,ephemeral,iops=500" \
	-n "unix=$tmp/net,pps=200,bw=1M" --vsock "$tmp/vs" -a 'rounds=6 seed=5'
ok "with limits: all devices count what the guest did" agrees

# The burst of such a limit is one: the first goes, each of the others waits.
server "$tmp/net" perl -e 'use IO::Socket::UNIX;
	my $s = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1)->accept;
	my $all = "";
	while (sysread $s, my $part, 65536) {
		$all .= $part;
		next if length $all < 3 * 64;
		syswrite $s, $all;
		$all = "";
	}' "$tmp/net"
guest counters -d "$tmp/a.img,iops=1" -d "$tmp/c.img,ro,bw=512" -d "$tmp/b.img" \
	-n "unix=$tmp/net,pps=1" -a 'queued=3'
ok "three at once, limited: devices count what the guest did" agrees
is "$(for disk in 0 1 2; do counter disk$disk throttled; done | tr '\n' ' ')" \
	"2 2 0 " "of three requests at once, two wait for iops=1 or bw=512"
is "$(counter net0 tx_throttled) $(counter net0 rx_throttled)" "2 2" \
	"of three packets at once, two wait for pps=1, each way"

# -- the serial port -------------------------------------------------------------------

printf '%1000dq' 0 >"$tmp/in"
guest echo <"$tmp/in"
is "$(counter serial in_bytes) $(counter serial out_bytes)" \
	"1001 $(stat -c %s "$out")" "the serial port counts both ways"
guest hello --serial off
is "$(counter serial out_bytes) $(counter serial dropped_bytes)" "21 21" \
	"what the serial port had nobody for is counted as dropped"

# -- vsock, from the host ------------------------------------------------------------

# dial PORT: what comes of it
dial() {
	perl -MIO::Socket::UNIX -e '$SIG{ALRM} = sub { exit 1 }; alarm 60;
		my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die;
		syswrite $s, "CONNECT $ARGV[1]\n";
		1 while sysread $s, my $text, 4096' "$tmp/vs" "$1"
}

guest_start counters --vsock "$tmp/vs" -a 'rounds=3 clients=4'
await says listening
for port in 52 53 52 54; do
	dial $port
done
guest_end
ends 0 poweroff "a guest that takes clients and refuses some ends well"
ok "streams and refusals from both sides are counted, and what stays open" agrees
is "$(counter vsock streams) $(counter vsock refused) $(counter vsock open)" \
	"5 5 1" "clients that a guest refuses count as those that the host does"

# The stream of a command is one.
rm -f "$events"
run "$MOTE" -k "$GUESTS/virtio_vsock.elf" -m 64M --events "$events" \
	-a command=42 -- a command </dev/null
ends 42 exited "a command ends"
# shellcheck disable=SC2016 # Perl
ok "a command's stream is counted, with what it wrote" \
	events 'my $v = $exit{vsock};
		die unless $v->{streams} == 1 && !$v->{refused} &&
			$v->{tx_bytes} > length("words of a command\n") &&
			$v->{rx_bytes}'
rm -f "$events"
run "$MOTE" -k "$tmp/nothing" --events "$events"
ends 125 error "a kernel that is not there is an error"
# shellcheck disable=SC2016 # Perl
ok "without a machine there is only the process in the event" \
	events 'my @o = grep { ref $exit{$_} } keys %exit;
		die "@o" unless "@o" eq "process"'

# A file that is cut off while it is in use: the host cannot read it any more.
for engine in uring threads; do
	truncate -s 1M "$tmp/cut.img"
	guest_start counters -d "$tmp/cut.img,engine=$engine" --vsock "$tmp/vs" \
		-a 'rounds=20 clients=1 again=1'
	await says listening
	truncate -s 0 "$tmp/cut.img"
	dial 53
	guest_end
	ends 0 poweroff "engine=$engine: a guest lives on where its disk was cut off"
	ok "engine=$engine: what the host could not read is counted as errors" agrees
	like "$(cat "$err")" 'cut.img.*has shrunk' \
		"engine=$engine: there were such errors"
done

# -- again and again -------------------------------------------------------------------

# after N: there are more counters events than that
after() {
	[ "$(grep -c '"event":"counters"' "$events")" -gt "$1" ]
}
state_is() {
	grep -q "^State:[[:space:]]*$1" "/proc/$pid/status"
}
lines_now() {
	grep -c '"event":"counters"' "$events"
}

echo_frames
rm -f "$events"
env --default-signal=INT,QUIT "$MOTE" -k "$GUESTS/counters.elf" -m 64M \
	--events "$events,every=100ms" -d "$tmp/a.img,iops=100" \
	-n "unix=$tmp/net" --vsock "$tmp/vs" -a 'rounds=10000' \
	>"$out" 2>"$err" &
pid=$!
ok "every=100ms writes counters, again and again" await after 3
kill -STOP "$pid"
await state_is T
stopped_at=$(lines_now)
sleep 0.5
is "$(lines_now)" "$stopped_at" "a mote that is stopped writes none"
kill -CONT "$pid"
ok "after SIGCONT it writes them again" await after $((stopped_at + 2))
kill -USR2 "$pid"
ok "SIGUSR2 and every= go together" await after $((stopped_at + 4))
kill -INT "$pid"
guest_end
# shellcheck disable=SC2016 # Perl
ok "no counter goes back from line to line, and the exit event has the most" \
	events 'my %last; my $grew = 0;
		for my $event (grep { $_->{event} =~ /counters|exit/ } @e) {
			for my $o (grep { ref $event->{$_} } keys %$event) {
				for (keys %{$event->{$o}}) {
					next if "$o.$_" eq "vsock.open";
					my $now = $event->{$o}{$_};
					my $was = $last{"$o.$_"} // 0;
					die "$o.$_: $was, $now" if $now < $was;
					$grew++ if $now > $was && $o eq "disk0";
					$last{"$o.$_"} = $now;
				}
			}
		}
		die "nothing grew" if $grew < 4'
# shellcheck disable=SC2016 # Perl
ok "a line has its time, process and kind in front, as all have" \
	events 'for (@e) { die if !/x/ && grep { !defined } @$_{qw(t_us time pid)} }
		open my $f, "<", $ARGV[0] or die;
		while (<$f>) {
			die $_ unless /^\{"event":"(start|ready|counters|exit)",/;
			die $_ if /"exit"/ &&
				!/^\{"event":"exit","reason":"\w+","status":\d+,"t_us":\d+,"time":"[^"]+","pid":\d+,"disk0":\{/;
		}' "$events"

for every in 99ms 0 -1s 1y 366d; do
	run "$MOTE" --check -k "$GUESTS/hello.elf" --events "$tmp/x,every=$every"
	like "$status $(cat "$err")" \
		"^125 mote: --events every: '$every' is not a duration from 100ms to 365d, " \
		"every=$every is refused, and what it may be is said"
done

# -- in another process -------------------------------------------------------------------

images
guest counters -d "$tmp/a.img,ephemeral" -a 'rounds=4 ready=1' \
	--snapshot "$tmp/x.snap,on=ready"
ends 0 snapshot "a guest that has counted is saved"
before=$(counter disk0 read_bytes)
ok "what it did until then is in the exit event" [ "$before" -gt 0 ]
rm -f "$events"
run "$MOTE" --restore "$tmp/x.snap" --events "$events,every=1h"
ok "a guest that is restored counts from 0: what this process did" agrees
ok "a restored guest's serial port counts from 0" \
	[ "$(counter serial out_bytes)" = "$(stat -c %s "$out")" ]

# -- the process -----------------------------------------------------------------------------

rm -f "$events"
run perl -e 'my $much = "x" x 300_000_000; exec @ARGV' "$MOTE" \
	-k "$GUESTS/hello.elf" -m 64M --events "$events"
# shellcheck disable=SC2016 # Perl
ok "the peak of resident memory is mote's, and not of who has started it" \
	events 'my $p = $exit{process}; my $rss = $p->{peak_rss_bytes};
		die $rss if $rss < 100_000 || $rss > 64_000_000;
		die if $p->{user_us} + $p->{system_us} <= 0'
guest hello -m 256M,prefault
ok "the peak of resident memory has what is allocated at once" \
	[ "$(counter process peak_rss_bytes)" -ge 268435456 ]

# Version 1 here; of version 2 is tests/linux/cgroup.t.
group=/sys/fs/cgroup/memory/mote-counters.$$
if [ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ] &&
	mkdir "$group" 2>/dev/null; then
	guest hello -m 64M,prefault --cgroup "$group"
	peak=$(counter process cgroup_peak_bytes)
	ok "the peak of the cgroup that mote moves into is told ($peak)" \
		[ "$peak" -ge 67108864 ] && [ "$peak" -lt 268435456 ]
	rmdir "$group"
else
	pass "the peak of a cgroup of version 1 is told # SKIP none can be made here"
fi

# Nothing of it is there without --events.
"$MOTE" -k "$GUESTS/hang.elf" -m 64M >"$out" 2>"$err" &
pid=$!
await says hanging
is "$(find "/proc/$pid/fd" -lname '*status' -o -lname '*memory*')" "" \
	"without --events nothing is open that would tell of memory"
kill -USR2 "$pid"
kill -INT "$pid"
guest_end
is "$status" 130 "SIGUSR2 without --events does nothing"

# A vCPU's thread crashes: what was counted is told all the same.
guest_start echo -a loop=1 -d "$tmp/a.img"
await says echo
for task in /proc/"$pid"/task/*; do
	[ "$(cat "$task/comm" 2>/dev/null)" != 'vCPU 0' ] ||
		perl -e 'syscall(234, $ARGV[0] + 0, $ARGV[1] + 0, 11) == 0 or die' \
			"$pid" "${task##*/}"
done
guest_end
ends 125 error "a crash of mote's is an error"
# shellcheck disable=SC2016 # Perl
ok "mote that crashes says what it has counted" \
	events 'die unless $exit{exits}{total} && $exit{disk0} && $exit{serial}'

# -- several on one pipe ----------------------------------------------------------------------

mkfifo "$tmp/pipe"
cat "$tmp/pipe" >"$tmp/lines" &
reader=$!
exec 7>"$tmp/pipe"
sixteen=$(for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
	echo "-d $tmp/c.img,ro"
done)
motes=
for n in 1 2 3 4; do
	# shellcheck disable=SC2086 # words
	env --default-signal=INT,QUIT "$MOTE" -k "$GUESTS/hang.elf" -m 64M \
		$sixteen --events fd=7,every=100ms --name "mote-$n" \
		--serial "file=$tmp/out.$n" 2>"$err" &
	motes="$motes $!"
done
for n in 1 2 3 4; do
	await grep -q hanging "$tmp/out.$n"
done
n=0
while [ $n -lt 100 ]; do
	# shellcheck disable=SC2086 # words
	kill -USR2 $motes
	n=$((n + 1))
done
# each_has N: so many counters events of each of them
each_has() {
	for n in 1 2 3 4; do
		[ "$(grep -c "\"event\":\"counters\".*\"mote-$n\"" "$tmp/lines")" \
			-ge "$1" ] || return
	done
}
ok "each of several motes on one pipe says what it counts" await each_has 5
# shellcheck disable=SC2086 # words
kill -INT $motes
for mote_pid in $motes; do
	wait "$mote_pid"
done
exec 7>&-
wait $reader
# shellcheck disable=SC2016 # Perl
ok "lines of several motes with many disks on one pipe are whole" \
	perl -I"$tmp" -Mevents -e 'my (%exits, %counters);
		for (lines($ARGV[0])) {
			$exits{$_->{name}}++ if $_->{event} eq "exit";
			next if $_->{event} eq "start";
			$counters{$_->{name}}++;
			die unless 16 == grep { /^disk\d+$/ } keys %$_;
		}
		die unless 4 == grep { $exits{"mote-$_"} == 1 } 1 .. 4;
		die if grep { $counters{"mote-$_"} < 5 } 1 .. 4' "$tmp/lines"

# -- the manual -------------------------------------------------------------------------------

# shellcheck disable=SC2016 # Perl
names=$(perl -I"$tmp" -Mevents -e 'my ($e) = grep { $_->{vsock} } lines($ARGV[0]);
	$e = { %$e };
	for my $o (qw(disk0 net0 vsock serial exits process)) {
		print "$o: ", join(" ", sort keys %{$e->{$o}}), "\n"
	}' "$tmp/all.events")
is "$(sed -n '/^\.SH COUNTERS/,/^\.SH WHAT/s/^\\fB\([a-z_0-9]*\).*/\1/p' \
	build/mote.1 | awk '/^(disk0|net0|vsock|serial|exits|process)$/ {
		printf "%s%s:", n++ ? "\n" : "", $0; next } { printf " %s", $0 }
		END { print "" }' | perl -ne 'my ($o, $n) = /(.*):(.*)/;
		print "$o: ", join(" ", sort split " ", $n), "\n"' )" "$names" \
	"the manual names the counters that there are, and no others"

done_testing
