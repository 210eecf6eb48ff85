/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/console_help.h"

struct loop loop;
struct console console;
int saved_stderr, log_fd;

/* -- the guest ------------------------------------------------------------ */

char guest_got[65536];
size_t guest_got_len;
uint64_t guest_sum;

uint64_t sum_byte(uint64_t sum, uint8_t byte)
{
	return (sum ^ byte) * UINT64_C(0x100000001b3);
}

void guest_prints(const char *text)
{
	for (; *text; text++)
		out(TX, (uint8_t)*text);
}

void guest_reads(void)
{
	uint64_t count;

	if (read(irq_fd, &count, sizeof(count)) < 0)
		return; /* by interrupt only */
	while (in(LSR)&1) {
		const uint8_t byte = in(RX);

		guest_sum = sum_byte(guest_sum, byte);
		if (guest_got_len < sizeof(guest_got))
			guest_got[guest_got_len] = (char)byte;
		guest_got_len++;
	}
}

bool guest_has(const char *text)
{
	return guest_got_len == strlen(text) &&
	       !memcmp(guest_got, text, guest_got_len);
}

/* -- the loop ------------------------------------------------------------- */

#define TICK_NS	     50000u
#define TICKS_PER_MS 20u

static struct loop_timer tick;
static bool (*tick_done)(void);
static unsigned ticks_left;
static bool was_done;

static void ticked(void *arg)
{
	(void)arg;
	was_done = tick_done && tick_done();
	if (was_done || !--ticks_left)
		loop_stop(&loop);
	else
		loop_timer_set(&tick, TICK_NS);
}

bool run_for(unsigned ms, bool (*done)(void))
{
	tick_done = done;
	ticks_left = ms * TICKS_PER_MS;
	loop_timer_set(&tick, TICK_NS);
	assert_int_equal(loop_run(&loop), 0);
	return was_done;
}

/* -- set-up --------------------------------------------------------------- */

int console_setup(void **state)
{
	char name[] = "/tmp/mote-test-XXXXXX";

	(void)state;
	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	guest_got_len = 0;
	guest_sum = 0;
	memset(&console, 0, sizeof(console));
	log_fd = mkostemp(name, O_CLOEXEC);
	unlink(name);
	saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	dup2(log_fd, STDERR_FILENO);
	irq_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop_create(&loop) || uart_create(&serial, irq_fd) ||
	    loop_timer_create(&loop, &tick, ticked, NULL))
		return -1;
	/* The guest has opened its tty. */
	out(MCR, 0x0b);
	out(IER, 0x01);
	out(IIR, 0x01);
	return 0;
}

int console_teardown(void **state)
{
	(void)state;
	console_stop(&console);
	console_close(&console);
	uart_destroy(&serial);
	loop_timer_destroy(&loop, &tick);
	loop_destroy(&loop);
	close(irq_fd);
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(log_fd);
	return 0;
}

void start_console(enum console_kind kind, const char *path, int fd)
{
	const struct console_options options = { .kind = kind,
						 .file.path = path,
						 .file.fd = fd };

	assert_int_equal(console_open(&console, &options), 0);
	assert_int_equal(console_start(&console, &loop, &serial,
				       (struct tty_escape){ 0 }),
			 0);
}

const char *logged(void)
{
	static char text[4096];
	ssize_t len = pread(log_fd, text, sizeof(text) - 1, 0);

	text[len < 0 ? 0 : len] = 0;
	return text;
}

unsigned logged_lines(void)
{
	unsigned lines = 0;

	for (const char *c = logged(); *c; c++)
		lines += *c == '\n';
	return lines;
}

void read_all(int fd, char *to, size_t len)
{
	for (ssize_t got; len; to += got, len -= (size_t)got) {
		got = read(fd, to, len);
		assert_true(got > 0);
	}
}

bool is_nonblock(int fd)
{
	return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

/* -- the other end --------------------------------------------------------- */

bool nothing_waits(void)
{
	return !uart_output_waiting(&serial);
}

bool got_hello(void)
{
	guest_reads();
	return guest_has("hello");
}

bool has_client(void)
{
	return console.host.in.source.fd >= 0 &&
	       serial.reader == UART_READER_THERE;
}

bool has_none(void)
{
	return console.host.in.source.fd < 0;
}

void expect_text(int fd, const char *want)
{
	char text[64];

	read_all(fd, text, strlen(want));
	assert_memory_equal(text, want, strlen(want));
}
