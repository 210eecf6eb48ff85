/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock driven politely, by polling, one connection:
 *
 *	accept=1	waits for a client of the host, sends back what it sends
 *	connect=PORT	connects to the host, sends `kib=` KiB (1; all at once
 *			with `burst=1`), waits for the other end to close, or
 *			for 4 bytes
 *	command=STATUS	says what mote's init would of a command with that
 *			status, once mote has told it of the end of its input;
 *			with `lost=1` it closes the stream instead
 *	files=1		takes what --put brings, a few KiB, and sends it back
 *			for one --get, as mote's init would
 *	clone=1		says that it is ready as mote's init does, and goes on
 *			with `command=`; in a guest that was restored, writes
 *			out what it is told, and the first argument but one is
 *			the status of its command
 *
 * and then closes it.
 */
#include "cpu/command/protocol.h"
#include "tests/guest/virtio.h"

enum { RX, TX, EVENT };
enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE };

#define SIZE	 16
#define BUFFER	 4096
#define PIECE	 65536
#define HOST	 2
#define STREAM	 1
#define OUR_PORT 52
#define CREDIT	 65536
#define BOTH	 3 /* will neither send nor receive */

#define PORT_BUTTON	 0x604 /* cpu/platform.h */
#define EVENT_GENERATION 2
#define GENERATION	 0xe0030 /* cpu/platform.h */

static struct vring rx, tx;
static uint8_t in[SIZE][BUFFER];
static struct {
	struct vsock_header header;
	uint8_t data[PIECE];
} out, got;
static uint32_t forwarded, peer, our_port = OUR_PORT;

static bool is_sent(void *arg)
{
	uint32_t id, len;

	return vring_used(arg, &id, &len);
}

/* The same packet `times`, all of them before the host is told. */
static void send_times(uint16_t op, uint32_t len, unsigned times)
{
	out.header = (struct vsock_header){
		.src_cid = reg_read(0, R_CONFIG),
		.dst_cid = HOST,
		.src_port = our_port,
		.dst_port = peer,
		.len = len,
		.type = STREAM,
		.op = op,
		.flags = op == SHUTDOWN ? BOTH : 0,
		.buf_alloc = CREDIT,
		.fwd_cnt = forwarded,
	};
	for (unsigned i = 0; i < times; i++)
		vring_add(&tx, &out, (uint32_t)sizeof(out.header) + len, 0);
	reg_write(0, R_QUEUE_NOTIFY, TX);
	for (unsigned i = 0; i < times; i++)
		if (!wait_for(is_sent, &tx))
			fail("the host does not take a packet");
}

static void send(uint16_t op, uint32_t len)
{
	send_times(op, len, 1);
}

static bool is_received(void *arg)
{
	uint32_t id, len;

	(void)arg;
	if (!vring_used(&rx, &id, &len))
		return false;
	memcpy(&got, in[id % SIZE], len < sizeof(got) ? len : sizeof(got));
	vring_add(&rx, in[id % SIZE], BUFFER, D_WRITE);
	reg_write(0, R_QUEUE_NOTIFY, RX);
	return true;
}

/* The next packet's operation. */
static uint16_t receive(void)
{
	if (!wait_for(is_received, NULL))
		fail("the host does not answer");
	if (got.header.op == RW)
		forwarded += got.header.len;
	return got.header.op;
}

static void start(void)
{
	if (!virtio_features(0, F_VERSION_1))
		fail("its features are refused");
	if (!virtio_queue(0, RX, &rx, SIZE) || !virtio_queue(0, TX, &tx, SIZE))
		fail("a queue is refused");
	reg_write(0, R_STATUS, S_RUNNING);
	for (unsigned i = 0; i < SIZE; i++)
		vring_add(&rx, in[i], BUFFER, D_WRITE);
	reg_write(0, R_QUEUE_NOTIFY, RX);
}

static void echo(void)
{
	uint16_t op;

	while (receive() != REQUEST)
		;
	peer = got.header.src_port;
	send(RESPONSE, 0);
	while ((op = receive()) != SHUTDOWN && op != RST) {
		if (op != RW)
			continue;
		memcpy(out.data, got.data, got.header.len);
		send(RW, got.header.len);
	}
	if (op == SHUTDOWN)
		send(RST, 0);
	print("echoed %u\n", forwarded);
}

static void talk(unsigned kib)
{
	uint16_t op = 0;

	send(REQUEST, 0);
	if (receive() != RESPONSE) {
		print("refused\n");
		return;
	}
	memset(out.data, 'x', sizeof(out.data));
	if (cmdline_number("burst", 0))
		send_times(RW, PIECE, kib / (PIECE >> 10));
	else
		for (unsigned i = 0; i < kib; i++)
			send(RW, 1024);
	print("sent\n");
	while (forwarded < 4 && op != SHUTDOWN && op != RST)
		op = receive();
	if (op != RST)
		send(SHUTDOWN, 0);
	while (op != RST)
		op = receive();
	print("received %u\n", forwarded);
}

/* A frame with text, or with a word. */
static void send_frame(uint32_t type, const char *text, uint32_t word)
{
	const uint32_t len = text ? (uint32_t)strlen(text) : 8;
	const uint32_t words[] = { type, type == PROTOCOL_READY ? 0 : len, word,
				   0 };

	memcpy(out.data, words, sizeof(words));
	if (text)
		memcpy(out.data + PROTOCOL_HEADER, text, len);
	send(RW, PROTOCOL_HEADER + words[1]);
}

static void call_mote(void)
{
	peer = PROTOCOL_PORT;
	forwarded = 0;
	send(REQUEST, 0);
	if (receive() != RESPONSE)
		fail("mote does not answer");
}

static void go_on(unsigned wanted)
{
	send_frame(PROTOCOL_READY, NULL, 0);
	if (cmdline_number("lost", 0)) {
		send(SHUTDOWN, 0);
		return;
	}
	send_frame(PROTOCOL_STDOUT, "words of a command\n", 0);
	while (receive() != RW)
		;
	send_frame(PROTOCOL_EXIT, NULL, wanted);
	halt_forever();
}

static void command(unsigned wanted)
{
	call_mote();
	go_on(wanted);
}

/* The next packet's bytes, behind `have` of them: how many there are then. */
static uint32_t hear_more(uint8_t *to, uint32_t have)
{
	while (receive() != RW)
		if (got.header.op == RST || got.header.op == SHUTDOWN)
			fail("mote is gone");
	memcpy(to + have, got.data, got.header.len);
	return have + got.header.len;
}

/* A frame that is there as a whole: where it ends; 0: it is not. */
static uint32_t frame_end(const uint8_t *from, uint32_t have)
{
	uint32_t head[2];

	memcpy(head, from, sizeof(head));
	return have >= sizeof(head) && have - sizeof(head) >= head[1]
		       ? (uint32_t)sizeof(head) + head[1]
		       : 0;
}

/* PUT frames up to the last one become GET frames. */
static void files(unsigned wanted)
{
	const uint32_t ask[] = { PROTOCOL_TAKEN, 8, PROTOCOL_PUT,
				 PROTOCOL_CREDIT };
	const uint32_t begin[] = { PROTOCOL_TAKEN, 8, PROTOCOL_GET, 0 };
	static uint8_t stream[2 * PIECE];
	uint32_t have = 0, at = 0, len = 8;
	uint8_t type = 0;

	call_mote();
	memcpy(out.data, ask, sizeof(ask));
	send(RW, sizeof(ask));
	while (len > PROTOCOL_HEADER || !have) {
		len = frame_end(stream + at, have - at);
		if (!len) {
			have = hear_more(stream, have);
			len = PROTOCOL_HEADER + 1;
			continue;
		}
		stream[at] = PROTOCOL_GET;
		at += len;
	}
	send_frame(PROTOCOL_READY, NULL, 0);
	memcpy(out.data, begin, sizeof(begin));
	send(RW, sizeof(begin));
	memcpy(out.data, stream, at);
	send(RW, at);
	/* It says that all is written, or that nobody wants it. */
	for (have = at = 0, len = 0; !len || type != PROTOCOL_CLOSED;
	     at += len) {
		while (!(len = frame_end(stream + at, have - at)))
			have = hear_more(stream, have);
		type = stream[at];
	}
	send_frame(PROTOCOL_EXIT, NULL, wanted);
	halt_forever();
}

/* All pieces of its orders, one behind the other: how long they are. */
static uint32_t hear_orders(uint8_t *to)
{
	static uint8_t stream[PIECE];
	uint32_t head[2], have = 0, len = 0;

	for (;;) {
		memcpy(head, stream, sizeof(head));
		while (have >= sizeof(head) && have >= sizeof(head) + head[1]) {
			if (head[0] != PROTOCOL_RUN)
				fail("mote says something else");
			if (!head[1])
				return len;
			memcpy(to + len, stream + sizeof(head), head[1]);
			len += head[1];
			have -= (uint32_t)sizeof(head) + head[1];
			for (uint32_t i = 0; i < have; i++)
				stream[i] = stream[sizeof(head) + head[1] + i];
			memcpy(head, stream, sizeof(head));
		}
		if (receive() != RW)
			fail("mote is gone");
		memcpy(stream + have, got.data, got.header.len);
		have += got.header.len;
	}
}

/* "GHEX": what ACPI's VM_Gen_Counter has, and whether its event came. */
static uint32_t add_generation(uint8_t *to)
{
	static const char digits[] = "0123456789abcdef";
	const volatile uint8_t *from = (const void *)(uintptr_t)GENERATION;
	uint32_t len = 0;

	to[len++] = 'G';
	for (int i = 0; i < 16; i++) {
		to[len++] = (uint8_t)digits[from[i] >> 4];
		to[len++] = (uint8_t)digits[from[i] & 15];
	}
	to[len++] = in8(PORT_BUTTON) & EVENT_GENERATION ? '+' : '-';
	to[len++] = 0;
	return len;
}

/* Of "aNAME\0aNUMBER\0...": the number. */
static uint32_t second_argument(const uint8_t *orders)
{
	uint32_t value = 0;

	while (*orders++)
		;
	for (orders++; *orders; orders++)
		value = value * 10 + *orders - '0';
	return value;
}

static void clone(void)
{
	uint8_t *orders = out.data + PROTOCOL_HEADER;
	uint32_t len, status;
	static uint8_t heard[PIECE];

	call_mote();
	if (in8(PORT_READY) != 1)
		go_on(cmdline_number("command", 0));
	/* The one that it had leads nowhere. */
	while (receive() != RST || got.header.dst_port != our_port)
		;
	our_port++;
	call_mote();
	send_frame(PROTOCOL_RUN, "", 0);
	len = hear_orders(heard);
	status = second_argument(heard);
	len += add_generation(heard + len);
	send_frame(PROTOCOL_READY, NULL, 0);
	for (uint32_t i = 0; i < len; i++)
		orders[i] = heard[i] ? heard[i] : '\n';
	memcpy(out.data, (const uint32_t[]){ PROTOCOL_STDOUT, len },
	       PROTOCOL_HEADER);
	send(RW, PROTOCOL_HEADER + len);
	send_frame(PROTOCOL_EXIT, NULL, status);
	halt_forever();
}

void guest_main(const uint8_t *boot_params)
{
	(void)boot_params;
	virtio_init();
	if (reg_read(0, R_DEVICE_ID) != ID_VSOCK)
		fail("slot 0 is no vsock");
	start();
	peer = cmdline_number("connect", 0);
	print("driving\n");
	if (cmdline_number("clone", 0))
		clone();
	else if (cmdline_number("files", 0))
		files(cmdline_number("command", 0));
	else if (cmdline_number("command", 0))
		command(cmdline_number("command", 0));
	else if (peer)
		talk(cmdline_number("kib", 1));
	else
		echo();
}
