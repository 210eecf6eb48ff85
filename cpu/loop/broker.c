/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's life:
 *
 *	mote			broker
 *	fork			leaves signals, session and descriptors behind,
 *				has the hook take its rights
 *	port, tag	-->	connect(PATH_<port>)
 *			<--	port, tag, errno or descriptor (SCM_RIGHTS)
 *	1 byte, or its end -->	removes the files that are still ours; ends
 *
 * It has one way in, messages of one length, and knows no other thing to do.
 * Who has taken mote over can make it connect to PATH_<port> for any port, as
 * the guest could before. Who could take the broker itself over finds that its
 * filter (seccomp/policy.c) compares pointers: a name that is looked up,
 * removed or connected to lies at an address that is known, on a page that can
 * be neither written to nor replaced. Only a port's digits lie on the next one.
 *
 *	 BROKER_NAME(0)  BROKER_NAME(1)     BROKER_ADDRESS   BROKER_PORT
 *	|guest.sock      serial.sock  ...  AF_UNIX ".///guest.sock_|1234"
 *
 * The slashes make all names equally long. What begins PATH_ but is a directory
 * is not in the way: there is room for ten characters behind it.
 *
 * A broker that waits, in a file system that does not answer, keeps nobody
 * waiting: mote has a bound for what is asked at once, and a time limit for
 * each (conn.c), and at its own end waits a tenth of a second. A listener with
 * a full backlog is EAGAIN.
 *
 * Trusts nobody with more than the length of a message. Owns the directories.
 */
#include "cpu/loop/broker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cpu/loop/helper.h"
#include "cpu/loop/loop.h"
#include "mem/log.h"
#include "mem/util.h"

#ifndef MAP_FIXED_NOREPLACE /* Linux 4.17 */
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define END_WAIT_US  50000 /* and once more, for an answer within that */
#define SEND_WAIT_US 1	   /* a tick of the host's */

struct broker_request {
	uint32_t port, tag;
};

static bool is_for_broker(const struct unixsock *file)
{
	return file && file->dir_fd >= 0;
}

/* -- in the broker --------------------------------------------------------- */

/* A descriptor that is connected to PATH_<port>, or -errno. */
static int connect_to_port(uint32_t port)
{
	const struct sockaddr *address = (void *)BROKER_ADDRESS;
	int fd, error;

	snprintf((char *)BROKER_PORT, BROKER_DIGITS + 1, "%u", port);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || !connect(fd, address, sizeof(struct sockaddr_un)))
		return fd < 0 ? -errno : fd;
	error = errno;
	close(fd);
	return -error;
}

bool broker_serve(int channel)
{
	struct broker_request request;
	struct broker_answer answer;
	char message[sizeof(request) + 1]; /* what is too long is seen */
	bool sent;
	int fd;

	if (read(channel, message, sizeof(message)) != sizeof(request))
		return false;
	memcpy(&request, message, sizeof(request));
	fd = connect_to_port(request.port);
	answer = (struct broker_answer){ request.port, request.tag,
					 fd < 0 ? fd : 0 };
	sent = helper_send(channel, &answer, sizeof(answer), fd);
	if (fd >= 0)
		close(fd);
	if (sent)
		return true;
	/* This user has too many descriptors on their way (ETOOMANYREFS). */
	answer.result = -EAGAIN;
	return helper_send(channel, &answer, sizeof(answer), -1);
}

int broker_map(struct unixsock *const file[BROKER_FILES])
{
	struct sockaddr_un *address = (void *)BROKER_ADDRESS;
	const size_t room = BROKER_PORT - (uintptr_t)address->sun_path;
	void *at =
		mmap((void *)BROKER_AT, 2 * BROKER_PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	size_t len;

	if (at != (void *)BROKER_AT)
		return -ENOMEM;
	for (unsigned i = 0; i < BROKER_FILES; i++) {
		const char *name = is_for_broker(file[i])
					   ? unixsock_name(file[i]->path)
					   : "";

		memcpy((char *)BROKER_NAME(i), name, strlen(name) + 1);
	}
	len = strlen((char *)BROKER_NAME(0));
	if (len + 2 > room)
		return -ENAMETOOLONG;
	address->sun_family = AF_UNIX;
	memset(address->sun_path, '/', room);
	address->sun_path[0] = '.';
	memcpy(address->sun_path + room - 1 - len, (char *)BROKER_NAME(0), len);
	address->sun_path[room - 1] = '_';
	return mprotect(at, BROKER_PAGE, PROT_READ) ? -errno : 0;
}

/*
 * No descriptor but these, at the numbers that the filter knows: directories,
 * and behind them the files themselves, which are only held.
 */
static bool take_descriptors(const struct broker_options *o, int channel)
{
	int from[2 * BROKER_FILES];

	for (int i = 0; i < 2 * BROKER_FILES; i++) {
		const struct unixsock *file = o->file[i % BROKER_FILES];

		from[i] = -1;
		if (i < BROKER_FILES ? is_for_broker(file)
				     : file && unixsock_is_ours(file))
			from[i] =
				i < BROKER_FILES ? file->dir_fd : file->own_fd;
	}
	return helper_take(channel, from, ARRAY_LEN(from), o->keeps_stderr);
}

/* Its pages, its directory, and no right that it has no use for. */
static bool lock_broker_in(const struct broker_options *o)
{
	if (broker_map(o->file))
		return false;
	for (unsigned i = 0; i < BROKER_FILES; i++)
		if (is_for_broker(o->file[i])) {
			o->file[i]->dir_fd = BROKER_DIR + (int)i;
			o->file[i]->path = (char *)BROKER_NAME(i);
		}
	return !(o->dials && fchdir(BROKER_DIR)) &&
	       !(o->hook.enter && o->hook.enter(o->hook.arg, 0));
}

/* The options with copies of what they point to. */
static struct broker_options own_options(const struct broker_options *o,
					 struct unixsock file[BROKER_FILES])
{
	struct broker_options own = *o;

	for (unsigned i = 0; i < BROKER_FILES; i++)
		if (o->file[i]) {
			file[i] = *o->file[i];
			own.file[i] = &file[i];
		}
	return own;
}

/*
 * Where it cannot be locked in it serves nobody, which mote sees by the end of
 * what it says, and waits for mote's end all the same.
 */
static void run_broker(const void *arg, int channel)
{
	struct unixsock file[BROKER_FILES];
	const struct broker_options own = own_options(arg, file), *o = &own;
	bool well;
	char last[2];

	if (!take_descriptors(o, channel))
		_exit(1);
	well = lock_broker_in(o);
	if (!well)
		shutdown(BROKER_CHANNEL, SHUT_WR);
	if (well && o->dials)
		while (broker_serve(BROKER_CHANNEL))
			;
	else
		while (read(BROKER_CHANNEL, last, sizeof(last)) > 1)
			;
	for (unsigned i = 0; i < BROKER_FILES; i++)
		if (is_for_broker(o->file[i]))
			unixsock_unlink(o->file[i]);
	_exit(!well);
}

/* -- in mote --------------------------------------------------------------- */

static void limit_waiting(int fd, int option, suseconds_t us)
{
	const struct timeval limit = { 0, us };

	setsockopt(fd, SOL_SOCKET, option, &limit, sizeof(limit));
}

int broker_start(const struct broker_options *o, int *fd)
{
	const struct helper broker = {
		.name = "mote broker",
		.keeps_stderr = o->keeps_stderr,
		.run = run_broker,
		.arg = o,
	};
	int child;

	*fd = -1;
	if (!is_for_broker(o->file[0]) && !is_for_broker(o->file[1]))
		return 0;
	child = helper_start(&broker, fd);
	if (child < 0)
		return child;
	limit_waiting(*fd, SO_RCVTIMEO, END_WAIT_US);
	limit_waiting(*fd, SO_SNDTIMEO, SEND_WAIT_US);
	for (unsigned i = 0; i < BROKER_FILES; i++)
		if (o->file[i])
			unixsock_forget(o->file[i]);
	log_info("broker: process %d has the sockets' directories, and mote "
		 "none",
		 child);
	return 0;
}

int broker_request(int fd, uint32_t port, uint32_t tag)
{
	const struct broker_request request = { port, tag };

	return write(fd, &request, sizeof(request)) == sizeof(request) ? 0
								       : -errno;
}

int broker_receive(int fd, struct broker_answer *answer)
{
	int passed;
	const ssize_t len =
		helper_receive(fd, answer, sizeof(*answer), &passed);

	if (len != sizeof(*answer))
		return len < 0 && (errno == EAGAIN || errno == EINTR) ? 0
								      : -EPIPE;
	if (passed >= 0)
		answer->result = passed;
	else if (answer->result >= 0)
		answer->result = -EMFILE;
	return 1;
}

void broker_end(int fd)
{
	const uint64_t end = loop_now() + END_WAIT_US * 1000;
	char last;

	if (fd < 0)
		return;
	/* What is no request ends it; answers may be on their way before. */
	if (write(fd, "", 1) == 1)
		while (read(fd, &last, sizeof(last)) > 0 && loop_now() < end)
			;
	close(fd);
}
