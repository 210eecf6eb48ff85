/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/rtc.c cpu/bus.c mem/state.c tests/unit/kept_log.c */
/* ldflags: -Wl,--wrap=clock_gettime */
/* The CMOS clock, at times that matter, in each format, by any access. */
#include <time.h>

#include "cpu/rtc.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

static struct rtc rtc;
static struct bus bus;
static struct timespec now;

int __wrap_clock_gettime(clockid_t clock, struct timespec *to);

int __wrap_clock_gettime(clockid_t clock, struct timespec *to)
{
	assert_int_equal(clock, CLOCK_REALTIME);
	*to = now;
	return 0;
}

static int setup(void **state)
{
	(void)state;
	memset(&rtc, 0xa5, sizeof(rtc));
	memset(&bus, 0, sizeof(bus));
	now = (struct timespec){ 0 };
	return rtc_create(&rtc, &bus);
}

static void out(uint16_t port, uint8_t value)
{
	assert_int_equal(bus_write(&bus, port, &value, 1), 1);
}

static uint8_t get(uint8_t index)
{
	uint8_t value = 0xa5;

	out(0x70, index);
	assert_int_equal(bus_read(&bus, 0x71, &value, 1), 1);
	return value;
}

static void set(uint8_t index, uint8_t value)
{
	out(0x70, index);
	out(0x71, value);
}

/* Century, year, month, day, weekday from 1 (Sunday), hour, minute, second. */
static const uint8_t registers[] = { 0x32, 9, 8, 7, 6, 4, 2, 0 };

/* In BCD, which reads as the date does. */
static const struct {
	int64_t time;
	uint8_t value[8];
} dates[] = {
	{ 0, { 0x19, 0x70, 1, 1, 5, 0, 0, 0 } },
	{ 946684799, { 0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x59 } },
	{ 946684800, { 0x20, 0x00, 1, 1, 7, 0, 0, 0 } },
	/* 2000 was a leap year, 2100 is none */
	{ 951782400, { 0x20, 0x00, 2, 0x29, 3, 0, 0, 0 } },
	{ 1709164799, { 0x20, 0x24, 2, 0x28, 4, 0x23, 0x59, 0x59 } },
	{ 1709164800, { 0x20, 0x24, 2, 0x29, 5, 0, 0, 0 } },
	{ 1740787200, { 0x20, 0x25, 3, 1, 7, 0, 0, 0 } },
	/* past 31 bits of seconds, past 32 */
	{ 2147483647, { 0x20, 0x38, 1, 0x19, 3, 3, 0x14, 7 } },
	{ 2147483648, { 0x20, 0x38, 1, 0x19, 3, 3, 0x14, 8 } },
	{ 4107542399, { 0x21, 0x00, 2, 0x28, 1, 0x23, 0x59, 0x59 } },
	{ 4107542400, { 0x21, 0x00, 3, 1, 2, 0, 0, 0 } },
	{ 4294967296, { 0x21, 0x06, 2, 7, 1, 6, 0x28, 0x16 } },
};

static void test_rtc_dates(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(dates) * 2; i++) {
		const bool binary = i % 2;

		now.tv_sec = dates[i / 2].time;
		set(0xb, binary ? 6 : 2);
		for (size_t r = 0; r < ARRAY_LEN(registers); r++) {
			const uint8_t bcd = dates[i / 2].value[r];

			assert_int_equal(get(registers[r]),
					 binary ? (bcd >> 4) * 10 + (bcd & 15)
						: bcd);
		}
	}
}

static void test_rtc_hours(void **state)
{
	/* of 24, of 12; bit 7: p.m. */
	static const uint8_t hours[][2] = {
		{ 0x00, 0x12 }, { 0x01, 0x01 }, { 0x09, 0x09 }, { 0x11, 0x11 },
		{ 0x12, 0x92 }, { 0x13, 0x81 }, { 0x22, 0x90 }, { 0x23, 0x91 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(hours); i++) {
		const int hour = (hours[i][0] >> 4) * 10 + (hours[i][0] & 15);
		const uint8_t of_12 = hours[i][1] & 0x7f;

		now.tv_sec = hour * 3600;
		set(0xb, 2);
		assert_int_equal(get(4), hours[i][0]);
		set(0xb, 0);
		assert_int_equal(get(4), hours[i][1]);
		set(0xb, 6);
		assert_int_equal(get(4), hour);
		set(0xb, 4);
		assert_int_equal(get(4),
				 (hours[i][1] & 0x80) |
					 ((of_12 >> 4) * 10 + (of_12 & 15)));
	}
}

static void test_rtc_update_in_progress(void **state)
{
	static const struct {
		long ns;
		bool set;
	} cases[] = { { 0, false },
		      { 500000000, false },
		      { 999755999, false },
		      { 999756000, true },
		      { 999999999, true } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		now.tv_nsec = cases[i].ns;
		assert_int_equal(get(0xa), cases[i].set ? 0xa6 : 0x26);
	}
}

static void test_rtc_is_only_read(void **state)
{
	uint8_t before[128];

	(void)state;
	now.tv_sec = 1700000000;
	assert_int_equal(get(0xb), 2); /* BCD, 24 hours at first */
	assert_int_equal(get(0xc), 0); /* no interrupt */
	assert_int_equal(get(0xd), 0x80);
	for (unsigned i = 0; i < ARRAY_LEN(before); i++)
		before[i] = get((uint8_t)i);
	for (unsigned value = 0; value < 256; value++)
		for (unsigned i = 0; i < ARRAY_LEN(before); i++)
			if (i != 0xb)
				set((uint8_t)i, (uint8_t)value);
	for (unsigned i = 0; i < ARRAY_LEN(before); i++)
		assert_int_equal(get((uint8_t)i), before[i]);
	/* of register B the two bits that say how it is read */
	set(0xb, 0xff);
	assert_int_equal(get(0xb), 6);
	set(0xb, 0xf9);
	assert_int_equal(get(0xb), 0);
}

static void test_rtc_odd_accesses(void **state)
{
	uint8_t word[2] = { 0x0d, 0x77 }, wide[4] = { 0 };

	(void)state;
	assert_int_equal(get(0x8d), 0x80); /* bit 7 is for NMIs */
	out(0x70, 0);
	assert_int_equal(bus_write(&bus, 0x70, word, 2), 1);
	assert_int_equal(bus_read(&bus, 0x70, word, 2), 1);
	assert_int_equal(word[0], 0xff);
	assert_int_equal(word[1], 0x80);
	word[0] = 0x0b;
	word[1] = 4;
	assert_int_equal(bus_write(&bus, 0x70, word, 2), 1);
	assert_int_equal(get(0xb), 4);
	/* more than the two ports is nobody's */
	assert_int_equal(bus_read(&bus, 0x71, wide, 2), 0);
	assert_int_equal(bus_read(&bus, 0x70, wide, 4), 0);
	assert_int_equal(bus_write(&bus, 0x70, wide, 4), 0);
}

static void test_rtc_without_room(void **state)
{
	(void)state;
	assert_int_equal(rtc_create(&rtc, &bus), -EEXIST);
	expect_log("do not fit");
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

/* A guest that was stopped between its two accesses, in each format. */
static void test_rtc_state(void **state)
{
	uint8_t bytes[2];
	struct state s;

	(void)state;
	now.tv_sec = 86399;
	set(11, 6);
	out(0x70, 0x32);
	s = state_save(bytes, sizeof(bytes));
	rtc_state(&rtc, &s);
	assert_true(state_is_whole(&s));
	assert_int_equal(s.at, 2);
	setup(NULL);
	s = state_load(bytes, sizeof(bytes));
	rtc_state(&rtc, &s);
	assert_true(state_is_whole(&s));
	assert_int_equal(rtc.index, 0x32);
	assert_int_equal(rtc.format, 6);
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t was = bytes[i];

		bytes[i] = 0x80;
		s = state_load(bytes, sizeof(bytes));
		rtc_state(&rtc, &s);
		assert_string_equal(s.wrong, "its registers are impossible");
		assert_int_equal(rtc.index, 0x32);
		assert_int_equal(rtc.format, 6);
		bytes[i] = was;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rtc_dates),
		TEST(test_rtc_hours),
		TEST(test_rtc_update_in_progress),
		TEST(test_rtc_is_only_read),
		TEST(test_rtc_odd_accesses),
		TEST(test_rtc_without_room),
		TEST(test_rtc_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
