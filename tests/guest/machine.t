#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The machine that a guest finds: entry state, memory, tables, CPUs, clocks.
# shellcheck source=tests/lib.sh
. "${0%/*}/../lib.sh"

# prints EXTENDED-REGULAR-EXPRESSION NAME: the last guest did well, and so said
prints() {
	if [ "$status" -eq 0 ]; then
		like "$(cat "$out")" "$1" "$2"
	else
		is "$(cat "$out")" "(status 0)" "$2"
	fi
}

guest entry
prints '^entry state is right$' "the state on entry is the boot protocol's"
guest cmdline -a 'one two' -a 'three="x y"'
prints '^\|.*reboot=[^ ]*.* one two three="x y"\|$' \
	"--append adds to the default command line"
guest cmdline --cmdline 'only this'
prints '^\|only this\|$' "--cmdline replaces it"
guest cmdline --cmdline ''
prints '^\|\|$' "--cmdline replaces the default by nothing, if so wished"
long=$(printf '%2047s' '' | tr ' ' x)
guest cmdline --cmdline "$long"
is "$(cat "$out")" "|$long|" "a command line of 2047 bytes arrives"
guest cmdline --cmdline "${long}x"
ends 125 error "a command line of 2048 bytes is too long"

# All but the last 385 KiB below 1 MiB, which are the tables'.
for mib in 32 64 128 1024 3071 3072 3073 5120; do
	guest memory -m $mib
	prints "^usable $((mib * 1024 - 385)) KiB, [0-9]+ pages tried$" \
		"all of $mib MiB are there"
done
guest memory -m 64M,prefault
prints '^usable ' "memory allocated in advance is there"
guest memory -m 64M,hugepages=thp
prints '^usable ' "memory in transparent huge pages is there"
guest memory -m 64M,mergeable
prints '^usable ' "mergeable memory is there"

guest acpi -c 3
prints '^hw_reduced 1$' "ACPI is hardware-reduced"
prints '^table FACP ' "there is a FADT"
prints '^table APIC ' "there is a MADT"
prints '^cpus 3$' "the MADT lists the CPUs"
prints '^ioapic [0-9]+ at fec00000 gsi 0$' "the MADT lists the IOAPIC"
for id in PNP0501 PNP0B00 ACPI0013 PNP0C0C QEMU0001; do
	prints "^device $id 1$" "the DSDT has $id"
done

guest mptable -c 3
prints '^cpus 3 enabled 3 boot 1$' "the MP table lists the CPUs"
prints '^buses 1 ioapics 1 interrupts [1-9][0-9]* local [1-9]' \
	"the MP table lists the interrupts"

guest cpuid -c 2
for row in 'hypervisor 1' 'hypervisor_name KVMKVMKVM' 'long_mode 1' \
	'vmx 0' 'svm 0' 'apic_id 0' 'apic_register 0' 'logical 2'; do
	prints "^$row\$" "CPUID: $row"
done
prints '^topology_b level 1 type 2 .* cpus 2 id 0$' \
	"CPUID: leaf 0xB counts both CPUs"
ok "CPUID: no PMU" grep -Eq '^pmu 0$' "$out"

guest timer
prints '^deadlines 20$' "the TSC deadline timer wakes a halted CPU"
prints '^one-shot 1$' "the one-shot timer wakes a halted CPU"

# The sign of an update, of a quarter of a millisecond each second, may hide on a
# busy host.
before=$(date +%s)
LIMIT=120
guest rtc
LIMIT=30
after=$(date +%s)
prints '^update seen, then the next second$' "the clock says when it changes"
prints '^writes ignored$' "the clock cannot be set"
for form in 'BCD, 24 hours' 'BCD, 12 hours' 'binary, 24 hours' \
	'binary, 12 hours'; do
	prints "^$form: the same time\$" "the clock in $form"
done
time=$(sed -n 's/^time //p' "$out")
ok "the clock has the host's time" \
	[ "${time:-0}" -ge "$before" -a "${time:-0}" -le "$after" ]

for cpus in 1 2 8 64; do
	guest smp -c $cpus
	prints "^cpus $cpus\$" "$cpus CPUs start and count together"
done
guest smp -c 8 -m 4096M
prints '^cpus 8$' "8 CPUs start with memory above 4 GiB"

# Each archive begins on a page of its own, so that it can be mapped; Linux
# skips zeros between archives.
head -c 100003 /dev/urandom >"$tmp/initrd"
head -c 5000 /dev/urandom >"$tmp/second"
{
	cat "$tmp/initrd"
	head -c $((102400 - 100003)) /dev/zero
	cat "$tmp/second"
} >"$tmp/joined"
sum=$(sum -r "$tmp/joined" | awk '{ print $1 + 0 }')
guest initrd -i "$tmp/initrd" -i "$tmp/second"
prints "^initrd at [0-9a-f]+ size 107400 sum $sum\$" \
	"two initrds arrive as one, whole"
guest initrd -i "fd=8" 8<"$tmp/joined"
prints "^initrd at [0-9a-f]+ size 107400 sum $sum\$" "an initrd by fd arrives"
guest initrd
prints '^initrd at 0 size 0 sum 0$' "without an initrd its size is 0"

guest msr
prints '^faults 8$' "MSRs that are not there raise #GP"
for seed in 1 2 3; do
	guest badio -c 2 -a "seed=$seed"
	prints '^still here$' "accesses to nothing do nothing (seed $seed)"
	prints '^a string at once$' "string output works (seed $seed)"
done

for guest in hello entry memory; do
	tests/tools/bzimage "$GUESTS/$guest.elf" >"$tmp/bz"
	mote -k "$tmp/bz" -m 64M
	ends 0 poweroff "$guest boots as a bzImage"
done

# Tables of functions are among what a program that may lie anywhere has to
# write once. By itself libc leaves them as they are then.
guest_start hang --sandbox off
await says .
maps=$(awk -v name="${MOTE##*/}" '$NF ~ "/" name "$" { print $2 }' \
	"/proc/$pid/maps")
kill -INT "$pid"
guest_end
# shellcheck disable=SC2086 # one line of it
is "$(echo $maps)" "r--p r-xp r--p r--p rw-p" \
	"what mote has added its address to is read-only from then on"

done_testing
