#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a guest may take of its host by streams, however many it begins.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"
LIMIT=120
listener=
# Busybox's shell and dash have them: how many files may be open.
# shellcheck disable=SC3045
files() {
	ulimit "$@"
}
trap '[ -z "$listener" ] || kill "$listener"; tap_end' EXIT

# It accepts all and reads nothing: one descriptor each. So many may mote have.
files -n "$(files -H -n)" 2>/dev/null
cat >"$tmp/listener.pl" <<-'END'
	use IO::Socket::UNIX;
	my $l = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 4096) or die;
	my @kept;
	while (my $s = $l->accept) { push @kept, $s }
	sleep;
	END
perl "$tmp/listener.pl" "$tmp/v_1234" &
listener=$!
ok "somebody listens" await test -S "$tmp/v_1234"

# What is mote's own, in KiB.
memory() {
	awk '/^RssAnon/ { print $2 }' "/proc/$pid/status"
}

# streams ARG...: the guest begins that many, and sends what it may
streams() {
	guest_start vsock_many --vsock "$tmp/v" "$@"
	await says 'done'
	count=$(sed -n 's/^streams \([0-9]*\).*/\1/p' "$out")
	kib=$(sed -n 's/.*KiB \([0-9]*\),.*/\1/p' "$out")
	rss=$(memory)
	kill -INT "$pid"
	guest_end
}

streams -a n=1
is "$count" 1 "a guest has a stream"
ok "one stream that nobody reads has 256 KiB ($kib KiB)" test "$kib" -ge 256
one=$rss

# The manual's number; or what the hard limit leaves, less 64 for all else, of
# which the host's clients have an eighth.
most=$(files -H -n)
[ "$most" != unlimited ] && [ "$most" -lt 5120 ] || most=5120
most=$((most - 64))
[ "$most" -le 4096 ] || most=4096
streams -a n=5000
is "$count" $((most - most / 8)) \
	"a guest has as many streams as the manual says, and no more"
ok "all to a program that reads nothing are given at most 8 MiB and 16 KiB each ($kib KiB)" \
	test "$kib" -le $((8192 + count * 16))
ok "what mote holds for them is at most half of that ($one to $rss KiB)" \
	test $((rss - one)) -le $((4096 + count * 8))

# Where few files may be open, the last ones are not for the guest.
files -n 128
guest_start vsock_many --vsock "$tmp/v" --serial "unix=$tmp/s" \
	-a 'n=5000 idle=1 repeat=1'
like "$(timeout 60 tests/tools/dialogue unix "$tmp/s" '' 'done')" \
	'streams [0-9]+,' "the first client of the serial port is let in"
like "$(timeout 60 tests/tools/dialogue unix "$tmp/s" '' 'done')" \
	'streams [0-9]+,' "the guest has all streams, and another one is"
kill -INT "$pid"
guest_end
ends 130 signal "a guest that has all streams is stopped"
done_testing
