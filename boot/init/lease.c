/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DHCP client of the guest's init, without its sockets: see lease.h.
 *
 * A message is BOOTP's 236 bytes, a magic number and options (RFC 2131, 2; RFC
 * 2132). An option that is there several times is one, in pieces (RFC 3396), so
 * each is put together first, by one function, and then judged: nothing else
 * looks at lengths that have come. What makes no sense in an option is as if
 * that option were not there; a message without what it must have is ignored.
 *
 * A server may be hostile: what it says becomes addresses, routes, and words of
 * resolv.conf, which are of a host name's characters only. However it answers,
 * no more than two messages a second are sent.
 */
#include "boot/init/lease.h"

#include <string.h>

enum {
	AT_OP = 0,
	AT_HTYPE = 1,
	AT_HLEN = 2,
	AT_XID = 4,
	AT_SECS = 8,
	AT_FLAGS = 10,
	AT_CIADDR = 12,
	AT_YIADDR = 16,
	AT_CHADDR = 28,
	AT_SNAME = 44,
	AT_FILE = 108,
	AT_MAGIC = 236,
	AT_OPTIONS = 240
};

#define BOOTP_REQUEST 1
#define BOOTP_REPLY   2
#define BOOTP_MIN     300u /* RFC 1542, 2.1: relays drop what is shorter */
#define ETHERNET      1
#define MAC_BYTES     6
#define MAGIC	      0x63825363u

/* RFC 2132; 119: RFC 3397; 121: RFC 3442 */
enum option {
	PAD = 0,
	MASK = 1,
	ROUTER = 3,
	DNS = 6,
	HOST = 12,
	DOMAIN = 15,
	MTU = 26,
	REQUESTED = 50,
	SECONDS = 51,
	OVERLOAD = 52,
	TYPE = 53,
	SERVER = 54,
	WANTED = 55,
	MAX_SIZE = 57,
	T1 = 58,
	T2 = 59,
	SEARCH = 119,
	ROUTES = 121,
	END = 255
};
enum { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6 };

#define FIRST_MS 1000u	/* RFC 2131, 4.1 has 4 s, of networks of 1997; */
#define LAST_MS	 64000u /* doubled up to this */
#define RENEW_MS 60000u /* the least between two in RENEWING, REBINDING */
#define MTU_MIN	 576	/* what every host takes (RFC 791) */
#define REQUESTS 4u	/* for one offer; then others are looked for */

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
	       (uint32_t)at[2] << 8 | at[3];
}

static void put32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* -- options that have come ------------------------------------------------ */

struct gathered {
	uint8_t bytes[512];
	size_t len;
};

/* What one area of options has of that one, behind what is there. */
static void gather_from(struct gathered *to, const uint8_t *at, size_t len,
			enum option option)
{
	while (len && *at != END) {
		size_t size;

		if (*at == PAD) {
			at++;
			len--;
			continue;
		}
		if (len < 2 || len - 2 < at[1])
			return;
		size = at[1];
		for (size_t i = 0; *at == option && i < size; i++)
			if (to->len < sizeof(to->bytes))
				to->bytes[to->len++] = at[2 + i];
		at += 2 + size;
		len -= 2 + size;
	}
}

/* All of it; `file` and `sname` have options too where OVERLOAD says so. */
static size_t gather(struct gathered *to, const uint8_t *message, size_t len,
		     enum option option)
{
	struct gathered where = { .len = 0 };

	to->len = 0;
	gather_from(&where, message + AT_OPTIONS, len - AT_OPTIONS, OVERLOAD);
	gather_from(to, message + AT_OPTIONS, len - AT_OPTIONS, option);
	if (where.len == 1 && where.bytes[0] & 1)
		gather_from(to, message + AT_FILE, AT_MAGIC - AT_FILE, option);
	if (where.len == 1 && where.bytes[0] & 2)
		gather_from(to, message + AT_SNAME, AT_FILE - AT_SNAME, option);
	return to->len;
}

/* A number of four bytes, or what it is without. */
static uint32_t gather32(const uint8_t *message, size_t len, enum option option,
			 uint32_t without)
{
	struct gathered g;

	return gather(&g, message, len, option) == 4 ? get32(g.bytes) : without;
}

/* Of one machine: not of this host, of a group or of all. */
static bool is_unicast(uint32_t address)
{
	const unsigned first = address >> 24;

	return first && first != 127 && first < 224;
}

static uint32_t mask_of(unsigned prefix)
{
	return prefix ? UINT32_MAX << (32 - prefix) : 0;
}

/* Without a mask, that of its class (RFC 791, 2.3). */
static uint8_t read_prefix(const uint8_t *message, size_t len, uint32_t address)
{
	const uint32_t mask = gather32(message, len, MASK, 0);
	uint8_t prefix = 0;

	while (prefix < 32 && mask >> (31 - prefix) & 1)
		prefix++;
	if (prefix && mask == mask_of(prefix))
		return prefix;
	return address >> 31 ? (address >> 30 == 3 ? 24 : 16) : 8;
}

static void read_dns(struct lease *lease, const uint8_t *message, size_t len)
{
	struct gathered g;

	gather(&g, message, len, DNS);
	for (size_t i = 0; i + 4 <= g.len; i += 4)
		if (is_unicast(get32(g.bytes + i)) &&
		    lease->dns_count < LEASE_SERVERS)
			lease->dns[lease->dns_count++] = get32(g.bytes + i);
}

static void add_route(struct lease *lease, uint32_t to, unsigned prefix,
		      uint32_t via)
{
	if (lease->route_count < LEASE_ROUTES && (!via || is_unicast(via)))
		lease->routes[lease->route_count++] =
			(struct lease_route){ to & mask_of(prefix), via,
					      (uint8_t)prefix };
}

/* ROUTES replaces ROUTER: of each a prefix, as much of the network as that has,
 * a gateway. */
static void read_routes(struct lease *lease, const uint8_t *message, size_t len)
{
	struct gathered g;
	size_t at = 0;

	if (!gather(&g, message, len, ROUTES)) {
		if (gather(&g, message, len, ROUTER) >= 4 && get32(g.bytes))
			add_route(lease, 0, 0, get32(g.bytes));
		return;
	}
	while (at < g.len && g.bytes[at] <= 32) {
		const unsigned prefix = g.bytes[at++];
		const size_t bytes = (prefix + 7) / 8;
		uint8_t to[4] = { 0 };

		if (g.len - at < bytes + 4)
			return;
		memcpy(to, g.bytes + at, bytes);
		add_route(lease, get32(to), prefix,
			  get32(g.bytes + at + bytes));
		at += bytes + 4;
	}
}

/* -- domains --------------------------------------------------------------- */

static bool is_name_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Letters and dots, from `at` on in `to`; false: others, or no room. */
static bool add_name(char *to, size_t *at, const uint8_t *from, size_t len)
{
	if (*at + len > LEASE_SEARCH - 2)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!is_name_char(from[i]) && (from[i] != '.' || !i))
			return false;
		to[(*at)++] = (char)from[i];
	}
	to[*at] = 0;
	return true;
}

/*
 * One name of labels (RFC 1035, 4.1.4), behind what is in lease->search; where
 * it ends in `g`, or 0 where it makes no sense. A pointer leads back, so that
 * there is an end.
 */
static size_t read_labels(struct lease *lease, const struct gathered *g,
			  size_t at, size_t *used)
{
	size_t next = 0, limit = at, begun = *used;

	while (at < g->len) {
		const uint8_t size = g->bytes[at];

		if (!size)
			return next ? next : at + 1;
		if (size >= 0xc0) {
			if (at + 2 > g->len)
				return 0;
			next = next ? next : at + 2;
			at = (size_t)(size & 0x3f) << 8 | g->bytes[at + 1];
			if (at >= limit)
				return 0;
			limit = at;
			continue;
		}
		if (size > 63 || g->len - at - 1 < size)
			return 0;
		if (*used > begun)
			lease->search[(*used)++] = '.';
		if (!add_name(lease->search, used, g->bytes + at + 1, size))
			return 0;
		at += 1 + (size_t)size;
	}
	return 0;
}

/* SEARCH, where there is one; else DOMAIN. */
static void read_search(struct lease *lease, const uint8_t *message, size_t len)
{
	struct gathered g;
	size_t at = 0, used = 0;

	gather(&g, message, len, SEARCH);
	while (at < g.len && used < LEASE_SEARCH - 2) {
		const size_t end = used, name = used + !!used;

		if (used)
			lease->search[used++] = ' ';
		at = read_labels(lease, &g, at, &used);
		if (!at || used == name) {
			used = end;
			break;
		}
	}
	lease->search[used] = 0;
	if (used || !gather(&g, message, len, DOMAIN))
		return;
	if (!g.bytes[g.len - 1]) /* some have a NUL at its end */
		g.len--;
	if (!add_name(lease->search, &used, g.bytes, g.len))
		lease->search[0] = 0;
}

/* -- a lease --------------------------------------------------------------- */

/* RFC 2131, 4.4.5: half, and seven eighths, where T1 and T2 say nothing. */
static void read_times(struct lease *lease, const uint8_t *message, size_t len)
{
	const uint32_t seconds = gather32(message, len, SECONDS, 0);

	lease->seconds = seconds;
	lease->t2 = gather32(message, len, T2, 0);
	if (!lease->t2 || lease->t2 >= seconds)
		lease->t2 = seconds - seconds / 8;
	lease->t1 = gather32(message, len, T1, 0);
	if (!lease->t1 || lease->t1 >= lease->t2)
		lease->t1 = seconds / 2 < lease->t2 ? seconds / 2 : lease->t2;
}

/* False where it is none that can be used. */
static bool read_lease(struct lease *lease, const uint8_t *message, size_t len)
{
	struct gathered g;

	*lease = (struct lease){
		.address = get32(message + AT_YIADDR),
		.server = gather32(message, len, SERVER, 0),
	};
	read_times(lease, message, len);
	if (!is_unicast(lease->address) || !lease->seconds)
		return false;
	lease->prefix = read_prefix(message, len, lease->address);
	if (gather(&g, message, len, MTU) == 2)
		lease->mtu = (uint16_t)(g.bytes[0] << 8 | g.bytes[1]);
	if (lease->mtu < MTU_MIN)
		lease->mtu = 0;
	read_dns(lease, message, len);
	read_routes(lease, message, len);
	read_search(lease, message, len);
	return true;
}

/* -- states ---------------------------------------------------------------- */

/*
 * How long to wait for an answer before the question is sent again: up to an
 * eighth more or less, so that guests that start together do not ask together
 * (RFC 2131, 4.1).
 */
static uint64_t patience_ms(struct lease_client *c)
{
	uint64_t ms = FIRST_MS;

	for (unsigned i = 1; i < c->tries && ms < LAST_MS; i++)
		ms *= 2;
	/* Numerical Recipes, 7.1 */
	c->random = c->random * 1664525u + 1013904223u;
	return ms - ms / 8 + (c->random >> 16) * ms / 4 / 65536;
}

/* Half of what is left, but not all too often. */
static uint64_t renew_ms(uint64_t now, uint64_t end)
{
	const uint64_t left = end > now ? end - now : 0;
	const uint64_t wait = left / 2 > RENEW_MS ? left / 2 : RENEW_MS;

	return now + (wait < left ? wait : left);
}

static uint64_t lease_time(const struct lease_client *c, uint32_t seconds)
{
	return c->lease.seconds == LEASE_FOREVER
		       ? UINT64_MAX
		       : c->got_ms + seconds * UINT64_C(1000);
}

void lease_begin(struct lease_client *c, uint32_t random, uint64_t now_ms)
{
	c->xid = c->random = random;
	c->begun_ms = c->next_ms = now_ms;
	c->state = LEASE_SELECTING;
	c->asked = false;
	c->tries = 0;
}

/* Back to DISCOVER, after a pause: a server may refuse each request. */
static void start_again(struct lease_client *c, uint64_t now_ms)
{
	c->state = LEASE_SELECTING;
	c->xid++;
	c->asked = false;
	c->tries++;
	c->begun_ms = now_ms;
	c->next_ms = now_ms + patience_ms(c);
}

static enum lease_act ask_again(struct lease_client *c, uint64_t now_ms)
{
	c->tries++;
	if (c->state == LEASE_REQUESTING && ++c->requests == REQUESTS)
		c->state = LEASE_SELECTING;
	c->next_ms = now_ms + patience_ms(c);
	return LEASE_SEND;
}

static enum lease_act ask_for_more(struct lease_client *c, uint64_t now_ms)
{
	const uint64_t t2 = lease_time(c, c->lease.t2);
	const uint64_t end = lease_time(c, c->lease.seconds);

	if (c->state == LEASE_BOUND) {
		c->xid++;
		c->begun_ms = now_ms;
	}
	c->state = now_ms < t2 ? LEASE_RENEWING : LEASE_REBINDING;
	c->next_ms = renew_ms(now_ms, now_ms < t2 ? t2 : end);
	return LEASE_SEND;
}

enum lease_act lease_expire(struct lease_client *c, uint64_t now_ms)
{
	if (now_ms < c->next_ms)
		return LEASE_WAIT;
	if (c->state < LEASE_BOUND)
		return ask_again(c, now_ms);
	if (now_ms < lease_time(c, c->lease.seconds))
		return ask_for_more(c, now_ms);
	start_again(c, now_ms);
	return LEASE_LOST;
}

/* For this client, and an answer to what it has last sent. */
static bool is_answer(const struct lease_client *c, const uint8_t *message,
		      size_t len)
{
	return c->asked && len >= AT_OPTIONS && message[AT_OP] == BOOTP_REPLY &&
	       message[AT_HTYPE] == ETHERNET && message[AT_HLEN] == MAC_BYTES &&
	       get32(message + AT_XID) == c->xid &&
	       !memcmp(message + AT_CHADDR, c->mac, MAC_BYTES) &&
	       get32(message + AT_MAGIC) == MAGIC;
}

static enum lease_act take_offer(struct lease_client *c,
				 const struct lease *got, uint64_t now_ms)
{
	c->lease = *got;
	c->state = LEASE_REQUESTING;
	c->requests = 0;
	c->next_ms = now_ms + patience_ms(c);
	return LEASE_SEND;
}

/* RFC 2131, 4.4.1: it counts from when the request was sent. */
static enum lease_act take_ack(struct lease_client *c, const struct lease *got)
{
	const uint32_t server = got->server ? got->server : c->lease.server;
	const uint64_t soonest = c->sent_ms + FIRST_MS;

	c->lease = *got;
	c->lease.server = server;
	c->got_ms = c->sent_ms;
	c->state = LEASE_BOUND;
	c->tries = 0;
	c->next_ms = lease_time(c, c->lease.t1);
	if (c->next_ms < soonest)
		c->next_ms = soonest;
	return LEASE_GOT;
}

enum lease_act lease_read(struct lease_client *c, const uint8_t *message,
			  size_t len, uint64_t now_ms)
{
	const bool had = c->state > LEASE_BOUND;
	struct gathered type;
	struct lease got;
	uint32_t server;
	bool good;

	if (c->state == LEASE_BOUND || !is_answer(c, message, len) ||
	    gather(&type, message, len, TYPE) != 1)
		return LEASE_WAIT;
	server = gather32(message, len, SERVER, 0);
	/* A request that went to one server is answered by that one. */
	if (c->state != LEASE_SELECTING && c->state != LEASE_REBINDING &&
	    server && server != c->lease.server)
		return LEASE_WAIT;
	if (c->state != LEASE_SELECTING && type.bytes[0] == NAK) {
		start_again(c, now_ms);
		return had ? LEASE_LOST : LEASE_WAIT;
	}
	good = read_lease(&got, message, len);
	if (c->state == LEASE_SELECTING)
		return good && server && type.bytes[0] == OFFER
			       ? take_offer(c, &got, now_ms)
			       : LEASE_WAIT;
	return good && got.address == c->lease.address && type.bytes[0] == ACK
		       ? take_ack(c, &got)
		       : LEASE_WAIT;
}

/* -- messages to a server -------------------------------------------------- */

static size_t put_option(uint8_t *message, size_t at, enum option option,
			 const void *from, size_t len)
{
	message[at] = (uint8_t)option;
	message[at + 1] = (uint8_t)len;
	memcpy(message + at + 2, from, len);
	return at + 2 + len;
}

static size_t put_option32(uint8_t *message, size_t at, enum option option,
			   uint32_t value)
{
	uint8_t bytes[4];

	put32(bytes, value);
	return put_option(message, at, option, bytes, sizeof(bytes));
}

/* RFC 2131, 4.3.6: table 4 says what each kind of request has. */
static size_t put_options(const struct lease_client *c, uint8_t *message)
{
	static const uint8_t wanted[] = { MASK, ROUTER, DNS,	DOMAIN, MTU,
					  T1,	T2,	SEARCH, ROUTES };
	const uint8_t type = c->state == LEASE_SELECTING ? DISCOVER : REQUEST;
	uint8_t size[2];
	size_t at = AT_OPTIONS, host = 0;

	at = put_option(message, at, TYPE, &type, 1);
	if (c->state == LEASE_REQUESTING) {
		at = put_option32(message, at, REQUESTED, c->lease.address);
		at = put_option32(message, at, SERVER, c->lease.server);
	}
	put16(size, LEASE_PACKET);
	at = put_option(message, at, MAX_SIZE, size, sizeof(size));
	while (host < 63 && c->host[host])
		host++;
	if (host)
		at = put_option(message, at, HOST, c->host, host);
	at = put_option(message, at, WANTED, wanted, sizeof(wanted));
	message[at++] = END;
	return at;
}

size_t lease_write(struct lease_client *c, uint8_t message[LEASE_MESSAGE],
		   uint64_t now_ms)
{
	const uint64_t secs = (now_ms - c->begun_ms) / 1000;
	size_t len;

	memset(message, 0, LEASE_MESSAGE);
	message[AT_OP] = BOOTP_REQUEST;
	message[AT_HTYPE] = ETHERNET;
	message[AT_HLEN] = MAC_BYTES;
	put32(message + AT_XID, c->xid);
	put16(message + AT_SECS, secs < 65535 ? (unsigned)secs : 65535);
	if (c->state > LEASE_BOUND)
		put32(message + AT_CIADDR, c->lease.address);
	memcpy(message + AT_CHADDR, c->mac, MAC_BYTES);
	put32(message + AT_MAGIC, MAGIC);
	len = put_options(c, message);
	c->sent_ms = now_ms;
	c->asked = true;
	return len < BOOTP_MIN ? BOOTP_MIN : len;
}

/* -- packets --------------------------------------------------------------- */

/* RFC 1071 */
static uint32_t add_sum(uint32_t sum, const uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? at[i] : (uint32_t)at[i] << 8;
	return sum;
}

static unsigned fold_sum(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

#define IP_BYTES  20u
#define UDP_BYTES 8u
#define UDP	  17
#define FRAGMENT  0x3fffu /* of another one, or more to come */

size_t lease_wrap(uint8_t *packet, size_t len)
{
	uint8_t *udp = packet + IP_BYTES;
	unsigned sum;

	memset(packet, 0, LEASE_HEADERS);
	packet[0] = 0x45; /* version 4, five words */
	put16(packet + 2, (unsigned)(LEASE_HEADERS + len));
	packet[8] = 64; /* TTL */
	packet[9] = UDP;
	put32(packet + 16, UINT32_MAX);
	put16(packet + 10, fold_sum(add_sum(0, packet, IP_BYTES)) ^ 0xffff);
	put16(udp, LEASE_CLIENT_PORT);
	put16(udp + 2, LEASE_SERVER_PORT);
	put16(udp + 4, (unsigned)(UDP_BYTES + len));
	/* With a pseudo header: both addresses, the protocol, the length. */
	sum = add_sum(UDP + (uint32_t)(UDP_BYTES + len), packet + 12, 8);
	sum = fold_sum(add_sum(sum, udp, UDP_BYTES + len)) ^ 0xffff;
	put16(udp + 6, sum ? sum : 0xffff);
	return LEASE_HEADERS + len;
}

const uint8_t *lease_unwrap(const uint8_t *packet, size_t len,
			    size_t *message_len)
{
	const size_t header = len ? 4u * (packet[0] & 15) : 0;
	const uint8_t *udp = packet + header;
	size_t total, size;

	if (len < LEASE_HEADERS || packet[0] >> 4 != 4 || header < IP_BYTES)
		return NULL;
	total = (size_t)packet[2] << 8 | packet[3];
	if (total > len || total < header + UDP_BYTES || packet[9] != UDP ||
	    (packet[6] << 8 | packet[7]) & FRAGMENT ||
	    fold_sum(add_sum(0, packet, header)) != 0xffff)
		return NULL;
	size = (size_t)udp[4] << 8 | udp[5];
	if (size < UDP_BYTES || size > total - header ||
	    (udp[2] << 8 | udp[3]) != LEASE_CLIENT_PORT)
		return NULL;
	*message_len = size - UDP_BYTES;
	return udp + UDP_BYTES;
}
