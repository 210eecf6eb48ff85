/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command: starts it, carries its bytes both ways until it has ended and
 * all that it wrote has been sent, forwards signals and the terminal's size,
 * and is the parent of all orphans, as process 1 has to be.
 *
 * So it is with a session (session.c), in a process of its own, but for that:
 * it is no one's parent but its command's, asks for no power-off, and kills
 * nothing. What its command leaves running is process 1's. Where its mote is
 * gone before the command has ended, that hears of it by SIGHUP, as from a
 * terminal that is closed: what is to run on ignores that, as with nohup(1).
 *
 * Each direction has a credit (cpu/command/protocol.h). What mote sends goes
 * to a ring with room for all of that, so nothing here ever waits for a command
 * that does not read. What the command writes is read when mote has room.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "boot/init/init.h"
#include "cpu/command/protocol.h"

#define LEAVE_MS 5000  /* for what was killed to be gone */
#define DISK_MS	 30000 /* without any disk's doing anything */
#define STEP_MS	 20
#define KEY_EOF	 4 /* Ctrl-D: end of file, in a terminal */
#define RESTORER 0x04000000UL

#define LOG_READ_ALL 3 /* syslog(2) */

static struct relay {
	bool session; /* this is not process 1 */
	struct child child;
	int status;
	int initctl;	/* others ask process 1 for the power-off here, */
	unsigned power; /* which is then what reboot(2) is told */
	bool tty, exited;
	bool unkillable; /* processes are left that cannot be killed */
	uint32_t credit[PROTOCOL_STREAMS];

	bool input_over;   /* no more comes from mote */
	bool input_closed; /* nor need it: one of both has said so */
	uint32_t ring_at, ring_len;
	uint32_t ring_read; /* by the command; mote does not know yet */

	/* Where the command says by itself when it is ready; else -1 */
	int ready_fifo;
	enum { NOT_READY, SAID, ASKED, TOLD } ready;

	unsigned oom_kills; /* by the kernel, before the command */
	uint8_t ring[PROTOCOL_CREDIT];
} relay;

/* -- the command's input -------------------------------------------------- */

static void relay_close(int *fd)
{
	if (*fd >= 0)
		SYS(close, *fd);
	*fd = -1;
}

/* Nobody will read it. Mote need not send more. */
static void input_close(void)
{
	relay_close(&relay.child.in);
	relay.ring_len = 0;
	if (!relay.input_closed)
		stream_send_words(PROTOCOL_CLOSED, PROTOCOL_STDIN, 0);
	relay.input_closed = true;
}

static void input_store(const uint8_t *data, uint32_t len)
{
	const uint32_t at = (relay.ring_at + relay.ring_len) % PROTOCOL_CREDIT;
	uint32_t first = PROTOCOL_CREDIT - at;

	if (relay.child.in < 0)
		return;
	if (len > PROTOCOL_CREDIT - relay.ring_len)
		stream_fail("mote sends more than it may", NULL, 0);
	if (first > len)
		first = len;
	memcpy(relay.ring + at, data, first);
	memcpy(relay.ring, data + first, len - first);
	relay.ring_len += len;
}

static void input_end(void)
{
	static const uint8_t key = KEY_EOF;

	relay.input_over = relay.input_closed = true;
	/* A terminal has no end. It may be full: then nobody reads. */
	if (relay.tty && relay.ring_len < PROTOCOL_CREDIT)
		input_store(&key, 1);
}

static void input_write(void)
{
	uint32_t len = PROTOCOL_CREDIT - relay.ring_at;
	long n;

	if (len > relay.ring_len)
		len = relay.ring_len;
	if (len && relay.child.in >= 0) {
		n = SYS(write, relay.child.in, relay.ring + relay.ring_at, len);
		if (n < 0 && n != -EAGAIN && n != -EINTR) {
			input_close();
			return;
		}
		if (n > 0) {
			relay.ring_at += (uint32_t)n;
			relay.ring_at %= PROTOCOL_CREDIT;
			relay.ring_len -= (uint32_t)n;
			relay.ring_read += (uint32_t)n;
		}
	}
	/* Nothing more comes after the end, and its key was not mote's. */
	if (relay.ring_read >= PROTOCOL_CREDIT / 4 && !relay.input_over) {
		stream_send_words(PROTOCOL_TAKEN, PROTOCOL_STDIN,
				  relay.ring_read);
		relay.ring_read = 0;
	}
	if (!relay.ring_len && relay.input_over && !relay.tty)
		relay_close(&relay.child.in);
}

/* -- its output ----------------------------------------------------------- */

static void output_send(unsigned stream)
{
	long n;

	if (relay.child.out[stream] < 0 || !relay.credit[stream])
		return;
	n = stream_send_from(stream, relay.child.out[stream],
			     relay.credit[stream]);
	if (n > 0)
		relay.credit[stream] -= (uint32_t)n;
	if (n > 0 && relay.ready == ASKED)
		relay.ready = SAID;
	if (n > 0)
		return;
	if (n != -EINTR && n != -EAGAIN)
		/* EIO: a terminal that nobody has open any more */
		relay_close(&relay.child.out[stream]);
}

/* -- mote's frames -------------------------------------------------------- */

static void relay_obey(const struct frame *frame)
{
	const uint32_t one = frame->word[0], two = frame->word[1];
	const struct winsize size = { (unsigned short)one, (unsigned short)two,
				      0, 0 };

	switch (frame->type) {
	case PROTOCOL_STDIN:
		if (frame->len)
			input_store(frame->payload, frame->len);
		else
			input_end();
		break;
	case PROTOCOL_TAKEN:
		relay.credit[one % PROTOCOL_STREAMS] += two;
		break;
	case PROTOCOL_CLOSED:
		relay_close(&relay.child.out[one % PROTOCOL_STREAMS]);
		break;
	case PROTOCOL_WINCH:
		if (relay.tty && relay.child.in >= 0)
			SYS(ioctl, relay.child.in, TIOCSWINSZ, &size);
		break;
	case PROTOCOL_TIME:
		if (!relay.session)
			clock_obey(frame);
		break;
	case PROTOCOL_SIGNAL:
		if (!relay.exited)
			SYS(kill, -relay.child.pid, one);
		break;
	default:
		break;
	}
}

/* -- processes ------------------------------------------------------------ */

/*
 * What poweroff, halt and reboot ask process 1 for, where they do not do it
 * themselves: by signals, those of busybox and those of systemd (its SIGRTMIN,
 * glibc's, is 34), or by what sysvinit reads, and systemd's tools write where
 * they find no systemd.
 */
static const struct power_signal {
	int number;
	unsigned power;
} power_signals[] = {
	{ SIGUSR1, RB_POWER_OFF }, { SIGUSR2, RB_POWER_OFF },
	{ SIGTERM, RB_AUTOBOOT },  { SIGPWR, RB_POWER_OFF },
	{ 34 + 3, RB_POWER_OFF },  { 34 + 4, RB_POWER_OFF },
	{ 34 + 5, RB_AUTOBOOT },   { 0, 0 },
};

/* Of SIGCHLD it is enough that ppoll returns. */
static void on_signal(int number)
{
	for (const struct power_signal *s = power_signals; s->number; s++)
		if (s->number == number)
			relay.power = s->power;
}

#define INITCTL	      "/run/initctl"
#define INITCTL_MAGIC 0x03091969 /* initreq.h of sysvinit: magic, command, */
#define INITCTL_LEVEL 1		 /* runlevel, and 372 bytes of others */

static void initctl_open(void)
{
	SYS(mknod, INITCTL, S_IFIFO | 0600, 0);
	relay.initctl = sys_open(INITCTL, O_RDWR | O_NONBLOCK);
}

static void initctl_obey(void)
{
	uint32_t request[384 / sizeof(uint32_t)] = { 0 };

	SYS(read, relay.initctl, request, sizeof(request));
	if (request[0] != INITCTL_MAGIC || request[1] != INITCTL_LEVEL)
		return;
	if (request[2] == '0')
		relay.power = RB_POWER_OFF;
	else if (request[2] == '6')
		relay.power = RB_AUTOBOOT;
}

__attribute__((naked)) static void signal_restorer(void)
{
	__asm__("mov %0, %%eax\n\tsyscall" : : "i"(__NR_rt_sigreturn));
}

static void signal_handle(int number, void (*handler)(int number))
{
	const struct {
		void (*handler)(int number);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} action = { handler, RESTORER, signal_restorer, 0 };

	SYS(rt_sigaction, number, &action, NULL, sizeof(uint64_t));
}

/*
 * Process 1 need not ignore SIGPIPE: what has no handler does not kill it. In a
 * session it is handled, as what is ignored would be its command's, too.
 */
static void signals_watch(void)
{
	uint64_t blocked = 1ULL << (SIGCHLD - 1);

	signal_handle(SIGCHLD, on_signal);
	if (relay.session)
		signal_handle(SIGPIPE, on_signal);
	for (const struct power_signal *s = power_signals; s->number; s++) {
		signal_handle(s->number, relay.session ? SIG_DFL : on_signal);
		if (!relay.session)
			blocked |= 1ULL << (s->number - 1);
	}
	SYS(rt_sigprocmask, SIG_SETMASK, &blocked, NULL, sizeof(uint64_t));
}

/* False where there are no children left. */
static bool children_reap(void)
{
	int how = 0;
	long pid;

	while ((pid = SYS(wait4, -1, &how, WNOHANG, NULL)) > 0)
		if (pid == relay.child.pid && !relay.exited) {
			relay.exited = true;
			relay.status = WIFSIGNALED(how) ? 128 + WTERMSIG(how)
							: WEXITSTATUS(how);
		} else {
			session_ended((int)pid);
		}
	return pid == 0;
}

/*
 * What the command left running ends with it, as a machine's power does. What
 * the kernel holds on to (I/O that does not end) may have its output open: that
 * is not waited for.
 */
static void children_kill(void)
{
	SYS(kill, -1, SIGKILL);
	for (int ms = 0; (relay.unkillable = children_reap()) && ms < LEAVE_MS;
	     ms += STEP_MS)
		if (ms)
			sys_sleep_ms(STEP_MS);
		else
			SYS(sched_yield, 0);
}

/* -- a command that says when it is ready --------------------------------- */

/* Everybody may use them: the command need not be root. */
static int fifo_make(const char *path, unsigned mode)
{
	SYS(mknod, path, S_IFIFO | mode, 0);
	SYS(chmod, path, mode);
	return sys_open(path, O_RDWR | O_NONBLOCK);
}

static void program_open(bool program)
{
	relay.ready_fifo = -1;
	if (!program)
		return;
	relay.ready_fifo = fifo_make(RUN_READY_FIFO, 0622);
	SYS(close, fifo_make(RUN_ARGS_FIFO, 0644));
}

static void program_said(void)
{
	char bytes[64];

	if (SYS(read, relay.ready_fifo, bytes, sizeof(bytes)) > 0)
		relay.ready = SAID;
}

/* Opening waits for the command to do so, which must not hold up init. */
static void program_answer(char **argv)
{
	const long pid = SYS(fork, 0);
	int fd;

	if (pid < 0)
		stream_note("cannot tell the command its arguments", NULL, pid);
	if (pid)
		return;
	/* Held here, they would have no end while the command waits. */
	SYS(close, relay.child.in);
	for (unsigned i = PROTOCOL_STDOUT; i < PROTOCOL_STREAMS; i++)
		SYS(close, relay.child.out[i]);
	fd = sys_open(RUN_ARGS_FIFO, O_WRONLY);
	for (; *argv; argv++)
		SYS(write, fd, *argv, text_len(*argv) + 1);
	sys_exit();
}

/*
 * All that the command has written so far is with mote: it belongs to the guest
 * that is saved. In one that is restored nothing is under way in any direction,
 * as mote has sent no input before READY.
 */
static void program_ready(struct run *run)
{
	const struct run runs = *run;
	static char *none[1];
	bool restored;

	relay.ready = TOLD;
	restored = stream_ready();
	if (restored) {
		orders_ask(run);
		/* It has them already; for a session, too. */
		run->env = runs.env;
		run->workdir = runs.workdir;
		run->as = runs.as;
		session_listen(run->exec);
		for (unsigned i = PROTOCOL_STDOUT; i < PROTOCOL_STREAMS; i++)
			relay.credit[i] = PROTOCOL_CREDIT;
		stream_send_bytes(PROTOCOL_READY, "", 0);
		if (relay.input_closed)
			stream_send_words(PROTOCOL_CLOSED, PROTOCOL_STDIN, 0);
	}
	program_answer(restored ? run->argv : none);
}

/*
 * Nothing is left to do. What was sent is on its way, and mote answers what it
 * is asked once all before that is there.
 */
static void program_is_quiet(struct run *run)
{
	if (relay.ready == SAID) {
		clock_ask();
		relay.ready = ASKED;
	} else {
		program_ready(run);
	}
}

/* -- sessions ------------------------------------------------------------- */

/* All that process 1 knows is of another command. */
static void relay_become_session(void)
{
	memset(&relay, 0, offsetof(struct relay, ring));
	relay.session = true;
	relay.initctl = relay.ready_fifo = -1;
}

/* Its mote is gone, which for its command is a terminal that was closed. */
static void relay_hang_up(void)
{
	SYS(kill, -relay.child.pid, SIGHUP);
	SYS(kill, -relay.child.pid, SIGCONT);
	sys_exit();
}

/* -- the loop ------------------------------------------------------------- */

static bool relay_hear(void)
{
	struct frame frame;

	if (stream_receive() < 0)
		return false;
	while (stream_next(&frame))
		relay_obey(&frame);
	return true;
}

/*
 * Waits until there is something to do; does it. False where mote is gone, or
 * nothing more is to be waited for.
 */
static bool relay_step(struct run *run)
{
	static const struct timespec at_once;
	static const uint64_t none;
	const bool input = relay.ring_len || !relay.tty;
	struct pollfd fd[4 + PROTOCOL_STREAMS] = {
		{ stream_fd(), POLLIN, 0 },
		{ input ? relay.child.in : -1, relay.ring_len ? POLLOUT : 0,
		  0 },
		[1 + PROTOCOL_STREAMS] = { relay.initctl, POLLIN, 0 },
		[2 + PROTOCOL_STREAMS] = { relay.ready ? -1 : relay.ready_fifo,
					   POLLIN, 0 },
		[3 + PROTOCOL_STREAMS] = { relay.exited ? -1 : session_fd(),
					   POLLIN, 0 },
	};
	const bool quiet =
		!relay.exited && (relay.ready == SAID ||
				  (relay.ready == ASKED && !clock_is_asked()));
	/* Somebody may have the pipes open for as long as he likes. */
	const bool kept = relay.unkillable || (relay.session && relay.exited);
	bool wait = !kept && !quiet;
	long n;

	for (unsigned i = PROTOCOL_STDOUT; i < PROTOCOL_STREAMS; i++) {
		fd[1 + i].fd = relay.credit[i] ? relay.child.out[i] : -1;
		fd[1 + i].events = POLLIN;
		wait |= relay.child.out[i] >= 0 && !relay.credit[i];
	}
	/* After the end there is but what is in the pipes. */
	n = SYS(ppoll, fd, 4 + PROTOCOL_STREAMS, wait ? NULL : &at_once,
		relay.exited ? NULL : &none, sizeof(none));
	if (!n && quiet)
		program_is_quiet(run);
	else if (!n)
		return false;
	if (n < 0)
		return n == -EINTR || n == -EAGAIN;
	if (fd[0].revents && !relay_hear())
		return false;
	if (fd[1].revents & (POLLERR | POLLHUP) && !relay.tty &&
	    relay.child.in >= 0)
		input_close();
	input_write();
	for (unsigned i = PROTOCOL_STDOUT; i < PROTOCOL_STREAMS; i++)
		if (fd[1 + i].revents)
			output_send(i);
	if (fd[1 + PROTOCOL_STREAMS].revents)
		initctl_obey();
	if (fd[2 + PROTOCOL_STREAMS].revents)
		program_said();
	if (!fd[3 + PROTOCOL_STREAMS].revents || !session_accept())
		return true;
	relay_become_session();
	return false;
}

/* -- the end -------------------------------------------------------------- */

/*
 * What the kernel has killed so far to have memory again: it counts that, or
 * else says it, in the last of what it has said.
 */
static unsigned relay_count_kills(void)
{
	char *text = (char *)relay.ring; /* there is no input */
	const char *rest;
	long len;

	text_read("/proc/vmstat", text, sizeof(relay.ring));
	for (const char *at = text; *at; at++)
		if ((rest = text_after(at, "\noom_kill ")))
			return text_number(&rest);
	len = SYS(syslog, LOG_READ_ALL, text, sizeof(relay.ring) - 1);
	text[len > 0 ? len : 0] = 0;
	for (const char *at = text; *at; at++)
		if (text_after(at, "ut of memory: Kill"))
			return 1;
	return 0;
}

/* Once it has ended in any other way than well. */
static void relay_explain(struct outcome *outcome)
{
	if (!outcome->status || outcome->power ||
	    relay_count_kills() == relay.oom_kills)
		return;
	if (outcome->status == 128 + SIGKILL)
		outcome->flags = PROTOCOL_OOM;
	else
		stream_note("out of memory in the guest: its kernel has killed "
			    "a process; give --memory more",
			    NULL, 0);
}

static void relay_begin(const struct run *run)
{
	relay.tty = run->tty != NULL;
	for (unsigned i = PROTOCOL_STDOUT; i < PROTOCOL_STREAMS; i++)
		relay.credit[i] = PROTOCOL_CREDIT;
	signals_watch();
	if (relay.session) {
		relay.oom_kills = relay_count_kills();
		return;
	}
	initctl_open();
	program_open(run->program);
	session_listen(run->exec);
}

bool relay_run(struct run *run, struct outcome *outcome)
{
	const bool session = relay.session;

	*outcome = (struct outcome){ .status = 0 };
	relay_begin(run);
	outcome->status = child_start(&relay.child, run);
	if (outcome->status)
		return false;
	outcome->started = true;
	stream_send_bytes(PROTOCOL_READY, "", 0);
	while (!relay.exited && !relay.power && relay_step(run))
		children_reap();
	if (relay.session != session)
		return true;
	if (!session)
		children_kill();
	else if (!relay.exited)
		relay_hang_up();
	while (relay.child.out[PROTOCOL_STDOUT] >= 0 ||
	       relay.child.out[PROTOCOL_STDERR] >= 0)
		if (!relay_step(run))
			break;
	outcome->status = (unsigned)relay.status;
	outcome->power = relay.power;
	relay_explain(outcome);
	return false;
}

/*
 * A process that cannot be killed waits for a disk. That may be a slow one, and
 * is waited for; or one that never answers, and then others do not wait for it.
 */
void relay_leave(void)
{
	const long pid = relay.unkillable ? SYS(fork, 0) : -1;
	unsigned long before = 0, now;

	if (relay.session)
		return;
	if (pid <= 0)
		root_leave(!pid);
	if (pid < 0)
		return;
	if (!pid)
		sys_exit();
	for (int ms = 0; ms < DISK_MS; ms += STEP_MS) {
		if (SYS(wait4, pid, NULL, WNOHANG, NULL) == pid)
			return;
		sys_sleep_ms(STEP_MS);
		now = root_operations();
		if (now != before)
			ms = 0;
		before = now;
	}
	stream_note("a disk does not answer: what was written last may not be "
		    "on it",
		    NULL, 0);
}
