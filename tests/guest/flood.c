/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes kib=N KiB (1024 where not given) to the serial port as fast as it can,
 * as numbered lines of 64 bytes, then says ready and prints the number of
 * lines.
 */
#include "tests/guest/guest.h"

#define LSR	 (SERIAL + 5)
#define LSR_THRE 0x20
#define FCR	 (SERIAL + 2)
#define FIFO	 16
#define LINE	 64

static void make_line(char line[LINE], unsigned number)
{
	memset(line, '.', LINE);
	for (unsigned i = 9; i--; number /= 10)
		line[i] = (char)('0' + number % 10);
	line[LINE - 1] = '\n';
}

/* A FIFO's worth for each look at LSR, in one exit. */
static void write_line(const char line[LINE])
{
	const char *from = line;

	while (from < line + LINE) {
		size_t count = FIFO;

		while (!(in8(LSR) & LSR_THRE))
			pause_cpu();
		__asm__ volatile("rep outsb"
				 : "+S"(from), "+c"(count)
				 : "d"(SERIAL)
				 : "memory");
	}
}

void guest_main(const uint8_t *boot_params)
{
	unsigned lines = cmdline_number("kib", 1024) * 1024 / LINE;
	char line[LINE];

	(void)boot_params;
	out8(FCR, 1);
	for (unsigned i = 0; i < lines; i++) {
		make_line(line, i);
		write_line(line);
	}
	out8(PORT_READY, 1);
	print("lines %u\n", lines);
}
