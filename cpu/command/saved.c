/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a snapshot has of a command, and what init is told in a guest that is
 * restored from one.
 *
 * Where one is taken as the guest is ready, init has not been heard of by
 * READY, and what it was told to run is kept with it. In a guest that is
 * restored from it init asks, by RUN, on a new connection: it is told that, or
 * what this mote was given, and who the guest is now; then READY comes as ever.
 * A command that says itself when it is ready runs already: then READY came
 * before, to another mote, and comes once more. It had no input from that one.
 */
#include "cpu/command/command.h"

#include <errno.h>

#include "mem/log.h"

int command_take_orders(struct command *c, struct orders *orders)
{
	if (orders->len > ORDERS_MAX) {
		log_error("the command has %zu bytes with its environment, and "
			  "%s can have %u of them",
			  orders->len, c->session ? "--exec" : "a snapshot",
			  ORDERS_MAX);
		return -E2BIG;
	}
	c->orders = *orders;
	c->orders_len = (uint32_t)orders->len;
	*orders = (struct orders){ .len = 0 };
	return 0;
}

static void check_saved(const struct command *c, struct state *s, bool runs,
			bool tty)
{
	if (!runs)
		return;
	state_check(s, !c->transfers || !c->transfers->put_count,
		    "its command runs already: --put comes too late");
	state_check(s, !c->program,
		    "its command has said already that it is ready");
	state_check(s, !c->environment,
		    "its command runs already: --env, --env-file, --workdir "
		    "and --as come too late");
	state_check(s, tty || !c->tty,
		    "its command runs already, without a terminal: --tty comes "
		    "too late");
}

void command_state(struct command *c, struct state *s)
{
	bool serial = c->link == &c->serial, runs = c->program || c->runs;
	bool tty = c->tty;
	struct orders saved = { .len = 0 };

	state_bool(s, &serial);
	state_bool(s, &runs);
	state_bool(s, &tty);
	if (!s->loading) {
		orders_state(&c->orders, c->orders_len, s);
		return;
	}
	orders_state(&saved, 0, s);
	state_check(s, !serial || c->serial.source.fd >= 0,
		    "its command needs the serial port, which --serial gives "
		    "to another");
	check_saved(c, s, runs, tty);
	if (runs || !c->orders.bytes)
		c->tty = tty;
	c->runs = runs;
	/* One that runs is told no more than its new arguments, if any. */
	if (!c->orders.bytes && !s->wrong && !command_take_orders(c, &saved) &&
	    runs)
		c->untold = c->orders_len;
	orders_free(&saved);
}

/* The random bytes first: what follows may draw some. */
void command_restored(struct command *c, const char *hostname)
{
	if (!c->on)
		return;
	orders_add_random(&c->orders);
	if (hostname)
		orders_add(&c->orders, RUN_HOSTNAME, hostname);
	if (c->exec)
		orders_add(&c->orders, RUN_EXEC, "");
	if (c->tty)
		orders_add(&c->orders, RUN_TTY, c->terminal);
	if (c->transfers)
		transfers_add_orders(c->transfers, &c->orders);
}

void command_tell_mac(struct command *c, const uint8_t was[6],
		      const uint8_t is[6])
{
	if (c->on)
		orders_add_mac(&c->orders, was, is);
}

void command_tell_net(struct command *c, const char *order)
{
	if (c->on)
		orders_add(&c->orders, RUN_NET, order);
}
