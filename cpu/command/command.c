/*
 * The host's end of a command in the guest.
 *
 * Links to the guest (command_link.c) bring what it says; its output goes out
 * by command_output.c, mote's own input and signals in by command_input.c. mote
 * is the guest's user from READY on; before it there is nobody who could obey a
 * signal, so signals end mote.
 *
 * The guest tells the status last, when all is on its disks. When all that it
 * wrote before has been written, too, that ends the guest: nobody waits for it
 * to power off. A guest that ends without a status has died, whatever it calls
 * it; what the kernel said last is then shown.
 *
 * The guest is hostile: it may send anything. The main thread.
 */
#include "cpu/command/command.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cpu/console/tty.h"
#include "cpu/loop/features.h"
#include "mem/log.h"
#include "mem/util.h"

#define DEAD_NS 2000000000ULL /* for readers of a dead guest's words */

/* -- signals and the terminal --------------------------------------------- */

static const struct {
	int number;
	bool stops; /* the second one of these ends mote at once */
} forwarded[] = {
	{ SIGINT, false },
	{ SIGTERM, true },
	{ SIGHUP, true },
	{ SIGQUIT, false }, /* as often as one likes: Java's stacks */
};

bool command_signal(struct command *c, int number)
{
	if (!c->on)
		return false;
	if (number == SIGWINCH) {
		c->winch = c->tty && c->in_tty;
		command_pump(c);
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(forwarded); i++) {
		if (forwarded[i].number != number)
			continue;
		/* Nobody there yet, or not any more, or it does not obey. */
		if (!c->ready || c->exited || c->over ||
		    (forwarded[i].stops && c->stops++)) {
			platform_end(c->platform, END_SIGNAL,
				     STATUS_SIGNAL + (unsigned)number);
			return true;
		}
		c->signals |= 1ULL << number;
		command_pump(c);
		return true;
	}
	return false;
}

static void on_quit(void *arg)
{
	struct command *c = arg;

	platform_end(c->platform, END_SIGNAL, STATUS_SIGNAL + SIGINT);
}

void command_suspend(struct command *c)
{
	if (c->on)
		tty_restore();
}

void command_resume(struct command *c)
{
	if (!c->on || !c->ready)
		return;
	c->winch = c->tty && c->in_tty;
	if (c->winch)
		tty_raw(STDIN_FILENO);
	c->in_background = false;
	command_pump(c);
}

/* -- life ----------------------------------------------------------------- */

int command_open(struct command *c, const struct command_options *options)
{
	c->on = true;
	c->tty = options->tty;
	c->vsock_fd = c->serial_fd = -1;
	c->vsock = c->serial = STREAM_NONE;
	c->lost.source.fd = c->retry.source.fd = -1;
	command_input_open(c);
	command_output_open(c);
	return command_link_open(c, options->serial);
}

int command_start(struct command *c, struct loop *loop,
		  struct platform *platform, struct report *report)
{
	if (!c->on)
		return 0;
	c->loop = loop;
	c->platform = platform;
	c->report = report;
	c->escape = (struct tty_escape){ .on_quit = on_quit, .arg = c };
	stream_attach(&c->in, loop, command_input_ready, c);
	command_output_start(c);
	return command_link_start(c);
}

int command_take_vsock(struct command *c)
{
	const int fd = c->vsock_fd;

	c->vsock_fd = -1;
	return fd;
}

unsigned command_features(const struct command *c)
{
	if (!c->on)
		return 0;
	return stream_features(&c->vsock) | stream_features(&c->in) |
	       stream_features(&c->out[0].end) |
	       stream_features(&c->out[1].end) | FEATURE_OUTPUT |
	       (c->in_tty ? FEATURE_TTY : 0);
}

static void stop(struct command *c)
{
	struct stream *ends[] = { &c->vsock, &c->serial, &c->in, &c->out[0].end,
				  &c->out[1].end };

	tty_restore();
	if (!c->loop)
		return;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		stream_unwatch(ends[i]);
	loop_timer_destroy(c->loop, &c->lost);
	loop_timer_destroy(c->loop, &c->retry);
	c->loop = NULL;
}

/* -- the end -------------------------------------------------------------- */

static void show_tail(const struct command *c)
{
	uint64_t start =
		c->tail_len > COMMAND_TAIL ? c->tail_len - COMMAND_TAIL : 0;
	char line[128];
	size_t len = 0;

	for (uint64_t i = start; i < c->tail_len; i++) {
		const char byte = (char)c->tail[i % COMMAND_TAIL];

		if (byte != '\n' && byte != '\r')
			line[len++] = byte;
		if (!len || (byte != '\n' && len < sizeof(line) - 1 &&
			     i + 1 < c->tail_len))
			continue;
		line[len] = 0;
		len = 0;
		log_error("guest: %s", line);
	}
}

static void explain(const struct command *c, struct ending *ending)
{
	static const char *const why[] = {
		[END_POWEROFF] = "the guest powered off before the command "
				 "had ended",
		[END_REBOOT] = "the guest rebooted before the command had "
			       "ended",
		[END_PANIC] = "the guest's kernel panicked",
	};

	if ((size_t)ending->reason < ARRAY_LEN(why) && why[ending->reason]) {
		log_error("%s", why[ending->reason]);
		ending->status = STATUS_CRASH;
	} else if (ending->reason == END_TIMEOUT && !c->ready) {
		log_error("--timeout passed before the command was started");
	} else if (ending->reason == END_EXITED && !c->exited) {
		/* By its port: init had nobody to tell why. */
		log_error("%s", c->ready ? "the guest has ended by its exit "
					   "status port"
					 : "the guest's kernel has no vsock "
					   "driver for the command, nor may "
					   "it have the serial port; see "
					   "--serial, and --initrd for "
					   "modules");
		return;
	} else if (ending->reason != END_CRASH) {
		return;
	}
	show_tail(c);
}

bool command_drain(struct command *c, uint64_t timeout_ns, int stop_fd)
{
	if (!c->on)
		return true;
	command_listen(c);
	if (!c->exited && timeout_ns > DEAD_NS)
		timeout_ns = DEAD_NS;
	return command_output_drain(c, timeout_ns, stop_fd);
}

void command_finish(struct command *c, struct ending *ending)
{
	if (!c->on)
		return;
	/* The status was on its way when the guest ended. */
	if (c->exited && ending->reason != END_SIGNAL &&
	    ending->reason != END_TIMEOUT)
		*ending = (struct ending){ END_EXITED, c->status };
	/* As of a program that notices: all is well only if it was written. */
	if (ending->reason == END_EXITED && !ending->status && c->lost_output)
		*ending = (struct ending){ END_ERROR, STATUS_ERROR };
	stop(c);
	command_log_note(c);
	if (!command_output_empty(c))
		log_warn("some of the command's output is lost: nobody read "
			 "it");
	explain(c, ending);
}

void command_close(struct command *c)
{
	if (!c->on)
		return;
	stop(c);
	stream_close(&c->vsock);
	stream_close(&c->serial);
	stream_close(&c->in);
	stream_close(&c->out[0].end);
	stream_close(&c->out[1].end);
	if (c->vsock_fd >= 0)
		close(c->vsock_fd);
	if (c->serial_fd >= 0)
		close(c->serial_fd);
	c->on = false;
}
