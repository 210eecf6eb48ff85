/* uses: boot/acpi.c boot/aml.c mem/ram.c */
/* ACPI tables: sums, lengths and pointers; AML walked block by block here, and
 * taken apart and put together again by ACPICA's own iasl. */
#include <errno.h>
#include <stdlib.h>

#include "boot/acpi.h"
#include "boot/aml.h"
#include "boot/layout.h"
#include "cpu/console/uart.h"
#include "cpu/platform.h"
#include "cpu/vm.h"
#include "tests/unit/aml_walk.h"
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

/* -- tables ----------------------------------------------------------------
 */

static void check_dsdt(uint64_t address, unsigned virtio)
{
	struct aml_walk walk = { .aml = NULL };
	uint32_t len;

	walk.aml = table_at(address, "DSDT", &len);
	walk_terms(&walk, 36, walk.end = len);
	/* Kernels that read this do not need the words (boot/layout.h). */
	assert_int_equal(!!memmem(walk.aml, len, "_INI", 4), virtio != 0);
	/* COM1, PEVT, PWRB, GED0, then the slots */
	assert_int_equal(walk.virtio, virtio);
	assert_int_equal(walk.devices, 4 + virtio);
	assert_int_equal(walk.base[1], UART_PORT);
	assert_int_equal(walk.gsi[1], VM_GSI_SERIAL);
	assert_int_equal(walk.base[2], PLATFORM_PORT_PVPANIC);
	assert_int_equal(walk.gsi[4], VM_GSI_BUTTON);
	for (unsigned i = 0; i < virtio; i++) {
		assert_int_equal(walk.gsi[5 + i], VM_GSI_VIRTIO + i);
		assert_int_equal(walk.base[5 + i],
				 LAYOUT_VIRTIO + i * LAYOUT_VIRTIO_SLOT);
	}
}

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
		struct aml_walk walk = { .aml = bytes };
		size_t block = aml_if(&aml), pos = block;

		aml.len += sizes[i];
		aml_end(&aml, block);
		walk.end = aml.len;
		assert_false(aml.overflow);
		assert_int_equal(walk_length(&walk, &pos), aml.len);
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
