/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/snapshot/snapshot.c boot/snapshot/take.c */
/* uses: boot/snapshot/restore.c boot/snapshot/update.c boot/snapshot/parts.c */
/* uses: boot/snapshot/file.c */
/* uses: mem/state.c */
/* uses: cpu/loop/file.c tests/unit/kept_log.c */
/* ldflags: -Wl,--wrap=poll */
/*
 * When a snapshot is taken, what happens where one cannot be, and which
 * records are restored in which order; over parts that are a number each.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/networds.h"
#include "boot/options/words.h"
#include "boot/snapshot/memory.h"
#include "boot/snapshot/snapshot.h"
#include "cpu/vcpu_state.h"
#include "cpu/vm_state.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"
#include "virtio/block/block.h"

#define MIB	 (1ULL << 20)
#define RAM_SIZE (32 * MIB)
#define CPUS	 2

/* -- what was called, and what fails --------------------------------------- */

static char calls[1024];

static void call(const char *name)
{
	const size_t len = strlen(calls);

	snprintf(calls + len, sizeof(calls) - len, "%s%s", len ? " " : "",
		 name);
}

static void called(const char *expected)
{
	assert_string_equal(calls, expected);
	calls[0] = 0;
}

static const char *fails; /* the call that does, with -EIO */

static int result(const char *name)
{
	call(name);
	return fails && !strcmp(fails, name) ? -EIO : 0;
}

/* -- parts: a number each, of vCPUs and devices as many -------------------- */

enum {
	CLOCK,
	CPUID,
	SREGS,
	REGS,
	XSAVE,
	DEBUG,
	LAPIC,
	TSC,
	MSRS,
	EVENTS,
	IOAPIC,
	PIC,
	SERIAL,
	PLATFORM,
	RTC,
	COMMAND,
	SLOT,
	QUEUE,
	NET,
	VSOCK,
	DISK,
	PARTS
};

static uint32_t value[PARTS][8];
static int broken; /* a part that cannot be saved; -1: none */

static void part(int which, unsigned index, struct state *s)
{
	state_u32(s, &value[which][index]);
	if (which == broken && !s->loading)
		state_refuse(s, "it is broken");
}

#define VCPU_PART(name, which)                                                 \
	void vcpu_state_##name(struct vcpu *cpu, struct state *s)              \
	{                                                                      \
		part(which, cpu->id, s);                                       \
	}
VCPU_PART(cpuid, CPUID)
VCPU_PART(sregs, SREGS)
VCPU_PART(regs, REGS)
VCPU_PART(xsave, XSAVE)
VCPU_PART(debug, DEBUG)
VCPU_PART(lapic, LAPIC)
VCPU_PART(tsc, TSC)
VCPU_PART(msrs, MSRS)
VCPU_PART(events, EVENTS)

void vcpu_state_before_save(struct vcpu *cpu)
{
	call(cpu->id ? "before1" : "before0");
}

int vcpu_state_answer(struct vcpu *cpu, uint8_t al)
{
	assert_int_equal(al, 1);
	return result(cpu->id ? "answer1" : "answer0");
}

void vm_state_clock(struct vm *vm, struct state *s)
{
	(void)vm;
	part(CLOCK, 0, s);
}

void vm_state_ioapic(struct vm *vm, struct state *s)
{
	(void)vm;
	part(IOAPIC, 0, s);
}

void uart_state(struct uart *uart, struct state *s)
{
	(void)uart;
	part(SERIAL, 0, s);
}

void platform_state(struct platform *platform, struct state *s)
{
	(void)platform;
	part(PLATFORM, 0, s);
}

void rtc_state(struct rtc *rtc, struct state *s)
{
	(void)rtc;
	part(RTC, 0, s);
}

void command_state(struct command *command, struct state *s)
{
	(void)command;
	part(COMMAND, 0, s);
}

void vsock_state(struct vsock *vsock, struct state *s)
{
	(void)vsock;
	part(VSOCK, 0, s);
}

void vm_state_pic(struct vm *vm, unsigned chip, struct state *s)
{
	(void)vm;
	part(PIC, chip, s);
}

/* -- the machine ----------------------------------------------------------- */

#define SLOTS 4 /* two disks, a network, a vsock */

static struct options options;
static struct machine machine;
static struct ram memory;
static struct vm vm;
static struct devices devices;
static struct guest guest;
static struct snapshot s;
static struct device device[SLOTS];
static char disk[2];
static bool layered; /* disk 1 is ephemeral */
static char path[64], learned_path[80];
static int file_fd; /* of what is taken, and restored */
static int learned_fd;

static unsigned slot_of(const struct device *d)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (devices.slot[i].device == d)
			return i;
	fail();
	return 0;
}

void mmio_state_slot(struct device *d, struct state *state)
{
	part(SLOT, slot_of(d), state);
}

void mmio_state_queue(struct device *d, unsigned queue, struct state *state)
{
	assert_true(queue < d->queue_count);
	part(QUEUE, slot_of(d) * 2 + queue, state);
}

void net_state(struct net *net, struct state *state)
{
	assert_ptr_equal(net, &devices.net[0]);
	/* Of which net_state makes something: it is known before. */
	assert_int_equal(net->own_mac, state->loading && guest.command.on);
	part(NET, 0, state);
}

static unsigned disk_of(const struct block *block)
{
	return (unsigned)((const char *)block - disk);
}

void block_state(struct block *block, struct state *state)
{
	part(DISK, disk_of(block), state);
}

int block_sync(struct block *block)
{
	return result(disk_of(block) ? "sync1" : "sync0");
}

bool block_has_layer(const struct block *block)
{
	return layered && disk_of(block);
}

void block_layer_sizes(const struct block *block, uint64_t *map,
		       uint64_t *clusters)
{
	assert_int_equal(disk_of(block), 1);
	*map = 8;
	*clusters = 8192;
}

int block_save_layer(struct block *block, int fd, uint64_t map_at,
		     uint64_t clusters_at, uint64_t *at)
{
	assert_int_equal(disk_of(block), 1);
	assert_int_equal(pwrite(fd, "map", 3, (off_t)map_at), 3);
	assert_int_equal(pwrite(fd, "all", 3, (off_t)clusters_at), 3);
	return result("layer") ? -EIO : (*at)++ < 1;
}

int block_use_layer(struct block *block, int fd, uint64_t map_at,
		    uint64_t clusters_at, const char **wrong)
{
	char bytes[4] = "";

	assert_int_equal(disk_of(block), 1);
	assert_int_equal(pread(fd, bytes, 3, (off_t)map_at), 3);
	assert_string_equal(bytes, "map");
	assert_int_equal(pread(fd, bytes, 3, (off_t)clusters_at), 3);
	assert_string_equal(bytes, "all");
	*wrong = "its map is torn";
	return result("use_layer");
}

static bool devices_are_quiet;
static void (*quiet)(void *arg);
static void *quiet_arg;
static const char *awaited;

bool devices_pause(struct devices *d, void (*call_quiet)(void *arg), void *arg)
{
	assert_ptr_equal(d, &devices);
	quiet = call_quiet;
	quiet_arg = arg;
	call("pause");
	return devices_are_quiet;
}

const char *devices_awaited(const struct devices *d)
{
	(void)d;
	return awaited;
}

void devices_resume(struct devices *d)
{
	(void)d;
	call("go");
}

void devices_restored(struct devices *d)
{
	(void)d;
	call("devices");
}

void vcpus_pause(struct vcpus *vcpus, int parked_fd)
{
	assert_ptr_equal(vcpus, &guest.vcpus);
	assert_int_equal(parked_fd, s.parked_fd);
	call("park");
}

void vcpus_resume(struct vcpus *vcpus)
{
	(void)vcpus;
	call("run");
}

static enum end_reason ends; /* the guest does */

struct ending platform_ending(const struct platform *platform)
{
	(void)platform;
	return (struct ending){ ends, 0 };
}

void platform_end(struct platform *platform, enum end_reason reason,
		  unsigned status)
{
	(void)platform;
	assert_int_equal(reason, END_SNAPSHOT);
	assert_int_equal(status, 0);
	ends = reason;
	call("end");
}

int platform_new_generation(struct platform *platform)
{
	(void)platform;
	return result("generation");
}

void platform_restored(struct platform *platform)
{
	(void)platform;
	call("platform");
}

void uart_restored(struct uart *uart)
{
	(void)uart;
	call("uart");
}

void command_restored(struct command *command, const char *hostname)
{
	(void)command;
	assert_string_equal(hostname, "name");
	call("command");
}

/* -- what was learned, of which test_learn.c has the tests ----------------- */

#define RUN 0x1234u

static unsigned written; /* runs of pages */
static unsigned copied;	 /* bytes, in all */
static uint64_t now;

void learned_load(struct learned *learned, uint64_t size, struct state *state)
{
	uint32_t run[2] = { 0 };

	assert_int_equal(size, RAM_SIZE);
	learned->count = (state->len - state->at) / LEARN_RUN_BYTES;
	do {
		state_u32(state, &run[0]);
		state_u32(state, &run[1]);
		state_check(state, run[0] == RUN, "they are in no order");
	} while (!state->wrong && state->at < state->len);
}

void learned_begin(struct learned *learned, const struct ram *ram)
{
	assert_ptr_equal(learned, &s.learned);
	assert_ptr_equal(ram, &memory);
	call("ahead");
}

void learned_end(struct learned *learned)
{
	assert_ptr_equal(learned, &s.learned);
	call("join");
}

/* Of a large one its beginning only. */
int learn_copy(int from, uint64_t from_off, int to, uint64_t to_off,
	       uint64_t len)
{
	char some[8192];
	const size_t n = len < sizeof(some) ? (size_t)len : sizeof(some);

	assert_int_equal(from, s.restore_fd);
	assert_int_equal(to, s.committer.fd);
	if (!len)
		return 0;
	copied += (unsigned)len;
	assert_int_equal(pread(from, some, n, (off_t)from_off), n);
	assert_int_equal(pwrite(to, some, n, (off_t)to_off), n);
	if (fails && !strcmp(fails, "slow copy"))
		now += 60000000000ULL;
	return result("copy");
}

void snapshot_memory_written(const struct ram *ram, int pagemap_fd,
			     struct state *state)
{
	uint32_t run[2] = { RUN, 1 };

	assert_ptr_equal(ram, &memory);
	assert_int_equal(pagemap_fd, s.pagemap_fd);
	for (unsigned i = 0; i < written; i++) {
		state_u32(state, &run[0]);
		state_u32(state, &run[1]);
	}
	if (result("written"))
		state->wrong = "there is no room for it";
}

void signals_release(struct signals *signals, uint64_t ns)
{
	assert_ptr_equal(signals, &guest.signals);
	call(ns ? "release" : "release0");
}

int signals_hold(struct signals *signals)
{
	assert_ptr_equal(signals, &guest.signals);
	return result("hold");
}

uint64_t guest_time_left(const struct guest *g)
{
	assert_ptr_equal(g, &guest);
	return 1;
}

void signals_last_resort(uint64_t ns)
{
	assert_true(ns > 0);
	call("last");
}

static int answers; /* there is one */

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	assert_in_range(count, 1, 2);
	assert_int_equal(fds->fd, s.committer.channel);
	assert_int_equal(fds->events, POLLIN);
	if (count == 2)
		assert_int_equal(fds[1].fd, guest.signals.source.fd);
	assert_in_range(timeout, 1, count == 1 ? 100 : 1000);
	call("poll");
	fds->revents = answers > 0 ? POLLIN : 0;
	return count == 2 ? answers != 0 : answers;
}

void command_tell_mac(struct command *command, const uint8_t was[6],
		      const uint8_t is[6])
{
	(void)command, (void)was, (void)is;
	call("mac");
}

/* Of an interface with a MAC of the test's, as --net asks for it. */
bool networds_order(char text[NETWORDS_BYTES], const struct net_options *net,
		    const uint8_t mac[NET_MAC_BYTES])
{
	(void)net;
	text[0] = 'x';
	text[1] = 0;
	return mac[0] != 0;
}

void command_tell_net(struct command *command, const char *order)
{
	(void)command;
	assert_string_equal(order, "x");
	call("net");
}

/* What comes while it is written: the end, or the signal that takes one. */
static bool ends_at_signal, asks_at_signal;
static unsigned stop_in; /* so many answers: mote is stopped */

bool guest_answer(struct guest *g)
{
	assert_ptr_equal(g, &guest);
	if (ends_at_signal)
		ends = END_SIGNAL;
	if (asks_at_signal)
		guest.snapshot.take(guest.snapshot.arg);
	if (stop_in && !--stop_in)
		guest.stopped = true;
	return ends != END_NONE;
}

int ram_load_all(struct ram *ram, int fd, uint64_t offset, bool copy,
		 const struct ram_options *o)
{
	assert_ptr_equal(ram, &memory);
	assert_int_equal(fd, s.restore_fd);
	assert_int_equal(offset, s.header.mem_off);
	assert_int_equal(copy, options.restore.copy);
	assert_int_equal(o->prefault, options.restore.prefault);
	assert_int_equal(o->mergeable, options.restore.mergeable);
	return result("ram");
}

int snapshot_memory_open(void)
{
	return -1;
}

int snapshot_memory_write(const struct ram *ram, int pagemap_fd, int fd,
			  uint64_t off, uint64_t *at)
{
	assert_int_equal(pagemap_fd, -1);
	assert_int_equal(off, s.header.mem_off);
	assert_int_equal(fd, s.committer.fd);
	*at += ram->size / 2;
	return result("memory");
}

/* -- the loop -------------------------------------------------------------- */

static struct loop_source *sources[4];
static uint64_t patience;
static unsigned timers; /* that there are */

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events)
{
	(void)loop, (void)events;
	for (unsigned i = 0; i < ARRAY_LEN(sources); i++)
		if (!sources[i]) {
			sources[i] = source;
			return 0;
		}
	return -ENOMEM;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
	(void)loop;
	assert_ptr_equal(source, &s.committed);
	call("unwatch");
}

uint64_t loop_now(void)
{
	return now;
}

int loop_timer_create(struct loop *loop, struct loop_timer *timer,
		      void (*expired)(void *arg), void *arg)
{
	(void)loop;
	timers++;
	*timer = (struct loop_timer){ .source.fd = 0,
				      .expired = expired,
				      .arg = arg };
	return 0;
}

void loop_timer_set(struct loop_timer *timer, uint64_t ns)
{
	assert_ptr_equal(timer, &s.patience);
	patience = ns;
}

void loop_timer_destroy(struct loop *loop, struct loop_timer *timer)
{
	(void)loop;
	assert_ptr_equal(timer, &s.patience);
	timers--;
}

/* -- the committer --------------------------------------------------------- */

static int channel, committed_last, commit_answer;
static bool gives_file; /* the next time */

int committer_open(struct committer *c, const char *option,
		   const struct option_file *file)
{
	assert_string_equal(option, options.restore.learn ? "--restore "
							  : "--snapshot ");
	assert_string_equal(file->path ? file->path : path, path);
	*c = COMMITTER_NONE;
	c->fd = dup(options.restore.learn ? learned_fd : file_fd);
	c->channel = channel;
	return 0;
}

int committer_empty(struct committer *c)
{
	if (result("empty"))
		return -EIO;
	return ftruncate(c->fd, 0) ? -errno : 0;
}

int committer_commit(struct committer *c, bool last)
{
	(void)c;
	committed_last = last;
	return result("commit");
}

int committer_ask(struct committer *c)
{
	(void)c;
	return result("file?");
}

int committer_answer(struct committer *c)
{
	if (c->fd < 0 && gives_file)
		c->fd = dup(file_fd);
	return commit_answer;
}

void committer_close(struct committer *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* -- options --------------------------------------------------------------- */

static bool wants_words;
static const char saved_words[] = "disk\0/a";

long options_save_words(const struct options *o, char words[OPTIONS_WORDS_MAX])
{
	(void)o;
	memcpy(words, saved_words, sizeof(saved_words));
	return sizeof(saved_words);
}

bool options_want_words(const struct options *o, const char *words, size_t len)
{
	(void)o;
	assert_int_equal(len, sizeof(saved_words));
	assert_memory_equal(words, saved_words, len);
	return wants_words;
}

int options_take_words(struct options *o, const char *words, size_t len,
		       const char *whose)
{
	(void)o;
	assert_memory_equal(words, saved_words, len);
	assert_string_equal(whose, path);
	return result("take_words");
}

int options_check(struct options *o)
{
	(void)o;
	return result("check");
}

/* -- help ------------------------------------------------------------------ */

static void make_guest(bool command)
{
	const struct snapshot_machine on = { &options, &machine, &memory,
					     &vm,      &devices, &guest };

	memset(&guest, 0, sizeof(guest));
	memset(&devices, 0, sizeof(devices));
	memset(&options, 0, sizeof(options));
	memset(sources, 0, sizeof(sources));
	options.snapshot.file = options.restore.file =
		(struct option_file){ .fd = -1 };
	options.cpus = CPUS;
	options.ram.size = memory.size = RAM_SIZE;
	options.name = "name";
	vm = (struct vm){ .cpus_max = 4 };
	ends = END_NONE;
	guest.vcpus.count = CPUS;
	for (unsigned i = 0; i < VM_CPUS_MAX; i++)
		guest.vcpus.cpu[i].id = i;
	guest.command.on = command;
	devices.count = SLOTS;
	devices.options = &options.devices;
	devices.options->disk_count = 2;
	devices.options->disks[0].queues = devices.options->disks[1].queues = 1;
	devices.options->net_count = 1;
	devices.vsock = (void *)disk;
	for (unsigned i = 0; i < SLOTS; i++) {
		device[i].queue_count = i < 2 ? 1 : 2;
		devices.slot[i].device = &device[i];
		devices.slot[i].self = i < 2 ? &disk[i] : NULL;
	}
	for (unsigned p = 0; p < PARTS; p++)
		for (unsigned i = 0; i < ARRAY_LEN(value[p]); i++)
			value[p][i] = 1000 + p * 16 + i;
	memset(&s, 0, sizeof(s));
	snapshot_init(&s, &on);
	calls[0] = 0;
}

static void taker(enum snapshot_on on, enum snapshot_then then)
{
	options.snapshot.file = (struct option_file){ .path = path, .fd = -1 };
	options.snapshot.on = on;
	options.snapshot.then = then;
	assert_int_equal(snapshot_open(&s), 0);
	assert_int_equal(snapshot_attach(&s), 0);
	assert_int_equal(snapshot_features(&s), FEATURE_SNAPSHOT);
	assert_ptr_equal(sources[0], &s.parked);
	assert_ptr_equal(sources[1], channel >= 0 ? &s.committed : NULL);
	called("");
}

static void ask(void)
{
	guest.snapshot.take(guest.snapshot.arg);
}

static void park(void)
{
	const uint64_t one = 1;

	assert_int_equal(write(s.parked_fd, &one, sizeof(one)), sizeof(one));
	s.parked.ready(s.parked.arg, EPOLLIN);
}

static void answer(int error)
{
	commit_answer = error;
	s.committed.ready(s.committed.arg, EPOLLIN);
}

static void lose(void)
{
	snapshot_close(&s);
	assert_int_equal(timers, 0);
	if (s.restore_fd >= 0)
		close(s.restore_fd);
	if (s.state)
		munmap(s.state, SNAPSHOT_STATE_MAX);
	if (s.words)
		munmap(s.words, OPTIONS_WORDS_MAX);
	expect_no_log();
}

static int setup(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "/tmp/mote-test-XXXXXX");
	file_fd = mkstemp(path);
	snprintf(learned_path, sizeof(learned_path), "%s.learned", path);
	learned_fd = open(learned_path, O_RDWR | O_CREAT | O_EXCL, 0600);
	fails = awaited = NULL;
	gives_file = false;
	broken = -1;
	channel = 77;
	now = 5;
	answers = 1;
	stop_in = 0;
	layered = devices_are_quiet = true;
	wants_words = ends_at_signal = asks_at_signal = false;
	logged.count = copied = 0;
	written = 1;
	make_guest(false);
	return file_fd < 0 || learned_fd < 0;
}

static int teardown(void **state)
{
	(void)state;
	close(file_fd);
	close(learned_fd);
	unlink(path);
	return unlink(learned_path);
}

/* What follows of one that is taken. */
#define WRITTEN                                                                \
	"sync0 sync1 before0 before1 empty layer layer memory memory commit"

/* -- taking ---------------------------------------------------------------- */

static void test_by_signal(void **state)
{
	struct snapshot_header header;

	(void)state;
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
	for (unsigned i = 0; i < 2; i++) {
		ask();
		called("park pause");
		assert_true(patience > 0);
		park();
		called(WRITTEN " go run");
		assert_int_equal(patience, 0);
		assert_false(committed_last);
		assert_int_equal(snapshot_header_read(&header, file_fd, "x"),
				 0);
		assert_int_equal(header.mem_len, RAM_SIZE);
		assert_int_equal(header.flags, 0);
		answer(0);
		called("");
		assert_int_equal(s.phase, SNAPSHOT_IDLE);
	}
	lose();
}

/* Whichever is last. */
static void test_devices_are_last(void **state)
{
	(void)state;
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
	devices_are_quiet = false;
	ask();
	called("park pause");
	park();
	called("");
	quiet(quiet_arg);
	called(WRITTEN " go run");
	answer(0);
	ask();
	called("park pause");
	quiet(quiet_arg);
	called("");
	park();
	called(WRITTEN " go run");
	answer(0);
	lose();
}

static void test_exits(void **state)
{
	(void)state;
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_EXITS);
	ask();
	park();
	/* The guest stands still until the file has its name. */
	called("park pause " WRITTEN);
	assert_true(committed_last);
	answer(0);
	called("end");
	lose();
}

static void test_no_name(void **state)
{
	(void)state;
	/* It was to exit: it goes on, and may be asked again. */
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_EXITS);
	for (unsigned i = 0; i < 2; i++) {
		ask();
		park();
		called("park pause " WRITTEN);
		answer(-ENOSPC);
		called("empty go run");
		expect_log("none was taken, and the guest goes on: its file: "
			   "No space left on device");
		assert_int_equal(s.phase, SNAPSHOT_IDLE);
	}
	lose();
	/* It has gone on. */
	make_guest(false);
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
	ask();
	park();
	called("park pause " WRITTEN " go run");
	answer(-EIO);
	called("");
	expect_log("its file: Input/output error");
	lose();
}

static void test_committer_is_gone(void **state)
{
	(void)state;
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_EXITS);
	answer(-EPIPE);
	called("unwatch");
	ask();
	park();
	called("park pause " WRITTEN);
	answer(-EPIPE);
	called("unwatch empty go run");
	expect_log("its file: Broken pipe");
	lose();
}

static void lose_file(void)
{
	close(s.committer.fd);
	s.committer.fd = -1;
}

/* There was none when the last one had its name: it is asked for again. */
static void test_no_next_file(void **state)
{
	(void)state;
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
	for (unsigned i = 0; i < 3; i++) {
		lose_file();
		ask();
		called("file?");
		expect_no_log();
		/* Once is enough, and the guest runs. */
		ask();
		called("");
		answer(i ? 0 : -ENOSPC);
		called("");
		expect_log(i ? "a file for it could not be made: Too many "
			       "open files"
			     : "a file for it could not be made: No space");
		assert_int_equal(s.phase, SNAPSHOT_IDLE);
	}
	fails = "file?";
	ask();
	called("file?");
	expect_log("a file for it could not be made: Input/output error");
	assert_int_equal(s.phase, SNAPSHOT_IDLE);
	fails = NULL;
	/* Of one that came too late nothing is taken. */
	ask();
	called("file?");
	gives_file = true;
	ends = END_SIGNAL;
	answer(0);
	called("");
	ends = END_NONE;
	lose_file();
	ask();
	called("file?");
	answer(0);
	called("park pause");
	park();
	called(WRITTEN " go run");
	answer(0);
	called("");
	expect_no_log();
	lose();
}

static void test_one_at_a_time(void **state)
{
	(void)state;
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
	ask();
	called("park pause");
	/* What is saved is no older than this. */
	ask();
	called("");
	asks_at_signal = true;
	park();
	asks_at_signal = false;
	called(WRITTEN " go run");
	answer(0);
	called("");
	assert_int_equal(s.phase, SNAPSHOT_IDLE);
	/* What gets its name is older: one more, however often it is asked. */
	ask();
	park();
	called("park pause " WRITTEN " go run");
	ask();
	ask();
	called("");
	answer(0);
	called("park pause");
	park();
	called(WRITTEN " go run");
	answer(0);
	called("");
	assert_int_equal(s.phase, SNAPSHOT_IDLE);
	ask();
	called("park pause");
	lose();
}

/* Once more, while a file got its name, and then there is no such. */
static void test_once_more(void **state)
{
	(void)state;
	/* The guest has ended since. */
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
	ask();
	park();
	called("park pause " WRITTEN " go run");
	ask();
	ends = END_POWEROFF;
	answer(0);
	called("");
	lose();
	/* It ends by it; or has to go on. */
	for (unsigned i = 0; i < 2; i++) {
		make_guest(false);
		taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_EXITS);
		ask();
		park();
		called("park pause " WRITTEN);
		ask();
		called("");
		answer(i ? -ENOSPC : 0);
		called(i ? "empty go run park pause" : "end");
		if (i)
			expect_log("its file: No space left on device");
		lose();
	}
	/* There is no file for it. */
	make_guest(false);
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
	ask();
	park();
	called("park pause " WRITTEN " go run");
	ask();
	lose_file();
	answer(0);
	called("file?");
	answer(-ENOSPC);
	called("");
	expect_log("a file for it could not be made");
	assert_int_equal(s.phase, SNAPSHOT_IDLE);
	lose();
	/* Nor who gives it its name. */
	make_guest(false);
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
	ask();
	park();
	called("park pause " WRITTEN " go run");
	ask();
	answer(-EPIPE);
	called("unwatch park pause");
	expect_log("its file: Broken pipe");
	lose();
}

static void test_patience(void **state)
{
	(void)state;
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
	devices_are_quiet = false;
	awaited = "disk 1";
	ask();
	park();
	called("park pause");
	s.patience.expired(s.patience.arg);
	called("empty go run");
	expect_log("the guest goes on: disk 1 does not answer");
	/* It is quiet too late, and means nothing. */
	quiet(quiet_arg);
	called("");
	awaited = NULL;
	ask();
	called("park pause");
	s.patience.expired(s.patience.arg);
	called("empty go run");
	expect_log("the guest goes on: a vCPU does not answer");
	/* The last time's vCPUs park only now: they are not this time's. */
	{
		const uint64_t one = 1;

		assert_int_equal(write(s.parked_fd, &one, 8), 8);
	}
	devices_are_quiet = true;
	ask();
	called("park pause");
	s.parked.ready(s.parked.arg, EPOLLIN);
	called("");
	park();
	called(WRITTEN " go run");
	/* Too late: it was taken. */
	s.patience.expired(s.patience.arg);
	called("");
	lose();
}

static void test_ending(void **state)
{
	(void)state;
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_EXITS);
	ask();
	called("park pause");
	ends = END_POWEROFF;
	park();
	called(""); /* who ends it stops the vCPUs */
	s.patience.expired(s.patience.arg);
	called("");
	snapshot_end(&s);
	expect_log("none was taken: the guest ended meanwhile");
	lose();
	make_guest(false);
	ends_at_signal = true;
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_EXITS);
	ask();
	park();
	called("park pause sync0 sync1 before0 before1 empty layer");
	s.patience.expired(s.patience.arg);
	called("");
	snapshot_end(&s);
	expect_log("none was taken: the guest ended meanwhile");
	lose();
	make_guest(false);
	layered = false;
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_EXITS);
	ask();
	park();
	called("park pause sync0 sync1 before0 before1 empty memory");
	lose();
}

static void test_each_step_may_fail(void **state)
{
	static const struct {
		const char *step, *calls, *words;
	} cases[] = {
		{ "sync0", "sync0 empty", "a disk: Input/output error" },
		{ "sync1", "sync0 sync1 empty", "a disk: Input/output" },
		{ "empty", "sync0 sync1 before0 before1 empty empty",
		  "its file: Input/output error" },
		{ "layer", "sync0 sync1 before0 before1 empty layer empty",
		  "its file: Input/output error" },
		{ "memory",
		  "sync0 sync1 before0 before1 empty layer layer memory empty",
		  "its file: Input/output error" },
		{ "commit", WRITTEN " empty", "its file: Input/output error" },
	};
	char expected[256];

	(void)state;
	for (unsigned then = SNAPSHOT_EXITS; then <= SNAPSHOT_CONTINUES;
	     then++) {
		make_guest(false);
		taker(SNAPSHOT_ON_SIGNAL, then);
		for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
			fails = cases[i].step;
			ask();
			park();
			snprintf(expected, sizeof(expected),
				 "park pause %s go run", cases[i].calls);
			called(expected);
			assert_true(strstr(logged.last, path) != NULL);
			expect_log(cases[i].words);
			fails = NULL;
		}
		/* And the next one is as good as any. */
		ask();
		park();
		called(then == SNAPSHOT_EXITS ? "park pause " WRITTEN
					      : "park pause " WRITTEN
						" go run");
		answer(0);
		called(then == SNAPSHOT_EXITS ? "end" : "");
		lose();
	}
}

static void test_part_that_cannot_be_saved(void **state)
{
	(void)state;
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
	broken = MSRS;
	ask();
	park();
	called("park pause sync0 sync1 before0 before1 go run");
	expect_log("the guest goes on: MSRs of vCPU 0: it is broken");
	broken = VSOCK;
	ask();
	park();
	called("park pause sync0 sync1 before0 before1 go run");
	expect_log("its vsock: it is broken");
	lose();
}

static void test_when_ready(void **state)
{
	struct snapshot_header header;

	(void)state;
	make_guest(true);
	taker(SNAPSHOT_ON_READY, SNAPSHOT_CONTINUES);
	assert_null(guest.snapshot.take);
	assert_ptr_equal(guest.platform.on_ready.loop, &guest.loop);
	guest.platform.on_ready.call(guest.platform.on_ready.arg, 1);
	called("park pause");
	park();
	called(WRITTEN " go run");
	answer(0);
	assert_int_equal(s.ready_vcpu, 1);
	assert_int_equal(snapshot_header_read(&header, file_fd, "x"), 0);
	assert_int_equal(header.flags, SNAPSHOT_HAS_COMMAND);
	/* Of several the first. */
	guest.platform.on_ready.call(guest.platform.on_ready.arg, 0);
	called("");
	snapshot_end(&s);
	lose();
	/* Without a command who only says so is heard, too. */
	make_guest(false);
	taker(SNAPSHOT_ON_READY, SNAPSHOT_CONTINUES);
	guest.platform.on_ready.call(guest.platform.on_ready.arg, -1);
	called("park pause");
	lose();
}

/* The guest has gone on, and ended before its snapshot had its name. */
static void test_name_at_the_end(void **state)
{
	static const struct {
		int answers, error;
		unsigned stop_in;
		const char *calls, *log;
	} cases[] = {
		{ 1, 0, 0, "poll", NULL },
		{ 1, -ENOSPC, 0, "poll", "No space left on device" },
		{ 0, 0, 0, "poll", NULL },	 /* it takes too long */
		{ -1, 0, 2, "poll poll", NULL }, /* signals, a last one */
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		make_guest(false);
		taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
		ask();
		park();
		called("park pause " WRITTEN " go run");
		answers = cases[i].answers;
		commit_answer = cases[i].error;
		stop_in = cases[i].stop_in;
		guest.snapshot.finish(guest.snapshot.arg, 1000000000);
		called(cases[i].calls);
		if (cases[i].log)
			expect_log(cases[i].log);
		snapshot_end(&s);
		lose();
	}
}

static void test_never_ready(void **state)
{
	(void)state;
	make_guest(true);
	taker(SNAPSHOT_ON_PROGRAM, SNAPSHOT_EXITS);
	/* It has no use for an answer, so it is not mote's init. */
	guest.platform.on_ready.call(guest.platform.on_ready.arg, -1);
	called("");
	snapshot_end(&s);
	expect_log(": none was taken: the guest ended before it was ready");
	guest.stopped = true;
	snapshot_end(&s);
	lose();
	make_guest(false);
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
	snapshot_end(&s);
	lose();
}

/* fd=N has no committer: it is done when it is written. */
static void test_descriptor(void **state)
{
	(void)state;
	channel = -1;
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_EXITS);
	ask();
	park();
	called("park pause " WRITTEN " end");
	lose();
	make_guest(false);
	taker(SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
	ask();
	park();
	called("park pause " WRITTEN " go run");
	assert_int_equal(s.phase, SNAPSHOT_IDLE);
	lose();
}

static void test_nobody_asks_for_one(void **state)
{
	(void)state;
	assert_int_equal(snapshot_open(&s), 0);
	assert_int_equal(snapshot_attach(&s), 0);
	assert_int_equal(snapshot_features(&s), 0);
	assert_int_equal(snapshot_largest(&s), 0);
	assert_false(snapshot_restores(&s) || snapshot_keeps_orders(&s));
	assert_null(guest.snapshot.take);
	assert_null(sources[0]);
	called("");
	lose();
}

/* -- restoring ------------------------------------------------------------- */

/* What is in the file, to be changed. */
static struct snapshot_header header;
static uint8_t bytes[16384];

static void read_file(void)
{
	assert_int_equal(snapshot_header_read(&header, file_fd, "x"), 0);
	assert_true(header.state_len < sizeof(bytes));
	assert_int_equal(snapshot_state_read(&header, file_fd, "x", bytes), 0);
}

static void take_one(bool command)
{
	make_guest(command);
	channel = -1;
	taker(command ? SNAPSHOT_ON_READY : SNAPSHOT_ON_SIGNAL,
	      SNAPSHOT_CONTINUES);
	if (command)
		guest.platform.on_ready.call(guest.platform.on_ready.arg, 1);
	else
		ask();
	park();
	lose();
	read_file();
	make_guest(command);
	for (unsigned p = 0; p < PARTS; p++)
		memset(value[p], 0, sizeof(value[p]));
}

static void put_file(void)
{
	assert_int_equal(snapshot_header_write(&header, bytes, file_fd, false),
			 0);
}

static int open_it(void)
{
	options.restore.file = (struct option_file){ .path = path, .fd = -1 };
	return snapshot_open(&s);
}

static int restore(void)
{
	int error = open_it();

	if (!error)
		error = snapshot_load_machine(&s);
	if (!error)
		error = snapshot_load_memory(&s);
	return error ? error : snapshot_load_rest(&s);
}

static void refuses(const char *says)
{
	put_file();
	assert_int_equal(restore(), -EINVAL);
	assert_true(!strncmp(logged.last, "snapshot /tmp/", 14));
	expect_log(says);
	assert_null(strstr(calls, "devices"));
	lose();
	make_guest(false);
}

/* Where a record begins, and its length with its head. */
static uint8_t *record(uint16_t tag, unsigned nth, size_t *len)
{
	struct state st = state_load(bytes, header.state_len);
	struct snapshot_record r;

	while (snapshot_record_next(&st, &r))
		if (r.tag == tag && !nth--) {
			*len = st.at - (r.at - 8);
			return bytes + r.at - 8;
		}
	fail_msg("no record %u", tag);
	*len = 0;
	return NULL;
}

static void insert(uint8_t *at, const void *what, size_t len)
{
	uint8_t *end = bytes + header.state_len;

	memmove(at + len, at, (size_t)(end - at));
	memcpy(at, what, len);
	header.state_len += len;
}

static void cut(uint8_t *at, size_t len)
{
	uint8_t *end = bytes + header.state_len;

	memmove(at, at + len, (size_t)(end - at) - len);
	header.state_len -= len;
}

static void test_all_comes_back(void **state)
{
	(void)state;
	take_one(false);
	options.restore.prefault = options.restore.moved = true;
	options.restore.clock = RESTORE_CLOCK_KEEP;
	options.cpus = 1;
	options.ram.size = 0;
	assert_int_equal(restore(), 0);
	called("check ram ahead use_layer generation devices uart platform");
	assert_int_equal(options.cpus, CPUS);
	assert_int_equal(options.ram.size, RAM_SIZE);
	assert_false(devices.net[0].own_mac);
	assert_true(vm.keeps_clocks && options.devices.disks[0].moved &&
		    options.devices.disks[1].moved);
	assert_true(snapshot_restores(&s) && snapshot_keeps_orders(&s));
	assert_null(s.state);
	for (unsigned p = 0; p < PARTS; p++) {
		static const unsigned counts[PARTS] = {
			[CPUID] = 2,  [SREGS] = 2, [REGS] = 2, [XSAVE] = 2,
			[DEBUG] = 2,  [LAPIC] = 2, [TSC] = 2,  [MSRS] = 2,
			[EVENTS] = 2, [PIC] = 2,   [SLOT] = 4, [DISK] = 2,
		};
		const unsigned count = counts[p] ? counts[p] : 1;

		for (unsigned i = 0; i < count && p != COMMAND; i++)
			assert_int_equal(value[p][i], 1000 + p * 16 + i);
	}
	assert_int_equal(value[QUEUE][7], 1000 + QUEUE * 16 + 7);
	assert_int_equal(value[COMMAND][0], 0);
	lose();
	/* And where another one is to be taken, its state stays. */
	take_one(false);
	options.snapshot.file = (struct option_file){ .path = path, .fd = -1 };
	assert_int_equal(restore(), 0);
	assert_non_null(s.state);
	assert_int_equal(snapshot_largest(&s),
			 RAM_SIZE + SNAPSHOT_STATE_MAX + 2 * SNAPSHOT_ALIGN);
	lose();
}

/* Each record, in its order, as tag.index. */
static const char *records(void)
{
	struct state st = state_load(bytes, header.state_len);
	static char text[512];
	struct snapshot_record r;
	size_t n = 0;

	*text = 0;
	while (snapshot_record_next(&st, &r))
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%x.%x ",
				      r.tag, r.index);
	assert_null(st.wrong);
	return text;
}

#define ON_VCPUS "4.0 4.1 5.0 5.1 6.0 6.1 7.0 7.1 8.0 8.1 9.0 9.1 a.0 a.1 "
#define VCPUS	 ON_VCPUS "b.0 b.1 c.0 c.1 "
#define CHIPS	 "d.0 e.0 e.1 f.0 10.0 11.0 "
#define DEVICES                                                                \
	"13.0 13.1 13.2 13.3 14.0 14.10 14.20 14.21 14.30 14.31 15.0 16.0 "    \
	"17.0 17.1 "

/* What is in a file stays where it is, or its version is another. */
static void test_order(void **state)
{
	(void)state;
	take_one(false);
	assert_string_equal(records(), "1.0 2.0 3.0 " VCPUS CHIPS DEVICES);
	take_one(true);
	assert_string_equal(records(),
			    "1.0 2.0 3.0 " VCPUS CHIPS "12.0 " DEVICES);
	lose();
}

/* Its KVM is asked what it can do, but where it has been asked by then. */
static void test_hosts(void **state)
{
	static const struct {
		unsigned at, len;
		uint8_t fill;
		bool same;
	} cases[] = {
		{ 0, 0, 0, true },     { 0, 32, 'x', true },
		{ 32, 1, '-', false }, { 67, 1, '-', false },
		{ 32, 36, 0, false },
	};
	size_t len;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t *at;

		take_one(false);
		at = record(2, 0, &len) + 8;
		assert_int_equal(len, 8 + 72);
		assert_true(at[0] && at[32]);
		memset(at + cases[i].at, cases[i].fill, cases[i].len);
		put_file();
		assert_int_equal(restore(), 0);
		assert_int_equal(vm.same_boot, cases[i].same);
		lose();
	}
	/* Neither knows who it is. */
	take_one(false);
	memset(record(2, 0, &len) + 8 + 32, 0, 36);
	put_file();
	assert_int_equal(open_it(), 0);
	memset(s.boot_id, 0, sizeof(s.boot_id));
	assert_int_equal(snapshot_load_machine(&s), 0);
	assert_false(vm.same_boot);
	lose();
	take_one(false);
	put_le32(record(2, 0, &len) + 4, 67);
	refuses("its host: it is too short");
}

/* -- learning -------------------------------------------------------------- */

static void learn_it(void)
{
	options.restore.learn = true;
	assert_int_equal(restore(), 0);
	/* It would not see what the guest itself writes. */
	called("check ram use_layer generation devices uart platform");
	assert_int_equal(s.committer.mark.at, 16);
	assert_int_equal(s.committer.mark.len, 16);
	assert_memory_equal(s.committer.mark.bytes, header.id, 16);
	assert_int_equal(snapshot_features(&s), FEATURE_LEARN);
	assert_int_equal(snapshot_largest(&s), header.file_len +
						       SNAPSHOT_STATE_MAX +
						       2 * SNAPSHOT_ALIGN);
	assert_int_equal(s.words_len, 0);
	assert_int_equal(snapshot_attach(&s), 0);
	assert_true(!guest.snapshot.take && !sources[0]);
}

/* A committer's work. */
static void name_learned(void)
{
	assert_int_equal(rename(learned_path, path), 0);
	close(file_fd);
	file_fd = learned_fd;
	learned_fd = open(learned_path, O_RDWR | O_CREAT | O_EXCL, 0600);
	assert_true(learned_fd >= 0);
}

static void test_learning(void **state)
{
	static uint8_t before[sizeof(bytes)];
	struct snapshot_header old;
	size_t len;

	(void)state;
	take_one(false);
	old = header;
	memcpy(before, bytes, sizeof(bytes));
	for (unsigned i = 0; i < 2; i++) {
		make_guest(false);
		learn_it();
		copied = 0;
		written = i ? 1024 : 1; /* and all else moves up */
		commit_answer = 0;
		snapshot_end(&s);
		called("last written copy copy copy copy copy commit poll");
		assert_true(committed_last);
		assert_int_equal(copied,
				 sizeof(saved_words) + 8 + 8192 + RAM_SIZE);
		lose();
		name_learned();
		read_file();
		/* Once, behind what the machine is; all else is as it was. */
		assert_string_equal(records(),
				    "1.0 2.0 8000.0 3.0 " VCPUS CHIPS DEVICES);
		assert_int_equal(header.flags, SNAPSHOT_LEARNED);
		assert_int_equal(header.mem_len, RAM_SIZE);
		assert_memory_equal(header.id, old.id, sizeof(old.id));
		assert_int_equal(get_le32(record(0x8000, 0, &len) + 8), RUN);
		assert_int_equal(len, 8 + 8 * written);
		cut(record(0x8000, 0, &len), len);
		assert_int_equal(header.state_len, old.state_len);
		assert_memory_equal(bytes, before, old.state_len);
	}
	/* Who does not learn has them ahead. */
	make_guest(false);
	assert_int_equal(restore(), 0);
	called("check ram ahead use_layer generation devices uart platform "
	       "release0 join hold");
	assert_int_equal(s.learned.count, 1024);
	snapshot_end(&s);
	called("");
	/* What is taken of that one has none. */
	lose();
	read_file();
	make_guest(false);
	channel = -1;
	options.snapshot.file = (struct option_file){ .path = path, .fd = -1 };
	options.snapshot.on = SNAPSHOT_ON_SIGNAL;
	options.snapshot.then = SNAPSHOT_CONTINUES;
	assert_int_equal(restore(), 0);
	calls[0] = 0;
	assert_int_equal(snapshot_attach(&s), 0);
	ask();
	park();
	lose();
	read_file();
	assert_string_equal(records(), "1.0 2.0 3.0 " VCPUS CHIPS DEVICES);
	assert_int_equal(header.flags, 0);
}

static void test_what_cannot_be_learned(void **state)
{
	static const struct {
		const char *step, *calls;
		int answer;
		const char *words;
	} cases[] = {
		{ "written", "last written", 0,
		  "nothing was learned: No buffer space available" },
		{ "copy", "last written copy", 0,
		  "nothing was learned: Input/output error" },
		{ "commit", "last written copy copy copy copy copy commit", 0,
		  "nothing was learned: Input/output error" },
		{ "", "last written copy copy copy copy copy commit poll",
		  -ENOSPC, "nothing was learned: No space left on device" },
		{ "", "last written copy copy copy copy copy commit poll",
		  -ESTALE,
		  "nothing was learned: another file has its name by now" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		take_one(false);
		learn_it();
		fails = cases[i].step;
		commit_answer = cases[i].answer;
		snapshot_end(&s);
		fails = NULL;
		called(cases[i].calls);
		assert_non_null(strstr(logged.last, path));
		expect_log(cases[i].words);
		lose();
	}
}

/* Whoever has had enough does not wait for it, and no one for ever. */
static void test_learning_ends(void **state)
{
	static const struct {
		unsigned stop_in;
		const char *calls;
	} cases[] = {
		{ 1, "last" },
		{ 2, "last written" },
		{ 6, "last written copy copy copy copy" },
		{ 9, "last written copy copy copy copy copy commit poll poll" },
	};

	(void)state;
	answers = 0;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		take_one(false);
		learn_it();
		stop_in = cases[i].stop_in;
		snapshot_end(&s);
		called(cases[i].calls);
		expect_log("nothing was learned: Operation canceled");
		lose();
	}
	take_one(false);
	learn_it();
	fails = "slow copy";
	snapshot_end(&s);
	called("last written copy");
	expect_log("timed out");
	lose();
}

/* The new file is mote's own, and what it says would be trusted. */
static void test_strange_words(void **state)
{
	(void)state;
	for (unsigned strange = 0; strange < 2; strange++) {
		take_one(false);
		assert_int_equal(fchmod(file_fd, strange ? 0620 : 0600), 0);
		commit_answer = 0;
		learn_it();
		snapshot_end(&s);
		lose();
		name_learned();
		read_file();
		assert_int_equal(
			!snapshot_area(&header, SNAPSHOT_AREA_WORDS, 0),
			strange);
		make_guest(false);
		assert_int_equal(restore(), 0);
		lose();
	}
}

static void test_learned_pages(void **state)
{
	uint8_t pages[16] = { 0, 0x80, 0, 0, 8, 0, 0, 0, RUN & 0xff, RUN >> 8 };
	size_t len;

	(void)state;
	take_one(false);
	insert(record(3, 0, &len), pages, sizeof(pages));
	header.flags |= SNAPSHOT_LEARNED;
	put_file();
	assert_int_equal(restore(), 0);
	assert_int_equal(s.learned.count, 1);
	lose();
	take_one(false);
	pages[8]++;
	insert(record(3, 0, &len), pages, sizeof(pages));
	header.flags |= SNAPSHOT_LEARNED;
	refuses("its learned pages: they are in no order");
	pages[8]--;
	take_one(false);
	pages[2] = 1;
	insert(record(3, 0, &len), pages, sizeof(pages));
	header.flags |= SNAPSHOT_LEARNED;
	refuses("a part 0x8000 (1) is where 0x8000 (0) should be");
	pages[2] = 0;
	take_one(false);
	pages[4] = 7;
	insert(record(3, 0, &len), pages, sizeof(pages));
	header.flags |= SNAPSHOT_LEARNED;
	refuses("its learned pages: it is too short");
	pages[4] = 8;
	/* Elsewhere, or where nobody says so, they are what may be skipped. */
	take_one(false);
	insert(record(3, 0, &len), pages, sizeof(pages));
	put_file();
	assert_int_equal(restore(), 0);
	assert_int_equal(s.learned.count, 0);
	lose();
	take_one(false);
	header.flags |= SNAPSHOT_LEARNED;
	refuses("a part 0x3 (0) is where 0x8000 (0) should be");
	take_one(false);
	insert(record(4, 0, &len), pages, sizeof(pages));
	put_file();
	assert_int_equal(restore(), 0);
	assert_int_equal(s.learned.count, 0);
	lose();
}

static void test_of_a_command(void **state)
{
	size_t len;

	(void)state;
	take_one(true);
	devices.net[0].mac[0] = 2;
	devices.net[0].saved_mac[0] = 6;
	guest.platform.ready_ns = 5;
	assert_int_equal(restore(), 0);
	called("check ram ahead answer1 use_layer generation command mac net "
	       "devices uart platform");
	assert_true(options.restore.has_command && options.restore.known);
	/* Its streams may have their part of that. */
	assert_int_equal(options.devices.vsock.memory, RAM_SIZE);
	assert_true(devices.net[0].own_mac);
	assert_int_equal(guest.platform.ready_ns, 0);
	assert_int_equal(value[COMMAND][0], 1000 + COMMAND * 16);
	lose();
	/* Whom nobody waits for. */
	take_one(true);
	put_le32(record(1, 0, &len) + 8 + 8 + 4 + 3, UINT32_MAX);
	put_file();
	assert_int_equal(restore(), -EINVAL);
	expect_log("its command: it was not taken when its init was ready");
	lose();
	take_one(true);
	put_file();
	fails = "answer1";
	assert_int_equal(restore(), -EINVAL);
	expect_log("registers of vCPU 1: its init cannot be told to go on");
	lose();
	fails = NULL;
	/* A command where there was none. */
	take_one(false);
	options.command = (char *[]){ (char *)"x", NULL };
	assert_int_equal(open_it(), -EINVAL);
	expect_log("it was not taken when mote's init was ready: no command "
		   "can be run in it");
	lose();
}

static void test_records_that_do_not_fit(void **state)
{
	uint8_t copy[64], other[16] = { 0x99, 0, 0, 0, 1, 0, 0, 0, 5 };
	size_t len;
	uint8_t *at;

	(void)state;
	/* Missing: in the middle, at the end, all. */
	take_one(false);
	at = record(13, 0, &len);
	cut(at, len);
	refuses("a part 0xe (0) is where 0xd (0) should be");
	take_one(false);
	at = record(23, 1, &len);
	cut(at, len);
	refuses("disk 1: it is missing");
	take_one(false);
	header.state_len = 0;
	refuses("the place of its state is impossible");
	take_one(false);
	other[1] = 0x80; /* and all that is there may be skipped */
	memcpy(bytes, other, header.state_len = sizeof(other));
	other[1] = 0;
	refuses("its machine: it is missing");
	/* Twice, out of order, of another index. */
	take_one(false);
	at = record(16, 0, &len);
	memcpy(copy, at, len);
	insert(at, copy, len);
	refuses("a part 0x10 (0) is where 0x11 (0) should be");
	take_one(false);
	at = record(23, 1, &len);
	memcpy(copy, at, len);
	insert(at, copy, len);
	refuses("a part 0x17 (1) is not known: a newer mote made it");
	take_one(false);
	at = record(15, 0, &len);
	memcpy(copy, at, len);
	cut(at, len);
	insert(record(17, 0, &len), copy, 16);
	refuses("a part 0x10 (0) is where 0xf (0) should be");
	take_one(false);
	record(7, 1, &len)[2] = 2;
	refuses("a part 0x7 (2) is where 0x7 (1) should be");
	/* Unknown: in the middle and at the end. */
	take_one(false);
	insert(record(8, 0, &len), other, sizeof(other));
	refuses("a part 0x99 (0) is where 0x8 (0) should be");
	take_one(false);
	insert(bytes + header.state_len, other, sizeof(other));
	refuses("a part 0x99 (0) is not known: a newer mote made it");
}

static void test_records_that_may_be_skipped(void **state)
{
	uint8_t other[16] = { 0x99, 0x80, 0, 0, 1, 0, 0, 0, 5 };
	size_t len;

	(void)state;
	take_one(false);
	insert(record(1, 0, &len), other, sizeof(other));
	insert(record(8, 0, &len), other, sizeof(other));
	insert(record(8, 0, &len), other, sizeof(other));
	insert(bytes + header.state_len, other, sizeof(other));
	put_file();
	assert_int_equal(restore(), 0);
	assert_int_equal(value[DEBUG][1], 1000 + DEBUG * 16 + 1);
	lose();
	/* One that is cut off is no such. */
	take_one(false);
	insert(bytes + header.state_len, other, 8);
	refuses("its state: it is too short");
}

static void test_lengths(void **state)
{
	size_t len;

	(void)state;
	take_one(false);
	put_le32(record(14, 1, &len) + 4, 3);
	refuses("PIC 1: it is too short");
	take_one(false);
	put_le32(record(14, 1, &len) + 4, 5);
	refuses("PIC 1: it is too long");
	take_one(false);
	put_le32(record(14, 1, &len) + 4, UINT32_MAX);
	refuses("PIC 1: it is too short");
	take_one(false);
	put_le32(record(1, 0, &len) + 4, 0);
	refuses("its machine: it is too short");
	/* At each byte. */
	take_one(false);
	for (uint64_t all = header.state_len, n = 0; n < all; n++) {
		header.state_len = n;
		put_file();
		assert_int_equal(restore(), -EINVAL);
		assert_int_equal(logged.count, 1);
		logged.count = 0;
		lose();
		make_guest(false);
	}
}

/* The fields of MACHINE, and where they are. */
static void test_machines(void **state)
{
	static const struct {
		unsigned at, len;
		uint64_t value;
		const char *words;
	} cases[] = {
		{ 0, 8, 0, "the size of its memory is impossible" },
		{ 0, 8, 16 << 20, "the size of its memory is impossible" },
		{ 0, 8, RAM_SIZE + 4096, "size of its memory is impossible" },
		{ 0, 8, UINT64_MAX, "the size of its memory is impossible" },
		{ 8, 4, 0, "KVM allows fewer vCPUs than it has" },
		{ 8, 4, 5, "KVM allows fewer vCPUs than it has" },
		{ 8, 4, UINT32_MAX, "KVM allows fewer vCPUs than it has" },
		{ 12, 1, 2, "a flag is neither 0 nor 1" },
		{ 13, 1, 2, "a flag is neither 0 nor 1" },
		{ 14, 1, 255, "a flag is neither 0 nor 1" },
		{ 15, 4, 2, "the vCPU that said that it was ready" },
		{ 15, 4, UINT32_MAX - 1, "the vCPU that said that it was" },
		{ 15, 4, 1U << 31, "the vCPU that said that it was ready" },
		{ 19, 4, 3,
		  "its machine: it has 3 disks, 1 network and a "
		  "vsock; this command line names 2 disks, 1 "
		  "network and a vsock" },
		{ 19, 4, 1, "it has 1 disk, 1 network and a vsock; this" },
		{ 23, 4, 0, "it has 2 disks, 0 networks and a vsock" },
		{ 27, 4, 0, "it has 2 disks, 1 network and no vsock" },
		{ 31, 4, 0, "number of a disk's queues is impossible" },
		{ 35, 4, DEVICE_QUEUES_MAX + 1, "number of a disk's queues" },
		{ 35, 4, UINT32_MAX, "number of a disk's queues" },
	};
	size_t len;
	uint8_t *at;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		take_one(false);
		at = record(1, 0, &len) + 8 + cases[i].at;
		assert_int_equal(len, 8 + 40);
		for (unsigned b = 0; b < cases[i].len; b++)
			at[b] = (uint8_t)(cases[i].value >> 8 * b);
		refuses(cases[i].words);
	}
	/* Which the header agrees to. */
	take_one(false);
	put_le64(record(1, 0, &len) + 8, header.mem_len = 16 << 20);
	refuses("the size of its memory is impossible");
	/* What it may be. */
	take_one(false);
	put_le32(record(1, 0, &len) + 8 + 35, DEVICE_QUEUES_MAX);
	record(1, 0, &len)[8 + 13] = 1;
	put_file();
	assert_int_equal(restore(), 0);
	assert_int_equal(devices.options->disks[1].queues, DEVICE_QUEUES_MAX);
	assert_true(machine.tells_panic && !machine.names_virtio);
	lose();
	machine.tells_panic = false;
}

static void test_layers(void **state)
{
	(void)state;
	take_one(false);
	header.area[1].len = 0;
	refuses("disk 1: what was written to it has another length");
	take_one(false);
	header.area[2].len = 4096;
	refuses("disk 1: what was written to it has another length");
	take_one(false);
	header.area[1].len = 16;
	refuses("disk 1: what was written to it has another length");
	take_one(false);
	fails = "use_layer";
	put_file();
	assert_int_equal(restore(), -EIO);
	expect_log("disk 1: its map is torn");
	lose();
	fails = NULL;
	/* Of a disk that is none, or has no layer. */
	take_one(false);
	header.area[3] = (struct snapshot_area){ header.area[0].off + 4096, 1,
						 7, SNAPSHOT_AREA_BITMAP };
	for (unsigned i = 1; i < 3; i++)
		header.area[i].off += 4096;
	assert_int_equal(pwrite(file_fd, "map", 3, (off_t)header.area[1].off),
			 3);
	assert_int_equal(pwrite(file_fd, "all", 3, (off_t)header.area[2].off),
			 3);
	refuses("it has what was written to disk 7, which is no ephemeral "
		"one");
	take_one(false);
	layered = false;
	refuses("it has what was written to disk 1, which is no ephemeral "
		"one");
}

static void test_words_of_devices(void **state)
{
	struct stat status;

	(void)state;
	take_one(false);
	wants_words = true;
	assert_int_equal(restore(), 0);
	called("check take_words check ram ahead use_layer generation devices "
	       "uart platform");
	lose();
	fails = "take_words";
	make_guest(false);
	assert_int_equal(open_it(), -EIO);
	lose();
	fails = NULL;
	/* Whom others can write. */
	for (unsigned mode = 0620; mode >= 0602; mode -= 016) {
		make_guest(false);
		assert_int_equal(fchmod(file_fd, mode), 0);
		assert_int_equal(open_it(), -EPERM);
		expect_log("it names files of its own, and others may write "
			   "it, or own it: name its devices (-d, -n, --vsock)");
		called("check");
		lose();
		/* Where nothing of it is wanted that is no matter. */
		make_guest(false);
		wants_words = false;
		assert_int_equal(open_it(), 0);
		lose();
		wants_words = true;
	}
	assert_int_equal(fchmod(file_fd, 0600), 0);
	if (!geteuid()) {
		assert_int_equal(fchown(file_fd, 1234, 1234), 0);
		make_guest(false);
		assert_int_equal(open_it(), -EPERM);
		expect_log("or own it");
		lose();
		assert_int_equal(fchown(file_fd, 0, 0), 0);
	}
	/* Longer than any. */
	take_one(false);
	assert_int_equal(fstat(file_fd, &status), 0);
	header.area[0].off = (uint64_t)1 << 20;
	header.area[0].len = OPTIONS_WORDS_MAX + 1;
	put_file();
	assert_int_equal(open_it(), -EINVAL);
	expect_log("the words of its devices are too long");
	lose();
	/* None: the command line names all. */
	take_one(false);
	header.area[0].len = 0;
	put_file();
	assert_int_equal(restore(), 0);
	lose();
}

static void test_other_failures(void **state)
{
	static const char *const steps[] = { "check", "ram", "generation" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
		take_one(false);
		fails = steps[i];
		assert_int_equal(restore(), -EIO);
		fails = NULL;
		if (i == 1)
			expect_log("its memory cannot be read: Input/output");
		assert_null(strstr(calls, "devices"));
		lose();
	}
}

static void test_what_cannot_be_opened(void **state)
{
	char fifo[80];

	(void)state;
	snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	options.restore.file = (struct option_file){ .path = fifo, .fd = -1 };
	assert_int_equal(snapshot_open(&s), -ENOENT);
	expect_log("cannot open --restore /tmp");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	alarm(60);
	assert_int_equal(snapshot_open(&s), -EINVAL);
	alarm(0);
	expect_log("it is no file");
	unlink(fifo);
	lose();
	/* The file that memory comes from is not written in place. */
	take_one(false);
	options.snapshot.file = (struct option_file){ .fd = file_fd };
	assert_int_equal(open_it(), -EINVAL);
	expect_log("it is the file that is restored");
	lose();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		CASE(test_by_signal),
		CASE(test_devices_are_last),
		CASE(test_exits),
		CASE(test_no_name),
		CASE(test_committer_is_gone),
		CASE(test_no_next_file),
		CASE(test_one_at_a_time),
		CASE(test_once_more),
		CASE(test_patience),
		CASE(test_ending),
		CASE(test_each_step_may_fail),
		CASE(test_part_that_cannot_be_saved),
		CASE(test_when_ready),
		CASE(test_never_ready),
		CASE(test_name_at_the_end),
		CASE(test_descriptor),
		CASE(test_nobody_asks_for_one),
		CASE(test_all_comes_back),
		CASE(test_order),
		CASE(test_hosts),
		CASE(test_learning),
		CASE(test_what_cannot_be_learned),
		CASE(test_learned_pages),
		CASE(test_learning_ends),
		CASE(test_strange_words),
		CASE(test_of_a_command),
		CASE(test_records_that_do_not_fit),
		CASE(test_records_that_may_be_skipped),
		CASE(test_lengths),
		CASE(test_machines),
		CASE(test_layers),
		CASE(test_words_of_devices),
		CASE(test_other_failures),
		CASE(test_what_cannot_be_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
