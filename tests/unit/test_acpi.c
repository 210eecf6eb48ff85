/* uses: boot/acpi.c boot/aml.c mem/ram.c */
/* ACPI tables: sums, lengths and pointers; AML walked block by block here, and
 * taken apart and put together again by ACPICA's own iasl. */
#include <errno.h>
#include <stdlib.h>

#include "boot/acpi.h"
#include "boot/aml.h"
#include "boot/layout.h"
#include "cpu/platform.h"
#include "cpu/serial.h"
#include "cpu/vm.h"
#include "tests/unit/boot_help.h"

#define VIRTIO_MAX (VM_GSI_COUNT - VM_GSI_VIRTIO)

static struct ram ram;

static const uint8_t *at(uint64_t address, uint64_t len)
{
	const uint8_t *host = ram_span(&ram, GPA(address), len);

	assert_true(address >= LAYOUT_ACPI.v);
	assert_true(address + len <= LAYOUT_ACPI.v + LAYOUT_ACPI_SIZE);
	assert_non_null(host);
	return host;
}

static uint8_t sum(const uint8_t *bytes, size_t len)
{
	uint8_t total = 0;

	while (len--)
		total = (uint8_t)(total + *bytes++);
	return total;
}

/* The table at `address`, which has this signature and sums to zero. */
static const uint8_t *table_at(uint64_t address, const char *signature,
			       uint32_t *len)
{
	const uint8_t *t = at(address, 36);

	assert_memory_equal(t, signature, 4);
	*len = get_le32(t + 4);
	assert_true(*len >= 36);
	assert_int_equal(sum(at(address, *len), *len), 0);
	return t;
}

/* -- AML ----------------------------------------------------------------------
 */

struct walk {
	const uint8_t *aml;
	size_t end; /* of the innermost block */
	unsigned devices, virtio, depth;
	uint32_t gsi[64], base[64]; /* of each device's resources */
};

static size_t term(struct walk *walk, size_t pos);

/* ACPI 6.4, 20.2.4: where the block ends whose length stands at *pos. */
static size_t package_end(const struct walk *walk, size_t *pos)
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

static size_t name(const struct walk *walk, size_t pos)
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
static size_t terms(struct walk *walk, size_t pos, size_t end)
{
	size_t outer = walk->end;

	walk->end = end;
	assert_true(++walk->depth < 8);
	while (pos < end)
		pos = term(walk, pos);
	assert_int_equal(pos, end);
	walk->depth--;
	walk->end = outer;
	return end;
}

static void resources(struct walk *walk, size_t pos, size_t end)
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

static size_t buffer(struct walk *walk, size_t pos)
{
	size_t end = package_end(walk, &pos);

	assert_int_equal(walk->aml[pos], 0x0b); /* its size, a word */
	assert_int_equal(get_le16(walk->aml + pos + 1), end - (pos + 3));
	resources(walk, pos + 3, end);
	return end;
}

static size_t extended(struct walk *walk, size_t pos)
{
	size_t end;

	switch (walk->aml[pos++]) {
	case 0x80: /* OperationRegion: name, space, offset, length */
		pos = name(walk, pos);
		assert_int_equal(walk->aml[pos], 1); /* ports */
		pos = term(walk, pos + 1);
		return term(walk, pos);
	case 0x81: /* Field: name, flags, then names with their bits */
		end = package_end(walk, &pos);
		pos = name(walk, pos) + 1;
		pos = name(walk, pos) + 1;
		assert_int_equal(pos, end);
		return end;
	case 0x82: /* Device */
		end = package_end(walk, &pos);
		walk->virtio += walk->aml[pos] == 'V';
		walk->devices++;
		assert_true(walk->devices < ARRAY_LEN(walk->gsi));
		return terms(walk, name(walk, pos), end);
	default:
		fail_msg("unknown opcode 5b %02x", walk->aml[pos - 1]);
		return pos;
	}
}

/* One term; returns where the next one begins. */
static size_t term(struct walk *walk, size_t pos)
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
		return term(walk, name(walk, pos));
	case 0x0a:
		return pos + 1;
	case 0x0b:
		return pos + 2;
	case 0x0c:
		return pos + 4;
	case 0x0d:
		return pos + strlen((const char *)p + 1) + 1;
	case 0x10: /* Scope */
		end = package_end(walk, &pos);
		return terms(walk, name(walk, pos), end);
	case 0x11:
		return buffer(walk, pos);
	case 0x12: /* Package: how many, then so many */
		end = package_end(walk, &pos);
		return terms(walk, pos + 1, end);
	case 0x14: /* Method: name, flags */
		end = package_end(walk, &pos);
		return terms(walk, name(walk, pos) + 1, end);
	case 0x5b:
		return extended(walk, pos);
	case 0x7b: /* And: two operands, a target */
		return term(walk, term(walk, name(walk, pos)));
	case 0x86: /* Notify */
		return term(walk, name(walk, pos));
	case 0xa0: /* If */
		end = package_end(walk, &pos);
		return terms(walk, pos, end);
	default:
		fail_msg("unknown opcode %02x", p[0]);
		return pos;
	}
}

static void check_dsdt(uint64_t address, unsigned virtio)
{
	struct walk walk = { .aml = NULL };
	uint32_t len;

	walk.aml = table_at(address, "DSDT", &len);
	terms(&walk, 36, walk.end = len);
	/* COM1, PEVT, PWRB, GED0, then the slots */
	assert_int_equal(walk.virtio, virtio);
	assert_int_equal(walk.devices, 4 + virtio);
	assert_int_equal(walk.base[1], SERIAL_PORT);
	assert_int_equal(walk.gsi[1], VM_GSI_SERIAL);
	assert_int_equal(walk.base[2], PLATFORM_PORT_PVPANIC);
	assert_int_equal(walk.gsi[4], VM_GSI_BUTTON);
	for (unsigned i = 0; i < virtio; i++) {
		assert_int_equal(walk.gsi[5 + i], VM_GSI_VIRTIO + i);
		assert_int_equal(walk.base[5 + i],
				 LAYOUT_VIRTIO + i * LAYOUT_VIRTIO_SLOT);
	}
}

/* -- the other tables ---------------------------------------------------------
 */

static void check_madt(uint64_t address, unsigned cpus)
{
	unsigned seen[5] = { 0 };
	uint32_t len, pos = 44;
	const uint8_t *t = table_at(address, "APIC", &len);

	assert_int_equal(get_le32(t + 36), LAYOUT_LAPIC);
	assert_false(get_le32(t + 40) & 1); /* no PIC to switch off */
	for (; pos < len; pos += t[pos + 1]) {
		assert_true(t[pos] < ARRAY_LEN(seen) && t[pos + 1] >= 2);
		if (t[pos] == 0) {
			assert_int_equal(t[pos + 3], seen[0]); /* APIC ID */
			assert_int_equal(get_le32(t + pos + 4), 1);
		} else if (t[pos] == 1) {
			assert_int_equal(get_le32(t + pos + 4), LAYOUT_IOAPIC);
			assert_int_equal(get_le32(t + pos + 8), 0);
		}
		seen[t[pos]]++;
	}
	assert_int_equal(pos, len);
	assert_int_equal(seen[0], cpus);
	assert_int_equal(seen[1], 1);
	assert_int_equal(seen[4], 1);
}

static void check_fadt(uint64_t address, uint64_t *dsdt)
{
	uint32_t len;
	const uint8_t *t = table_at(address, "FACP", &len);

	assert_int_equal(len, 276);		   /* ACPI 6.4, table 5.9 */
	assert_true(get_le32(t + 112) & 1u << 20); /* hardware-reduced */
	assert_true(get_le32(t + 112) & 1u << 10); /* reset register */
	assert_int_equal(t[116], 1);
	assert_int_equal(get_le64(t + 120), PLATFORM_PORT_RESET);
	assert_int_equal(t[128], PLATFORM_RESET_VALUE);
	assert_int_equal(get_le64(t + 248), PLATFORM_PORT_SLEEP);
	assert_int_equal(get_le64(t + 260), PLATFORM_PORT_STATUS);
	*dsdt = get_le64(t + 140);
}

/* All tables of such a machine; returns where the DSDT is. */
static uint64_t check(unsigned cpus, unsigned virtio)
{
	const struct acpi_options options = { cpus, virtio };
	const uint8_t *rsdp, *xsdt;
	uint64_t dsdt, end;
	uint32_t len;

	make_ram(&ram, 32 * MIB);
	assert_int_equal(acpi_write(&ram, &options), 0);
	expect_no_log();
	rsdp = at(LAYOUT_ACPI.v, 36);
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(rsdp[15], 2);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	xsdt = table_at(get_le64(rsdp + 24), "XSDT", &len);
	assert_int_equal(len, 36 + 2 * 8);
	end = get_le64(rsdp + 24) + len;
	check_fadt(get_le64(xsdt + 36), &dsdt);
	check_madt(get_le64(xsdt + 44), cpus);
	check_dsdt(dsdt, virtio);
	expect_zero(&ram, end, LAYOUT_MPTABLE.v - end);
	return dsdt;
}

static void test_tables(void **state)
{
	static const unsigned cpus[] = { 1, 2, 8, 64, VM_CPUS_MAX };
	static const unsigned virtio[] = { 0, 1, 16, VIRTIO_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cpus) * ARRAY_LEN(virtio); i++) {
		check(cpus[i / ARRAY_LEN(virtio)],
		      virtio[i % ARRAY_LEN(virtio)]);
		ram_destroy(&ram);
	}
}

/* -- iasl ---------------------------------------------------------------------
 */

static const char script[] =
	"set -e; cd \"$1\"; iasl -d dsdt.aml >log 2>&1;"
	"! grep -Ei '^ *(error|acpi (error|warning))' log;"
	"for text in 'Device (COM1)' 'Device (VI12)' 'Notify (PWRB, 0x80)'"
	" 'Method (_EVT, 1, Serialized)' '\"ACPI0013\"' 'PNP0C0C'"
	" 'Name (_S5, Package'; do"
	" grep -qF \"$text\" dsdt.dsl || { echo \"no $text\" >>log; exit 1; };"
	"done;"
	"iasl -p again dsdt.dsl >>log 2>&1; grep -q ' 0 Errors' log";

static void test_iasl(void **state)
{
	char directory[] = "/tmp/mote-acpi-XXXXXX", command[1024];
	uint64_t dsdt = check(VM_CPUS_MAX, VIRTIO_MAX);
	uint32_t len;
	const uint8_t *t = table_at(dsdt, "DSDT", &len);
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(command, sizeof(command), "%s/dsdt.aml", directory);
	file = fopen(command, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(t, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	ram_destroy(&ram);
	setenv("directory", directory, 1);
	setenv("script", script, 1);
	/* NOLINTNEXTLINE(cert-env33-c) */
	if (system("sh -c \"$script\" sh \"$directory\" ||"
		   " { cat \"$directory/log\"; exit 1; }"))
		fail_msg("iasl does not like the DSDT: see %s", directory);
	/* NOLINTNEXTLINE(cert-env33-c) */
	assert_int_equal(system("rm -r \"$directory\""), 0);
}

/* -- the writer ---------------------------------------------------------------
 */

static void test_lengths(void **state)
{
	static uint8_t bytes[1 << 21];
	static const size_t sizes[] = { 0,	10,	0x3c,	 0xff,
					0x1000, 0xffff, 0xffff0, 0xffffb };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct aml aml = { .bytes = bytes, .max = sizeof(bytes) };
		struct walk walk = { .aml = bytes };
		size_t block = aml_if(&aml), pos = block;

		aml.len += sizes[i];
		aml_end(&aml, block);
		walk.end = aml.len;
		assert_false(aml.overflow);
		assert_int_equal(package_end(&walk, &pos), aml.len);
	}
}

static void test_overflow(void **state)
{
	static uint8_t bytes[1 << 21];
	struct aml aml = { .bytes = bytes, .max = 16 };
	size_t block;

	(void)state;
	/* Nothing is written past the end, and it is not forgotten. */
	memset(bytes, 0x5a, 64);
	block = aml_device(&aml, "ABCD");
	aml_name(&aml, "_HID");
	aml_string(&aml, "too long to fit");
	aml_end(&aml, block);
	assert_true(aml.overflow);
	for (size_t i = 16; i < 64; i++)
		assert_int_equal(bytes[i], 0x5a);
	/* A block that no PkgLength of three bytes can say. */
	aml = (struct aml){ .bytes = bytes, .max = sizeof(bytes) };
	block = aml_if(&aml);
	aml.len += 0xffffd;
	aml_end(&aml, block);
	assert_true(aml.overflow);
}

static void test_objects(void **state)
{
	static const uint8_t wanted[] = {
		0x00, 0x01, 0x0a, 0x02, 0x0a, 0xff, 0x0c, 0x00, 0x01, 0x00,
		0x00, 0x0c, 0xff, 0xff, 0xff, 0xff, 0x0d, 'a',	0x00, 0x0c,
		0x41, 0xd0, 0x0c, 0x0c, 0x0c, 0x41, 0xd0, 0x05, 0x01,
	};
	static const uint32_t integers[] = { 0, 1, 2, 0xff, 0x100, 0xffffffff };
	uint8_t bytes[64];
	struct aml aml = { .bytes = bytes, .max = sizeof(bytes) };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(integers); i++)
		aml_integer(&aml, integers[i]);
	aml_string(&aml, "a");
	aml_eisa_id(&aml, "PNP0C0C");
	aml_eisa_id(&aml, "PNP0501");
	assert_int_equal(aml.len, sizeof(wanted));
	assert_memory_equal(bytes, wanted, sizeof(wanted));
}

static void test_no_room(void **state)
{
	const struct acpi_options options = { .cpus = 1 };
	struct ram_options small = { .size = 64 * 1024 };

	(void)state;
	assert_int_equal(ram_create(&ram, &small), 0);
	assert_int_equal(acpi_write(&ram, &options), -ENOSPC);
	expect_log("do not fit");
	ram_destroy(&ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),	cmocka_unit_test(test_iasl),
		cmocka_unit_test(test_lengths), cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_objects), cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
