#!/bin/sh
# Linux guests started by an ordinary user, who has no right but that to
# /dev/kvm: what they boot from, their disks, a command in one.
# shellcheck source=tests/user.sh
. tests/user.sh

for name in boot end virtio command; do
	user_suites "tests/linux/$name.t"
done

done_testing
