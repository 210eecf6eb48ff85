/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network: lo is up, the machine's own name leads to an address, and each
 * interface that mote tells of (RUN_NET) gets what the command line gives it:
 *
 *	MAC WORD...	"02:00:00:00:00:01 ip=0a090002/18 gw=0a090001"
 *	ip=HEX/LEN	an address: 8 digits, or 32 for IPv6; and its prefix
 *	ip=dhcp		one of a DHCP server's (dhcp.c)
 *	gw=HEX		the default route
 *	dns=TEXT	for /etc/resolv.conf
 *
 * LEN is in hexadecimal, too. IPv6 is configured by the kernel, from the
 * advertisements of routers, wherever an interface is up.
 *
 * Before there was that, the kernel's own word was all, and still counts: the
 * interface that ip= names gets its address, as a kernel with CONFIG_IP_PNP
 * would do it (Documentation/admin-guide/nfs/nfsroot.rst):
 *
 *	ip=CLIENT:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:AUTOCONF
 *
 * SERVER and AUTOCONF are ignored. Without HOSTNAME, hostname= is it, which a
 * kernel before Linux 6.0 does not know. What mote says of it (RUN_HOSTNAME)
 * counts more than both.
 *
 * The command starts when all of it is there, or a time has passed: then its
 * user is told, and DHCP goes on.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "boot/init/init.h"

#define NETS	RESOLVE_PARTS
#define WORDS	16u
#define METRIC	100u  /* of the first interface; the next ones' are more */
#define WAIT_MS 10000 /* for DHCP; with an address of IPv6 less is enough */
#define V6_MS	5000  /* dnsmasq takes 3 s to see whether an address is free */
#define STEP_MS 100
#define DAD_MS	1000 /* for what does not take any time, without a check */

enum ip_field { CLIENT, SERVER, GATEWAY, NETMASK, HOSTNAME, DEVICE, FIELDS };

static const char *net_field[FIELDS];

static struct net {
	const char *words; /* its order, behind the MAC; NULL: not used */
	struct dhcp_options dhcp;
	long client; /* a process; 0: none */
	int report;  /* what it says of its first lease; -1: nothing more */
} nets[NETS];

static const char *net_orders[NETS]; /* that nothing was done about */
static unsigned net_order_count;

/* -- the kernel's word ----------------------------------------------------- */

static bool net_has_address(void)
{
	return *net_field[CLIENT] >= '0' && *net_field[CLIENT] <= '9';
}

/* "192.0.2.1"; false where it is nothing of the kind. */
static bool net_parse_address(const char *text, struct address *to)
{
	*to = (struct address){ .len = 4 };
	for (unsigned i = 0; i < to->len; i++) {
		const char *before = text;

		to->bytes[i] = (uint8_t)text_number(&text);
		if (text == before || *text != (i < 3 ? '.' : '\0'))
			return false;
		text++;
	}
	return true;
}

/* Without a mask it is that of the address's class (RFC 791, 2.3). */
static uint8_t net_read_prefix(const uint8_t *address)
{
	struct address mask;
	uint8_t prefix = 0;

	if (!net_parse_address(net_field[NETMASK], &mask))
		return *address < 128 ? 8 : *address < 192 ? 16 : 24;
	while (prefix < 32 && mask.bytes[prefix / 8] >> (7 - prefix % 8) & 1)
		prefix++;
	return prefix;
}

static long net_obey_kernel_word(void)
{
	struct route route = { .to.len = 4 };
	struct address address;
	struct link link;
	long result;

	if (!net_parse_address(net_field[CLIENT], &address))
		return -EINVAL;
	if (!link_named(&link, net_field[DEVICE]))
		return -ENODEV;
	address.prefix = net_read_prefix(address.bytes);
	result = link_add_address(&link, &address);
	if (!result)
		result = link_set_up(&link, true);
	if (!result && net_parse_address(net_field[GATEWAY], &route.via))
		result = link_add_route(&link, &route);
	return result;
}

void net_set_name(const char *name)
{
	SYS(sethostname, name, text_len(name));
	/* Debian's address for a machine that has no fixed one of its own */
	resolve_set_name(name,
			 net_has_address() ? net_field[CLIENT] : "127.0.1.1");
}

/* -- mote's orders --------------------------------------------------------- */

/* "0a090002/18", up to a blank. */
static struct address net_read_hex(const char *text)
{
	struct address a = { .len = 0 };

	for (; *text > ' ' && *text != '/'; text += 2)
		if (a.len < sizeof(a.bytes))
			a.bytes[a.len++] = text_hex(text);
	if (*text == '/')
		a.prefix = text_hex(text + 1);
	return a;
}

/* What follows KEY=, of the `nth` word that has it; NULL: there are no more. */
static const char *net_word(const struct net *net, const char *key,
			    unsigned nth)
{
	const char *at = net->words, *rest;

	while (*at) {
		at += *at == ' ';
		rest = text_after(at, key);
		if (rest && !nth--)
			return rest;
		while (*at > ' ')
			at++;
	}
	return NULL;
}

static bool net_wants_dhcp(const struct net *net)
{
	const char *value = NULL;

	for (unsigned i = 0; (value = net_word(net, "ip=", i)); i++)
		if (text_after(value, "dhcp"))
			return true;
	return false;
}

static void net_add_addresses(const struct net *net)
{
	const struct link *link = &net->dhcp.link;
	const char *value;
	long result = 0;

	for (unsigned i = 0; (value = net_word(net, "ip=", i)); i++) {
		const struct address a = net_read_hex(value);

		if (text_after(value, "dhcp"))
			continue;
		result = link_add_address(link, &a);
		if (result)
			break;
	}
	for (unsigned i = 0; !result && (value = net_word(net, "gw=", i));
	     i++) {
		struct route route = { .via = net_read_hex(value),
				       .metric = net->dhcp.metric };

		route.to.len = route.via.len;
		result = link_add_route(link, &route);
	}
	if (result)
		stream_note("cannot set up the network as in --net ip=",
			    link->name, result);
}

static void net_tell_servers(struct net *net)
{
	struct resolve_part *part = resolve_part(net->dhcp.number);
	const char *value;

	memset(part, 0, sizeof(*part));
	for (unsigned i = 0; i < RESOLVE_SERVERS; i++) {
		value = net_word(net, "dns=", i);
		if (!value)
			break;
		net->dhcp.has_servers = true;
		for (unsigned n = 0;
		     n < sizeof(part->server[i]) - 1 && value[n] > ' '; n++)
			part->server[i][n] = value[n];
	}
}

/* Its number is another process's by now where the command has killed it. */
static void net_stop_client(struct net *net)
{
	if (net->client && !SYS(wait4, net->client, NULL, WNOHANG, NULL)) {
		SYS(kill, net->client, SIGKILL);
		SYS(wait4, net->client, NULL, 0, NULL);
	}
	net->client = 0;
}

/*
 * The interface is up before anything is asked for, so that its solicitation of
 * routers, of IPv6, is the first of all packets: who answers both has answered
 * that when DHCP's last answer comes.
 */
static void net_configure(struct net *net)
{
	struct dhcp_options *dhcp = &net->dhcp;
	const char *value;
	long result;

	net->report = -1;
	dhcp->has_gateway = dhcp->has_servers = false;
	dhcp->metric = METRIC + dhcp->number;
	for (unsigned i = 0; (value = net_word(net, "gw=", i)); i++)
		dhcp->has_gateway |= net_read_hex(value).len == 4;
	net_tell_servers(net);
	link_trust_addresses(&dhcp->link);
	result = link_set_up(&dhcp->link, true);
	if (!result)
		net_add_addresses(net);
	if (!result && net_wants_dhcp(net)) {
		link_await_v6(&dhcp->link, DAD_MS);
		result = dhcp_start(dhcp, &net->report);
		if (result > 0)
			net->client = result;
	}
	if (result < 0)
		stream_note("cannot set up the network", dhcp->link.name,
			    result);
}

static struct net *net_find(unsigned index)
{
	for (unsigned i = 0; i < NETS; i++)
		if (nets[i].words && nets[i].dhcp.link.index == index)
			return &nets[i];
	return NULL;
}

/* A slot is the interface's for good: in a guest that was restored there are
 * orders for the same ones. */
static void net_obey(const char *order)
{
	struct link link;
	struct net *net;
	unsigned i = 0;

	if (!link_found(&link, order)) {
		stream_note("this kernel has no driver for a network "
			    "interface",
			    NULL, 0);
		return;
	}
	net = net_find(link.index);
	if (net) {
		net_stop_client(net);
		link_clear(&link);
	} else {
		while (i < NETS - 1 && nets[i].words)
			i++;
		net = &nets[i];
		net->dhcp.number = i;
	}
	net->words = order + LINK_MAC_TEXT;
	net->dhcp.link = link;
	net_configure(net);
}

/* -- until it is there ----------------------------------------------------- */

static void net_end_wait(struct net *net)
{
	SYS(close, net->report);
	net->report = -1;
}

static void net_hear(struct net *net)
{
	long result = -EIO;

	SYS(read, net->report, &result, sizeof(result));
	net_end_wait(net);
	if (!result)
		return;
	net_stop_client(net);
	stream_note(result == -EAFNOSUPPORT
			    ? "there is no DHCP without packet sockets "
			      "(CONFIG_PACKET) in the guest's kernel"
			    : "cannot set up the network by DHCP",
		    net->dhcp.link.name, result);
}

/* False where nothing more is to be waited for. */
static bool net_wait_step(int waited_ms)
{
	struct pollfd fd[NETS];
	const struct timespec step = { 0, STEP_MS * 1000000L };
	bool waits = false;

	for (unsigned i = 0; i < NETS; i++) {
		struct net *net = &nets[i];

		fd[i] = (struct pollfd){ -1, POLLIN, 0 };
		if (!net->words || net->report < 0)
			continue;
		if (waited_ms >= WAIT_MS)
			stream_note(
				"no DHCP server answers; the command starts "
				"without an address of",
				net->dhcp.link.name, 0);
		if (waited_ms >= WAIT_MS ||
		    (waited_ms >= V6_MS &&
		     link_look_at_v6(&net->dhcp.link).global))
			net_end_wait(net);
		fd[i].fd = net->report;
		waits |= net->report >= 0;
	}
	if (waits && SYS(ppoll, fd, NETS, &step, NULL, sizeof(uint64_t)) > 0)
		for (unsigned i = 0; i < NETS; i++)
			if (fd[i].revents)
				net_hear(&nets[i]);
	return waits;
}

/* Where DHCP is asked for, others may say what it does not. */
static void net_add_server(unsigned index, const uint8_t address[16])
{
	const struct net *net = net_find(index);
	struct resolve_part *part;
	struct text text = { .len = 0 };

	if (!net || net->dhcp.has_servers || !net_wants_dhcp(net))
		return;
	part = resolve_part(net->dhcp.number);
	text_add_v6(&text, address);
	if (address[0] == 0xfe) /* of this link only (RFC 4291, 2.5.6) */
		text_add(text_add(&text, "%"), net->dhcp.link.name);
	for (unsigned i = 0; i < RESOLVE_SERVERS; i++) {
		if (part->router[i][0] &&
		    !text_same(part->router[i], text.bytes))
			continue;
		memcpy(part->router[i], text.bytes, text.len + 1);
		return;
	}
}

void net_apply(void)
{
	const long begun = sys_now_ms();
	int routers;

	if (!net_order_count)
		return;
	routers = router_listen();
	for (unsigned i = 0; i < net_order_count; i++)
		net_obey(net_orders[i]);
	net_order_count = 0;
	while (net_wait_step((int)(sys_now_ms() - begun)))
		;
	for (unsigned i = 0; i < NETS; i++)
		if (nets[i].words)
			link_await_v6(&nets[i].dhcp.link, DAD_MS);
	router_hear(routers, net_add_server);
	SYS(close, routers);
	if (!resolve_write())
		stream_note("names of other machines are not known: the root "
			    "disk has no /etc/resolv.conf, and none is made on "
			    "a disk that is kept; an empty one is enough",
			    NULL, 0);
}

void net_add_order(const char *order)
{
	if (net_order_count < NETS)
		net_orders[net_order_count++] = order;
}

void net_start(const char *hostname)
{
	const char *ip = text_word("ip");
	const char *name = text_word("hostname");
	static struct text fields;
	char *at = fields.bytes;
	struct link lo;
	long result;

	if (link_named(&lo, "lo"))
		link_set_up(&lo, true);
	text_add(&fields, ip ? ip : "");
	for (int i = 0; i < FIELDS; i++) {
		net_field[i] = at;
		while (*at && *at != ':')
			at++;
		if (*at)
			*at++ = 0;
	}
	if (!*net_field[DEVICE])
		net_field[DEVICE] = "eth0";
	if (!*net_field[HOSTNAME])
		net_field[HOSTNAME] = name && *name ? name : "mote";
	if (hostname)
		net_field[HOSTNAME] = hostname;
	net_set_name(net_field[HOSTNAME]);
	if (net_has_address()) {
		result = net_obey_kernel_word();
		if (result)
			stream_note("cannot set up the network as in ip=", ip,
				    result);
	}
	net_apply();
}

/* -- another address ------------------------------------------------------- */

/*
 * There is none without its driver, and nothing to be done. It is down
 * meanwhile, where it was up: so what the kernel makes of the address (IPv6) is
 * made again. Routes through a gateway are gone then. Where its address came by
 * DHCP, a RUN_NET follows, and that starts DHCP again.
 */
void net_set_mac(const char *order)
{
	const char *mac = order + LINK_MAC_TEXT + 1;
	struct link link;
	struct net *net;
	bool was_up;
	long result;

	if (!link_found(&link, order))
		return;
	net = net_find(link.index);
	if (net)
		net_stop_client(net);
	was_up = link_is_up(&link);
	link_set_up(&link, false);
	result = link_set_mac(&link, mac);
	if (was_up)
		link_set_up(&link, true);
	if (!result && was_up && net_has_address() &&
	    text_same(link.name, net_field[DEVICE]))
		result = net_obey_kernel_word();
	if (result)
		stream_note("cannot give an interface another address", mac,
			    result);
}
