/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frames SOCKET TAP: a tap interface behind a unix stream socket, for one
 * client that speaks as passt and QEMU do: frames, each after its length in 32
 * bits, big-endian.
 *
 * One process for each way, with calls that wait: how a stream is cut is up to
 * the kernel and the client. Ends when the client hangs up. Runs in the test
 * host; static.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define FRAME_MAX 65557

static uint8_t frame[FRAME_MAX];

static int fail(const char *what)
{
	perror(what);
	exit(1);
}

static int open_tap(const char *name)
{
	struct ifreq ifreq = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR);

	strncpy(ifreq.ifr_name, name, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifreq) < 0)
		fail(name);
	return fd;
}

static int accept_on(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (bind(fd, (void *)&address, sizeof(address)) < 0 ||
	    listen(fd, 1) < 0)
		fail(path);
	fd = accept(fd, NULL, NULL);
	return fd < 0 ? fail("accept") : fd;
}

static void to_client(int tap, int client)
{
	for (;;) {
		ssize_t len = read(tap, frame, sizeof(frame));
		uint32_t prefix = htonl((uint32_t)len);
		struct iovec iov[] = { { &prefix, 4 }, { frame, (size_t)len } };

		/* A stream that waits takes all of it, or has ended. */
		if (len <= 0 || writev(client, iov, 2) != len + 4)
			return;
	}
}

static void from_client(int tap, int client)
{
	uint32_t prefix;

	while (recv(client, &prefix, 4, MSG_WAITALL) == 4) {
		size_t len = ntohl(prefix);

		if (len > sizeof(frame) ||
		    recv(client, frame, len, MSG_WAITALL) != (ssize_t)len)
			return;
		/* It may be down, or the frame not to its liking: lost. */
		if (write(tap, frame, len) < 0)
			continue;
	}
}

int main(int argc, char **argv)
{
	int tap, client;
	pid_t child;

	if (argc != 3) {
		fputs("usage: frames SOCKET TAP\n", stderr);
		return 2;
	}
	tap = open_tap(argv[2]);
	client = accept_on(argv[1]);
	child = fork();
	if (!child) {
		to_client(tap, client);
		return 0;
	}
	from_client(tap, client);
	kill(child, SIGTERM);
	return 0;
}
