/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/init/lease.c */
/*
 * The DHCP client of the guest's init, without its sockets: what it sends and
 * when, what it takes of an answer, and what of a hostile one.
 */
#include <stdlib.h>

#include "boot/init/lease.h"
#include "tests/unit/unit.h"

#define HERE	0x0a090132u /* 10.9.1.50 */
#define SERVER	0x0a090101u /* 10.9.1.1 */
#define ANOTHER 0x0a090102u

enum { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6 };

static struct lease_client c;
static uint8_t sent[LEASE_MESSAGE], answer[LEASE_MESSAGE];
static size_t sent_len, answer_len;
static uint64_t now;

static uint32_t number_at(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
	       (uint32_t)at[2] << 8 | at[3];
}

/* -- a server -------------------------------------------------------------- */

static void add(unsigned option, const void *value, size_t len)
{
	answer[answer_len++] = (uint8_t)option;
	answer[answer_len++] = (uint8_t)len;
	memcpy(answer + answer_len, value, len);
	answer_len += len;
}

static void add_number(unsigned option, uint32_t value)
{
	const uint8_t bytes[] = { (uint8_t)(value >> 24),
				  (uint8_t)(value >> 16), (uint8_t)(value >> 8),
				  (uint8_t)value };

	add(option, bytes, sizeof(bytes));
}

/* The beginning of an answer to what was last sent. */
static void begin(uint8_t type, uint32_t server)
{
	memset(answer, 0, sizeof(answer));
	answer[0] = 2;
	memcpy(answer + 1, sent + 1, 7);	    /* htype, hlen, hops, xid */
	memcpy(answer + 28, sent + 28, 16);	    /* chaddr */
	memcpy(answer + 16, "\x0a\x09\x01\x32", 4); /* yiaddr: HERE */
	memcpy(answer + 236, "\x63\x82\x53\x63", 4);
	answer_len = 240;
	add(53, &type, 1);
	add_number(54, server);
}

static enum lease_act come(void)
{
	answer[answer_len++] = 255;
	/* Exactly as large, so that ASan sees what is read beyond it. */
	uint8_t *copy = malloc(answer_len);
	enum lease_act act;

	memcpy(copy, answer, answer_len);
	act = lease_read(&c, copy, answer_len, now);
	free(copy);
	return act;
}

static void answers(uint8_t type, uint32_t seconds)
{
	begin(type, SERVER);
	add_number(51, seconds);
	add_number(1, 0xffffff00);
}

/* -- the client ------------------------------------------------------------ */

static void send(void)
{
	sent_len = lease_write(&c, sent, now);
}

/* Time passes until it wants something. */
static enum lease_act next(void)
{
	assert_true(c.next_ms >= now);
	assert_int_equal(lease_expire(&c, c.next_ms - 1), LEASE_WAIT);
	now = c.next_ms;
	return lease_expire(&c, now);
}

static int start(void **state)
{
	(void)state;
	c = (struct lease_client){ .mac = { 2, 0, 0, 0, 9, 1 }, .host = "" };
	now = 5000;
	lease_begin(&c, 0x12345678, now);
	assert_int_equal(lease_expire(&c, now), LEASE_SEND);
	send();
	return 0;
}

static void get_offer(void)
{
	answers(OFFER, 1000);
	assert_int_equal(come(), LEASE_SEND);
	send();
}

static void get_lease(uint32_t seconds)
{
	get_offer();
	answers(ACK, seconds);
	assert_int_equal(come(), LEASE_GOT);
	assert_int_equal(c.state, LEASE_BOUND);
}

/* The value of an option that was sent; NULL where it was not. */
static const uint8_t *option(unsigned wanted, size_t *len)
{
	for (size_t at = 240; at < sent_len && sent[at] != 255;
	     at += 2 + sent[at + 1])
		if (sent[at] == wanted) {
			*len = sent[at + 1];
			return sent + at + 2;
		}
	return NULL;
}

static unsigned sent_type(void)
{
	size_t len;

	return *option(53, &len);
}

/* -- what is sent ---------------------------------------------------------- */

static void test_discover_is_as_rfc_2131_has_it(void **state)
{
	size_t len;

	(void)state;
	assert_int_equal(sent_len, 300);
	assert_memory_equal(sent, "\1\1\6\0", 4);
	assert_int_equal(number_at(sent + 4), 0x12345678);
	assert_int_equal(number_at(sent + 12), 0);
	assert_memory_equal(sent + 28, c.mac, 6);
	assert_int_equal(number_at(sent + 236), 0x63825363);
	assert_int_equal(sent_type(), DISCOVER);
	assert_memory_equal(option(57, &len), "\x05\xdc", 2);
	assert_null(option(50, &len));
	assert_null(option(54, &len));
	assert_null(option(12, &len));
	assert_non_null(option(55, &len));
	assert_true(memchr(option(55, &len), 121, len) != NULL);
}

static void test_request_names_offer_and_server(void **state)
{
	size_t len;

	(void)state;
	c.host = "job-7";
	get_offer();
	assert_int_equal(sent_type(), REQUEST);
	assert_int_equal(number_at(option(50, &len)), HERE);
	assert_int_equal(number_at(option(54, &len)), SERVER);
	assert_int_equal(number_at(sent + 12), 0);
	assert_memory_equal(option(12, &len), "job-7", 5);
	assert_int_equal(number_at(sent + 4), 0x12345678);
	assert_true(c.next_ms >= now + 875);
}

static void test_asks_again_twice_as_late(void **state)
{
	uint64_t before = 0, total = 0;

	(void)state;
	for (unsigned i = 0; i < 12; i++) {
		const uint64_t begun = now;
		uint64_t waited;

		assert_int_equal(next(), LEASE_SEND);
		waited = now - begun;
		assert_in_range(waited, 875, 64000 + 8000);
		if (i && i < 6)
			assert_in_range(waited, before * 3 / 2, before * 3);
		before = waited;
		total += waited;
		send();
		assert_int_equal(sent_type(), DISCOVER);
		assert_int_equal(number_at(sent + 4), 0x12345678);
		assert_int_equal(sent[8] << 8 | sent[9], total / 1000);
	}
}

static void test_request_that_nobody_answers_ends_in_discover(void **state)
{
	unsigned requests = 1;

	(void)state;
	get_offer();
	while (next() == LEASE_SEND) {
		send();
		if (sent_type() == DISCOVER)
			break;
		requests++;
	}
	assert_int_equal(requests, 4);
}

/* -- a lease --------------------------------------------------------------- */

static void test_lease_has_what_the_server_says(void **state)
{
	(void)state;
	get_offer();
	answers(ACK, 1000);
	add_number(3, ANOTHER);
	add(6, "\x0a\x09\x01\x03\x0a\x09\x01\x04", 8);
	add(15, "guest.test", 10);
	add(26, "\x05\x78", 2);
	assert_int_equal(come(), LEASE_GOT);
	assert_int_equal(c.lease.address, HERE);
	assert_int_equal(c.lease.server, SERVER);
	assert_int_equal(c.lease.prefix, 24);
	assert_int_equal(c.lease.mtu, 1400);
	assert_int_equal(c.lease.dns_count, 2);
	assert_int_equal(c.lease.dns[1], 0x0a090104);
	assert_int_equal(c.lease.route_count, 1);
	assert_int_equal(c.lease.routes[0].via, ANOTHER);
	assert_int_equal(c.lease.routes[0].prefix, 0);
	assert_string_equal(c.lease.search, "guest.test");
	assert_int_equal(c.next_ms, now + 500 * 1000);
}

static void test_mtu_that_is_too_small_is_none(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		unsigned mtu;
	} cases[] = { { "\2\x40", 2, 576 },
		      { "\2\x3f", 2, 0 },
		      { "\xff\xf0", 2, 65520 },
		      { "\5", 1, 0 },
		      { "\5\x78\0", 3, 0 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		start(NULL);
		get_offer();
		answers(ACK, 1000);
		add(26, cases[i].bytes, cases[i].len);
		assert_int_equal(come(), LEASE_GOT);
		assert_int_equal(c.lease.mtu, cases[i].mtu);
	}
}

/* RFC 3442: they count more than the router. */
static void test_classless_routes(void **state)
{
	static const uint8_t routes[] = { 0,   10,  9, 1, 1, 24, 192, 0,
					  2,   10,  9, 1, 9, 25, 198, 51,
					  100, 255, 0, 0, 0, 0 };

	(void)state;
	get_offer();
	answers(ACK, 1000);
	add_number(3, ANOTHER);
	add(121, routes, sizeof(routes));
	assert_int_equal(come(), LEASE_GOT);
	assert_int_equal(c.lease.route_count, 3);
	assert_int_equal(c.lease.routes[0].via, SERVER);
	assert_int_equal(c.lease.routes[1].to, 0xc0000200);
	assert_int_equal(c.lease.routes[1].prefix, 24);
	assert_int_equal(c.lease.routes[1].via, 0x0a090109);
	assert_int_equal(c.lease.routes[2].to, 0xc6336480);
	assert_int_equal(c.lease.routes[2].via, 0);
}

static void test_routes_up_to_one_that_makes_no_sense(void **state)
{
	static const uint8_t routes[] = { 24, 192, 0, 2, 10, 9, 1, 9,
					  33, 1,   2, 3, 4,  5, 6, 7 };

	(void)state;
	for (size_t len = 1; len <= sizeof(routes); len++) {
		start(NULL);
		get_offer();
		answers(ACK, 1000);
		add(121, routes, len);
		assert_int_equal(come(), LEASE_GOT);
		assert_int_equal(c.lease.route_count, len >= 8);
	}
}

/* RFC 3396: pieces are one; and RFC 2131, 4.1: where there is more room. */
static void test_options_in_pieces_and_in_other_fields(void **state)
{
	(void)state;
	get_offer();
	answers(ACK, 1000);
	add(6, "\x0a\x09", 2);
	add(15, "guest", 5);
	add(6, "\x01\x03", 2);
	add(15, ".test", 5);
	add(52, "\3", 1);
	memcpy(answer + 108, "\x1a\2\5\x78\xff", 5);
	memcpy(answer + 44, "\3\4\x0a\x09\1\1\xff", 7);
	assert_int_equal(come(), LEASE_GOT);
	assert_int_equal(c.lease.dns_count, 1);
	assert_int_equal(c.lease.dns[0], 0x0a090103);
	assert_string_equal(c.lease.search, "guest.test");
	assert_int_equal(c.lease.mtu, 1400);
	assert_int_equal(c.lease.routes[0].via, SERVER);
}

static void test_search_domains(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *search;
	} cases[] = {
		{ "\5guest\4test\0", 12, "guest.test" },
		{ "\5guest\4test\0\1a\xc0\6", 16, "guest.test a.test" },
		{ "\5guest\4test\0\xc0\0", 14, "guest.test guest.test" },
		{ "\5guest\4test\0\xc0\14", 14, "guest.test" }, /* itself */
		{ "\xc0\0", 2, "other" },
		{ "\5gue\nt\0", 7, "other" },
		{ "\5gue t\0", 7, "other" },
		{ "\0", 1, "other" },
		{ "\5guest", 6, "other" },
		{ "\77guest\0", 7, "other" },
		{ "\100guest\0", 7, "other" },
		{ "\1a\0\xc0", 4, "a" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		start(NULL);
		get_offer();
		answers(ACK, 1000);
		add(119, cases[i].bytes, cases[i].len);
		add(15, "other", 5);
		assert_int_equal(come(), LEASE_GOT);
		assert_string_equal(c.lease.search, cases[i].search);
	}
}

static void test_domain_is_a_name_or_none(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *search;
	} cases[] = {
		{ "a.b", 3, "a.b" },
		{ "a.b\0", 4, "a.b" },
		{ "a b", 3, "" },
		{ ".a", 2, "" },
		{ "a\nnameserver 1", 14, "" },
		{ "a\0b", 3, "" },
		{ "\0", 1, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		start(NULL);
		get_offer();
		answers(ACK, 1000);
		add(15, cases[i].bytes, cases[i].len);
		assert_int_equal(come(), LEASE_GOT);
		assert_string_equal(c.lease.search, cases[i].search);
	}
}

/* As long as a list may be, and longer: what is too much is left off. */
static void test_lists_that_are_too_long(void **state)
{
	uint8_t many[255];
	char name[255];

	(void)state;
	get_offer();
	answers(ACK, 1000);
	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = "\x0a\x09\1\1"[i % 4];
	memset(name, 'a', sizeof(name));
	for (unsigned i = 0; i < 3; i++) {
		add(6, many, sizeof(many));
		add(121,
		    "\0\x0a\x09\1\1\0\x0a\x09\1\1\0\x0a\x09\1\1\0"
		    "\x0a\x09\1\1\0\x0a\x09\1\1\0\x0a\x09\1\1\0",
		    30);
	}
	add(15, name, sizeof(name));
	assert_int_equal(come(), LEASE_GOT);
	assert_int_equal(c.lease.dns_count, LEASE_SERVERS);
	assert_int_equal(c.lease.route_count, LEASE_ROUTES);
	assert_string_equal(c.lease.search, "");
}

static void test_prefix_without_a_mask_that_makes_sense(void **state)
{
	static const struct {
		uint8_t first;
		uint32_t mask;
		unsigned prefix;
	} cases[] = {
		{ 10, 0, 8 },	       { 10, 0xff00ff00, 8 },
		{ 172, 0, 16 },	       { 192, 0x00ffffff, 24 },
		{ 192, 0, 24 },	       { 10, 0xffffffff, 32 },
		{ 10, 0x80000000, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		start(NULL);
		for (unsigned type = OFFER; type <= ACK; type += ACK - OFFER) {
			begin((uint8_t)type, SERVER);
			answer[16] = cases[i].first;
			add_number(51, 1000);
			add_number(1, cases[i].mask);
			come();
			send();
		}
		assert_int_equal(c.state, LEASE_BOUND);
		assert_int_equal(c.lease.prefix, cases[i].prefix);
	}
}

/* -- what is no answer ----------------------------------------------------- */

static void test_offers_that_are_none(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} wrong[] = { { 0, 1 },	   { 1, 6 },	{ 2, 16 },  { 4, 0 },
		      { 7, 0 },	   { 28, 3 },	{ 33, 7 },  { 236, 0 },
		      { 239, 0 },  { 242, 9 },	{ 242, 5 }, { 16, 0 },
		      { 16, 127 }, { 16, 224 }, { 16, 255 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		answers(OFFER, 1000);
		answer[wrong[i].at] = wrong[i].byte;
		assert_int_equal(come(), LEASE_WAIT);
	}
	answers(OFFER, 0);
	assert_int_equal(come(), LEASE_WAIT);
	answers(OFFER, 1000);
	answer[244] = 0; /* the server's number has another length */
	assert_int_equal(come(), LEASE_WAIT);
	answers(NAK, 1000);
	assert_int_equal(come(), LEASE_WAIT);
	assert_int_equal(c.state, LEASE_SELECTING);
	for (size_t len = 0; len < 240; len++)
		assert_int_equal(lease_read(&c, answer, len, now), LEASE_WAIT);
	get_offer();
}

static void test_option_that_goes_on_behind_the_end(void **state)
{
	(void)state;
	get_offer();
	answers(ACK, 1000);
	answer[answer_len++] = 6;
	answer[answer_len++] = 255;
	assert_int_equal(come(), LEASE_GOT);
	assert_int_equal(c.lease.dns_count, 0);
	/* nor is there a length */
	start(NULL);
	get_offer();
	answers(ACK, 1000);
	answer[answer_len] = 6;
	assert_int_equal(lease_read(&c, answer, answer_len + 1, now),
			 LEASE_GOT);
}

static void test_another_server_is_not_listened_to(void **state)
{
	(void)state;
	get_offer();
	begin(ACK, ANOTHER);
	add_number(51, 1000);
	assert_int_equal(come(), LEASE_WAIT);
	begin(NAK, ANOTHER);
	assert_int_equal(come(), LEASE_WAIT);
	answers(ACK, 1000);
	answer[19]++; /* nor is an address that was not asked for */
	assert_int_equal(come(), LEASE_WAIT);
	answers(ACK, 1000);
	assert_int_equal(come(), LEASE_GOT);
}

/* However often: it begins anew, with another number, and later each time. */
static void test_nak_is_no_flood(void **state)
{
	unsigned messages = 0;
	uint32_t xid;

	(void)state;
	while (now < 605000) {
		get_offer();
		messages += 2;
		xid = c.xid;
		answers(NAK, 0);
		assert_int_equal(come(), LEASE_WAIT);
		assert_int_equal(c.state, LEASE_SELECTING);
		assert_int_not_equal(c.xid, xid);
		/* nor is there an answer before it has asked */
		memcpy(sent + 4,
		       (uint8_t[]){ (uint8_t)(c.xid >> 24),
				    (uint8_t)(c.xid >> 16),
				    (uint8_t)(c.xid >> 8), (uint8_t)c.xid },
		       4);
		answers(OFFER, 1000);
		assert_int_equal(come(), LEASE_WAIT);
		assert_int_equal(next(), LEASE_SEND);
		send();
	}
	assert_in_range(messages, 20, 50);
}

/* -- renewal --------------------------------------------------------------- */

static void test_renewal_by_the_server(void **state)
{
	size_t len;

	(void)state;
	get_lease(1000);
	assert_int_equal(next(), LEASE_SEND);
	assert_int_equal(now, 5000 + 500 * 1000);
	assert_int_equal(c.state, LEASE_RENEWING);
	send();
	assert_int_equal(sent_type(), REQUEST);
	assert_int_equal(number_at(sent + 12), HERE);
	assert_null(option(50, &len));
	assert_null(option(54, &len));
	answers(ACK, 2000);
	assert_int_equal(come(), LEASE_GOT);
	assert_int_equal(c.next_ms, now + 1000 * 1000);
}

/* RFC 2131, 4.4.5: half of what is left, and not before a minute. */
static void test_rebinding_and_the_end(void **state)
{
	unsigned renewing = 0, rebinding = 0;
	enum lease_act act;

	(void)state;
	get_lease(1000);
	while ((act = next()) == LEASE_SEND) {
		send();
		assert_int_equal(sent_type(), REQUEST);
		renewing += c.state == LEASE_RENEWING;
		rebinding += c.state == LEASE_REBINDING;
		if (c.state == LEASE_RENEWING)
			assert_true(now < 5000 + 875 * 1000);
	}
	assert_int_equal(act, LEASE_LOST);
	assert_int_equal(now, 5000 + 1000 * 1000);
	assert_int_equal(renewing, 4);
	assert_int_equal(rebinding, 3);
	assert_int_equal(c.state, LEASE_SELECTING);
	assert_int_equal(next(), LEASE_SEND);
	send();
	assert_int_equal(sent_type(), DISCOVER);
	get_lease(1000);
}

static void test_rebinding_takes_any_server(void **state)
{
	(void)state;
	get_lease(1000);
	while (c.state != LEASE_REBINDING)
		assert_int_equal(next(), LEASE_SEND);
	send();
	begin(ACK, ANOTHER);
	add_number(51, 1000);
	assert_int_equal(come(), LEASE_GOT);
	assert_int_equal(c.lease.server, ANOTHER);
}

static void test_nak_ends_a_lease(void **state)
{
	(void)state;
	get_lease(1000);
	assert_int_equal(next(), LEASE_SEND);
	send();
	answers(NAK, 0);
	assert_int_equal(come(), LEASE_LOST);
	assert_int_equal(c.state, LEASE_SELECTING);
	assert_int_equal(next(), LEASE_SEND);
}

static void test_nothing_is_taken_while_a_lease_is_good(void **state)
{
	(void)state;
	get_lease(1000);
	answers(NAK, 0);
	assert_int_equal(come(), LEASE_WAIT);
	answers(ACK, 5);
	assert_int_equal(come(), LEASE_WAIT);
	assert_int_equal(c.lease.seconds, 1000);
}

static void test_times_of_the_server(void **state)
{
	static const struct {
		uint32_t seconds, t1, t2, want1, want2;
	} cases[] = {
		{ 1000, 100, 200, 100, 200 },	     { 1000, 0, 0, 500, 875 },
		{ 1000, 300, 200, 200, 200 },	     { 1000, 0, 100, 100, 100 },
		{ 1000, 2000, 3000, 500, 875 },	     { 1, 0, 0, 0, 1 },
		{ UINT32_MAX, 5, 0, 5, 0xe0000000 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		start(NULL);
		get_offer();
		answers(ACK, cases[i].seconds);
		add_number(58, cases[i].t1);
		add_number(59, cases[i].t2);
		assert_int_equal(come(), LEASE_GOT);
		assert_int_equal(c.lease.t1, cases[i].want1);
		assert_int_equal(c.lease.t2, cases[i].want2);
		/* and never more than one request a second */
		assert_true(c.next_ms >= now + 1000);
	}
	assert_true(c.next_ms == UINT64_MAX); /* the last one's: for ever */
}

/* -- packets --------------------------------------------------------------- */

static void test_packet_goes_to_all(void **state)
{
	uint8_t packet[LEASE_PACKET];
	uint32_t sum = 0;
	size_t len;

	(void)state;
	memcpy(packet + LEASE_HEADERS, sent, sent_len);
	len = lease_wrap(packet, sent_len);
	assert_int_equal(len, 328);
	assert_int_equal(number_at(packet + 12), 0);
	assert_int_equal(number_at(packet + 16), UINT32_MAX);
	assert_int_equal(packet[21], 68);
	assert_int_equal(packet[23], 67);
	for (size_t i = 0; i < 20; i += 2)
		sum += (uint32_t)(packet[i] << 8 | packet[i + 1]);
	assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
	/* UDP's, as RFC 768 has it: the pseudo header is 17 and a length */
	sum = 17 + 308;
	for (size_t i = 12; i < len; i += 2)
		sum += (uint32_t)(packet[i] << 8 | packet[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
}

/* As from a server, at port 68. */
static size_t make_packet(uint8_t packet[LEASE_PACKET])
{
	size_t len;

	memcpy(packet + LEASE_HEADERS, sent, sent_len);
	len = lease_wrap(packet, sent_len);
	packet[21] = 67;
	packet[23] = 68;
	return len;
}

static void test_packets_that_come(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} wrong[] = {
		{ 0, 0x65 }, { 0, 0x44 }, { 0, 0x4f }, { 3, 27 },
		{ 2, 2 },    { 6, 0x20 }, { 7, 1 },    { 9, 6 },
		{ 10, 0 },   { 23, 67 },  { 22, 1 },   { 24, 9 },
	};
	uint8_t packet[LEASE_PACKET];
	size_t len = make_packet(packet), got = 0;

	(void)state;
	assert_ptr_equal(lease_unwrap(packet, len, &got), packet + 28);
	assert_int_equal(got, 300);
	/* A frame may be filled up. */
	assert_ptr_equal(lease_unwrap(packet, len + 4, &got), packet + 28);
	assert_int_equal(got, 300);
	for (size_t i = 0; i < len; i++)
		assert_null(lease_unwrap(packet, i, &got));
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		make_packet(packet);
		packet[wrong[i].at] = wrong[i].byte;
		assert_null(lease_unwrap(packet, len, &got));
	}
	make_packet(packet);
	packet[24] = 0; /* UDP's own length is less than its header's */
	packet[25] = 7;
	assert_null(lease_unwrap(packet, len, &got));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(test_##name, start)
		TEST(discover_is_as_rfc_2131_has_it),
		TEST(request_names_offer_and_server),
		TEST(asks_again_twice_as_late),
		TEST(request_that_nobody_answers_ends_in_discover),
		TEST(lease_has_what_the_server_says),
		TEST(mtu_that_is_too_small_is_none),
		TEST(classless_routes),
		TEST(routes_up_to_one_that_makes_no_sense),
		TEST(options_in_pieces_and_in_other_fields),
		TEST(search_domains),
		TEST(domain_is_a_name_or_none),
		TEST(lists_that_are_too_long),
		TEST(prefix_without_a_mask_that_makes_sense),
		TEST(offers_that_are_none),
		TEST(option_that_goes_on_behind_the_end),
		TEST(another_server_is_not_listened_to),
		TEST(nak_is_no_flood),
		TEST(renewal_by_the_server),
		TEST(rebinding_and_the_end),
		TEST(rebinding_takes_any_server),
		TEST(nak_ends_a_lease),
		TEST(nothing_is_taken_while_a_lease_is_good),
		TEST(times_of_the_server),
		TEST(packet_goes_to_all),
		TEST(packets_that_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
