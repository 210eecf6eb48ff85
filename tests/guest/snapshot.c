/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a snapshot may find half done. `case=` says what, of the table at the
 * end; each gets something under way, says `saved` and READY, at which it may
 * be saved, and then looks whether it comes to its end. In another mote all of
 * it is as if nothing had been.
 */
#include "tests/guest/traffic.h"

#define LVT_DEADLINE	   (2u << 17)
#define MSR_DEADLINE	   0x6E0
#define CPUID_TSC_DEADLINE (1u << 24)
#define MSR_WALL_CLOCK	   0x4B564D00

#define IPI_SELF (IRQ_VECTOR + 8)
#define IPI_WAKE (IRQ_VECTOR + 9)
#define IRQ_OWN	 (IRQ_VECTOR + 10)
#define ICR_LOW	 0x300
#define ICR_HIGH 0x310
#define ICR_SELF 0x40000
#define SVR	 0xF0
#define SVR_ON	 0x1FF
#define CPUS	 4

static volatile unsigned heard;
static struct vring ring;
static uint8_t data[16][SECTOR];

static void on_interrupt(void)
{
	heard++;
}

static void say_ready(void)
{
	print("saved\n");
	in8(PORT_READY);
}

static uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

/* What waits comes in between these two. */
static void open_window(void)
{
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

/* -- the timer ------------------------------------------------------------ */

static void set_deadline(uint64_t at)
{
	__asm__ volatile("mfence" : : : "memory");
	if (msr_write(MSR_DEADLINE, at))
		fail("the deadline is refused");
}

static bool has_deadline(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	irq_handle(IRQ_VECTOR, on_interrupt);
	apic_write(LVT_TIMER, IRQ_VECTOR | LVT_DEADLINE);
	if (r[2] & CPUID_TSC_DEADLINE)
		return true;
	print("no deadlines here\n");
	return false;
}

static void await_deadline(unsigned wanted)
{
	for (unsigned i = 0; i < 10000000 && heard != wanted; i++)
		open_window();
	if (heard != wanted)
		fail("the timer has come %u times", heard);
}

/* It is over before anybody can hear of it. */
static void do_deadline(void)
{
	uint64_t at = rdtsc() + 100000;

	if (!has_deadline())
		return;
	set_deadline(at);
	while (rdtsc() < at + 1000000)
		pause_cpu();
	say_ready();
	await_deadline(1);
	at = rdtsc() + 3000000;
	set_deadline(at);
	await_deadline(2);
	if (rdtsc() < at)
		fail("the timer comes too early");
	print("the deadline was heard of\n");
}

/* It is over while nobody runs: the CPU waits for what its IN says. */
static void do_soon(void)
{
	if (!has_deadline())
		return;
	print("saved\n");
	set_deadline(rdtsc() + 20000);
	in8(PORT_READY);
	await_deadline(1);
	print("the deadline was heard of\n");
}

/* It comes later, and not before. */
static void do_later(void)
{
	uint64_t at = rdtsc() + 600000000;

	if (!has_deadline())
		return;
	set_deadline(at);
	say_ready();
	while (!heard)
		irq_wait();
	if (rdtsc() < at)
		fail("the timer comes too early");
	print("the deadline came\n");
}

/*
 * KVM has written the time there, as it was asked to. That was once: since then
 * the memory is for something else (Linux, Documentation/virt/kvm/x86/msr.rst).
 */
static void do_wall(void)
{
	static _Alignas(16) volatile uint8_t place[16];

	if (msr_write(MSR_WALL_CLOCK, (uintptr_t)place))
		fail("the wall clock is refused");
	for (unsigned i = 0; i < sizeof(place); i++)
		place[i] = 0xa5;
	say_ready();
	for (unsigned i = 0; i < sizeof(place); i++)
		if (place[i] != 0xa5)
			fail("byte %u is %x", i, place[i]);
	print("it is the guest's own\n");
}

/* -- interrupts ----------------------------------------------------------- */

static volatile unsigned selves;

static void on_self(void)
{
	selves++;
}

static void start_disk(uint64_t features)
{
	virtio_start(0, F_VERSION_1 | BLK_F_FLUSH | features, &ring);
}

static void do_pending(void)
{
	irq_handle(IPI_SELF, on_self);
	irq_handle(IRQ_OWN, on_interrupt);
	irq_route(VIRTIO_GSI, IRQ_OWN, false);
	start_disk(0);
	apic_write(ICR_LOW, ICR_SELF | IPI_SELF);
	if (block_request(0, &ring, BLK_READ, 0, data, SECTOR))
		fail("a request");
	say_ready();
	if (selves || heard)
		fail("an interrupt came through");
	open_window();
	traffic_sleep();
	if (selves != 1 || !heard)
		fail("%u and %u interrupts", selves, heard);
	print("interrupts came\n");
}

/* One CPU sleeps, another one was never started. */
static volatile unsigned awake[CPUS];

static void sleep_and_say(unsigned index)
{
	irq_load();
	apic_write(SVR, SVR_ON);
	for (;;) {
		awake[index]++;
		irq_wait();
	}
}

static bool is_awake(void *arg)
{
	return *(volatile unsigned *)arg > 1;
}

static void do_halted(void)
{
	irq_handle(IPI_WAKE, on_interrupt);
	if (!smp_start(1, 1, sleep_and_say))
		fail("CPU 1 does not start");
	traffic_sleep();
	say_ready();
	apic_write(ICR_HIGH, 1u << 24);
	apic_write(ICR_LOW, IPI_WAKE);
	if (!traffic_await(is_awake, (void *)&awake[1]))
		fail("CPU 1 does not wake up");
	if (awake[2] || !smp_start(2, 2, sleep_and_say))
		fail("CPU 2 does not start");
	print("CPUs are there\n");
}

/* -- the clock of several CPUs -------------------------------------------- */

static volatile unsigned looks[CPUS];

static void check_time(unsigned index)
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
	looks[index]++;
	__atomic_store_n(&locked, false, __ATOMIC_RELEASE);
}

static void look_for_ever(unsigned index)
{
	for (;;)
		check_time(index);
}

static void look_at_all(void)
{
	for (unsigned i = 0; i < CPUS; i++)
		for (const unsigned before = looks[i]; looks[i] < before + 50;)
			check_time(0);
}

static void do_clock(void)
{
	for (unsigned i = 1; i < CPUS; i++)
		if (!smp_start((uint8_t)i, i, look_for_ever))
			fail("CPU %u does not start", i);
	look_at_all();
	say_ready();
	look_at_all();
	print("the time goes on\n");
}

/* -- a disk --------------------------------------------------------------- */

#define WRITES 8

static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header[WRITES + 1];
static volatile uint8_t status[WRITES + 1];

static void ask(unsigned i, uint32_t type)
{
	header[i].type = type;
	header[i].sector = i;
	status[i] = 0xff;
	vring_add(&ring, &header[i], sizeof(header[i]), D_NEXT);
	if (type != BLK_FLUSH)
		vring_add(&ring, data[i], SECTOR,
			  type == BLK_READ ? D_NEXT | D_WRITE : D_NEXT);
	vring_add(&ring, &status[i], 1, D_WRITE);
}

static bool is_used(void *arg)
{
	uint32_t id, len;

	(void)arg;
	return vring_used(&ring, &id, &len);
}

static void await_used(unsigned count)
{
	while (count--)
		if (!traffic_await(is_used, NULL))
			fail("%u requests do not come back", count + 1);
}

/* A slow disk has them in hand, and what is to come after them. */
static void do_flush(void)
{
	if (!virtio_features(0, F_VERSION_1 | BLK_F_FLUSH) ||
	    !virtio_queue(0, 0, &ring, 64))
		fail("the disk does not start");
	reg_write(0, R_STATUS, S_RUNNING);
	for (unsigned i = 0; i < WRITES; i++) {
		memset(data[i], (int)('a' + i), SECTOR);
		ask(i, BLK_WRITE);
	}
	ask(WRITES, BLK_FLUSH);
	reg_write(0, R_QUEUE_NOTIFY, 0);
	say_ready();
	await_used(WRITES + 1);
	for (unsigned i = 0; i <= WRITES; i++)
		if (status[i])
			fail("request %u: status %u", i, status[i]);
	for (unsigned i = 0; i < WRITES; i++) {
		data[i][0] = 0;
		ask(i, BLK_READ);
	}
	reg_write(0, R_QUEUE_NOTIFY, 0);
	await_used(WRITES);
	for (unsigned i = 0; i < WRITES; i++)
		if (data[i][0] != 'a' + i || data[i][SECTOR - 1] != 'a' + i)
			fail("sector %u has %x", i, data[i][0]);
	print("all was written\n");
}

/* Zeros over what the image has; of them a snapshot has no more than a hole. */
static void do_zeros(void)
{
	start_disk(0);
	if (block_request(0, &ring, BLK_WRITE, 64, data, sizeof(data)))
		fail("a write");
	for (unsigned i = 0; i < 2; i++) {
		say_ready();
		memset(data, 0xee, sizeof(data));
		if (block_request(0, &ring, BLK_READ, 64, data, sizeof(data)))
			fail("a read");
		for (unsigned n = 0; n < 16; n++)
			if (data[n][0] || data[n][SECTOR - 1])
				fail("sector %u has %x", n, data[n][0]);
	}
	print("zeros are zeros\n");
}

/* The device is not told: it looks, or nobody does. */
static void do_stale(void)
{
	start_disk(F_EVENT_IDX);
	ask(0, BLK_READ);
	say_ready();
	await_used(1);
	print("it was found\n");
}

static bool needs_reset(void *arg)
{
	(void)arg;
	return reg_read(0, R_STATUS) & S_NEEDS_RESET;
}

static void do_broken(void)
{
	start_disk(0);
	ring.avail.idx = 1000;
	reg_write(0, R_QUEUE_NOTIFY, 0);
	if (!traffic_await(needs_reset, NULL))
		fail("the device is not broken");
	say_ready();
	if (reg_read(0, R_STATUS) != (S_RUNNING | S_NEEDS_RESET))
		fail("status %x", reg_read(0, R_STATUS));
	start_disk(0);
	if (block_request(0, &ring, BLK_READ, 0, data, SECTOR))
		fail("a request");
	print("a reset mends it\n");
}

/* -- an IN of several bytes ----------------------------------------------- */

static void do_string(void)
{
	static uint8_t bytes[10];
	uint8_t *to = bytes + 1;
	uint64_t count = 8;

	memset(bytes, 0xee, sizeof(bytes));
	print("saved\n");
	__asm__ volatile("cld; rep insb"
			 : "+D"(to), "+c"(count)
			 : "d"((uint16_t)PORT_READY)
			 : "memory");
	if (count || to != bytes + 9 || bytes[0] != 0xee || bytes[9] != 0xee)
		fail("RCX %lx, RDI %p", (unsigned long)count, (void *)to);
	for (unsigned i = 1; i < 9; i++)
		if (bytes[i])
			fail("byte %u is %x", i, bytes[i]);
	print("eight bytes came\n");
}

/* -- much memory ---------------------------------------------------------- */

#define BEGINNING (16UL << 20)
#define PAGE	  4096UL

static void do_memory(void)
{
	const uint64_t end = (uint64_t)cmdline_number("mib", 64) << 20;

	for (uint64_t at = BEGINNING; at < end; at += PAGE)
		*(volatile uint64_t *)at_physical(at) = at;
	say_ready();
	for (uint64_t at = BEGINNING; at < end; at += PAGE)
		if (*(volatile uint64_t *)at_physical(at) != at)
			fail("%lx is not what it was", (unsigned long)at);
	print("all of it is there\n");
	if (cmdline_number("stays", 0))
		for (;;)
			traffic_sleep();
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "deadline", do_deadline }, { "soon", do_soon },
	{ "later", do_later },	     { "pending", do_pending },
	{ "halted", do_halted },     { "clock", do_clock },
	{ "flush", do_flush },	     { "zeros", do_zeros },
	{ "stale", do_stale },	     { "broken", do_broken },
	{ "string", do_string },     { "memory", do_memory },
	{ "wall", do_wall },
};

void guest_main(const uint8_t *boot_params)
{
	char name[16];

	(void)boot_params;
	traffic_init();
	if (!cmdline_get("case", name, sizeof(name)))
		fail("no case");
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (!memcmp(name, cases[i].name, strlen(cases[i].name) + 1)) {
			cases[i].run();
			return;
		}
	fail("no case %s", name);
}
