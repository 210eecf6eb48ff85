/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accesses what is not there: every port and unassigned MMIO, in every width,
 * aligned or not, at random (seed=N), and by string instructions. Nothing may
 * happen: unassigned reads are all ones, and the monitor goes on. Left out are
 * the ports that end the guest.
 */
#include "tests/guest/guest.h"

#define ROUNDS	   4000
#define MMIO_START 0xC8000000 /* nothing is there: DESIGN, section 3 */
#define MMIO_SPAN  0x02000000
#define NO_PORT	   0x2E8

static uint64_t state;

static uint32_t random32(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

/* The 8042's and the PCI reset ports are a PC's ways to reset. */
static bool ends_guest(const struct acpi_machine *machine, uint16_t first,
		       unsigned len)
{
	const uint16_t ports[] = { PORT_PVPANIC,
				   PORT_EXIT,
				   PORT_READY,
				   0x64,
				   0xCF9,
				   machine->reset_port,
				   machine->sleep_control };

	for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
		if (ports[i] - first < (int)len && ports[i] >= first)
			return true;
	return false;
}

static void port_write(uint16_t port, unsigned len)
{
	uint32_t value = random32();

	if (len == 1)
		out8(port, (uint8_t)value);
	else if (len == 2)
		out16(port, (uint16_t)value);
	else
		out32(port, value);
}

static void port_read(uint16_t port, unsigned len)
{
	if (len == 1)
		in8(port);
	else if (len == 2)
		in16(port);
	else
		in32(port);
}

static void ports(const struct acpi_machine *machine)
{
	for (unsigned port = 0; port < 0x10000; port += 7)
		port_read((uint16_t)port, 1u << port % 3);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint16_t port = (uint16_t)random32();
		unsigned len = 1u << random32() % 3;

		if (i % 2) /* where the devices are */
			port &= 0x7FF;
		/* The interrupt controllers are KVM's, not the monitor's. */
		if (port < 0x100 || (port >= 0x4CC && port <= 0x4D1) ||
		    ends_guest(machine, port, len))
			continue;
		/* The serial port is the console, and must stay one. */
		if (port + len > SERIAL && port < SERIAL + 8)
			continue;
		port_write(port, len);
		port_read(port, len);
	}
}

static void expect(uint64_t value, uint64_t want, uint64_t at)
{
	if (value != want)
		fail("%lx at %lx, not %lx", (unsigned long)value,
		     (unsigned long)at, (unsigned long)want);
}

static void mmio(void)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = MMIO_START + random32() % MMIO_SPAN;
		volatile void *p = at_physical(at);

		switch (random32() % 4) {
		case 0:
			*(volatile uint8_t *)p = (uint8_t)i;
			expect(*(volatile uint8_t *)p, 0xFF, at);
			break;
		case 1:
			*(volatile uint16_t *)p = (uint16_t)i;
			expect(*(volatile uint16_t *)p, 0xFFFF, at);
			break;
		case 2:
			*(volatile uint32_t *)p = i;
			expect(*(volatile uint32_t *)p, 0xFFFFFFFF, at);
			break;
		default:
			*(volatile uint64_t *)p = i;
			expect(*(volatile uint64_t *)p, UINT64_MAX, at);
		}
	}
}

/* KVM hands these over as one exit with a count. */
static void strings(void)
{
	static const char text[] = "a string at once\n";
	uint16_t words[64];
	void *to = words;
	const char *from = text;
	size_t count = 64;

	memset(words, 0, sizeof(words));
	__asm__ volatile("rep insw"
			 : "+D"(to), "+c"(count)
			 : "d"(NO_PORT)
			 : "memory");
	for (unsigned i = 0; i < 64; i++)
		expect(words[i], 0xFFFF, NO_PORT);
	count = sizeof(text) - 1;
	__asm__ volatile("rep outsb"
			 : "+S"(from), "+c"(count)
			 : "d"(SERIAL)
			 : "memory");
}

void guest_main(const uint8_t *boot_params)
{
	struct acpi_machine machine;

	(void)boot_params;
	state = 0x9E3779B97F4A7C15 ^ cmdline_number("seed", 1);
	acpi_load(&machine);
	irq_init();
	ports(&machine);
	mmio();
	strings();
	print("still here\n");
}
