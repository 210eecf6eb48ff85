#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Clones of one snapshot of a Linux guest: each has its own command, environment,
# directory, name, address and random numbers, from the first moment on; and a
# program that was warmed goes on in each with arguments and streams of its own.
# TEST_CLONES: how many.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

clones=${TEST_CLONES:-20}
at_once=4
[ -c /dev/net/tun ] || modprobe tun
# busybox's shell prefers its own ip, which knows less.
real_ip=$(which ip)
ip() {
	"$real_ip" "$@"
}

clean_up() {
	i=0
	while [ "$i" -le "$clones" ]; do
		ip link delete "mote-c$i"
		i=$((i + 1))
	done
} 2>/dev/null
trap 'clean_up; boot_end' EXIT
clean_up

# tap NAME
tap() {
	ip tuntap add dev "$1" mode tap
	ip link set "$1" up
}

# directory NUMBER: another one for the next number
directory() {
	set -- "$(($1 % 4))" /proc /sys /dev /run
	shift $(($1 + 1))
	echo "$1"
}

# save NAME ARG...: boots a guest that leaves $tmp/NAME.snap
save() {
	save_name=$1
	shift
	# shellcheck disable=SC2086 # words
	boot "$save_name" $modules --snapshot "$tmp/$save_name.snap$save_on" \
		"$@"
}

# clone NAME SNAPSHOT[,KEY...] ARG...: as boot, but restored
clone() {
	clone_name=$1
	clone_of=${2%%,*}
	clone_keys=${2#"$clone_of"}
	shift 2
	rm -f "$tmp/$clone_name.events"
	"$MOTE" --restore "$tmp/$clone_of.snap$clone_keys" --timeout "${LIMIT}s" \
		--events "$tmp/$clone_name.events" "$@" \
		<"${input:-/dev/null}" >"$tmp/$clone_name.out" \
		2>"$tmp/$clone_name.err" &
	echo $! >"$tmp/$clone_name.pid"
}

# -- one command each ---------------------------------------------------------

# Debian's kernel has no driver for the generation, and where no time seems to
# have passed it goes on with the random numbers that it had: without mote's init,
# which has it begin anew, most of these clones read the same.
save_on=
debian
tap mote-c0
save ready -n tap=mote-c0,mac=02:00:00:00:00:77 \
	-a ip=10.8.0.2::10.8.0.1:255.255.255.0:source:eth0:off \
	-e WHO=source -- sh -c 'echo "$WHO"; busybox hostname; exit 3'
ended ready
ends 0 snapshot "a guest whose init is ready is saved, and that ends mote"
is "$(cat "$out" "$err")" "" "the command has not run in it"
is "$(stat -c %a "$tmp/ready.snap")" 600 "only its owner can read a snapshot"

look='busybox head -c 1024 /dev/urandom >/tmp/random
echo random=$(busybox md5sum </tmp/random)
echo uuid=$(busybox cat /proc/sys/kernel/random/uuid)
echo name=$(busybox hostname) $(busybox hostname -i)
echo mac=$(busybox cat /sys/class/net/eth0/address)
echo route=$(busybox ip route)
echo who=$WHO in $PWD
'
i=1
while [ "$i" -le "$clones" ]; do
	for j in $(seq "$i" $((i + at_once - 1))); do
		[ "$j" -le "$clones" ] || continue
		tap "mote-c$j"
		clone "ready$j" ready,clock=keep -n "tap=mote-c$j" --name "clone-$j" \
			-e "WHO=number $j" --workdir "$(directory "$j")" \
			-- sh -c "$look
			exit $j"
	done
	for j in $(seq "$i" $((i + at_once - 1))); do
		[ "$j" -le "$clones" ] || continue
		ended "ready$j"
		ends "$j" exited "clone $j has its own status"
		is "$(got name)" "clone-$j 10.8.0.2" \
			"clone $j has its own name, which resolves"
		is "$(got who)" "number $j in $(directory "$j")" \
			"clone $j has its own environment and directory"
		is "$(got route)" "default via 10.8.0.1 dev eth0 10.8.0.0/24 dev eth0 scope link src 10.8.0.2" \
			"clone $j has the routes of ip="
		ok "clone $j has said that it was ready" waiting "ready$j"
	done
	i=$((i + at_once))
done
# all KEY: of all clones, each once
all() {
	cat "$tmp"/ready[0-9]*.out | sed -n "s/^$1=//p" | sort -u | wc -l
}
is "$(all random)" "$clones" \
	"no two clones read the same from /dev/urandom, from the first byte on"
is "$(all uuid)" "$clones" "no two clones make the same UUID"
is "$(all mac)" "$clones" "no two clones have the same address"
is "$(cat "$tmp"/ready[0-9]*.out | grep -c ^mac=02:00:00:00:00:77)" 0 \
	"and none has that of the guest that was saved"

# The command that was given when it was saved.
clone same ready -n tap=mote-c0,mac=02:00:00:00:00:78
ended same
ends 3 exited "a clone without a command runs the one that it was saved with"
is "$(cat "$out")" "source
source" "with its environment, and the name of that machine"

# -- by the serial port -------------------------------------------------------

modules=
save serial -- busybox true
ended serial
head -c 20000 /dev/urandom >"$tmp/random"
input=$tmp/random
clone byserial serial -- busybox cat
clone nowhere serial --serial off -- busybox cat
input=
ended byserial
ends 0 exited "a clone's command without a vsock driver runs by the serial port"
ok "20000 bytes go through it unchanged" cmp "$tmp/random" "$out"
ended nowhere
ends 125 error "a clone that needs the serial port and has none is status 125"
like "$(cat "$err")" "^mote: snapshot .*: its command needs the serial port" \
	"that it does is said"

# -- a program that was warmed ------------------------------------------------

# It is slow at its start, ready, and then does what each clone is told.
program='token=$(busybox cat /proc/sys/kernel/random/uuid)
echo started >>/tmp/starts
echo warm
echo x >"$MOTE_READY"
busybox tr "\0" "|" <"$MOTE_ARGS" >/tmp/args
echo token=$token
echo starts=$(busybox wc -l </tmp/starts)
echo args=$(busybox cat /tmp/args)
tries=0
until busybox dmesg | busybox grep -q "virtual machine fork" ||
	[ $((tries += 1)) -gt 300 ]; do
	busybox sleep 0.1
done
echo forked=$(busybox dmesg | busybox grep -c "virtual machine fork")
read line
echo line=$line
echo "to stderr: $line" >&2
case $line in
wait) trap "exit 40" TERM; echo waits; while :; do busybox sleep 1; done ;;
esac
exit "$line"
'
minimal
save_on=,on=program
echo 77 >"$tmp/77"
input=$tmp/77
save program -- sh -c "$program"
ended program
ends 0 snapshot "a program that says that it is ready is saved"
is "$(cat "$out")" warm "what it wrote before is the output of the first mote"
for i in 1 2 3 4 5; do
	echo "$i" >"$tmp/input$i"
	input=$tmp/input$i
	clone "program$i" program -- "a$i" "b  $i" ""
done
echo wait >"$tmp/input6"
input=$tmp/input6
clone program6 program
input=
for i in 1 2 3 4 5; do
	ended "program$i"
	ends "$i" exited "clone $i of a program: its own input, and status"
	is "$(got args)" "a$i|b $i||" "clone $i of a program: its own arguments"
	is "$(got forked)" 1 \
		"clone $i of a program: its kernel knows, by its generation"
	is "$(got line) $(cat "$err")" "$i to stderr: $i" \
		"clone $i of a program: its own stdout and stderr"
	is "$(grep -c warm "$out")" 0 \
		"clone $i of a program does not say again what it had said"
done
until_is "$LIMIT" printed program6 waits
kill -TERM "$(pid_of program6)"
ended program6
ends 40 exited "clone 6 of a program: a signal"
is "$(got args)" "" "clone 6 of a program: without arguments it reads none"
is "$(cat "$tmp"/program[1-6].out | grep -c '^starts=1$')" 6 \
	"the program was started once"
is "$(cat "$tmp"/program[1-6].out | sed -n 's/^token=//p' | sort -u | wc -l)" 1 \
	"and all clones go on from there"
clone late program -e A=1 -- x
ended late
ends 125 error "an environment for a program that runs already is refused"
like "$(cat "$err")" "^mote: snapshot .*: its command runs already: --env" \
	"that it comes too late is said"

# Who does not read its arguments has the end of its input all the same.
save deaf -- sh -c 'echo x >"$MOTE_READY"; busybox cat; exit 9'
ended deaf
input=$tmp/77
clone deaf1 deaf
input=
ended deaf1
ends 9 exited "a program that leaves its arguments unread hears its input end"
is "$(cat "$out")" 77 "and has all of it"

done_testing
