/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream to mote (cpu/command/protocol.h): a vsock connection, or the
 * serial port in raw mode; and what is said on it beside the command's bytes:
 * notes for mote's user, and the end.
 *
 * Sending waits until mote takes it, which it always does: it never lets more
 * come than it has room for. So this never waits long, and a frame is sent
 * whole. What is received is taken as it comes.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "boot/init/init.h"
#include "cpu/command/protocol.h"

#define PORT_EXIT     0x506u /* cpu/platform.h */
#define PORT_READY    0x507u
#define RESTORED      1u /* what it says in a guest that was restored */
#define STATUS_FAILED 125u
#define REBOOT_MAGIC1 0xfee1dead
#define REBOOT_MAGIC2 672274793
#define CONSOLE_OFF   6 /* syslog(2) */

static struct {
	int fd; /* 0: not open yet */
	bool is_serial;
	bool is_session; /* not the first command's */
	uint8_t out[PROTOCOL_HEADER + PROTOCOL_CHUNK];
	uint8_t in[PROTOCOL_HEADER +
		   PROTOCOL_CHUNK]; /* from the start of a frame */
	size_t in_len, in_taken;    /* the latter: handed out */
} stream;

int stream_fd(void)
{
	return stream.fd;
}

static int stream_open_vsock(void)
{
	const struct sockaddr_vm host = {
		.svm_family = AF_VSOCK,
		.svm_port = PROTOCOL_PORT,
		.svm_cid = VMADDR_CID_HOST,
	};
	/* A busy host may take its time; 2 s is what Linux would give it. */
	const struct timeval patience = { .tv_sec = 60 };
	int fd = (int)SYS(socket, AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	SYS(setsockopt, fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience,
	    sizeof(patience));
	if (fd >= 0 && SYS(connect, fd, &host, sizeof(host)) < 0) {
		SYS(close, fd);
		fd = -1;
	}
	return fd;
}

static int stream_open_serial(void)
{
	const struct termios raw = {
		.c_cflag = B115200 | CS8 | CREAD | CLOCAL,
		.c_cc = { [VMIN] = 1 },
	};
	int fd = sys_open("/dev/ttyS0", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return fd;
	/* A port that is not there has a device all the same. */
	if (SYS(ioctl, fd, TCSETSF, &raw)) {
		SYS(close, fd);
		return -1;
	}
	/* But for a panic's: then there is no command any more. */
	SYS(syslog, CONSOLE_OFF, 0, 0);
	return fd;
}

static long stream_write_all(const void *from, size_t len)
{
	const char *at = from;

	while (len) {
		long n = SYS(write, stream.fd, at, len);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n ? n : -EIO;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

void stream_dial(bool no_serial)
{
	int fd = stream_open_vsock();

	stream.is_serial = fd < 0;
	if (fd < 0 && !no_serial)
		fd = stream_open_serial();
	if (fd < 0)
		stream_fail("this kernel has neither a vsock driver nor a "
			    "serial port for the command",
			    NULL, 0);
	stream.fd = fd;
	if (stream.is_serial)
		stream_write_all(PROTOCOL_MAGIC, sizeof(PROTOCOL_MAGIC) - 1);
}

/* -- of a session ---------------------------------------------------------- */

#define ADOPTED	  3    /* behind the standard ones */
#define FILES_MAX 1024 /* the kernel's limit for process 1 */

void stream_adopt(int fd)
{
	stream.is_serial = false;
	stream.is_session = true;
	stream.in_len = stream.in_taken = 0;
	stream.fd = ADOPTED;
	if (fd != ADOPTED)
		SYS(dup3, fd, ADOPTED, O_CLOEXEC);
	/* The first command's are not to stay open with this one. Linux 5.9 */
	if (SYS(close_range, ADOPTED + 1, ~0U, 0))
		for (fd = ADOPTED + 1; fd < FILES_MAX; fd++)
			SYS(close, fd);
}

/* Where it does not wait there is still room for this. */
void stream_refuse(int fd, const char *why)
{
	const int own = stream.fd;

	SYS(fcntl, fd, F_SETFL, O_RDWR | O_NONBLOCK);
	stream.fd = fd;
	stream_note(why, NULL, 0);
	stream_send_words(PROTOCOL_EXIT, STATUS_FAILED, 0);
	stream.fd = own;
}

/* -- once more, in a guest that was restored ------------------------------ */

/* Input that the serial port still has may be of the guest that was saved. */
static long stream_find_magic(void)
{
	static const char magic[] = PROTOCOL_MAGIC;
	size_t found = 0;
	char byte = 0;
	long n;

	while (found < sizeof(magic) - 1) {
		n = SYS(read, stream.fd, &byte, 1);
		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n ? n : -EPIPE;
		found = byte == magic[found] ? found + 1 : byte == magic[0];
	}
	return 0;
}

long stream_redial(void)
{
	const uint32_t ask[2] = { PROTOCOL_RUN, 0 };
	long error = 0;

	SYS(close, stream.fd);
	stream.in_len = stream.in_taken = 0;
	stream.fd =
		stream.is_serial ? stream_open_serial() : stream_open_vsock();
	if (stream.fd < 0) {
		stream.fd = 0;
		return -EAGAIN;
	}
	if (stream.is_serial)
		error = stream_write_all(PROTOCOL_MAGIC,
					 sizeof(PROTOCOL_MAGIC) - 1);
	if (!error)
		error = stream_write_all(ask, sizeof(ask));
	if (!error && stream.is_serial)
		error = stream_find_magic();
	return error;
}

/* -- frames --------------------------------------------------------------- */

/* The payload is in its place already. */
static long stream_send_frame(unsigned type, size_t len)
{
	const uint32_t header[2] = { type, (uint32_t)len };

	memcpy(stream.out, header, sizeof(header));
	return stream_write_all(stream.out, PROTOCOL_HEADER + len);
}

long stream_send_bytes(unsigned type, const void *payload, size_t len)
{
	memcpy(stream.out + PROTOCOL_HEADER, payload, len);
	return stream_send_frame(type, len);
}

long stream_send_words(unsigned type, uint32_t a, uint32_t b)
{
	const uint32_t word[2] = { a, b };

	return stream_send_bytes(type, word, sizeof(word));
}

long stream_send_from(unsigned type, int fd, size_t room)
{
	const size_t len = room < PROTOCOL_CHUNK ? room : PROTOCOL_CHUNK;
	const long n = SYS(read, fd, stream.out + PROTOCOL_HEADER, len);

	if (n > 0)
		stream_send_frame(type, (size_t)n);
	return n;
}

long stream_receive(void)
{
	long n;

	/* The rest of a frame goes to the start, where there is room for all
	 * of it. */
	stream.in_len -= stream.in_taken;
	for (size_t i = 0; stream.in_taken && i < stream.in_len; i++)
		stream.in[i] = stream.in[stream.in_taken + i];
	stream.in_taken = 0;
	n = SYS(read, stream.fd, stream.in + stream.in_len,
		sizeof(stream.in) - stream.in_len);
	if (n == -EINTR)
		return 0;
	if (n <= 0)
		return n ? n : -EPIPE;
	stream.in_len += (size_t)n;
	return 0;
}

bool stream_next(struct frame *frame)
{
	const uint8_t *at = stream.in + stream.in_taken;
	const size_t left = stream.in_len - stream.in_taken;

	if (left < PROTOCOL_HEADER)
		return false;
	*frame = (struct frame){ .len = 0 };
	memcpy(frame, at, PROTOCOL_HEADER);
	if (frame->len > PROTOCOL_CHUNK)
		stream_fail("a frame of mote's makes no sense", NULL, 0);
	if (left < PROTOCOL_HEADER + frame->len)
		return false;
	frame->payload = at + PROTOCOL_HEADER;
	memcpy(frame->word, frame->payload,
	       frame->len < sizeof(frame->word) ? frame->len
						: sizeof(frame->word));
	stream.in_taken += PROTOCOL_HEADER + frame->len;
	return true;
}

/* -- notes and the end ---------------------------------------------------- */

static const struct error_text {
	long error;
	const char *text;
} error_texts[] = {
	{ -ENOENT, "no such file or directory" },
	{ -EACCES, "permission denied" },
	{ -ENOEXEC, "not a program that this kernel runs" },
	{ -ELIBACC, "there is no such interpreter as it wants" },
	{ -ENODEV, "this kernel has no such driver or file system" },
	{ -EINVAL, "invalid" },
	{ -EROFS, "read-only file system" },
	{ -ENOMEM, "out of memory; give --memory more" },
	{ -E2BIG, "arguments and environment are too long" },
	{ -EISDIR, "is a directory" },
	{ -ENOTDIR, "not a directory" },
	{ -ELOOP, "too many symbolic links" },
	{ -EPERM, "not permitted" },
	{ -EBUSY, "in use, or something is mounted there" },
	{ -EIO, "the disk fails" },
	{ -EFBIG, "too large" },
	{ -ENAMETOOLONG, "its name is too long" },
	{ -EOPNOTSUPP, "not supported by this kernel or file system" },
	{ 0, NULL },
};

static void text_add_error(struct text *text, long error)
{
	const struct error_text *e = error_texts;

	while (e->error && e->error != error)
		e++;
	if (e->text)
		text_add(text_add(text, ": "), e->text);
	else
		text_add_number(text_add(text, ": error "), (unsigned)-error);
}

void stream_note(const char *why, const char *what, long error)
{
	struct text text = { .len = 0 };
	int fd;

	text_add(&text, why);
	if (what)
		text_add(text_add(&text, ": "), what);
	if (error)
		text_add_error(&text, error);
	if (stream.fd) {
		stream_send_bytes(PROTOCOL_NOTE, text.bytes, text.len);
		return;
	}
	text_add(&text, "\n");
	fd = sys_open("/dev/console", O_WRONLY);
	SYS(write, fd, text.bytes, text.len);
	SYS(close, fd);
}

/* ioperm may not be there: then /dev/port may be. `out` -1: reads. */
static uint8_t stream_port(unsigned port, int out)
{
	uint8_t byte = (uint8_t)out;
	int fd;

	if (SYS(ioperm, port, 1, 1) == 0) {
		if (out < 0)
			__asm__ volatile("inb %w1, %b0"
					 : "=a"(byte)
					 : "d"(port)
					 : "memory");
		else
			__asm__ volatile("outb %b0, %w1"
					 :
					 : "a"(out), "d"(port));
		SYS(ioperm, port, 1, 0);
		return byte;
	}
	fd = sys_open("/dev/port", O_RDWR);
	if (out < 0)
		SYS(pread64, fd, &byte, 1, port);
	else
		SYS(pwrite64, fd, &byte, 1, port);
	SYS(close, fd);
	return byte;
}

bool stream_ready(void)
{
	return stream_port(PORT_READY, -1) == RESTORED;
}

void stream_power(unsigned how)
{
	if (stream.is_session)
		sys_exit();
	if (stream.is_serial) /* all of it has left */
		SYS(ioctl, stream.fd, TCSBRK, 1);
	for (;;)
		SYS(reboot, REBOOT_MAGIC1, REBOOT_MAGIC2, how);
}

void stream_end(unsigned status, unsigned flags)
{
	if (stream.fd) {
		stream_send_words(PROTOCOL_EXIT, status, flags);
		if (stream.is_serial)
			SYS(ioctl, stream.fd, TCSBRK, 1);
		/* Mote ends the guest when it has passed on all of it; what it
		 * sent to the command until then must not fill the buffer. */
		do
			stream.in_taken = stream.in_len;
		while (stream_receive() >= 0);
	} else {
		stream_port(PORT_EXIT, (int)(status & 0xff));
	}
	stream_power(RB_POWER_OFF);
}

void stream_fail(const char *why, const char *what, long error)
{
	stream_note(why, what, error);
	stream_end(STATUS_FAILED, 0);
}
