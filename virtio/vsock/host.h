/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of vsock: unix sockets and nothing else. What follows for a
 * connection from what its socket says is decided in conn.c.
 */
#ifndef VIRTIO_VSOCK_HOST_H
#define VIRTIO_VSOCK_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "cpu/loop/broker.h"
#include "cpu/loop/file.h"
#include "cpu/loop/loop.h"
#include "cpu/loop/unixsock.h"

#define VSOCK_BACKLOG	  4096
#define VSOCK_COMMAND_MAX 32u /* "CONNECT 4294967295\r\n" and blanks */

/* Where programs of the host find the device, and it finds them. */
struct vsock_host {
	int fd;		      /* listens for clients; -1: none may come */
	struct unixsock file; /* the socket at PATH */
	const char *prefix;   /* "PATH" of PATH_<port>; NULL: out of reach */
	int broker_fd;	      /* who connects to these, cpu/loop/broker.h */
	char bound[UNIXSOCK_PATH_MAX + 1]; /* PATH of a caller's socket */
};

/* The socket of one stream, and what is known of it without a system call. */
struct vsock_socket {
	struct loop_source source; /* fd -1: closed */
	struct loop *loop;
	bool readable;	  /* a read may succeed */
	bool hangup;	  /* ... until it says end of file */
	bool blocked;	  /* a write fails until EPOLLOUT */
	bool out_watched; /* EPOLLOUT is asked for */
	bool eof;	  /* all that the program wrote was read */
	bool gone;	  /* the program reads no more */
	bool reset;	  /* it closed the socket with data in it unread */
	uint8_t command_len;
	char command[VSOCK_COMMAND_MAX]; /* the CONNECT line, so far */
};

#define VSOCK_HOST_NONE                                                        \
	((struct vsock_host){                                                  \
		.fd = -1, .file = UNIXSOCK_NONE, .broker_fd = -1 })
#define VSOCK_SOCKET_NONE ((struct vsock_socket){ .source.fd = -1 })

/* Listens at the path or takes the caller's socket. 0 or -errno, logged. */
int vsock_host_listen(struct vsock_host *host, const struct option_file *file);

/* Closes, and removes the file. */
void vsock_host_unlisten(struct vsock_host *host);

/* What a socket of the host takes of unread bytes, with what they cost it. */
uint32_t vsock_host_unread(const struct vsock_host *host);

/* The next client's descriptor or -errno, not logged; -EAGAIN: none waits. */
int vsock_host_accept(const struct vsock_host *host);

/*
 * Asks for a descriptor that is connected to PATH_<port>; 0 or -errno. Answers
 * come in order, with `tag`, when broker_fd is readable: as of broker_request
 * and broker_receive, -EAGAIN where the listener's backlog is full.
 */
int vsock_host_dial(const struct vsock_host *host, uint32_t port, uint32_t tag);
int vsock_host_dialled(const struct vsock_host *host,
		       struct broker_answer *answer);

/* Owns `fd` from now on, also where it fails: 0 or -errno. */
int vsock_host_watch(struct vsock_socket *socket, struct loop *loop, int fd,
		     void (*ready)(void *arg, uint32_t events), void *arg);

/* What epoll has said of the socket; `ready` calls it first. */
void vsock_host_events(struct vsock_socket *socket, uint32_t events);

/*
 * Reads a CONNECT line, no further than its end: 1 where it is complete and
 * names *port, 0 where there is more to come, -1 where the client is gone or
 * makes no sense.
 */
int vsock_host_read_command(struct vsock_socket *socket, uint32_t *port);

/* Tells the client that it is connected. */
void vsock_host_greet(struct vsock_socket *socket, uint32_t port);

/* Bytes read into `iov`; 0 where there are none now (!readable) or no more. */
size_t vsock_host_read(struct vsock_socket *socket, struct iovec *iov,
		       unsigned count);

/* The socket is to take no more unread bytes than that, or not many more. */
void vsock_host_limit_unread(const struct vsock_socket *socket, uint32_t bytes);

/* Writes what the socket takes, which it says. */
size_t vsock_host_write(struct vsock_socket *socket, struct iovec *iov,
			unsigned count);

/*
 * EPOLLOUT is asked for only while there is something to write: else each read
 * at the other end would wake the loop. vsock_host_write turns it on, this off.
 */
void vsock_host_watch_out(struct vsock_socket *socket, bool watch);

/* Ends one direction (SHUT_RD, SHUT_WR), or all of it. */
void vsock_host_shutdown(const struct vsock_socket *socket, int direction);
void vsock_host_close(struct vsock_socket *socket);

#endif
