/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mote's side of --put and --get. A tar stream is made by a walker, a process
 * that has the tree (boot/walker.c), or comes by a descriptor of the caller's;
 * mote passes it on and never looks into it, so that what is in a tree, or in a
 * guest, is nothing that mote could be hurt by. The guest's side of it is
 * boot/init/transfer.c; protocol.h says in which order the two speak.
 *
 *	tree -> walker -> socket -\
 *	                          next_put -> PUT frames -> init -> files
 *	fd=N ---------------------/
 *	file or pipe <- ring <- get_came <- GET frames <- init <- files
 *
 * Nothing is held but the frame that is being sent, and the ring of the --get
 * that goes on: who is slow, at either end, holds up the other.
 *
 * No name of the guest's is ever a path here: the file of a --get is opened
 * before the sandbox closes in, and is written in place, as a shell's > does;
 * where it does not become whole the user is told, and mote's status is 125 if
 * it would be 0.
 *
 * The guest is hostile; a walker may be. The loop's thread. Owns its files.
 */
#include "cpu/command/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpu/loop/thread.h"
#include "mem/log.h"
#include "mem/util.h"

#define PATIENCE_NS 1000000000ULL /* before there is progress to be shown */
#define STEP_NS	    500000000ULL

/* -- opening --------------------------------------------------------------- */

static int refuse_put(const struct transfer_options *o, const char *why)
{
	char name[FILE_NAME_BYTES];

	log_error("--put %s: %s", file_name(&o->file, name), why);
	return -EINVAL;
}

/* Not what waits when it is opened, or does something. */
static int open_tree(struct transfer *t)
{
	const char *path = t->options->file.path;
	const struct file_advice advice[] = {
		{ ENOENT, strchr(path, ':')
				  ? "check the path; a directory of the guest "
				    "begins with /: --put FILE:/DIR"
				  : "check the path" },
		{ 0, "may you read it?" },
	};
	struct stat status;

	if (!stat(path, &status) && !S_ISDIR(status.st_mode) &&
	    !S_ISREG(status.st_mode))
		return refuse_put(t->options,
				  "it is neither a file nor a directory; what "
				  "gives a tar stream is fd=N");
	t->tree_fd = file_open(&t->options->file, "--put ",
			       O_RDONLY | O_NONBLOCK, 0, advice);
	return t->tree_fd < 0 ? t->tree_fd : 0;
}

static int open_put(struct transfer *t)
{
	const int fd = t->options->file.fd;
	struct stat status;

	t->tree_fd = -1;
	t->stream = STREAM_NONE;
	if (fd < 0)
		return open_tree(t);
	if (file_open(&t->options->file, "--put ", O_RDONLY, 0, NULL) < 0)
		return -EBADF;
	if (!fstat(fd, &status) && S_ISDIR(status.st_mode))
		return refuse_put(t->options,
				  "it is a directory, and a tar stream is "
				  "wanted; name its path");
	t->stream = stream_open(fd, O_RDONLY, false);
	return 0;
}

/* P's last part, and ".tar", here. */
static int name_of_get(const char *guest, char path[NAME_MAX + 1])
{
	const size_t len = strlen(guest);
	size_t end = len, start;

	while (end && guest[end - 1] == '/')
		end--;
	for (start = end; start && guest[start - 1] != '/'; start--)
		;
	if (end == start || guest[end - 1] == '.' || end - start > 250) {
		log_error("--get %s: name the file that it is to become: "
			  "--get PATH:FILE.tar",
			  guest);
		return -EINVAL;
	}
	snprintf(path, NAME_MAX + 1, "%.*s.tar", (int)(end - start),
		 guest + start);
	return 0;
}

/* Not emptied yet; with `check` it is only tried. */
static int open_get_file(struct transfer *t, bool check)
{
	struct option_file file = t->options->file;
	char path[NAME_MAX + 1];
	struct stat status;
	int error = 0, create = O_CREAT, fd;

	if (!file_is_given(&file)) {
		error = name_of_get(t->options->guest, path);
		file.path = path;
	}
	if (error)
		return error;
	t->made = check && file.path && stat(file.path, &status) < 0 &&
		  errno == ENOENT;
	if (check)
		create = t->made ? O_CREAT | O_EXCL : 0;
	/* O_NONBLOCK: a FIFO that nobody reads must not hold mote up. */
	fd = file_open(&file, "--get ", O_WRONLY | O_NONBLOCK | create, 0666,
		       NULL);
	t->made = t->made && fd >= 0;
	if (fd < 0)
		return fd;
	t->stream = stream_open(fd, O_WRONLY, file.path != NULL);
	return 0;
}

static int open_get(struct transfer *t, bool check)
{
	t->tree_fd = -1;
	t->stream = STREAM_NONE;
	if (!transfer_is_stdout(t->options))
		return open_get_file(t, check);
	t->stream = stream_open(STDOUT_FILENO, O_WRONLY, false);
	return 0;
}

static bool is_file_of(int fd, const struct stat *other)
{
	struct stat status;

	return !fstat(fd, &status) && status.st_dev == other->st_dev &&
	       status.st_ino == other->st_ino;
}

/* What goes in must be there still, and what came out before. */
static int judge_get(const struct transfers *t, unsigned get,
		     const struct stat *status)
{
	const char *wrong = NULL;

	for (unsigned i = 0; i < t->put_count; i++)
		if (is_file_of(t->put[i].tree_fd, status) ||
		    is_file_of(t->put[i].stream.source.fd, status))
			wrong = "its file is that of a --put as well";
	for (unsigned i = 0; i < get; i++)
		if (is_file_of(t->get[i].stream.source.fd, status))
			wrong = "its file is that of another --get as well: "
				"name two, PATH:FILE.tar";
	if (!wrong)
		return 0;
	log_error("--get %s: %s", t->get[get].options->guest, wrong);
	return -EINVAL;
}

static bool get_file_status(const struct transfer *get, struct stat *status)
{
	return !transfer_is_stdout(get->options) &&
	       get->stream.mode == STREAM_DIRECT &&
	       !fstat(get->stream.source.fd, status) &&
	       S_ISREG(status->st_mode);
}

static int judge_gets(const struct transfers *t)
{
	struct stat status;
	int error = 0;

	for (unsigned i = 0; i < t->get_count && !error; i++)
		if (get_file_status(&t->get[i], &status))
			error = judge_get(t, i, &status);
	return error;
}

/* As a shell's > does, but once nothing can be lost by it. */
static int empty_gets(const struct transfers *t)
{
	struct stat status;

	for (unsigned i = 0; i < t->get_count; i++)
		if (get_file_status(&t->get[i], &status) &&
		    t->get[i].stream.owned && status.st_size &&
		    ftruncate(t->get[i].stream.source.fd, 0))
			return log_errno("--get: ftruncate");
	return 0;
}

/* What was made to see whether it can be. */
static void remove_made(struct transfers *t)
{
	char path[NAME_MAX + 1];

	for (unsigned i = 0; i < t->get_count; i++) {
		const struct transfer_options *o = t->get[i].options;

		if (!t->get[i].made)
			continue;
		if (o->file.path)
			unlink(o->file.path);
		else if (!name_of_get(o->guest, path))
			unlink(path);
	}
}

int transfers_open(struct transfers *t, const struct transfer_options *puts,
		   unsigned put_count, const struct transfer_options *gets,
		   unsigned get_count, bool check)
{
	int error = 0;

	t->timer.source.fd = -1;
	t->out.stream = STREAM_NONE;
	t->progress = log_get_level() >= LOG_WARN && isatty(STDERR_FILENO);
	for (unsigned i = 0; i < put_count && !error; i++) {
		t->put[t->put_count].options = &puts[i];
		error = open_put(&t->put[t->put_count++]);
	}
	for (unsigned i = 0; i < get_count && !error; i++) {
		t->get[t->get_count].options = &gets[i];
		error = open_get(&t->get[t->get_count++], check);
	}
	if (!error)
		error = judge_gets(t);
	if (check)
		remove_made(t);
	return error || check ? error : empty_gets(t);
}

int transfers_set_walker(struct transfers *t, unsigned put, int fd)
{
	struct transfer *at = &t->put[put];

	close(at->tree_fd);
	at->tree_fd = -1;
	at->stream = stream_own(fd);
	return fcntl(fd, F_SETFL, O_NONBLOCK) ? log_errno("fcntl") : 0;
}

static void add_transfer_order(struct orders *o, char type,
			       const struct transfer_options *options)
{
	const char *how = options->owner == TRANSFER_OWNER_KEEP ? RUN_OWNER_KEEP
								: RUN_OWNER_ANY;

	orders_add_words(o, type, how, options->guest ? options->guest : "");
}

void transfers_add_orders(const struct transfers *t, struct orders *o)
{
	for (unsigned i = 0; i < t->put_count; i++)
		add_transfer_order(o, RUN_PUT, t->put[i].options);
	for (unsigned i = 0; i < t->get_count; i++)
		add_transfer_order(o, RUN_GET, t->get[i].options);
}

bool transfers_write_files(const struct transfers *t)
{
	for (unsigned i = 0; i < t->get_count; i++)
		if (t->get[i].stream.mode == STREAM_DIRECT)
			return true;
	return false;
}

bool transfers_use_stdout(const struct transfers *t)
{
	for (unsigned i = 0; i < t->get_count; i++)
		if (transfer_is_stdout(t->get[i].options))
			return true;
	return false;
}

unsigned transfers_features(const struct transfers *t)
{
	unsigned features = t->get_count ? FEATURE_OUTPUT : 0;

	for (unsigned i = 0; i < t->put_count; i++)
		features |= stream_features(&t->put[i].stream);
	for (unsigned i = 0; i < t->get_count; i++)
		features |= stream_features(&t->get[i].stream);
	return features;
}

/* -- progress ------------------------------------------------------------- */

static void erase_progress(struct transfers *t)
{
	static const char text[] = "\r\033[K";

	if (t->shown)
		log_write(text, sizeof(text) - 1);
	t->shown = false;
}

static void show_progress(void *arg)
{
	struct transfers *t = arg;
	const uint64_t ms = (loop_now() - t->begin_ns) / 1000000;
	char line[128];
	int len;

	if (!t->begin_ns)
		return;
	len = snprintf(
		line, sizeof(line), "\rmote: --%s: %llu MiB, %llu MiB/s\033[K",
		t->getting ? "get" : "put",
		(unsigned long long)(t->bytes >> 20),
		(unsigned long long)((t->bytes >> 10) * 1000 / (ms + 1) >> 10));
	log_write(line, (size_t)len);
	t->shown = true;
	loop_timer_set(&t->timer, STEP_NS);
}

static void count_progress(struct transfers *t, size_t len)
{
	t->bytes += len;
	if (t->begin_ns || !t->progress)
		return;
	t->begin_ns = loop_now();
	loop_timer_set(&t->timer, PATIENCE_NS);
}

static void end_progress(struct transfers *t)
{
	erase_progress(t);
	if (t->begin_ns)
		loop_timer_set(&t->timer, 0);
	t->bytes = t->begin_ns = 0;
}

/* -- into the guest ------------------------------------------------------- */

static long fail_put(struct transfers *t, const char *why)
{
	const struct transfer_options *o = t->put[t->put_at].options;
	char name[FILE_NAME_BYTES];

	end_progress(t);
	stream_close(&t->put[t->put_at].stream);
	log_error("--put %s: %s", file_name(&o->file, name), why);
	return -EIO;
}

/* Of a walker, whose first byte says what it is. */
static long read_message(struct transfers *t, uint8_t *message, size_t room)
{
	struct transfer *put = &t->put[t->put_at];
	ssize_t n = stream_read(&put->stream, message, room + 1);

	if (n == -EAGAIN)
		return -EAGAIN;
	if (n <= 0)
		return fail_put(t, "the process that read it is gone");
	if (*message == TRANSFER_BYTES && n > 1)
		return n - 1;
	message[n <= (ssize_t)room ? n : n - 1] = 0;
	if (*message == TRANSFER_WARN) {
		erase_progress(t);
		log_warn("--put %s: %s", put->options->file.path,
			 (char *)message + 1);
		return -EAGAIN;
	}
	return *message == TRANSFER_END ? 0 : fail_put(t, (char *)message + 1);
}

static long read_put(struct transfers *t, uint8_t *payload)
{
	struct stream *stream = &t->put[t->put_at].stream;
	const size_t room =
		t->put_credit < PROTOCOL_CHUNK ? t->put_credit : PROTOCOL_CHUNK;
	long n;

	if (t->put[t->put_at].options->file.path)
		return read_message(t, payload - 1, room);
	n = stream_read(stream, payload, room);
	return n < 0 && n != -EAGAIN ? fail_put(t, strerror((int)-n)) : n;
}

/* What a walker sends at once must fit. */
static bool may_put(const struct transfers *t)
{
	return !transfers_are_put(t) && t->put_credit >= PROTOCOL_CHUNK &&
	       t->put[t->put_at].stream.source.fd >= 0;
}

long transfers_next_put(struct transfers *t, uint8_t *payload)
{
	long n;

	if (!may_put(t))
		return -EAGAIN;
	n = read_put(t, payload);
	if (n > 0) {
		t->put_credit -= (uint32_t)n;
		count_progress(t, (size_t)n);
	} else if (!n) {
		end_progress(t);
		stream_close(&t->put[t->put_at++].stream);
	}
	return n;
}

void transfers_watch_put(struct transfers *t, bool watch)
{
	if (transfers_are_put(t))
		return;
	if (watch && may_put(t))
		stream_watch(&t->put[t->put_at].stream, EPOLLIN);
	else
		stream_unwatch(&t->put[t->put_at].stream);
}

int transfers_credit_came(struct transfers *t, uint32_t count)
{
	if (!t->put_count || count > PROTOCOL_CREDIT - t->put_credit)
		return -EPROTO;
	t->put_credit += count;
	return 0;
}

/* -- out of the guest ----------------------------------------------------- */

static const char *name_get(const struct transfers *t, unsigned i)
{
	return t->get[i].options->guest;
}

int transfers_begin_get(struct transfers *t, uint32_t count)
{
	if (t->getting || !t->get_count || count)
		return -EPROTO;
	t->getting = true;
	t->out.stream = t->get[0].stream;
	return 0;
}

int transfers_get_came(struct transfers *t, const uint8_t *data, size_t len)
{
	if (!t->getting || t->get_at == t->get_count || t->get_ended)
		return -EPROTO;
	count_progress(t, len);
	t->get_ended = !len;
	return output_add(&t->out, data, len);
}

static void fail_get(struct transfers *t, int error)
{
	end_progress(t);
	log_error("--get %s: cannot write its file: %s%s",
		  name_get(t, t->get_at), strerror(error),
		  error == ENOSPC ? "; it is not whole" : "");
	t->failed = true;
	output_drop(&t->out);
}

int transfers_flush(struct transfers *t)
{
	int error;

	if (!t->getting)
		return 0;
	error = output_flush(&t->out);
	if (error == -EAGAIN)
		return t->out.stream.watched ? 0 : -EAGAIN;
	if (error)
		fail_get(t, -error);
	return 0;
}

/* Some file systems, as NFS, say only now that there was no room. */
static void close_get(struct transfers *t)
{
	struct stream *stream = &t->out.stream;
	const int fd = stream->source.fd;

	if (stream->mode != STREAM_DIRECT || !stream->owned || fd < 0) {
		stream_close(stream);
		return;
	}
	stream->source.fd = -1;
	if (close(fd) && errno != EINTR)
		fail_get(t, errno);
}

/* The next one has a ring that is empty, and all of its credit. */
static void end_get(struct transfers *t)
{
	end_progress(t);
	close_get(t);
	t->get[t->get_at++].stream.source.fd = -1;
	t->out.taken = t->out.len = 0;
	t->out.told_closed = t->get_ended = false;
	if (t->get_at < t->get_count)
		t->out.stream = t->get[t->get_at].stream;
}

unsigned transfers_next_word(struct transfers *t, uint32_t *word)
{
	const bool told = t->out.told_closed;
	const bool over =
		t->out.stream.source.fd < 0 || (t->get_ended && !t->out.len);

	if (!t->getting || t->get_at == t->get_count)
		return 0;
	if (over && !told) {
		*word = t->get_at;
		t->out.told_closed = true;
	}
	if (over && t->get_ended)
		end_get(t);
	if (over)
		return told ? 0 : PROTOCOL_CLOSED;
	*word = t->out.taken;
	if (t->out.taken < PROTOCOL_CREDIT / 4)
		return 0;
	t->out.taken = 0;
	return PROTOCOL_TAKEN;
}

bool transfers_finish(struct transfers *t)
{
	end_progress(t);
	if (t->getting)
		output_flush(&t->out);
	for (unsigned i = t->get_at; i < t->get_count; i++) {
		log_error("--get %s: the guest has ended before all of it was "
			  "there",
			  name_get(t, i));
		t->failed = true;
	}
	return !t->failed;
}

/* -- life ----------------------------------------------------------------- */

static void for_each_transfer(struct transfers *t, void (*act)(struct stream *))
{
	for (unsigned i = 0; i < t->put_count; i++)
		act(&t->put[i].stream);
	act(&t->out.stream);
	for (unsigned i = t->get_at + t->getting; i < t->get_count; i++)
		act(&t->get[i].stream);
}

int transfers_start(struct transfers *t, struct loop *loop,
		    void (*changed)(void *arg, uint32_t events), void *arg)
{
	t->loop = loop;
	for (unsigned i = 0; i < t->put_count; i++)
		stream_attach(&t->put[i].stream, loop, changed, arg);
	for (unsigned i = 0; i < t->get_count; i++)
		stream_attach(&t->get[i].stream, loop, changed, arg);
	return t->progress
		       ? loop_timer_create(loop, &t->timer, show_progress, t)
		       : 0;
}

void transfers_stop(struct transfers *t)
{
	if (!t->loop)
		return;
	end_progress(t);
	for_each_transfer(t, stream_unwatch);
	loop_timer_destroy(t->loop, &t->timer);
	t->loop = NULL;
}

void transfers_close(struct transfers *t)
{
	transfers_stop(t);
	for_each_transfer(t, stream_close);
	for (unsigned i = 0; i < t->put_count; i++)
		if (t->put[i].tree_fd >= 0)
			close(t->put[i].tree_fd);
	*t = (struct transfers){ .put_count = 0 };
}
