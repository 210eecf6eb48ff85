/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ip=, gw= and dns= of --net in the words of those who act on them. They have
 * been checked (boot/options/address.c). Owns nothing. Main thread.
 */
#include "boot/networds.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "boot/options/address.h"
#include "mem/util.h"

/* It is longer than all that can be said. */
struct words {
	char *text;
	size_t room, len;
};

static void __attribute__((format(printf, 2, 3)))
add_words(struct words *to, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	to->len += (size_t)vsnprintf(to->text + to->len, to->room - to->len,
				     format, arguments);
	va_end(arguments);
}

static bool is_left_alone(const struct net_options *net)
{
	return net->ip[0] ? !strcmp(net->ip[0], ADDRESS_OFF)
			  : !net->gw[0] && !net->dns[0];
}

/* " ip=0a00020f/18" */
static void add_address_words(struct words *to, const char *key,
			      const char *const texts[], size_t count)
{
	struct option_address a;

	for (size_t i = 0; i < count && texts[i]; i++) {
		const bool prefix = strchr(texts[i], '/') != NULL;

		add_words(to, " %s=", key);
		if (!address_read(&a, texts[i], prefix)) {
			add_words(to, "%s", texts[i]); /* dhcp */
			continue;
		}
		for (unsigned n = 0; n < a.len; n++)
			add_words(to, "%02x", a.bytes[n]);
		if (prefix)
			add_words(to, "/%02x", a.prefix);
	}
}

bool networds_order(char text[NETWORDS_BYTES], const struct net_options *net,
		    const uint8_t mac[NET_MAC_BYTES])
{
	struct words to = { text, NETWORDS_BYTES, 0 };

	if (is_left_alone(net))
		return false;
	for (unsigned i = 0; i < NET_MAC_BYTES; i++)
		add_words(&to, "%s%02x", i ? ":" : "", mac[i]);
	add_address_words(&to, "ip", net->ip, ARRAY_LEN(net->ip));
	add_address_words(&to, "gw", net->gw, ARRAY_LEN(net->gw));
	for (size_t i = 0; i < ARRAY_LEN(net->dns) && net->dns[i]; i++)
		add_words(&to, " dns=%s", net->dns[i]);
	return true;
}

/*
 * ip=CLIENT::GATEWAY:NETMASK::DEVICE:AUTOCONF:DNS:DNS. Linux names interfaces
 * in the order of their slots.
 */
static int add_kernel_word(struct cmdline *line, const struct net_options *net,
			   unsigned number)
{
	char text[160], client[INET_ADDRSTRLEN] = "", mask[sizeof(client)] = "";
	struct words to = { text, sizeof(text), 0 };
	const bool dhcp = !strcmp(net->ip[0], ADDRESS_DHCP);
	struct option_address a;
	uint32_t bits;

	if (!dhcp && address_read(&a, net->ip[0], true)) {
		bits = htonl(UINT32_MAX << (32 - a.prefix));
		inet_ntop(AF_INET, a.bytes, client, sizeof(client));
		inet_ntop(AF_INET, &bits, mask, sizeof(mask));
	}
	add_words(&to, "ip=%s::%s:%s::eth%u:%s", client,
		  net->gw[0] ? net->gw[0] : "", mask, number,
		  dhcp ? "dhcp" : "off");
	for (size_t i = 0; i < ARRAY_LEN(net->dns) && net->dns[i]; i++)
		add_words(&to, ":%s", net->dns[i]);
	return cmdline_add(line, text);
}

/* What is said counts more than what goes without saying. */
int networds_add(struct cmdline *line, const struct device_options *devices)
{
	const struct net_options *found = NULL;
	unsigned number = 0;

	for (unsigned i = 0; i < devices->net_count; i++) {
		const struct net_options *net = &devices->nets[i];

		if (is_left_alone(net) || !net->ip[0] ||
		    (found && net->ip_unasked))
			continue;
		found = net;
		number = i;
	}
	return found ? add_kernel_word(line, found, number) : 0;
}
