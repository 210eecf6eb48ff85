/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/loop/loop.c mem/log.c */
/*
 * The event loop: dispatch, removal from within a dispatch, signals, timers,
 * and calls from other threads.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu/loop/loop.h"

#define SOURCES (3 * LOOP_BATCH)

static struct loop loop;
static struct loop_source sources[SOURCES];
static unsigned calls;

static int setup(void **state)
{
	(void)state;
	alarm(30); /* a loop that hangs fails */
	calls = 0;
	return loop_create(&loop);
}

static int teardown(void **state)
{
	(void)state;
	alarm(0);
	loop_destroy(&loop);
	assert_int_equal(loop.epoll_fd, -1);
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void count_and_stop(void *arg, uint32_t events)
{
	struct loop_source *source = arg;
	uint64_t count;

	assert_true(events & EPOLLIN);
	assert_int_equal(read(source->fd, &count, sizeof(count)), 8);
	if (++calls == SOURCES)
		loop_stop(&loop);
}

static void test_dispatch(void **state)
{
	(void)state;
	for (int i = 0; i < SOURCES; i++) {
		sources[i] =
			(struct loop_source){ eventfd(1, EFD_CLOEXEC),
					      count_and_stop, &sources[i] };
		assert_int_equal(loop_add(&loop, &sources[i], EPOLLIN), 0);
	}
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(calls, SOURCES);
	for (int i = 0; i < SOURCES; i++)
		close(sources[i].fd);
}

static struct loop_timer later;

static void stop_now(void *arg)
{
	(void)arg;
	loop_stop(&loop);
}

/* After what is left of this batch: stopping now would hide it. */
static void stop_later(void)
{
	assert_int_equal(loop_timer_create(&loop, &later, stop_now, NULL), 0);
	loop_timer_set(&later, 1000000);
}

/* The first one called removes all others, and frees what they point to. */
static void remove_others(void *arg, uint32_t events)
{
	struct loop_source **all = arg;

	(void)events;
	calls++;
	for (int i = 1; i < LOOP_BATCH; i++) {
		loop_remove(&loop, all[i]);
		close(all[i]->fd);
		free(all[i]);
	}
	loop_remove(&loop, all[0]);
	close(all[0]->fd);
	stop_later();
}

static void never(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
	fail();
}

static void test_remove_in_dispatch(void **state)
{
	struct loop_source *all[LOOP_BATCH];

	(void)state;
	for (int i = 0; i < LOOP_BATCH; i++) {
		all[i] = calloc(1, sizeof(*all[i]));
		*all[i] =
			(struct loop_source){ eventfd(1, EFD_CLOEXEC),
					      i ? never : remove_others, all };
		assert_int_equal(loop_add(&loop, all[i], EPOLLIN), 0);
	}
	/* All are ready at once, so they come in one batch. */
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(calls, 1);
	loop_timer_destroy(&loop, &later);
	free(all[0]);
}

static void stop_at_once(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
	calls++;
	loop_stop(&loop);
}

/* Edges that came in one batch with a stop are not lost. */
static void test_edges_behind_a_stop(void **state)
{
	struct loop_source source[LOOP_BATCH];

	(void)state;
	for (int i = 0; i < LOOP_BATCH; i++) {
		source[i] = (struct loop_source){ eventfd(1, EFD_CLOEXEC),
						  stop_at_once, NULL };
		assert_int_equal(loop_add(&loop, &source[i], EPOLLIN | EPOLLET),
				 0);
	}
	for (unsigned i = 1; i <= LOOP_BATCH; i++) {
		assert_int_equal(loop_run(&loop), 0);
		assert_int_equal(calls, i);
	}
	for (int i = 0; i < LOOP_BATCH; i++) {
		loop_remove(&loop, &source[i]);
		close(source[i].fd);
	}
}

static struct loop_source first;

/* A removed source whose descriptor number is in use again at once. */
static void replace(void *arg, uint32_t events)
{
	struct loop_source *other = arg;
	int fd = other->fd;

	(void)events;
	loop_remove(&loop, other);
	close(fd);
	other->fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(other->fd, fd);
	assert_int_equal(loop_add(&loop, other, EPOLLIN), 0);
	loop_remove(&loop, &first);
	close(first.fd);
	calls++;
	stop_later();
}

static void test_same_descriptor(void **state)
{
	(void)state;
	first = (struct loop_source){ eventfd(1, EFD_CLOEXEC), replace,
				      &sources[0] };
	sources[0] =
		(struct loop_source){ eventfd(1, EFD_CLOEXEC), never, NULL };
	assert_int_equal(loop_add(&loop, &first, EPOLLIN), 0);
	assert_int_equal(loop_add(&loop, &sources[0], EPOLLIN), 0);
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(calls, 1);
	loop_timer_destroy(&loop, &later);
	close(sources[0].fd);
}

static void stop_after_three(void *arg, uint32_t events)
{
	(void)arg;
	assert_int_equal(events, EPOLLOUT);
	if (++calls == 3)
		loop_stop(&loop);
}

static void test_change(void **state)
{
	struct loop_source source = { eventfd(0, EFD_CLOEXEC), stop_after_three,
				      NULL };

	(void)state;
	assert_int_equal(loop_change(&loop, &source, EPOLLOUT), -ENOENT);
	assert_int_equal(loop_add(&loop, &source, EPOLLIN), 0);
	assert_int_equal(loop_add(&loop, &source, EPOLLIN), -EEXIST);
	assert_int_equal(loop_change(&loop, &source, EPOLLOUT), 0);
	/* Level-triggered: as long as it is so, it is said so. */
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(calls, 3);
	close(source.fd);
}

static void test_regular_file(void **state)
{
	struct loop_source source = { open("/proc/self/exe", O_RDONLY), never,
				      NULL };

	(void)state;
	assert_int_equal(loop_add(&loop, &source, EPOLLIN), -EPERM);
	loop_remove(&loop, &source);
	close(source.fd);
}

static void expired(void *arg)
{
	(void)arg;
	calls++;
}

static void expired_stop(void *arg)
{
	(void)arg;
	loop_stop(&loop);
}

static void test_timers(void **state)
{
	struct loop_timer once, disarmed, again, end;
	uint64_t start = now_ms();

	(void)state;
	assert_int_equal(loop_timer_create(&loop, &once, expired, NULL), 0);
	assert_int_equal(loop_timer_create(&loop, &disarmed, expired, NULL), 0);
	assert_int_equal(loop_timer_create(&loop, &again, expired, NULL), 0);
	assert_int_equal(loop_timer_create(&loop, &end, expired_stop, NULL), 0);
	loop_timer_set(&once, 1000000);
	loop_timer_set(&disarmed, 1000000);
	loop_timer_set(&disarmed, 0);
	/* Set anew: the first time is forgotten. */
	loop_timer_set(&again, 1000000);
	loop_timer_set(&again, UINT64_C(3600000000000));
	loop_timer_set(&end, 50000000);
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(calls, 1);
	assert_in_range(now_ms() - start, 49, 5000);
	loop_timer_destroy(&loop, &once);
	loop_timer_destroy(&loop, &once);
	loop_timer_destroy(&loop, &disarmed);
	loop_timer_destroy(&loop, &again);
	loop_timer_destroy(&loop, &end);
}

static void on_signal(int number)
{
	(void)number;
	calls++;
}

static void stop_on(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
	loop_stop(&loop);
}

static void test_interrupted(void **state)
{
	const struct sigaction action = { .sa_handler = on_signal };
	const pid_t parent = getpid();
	const uint64_t done = 1;
	struct loop_source end = { eventfd(0, EFD_CLOEXEC), stop_on, NULL };
	pid_t child;

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(loop_add(&loop, &end, EPOLLIN), 0);
	child = fork();
	if (!child) {
		for (int i = 0; i < 20; i++) {
			usleep(1000);
			kill(parent, SIGUSR1);
		}
		_exit(write(end.fd, &done, sizeof(done)) != sizeof(done));
	}
	assert_int_equal(loop_run(&loop), 0);
	assert_true(calls > 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(end.fd);
}

/* -- loop_call ------------------------------------------------------------ */

#define CALLERS	 4
#define EACH	 200
#define UNENDING 1000000

static struct caller {
	pthread_t thread;
	unsigned most, made;
	int last; /* what the last call returned */
	bool inside;
} callers[CALLERS];
static pthread_t loop_thread;
static _Atomic unsigned ended;

static void called(void *arg)
{
	struct caller *caller = arg;

	assert_true(pthread_equal(pthread_self(), loop_thread));
	caller->inside = true;
	calls++; /* no other thread does: that is the point */
	caller->made++;
	caller->inside = false;
}

static void called_last(void *arg)
{
	called(arg);
	if (calls == CALLERS * EACH)
		loop_stop(&loop);
}

static void *call_often(void *arg)
{
	struct caller *caller = arg;

	for (unsigned i = 0; i < caller->most; i++) {
		caller->last = loop_call(&loop, called_last, caller);
		if (caller->last)
			break;
		assert_false(caller->inside);
	}
	ended++;
	return NULL;
}

static void start_callers(unsigned most)
{
	loop_thread = pthread_self();
	ended = 0;
	for (unsigned i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){ .most = most };
		assert_int_equal(pthread_create(&callers[i].thread, NULL,
						call_often, &callers[i]),
				 0);
	}
}

static void join_callers(void)
{
	for (unsigned i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
	assert_int_equal(ended, CALLERS);
}

static void test_calls(void **state)
{
	(void)state;
	start_callers(EACH);
	assert_int_equal(loop_run(&loop), 0);
	join_callers();
	assert_int_equal(calls, CALLERS * EACH);
	for (unsigned i = 0; i < CALLERS; i++) {
		assert_int_equal(callers[i].made, EACH);
		assert_int_equal(callers[i].last, 0);
	}
	/* The loop has ended: at once, and not run. */
	assert_int_equal(loop_call(&loop, called, &callers[0]), -ECANCELED);
	assert_int_equal(calls, CALLERS * EACH);
}

/* The loop stops while all of them keep calling. */
static void test_calls_end(void **state)
{
	(void)state;
	start_callers(UNENDING);
	assert_int_equal(loop_run(&loop), 0);
	join_callers();
	assert_int_equal(calls, CALLERS * EACH);
	for (unsigned i = 0; i < CALLERS; i++)
		assert_int_equal(callers[i].last, -ECANCELED);
}

static unsigned waiting(void)
{
	unsigned count = 0;

	pthread_mutex_lock(&loop.lock);
	for (struct loop_call **at = &loop.first; at != loop.last; count++)
		at = (struct loop_call **)*at; /* `next` is the first member */
	pthread_mutex_unlock(&loop.lock);
	return count;
}

static bool timer_came;

static void stop_in_time(void *arg)
{
	(void)arg;
	timer_came = true;
	loop_stop(&loop);
}

/* Takes long enough for the others to call once more meanwhile. */
static void called_slowly(void *arg)
{
	(void)arg;
	usleep(5000);
	if (++calls == 1000)
		loop_stop(&loop);
}

static void *call_slowly(void *arg)
{
	struct caller *caller = arg;

	while (!caller->last)
		caller->last = loop_call(&loop, called_slowly, NULL);
	return NULL;
}

/* Callers without end leave the loop time for its other sources. */
static void test_calls_without_end(void **state)
{
	(void)state;
	timer_came = false;
	assert_int_equal(loop_timer_create(&loop, &later, stop_in_time, NULL),
			 0);
	for (unsigned i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){ 0 };
		assert_int_equal(pthread_create(&callers[i].thread, NULL,
						call_slowly, &callers[i]),
				 0);
	}
	while (waiting() < CALLERS)
		usleep(1000);
	loop_timer_set(&later, 10000000);
	assert_int_equal(loop_run(&loop), 0);
	for (unsigned i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
	assert_true(timer_came);
	assert_true(calls > 0);
	loop_timer_destroy(&loop, &later);
}

static _Atomic unsigned tries;

/* Done at the third time. */
static void called_thrice(void *arg)
{
	(void)arg;
	if (++tries < 3)
		loop_hold_call(&loop);
}

static void *call_thrice(void *arg)
{
	struct caller *caller = arg;

	caller->last = loop_call(&loop, called_thrice, NULL);
	ended++;
	return NULL;
}

static void run_calls_until(_Atomic unsigned *count, unsigned wanted)
{
	while (*count < wanted)
		assert_true(loop_turn(&loop, 20) >= 0);
}

/* A call that is held waits by itself: others are run meanwhile. */
static void test_calls_held(void **state)
{
	(void)state;
	tries = ended = 0;
	loop_thread = pthread_self();
	for (unsigned i = 0; i < 2; i++) {
		callers[i] = (struct caller){ .most = i * 3 };
		assert_int_equal(pthread_create(&callers[i].thread, NULL,
						i ? call_often : call_thrice,
						&callers[i]),
				 0);
	}
	run_calls_until(&tries, 1);
	run_calls_until(&ended, 1);
	assert_int_equal(callers[1].made, 3);
	loop_turn(&loop, 0);
	assert_int_equal(tries, 1);
	for (unsigned i = 2; i <= 3; i++) {
		loop_resume_calls(&loop);
		run_calls_until(&tries, i);
	}
	assert_int_equal(pthread_join(callers[0].thread, NULL), 0);
	assert_int_equal(pthread_join(callers[1].thread, NULL), 0);
	assert_int_equal(callers[0].last, 0);
	/* Nothing is held, and nothing comes of that. */
	loop_resume_calls(&loop);
	loop_turn(&loop, 0);
	assert_int_equal(tries, 3);
	/* The end lets go of it. */
	tries = 0;
	assert_int_equal(pthread_create(&callers[0].thread, NULL, call_thrice,
					&callers[0]),
			 0);
	run_calls_until(&tries, 1);
	loop_end_calls(&loop);
	assert_int_equal(pthread_join(callers[0].thread, NULL), 0);
	assert_int_equal(callers[0].last, -ECANCELED);
	assert_int_equal(tries, 1);
}

/* They wait for a loop that is never run. */
static void test_calls_never_run(void **state)
{
	(void)state;
	start_callers(1);
	while (!waiting())
		usleep(1000);
	usleep(20000);
	assert_int_equal(ended, 0);
	loop_end_calls(&loop);
	join_callers();
	assert_int_equal(calls, 0);
	for (unsigned i = 0; i < CALLERS; i++)
		assert_int_equal(callers[i].last, -ECANCELED);
}

/* -- deferred work
 * -------------------------------------------------------- */

#define WORKS 4

static struct loop_work works[WORKS];
static char ran[64]; /* a letter for each work or source that was called */

static void note(char letter)
{
	const size_t len = strlen(ran);

	assert_true(len + 1 < sizeof(ran));
	ran[len] = letter;
	ran[len + 1] = 0;
}

static void note_work(void *arg)
{
	struct loop_work *work = arg;

	note((char)('a' + (work - works)));
}

static void set_works(void (*run)(void *arg))
{
	ran[0] = 0;
	for (unsigned i = 0; i < WORKS; i++)
		works[i] = (struct loop_work){ .run = run, .arg = &works[i] };
}

static void test_deferred_order(void **state)
{
	(void)state;
	set_works(note_work);
	loop_defer(&loop, &works[2]);
	loop_defer(&loop, &works[0]);
	loop_defer(&loop, &works[2]); /* keeps its place */
	loop_defer(&loop, &works[1]);
	assert_int_equal(loop_turn(&loop, -1), 3);
	assert_string_equal(ran, "cab");
	assert_int_equal(loop_turn(&loop, 0), 0);
	assert_string_equal(ran, "cab");
}

static void note_and_defer(void *arg)
{
	note_work(arg);
	loop_defer(&loop, arg);
}

static void source_and_defer(void *arg, uint32_t events)
{
	(void)events;
	note('s');
	loop_defer(&loop, arg);
}

/*
 * Work that never ends, two of it, and a source that is always ready:
 * each once a turn, and what the source defers not before the next one.
 */
static void test_deferred_once_a_turn(void **state)
{
	struct loop_source source = { eventfd(1, EFD_CLOEXEC), source_and_defer,
				      &works[3] };

	(void)state;
	set_works(note_and_defer);
	works[3].run = note_work;
	assert_int_equal(loop_add(&loop, &source, EPOLLIN), 0);
	loop_defer(&loop, &works[0]);
	loop_defer(&loop, &works[1]);
	assert_int_equal(loop_turn(&loop, -1), 3);
	assert_string_equal(ran, "sab");
	assert_int_equal(loop_turn(&loop, -1), 4);
	assert_string_equal(ran, "sabsdab");
	assert_int_equal(loop_turn(&loop, -1), 3);
	assert_string_equal(ran, "sabsdabsab");
	close(source.fd);
}

static void cancel_next(void *arg)
{
	note_work(arg);
	loop_cancel(&loop, (struct loop_work *)arg + 1);
	loop_cancel(&loop, arg); /* runs, so it is not in the line */
}

static void test_deferred_cancelled(void **state)
{
	(void)state;
	set_works(cancel_next);
	loop_cancel(&loop, &works[0]);
	for (unsigned i = 0; i < WORKS; i++)
		loop_defer(&loop, &works[i]);
	loop_cancel(&loop, &works[3]); /* the last one, */
	loop_defer(&loop, &works[3]);  /* and something behind it again */
	assert_int_equal(loop_turn(&loop, -1), 2);
	assert_string_equal(ran, "ac");
	assert_int_equal(loop_turn(&loop, 0), 0);
	loop_defer(&loop, &works[1]); /* can be used again */
	assert_int_equal(loop_turn(&loop, -1), 1);
	assert_string_equal(ran, "acb");
}

static void stop_and_note(void *arg)
{
	note_work(arg);
	loop_stop(&loop);
}

static void test_deferred_behind_a_stop(void **state)
{
	(void)state;
	set_works(stop_and_note);
	loop_defer(&loop, &works[0]);
	loop_defer(&loop, &works[1]);
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(ran, "a");
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(ran, "ab");
}

int main(void)
{
#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_dispatch),
		TEST(test_remove_in_dispatch),
		TEST(test_edges_behind_a_stop),
		TEST(test_same_descriptor),
		TEST(test_change),
		TEST(test_regular_file),
		TEST(test_timers),
		TEST(test_interrupted),
		TEST(test_deferred_order),
		TEST(test_deferred_once_a_turn),
		TEST(test_deferred_cancelled),
		TEST(test_deferred_behind_a_stop),
		TEST(test_calls),
		TEST(test_calls_end),
		TEST(test_calls_without_end),
		TEST(test_calls_held),
		TEST(test_calls_never_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
