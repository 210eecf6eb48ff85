#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What an ordinary user gets from root: a tap of his own. His guest uses it next
# to his disks and a vsock.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

[ "$(id -u)" -eq 0 ] || {
	echo "1..0 # SKIP taps are root's to make"
	exit 0
}
[ -c /dev/net/tun ] || modprobe tun
ip=$(which ip) # not busybox's own
user=54321     # of tests/as-user
trap '"$ip" link delete mote-his 2>/dev/null; boot_end' EXIT

chmod 777 "$tmp"
printf '#!/bin/sh\nexec %s/tests/as-user %s/%s "$@"\n' "$PWD" "$PWD" "$MOTE" \
	>"$tmp/his-mote"
chmod 755 "$tmp/his-mote"
MOTE=$tmp/his-mote
chmod 666 /dev/net/tun
"$ip" tuntap add dev mote-his mode tap user $user
"$ip" address add 10.9.9.1/24 dev mote-his
"$ip" link set mote-his up
for disk in a b; do
	echo "disk $disk" >"$tmp/$disk"
	truncate -s 1M "$tmp/$disk"
	chown $user "$tmp/$disk"
done

job his <<'END'
ip link set lo up
ip address add 10.9.9.2/24 dev eth0
ip link set eth0 up
ping -c 3 -W 60 10.9.9.1 >/dev/null && echo ping=yes
echo disks=$(head -n 1 /dev/vda), $(head -n 1 /dev/vdb)
echo written >/dev/vdb
sync
ls /dev/vsock >/dev/null && echo vsock=yes
outb 0x507 1
sleep 999
END
come() {
	waiting his || gone "$(pid_of his)"
}
minimal
# shellcheck disable=SC2086 # words
boot his $modules -i "$tmp/his.job" -n tap=mote-his -d "$tmp/a" \
	-d "$tmp/b" --vsock "$tmp/v"
until_is "$LIMIT" come
is "$(sed -n 's/^Uid:.//p' "/proc/$(pid_of his)/status" | tr '\t' ' ')" \
	"$user $user $user $user" "mote with a user's tap is that user"
ok "the host reaches a user's guest by his tap" ping -c 3 -W 60 10.9.9.2
kill -INT "$(pid_of his)"
ended his
is "$status" 130 "a user's guest with a tap ends by SIGINT"
is "$(got ping) $(got vsock)" "yes yes" "a user's guest reaches the host by his tap"
is "$(got disks)" "disk a, disk b" "a user's disks are read beside his tap"
is "$(head -c 7 "$tmp/b")" written "a user's disk is written beside his tap"

done_testing
