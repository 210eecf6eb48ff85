/* uses: cpu/loop.c mem/log.c */
/*
 * The event loop: dispatch, removal from within a dispatch, signals, timers.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu/loop.h"

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
	loop_stop(&loop);
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
	free(all[0]);
}

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
	calls++;
	loop_stop(&loop);
}

static void test_same_descriptor(void **state)
{
	struct loop_source first = { eventfd(1, EFD_CLOEXEC), replace,
				     &sources[0] };

	(void)state;
	sources[0] =
		(struct loop_source){ eventfd(1, EFD_CLOEXEC), never, NULL };
	assert_int_equal(loop_add(&loop, &first, EPOLLIN), 0);
	assert_int_equal(loop_add(&loop, &sources[0], EPOLLIN), 0);
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(calls, 1);
	loop_remove(&loop, &first);
	close(first.fd);
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

static void test_interrupted(void **state)
{
	const struct sigaction action = { .sa_handler = on_signal };
	const pid_t parent = getpid();
	struct loop_timer end;
	pid_t child;

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(loop_timer_create(&loop, &end, expired_stop, NULL), 0);
	loop_timer_set(&end, 100000000);
	child = fork();
	if (!child) {
		for (int i = 0; i < 20; i++) {
			usleep(1000);
			kill(parent, SIGUSR1);
		}
		_exit(0);
	}
	assert_int_equal(loop_run(&loop), 0);
	assert_true(calls > 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	loop_timer_destroy(&loop, &end);
}

int main(void)
{
#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_dispatch),	    TEST(test_remove_in_dispatch),
		TEST(test_same_descriptor), TEST(test_change),
		TEST(test_regular_file),    TEST(test_timers),
		TEST(test_interrupted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
