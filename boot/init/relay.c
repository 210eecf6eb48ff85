/*
 * Carries the command's bytes both ways until it has ended and all it wrote has
 * been sent; forwards signals and the terminal's size; is the parent of all
 * orphans, as process 1 has to be.
 *
 * Each way has a window (cpu/command/protocol.h). What mote sends goes to a
 * ring with room for all of the window, so nothing here ever waits for a
 * command that does not read. What the command writes is read when mote has
 * room.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "boot/init/init.h"
#include "boot/init/sys.h"
#include "cpu/command/protocol.h"

#define LEAVE_MS 5000  /* for what was killed to be gone */
#define DISK_MS	 30000 /* without any disk's doing anything */
#define STEP_MS	 20
#define KEY_EOF	 4 /* Ctrl-D: end of file, in a terminal */
#define RESTORER 0x04000000UL

static struct child child;
static bool tty, exited, input_over, input_told;
static bool left; /* processes that cannot be killed */
static int status;
static uint32_t credit[PROTOCOL_STREAMS];

static uint8_t ring[PROTOCOL_CREDIT];
static uint32_t ring_at, ring_len, ring_taken; /* the latter: not told yet */

/* -- the command's input -------------------------------------------------- */

/* Nobody will read it. Mote need not send more. */
static void input_closed(void)
{
	if (child.in >= 0)
		sys_close(child.in);
	child.in = -1;
	ring_len = 0;
	if (!input_told)
		wire_send_words(PROTOCOL_CLOSED, PROTOCOL_STDIN, 0);
	input_told = true;
}

static void input_take(const uint8_t *data, uint32_t len)
{
	if (child.in < 0)
		return;
	if (len > PROTOCOL_CREDIT - ring_len)
		init_fail("mote sends more than it may", NULL, 0);
	for (uint32_t i = 0; i < len; i++)
		ring[(ring_at + ring_len + i) % PROTOCOL_CREDIT] = data[i];
	ring_len += len;
}

static void input_end(void)
{
	static const uint8_t key = KEY_EOF;

	input_over = input_told = true;
	/* A terminal has no end. It may be full: then nobody reads. */
	if (tty && ring_len < PROTOCOL_CREDIT)
		input_take(&key, 1);
}

static void input_write(void)
{
	uint32_t len = PROTOCOL_CREDIT - ring_at;
	long n;

	if (len > ring_len)
		len = ring_len;
	if (len && child.in >= 0) {
		n = sys_write(child.in, ring + ring_at, len);
		if (n < 0 && n != -EAGAIN && n != -EINTR) {
			input_closed();
			return;
		}
		if (n > 0) {
			ring_at = (ring_at + (uint32_t)n) % PROTOCOL_CREDIT;
			ring_len -= (uint32_t)n;
			ring_taken += (uint32_t)n;
		}
	}
	/* Nothing more comes after the end, and its key was not mote's. */
	if (ring_taken >= PROTOCOL_CREDIT / 4 && !input_over) {
		wire_send_words(PROTOCOL_TAKEN, PROTOCOL_STDIN, ring_taken);
		ring_taken = 0;
	}
	if (!ring_len && input_over && !tty && child.in >= 0) {
		sys_close(child.in);
		child.in = -1;
	}
}

/* -- its output ----------------------------------------------------------- */

static void output_close(unsigned stream)
{
	if (child.out[stream] >= 0)
		sys_close(child.out[stream]);
	child.out[stream] = -1;
}

static void output_read(unsigned stream)
{
	const size_t room = credit[stream] < PROTOCOL_CHUNK ? credit[stream]
							    : PROTOCOL_CHUNK;
	long n;

	if (child.out[stream] < 0 || !room)
		return;
	n = sys_read(child.out[stream], wire_piece(), room);
	if (n == -EINTR || n == -EAGAIN)
		return;
	if (n <= 0) { /* a terminal that nobody has open any more: EIO */
		output_close(stream);
		return;
	}
	credit[stream] -= (uint32_t)n;
	wire_send_piece(stream, (size_t)n);
}

/* -- mote's frames -------------------------------------------------------- */

static void take_frame(const struct frame *frame)
{
	const uint32_t one = frame->word[0], two = frame->word[1];
	const struct winsize size = { (unsigned short)one, (unsigned short)two,
				      0, 0 };

	switch (frame->type) {
	case PROTOCOL_STDIN:
		if (frame->len)
			input_take(frame->payload, frame->len);
		else
			input_end();
		break;
	case PROTOCOL_TAKEN:
		credit[one % PROTOCOL_STREAMS] += two;
		break;
	case PROTOCOL_CLOSED:
		output_close(one % PROTOCOL_STREAMS);
		break;
	case PROTOCOL_WINCH:
		if (tty && child.in >= 0)
			sys_ioctl(child.in, TIOCSWINSZ, &size);
		break;
	case PROTOCOL_SIGNAL:
		if (!exited)
			sys_kill(-child.pid, (int)one);
		break;
	default:
		break;
	}
}

/* False where mote is gone. */
static bool take_frames(void)
{
	struct frame frame;

	if (wire_read() < 0)
		return false;
	while (wire_next(&frame))
		take_frame(&frame);
	return true;
}

/* -- processes ------------------------------------------------------------ */

static void on_child(int number)
{
	(void)number; /* it is enough that ppoll returns */
}

__attribute__((naked)) static void restore(void)
{
	__asm__("mov %0, %%eax\n\tsyscall" : : "i"(__NR_rt_sigreturn));
}

/* Process 1 need not ignore SIGPIPE: what has no handler does not kill it. */
static void watch_children(void)
{
	const struct {
		void (*handler)(int number);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} action = { on_child, RESTORER, restore, 0 };
	const uint64_t blocked = 1ULL << (SIGCHLD - 1);

	SYS_4(rt_sigaction, SIGCHLD, &action, NULL, sizeof(uint64_t));
	SYS_4(rt_sigprocmask, SIG_BLOCK, &blocked, NULL, sizeof(uint64_t));
}

/* False where there are no children left. */
static bool reap(void)
{
	int how = 0;
	long pid;

	while ((pid = SYS_4(wait4, -1, &how, WNOHANG, NULL)) > 0)
		if (pid == child.pid && !exited) {
			exited = true;
			status = WIFSIGNALED(how) ? 128 + WTERMSIG(how)
						  : WEXITSTATUS(how);
		}
	return pid == 0;
}

/*
 * What the command left running ends with it, as a machine's power does. What
 * the kernel holds on to (I/O that does not end) may have its output open: that
 * is not waited for.
 */
static void kill_all(void)
{
	sys_kill(-1, SIGKILL);
	for (int ms = 0; (left = reap()) && ms < LEAVE_MS; ms += STEP_MS) {
		if (ms)
			sys_sleep_ms(STEP_MS);
		else
			SYS_0(sched_yield);
	}
}

/* -- the loop ------------------------------------------------------------- */

/*
 * Waits until there is something to do; does it. False where mote is gone, or
 * nothing more is to be waited for.
 */
static bool turn(void)
{
	static const struct timespec at_once;
	static const uint64_t none;
	struct pollfd fd[1 + PROTOCOL_STREAMS] = {
		{ wire_fd(), POLLIN, 0 },
		{ ring_len || !tty ? child.in : -1, ring_len ? POLLOUT : 0, 0 },
	};
	bool wait = !left;
	long n;

	for (unsigned i = PROTOCOL_STDOUT; i < PROTOCOL_STREAMS; i++) {
		fd[1 + i].fd = credit[i] ? child.out[i] : -1;
		fd[1 + i].events = POLLIN;
		wait |= child.out[i] >= 0 && !credit[i];
	}
	/* After the end there is but what is in the pipes. */
	n = SYS_5(ppoll, fd, 1 + PROTOCOL_STREAMS, wait ? NULL : &at_once,
		  exited ? NULL : &none, sizeof(none));
	if (!n)
		return false;
	if (n < 0)
		return n == -EINTR || n == -EAGAIN;
	if (fd[0].revents && !take_frames())
		return false;
	if (fd[1].revents & (POLLERR | POLLHUP) && !tty && child.in >= 0)
		input_closed();
	input_write();
	for (unsigned i = PROTOCOL_STDOUT; i < PROTOCOL_STREAMS; i++)
		if (fd[1 + i].revents)
			output_read(i);
	return true;
}

unsigned relay_run(const struct run *run)
{
	int failed;

	tty = run->tty != NULL;
	for (unsigned i = PROTOCOL_STDOUT; i < PROTOCOL_STREAMS; i++)
		credit[i] = PROTOCOL_CREDIT;
	watch_children();
	failed = child_start(&child, run);
	if (failed >= 0)
		return (unsigned)failed;
	wire_send(PROTOCOL_READY, "", 0);
	while (!exited) {
		if (!turn())
			break;
		reap();
	}
	kill_all();
	while (child.out[PROTOCOL_STDOUT] >= 0 ||
	       child.out[PROTOCOL_STDERR] >= 0)
		if (!turn())
			break;
	return (unsigned)status;
}

/*
 * A process that cannot be killed waits for a disk. That may be a slow one, and
 * is waited for; or one that never answers, and then others do not wait for it.
 */
void relay_leave(void)
{
	const long pid = left ? SYS_0(fork) : -1;
	unsigned long before = 0, now;

	if (pid <= 0)
		root_leave(!pid);
	if (pid < 0)
		return;
	if (!pid)
		sys_exit();
	for (int ms = 0; ms < DISK_MS; ms += STEP_MS) {
		if (SYS_4(wait4, pid, NULL, WNOHANG, NULL) == pid)
			return;
		sys_sleep_ms(STEP_MS);
		now = root_done();
		if (now != before)
			ms = 0;
		before = now;
	}
	init_note("a disk does not answer: what was written last may not be "
		  "on it",
		  NULL, 0);
}
