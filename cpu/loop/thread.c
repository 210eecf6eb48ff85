/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads beside the main one, and the gate that none of them passes alone.
 *
 * The gate counts who has not called its hook yet. Nobody waits there but the
 * threads that run the guest: the main thread goes on to its loop, so that at
 * start-up no time is lost to waking one another up.
 *
 * Signals go out by tgkill with this process's number, not by pthread_kill or
 * raise, which use tkill: the filter can then see that no other process is
 * meant. getpid is a system call as well, so the number is kept.
 *
 * Owns the gate. The main thread starts, kicks and joins.
 */
#include "cpu/loop/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_SIZE (64u << 10)

static pid_t process;
static _Thread_local unsigned own_number;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned pending; /* threads that have not called their hook */
	int result;
} gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 1, 0 };

static void change_gate(int pending, int result)
{
	pthread_mutex_lock(&gate.lock);
	gate.pending += (unsigned)pending;
	if (result && !gate.result)
		gate.result = result;
	if (!gate.pending || gate.result)
		pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

static int enter_by_hook(const struct thread_hook *hook, unsigned number)
{
	const int result = hook->enter ? hook->enter(hook->arg, number) : 0;

	change_gate(-1, result);
	return result;
}

int thread_enter_main(const struct thread_hook *hook)
{
	return enter_by_hook(hook, 0);
}

int thread_await_all(void)
{
	int result;

	pthread_mutex_lock(&gate.lock);
	while (gate.pending && !gate.result)
		pthread_cond_wait(&gate.changed, &gate.lock);
	result = gate.result;
	pthread_mutex_unlock(&gate.lock);
	return result;
}

void thread_give_up(void)
{
	change_gate(0, -ECANCELED);
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	char name[16];

	own_number = t->number;
	snprintf(name, sizeof(name), "%s %u", t->name, t->number);
	prctl(PR_SET_NAME, name);
	t->tid = (pid_t)syscall(SYS_gettid);
	/* Where that failed no guest runs, so it will have nothing to do. */
	enter_by_hook(&t->hook, t->number);
	t->run(t->arg);
	return NULL;
}

unsigned thread_number(void)
{
	return own_number;
}

static void ignore_kick_signal(int number)
{
	(void)number;
}

int thread_start(struct thread *t)
{
	const struct sigaction action = { .sa_handler = ignore_kick_signal };
	pthread_attr_t attr;
	int error;

	process = getpid();
	if (sigaction(THREAD_SIGNAL, &action, NULL))
		return -errno;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	change_gate(1, 0);
	error = -pthread_create(&t->id, &attr, thread_main, t);
	if (error)
		change_gate(-1, 0);
	pthread_attr_destroy(&attr);
	t->started = !error;
	return error;
}

void thread_kick(const struct thread *t)
{
	/* 0: it has not begun, and sees by itself that it need not. */
	if (t->tid)
		syscall(SYS_tgkill, process, t->tid, THREAD_SIGNAL);
}

void thread_join(struct thread *t)
{
	if (!t->started)
		return;
	pthread_join(t->id, NULL);
	t->started = false;
}

void thread_stop_process(void)
{
	const pid_t self = process ? process : getpid();

	syscall(SYS_tgkill, self, self, SIGSTOP);
}
