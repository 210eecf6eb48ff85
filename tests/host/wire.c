/* SPDX-License-Identifier: Apache-2.0 */
/* wire: see wire.h.  No state; used by three single-threaded programs. */
#include "wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

char *buf_room(struct buf *b, size_t len)
{
	if (b->at == b->end)
		b->at = b->end = 0;
	if (b->end + len > b->cap && b->at > 0) {
		memmove(b->p, b->p + b->at, b->end - b->at);
		b->end -= b->at;
		b->at = 0;
	}
	if (b->end + len > b->cap) {
		size_t cap = (b->end + len) * 2;
		char *p = realloc(b->p, cap);

		if (!p) {
			fputs("test host: out of memory\n", stderr);
			abort();
		}
		b->p = p;
		b->cap = cap;
	}
	return b->p + b->end;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	if (!len)
		return;
	memcpy(buf_room(b, len), data, len);
	b->end += len;
}

void buf_drop(struct buf *b, size_t len)
{
	b->at += len;
}

void buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ 0 };
}

void wire_add(struct buf *b, uint32_t session, enum wire_type type,
	      const void *data, size_t len)
{
	struct wire_head h = { session, type, len };

	buf_add(b, &h, sizeof(h));
	buf_add(b, data, len);
}

int wire_next(const struct buf *b, struct wire_head *h, const char **data)
{
	if (buf_len(b) < sizeof(*h))
		return 0;
	memcpy(h, b->p + b->at, sizeof(*h));
	if (h->len > WIRE_MAX)
		return -EPROTO;
	if (buf_len(b) - sizeof(*h) < h->len)
		return 0;
	*data = b->p + b->at + sizeof(*h);
	return 1;
}

void wire_drop(struct buf *b, const struct wire_head *h)
{
	buf_drop(b, sizeof(*h) + h->len);
}

long buf_read(struct buf *b, int fd, size_t max)
{
	ssize_t n = read(fd, buf_room(b, max), max);

	if (n < 0)
		return -errno;
	b->end += n;
	return n;
}

long buf_write(struct buf *b, int fd)
{
	ssize_t n = write(fd, b->p + b->at, buf_len(b));

	if (n < 0)
		return -errno;
	buf_drop(b, n);
	return n;
}

int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}
