#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Guests that Slurm runs, on three nodes, by boot/fleet/slurm/guests.sbatch, by srun
# and by a job of one's own: how they end, what they may use, where they run.
# shellcheck source=tests/fleet/slurm.sh
. "${0%/*}/slurm.sh"

# -- what takes long begins first ---------------------------------------------

# A minute is the least; Slurm looks at limits twice a minute. n0 is never killed.
tasks -w n0 -a 0 -t 2 --signal=B:USR1@60 -- -k "$GUEST/button.elf"
timed=$job
tasks -w n0 -a 0 -t 1 --signal=B:URG@1 -- -k "$GUEST/button.elf"
limited=$job
tasks -w n0 -a 0 -t 1 --signal=B:USR1@30 -- -k "$GUEST/hang.elf"
deaf=$job
tasks -a 0 --export=ALL,MOTE_RETRIES=1000 -- -k "$there/late.elf"
late=$job
tasks -a 0 --export=ALL,MOTE_RETRIES=1 -- -k "$there/never.elf"
never=$job

# -- statuses -----------------------------------------------------------------

tasks -a 0-5,126,255 -- -k "$GUEST/exit.elf" -a 'status={task}'
ended
is "$(told JobState ExitCode)" "0 COMPLETED 0:0
1 FAILED 1:0
2 FAILED 2:0
3 FAILED 3:0
4 FAILED 4:0
5 FAILED 5:0
126 FAILED 126:0
255 FAILED 255:0" "a guest's status is its task's"
is "$(say 5)" "status 5" "what a guest prints is in its task's log"
is "$(see 5 | grep -c '"event":"start"\|"event":"exit","reason":"exited","status":5,')" \
	2 "and how it ended is in the array's events"

tasks -a 0 -J of,every=1s -- -k "$GUEST/exit.elf" -a status=3
ended
is "$(told JobState ExitCode) $(cat "$work/of,every=1s-$job".*.events | grep -c '"status":3,')" \
	"0 FAILED 3:0 1" "a comma in a job's name is only that"

tasks -a 0 -- -k "$GUEST/panic.elf"
ended
is "$(told JobState ExitCode) $(see 0 | grep -c '"reason":"panic"')" \
	"0 FAILED 123:0 1" "a guest that panics: 123"
tasks -a 0 -- -k "$GUEST/hang.elf" --timeout 300ms
ended
is "$(told JobState ExitCode) $(see 0 | grep -c '"reason":"timeout"')" \
	"0 FAILED 124:0 1" "a guest whose time is up: 124"
tasks -a 0 -- -k "$GUEST/exit.elf" -a status=125
ended
is "$(told JobState ExitCode Restarts)" "0 FAILED 125:0 0" \
	"125 that is the guest's own is a status like others, and no reason to requeue"

as_guest n1 srun -Q --mem=64M mote -k "$GUEST/exit.elf" -m 32M -a status=42
is "$status $(cat "$out")" "42 status 42" \
	"srun: the guest's status is srun's, and what it prints is, too"
run sh -c 'echo wordsq | "$0" in -u guest n1 srun -Q --mem=64M mote -k "$1" -m 32M' \
	"$CLUSTER" "$GUEST/echo.elf"
like "$(cat "$out")" '^wordsq' "srun: its standard input is the guest's"
as_guest n1 srun -Q --mem=64M -n 3 -N 3 mote -k "$GUEST/exit.elf" -m 32M -a status=7
is "$status $(sort -u "$out") $(grep -c . "$out")" "7 status 7 3" \
	"srun: a guest on each of three nodes"

# -- a task's own -------------------------------------------------------------

truncate -s 1M "$work/disk.img"
chmod 644 "$work/disk.img"
tasks -a 0-3 -- -k "$GUEST/virtio_write.elf" -d "$there/disk.img,ephemeral" \
	-a 'byte=10{task}'
ended
is "$(told JobState ExitCode | cut -d ' ' -f 2- | sort | uniq -c | xargs)" \
	"4 COMPLETED 0:0" "four tasks write to one image at once, each to an overlay"
is "$(sed -n '/^capacity/p; s/^\(same.*\), then.*/\1/p' "$work/guests-$job"_*.log |
	sort | uniq -c | sed 's/^ *//')" "4 capacity 2048, was 0 and 0
4 same 512 of 512" "and each has what it wrote, and nothing of others"
is "$(tr -d '\0' <"$work/disk.img" | wc -c)" 0 "the image stays as it was"

tasks -a 0 -- -k "$GUEST/button.elf" --vsock '{dir}/vsock'
says_so 0 waiting
node=$(told NodeList | cut -d ' ' -f 2)
vsock=/tmp/mote-$job/vsock
is "$("$CLUSTER" in "$node" stat -c '%F %U' "/tmp/mote-$job" "$vsock" | xargs)" \
	"directory guest socket guest" "a task has a directory of its own, for its vsock"

# -- scancel ------------------------------------------------------------------

slurm scancel -b -s USR2 "$job"
ok "scancel -b -s USR2: the guest's counters are among the events" \
	until_is 1 sh -c "grep -c counters '$work/guests-$job.$node.events'"
is "$(told JobState)" "0 RUNNING" "and it goes on"
slurm scancel "$job"
ended
is "$(told JobState ExitCode) $(see 0 | grep -c '"reason":"poweroff"')" \
	"0 CANCELLED 0:0 1" "scancel: the guest's power button, and it powers off"
is "$("$CLUSTER" in "$node" sh -c 'ls -d /tmp/mote-*' 2>&1 | grep -c "/tmp/mote-$job")" \
	0 "its directory is gone"

tasks -a 0 -- -k "$GUEST/button.elf"
says_so 0 waiting
slurm scancel -b -s USR1 "$job"
ended
is "$(told JobState ExitCode)" "0 COMPLETED 0:0" \
	"the signal that --signal announces the end with: the power button, too"

tasks -a 0 -- -k "$GUEST/hang.elf" --vsock '{dir}/vsock'
says_so 0 hanging
node=$(told NodeList | cut -d ' ' -f 2)
slurm scancel "$job"
ended
is "$(told JobState ExitCode) $(see 0 | grep -c '"event":"exit"')" \
	"0 CANCELLED 0:9 0" "scancel: a deaf guest is killed, and no event says how it ended"
ok "the epilog removes what a task that was killed has left" \
	until_is '' "$CLUSTER" in "$node" find /tmp -maxdepth 1 -name "mote-$job"

# The next job's, which anybody may know and make before it.
squatted=/tmp/mote-$((job + 1))
for node in n0 n1 n2; do
	"$CLUSTER" in $node mkdir -m 777 "$squatted"
done
tasks -a 0 --export=ALL,MOTE_RETRIES=0 -- -k "$GUEST/hello.elf" --vsock '{dir}/vsock'
ended
is "/tmp/mote-$job $(told JobState ExitCode) $(say 0 | grep -c "$squatted.*File exists")" \
	"$squatted 0 FAILED 125:0 1" \
	"a task does not use a directory that somebody else has made for it"
for node in n0 n1 n2; do
	"$CLUSTER" in $node rm -rf "$squatted"
done

# -- memory -------------------------------------------------------------------

tasks -a 0 -- -k "$GUEST/touch.elf" -m 256M -a mib=200
ended
is "$(told JobState ExitCode)" "0 OUT_OF_MEMORY 0:125" \
	"a guest that touches more than --mem: out of memory"
like "$(say 0)" 'oom-kill' "and Slurm says so in its log"
tasks -a 0 -- -k "$GUEST/touch.elf" -m 1G -a mib=10
ended
is "$(told JobState ExitCode) $(say 0)" "0 COMPLETED 0:0 10 MiB" \
	"one that is larger than --mem, and does not touch it all, runs"
tasks -a 0 --export=ALL,MOTE_RETRIES=0 -- -k "$GUEST/hello.elf" -m 256M,prefault
ended
is "$(told JobState ExitCode)" "0 FAILED 125:0" \
	"one that is to have all its memory at once, and cannot, does not start"
like "$(say 0)" "prefault has 256 MiB .*/job_$job has 6[0-9] MiB left" \
	"and mote says so, with the job's cgroup"

# -- where they run -----------------------------------------------------------

tasks -a 1-60 -- -k "$GUEST/button.elf"
ok "60 guests run at once" until_is 60 sh -c \
	"cat '$work/guests-$job'_*.log | grep -c waiting"
# 20 on each, but for what else runs there
is "$(told NodeList | cut -d ' ' -f 2 | sort | uniq -c |
	awk '$1 >= 15 && $1 <= 25 { print $2 }' | xargs)" \
	"n0 n1 n2" "LLN spreads them over the nodes"
is "$(for n in n0 n1 n2; do left_in $n; done | grep -c -- "--name ${job}_")" 60 \
	"and there they are"
slurm scancel "$job"
ended
is "$(told JobState ExitCode | cut -d ' ' -f 2- | sort | uniq -c | xargs)" \
	"60 CANCELLED 0:0" "one scancel presses all their power buttons"
is "$(cat "$work/guests-$job".*.events | grep -c '"reason":"poweroff"')" 60 \
	"and all have powered off"

# -- the sandbox --------------------------------------------------------------

tasks -a 0 -- -k "$GUEST/button.elf" --log debug
says_so 0 waiting
node=$(told NodeList | cut -d ' ' -f 2)
like "$(say 0)" 'sandbox: mount, ipc and uts namespaces, in a user namespace' \
	"inside a job the sandbox has namespaces of its own"
like "$(say 0)" 'sandbox: no capabilities, the bounding set is empty' \
	"and no capabilities"
like "$(say 0)" 'sandbox: Landlock, version [0-9]*: no files' "and no files"
like "$(say 0)" 'sandbox: vCPU thread: [0-9]* rules' "and few system calls"
# shellcheck disable=SC2016 # the node's shell expands it
is "$("$CLUSTER" in "$node" sh -c '
	pid=$(pgrep -f "^mote --name $1 ")
	sed -n "s/^\(CapEff\|CapBnd\|NoNewPrivs\|Seccomp\):[[:space:]]*/\1 /p" \
		/proc/$pid/status
	for ns in mnt ipc uts user; do
		[ "$(readlink /proc/$pid/ns/$ns)" = "$(readlink /proc/self/ns/$ns)" ] ||
			echo "own $ns"
	done' sh "${job}_0" | paste -sd ' ')" \
	"CapEff 0000000000000000 CapBnd 0000000000000000 NoNewPrivs 1 Seccomp 2 own mnt own ipc own uts own user" \
	"and the node's kernel says the same"
slurm scancel "$job"
ended

# -- back to the queue --------------------------------------------------------

job=$late
ok "a task whose kernel is missing goes back to the queue" \
	says_so 0 'goes back to the queue'
slurm cp "$GUEST/hello.elf" "$there/late.elf"
ended
is "$(told JobState ExitCode) $(say 0 | grep -c hello)" \
	"0 COMPLETED 0:0 1" "and runs when it is there"
ok "as a task that Slurm has begun again" [ "$(told Restarts)" != "0 0" ]
job=$never
ended
is "$(told JobState ExitCode Restarts)" "0 FAILED 125:0 1" \
	"one whose kernel stays missing is given up after MOTE_RETRIES"

"$CLUSTER" in n0 sh -c 'echo RequeueExit=125 >>/etc/slurm/slurm.conf
	scontrol reconfigure'
slurm rm -f "$there/late.elf"
submit --mem=64M -o own.log --open-mode=append \
	--wrap "exec mote -k $there/late.elf -m 32M"
ok "RequeueExit=125: so does a job that is mote and nothing else" \
	until_is "0 1" told Restarts
slurm cp "$GUEST/hello.elf" "$there/late.elf"
ended
is "$(told JobState ExitCode) $(grep -c hello "$work/own.log")" \
	"0 COMPLETED 0:0 1" "and it runs when its kernel is there"
"$CLUSTER" in n0 sh -c 'sed -i /^RequeueExit/d /etc/slurm/slurm.conf
	scontrol reconfigure'

# -- a node dies --------------------------------------------------------------

tasks -a 0 -x n0 -- -k "$GUEST/button.elf" -d "$there/disk.img"
chmod 666 "$work/disk.img"
says_so 0 waiting
node=$(told NodeList | cut -d ' ' -f 2)
run "$MOTE" -k "$GUESTS/virtio_write.elf" -m 32M -d "$work/disk.img"
is "$status" 125 "a guest's image is locked for others, on any node"
"$CLUSTER" kill "$node"
ok "a node dies, and its guest starts elsewhere" until_is 2 sh -c \
	"cat '$work/guests-${job}_0.log' | grep -c waiting"
is "$(told JobState Restarts)" "0 RUNNING 1" "as the same task of the same job"
ok "on another node" [ "$(told NodeList | cut -d ' ' -f 2)" != "$node" ]
ok "the dead node comes back" "$CLUSTER" up
slurm scancel "$job"
ended
is "$(told JobState ExitCode)" "0 CANCELLED 0:0" "the guest ends as any other"

# -- the end of the time ------------------------------------------------------

job=$timed
ended
is "$(told JobState ExitCode) $(see 0 | grep -c '"reason":"poweroff"')" \
	"0 COMPLETED 0:0 1" "--signal: a guest has powered off before its time was up"

job=$limited
ended
is "$(told JobState ExitCode) $(see 0 | grep -c '"reason":"poweroff"')" \
	"0 TIMEOUT 0:0 1" "the end of --time: a guest's power button, and it powers off"
job=$deaf
ended
is "$(told JobState ExitCode) $(see 0 | grep -c '"reason":"signal"')" \
	"0 TIMEOUT 143:0 1" "a deaf guest whose time is up after --signal is ended by mote"

ok "nothing is left on any node" until_is '' left
done_testing
