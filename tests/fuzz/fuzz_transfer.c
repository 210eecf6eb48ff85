/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's end of --put and --get (boot/init: stream.c, transfer.c), and a
 * mote that says what the input says. They are compiled here with system calls
 * of this file's: what is read from the stream is the input, in pieces of any
 * size, and what is written to it is judged as mote would: frames that are
 * whole, of types and lengths that a guest may send, and no more of GET than
 * its credit. In place of what packs and unpacks there is what takes and makes
 * bytes, in pieces that the input says, too.
 *
 * The first byte says what is wanted, and how large pieces are.
 */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "cpu/command/frames.h"
#include "mem/util.h"

/* In place of boot/tar/sys.h. */
#define BOOT_TAR_SYS_H
#include <asm/unistd.h>
#define SYS(call, ...)                                                         \
	fuzz_call(__NR_##call, fuzz_args(__VA_ARGS__, 0, 0, 0, 0))
#define fuzz_args(a, b, c, d, e, ...)                                          \
	(const long[5])                                                        \
	{                                                                      \
		(long)(a), (long)(b), (long)(c), (long)(d), (long)(e)          \
	}
static long fuzz_call(long number, const long args[5]);

/* NOLINTBEGIN(bugprone-suspicious-include): with other system calls */
#include "boot/init/stream.c"
#include "boot/init/transfer.c"
/* NOLINTEND(bugprone-suspicious-include) */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *input;
static size_t input_len, piece;
static jmp_buf over;
static struct {
	uint8_t header[PROTOCOL_HEADER];
	size_t header_len, left, type;
} sent;
static struct {
	uint8_t bytes[16];
	uint64_t len;
} said;
static uint64_t get_sent, get_credit; /* in all */

static void require(bool promise)
{
	if (!promise)
		abort();
}

/* -- what mote would find in it -------------------------------------------- */

static void begin_sent(void)
{
	sent.type = get_le32(sent.header);
	sent.left = get_le32(sent.header + 4);
	sent.header_len = 0;
	require(sent.left <= PROTOCOL_CHUNK);
	switch (sent.type) {
	case PROTOCOL_GET:
		get_sent += sent.left;
		require(get_sent <= get_credit);
		/* The next one begins anew. */
		if (!sent.left)
			get_credit += PROTOCOL_CREDIT;
		break;
	case PROTOCOL_TAKEN:
	case PROTOCOL_EXIT:
		require(sent.left == 8);
		break;
	case PROTOCOL_NOTE:
		require(sent.left <= PROTOCOL_TEXT);
		break;
	default:
		require(sent.type == PROTOCOL_TIME && !sent.left);
	}
}

static void judge_sent(const uint8_t *at, size_t len)
{
	size_t skip;

	for (; len; at++, len--) {
		skip = sent.left < len ? sent.left : len;
		sent.left -= skip;
		at += skip;
		len -= skip;
		if (!len)
			return;
		sent.header[sent.header_len++] = *at;
		if (sent.header_len == PROTOCOL_HEADER)
			begin_sent();
	}
}

/* What mote says of it: all credit that it gives, before init sees it. */
static void note_said(const uint8_t *at, size_t len)
{
	for (; len; at++, len--) {
		if (said.len < sizeof(said.bytes))
			said.bytes[said.len] = *at;
		if (++said.len < PROTOCOL_HEADER ||
		    said.len < PROTOCOL_HEADER + get_le32(said.bytes + 4))
			continue;
		if (get_le32(said.bytes) == PROTOCOL_TAKEN &&
		    get_le32(said.bytes + 8) == PROTOCOL_GET)
			get_credit += get_le32(said.bytes + 12);
		memset(&said, 0, sizeof(said));
	}
}

/* -- system calls ---------------------------------------------------------- */

static long read_input(void *to, size_t room)
{
	size_t len = room < piece ? room : piece;

	if (len > input_len)
		len = input_len;
	memcpy(to, input, len);
	note_said(input, len);
	input += len;
	input_len -= len;
	return (long)len;
}

static long fuzz_call(long number, const long args[5])
{
	switch (number) {
	case __NR_read:
		return read_input((void *)args[1], (size_t)args[2]);
	case __NR_write:
		judge_sent((const void *)args[1], (size_t)args[2]);
		return args[2];
	case __NR_reboot:
		longjmp(over, 1);
	case __NR_ioperm:
		return -EPERM;
	case __NR_open:
		return 7;
	default:
		return 0;
	}
}

/* -- in place of the rest of init ------------------------------------------ */

void *text_alloc(size_t size)
{
	static char memory[16];

	(void)size;
	return memory;
}

struct text *text_add(struct text *text, const char *more)
{
	while (*more && text->len < sizeof(text->bytes) - 1)
		text->bytes[text->len++] = *more++;
	text->bytes[text->len] = 0;
	return text;
}

struct text *text_add_number(struct text *text, unsigned number)
{
	(void)number;
	return text_add(text, "1");
}

bool user_find(struct run *run, const char *etc)
{
	static const struct user user = { .uid = 1, .gid = 2 };

	run->user = *etc ? &user : NULL;
	return true;
}

void clock_obey(const struct frame *frame)
{
	(void)frame;
}

long tar_unpack(int dir_fd, const struct tar_options *options, tar_read *read,
		void *arg)
{
	static uint8_t bytes[256 << 10];
	long n;

	require(dir_fd == 7);
	while ((n = read(arg, bytes, piece * 7 % sizeof(bytes) + 1)) > 0)
		if (bytes[n - 1] == 0xee)
			options->warn(options->arg, "odd", "name", -ENOENT);
		else if (bytes[n - 1] == 0xef)
			options->warn(options->arg, "full", "name", -ENOSPC);
	return n;
}

long tar_pack(int dir_fd, const char *path, const struct tar_options *options,
	      tar_write *write, void *arg)
{
	static const uint8_t bytes[256 << 10];
	long error = 0;

	(void)dir_fd;
	if (path[1] == 'n')
		return -ENOENT;
	options->warn(options->arg, "odd", NULL, 0);
	for (int i = 0; i < 3 && !error; i++)
		error = write(arg, bytes, piece * 999 % sizeof(bytes));
	return error;
}

void names_make_parents(const char *path)
{
	(void)path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run run = {
		.workdir = "/src/here",
		.put_count = 2,
		.get_count = 2,
		.put = { "0 /src", "k " },
		.get = { "0 /out", "k /none" },
	};

	if (!size)
		return 0;
	memset(&stream, 0, sizeof(stream));
	memset(&transfer, 0, sizeof(transfer));
	memset(&sent, 0, sizeof(sent));
	stream.fd = 3;
	piece = (data[0] >> 1) * 64 + 1;
	input = data + 1;
	input_len = size - 1;
	memset(&said, 0, sizeof(said));
	get_sent = 0;
	get_credit = PROTOCOL_CREDIT;
	if (!setjmp(over)) {
		if (data[0] & 1)
			transfer_put(&run);
		else
			transfer_get(&run);
		stream_end(0, 0);
	}
	require(!sent.left && !sent.header_len);
	return 0;
}
