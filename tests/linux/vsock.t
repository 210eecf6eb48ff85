#!/bin/sh
# Streams between Linux and the host over vsock: contents both ways, many at
# once, and all the ways to end or not to begin.
# TEST_VSOCK_BYTES says how long the long streams are: 1 GiB, or where the
# machine is emulated 24 MiB.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

LOAD=build/tests/vsock_load
sock=$tmp/v
bytes=$((1 << 30))
! emulated || bytes=$((24 << 20))
bytes=${TEST_VSOCK_BYTES:-$bytes}

# Ports of the guest: 1000 serves, 1001 nobody, 1002 holds. Of the host: 2000
# serves, 2001 nobody, 2002 holds, 2003 is a file without a listener.
cat >"$tmp/script" <<END
vsock_load serve vsock:0:1000 2>/dev/null &
vsock_load hold vsock:0:1002 100000 &
load() {
	n=\$1
	shift
	vsock_load "\$@" >/tmp/o 2>&1
	s=\$?
	echo "\$n=\$s \$(tail -n 1 /tmp/o)"
}
echo cid=\$(vsock_load cid)
load refused fails vsock:2:2001
load dead fails vsock:2:2003
load nocid fails vsock:9:2000
load many many vsock:2:2000 1000 2
load send send vsock:2:2000 $bytes
load recv recv vsock:2:2000 $bytes
load both both vsock:2:2000 $((bytes / 2))
load half half vsock:2:2000 3000000
load slow slow vsock:2:2000 3000000
for state in connected told sending receiving unread half answered; do
	load abrupt_\$state abrupt vsock:2:2000 \$state
done
load after many vsock:2:2000 10 1
load held fails vsock:2:2002
outb 0x507 1
while :; do sleep 1000; done
END

job v "$LOAD=bin/vsock_load" <"$tmp/script"
"$LOAD" serve "unix:${sock}_2000" >/dev/null 2>&1 &
server=$!
boot v -m 192M -c 2 -i "$MODULES" -i "$tmp/v.job" --vsock "$sock,cid=77"
until_is $LIMIT waiting v
cat $tmp/v.out
kill $server
