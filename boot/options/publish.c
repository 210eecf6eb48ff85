/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --publish [ADDR:]PORT[:GUESTPORT][/udp]: what it says, and to which network
 * it leads.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "boot/options/address.h"
#include "boot/options/options.h"
#include "mem/util.h"

static bool read_port(const char **text, uint16_t *port)
{
	uint64_t value;
	const bool good =
		optparse_digits(text, &value) && value && value <= UINT16_MAX;

	*port = (uint16_t)value;
	return good;
}

/* "ADDR:" or "[ADDR]:" in front of a port, where it is; *text moves past it. */
static bool read_address(const char **text, char address[PASST_ADDRESS_BYTES])
{
	const bool v6 = **text == '[';
	const char *from = *text + v6;
	const size_t len = strcspn(from, v6 ? "]" : ":");
	unsigned char binary[sizeof(struct in6_addr)];

	*address = 0;
	if (!v6 && !memchr(from, '.', len))
		return true;
	if (len >= PASST_ADDRESS_BYTES)
		return false;
	memcpy(address, from, len);
	address[len] = 0;
	*text = from + len;
	if (strncmp(*text, "]:", 2) == 0 && v6)
		*text += 2;
	else if (**text == ':' && !v6)
		*text += 1;
	else
		return false;
	return inet_pton(v6 ? AF_INET6 : AF_INET, address, binary) == 1;
}

static bool read_publish(struct passt_publish *p)
{
	const char *at = p->text;
	bool good = read_address(&at, p->address) && read_port(&at, &p->port);

	p->guest_port = p->port;
	if (good && *at == ':') {
		at++;
		good = read_port(&at, &p->guest_port);
	}
	p->udp = !strcmp(at, "/udp");
	return good && (p->udp || !*at || !strcmp(at, "/tcp"));
}

/* passt tells ports apart by their numbers alone. */
static int check_publish_once(const struct options *options, unsigned i)
{
	const struct passt_publish *p = &options->publish[i];

	for (unsigned j = 0; j < i; j++)
		if (options->publish[j].port == p->port &&
		    options->publish[j].udp == p->udp)
			return optparse_fail(
				NULL, NULL,
				"--publish: port %u/%s is given twice, and can "
				"lead to one port only: without an address it "
				"is open on all of the host's",
				p->port, p->udp ? "udp" : "tcp");
	return 0;
}

/* Nets of a snapshot are not known before it is read. */
int options_check_publish(struct options *options)
{
	static const struct option_where where = { .option = "publish" };
	struct device_options *d = &options->devices;
	unsigned net = 0;

	for (unsigned i = 0; i < options->publish_count; i++) {
		if (!read_publish(&options->publish[i]))
			return optparse_fail(
				&where, options->publish[i].text,
				"is not [ADDR:]PORT[:GUESTPORT][/udp], with "
				"ports from 1 to 65535, for example 8080:80, "
				"127.0.0.1:8080:80, [::1]:5353:53/udp");
		if (check_publish_once(options, i))
			return -EINVAL;
	}
	while (net < d->net_count && d->nets[net].kind != NET_USER)
		net++;
	if (net < d->net_count) {
		d->nets[net].publish = options->publish;
		d->nets[net].publish_count = options->publish_count;
	} else if (options->publish_count &&
		   (!file_is_given(&options->restore.file) ||
		    options->restore.whole)) {
		return optparse_fail(&where, NULL,
				     "it leads to a network of --net user, and "
				     "there is none: add -n user");
	}
	return 0;
}
