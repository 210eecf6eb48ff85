/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The platform's event ports.
 *
 * Each port is a row of a table. vCPU threads call in; what they find out is
 * kept in atomics and the main thread is woken through wake_fd, so that no
 * vCPU waits for anything here. A guest may write whatever it likes, at any
 * rate: the worst it can do is to end itself.
 *
 * Why 0x472: pvpanic is only heard of where the guest has its driver. Linux
 * with reboot=warm,panic_cold on its command line writes the BIOS's warm boot
 * flag before every reset (arch/x86/kernel/reboot.c): 0x1234 for a reboot, 0
 * for a panic; a reset by triple fault (reboot=t) too. A third value, put there
 * before the start, tells a guest that died of a triple fault without a word.
 */
#include "cpu/platform.h"

#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "cpu/loop/loop.h"
#include "cpu/loop/thread.h"
#include "mem/log.h"
#include "mem/util.h"

#define BOOT_FLAG	  GPA(0x472)
#define BOOT_FLAG_WARM	  0x1234
#define BOOT_FLAG_COLD	  0
#define BOOT_FLAG_PLANTED 0xa55a

/* docs/specs/pvpanic of QEMU: what the device can be told. */
#define PVPANIC_PANICKED     1
#define PVPANIC_CRASH_LOADED 2

/* ACPI 6.4, 4.8.3.7, sleep control register: SLP_TYPx and SLP_EN. */
#define SLEEP_TYPE(value) ((value) >> 2 & 7)
#define SLEEP_ENABLE	  0x20

#define I8042_PULSE_RESET 0xfe

void platform_end(struct platform *p, enum end_reason reason, unsigned status)
{
	uint32_t none = 0;

	if (atomic_compare_exchange_strong(
		    &p->ending, &none, (uint32_t)reason << 8 | (status & 0xff)))
		eventfd_raise(p->wake_fd);
}

struct ending platform_ending(const struct platform *p)
{
	uint32_t ending = atomic_load(&p->ending);

	return (struct ending){ .reason = (enum end_reason)(ending >> 8),
				.status = ending & 0xff };
}

void platform_reset(struct platform *p, bool triple_fault)
{
	uint8_t bytes[2] = { 0 };
	enum end_reason reason = triple_fault ? END_CRASH : END_REBOOT;

	if (p->tells_panic && !ram_read(p->ram, bytes, BOOT_FLAG, 2)) {
		uint16_t flag = get_le16(bytes);

		if (flag == BOOT_FLAG_WARM)
			reason = END_REBOOT;
		else if (flag == BOOT_FLAG_COLD)
			reason = END_PANIC;
	}
	if (reason == END_CRASH && platform_ending(p).reason == END_NONE)
		log_error("the guest crashed: a triple fault");
	platform_end(p, reason,
		     reason == END_REBOOT ? p->reboot_status : STATUS_CRASH);
}

static void raise_event(struct platform *p, uint8_t event)
{
	atomic_fetch_or(&p->events, event);
	eventfd_raise(p->button_fd);
}

void platform_press_button(struct platform *p)
{
	raise_event(p, PLATFORM_EVENT_BUTTON);
}

static int write_generation(const struct platform *p)
{
	uint8_t bytes[PLATFORM_GENERATION_BYTES];
	int error;

	/* A host that young has none to give, and no snapshots either. */
	if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != sizeof(bytes))
		return 0;
	error = ram_write(p->ram, GPA(PLATFORM_GENERATION), bytes,
			  sizeof(bytes));
	if (error)
		log_error("there is no RAM at 0x%x", PLATFORM_GENERATION);
	return error;
}

int platform_new_generation(struct platform *p)
{
	const int error = write_generation(p);

	if (!error)
		raise_event(p, PLATFORM_EVENT_GENERATION);
	return error;
}

static uint8_t read_pvpanic(struct platform *p)
{
	(void)p;
	return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

/* A guest whose crash kernel takes over goes on. */
static void write_pvpanic(struct platform *p, uint8_t value)
{
	if (value & PVPANIC_PANICKED)
		platform_end(p, END_PANIC, STATUS_CRASH);
}

static void write_exit(struct platform *p, uint8_t value)
{
	platform_end(p, END_EXITED, value);
}

/* True for the first one. */
static bool note_ready(struct platform *p)
{
	uint64_t none = 0;
	const bool first =
		atomic_compare_exchange_strong(&p->ready_ns, &none, loop_now());

	if (first)
		eventfd_raise(p->wake_fd);
	return first;
}

void platform_ready(struct platform *p)
{
	note_ready(p);
}

void platform_start(struct platform *p)
{
	if (!atomic_load(&p->ready_ns))
		return;
	atomic_store(&p->ready_ns, loop_now());
	eventfd_raise(p->wake_fd);
}

struct ready_call {
	const struct platform_ready *on_ready;
	int vcpu;
};

static void call_on_ready(void *arg)
{
	const struct ready_call *call = arg;

	call->on_ready->call(call->on_ready->arg, call->vcpu);
}

static void hear_ready(struct platform *p, int vcpu)
{
	struct ready_call call = { &p->on_ready, vcpu };

	note_ready(p);
	if (p->on_ready.loop)
		loop_call(p->on_ready.loop, call_on_ready, &call);
}

static void write_ready(struct platform *p, uint8_t value)
{
	(void)value;
	hear_ready(p, -1);
}

/*
 * mote's init asks instead: 0 is to go on. In a guest that was restored from a
 * snapshot of this moment there is a 1 in the register instead (AL).
 */
static uint8_t read_ready(struct platform *p)
{
	hear_ready(p, (int)thread_number());
	return 0;
}

static void write_acpi(struct platform *p, uint8_t value)
{
	(void)value;
	atomic_store(&p->acpi, true);
}

static void write_sleep(struct platform *p, uint8_t value)
{
	if (value & SLEEP_ENABLE && SLEEP_TYPE(value) == PLATFORM_S5_TYPE)
		platform_end(p, END_POWEROFF, 0);
}

static void write_reset(struct platform *p, uint8_t value)
{
	if (value == PLATFORM_RESET_VALUE)
		platform_reset(p, false);
}

static uint8_t read_zero(struct platform *p)
{
	(void)p;
	return 0;
}

static uint8_t read_events(struct platform *p)
{
	return atomic_exchange(&p->events, 0);
}

static void write_i8042(struct platform *p, uint8_t value)
{
	if (value == I8042_PULSE_RESET)
		platform_reset(p, false);
}

static const struct port {
	uint16_t number;
	uint8_t (*read)(struct platform *p);		  /* NULL: all ones */
	void (*write)(struct platform *p, uint8_t value); /* NULL: ignored */
} ports[PLATFORM_PORTS] = {
	{ PLATFORM_PORT_I8042, NULL, write_i8042 },
	{ PLATFORM_PORT_PVPANIC, read_pvpanic, write_pvpanic },
	{ PLATFORM_PORT_EXIT, NULL, write_exit },
	{ PLATFORM_PORT_READY, read_ready, write_ready },
	{ PLATFORM_PORT_ACPI, NULL, write_acpi },
	{ PLATFORM_PORT_SLEEP, read_zero, write_sleep },
	{ PLATFORM_PORT_STATUS, read_zero, NULL },
	{ PLATFORM_PORT_RESET, read_zero, write_reset },
	{ PLATFORM_PORT_BUTTON, read_events, NULL },
};

/* Each port is a bus device of one byte, so `len` is 1. */
static void port_read(void *device, uint64_t offset, uint8_t *data,
		      unsigned len)
{
	const struct platform_port *bound = device;
	const struct port *port = &ports[bound->index];

	(void)offset;
	(void)len;
	*data = port->read ? port->read(bound->platform) : 0xff;
}

static void port_write(void *device, uint64_t offset, const uint8_t *data,
		       unsigned len)
{
	const struct platform_port *bound = device;
	const struct port *port = &ports[bound->index];

	(void)offset;
	(void)len;
	if (port->write)
		port->write(bound->platform, *data);
}

static const struct bus_ops port_ops = { port_read, port_write };

static int add_ports(struct platform *p, struct bus *pio)
{
	int error = 0;

	for (unsigned i = 0; i < PLATFORM_PORTS && !error; i++) {
		p->port[i] = (struct platform_port){ p, i };
		error = bus_add(pio, ports[i].number, 1, &port_ops,
				&p->port[i]);
	}
	if (error)
		log_error("the platform's ports do not fit on the bus");
	return error;
}

int platform_create_alone(struct platform *p)
{
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return p->wake_fd < 0 ? log_errno("eventfd") : 0;
}

int platform_create(struct platform *p, struct vm *vm,
		    const struct platform_options *options)
{
	uint8_t planted[2];
	int error = 0;

	*p = (struct platform){
		.ram = options->ram,
		.tells_panic = options->tells_panic,
		.reboot_status = options->reboot_status,
	};
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->button_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->wake_fd < 0 || p->button_fd < 0)
		error = log_errno("eventfd");
	if (!error)
		error = add_ports(p, &vm->pio);
	put_le16(planted, BOOT_FLAG_PLANTED);
	if (!error && !options->restored)
		error = write_generation(p);
	if (!error && p->tells_panic && !options->restored)
		error = ram_write(p->ram, BOOT_FLAG, planted, sizeof(planted));
	if (!error)
		error = vm_irqfd(vm, p->button_fd, VM_GSI_BUTTON);
	if (error)
		platform_destroy(p);
	return error;
}

void platform_destroy(struct platform *p)
{
	if (p->wake_fd >= 0)
		close(p->wake_fd);
	if (p->button_fd >= 0)
		close(p->button_fd);
	p->wake_fd = p->button_fd = -1;
}

/* A guest says once in its life that it is ready: platform_start says it here.
 */
void platform_state(struct platform *p, struct state *s)
{
	bool acpi = atomic_load(&p->acpi), ready = atomic_load(&p->ready_ns);
	uint8_t events = atomic_load(&p->events);

	state_bool(s, &p->tells_panic);
	state_bool(s, &acpi);
	state_bool(s, &ready);
	state_u8(s, &events);
	state_check(s,
		    !(events &
		      ~(PLATFORM_EVENT_BUTTON | PLATFORM_EVENT_GENERATION)),
		    "its events are not known");
	if (!s->loading || s->wrong)
		return;
	atomic_store(&p->acpi, acpi);
	atomic_store(&p->events, events);
	atomic_store(&p->ready_ns, ready ? loop_now() : 0);
}

void platform_restored(struct platform *p)
{
	if (atomic_load(&p->events))
		eventfd_raise(p->button_fd);
}
