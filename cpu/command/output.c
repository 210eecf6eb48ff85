/*
 * What the command writes, on its way to mote's stdout and stderr.
 *
 * Each has a ring with room for all that the guest may send before it is told
 * that some of it was written, so a reader that stalls holds up the command
 * that writes to it and nothing else. A reader that is gone is the command's to
 * know: its own end of the pipe is closed, and what is still on its way falls
 * away.
 *
 * The guest is hostile: more than it was allowed ends it. The loop's thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cpu/command/command.h"
#include "mem/log.h"
#include "mem/util.h"

#define RETRY_NS 10000000u
#define NS_PER_S 1000000000u

static void reader_gone(struct command_output *output, int error)
{
	struct command *command = output->command;
	const unsigned stream =
		PROTOCOL_STDOUT + (unsigned)(output - command->out);

	if (error != EPIPE) {
		log_error("cannot write what the command has written to its "
			  "%s: %s",
			  stream == PROTOCOL_STDOUT ? "stdout" : "stderr",
			  strerror(error));
		command->lost_output = true;
	}
	stream_close(&output->end);
	output->len = 0;
}

void command_output_flush(struct command_output *output)
{
	struct command *command = output->command;
	uint32_t len;
	ssize_t n;

	while (output->len && output->end.source.fd >= 0) {
		len = PROTOCOL_CREDIT - output->start;
		if (len > output->len)
			len = output->len;
		n = stream_write(&output->end, output->ring + output->start,
				 len);
		if (n == -EAGAIN && command->loop) {
			stream_watch(&output->end, EPOLLOUT);
			/* What cannot be watched, and yet would wait. */
			if (!output->end.watched)
				loop_timer_set(&command->retry, RETRY_NS);
		}
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			reader_gone(output, (int)-n);
			return;
		}
		output->start = (output->start + (uint32_t)n) % PROTOCOL_CREDIT;
		output->len -= (uint32_t)n;
		output->taken += (uint32_t)n;
	}
	/* With 0 it is still told of a reader that leaves: see out_ready. */
	if (command->loop)
		stream_watch(&output->end, 0);
}

int command_output_take(struct command *command, unsigned stream,
			const uint8_t *data, size_t len)
{
	struct command_output *output = &command->out[stream - PROTOCOL_STDOUT];
	uint32_t at, first;

	if (output->end.source.fd < 0)
		return 0; /* nobody reads it */
	if (len > PROTOCOL_CREDIT - output->len - output->taken)
		return -EPROTO;
	at = (output->start + output->len) % PROTOCOL_CREDIT;
	first = PROTOCOL_CREDIT - at;
	if (first > len)
		first = (uint32_t)len;
	memcpy(output->ring + at, data, first);
	memcpy(output->ring, data + first, len - first);
	output->len += (uint32_t)len;
	return 0;
}

bool command_output_empty(const struct command *command)
{
	return !command->out[0].len && !command->out[1].len;
}

/*
 * The reader takes more, or is gone. One that leaves while there is nothing for
 * it is noticed as well: `yes` must not run on for nobody, nor must a command
 * that waits for something else and would end by its SIGPIPE.
 */
static void out_ready(void *arg, uint32_t events)
{
	struct command_output *output = arg;

	if (events & (EPOLLERR | EPOLLHUP) && !output->len)
		reader_gone(output, EPIPE);
	else
		command_output_flush(output);
	command_pump(output->command);
	command_settle(output->command);
}

void command_output_start(struct command *command)
{
	for (size_t i = 0; i < ARRAY_LEN(command->out); i++)
		stream_attach(&command->out[i].end, command->loop, out_ready,
			      &command->out[i]);
}

void command_output_open(struct command *command)
{
	static const int fds[] = { STDOUT_FILENO, STDERR_FILENO };

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		struct command_output *output = &command->out[i];

		output->command = command;
		output->end = stream_open(fds[i], O_WRONLY, false);
	}
}

/* False where there is no point in waiting any longer. */
static bool wait_for_readers(struct command *command, uint64_t deadline,
			     int stop_fd)
{
	struct pollfd fds[] = {
		{ .fd = command->out[0].len ? command->out[0].end.source.fd
					    : -1,
		  .events = POLLOUT },
		{ .fd = command->out[1].len ? command->out[1].end.source.fd
					    : -1,
		  .events = POLLOUT },
		{ .fd = stop_fd, .events = POLLIN },
	};
	const uint64_t now = loop_now();
	uint64_t ns = now < deadline ? deadline - now : 0;
	struct timespec time;

	/* Not longer at a time: some readers cannot be polled. */
	if (ns > RETRY_NS)
		ns = RETRY_NS;
	time = (struct timespec){ (time_t)(ns / NS_PER_S),
				  (long)(ns % NS_PER_S) };
	if (ppoll(fds, ARRAY_LEN(fds), &time, NULL) < 0 && errno != EINTR)
		return false;
	return ns && !fds[2].revents;
}

bool command_output_drain(struct command *command, uint64_t timeout_ns,
			  int stop_fd)
{
	const uint64_t now = loop_now();
	const uint64_t deadline =
		timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;

	do {
		command_output_flush(&command->out[0]);
		command_output_flush(&command->out[1]);
	} while (!command_output_empty(command) &&
		 wait_for_readers(command, deadline, stop_fd));
	return command_output_empty(command);
}
