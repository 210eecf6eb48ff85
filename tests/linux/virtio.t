#!/bin/sh
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
dmesg -r | grep "^<[0-4]>" | grep -iE "virtio|vd[a-p]|blk" |
	grep -vF "unknown parameter 'device' ignored" | sed "s/^/late=/"
END

common() {
	ends 0 poweroff "$2: boots and powers off"
	is "$(got disks) $(got devices)" "$1 $1" "$2: $1 disks, each found once"
	# Debian builds virtio_mmio without the parameter that names slots.
	is "$(got warns | grep -vF "unknown parameter 'device' ignored")" "" \
		"$2: no warning but of words that this kernel does not know"
	is "$(got interrupts)" "$1" "$2: an interrupt of its own for each"
	is "$(got words)" "$1" "$2: a word for each, for kernels without ACPI"
}

disks 16
boot vmlinux -i "$MODULES" -i "$tmp/one.job" -d "$tmp/1.img"
vmlinux=$kernel
kernel=$BZIMAGE
boot bzimage -i "$MODULES" -i "$tmp/one.job" -d "$tmp/2.img" -d "$tmp/3.img"
kernel=$vmlinux
ended vmlinux
common 1 "vmlinux"
ended bzimage
common 2 "bzImage"
# shellcheck disable=SC2086 # one option a word
boot many -i "$MODULES" -i "$tmp/many.job" -c 2 -m 256M $disks
ended many
common 16 "16 disks"
is "$(got 'done') $(got differ)" "16 " "all of them, under load together"
is "$(got bound)" 16 "four were unbound and bound again five times, in use"
is "$(got last)" same "and what was written is there"
is "$(got late)" "" "without a warning"

done_testing
