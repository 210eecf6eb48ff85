/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/platform.c cpu/loop/report.c cpu/loop/loop.c cpu/bus.c */
/* uses: mem/available.c */
/* uses: cpu/loop/thread.c mem/state.c */
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c */
/* Every way in which a guest says how it ends, and the power button. */
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cpu/loop/loop.h"
#include "cpu/loop/thread.h"
#include "cpu/platform.h"
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

#define FLAG GPA(0x472)

static struct platform platform;
static struct vm machine;
static struct ram ram;
static int irqfd_error, irqfd_fd;
static bool restored;
static unsigned irqfd_gsi;

int vm_irqfd(struct vm *vm, int event_fd, unsigned gsi)
{
	assert_ptr_equal(vm, &machine);
	irqfd_fd = event_fd;
	irqfd_gsi = gsi;
	return irqfd_error;
}

static int create(bool tells_panic)
{
	const struct platform_options options = {
		.ram = &ram,
		.tells_panic = tells_panic,
		.reboot_status = 77,
		.restored = restored,
	};

	return platform_create(&platform, &machine, &options);
}

static void start(bool tells_panic)
{
	machine = (struct vm){ .kvm_fd = -1, .fd = -1 };
	irqfd_error = 0;
	make_ram(&ram, 32 * MIB);
	assert_int_equal(create(tells_panic), 0);
	assert_int_equal(irqfd_fd, platform.button_fd);
	assert_int_equal(irqfd_gsi, VM_GSI_BUTTON);
}

static void stop(void)
{
	platform_destroy(&platform);
	ram_destroy(&ram);
	expect_no_log();
}

static void out(uint16_t port, uint8_t value)
{
	assert_int_equal(bus_write(&machine.pio, port, &value, 1), 1);
}

static uint8_t in(uint16_t port)
{
	uint8_t value = 0xa5;

	assert_int_equal(bus_read(&machine.pio, port, &value, 1), 1);
	return value;
}

/* How often the descriptor was written since; 0: it would wait. */
static uint64_t count(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void expect_end(enum end_reason reason, unsigned status)
{
	struct ending ending = platform_ending(&platform);

	assert_int_equal(ending.reason, reason);
	assert_int_equal(ending.status, status);
	assert_int_equal(count(platform.wake_fd), reason != END_NONE);
}

static void test_platform_writes_of_its_ports(void **state)
{
	static const struct {
		uint16_t port;
		uint8_t value;
		enum end_reason reason;
		unsigned status;
	} cases[] = {
		{ PLATFORM_PORT_PVPANIC, 1, END_PANIC, 123 },
		{ PLATFORM_PORT_PVPANIC, 3, END_PANIC, 123 },
		{ PLATFORM_PORT_PVPANIC, 2, END_NONE, 0 },
		{ PLATFORM_PORT_PVPANIC, 0, END_NONE, 0 },
		{ PLATFORM_PORT_EXIT, 0, END_EXITED, 0 },
		{ PLATFORM_PORT_EXIT, 1, END_EXITED, 1 },
		{ PLATFORM_PORT_EXIT, 255, END_EXITED, 255 },
		{ PLATFORM_PORT_SLEEP, 5 << 2 | 0x20, END_POWEROFF, 0 },
		{ PLATFORM_PORT_SLEEP, 5 << 2, END_NONE, 0 }, /* no SLP_EN */
		{ PLATFORM_PORT_SLEEP, 3 << 2 | 0x20, END_NONE, 0 },
		{ PLATFORM_PORT_SLEEP, 0xff, END_NONE, 0 },
		{ PLATFORM_PORT_STATUS, 0xff, END_NONE, 0 },
		{ PLATFORM_PORT_RESET, 1, END_REBOOT, 77 },
		{ PLATFORM_PORT_RESET, 0, END_NONE, 0 },
		{ PLATFORM_PORT_RESET, 6, END_NONE, 0 },
		{ PLATFORM_PORT_I8042, 0xfe, END_REBOOT, 77 },
		{ PLATFORM_PORT_I8042, 0xff, END_NONE, 0 },
		{ PLATFORM_PORT_I8042, 0xd1, END_NONE, 0 },
		{ PLATFORM_PORT_BUTTON, 1, END_NONE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases) * 2; i++) {
		size_t n = i / 2;

		start(i % 2);
		expect_end(END_NONE, 0);
		out(cases[n].port, cases[n].value);
		expect_end(cases[n].reason, cases[n].status);
		stop();
	}
}

/* What a guest leaves at 0x472 counts where it was told to leave it there. */
static void test_platform_boot_flag(void **state)
{
	static const struct {
		int flag; /* -1: what stood there at the start */
		bool triple;
		enum end_reason told, untold;
	} cases[] = {
		{ -1, false, END_REBOOT, END_REBOOT },
		{ -1, true, END_CRASH, END_CRASH },
		{ 0x1234, false, END_REBOOT, END_REBOOT },
		{ 0x1234, true, END_REBOOT, END_CRASH },
		{ 0, false, END_PANIC, END_REBOOT },
		{ 0, true, END_PANIC, END_CRASH },
		{ 0x0034, false, END_REBOOT, END_REBOOT },
		{ 0x1200, true, END_CRASH, END_CRASH },
		{ 0xffff, true, END_CRASH, END_CRASH },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases) * 2; i++) {
		size_t n = i / 2;
		bool told = i % 2;
		enum end_reason reason = told ? cases[n].told : cases[n].untold;
		uint8_t bytes[2];

		start(told);
		/* RAM is the guest's own where it was not told. */
		assert_int_equal(ram_read(&ram, bytes, FLAG, 2), 0);
		assert_int_equal(get_le16(bytes) != 0, told);
		if (cases[n].flag >= 0) {
			put_le16(bytes, (uint16_t)cases[n].flag);
			assert_int_equal(ram_write(&ram, FLAG, bytes, 2), 0);
		}
		platform_reset(&platform, cases[n].triple);
		expect_end(reason, reason == END_REBOOT ? 77 : 123);
		if (reason == END_CRASH)
			expect_log("the guest crashed: a triple fault");
		stop();
	}
}

static void test_platform_first_ending_wins(void **state)
{
	(void)state;
	start(false);
	out(PLATFORM_PORT_EXIT, 7);
	out(PLATFORM_PORT_PVPANIC, 1);
	out(PLATFORM_PORT_RESET, 1);
	platform_end(&platform, END_TIMEOUT, STATUS_TIMEOUT);
	platform_reset(&platform, true);
	expect_end(END_EXITED, 7);
	stop();
}

static void *end_as(void *arg)
{
	unsigned status = (unsigned)(uintptr_t)arg;

	platform_end(&platform, END_EXITED, status);
	return NULL;
}

static void test_platform_ends_once_among_threads(void **state)
{
	pthread_t thread[4];
	struct ending ending;

	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		start(false);
		for (uintptr_t i = 0; i < ARRAY_LEN(thread); i++)
			assert_int_equal(pthread_create(&thread[i], NULL,
							end_as,
							(void *)(i + 1)),
					 0);
		for (unsigned i = 0; i < ARRAY_LEN(thread); i++)
			pthread_join(thread[i], NULL);
		ending = platform_ending(&platform);
		assert_int_equal(ending.reason, END_EXITED);
		assert_in_range(ending.status, 1, ARRAY_LEN(thread));
		assert_int_equal(count(platform.wake_fd), 1);
		stop();
	}
}

static void test_platform_hears_of_ready(void **state)
{
	uint64_t before = loop_now(), first;

	(void)state;
	start(false);
	assert_int_equal(platform.ready_ns, 0);
	out(PLATFORM_PORT_READY, 0);
	first = platform.ready_ns;
	assert_true(first >= before && first <= loop_now());
	assert_int_equal(count(platform.wake_fd), 1);
	for (unsigned i = 0; i < 1000; i++)
		out(PLATFORM_PORT_READY, 1);
	assert_true(platform.ready_ns == first);
	assert_int_equal(count(platform.wake_fd), 0);
	expect_end(END_NONE, 0);
	stop();
}

/* A vCPU that is to be paused behind its IN, or OUT. */
static struct loop loop;
static struct {
	int calls, vcpu;
	bool in_loop;
} heard;
static pthread_t loop_thread;

static void on_ready(void *arg, int vcpu)
{
	assert_ptr_equal(arg, &heard);
	heard.calls++;
	heard.vcpu = vcpu;
	heard.in_loop = pthread_equal(pthread_self(), loop_thread);
	loop_stop(&loop);
}

static void ask(void *arg)
{
	(void)arg;
	assert_int_equal(thread_number(), 7);
	assert_int_equal(in(PLATFORM_PORT_READY), 0);
	assert_int_equal(heard.calls, 1); /* not before it was heard */
}

static void tell(void *arg)
{
	(void)arg;
	out(PLATFORM_PORT_READY, 1);
	assert_int_equal(heard.calls, 1);
}

static void test_platform_calls_who_waits_for_ready(void **state)
{
	void (*const ways[])(void *) = { ask, tell };

	(void)state;
	loop_thread = pthread_self();
	assert_int_equal(thread_number(), 0);
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct thread vcpu = { .name = "vCPU",
				       .number = 7,
				       .run = ways[i] };

		start(false);
		memset(&heard, 0, sizeof(heard));
		assert_int_equal(loop_create(&loop), 0);
		platform.on_ready =
			(struct platform_ready){ &loop, on_ready, &heard };
		assert_int_equal(thread_start(&vcpu), 0);
		assert_int_equal(loop_run(&loop), 0);
		thread_join(&vcpu);
		assert_int_equal(heard.calls, 1);
		assert_int_equal(heard.vcpu, ways[i] == ask ? 7 : -1);
		assert_true(heard.in_loop);
		assert_int_equal(count(platform.wake_fd), 1);
		/* The first one counts. The loop is over: nobody waits. */
		assert_int_equal(in(PLATFORM_PORT_READY), 0);
		out(PLATFORM_PORT_READY, 1);
		assert_int_equal(heard.calls, 1);
		loop_destroy(&loop);
		stop();
	}
}

/* Its command's start is what counts in a guest that was restored. */
static void test_platform_is_made_ready(void **state)
{
	(void)state;
	start(false);
	platform_ready(&platform);
	assert_int_not_equal(platform.ready_ns, 0);
	assert_int_equal(count(platform.wake_fd), 1);
	assert_int_equal(in(PLATFORM_PORT_READY), 0);
	assert_int_equal(count(platform.wake_fd), 0);
	stop();
}

static void read_generation(uint8_t to[PLATFORM_GENERATION_BYTES])
{
	assert_int_equal(ram_read(&ram, to, GPA(PLATFORM_GENERATION),
				  PLATFORM_GENERATION_BYTES),
			 0);
}

static void test_platform_generations(void **state)
{
	static const uint8_t none[PLATFORM_GENERATION_BYTES];
	uint8_t was[PLATFORM_GENERATION_BYTES], is[sizeof(was)];

	(void)state;
	start(true);
	read_generation(was);
	assert_memory_not_equal(was, none, sizeof(was));
	assert_int_equal(in(PLATFORM_PORT_BUTTON), 0); /* that is no news */
	assert_int_equal(count(platform.button_fd), 0);
	assert_int_equal(platform_new_generation(&platform), 0);
	read_generation(is);
	assert_memory_not_equal(was, is, sizeof(was));
	assert_int_equal(count(platform.button_fd), 1);
	platform_press_button(&platform); /* neither hides the other */
	assert_int_equal(in(PLATFORM_PORT_BUTTON),
			 PLATFORM_EVENT_BUTTON | PLATFORM_EVENT_GENERATION);
	assert_int_equal(in(PLATFORM_PORT_BUTTON), 0);
	platform_press_button(&platform);
	assert_int_equal(in(PLATFORM_PORT_BUTTON), PLATFORM_EVENT_BUTTON);
	stop();
}

/* What is in RAM stays as it is. */
static void test_platform_of_a_restored_guest(void **state)
{
	static const uint8_t none[PLATFORM_GENERATION_BYTES];
	uint8_t is[PLATFORM_GENERATION_BYTES];

	(void)state;
	restored = true;
	start(true);
	read_generation(is);
	assert_memory_equal(is, none, sizeof(is));
	assert_int_equal(ram_read(&ram, is, FLAG, 2), 0);
	assert_memory_equal(is, none, 2);
	restored = false;
	stop();
}

static void test_platform_hears_of_acpi(void **state)
{
	(void)state;
	start(false);
	assert_false(platform.acpi);
	out(PLATFORM_PORT_ACPI, 1);
	assert_true(platform.acpi);
	expect_end(END_NONE, 0);
	stop();
}

static void test_platform_presses_the_power_button(void **state)
{
	(void)state;
	start(false);
	assert_int_equal(in(PLATFORM_PORT_BUTTON), 0);
	platform_press_button(&platform);
	assert_int_equal(count(platform.button_fd), 1);
	assert_int_equal(in(PLATFORM_PORT_BUTTON), PLATFORM_EVENT_BUTTON);
	assert_int_equal(in(PLATFORM_PORT_BUTTON), 0); /* a read clears it */
	platform_press_button(&platform);
	platform_press_button(&platform);
	assert_int_equal(in(PLATFORM_PORT_BUTTON), PLATFORM_EVENT_BUTTON);
	expect_end(END_NONE, 0);
	stop();
}

static void test_platform_reads_of_its_ports(void **state)
{
	static const struct {
		uint16_t port;
		uint8_t value;
	} cases[] = {
		{ PLATFORM_PORT_PVPANIC, 3 }, /* what it can be told */
		{ PLATFORM_PORT_SLEEP, 0 },   { PLATFORM_PORT_STATUS, 0 },
		{ PLATFORM_PORT_RESET, 0 },   { PLATFORM_PORT_I8042, 0xff },
		{ PLATFORM_PORT_EXIT, 0xff }, { PLATFORM_PORT_ACPI, 0xff },
	};
	uint8_t wide[4];

	(void)state;
	start(true);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(in(cases[i].port), cases[i].value);
	/* A wide access is nobody's: it ends no guest by accident. */
	memset(wide, 1, sizeof(wide));
	assert_int_equal(
		bus_write(&machine.pio, PLATFORM_PORT_PVPANIC, wide, 4), 0);
	expect_end(END_NONE, 0);
	stop();
}

static void test_platform_create_fails(void **state)
{
	unsigned fds = count_fds();

	(void)state;
	machine = (struct vm){ .kvm_fd = -1, .fd = -1 };
	make_ram(&ram, 32 * MIB);
	irqfd_error = -ENOSPC;
	assert_int_equal(create(true), -ENOSPC);
	assert_int_equal(platform.wake_fd, -1);
	assert_int_equal(platform.button_fd, -1);
	assert_int_equal(count_fds(), fds);
	/* The ports are there already: the bus refuses them. */
	irqfd_error = 0;
	assert_int_equal(create(true), -EEXIST);
	expect_log("ports do not fit");
	assert_int_equal(count_fds(), fds);
	platform_destroy(&platform); /* harmless */
	ram_destroy(&ram);
}

static const char *load_platform(const uint8_t bytes[4], size_t len)
{
	struct state s = state_load(bytes, len);

	platform_state(&platform, &s);
	state_is_whole(&s);
	return s.wrong;
}

/* What it has said, and a button that was pressed, are so elsewhere, too. */
static void test_platform_state_goes_elsewhere(void **state)
{
	uint8_t bytes[4];
	struct state s = state_save(bytes, sizeof(bytes));

	(void)state;
	start(true);
	out(PLATFORM_PORT_READY, 1);
	out(PLATFORM_PORT_ACPI, 1);
	platform_press_button(&platform);
	platform_state(&platform, &s);
	assert_true(state_is_whole(&s));
	assert_int_equal(s.at, sizeof(bytes));
	stop();
	start(false);
	assert_null(load_platform(bytes, sizeof(bytes)));
	/* guest memory is not touched */
	expect_zero(&ram, FLAG.v, 2);
	assert_true(platform.tells_panic);
	assert_true(platform.acpi);
	assert_true(platform.ready_ns);
	platform.ready_ns = 1;
	assert_int_equal(count(platform.wake_fd), 0);
	platform_start(&platform);
	assert_int_equal(count(platform.wake_fd), 1);
	assert_true(platform.ready_ns > 1);
	assert_int_equal(count(platform.button_fd), 0);
	platform_restored(&platform);
	assert_int_equal(count(platform.button_fd), 1);
	assert_int_equal(in(PLATFORM_PORT_BUTTON), PLATFORM_EVENT_BUTTON);
	platform_restored(&platform);
	assert_int_equal(count(platform.button_fd), 0);
	/* one that was not */
	memset(bytes, 0, sizeof(bytes));
	assert_null(load_platform(bytes, sizeof(bytes)));
	assert_int_equal(platform.ready_ns, 0);
	platform_start(&platform);
	assert_int_equal(count(platform.wake_fd), 0);
	assert_int_equal(platform.ready_ns, 0);
	assert_false(platform.acpi);
	assert_false(platform.tells_panic);
	stop();
}

static void test_platform_state_is_refused(void **state)
{
	uint8_t bytes[4] = { 0, 0, 0, 0 };

	(void)state;
	start(false);
	for (size_t len = 0; len < sizeof(bytes); len++)
		assert_string_equal(load_platform(bytes, len),
				    "it is too short");
	bytes[3] = 0x80;
	assert_string_equal(load_platform(bytes, sizeof(bytes)),
			    "its events are not known");
	bytes[1] = 2;
	assert_string_equal(load_platform(bytes, sizeof(bytes)),
			    "a flag is neither 0 nor 1");
	assert_false(platform.acpi);
	assert_int_equal(platform.events, 0);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_platform_writes_of_its_ports),
		cmocka_unit_test(test_platform_boot_flag),
		cmocka_unit_test(test_platform_first_ending_wins),
		cmocka_unit_test(test_platform_ends_once_among_threads),
		cmocka_unit_test(test_platform_hears_of_ready),
		cmocka_unit_test(test_platform_calls_who_waits_for_ready),
		cmocka_unit_test(test_platform_is_made_ready),
		cmocka_unit_test(test_platform_generations),
		cmocka_unit_test(test_platform_of_a_restored_guest),
		cmocka_unit_test(test_platform_hears_of_acpi),
		cmocka_unit_test(test_platform_presses_the_power_button),
		cmocka_unit_test(test_platform_reads_of_its_ports),
		cmocka_unit_test(test_platform_create_fails),
		cmocka_unit_test(test_platform_state_goes_elsewhere),
		cmocka_unit_test(test_platform_state_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
