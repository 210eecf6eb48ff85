/*
 * The guest's init: what happens between the kernel's start and its end when
 * mote was given a command.
 *
 * It gets its orders from RUN_FILE, reaches mote, sets the guest up, and runs
 * the command. The status is the last thing that it says, after all is on the
 * disks; then mote pulls the plug. Where that does not happen it powers off.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/reboot.h>

#include "boot/init/init.h"
#include "boot/init/sys.h"
#include "cpu/command/protocol.h"

#define PORT_EXIT     0x506u /* cpu/platform.h */
#define PORT_READY    0x507u
#define STATUS_FAILED 125u
#define REBOOT_MAGIC1 0xfee1dead
#define REBOOT_MAGIC2 672274793

/* -- orders --------------------------------------------------------------- */

static void take_string(struct run *run, char *text)
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
	case RUN_NO_SERIAL:
		run->no_serial = true;
		break;
	default:
		break;
	}
}

/* Each string may be in either list, and both end in a NULL: that is enough. */
static void read_run(struct run *run)
{
	const int fd = sys_open("/" RUN_FILE, O_RDONLY | O_CLOEXEC);
	const long size = fd < 0 ? 0 : SYS_3(lseek, fd, 0, 2 /* SEEK_END */);
	char **argv = (void *)((SYS_1(brk, 0) + 15) & ~15L);
	char **env = argv + size / 2 + 1;
	char *text = (void *)(env + size / 2 + 1);

	sys_close(fd);
	SYS_1(brk, text + size + 1);
	text_read("/" RUN_FILE, text, (size_t)size + 1);
	run->argv = argv;
	run->env = env;
	for (char *at = text; at < text + size; at += text_len(at) + 1)
		take_string(run, at);
	run->argv = argv;
	run->env = env;
	/* It has what the command's environment has: not for others. */
	SYS_1(unlink, "/" RUN_FILE);
}

/* -- what mote is told ---------------------------------------------------- */

static const struct {
	long error;
	const char *text;
} errors[] = {
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
};

static void add_error(struct text *text, long error)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (errors[i].error == error) {
			text_add(text_add(text, ": "), errors[i].text);
			return;
		}
	text_add_number(text_add(text, ": error "), (unsigned)-error);
}

void init_note(const char *why, const char *what, long error)
{
	struct text text = { .len = 0 };

	text_add(&text, why);
	if (what)
		text_add(text_add(&text, ": "), what);
	if (error)
		add_error(&text, error);
	if (wire_fd())
		wire_send(PROTOCOL_NOTE, text.bytes, text.len);
	else
		text_write("/dev/console", text_add(&text, "\n")->bytes);
}

/* ioperm may not be there: then /dev/port may be. */
void init_port(unsigned port, unsigned value)
{
	const uint8_t byte = (uint8_t)value;
	int fd;

	if (SYS_3(ioperm, port, 1, 1) == 0) {
		__asm__ volatile("outb %b0, %w1" : : "a"(value), "d"(port));
		SYS_3(ioperm, port, 1, 0);
		return;
	}
	fd = sys_open("/dev/port", O_WRONLY | O_CLOEXEC);
	SYS_4(pwrite64, fd, &byte, 1, port);
	sys_close(fd);
}

static void __attribute__((noreturn)) end(unsigned status)
{
	struct frame frame;

	if (wire_fd()) {
		wire_send_words(PROTOCOL_EXIT, status, 0);
		wire_drain();
		/* Mote ends the guest when it has passed on all of it; what it
		 * sent to the command until then must not fill the buffer. */
		while (wire_read() >= 0)
			while (wire_next(&frame))
				;
	} else {
		init_port(PORT_EXIT, status);
	}
	for (;;)
		SYS_3(reboot, REBOOT_MAGIC1, REBOOT_MAGIC2, RB_POWER_OFF);
}

void init_fail(const char *why, const char *what, long error)
{
	init_note(why, what, error);
	end(STATUS_FAILED);
}

/* -- the order of things -------------------------------------------------- */

void init_main(void) __attribute__((externally_visible));

void init_main(void)
{
	struct run run = { .workdir = "/" };
	unsigned status;

	/* Descriptors 0 to 2 are taken, whatever the kernel has opened. */
	while (sys_open("/", O_PATH | O_CLOEXEC) < 3)
		;
	root_mount_kernel();
	read_run(&run);
	modules_load_drivers();
	if (!wire_open(run.no_serial))
		init_fail("this kernel has neither a vsock driver nor a serial "
			  "port for the command",
			  NULL, 0);
	root_enter();
	net_start();
	init_port(PORT_READY, 1);
	status = relay_run(&run);
	relay_leave();
	end(status);
}

__asm__(".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	and $-16, %rsp\n"
	"	call init_main\n");
