/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay: hostd's middle: frames between many clients and one agent.
 *
 * A client's frames get its session number and go to the port; the agent's
 * go to the client with that number.  What a client may send without an
 * answer, and what the agent may send to it, is bounded by the windows of
 * wire.h, so a queue never grows far, and the port is always read.  Runs on
 * hostd's only thread; every descriptor is non-blocking.
 */
#include "relay.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG (1 << 20) /* bytes to the agent before clients wait */

static void client_close(struct relay *r, struct client *c)
{
	wire_add(&r->out, c->session, WIRE_GONE, NULL, 0);
	close(c->fd);
	buf_free(&c->in);
	buf_free(&c->out);
	c->fd = -1;
	r->used = now_ms();
}

static void client_accept(struct relay *r)
{
	int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	for (int i = 0; i < RELAY_CLIENTS; i++) {
		struct client *c = &r->clients[i];

		if (c->fd >= 0)
			continue;
		*c = (struct client){ .fd = fd, .session = ++r->last_session };
		r->used = now_ms();
		return;
	}
	close(fd); /* the client says what that means */
}

/* Frames from a client, with its number put in, on to the agent. */
static void client_read(struct relay *r, struct client *c)
{
	struct wire_head f;
	const char *data;
	long n = buf_read(&c->in, c->fd, 65536);
	int more;

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0) {
		client_close(r, c);
		return;
	}
	while ((more = wire_next(&c->in, &f, &data)) == 1) {
		if (f.type == WIRE_STOP)
			r->stop = 1;
		else if (f.type == WIRE_PING)
			wire_add(&c->out, 0, WIRE_PING, NULL, 0);
		else
			wire_add(&r->out, c->session, f.type, data, f.len);
		wire_drop(&c->in, &f);
	}
	if (more < 0)
		client_close(r, c);
}

static void client_write(struct relay *r, struct client *c)
{
	long n = buf_len(&c->out) ? buf_write(&c->out, c->fd) : 0;

	if ((n < 0 && n != -EAGAIN && n != -EINTR) ||
	    (c->ending && !buf_len(&c->out)))
		client_close(r, c);
}

static void agent_frame(struct relay *r, const struct wire_head *f,
			const char *data)
{
	if (f->type == WIRE_READY)
		r->ready = 1;
	for (int i = 0; i < RELAY_CLIENTS; i++) {
		struct client *c = &r->clients[i];

		if (c->fd < 0 || c->session != f->session || c->ending)
			continue;
		wire_add(&c->out, 0, f->type, data, f->len);
		c->ending = f->type == WIRE_EXIT;
	}
}

/* 0, or -errno when the machine has ended. */
static int port_read(struct relay *r)
{
	struct wire_head f;
	const char *data;
	long n = buf_read(&r->in, r->port, 262144);
	int more;

	if (n == -EAGAIN || n == -EINTR)
		return 0;
	if (n <= 0)
		return -EPIPE;
	r->heard = now_ms();
	while ((more = wire_next(&r->in, &f, &data)) == 1) {
		agent_frame(r, &f, data);
		wire_drop(&r->in, &f);
	}
	return more;
}

void relay_init(struct relay *r)
{
	r->port = r->listener = -1;
	for (int i = 0; i < RELAY_CLIENTS; i++)
		r->clients[i].fd = -1;
}

int relay_busy(const struct relay *r)
{
	for (int i = 0; i < RELAY_CLIENTS; i++)
		if (r->clients[i].fd >= 0)
			return 1;
	return 0;
}

void relay_poll(const struct relay *r, struct pollfd *p)
{
	int crowded = buf_len(&r->out) > BACKLOG;

	p[0] = (struct pollfd){ .fd = r->port, .events = POLLIN };
	if (buf_len(&r->out))
		p[0].events |= POLLOUT;
	p[1] = (struct pollfd){ .fd = r->ready ? r->listener : -1,
				.events = POLLIN };
	for (int i = 0; i < RELAY_CLIENTS; i++) {
		const struct client *c = &r->clients[i];

		p[2 + i] = (struct pollfd){ .fd = c->fd,
					    .events = crowded ? 0 : POLLIN };
		if (buf_len(&c->out) || c->ending)
			p[2 + i].events |= POLLOUT;
	}
}

int relay_step(struct relay *r, const struct pollfd *p)
{
	if (p[0].revents & (POLLIN | POLLHUP | POLLERR) && port_read(r))
		return -EPIPE;
	if (p[0].revents & POLLOUT)
		buf_write(&r->out, r->port);
	for (int i = 0; i < RELAY_CLIENTS; i++) {
		struct client *c = &r->clients[i];

		if (c->fd >= 0 && p[2 + i].revents & (POLLIN | POLLHUP))
			client_read(r, c);
		if (c->fd >= 0 && p[2 + i].revents & POLLOUT)
			client_write(r, c);
	}
	if (p[1].revents)
		client_accept(r);
	return 0;
}
