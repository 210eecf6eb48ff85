/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages for a service manager, as sd_notify(3) has them: datagrams of
 * KEY=VALUE lines to the unix socket that NOTIFY_SOCKET names.
 *
 * Nobody waits for the manager. Where a thousand guests start at once its queue
 * may be full: what state a guest is in is then told a little later, by the
 * timer that WATCHDOG=1 has, since a manager that has missed READY=1 would end
 * the guest. Of several states the last one counts. One that has gone away is
 * not missed.
 *
 * WATCHDOG=1 comes from a timer of the loop, so that a loop that hangs says
 * none. Who has a reason to keep its thread for long (a snapshot) says it in
 * between.
 *
 * The socket is connected while mote may still do so, with a plain write() to
 * it afterwards, which the filters allow for all files.
 *
 * Trusts the environment as far as the command line. Owns the socket, which
 * lives as long as the process, and the timer. Main thread; notify_ended also
 * in the handler of a fault.
 */
#include "cpu/loop/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"

#define NS_PER_US 1000u

/* How soon a queue that was full is tried again. */
#define RETRY_NS 100000000ULL

static const char *const state_messages[] = {
	[NOTIFY_BOOTING] = "STATUS=booting",
	[NOTIFY_RUNNING] = "READY=1\nSTATUS=running",
	[NOTIFY_STOPPING] = "STOPPING=1\nSTATUS=stopping",
};

static const char *const end_words[] = {
	[END_NONE] = "not started",
	[END_POWEROFF] = "the guest powered off",
	[END_REBOOT] = "the guest rebooted",
	[END_PANIC] = "the guest panicked",
	[END_CRASH] = "the guest crashed",
	[END_EXITED] = "exited",
	[END_OOM] = "the guest ran out of memory",
	[END_SNAPSHOT] = "a snapshot was taken",
	[END_SIGNAL] = "stopped by a signal",
	[END_TIMEOUT] = "stopped by --timeout",
	[END_ERROR] = "mote failed",
};

void notify_init(struct notify *n)
{
	n->fd = n->timer.source.fd = -1;
}

/* -- the environment ------------------------------------------------------- */

/* A positive decimal number; 0: it is none, or too large. */
static uint64_t read_number(const char *text)
{
	uint64_t value = 0;

	for (; *text >= '0' && *text <= '9'; text++) {
		if (value > UINT64_MAX / 10 - 1)
			return 0;
		value = value * 10 + (uint64_t)(*text - '0');
	}
	return *text ? 0 : value;
}

/* Half of the time after which the manager takes the process for hung. */
static uint64_t read_watchdog(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");
	uint64_t us;

	if (!usec || (pid && read_number(pid) != (uint64_t)getpid()))
		return 0;
	us = read_number(usec);
	if (us && us <= UINT64_MAX / NS_PER_US)
		return us * NS_PER_US / 2;
	log_warn("WATCHDOG_USEC=%s: this is no number of microseconds, so "
		 "no WATCHDOG=1 is sent",
		 usec);
	return 0;
}

/*
 * Its value: /proc/PID/environ has none any more, nor does anything that mote
 * starts. Names are wiped with the rest of the environment, by the jail.
 */
static void wipe_variable(const char *name)
{
	char *value = getenv(name);

	if (value)
		memset(value, 0, strlen(value));
}

/* The address's length, or 0, logged. */
static socklen_t read_notify_socket(const char *text,
				    struct sockaddr_un *address)
{
	const size_t len = strlen(text);
	const char *why = NULL;

	if (!strncmp(text, "vsock", 5))
		why = "mote tells unix sockets only, and no vsock address";
	else if (*text != '/' && *text != '@')
		why = "this is neither a path (/...) nor an abstract name "
		      "(@...)";
	else if (len < 2 || len >= sizeof(address->sun_path))
		why = "a socket's name has 2 to 107 bytes";
	if (why) {
		log_warn("NOTIFY_SOCKET=%s: %s; nobody is told of this guest",
			 text, why);
		return 0;
	}
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(address->sun_path, text, len);
	if (*text == '@') /* whose zeroes, at the end, would be part of it */
		address->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len +
			   (*text == '/'));
}

static int connect_to(const char *text)
{
	struct sockaddr_un address;
	const socklen_t len = read_notify_socket(text, &address);
	int fd;

	if (!len)
		return -1;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&address, len))
		return fd;
	log_warn("NOTIFY_SOCKET=%s: %s; nobody is told of this guest", text,
		 strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

void notify_open(struct notify *n)
{
	const char *text = getenv("NOTIFY_SOCKET");

	if (!text || !*text)
		return;
	n->fd = connect_to(text);
	if (n->fd >= 0)
		n->watchdog_ns = read_watchdog();
	wipe_variable("NOTIFY_SOCKET");
	wipe_variable("WATCHDOG_USEC");
	wipe_variable("WATCHDOG_PID");
}

/* -- messages -------------------------------------------------------------- */

/* False where the queue is full. */
static bool send_datagram(const struct notify *n, const char *text)
{
	ssize_t sent;

	do
		sent = write(n->fd, text, strlen(text));
	while (sent < 0 && errno == EINTR);
	return sent >= 0 || errno != EAGAIN;
}

static void set_timer(struct notify *n)
{
	const uint64_t now = loop_now();
	uint64_t ns = 0;

	if (n->timer.source.fd < 0)
		return;
	if (n->watchdog_ns)
		ns = n->due_ns > now ? n->due_ns - now : 1;
	if (n->unsent && (!ns || ns > RETRY_NS))
		ns = RETRY_NS;
	loop_timer_set(&n->timer, ns);
}

static void send_state(struct notify *n)
{
	n->unsent = !send_datagram(n, state_messages[n->state]);
}

void notify_state(struct notify *n, enum notify_state state)
{
	if (n->fd < 0 || (state && state <= n->state))
		return;
	n->state = state;
	send_state(n);
	if (n->unsent)
		set_timer(n);
}

void notify_alive(struct notify *n)
{
	uint64_t now;

	if (!n->watchdog_ns)
		return;
	now = loop_now();
	if (now < n->due_ns)
		return;
	n->due_ns = now + (send_datagram(n, "WATCHDOG=1") ? n->watchdog_ns
							  : RETRY_NS);
}

static void on_timer(void *arg)
{
	struct notify *n = arg;

	if (n->unsent)
		send_state(n);
	notify_alive(n);
	set_timer(n);
}

int notify_start(struct notify *n, struct loop *loop)
{
	int error;

	if (n->fd < 0)
		return 0;
	error = loop_timer_create(loop, &n->timer, on_timer, n);
	if (!error)
		on_timer(n);
	return error;
}

void notify_ended(const struct notify *n, const struct ending *ending)
{
	char text[128];

	if (n->fd < 0)
		return;
	snprintf(text, sizeof(text), "STOPPING=1\nSTATUS=%s\nEXIT_STATUS=%u",
		 end_words[ending->reason], ending->status);
	send_datagram(n, text);
}

void notify_stop(struct notify *n, struct loop *loop)
{
	loop_timer_destroy(loop, &n->timer);
}
