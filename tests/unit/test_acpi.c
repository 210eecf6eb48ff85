/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/acpi.c */
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c */
/*
 * ACPI tables: sums, lengths and pointers. ACPICA's own iasl takes the DSDT
 * apart and puts it together again, and all that it found in it is compared
 * with what mote's headers say.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "boot/layout.h"
#include "cpu/console/uart.h"
#include "cpu/platform.h"
#include "cpu/rtc.h"
#include "cpu/vm.h"
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"
#include "virtio/devices.h"

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

/* -- the DSDT ------------------------------------------------------------- */

#define IRQ "Interrupt(ResourceConsumer,Edge,ActiveHigh,Exclusive,,,){0x%08X,}"
#define CRS "Name(_CRS,ResourceTemplate(){"

static const char dsdt_format[] =
	"DefinitionBlock(\"\",\"DSDT\",2,\"MOTE\",\"MOTEGST\",0x00000001){"
	"Name(_S5,Package(0x04){0x%02X,Zero,Zero,Zero})"
	"Scope(_SB){"
	"Device(COM1){Name(_HID,EisaId(\"PNP0501\"))Name(_UID,Zero)" CRS
	"IO(Decode16,0x%04X,0x%04X,0x01,0x%02X,)" IRQ "})}"
	"Device(RTC0){Name(_HID,EisaId(\"PNP0B00\"))Name(_UID,Zero)" CRS
	"IO(Decode16,0x%04X,0x%04X,0x01,0x%02X,)})}"
	"Device(PEVT){Name(_HID,\"QEMU0001\")" CRS
	"IO(Decode16,0x%04X,0x%04X,0x01,0x01,)})}"
	"Device(PWRB){Name(_HID,EisaId(\"PNP0C0C\"))Name(_UID,Zero)}"
	"Device(VGEN){Name(_HID,\"MOTE0001\")Name(_CID,\"VM_Gen_Counter\")"
	"Name(_DDN,\"VM_Gen_Counter\")Name(ADDR,Package(0x02){0x%08X,Zero})}"
	"Device(GED0){Name(_HID,\"ACPI0013\")Name(_UID,Zero)" CRS IRQ "})"
	"OperationRegion(EVRG,SystemIO,0x%04X,One)"
	"Field(EVRG,ByteAcc,NoLock,Preserve){EVST,8}"
	"Method(_EVT,1,Serialized){Local0=EVST"
	"If((Local0&One)){Notify(PWRB,0x80)}"
	"If((Local0&0x02)){Notify(VGEN,0x80)}}}"
	"OperationRegion(INIR,SystemIO,0x%04X,One)"
	"Field(INIR,ByteAcc,NoLock,Preserve){INIB,8}"
	"Method(_INI,0,Serialized){INIB=One}}";

static const char slot_format[] =
	"Scope(\\_SB){Device(VI%02X){Name(_HID,\"LNRO0005\")"
	"Name(_UID,0x%08X)Name(_CCA,One)" CRS
	"Memory32Fixed(ReadWrite,0x%08X,0x%08X,)" IRQ "})}}";

/* What iasl is to say, but for blanks and comments. */
static const char *expected_dsdt(unsigned slots)
{
	static char text[16384];
	size_t len = (size_t)snprintf(
		text, sizeof(text), dsdt_format, PLATFORM_S5_TYPE, UART_PORT,
		UART_PORT, UART_REGISTERS, VM_GSI_SERIAL, RTC_PORT, RTC_PORT,
		RTC_PORTS, PLATFORM_PORT_PVPANIC, PLATFORM_PORT_PVPANIC,
		PLATFORM_GENERATION, VM_GSI_BUTTON, PLATFORM_PORT_BUTTON,
		PLATFORM_PORT_ACPI);

	for (unsigned i = 0; i < slots; i++)
		len += (size_t)snprintf(
			text + len, sizeof(text) - len, slot_format, i, i,
			LAYOUT_VIRTIO + i * LAYOUT_VIRTIO_SLOT,
			LAYOUT_VIRTIO_WINDOW, VM_GSI_VIRTIO + i);
	assert_true(len + 2 < sizeof(text));
	memcpy(text + len, "}", 2);
	return text;
}

static void strip_text(char *text)
{
	char *to = text;

	while (*text) {
		if (!strncmp(text, "/*", 2))
			text = strstr(text, "*/") + 2;
		else if (!strncmp(text, "//", 2))
			text = strchr(text, '\n');
		else if (isspace((unsigned char)*text))
			text++;
		else
			*to++ = *text++;
	}
	*to = '\0';
}

static const char script[] =
	"set -e; cd \"$directory\"; exec >log 2>&1; iasl -d dsdt.aml;"
	"! grep -Ei '^ *(error|acpi (error|warning))' log;"
	"iasl -p again dsdt.dsl; grep -q ' 0 Errors' log";

static const char *disassemble(const uint8_t *dsdt, size_t len)
{
	static char text[65536];
	char directory[] = "/tmp/mote-acpi-XXXXXX", path[64];
	FILE *file;

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/dsdt.aml", directory);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(dsdt, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	setenv("directory", directory, 1);
	setenv("script", script, 1);
	/* NOLINTNEXTLINE(cert-env33-c) */
	if (system("sh -c \"$script\" || { cat \"$directory/log\"; exit 1; }"))
		fail_msg("iasl does not like the DSDT: see %s", directory);
	snprintf(path, sizeof(path), "%s/dsdt.dsl", directory);
	file = fopen(path, "re");
	assert_non_null(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	assert_true(len < sizeof(text) - 1);
	text[len] = '\0';
	fclose(file);
	/* NOLINTNEXTLINE(cert-env33-c) */
	assert_int_equal(system("rm -r \"$directory\""), 0);
	strip_text(text);
	return text;
}

static void check_dsdt(uint64_t address, unsigned slots)
{
	uint32_t len;
	const uint8_t *t = table_at(address, "DSDT", &len);

	assert_string_equal(disassemble(t, len), expected_dsdt(slots));
}

/* -- all tables ----------------------------------------------------------- */

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

	assert_int_equal(len, 276); /* ACPI 6.4, table 5.9 */
	assert_int_equal(t[108], RTC_CENTURY);
	assert_false(get_le16(t + 109) & 1u << 5); /* there is a clock */
	assert_true(get_le32(t + 112) & 1u << 20); /* hardware-reduced */
	assert_true(get_le32(t + 112) & 1u << 10); /* reset register */
	assert_int_equal(t[116], 1);
	assert_int_equal(get_le64(t + 120), PLATFORM_PORT_RESET);
	assert_int_equal(t[128], PLATFORM_RESET_VALUE);
	assert_int_equal(get_le64(t + 248), PLATFORM_PORT_SLEEP);
	assert_int_equal(get_le64(t + 260), PLATFORM_PORT_STATUS);
	*dsdt = get_le64(t + 140);
}

static void check(unsigned cpus, unsigned slots)
{
	const uint8_t *rsdp, *xsdt;
	uint64_t dsdt, end;
	uint32_t len;

	make_ram(&ram, 32 * MIB);
	assert_int_equal(acpi_write(&ram, cpus, slots), 0);
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
	check_dsdt(dsdt, slots);
	/* It is the platform's to write. */
	assert_int_equal(PLATFORM_GENERATION % 8, 0);
	expect_zero(&ram, end, LAYOUT_MPTABLE.v - end);
	ram_destroy(&ram);
}

static void test_tables(void **state)
{
	static const unsigned cpus[] = { 1, 2, 8, 64, VM_CPUS_MAX };
	static const unsigned slots[] = { 0, 1, 16, DEVICES_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cpus) * ARRAY_LEN(slots); i++)
		check(cpus[i / ARRAY_LEN(slots)], slots[i % ARRAY_LEN(slots)]);
	check(1, 0); /* nothing is left of the last one */
}

static void test_no_room(void **state)
{
	struct ram_options small = { .size = 64 * 1024 };

	(void)state;
	assert_int_equal(ram_create(&ram, &small), 0);
	assert_int_equal(acpi_write(&ram, 1, 0), -ENOSPC);
	expect_log("do not fit");
	ram_destroy(&ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
