/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the CMOS clock in each of its formats, watches it go on to the next
 * second, tries to set it, and prints its time.
 */
#include "tests/guest/guest.h"

#define INDEX 0x70
#define DATA  0x71

#define UIP	0x80
#define HOUR_24 0x02
#define BINARY	0x04

enum { SECONDS, MINUTES, HOURS, DAY, MONTH, YEAR, CENTURY, FIELDS };

static const uint8_t registers[FIELDS] = { 0, 2, 4, 7, 8, 9, 0x32 };

static uint8_t read_cmos(uint8_t index)
{
	out8(INDEX, index);
	return in8(DATA);
}

static void write_cmos(uint8_t index, uint8_t value)
{
	out8(INDEX, index);
	out8(DATA, value);
}

static unsigned decode(uint8_t value, uint8_t format)
{
	if (format & BINARY)
		return value;
	if (value >> 4 > 9 || (value & 15) > 9)
		fail("%x is no BCD", value);
	return (value >> 4) * 10u + (value & 15u);
}

static unsigned decode_hour(uint8_t value, uint8_t format)
{
	const unsigned hour = decode(value & 0x7f, format);

	if (format & HOUR_24)
		return decode(value, format);
	if (hour < 1 || hour > 12)
		fail("hour %u of 12", hour);
	return hour % 12 + (value & 0x80 ? 12 : 0);
}

/* As the data sheet says: not while it is updated; and as Linux does: twice. */
static void read_fields(unsigned to[FIELDS])
{
	const uint8_t format = read_cmos(0xb);
	unsigned again;

	do {
		while (read_cmos(0xa) & UIP)
			pause_cpu();
		for (unsigned i = 0; i < FIELDS; i++) {
			const uint8_t value = read_cmos(registers[i]);

			to[i] = i == HOURS ? decode_hour(value, format)
					   : decode(value, format);
		}
		again = decode(read_cmos(0), format);
	} while (again != to[SECONDS]);
}

/* Seconds since 1970. */
static unsigned long read_time(void)
{
	static const unsigned before[] = { 0,	31,  59,  90,  120, 151,
					   181, 212, 243, 273, 304, 334 };
	unsigned field[FIELDS];
	unsigned long years, days;

	read_fields(field);
	years = field[CENTURY] * 100ul + field[YEAR];
	if (field[MONTH] < 1 || field[MONTH] > 12 || years < 1970)
		fail("year %lu, month %u", years, field[MONTH]);
	days = (years - 1970) * 365 + (years - 1969) / 4 -
	       (years - 1901) / 100 + (years - 1601) / 400 +
	       before[field[MONTH] - 1] + field[DAY] - 1;
	if (field[MONTH] > 2 && !(years % 4) && (years % 100 || !(years % 400)))
		days++;
	if (read_cmos(6) - 1u != (days + 4) % 7)
		fail("weekday %u, %lu days after 1970", read_cmos(6), days);
	return ((days * 24 + field[HOURS]) * 60 + field[MINUTES]) * 60 +
	       field[SECONDS];
}

static void check_formats(void)
{
	static const char *const names[] = { "BCD, 12 hours", "BCD, 24 hours",
					     "binary, 12 hours",
					     "binary, 24 hours" };
	unsigned long time = read_time(), other;

	for (uint8_t format = 0; format <= (BINARY | HOUR_24); format += 2) {
		write_cmos(0xb, format);
		if (read_cmos(0xb) != format)
			fail("register B: %x, not %x", read_cmos(0xb), format);
		other = read_time();
		if (other < time || other > time + 60)
			fail("%s: %lu after %lu", names[format / 2], other,
			     time);
		print("%s: the same time\n", names[format / 2]);
	}
}

/* It is set for so short a time that a busy host may hide it for a while. */
static void await_update(void)
{
	const unsigned long time = read_time();

	while (!(read_cmos(0xa) & UIP))
		;
	while (read_cmos(0xa) & UIP)
		;
	if (read_time() <= time)
		fail("an update, and no other second");
	print("update seen, then the next second\n");
}

static void try_to_set(void)
{
	const unsigned long time = read_time();
	unsigned long after;

	for (unsigned i = 0; i < FIELDS; i++)
		write_cmos(registers[i], 1);
	after = read_time();
	if (after < time || after > time + 60)
		fail("it was set: %lu after %lu", after, time);
	print("writes ignored\n");
}

void guest_main(const uint8_t *boot_params)
{
	(void)boot_params;
	if (read_cmos(0xd) != 0x80)
		fail("register D: %x", read_cmos(0xd));
	check_formats();
	await_update();
	try_to_set();
	print("time %lu\n", read_time());
}
