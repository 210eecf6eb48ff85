/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strings, small files and the kernel's command line. Buffers are of a fixed
 * size, but for what a file says: that is loaded at the end of the heap.
 */
#include <sys/stat.h>

#include "boot/init/init.h"

/* What the compiler may call for by itself. */
void *memcpy(void *to, const void *from, size_t len)
{
	void *at = to;

	__asm__ volatile("rep movsb"
			 : "+D"(at), "+S"(from), "+c"(len)
			 :
			 : "memory");
	return to;
}

void *memset(void *to, int byte, size_t len)
{
	void *at = to;

	__asm__ volatile("rep stosb"
			 : "+D"(at), "+c"(len)
			 : "a"(byte)
			 : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *one = a, *two = b;

	for (size_t i = 0; i < len; i++)
		if (one[i] != two[i])
			return one[i] - two[i];
	return 0;
}

size_t text_len(const char *text)
{
	size_t len = 0;

	while (text[len])
		len++;
	return len;
}

const char *text_after(const char *text, const char *start)
{
	while (*start)
		if (*text++ != *start++)
			return NULL;
	return text;
}

bool text_same(const char *a, const char *b)
{
	const char *rest = text_after(a, b);

	return rest && !*rest;
}

unsigned text_number(const char **text)
{
	unsigned value = 0;

	for (; **text >= '0' && **text <= '9'; (*text)++)
		value = value * 10 + (unsigned)(**text - '0');
	return value;
}

uint8_t text_hex(const char digit[2])
{
	uint8_t value = 0;

	for (int i = 0; i < 2; i++)
		value = (uint8_t)(value << 4 |
				  (digit[i] <= '9' ? digit[i] - '0'
						   : digit[i] - 'a' + 10));
	return value;
}

struct text *text_add_part(struct text *text, const char *from, size_t len)
{
	while (len-- && text->len < sizeof(text->bytes) - 1)
		text->bytes[text->len++] = *from++;
	text->bytes[text->len] = 0;
	return text;
}

struct text *text_add(struct text *text, const char *more)
{
	return text_add_part(text, more, text_len(more));
}

struct text *text_add_number(struct text *text, unsigned number)
{
	char digits[12], *at = digits + sizeof(digits);

	*--at = 0;
	do
		*--at = (char)('0' + number % 10);
	while (number /= 10);
	return text_add(text, at);
}

struct text *text_add_address(struct text *text, const uint8_t bytes[4])
{
	for (int i = 0; i < 4; i++)
		text_add_number(text_add(text, i ? "." : ""), bytes[i]);
	return text;
}

struct text *text_add_v6(struct text *text, const uint8_t bytes[16])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 32; i++) {
		const uint8_t byte = bytes[i / 2];

		text_add_part(text_add(text, i && i % 4 == 0 ? ":" : ""),
			      &digits[i % 2 ? byte & 15 : byte >> 4], 1);
	}
	return text;
}

void *text_alloc(size_t size)
{
	const long at = (SYS(brk, 0) + 15) & ~15L, end = at + (long)size;

	return SYS(brk, end) < end ? NULL : (void *)at;
}

bool text_grow(char *text, size_t size)
{
	const long end = (long)text + (long)size;

	return SYS(brk, end) >= end;
}

long text_read(const char *path, char *to, size_t room)
{
	/* A FIFO in a file's place must not keep init waiting. */
	int fd = sys_open(path, O_RDONLY | O_NONBLOCK);
	size_t len = 0;
	long n = fd;

	*to = 0;
	if (fd < 0)
		return n;
	while (len < room - 1) {
		n = SYS(read, fd, to + len, room - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	to[len] = 0;
	SYS(close, fd);
	return n < 0 ? n : (long)len;
}

char *text_load(const char *path, size_t *len)
{
	static char none[1];
	struct stat status = { .st_size = 0 };
	char *to;
	long n;

	*len = 0;
	if (SYS(stat, path, &status) ||
	    !(to = text_alloc((size_t)status.st_size + 1)))
		return none;
	n = text_read(path, to, (size_t)status.st_size + 1);
	*len = n > 0 ? (size_t)n : 0;
	return to;
}

/* -- the command line ----------------------------------------------------- */

const char *text_word(const char *key)
{
	static char cmdline[4096]; /* each blank has become a NUL */
	static long len;
	const char *found = NULL, *rest;

	if (!len) {
		len = text_read("/proc/cmdline", cmdline, sizeof(cmdline));
		for (long i = 0; i < len; i++)
			if (cmdline[i] == ' ' || cmdline[i] == '\n')
				cmdline[i] = 0;
	}
	for (long i = 0; i < len; i += (long)text_len(cmdline + i) + 1) {
		if (text_same(cmdline + i, "--"))
			break;
		rest = text_after(cmdline + i, key);
		if (rest && (*rest == '=' || !*rest))
			found = *rest ? rest + 1 : rest;
	}
	return found;
}

/* -- directories ---------------------------------------------------------- */

bool names_open(struct names *names, const char *path)
{
	names->fd = sys_open(path, O_RDONLY | O_DIRECTORY);
	names->at = names->end = 0;
	return names->fd >= 0;
}

void names_make_parents(const char *path)
{
	for (const char *at = path; *at; at++) {
		struct text part = { .len = 0 };

		if (*at != '/' || at == path || !at[1] || at[1] == '/')
			continue;
		text_add_part(&part, path, (size_t)(at - path));
		SYS(mkdir, part.bytes, 0755);
	}
}

/* struct linux_dirent64: d_reclen at 16, d_name at 19 */
const char *names_next(struct names *names)
{
	for (;;) {
		const char *name = names->bytes + names->at + 19;
		uint16_t len;

		if (names->at >= names->end) {
			names->at = 0;
			names->end = SYS(getdents64, names->fd, names->bytes,
					 sizeof(names->bytes));
			if (names->end > 0)
				continue;
			SYS(close, names->fd);
			return NULL;
		}
		memcpy(&len, names->bytes + names->at + 16, sizeof(len));
		names->at += len;
		if (!text_same(name, ".") && !text_same(name, ".."))
			return name;
	}
}
