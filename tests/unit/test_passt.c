/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/net/passt.c cpu/loop/helper.c cpu/loop/file.c */
/* uses: tests/unit/kept_log.c tests/unit/sample_file.c */
/* ldflags: -Wl,--wrap=fork */
/*
 * How passt is started, with a script in its place: its arguments, what it is
 * given, and what becomes of its end and of what it says. The real one is in
 * tests/guest/passt.t.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"
#include "virtio/net/passt.h"

static char dir[32], program[48], told[48];
static int fork_error;

pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
	if (!fork_error)
		return __real_fork();
	errno = fork_error;
	return -1;
}

/* -- its arguments --------------------------------------------------------- */

static const char *joined(const struct passt_publish *publish, unsigned count)
{
	static char text[8192];
	static struct passt_arguments args;
	size_t used = 0;

	passt_set_arguments(&args, publish, count);
	for (unsigned i = 0; i < args.count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "%s ", args.argument[i]);
	assert_null(args.argument[args.count]);
	return text;
}

static void test_arguments(void **state)
{
	static const struct passt_publish publish[] = {
		{ .port = 80, .guest_port = 8080 },
		{ .port = 53, .guest_port = 53, .udp = true },
		{ .address = "127.0.0.1", .port = 443, .guest_port = 65535 },
		{ .address = "::1", .port = 1, .guest_port = 2, .udp = true },
	};

	(void)state;
	assert_string_equal(
		joined(NULL, 0),
		"passt --fd 3 -q -e -M 52:55:0a:00:02:02 -a 10.0.2.15 -n 24 "
		"-g 10.0.2.2 -a fd6d:6f74:65::15 -g fe80::2 "
		"-t none -u none ");
	assert_non_null(strstr(joined(publish, 1), " -t 80:8080 -u none "));
	assert_non_null(strstr(joined(publish + 1, 1), " -t none -u 53:53 "));
	assert_non_null(strstr(joined(publish, 4),
			       " -t 80:8080 -t 127.0.0.1/443:65535 -u 53:53 "
			       "-u ::1/1:2 "));
}

/* The longest of all, and with what a host without a way out adds. */
static void test_arguments_have_room(void **state)
{
	static struct passt_publish publish[PASST_PUBLISH_MAX];
	struct passt_arguments args;

	(void)state;
	for (unsigned i = 0; i < PASST_PUBLISH_MAX; i++) {
		publish[i].port = publish[i].guest_port = 65535;
		publish[i].udp = i & 1;
		memset(publish[i].address, '0', PASST_ADDRESS_BYTES - 1);
	}
	passt_set_arguments(&args, publish, PASST_PUBLISH_MAX);
	assert_true(args.count <= PASST_ARGUMENTS_MAX);
	assert_int_equal(strlen(args.spec[0]), PASST_ADDRESS_BYTES - 1 + 12);
}

/* -- a script in its place ------------------------------------------------- */

static void write_script(const char *text)
{
	FILE *file = fopen(program, "w");

	assert_non_null(file);
	fprintf(file, "#!/bin/sh\nexec >%s\n%s\n", told, text);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(program, 0755), 0);
	unlink(told);
}

/* The script is run as passt: 0, or what passt_wait says. */
static int run_script(const char *text, int *fd)
{
	int channel = -1, error;

	write_script(text);
	*fd = passt_start("net 9", NULL, 0, &channel);
	assert_true(*fd >= 0);
	assert_int_equal(fcntl(*fd, F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(*fd, F_GETFL) & O_NONBLOCK);
	error = passt_wait("net 9", channel);
	assert_int_equal(fcntl(channel, F_GETFD), -1);
	/* No child is left to be waited for. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	return error;
}

static void expect_told(const char *wanted)
{
	char text[8192] = "";
	int fd = open(told, O_RDONLY);

	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) >= 0);
	close(fd);
	assert_string_equal(text, wanted);
}

/* What the script left in the background still holds its end; then not. */
static void test_serves(void **state)
{
	struct pollfd at = { .events = POLLIN };
	char byte;

	(void)state;
	assert_int_equal(run_script("(read line <&3) & exit 0", &at.fd), 0);
	expect_no_log();
	assert_int_equal(poll(&at, 1, 0), 0);
	assert_int_equal(write(at.fd, "\n", 1), 1);
	assert_int_equal(poll(&at, 1, 20000), 1);
	assert_int_equal(read(at.fd, &byte, 1), 0);
	close(at.fd);
}

/* Only the socket and /dev/null; PATH; no core; no signal is blocked. (10 is
 * the script.) */
static void test_is_given_little(void **state)
{
	int secret, fd, error;

	(void)state;
	secret = open("/dev/zero", O_RDONLY);
	assert_int_equal(setenv("SECRET", "yes", 1), 0);
	error = run_script("for i in 0 1 2 3 4 5 6 7 8 9 11 12 13; do "
			   "[ ! -e /proc/$$/fd/$i ] || echo $i $(readlink "
			   "/proc/$$/fd/$i | sed 's/:.*//;s/.*told/-/'); done; "
			   "echo $SECRET $PATH; ulimit -c; "
			   "while read line; do case $line in SigBlk*) "
			   "echo \"$line\" ;; esac; done </proc/$$/status",
			   &fd);
	assert_int_equal(error, 0);
	close(secret);
	close(fd);
	expect_told("0 /dev/null\n1 -\n2 pipe\n3 socket\n"
		    "/usr/sbin:/usr/bin:/sbin:/bin\n0\n"
		    "SigBlk:\t0000000000000000\n");
}

static void test_says_why_not(void **state)
{
	static const struct {
		const char *script, *wanted;
	} cases[] = {
		{ "echo no luck >&2; exit 1", "started: no luck" },
		{ "exit 1", "started: it does not say why" },
		{ "kill -9 $$", "started: it does not say why" },
		{ "printf 'a\\nFailed to send 9 bytes to syslog\\n\\nb\\n' "
		  ">&2; "
		  "exit 1",
		  "started: a; b" },
		{ "printf 'a\\033\\377b\\n' >&2; exit 1", "started: a??b" },
		{ "echo Failed to bind any port >&2; exit 1",
		  "any port; a port below 1024 takes root" },
		{ "echo Cannot create user namespace: x >&2; exit 1",
		  "user namespaces, which this host" },
		{ "echo Failed to sandbox process, exiting >&2; exit 1",
		  "namespaces and mounts" },
		{ "i=0; while [ $i -lt 900 ]; do echo aaaaaaaaaaaaaaaaaaa; "
		  "i=$((i + 1)); done >&2; exit 1",
		  "started: aaaaaaaaaaaaaaaaaaa; a" },
	};
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(run_script(cases[i].script, &fd), -EIO);
		expect_log(cases[i].wanted);
		close(fd);
	}
}

/* What cannot be executed is no hang and no riddle. */
static void test_is_no_program(void **state)
{
	int channel, fd;

	(void)state;
	write_script("");
	assert_int_equal(truncate(program, 1), 0);
	fd = passt_start("net 9", NULL, 0, &channel);
	assert_true(fd >= 0);
	assert_int_equal(passt_wait("net 9", channel), -EIO);
	expect_log("started: Exec format error");
	close(fd);
}

/* Without a way out it is started once more, on the loopback interface. */
static void test_alone(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(
		run_script("case $* in *' -i lo') echo yes; exit 0; esac; "
			   "echo External interface not usable >&2; exit 1",
			   &fd),
		0);
	expect_log("net 9: this host has no default route");
	expect_told("yes\n");
	close(fd);
	assert_int_equal(
		run_script("echo External interface not usable >&2; exit 1",
			   &fd),
		-EIO);
	expect_log("External interface not usable");
	close(fd);
}

static void test_fork_fails(void **state)
{
	int channel;

	(void)state;
	write_script("");
	fork_error = EAGAIN;
	assert_int_equal(passt_start("net 9", NULL, 0, &channel), -EAGAIN);
	fork_error = 0;
	expect_log("fork");
}

/* -- ports that cannot be had ---------------------------------------------- */

/* A socket bound to a free port of that address, whose number it returns. */
static int bind_any(int family, bool udp, uint16_t *port)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
				   .sin6_addr = in6addr_loopback };
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	void *any = family == AF_INET ? (void *)&v4 : (void *)&v6;
	socklen_t len = family == AF_INET ? sizeof(v4) : sizeof(v6);
	const int one = 1;
	int fd = socket(family, udp ? SOCK_DGRAM : SOCK_STREAM, 0);

	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, any, len) || (!udp && listen(fd, 1)) ||
	    getsockname(fd, any, &len)) {
		close(fd);
		return -1;
	}
	*port = ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port);
	return fd;
}

static int start_with(struct passt_publish publish)
{
	int channel = -1, fd = passt_start("net 9", &publish, 1, &channel);

	if (fd >= 0) {
		close(fd);
		assert_int_equal(passt_wait("net 9", channel), 0);
	}
	return fd < 0 ? fd : 0;
}

static void test_port_in_use(void **state)
{
	static const char *const loopback[] = { "127.0.0.1", "::1" };

	(void)state;
	write_script("exit 0");
	for (unsigned i = 0; i < 4; i++) {
		const bool v6 = i & 1, udp = i & 2;
		struct passt_publish p = { .text = "text", .udp = udp };
		int fd = bind_any(v6 ? AF_INET6 : AF_INET, udp, &p.port);

		if (fd < 0) /* a host without IPv6 */
			continue;
		p.guest_port = p.port;
		assert_int_equal(start_with(p), -EADDRINUSE);
		expect_log("--publish text: ");
		snprintf(p.address, sizeof(p.address), "%s", loopback[v6]);
		assert_int_equal(start_with(p), -EADDRINUSE);
		expect_log("has that port of the host");
		p.udp = !udp;
		assert_int_equal(start_with(p), 0);
		p.udp = udp;
		close(fd);
		assert_int_equal(start_with(p), 0);
		expect_no_log();
	}
}

static void test_no_such_address(void **state)
{
	(void)state;
	assert_int_equal(
		start_with((struct passt_publish){ .text = "text",
						   .address = "203.0.113.77",
						   .port = 8080,
						   .guest_port = 80 }),
		-EADDRNOTAVAIL);
	expect_log("--publish text: ");
}

static int set_up(void **state)
{
	char path[64];

	(void)state;
	strcpy(dir, "/tmp/mote-passt-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(program, sizeof(program), "%s/passt", dir);
	snprintf(told, sizeof(told), "%s/told", dir);
	/* A directory that is not there, and one that is relative, before. */
	snprintf(path, sizeof(path), "/nowhere:.:%s", dir);
	return setenv("PATH", path, 1);
}

static int tear_down(void **state)
{
	(void)state;
	unlink(program);
	unlink(told);
	return rmdir(dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_arguments_have_room),
		cmocka_unit_test(test_serves),
		cmocka_unit_test(test_is_given_little),
		cmocka_unit_test(test_says_why_not),
		cmocka_unit_test(test_is_no_program),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_fork_fails),
		cmocka_unit_test(test_port_in_use),
		cmocka_unit_test(test_no_such_address),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
