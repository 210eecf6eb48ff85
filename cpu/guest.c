/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest while it runs.
 *
 * The loop's functions are here: signals (a table says what each does), the
 * platform's events (the guest is ready, has ended), the time limit. They run
 * in the main thread, as the devices do; the vCPUs have threads of their own.
 * Whatever ends the guest goes through platform_end, where the first one
 * counts.
 */
#include "cpu/guest.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"

/* How long output may still take when mote was told to stop. */
#define DRAIN_STOPPED_NS 200000000ULL

/* What is left to do then takes milliseconds, unless the host hangs. */
#define LAST_RESORT_NS 2000000000ULL

#define PRESS_NS 1000000000ULL

void guest_init(struct guest *g)
{
	report_init(&g->report);
	notify_init(&g->notify);
	g->signals.source.fd = g->serial_irq_fd = g->loop.epoll_fd = -1;
	g->timeout.source.fd = g->grace.source.fd = g->press.source.fd = -1;
	g->every.source.fd = -1;
	g->serial.event_fd = -1;
	g->platform.wake_fd = g->platform.button_fd = -1;
}

void guest_counters(const struct guest *g, struct report_line *line)
{
	uint64_t value[COUNTERS_MAX];

	if (!g->vcpus.count)
		return;
	for (unsigned i = 0; i < SERIAL_COUNTERS; i++)
		value[i] = uart_counter(&g->serial, (enum serial_counter)i);
	report_add(line, COUNTED_SERIAL, 0, value);
	vcpus_counters(&g->vcpus, value);
	report_add(line, COUNTED_EXITS, 0, value);
}

static void stop_by_signal(struct guest *g, int number)
{
	g->stopped = true;
	platform_end(&g->platform, END_SIGNAL,
		     STATUS_SIGNAL + (unsigned)number);
}

/*
 * While a guest boots, the interrupt is masked, then there is a driver, then
 * one that acts on what the driver says. What comes before the last of them is
 * lost, and none can be seen from here: so the button is pressed until the
 * guest is off.
 */
static void press_button_again(void *arg)
{
	struct guest *g = arg;

	platform_press_button(&g->platform);
	if (g->press.source.fd >= 0)
		loop_timer_set(&g->press, PRESS_NS);
}

/* The first one presses the button, where there is still a guest to see it. */
static void press_button_or_stop(struct guest *g, int number)
{
	if (g->terms++ || platform_ending(&g->platform).reason != END_NONE)
		stop_by_signal(g, number);
	else if (!loop_timer_create(&g->loop, &g->press, press_button_again, g))
		press_button_again(g);
	else
		platform_press_button(&g->platform);
}

static void grace_expired(void *arg)
{
	stop_by_signal(arg, SIGTERM);
}

static void start_grace(struct guest *g)
{
	if (!g->grace_ns || g->grace_end_ns)
		return;
	g->grace_end_ns = loop_now() + g->grace_ns;
	loop_timer_set(&g->grace, g->grace_ns);
}

static void take_a_snapshot(struct guest *g, int number)
{
	(void)number;
	if (g->snapshot.take)
		g->snapshot.take(g->snapshot.arg);
	else
		log_warn("SIGUSR1 is ignored: it asks for a snapshot, and "
			 "--snapshot PATH,on=signal did not say where to");
}

static void write_counters(struct guest *g, int number)
{
	(void)number;
	report_counters(&g->report);
}

static void counters_due(void *arg)
{
	struct guest *g = arg;

	report_counters(&g->report);
	loop_timer_set(&g->every, g->every_ns);
}

static void suspend_by_terminal(struct guest *g, int number)
{
	(void)number;
	console_suspend(&g->console);
	command_suspend(&g->command);
	thread_stop_process();
}

static void resume_after_stop(struct guest *g, int number)
{
	(void)number;
	console_resume(&g->console);
	command_resume(&g->command);
}

/* The serial port does not know how large its terminal is. */
static void ignore_signal(struct guest *g, int number)
{
	(void)g;
	(void)number;
}

static const struct signal_action {
	int number;
	void (*act)(struct guest *g, int number);
} signal_actions[] = {
	{ SIGTERM, press_button_or_stop }, { SIGUSR1, take_a_snapshot },
	{ SIGUSR2, write_counters },	   { SIGTSTP, suspend_by_terminal },
	{ SIGCONT, resume_after_stop },	   { SIGWINCH, ignore_signal },
}; /* all others stop mote */

void guest_signal(void *arg, int number)
{
	struct guest *g = arg;
	void (*act)(struct guest * g, int number) = stop_by_signal;

	if (number == SIGTERM) {
		notify_state(&g->notify, NOTIFY_STOPPING);
		start_grace(g);
	}
	if (platform_ending(&g->platform).reason == END_NONE &&
	    command_signal(&g->command, number))
		return;
	for (size_t i = 0; i < ARRAY_LEN(signal_actions); i++)
		if (signal_actions[i].number == number)
			act = signal_actions[i].act;
	act(g, number);
}

int guest_create_serial(struct guest *g, struct vm *vm)
{
	int error;

	g->serial_irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (g->serial_irq_fd < 0)
		return log_errno("eventfd");
	error = vm_irqfd(vm, g->serial_irq_fd, VM_GSI_SERIAL);
	if (!error)
		error = uart_create(&g->serial, g->serial_irq_fd);
	if (!error)
		error = bus_add(&vm->pio, UART_PORT, UART_REGISTERS,
				&uart_bus_ops, &g->serial);
	return error;
}

int guest_create_alone(struct guest *g)
{
	int error = platform_create_alone(&g->platform);

	if (!error)
		error = uart_create(&g->serial, -1);
	if (!error)
		error = loop_create(&g->loop);
	return error;
}

void guest_stage(struct guest *g, const char *name)
{
	report_stage(&g->report, name, loop_now());
}

uint64_t guest_time_left(const struct guest *g)
{
	uint64_t limit = g->timeout_ns;
	uint64_t used = loop_now() - g->report.exec_ns;

	if (!limit)
		return UINT64_MAX;
	return used < limit ? limit - used : 1;
}

/* Ctrl-A x: as if somebody had pulled the plug. */
static void quit_by_key(void *arg)
{
	struct guest *g = arg;

	platform_end(&g->platform, END_SIGNAL, STATUS_SIGNAL + SIGINT);
}

static void timeout_expired(void *arg)
{
	struct guest *g = arg;

	g->stopped = true;
	platform_end(&g->platform, END_TIMEOUT, STATUS_TIMEOUT);
}

bool guest_answer(struct guest *g)
{
	signals_take(&g->signals);
	notify_alive(&g->notify);
	if (g->grace_end_ns && g->grace_end_ns <= loop_now())
		grace_expired(g);
	if (guest_time_left(g) == 1)
		timeout_expired(g);
	return platform_ending(&g->platform).reason != END_NONE;
}

static void platform_changed(void *arg, uint32_t events)
{
	struct guest *g = arg;
	uint64_t ready, count;

	(void)events;
	/* Before it is asked what happened: what comes later wakes us again. */
	if (read(g->platform.wake_fd, &count, sizeof(count)) < 0)
		return;
	ready = atomic_load(&g->platform.ready_ns);
	if (ready && !g->ready_reported) {
		g->ready_reported = true;
		report_stage(&g->report, "ready", ready);
		report_ready(&g->report, ready);
		notify_state(&g->notify, NOTIFY_RUNNING);
	}
	if (platform_ending(&g->platform).reason != END_NONE)
		loop_stop(&g->loop);
}

static int start_limits(struct guest *g)
{
	int error = 0;

	if (g->grace_ns)
		error = loop_timer_create(&g->loop, &g->grace, grace_expired,
					  g);
	if (!error && g->every_ns) {
		error = loop_timer_create(&g->loop, &g->every, counters_due, g);
		if (!error)
			loop_timer_set(&g->every, g->every_ns);
	}
	if (error || !g->timeout_ns)
		return error;
	error = loop_timer_create(&g->loop, &g->timeout, timeout_expired, g);
	if (!error)
		loop_timer_set(&g->timeout, guest_time_left(g));
	return error;
}

static int start_guest(struct guest *g)
{
	int error = signals_start(&g->signals, &g->loop);

	g->platform_event = (struct loop_source){
		.fd = g->platform.wake_fd,
		.ready = platform_changed,
		.arg = g,
	};
	if (!error)
		error = loop_add(&g->loop, &g->platform_event, EPOLLIN);
	if (!error)
		error = start_limits(g);
	if (!error)
		error = notify_start(&g->notify, &g->loop);
	if (!error)
		error = console_start(
			&g->console, &g->loop, &g->serial,
			(struct tty_escape){ .on_quit = quit_by_key,
					     .arg = g });
	if (!error)
		error = command_start(&g->command, &g->loop, &g->platform,
				      &g->report);
	if (!error)
		error = vcpus_start(&g->vcpus);
	guest_stage(g, "run");
	/* Only now does a vCPU enter the guest. */
	if (!error)
		error = thread_enter_main(&g->lock_in);
	guest_stage(g, "filter");
	return error;
}

/* All of it together, when mote was told to stop. */
static uint64_t drain_time_left(struct guest *g)
{
	const uint64_t now = loop_now();
	uint64_t left = g->stopped ? UINT64_MAX : guest_time_left(g);
	uint64_t end = g->grace_end_ns;

	if (g->stopped && !g->drained_ns)
		g->drained_ns = now + DRAIN_STOPPED_NS;
	if (g->stopped)
		end = g->drained_ns;
	if (!end)
		return left;
	if (end <= now)
		return 0;
	return left < end - now ? left : end - now;
}

/* While readers are waited for there may be no limit: 0 is no alarm. */
static void set_drain_alarm(struct guest *g)
{
	const uint64_t left = drain_time_left(g);

	signals_last_resort(left == UINT64_MAX ? 0 : left + LAST_RESORT_NS);
}

/*
 * What the guest wrote last must be out before the status is, unless the user
 * has had enough: by a signal or by --timeout. Other signals are answered.
 */
static void drain_output(struct guest *g, const struct ending *ending)
{
	uint64_t lost;

	if (ending->reason == END_SIGNAL || ending->reason == END_TIMEOUT)
		g->stopped = true;
	set_drain_alarm(g);
	do
		lost = console_drain(&g->console, drain_time_left(g),
				     g->stopped ? -1 : g->signals.source.fd);
	while (lost && !g->stopped && signals_take(&g->signals));
	if (lost)
		log_warn("%llu bytes of the serial port's output are lost: "
			 "nobody read them",
			 (unsigned long long)lost);
	while (!command_drain(&g->command, drain_time_left(g),
			      g->stopped ? -1 : g->signals.source.fd) &&
	       !g->stopped && signals_take(&g->signals))
		;
}

/* A snapshot that is whole has its name before the status is known, too. */
static void finish_snapshot(struct guest *g)
{
	if (!g->snapshot.finish || g->stopped)
		return;
	set_drain_alarm(g);
	g->snapshot.finish(g->snapshot.arg, drain_time_left(g));
}

int guest_run(struct guest *g, struct ending *ending)
{
	int error;

	report_started(&g->report);
	notify_state(&g->notify, NOTIFY_BOOTING);
	platform_start(&g->platform);
	error = start_guest(g);
	if (!error)
		error = loop_run(&g->loop);
	g->ending = error ? (struct ending){ END_ERROR, STATUS_ERROR }
			  : platform_ending(&g->platform);
	signals_last_resort(LAST_RESORT_NS);
	notify_state(&g->notify, NOTIFY_STOPPING);
	loop_end_calls(&g->loop); /* where it did not run */
	vcpus_stop(&g->vcpus);
	guest_stage(g, "guest");
	if (error)
		return error;
	command_listen(&g->command);
	drain_output(g, &g->ending);
	command_finish(&g->command, &g->ending);
	finish_snapshot(g);
	*ending = g->ending;
	signals_last_resort(LAST_RESORT_NS);
	return 0;
}
