#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The machine as Linux sees it: memory, processors, clocks, interrupts, what
# the kernel complains of; with ACPI and, where its kernel can do without, by
# the MP table alone.
# needs: the minimal kernel
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

# Lines of level "warning" or worse that Debian's kernel may print, as extended
# regular expressions, each with the reason why. Anything else is a failure.
allowed() {
	# There is no PCI. pci=off only keeps Linux from looking for it; no
	# word on the command line keeps it from saying this.
	echo 'PCI: Fatal: No config space access function found'
	echo 'PCI: System does not support PCI'
	emulated || return
	# True there: an interrupt does take milliseconds.
	echo 'hrtimer: interrupt took [0-9]+ ns'
	echo 'clocksource: Long readout interval, skipping watchdog check'
}

facts='
dmesg -r >/d
echo lines=$(wc -l </d)
grep "^<[0-4]>" /d | sed "s/^/warns=/"
grep -iE "unhandled|bios bug|firmware bug|soft lockup|stall" /d |
	sed "s/^/bug=/"
echo ram=$(($(grep "System RAM" /proc/iomem | sed "s/^ *//; s/ .*//" |
	sort -u | sed "s/\(.*\)-\(.*\)/+1+0x\2-0x\1/" | tr -d "\n")))
echo total=$(sed -n "s/MemTotal: *\(.*\) kB/\1/p" /proc/meminfo)
echo nproc=$(nproc)
echo online=$(cat /sys/devices/system/cpu/online)
cd /sys/devices/system/clocksource
echo clock=$(cat clocksource0/current_clocksource)
echo deadline=$(grep -c "TSC deadline timer available" /d)
echo timers=$(grep -c "Clock Event Device: lapic-deadline" /proc/timer_list)
echo ioapic=$(grep -c "IO-APIC.*ttyS0" /proc/interrupts)
echo pic=$(grep -c "XT-PIC" /proc/interrupts)
echo rtc=$(grep -c "rtc_cmos .*setting system clock to" /d)
echo ged=$(grep -c "IO-APIC.*ACPI:Ged" /proc/interrupts)
echo svm=$(grep -cE "^flags.* (svm|vmx)( |$)" /proc/cpuinfo)
cd /sys/devices/system/cpu
echo topology=$(sort -u cpu*/topology/core_id | wc -l) \
	$(sort -u cpu*/topology/physical_package_id | wc -l)
echo date=$(date +%s)
'

# warnings: those of the guest that are not allowed
warnings() {
	allowed >"$tmp/allowed"
	got warns | grep -Evf "$tmp/allowed"
}

job mp <<'END'
dmesg >/d
echo mp=$(grep -c "Intel MultiProcessor Specification v1.4" /d)
echo acpi=$(grep -c "ACPI: RSDP" /d)
echo rtc=$(grep -c "rtc_cmos .*setting system clock to" /d)
echo nproc=$(nproc)
echo online=$(cat /sys/devices/system/cpu/online)
echo ioapic=$(grep -c "IO-APIC.*ttyS0" /proc/interrupts)
reboot -f
END

# near GOT WANTED PERCENT: GOT is that many percent less at most, and no more
near() {
	[ "$1" -le "$2" ] && [ "$1" -ge $(($2 - $2 / 100 * $3)) ]
}

# common CPUS MIB: what every one of these guests must show
common() {
	ends 0 poweroff "$2 MiB, $1 processors: boots and powers off"
	is "$(got nproc) $(got online)" \
		"$1 $([ "$1" = 1 ] && echo 0 || echo "0-$(($1 - 1))")" \
		"$2 MiB, $1 processors: all are online"
	# all but what lies below 1 MiB
	ok "$2 MiB, $1 processors: RAM is of that size" \
		near "$(($(got ram) / 1024))" $(($2 * 1024)) 1
	is "$(warnings)" "" "$2 MiB, $1 processors: no warning and no error"
	is "$(got bug)" "" \
		"$2 MiB, $1 processors: nothing unhandled, no bug, no stall"
	is "$(got clock)" kvm-clock \
		"$2 MiB, $1 processors: the clock is kvm-clock"
	is "$(got ioapic) $(got pic)" "1 0" \
		"$2 MiB, $1 processors: the serial port interrupts by the IOAPIC, nothing by the PIC"
}

echo "$facts" | job facts
began=$(date +%s)

# 64 MiB: Debian's kernel itself takes 46 of them, and the nodes of its
# /sys/kernel/tracing 9 more; QEMU cannot boot it in less than 80 either. In
# lockdown there is no tracing, so it fits.
boot small -m 64M -i "$tmp/facts.job" \
	-a "lsm=lockdown lockdown=confidentiality"
boot two -m 3G -c 2 -i "$MODULES" -i "$tmp/facts.job"
ended small
ends 0 poweroff "a guest of 64 MiB boots and powers off"
ok "a guest of 64 MiB has that much RAM" near "$(($(got ram) / 1024))" 65536 1
is "$(got nproc) $(got online)" "1 0" \
	"a guest has one processor where -c is not given"
is "$(got bug)" "" \
	"a guest of 64 MiB has nothing unhandled, no bug and no stall"

ended two
common 2 3072
ok "MemTotal of 3 GiB is that less a few percent" near "$(got total)" 3145728 5
ok "the kernel's log is that of a whole boot" [ "$(got lines)" -gt 200 ]
like "$(got deadline) $(got timers)" "^1 [1-9]" \
	"the TSC deadline timer is there and in use"
is "$(got ged)" 1 "the power button interrupts by the IOAPIC"
is "$(got rtc)" 1 "the kernel sets its clock by the one that ACPI tells of"
is "$(got svm)" 0 "there is no svm and no vmx unless asked for"
is "$(got topology)" "2 1" "two processors are two cores of one package"
date=$(got date)
ok "the guest's date is the host's" \
	[ "$date" -ge "$began" -a "$date" -le "$(date +%s)" ]

# 5 GiB go around the gap below 4 GiB. Nothing is reserved, so this is no
# matter of how much memory there is.
boot five -m 5G -c 8 -i "$tmp/facts.job"
# The cloud kernel cannot read an MP table; Debian's kernel for other machines
# can.
kernel=build/guest/generic
boot mp -c 2 -m 256M -a acpi=off -i "$tmp/mp.job"
kernel=build/guest/vmlinux
ended five
common 8 5120
ok "MemTotal of 5 GiB is that less a few percent" near "$(got total)" 5242880 5
is "$(got topology)" "8 1" "eight processors are eight cores of one package"

ended mp
ends 0 reboot "a guest without ACPI boots, and ends by reboot=t"
is "$(got mp)" 1 "a guest without ACPI finds the MP table"
is "$(got nproc) $(got online)" "2 0-1" \
	"a guest without ACPI has both processors"
is "$(got ioapic)" 1 \
	"a guest without ACPI has the serial port interrupt by the IOAPIC"
is "$(got rtc)" 1 "a guest without ACPI sets its clock, too"
is "$(got acpi)" 0 "a guest without ACPI has seen none"

minimal
boot many -m 512M -c 64 -i "$tmp/facts.job"
ended many
common 64 512

done_testing
