/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of ip=, gw= and dns=. With a command mote's init sets all of it;
 * without one the kernel may, by its word ip=, which is of one interface and of
 * IPv4 (Documentation/admin-guide/nfs/nfsroot.rst): what that cannot say is an
 * error here, as nobody would do it.
 *
 * Owns nothing and keeps nothing between calls; the main thread runs it, before
 * anything else.
 */
#include "boot/options/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "mem/util.h"

static const struct option_where ip_key = { .option = "net", .key = "ip" },
				 gw_key = { .option = "net", .key = "gw" },
				 dns_key = { .option = "net", .key = "dns" };

bool address_read(struct option_address *address, const char *text,
		  bool with_prefix)
{
	const size_t len = strcspn(text, "/");
	const char *at = text + len + 1;
	char part[INET6_ADDRSTRLEN];
	const bool v6 = memchr(text, ':', len) != NULL;
	uint64_t prefix = v6 ? 128 : 32;

	if (len >= sizeof(part) || with_prefix != (text[len] == '/'))
		return false;
	memcpy(part, text, len);
	part[len] = 0;
	if (with_prefix && (!optparse_digits(&at, &prefix) || *at || !prefix ||
			    prefix > (v6 ? 128 : 32)))
		return false;
	*address = (struct option_address){ .len = v6 ? 16 : 4,
					    .prefix = (unsigned)prefix };
	return inet_pton(v6 ? AF_INET6 : AF_INET, part, address->bytes) == 1;
}

/* Are the bits from `from` up to `to` all like that? */
static bool bits_are(const struct option_address *a, unsigned from, unsigned to,
		     bool set)
{
	for (unsigned bit = from; bit < to; bit++)
		if ((a->bytes[bit / 8] >> (7 - bit % 8) & 1) != set)
			return false;
	return true;
}

/* Of one machine, which is not the one that uses it. */
static bool is_one_machines(const struct option_address *a)
{
	const uint8_t first = a->bytes[0];

	if (a->len == 4)
		return first && first != 127 && first < 224;
	return first != 0xff && !bits_are(a, 0, 127, false);
}

static bool share_network(const struct option_address *a,
			  const struct option_address *b)
{
	for (unsigned bit = 0; bit < a->prefix; bit++)
		if ((a->bytes[bit / 8] ^ b->bytes[bit / 8]) >> (7 - bit % 8) &
		    1)
			return false;
	return a->len == b->len;
}

static bool is_link_local(const struct option_address *a)
{
	return a->len == 16 && a->bytes[0] == 0xfe &&
	       (a->bytes[1] & 0xc0) == 0x80;
}

static bool asks_for(const struct net_options *net, const char *word)
{
	for (unsigned i = 0; i < ARRAY_LEN(net->ip) && net->ip[i]; i++)
		if (!strcmp(net->ip[i], word))
			return true;
	return false;
}

static int check_one_ip(const char *text)
{
	struct option_address a;

	if (!strcmp(text, ADDRESS_DHCP) || !strcmp(text, ADDRESS_OFF))
		return 0;
	if (address_read(&a, text, false))
		return optparse_fail(&ip_key, text,
				     "has no prefix length: %s/%d, if that is "
				     "how long its network's is",
				     text, a.len == 4 ? 24 : 64);
	if (!address_read(&a, text, true))
		return optparse_fail(&ip_key, text,
				     "is no address with a prefix length, for "
				     "example 10.0.2.15/24 or fd00::2/64, nor "
				     "dhcp or off");
	if (!is_one_machines(&a) || (a.len == 4 && a.prefix < 31 &&
				     (bits_are(&a, a.prefix, 32, false) ||
				      bits_are(&a, a.prefix, 32, true))))
		return optparse_fail(&ip_key, text,
				     "is the address of no one machine in its "
				     "network");
	return 0;
}

static int check_ips(const struct net_options *net)
{
	unsigned count = 0;
	int error = 0;

	for (; count < ARRAY_LEN(net->ip) && net->ip[count] && !error; count++)
		error = check_one_ip(net->ip[count]);
	for (unsigned i = 0; i + 1 < count && !error; i++)
		for (unsigned j = i + 1; j < count && !error; j++)
			if (!strcmp(net->ip[i], net->ip[j]))
				error = optparse_fail(&ip_key, net->ip[i],
						      "is given twice");
	if (!error && asks_for(net, ADDRESS_OFF) &&
	    (count > 1 || net->gw[0] || net->dns[0]))
		return optparse_fail(&ip_key, ADDRESS_OFF,
				     "leaves the interface alone: nothing else "
				     "goes with it");
	return error;
}

/* Which of the interface's networks has it: by what it has of that family. */
static int find_network(const struct net_options *net,
			const struct option_address *gw, const char *text)
{
	bool any = asks_for(net, ADDRESS_DHCP) || gw->len == 16, found = any;
	struct option_address a;

	for (unsigned i = 0; i < ARRAY_LEN(net->ip) && net->ip[i]; i++) {
		if (!address_read(&a, net->ip[i], true) || a.len != gw->len)
			continue;
		if (!memcmp(a.bytes, gw->bytes, a.len))
			return optparse_fail(&gw_key, text,
					     "is the guest's own address");
		if (!any || gw->len == 16)
			found = false;
		any = true;
		if (share_network(&a, gw))
			return 0;
	}
	if (!any)
		return optparse_fail(&gw_key, text,
				     "is of no use without an address: add "
				     "ip=ADDR/LEN or ip=dhcp");
	if (!found && !is_link_local(gw))
		log_warn("--net gw: '%s' is in no network that ip= gives; the "
			 "guest takes it to be on the interface all the same",
			 text);
	return 0;
}

static int check_gateways(const struct net_options *net)
{
	struct option_address a[ARRAY_LEN(net->gw)];
	int error = 0;

	for (unsigned i = 0; i < ARRAY_LEN(a) && net->gw[i] && !error; i++) {
		if (!address_read(&a[i], net->gw[i], false) ||
		    !is_one_machines(&a[i]))
			return optparse_fail(&gw_key, net->gw[i],
					     "is no gateway's address, for "
					     "example 10.0.2.2");
		if (i && a[i].len == a[0].len)
			return optparse_fail(&gw_key, net->gw[i],
					     "is the second one of its family: "
					     "there is one for IPv4 and one "
					     "for IPv6");
		error = find_network(net, &a[i], net->gw[i]);
	}
	return error;
}

static int check_servers(const struct net_options *net)
{
	struct option_address a;

	for (unsigned i = 0; i < ARRAY_LEN(net->dns) && net->dns[i]; i++)
		if (!address_read(&a, net->dns[i], false) ||
		    !is_one_machines(&a))
			return optparse_fail(&dns_key, net->dns[i],
					     "is no server's address, for "
					     "example 10.0.2.3");
	return 0;
}

/* -- without a command ----------------------------------------------------- */

static bool has_v6(const char *const texts[], size_t count)
{
	for (size_t i = 0; i < count && texts[i]; i++)
		if (strchr(texts[i], ':'))
			return true;
	return false;
}

static int check_kernel_word(const struct net_options *net)
{
	static const char mend[] =
		"the kernel's word ip= cannot say it; with a command, after "
		"--, mote's init does";

	if (!net->ip[0])
		return optparse_fail(&ip_key, NULL, "gw= and dns= alone: %s",
				     mend);
	if (has_v6(net->ip, ARRAY_LEN(net->ip)) ||
	    has_v6(net->gw, ARRAY_LEN(net->gw)) ||
	    has_v6(net->dns, ARRAY_LEN(net->dns)))
		return optparse_fail(&ip_key, NULL, "IPv6: %s", mend);
	if (net->ip[1] || net->dns[2])
		return optparse_fail(&ip_key,
				     net->ip[1] ? net->ip[1] : net->dns[2],
				     "is one too many: %s", mend);
	return 0;
}

static int check_without_command(const struct options *options)
{
	const struct net_options *one = NULL;

	if (options_have_command(options) ||
	    file_is_given(&options->restore.file))
		return 0;
	for (unsigned i = 0; i < options->devices.net_count; i++) {
		const struct net_options *net = &options->devices.nets[i];

		if (asks_for(net, ADDRESS_OFF) ||
		    ((!net->ip[0] || net->ip_unasked) && !net->gw[0] &&
		     !net->dns[0]))
			continue;
		if (one)
			return optparse_fail(
				&ip_key, NULL,
				"the kernel's word ip= is of one interface, "
				"and %u are to be configured; with a command, "
				"after --, mote's init does all",
				options->devices.net_count);
		one = net;
	}
	return one ? check_kernel_word(one) : 0;
}

/* passt answers, and says what the host has. */
static void set_default(struct net_options *net)
{
	if (net->kind != NET_USER || net->ip[0])
		return;
	net->ip[0] = ADDRESS_DHCP;
	net->ip_unasked = true;
}

int options_check_addresses(struct options *options)
{
	int error = 0;

	for (unsigned i = 0; i < options->devices.net_count && !error; i++) {
		struct net_options *net = &options->devices.nets[i];

		set_default(net);
		error = check_ips(net);
		if (!error)
			error = check_gateways(net);
		if (!error)
			error = check_servers(net);
	}
	return error ? error : check_without_command(options);
}
