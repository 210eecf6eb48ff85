/*
 * The main thread's event loop over epoll.
 *
 * epoll hands over up to LOOP_BATCH events at a time. A source that one of
 * them removes may have an event further on in the same batch, and its owner
 * may free it at once: loop_remove therefore clears it from the rest of the
 * batch. Everything runs in the thread that calls loop_run; other threads get
 * its attention by writing to an eventfd that is a source here, as loop_call
 * does.
 *
 * Owns the epoll descriptor, that eventfd and timers' descriptors, no others.
 */
#include "cpu/loop/loop.h"

#include "mem/log.h"

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

static void run_calls(void *arg, uint32_t events);

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
		.calls = { -1, run_calls, loop },
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.done = PTHREAD_COND_INITIALIZER,
	};
	loop->last = &loop->first;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		error = errno;
		log_error("epoll_create1: %s; raise the limit on open files "
			  "(ulimit -n)",
			  strerror(error));
		return -error;
	}
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

static int control(struct loop *loop, int operation, struct loop_source *source,
		   uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (epoll_ctl(loop->epoll_fd, operation, source->fd, &event) < 0)
		return -errno;
	return 0;
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events)
{
	return control(loop, EPOLL_CTL_ADD, source, events);
}

int loop_change(struct loop *loop, struct loop_source *source, uint32_t events)
{
	return control(loop, EPOLL_CTL_MOD, source, events);
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
	/* Fails only where it was not added, which is as good. */
	control(loop, EPOLL_CTL_DEL, source, 0);
	for (int i = loop->batch_next; i < loop->batch_count; i++)
		if (loop->batch[i].data.ptr == source)
			loop->batch[i].data.ptr = NULL;
}

static void dispatch(struct loop *loop)
{
	while (loop->batch_next < loop->batch_count && !loop->stop) {
		const struct epoll_event event =
			loop->batch[loop->batch_next++];
		const struct loop_source *source = event.data.ptr;

		if (source)
			source->ready(source->arg, event.events);
	}
}

static int run(struct loop *loop)
{
	int error;

	loop->stop = false;
	dispatch(loop);
	while (!loop->stop) {
		loop->batch_next = 0;
		loop->batch_count =
			epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, -1);
		if (loop->batch_count >= 0) {
			dispatch(loop);
			continue;
		}
		error = errno;
		loop->batch_count = 0;
		if (error != EINTR) {
			log_error("epoll_wait: %s", strerror(error));
			return -error;
		}
	}
	/*
	 * What is left of the batch is for the next run: edges do not come
	 * again.
	 */
	return 0;
}

int loop_run(struct loop *loop)
{
	int error = run(loop);

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

static void wake(struct loop *loop)
{
	const uint64_t one = 1;

	/* EAGAIN: the counter is full, so the loop is woken already */
	while (write(loop->calls.fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/*
 * A few, and the rest after the other sources have had their turn: the vCPUs of
 * a guest, several together, can call without end.
 */
static void run_calls(void *arg, uint32_t events)
{
	struct loop *loop = arg;
	struct loop_call *call;
	uint64_t count;

	(void)events;
	if (read(loop->calls.fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&loop->lock);
	for (unsigned i = 0; i < LOOP_BATCH && !loop->stop; i++) {
		call = take_call(loop);
		if (!call)
			break;
		pthread_mutex_unlock(&loop->lock);
		call->function(call->arg);
		pthread_mutex_lock(&loop->lock);
		finish_call(loop, call, 0);
	}
	if (loop->first)
		wake(loop);
	pthread_mutex_unlock(&loop->lock);
}

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
		wake(loop);
		while (!call.done)
			pthread_cond_wait(&loop->done, &loop->lock);
	}
	pthread_mutex_unlock(&loop->lock);
	return call.result;
}

void loop_end_calls(struct loop *loop)
{
	struct loop_call *call;

	pthread_mutex_lock(&loop->lock);
	loop->closed = true;
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
	if (timer->source.fd < 0) {
		error = errno;
		log_error("timerfd_create: %s", strerror(error));
		return -error;
	}
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
