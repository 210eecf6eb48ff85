/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outb PORT VALUE: one byte to one port, from a guest's user space.
 *
 * The ready and exit-status ports are there for programs in the guest. Where
 * the kernel has no /dev/port (Debian's cloud kernel has none) the way to them
 * is iopl(). Runs in the guest as root; static, so that it needs nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>

int main(int argc, char **argv)
{
	unsigned long port, value;

	if (argc != 3) {
		fputs("usage: outb PORT VALUE\n", stderr);
		return 2;
	}
	port = strtoul(argv[1], NULL, 0);
	value = strtoul(argv[2], NULL, 0);
	if (iopl(3)) {
		fprintf(stderr, "outb: iopl: %s\n", strerror(errno));
		return 1;
	}
	outb((unsigned char)value, (unsigned short)port);
	return 0;
}
