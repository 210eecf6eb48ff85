/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a snapshot: its header and the framing of its records.
 *
 * What is read is hostile, and may change while it is read: it is copied once,
 * then judged. Owns nothing: descriptors and memory are the callers'. Written
 * by the loop's thread, read by the main thread before the guest runs.
 */
#include "boot/snapshot/file.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/ram.h"
#include "mem/util.h"

#define MAGIC "MOTESNAP"

/* What is written last, with the magic in it, and where check sums are. */
#define HEADER_BEGINNING 64u
#define HEADER_CRC	 68u

/* -- CRC-32C -------------------------------------------------------------- */

#define CRC_POLYNOMIAL 0x82f63b78u /* reflected */
#define HAS_CRC	       (1u << 20)  /* CPUID 1, ECX: SSE4.2 */

__attribute__((target("sse4.2"))) static uint64_t
crc_by_instruction(uint64_t crc, const uint8_t *at, size_t len)
{
	for (; len >= 8; len -= 8, at += 8)
		crc = __builtin_ia32_crc32di(crc, get_le64(at));
	while (len--)
		crc = __builtin_ia32_crc32qi((uint32_t)crc, *at++);
	return crc;
}

/*
 * By a table the sums would be the longest part of reading a snapshot. Few
 * processors that have KVM lack the instruction, and there this takes 0.1 ms.
 */
static uint32_t crc32c(const void *bytes, size_t len)
{
	uint32_t eax, ebx, ecx, edx, crc = UINT32_MAX;
	const uint8_t *at = bytes;

	__cpuid(1, eax, ebx, ecx, edx);
	if (ecx & HAS_CRC)
		return ~(uint32_t)crc_by_instruction(crc, at, len);
	for (size_t i = 0; i < len * 8; i++) {
		crc ^= i % 8 ? 0 : *at++;
		crc = crc >> 1 ^ (crc & 1 ? CRC_POLYNOMIAL : 0);
	}
	return ~crc;
}

/* -- the header ----------------------------------------------------------- */

static void header_fields(struct snapshot_header *h, struct state *s)
{
	state_u32(s, &h->version);
	state_u32(s, &h->flags);
	state_bytes(s, h->id, sizeof(h->id));
	state_u64(s, &h->state_off);
	state_u64(s, &h->state_len);
	state_u64(s, &h->mem_off);
	state_u64(s, &h->mem_len);
	state_u32(s, &h->state_crc);
	state_u32(s, &h->header_crc);
	state_u64(s, &h->file_len);
	for (unsigned i = 0; i < SNAPSHOT_AREAS; i++) {
		state_u64(s, &h->area[i].off);
		state_u64(s, &h->area[i].len);
		state_u32(s, &h->area[i].device);
		state_u32(s, &h->area[i].kind);
	}
}

void snapshot_header_place(struct snapshot_header *h)
{
	uint64_t at = SNAPSHOT_HEADER;

	h->version = SNAPSHOT_VERSION;
	h->state_off = at;
	at = round_up(at + h->state_len, RAM_PAGE);
	for (unsigned i = 0; i < SNAPSHOT_AREAS; i++) {
		h->area[i].off = h->area[i].len ? at : 0;
		at = round_up(at + h->area[i].len, RAM_PAGE);
	}
	h->mem_off = round_up(at, SNAPSHOT_ALIGN);
	h->file_len = h->mem_off + h->mem_len;
}

int snapshot_write(int fd, const void *bytes, size_t len, uint64_t off)
{
	const uint8_t *at = bytes;

	while (len) {
		const ssize_t n = pwrite(fd, at, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		at += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int snapshot_header_write(struct snapshot_header *h, const void *state, int fd,
			  bool in_place)
{
	static uint8_t bytes[SNAPSHOT_HEADER];
	struct state s = state_save(bytes, sizeof(bytes));
	int error;

	memcpy(bytes, MAGIC, 8);
	s.at = 8;
	h->state_crc = crc32c(state, h->state_len);
	h->header_crc = 0;
	header_fields(h, &s);
	h->header_crc = crc32c(bytes, sizeof(bytes));
	put_le32(bytes + HEADER_CRC, h->header_crc);
	error = snapshot_write(fd, state, h->state_len, h->state_off);
	if (!error)
		error = snapshot_write(fd, bytes + HEADER_BEGINNING,
				       sizeof(bytes) - HEADER_BEGINNING,
				       HEADER_BEGINNING);
	/* Nothing of it may reach the disk after its beginning. */
	if (!error && in_place && fdatasync(fd))
		error = -errno;
	if (!error)
		error = snapshot_write(fd, bytes, HEADER_BEGINNING, 0);
	return error;
}

/* 0, or -errno; -ENODATA where the file is too short. */
static int read_exactly(int fd, void *bytes, size_t len, uint64_t off)
{
	uint8_t *at = bytes;

	while (len) {
		const ssize_t n = pread(fd, at, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENODATA;
		at += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int refuse_file(const char *name, const char *why)
{
	log_error("snapshot %s: %s", name, why);
	return -EINVAL;
}

/* [off, off + len) is behind the header and within the file. */
static bool lies_in_file(const struct snapshot_header *h, uint64_t off,
			 uint64_t len)
{
	return off >= SNAPSHOT_HEADER && off % RAM_PAGE == 0 &&
	       off <= h->file_len && len <= h->file_len - off;
}

static bool overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a_len && b_len && a < b + b_len && b < a + a_len;
}

/* One area against those before it, the state and memory. */
static const char *find_area_fault(const struct snapshot_header *h, unsigned i)
{
	static const char overlap[] = "two of its areas overlap";
	const struct snapshot_area *a = &h->area[i], *b = h->area;

	if (!a->len)
		return NULL;
	if (a->kind == SNAPSHOT_AREA_NONE || a->kind >= SNAPSHOT_AREA_KINDS)
		return "an area is of a kind that is not known";
	if (!lies_in_file(h, a->off, a->len))
		return "the place of an area is impossible";
	if (overlaps(a->off, a->len, h->state_off, h->state_len) ||
	    overlaps(a->off, a->len, h->mem_off, h->mem_len))
		return overlap;
	for (; b < a; b++) {
		if (overlaps(a->off, a->len, b->off, b->len))
			return overlap;
		if (b->len && a->kind == b->kind && a->device == b->device)
			return "an area is there twice";
	}
	return NULL;
}

static const char *find_header_fault(const struct snapshot_header *h)
{
	const char *fault = NULL;

	if (h->flags & ~SNAPSHOT_FLAGS)
		return "it has flags that are not known: a newer mote made it";
	if (!h->state_len || !lies_in_file(h, h->state_off, h->state_len) ||
	    h->state_len > SNAPSHOT_STATE_MAX)
		return "the place of its state is impossible";
	if (!lies_in_file(h, h->mem_off, h->mem_len) ||
	    h->mem_off % SNAPSHOT_ALIGN || h->mem_len % RAM_PAGE)
		return "the place of its memory is impossible";
	if (overlaps(h->state_off, h->state_len, h->mem_off, h->mem_len))
		return "its state and its memory overlap";
	for (unsigned i = 0; i < SNAPSHOT_AREAS && !fault; i++)
		fault = find_area_fault(h, i);
	return fault;
}

static int check_version(const struct snapshot_header *h, const char *name)
{
	if (h->version == SNAPSHOT_VERSION)
		return 0;
	log_error("snapshot %s: its format is %u, and this mote reads %u: "
		  "another version of mote made it",
		  name, h->version, SNAPSHOT_VERSION);
	return -EINVAL;
}

int snapshot_header_read(struct snapshot_header *h, int fd, const char *name)
{
	uint8_t bytes[SNAPSHOT_HEADER];
	struct state s;
	struct stat status;
	const char *fault;
	int error;

	if (fstat(fd, &status))
		return log_errno("fstat of a snapshot");
	if (!S_ISREG(status.st_mode))
		return refuse_file(name, "it is no file");
	error = read_exactly(fd, bytes, sizeof(bytes), 0);
	if (error && error != -ENODATA)
		return refuse_file(name, strerror(-error));
	if (error || memcmp(bytes, MAGIC, 8) != 0)
		return refuse_file(name, "it is no snapshot of mote's, or one "
					 "that was never finished");
	s = state_load(bytes, sizeof(bytes));
	s.at = 8;
	header_fields(h, &s);
	error = check_version(h, name);
	if (error)
		return error;
	put_le32(bytes + HEADER_CRC, 0);
	if (h->header_crc != crc32c(bytes, sizeof(bytes)))
		return refuse_file(name, "its header is damaged (check sum)");
	if ((uint64_t)status.st_size < h->file_len) {
		log_error("snapshot %s: it is incomplete: %llu bytes of %llu",
			  name, (unsigned long long)status.st_size,
			  (unsigned long long)h->file_len);
		return -EINVAL;
	}
	fault = find_header_fault(h);
	return fault ? refuse_file(name, fault) : 0;
}

int snapshot_state_read(const struct snapshot_header *h, int fd,
			const char *name, void *bytes)
{
	const int error = read_exactly(fd, bytes, h->state_len, h->state_off);

	if (error)
		return refuse_file(name, error == -ENODATA
						 ? "it became shorter just now"
						 : strerror(-error));
	if (h->state_crc != crc32c(bytes, h->state_len))
		return refuse_file(name, "its state is damaged (check sum)");
	return 0;
}

const struct snapshot_area *snapshot_area(const struct snapshot_header *h,
					  uint32_t kind, uint32_t device)
{
	for (unsigned i = 0; i < SNAPSHOT_AREAS; i++)
		if (h->area[i].len && h->area[i].kind == kind &&
		    h->area[i].device == device)
			return &h->area[i];
	return NULL;
}

int snapshot_area_read(const struct snapshot_area *area, int fd, void *bytes)
{
	return read_exactly(fd, bytes, area->len, area->off);
}

/* -- records -------------------------------------------------------------- */

#define RECORD_ALIGN 8u

static void record_head(struct snapshot_record *r, struct state *s)
{
	state_u16(s, &r->tag);
	state_u16(s, &r->index);
	state_u32(s, &r->len);
}

struct snapshot_record snapshot_record_begin(struct state *s, uint16_t tag,
					     uint16_t index)
{
	struct snapshot_record r = { .tag = tag, .index = index };

	record_head(&r, s);
	r.at = s->at;
	return r;
}

void snapshot_record_end(struct state *s, struct snapshot_record *r)
{
	uint8_t zero = 0;

	if (s->wrong)
		return;
	r->len = (uint32_t)(s->at - r->at);
	put_le32(s->bytes + r->at - sizeof(r->len), r->len);
	while (s->at % RECORD_ALIGN && !s->wrong)
		state_u8(s, &zero);
}

bool snapshot_record_next(struct state *s, struct snapshot_record *r)
{
	if (s->wrong || s->at == s->len)
		return false;
	record_head(r, s);
	r->at = s->at;
	if (!state_check(s, r->len <= s->len - s->at, "it is too short"))
		return false;
	s->at += round_up(r->len, RECORD_ALIGN);
	return state_check(s, s->at <= s->len, "it is too short");
}
