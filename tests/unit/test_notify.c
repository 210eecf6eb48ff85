/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/loop/notify.c cpu/loop/loop.c tests/unit/kept_log.c */
/* What a service manager hears, over a real socket with a real loop; and that
 * nobody waits for one that does not listen. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cpu/loop/notify.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

static char path[64];
static int manager; /* its socket */
static struct loop loop;
static struct notify notify;

static int bind_to(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const size_t len = strlen(name);

	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(manager >= 0);
	memcpy(address.sun_path, name, len);
	if (*name == '@')
		address.sun_path[0] = '\0';
	return bind(manager, (struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}

static int setup(void **state)
{
	(void)state;
	alarm(60); /* a send that waits fails */
	snprintf(path, sizeof(path), "/tmp/test_notify.%d", (int)getpid());
	unlink(path);
	assert_int_equal(bind_to(path), 0);
	setenv("NOTIFY_SOCKET", path, 1);
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	notify = (struct notify){ 0 };
	notify_init(&notify);
	return loop_create(&loop);
}

static int teardown(void **state)
{
	(void)state;
	notify_stop(&notify, &loop);
	loop_destroy(&loop);
	if (notify.fd >= 0)
		close(notify.fd);
	if (manager >= 0)
		close(manager);
	unlink(path);
	alarm(0);
	return 0;
}

static const char *heard(void)
{
	static char text[256];
	const ssize_t n = recv(manager, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	return text;
}

/* -- who asks ---------------------------------------------------------------
 */

static void test_notify_nobody_asks(void **state)
{
	const struct ending ending = { END_POWEROFF, 0 };

	(void)state;
	setenv("NOTIFY_SOCKET", "", 1);
	notify_open(&notify);
	assert_int_equal(notify.fd, -1);
	unsetenv("NOTIFY_SOCKET");
	setenv("WATCHDOG_USEC", "1000", 1);
	notify_open(&notify);
	assert_int_equal(notify.fd, -1);
	assert_int_equal(notify_start(&notify, &loop), 0);
	assert_int_equal(notify.timer.source.fd, -1);
	notify_state(&notify, NOTIFY_RUNNING);
	notify_alive(&notify);
	notify_ended(&notify, &ending);
	notify_stop(&notify, &loop);
	expect_no_log();
}

/* Nor does it stay where /proc/PID/environ shows it. */
static void test_notify_environment(void **state)
{
	const char *value = getenv("NOTIFY_SOCKET");
	size_t len;

	(void)state;
	assert_non_null(value);
	len = value ? strlen(value) : 0;
	assert_true(len > 0);
	setenv("WATCHDOG_USEC", "1000000", 1);
	notify_open(&notify);
	assert_true(notify.fd >= 0);
	assert_true(fcntl(notify.fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(notify.fd, F_GETFL) & O_NONBLOCK);
	assert_string_equal(getenv("NOTIFY_SOCKET"), "");
	assert_string_equal(getenv("WATCHDOG_USEC"), "");
	for (size_t i = 0; i < len; i++)
		assert_int_equal(value[i], 0);
	expect_no_log();
}

static void test_notify_addresses(void **state)
{
	static char longest[200];
	static const struct {
		const char *address, *why;
	} refused[] = {
		{ "vsock:2:1234", "no vsock address" },
		{ "vsock-stream:2:1", "no vsock address" },
		{ "relative", "neither a path" },
		{ "/", "2 to 107 bytes" },
		{ "@", "2 to 107 bytes" },
		{ longest, "2 to 107 bytes" },
		{ "/nowhere/at/all", "No such file" },
		{ "@mote-test-nobody", "Connection refused" },
	};

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	*longest = '/';
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		setenv("NOTIFY_SOCKET", refused[i].address, 1);
		notify_open(&notify);
		expect_log(refused[i].why);
		assert_int_equal(notify.fd, -1);
		assert_string_equal(getenv("NOTIFY_SOCKET"), "");
	}
	/* The longest path and the longest abstract name that there are. */
	longest[107] = '\0';
	setenv("NOTIFY_SOCKET", longest, 1);
	notify_open(&notify);
	expect_log("No such file");
	*longest = '@';
	close(manager);
	assert_int_equal(bind_to(longest), 0);
	setenv("NOTIFY_SOCKET", longest, 1);
	notify_open(&notify);
	assert_true(notify.fd >= 0);
	notify_state(&notify, NOTIFY_BOOTING);
	assert_string_equal(heard(), "STATUS=booting");
	expect_no_log();
}

/* -- what it hears ----------------------------------------------------------
 */

static void test_notify_states(void **state)
{
	static const struct {
		enum end_reason reason;
		unsigned status;
		const char *text;
	} endings[] = {
		{ END_POWEROFF, 0, "the guest powered off\nEXIT_STATUS=0" },
		{ END_REBOOT, 133, "the guest rebooted\nEXIT_STATUS=133" },
		{ END_PANIC, 123, "the guest panicked\nEXIT_STATUS=123" },
		{ END_CRASH, 123, "the guest crashed\nEXIT_STATUS=123" },
		{ END_EXITED, 255, "exited\nEXIT_STATUS=255" },
		{ END_OOM, 137,
		  "the guest ran out of memory\nEXIT_STATUS=137" },
		{ END_SNAPSHOT, 0, "a snapshot was taken\nEXIT_STATUS=0" },
		{ END_SIGNAL, 143, "stopped by a signal\nEXIT_STATUS=143" },
		{ END_TIMEOUT, 124, "stopped by --timeout\nEXIT_STATUS=124" },
		{ END_ERROR, 125, "mote failed\nEXIT_STATUS=125" },
	};
	char wanted[128];

	(void)state;
	notify_open(&notify);
	notify_state(&notify, NOTIFY_BOOTING);
	assert_string_equal(heard(), "STATUS=booting");
	assert_int_equal(notify_start(&notify, &loop), 0);
	notify_state(&notify, NOTIFY_RUNNING);
	assert_string_equal(heard(), "READY=1\nSTATUS=running");
	notify_state(&notify, NOTIFY_RUNNING);
	assert_string_equal(heard(), "");
	notify_state(&notify, NOTIFY_STOPPING);
	assert_string_equal(heard(), "STOPPING=1\nSTATUS=stopping");
	/* It is too late to be ready, and it stops once. */
	notify_state(&notify, NOTIFY_RUNNING);
	notify_state(&notify, NOTIFY_STOPPING);
	assert_string_equal(heard(), "");
	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		const struct ending ending = { endings[i].reason,
					       endings[i].status };

		notify_ended(&notify, &ending);
		snprintf(wanted, sizeof(wanted), "STOPPING=1\nSTATUS=%s",
			 endings[i].text);
		assert_string_equal(heard(), wanted);
	}
	/* Nobody asked for a watchdog. */
	assert_int_equal(loop_turn(&loop, 50), 0);
	assert_string_equal(heard(), "");
	expect_no_log();
}

/* Fills the manager's queue. */
static unsigned fill_queue(void)
{
	unsigned filled = 0;

	while (write(notify.fd, "X=1", 3) == 3)
		filled++;
	assert_int_equal(errno, EAGAIN);
	return filled;
}

static void drain_queue(unsigned count)
{
	while (count--)
		assert_string_equal(heard(), "X=1");
	assert_string_equal(heard(), "");
}

/* Of what could not be said at once the newest is said later. */
static void test_notify_full(void **state)
{
	const struct ending ending = { END_POWEROFF, 0 };
	unsigned filled;

	(void)state;
	setenv("WATCHDOG_USEC", "40000000", 1);
	notify_open(&notify);
	filled = fill_queue();
	notify_state(&notify, NOTIFY_BOOTING);
	assert_int_equal(notify_start(&notify, &loop), 0);
	notify_state(&notify, NOTIFY_RUNNING);
	assert_true(loop_turn(&loop, 10000) > 0);
	drain_queue(filled);
	assert_true(loop_turn(&loop, 10000) > 0);
	assert_string_equal(heard(), "READY=1\nSTATUS=running");
	assert_string_equal(heard(), "WATCHDOG=1");
	assert_string_equal(heard(), "");
	assert_false(notify.unsent);
	filled = fill_queue();
	notify_ended(&notify, &ending);
	drain_queue(filled);
	/* One that is gone is not missed, and asked no more. */
	close(manager);
	manager = -1;
	notify_state(&notify, NOTIFY_STOPPING);
	assert_false(notify.unsent);
	notify_ended(&notify, &ending);
	expect_no_log();
}

/* -- the watchdog -----------------------------------------------------------
 */

static void test_notify_watchdog(void **state)
{
	char pid[16];

	(void)state;
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("WATCHDOG_USEC", "20000", 1);
	setenv("WATCHDOG_PID", pid, 1);
	notify_open(&notify);
	assert_string_equal(getenv("WATCHDOG_PID"), "");
	assert_int_equal(notify.watchdog_ns, 10000000);
	assert_int_equal(notify_start(&notify, &loop), 0);
	assert_string_equal(heard(), "WATCHDOG=1");
	for (unsigned i = 0; i < 5; i++) {
		const uint64_t before = loop_now();

		assert_string_equal(heard(), "");
		while (!loop_turn(&loop, 10000))
			;
		assert_true(loop_now() >= before);
		assert_string_equal(heard(), "WATCHDOG=1");
	}
	/* Who keeps the loop says it, when it is time to. */
	notify.due_ns = loop_now() + 1000000000;
	notify_alive(&notify);
	assert_string_equal(heard(), "");
	notify.due_ns = loop_now();
	notify_alive(&notify);
	assert_string_equal(heard(), "WATCHDOG=1");
	expect_no_log();
}

static void test_notify_watchdog_values(void **state)
{
	static const struct {
		const char *usec, *pid;
		uint64_t ns;
		bool said;
	} rows[] = {
		{ "30000000", NULL, 15000000000, false },
		{ "1", NULL, 500, false },
		{ "18446744073709551", NULL, 9223372036854775500u, false },
		{ "18446744073709552", NULL, 0, true },
		{ "18446744073709551615", NULL, 0, true },
		{ "99999999999999999999999", NULL, 0, true },
		{ "0", NULL, 0, true },
		{ "", NULL, 0, true },
		{ "-1", NULL, 0, true },
		{ "30s", NULL, 0, true },
		{ " 30", NULL, 0, true },
		{ "1000", "1", 0, false }, /* another process's */
		{ "1000", "", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		setenv("NOTIFY_SOCKET", path, 1);
		setenv("WATCHDOG_USEC", rows[i].usec, 1);
		if (rows[i].pid)
			setenv("WATCHDOG_PID", rows[i].pid, 1);
		notify = (struct notify){ 0 };
		notify_init(&notify);
		notify_open(&notify);
		assert_true(notify.fd >= 0);
		assert_int_equal(notify.watchdog_ns, rows[i].ns);
		if (rows[i].said)
			expect_log("WATCHDOG_USEC=");
		expect_no_log();
		close(notify.fd);
	}
	notify.fd = -1;
}

int main(void)
{
#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_notify_nobody_asks),
		TEST(test_notify_environment),
		TEST(test_notify_addresses),
		TEST(test_notify_states),
		TEST(test_notify_full),
		TEST(test_notify_watchdog),
		TEST(test_notify_watchdog_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
