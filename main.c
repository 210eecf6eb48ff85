/*
 * mote: one Linux guest in one process.
 *
 * main() goes through the stages of a run in order: parse the command line,
 * open what it names, build the machine, run the loop until the guest ends,
 * unwind. It is the only place that decides the exit status, and the only one
 * that exits. All that happens later happens in the loop's functions below
 * (signals, the platform's news, the time limit) or in the vCPU threads.
 */
#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "boot/files.h"
#include "boot/layout.h"
#include "boot/machine.h"
#include "boot/options.h"
#include "cpu/console.h"
#include "cpu/loop.h"
#include "cpu/platform.h"
#include "cpu/report.h"
#include "cpu/serial.h"
#include "cpu/signals.h"
#include "cpu/tty.h"
#include "cpu/vcpu.h"
#include "cpu/vm.h"
#include "mem/bytes.h"
#include "mem/log.h"
#include "mem/ram.h"
#include "virtio/devices.h"

/* How long output may still take when mote was told to stop. */
#define DRAIN_STOPPED_NS 200000000ULL

static struct mote {
	struct options options;
	struct report report;
	struct files files;
	struct signals signals;
	struct loop loop;
	struct loop_timer timeout;
	struct loop_source news; /* the platform's wake_fd */
	struct ram ram;
	struct vm vm;
	struct machine machine;
	struct platform platform;
	struct devices devices;
	int serial_irq_fd;
	struct serial serial;
	struct console console;
	struct vcpus vcpus;
	bool ready_reported;
	unsigned terms; /* SIGTERMs received */
	bool stopped;	/* by a signal: its output may be lost */
} mote; /* too large for the stack; the fault handler needs it as well */

/* Zero is a descriptor: what is not open yet is -1. */
static void init(struct mote *m)
{
	report_init(&m->report);
	m->signals.source.fd = m->files.events_fd = -1;
	m->serial_irq_fd = m->loop.epoll_fd = m->timeout.source.fd = -1;
	m->vm.kvm_fd = m->vm.fd = -1;
	m->platform.wake_fd = m->platform.button_fd = -1;
	m->serial.event_fd = -1;
}

static int open_console(struct mote *m)
{
	static const enum console_kind kinds[] = {
		[SERIAL_STDIO] = CONSOLE_STDIO, [SERIAL_OFF] = CONSOLE_OFF,
		[SERIAL_PTY] = CONSOLE_PTY,	[SERIAL_FILE] = CONSOLE_FILE,
		[SERIAL_UNIX] = CONSOLE_UNIX,	[SERIAL_FD] = CONSOLE_FD,
	};
	const struct option_serial *serial = &m->options.serial;
	const struct console_options options = {
		.kind = kinds[serial->kind],
		.path = serial->file.path,
		.fd = serial->file.fd,
		.check = m->options.check,
	};

	return console_open(&m->console, &options);
}

/* -- while the guest runs ------------------------------------------------- */

static void report_counts(struct mote *m)
{
	struct serial_counters serial = serial_counters(&m->serial);
	const struct report_counter counters[] = {
		{ "exits", vcpus_counter(&m->vcpus, VCPU_EXITS) },
		{ "pio", vcpus_counter(&m->vcpus, VCPU_PIO) },
		{ "mmio", vcpus_counter(&m->vcpus, VCPU_MMIO) },
		{ "signals", vcpus_counter(&m->vcpus, VCPU_SIGNALS) },
		{ "serial_in", serial.in },
		{ "serial_out", serial.out },
		{ "serial_dropped", serial.dropped },
	};

	report_counters(&m->report, counters, ARRAY_LEN(counters));
}

static void on_stop(struct mote *m, int number)
{
	m->stopped = true;
	platform_end(&m->platform, END_SIGNAL,
		     STATUS_SIGNAL + (unsigned)number);
}

/* The first one presses the button, where there is still a guest to see it. */
static void on_term(struct mote *m, int number)
{
	if (m->terms++ || platform_ending(&m->platform).reason != END_NONE)
		on_stop(m, number);
	else
		platform_press_button(&m->platform);
}

static void on_snapshot(struct mote *m, int number)
{
	(void)m;
	(void)number;
	log_warn("SIGUSR1 is ignored: it asks for a snapshot, which this "
		 "version of mote cannot take");
}

static void on_counters(struct mote *m, int number)
{
	(void)number;
	report_counts(m);
}

static void on_suspend(struct mote *m, int number)
{
	(void)number;
	console_suspend(&m->console);
	raise(SIGSTOP);
}

static void on_resume(struct mote *m, int number)
{
	(void)number;
	console_resume(&m->console);
}

static const struct signal_action {
	int number;
	void (*act)(struct mote *m, int number);
} signal_actions[] = {
	{ SIGTERM, on_term },	  { SIGUSR1, on_snapshot },
	{ SIGUSR2, on_counters }, { SIGTSTP, on_suspend },
	{ SIGCONT, on_resume },
}; /* all others stop mote */

static void on_signal(void *arg, int number)
{
	void (*act)(struct mote * m, int number) = on_stop;

	for (size_t i = 0; i < ARRAY_LEN(signal_actions); i++)
		if (signal_actions[i].number == number)
			act = signal_actions[i].act;
	act(arg, number);
}

/* A handler: the guest does not run yet, so there is nothing to unwind. */
static int on_early_signal(int number)
{
	struct ending ending = { END_SIGNAL, STATUS_SIGNAL + (unsigned)number };

	if (number == SIGALRM && mote.options.timeout_ns) {
		ending = (struct ending){ END_TIMEOUT, STATUS_TIMEOUT };
		log_error("--timeout passed before the guest was started: is "
			  "a pipe or a slow disk still to give its file?");
	}
	report_exit(&mote.report, &ending);
	return (int)ending.status;
}

/* Ctrl-A x: as if somebody had pulled the plug. */
static void on_quit(void *arg)
{
	struct mote *m = arg;

	platform_end(&m->platform, END_SIGNAL, STATUS_SIGNAL + SIGINT);
}

static void on_timeout(void *arg)
{
	struct mote *m = arg;

	platform_end(&m->platform, END_TIMEOUT, STATUS_TIMEOUT);
}

static void on_news(void *arg, uint32_t events)
{
	struct mote *m = arg;
	uint64_t ready, count;

	(void)events;
	/* Before the news is looked at: what comes later wakes us again. */
	if (read(m->platform.wake_fd, &count, sizeof(count)) < 0)
		return;
	ready = atomic_load(&m->platform.ready_ns);
	if (ready && !m->ready_reported) {
		m->ready_reported = true;
		report_stage(&m->report, "ready", ready);
		report_ready(&m->report, ready);
	}
	if (platform_ending(&m->platform).reason != END_NONE)
		loop_stop(&m->loop);
}

static void on_crash(int number)
{
	const struct ending ending = { END_ERROR, STATUS_ERROR };

	tty_restore();
	if (number == SIGBUS)
		log_error("a file behind guest memory cannot be read any "
			  "more: did an image shrink while in use?");
	else
		log_error("mote itself crashed, by signal %d; please report "
			  "it",
			  number);
	report_exit(&mote.report, &ending);
}

/* -- stages --------------------------------------------------------------- */

static void stage(struct mote *m, const char *name)
{
	report_stage(&m->report, name, report_now());
}

static int open_all(struct mote *m)
{
	int error = files_open_events(&m->files, &m->options);

	m->report.events_fd = m->files.events_fd;
	if (!error)
		error = files_open(&m->files, &m->options);
	if (!error)
		error = open_console(m);
	if (!error)
		error = devices_open(&m->devices, &m->options.devices,
				     m->options.cpus);
	if (!error)
		error = vm_open(&m->vm);
	if (!error && m->options.cpus > m->vm.cpus_max) {
		log_error("--cpus %u: this host's KVM allows %u at most",
			  m->options.cpus, m->vm.cpus_max);
		error = -EINVAL;
	}
	stage(m, "open");
	return error;
}

static int load(struct mote *m)
{
	const struct options *o = &m->options;
	const struct machine_options machine = {
		.kernel_fd = m->files.kernel_fd,
		.kernel_name = m->files.kernel_name,
		.kernel_copy = o->kernel_copy,
		.initrds = m->files.initrd,
		.initrd_count = m->files.initrd_count,
		.cmdline = o->cmdline,
		.append = o->append,
		.append_count = o->append_count,
		.cpus = o->cpus,
		.serial = o->serial.kind != SERIAL_OFF,
		.virtio = m->devices.count,
	};
	int error = ram_create(&m->ram, &o->ram);

	stage(m, "memory");
	if (!error)
		error = machine_load(&m->machine, &m->ram, &machine);
	stage(m, "load");
	return error;
}

static int create_serial(struct mote *m)
{
	int error;

	m->serial_irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->serial_irq_fd < 0)
		return log_errno("eventfd");
	error = vm_irqfd(&m->vm, m->serial_irq_fd, VM_GSI_SERIAL);
	if (!error)
		error = serial_create(&m->serial, m->serial_irq_fd);
	if (!error)
		error = bus_add(&m->vm.pio, SERIAL_PORT, SERIAL_REGISTERS,
				&serial_bus_ops, &m->serial);
	return error;
}

static int create_devices(struct mote *m)
{
	const struct devices_place place = {
		.vm = &m->vm,
		.loop = &m->loop,
		.ram = &m->ram,
		.base = GPA(LAYOUT_VIRTIO),
		.alias = GPA(LAYOUT_VIRTIO_ALIAS),
		.alias_absent = &m->platform.acpi,
	};
	int error = platform_create(&m->platform, &m->vm, &m->ram,
				    m->machine.tells_panic);

	if (!error)
		error = create_serial(m);
	if (!error)
		error = loop_create(&m->loop);
	if (!error)
		error = devices_create(&m->devices, &place);
	return error;
}

static int build(struct mote *m)
{
	const struct vcpu_options vcpus = {
		.count = m->options.cpus,
		.nested = m->options.nested,
		.entry = m->machine.entry,
		.boot_params = m->machine.boot_params,
	};
	int error = vm_create(&m->vm, &m->ram);

	stage(m, "vm");
	if (!error)
		error = create_devices(m);
	stage(m, "devices");
	if (!error)
		error = vcpus_create(&m->vcpus, &m->vm, &m->platform, &vcpus);
	stage(m, "vcpus");
	return error;
}

/* Nanoseconds until --timeout passes; 1 where it has, for ever where none is.
 */
static uint64_t time_left(const struct mote *m)
{
	uint64_t limit = m->options.timeout_ns;
	uint64_t used = report_now() - m->report.exec_ns;

	if (!limit)
		return UINT64_MAX;
	return used < limit ? limit - used : 1;
}

static int start_timeout(struct mote *m)
{
	int error;

	if (!m->options.timeout_ns)
		return 0;
	error = loop_timer_create(&m->loop, &m->timeout, on_timeout, m);
	if (!error)
		loop_timer_set(&m->timeout, time_left(m));
	return error;
}

static int start(struct mote *m)
{
	int error = signals_start(&m->signals, &m->loop);

	m->news = (struct loop_source){
		.fd = m->platform.wake_fd,
		.ready = on_news,
		.arg = m,
	};
	if (!error)
		error = loop_add(&m->loop, &m->news, EPOLLIN);
	if (!error)
		error = start_timeout(m);
	console_on_quit(&m->console, on_quit, m);
	if (!error)
		error = console_start(&m->console, &m->loop, &m->serial);
	stage(m, "run");
	if (!error)
		error = vcpus_start(&m->vcpus);
	return error;
}

/*
 * What the guest wrote last must be out before the status is, unless the user
 * has had enough: by a signal or by --timeout. Other signals are answered.
 */
static void drain(struct mote *m, const struct ending *ending)
{
	uint64_t lost;

	if (ending->reason == END_SIGNAL || ending->reason == END_TIMEOUT)
		m->stopped = true;
	do
		lost = console_drain(&m->console,
				     m->stopped ? DRAIN_STOPPED_NS
						: time_left(m),
				     m->stopped ? -1 : m->signals.source.fd);
	while (lost && !m->stopped && signals_take(&m->signals));
	if (lost)
		log_warn("%llu bytes of the serial port's output are lost: "
			 "nobody read them",
			 (unsigned long long)lost);
}

static int run(struct mote *m, struct ending *ending)
{
	int error;

	report_started(&m->report);
	error = start(m);
	if (!error)
		error = loop_run(&m->loop);
	loop_end_calls(&m->loop); /* where it did not run */
	vcpus_stop(&m->vcpus);
	stage(m, "guest");
	if (error)
		return error;
	*ending = platform_ending(&m->platform);
	drain(m, ending);
	return 0;
}

static void unwind(struct mote *m)
{
	console_stop(&m->console);
	console_close(&m->console);
	vcpus_destroy(&m->vcpus);
	devices_destroy(&m->devices);
	vm_destroy(&m->vm);
	serial_destroy(&m->serial);
	if (m->serial_irq_fd >= 0)
		close(m->serial_irq_fd);
	platform_destroy(&m->platform);
	loop_timer_destroy(&m->loop, &m->timeout);
	loop_destroy(&m->loop);
	signals_destroy(&m->signals);
	ram_destroy(&m->ram);
}

static struct ending run_stages(struct mote *m)
{
	struct ending ending = { END_ERROR, STATUS_ERROR };
	int error = open_all(m);

	if (!error)
		error = load(m);
	if (!error && m->options.check)
		return (struct ending){ END_NONE, 0 };
	if (!error)
		error = signals_hold(&m->signals);
	if (!error)
		error = build(m);
	if (!error && run(m, &ending))
		ending = (struct ending){ END_ERROR, STATUS_ERROR };
	return ending;
}

int main(int argc, char **argv)
{
	struct mote *m = &mote;
	struct ending ending;
	int error;

	init(m);
	if (files_fill_standard() ||
	    signals_create(&m->signals, on_early_signal, on_signal, m))
		return STATUS_ERROR;
	signals_on_crash(on_crash, STATUS_ERROR);
	error = options_parse(&m->options, argc, argv);
	if (error)
		return error > 0 ? 0 : STATUS_ERROR;
	log_set_level(m->options.log);
	if (m->options.timeout_ns)
		signals_alarm(time_left(m));
	stage(m, "options");
	ending = run_stages(m);
	unwind(m);
	if (ending.reason != END_NONE)
		report_exit(&m->report, &ending);
	stage(m, "exit");
	if (m->options.timing)
		report_timing(&m->report);
	return (int)ending.status;
}
