/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/init/orders.c boot/init/text.c */
/*
 * The guest's init: what a session's command has of the first one's where its
 * mote does not say otherwise.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "boot/init/init.h"
#include "tests/unit/unit.h"

/* In place of stream.c and others: one frame with all of it, and the end. */
static const char *orders;
static size_t orders_len;
static unsigned frames;

long stream_receive(void)
{
	return 0;
}

bool stream_next(struct frame *frame)
{
	*frame = (struct frame){ .type = PROTOCOL_RUN };
	if (!frames++) {
		frame->len = (uint32_t)orders_len;
		frame->payload = (const uint8_t *)orders;
	}
	return true;
}

void stream_fail(const char *why, const char *what, long error)
{
	fail_msg("%s: %s: %ld", why, what, error);
	_exit(1);
}

long stream_redial(void)
{
	return -EIO;
}

void clock_ask(void)
{
}

void clock_await(void)
{
}

void clock_obey(const struct frame *frame)
{
	(void)frame;
}

void net_set_name(const char *name)
{
	fail_msg("%s", name);
}

void net_set_mac(const char *order)
{
	fail_msg("%s", order);
}

void net_add_order(const char *order)
{
	fail_msg("%s", order);
}

void net_apply(void)
{
}

/* "DIRECTORY USER | ARGUMENT... | ENV..." */
static const char *hear(const char *as, const char *strings, size_t len)
{
	static char text[1024];
	static char *argv[] = { NULL };
	static char home[] = "HOME=/srv/bob", user[] = "USER=bob";
	static char logname[] = "LOGNAME=bob", shell[] = "SHELL=/bin/bash";
	static char path[] = "PATH=/bin", a[] = "A=1";
	static char *env[] = { path, home, user, logname, shell, a, NULL };
	struct run run = { .argv = argv, .env = env, .workdir = "/work" };
	size_t at;

	run.as = as;
	orders = strings;
	orders_len = len;
	frames = 0;
	orders_hear(&run);
	at = (size_t)snprintf(text, sizeof(text), "%s %s |", run.workdir,
			      run.as ? run.as : "-");
	for (char **word = run.argv; *word; word++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, " %s",
				       *word);
	at += (size_t)snprintf(text + at, sizeof(text) - at, " |");
	for (char **word = run.env; *word; word++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, " %s",
				       *word);
	return text;
}
#define HEAR(as, strings) hear(as, strings, sizeof(strings) - 1)

#define OF_USER "HOME=/srv/bob USER=bob LOGNAME=bob SHELL=/bin/bash"

static void test_what_is_not_said_is_the_first_commands(void **state)
{
	(void)state;
	assert_string_equal(HEAR("bob", "als\0a-l\0"),
			    "/work bob | ls -l | PATH=/bin " OF_USER " A=1");
	assert_string_equal(HEAR(NULL, "als\0w/x\0eA=2\0eB=\0"),
			    "/x - | ls | A=2 B= PATH=/bin " OF_USER);
}

static void test_another_user_has_nothing_of_the_first_one(void **state)
{
	(void)state;
	assert_string_equal(HEAR("bob", "als\0ualice\0"),
			    "/work alice | ls | PATH=/bin A=1");
	assert_string_equal(HEAR(NULL, "ualice\0eHOME=/\0als\0"),
			    "/work alice | ls | HOME=/ PATH=/bin A=1");
	assert_string_equal(HEAR("bob", "als\0ubob\0"),
			    "/work bob | ls | PATH=/bin " OF_USER " A=1");
}

/* The guest's name, its networks and --put are not a session's to say. */
static void test_what_is_the_guests_is_not_heard(void **state)
{
	(void)state;
	assert_string_equal(
		HEAR("bob", "als\0Hx\0n02:00:00:00:00:01\0M\0P0 /\0"),
		"/work bob | ls | PATH=/bin " OF_USER " A=1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_not_said_is_the_first_commands),
		cmocka_unit_test(
			test_another_user_has_nothing_of_the_first_one),
		cmocka_unit_test(test_what_is_the_guests_is_not_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
