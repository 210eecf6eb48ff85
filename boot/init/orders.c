/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be run, and who this guest is: strings that mote puts into the
 * initrd (RUN_FILE), and says once more to a guest that was restored from a
 * snapshot. The strings stay where they are: nothing is ever freed.
 *
 * A snapshot is taken while this program waits for the answer to its "ready"
 * (stream_ready). Each guest that is restored from it goes on from there, all
 * of them alike: the kernel's random numbers to come, its name, its interfaces'
 * addresses. So all of that is changed before anything else runs. The stream
 * that was open leads to a mote that is not this one's, and another is dialled.
 */
#include <linux/random.h>
#include <sys/ioctl.h>

#include "boot/init/init.h"
#include "cpu/command/protocol.h"

#define TRIES	200u
#define STEP_MS 10

/* Into the kernel's pool, and a new key out of it for all that it gives. */
static void random_stir(const char *digits)
{
	struct {
		int bits, size;
		uint8_t bytes[32];
	} add = { 256, sizeof(add.bytes), { 0 } };
	int fd = sys_open("/dev/urandom", O_RDWR);

	for (size_t i = 0; i < sizeof(add.bytes) && *digits; i++, digits += 2)
		add.bytes[i] = text_hex(digits);
	SYS(ioctl, fd, RNDADDENTROPY, &add);
	SYS(ioctl, fd, RNDRESEEDCRNG, 0);
	SYS(close, fd);
}

static void read_transfer(const char **list, unsigned *count, const char *text)
{
	if (*count < RUN_TRANSFERS_MAX)
		list[(*count)++] = text;
}

static void read_order(struct run *run, char *text)
{
	switch (*text++) {
	case RUN_ARGUMENT:
		*run->argv++ = text;
		break;
	case RUN_ENV:
		*run->env++ = text;
		break;
	case RUN_WORKDIR:
		run->workdir = text;
		break;
	case RUN_TTY:
		run->tty = text;
		break;
	case RUN_USER:
		run->as = text;
		break;
	case RUN_NO_SERIAL:
		run->no_serial = true;
		break;
	case RUN_PROGRAM:
		run->program = true;
		break;
	case RUN_EXEC:
		run->exec = true;
		break;
	case RUN_PUT:
		read_transfer(run->put, &run->put_count, text);
		break;
	case RUN_GET:
		read_transfer(run->get, &run->get_count, text);
		break;
	case RUN_RANDOM:
		random_stir(text);
		break;
	case RUN_HOSTNAME:
		run->hostname = text;
		break;
	case RUN_MAC:
		net_set_mac(text);
		break;
	case RUN_NET:
		net_add_order(text);
		break;
	default:
		break;
	}
}

/* All others are of the guest, and not for a session to say. */
static bool is_of_command(char type)
{
	return type == RUN_ARGUMENT || type == RUN_ENV || type == RUN_WORKDIR ||
	       type == RUN_TTY || type == RUN_USER;
}

static bool has_variable(char *const *env, const char *variable)
{
	for (; *env; env++)
		for (size_t i = 0; (*env)[i] == variable[i]; i++)
			if (!variable[i] || variable[i] == '=')
				return true;
	return false;
}

static bool is_of_user(const char *variable)
{
	static const char *const names[RUN_ENV_ROOM] = { "HOME=", "USER=",
							 "LOGNAME=", "SHELL=" };

	for (unsigned i = 0; i < RUN_ENV_ROOM; i++)
		if (text_after(variable, names[i]))
			return true;
	return false;
}

/* Another user than the first command's has another home, name and shell. */
static void inherit_env(struct run *run, char *const *env,
			const struct run *first)
{
	const bool same_user = run->as == first->as ||
			       (first->as && text_same(run->as, first->as));

	for (char **at = first->env; *at; at++)
		if (!has_variable(env, *at) && (same_user || !is_of_user(*at)))
			*run->env++ = *at;
}

/*
 * Each string may be in either list, and both end in a NULL: that is enough.
 * What is not said is the first command's, where there was one.
 */
static void read_orders(struct run *run, char *text, size_t size,
			const struct run *first)
{
	size_t inherited = 0;
	char **argv, **env;

	while (first && first->env[inherited])
		inherited++;
	argv = text_alloc((size / 2 + 1) * sizeof(*argv));
	env = text_alloc((size / 2 + 1 + inherited + RUN_ENV_ROOM) *
			 sizeof(*env));
	if (!argv || !env)
		stream_fail("no memory for the command", NULL, 0);
	*run = (struct run){ .argv = argv,
			     .env = env,
			     .workdir = first ? first->workdir : "/",
			     .as = first ? first->as : NULL };
	for (char *at = text; at < text + size; at += text_len(at) + 1)
		if (!first || is_of_command(*at))
			read_order(run, at);
	if (first)
		inherit_env(run, env, first);
	run->argv = argv;
	run->env = env;
}

void orders_load(struct run *run)
{
	size_t size;
	char *text = text_load("/" RUN_FILE, &size);

	read_orders(run, text, size, NULL);
	/* It has what the command's environment has: not for others. */
	SYS(unlink, "/" RUN_FILE);
}

/*
 * All of it, at the end of the heap, and a NUL: its length; or -errno. `tells`:
 * of the time as well.
 */
static long receive_orders(char *to, bool tells)
{
	struct frame frame;
	long len = 0, error;

	for (;;) {
		error = stream_receive();
		if (error)
			return error;
		while (stream_next(&frame)) {
			if (frame.type == PROTOCOL_TIME && tells)
				clock_obey(&frame);
			if (frame.type != PROTOCOL_RUN)
				continue;
			if (!frame.len)
				return len;
			if (!tells && len + frame.len > RUN_MAX)
				stream_fail("the command is too long", NULL, 0);
			if (!text_grow(to, (size_t)len + frame.len + 1))
				stream_fail("no memory for the command", NULL,
					    0);
			memcpy(to + len, frame.payload, frame.len);
			len += frame.len;
		}
	}
}

/* Of the mote that has restored this guest. */
static long ask_for_orders(char *to)
{
	const long error = stream_redial();

	if (error)
		return error;
	clock_ask();
	return receive_orders(to, true);
}

/*
 * A stream may be reset before there is an answer: where the vsock was given
 * another CID, its driver drops what was connected before it knows of that.
 */
void orders_ask(struct run *run)
{
	char *text = text_alloc(0);
	unsigned tries = 0;
	long len;

	while ((len = ask_for_orders(text)) < 0) {
		if (++tries == TRIES)
			stream_fail("mote does not say what is to be run", NULL,
				    len);
		sys_sleep_ms(STEP_MS);
	}
	read_orders(run, text, (size_t)len, NULL);
	if (run->hostname)
		net_set_name(run->hostname);
	net_apply();
	clock_await();
}

/* Whoever it is has the rights of root here; but he may have left. */
void orders_hear(struct run *run)
{
	const struct run first = *run;
	char *text = text_alloc(0);
	const long len = receive_orders(text, false);

	if (len < 0)
		sys_exit();
	read_orders(run, text, (size_t)len, &first);
	if (!*run->argv)
		stream_fail("there is no command", NULL, 0);
}
