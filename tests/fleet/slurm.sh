# SPDX-License-Identifier: Apache-2.0
# What the tests share that have Slurm run guests on the rig; to be sourced.
#
#	slurm COMMAND...	runs it as the ordinary user, on n0
#	submit ARG...		sbatch's; $job is its number
#	tasks			sbatch's guests.sbatch: in a directory of the test's
#	ended			until $job is over
#	told FIELD...		those fields of scontrol's, a line for each task of
#				$job, by its number
#	say TASK, see TASK	the log of that task, and its events
#
# shellcheck shell=sh
# shellcheck source=tests/fleet/rig.sh
. "${0%/*}/rig.sh"

GUEST=/opt/mote/guests
SCRIPTS=/opt/mote/fleet/slurm
work=$SHARED/$(basename "$0" .t)
there=/shared/$(basename "$0" .t)
job=

slurm() {
	"$CLUSTER" in -u guest n0 "$@"
}

submit() {
	job=$(slurm sbatch --parsable -D "$there" "$@")
}

# tasks OPTION... -- MOTE-ARGUMENT...: as CI would
tasks() {
	tasks_options=
	while [ "$1" != -- ]; do
		tasks_options="$tasks_options $1"
		shift
	done
	shift
	# shellcheck disable=SC2086 # words
	submit --mem=64M $tasks_options "$SCRIPTS/guests.sbatch" -m 32M "$@"
}

ended() {
	until_is '' slurm squeue -h -j "$job" ||
		echo "# job $job is not over: $last"
}

told() {
	slurm scontrol show job -o "$job" | awk -v want="$*" '
	{
		n = split(want, name, " ")
		line = ""
		task = 0
		delete value
		for (i = 1; i <= NF; i++) {
			at = index($i, "=")
			value[substr($i, 1, at - 1)] = substr($i, at + 1)
		}
		for (i = 1; i <= n; i++)
			line = line (i > 1 ? " " : "") value[name[i]]
		print value["ArrayTaskId"] + 0, line
	}' | sort -n
}

say() {
	cat "$work/guests-${job}_$1.log" 2>/dev/null
}

see() {
	cat "$work/guests-$job".*.events 2>/dev/null |
		grep "\"name\":\"${job}_$1\""
}

says_so() {
	until_is yes sh -c "grep -q '$2' '$work/guests-${job}_$1.log' && echo yes"
}

# Nothing of a job is left on any node.
left() {
	for left_node in n0 n1 n2; do
		left_in "$left_node"
		"$CLUSTER" in "$left_node" sh -c 'ls -d /tmp/mote-* 2>/dev/null
			find /run/cg /sys/fs/cgroup -type d -name "job_*" 2>/dev/null'
	done
}

rm -rf "$work"
slurm mkdir "$there"
