/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lives through many snapshots. A round has a timer that wakes this CPU, an IPI
 * to the second one and back, requests for each disk, a frame and a piece of a
 * stream, which come back as they went; in the midst of it all, while the
 * devices have them, it says which round it is and that it is ready, by an IN.
 * Another mote may go on from there: what it finds must be what it left.
 * Devices are waited for by their interrupt. Meanwhile the second CPU (-c 2)
 * starts and stops the last of several disks, by register writes that wait for
 * mote's loop, and reads it; so does this one now and then with one of its own.
 *
 *	generations=N	how many rounds (10)
 *	every=N		says so of each N-th only (1)
 *	cpus=2		there is a second one
 */
#include "tests/guest/traffic.h"

#define IPI_GO	 (IRQ_VECTOR + 1)
#define IPI_BACK (IRQ_VECTOR + 2)
#define ICR_LOW	 0x300
#define ICR_HIGH 0x310
#define SVR	 0xF0
#define SVR_ON	 0x1FF

#define MSR_LSTAR   0xC0000082
#define MSR_GS_BASE 0xC0000102 /* the one that swapgs brings */

static volatile unsigned gone, back, restarts;
static unsigned sent;
static bool has_second;

static void on_ipi_go(void)
{
	gone++;
	apic_write(ICR_HIGH, 0);
	apic_write(ICR_LOW, IPI_BACK);
}

static void on_ipi_back(void)
{
	back++;
}

/* -- what is the same on all CPUs, or goes on ------------------------------ */

static uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

/* Whoever looks, the time is never before what it was for somebody else. */
static void check_time(void)
{
	static volatile bool locked;
	static uint64_t last;
	uint64_t now;

	while (__atomic_exchange_n(&locked, true, __ATOMIC_ACQUIRE))
		pause_cpu();
	now = rdtsc();
	if (now < last)
		fail("the time has gone back by %lu cycles",
		     (unsigned long)(last - now));
	last = now;
	__atomic_store_n(&locked, false, __ATOMIC_RELEASE);
}

/* Registers that nothing here uses. */
static void leave_values(uint64_t value)
{
	msr_write(MSR_LSTAR, value);
	msr_write(MSR_GS_BASE, ~value & 0x7fffffff);
	__asm__ volatile("mov %0, %%dr0" : : "r"(value));
}

static void find_values(uint64_t value)
{
	uint64_t lstar, gs, debug;

	__asm__ volatile("mov %%dr0, %0" : "=r"(debug));
	msr_read(MSR_LSTAR, &lstar);
	msr_read(MSR_GS_BASE, &gs);
	if (lstar != value || gs != (~value & 0x7fffffff) || debug != value)
		fail("registers are %lx, %lx, %lx and not %lx",
		     (unsigned long)lstar, (unsigned long)gs,
		     (unsigned long)debug, (unsigned long)value);
}

/* READY is said by an IN, behind which the registers must be as they were. */
static void say_ready(uint64_t value)
{
	uint64_t kept = 0;
	uint8_t al;

	leave_values(value);
	__asm__ volatile("mov %2, %%r15\n\t"
			 "inb %3, %0\n\t"
			 "mov %%r15, %1"
			 : "=a"(al), "=&r"(kept)
			 : "r"(value), "d"((uint16_t)PORT_READY)
			 : "r15", "memory");
	if (kept != value || al)
		fail("registers are %lx, %x after the IN", (unsigned long)kept,
		     al);
	find_values(value);
}

/* -- two CPUs -------------------------------------------------------------- */

static bool is_back(void *arg)
{
	(void)arg;
	return back == sent;
}

/* To the second CPU and back. */
static void ping(void)
{
	if (!has_second)
		return;
	sent++;
	apic_write(ICR_HIGH, 1u << 24);
	apic_write(ICR_LOW, IPI_GO);
	if (!traffic_await(is_back, NULL) || gone != sent)
		fail("of %u IPIs %u went and %u came back", sent, gone, back);
}

static void restart_for_ever(unsigned slot)
{
	static struct vring ring;
	static struct traffic_request request;

	for (;; restarts++) {
		virtio_start(slot, F_VERSION_1, &ring);
		request.data[0] = request.data[SECTOR - 1] = 0;
		request.header.sector = restarts % 64;
		traffic_poll_disk(slot, &ring, &request);
		if (request.data[0] != 'M' || request.data[SECTOR - 1] != 'M')
			fail("the second CPU has read %x", request.data[0]);
		reg_write(slot, R_QUEUE_SEL, 0);
		reg_write(slot, R_QUEUE_READY, 0);
		if (reg_read(slot, R_QUEUE_READY) ||
		    reg_read(slot, R_DEVICE_ID) != ID_BLOCK)
			fail("a queue does not stop");
		check_time();
	}
}

static void run_second(unsigned slot)
{
	irq_load();
	apic_write(SVR, SVR_ON);
	irq_enable();
	if (slot < VIRTIO_SLOTS)
		restart_for_ever(slot);
	for (;;) {
		check_time();
		restarts++;
	}
}

/* -- the first ------------------------------------------------------------ */

static void live(unsigned i, bool speaks)
{
	const unsigned before = restarts;

	traffic_sleep();
	ping();
	traffic_begin();
	if (speaks) {
		print("generation %u\n", i);
		say_ready(0x123456789abcd0ULL + i);
	}
	traffic_end();
	check_time();
	if (i % 4 == 3)
		traffic_restart();
	for (unsigned tries = 0; has_second && restarts == before; tries++) {
		if (tries == 100000)
			fail("the second CPU stands still");
		traffic_sleep();
	}
}

void guest_main(const uint8_t *boot_params)
{
	const unsigned count = cmdline_number("generations", 10);
	const unsigned every = cmdline_number("every", 1);
	unsigned slot;

	(void)boot_params;
	has_second = cmdline_number("cpus", 1) > 1;
	traffic_init();
	irq_handle(IPI_GO, on_ipi_go);
	irq_handle(IPI_BACK, on_ipi_back);
	slot = traffic_start(has_second);
	if (has_second && !smp_start(1, slot, run_second))
		fail("the second CPU does not start");
	for (unsigned i = 1; i <= count; i++)
		live(i, i % every == 0);
	print("lived through %u, with ", count);
	traffic_name();
	print("\n");
}
