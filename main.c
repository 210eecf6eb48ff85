/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mote: one Linux guest in one process.
 *
 * main() goes through the stages of a run in order: parse the command line,
 * open what it names, lock in, and only then load what an image or a guest
 * controls, build the machine, run the loop until the guest ends,
 * unwind. It is the only place that decides the exit status, and the only one
 * that exits. What happens while the guest runs is in cpu/guest.c.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#include "boot/helpers.h"
#include "boot/initrd.h"
#include "boot/layout.h"
#include "boot/machine.h"
#include "boot/networds.h"
#include "boot/options/files.h"
#include "boot/options/options.h"
#include "boot/snapshot/snapshot.h"
#include "cpu/command/exec.h"
#include "cpu/console/tty.h"
#include "cpu/guest.h"
#include "cpu/loop/broker.h"
#include "cpu/loop/thread.h"
#include "cpu/vm.h"
#include "mem/available.h"
#include "mem/log.h"
#include "mem/ram.h"
#include "mem/util.h"
#include "seccomp/filter.h"
#include "seccomp/jail.h"
#include "virtio/devices.h"

/*
 * In this order, since a page that a start touches costs it as much as ten
 * system calls: what is large and used seldom lies at the ends of these.
 */
static struct mote {
	struct options options;
	struct devices devices;
	struct files files;
	struct ram ram;
	struct vm vm;
	struct machine machine;
	int broker_fd; /* -1: there is none */
	int nice;      /* its value at start, with a network */
	struct snapshot snapshot;
	struct guest guest;
	struct available available;
	struct transfers transfers;
} mote; /* too large for the stack; the fault handler needs it as well */

/* --put or --get; without, what there is of them is not even touched. */
static bool has_transfers(const struct mote *m)
{
	return m->options.put_count || m->options.get_count;
}

static int open_transfers(struct mote *m)
{
	const struct options *o = &m->options;

	return has_transfers(m)
		       ? transfers_open(&m->transfers, o->puts, o->put_count,
					o->gets, o->get_count, o->check)
		       : 0;
}

static int open_console(struct mote *m)
{
	struct console_options options = m->options.serial;

	options.check = m->options.check;
	options.sealed = m->options.sandbox != SANDBOX_OFF;
	if (options_have_command(&m->options) &&
	    options.kind == CONSOLE_STDIO) {
		options.kind = CONSOLE_FD;
		options.file.fd = m->guest.command.serial_fd;
	}
	return console_open(&m->guest.console, &options);
}

/* Each guest's own; one that is restored is told when its MACs are known. */
static void add_networks(const struct mote *m, struct orders *orders)
{
	char order[NETWORDS_BYTES];

	for (unsigned i = 0; i < m->options.devices.net_count; i++)
		if (networds_order(order, &m->options.devices.nets[i],
				   m->devices.net[i].mac))
			orders_add(orders, RUN_NET, order);
}

/* What mote's init is told: it is in an initrd, or waits for it. */
static int give_orders(struct mote *m)
{
	const struct options *o = &m->options;
	struct orders orders = { .len = 0 };
	size_t kept;
	int error = 0, fd;

	if (!options_have_command(o))
		return 0;
	if (o->command)
		error = archive_orders(&orders, o,
				       o->serial.kind != CONSOLE_STDIO,
				       o->snapshot.on == SNAPSHOT_ON_PROGRAM);
	kept = orders.len;
	if (!error && !snapshot_restores(&m->snapshot)) {
		add_networks(m, &orders);
		if (has_transfers(m))
			transfers_add_orders(&m->transfers, &orders);
		fd = orders.failed ? log_errno("malloc")
				   : archive_create(o, &orders);
		if (fd < 0)
			error = fd;
		else
			files_add_initrd(&m->files, fd, "of the command");
	}
	orders.len = kept; /* a snapshot has none of the others */
	if (!error && snapshot_keeps_orders(&m->snapshot))
		error = command_take_orders(&m->guest.command, &orders);
	orders_free(&orders);
	return error;
}

/* mote's standard streams are the command's, if there is one. */
static int open_command(struct mote *m)
{
	const struct options *o = &m->options;
	const struct command_options options = {
		.tty = o->tty,
		.serial = o->serial.kind == CONSOLE_STDIO,
		.program = o->snapshot.on == SNAPSHOT_ON_PROGRAM,
		.restored = snapshot_restores(&m->snapshot),
		.environment = o->env_count || o->env_file_count ||
			       o->workdir || o->as,
		.exec = file_is_given(&o->devices.vsock.file),
		.transfers = has_transfers(m) ? &m->transfers : NULL,
	};
	struct vsock_options *vsock = &m->options.devices.vsock;
	int error;

	if (!options_have_command(o))
		return 0;
	error = open_transfers(m);
	if (error)
		return error;
	error = command_open(&m->guest.command, &options);
	if (error)
		return error;
	vsock->internal = true;
	vsock->internal_port = PROTOCOL_PORT;
	vsock->internal_fd = command_take_vsock(&m->guest.command);
	return 0;
}

static void tell_end(const struct ending *ending)
{
	report_exit(&mote.guest.report, ending);
	notify_ended(&mote.guest.notify, ending);
}

/* In a handler of fatal signals, in any thread. */
static void tell_crash(const struct ending *ending)
{
	report_crash(&mote.guest.report, ending);
	notify_ended(&mote.guest.notify, ending);
}

/*
 * A handler: the guest does not run yet, so there is nothing to unwind; or it
 * does not any more, and the host's kernel has hung at that.
 */
static int on_early_signal(int number)
{
	struct ending ending = { END_SIGNAL, STATUS_SIGNAL + (unsigned)number };

	if (mote.guest.ending.reason != END_NONE) {
		ending = mote.guest.ending;
		tty_restore();
		log_warn("the host does not finish what the guest had begun "
			 "(does a disk hang?); mote ends all the same");
	} else if (number == SIGALRM && mote.guest.timeout_ns) {
		ending = (struct ending){ END_TIMEOUT, STATUS_TIMEOUT };
		log_error(file_is_given(&mote.options.exec)
				  ? "--timeout passed before the guest answered"
				  : "--timeout passed before the guest was "
				    "started: is a pipe or a slow disk still "
				    "to give its file, or much memory to be "
				    "had (prefault)?");
	}
	/* What was begun has no process yet that would remove it. */
	committer_close(&mote.snapshot.committer);
	tell_end(&ending);
	return (int)ending.status;
}

static void on_crash(int number)
{
	const struct ending ending = { END_ERROR, STATUS_ERROR };

	tty_restore();
	if (number == SIGBUS)
		log_error(RAM_FILE_LOST);
	else
		log_error("mote itself crashed, by signal %d; please report "
			  "it",
			  number);
	tell_crash(&ending);
}

/* The kernel ends the process after this. */
static void on_filtered(void)
{
	const struct ending ending = { END_ERROR, STATUS_SIGNAL + SIGSYS };

	tell_crash(&ending);
}

/* -- system call filters -------------------------------------------------- */

static unsigned features_in_use(const struct mote *m)
{
	return report_features(&m->guest.report) |
	       console_features(&m->guest.console) |
	       command_features(&m->guest.command) |
	       snapshot_features(&m->snapshot) | devices_features(&m->devices);
}

static bool has_network(const struct mote *m)
{
	return features_in_use(m) & (FEATURE_TAP | FEATURE_STREAM);
}

static struct filter_options filter_options_of(const struct mote *m)
{
	return (struct filter_options){
		.features = features_in_use(m),
		.log = m->options.sandbox == SANDBOX_LOG,
		.broker_fd = m->broker_fd,
		.committer_fd = m->snapshot.committer.channel,
	};
}

/* Each thread calls this by itself, before the guest runs. */
static int filter_thread(struct mote *m, enum filter_thread thread,
			 unsigned number)
{
	const struct filter_options options = filter_options_of(m);

	if (m->options.sandbox == SANDBOX_OFF)
		return 0;
	return filter_load(thread, number, &options);
}

/*
 * The loop moves the packets of a guest, which costs about what the guest's
 * making them does. Where both have one CPU, the host would let whichever had
 * less of it interrupt the other, and with the loop ahead that is at each
 * frame: its kick, its answer and its interrupt are paid for one by one. A step
 * behind the vCPUs, the loop finds several. Who waits for an answer does not
 * wait longer: a loop that was idle comes first all the same. A step from where
 * the user has put all of mote, who may have done so by nice(1).
 */
static int filter_loop(void *arg, unsigned number)
{
	const struct mote *m = arg;

	if (has_network(m))
		setpriority(PRIO_PROCESS, 0, m->nice + 1);
	return filter_thread(arg, FILTER_LOOP, number);
}

static int filter_vcpu(void *arg, unsigned number)
{
	return filter_thread(arg, FILTER_VCPU, number);
}

static int filter_worker(void *arg, unsigned number)
{
	return filter_thread(arg, FILTER_WORKER, number);
}

/* -- processes beside mote's ----------------------------------------------- */

static int start_helpers(struct mote *m, const struct jail_options *jail)
{
	const struct helpers helpers = {
		.sandbox = m->options.sandbox,
		.jail = jail,
		.filter = filter_options_of(m),
		.memory = m,
		.memory_len = sizeof(*m),
	};
	int error = helpers_start_broker(&helpers, m->devices.vsock,
					 &m->guest.console.host.socket,
					 &m->broker_fd);

	if (!error)
		error = helpers_start_committer(&helpers,
						&m->snapshot.committer);
	if (!error && has_transfers(m) && !m->options.check)
		error = helpers_start_walkers(&helpers, &m->transfers);
	return error;
}

/* -- stages --------------------------------------------------------------- */

static void count_all(void *arg, struct report_line *line)
{
	const struct mote *m = arg;

	devices_counters(&m->devices, line);
	guest_counters(&m->guest, line);
}

/* What the caller has opened; and --events, so that a failure is one. */
static int open_descriptors_first(struct mote *m)
{
	const struct options *o = &m->options;
	int error = files_take_fds(o, o->sandbox != SANDBOX_OFF), late = 0;

	if (!error || o->events.path)
		late = files_open_events(&m->files, o);
	report_open(&m->guest.report, m->files.events_fd, o->name);
	report_count_by(&m->guest.report, count_all, m);
	if (!o->check)
		notify_open(&m->guest.notify);
	return error ? error : late;
}

/* Where it counts what is left; in the cgroup that is joined by now. */
static void look_at_memory(struct mote *m)
{
	struct ram_options *ram = &m->options.ram;

	ram->check = m->options.check;
	if (!ram->prefault && !ram->check)
		return;
	available_open(&m->available, ram_page_type(ram->pages)->shift,
		       m->options.cgroup.path);
	ram->left = available_bytes;
	ram->available = &m->available;
}

static int open_everything(struct mote *m)
{
	const struct options *o = &m->options;
	int error = open_descriptors_first(m);

	m->options.devices.vsock.memory = o->ram.size;
	if (!error)
		error = jail_join_cgroup(&o->cgroup, o->check);
	report_open_peaks(&m->guest.report);
	if (!error)
		look_at_memory(m);
	if (!error)
		error = jail_join_netns(&o->netns);
	if (!error)
		error = files_open(&m->files, o);
	if (!error)
		error = snapshot_open(&m->snapshot);
	if (!error)
		error = open_command(m);
	if (!error)
		error = open_console(m);
	if (!error)
		error = devices_open(&m->devices, &m->options.devices, o->cpus);
	if (!error)
		error = give_orders(m);
	if (!error)
		error = vm_open(&m->vm, &o->kvm);
	if (!error && o->cpus > m->vm.cpus_max) {
		log_error("--cpus %u: this host's KVM allows %u at most",
			  o->cpus, m->vm.cpus_max);
		error = -EINVAL;
	}
	guest_stage(&m->guest, "open");
	return error;
}

static uint64_t largest_file(const struct mote *m)
{
	uint64_t largest = m->options.ram.size; /* a kernel from a pipe */
	const uint64_t snapshot = snapshot_largest(&m->snapshot);

	if (has_transfers(m) && transfers_write_files(&m->transfers))
		return RLIM_INFINITY;
	if (snapshot > largest)
		largest = snapshot;
	for (unsigned i = 0; i < m->options.devices.disk_count; i++)
		if (m->devices.disk[i].size > largest)
			largest = m->devices.disk[i].size;
	return largest;
}

/*
 * Whether something could reach the host's network although the filters allow
 * no new socket: a socket that the caller gave, since some kinds act in the
 * namespace of the process that uses them; a ring, until it is restricted; any
 * call, where the filters only warn. Also after --netns, so that mote does not
 * stay in the network that it names.
 */
static bool needs_own_network(const struct mote *m)
{
	const struct options *o = &m->options;

	return o->sandbox == SANDBOX_LOG || file_is_given(&o->netns) ||
	       features_in_use(m) & FEATURE_URING || files_have_socket(o);
}

/* From here on nothing is opened any more, and nothing can be. */
static int lock_in(struct mote *m)
{
	const struct options *o = &m->options;
	struct vsock *vsock = m->devices.vsock;
	struct jail_options jail = {
		.user_given = o->user.text,
		.uid = o->user.uid,
		.gid = o->user.gid,
		.outputs = { STDERR_FILENO, m->files.events_fd,
			     m->guest.console.host.out.source.fd,
			     options_have_command(o) ? STDOUT_FILENO : -1 },
		.largest = largest_file(m),
		.own_cores = o->sandbox_cores == SANDBOX_CORES_OWN,
		.files = vsock ? VSOCK_FILES_MAX : 0,
	};
	int error = 0;

	/* Afterwards there is nobody to remove them. */
	if (o->check) {
		unixsock_remove(&m->guest.console.host.socket);
		if (vsock)
			unixsock_remove(vsock_file(vsock));
	}
	if (o->sandbox != SANDBOX_OFF) {
		files_drop_standard(o);
		jail.own_network = needs_own_network(m);
		error = filter_prepare(o->sandbox == SANDBOX_LOG, on_filtered);
	}
	if (!error)
		error = start_helpers(m, &jail);
	if (!error && o->sandbox != SANDBOX_OFF)
		error = jail_enter(&jail);
	if (has_network(m))
		m->nice = getpriority(PRIO_PROCESS, 0);
	/* The first of its own: before a byte of an image is read. */
	if (!error)
		error = filter_thread(m, FILTER_LOAD, 0);
	guest_stage(&m->guest, "jail");
	return error;
}

/* A snapshot's, or a kernel and what goes with it. */
static int load_memory(struct mote *m)
{
	return snapshot_restores(&m->snapshot)
		       ? snapshot_load_memory(&m->snapshot)
		       : machine_load(&m->machine, &m->ram, &m->options,
				      &m->files, m->devices.count);
}

static int load_machine(struct mote *m)
{
	int error = 0;

	if (snapshot_restores(&m->snapshot))
		error = snapshot_load_machine(&m->snapshot);
	if (!error)
		error = ram_create(&m->ram, &m->options.ram);

	if (m->options.ram.left)
		available_close(&m->available);
	guest_stage(&m->guest, "memory");
	if (!error)
		error = load_memory(m);
	files_close_images(&m->files);
	if (!error)
		error = devices_wait(&m->devices);
	guest_stage(&m->guest, "load");
	return error;
}

static int create_devices(struct mote *m)
{
	const struct devices_setup setup = {
		.vm = &m->vm,
		.loop = &m->guest.loop,
		.ram = &m->ram,
		.base = GPA(LAYOUT_VIRTIO),
		.alias = GPA(m->machine.names_virtio ? LAYOUT_VIRTIO_ALIAS : 0),
		.alias_absent = &m->guest.platform.acpi,
		.hook = { filter_worker, m },
	};
	const struct platform_options platform = {
		.ram = &m->ram,
		.tells_panic = m->machine.tells_panic,
		.restored = snapshot_restores(&m->snapshot),
		.reboot_status = m->options.reboot_status,
	};
	int error = platform_create(&m->guest.platform, &m->vm, &platform);

	if (!error)
		error = guest_create_serial(&m->guest, &m->vm);
	if (!error)
		error = rtc_create(&m->guest.rtc, &m->vm.pio);
	if (!error)
		error = loop_create(&m->guest.loop);
	if (!error)
		error = devices_create(&m->devices, &setup);
	return error;
}

static int build_machine(struct mote *m)
{
	const struct vcpu_options vcpus = {
		.count = m->options.cpus,
		.nested = m->options.nested,
		.restored = snapshot_restores(&m->snapshot),
		.entry = m->machine.entry,
		.boot_params = m->machine.boot_params,
		.hook = { filter_vcpu, m },
	};
	int error = vm_create(&m->vm, &m->ram);

	guest_stage(&m->guest, "vm");
	if (!error)
		error = create_devices(m);
	guest_stage(&m->guest, "devices");
	if (!error)
		error = vcpus_create(&m->guest.vcpus, &m->vm,
				     &m->guest.platform, &vcpus);
	if (!error && snapshot_restores(&m->snapshot))
		error = snapshot_load_rest(&m->snapshot);
	if (!error)
		error = snapshot_attach(&m->snapshot);
	guest_stage(&m->guest, "vcpus");
	return error;
}

static void unwind(struct mote *m)
{
	snapshot_close(&m->snapshot);
	console_stop(&m->guest.console);
	console_close(&m->guest.console);
	command_close(&m->guest.command);
	if (has_transfers(m))
		transfers_close(&m->transfers);
	vcpus_destroy(&m->guest.vcpus);
	devices_destroy(&m->devices);
	vm_destroy(&m->vm);
	uart_destroy(&m->guest.serial);
	if (m->guest.serial_irq_fd >= 0)
		close(m->guest.serial_irq_fd);
	platform_destroy(&m->guest.platform);
	loop_timer_destroy(&m->guest.loop, &m->guest.timeout);
	loop_timer_destroy(&m->guest.loop, &m->guest.grace);
	loop_timer_destroy(&m->guest.loop, &m->guest.press);
	loop_timer_destroy(&m->guest.loop, &m->guest.every);
	notify_stop(&m->guest.notify, &m->guest.loop);
	loop_destroy(&m->guest.loop);
	signals_destroy(&m->guest.signals);
	/*
	 * Guest memory is left to the end of the process: the host's kernel may
	 * still read and write there for a disk.
	 */
	broker_end(m->broker_fd);
}

/* Without a root file system Linux panics, and no command is found. */
static bool may_lack_root(const struct ending *ending)
{
	return ending->reason == END_PANIC ||
	       (ending->reason == END_EXITED && ending->status == 127);
}

static struct ending run_stages(struct mote *m)
{
	struct ending ending = { END_ERROR, STATUS_ERROR };
	int error = open_everything(m);

	if (!error)
		error = lock_in(m);
	if (!error)
		error = load_machine(m);
	if (!error)
		error = signals_hold(&m->guest.signals);
	if (!error)
		error = build_machine(m);
	m->guest.lock_in = (struct thread_hook){ filter_loop, m };
	/* All that can fail has been tried; only a guest is missing. */
	if (!error && m->options.check && !thread_enter_main(&m->guest.lock_in))
		return (struct ending){ END_NONE, 0 };
	if (m->options.check)
		return ending;
	if (!error && guest_run(&m->guest, &ending))
		ending = (struct ending){ END_ERROR, STATUS_ERROR };
	else if (!error)
		snapshot_end(&m->snapshot);
	if (may_lack_root(&ending))
		options_explain_root(&m->options);
	return ending;
}

/* -- a command in another mote's guest: --exec ---------------------------- */

static int open_exec(struct mote *m)
{
	const struct options *o = &m->options;
	const struct command_options options = { .tty = o->tty };
	struct orders orders = { .len = 0 };
	int error, fd = exec_connect(&o->exec);

	if (fd < 0)
		return fd;
	command_join(&m->guest.command, &options, fd);
	error = archive_orders(&orders, o, false, false);
	if (!error)
		error = command_take_orders(&m->guest.command, &orders);
	orders_free(&orders);
	m->options.serial.kind = CONSOLE_OFF;
	return error ? error : open_console(m);
}

/* The same stages, as far as there are any without a machine. */
static struct ending run_exec(struct mote *m)
{
	struct ending ending = { END_ERROR, STATUS_ERROR };
	int error = open_descriptors_first(m);

	if (!error)
		error = open_exec(m);
	guest_stage(&m->guest, "open");
	if (!error)
		error = lock_in(m);
	if (!error)
		error = signals_hold(&m->guest.signals);
	if (!error)
		error = guest_create_alone(&m->guest);
	m->guest.lock_in = (struct thread_hook){ filter_loop, m };
	if (!error && guest_run(&m->guest, &ending))
		ending = (struct ending){ END_ERROR, STATUS_ERROR };
	return ending;
}

int main(int argc, char **argv)
{
	struct mote *m = &mote;
	struct ending ending;
	int error;

	guest_init(&m->guest);
	snapshot_init(&m->snapshot, &(struct snapshot_machine){
					    &m->options, &m->machine, &m->ram,
					    &m->vm, &m->devices, &m->guest });
	/* 0 is one */
	m->files.events_fd = m->vm.kvm_fd = m->vm.fd = m->broker_fd = -1;
	if (files_fill_standard() ||
	    signals_create(&m->guest.signals, on_early_signal, guest_signal,
			   &m->guest))
		return STATUS_ERROR;
	signals_on_crash(on_crash, STATUS_ERROR);
	error = options_parse(&m->options, argc, argv);
	if (error)
		return error > 0 ? 0 : STATUS_ERROR;
	log_set_level(m->options.log);
	m->guest.timeout_ns = m->options.timeout_ns;
	m->guest.grace_ns = m->options.grace_ns;
	m->guest.every_ns = m->options.events_every_ns;
	if (m->options.timeout_ns)
		signals_alarm(guest_time_left(&m->guest));
	guest_stage(&m->guest, "options");
	ending = file_is_given(&m->options.exec) ? run_exec(m) : run_stages(m);
	report_keep_counters(&m->guest.report);
	unwind(m);
	signals_alarm(0);
	if (ending.reason != END_NONE)
		tell_end(&ending);
	guest_stage(&m->guest, "exit");
	if (m->options.timing)
		report_timing(&m->guest.report);
	return (int)ending.status;
}
