/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's clock is the host's: what the kernel has counted so far may be
 * seconds behind, as it loses timer ticks on a busy host before it has a better
 * clock than those.
 *
 * Init asks mote for the time before the command starts. What comes back was
 * true at some moment between the question and now, and where the guest's clock
 * agrees with that, it is left alone. An answer that took long says little, so
 * init asks again, a few times. Mote says the time unasked when it was stopped
 * and goes on: it is that or later, so that what comes behind it finds no clock
 * that is older; and as nobody knows how long it was under way, init asks.
 */
#include <time.h>

#include "boot/init/init.h"
#include "cpu/command/protocol.h"

#define SECOND_NS 1000000000L

#define LONG_NS 200000000L
#define TRIES	5u

static long clock_asked_ns; /* 0: no answer is expected */
static unsigned clock_tries;

static long clock_read(clockid_t clock)
{
	struct timespec now = { .tv_sec = 0 };

	SYS(clock_gettime, clock, &now);
	return now.tv_sec * SECOND_NS + now.tv_nsec;
}

void clock_ask(void)
{
	clock_asked_ns = clock_read(CLOCK_MONOTONIC);
	stream_send_bytes(PROTOCOL_TIME, "", 0);
}

static void clock_set(long ns)
{
	const struct timespec time = { ns / SECOND_NS, ns % SECOND_NS };

	SYS(clock_settime, CLOCK_REALTIME, &time);
}

void clock_obey(const struct frame *frame)
{
	const long said =
		(long)((uint64_t)frame->word[1] << 32 | frame->word[0]);
	const long half = (clock_read(CLOCK_MONOTONIC) - clock_asked_ns) / 2;
	const long host = said + half;
	const long off = clock_read(CLOCK_REALTIME) - host;

	if (!clock_asked_ns && clock_read(CLOCK_REALTIME) < said)
		clock_set(said);
	if (!clock_asked_ns || (half > LONG_NS && ++clock_tries < TRIES)) {
		clock_ask();
		return;
	}
	clock_asked_ns = 0;
	clock_tries = 0;
	if (off < -half || off > half)
		clock_set(host);
}

bool clock_is_asked(void)
{
	return clock_asked_ns;
}

void clock_await(void)
{
	struct frame frame;

	/* It may have come already, behind another frame. */
	do
		while (stream_next(&frame))
			if (frame.type == PROTOCOL_TIME)
				clock_obey(&frame);
	while (clock_asked_ns && stream_receive() >= 0);
}
