#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Virtio devices under Debian's kernel: found once each, without a warning,
# sixteen at a time, reset and started anew while in use.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

# disks COUNT: so many images of 1 MiB, as options in $disks
disks() {
	disks=
	for n in $(seq "$1"); do
		truncate -s 1M "$tmp/$n.img"
		disks="$disks -d $tmp/$n.img"
	done
}

found='
modprobe -a virtio_mmio virtio_blk
dmesg -r >/d
echo disks=$(ls /sys/block | grep -c "^vd")
echo devices=$(ls /sys/bus/virtio/devices | wc -l)
echo words=$(grep -o virtio_mmio.device= /proc/cmdline | wc -l)
grep "^<[0-4]>" /d | grep -i virtio | sed "s/^/warns=/"
echo interrupts=$(grep -c "IO-APIC.*virtio" /proc/interrupts)
'

job one <<END
$found
END

# Each disk is written and read at the same time as the others; then its
# driver is taken away and given back, again and again.
job many <<END
$found
for d in /sys/block/vd*; do
	d=\${d##*/}
	(
		for i in 1 2 3 4; do
			dd if=/dev/urandom of=/tmp/\$d bs=64k count=16
			dd if=/tmp/\$d of=/dev/\$d bs=64k conv=fsync
			dd if=/dev/\$d of=/tmp/\$d.again bs=4k
			cmp /tmp/\$d /tmp/\$d.again || touch /tmp/differ
		done
		echo same >/tmp/\$d.done
	) 2>/dev/null &
done
wait
echo done=\$(ls /tmp/*.done | wc -l)
echo differ=\$(ls /tmp/differ 2>/dev/null)
cd /sys/bus/virtio/drivers/virtio_blk
for i in 1 2 3 4 5; do
	dd if=/dev/vda of=/dev/null bs=4k 2>/dev/null &
	for d in virtio0 virtio1 virtio2 virtio3; do
		echo \$d >unbind
		echo \$d >bind
	done
	wait
done
echo bound=\$(ls -d virtio* | wc -l)
dd if=/dev/vdp of=/tmp/vdp.again bs=64k 2>/dev/null
cmp /tmp/vdp /tmp/vdp.again && echo last=same
$driver_warnings
END

common() {
	ends 0 poweroff "$2: a guest boots and powers off"
	is "$(got disks) $(got devices)" "$1 $1" "$2: each is found once"
	# Debian builds virtio_mmio without the parameter that names slots.
	is "$(got warns | grep -vF "unknown parameter 'device' ignored")" "" \
		"$2: virtio drivers warn of nothing but of words unknown to them"
	is "$(got interrupts)" "$1" "$2: an interrupt of its own for each"
	is "$(got words)" "$1" \
		"$2: the command line has a word for each, for kernels without ACPI"
}

disks 16
boot vmlinux -i "$MODULES" -i "$tmp/one.job" -d "$tmp/1.img"
vmlinux=$kernel
kernel=$BZIMAGE
boot bzimage -i "$MODULES" -i "$tmp/one.job" -d "$tmp/2.img" -d "$tmp/3.img"
kernel=$vmlinux
ended vmlinux
common 1 "vmlinux, 1 disk"
ended bzimage
common 2 "bzImage, 2 disks"
# shellcheck disable=SC2086 # one option a word
boot many -i "$MODULES" -i "$tmp/many.job" -c 2 -m 256M $disks
ended many
common 16 "16 disks"
is "$(got 'done') $(got differ)" "16 " "16 disks under load together keep what they are given"
is "$(got bound)" 16 "four disks are unbound and bound again five times, in use"
is "$(got last)" same "what was written before disks were unbound is there"
is "$(got late)" "" "no driver of 16 disks in use warns"

done_testing
