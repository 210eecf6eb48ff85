/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/console_pipes.h"

int to_guest[2], from_guest[2];
static int saved_stdio[2] = { -1, -1 };

int setup_pipes(void **state)
{
	if (pipe2(to_guest, O_CLOEXEC) || pipe2(from_guest, O_CLOEXEC))
		return -1;
	return console_setup(state);
}

void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void restore_stdio(void)
{
	for (int i = 0; i < 2; i++) {
		if (saved_stdio[i] >= 0)
			dup2(saved_stdio[i], i);
		close_fd(&saved_stdio[i]);
	}
}

int teardown_pipes(void **state)
{
	int error = console_teardown(state);

	restore_stdio();
	for (int i = 0; i < 2; i++) {
		close_fd(&to_guest[i]);
		close_fd(&from_guest[i]);
	}
	return error;
}

void start_stdio(int stdin_fd, int stdout_fd)
{
	const int fds[] = { stdin_fd, stdout_fd };

	for (int i = 0; i < 2; i++) {
		saved_stdio[i] = fcntl(i, F_DUPFD_CLOEXEC, 3);
		if (fds[i] < 0)
			close(i);
		else
			dup2(fds[i], i);
	}
	start_console(CONSOLE_STDIO, NULL, -1);
}

/* -- data ---------------------------------------------------------------- */

uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 13 + i / 241);
}

uint64_t pattern_sum(size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = sum_byte(sum, pattern(i));
	return sum;
}

size_t program_sent;

bool program_sends(void)
{
	uint64_t count;

	if (read(irq_fd, &count, sizeof(count)) < 0)
		return program_sent == PROGRAM_BYTES && nothing_waits();
	while (!(in(IIR)&1)) {
		if (!(in(LSR)&0x20))
			continue;
		for (int i = 0; i < 16 && program_sent < PROGRAM_BYTES; i++)
			out(TX, pattern(program_sent++));
		if (program_sent == PROGRAM_BYTES)
			out(IER, 1);
	}
	return false;
}

pid_t slow_reader(int fd, useconds_t pause, size_t want)
{
	static uint8_t data[3000];
	uint64_t sum = 0;
	size_t total = 0;
	ssize_t len;
	pid_t child = fork();

	if (child)
		return child;
	alarm(60);
	close(from_guest[1]); /* or there is no end of file */
	if (console.opened)
		close(console.host.out.source.fd);
	while ((len = read(fd, data, sizeof(data))) > 0) {
		for (ssize_t i = 0; i < len; i++)
			sum = sum_byte(sum, data[i]);
		total += (size_t)len;
		usleep(pause);
	}
	_exit(total == want && sum == pattern_sum(total) ? 0 : 1);
}
