/*
 * A writer of AML.
 *
 * Every block's PkgLength takes three bytes, whatever its size: the length is
 * then filled in afterwards without moving anything (ACPI 6.4, 20.2.4 allows
 * more bytes than are needed). Buffers, whose size is an object of its own,
 * use a WordConst in the same way. Owns nothing; any thread.
 */
#include "boot/aml.h"

#include <string.h>

#include "mem/util.h"

#define PKG_LENGTH_BYTES 3
#define PKG_LENGTH_MAX	 0xfffff

enum opcode {
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_EXTENDED = 0x5b,
	OP_EXTENDED_FIELD = 0x81,
	OP_EXTENDED_DEVICE = 0x82,
	OP_IF = 0xa0,
};

void aml_bytes(struct aml *aml, const void *bytes, size_t len)
{
	if (len > aml->max - aml->len) {
		aml->overflow = true;
		return;
	}
	memcpy(aml->bytes + aml->len, bytes, len);
	aml->len += len;
}

void aml_byte(struct aml *aml, uint8_t byte)
{
	aml_bytes(aml, &byte, 1);
}

void aml_path(struct aml *aml, const char *name)
{
	aml_bytes(aml, name, strlen(name));
}

/* The block's length counts from here. */
static size_t begin(struct aml *aml)
{
	static const uint8_t room[PKG_LENGTH_BYTES];
	size_t block = aml->len;

	aml_bytes(aml, room, sizeof(room));
	return block;
}

void aml_end(struct aml *aml, size_t block)
{
	size_t len = aml->len - block;
	uint8_t *to = aml->bytes + block;

	if (aml->overflow || len > PKG_LENGTH_MAX) {
		aml->overflow = true;
		return;
	}
	to[0] = (uint8_t)((PKG_LENGTH_BYTES - 1) << 6 | (len & 0xf));
	to[1] = (uint8_t)(len >> 4);
	to[2] = (uint8_t)(len >> 12);
}

size_t aml_scope(struct aml *aml, const char *name)
{
	size_t block;

	aml_byte(aml, OP_SCOPE);
	block = begin(aml);
	aml_path(aml, name);
	return block;
}

size_t aml_device(struct aml *aml, const char *name)
{
	size_t block;

	aml_byte(aml, OP_EXTENDED);
	aml_byte(aml, OP_EXTENDED_DEVICE);
	block = begin(aml);
	aml_path(aml, name);
	return block;
}

size_t aml_method(struct aml *aml, const char *name, uint8_t args)
{
	size_t block;

	aml_byte(aml, OP_METHOD);
	block = begin(aml);
	aml_path(aml, name);
	aml_byte(aml, args | 1 << 3); /* serialized */
	return block;
}

size_t aml_if(struct aml *aml)
{
	aml_byte(aml, OP_IF);
	return begin(aml);
}

size_t aml_package(struct aml *aml, uint8_t elements)
{
	size_t block;

	aml_byte(aml, OP_PACKAGE);
	block = begin(aml);
	aml_byte(aml, elements);
	return block;
}

size_t aml_field(struct aml *aml, const char *region, uint8_t flags)
{
	size_t block;

	aml_byte(aml, OP_EXTENDED);
	aml_byte(aml, OP_EXTENDED_FIELD);
	block = begin(aml);
	aml_path(aml, region);
	aml_byte(aml, flags);
	return block;
}

void aml_name(struct aml *aml, const char *name)
{
	aml_byte(aml, OP_NAME);
	aml_path(aml, name);
}

void aml_integer(struct aml *aml, uint32_t value)
{
	if (value < 2) { /* ZeroOp, OneOp */
		aml_byte(aml, (uint8_t)value);
	} else if (value < 0x100) {
		aml_byte(aml, OP_BYTE);
		aml_bytes(aml, &value, 1);
	} else {
		aml_byte(aml, OP_DWORD);
		aml_bytes(aml, &value, 4);
	}
}

void aml_string(struct aml *aml, const char *string)
{
	aml_byte(aml, OP_STRING);
	aml_bytes(aml, string, strlen(string) + 1);
}

static uint8_t hex_digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* ACPI 6.4, 19.6.37: three letters of 5 bits, four hex digits, big-endian. */
void aml_eisa_id(struct aml *aml, const char *id)
{
	unsigned letters = (unsigned)(id[0] - 0x40) << 10 |
			   (unsigned)(id[1] - 0x40) << 5 |
			   (unsigned)(id[2] - 0x40);
	uint8_t bytes[5] = {
		OP_DWORD,
		(uint8_t)(letters >> 8),
		(uint8_t)letters,
		(uint8_t)(hex_digit(id[3]) << 4 | hex_digit(id[4])),
		(uint8_t)(hex_digit(id[5]) << 4 | hex_digit(id[6])),
	};

	aml_bytes(aml, bytes, sizeof(bytes));
}

size_t aml_resources(struct aml *aml)
{
	static const uint8_t size[] = { OP_WORD, 0, 0 };
	size_t block;

	aml_name(aml, "_CRS");
	aml_byte(aml, OP_BUFFER);
	block = begin(aml);
	aml_bytes(aml, size, sizeof(size));
	return block;
}

/* ACPI 6.4, 6.4.2.5: I/O port descriptor, 16-bit decode. */
void aml_resource_port(struct aml *aml, uint16_t port, uint8_t count)
{
	uint8_t bytes[8] = { 0x47, 1 };

	put_le16(bytes + 2, port);
	put_le16(bytes + 4, port);
	bytes[6] = 1;
	bytes[7] = count;
	aml_bytes(aml, bytes, sizeof(bytes));
}

/* ACPI 6.4, 6.4.3.4: 32-bit fixed memory range descriptor, writable. */
void aml_resource_memory(struct aml *aml, uint32_t base, uint32_t size)
{
	uint8_t bytes[12] = { 0x86, 9, 0, 1 };

	put_le32(bytes + 4, base);
	put_le32(bytes + 8, size);
	aml_bytes(aml, bytes, sizeof(bytes));
}

/* ACPI 6.4, 6.4.3.6: extended interrupt descriptor: consumer, edge, high. */
void aml_resource_irq(struct aml *aml, uint32_t gsi)
{
	uint8_t bytes[9] = { 0x89, 6, 0, 0x3, 1 };

	put_le32(bytes + 5, gsi);
	aml_bytes(aml, bytes, sizeof(bytes));
}

void aml_resources_end(struct aml *aml, size_t block)
{
	static const uint8_t end_tag[] = { 0x79, 0 };
	size_t data = block + PKG_LENGTH_BYTES + 3;

	aml_bytes(aml, end_tag, sizeof(end_tag));
	if (!aml->overflow)
		put_le16(aml->bytes + data - 2, (uint16_t)(aml->len - data));
	aml_end(aml, block);
}
