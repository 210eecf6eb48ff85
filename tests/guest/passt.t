#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# --net user and --publish with Debian's passt: that it serves, what is said
# where it cannot, that it ends with mote and mote does not with it, and that
# nothing of mote's is in its hands. What a guest does with that network is in
# linux/passt.t. An ordinary user runs it, too (user.t).
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

root=$([ "$(id -u)" -eq 0 ] && echo yes || echo no)

# needs_root NAME: true for root; else that test is skipped, or not counted
# where root runs all of this beside its user
needs_root() {
	[ "$root" = no ] || return 0
	[ "$(id -u)" = 54321 ] || pass "$1 # SKIP it takes root"
	return 1
}

# free_ports N: numbers that no program has, for TCP and UDP
free_ports() {
	perl -MIO::Socket::INET -e '
		my @all;
		while (@all < $ARGV[0]) {
			my $tcp = IO::Socket::INET->new(Listen => 1) or next;
			my $udp = IO::Socket::INET->new(Proto => "udp",
				LocalPort => $tcp->sockport) or next;
			push @all, [$tcp, $udp];
		}
		print join(" ", map { $_->[0]->sockport } @all), "\n"' "$1"
}

# passt_of PORT: the processes that serve that published port
passt_of() {
	perl -e '
		for (glob "/proc/[0-9]*/cmdline") {
			open my $words, "<", $_ or next;
			my $line = <$words> // "";
			print m{(\d+)}, "\n" if $line
				=~ m{^passt\0.*\0-[tu]\0([^\0]*/)?$ARGV[0]:};
		}' "$1"
}

serves() {
	[ -n "$(passt_of "$1")" ]
}

# served_no_more PORT: within some time
served_no_more() {
	served_tries=1000
	while serves "$1" && [ "$served_tries" -gt 0 ]; do
		served_tries=$((served_tries - 1))
		sleep 0.02
	done
	! serves "$1"
}

# knocks HOST PORT tcp|udp: one connection, or datagram
knocks() {
	case $3 in
	tcp) socat -u /dev/null "TCP:$1:$2" ;;
	udp) echo knock | socat -u - "UDP:$1:$2" ;;
	esac
} 2>/dev/null

knocked_until_gone() {
	knocks "$@"
	guest_gone
}

# shellcheck disable=SC2046 # words
set -- $(free_ports 4)
p=$1 q=$2 r=$3 s=$4

# -- it serves -------------------------------------------------------------------

mote -k "$GUESTS/hello.elf" -n user -p "$p:80" --check
is "$status $(cat "$err")" "0 " "--check of --net user is content"
ok "--check ends passt" served_no_more "$p"
guest hello -n user
ends 0 poweroff "a guest with --net user runs"
is "$(last_line)$(cat "$err")" "hello from the guest" "nothing is said of passt"

# A frame that the guest gets is passt's, of the connection.
for way in "127.0.0.1 tcp" "127.0.0.1 udp" "[::1] tcp" "[::1] udp"; do
	host=${way% *}
	# Files of /proc have no size: it has to be read.
	if [ "$host" = "[::1]" ] &&
		! grep -qs '^0\{31\}1 ' /proc/net/if_inet6; then
		pass "a published port of $way # SKIP this host has no IPv6"
		continue
	fi
	guest_start virtio_net -n user -p "$host:$p:7/${way#* }" -a frames=1
	ok "a guest with a published port runs: $way" await says driving
	ok "what comes to a published port comes to the guest: $way" \
		await knocked_until_gone "$host" "$p" "${way#* }"
	guest_end
	ends 0 poweroff "the guest has had a frame: $way"
	ok "passt ends with its guest: $way" served_no_more "$p"
done

# -- what cannot be --------------------------------------------------------------

# refused STATUS TEXT NAME ARG...
refused() {
	refused_name=$2 refused_text=$1
	shift 2
	guest hello "$@"
	ends 125 error "$refused_name"
	like "$(cat "$err")" "^mote: $refused_text" "... and why is said"
	is "$(wc -l <"$err") $(cat "$out")" "1 " \
		"... in one line, before the guest starts"
}

guest_start hang -n user -p "$p" -p "$q:1/udp"
ok "a guest has two ports" await says hanging
first=$pid
refused "--publish 127.0.0.1:$p: Address in use; another program" \
	"another guest's port is refused" -n user -p "127.0.0.1:$p"
refused "--publish $q/udp: Address in use; another program" \
	"another guest's port of UDP is refused" -n user -p "$q/udp"
refused "--publish 203.0.113.77:$r: Address not available" \
	"an address that the host has not is refused" \
	-n user -p "203.0.113.77:$r"
refused "net 1 .tap=nosuch.*: " "what fails beside it ends it" \
	-n user -p "$r:1" -n tap=nosuch
ok "... with its passt" served_no_more "$r"
if [ "$root" = no ] &&
	[ "$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" -gt 79 ]; then
	refused "net 0 .user.: passt could not be started: .*below 1024 takes root" \
		"a port that is root's is refused" -n user -p 79
fi
# in_namespaces FLAG TEXT: a guest with such a network, after what sh does
in_namespaces() {
	# shellcheck disable=SC2086 # nothing, or a flag
	run unshare $maps_root "$1" sh -c "$2 && exec \"\$@\"" - "$MOTE" \
		-k "$GUESTS/hello.elf" -m 64M -n user
}
maps_root=$([ "$root" = yes ] || echo -r)
program=$(command -v passt)
in_namespaces -m "mount --bind /dev/null '$program'"
is "$status $(cat "$err")" "125 mote: net 0 (user): passt(1) is not installed, which is the other end of that network: apt install passt" \
	"passt that is not there is refused, and its package named"
printf '#!/bin/sh\necho no luck today >&2\nexit 1\n' >"$tmp/passt"
chmod 755 "$tmp/passt"
run env PATH="$tmp:$PATH" "$MOTE" -k "$GUESTS/hello.elf" -n user
is "$status $(cat "$err")" \
	"125 mote: net 0 (user): passt could not be started: no luck today" \
	"passt is found by PATH, and what it says is passed on"
in_namespaces -n "ip link set lo up"
is "$status $(last_line)" "0 hello from the guest" \
	"a guest runs on a host without a network"
is "$(grep -v sandbox: "$err")" "mote: net 0 (user): this host has no default route: the guest reaches the host itself, and nothing beyond it" \
	"... and that is said"

# -- several, and what each has --------------------------------------------------

second_in() {
	sed -n "s/^$1:[[:space:]]*[0-9]*[[:space:]]*\([0-9]*\).*/\1/p" \
		"/proc/$2/status"
}
exec 7<"$0"
out=$tmp/out2 err=$tmp/err2 events=$tmp/events2
guest_start hang -n user -p "$r" -n user
ok "two guests have networks at once" await says hanging
served=$(passt_of "$r")
ok "the first guest's network is still there" serves "$p"
serves_as=$(id -u)
[ "$root" = no ] || serves_as=$(id -u nobody)
is "$(second_in Uid "$served")" "$serves_as" \
	"passt is nobody where root starts it, and else the user"
is "$(sed -n 's/^Max core file size *\([0-9]*\) .*/\1/p' \
	"/proc/$served/limits")" 0 \
	"passt leaves no core"
if needs_root "passt has nothing of mote's"; then
	is "$(find "/proc/$served/fd" -type l -printf '%l\n' |
		sed 's/\[[0-9]*\]$//' | sort -u | tr '\n' ' ')" \
		"/dev/null anon_inode:[eventpoll] socket: " \
		"passt has nothing of mote's but its socket"
	is "$(tr '\0' '\n' <"/proc/$served/environ")" \
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin" \
		"of the environment passt has a PATH"
fi
exec 7<&-

# -- ends ------------------------------------------------------------------------

kill -9 "$pid"
guest_end
ok "passt is gone when mote is killed" served_no_more "$r"
out=$tmp/out err=$tmp/err events=$tmp/events
kill -9 "$first"
wait "$first" 2>/dev/null
pid=
ok "... the other's, too" served_no_more "$p"

# Whoever waits for mote's pipe waits for nobody else: passt is stopped.
mkfifo "$tmp/pipe"
cat "$tmp/pipe" >"$tmp/piped" &
reader=$!
"$MOTE" -k "$GUESTS/hang.elf" -m 64M -n user -p "$s" >"$tmp/pipe" 2>&1 &
pid=$!
ok "a guest runs that prints into a pipe" await grep -q hanging "$tmp/piped"
stopped=$(passt_of "$s")
kill -STOP "$stopped"
kill -9 "$pid"
guest_end
pid=$reader
ok "who reads what mote prints does not wait for passt" await guest_gone
wait "$reader"
pid=
kill -CONT "$stopped"
ok "passt ends as soon as it can" served_no_more "$s"

# One that never gets ready holds nobody up, and is gone with mote.
printf '#!/bin/sh\necho $$ >%s\nexec sleep 1000\n' "$tmp/sleeps" >"$tmp/passt"
sleeps() {
	[ -s "$tmp/sleeps" ]
}
sleeper_gone() {
	! kill -s 0 "$sleeper" 2>/dev/null || grep -q '^State:.*Z' "/proc/$sleeper/status"
}
for signal in TERM KILL; do
	rm -f "$tmp/sleeps"
	PATH=$tmp:$PATH guest_start hello -n user
	ok "mote waits for passt to be ready" await sleeps
	kill -$signal "$pid"
	guest_end
	is "$status $(cat "$out")" "$([ $signal = TERM ] && echo 143 || echo 137) " \
		"mote that waits for passt ends by SIG$signal"
	sleeper=$(cat "$tmp/sleeps")
	ok "passt that was not ready is gone then" await sleeper_gone
done

guest_start virtio_net -n user -p "$p" -a down=1
ok "a guest runs whose passt is to end" await says driving
kill -9 "$(passt_of "$p")"
guest_end
ends 0 poweroff "a guest goes on without passt"
is "$(last_line)" "link down" "... and its link goes down"
is "$(cat "$err")" "mote: net 0 (user): the other end has closed the connection; the guest's link is down from now on" \
	"one line says so"

# -- a snapshot ------------------------------------------------------------------

snapshot=$tmp/snapshot
guest_start echo -a loop=1 -n user,mac=02:00:00:00:00:01 -p "$p" \
	--snapshot "$snapshot,then=exit"
ok "a guest with --net user is to be saved" await says echo
kill -USR1 "$pid"
guest_end
is "$status" 0 "a guest with --net user is saved"
ok "its passt has ended" served_no_more "$p"
mote --restore "$snapshot" --check
is "$status $(cat "$err")" "0 " "a clone starts its own passt"
mote --restore "$snapshot" -p "$q" --check
is "$status $(cat "$err")" "0 " "a clone has ports of its own"
ok "they end with it" served_no_more "$q"
guest_start echo -a loop=1 --snapshot "$snapshot,then=exit"
ok "a guest without a network is to be saved" await says echo
kill -USR1 "$pid"
guest_end
mote --restore "$snapshot" -p "$q" --check
is "$status" 125 "a clone without a network has no ports"
like "$(cat "$err")" "^mote: --publish: .*add -n user" "... and why is said"

done_testing
