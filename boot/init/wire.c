/*
 * The stream to mote (cpu/command/protocol.h): a vsock connection, or the
 * serial port in raw mode.
 *
 * Sending waits until mote takes it, which it always does: it never lets more
 * come than it has room for. So this never waits long, and a frame is sent
 * whole. What is received is taken as it comes.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "boot/init/init.h"
#include "boot/init/sys.h"
#include "cpu/command/protocol.h"

#define CONSOLE_OFF 6 /* syslog(2) */

static int wire; /* 0: not open yet */
static bool is_serial;
static uint8_t out[PROTOCOL_HEADER + PROTOCOL_CHUNK];
/* From the start of a frame; of its bytes in_taken were handed out. */
static uint8_t in[PROTOCOL_HEADER + PROTOCOL_CHUNK];
static size_t in_len, in_taken;

int wire_fd(void)
{
	return wire;
}

static int open_vsock(void)
{
	const struct sockaddr_vm host = {
		.svm_family = AF_VSOCK,
		.svm_port = PROTOCOL_PORT,
		.svm_cid = VMADDR_CID_HOST,
	};
	/* A busy host may take its time; 2 s is what Linux would give it. */
	const struct timeval patience = { .tv_sec = 60 };
	int fd = (int)SYS_3(socket, AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	SYS_5(setsockopt, fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT,
	      &patience, sizeof(patience));
	if (fd >= 0 && SYS_3(connect, fd, &host, sizeof(host)) < 0) {
		sys_close(fd);
		fd = -1;
	}
	return fd;
}

static int open_serial(void)
{
	const struct termios raw = {
		.c_cflag = B115200 | CS8 | CREAD | CLOCAL,
		.c_cc = { [VMIN] = 1 },
	};
	int fd = sys_open("/dev/ttyS0", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return fd;
	/* A port that is not there has a device all the same. */
	if (sys_ioctl(fd, TCSETSF, &raw)) {
		sys_close(fd);
		return -1;
	}
	/* But for a panic's: then there is no command any more. */
	SYS_3(syslog, CONSOLE_OFF, 0, 0);
	return fd;
}

static long send_all(const void *from, size_t len)
{
	const char *at = from;

	while (len) {
		long n = sys_write(wire, at, len);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n ? n : -EIO;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

bool wire_open(bool no_serial)
{
	int fd = open_vsock();

	if (fd < 0 && !no_serial) {
		fd = open_serial();
		is_serial = true;
	}
	if (fd < 0)
		return false;
	wire = fd;
	if (is_serial)
		send_all(PROTOCOL_MAGIC, sizeof(PROTOCOL_MAGIC) - 1);
	return true;
}

uint8_t *wire_piece(void)
{
	return out + PROTOCOL_HEADER;
}

long wire_send_piece(unsigned type, size_t len)
{
	const uint32_t header[2] = { type, (uint32_t)len };

	memcpy(out, header, sizeof(header));
	return send_all(out, PROTOCOL_HEADER + len);
}

long wire_send(unsigned type, const void *payload, size_t len)
{
	memcpy(wire_piece(), payload, len);
	return wire_send_piece(type, len);
}

long wire_send_words(unsigned type, uint32_t a, uint32_t b)
{
	const uint32_t word[2] = { a, b };

	return wire_send(type, word, sizeof(word));
}

/* The rest of a frame goes to the start, so that there is room for all. */
static void make_room(void)
{
	in_len -= in_taken;
	for (size_t i = 0; in_taken && i < in_len; i++)
		in[i] = in[in_taken + i];
	in_taken = 0;
}

long wire_read(void)
{
	long n;

	make_room();
	n = sys_read(wire, in + in_len, sizeof(in) - in_len);
	if (n == -EINTR)
		return 0;
	if (n <= 0)
		return n ? n : -EPIPE;
	in_len += (size_t)n;
	return 0;
}

bool wire_next(struct frame *frame)
{
	const uint8_t *at = in + in_taken;
	size_t left = in_len - in_taken;

	if (left < PROTOCOL_HEADER)
		return false;
	memcpy(frame, at, PROTOCOL_HEADER);
	if (frame->len > PROTOCOL_CHUNK)
		init_fail("a frame of mote's makes no sense", NULL, 0);
	if (left < PROTOCOL_HEADER + frame->len)
		return false;
	frame->payload = at + PROTOCOL_HEADER;
	frame->word[0] = frame->word[1] = 0;
	memcpy(frame->word, frame->payload,
	       frame->len < sizeof(frame->word) ? frame->len
						: sizeof(frame->word));
	in_taken += PROTOCOL_HEADER + frame->len;
	return true;
}

void wire_drain(void)
{
	if (is_serial)
		sys_ioctl(wire, TCSBRK, (void *)1);
}
