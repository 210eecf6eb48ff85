/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DHCP for one interface: a process of its own, which init forks, and which
 * lives as long as the guest, since a lease has to be renewed. What it says and
 * when is lease.c's; here are its sockets and what becomes of a lease.
 *
 * While it has no address it uses a packet socket: only that sends from 0.0.0.0
 * where another interface has an address, and receives what a server sends to
 * an address that is not here yet, as passt and many others do, whatever a
 * client asks for. With an address it is a UDP socket, and while a lease is
 * good there is none: no packet of the guest's passes by here.
 *
 * init waits for the first lease, by a pipe. Afterwards nobody listens, and
 * what is to be known goes to the kernel's log: mote's stream is init's.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "boot/init/init.h"
#include "boot/init/lease.h"

#define SLEEP_MS 3600000u /* at a time, at most */
#define FDS	 64	  /* init has fewer open */

struct dhcp {
	const struct dhcp_options *options;
	struct lease_client client;
	struct lease in_use; /* address 0: none */
	int fd, report;	     /* -1: not open */
	bool by_packets;
	struct utsname machine;
	uint8_t packet[LEASE_PACKET];
};

/* -- sockets --------------------------------------------------------------- */

/* Only what is for a DHCP client wakes this process. Offsets are those of the
 * IP header. */
static int dhcp_open_packets(const struct dhcp *d)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9), /* the protocol */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 4),
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), /* the header's end */
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),	/* the port */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LEASE_CLIENT_PORT, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = { sizeof(filter) / sizeof(*filter),
					    filter };
	const struct sockaddr_ll here = {
		.sll_family = AF_PACKET,
		.sll_protocol = __builtin_bswap16(ETH_P_IP),
		.sll_ifindex = (int)d->options->link.index,
	};
	int fd = (int)SYS(socket, AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	SYS(setsockopt, fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
	    sizeof(program));
	SYS(bind, fd, &here, sizeof(here));
	return fd;
}

static int dhcp_open_udp(const struct dhcp *d)
{
	const struct sockaddr_in here = {
		.sin_family = AF_INET,
		.sin_port = __builtin_bswap16(LEASE_CLIENT_PORT),
	};
	const char *name = d->options->link.name;
	const int on = 1;
	int fd = (int)SYS(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	SYS(setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	SYS(setsockopt, fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	SYS(setsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, name, text_len(name));
	SYS(bind, fd, &here, sizeof(here));
	return fd;
}

static void dhcp_close(struct dhcp *d)
{
	if (d->fd >= 0)
		SYS(close, d->fd);
	d->fd = -1;
}

static void dhcp_send_packet(struct dhcp *d, size_t len)
{
	struct sockaddr_ll all = {
		.sll_family = AF_PACKET,
		.sll_protocol = __builtin_bswap16(ETH_P_IP),
		.sll_ifindex = (int)d->options->link.index,
		.sll_halen = ETH_ALEN,
	};

	memset(all.sll_addr, 0xff, ETH_ALEN);
	SYS6(sendto, d->fd, d->packet, lease_wrap(d->packet, len), 0, &all,
	     sizeof(all));
}

static void dhcp_send_udp(struct dhcp *d, size_t len)
{
	const bool renews = d->client.state == LEASE_RENEWING;
	const struct sockaddr_in server = {
		.sin_family = AF_INET,
		.sin_port = __builtin_bswap16(LEASE_SERVER_PORT),
		.sin_addr = { renews ? __builtin_bswap32(d->client.lease.server)
				     : UINT32_MAX },
	};

	SYS6(sendto, d->fd, d->packet + LEASE_HEADERS, len, 0, &server,
	     sizeof(server));
}

/* 0, or -errno: there is no such socket. */
static long dhcp_send(struct dhcp *d)
{
	const bool by_packets = d->client.state < LEASE_BOUND;
	size_t len;

	if (d->fd >= 0 && d->by_packets != by_packets)
		dhcp_close(d);
	d->by_packets = by_packets;
	if (d->fd < 0)
		d->fd = by_packets ? dhcp_open_packets(d) : dhcp_open_udp(d);
	if (d->fd < 0)
		return d->fd;
	len = lease_write(&d->client, d->packet + LEASE_HEADERS,
			  (uint64_t)sys_now_ms());
	if (by_packets)
		dhcp_send_packet(d, len);
	else
		dhcp_send_udp(d, len);
	return 0;
}

static enum lease_act dhcp_receive(struct dhcp *d)
{
	const long n = SYS6(recvfrom, d->fd, d->packet, sizeof(d->packet),
			    MSG_DONTWAIT, NULL, NULL);
	const uint8_t *message = d->packet;
	size_t len = n > 0 ? (size_t)n : 0;

	if (d->by_packets)
		message = lease_unwrap(d->packet, len, &len);
	return message ? lease_read(&d->client, message, len,
				    (uint64_t)sys_now_ms())
		       : LEASE_WAIT;
}

/* -- a lease --------------------------------------------------------------- */

static struct address dhcp_address(uint32_t address, uint8_t prefix)
{
	struct address a = { .len = 4, .prefix = prefix };

	address = __builtin_bswap32(address);
	memcpy(a.bytes, &address, sizeof(address));
	return a;
}

/* The user's own gateway counts more than the server's. */
static void dhcp_change_routes(struct dhcp *d,
			       void (*change)(const struct link *,
					      const struct route *))
{
	const struct dhcp_options *o = d->options;

	for (unsigned i = 0; i < d->in_use.route_count; i++) {
		const struct lease_route *r = &d->in_use.routes[i];
		struct route route = {
			.to = dhcp_address(r->to, (uint8_t)r->prefix),
			.via = dhcp_address(r->via, 0),
			.metric = o->metric,
		};

		if (!r->prefix && o->has_gateway)
			continue;
		if (!r->via)
			route.via.len = 0;
		change(&o->link, &route);
	}
}

static void dhcp_add_route(const struct link *link, const struct route *route)
{
	link_add_route(link, route);
}

static void dhcp_tell_servers(struct dhcp *d)
{
	struct resolve_part *part = resolve_part(d->options->number);

	memcpy(part->search, d->in_use.search, sizeof(part->search));
	for (unsigned i = 0; i < RESOLVE_SERVERS && !d->options->has_servers;
	     i++) {
		struct text text = { .len = 0 };
		const struct address a = dhcp_address(d->in_use.dns[i], 0);

		if (i < d->in_use.dns_count)
			text_add_address(&text, a.bytes);
		memcpy(part->server[i], text.bytes, sizeof(part->server[i]));
	}
	/* init writes all there is when it has waited for all. */
	if (d->report < 0)
		resolve_write();
}

static void dhcp_drop(struct dhcp *d)
{
	const struct address a =
		dhcp_address(d->in_use.address, d->in_use.prefix);

	if (!d->in_use.address)
		return;
	dhcp_change_routes(d, link_remove_route);
	link_remove_address(&d->options->link, &a);
	d->in_use = (struct lease){ .address = 0 };
}

/* What was in use goes first, where it is something else. */
static long dhcp_use(struct dhcp *d)
{
	const struct lease *got = &d->client.lease;
	const struct address a = dhcp_address(got->address, got->prefix);
	const size_t config = offsetof(struct lease, dns);
	const bool same = got->address == d->in_use.address &&
			  got->prefix == d->in_use.prefix &&
			  got->mtu == d->in_use.mtu &&
			  !memcmp((const uint8_t *)got + config,
				  (const uint8_t *)&d->in_use + config,
				  sizeof(*got) - config);
	long result;

	dhcp_close(d);
	if (same)
		return 0;
	dhcp_drop(d);
	d->in_use = *got;
	if (got->mtu)
		link_set_mtu(&d->options->link, got->mtu);
	result = link_add_address(&d->options->link, &a);
	dhcp_change_routes(d, dhcp_add_route);
	dhcp_tell_servers(d);
	if (result)
		dhcp_drop(d);
	return result;
}

/* -- the process ----------------------------------------------------------- */

/* init, if it waits; or who reads the kernel's log. */
static void dhcp_report(struct dhcp *d, long result)
{
	if (d->report >= 0)
		SYS(write, d->report, &result, sizeof(result));
	SYS(close, d->report);
	d->report = -1;
}

static void dhcp_say(const struct dhcp *d, const char *what)
{
	struct text text = { .len = 0 };
	const int fd = sys_open("/dev/kmsg", O_WRONLY);

	text_add(text_add(&text, "mote: "), d->options->link.name);
	text_add(text_add(&text, ": "), what);
	SYS(write, fd, text.bytes, text.len);
	SYS(close, fd);
}

/*
 * What fails while init waits will not do better later: it is the kernel that
 * lacks something. After that it may be memory, of which there is more when the
 * next message is due.
 */
static void dhcp_obey(struct dhcp *d, enum lease_act act)
{
	long result = 0;

	switch (act) {
	case LEASE_SEND:
		result = dhcp_send(d);
		break;
	case LEASE_GOT:
		result = dhcp_use(d);
		if (!result)
			dhcp_report(d, 0);
		break;
	case LEASE_LOST:
		dhcp_say(d, "the lease of its address is over");
		dhcp_drop(d);
		break;
	case LEASE_WAIT:
		break;
	}
	if (!result)
		return;
	if (d->report < 0) {
		dhcp_say(d, "DHCP fails, and is tried again");
		return;
	}
	dhcp_report(d, result);
	sys_exit();
}

static void dhcp_step(struct dhcp *d)
{
	const uint64_t now = (uint64_t)sys_now_ms(), next = d->client.next_ms;
	uint64_t ms = next > now ? next - now : 0;
	struct pollfd fd[2] = { { d->fd, POLLIN, 0 }, { d->report, 0, 0 } };
	struct timespec wait;

	if (ms > SLEEP_MS)
		ms = SLEEP_MS;
	wait = (struct timespec){ (time_t)(ms / 1000),
				  (long)(ms % 1000 * 1000000) };
	SYS(ppoll, fd, 2, &wait, NULL, sizeof(uint64_t));
	/* init has waited long enough. */
	if (fd[1].revents)
		dhcp_report(d, 0);
	if (fd[0].revents)
		dhcp_obey(d, dhcp_receive(d));
	dhcp_obey(d, lease_expire(&d->client, (uint64_t)sys_now_ms()));
}

static void dhcp_run(const struct dhcp_options *options, int report)
{
	static struct dhcp d; /* too large for the stack's first page */
	const uint64_t all = UINT64_MAX;
	uint32_t random = 0;

	d.options = options;
	d.fd = -1;
	d.report = report;
	SYS(rt_sigprocmask, SIG_BLOCK, &all, NULL, sizeof(all));
	SYS(prctl, PR_SET_NAME, "mote-dhcp");
	/* mote's stream, and what other clients write to: nobody is to find
	 * these open when init has closed them. */
	for (int fd = 3; fd < FDS; fd++)
		if (fd != report)
			SYS(close, fd);
	SYS(uname, &d.machine);
	memcpy(d.client.mac, options->link.mac, sizeof(d.client.mac));
	d.client.host = d.machine.nodename;
	if (text_same(d.client.host, "mote"))
		d.client.host = "";
	SYS(getrandom, &random, sizeof(random), 1 /* GRND_NONBLOCK */);
	for (unsigned i = 0; i < sizeof(d.client.mac); i++)
		random = random * 31 + d.client.mac[i];
	lease_begin(&d.client, random, (uint64_t)sys_now_ms());
	for (;;)
		dhcp_step(&d);
}

long dhcp_start(const struct dhcp_options *options, int *report)
{
	int pipe[2] = { -1, -1 };
	long pid = SYS(pipe2, pipe, O_CLOEXEC);

	if (pid < 0)
		return pid;
	pid = SYS(fork, 0);
	if (!pid) {
		SYS(close, pipe[0]);
		dhcp_run(options, pipe[1]);
	}
	SYS(close, pipe[1]);
	*report = pipe[0];
	return pid;
}
