/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a stream that listens: tests/linux/vsock_stream.h.
 *
 *	vsock_serve all WHERE		serves streams until it is killed
 *	vsock_serve once WHERE		accepts one, waits for its end
 *	vsock_serve hold WHERE		listens (backlog 1), never accepts
 *
 * Runs in the guest and on the host; static.
 */
#include <poll.h>
#include <sys/wait.h>

#include "tests/linux/vsock_stream.h"

/* -- the server ----------------------------------------------------------- */

/* A long stream has a process of its own, with ordinary blocking calls. */
static void serve_long(int fd, struct stream *s)
{
	if (s->verb == 's') {
		take_sequence(fd, s);
		write_all(fd, &s->sum, sizeof(s->sum));
	} else {
		send_sequence(fd, s);
		write_all(fd, &s->sum, sizeof(s->sum));
	}
	shutdown(fd, SHUT_WR);
	expect_end(fd);
	exit(0);
}

static struct pollfd fds[STREAMS]; /* the listener first */
static nfds_t count;

/* A copy of another stream's descriptor would keep that stream open. */
static void close_others(int fd)
{
	for (nfds_t i = 0; i < count; i++)
		if (fds[i].fd != fd)
			close(fds[i].fd);
}

/* Echo goes through this process, a chunk at a time; false: it is over. */
static bool serve_some(int fd, struct stream *s)
{
	char text[ORDER + 1] = "", verb[8] = "";
	ssize_t len;

	if (s->verb == 'e') {
		len = read(fd, words, sizeof(words));
		return len > 0 && try_write(fd, words, (size_t)len);
	}
	if (recv(fd, text, ORDER, MSG_WAITALL) != ORDER ||
	    sscanf(text, "%7s %" SCNu64 " %" SCNu64, verb, &s->seed,
		   &s->left) != 3)
		return false;
	s->verb = strcmp(verb, "source") == 0 ? 'r' : *verb;
	if (s->verb == 'e')
		return true;
	if (fork() == 0) {
		close_others(fd);
		serve_long(fd, s);
	}
	return false;
}

static void serve(const char *where)
{
	static struct stream streams[STREAMS];

	count = 1;
	fds[0] = (struct pollfd){ listen_at(where, 1024), POLLIN, 0 };
	for (;;) {
		if (poll(fds, count, -1) < 0)
			die("poll");
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		for (nfds_t i = count - 1; i > 0; i--) {
			if (!fds[i].revents ||
			    serve_some(fds[i].fd, &streams[i]))
				continue;
			close(fds[i].fd);
			count--;
			fds[i] = fds[count];
			streams[i] = streams[count];
			fds[i].revents = 0;
		}
		if (fds[0].revents && count < STREAMS) {
			fds[count] =
				(struct pollfd){ accept(fds[0].fd, NULL, NULL),
						 POLLIN, 0 };
			streams[count] = (struct stream){ 0 };
			count += fds[count].fd >= 0;
		}
	}
}

static void once(const char *where)
{
	int fd = accept(listen_at(where, 1), NULL, NULL);

	if (fd < 0)
		die("accept");
	while (read(fd, words, sizeof(words)) > 0)
		;
}

static void hold(const char *where)
{
	listen_at(where, 1);
	pause();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const char *where);
	} modes[] = { { "all", serve }, { "once", once }, { "hold", hold } };

	prepare();
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (argc == 3 && strcmp(argv[1], modes[i].name) == 0) {
			modes[i].run(argv[2]);
			return 0;
		}
	}
	wrong("usage: see the head of vsock_serve.c");
}
