/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a command in the guest: `mote ... -- command`.
 *
 * mote's init in the guest (boot/init) runs the command, and this file is its
 * counterpart. They speak frames over one stream (protocol.h); frames.c finds
 * and judges them in what a guest sends. main.c calls command_open; guest.c
 * calls command_start, command_signal for each signal, and at the end
 * command_listen, command_drain and command_finish.
 *
 *	mote's stdin --> command.c --> a link --> init --> command
 *	mote's stdout, stderr <-- ring <-- frames.c <-- a link <-- init
 *
 * Links. There are two, each a socket pair. The vsock device's first connection
 * to PROTOCOL_PORT ends in one. The other leads to the serial port: it brings
 * the kernel's messages and, after PROTOCOL_MAGIC, the same frames if the
 * guest's kernel has no vsock driver. Whichever has a frame first is used. The
 * serial port's last words are kept otherwise: they say why a guest died.
 *
 * Credit. Of each of the command's streams no more than PROTOCOL_CREDIT bytes
 * may be on their way. Each output has a ring of that size, so a reader that
 * stalls holds up the command that writes to it and nothing else; TAKEN gives
 * credit for what was written. stdin is read as far as the guest's credit goes
 * and not kept, so whoever writes to mote has to wait. What is urgent is sent
 * first: a Ctrl-C never waits behind input that the command does not read.
 *
 * States:
 *
 *	boots    nothing said yet. There is nobody who could obey a signal, so
 *	         signals end mote.
 *	ready    READY came: the command runs, and mote is its terminal.
 *	exited   EXIT came with the status (from `boots`: it could not be
 *	         started). It is the last frame, sent when all is on disk.
 *	over     nothing is listened to any more. All was written, and that
 *	         ends the guest: nobody waits for it to power off. Or the guest
 *	         sent nonsense, which ends it as a crash; or it dropped its
 *	         link, as in a reboot, and has LOST_NS to end by itself.
 *
 * For example `mote ... -- cat`, and "hi\n" typed:
 *
 *	init connects, asks for the TIME, and sends READY: ready
 *	stdin_came reads "hi\n":  STDIN "hi\n" goes out, in_credit falls by 3
 *	init writes it to cat:    TAKEN stdin 3 comes later, with more
 *	cat writes it:            STDOUT "hi\n" comes: output_came, and
 *	                          flush_output writes it
 *	Ctrl-D ends stdin:        STDIN with no payload; cat exits
 *	init has synced:          EXIT 0: exited; the ring is empty: over, and
 *	                          platform_end(END_EXITED, 0)
 *
 * The end. Whatever ended the guest, what waits on the links is taken, what is
 * in the rings is written, and command_finish says how it ended: with the
 * command's status if EXIT came; if not, as died (123), even if the guest
 * powered off or rebooted, and what its kernel said last is shown.
 *
 * A terminal that is somebody else's just now (`mote ... &`) is not read: that
 * would stop mote. A reader that is gone is the command's to know: its own end
 * of the pipe is closed, and what is still on its way falls away.
 *
 * Snapshots: saved.c.
 *
 * Sessions. The guest may be another mote's: `mote --exec`. Then the one link
 * is a connection to its init (exec.c), which is told at once what is to be
 * run. That is all: where the link ends, so has the guest, as far as can be
 * seen.
 *
 * The guest is hostile: it may send anything. The loop's thread. Owns its ends
 * of the links, and the others until they are taken.
 */
#include "cpu/command/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cpu/loop/thread.h"
#include "mem/log.h"
#include "mem/util.h"

#define DEAD_NS	 2000000000ULL /* for readers of a dead guest's words */
#define LOST_NS	 5000000000ULL /* for a guest to end after its link */
#define RETRY_NS 10000000u

/* -- output --------------------------------------------------------------- */

static void drop_reader(struct command_output *output, int error)
{
	struct command *c = output->command;

	if (error != EPIPE) {
		log_error("cannot write what the command has written to its "
			  "%s: %s",
			  output == c->out ? "stdout" : "stderr",
			  strerror(error));
		c->lost_output = true;
	}
	output_drop(&output->output);
}

static void flush_output(struct command_output *output)
{
	const int error = output_flush(&output->output);

	/* What cannot be watched, and yet would wait. */
	if (error == -EAGAIN && !output->output.stream.watched)
		loop_timer_set(&output->command->retry, RETRY_NS);
	else if (error && error != -EAGAIN)
		drop_reader(output, -error);
}

static bool all_is_written(const struct command *c)
{
	return !c->out[0].output.len && !c->out[1].output.len;
}

/* -- to the guest --------------------------------------------------------- */

/* One frame at a time: its payload is in c->send already. */
static void queue_frame(struct command *c, unsigned type, size_t len)
{
	frames_header(c->send, type, len);
	c->send_at = 0;
	c->send_end = PROTOCOL_HEADER + len;
}

static void queue_words(struct command *c, unsigned type, uint32_t a,
			uint32_t b)
{
	put_le32(c->send + PROTOCOL_HEADER, a);
	put_le32(c->send + PROTOCOL_HEADER + 4, b);
	queue_frame(c, type, 8);
}

static bool queue_signal(struct command *c)
{
	const int number = c->signals ? __builtin_ctzll(c->signals) : 0;

	if (!number)
		return false;
	c->signals &= ~(1ULL << number);
	queue_words(c, PROTOCOL_SIGNAL, (uint32_t)number, 0);
	return true;
}

static bool queue_winch(struct command *c)
{
	struct winsize size;

	if (!c->winch)
		return false;
	c->winch = false;
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size))
		return false;
	queue_words(c, PROTOCOL_WINCH, size.ws_row, size.ws_col);
	return true;
}

static bool queue_credit(struct command *c)
{
	uint32_t word = 0;
	const unsigned type =
		c->transfers ? transfers_next_word(c->transfers, &word) : 0;

	if (type) {
		queue_words(c, type, PROTOCOL_GET, word);
		return true;
	}
	for (unsigned i = 0; i < ARRAY_LEN(c->out); i++) {
		struct output *output = &c->out[i].output;

		if (output->stream.source.fd < 0 && !output->told_closed) {
			output->told_closed = true;
			queue_words(c, PROTOCOL_CLOSED, PROTOCOL_STDOUT + i, 0);
			return true;
		}
		if (output->taken >= PROTOCOL_CREDIT / 4) {
			queue_words(c, PROTOCOL_TAKEN, PROTOCOL_STDOUT + i,
				    output->taken);
			output->taken = 0;
			return true;
		}
	}
	return false;
}

/* One that a snapshot is to be taken of has its input where it is restored. */
static bool may_read_stdin(const struct command *c)
{
	return c->ready && !c->program && !c->in_over && !c->in_background &&
	       c->in_credit;
}

static bool queue_stdin(struct command *c)
{
	uint8_t *to = c->send + PROTOCOL_HEADER;
	size_t len =
		c->in_credit < PROTOCOL_CHUNK ? c->in_credit : PROTOCOL_CHUNK;
	ssize_t n;

	if (!may_read_stdin(c) ||
	    !(c->in_readable || c->in.mode == STREAM_DIRECT))
		return false;
	c->in_readable = false;
	n = stream_read(&c->in, to, len);
	if (n == -EAGAIN)
		return false;
	if (n <= 0) {
		if (n < 0)
			log_warn("cannot read the command's stdin: %s",
				 strerror((int)-n));
		c->in_over = true;
		stream_close(&c->in);
		queue_frame(c, PROTOCOL_STDIN, 0);
		return true;
	}
	len = (size_t)n;
	if (c->tty && c->in_tty)
		len = tty_filter(&c->escape, to, len);
	if (!len)
		return false;
	c->in_credit -= (uint32_t)len;
	queue_frame(c, PROTOCOL_STDIN, len);
	return true;
}

/* Read when it is sent: what waits for room would be late. */
static bool queue_time(struct command *c)
{
	struct timespec now;
	uint64_t ns;

	if (!c->time)
		return false;
	c->time = false;
	clock_gettime(CLOCK_REALTIME, &now);
	ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	queue_words(c, PROTOCOL_TIME, (uint32_t)ns, (uint32_t)(ns >> 32));
	return true;
}

/* On the serial port there may be what was for another guest. */
static bool queue_magic(struct command *c)
{
	if (!c->greet)
		return false;
	c->greet = false;
	memcpy(c->send, PROTOCOL_MAGIC, sizeof(PROTOCOL_MAGIC) - 1);
	c->send_at = 0;
	c->send_end = sizeof(PROTOCOL_MAGIC) - 1;
	return true;
}

/* What it is to run: pieces, and one without a byte. */
static bool queue_run(struct command *c)
{
	size_t len = c->orders.len - c->told;

	if (!c->asked)
		return false;
	if (len > PROTOCOL_CHUNK)
		len = PROTOCOL_CHUNK;
	if (len)
		memcpy(c->send + PROTOCOL_HEADER, c->orders.bytes + c->told,
		       len);
	c->told += len;
	c->asked = len;
	queue_frame(c, PROTOCOL_RUN, len);
	return true;
}

/* It may come before the command; for what fails mote ends. */
static bool queue_put(struct command *c)
{
	const long n = c->transfers
			       ? transfers_next_put(c->transfers,
						    c->send + PROTOCOL_HEADER)
			       : -EAGAIN;

	if (n < 0 && n != -EAGAIN)
		platform_end(c->platform, END_ERROR, STATUS_ERROR);
	if (n >= 0)
		queue_frame(c, PROTOCOL_PUT, (size_t)n);
	return n >= 0;
}

/* What is due, the most urgent first; false where nothing is. */
static bool queue_next(struct command *c)
{
	if (queue_magic(c) || queue_time(c) || queue_run(c))
		return true;
	if (!c->ready)
		return queue_put(c);
	return queue_signal(c) || queue_winch(c) || queue_credit(c) ||
	       queue_stdin(c);
}

static void watch_inputs(struct command *c)
{
	if (c->transfers)
		transfers_watch_put(c->transfers, c->send_at == c->send_end);
	if (c->in_tty)
		c->in_background = !tty_is_ours(STDIN_FILENO);
	if (may_read_stdin(c) && c->send_at == c->send_end && !c->deaf)
		stream_watch(&c->in, EPOLLIN);
	else
		stream_unwatch(&c->in);
}

static void link_ended(struct command *c)
{
	stream_close(c->link);
	c->over = !c->exited;
	if (!c->over)
		return;
	if (!c->session) {
		loop_timer_set(&c->lost, LOST_NS);
		return;
	}
	log_error(c->ready ? "the guest has ended before the command did"
			   : "the guest has ended, or given up, before the "
			     "command was started");
	platform_end(c->platform, END_CRASH, STATUS_CRASH);
}

static void send_frames(struct command *c)
{
	ssize_t n;

	if (!c->link || c->link->source.fd < 0 || c->over || c->deaf ||
	    !c->loop)
		return;
	while (c->send_at < c->send_end || queue_next(c)) {
		n = stream_write(c->link, c->send + c->send_at,
				 c->send_end - c->send_at);
		if (n == -EAGAIN) {
			stream_watch(c->link, EPOLLIN | EPOLLOUT);
			watch_inputs(c);
			return;
		}
		if (n < 0 && c->session) {
			/* What it has sent before may say why. */
			c->deaf = true;
			break;
		}
		if (n < 0) {
			link_ended(c);
			return;
		}
		c->send_at += (size_t)n;
	}
	stream_watch(c->link, EPOLLIN);
	watch_inputs(c);
}

static struct ending ending_of_command(const struct command *c)
{
	return (struct ending){ c->oom ? END_OOM : END_EXITED, c->status };
}

/* All has been written that the command wrote: its status is mote's. */
static void end_when_written(struct command *c)
{
	struct ending ending = ending_of_command(c);

	if (c->exited && !c->over && all_is_written(c)) {
		c->over = true;
		platform_end(c->platform, ending.reason, ending.status);
	}
}

static void pass_all_on(void *arg)
{
	struct command *c = arg;

	flush_output(&c->out[0]);
	flush_output(&c->out[1]);
	if (c->transfers && transfers_flush(c->transfers))
		loop_timer_set(&c->retry, RETRY_NS);
	send_frames(c);
	end_when_written(c);
}

/* A --put has something, or a file of a --get takes more. */
static void transfer_changed(void *arg, uint32_t events)
{
	(void)events; /* an end or an error shows where it is used */
	pass_all_on(arg);
}

static void stdin_came(void *arg, uint32_t events)
{
	struct command *c = arg;

	(void)events; /* an end or an error shows in the read */
	c->in_readable = !c->in_tty || tty_is_ours(STDIN_FILENO);
	send_frames(c);
}

/*
 * The reader takes more, or is gone. One that leaves while there is nothing for
 * it is noticed as well: `yes` must not run on for nobody, nor must a command
 * that waits for something else and would end by its SIGPIPE.
 */
static void reader_changed(void *arg, uint32_t events)
{
	struct command_output *output = arg;

	if (events & (EPOLLERR | EPOLLHUP) && !output->output.len)
		drop_reader(output, EPIPE);
	pass_all_on(output->command);
}

/* -- signals and the terminal --------------------------------------------- */

static const struct {
	int number;
	bool stops; /* the second one of these ends mote at once */
} command_signals[] = {
	{ SIGINT, false },
	{ SIGTERM, true },
	{ SIGHUP, true },
	{ SIGQUIT, false }, /* as often as one likes: Java's stacks */
};

static bool command_runs(const struct command *c)
{
	return c->ready && !c->exited && !c->over &&
	       !(c->transfers && c->transfers->getting);
}

bool command_signal(struct command *c, int number)
{
	if (!c->on)
		return false;
	if (number == SIGWINCH) {
		c->winch = c->tty && c->in_tty;
		send_frames(c);
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(command_signals); i++) {
		if (command_signals[i].number != number)
			continue;
		/* Nobody there yet, or not any more, or it does not obey. */
		if (!command_runs(c) ||
		    (command_signals[i].stops && c->stops++)) {
			platform_end(c->platform, END_SIGNAL,
				     STATUS_SIGNAL + (unsigned)number);
			return true;
		}
		c->signals |= 1ULL << number;
		send_frames(c);
		return true;
	}
	return false;
}

static void quit_command(void *arg)
{
	struct command *c = arg;

	platform_end(c->platform, END_SIGNAL, STATUS_SIGNAL + SIGINT);
}

void command_suspend(struct command *c)
{
	if (c->on)
		tty_restore();
}

static void take_command_terminal(struct command *c)
{
	c->winch = c->tty && c->in_tty;
	if (c->winch)
		tty_raw(STDIN_FILENO);
	c->in_background = false;
	send_frames(c);
}

void command_resume(struct command *c)
{
	if (!c->on || !c->ready)
		return;
	/* A guest that counts ticks has missed some, if it was stopped. */
	c->time = !c->session;
	if (c->transfers && c->transfers->getting)
		send_frames(c);
	else
		take_command_terminal(c);
}

/* -- frames from the guest ------------------------------------------------ */

static void log_note(struct command *c)
{
	static struct log_limit limit;

	if (c->note[0])
		log_guest(&limit, "%s", c->note);
	c->note[0] = 0;
}

/* 0 where nobody reads it: what was under way when that was said. */
static int output_came(struct command *c, unsigned stream, const uint8_t *data,
		       size_t len)
{
	struct output *output = &c->out[stream - PROTOCOL_STDOUT].output;

	if (!command_runs(c))
		return -EPROTO;
	if (c->report)
		report_stage(c->report, "output", loop_now());
	c->report = NULL;
	return output->stream.source.fd < 0 ? 0 : output_add(output, data, len);
}

/* One before READY is kept: EXIT may follow, and tell how grave it is. */
static void note_came(struct command *c, const char *text)
{
	log_note(c);
	snprintf(c->note, sizeof(c->note), "%s", text);
	if (c->ready)
		log_note(c);
}

static void exit_came(struct command *c, unsigned status, uint32_t flags)
{
	/* Why there is no command is no mere warning. */
	if (!c->ready && c->note[0]) {
		log_error("%s", c->note);
		c->note[0] = 0;
	}
	log_note(c);
	c->exited = true;
	c->status = status & 0xff;
	c->oom = flags & PROTOCOL_OOM;
	if (c->oom)
		log_error("out of memory in the guest: its kernel has killed "
			  "the command; give --memory more");
}

/*
 * Nobody reads mote's input any more, nor is there a command for its terminal:
 * there a Ctrl-C is mote's own again, and what is typed the next program's.
 */
static int get_begins(struct command *c, uint32_t count)
{
	const int error = transfers_begin_get(c->transfers, count);

	if (error)
		return error;
	c->in_over = true;
	stream_close(&c->in);
	tty_restore();
	return 0;
}

static int credit_came(struct command *c, unsigned stream, uint32_t count)
{
	if (stream == PROTOCOL_PUT && c->transfers && !c->ready)
		return transfers_credit_came(c->transfers, count);
	if (stream == PROTOCOL_GET && c->transfers && c->ready)
		return get_begins(c, count);
	if (stream != PROTOCOL_STDIN || count > PROTOCOL_CREDIT - c->in_credit)
		return -EPROTO;
	c->in_credit += count;
	return 0;
}

static int ready_came(struct command *c)
{
	if (c->ready || c->asked ||
	    (c->transfers && !transfers_are_put(c->transfers)))
		return -EPROTO;
	log_note(c);
	c->ready = true;
	/* Its init was that in another mote; of the command it is to be heard.
	 */
	if (c->restored && !c->program)
		platform_ready(c->platform);
	if (c->tty)
		take_command_terminal(c);
	return 0;
}

/* Once more where it has lost its stream before it was told all of it. */
static int run_came(struct command *c)
{
	if (!c->restored || c->ready)
		return -EPROTO;
	c->asked = true;
	c->greet = c->link == &c->serial;
	c->told = c->untold;
	return 0;
}

/* The command is heard of no more once there is some of it. */
static int get_came(struct command *c, const uint8_t *data, size_t len)
{
	if (!c->transfers)
		return -EPROTO;
	return transfers_get_came(c->transfers, data, len);
}

static int frame_came(void *arg, unsigned type, const uint8_t *payload,
		      size_t len)
{
	struct command *c = arg;

	if (c->exited && type != PROTOCOL_NOTE)
		return -EPROTO;
	switch (type) {
	case PROTOCOL_STDOUT:
	case PROTOCOL_STDERR:
		return output_came(c, type, payload, len);
	case PROTOCOL_GET:
		return get_came(c, payload, len);
	case PROTOCOL_NOTE:
		note_came(c, (const char *)payload);
		return 0;
	case PROTOCOL_READY:
		return ready_came(c);
	case PROTOCOL_RUN:
		return run_came(c);
	case PROTOCOL_TIME:
		c->time = true;
		return 0;
	case PROTOCOL_EXIT:
		exit_came(c, get_le32(payload), get_le32(payload + 4));
		return 0;
	case PROTOCOL_CLOSED:
		if (get_le32(payload) != PROTOCOL_STDIN)
			return -EPROTO;
		c->in_over = true;
		stream_close(&c->in);
		return 0;
	default: /* TAKEN: frames.c lets no other through */
		return credit_came(c, get_le32(payload), get_le32(payload + 4));
	}
}

static void keep_tail(struct command *c, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		c->tail[c->tail_len++ % COMMAND_TAIL] = data[i];
}

static void feed_frames(struct command *c, const uint8_t *data, size_t len)
{
	if (c->over || !frames_feed(&c->frames, data, len, frame_came, c))
		return;
	c->over = true;
	/* A panic's words, which a moment later it will have ended of? */
	if (c->link == &c->serial) {
		keep_tail(c, data, len);
		loop_timer_set(&c->lost, LOST_NS);
		return;
	}
	stream_unwatch(c->link);
	log_error("the guest sends what makes no sense instead of the "
		  "command's output");
	platform_end(c->platform, END_CRASH, STATUS_CRASH);
}

/* -- links ---------------------------------------------------------------- */

static void lost_expired(void *arg)
{
	struct command *c = arg;

	log_error(c->link == &c->serial && c->link->source.fd >= 0
			  ? "something else than the command's output came by "
			    "the serial port; with a vsock driver in the "
			    "guest it would not be needed"
			  : "the guest has given up the command's stream");
	platform_end(c->platform, END_CRASH, STATUS_CRASH);
}

/* The kernel's messages, up to the magic and with it: how many bytes. */
static size_t find_magic(struct command *c, const uint8_t *data, size_t len)
{
	static const char magic[] = PROTOCOL_MAGIC;
	size_t i = 0;

	while (i < len && c->magic < sizeof(magic) - 1) {
		const char byte = (char)data[i++];

		if (byte == magic[c->magic])
			c->magic++;
		else
			c->magic = byte == magic[0];
	}
	return i;
}

static void serial_data_came(struct command *c, const uint8_t *data, size_t len)
{
	size_t before;

	if (c->link == &c->vsock || c->over) {
		keep_tail(c, data, len);
		return;
	}
	before = c->link ? 0 : find_magic(c, data, len);
	keep_tail(c, data, before);
	if (!c->link && c->magic == sizeof(PROTOCOL_MAGIC) - 1)
		c->link = &c->serial;
	if (c->link && before < len)
		feed_frames(c, data + before, len - before);
}

/* One read; false where there was nothing. */
static bool read_link(struct command *c, struct stream *from)
{
	uint8_t data[PROTOCOL_HEADER + PROTOCOL_CHUNK];
	ssize_t n;

	if (from->source.fd < 0)
		return false;
	n = stream_read(from, data, sizeof(data));
	if (n == -EAGAIN)
		return false;
	if (n <= 0) {
		if (from == c->link)
			link_ended(c);
		else
			stream_unwatch(from);
		return false;
	}
	if (!c->link && from == &c->vsock)
		c->link = from;
	if (from == &c->serial)
		serial_data_came(c, data, (size_t)n);
	else if (from == c->link)
		feed_frames(c, data, (size_t)n);
	return true;
}

static void vsock_changed(void *arg, uint32_t events)
{
	struct command *c = arg;

	if (events & ~(uint32_t)EPOLLOUT)
		read_link(c, &c->vsock);
	pass_all_on(c);
}

static void serial_changed(void *arg, uint32_t events)
{
	struct command *c = arg;

	if (events & ~(uint32_t)EPOLLOUT)
		read_link(c, &c->serial);
	pass_all_on(c);
}

/* -- life ----------------------------------------------------------------- */

static int open_link(struct stream *stream, int *other)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		       pair))
		return log_errno("socketpair");
	*stream = stream_own(pair[0]);
	stream->mode = STREAM_SOCKET;
	*other = pair[1];
	return 0;
}

/* epoll takes a descriptor once. */
static struct stream open_second_stderr(void)
{
	const int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

	return stream_open(fd, O_WRONLY, true);
}

static void open_standard(struct command *c,
			  const struct command_options *options)
{
	c->on = true;
	c->tty = options->tty;
	c->vsock_fd = c->serial_fd = -1;
	c->vsock = c->serial = STREAM_NONE;
	c->lost.source.fd = c->retry.source.fd = -1;
	c->in = stream_open(STDIN_FILENO, O_RDONLY, false);
	c->in_credit = PROTOCOL_CREDIT;
	c->in_tty = isatty(STDIN_FILENO);
	c->in_background = c->in_tty && !tty_is_ours(STDIN_FILENO);
	c->transfers = options->transfers;
	c->out[1].output.stream = stream_open(STDERR_FILENO, O_WRONLY, false);
	c->out[0].output.stream =
		c->transfers && transfers_use_stdout(c->transfers)
			? open_second_stderr()
			: stream_open(STDOUT_FILENO, O_WRONLY, false);
	c->out[0].command = c->out[1].command = c;
}

int command_open(struct command *c, const struct command_options *options)
{
	int error;

	open_standard(c, options);
	c->program = options->program;
	c->restored = options->restored;
	c->environment = options->environment;
	c->exec = options->exec;
	if (c->restored)
		orders_read_tty(c->terminal);
	error = open_link(&c->vsock, &c->vsock_fd);
	if (!error && options->serial)
		error = open_link(&c->serial, &c->serial_fd);
	return error;
}

void command_join(struct command *c, const struct command_options *options,
		  int fd)
{
	open_standard(c, options);
	c->session = c->asked = true;
	c->vsock = stream_own(fd);
	c->vsock.mode = STREAM_SOCKET;
	c->link = &c->vsock;
}

int command_start(struct command *c, struct loop *loop,
		  struct platform *platform, struct report *report)
{
	int error;

	if (!c->on)
		return 0;
	if (c->orders.failed) {
		errno = ENOMEM;
		return log_errno("the command's orders");
	}
	c->loop = loop;
	c->platform = platform;
	c->report = report;
	c->escape = (struct tty_escape){ .on_quit = quit_command, .arg = c };
	error = loop_timer_create(loop, &c->lost, lost_expired, c);
	if (!error)
		error = loop_timer_create(loop, &c->retry, pass_all_on, c);
	if (error)
		return error;
	stream_attach(&c->vsock, loop, vsock_changed, c);
	stream_attach(&c->serial, loop, serial_changed, c);
	stream_attach(&c->in, loop, stdin_came, c);
	for (size_t i = 0; i < ARRAY_LEN(c->out); i++)
		stream_attach(&c->out[i].output.stream, loop, reader_changed,
			      &c->out[i]);
	if (c->transfers)
		error = transfers_start(c->transfers, loop, transfer_changed,
					c);
	if (error)
		return error;
	stream_watch(&c->vsock, EPOLLIN);
	stream_watch(&c->serial, EPOLLIN);
	/* Can it be watched at all? /dev/null, for one, cannot. */
	stream_watch(&c->in, EPOLLIN);
	stream_unwatch(&c->in);
	pass_all_on(c); /* are its readers still there? */
	return 0;
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
	       stream_features(&c->out[0].output.stream) |
	       stream_features(&c->out[1].output.stream) | FEATURE_OUTPUT |
	       (c->transfers ? transfers_features(c->transfers) : 0) |
	       (c->in_tty ? FEATURE_TTY : 0);
}

static void for_each_stream(struct command *c, void (*act)(struct stream *))
{
	act(&c->vsock);
	act(&c->serial);
	act(&c->in);
	act(&c->out[0].output.stream);
	act(&c->out[1].output.stream);
}

/* Leaves the loop. */
static void stop_command(struct command *c)
{
	tty_restore();
	if (!c->loop)
		return;
	for_each_stream(c, stream_unwatch);
	if (c->transfers)
		transfers_stop(c->transfers);
	loop_timer_destroy(c->loop, &c->lost);
	loop_timer_destroy(c->loop, &c->retry);
	c->loop = NULL;
}

void command_close(struct command *c)
{
	if (!c->on)
		return;
	stop_command(c);
	for_each_stream(c, stream_close);
	if (c->vsock_fd >= 0)
		close(c->vsock_fd);
	if (c->serial_fd >= 0)
		close(c->serial_fd);
	orders_free(&c->orders);
	c->on = false;
}

/* -- the end -------------------------------------------------------------- */

void command_listen(struct command *c)
{
	if (!c->on)
		return;
	while (read_link(c, &c->vsock) || read_link(c, &c->serial))
		;
}

static int reader_to_wait_for(const struct output *output)
{
	return output->len ? output->stream.source.fd : -1;
}

bool command_drain(struct command *c, uint64_t timeout_ns, int stop_fd)
{
	uint64_t deadline;

	if (!c->on)
		return true;
	command_listen(c);
	deadline = stream_deadline(
		!c->exited && timeout_ns > DEAD_NS ? DEAD_NS : timeout_ns);
	do {
		flush_output(&c->out[0]);
		flush_output(&c->out[1]);
	} while (!all_is_written(c) &&
		 stream_wait(reader_to_wait_for(&c->out[0].output),
			     reader_to_wait_for(&c->out[1].output), deadline,
			     stop_fd));
	return all_is_written(c);
}

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

static void explain_ending(const struct command *c, struct ending *ending)
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

void command_finish(struct command *c, struct ending *ending)
{
	if (!c->on)
		return;
	/* The status was on its way when the guest ended. */
	if (c->exited && ending->reason != END_SIGNAL &&
	    ending->reason != END_TIMEOUT)
		*ending = ending_of_command(c);
	/* As of a program that notices: all is well only if it was written. */
	if (c->transfers && c->ready && !transfers_finish(c->transfers))
		c->lost_output = true;
	if (ending->reason == END_EXITED && !ending->status && c->lost_output)
		*ending = (struct ending){ END_ERROR, STATUS_ERROR };
	stop_command(c);
	log_note(c);
	if (!all_is_written(c))
		log_warn("some of the command's output is lost: nobody read "
			 "it");
	explain_ending(c, ending);
}
