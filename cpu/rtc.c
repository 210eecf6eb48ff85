/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CMOS clock: ports 0x70 and 0x71 of a PC, read only.
 *
 * Why a guest has one: Linux counts timer ticks until it takes its time from
 * kvm-clock. On a busy host many of them are lost, and it only puts that right
 * by a clock like this, which is read when its driver starts.
 *
 * All that there is to keep is what the guest last wrote to the index port, and
 * how register B says that numbers are to be written. Each value is taken from
 * the host's clock when it is read; so there is no update that takes time, and
 * none that a guest would have to wait for: "update in progress" is set for the
 * 244 us before a second begins, as the data sheet promises, so that who finds
 * it clear has that long for consistent values. There are no alarms, no
 * interrupts and no memory behind it: those registers read as 0. Writes of the
 * time are ignored.
 *
 * Any vCPU's thread, at any time: a guest that does not lock gets, as from the
 * real one, the register that another CPU has asked for.
 */
#include "cpu/rtc.h"

#include <time.h>

#include "mem/log.h"

#define INDEX_MASK 0x7f /* bit 7 is the PC's mask of NMIs */

enum rtc_register {
	RTC_SECONDS = 0,
	RTC_MINUTES = 2,
	RTC_HOURS = 4,
	RTC_WEEKDAY = 6,
	RTC_DAY = 7,
	RTC_MONTH = 8,
	RTC_YEAR = 9,
	RTC_A = 10,
	RTC_B = 11,
	RTC_D = 13,
};

#define A_UIP	 0x80
#define A_RATE	 0x26 /* 32768 Hz, the rate after a reset */
#define B_24H	 0x02
#define B_BINARY 0x04
#define D_VALID	 0x80
#define HOUR_PM	 0x80

#define SECOND_NS 1000000000
#define UIP_NS	  244000

static uint8_t format_number(int value, uint8_t format)
{
	return (uint8_t)(format & B_BINARY ? value
					   : value / 10 * 16 + value % 10);
}

static uint8_t format_hour(int hour, uint8_t format)
{
	const int hour_12 = hour % 12 ? hour % 12 : 12;

	if (format & B_24H)
		return format_number(hour, format);
	return format_number(hour_12, format) | (hour < 12 ? 0 : HOUR_PM);
}

static uint8_t read_register(const struct rtc *rtc)
{
	const uint8_t index = rtc->index, format = rtc->format;
	struct timespec now;
	struct tm date;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &date);
	switch (index) {
	case RTC_SECONDS:
		return format_number(date.tm_sec, format);
	case RTC_MINUTES:
		return format_number(date.tm_min, format);
	case RTC_HOURS:
		return format_hour(date.tm_hour, format);
	case RTC_WEEKDAY:
		return format_number(date.tm_wday + 1, format);
	case RTC_DAY:
		return format_number(date.tm_mday, format);
	case RTC_MONTH:
		return format_number(date.tm_mon + 1, format);
	case RTC_YEAR:
		return format_number(date.tm_year % 100, format);
	case RTC_CENTURY:
		return format_number(date.tm_year / 100 + 19, format);
	case RTC_A:
		return A_RATE | (now.tv_nsec < SECOND_NS - UIP_NS ? 0 : A_UIP);
	case RTC_B:
		return format;
	case RTC_D:
		return D_VALID;
	default:
		return 0;
	}
}

/* A word at the first port is a byte for each of the two, as on a PC's bus. */
static void rtc_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		data[i] = offset + i ? read_register(device) : 0xff;
}

static void rtc_write(void *device, uint64_t offset, const uint8_t *data,
		      unsigned len)
{
	struct rtc *rtc = device;

	for (unsigned i = 0; i < len; i++)
		if (offset + i == 0)
			rtc->index = data[i] & INDEX_MASK;
		else if (rtc->index == RTC_B)
			rtc->format = data[i] & (B_24H | B_BINARY);
}

static const struct bus_ops rtc_ops = { rtc_read, rtc_write };

int rtc_create(struct rtc *rtc, struct bus *pio)
{
	int error = bus_add(pio, RTC_PORT, RTC_PORTS, &rtc_ops, rtc);

	rtc->format = B_24H;
	if (error)
		log_error("the clock's ports do not fit on the bus");
	return error;
}

void rtc_state(struct rtc *rtc, struct state *s)
{
	uint8_t index = rtc->index, format = rtc->format;

	state_u8(s, &index);
	state_u8(s, &format);
	if (!state_check(s,
			 !(index & ~INDEX_MASK) &&
				 !(format & ~(B_24H | B_BINARY)),
			 "its registers are impossible"))
		return;
	rtc->index = index;
	rtc->format = format;
}
