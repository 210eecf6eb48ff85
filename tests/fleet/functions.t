#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Functions on three nodes: a thousand guests that one Slurm job starts
# (boot/fleet/slurm/functions.sbatch), each with a status of its own; and what that
# costs beside xargs and nothing else.
# shellcheck source=tests/fleet/slurm.sh
. "${0%/*}/slurm.sh"

LIMIT=300

# functions LIST NODES MOTE-ARGUMENT...
functions() {
	functions_list=$1
	functions_nodes=$2
	shift 2
	submit -N "$functions_nodes" -c 2 --mem=256M "$SCRIPTS/functions.sbatch" \
		"$functions_list" -m 32M "$@"
}

# -- a thousand ---------------------------------------------------------------

# Statuses of 0 to 250, a line of its own for each, and one that xargs would stop
# at.
seq 1000 | awk '{ print $1 == 500 ? 255 : $1 % 251 }' >"$work/list"
functions list 3 -k "$GUEST/exit.elf" -a 'status={}' -a 'number={n}'
ended
done_dir=$work/functions-$job
is "$(wc -l <"$done_dir/statuses")" 1000 \
	"a thousand guests on three nodes, by one job: all have ended"
ok "each with its own status, also after one of 255" \
	sh -c 'awk "{ print NR, \$0 }" "$0/list" | cmp - "$1/statuses"' \
	"$work" "$done_dir"
ok "what each has printed is kept" sh -c \
	'for i in $(seq 1000); do cat "$1/$i.out"; done |
		sed "s/^status //" | cmp - "$0/list"' "$work" "$done_dir"
is "$(cat "$done_dir"/*.events | grep -c '"event":"exit","reason":"exited"')" \
	1000 "and how it ended, among the events"
is "$(for n in n0 n1 n2; do wc -l <"$done_dir/$n.statuses"; done | sort | uniq -c |
	xargs)" "2 333 1 334" "each node had its share"
is "$(told JobState ExitCode)" "0 FAILED 1:0" \
	"the job's status says that not all were 0"

# -- its statuses -------------------------------------------------------------

seq 7 >"$work/list"
# a name of its own for the job, and for the list, which nobody should have chosen
cp "$work/list" "$work/it=7"
submit -J "a='b,c=\$n" -N 2 -c 2 --mem=256M "$SCRIPTS/functions.sbatch" "it=7" \
	-m 32M -k "$GUEST/exit.elf" -a 'status={}'
ended
is "$(told JobState ExitCode) $(xargs <"$work/a='b,c=\$n-$job/statuses")" \
	"0 FAILED 1:0 1 1 2 2 3 3 4 4 5 5 6 6 7 7" \
	"no character in the names of a job and its list has a meaning"
is "$(cat "$work/a='b,c=\$n-$job"/*.events | grep -c '"reason":"exited"')" 7 \
	"and the events are where they belong"
functions list 2 -k "$GUEST/exit.elf" -a status=0 -a "it's {n} {} \$n \"{\""
ended
is "$(told JobState ExitCode) $(xargs <"$work/functions-$job/statuses")" \
	"0 COMPLETED 0:0 1 0 2 0 3 0 4 0 5 0 6 0 7 0" \
	"all guests' status is 0, and so is the job's"

printf 'exit\nno-such\npanic\nhello\n' >"$work/list"
functions list 1 -k "$GUEST/{}.elf" -a status=3
ended
is "$(told JobState ExitCode) $(xargs <"$work/functions-$job/statuses")" \
	"0 FAILED 125:0 1 3 2 125 not-started 3 123 4 0" \
	"one that could not be started makes the job's 125, and stops no other"
like "$(cat "$work/functions-$job.log")" 'no-such.elf: No such file' \
	"and the job's log has what mote said"

printf '10\n200\n20\n' >"$work/list"
functions list 1 -k "$GUEST/touch.elf" -m 1G -a 'mib={}' --timeout 60s
ended
is "$(sed 's/ .*//' "$work/functions-$job/statuses" | xargs)" "1 2 3" \
	"guests that fit in --mem together run"
seq 4 >"$work/list"
submit -N 1 -c 1 --mem=64M "$SCRIPTS/functions.sbatch" list -k "$GUEST/touch.elf" \
	-m 1G -a 'mib={}00'
ended
is "$(sort -u -k 2 "$work/functions-$job/statuses" | cut -d ' ' -f 2)" 137 \
	"one that does not is killed, and its status says so"

# -- one that ends early, and one that is begun again --------------------------

seq 20 >"$work/list"
functions list 2 -k "$GUEST/button.elf"
ok "as many run at once as the job has CPUs" until_is 4 sh -c \
	"cat '$work/functions-$job'/*.out | grep -c waiting"
slurm scancel "$job"
ended
is "$(told JobState) $(sort -n "$work/functions-$job"/*.statuses | xargs)" \
	"0 CANCELLED 1 0 stopped 2 0 stopped 3 0 stopped 4 0 stopped" "scancel: those power off, and no other is started"

truncate -s 0 "$work/ran"
printf '%s\n' '#!/bin/sh' "echo \"\$2\" >>$there/ran" \
	"[ \"\$2\" -le 6 ] || [ -e $there/go ] || exec sleep 1000" \
	'exec mote "$@"' >"$work/mote"
chmod 755 "$work/mote"
chmod 666 "$work/ran"
seq 12 >"$work/list"
submit -N 2 -c 2 --mem=256M --export="ALL,MOTE=$there/mote" \
	"$SCRIPTS/functions.sbatch" list -m 32M -k "$GUEST/exit.elf" -a status=0
ok "some guests have ended when a node dies" until_is 6 sh -c \
	"cat '$work/functions-$job'/*.statuses | wc -l"
# the last of its nodes is not the controller's
node=$(slurm squeue -h -j "$job" -o %N)
node=$(slurm scontrol show hostnames "$node" | tail -n 1)
"$CLUSTER" kill "$node"
touch "$work/go"
ended
is "$(told JobState ExitCode Restarts) $(cut -d ' ' -f 2- "$work/functions-$job/statuses" |
	sort | uniq -c | xargs)" "0 COMPLETED 0:0 1 12 0" "the job begins again, elsewhere, and all have ended"
is "$(sort -n "$work/ran" | uniq -c | awk '$2 <= 6 { print $1 }' | xargs)" \
	"1 1 1 1 1 1" "and those that had a status were not started again"
"$CLUSTER" up

# -- what it costs ------------------------------------------------------------

# The CPU time that all nodes use, by their cgroup, for a job of a thousand guests
# and for xargs with as many, in turns; of each the least, which others disturb
# least. Slurm is asked for nothing meanwhile.
seq 1000 >"$work/list"
bare() {
	"$CLUSTER" in -u guest n1 sh -c "
		xargs -a '$there/list' -P 6 -I N mote -m 32M -k '$GUEST/exit.elf' \
			-a status=0 >/dev/null"
}
by_slurm() {
	functions list 3 -k "$GUEST/exit.elf" -a status=0
	until_is 1000 sh -c "wc -l <'$work/functions-$job/statuses'"
	ended
}
cost_of() {
	before=$("$CLUSTER" cpu)
	"$@"
	echo "$(($("$CLUSTER" cpu) - before)) $*"
}
for _ in 1 2 3; do
	cost_of bare
	cost_of by_slurm
done >"$work/costs"
sed 's/^/# us: /' "$work/costs"
least=$(sort -n "$work/costs" | awk '!($2 in us) { us[$2] = $1 }
	END { printf "%.2f %.2f %.3f", us["bare"] / 1000000, us["by_slurm"] / 1000000,
		us["by_slurm"] / us["bare"] }')
echo "# ms of CPU a guest by xargs, by a job, their ratio: $least"
ok "a guest costs at most 1.2 times the CPU time that it does by xargs alone" \
	[ "$(echo "${least##* }" | awk '{ print $1 <= 1.2 }')" = 1 ]

ok "nothing is left on any node" until_is '' left
done_testing
