/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --put and --get: tar streams from mote are unpacked before the command
 * starts, and paths are packed for it after that has ended. Nothing is held but
 * the frame at hand (cpu/command/protocol.h).
 *
 * Trusts mote, but not what is in a stream or in the guest's files: tar.h keeps
 * both where they belong. What cannot be put ends the guest, as the command
 * would run without; what cannot be got is a warning, and the command's status
 * stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "boot/init/init.h"
#include "boot/tar/tar.h"
#include "cpu/command/protocol.h"

#define STATUS_FAILED 125u

static struct {
	/* --put: what is left of a frame */
	const uint8_t *at;
	size_t left;
	bool over;
	uint32_t taken; /* mote does not know yet */

	/* --get */
	unsigned number;
	uint32_t credit;
	bool started;
	bool closed; /* mote wants no more of it */
} transfer;

/* For both; memory that is not used is not there. */
static struct tar_work *transfer_work(void)
{
	static void *work;

	if (!work)
		work = text_alloc(TAR_WORK_BYTES);
	if (!work)
		stream_fail("no memory for --put or --get", NULL, -ENOMEM);
	return work;
}

/* "0 PATH" or "k PATH" */
static bool transfer_keeps(const char *order)
{
	return *order == *RUN_OWNER_KEEP;
}

static const char *transfer_path(const char *order)
{
	return order + sizeof(RUN_OWNER_KEEP " ") - 1;
}

/* -- --put ---------------------------------------------------------------- */

/* The next frame of it: 0, or -errno where mote is gone. */
static long put_receive(void)
{
	struct frame frame;
	long error;

	while (!stream_next(&frame)) {
		error = stream_receive();
		if (error)
			return error;
	}
	if (frame.type == PROTOCOL_TIME)
		clock_obey(&frame);
	if (frame.type != PROTOCOL_PUT)
		return 0;
	transfer.at = frame.payload;
	transfer.left = frame.len;
	transfer.over = !frame.len;
	return 0;
}

static long put_read(void *arg, void *to, size_t room)
{
	long error;

	(void)arg;
	while (!transfer.left) {
		if (transfer.over)
			return 0;
		if (transfer.taken >= PROTOCOL_CREDIT / 4) {
			stream_send_words(PROTOCOL_TAKEN, PROTOCOL_PUT,
					  transfer.taken);
			transfer.taken = 0;
		}
		error = put_receive();
		if (error)
			return error;
	}
	if (room > transfer.left)
		room = transfer.left;
	memcpy(to, transfer.at, room);
	transfer.at += room;
	transfer.left -= room;
	transfer.taken += (uint32_t)room;
	return (long)room;
}

static void put_warn(void *arg, const char *why, const char *name, long error)
{
	struct text text = { .len = 0 };

	(void)arg;
	if (error == -ENOSPC || error == -EDQUOT)
		stream_fail("--put: no space left on the guest's disk", name,
			    0);
	text_add(text_add(&text, "--put: "), why);
	if (error == -EBADMSG)
		stream_fail(text.bytes, name, 0);
	stream_note(text.bytes, name, error);
}

/* With all above it. False: it was there. */
static bool put_make_directory(const char *path)
{
	names_make_parents(path);
	return !SYS(mkdir, path, 0755);
}

/*
 * What is made is the command's user's from here on, or root's again. With this
 * bit root's capabilities stay, whose files these are (capabilities(7)).
 */
static void put_own(uint32_t uid, uint32_t gid)
{
	SYS(prctl, PR_SET_SECUREBITS, uid ? SECBIT_NO_SETUID_FIXUP : 0);
	SYS(setfsgid, gid);
	SYS(setfsuid, uid);
}

static void put_tree(const char *order, const char *path)
{
	const struct tar_options options = {
		.keep_owner = transfer_keeps(order),
		.warn = put_warn,
		.work = transfer_work(),
	};
	const bool made = put_make_directory(path);
	struct stat status = { .st_mode = 0 };
	long error;
	int fd;

	fd = sys_open(path, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		stream_fail("--put: there is no such directory, nor can it be "
			    "made",
			    path, fd);
	SYS(fstat, fd, &status);
	transfer.over = false;
	error = tar_unpack(fd, &options, put_read, NULL);
	if (error < 0)
		stream_fail("--put: cannot unpack into", path, error);
	/* The stream has those of the tree's own directory as well. */
	if (!made) {
		SYS(fchown, fd, status.st_uid, status.st_gid);
		SYS(fchmod, fd, status.st_mode & 07777);
	}
	SYS(close, fd);
}

void transfer_put(struct run *run)
{
	if (!run->put_count)
		return;
	if (!user_find(run, "/etc/"))
		stream_end(STATUS_FAILED, 0);
	if (run->user)
		put_own(run->user->uid, run->user->gid);
	stream_send_words(PROTOCOL_TAKEN, PROTOCOL_PUT, PROTOCOL_CREDIT);
	for (unsigned i = 0; i < run->put_count; i++) {
		const char *path = transfer_path(run->put[i]);

		put_tree(run->put[i], *path ? path : run->workdir);
	}
	put_make_directory(run->workdir);
	if (run->user)
		put_own(0, 0);
}

/* -- --get ---------------------------------------------------------------- */

/* Waits for a word of mote's. 0, or -errno where it is gone. */
static long get_receive(void)
{
	struct frame frame;
	const long error = stream_receive();

	while (!error && stream_next(&frame)) {
		if (frame.type == PROTOCOL_TIME)
			clock_obey(&frame);
		if (frame.word[0] != PROTOCOL_GET)
			continue;
		if (frame.type == PROTOCOL_TAKEN)
			transfer.credit += frame.word[1];
		if (frame.type == PROTOCOL_CLOSED)
			transfer.closed = frame.word[1] == transfer.number;
	}
	return error;
}

static long get_write(void *arg, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	long error = 0;

	(void)arg;
	transfer.started = true;
	while (len && !error) {
		size_t part = len < PROTOCOL_CHUNK ? len : PROTOCOL_CHUNK;

		if (transfer.closed)
			return -EPIPE;
		if (!transfer.credit) {
			error = get_receive();
			continue;
		}
		if (part > transfer.credit)
			part = transfer.credit;
		error = stream_send_bytes(PROTOCOL_GET, at, part);
		transfer.credit -= (uint32_t)part;
		at += part;
		len -= part;
	}
	return error;
}

static void get_warn(void *arg, const char *why, const char *name, long error)
{
	struct text text = { .len = 0 };

	(void)arg;
	text_add(text_add(&text, "--get: "), why);
	stream_note(text.bytes, name, error);
}

static void get_tree(const char *order)
{
	static const uint8_t end[1024]; /* of an archive: two zero blocks */
	const struct tar_options options = {
		.keep_owner = transfer_keeps(order),
		.warn = get_warn,
		.work = transfer_work(),
	};
	const char *path = transfer_path(order);
	long error;

	transfer.credit = PROTOCOL_CREDIT;
	transfer.started = transfer.closed = false;
	error = tar_pack(AT_FDCWD, path, &options, get_write, NULL);
	if (error < 0 && !transfer.started) {
		stream_note("--get", path, error);
		get_write(NULL, end, sizeof(end));
	}
	error = stream_send_bytes(PROTOCOL_GET, "", 0);
	while (!transfer.closed && !error)
		error = get_receive();
}

void transfer_get(const struct run *run)
{
	/* Signals are not the command's any more. */
	if (run->get_count)
		stream_send_words(PROTOCOL_TAKEN, PROTOCOL_GET, 0);
	for (unsigned i = 0; i < run->get_count; i++) {
		transfer.number = i;
		get_tree(run->get[i]);
	}
}
