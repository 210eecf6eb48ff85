/*
 * Walks AML as an interpreter does (ACPI 6.4, chapter 20), as far as mote's own
 * tables go: every block must end exactly where its length says, and what is
 * not known is a failure. Counts devices and keeps their resources.
 */
#ifndef TESTS_UNIT_AML_WALK_H
#define TESTS_UNIT_AML_WALK_H

#include "boot/layout.h"
#include "tests/unit/boot_help.h"

struct aml_walk {
	const uint8_t *aml;
	size_t end; /* of the innermost block */
	unsigned devices, virtio, depth;
	uint32_t gsi[64], base[64]; /* of each device's resources */
};

static inline size_t walk_term(struct aml_walk *walk, size_t pos);

/* ACPI 6.4, 20.2.4: where the block ends whose length stands at *pos. */
static inline size_t walk_length(const struct aml_walk *walk, size_t *pos)
{
	const uint8_t *p = walk->aml + *pos;
	unsigned more = p[0] >> 6;
	size_t len = more ? p[0] & 0xf : p[0] & 0x3f, end;

	assert_true(!more || !(p[0] & 0x30));
	for (unsigned i = 1; i <= more; i++)
		len |= (size_t)p[i] << (8 * i - 4);
	end = *pos + len;
	*pos += 1 + more;
	assert_true(end >= *pos && end <= walk->end);
	return end;
}

static inline size_t walk_name(const struct aml_walk *walk, size_t pos)
{
	pos += walk->aml[pos] == '\\';
	for (unsigned i = 0; i < 4; i++) {
		uint8_t c = walk->aml[pos + i];

		assert_true((c >= 'A' && c <= 'Z') || c == '_' ||
			    (i && c >= '0' && c <= '9'));
	}
	return pos + 4;
}

/* Terms up to the block's end, and none across it. */
static inline size_t walk_terms(struct aml_walk *walk, size_t pos, size_t end)
{
	size_t outer = walk->end;

	walk->end = end;
	assert_true(++walk->depth < 8);
	while (pos < end)
		pos = walk_term(walk, pos);
	assert_int_equal(pos, end);
	walk->depth--;
	walk->end = outer;
	return end;
}

static inline void walk_resources(struct aml_walk *walk, size_t pos, size_t end)
{
	const uint8_t *p;
	size_t len;

	for (;; pos += len) {
		p = walk->aml + pos;
		len = p[0] & 0x80 ? 3u + get_le16(p + 1) : 1u + (p[0] & 7);
		assert_true(pos + len <= end);
		if (p[0] == 0x79)
			break;
		if (p[0] == 0x89) {
			assert_int_equal(len, 9);
			assert_int_equal(p[3], 3); /* edge, consumer */
			walk->gsi[walk->devices] = get_le32(p + 5);
		} else if (p[0] == 0x86) {
			assert_int_equal(len, 12);
			assert_int_equal(get_le32(p + 8), LAYOUT_VIRTIO_SLOT);
			walk->base[walk->devices] = get_le32(p + 4);
		} else {
			assert_int_equal(p[0], 0x47);
			assert_int_equal(len, 8);
			assert_int_equal(get_le16(p + 2), get_le16(p + 4));
			walk->base[walk->devices] = get_le16(p + 2);
		}
	}
	assert_int_equal(pos + len, end);
}

static inline size_t walk_buffer(struct aml_walk *walk, size_t pos)
{
	size_t end = walk_length(walk, &pos);

	assert_int_equal(walk->aml[pos], 0x0b); /* its size, a word */
	assert_int_equal(get_le16(walk->aml + pos + 1), end - (pos + 3));
	walk_resources(walk, pos + 3, end);
	return end;
}

static inline size_t walk_extended(struct aml_walk *walk, size_t pos)
{
	size_t end;

	switch (walk->aml[pos++]) {
	case 0x80: /* OperationRegion: name, space, offset, length */
		pos = walk_name(walk, pos);
		assert_int_equal(walk->aml[pos], 1); /* ports */
		pos = walk_term(walk, pos + 1);
		return walk_term(walk, pos);
	case 0x81: /* Field: name, flags, then names with their bits */
		end = walk_length(walk, &pos);
		pos = walk_name(walk, pos) + 1;
		pos = walk_name(walk, pos) + 1;
		assert_int_equal(pos, end);
		return end;
	case 0x82: /* Device */
		end = walk_length(walk, &pos);
		walk->virtio += walk->aml[pos] == 'V';
		walk->devices++;
		assert_true(walk->devices < ARRAY_LEN(walk->gsi));
		return walk_terms(walk, walk_name(walk, pos), end);
	default:
		fail_msg("unknown opcode 5b %02x", walk->aml[pos - 1]);
		return pos;
	}
}

/* One term; returns where the next one begins. */
static inline size_t walk_term(struct aml_walk *walk, size_t pos)
{
	const uint8_t *p = walk->aml + pos;
	size_t end;

	assert_true(pos < walk->end);
	pos++;
	switch (p[0]) {
	case 0x00:
	case 0x01:
		return pos;
	case 0x08: /* Name */
		return walk_term(walk, walk_name(walk, pos));
	case 0x0a:
		return pos + 1;
	case 0x0b:
		return pos + 2;
	case 0x0c:
		return pos + 4;
	case 0x0d:
		return pos + strlen((const char *)p + 1) + 1;
	case 0x10: /* Scope */
		end = walk_length(walk, &pos);
		return walk_terms(walk, walk_name(walk, pos), end);
	case 0x11:
		return walk_buffer(walk, pos);
	case 0x12: /* Package: how many, then so many */
		end = walk_length(walk, &pos);
		return walk_terms(walk, pos + 1, end);
	case 0x14: /* Method: name, flags */
		end = walk_length(walk, &pos);
		return walk_terms(walk, walk_name(walk, pos) + 1, end);
	case 0x5b:
		return walk_extended(walk, pos);
	case 0x70: /* Store: what, where to */
		return walk_name(walk, walk_term(walk, pos));
	case 0x7b: /* And: two operands, a target */
		return walk_term(walk, walk_term(walk, walk_name(walk, pos)));
	case 0x86: /* Notify */
		return walk_term(walk, walk_name(walk, pos));
	case 0xa0: /* If */
		end = walk_length(walk, &pos);
		return walk_terms(walk, pos, end);
	default:
		fail_msg("unknown opcode %02x", p[0]);
		return pos;
	}
}

#endif
