/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of the main thread: epoll over sources, each a file
 * descriptor with a function, and deferred work. One thread, and nothing here
 * is locked but loop_call, by which the other threads have something done in
 * it.
 */
#ifndef CPU_LOOP_LOOP_H
#define CPU_LOOP_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;

/*
 * Owned by whoever watches; must stay where it is while it is added. `events`
 * are EPOLLIN, EPOLLOUT, ...; level-triggered unless EPOLLET is given.
 */
struct loop_source {
	int fd;
	void (*ready)(void *arg, uint32_t events);
	void *arg;
};

/*
 * Something that is not finished, although others are to be served first. The
 * owner fills in the first two and keeps it where it is while it is deferred.
 */
struct loop_work {
	void (*run)(void *arg);
	void *arg;
	struct loop_work *next; /* the loop's, as is what follows */
	bool deferred;
};

struct loop_work_list {
	struct loop_work *first, *last;
};

#define LOOP_BATCH 16

struct loop {
	int epoll_fd;
	bool stop;
	struct epoll_event batch[LOOP_BATCH]; /* being dispatched */
	int batch_next, batch_count;

	struct loop_work_list deferred; /* for the next turn, */
	struct loop_work_list due;	/* and for this one */

	struct loop_work more_calls;
	struct loop_source calls; /* eventfd: loop_call has queued one */
	pthread_mutex_t lock;	  /* of what follows */
	pthread_cond_t done;
	struct loop_call *first, **last; /* queued, on their callers' stacks */
	struct loop_call *held;		 /* to be run again */
	bool hold, closed;
};

/* 0 or -errno, logged. */
int loop_create(struct loop *loop);
void loop_destroy(struct loop *loop);

/*
 * 0 or -errno, not logged: -EPERM is a file that cannot be polled, such as a
 * regular file, and is for the caller to deal with.
 */
int loop_add(struct loop *loop, struct loop_source *source, uint32_t events);
int loop_change(struct loop *loop, struct loop_source *source, uint32_t events);

/* After this `ready` is not called again, also not for events in flight. */
void loop_remove(struct loop *loop, struct loop_source *source);

/*
 * Has work->run called once, in the next turn of the loop: after it has looked
 * at all sources again, and after what was deferred before. Work that is
 * deferred already stays where it is in the line. What defers itself each time
 * that it runs, and does no more than a budget, keeps nobody else waiting.
 */
void loop_defer(struct loop *loop, struct loop_work *work);

/* Afterwards it is not called any more; nothing where it is not deferred. */
void loop_cancel(struct loop *loop, struct loop_work *work);

/*
 * One turn: waits up to `timeout_ms` (-1: without end; not at all where work is
 * deferred) for sources, calls those that are ready, then the work that was
 * deferred before this turn. The number of both, or -errno, logged.
 */
int loop_turn(struct loop *loop, int timeout_ms);

/*
 * Runs until loop_stop, which is called from within a source's function, and
 * then ends all calls.
 */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Nanoseconds of CLOCK_MONOTONIC, which the timers and reports count in. */
uint64_t loop_now(void);

/*
 * For other threads: has `function` run in the loop's thread and waits until it
 * returns. 0; or -ECANCELED where that will not happen any more, because the
 * loop has ended. The function must not wait for a thread that may be in here.
 */
int loop_call(struct loop *loop, void (*function)(void *arg), void *arg);

/*
 * For a function that loop_call runs: it has to be run once more before its
 * caller goes on, after the next loop_resume_calls; the loop does not wait.
 * What is held then must find by itself whether it is for it.
 */
void loop_hold_call(struct loop *loop);
void loop_resume_calls(struct loop *loop);

/*
 * From now on loop_call returns -ECANCELED, also where it is waiting: before
 * anybody waits for the threads that use it.
 */
void loop_end_calls(struct loop *loop);

/*
 * A timer: a source over a timerfd. `ns` from now, once; 0 disarms. The
 * function is called with the timer read, so it fires once for each arming.
 */
struct loop_timer {
	struct loop_source source;
	void (*expired)(void *arg);
	void *arg;
};
int loop_timer_create(struct loop *loop, struct loop_timer *timer,
		      void (*expired)(void *arg), void *arg);
void loop_timer_set(struct loop_timer *timer, uint64_t ns);
void loop_timer_destroy(struct loop *loop, struct loop_timer *timer);

#endif
