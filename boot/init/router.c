/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS servers that routers of IPv6 advertise (RDNSS, RFC 8106, 5.1). The kernel
 * makes addresses and routes of an advertisement by itself, and hands on what
 * it has no use for to who listens (RTNLGRP_ND_USEROPT), each option by itself.
 * A network that has nothing but IPv6 says it in no other way here.
 *
 * An advertisement may be anybody's: lengths are checked here once more.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include <linux/rtnetlink.h>

#include "boot/init/init.h"

#define RDNSS	    25
#define RDNSS_BYTES 8 /* type, length in units of this, lifetime */

int router_listen(void)
{
	const struct sockaddr_nl group = {
		.nl_family = AF_NETLINK,
		.nl_groups = 1U << (RTNLGRP_ND_USEROPT - 1),
	};
	int fd = (int)SYS(socket, AF_NETLINK,
			  SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
			  NETLINK_ROUTE);

	SYS(bind, fd, &group, sizeof(group));
	return fd;
}

static void router_read_option(const struct nduseroptmsg *message,
			       const uint8_t *at, size_t len,
			       router_found *found)
{
	const size_t size = len >= RDNSS_BYTES ? at[1] * 8U : 0;
	uint32_t lifetime;

	if (at[0] != RDNSS || size < RDNSS_BYTES || size > len)
		return;
	memcpy(&lifetime, at + 4, sizeof(lifetime));
	for (size_t i = RDNSS_BYTES; lifetime && i + 16 <= size; i += 16)
		found((unsigned)message->nduseropt_ifindex, at + i);
}

void router_hear(int fd, router_found *found)
{
	static uint8_t bytes[4096];
	const size_t head = NLMSG_HDRLEN + sizeof(struct nduseroptmsg);
	struct nlmsghdr header;
	struct nduseroptmsg message;
	long n;

	while ((n = SYS(read, fd, bytes, sizeof(bytes))) > 0) {
		if ((size_t)n < head)
			continue;
		memcpy(&header, bytes, sizeof(header));
		memcpy(&message, bytes + NLMSG_HDRLEN, sizeof(message));
		if (header.nlmsg_type == RTM_NEWNDUSEROPT &&
		    message.nduseropt_family == AF_INET6 &&
		    message.nduseropt_opts_len <= (size_t)n - head)
			router_read_option(&message, bytes + head,
					   message.nduseropt_opts_len, found);
	}
}
