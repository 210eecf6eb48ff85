/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/command/exec.c cpu/loop/file.c cpu/loop/loop.c */
/* uses: tests/unit/kept_log.c */
/*
 * The way to a guest that another mote runs, with a process of this test in
 * place of that mote: who answers as he should, and who does not.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu/command/exec.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

static char dir[] = "/tmp/mote-exec-XXXXXX", path[64];
static int listener = -1;
static pid_t peer;

static int setup(void **state)
{
	(void)state;
	alarm(120);
	logged.count = 0;
	snprintf(path, sizeof(path), "%s/s", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (peer > 0) {
		kill(peer, SIGKILL);
		waitpid(peer, NULL, 0);
	}
	peer = 0;
	if (listener >= 0)
		close(listener);
	listener = -1;
	unlink(path);
	return 0;
}

static void listen_there(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (void *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 8), 0);
}

/* In the peer: -1, or a client that has said what it should. */
static int take_client(void)
{
	static const char line[] = "CONNECT 1702389091\n";
	char got[sizeof(line)] = "";
	size_t len = 0;
	int fd = accept(listener, NULL, NULL);

	while (len < sizeof(line) - 1 && read(fd, got + len, 1) == 1)
		len++;
	return strcmp(got, line) ? -1 : fd;
}

/* It refuses so many first, as a guest that boots; then says that and waits. */
static void answer_with(unsigned refused, const char *text)
{
	int fd;

	listen_there();
	peer = fork();
	assert_true(peer >= 0);
	if (peer)
		return;
	while (refused--)
		close(take_client());
	fd = take_client();
	if (fd >= 0 && write(fd, text, strlen(text)) >= 0)
		shutdown(fd, SHUT_WR);
	pause();
	_exit(0);
}

static int dial(void)
{
	return exec_connect(&(struct option_file){ path, -1 });
}

static void refused_with(int error, const char *says)
{
	assert_int_equal(dial(), -error);
	expect_log(says);
}

/* -- tests ----------------------------------------------------------------- */

/* What follows the line is left for the command. */
static void test_answered(void **state)
{
	char rest[8] = "";
	int fd;

	(void)state;
	answer_with(2, "OK 1073741825\nframe");
	fd = dial();
	assert_true(fd >= 0);
	assert_int_equal(read(fd, rest, sizeof(rest)), 5);
	assert_string_equal(rest, "frame");
	close(fd);
	expect_no_log();
}

static void test_no_mote(void **state)
{
	static const char *const lines[] = {
		"OK 10",
		"OK\n",
		"OK \n",
		"OK 1 2\n",
		"ok 1\n",
		"\n",
		"HTTP/1.1 400 Bad Request\r\n",
		"OK 111111111111111111111111111111111111111\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		answer_with(0, lines[i]);
		refused_with(EPROTO, "no mote with --vsock");
		teardown(state);
	}
}

static void test_nobody(void **state)
{
	(void)state;
	refused_with(ENOENT, "--exec /tmp/mote-exec-");
	refused_with(ENOENT, "no such file: it is the PATH");
	listen_there();
	close(listener);
	listener = -1;
	refused_with(ECONNREFUSED, "no guest is there");
}

/* A guest without a command boots for ever, as it were. */
static void test_never(void **state)
{
	(void)state;
	answer_with(1000000, "");
	refused_with(ENOTCONN, "nobody in the guest takes commands");
}

static void test_long_path(void **state)
{
	char longer[200];

	(void)state;
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(exec_connect(&(struct option_file){ longer, -1 }),
			 -ENAMETOOLONG);
	expect_log("too long for a socket");
}

static void test_descriptor(void **state)
{
	int pair[2], pipes[2];
	char got[64] = "";

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(write(pair[1], "OK 1\n", 5), 5);
	assert_int_equal(exec_connect(&(struct option_file){ NULL, pair[0] }),
			 pair[0]);
	assert_int_equal(fcntl(pair[0], F_GETFD), FD_CLOEXEC);
	assert_true(read(pair[1], got, sizeof(got)) > 0);
	assert_string_equal(got, "CONNECT 1702389091\n");
	close(pair[1]);
	/* It is tried once. */
	assert_int_equal(exec_connect(&(struct option_file){ NULL, pair[0] }),
			 -ENOTCONN);
	expect_log("nobody in the guest");
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(exec_connect(&(struct option_file){ NULL, pipes[0] }),
			 -ENOTCONN);
	expect_log("it is no unix socket that is connected");
	close(pipes[0]);
	close(pipes[1]);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_answered),  test(test_no_mote),
		test(test_nobody),    test(test_never),
		test(test_long_path), test(test_descriptor),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
