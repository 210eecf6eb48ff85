#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Streams between Linux and the host over vsock: contents both ways, a thousand
# at once, and all the ways to end or not to begin.
#
# TEST_VSOCK_BYTES is how long the long streams are: 1 GiB unless told, and in
# the emulated machine, where a gigabyte takes minutes, 6 MiB.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/../linux/boot.sh"

LOAD=build/tests/vsock_load
SERVE=build/tests/vsock_serve
DRIVER=/sys/bus/virtio/drivers/vmw_vsock_virtio_transport
STATES="connected told sending receiving unread half answered"
sock=$tmp/v
bytes=$((1 << 30))
! emulated || bytes=$((6 << 20))
bytes=${TEST_VSOCK_BYTES:-$bytes}
# at no less than 1 MiB a second
LIMIT=$((LIMIT + 8 * bytes / (1 << 20)))

# Ports of the guest: at 1000 are streams, nobody at 1001, at 1002 whoever does
# not accept, 1003 begins the guest's second part. Of the host: the same from
# 2000 on, but at 2003 a socket without a program.
cat >"$tmp/script" <<END
load() {
	n=\$1
	shift
	vsock_load "\$@" >/o 2>&1
	echo "\$n=\$? \$(tail -n 1 /o)"
}
vsock_serve all vsock:0:1000 2>/dev/null &
vsock_serve hold vsock:0:1002 &
echo cid=\$(vsock_load cid)
load refused fails vsock:2:2001
load dead fails vsock:2:2003
load nobody fails vsock:9:2000
load many many vsock:2:2000 1000 2
load send send vsock:2:2000 $bytes
load recv recv vsock:2:2000 $bytes
load both both vsock:2:2000 $((bytes / 2))
load half half vsock:2:2000 1000000
load slow slow vsock:2:2000 1000000
for state in $STATES; do
	load \$state abrupt vsock:2:2000 \$state
done
load again many vsock:2:2000 10 1
load held1 fails vsock:2:2002
load held2 fails vsock:2:2002
load held3 fails vsock:2:2002
vsock_serve once vsock:0:1003 &
outb 0x507 1
wait \$!
sleep 1
d=\$(basename $DRIVER/virtio*)
echo \$d >$DRIVER/unbind
echo unbound=\$(vsock_load fails vsock:2:2000)
echo \$d >$DRIVER/bind
load bound many vsock:2:2000 10 1
load bulk recv vsock:2:2000 1000000
echo dmesg=\$(dmesg | grep -ciE "bug:|oops|warning:|call trace")
while :; do sleep 1000; done
END

# in_background COMMAND...: killed at the end, whatever the end is
background=
in_background() {
	"$@" >/dev/null 2>&1 &
	background="$background $!"
}
vsock_end() {
	for vsock_pid in $background; do
		kill -9 "$vsock_pid" 2>/dev/null
	done
	boot_end
}
trap vsock_end EXIT

# load NAME MODE WHERE ...: a test, from the host to the guest
load() {
	load_name=$1
	shift
	ok "to the guest: $load_name" timeout "$LIMIT" "$LOAD" "$@"
}

# from KEY NAME: a test that the guest has made
from() {
	like "$(got "$1")" '^0' "from the guest: $2"
}

in_background "$SERVE" hold "unix:${sock}_2003"
until_is 10 [ -S "${sock}_2003" ]
kill -9 ${background# }
in_background "$SERVE" all "unix:${sock}_2000"
in_background "$SERVE" hold "unix:${sock}_2002"
until_is 10 [ -S "${sock}_2000" -a -S "${sock}_2002" ]

job v "$LOAD=bin/vsock_load" "$SERVE=bin/vsock_serve" <"$tmp/script"
minimal
# shellcheck disable=SC2086 # words
boot v -m 192M -c 2 $modules -i "$tmp/v.job" --vsock "$sock,cid=77"
out=$tmp/v.out err=$tmp/v.err events=$tmp/v.events status=running
ok "the guest is done with its own streams" until_is "$LIMIT" waiting v
is "$(got cid)" 77 "cid= is the guest's CID"
like "$(got refused)" "^0 Connection reset" \
	"a stream to a port without a socket is refused"
like "$(got dead)" "^0 Connection reset" \
	"a stream to a socket that nobody serves is refused"
like "$(got nobody)" "^0 Connection reset" \
	"a stream to a CID that is nobody's is refused"
from many "1000 streams are open at once, with an echo on each"
from send "a stream sends $bytes bytes"
from recv "a stream receives $bytes bytes"
from both "two streams carry half of that, both ways at once"
from half "a stream that is half-closed still gets its answer"
from slow "a stream whose reader waits does not delay another"
for state in $STATES; do
	from "$state" "a stream closes abruptly: $state"
done
from again "streams go on after all that"
# The backlog is 1, which is two in Linux; the third stream finds it full, and
# gives up when Linux does, after 2 s, or when mote does.
is "$(got held1 | cut -c1) $(got held2 | cut -c1)" "1 1" \
	"the backlog of a listener that does not accept fills"
like "$(got held3)" "^0 .*(reset|timed out).* after [1-9]" \
	"a stream that finds a full backlog is refused after a while"

port() {
	echo "mote:$sock:$1"
}
in_background "$LOAD" part "unix:$sock" "CONNECT 10"
half=$!
load "1000 streams are open at once, with an echo on each" many "$(port 1000)" 1000 2
load "a stream sends $bytes bytes" send "$(port 1000)" "$bytes"
load "a stream receives $bytes bytes" recv "$(port 1000)" "$bytes"
load "two streams carry half of that, both ways at once" both "$(port 1000)" $((bytes / 2))
load "a stream that is half-closed still gets its answer" half "$(port 1000)" 1000000
load "a stream whose reader waits does not delay another" \
	slow "$(port 1000)" 1000000
for state in $STATES; do
	load "a stream closes abruptly: $state" abrupt "$(port 1000)" "$state"
done
load "a port that nobody listens on fails" fails "$(port 1001)"
load "a CONNECT line without a port is ended" part "unix:$sock" "CONNECT x
"
load "whoever leaves at any place in a CONNECT line does no harm" leave "unix:$sock" "CONNECT 1000
"
"$LOAD" many "$(port 1002)" 1 0
"$LOAD" many "$(port 1002)" 1 0
load "a listener that does not accept fails after a while" fails "$(port 1002)"
ok "half a CONNECT line is not waited for without end" until_is 30 gone "$half"
wait "$half"
is "$?" 0 "half a CONNECT line is answered by an end of file"
load "streams go on after all that" many "$(port 1000)" 10 1

# The driver leaves and comes back: streams end, and new ones begin.
in_background "$LOAD" cut "$(port 1000)"
cut=$!
"$LOAD" many "$(port 1003)" 1 0
ok "an open stream ends when the driver goes" until_is "$LIMIT" gone "$cut"
wait "$cut"
is "$?" 0 "an open stream ends by an end of file when the driver goes"
ok "the driver comes back" until_is "$LIMIT" printed v dmesg=
like "$(got unbound)" "No such device|unreachable|reset" \
	"nothing connects in the guest without the driver"
from bound "new streams begin when the driver is back"
from bulk "new streams carry data when the driver is back"
is "$(got dmesg)" 0 "the kernel says nothing of a driver that went and came"
load "new streams begin when the driver is back" many "$(port 1000)" 10 1

kill -TERM "$(pid_of v)"
ended v
ends 0 poweroff "a guest with a vsock powers off"
is "$(cat "$err")" "" "mote has nothing to say of all that"
ok "the socket of --vsock is removed at the end" unlinked "$sock"

done_testing
