/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/loop/broker.c cpu/loop/unixsock.c cpu/loop/file.c */
/* uses: cpu/loop/helper.c cpu/loop/loop.c tests/unit/kept_log.c */
/* ldflags: -Wl,--wrap=lstat,--wrap=connect,--wrap=unlink */
/*
 * The broker as a process, without a jail and a filter: it connects to
 * PATH_<port> and nowhere else, whatever it is asked, and removes the files
 * that are still its own when its other end is gone.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu/loop/broker.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

static char dir[32];
static struct unixsock file[BROKER_FILES];
static char path[BROKER_FILES][UNIXSOCK_PATH_MAX];
static int listens[BROKER_FILES], channel;

/* -- help ------------------------------------------------------------------ */

static int listener_at(const char *name, int backlog)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir,
		 name);
	assert_int_equal(bind(fd, (void *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

/* Two sockets of mote's, of such names, and the broker for them. */
static void start_with(const char *first, const char *second, bool dials)
{
	struct broker_options options = { .dials = dials };
	const char *const names[BROKER_FILES] = { first, second };

	for (unsigned i = 0; i < BROKER_FILES; i++) {
		file[i] = UNIXSOCK_NONE;
		listens[i] = -1;
		options.file[i] = &file[i];
		if (!names[i])
			continue;
		snprintf(path[i], sizeof(path[i]), "%s/%s", dir, names[i]);
		listens[i] = unixsock_listen(&file[i], "--x ", path[i], 1);
		assert_true(listens[i] >= 0);
	}
	assert_int_equal(broker_start(&options, &channel), 0);
	/* It is the broker's now. */
	for (unsigned i = 0; i < BROKER_FILES; i++)
		assert_int_equal(file[i].dir_fd, -1);
}

static bool is_there(unsigned i)
{
	return !access(path[i], F_OK);
}

/* How the broker has ended, which it has. */
static int ended(void)
{
	int status = -1;

	assert_true(waitpid(-1, &status, 0) > 0);
	for (unsigned i = 0; i < BROKER_FILES; i++)
		if (listens[i] >= 0)
			close(listens[i]);
	return status;
}

static struct broker_answer answer_to(uint32_t port, uint32_t tag)
{
	struct pollfd ready = { channel, POLLIN, 0 };
	struct broker_answer answer = { 0, 0, 0 };

	assert_int_equal(broker_request(channel, port, tag), 0);
	assert_int_equal(poll(&ready, 1, -1), 1);
	assert_int_equal(broker_receive(channel, &answer), 1);
	assert_int_equal(answer.port, port);
	assert_int_equal(answer.tag, tag);
	return answer;
}

static int setup(void **state)
{
	(void)state;
	alarm(100);
	snprintf(dir, sizeof(dir), "/tmp/mote-test-XXXXXX");
	return !mkdtemp(dir);
}

static int teardown(void **state)
{
	char command[96];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* -- connections ----------------------------------------------------------- */

/* None but PATH_<port>: not a neighbour's, not one below or above. */
static void test_reaches_its_own(void **state)
{
	static const uint32_t ports[] = { 0, 7, 1234, UINT32_MAX };
	char name[64];
	int own, other[4];

	(void)state;
	start_with("v", NULL, true);
	snprintf(name, sizeof(name), "%s/sub", dir);
	assert_int_equal(mkdir(name, 0777), 0);
	for (unsigned i = 0; i < ARRAY_LEN(ports); i++) {
		struct broker_answer answer = answer_to(ports[i], i);
		char byte = 0;
		int fd;

		assert_int_equal(answer.result, -ENOENT);
		snprintf(name, sizeof(name), "v_%u", ports[i]);
		own = listener_at(name, 1);
		snprintf(name, sizeof(name), "w_%u", ports[i]);
		other[0] = listener_at(name, 1);
		snprintf(name, sizeof(name), "sub/v_%u", ports[i]);
		other[1] = listener_at(name, 1);
		snprintf(name, sizeof(name), "v_+%u", ports[i]);
		other[2] = listener_at(name, 1);
		snprintf(name, sizeof(name), "v_%ux", ports[i]);
		other[3] = listener_at(name, 1);
		answer = answer_to(ports[i], ~i);
		assert_true(answer.result >= 0);
		assert_true(fcntl(answer.result, F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(answer.result, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(write(answer.result, "x", 1), 1);
		fd = accept(own, NULL, NULL);
		assert_int_equal(read(fd, &byte, 1), 1);
		close(fd);
		close(answer.result);
		close(own);
		for (unsigned o = 0; o < ARRAY_LEN(other); o++) {
			assert_int_equal(accept(other[o], NULL, NULL), -1);
			close(other[o]);
		}
		assert_int_equal(answer_to(ports[i], 0).result, -ECONNREFUSED);
	}
	broker_end(channel);
	assert_false(is_there(0));
	assert_int_equal(ended(), 0);
}

/* A listener that accepts nobody is no reason to wait. */
static void test_full_backlog(void **state)
{
	int listener, fd;

	(void)state;
	start_with("v", NULL, true);
	listener = listener_at("v_5", 0);
	fd = answer_to(5, 1).result;
	assert_true(fd >= 0);
	assert_int_equal(answer_to(5, 2).result, -EAGAIN);
	close(fd);
	close(listener);
	broker_end(channel);
	assert_int_equal(ended(), 0);
}

/* Names that leave much room and none before them. */
static void test_names(void **state)
{
	char name[2][UNIXSOCK_PATH_MAX], own[UNIXSOCK_PATH_MAX];
	int here = open(".", O_RDONLY | O_DIRECTORY), listener, fd;

	(void)state;
	memset(name, 'n', sizeof(name));
	name[0][95] = name[1][94] = 0;
	assert_int_equal(chdir(dir), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct broker_options options = { .file = { &file[0] },
						  .dials = true };
		struct sockaddr_un address = { .sun_family = AF_UNIX };

		listens[1] = -1;
		listens[0] = unixsock_listen(&file[0], "--x ", name[i], 1);
		assert_true(listens[0] >= 0);
		assert_int_equal(broker_start(&options, &channel), 0);
		snprintf(own, sizeof(own), "%s_4294967295", name[i]);
		memcpy(address.sun_path, own, sizeof(address.sun_path));
		listener = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(
			bind(listener, (void *)&address, sizeof(address)), 0);
		assert_int_equal(listen(listener, 1), 0);
		fd = answer_to(UINT32_MAX, 0).result;
		assert_true(fd >= 0);
		close(fd);
		close(listener);
		broker_end(channel);
		assert_int_equal(access(name[i], F_OK), -1);
		assert_int_equal(ended(), 0);
	}
	assert_int_equal(fchdir(here), 0);
	close(here);
}

/* -- what is no request --------------------------------------------------- */

static void test_no_requests(void **state)
{
	static const unsigned lens[] = { 1, 4, 7, 9, 16, 4096 };
	static const char bytes[4096];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		struct pollfd ready = { 0, POLLIN, 0 };
		struct broker_answer answer;

		start_with("v", NULL, true);
		assert_int_equal(write(channel, bytes, lens[i]), lens[i]);
		ready.fd = channel;
		assert_int_equal(poll(&ready, 1, -1), 1);
		assert_int_equal(broker_receive(channel, &answer), -EPIPE);
		assert_int_equal(ended(), 0);
		assert_false(is_there(0));
		close(channel);
	}
}

/* A descriptor that is passed to it is nowhere. */
static void test_descriptor_for_it(void **state)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights = { .bytes = { 0 } };
	uint32_t request[2] = { 5, 6 };
	struct iovec iov = { request, sizeof(request) };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &rights,
				  .msg_controllen = sizeof(rights) };
	struct pollfd ready = { 0, POLLIN, 0 };
	struct broker_answer answer;
	int pair[2];

	(void)state;
	start_with("v", NULL, true);
	assert_int_equal(pipe(pair), 0);
	rights.header.cmsg_level = SOL_SOCKET;
	rights.header.cmsg_type = SCM_RIGHTS;
	rights.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&rights.header), &pair[1], sizeof(int));
	assert_int_equal(sendmsg(channel, &message, 0), sizeof(request));
	close(pair[1]);
	ready.fd = pair[0];
	/* It is closed while the broker lives. */
	assert_int_equal(poll(&ready, 1, -1), 1);
	assert_int_equal(ready.revents, POLLHUP);
	ready.fd = channel;
	assert_int_equal(poll(&ready, 1, -1), 1);
	assert_int_equal(broker_receive(channel, &answer), 1);
	assert_int_equal(answer.result, -ENOENT);
	close(pair[0]);
	broker_end(channel);
	assert_int_equal(ended(), 0);
}

/* As many requests as it takes, and nobody who reads the answers. */
static void test_flood(void **state)
{
	static const uint32_t request[2] = { 5, 6 };
	int listener;

	(void)state;
	start_with("v", NULL, true);
	listener = listener_at("v_5", 4096);
	for (unsigned tries = 0; tries < 100;)
		if (send(channel, request, sizeof(request), MSG_DONTWAIT) < 0) {
			assert_int_equal(errno, EAGAIN);
			usleep(1000);
			tries++;
		}
	assert_true(is_there(0));
	close(channel);
	assert_int_equal(ended(), 0);
	assert_false(is_there(0));
	close(listener);
}

/* -- the end -------------------------------------------------------------- */

static void test_removes_both(void **state)
{
	(void)state;
	for (unsigned dials = 0; dials < 2; dials++) {
		start_with("v", "s", dials);
		assert_true(is_there(0) && is_there(1));
		close(channel); /* as the kernel does at mote's end */
		assert_int_equal(ended(), 0);
		assert_false(is_there(0) || is_there(1));
		start_with(NULL, "s", false);
		broker_end(channel);
		assert_false(is_there(1));
		assert_int_equal(ended(), 0);
	}
}

/* Another's file at the path is another's. */
static void test_leaves_others(void **state)
{
	int fd;

	(void)state;
	start_with("v", "s", true);
	for (unsigned i = 0; i < BROKER_FILES; i++) {
		assert_int_equal(unlink(path[i]), 0);
		fd = open(path[i], O_CREAT | O_EXCL | O_WRONLY, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
	broker_end(channel);
	assert_int_equal(ended(), 0);
	assert_true(is_there(0) && is_there(1));
}

/*
 * Nor is the socket of the next mote, that found this one's listener gone: its
 * inode has another number, in a file system that uses numbers again, too.
 */
static void test_leaves_the_next(void **state)
{
	struct unixsock next[BROKER_FILES];
	int fds[BROKER_FILES];

	(void)state;
	start_with("v", "s", true);
	/* It has answered: it has the listeners no more. */
	assert_int_equal(answer_to(5, 0).result, -ENOENT);
	for (unsigned i = 0; i < BROKER_FILES; i++) {
		const ino_t before = file[i].ino;

		close(listens[i]);
		fds[i] = unixsock_listen(&next[i], "--x ", path[i], 1);
		assert_true(fds[i] >= 0);
		assert_true(next[i].ino != before);
		listens[i] = -1;
	}
	broker_end(channel);
	assert_int_equal(ended(), 0);
	assert_true(is_there(0) && is_there(1));
	for (unsigned i = 0; i < BROKER_FILES; i++) {
		unixsock_remove(&next[i]);
		close(fds[i]);
		assert_false(is_there(i));
	}
}

/* Before which call the other broker removes the file. */
static enum { NEVER, LSTAT, CONNECT, UNLINK } vanishes;

int __real_lstat(const char *name, struct stat *status);
int __wrap_lstat(const char *name, struct stat *status);
int __real_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len);
int __real_unlink(const char *name);
int __wrap_unlink(const char *name);

static void vanish_before(int call)
{
	if ((int)vanishes != call)
		return;
	vanishes = NEVER;
	assert_int_equal(__real_unlink(path[0]), 0);
}

int __wrap_lstat(const char *name, struct stat *status)
{
	vanish_before(LSTAT);
	return __real_lstat(name, status);
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len)
{
	vanish_before(CONNECT);
	return __real_connect(fd, address, len);
}

int __wrap_unlink(const char *name)
{
	vanish_before(UNLINK);
	return __real_unlink(name);
}

/* The one of a mote that was killed, while the next one starts. */
static void test_removes_late(void **state)
{
	(void)state;
	snprintf(path[0], sizeof(path[0]), "%s/v", dir);
	for (int call = NEVER; call <= UNLINK; call++) {
		close(listener_at("v", 1));
		vanishes = call;
		listens[0] = unixsock_listen(&file[0], "--x ", path[0], 1);
		expect_no_log();
		assert_true(listens[0] >= 0);
		assert_int_equal(vanishes, NEVER);
		assert_true(is_there(0));
		unixsock_remove(&file[0]);
		close(listens[0]);
	}
}

static int refuse_lock_in(void *arg, unsigned number)
{
	(void)arg, (void)number;
	return -EPERM;
}

/* Nobody is served then, and the socket is there for as long as mote. */
static void test_not_locked_in(void **state)
{
	struct broker_options options = { .file = { &file[0] },
					  .dials = true,
					  .hook = { refuse_lock_in, NULL } };
	struct pollfd ready = { 0, POLLIN, 0 };
	struct broker_answer answer;

	(void)state;
	listens[1] = -1;
	snprintf(path[0], sizeof(path[0]), "%s/v", dir);
	listens[0] = unixsock_listen(&file[0], "--x ", path[0], 1);
	assert_true(listens[0] >= 0);
	assert_int_equal(broker_start(&options, &channel), 0);
	ready.fd = channel;
	assert_int_equal(poll(&ready, 1, -1), 1);
	assert_int_equal(broker_receive(channel, &answer), -EPIPE);
	assert_int_equal(broker_request(channel, 5, 0), 0);
	usleep(20000);
	assert_true(is_there(0));
	close(channel);
	assert_int_equal(WEXITSTATUS(ended()), 1);
	assert_false(is_there(0));
}

static void test_none_where_nothing_to_do(void **state)
{
	struct broker_options options = { .file = { NULL, &file[1] } };

	(void)state;
	file[1] = UNIXSOCK_NONE;
	assert_int_equal(broker_start(&options, &channel), 0);
	assert_int_equal(channel, -1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	broker_end(-1);
}

static pid_t find_broker(void)
{
	char text[32] = "";
	int fd = open("/proc/thread-self/children", O_RDONLY);

	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return (pid_t)atoi(text);
}

/* One that is stopped does not keep mote from its end, and does it later. */
static void test_does_not_hold_up(void **state)
{
	pid_t child;

	(void)state;
	start_with("v", NULL, true);
	child = find_broker();
	assert_int_equal(kill(child, SIGSTOP), 0);
	broker_end(channel);
	assert_true(is_there(0));
	assert_int_equal(kill(child, SIGCONT), 0);
	assert_int_equal(ended(), 0);
	assert_false(is_there(0));
}

/* It has nobody's pipe, and no signal but SIGKILL ends it. */
static void test_alone(void **state)
{
	static const int signals[] = { SIGINT,	SIGTERM, SIGHUP,  SIGQUIT,
				       SIGALRM, SIGUSR1, SIGTSTP, SIGPIPE };
	char name[64], link[64];
	pid_t child;
	ssize_t len;

	(void)state;
	start_with("v", "s", true);
	child = find_broker();
	/* It has answered: it is set up. */
	assert_int_equal(answer_to(5, 0).result, -ENOENT);
	for (int fd = 0; fd < 64; fd++) {
		const bool has = fd == BROKER_CHANNEL ||
				 (fd >= BROKER_DIR &&
				  fd < BROKER_DIR + 2 * BROKER_FILES);

		snprintf(name, sizeof(name), "/proc/%d/fd/%d", (int)child, fd);
		len = readlink(name, link, sizeof(link));
		assert_int_equal(len > 0, has);
	}
	assert_int_equal(getsid(child), child);
	for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
		assert_int_equal(kill(child, signals[i]), 0);
	assert_int_equal(answer_to(5, 0).result, -ENOENT);
	broker_end(channel);
	assert_int_equal(ended(), 0);
	assert_false(is_there(0));
}

#define broker_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		broker_test(test_reaches_its_own),
		broker_test(test_full_backlog),
		broker_test(test_names),
		broker_test(test_no_requests),
		broker_test(test_descriptor_for_it),
		broker_test(test_flood),
		broker_test(test_removes_both),
		broker_test(test_leaves_others),
		broker_test(test_leaves_the_next),
		broker_test(test_removes_late),
		broker_test(test_not_locked_in),
		broker_test(test_none_where_nothing_to_do),
		broker_test(test_does_not_hold_up),
		broker_test(test_alone),
	};

	signal(SIGPIPE, SIG_IGN); /* as in mote */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
