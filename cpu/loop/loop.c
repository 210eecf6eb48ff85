/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread's event loop over epoll.
 *
 * epoll hands over up to LOOP_BATCH events at a time. A source that one of
 * them removes may have an event further on in the same batch, and its owner
 * may free it at once: loop_remove therefore clears it from the rest of the
 * batch. A turn of the loop is one epoll_wait, the functions of its batch, and
 * then the work that was deferred before the turn began; with work deferred the
 * wait does not sleep. So what defers itself again runs once a turn, and all
 * sources are looked at in between. Everything runs in the thread that calls
 * loop_run; other threads get its attention by writing to an eventfd that is a
 * source here, as loop_call does.
 *
 * Owns the epoll descriptor, that eventfd and timers' descriptors, no others.
 */
#include "cpu/loop/loop.h"

#include "mem/log.h"
#include "mem/util.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000u

/* What a thread in loop_call waits for. */
struct loop_call {
	struct loop_call *next;
	void (*function)(void *arg);
	void *arg;
	int result;
	bool done;
};

static struct loop_call *take_call(struct loop *loop)
{
	struct loop_call *call = loop->first;

	if (!call)
		return NULL;
	loop->first = call->next;
	if (!loop->first)
		loop->last = &loop->first;
	return call;
}

static void finish_call(struct loop *loop, struct loop_call *call, int result)
{
	call->result = result;
	call->done = true;
	pthread_cond_broadcast(&loop->done);
}

/*
 * A few, and the rest after the other sources have had their turn: the vCPUs of
 * a guest, several together, can call without end.
 */
static void run_calls(void *arg)
{
	struct loop *loop = arg;
	struct loop_call *call;

	pthread_mutex_lock(&loop->lock);
	for (unsigned i = 0; i < LOOP_BATCH && !loop->stop; i++) {
		call = take_call(loop);
		if (!call)
			break;
		pthread_mutex_unlock(&loop->lock);
		loop->hold = false;
		call->function(call->arg);
		pthread_mutex_lock(&loop->lock);
		if (!loop->hold) {
			finish_call(loop, call, 0);
			continue;
		}
		call->next = loop->held;
		loop->held = call;
	}
	if (loop->first)
		loop_defer(loop, &loop->more_calls);
	pthread_mutex_unlock(&loop->lock);
}

static void calls_ready(void *arg, uint32_t events)
{
	struct loop *loop = arg;
	uint64_t count;

	(void)events;
	/* With more_calls deferred these are in the line already. */
	if (read(loop->calls.fd, &count, sizeof(count)) == sizeof(count) &&
	    !loop->more_calls.deferred)
		run_calls(loop);
}

static int watch_calls(struct loop *loop)
{
	int error;

	loop->calls.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->calls.fd < 0)
		return log_errno("eventfd");
	error = loop_add(loop, &loop->calls, EPOLLIN);
	if (error)
		log_error("cannot watch an eventfd: %s", strerror(-error));
	return error;
}

int loop_create(struct loop *loop)
{
	int error;

	*loop = (struct loop){
		.calls = { -1, calls_ready, loop },
		.more_calls = { .run = run_calls, .arg = loop },
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.done = PTHREAD_COND_INITIALIZER,
	};
	loop->last = &loop->first;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return log_errno("epoll_create1");
	error = watch_calls(loop);
	if (error)
		loop_destroy(loop);
	return error;
}

void loop_destroy(struct loop *loop)
{
	/* Never created: nothing is open, and calls.fd says nothing. */
	if (loop->epoll_fd < 0)
		return;
	if (loop->calls.fd >= 0)
		close(loop->calls.fd);
	close(loop->epoll_fd);
	loop->calls.fd = loop->epoll_fd = -1;
}

static int epoll_control(struct loop *loop, int operation,
			 struct loop_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (epoll_ctl(loop->epoll_fd, operation, source->fd, &event) < 0)
		return -errno;
	return 0;
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events)
{
	return epoll_control(loop, EPOLL_CTL_ADD, source, events);
}

int loop_change(struct loop *loop, struct loop_source *source, uint32_t events)
{
	return epoll_control(loop, EPOLL_CTL_MOD, source, events);
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
	/* Fails only where it was not added, which is as good. */
	epoll_control(loop, EPOLL_CTL_DEL, source, 0);
	for (int i = loop->batch_next; i < loop->batch_count; i++)
		if (loop->batch[i].data.ptr == source)
			loop->batch[i].data.ptr = NULL;
}

static int dispatch_batch(struct loop *loop)
{
	int count = 0;

	while (loop->batch_next < loop->batch_count && !loop->stop) {
		const struct epoll_event event =
			loop->batch[loop->batch_next++];
		const struct loop_source *source = event.data.ptr;

		if (!source)
			continue;
		source->ready(source->arg, event.events);
		count++;
	}
	return count;
}

/* -- deferred work -------------------------------------------------------- */

void loop_defer(struct loop *loop, struct loop_work *work)
{
	struct loop_work_list *list = &loop->deferred;

	if (work->deferred)
		return;
	work->deferred = true;
	work->next = NULL;
	if (list->first)
		list->last->next = work;
	else
		list->first = work;
	list->last = work;
}

static void remove_work(struct loop_work_list *list,
			const struct loop_work *work)
{
	struct loop_work *before = NULL;

	for (struct loop_work *at = list->first; at; at = at->next) {
		if (at != work) {
			before = at;
			continue;
		}
		if (before)
			before->next = at->next;
		else
			list->first = at->next;
		if (list->last == at)
			list->last = before;
		return;
	}
}

void loop_cancel(struct loop *loop, struct loop_work *work)
{
	if (!work->deferred)
		return;
	work->deferred = false;
	remove_work(&loop->due, work);
	remove_work(&loop->deferred, work);
}

static int run_due(struct loop *loop)
{
	int count = 0;

	while (loop->due.first && !loop->stop) {
		struct loop_work *work = loop->due.first;

		loop->due.first = work->next;
		work->deferred = false;
		work->run(work->arg);
		count++;
	}
	return count;
}

/* -- running -------------------------------------------------------------- */

/* The next batch of events: 0, or -errno, logged. */
static int wait_for_batch(struct loop *loop, int timeout_ms)
{
	int error;

	loop->batch_next = 0;
	loop->batch_count =
		epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, timeout_ms);
	if (loop->batch_count >= 0)
		return 0;
	error = errno;
	loop->batch_count = 0;
	if (error == EINTR)
		return 0;
	log_error("epoll_wait: %s", strerror(error));
	return -error;
}

/*
 * A turn that loop_stop has ended is finished by the next one: edges do not
 * come again, and work is not forgotten.
 */
int loop_turn(struct loop *loop, int timeout_ms)
{
	int error, count;

	loop->stop = false;
	if (loop->batch_next == loop->batch_count && !loop->due.first) {
		loop->due = loop->deferred;
		loop->deferred = (struct loop_work_list){ NULL, NULL };
		error = wait_for_batch(loop, loop->due.first ? 0 : timeout_ms);
		if (error)
			return error;
	}
	count = dispatch_batch(loop);
	return count + run_due(loop);
}

static int run_until_stop(struct loop *loop)
{
	int count;

	do
		count = loop_turn(loop, -1);
	while (count >= 0 && !loop->stop);
	return count < 0 ? count : 0;
}

int loop_run(struct loop *loop)
{
	int error = run_until_stop(loop);

	loop_end_calls(loop);
	return error;
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
}

uint64_t loop_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* -- calls from other threads --------------------------------------------- */

int loop_call(struct loop *loop, void (*function)(void *arg), void *arg)
{
	struct loop_call call = { .function = function,
				  .arg = arg,
				  .result = -ECANCELED };

	pthread_mutex_lock(&loop->lock);
	if (!loop->closed) {
		/* It is off the list before this returns: it is done then. */
		*loop->last = &call;
		/* cppcheck-suppress autoVariables */
		loop->last = &call.next;
		eventfd_raise(loop->calls.fd);
		while (!call.done)
			pthread_cond_wait(&loop->done, &loop->lock);
	}
	pthread_mutex_unlock(&loop->lock);
	return call.result;
}

void loop_hold_call(struct loop *loop)
{
	loop->hold = true;
}

/* With the lock: those that are held are queued again. */
static void queue_held_calls(struct loop *loop)
{
	struct loop_call *call;

	while ((call = loop->held)) {
		loop->held = call->next;
		call->next = NULL;
		*loop->last = call;
		loop->last = &call->next;
	}
}

void loop_resume_calls(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	queue_held_calls(loop);
	pthread_mutex_unlock(&loop->lock);
	loop_defer(loop, &loop->more_calls);
}

void loop_end_calls(struct loop *loop)
{
	struct loop_call *call;

	pthread_mutex_lock(&loop->lock);
	loop->closed = true;
	queue_held_calls(loop);
	while ((call = take_call(loop)))
		finish_call(loop, call, -ECANCELED);
	pthread_mutex_unlock(&loop->lock);
}

/* -- timers --------------------------------------------------------------- */

static void timer_ready(void *arg, uint32_t events)
{
	struct loop_timer *timer = arg;
	uint64_t count;

	(void)events;
	/* EAGAIN: it was set anew or disarmed after epoll had seen it. */
	if (read(timer->source.fd, &count, sizeof(count)) == sizeof(count))
		timer->expired(timer->arg);
}

int loop_timer_create(struct loop *loop, struct loop_timer *timer,
		      void (*expired)(void *arg), void *arg)
{
	int error;

	*timer = (struct loop_timer){
		.source = { -1, timer_ready, timer },
		.expired = expired,
		.arg = arg,
	};
	timer->source.fd =
		timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (timer->source.fd < 0)
		return log_errno("timerfd_create");
	error = loop_add(loop, &timer->source, EPOLLIN);
	if (error) {
		log_error("cannot watch a timer: %s", strerror(-error));
		loop_timer_destroy(loop, timer);
	}
	return error;
}

void loop_timer_set(struct loop_timer *timer, uint64_t ns)
{
	const struct itimerspec when = {
		.it_value = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) },
	};

	timerfd_settime(timer->source.fd, 0, &when, NULL);
}

void loop_timer_destroy(struct loop *loop, struct loop_timer *timer)
{
	if (timer->source.fd < 0)
		return;
	loop_remove(loop, &timer->source);
	close(timer->source.fd);
	timer->source.fd = -1;
}
