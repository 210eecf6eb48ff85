#!/bin/sh
# All the tests of bare-metal guests once more, by an ordinary user: mote needs
# no rights but those to /dev/kvm and to the files that it is given. Without
# those of the filters, which are the same for everybody, and without flip.t,
# which looks at files and starts no guest.
# shellcheck source=tests/user.sh
. tests/user.sh

for name in end early serial tty signals kernels machine virtio disk kvm jail; do
	user_suites "tests/guest/$name.t"
done

done_testing
