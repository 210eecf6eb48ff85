/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/serial_help.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct uart serial;
int irq_fd;

uint8_t in(unsigned offset)
{
	uint8_t value;

	uart_bus_ops.read(&serial, offset, &value, 1);
	return value;
}

void out(unsigned offset, uint8_t value)
{
	uart_bus_ops.write(&serial, offset, &value, 1);
}

uint64_t taken(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

uint64_t irqs(void)
{
	return taken(irq_fd);
}

bool event(void)
{
	return taken(serial.event_fd) != 0;
}

size_t give(const char *text)
{
	return uart_input(&serial, (const uint8_t *)text, strlen(text));
}

size_t drain_port(const char *want)
{
	const uint8_t *data;
	size_t len, total = 0;

	while ((len = uart_output_peek(&serial, &data))) {
		if (want)
			assert_memory_equal(data, want + total, len);
		uart_output_consume(&serial, len);
		total += len;
	}
	return total;
}

int serial_setup(void **state)
{
	(void)state;
	alarm(60);
	irq_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return uart_create(&serial, irq_fd);
}

int serial_teardown(void **state)
{
	(void)state;
	uart_destroy(&serial);
	close(irq_fd);
	return 0;
}
