#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The minimal kernel of `make kernel`: that it boots from what mote gives it,
# finds the whole machine without a module and without a complaint, and ends
# in each of the ways that Debian's does.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

minimal
[ -z "$modules" ] || {
	echo "1..0 # SKIP no build/kernel/vmlinux here: \`make kernel\` builds it"
	exit 0
}

job facts <<'END'
outb 0x507 1
dmesg -r >/d
# A stall is the host's, which is busy or loses an interrupt (tests/README.md).
echo lines=$(wc -l </d)
sed "/rcu: INFO: .* stall/,/<\\/TASK>/d" /d | grep "^<[0-4]>" | sed "s/^/warns=/"
echo release=$(uname -r)
echo modules=$(ls /proc/modules 2>/dev/null)
echo nproc=$(nproc)
cd /sys/devices/system/clocksource
echo clock=$(cat clocksource0/current_clocksource)
echo irqs=$(grep -cE "IO-APIC.*(ttyS0|virtio|ACPI:Ged)" /proc/interrupts)
cd /sys/bus/virtio/drivers
echo drivers=$(echo *)
echo bound=$(ls -d */virtio* | wc -l)
echo panic=$(ls -d /sys/bus/*/drivers/pvpanic-mmio/QEMU0001* | wc -l)
echo systems=$(grep -cwE "ext[24]|erofs|overlay|tmpfs|devpts" /proc/filesystems)
echo disk=$(head -n 1 /dev/vda) $(blockdev --getsize64 /dev/vda)
cd /sys/devices/system/cpu/vulnerabilities
grep -HvE "Not affected|Mitigation|^Vulnerable" * | sed "s/^/leak=/"
ip link set lo up && ping -c 1 127.0.0.1 >/dev/null && echo lo=up
echo eth0=$(cat /sys/class/net/eth0/address)
exec 3<>/dev/ptmx
echo pty=$(cd /dev/pts && echo [0-9]*)
unshare -mpfniu echo unshare=works
END
echo "this disk" >"$tmp/disk"
truncate -s 1M "$tmp/disk"
socat "UNIX-LISTEN:$tmp/net" PIPE &
peer=$!
until_is 10 [ -S "$tmp/net" ]
boot facts -c 2 -i "$tmp/facts.job" -d "$tmp/disk,ro" --vsock "$tmp/vsock" \
	-n "unix=$tmp/net,mac=52:54:00:12:34:56" --timing

job small <<'END'
echo total=$(sed -n "s/MemTotal: *\(.*\) kB/\1/p" /proc/meminfo)
reboot -f
END
boot small -m 32M -i "$tmp/small.job"

ended facts
kill "$peer" 2>/dev/null
ends 0 poweroff "the minimal kernel boots and powers off"
is "$(got release) $(got modules)" "$(cat build/kernel/release) " \
	"it is the minimal kernel that was built, and it has no modules"
is "$(got warns)" "" "the minimal kernel has no warning and no error"
ok "the minimal kernel's log is that of a whole boot" [ "$(got lines)" -gt 60 ]
is "$(got nproc) $(got clock)" "2 kvm-clock" \
	"the minimal kernel has both processors and kvm-clock"
is "$(got irqs)" 5 \
	"in the minimal kernel serial port, power button and three devices interrupt"
is "$(got bound) of $(got drivers)" \
	"3 of virtio_blk virtio_net vmw_vsock_virtio_transport" \
	"the minimal kernel has the drivers of mote's devices, and each device is bound"
is "$(got panic)" 1 "the minimal kernel finds pvpanic"
is "$(got disk)" "this disk 1048576" "the minimal kernel reads a disk"
is "$(got systems)" 6 \
	"the minimal kernel has ext2, ext4, erofs, overlay, tmpfs and devpts"
is "$(got eth0) $(got lo)" "52:54:00:12:34:56 up" \
	"the minimal kernel has the network with its address, and the loopback"
is "$(got pty)" 0 "the minimal kernel has pseudo-terminals"
is "$(got unshare)" works "the minimal kernel has name spaces"
is "$(got leak)" "" \
	"the minimal kernel knows what it did about each flaw of the processor"
sed -n 's/.*timing: /# /p' "$err"

ended small
ends 0 reboot "the minimal kernel boots in 32 MiB, and reboots"
ok "half of 32 MiB is left for programs" [ "$(got total)" -gt 16384 ]

# A command by vsock, of which no module knows; without a word on the console.
boot command --timing -- sh -c 'echo first; exit 42'
ended command
ends 42 exited "the minimal kernel runs one command"
is "$(cat "$out")" first "the minimal kernel's command has its output"
sed -n 's/.*timing: ready/# exec to command: ready/p' "$err"

job panic <<'END'
outb 0x507 1
echo c >/proc/sysrq-trigger
END
job stay <<'END'
outb 0x507 1
while :; do sleep 1; done
END
# Words that tell a panic without a driver are left away: it has the driver.
boot panic --cmdline "console=ttyS0 quiet reboot=t panic=-1" -i "$tmp/panic.job"
boot stay -c 8 -i "$tmp/stay.job"
ended panic
ends 123 panic "a panic of the minimal kernel is told by pvpanic"
like "$(cat "$out")" "Call Trace" "a panic of the minimal kernel has a trace"
like "$(cat "$out")" "sysrq_handle_crash\+0x" \
	"the trace of the minimal kernel has names"
ok "the minimal kernel with 8 processors waits" until_is "$LIMIT" waiting stay
kill -TERM "$(pid_of stay)"
ended stay
ends 0 poweroff \
	"SIGTERM is the power button, by which the minimal kernel powers off"

done_testing
