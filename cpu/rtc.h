/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CMOS clock, which a guest can read and not set: the date and time of the
 * host (MC146818A data sheet; Linux, include/linux/mc146818rtc.h).
 */
#ifndef CPU_RTC_H
#define CPU_RTC_H

#include <stdatomic.h>
#include <stdint.h>

#include "cpu/bus.h"
#include "mem/state.h"

#define RTC_PORT    0x70 /* which register; then, at the next port, its value */
#define RTC_PORTS   2
#define RTC_CENTURY 0x32 /* the register that the FADT names */

struct rtc {
	_Atomic uint8_t index;	/* of the register whose turn it is */
	_Atomic uint8_t format; /* bits of register B */
};

/* Adds the ports to the bus. 0 or -errno, logged. */
int rtc_create(struct rtc *rtc, struct bus *pio);

/* Not the time, which is the host's; while no vCPU runs. */
void rtc_state(struct rtc *rtc, struct state *s);

#endif
