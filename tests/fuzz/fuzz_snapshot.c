/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/snapshot/snapshot.c boot/snapshot/take.c */
/* uses: boot/snapshot/restore.c boot/snapshot/update.c boot/snapshot/parts.c */
/* uses: boot/snapshot/file.c */
/* uses: boot/snapshot/memory.c */
/* uses: boot/options/table.c boot/options/check.c boot/options/parse.c */
/* uses: boot/options/values.c */
/* uses: boot/options/address.c boot/options/publish.c */
/* uses: boot/networds.c boot/cmdline.c */
/* uses: boot/options/help.c boot/options/words.c */
/* uses: cpu/vcpu_state.c cpu/vm_state.c cpu/cpuid.c cpu/platform.c cpu/rtc.c */
/* uses: cpu/bus.c cpu/console/uart.c cpu/console/stream.c cpu/console/tty.c */
/* uses: cpu/command/command.c cpu/command/frames.c cpu/command/orders.c */
/* uses: cpu/command/saved.c */
/* uses: cpu/command/output.c cpu/command/transfer.c */
/* uses: cpu/loop/file.c cpu/loop/format.c cpu/loop/unixsock.c */
/* uses: cpu/loop/committer.c cpu/loop/helper.c virtio/net/passt.c */
/* uses: mem/ram.c mem/log.c mem/pool.c mem/state.c boot/snapshot/learn.c */
/* uses: virtio/devices.c virtio/mmio.c virtio/queue.c virtio/lazy.c */
/* uses: virtio/limiter.c virtio/block/block.c virtio/block/request.c */
/* uses: virtio/block/file.c virtio/block/io.c */
/* uses: virtio/block/snapshot.c virtio/net/net.c virtio/net/rx_buffers.c */
/* uses: virtio/net/stream.c virtio/net/tap.c virtio/vsock/vsock.c */
/* uses: virtio/vsock/conn.c virtio/vsock/host.c */
/* ldflags: -Wl,--wrap=ioctl,--wrap=malloc,--wrap=calloc */
/* ldflags: -Wl,--wrap=realloc,--wrap=write */
/*
 * Restores snapshots that are not what mote has written: over a KVM that takes
 * everything, into a machine of two vCPUs, an ephemeral disk, a network and the
 * vsock of a command, all of them real but for the engine of the disk. One that
 * was taken at first is changed as the input says; the check sums are then made
 * right, but for those that the input changes afterwards:
 *
 *	0 at16 bits8		of the state
 *	1 n8 len16		a record gets that length: cut, or zeros behind
 *	2 at16 value32		likewise of the state
 *	3 at12 value		64 bits of the header, by a table of hard values
 *	4 n8			a record is left out
 *	5 n8			a record is there twice
 *	6 at16 bits8		of the areas, which are words, a map, clusters
 *	7 at12 bits8		of the header, after its check sum was made
 *	8 bytes...		the state is this
 *	9 at16 value32		guest memory at `at` * 4: a part of a ring
 *
 * What is unchanged must load; what was loaded can be saved, and loaded again;
 * and whatever was loaded, the devices must then be able to end. Nothing is
 * allocated that the file does not have bytes for.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/layout.h"
#include "boot/options/words.h"
#include "boot/snapshot/snapshot.h"
#include "cpu/loop/broker.h"
#include "mem/util.h"
#include "virtio/block/io.h"

#define CPUS	   2
#define MIB	   (1ULL << 20)
#define RAM_SIZE   (32 * MIB)
#define DISK_SIZE  (64 * 1024)
#define FILE_ROOM  (256 * 1024) /* before memory */
#define XSAVE_SIZE 4096
#define KVM_FD	   1000
#define VM_FD	   1001
#define VCPU_FD	   1002
#define GUEST_USED (4 << 16)  /* of its memory */
#define LARGEST	   (1u << 20) /* of what the state has bytes for */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "violated: %s\n", what);
	abort();
}

static bool loading; /* what is allocated is because of the file */

/* What is said of it is not read. */
ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	return loading && fd == STDERR_FILENO ? (ssize_t)len
					      : __real_write(fd, data, len);
}

/* -- memory ---------------------------------------------------------------- */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	must(!loading || size <= LARGEST, "an allocation");
	return __real_malloc(size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
	must(!loading || !size || count <= LARGEST / size, "an allocation");
	return __real_calloc(count, size);
}

void *__real_realloc(void *at, size_t size);
void *__wrap_realloc(void *at, size_t size);
void *__wrap_realloc(void *at, size_t size)
{
	must(!loading || size <= LARGEST, "an allocation");
	return __real_realloc(at, size);
}

/* -- a KVM that takes everything ------------------------------------------- */

const uint8_t vm_elcr_mask[2] = { 0xf8, 0xde };

void vm_interrupt(const struct vm *vm, unsigned gsi)
{
	(void)vm;
	must(gsi < VM_GSI_COUNT, "an interrupt");
}

int vm_irqfd(struct vm *vm, int event_fd, unsigned gsi)
{
	(void)vm;
	must(event_fd >= 0 && gsi < VM_GSI_COUNT, "an irqfd");
	return 0;
}

int vm_ioeventfd(struct vm *vm, int event_fd, gpa at, int64_t match)
{
	(void)vm, (void)at, (void)match;
	must(event_fd >= 0, "an ioeventfd");
	return 0;
}

int vm_show_page(struct vm *vm, gpa at, const void *page)
{
	(void)vm, (void)at;
	must((uintptr_t)page % RAM_PAGE == 0, "a page");
	return 0;
}

/* All bytes that KVM would read are there. */
static void look_at(const void *at, size_t len)
{
	static volatile uint8_t sum;
	const uint8_t *byte = at;

	while (len--)
		sum = (uint8_t)(sum + *byte++);
}

/* A processor without anything but what it must have. */
static void show_cpuid(struct kvm_cpuid2 *cpuid)
{
	must(cpuid->nent >= 2, "room for CPUID");
	memset(cpuid->entries, 0, 2 * sizeof(cpuid->entries[0]));
	cpuid->nent = 2;
	memcpy(&cpuid->entries[0].ebx, "mote", 4);
	cpuid->entries[1].function = 1;
	cpuid->entries[1].edx = 0x3ff;
}

static int list_msrs(struct kvm_msr_list *list)
{
	static const uint32_t some[] = { 0x10,	     0x174,	 0x277,
					 0xc0000081, 0x4b564d01, 0x6e0 };

	must(list->nmsrs >= ARRAY_LEN(some), "room for MSRs");
	list->nmsrs = ARRAY_LEN(some);
	memcpy(list->indices, some, sizeof(some));
	return 0;
}

static int move_msrs(struct kvm_msrs *msrs, bool get)
{
	must(msrs->nmsrs < 256, "MSRs at once");
	look_at(msrs->entries, msrs->nmsrs * sizeof(msrs->entries[0]));
	for (uint32_t i = 0; i < msrs->nmsrs && get; i++)
		msrs->entries[i].data = 0;
	return (int)msrs->nmsrs;
}

static int move_attr(const struct kvm_device_attr *attr, bool get)
{
	uint64_t *value = (uint64_t *)(uintptr_t)attr->addr;

	if (get)
		*value = 5;
	look_at(value, sizeof(*value));
	return 0;
}

static void get_chip(struct kvm_irqchip *chip)
{
	const uint32_t id = chip->chip_id;

	memset(chip, 0, sizeof(*chip));
	chip->chip_id = id;
	if (id == KVM_IRQCHIP_IOAPIC)
		chip->chip.ioapic.base_address = 0xfec00000;
	else
		chip->chip.pic.elcr_mask = vm_elcr_mask[id];
}

static int kvm_call(unsigned long request, void *arg)
{
	const struct kvm_cpuid2 *cpuid = arg;

	switch (request) {
	case KVM_CHECK_EXTENSION:
		return (uintptr_t)arg == KVM_CAP_XSAVE2 ? XSAVE_SIZE : 1;
	case KVM_GET_SUPPORTED_CPUID:
		show_cpuid(arg);
		return 0;
	case KVM_SET_CPUID2:
		look_at(cpuid->entries,
			cpuid->nent * sizeof(cpuid->entries[0]));
		return 0;
	case KVM_GET_MSR_INDEX_LIST:
		return list_msrs(arg);
	case KVM_GET_MSRS:
	case KVM_SET_MSRS:
		return move_msrs(arg, request == KVM_GET_MSRS);
	case KVM_GET_DEVICE_ATTR:
	case KVM_SET_DEVICE_ATTR:
		return move_attr(arg, request == KVM_GET_DEVICE_ATTR);
	case KVM_GET_TSC_KHZ:
		return 2000000;
	case KVM_SET_TSC_KHZ:
	case KVM_KVMCLOCK_CTRL:
		return 0;
	case KVM_GET_IRQCHIP:
		get_chip(arg);
		return 0;
	case KVM_GET_XSAVE2:
		memset(arg, 0, XSAVE_SIZE);
		return 0;
	}
	if (request == KVM_SET_IRQCHIP) /* which is defined as one that reads */
		look_at(arg, sizeof(struct kvm_irqchip));
	else if (_IOC_DIR(request) & _IOC_READ)
		memset(arg, 0, _IOC_SIZE(request));
	else
		look_at(arg, _IOC_SIZE(request));
	return 0;
}

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	if (fd < KVM_FD)
		return __real_ioctl(fd, request, arg);
	return kvm_call(request, arg);
}

/* -- no thread, no loop ---------------------------------------------------- */

static struct loop_source *parked;

void vcpus_pause(struct vcpus *vcpus, int parked_fd)
{
	const uint64_t one = 1;

	(void)vcpus;
	must(write(parked_fd, &one, sizeof(one)) == sizeof(one), "parked");
}

void vcpus_resume(struct vcpus *vcpus)
{
	(void)vcpus;
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events)
{
	(void)loop, (void)events;
	parked = source;
	return 0;
}

int loop_change(struct loop *loop, struct loop_source *source, uint32_t events)
{
	(void)loop, (void)source, (void)events;
	return 0;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
	(void)loop, (void)source;
}

void loop_defer(struct loop *loop, struct loop_work *work)
{
	(void)loop, (void)work;
}

void loop_cancel(struct loop *loop, struct loop_work *work)
{
	(void)loop, (void)work;
}

int loop_call(struct loop *loop, void (*function)(void *arg), void *arg)
{
	loop->hold = false;
	function(arg);
	return 0;
}

void loop_hold_call(struct loop *loop)
{
	loop->hold = true;
}

void loop_resume_calls(struct loop *loop)
{
	(void)loop;
}

uint64_t loop_now(void)
{
	return 1000;
}

int loop_timer_create(struct loop *loop, struct loop_timer *timer,
		      void (*expired)(void *arg), void *arg)
{
	(void)loop;
	*timer = (struct loop_timer){ .source = { .fd = -1 },
				      .expired = expired,
				      .arg = arg };
	return 0;
}

void loop_timer_set(struct loop_timer *timer, uint64_t ns)
{
	(void)timer, (void)ns;
}

void loop_timer_destroy(struct loop *loop, struct loop_timer *timer)
{
	(void)loop, (void)timer;
}

unsigned thread_number(void)
{
	return 0;
}

/* Pages are copied ahead by a thread: not here. */
int thread_start(struct thread *thread)
{
	(void)thread;
	return -EAGAIN;
}

void thread_join(struct thread *thread)
{
	(void)thread;
}

void signals_last_resort(uint64_t ns)
{
	(void)ns;
}

void signals_release(struct signals *signals, uint64_t ns)
{
	(void)signals, (void)ns;
}

int signals_hold(struct signals *signals)
{
	(void)signals;
	return 0;
}

uint64_t guest_time_left(const struct guest *g)
{
	(void)g;
	return 1;
}

bool guest_answer(struct guest *guest)
{
	(void)guest;
	return false;
}

void report_ready(const struct report *report, uint64_t ns)
{
	(void)report, (void)ns;
}

void report_stage(struct report *report, const char *name, uint64_t ns)
{
	(void)report, (void)name, (void)ns;
}

void report_add(struct report_line *line, enum counted what, unsigned number,
		const uint64_t value[])
{
	(void)line, (void)what, (void)number, (void)value;
}

int broker_request(int fd, uint32_t port, uint32_t tag)
{
	(void)fd, (void)port, (void)tag;
	return -EPIPE;
}

int broker_receive(int fd, struct broker_answer *answer)
{
	(void)fd, (void)answer;
	return 0;
}

/* -- an engine: whatever it is given fails --------------------------------- */

static struct lame {
	struct engine head;
	struct io_list list;
} lame;

static void lame_submit(struct engine *engine, struct engine_io *io)
{
	engine->in_flight++;
	io_list_add(&lame.list, io);
}

static void lame_flush(struct engine *engine)
{
	struct engine_io *io;

	while ((io = io_list_take_first(&lame.list)))
		engine_complete(engine, io, -EIO);
}

static void lame_destroy(struct engine *engine)
{
	must(!engine->in_flight, "in flight");
}

static const struct engine_ops lame_ops = {
	.name = "lame",
	.submit = lame_submit,
	.flush = lame_flush,
	.reap = lame_flush,
	.cancel = lame_flush,
	.destroy = lame_destroy,
};

struct engine *uring_create(const struct engine_options *options, int *error)
{
	(void)options;
	*error = -ENOSYS;
	return NULL;
}

struct engine *worker_create(const struct engine_options *options, int *error)
{
	engine_init(&lame.head, &lame_ops, options);
	lame.head.source.fd = -1;
	io_list_init(&lame.list);
	*error = 0;
	return &lame.head;
}

/* -- the machine ----------------------------------------------------------- */

static struct options options;
static struct device_options own; /* of the machine, whatever is parsed */
static struct machine machine;
static struct ram ram;
static struct vm vm;
static struct devices devices;
static struct guest guest;
static struct snapshot snapshot;
static int file_fd, again_fd, disk_fd, peer_fd;

/* `restore`: 0 none, 1 the first, 2 the one that was taken of its clone. */
static void parse(unsigned restore)
{
	static char word[2][48], disk[] = "--disk=x/y,ro",
				 vsock[] = "--vsock=/v";
	char *line[] = { word[0], word[0], word[1], disk, vsock, NULL };

	snprintf(word[0], sizeof(word[0]), restore ? "--restore" : "-kx");
	snprintf(word[1], sizeof(word[1]),
		 restore ? "fd=%d" : "--snapshot=fd=%d,then=continue",
		 restore == 2 ? again_fd : file_fd);
	if (restore)
		line[3] = NULL;
	must(!options_parse(&options, restore ? 3 : 5, line), "a command line");
}

static void name_devices(void)
{
	struct device_options *o = &own;
	int ends[2];

	must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
			 ends),
	     "socketpair");
	peer_fd = ends[1];
	*o = (struct device_options){ .disk_count = 1, .net_count = 1 };
	o->disks[0] = (struct block_options){
		.file = { .fd = dup(disk_fd) },
		.ephemeral = true,
		.engine = BLOCK_ENGINE_THREADS,
	};
	o->nets[0] = (struct net_options){
		.kind = NET_FD,
		.file = { .fd = ends[0] },
		.mac_text = "",
		.mac = { 2, 0, 0, 0, 0, 1 },
	};
	o->vsock = (struct vsock_options){
		.file = { .fd = -1 },
		.cid = 3,
		.memory = RAM_SIZE,
		.internal = true,
		.internal_port = 5,
		.internal_fd = command_take_vsock(&guest.command),
	};
}

static void make_devices(bool restored)
{
	const struct command_options command = { .restored = restored };
	const struct devices_setup setup = {
		.vm = &vm,
		.loop = &guest.loop,
		.ram = &ram,
		.base = GPA(LAYOUT_VIRTIO),
		.alias = GPA(LAYOUT_VIRTIO_ALIAS),
		.alias_absent = &guest.platform.acpi,
	};
	struct orders orders = { .len = 0 };

	if (!restored)
		orders_add(&orders, RUN_ARGUMENT, "true");
	must(!command_open(&guest.command, &command), "a command");
	must(!command_take_orders(&guest.command, &orders), "its orders");
	name_devices();
	must(!devices_open(&devices, &own, 1), "devices");
	close(own.disks[0].file.fd);
	must(!devices_create(&devices, &setup), "devices");
}

static void make_machine(bool restored)
{
	const struct platform_options platform = { .ram = &ram,
						   .restored = restored };

	memset(&vm.pio, 0, sizeof(vm.pio));
	memset(&vm.mmio, 0, sizeof(vm.mmio));
	memset(&devices, 0, sizeof(devices));
	memset(&guest.vcpus, 0, sizeof(guest.vcpus));
	memset(&guest.rtc, 0, sizeof(guest.rtc));
	memset(&guest.command, 0, sizeof(guest.command));
	vm = (struct vm){ .kvm_fd = KVM_FD, .fd = VM_FD, .cpus_max = 4 };
	guest.vcpus.vm = &vm;
	guest.vcpus.platform = &guest.platform;
	guest.vcpus.count = CPUS;
	guest.vcpus.cpuid.header.nent = 2;
	show_cpuid(&guest.vcpus.cpuid.header);
	for (unsigned i = 0; i < VM_CPUS_MAX; i++) {
		guest.vcpus.cpu[i].all = &guest.vcpus;
		guest.vcpus.cpu[i].id = i;
		guest.vcpus.cpu[i].fd = VCPU_FD + (int)i;
	}
	must(!platform_create(&guest.platform, &vm, &platform), "a platform");
	guest.serial_irq_fd = guest.platform.wake_fd;
	must(!uart_create(&guest.serial, guest.serial_irq_fd), "a uart");
	must(!rtc_create(&guest.rtc, &vm.pio), "an RTC");
	make_devices(restored);
}

static void lose_machine(void)
{
	command_close(&guest.command);
	for (unsigned i = 0; i < devices.count; i++)
		must(devices.slot[i].self && devices.slot[i].device, "a slot");
	devices_destroy(&devices);
	uart_destroy(&guest.serial);
	platform_destroy(&guest.platform);
	close(peer_fd);
}

static void write_reg(unsigned slot, uint64_t offset, uint32_t value)
{
	uint8_t bytes[4];

	put_le32(bytes, value);
	must(bus_write(&vm.mmio, LAYOUT_VIRTIO + slot * MMIO_SLOT_SIZE + offset,
		       bytes, 4),
	     "a register");
}

/* Each device as a driver begins with it, all rings in low memory. */
static void drive(unsigned slot)
{
	write_reg(slot, 0x70, 3);
	write_reg(slot, 0x24, 1);
	write_reg(slot, 0x20, 1);
	write_reg(slot, 0x70, 11);
	for (unsigned i = 0; i < devices.slot[slot].device->queue_count; i++) {
		const uint32_t at = 0x10000 * (slot + 1) + i * 0x1000;

		write_reg(slot, 0x30, i);
		write_reg(slot, 0x38, 16);
		write_reg(slot, 0x80, at);
		write_reg(slot, 0x90, at + 0x400);
		write_reg(slot, 0xa0, at + 0x800);
		write_reg(slot, 0x44, 1);
	}
	write_reg(slot, 0x70, 15);
}

static void init_snapshot(void)
{
	const struct snapshot_machine on = { &options, &machine, &ram,
					     &vm,      &devices, &guest };

	memset(&snapshot, 0, sizeof(snapshot));
	snapshot_init(&snapshot, &on);
}

/* -- the file -------------------------------------------------------------- */

/* All before memory: of the one that was taken, and changed. */
static uint8_t taken[FILE_ROOM], changed[FILE_ROOM];
static size_t state_len; /* of the second one */
static uint64_t mem_off;

#define STATE_AT  4096u
#define STATE_END (FILE_ROOM / 2) /* areas are put behind that */

static uint32_t crc32c(const uint8_t *at, size_t len)
{
	static uint32_t table[256];
	uint32_t crc = UINT32_MAX;

	for (uint32_t i = 0; i < 256 && !table[255]; i++) {
		table[i] = i;
		for (unsigned bit = 0; bit < 8; bit++)
			table[i] =
				table[i] >> 1 ^ (table[i] & 1 ? 0x82f63b78 : 0);
	}
	while (len--)
		crc = crc >> 8 ^ table[(crc ^ *at++) & 0xff];
	return ~crc;
}

static void take_first(void)
{
	parse(0);
	make_machine(false);
	options.cpus = CPUS;
	options.ram.size = RAM_SIZE;
	init_snapshot();
	options.snapshot.on = SNAPSHOT_ON_READY;
	must(!snapshot_open(&snapshot), "open");
	for (unsigned i = 0; i < devices.count; i++)
		drive(i);
	must(!snapshot_attach(&snapshot), "attach");
	guest.platform.on_ready.call(guest.platform.on_ready.arg, 1);
	parked->ready(parked->arg, 1);
	must(pread(file_fd, taken, sizeof(taken), 0) == sizeof(taken), "taken");
	snapshot_close(&snapshot);
	munmap(snapshot.state, SNAPSHOT_STATE_MAX);
	munmap(snapshot.words, OPTIONS_WORDS_MAX);
	lose_machine();
	mem_off = get_le64(taken + 48);
	must(!memcmp(taken, "MOTESNAP", 8), "one was taken");
	must(mem_off >= FILE_ROOM && get_le64(taken + 40) < STATE_END,
	     "room in the fuzzer");
}

/* Areas are moved, so that there is room for a longer state. */
static void spread_areas(void)
{
	uint64_t at = STATE_AT + STATE_END;

	for (unsigned i = 0; i < SNAPSHOT_AREAS; i++) {
		uint8_t *area = taken + 80 + i * 24;
		const uint64_t from = get_le64(area), len = get_le64(area + 8);

		if (!len)
			continue;
		must(at + len <= FILE_ROOM, "room for areas");
		memmove(changed + at, taken + from, len);
		put_le64(area, at);
		at = round_up(at + len, 4096);
	}
	memcpy(taken + STATE_AT + STATE_END, changed + STATE_AT + STATE_END,
	       FILE_ROOM - STATE_AT - STATE_END);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct ram_options small = { .size = RAM_SIZE };

	(void)argc, (void)argv;
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERROR);
	file_fd = memfd_create("snapshot", MFD_CLOEXEC);
	disk_fd = memfd_create("disk", MFD_CLOEXEC);
	again_fd = memfd_create("again", MFD_CLOEXEC);
	must(!fchmod(file_fd, 0600) && !fchmod(again_fd, 0600), "its mode");
	must(!ftruncate(disk_fd, DISK_SIZE), "a disk");
	must(!ram_create(&ram, &small), "RAM");
	take_first();
	spread_areas();
	return 0;
}

/* -- what the input says --------------------------------------------------- */

static const uint8_t *input;
static size_t input_left;

static uint64_t take(unsigned bytes)
{
	uint8_t value[8] = { 0 };

	if (bytes > input_left)
		bytes = (unsigned)input_left;
	memcpy(value, input, bytes);
	input += bytes;
	input_left -= bytes;
	return get_le64(value);
}

/* The n-th record, modulo how many there are. */
static uint8_t *record_at(unsigned n, size_t *whole)
{
	uint8_t *state = changed + STATE_AT;
	size_t at = 0, len = 0;
	unsigned i = 0;

	while (at + 8 <= state_len) {
		len = 8 + round_up(get_le32(state + at + 4), 8);
		if (i++ == n || len > state_len - at)
			break;
		at += len;
		if (at + 8 > state_len && i <= n) {
			at = 0;
			n = n % i;
			i = 0;
		}
	}
	*whole = len > state_len - at ? state_len - at : len;
	return state + at;
}

/* What is behind it moves; false where there is no room. */
static bool resize(uint8_t *at, size_t was, size_t is)
{
	uint8_t *end = changed + STATE_AT + state_len;

	if (is > was && state_len + is - was > STATE_END)
		return false;
	memmove(at + is, at + was, (size_t)(end - at) - was);
	if (is > was)
		memset(at + was, 0, is - was);
	state_len = state_len + is - was;
	return true;
}

static void change_record(unsigned how)
{
	size_t whole;
	uint8_t *at = record_at((unsigned)take(1), &whole);
	uint8_t copy[8192];
	const uint32_t len = (uint32_t)take(how == 1 ? 2 : 0);

	if (whole < 8)
		return;
	if (how == 1 && resize(at, whole, 8 + round_up(len, 8)))
		put_le32(at + 4, len);
	if (how == 4)
		resize(at, whole, 0);
	if (how == 5 && whole <= sizeof(copy)) {
		memcpy(copy, at, whole);
		if (resize(at, 0, whole))
			memcpy(at, copy, whole);
	}
}

static void change_header(void)
{
	static const uint64_t hard[] = {
		0,	    1,		4096,	      2 * MIB,
		RAM_SIZE,   INT64_MAX,	UINT64_MAX,   UINT64_MAX - 4095,
		1ULL << 63, UINT32_MAX, 1ULL << 32,   SNAPSHOT_STATE_MAX,
		8192,	    FILE_ROOM,	34 * MIB - 1, 34 * MIB,
	};
	const size_t at = take(2) % (4096 - 8);
	uint64_t value = hard[take(1) % ARRAY_LEN(hard)];

	put_le64(changed + at, value);
}

static void change_state(unsigned len)
{
	const size_t at = take(2);
	uint8_t bytes[4], *to = changed + STATE_AT + at;

	put_le32(bytes, (uint32_t)take(len));
	if (at + len > state_len)
		return;
	if (len == 1)
		*to ^= bytes[0];
	else
		memcpy(to, bytes, len);
}

static void change(unsigned how)
{
	size_t at;

	switch (how) {
	case 0:
		change_state(1);
		break;
	case 2:
		change_state(4);
		break;
	case 3:
		change_header();
		break;
	case 6:
		at = STATE_AT + STATE_END + take(2) % 12288;
		changed[at] ^= (uint8_t)take(1);
		break;
	case 8:
		state_len = input_left < STATE_END ? input_left : STATE_END;
		memcpy(changed + STATE_AT, input, state_len);
		input_left = 0;
		break;
	case 9:
		at = take(2) * 4;
		put_le32(ram.region[0].host + at, (uint32_t)take(4));
		break;
	default:
		change_record(how);
	}
}

/* A record of learned pages: the header has to say so. */
static bool has_pages(void)
{
	struct state s = state_load(changed + STATE_AT, state_len);
	struct snapshot_record record;

	while (snapshot_record_next(&s, &record))
		if (record.tag == SNAPSHOT_TAG_MAY_BE_SKIPPED)
			return true;
	return false;
}

/* The file as the input has it; whether that is what was taken. */
static bool write_file(void)
{
	bool same = !input_left, damaged = false;
	size_t at = 0;
	uint8_t bits = 0;

	memcpy(changed, taken, sizeof(changed));
	state_len = get_le64(taken + 40);
	while (input_left) {
		const unsigned how = (unsigned)take(1) % 10;

		if (how != 7) {
			change(how);
			continue;
		}
		damaged = true;
		at = take(2) % 4096;
		bits = (uint8_t)take(1);
	}
	changed[12] |= has_pages() ? SNAPSHOT_LEARNED : 0;
	if (get_le64(changed + 40) == get_le64(taken + 40))
		put_le64(changed + 40, state_len);
	put_le32(changed + 64, crc32c(changed + STATE_AT, state_len));
	put_le32(changed + 68, 0);
	put_le32(changed + 68, crc32c(changed, 4096));
	if (damaged)
		changed[at] ^= bits;
	must(pwrite(file_fd, changed, sizeof(changed), 0) == sizeof(changed),
	     "a file");
	return same;
}

static int restore(void)
{
	int error = snapshot_open(&snapshot);

	if (error)
		return error;
	options.restore.has_command = true;
	if (snapshot.header.state_len > FILE_ROOM)
		return -E2BIG; /* true, and slow */
	error = snapshot_load_machine(&snapshot);
	if (error)
		return error;
	must(options.ram.size == snapshot.header.mem_len, "one size");
	must(options.cpus && options.cpus <= vm.cpus_max, "vCPUs");
	if (options.ram.size != ram.size)
		return -E2BIG;
	return snapshot_load_rest(&snapshot);
}

/* Of the clone; false: a disk is not quiet. */
static bool take_again(void)
{
	static struct snapshot again;
	char magic[8] = "";
	bool waits;

	memset(&again, 0, sizeof(again));
	snapshot_init(&again, &snapshot.on);
	options.restore.file = (struct option_file){ .fd = -1 };
	options.snapshot = (struct snapshot_options){
		.file = { .fd = again_fd },
		.on = SNAPSHOT_ON_READY,
		.then = SNAPSHOT_CONTINUES,
	};
	must(!snapshot_open(&again) && !snapshot_attach(&again), "another");
	guest.platform.on_ready.call(guest.platform.on_ready.arg, 1);
	parked->ready(parked->arg, 1);
	waits = again.phase != SNAPSHOT_IDLE;
	if (waits)
		again.patience.expired(again.patience.arg);
	must(again.phase == SNAPSHOT_IDLE, "it goes on");
	must(waits || (pread(again_fd, magic, 8, 0) == 8 &&
		       !memcmp(magic, "MOTESNAP", 8)),
	     "what was restored can be saved");
	snapshot_close(&again);
	munmap(again.state, SNAPSHOT_STATE_MAX);
	munmap(again.words, OPTIONS_WORDS_MAX);
	return !waits;
}

/* 0 or an error; `saves`: and, where there is none, it is saved. */
static int restore_it(unsigned which, bool *saves)
{
	int error;

	parse(which);
	make_machine(true);
	init_snapshot();
	loading = true;
	error = restore();
	*saves = *saves && !error && take_again();
	loading = false;
	/* What mote's end does away with. */
	learned_end(&snapshot.learned);
	if (error && snapshot.records.bytes)
		munmap(snapshot.records.bytes, snapshot.records.len);
	if (snapshot.state)
		munmap(snapshot.state, SNAPSHOT_STATE_MAX);
	if (snapshot.words)
		munmap(snapshot.words, OPTIONS_WORDS_MAX);
	snapshot_close(&snapshot);
	for (unsigned i = 0; i < devices.count; i++)
		write_reg(i, 0x70, 0);
	lose_machine();
	return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool same, saves = size % 4 == 0; /* which takes its time */

	input = data;
	input_left = size;
	memset(ram.region[0].host, 0, GUEST_USED);
	same = write_file();
	must(!restore_it(1, &saves) || !same, "what was taken can be restored");
	if (!saves)
		return 0;
	saves = false;
	must(!restore_it(2, &saves), "what was restored and saved can be");
	return 0;
}
