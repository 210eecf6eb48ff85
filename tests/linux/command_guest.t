#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The guest that a command finds itself in: what is mounted, that its own name
# leads somewhere, where temporary files go; that the usual programs switch it
# off; and what is said where it has no memory any more.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

minimal

command() {
	command_name=$1
	shift
	# shellcheck disable=SC2086 # words
	boot "$command_name" $modules "$@"
}

root=$tmp/root
mkdir -p "$root/bin" "$root/etc"
cp build/guest/busybox "$root/bin"
ln -s busybox "$root/bin/sh"
# Not mke2fs: to busybox's shell that is one of its own programs.
images() {
	/sbin/mke2fs -q -t ext4 -d "$root" "$tmp/bare" 8M &&
		echo "192.0.2.7 elsewhere # and not mote" >"$root/etc/hosts" &&
		/sbin/mke2fs -q -t ext4 -d "$root" "$tmp/hosts" 8M
}
images >"$tmp/images" 2>&1 || {
	cat "$tmp/images"
	exit 1
}

look='b=busybox
type() { $b sed -n "s|^[^ ]* $1 \([a-z0-9]*\) .*|\1|p" /proc/mounts; }
echo mounts=$(type /run) $(type /dev/mqueue) $(type /sys/fs/cgroup)
echo tmp=$(type /tmp) $($b stat -c %a /tmp) $($b stat -c %a /run/lock)
echo name=$($b hostname) $($b hostname -i) $($b grep -c . /etc/hosts)
echo first=$($b head -n 1 /etc/hosts)
echo left >/tmp/left
$b umount /etc/hosts; echo own=$($b cat /etc/hosts)
'
command bare -d "$tmp/bare,root" -- sh -c "$look"
command hosts -d "$tmp/hosts,root,ephemeral" \
	-a ip=192.0.2.9::192.0.2.1:255.255.255.0:box:lo:off -- sh -c "$look"
ended bare
is "$(got mounts)" "tmpfs mqueue cgroup2" \
	"/run, /dev/mqueue and /sys/fs/cgroup are mounted"
is "$(got tmp)" " 1777 1777" \
	"/tmp is on a disk that is written to, and everybody's, as is /run/lock"
is "$(got name)" mote \
	"a disk that is kept, and has no /etc/hosts, is not given one"
command ro -d "$tmp/bare,root,ro" -- sh -c "$look"
command initrd -a hostname=job-7 -- sh -c "$look"
ended hosts
is "$(got name)" "box 192.0.2.9 2" \
	"the host name resolves where the disk has /etc/hosts: to the address of ip="
is "$(got first)" "192.0.2.9 box" "the guest's own name comes first"
is "$(got own)" "192.0.2.7 elsewhere # and not mote" \
	"the disk's own /etc/hosts stays as it is"
ended ro
is "$(got tmp)" "tmpfs 1777 1777" "/tmp is in memory over a read-only disk"
is "$(got name)" "mote 127.0.1.1 3" \
	"the host name resolves where a read-only disk has no /etc/hosts"
ended initrd
is "$(got tmp)" "tmpfs 1777 1777" "/tmp is in memory without a disk"
is "$(got name)" "job-7 127.0.1.1 3" \
	"hostname= is the name of the machine, which resolves without a disk"
command again -d "$tmp/bare,root" -- sh -c 'busybox cat /tmp/left'

# -- poweroff -----------------------------------------------------------------

# As busybox does it, as systemd does, and as its tools do without it: the request
# of sysvinit, of 384 bytes: magic, command 1, runlevel.
request='{ printf "\151\031\011\003\1\0\0\0\60\0\0\0"; busybox head -c 372 /dev/zero; } >/run/initctl'
command signal -d "$tmp/hosts,root,ephemeral" -- \
	sh -c 'echo begun; kill -USR2 1; busybox sleep 999'
ended again
is "$(cat "$out")" left "what is in /tmp on a disk is there again"
command request -d "$tmp/hosts,root" -- \
	sh -c "echo begun; echo kept >/kept; $request; busybox sleep 999"
ended signal
ends 123 poweroff "a command that asks process 1 for power-off ends the guest"
is "$(cat "$out")" begun "what it had printed before is there"
like "$(cat "$err")" "^mote: the guest powered off before the command had ended" \
	"that there is no status is said"
command restart -- sh -c 'kill -TERM 1; busybox sleep 999'
ended request
ends 123 poweroff "a request by /run/initctl is obeyed"
run e2fsck -fn "$tmp/hosts"
is "$status" 0 "the disk is clean after it"
command kept -d "$tmp/hosts,root" -- sh -c 'busybox cat /kept'
ended restart
ends 123 reboot "a command that asks process 1 for a restart: that is a reboot"
command nonsense -- sh -c 'echo nonsense >/run/initctl; busybox sleep 1; exit 4'
ended kept
is "$(cat "$out")" kept "what was written before is on the disk"
ended nonsense
ends 4 exited "nonsense in /run/initctl is ignored"

# -- out of memory ------------------------------------------------------------

# Whatever is asked for is given; what is used is another matter.
fill='echo 1 >/proc/sys/vm/overcommit_memory; busybox tail /dev/zero'
command oom -m 64M -- sh -c "$fill"
command child -m 64M -- sh -c "$fill; exit 3"
ended oom
ends 137 oom "a command that its kernel kills as there is no memory: reason oom"
is "$(cat "$err")" "mote: out of memory in the guest: its kernel has killed the command; give --memory more" \
	"that the guest was out of memory is said in one line"
command fine -m 64M -- sh -c "$fill; exit 0"
ended child
ends 3 exited "a command that lost a process so has its own status"
like "$(cat "$err")" "^mote: out of memory in the guest: .* a process; give --memory more" \
	"that it lost one is said"
debian
command counted -m 128M -- sh -c "$fill"
minimal
ended fine
ends 0 exited "a command that did well all the same"
is "$(cat "$err")" "Killed" "of a process lost by a command that did well nothing is said by mote"
command killed -- sh -c 'kill -KILL $$'
ended counted
ends 137 oom "reason oom with Debian's kernel, which counts such ends"
ended killed
ends 137 exited "a command that is killed otherwise is none of those"
is "$(cat "$err")" "" "and nothing is said"

done_testing
