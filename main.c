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
	int serial_irq_fd;
	struct serial serial;
	struct console console;
	struct vcpus vcpus;
	bool ready_reported;
	unsigned terms; /* SIGTERMs received */
} mote; /* too large for the stack; the fault handler needs it as well */

/* Zero is a descriptor: what is not open yet is -1. */
static void init(struct mote *m)
{
	report_init(&m->report);
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

static void on_term(struct mote *m, int number)
{
	if (m->terms++)
		platform_end(&m->platform, END_SIGNAL,
			     STATUS_SIGNAL + (unsigned)number);
	else
		platform_press_button(&m->platform);
}

static void on_stop(struct mote *m, int number)
{
	platform_end(&m->platform, END_SIGNAL,
		     STATUS_SIGNAL + (unsigned)number);
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
	{ SIGTERM, on_term },	  { SIGINT, on_stop },
	{ SIGHUP, on_stop },	  { SIGQUIT, on_stop },
	{ SIGUSR2, on_counters }, { SIGTSTP, on_suspend },
	{ SIGCONT, on_resume },
};

static void on_signal(void *arg, int number)
{
	for (size_t i = 0; i < ARRAY_LEN(signal_actions); i++)
		if (signal_actions[i].number == number)
			signal_actions[i].act(arg, number);
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
	uint64_t ready = atomic_load(&m->platform.ready_ns), count;

	(void)events;
	if (read(m->platform.wake_fd, &count, sizeof(count)) < 0)
		return;
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
	int error = files_open(&m->files, &m->options);

	m->report.events_fd = m->files.events_fd;
	if (!error)
		error = open_console(m);
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
	};
	int error = ram_create(&m->ram, &o->ram);

	stage(m, "memory");
	if (!error)
		error = machine_load(&m->machine, &m->ram, &machine);
	stage(m, "load");
	return error;
}

static int create_devices(struct mote *m)
{
	int error = platform_create(&m->platform, &m->vm, &m->ram,
				    m->machine.tells_panic);

	if (error)
		return error;
	m->serial_irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->serial_irq_fd < 0)
		return log_errno("eventfd");
	error = vm_irqfd(&m->vm, m->serial_irq_fd, VM_GSI_SERIAL);
	if (!error)
		error = serial_create(&m->serial, m->serial_irq_fd);
	if (!error)
		error = bus_add(&m->vm.pio, LAYOUT_SERIAL_PORT,
				LAYOUT_SERIAL_SIZE, &serial_bus_ops,
				&m->serial);
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

static int start_timeout(struct mote *m)
{
	uint64_t limit = m->options.timeout_ns, used;
	int error;

	if (!limit)
		return 0;
	error = loop_timer_create(&m->loop, &m->timeout, on_timeout, m);
	used = report_now() - m->report.exec_ns;
	if (!error)
		loop_timer_set(&m->timeout, used < limit ? limit - used : 1);
	return error;
}

static int start(struct mote *m)
{
	int error = loop_create(&m->loop);

	if (!error)
		error = signals_start(&m->signals, &m->loop);
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
	if (!error)
		error = vcpus_start(&m->vcpus);
	stage(m, "run");
	return error;
}

/* What the guest wrote last must be out before the status is. */
static void drain(struct mote *m, const struct ending *ending)
{
	bool stopped =
		ending->reason == END_SIGNAL || ending->reason == END_TIMEOUT;
	uint64_t lost = console_drain(&m->console,
				      stopped ? DRAIN_STOPPED_NS : UINT64_MAX,
				      stopped ? -1 : m->signals.source.fd);

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
	vcpus_stop(&m->vcpus);
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
	if (files_fill_standard() || signals_create(&m->signals, on_signal, m))
		return STATUS_ERROR;
	signals_on_crash(on_crash, STATUS_ERROR);
	error = options_parse(&m->options, argc, argv);
	if (error)
		return error > 0 ? 0 : STATUS_ERROR;
	log_set_level(m->options.log);
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
