#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Jobs of GitLab in Linux guests, through boot/fleet/ci/gitlab-mote as the runner
# calls it: a disk for each job, a guest for each stage. What it says of guests
# that end in other ways is tests/fleet/gitlab.t's.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

minimal

# The test host has it by its other name.
mkdir "$tmp/path"
ln -s /sbin/mke2fs "$tmp/path/mkfs.ext4"
PATH=$tmp/path:$PATH

# The root: busybox. jobs has what an administrator keeps.
root=$tmp/root
mkdir -p "$root/bin" "$tmp/jobs"
cp build/guest/busybox "$root/bin"
for applet in sh mount mkdir cat ls rm echo sleep sync test; do
	ln -s busybox "$root/bin/$applet"
done
mkfs.erofs --quiet --all-root "$tmp/root.erofs" "$root" >"$tmp/erofs" 2>&1 || {
	cat "$tmp/erofs"
	exit 1
}
printf '%s\n' -e 'OF_IMAGE=two  words' -w / -- sh >"$tmp/root.args"

export BUILD_FAILURE_EXIT_CODE=41 SYSTEM_FAILURE_EXIT_CODE=42
export MOTE_CI_KERNEL="$kernel" MOTE_CI_INITRD="${modules#-i }"
export MOTE_CI_ROOT="$tmp/root.erofs" MOTE_CI_DIR="$tmp/jobs" MOTE_CI_SIZE=64M
export MOTE_CI_MEMORY=128M MOTE_CI_CPUS=1 MOTE_CI_NET='' MOTE_CI_GRACE=0
export MOTE_CI_EVENTS="$tmp/all.events" MOTE

# stage JOB STAGE: in the background, as the runner does: with its script, which
# is stdin, and in a process group of its own
stage() {
	stage_dir=$tmp/custom-executor$1
	mkdir -p "$stage_dir"
	echo "{\"id\": $1}" >"$stage_dir/response.json"
	cat >"$stage_dir/script"
	set -- "$1" "$2" "$stage_dir/script"
	case $2 in
	prepare | cleanup) set -- "$1" "$2" "$2" ;;
	*) set -- "$1" "$2" run "$3" "$2" ;;
	esac
	stage_log=$tmp/$1.$2
	shift 2
	TMPDIR=$stage_dir JOB_RESPONSE_FILE=$stage_dir/response.json \
		BUILD_EXIT_CODE_FILE=$stage_dir/code \
		setsid boot/fleet/ci/gitlab-mote "$@" </dev/null \
		>"$stage_log.out" 2>"$stage_log.err" &
	echo $! >"$stage_log.pid"
}

# over JOB STAGE: its status, and the script's own
over() {
	ended "$1.$2"
	events=$tmp/all.events
	own=$(cat "$tmp/custom-executor$1/code" 2>/dev/null)
	rm -f "$tmp/custom-executor$1/code"
	says="$status $own"
}

# both STAGE
both() {
	over 1 "$1"
	says_1=$says
	over 2 "$1"
}

stage 1 prepare </dev/null
stage 2 prepare </dev/null
both prepare
is "$says_1$says" "0 0 " "prepare: a guest can mount the disk of each job"

# What the runner's scripts do: the script comes as input, which its commands do
# not read.
stage 1 get_sources <<'END'
set -e
: | eval 'mkdir builds/project; cd builds/project
echo "$PWD $OF_IMAGE" >file; cat
rm -rf /bin/ls; test ! -e /bin/ls; echo one >/left; echo fetched'
END
stage 2 get_sources <<'END'
test -d /job/cache && cat /job/builds/project/file
END
both get_sources
is "$says" "41 1" "a job has nothing of another one's disk"
out=$tmp/1.get_sources.out
is "$says_1 $(cat "$out")" "0  fetched" "a stage runs on the job's disk"

stage 1 step_script <<'END'
cat /job/builds/project/file
ls /left /bin/ls
exit 99
END
stage 2 step_script <<'END'
exit 125
END
both step_script
is "$says" "41 125" "a script's own 125 is a failure of the build"
out=$tmp/1.step_script.out
is "$says_1" "41 99" "a script's own status is told to the runner"
is "$(cat "$out")" "/job/builds/project two  words
/bin/ls" "the next stage has the job's files and the image's variables, and the root as it was"
like "$(cat "$tmp/1.step_script.err")" "/left: No such file" \
	"what a stage has written to its root is gone"

stage 1 after_script <<'END'
echo c >/proc/sysrq-trigger
END
stage 2 after_script <<'END'
trap 'echo ending; sync; exit 7' TERM
echo begun
echo begun >/job/begun; sync
while :; do sleep 1; done
END
ok "a script prints what it prints at once" \
	until_is "$LIMIT" grep -q begun "$tmp/2.after_script.out"
kill -TERM "-$(pid_of 2.after_script)"
both after_script
is "$says_1" "42 " "a panic of the guest's kernel is the system's failure"
like "$(cat "$tmp/1.after_script.err")" "sysrq.*crash|Kernel panic" \
	"and the kernel's last words are in the job's log"
is "$says $(cat "$out")" "41 7 begun
ending" "a job that is cancelled gets one SIGTERM, and time to end"

stage 1 archive_cache <<'END'
echo 1 >/dev/vdb
mount -o remount,ro /job
exec /bin/busybox poweroff -f
END
stage 2 archive_cache <<'END'
cat /job/begun
a=x; while a=$a$a$a$a; do :; done
END
both archive_cache
is "$says_1" "41 " "a script that ends its guest is the build's failure"
is "$status" 41 "a script that takes all memory is the build's failure"
like "$(cat "$out")" "^begun" "the disk is whole after a cancelled stage"

stage 1 cleanup </dev/null
stage 2 cleanup </dev/null
both cleanup
is "$says_1$says$(ls "$tmp/jobs")" "0 0 " "cleanup: nothing is left"
is "$(grep -c '"event":"exit".*"name":"gitlab-[12]"' "$MOTE_CI_EVENTS")" 10 \
	"the events of all stages are in one file"

done_testing
