/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/init/lease.c */
/*
 * Fuzzes the DHCP client of the guest's init from the network's side. The input
 * is a row of steps, each a byte and what follows:
 *
 *	0 len16 byte...	a message, with the client's number and MAC put in
 *	1 len16 byte...	a packet, as it comes
 *	2 len16 byte...	the options of a message that is good for the rest
 *	3 seconds16	time passes
 *
 * Whatever comes: addresses are some machine's, counts are in bounds, domains
 * are of a name's characters, it never wants anything at once again, and it
 * sends no more than two messages a second.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/init/lease.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TIME_MS 20000000u

static struct lease_client client;
static uint64_t now;
static unsigned sent;

static void require(bool promise)
{
	if (!promise)
		abort();
}

static bool is_unicast(uint32_t address)
{
	return address >> 24 && address >> 24 != 127 && address >> 24 < 224;
}

static void check_lease(const struct lease *l)
{
	require(is_unicast(l->address) && l->prefix >= 1 && l->prefix <= 32);
	require(!l->mtu || l->mtu >= 576);
	require(l->seconds && l->t1 <= l->t2 && l->t2 <= l->seconds);
	require(l->dns_count <= LEASE_SERVERS);
	require(l->route_count <= LEASE_ROUTES);
	for (unsigned i = 0; i < l->dns_count; i++)
		require(is_unicast(l->dns[i]));
	for (unsigned i = 0; i < l->route_count; i++)
		require(l->routes[i].prefix <= 32 &&
			(!l->routes[i].via || is_unicast(l->routes[i].via)));
	require(memchr(l->search, 0, sizeof(l->search)) != NULL);
	require(strspn(l->search, "abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789-_. ") == strlen(l->search));
}

static void send_message(void)
{
	uint8_t packet[LEASE_PACKET];
	size_t len = lease_write(&client, packet + LEASE_HEADERS, now);

	require(len >= 300 && len <= LEASE_MESSAGE);
	require(lease_wrap(packet, len) == len + LEASE_HEADERS);
	sent++;
}

static void obey(enum lease_act act)
{
	if (act == LEASE_SEND)
		send_message();
	if (act == LEASE_GOT) {
		require(client.state == LEASE_BOUND);
		check_lease(&client.lease);
		/* An answer may be so late that its time is over. */
		require(client.next_ms >= client.sent_ms + 1000);
	} else if (act != LEASE_WAIT) {
		require(client.next_ms > now);
	}
}

static void pass_time(uint64_t ms)
{
	const uint64_t end = now + ms;

	while (client.next_ms <= end) {
		now = client.next_ms > now ? client.next_ms : now;
		obey(lease_expire(&client, now));
	}
	now = end;
}

/* In memory of its own, so that what is read beyond it is seen. */
static void come(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len + !len);

	memcpy(copy, bytes, len);
	obey(lease_read(&client, copy, len, now));
	free(copy);
}

static void come_with_numbers(const uint8_t *bytes, size_t len, bool options)
{
	static uint8_t message[65536 + 240];
	const size_t head = options ? 240 : 0;

	memset(message, 0, 240);
	memcpy(message + head, bytes, len);
	len += head;
	memcpy(message, "\2\1\6", 3);
	if (options)
		memcpy(message + 16, "\x0a\x09\x01\x32", 4);
	for (int i = 0; i < 4; i++)
		message[4 + i] = (uint8_t)(client.xid >> (24 - 8 * i));
	memcpy(message + 28, client.mac, sizeof(client.mac));
	memcpy(message + 236, "\x63\x82\x53\x63", 4);
	come(message, len);
}

static void come_as_packet(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len + !len);
	size_t message_len = 0;
	const uint8_t *message;

	memcpy(copy, bytes, len);
	message = lease_unwrap(copy, len, &message_len);
	require(!message || (message >= copy + LEASE_HEADERS &&
			     message + message_len <= copy + len));
	if (message)
		come(message, message_len);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	client = (struct lease_client){ .mac = { 2, 0, 0, 0, 9, 1 },
					.host = "host" };
	now = 1000;
	sent = 0;
	lease_begin(&client, 0x12345678, now);
	pass_time(0);
	while (size >= 3 && now < TIME_MS) {
		const unsigned step = data[0] & 3;
		size_t len = (size_t)data[1] << 8 | data[2];

		data += 3;
		size -= 3;
		if (step == 3) {
			pass_time(len * UINT64_C(1000));
			continue;
		}
		if (len > size)
			len = size;
		if (step == 1)
			come_as_packet(data, len);
		else
			come_with_numbers(data, len, step == 2);
		data += len;
		size -= len;
	}
	require(sent <= 2 + 2 * (now - 1000) / 875);
	return 0;
}
