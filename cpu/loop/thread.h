/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads beside the main one: a small stack, and a step that each takes
 * before it does anything else: its system call filter. No guest may run before
 * all of them have taken it, the main thread included, so there is one gate for
 * the process.
 */
#ifndef CPU_LOOP_THREAD_H
#define CPU_LOOP_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

/*
 * Makes a system call return in the thread that gets it, and does nothing
 * else. A real-time signal of both libcs' that no library uses.
 */
#define THREAD_SIGNAL 40

/* 0 or -errno, logged; in the thread itself. `enter` NULL: nothing to do. */
struct thread_hook {
	int (*enter)(void *arg, unsigned number);
	void *arg;
};

struct thread {
	bool started;
	pthread_t id;
	_Atomic pid_t tid;
	struct thread_hook hook;
	const char *name; /* as top shows it, with the number */
	unsigned number;  /* for the hook */
	void (*run)(void *arg);
	void *arg;
};

/*
 * Starts a thread that calls the hook and then `run`. What it is to do must be
 * set in *thread, which stays where it is. 0 or -errno, not logged.
 */
int thread_start(struct thread *thread);

/* Sends THREAD_SIGNAL; harmless where it has ended already. */
void thread_kick(const struct thread *thread);

/* Waits for its end; nothing where it was not started. */
void thread_join(struct thread *thread);

/* The number of the thread that asks: a vCPU's own; 0 in the main thread. */
unsigned thread_number(void);

/* Calls the main thread's own hook: 0 or -errno. */
int thread_enter_main(const struct thread_hook *hook);

/*
 * Waits until all threads, the main one included, have called their hooks: 0;
 * the -errno of one that failed; or -ECANCELED after thread_give_up.
 */
int thread_await_all(void);
void thread_give_up(void);

/* Stops the whole process, as SIGSTOP does. */
void thread_stop_process(void);

/* -- what a thread's filter allows ---------------------------------------- */

/*
 * What a run uses of the host, as far as the system calls that serve it differ:
 * bits of a mask. Those who own a thing say so (console_features,
 * devices_features); the system call filter allows what they need and no more.
 */
enum feature {
	FEATURE_OUTPUT = 1 << 0,       /* a serial output that may be full */
	FEATURE_TTY = 1 << 1,	       /* a terminal in raw mode */
	FEATURE_SOCKET = 1 << 2,       /* a serial end that is a socket */
	FEATURE_PTY = 1 << 3,	       /* --serial pty */
	FEATURE_UNIX = 1 << 4,	       /* --serial unix= */
	FEATURE_DISK = 1 << 5,	       /* a disk of any kind, */
	FEATURE_DISK_WRITE = 1 << 6,   /* one whose image is written, */
	FEATURE_EPHEMERAL = 1 << 7,    /* one with an overlay, */
	FEATURE_DISK_DEVICE = 1 << 8,  /* a block device that is written */
	FEATURE_URING = 1 << 9,	       /* some disk uses io_uring */
	FEATURE_TAP = 1 << 10,	       /* --net tap=, or an fd that is one */
	FEATURE_STREAM = 1 << 11,      /* --net unix=, or an fd that is one */
	FEATURE_VSOCK = 1 << 12,       /* --vsock */
	FEATURE_COMMAND = 1 << 13,     /* a vsock stream that mote ends */
	FEATURE_VSOCK_DIAL = 1 << 14,  /* --vsock whose guest reaches others */
	FEATURE_SOCKET_FILE = 1 << 15, /* for the broker to remove */
	FEATURE_OUTPUT_MAX = 1 << 16,  /* a serial output file with max= */
	FEATURE_SNAPSHOT = 1 << 17,    /* --snapshot */
	FEATURE_LEARN = 1 << 18,       /* --restore PATH,learn */
	FEATURE_TREE = 1 << 19,	       /* of a walker: it has a directory */
	FEATURE_EVENTS = 1 << 20,      /* --events */
};

#endif
