#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# gitlab-mote as GitLab Runner calls it (the custom executor's contract): what its
# stages say to the runner, with bare-metal guests that end in all ways. That a
# job's files survive in Linux guests is tests/linux/gitlab.t's.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"

driver=$PWD/boot/fleet/ci/gitlab-mote
guests=$PWD/$GUESTS
runner=$tmp/custom-executor1234
code=$tmp/code
chmod 755 "$tmp"
mkdir -m 700 "$runner"
jobs="$tmp/all jobs,here"
mkdir "$tmp/images" "$jobs"
truncate -s 1M "$tmp/root.img" "$tmp/images/group_app:1.img"
: >"$tmp/empty"

# What the runner sets; statuses other than its real ones, which are 1 and 2.
export BUILD_FAILURE_EXIT_CODE=41 SYSTEM_FAILURE_EXIT_CODE=42
export BUILD_EXIT_CODE_FILE="$code" JOB_RESPONSE_FILE="$runner/response.json"
# What an administrator sets.
export MOTE_CI_DIR="$jobs" MOTE_CI_ROOT="$tmp/root.img" MOTE_CI_SIZE=16M
export MOTE_CI_MEMORY=64M MOTE_CI_CPUS=1 MOTE_CI_NET='' MOTE_CI_GRACE=0
MOTE=$(realpath "$MOTE")
export MOTE

# job_is JSON
job_is() {
	echo "$1" >"$JOB_RESPONSE_FILE"
}

# kernel NAME [WORDS]: the guest of the next stages
kernel() {
	export MOTE_CI_KERNEL="$guests/$1.elf" MOTE_CI_ARGS="${2:+-a $2}"
}

# driver ARG...: $status, $out, $err
driver() {
	rm -f "$code"
	run env TMPDIR="$runner" "$driver" "$@"
}

# The status, what is in the file for a script's own, and the number of jobs that
# have a disk.
says_runner() {
	echo "$status ${1:-$(cat "$code" 2>/dev/null)} $(find "$jobs" -name disk |
		wc -l)"
}

job_is '{"id": 77, "runner_info": {"timeout": 3600}}'

# -- what it tells the runner -------------------------------------------------

driver config
is "$status $(jq -r '[.builds_dir, .cache_dir, .builds_dir_is_shared, .driver.name,
	.driver.version] | join(" ")' <"$out")" \
	"0 /job/builds /job/cache false mote $("$MOTE" -V)" \
	"config: directories on the job's disk, and which driver it is"
kernel exit status=0
driver prepare
is "$(says_runner) $(blkid -o value -s TYPE "$jobs"/*/disk)" "0  1 ext4" \
	"prepare: a disk for the job"
driver run "$tmp/empty" build_script
is "$(says_runner)" "0  1" "run: a script that succeeds"
for n in 1 99 123 124 125 143; do
	kernel exit status=$n
	driver run "$tmp/empty" build_script
	is "$(says_runner)" "41 $n 1" \
		"run: a script's own status $n is a failure of the build"
done
kernel panic
driver run "$tmp/empty" build_script
is "$(says_runner)" "42  1" "run: a panic is the system's failure"
like "$(cat "$err")" "^Kernel panic - not syncing: by choice" \
	"run: what the kernel said last is in the job's log"
like "$(cat "$err")" "^gitlab-mote: the guest died \(panic\)" \
	"run: a panic is said"
kernel hang
MOTE_CI_TIMEOUT=1s driver run "$tmp/empty" build_script
is "$(says_runner)" "41  1" "run: a time limit is a failure of the build"
like "$(cat "$err")" "build_script took longer than 1s" "run: a time limit is said"
kernel nothing
driver run "$tmp/empty" build_script
is "$(says_runner)" "42  1" "run: a kernel that is not there is the system's failure"
like "$(cat "$err")" "^mote: cannot open --kernel .*/nothing.elf: No such file" \
	"run: mote's line about it is in the job's log"
driver cleanup
is "$(says_runner) $(ls "$jobs")" "0  0 " "cleanup: nothing of the job is left"
driver cleanup
is "$status" 0 "cleanup: there may be nothing to do"
driver run "$tmp/empty" build_script
is "$(says_runner)" "42  0" "run: a job that was not prepared is the system's failure"
like "$(cat "$err")" "job 77 was not prepared" "run: that it was not prepared is said"

driver prepare
is "$(says_runner)" "42  1" "prepare: where no guest can start the runner may try again"
like "$(cat "$err")" "no guest can start here \(error 125\)" "prepare: and it says so"
kernel exit status=127
driver prepare
is "$(says_runner)" "41  1" "prepare: a root without a shell is the build's failure"
driver cleanup
kernel exit status=0
MOTE_CI_SIZE=rubbish driver prepare
is "$(says_runner)" "42  0" "prepare: a disk that cannot be made is the system's failure"
driver cleanup
MOTE_CI_DIR=/proc/nothing driver prepare
is "$(says_runner)" "42  0" \
	"prepare: a directory that cannot be written to is the system's failure"

# -- what jobs may say --------------------------------------------------------

export CUSTOM_ENV_CI_JOB_ID="../../\$(touch $tmp/bad)"
export CUSTOM_ENV_CI_JOB_IMAGE='a;b' CUSTOM_ENV_PATH=/nothing
# shellcheck disable=SC2016 # hostile
export CUSTOM_ENV_MOTE='$(reboot)' CUSTOM_ENV_MOTE_CI_KERNEL=/etc/passwd
driver prepare
is "$(says_runner) $(cd "$jobs" && ls)" "0  1 77.custom-executor1234" \
	"the number that a job gives itself is not believed"
driver run "$tmp/empty" 'a b;$(c)'
is "$status" 0 "a stage may have any name"
driver cleanup
for id in '"../77"' '"7 7"' null -1 '"$(reboot)"' '{"a":1}' 1.5; do
	job_is "{\"id\": $id}"
	driver prepare
	is "$(says_runner)" "42  0" "a job with the number $id is refused"
done
job_is 'rubbish'
driver prepare
is "$(says_runner)" "42  0" "what the runner wrote has to be JSON"
JOB_RESPONSE_FILE=$tmp/nothing driver prepare
is "$(says_runner)" "42  0" "a runner that does not say which job it is is refused"
is "$(ls "$tmp/bad" 2>/dev/null)" "" "nothing of a job's words was run"

export MOTE_CI_IMAGES="$tmp/images"
job_is '{"id": 78, "image": {"name": "group/app:1"}}'
driver prepare
is "$(says_runner) $(cat "$jobs"/78*/root)" "0  1 $tmp/images/group_app:1.img" \
	"a job's image is a file of the runner's images"
driver run "$tmp/empty" build_script
is "$status" 0 "later stages have the same image"
driver cleanup
for image in other ../root '.' 'a b' '$(reboot)' '-x;y' 'a,b'; do
	job_is "$(jq -n --arg image "$image" '{id: 79, image: {name: $image}}')"
	driver prepare
	is "$(says_runner)" "41  0" "the image '$image' is refused"
done
job_is '{"id": 79, "image": {"name": "group/other"}}'
driver prepare
like "$(cat "$err")" "mote-oci group/other $tmp/images/group_other" \
	"how an administrator makes an image that is not there is said"
driver cleanup

# -- cancelled ----------------------------------------------------------------

# start STAGE: as the runner does, in a process group of its own; $pid
start() {
	rm -f "$jobs"/80*/events
	: >"$out"
	env TMPDIR="$runner" setsid "$driver" run "$tmp/empty" "$1" \
		>"$out" 2>"$err" &
	pid=$!
}

started() {
	grep -q '"event":"start"' "$jobs"/80*/events
}

guest_alive() {
	[ -n "$(pgrep -f -- "--name gitlab-80 --events $tmp/")" ]
}

job_is '{"id": 80}'
driver prepare
kernel hang
start build_script
await started
kill -TERM "-$pid"
guest_end
is "$(says_runner -)" "41 - 1" "SIGTERM to the process group ends the guest"
like "$(cat "$err")" "build_script was cancelled" "that it was cancelled is said"
like "$(cat "$jobs"/80*/events)" '"reason":"signal","status":143' \
	"and the guest has ended by that signal"
start build_script
await started
kill -TERM "$pid"
guest_end
is "$status" 41 "SIGTERM to the driver alone does so as well"

start build_script
await started
kill -KILL "-$pid"
guest_end
ok "a driver that is killed leaves its guest" guest_alive
driver cleanup
is "$(says_runner) $(guest_alive && echo alive)" "0  0 " \
	"cleanup ends a guest that was left"

kernel exit status=0
driver prepare
kernel hang
start build_script
await started
kill -KILL "-$pid"
guest_end
kernel exit status=0
driver prepare
is "$(says_runner) $(guest_alive && echo alive)" "0  1 " \
	"so does another attempt to prepare the job"
kernel hang
start build_script
await started
pkill -KILL -f -- "--name gitlab-80 --events $tmp/"
guest_end
is "$(says_runner -)" "42 - 1" "a guest that was killed is the system's failure"
like "$(cat "$err")" "mote was killed" "that it was killed is said"
start build_script
await started
pkill -TERM -f -- "--name gitlab-80 --events $tmp/"
guest_end
is "$(says_runner -)" "42 - 1" \
	"a guest that somebody else has stopped is the system's failure"
driver cleanup

# -- settings -----------------------------------------------------------------

cat >"$tmp/settings" <<END
MOTE_CI_KERNEL=$guests/exit.elf
MOTE_CI_ARGS='-a status=6 --log info'
MOTE_CI_EVENTS="$tmp/all events"
END
job_is '{"id": 81}'
kernel exit status=0
driver prepare
driver -c "$tmp/settings" run "$tmp/empty" build_script
is "$(says_runner)" "41 6 1" "settings come from a file"
like "$(cat "$tmp/all events")" \
	'"reason":"exited","status":6.*"name":"gitlab-81"' \
	"the events of all jobs are in one file"
driver -c "$tmp/none" prepare
is "$status" 42 "settings that cannot be read are the system's failure"
driver cleanup
for words in '' 'other' 'run' "run $tmp/nothing stage"; do
	# shellcheck disable=SC2086 # words
	driver $words
	is "$status" 42 "called as 'gitlab-mote $(echo "$words" |
		sed 's|/[^ ]*/||')' it fails as the system"
done
mkdir "$tmp/bin"
for program in sh jq sed tr mkfs.ext4; do
	ln -s "$(command -v $program)" "$tmp/bin"
done
run env PATH="$tmp/bin" sh -c "PATH=$tmp/bin; exec \"$driver\" config"
like "$status $(cat "$err")" "42 .*there is no setsid on this machine" \
	"a program that is missing is named"

# -- several at once ----------------------------------------------------------

# one NUMBER: a whole job
one() (
	export TMPDIR="$tmp/custom-executor$1" MOTE_CI_ARGS="-a status=$1"
	export BUILD_EXIT_CODE_FILE="$TMPDIR/code"
	mkdir "$TMPDIR"
	export JOB_RESPONSE_FILE="$TMPDIR/response.json"
	echo '{"id": 90}' >"$JOB_RESPONSE_FILE"
	MOTE_CI_ARGS='-a status=0' "$driver" prepare && {
		"$driver" run "$tmp/empty" build_script
		echo "$? $(cat "$BUILD_EXIT_CODE_FILE")" >"$TMPDIR/says"
	}
	"$driver" cleanup
)
kernel exit status=0
one_pids=
for n in 11 12 13 14 15 16; do
	one $n >"$tmp/one$n" 2>&1 &
	one_pids="$one_pids $!"
done
# shellcheck disable=SC2086 # words
wait $one_pids
is "$(cat "$tmp"/custom-executor1[1-6]/says)" "41 11
41 12
41 13
41 14
41 15
41 16" "jobs of one number, of several servers, do not meet"
is "$(ls "$jobs")" "" "and nothing of them is left"

if [ "$(id -u)" -eq 0 ]; then
	chown -R 54321:54321 "$runner" "$jobs" # of tests/as-user
	chmod 755 "$tmp"
	job_is '{"id": 91}'
	chmod 644 "$tmp"/*.img "$JOB_RESPONSE_FILE"
	run env TMPDIR="$runner" tests/as-user "$driver" prepare
	is "$(says_runner)" "0  1" "an ordinary user can prepare a job"
	kernel exit status=9
	rm -f "$code"
	export BUILD_EXIT_CODE_FILE="$runner/code"
	run env TMPDIR="$runner" tests/as-user "$driver" run "$tmp/empty" script
	is "$status $(cat "$runner/code")" "41 9" "an ordinary user can run a job"
	run env TMPDIR="$runner" tests/as-user "$driver" cleanup
	is "$status $(ls "$jobs")" "0 " "an ordinary user can clean up"
fi

done_testing
