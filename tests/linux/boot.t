#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Boots to user space: from the ELF image and from the bzImage, with the least
# of flags, with several archives, with command lines; and to a shell that
# somebody types to.
# shellcheck source=tests/linux/boot.sh
. "${0%/*}/boot.sh"

release=$(cat build/guest/release)

# With no other flag: a shell on stdin and stdout. What is typed before it is
# up waits for it; nobody types exit, so the end of input is not the end.
"$MOTE" -k "$kernel" -i "$INITRD" -m 128M <<'END' \
	>"$tmp/plain.out" 2>"$tmp/plain.err" &
echo machine=$(uname -srm)
echo args=$(cat /proc/cmdline)
poweroff -f
END
echo $! >"$tmp/plain.pid"

# The bzImage, four archives: what the later ones bring is added, and what is
# there already is replaced.
mkdir -p "$tmp/a" "$tmp/b"
echo first >"$tmp/a/one"
echo second >"$tmp/b/one"
echo two >"$tmp/b/two"
for n in a b; do
	(cd "$tmp/$n" && find . ! -name . | cpio -o -H newc 2>/dev/null) \
		>"$tmp/$n.cpio"
done
job bzimage <<'END'
outb 0x507 1
echo release=$(uname -r)
echo files=$(cat /one /two) $(ls -d /lib/modules/*/kernel | wc -l)
echo args=$(cat /proc/cmdline)
echo svm=$(grep -cE "^flags.* (svm|vmx)( |$)" /proc/cpuinfo)
END
kernel=$BZIMAGE
boot bzimage -i "$tmp/a.cpio" -i "$tmp/b.cpio" -i "$MODULES" \
	-i "$tmp/bzimage.job" -c 2,nested --timing \
	-a mote.test=one --append "mote.test=two three"
kernel=build/guest/vmlinux

ended plain
is "$status" 0 "with -k, -i and -m alone a guest boots, and powers off with status 0"
is "$(got machine)" "Linux $release x86_64" "a guest's shell takes what was typed before it was up"
like "$(got args)" "^console=ttyS0 .*reboot=t,warm,panic_cold" \
	"the default command line names console and reboot"
is "$(cat "$err")" "" "a guest that boots and powers off leaves stderr empty"

ended bzimage
ends 0 poweroff "the bzImage boots and powers off"
is "$(got release)" "$release" "the bzImage boots to user space"
is "$(got files)" "second two 1" "four archives arrive as one, and later files replace earlier ones"
like "$(got args)" "^console=ttyS0 .* mote.test=one mote.test=two three$" \
	"each --append is added to the command line, in order"
if grep -qE '^flags.* (svm|vmx)( |$)' /proc/cpuinfo; then
	is "$(got svm)" 2 "-c nested: the processors have svm or vmx as the host's have"
else
	is "$(got svm)" 0 "-c nested: the processors have no more than the host's"
fi
is "$(sed -n 's/.*"event":"\([a-z]*\)".*/\1/p' "$events" | tr '\n' ' ')" \
	"start ready exit " "the events of a run are start, ready and exit"
like "$(cat "$err")" "timing: ready +[0-9]" "--timing says when it was ready"

# --cmdline is all there is. Without the words that make a panic differ from
# a reboot, a triple fault is what it looks like: reboot=t is one.
job cmdline <<'END'
echo args=$(cat /proc/cmdline)
reboot -f
END
boot cmdline --cmdline "console=ttyS0 quiet pci=off reboot=t" \
	-i "$tmp/cmdline.job"
# Nothing at the other end of the serial port: the guest's only word is its
# status.
job off <<'END'
grep -q ttyS0 /proc/cmdline && outb 0x506 10
echo nobody hears this >/dev/ttyS0 || outb 0x506 11
echo nobody hears this
outb 0x506 42
END
boot off --serial off -i "$tmp/off.job"

ended cmdline
ends 123 crash "a triple fault is status 123, reason crash"
is "$(cat "$err")" "mote: the guest crashed: a triple fault" "a triple fault is told in one line"
is "$(got args)" "console=ttyS0 quiet pci=off reboot=t" \
	"--cmdline replaces the default"

ended off
ends 42 exited "--serial off leaves the console away from the command line"
is "$(cat "$out" "$err")" "" "--serial off: nothing is printed"

done_testing
