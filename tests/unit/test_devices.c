/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/devices.c tests/unit/kept_log.c */
/*
 * Which slot each device gets, with what registers, and what the filters are to
 * allow for it: no more than that. The types of devices are this file's; they
 * note what they are asked for.
 */
#include <stdio.h>

#include "cpu/loop/thread.h"
#include "cpu/loop/unixsock.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"
#include "virtio/block/block.h"
#include "virtio/devices.h"

#define BASE  0x10000u
#define ALIAS 0x90000u

static struct device_options the_options;
static struct devices devices;
static struct block disks[DEVICES_MAX];
static struct vsock the_vsock;
static struct vm the_vm;
static struct loop the_loop;
static struct ram the_ram;
static const _Atomic bool alias_absent;

/* "disk 0, net 1": in the order in which it was done. */
static char opened[512], created[512], destroyed[512], detached[512];
static const char *refused; /* such a one cannot be opened, or made */

static struct mmio_slot slots[DEVICES_MAX];
static const struct device *attached[DEVICES_MAX];
static unsigned attached_count;

static int note(char *list, const char *name, unsigned number)
{
	char text[16];

	snprintf(text, sizeof(text), "%s%s %u", *list ? ", " : "", name,
		 number);
	strncat(list, text, 511 - strlen(list));
	return refused && strstr(text, refused) ? -EIO : 0;
}

/* -- in place of the types ------------------------------------------------ */

int block_open(struct block_backing *backing,
	       const struct block_options *options, unsigned index)
{
	*backing = (struct block_backing){
		.ro = options->ro,
		.ephemeral = options->ephemeral,
		.is_device = options->file.path &&
			     strstr(options->file.path, "/dev/"),
		.index = index,
	};
	return note(opened, "disk", index);
}

struct block *block_create(const struct block_backing *backing,
			   const struct block_options *options,
			   struct loop *loop)
{
	struct block *block = &disks[backing->index];

	assert_ptr_equal(options, &devices.options->disks[backing->index]);
	assert_ptr_equal(loop, &the_loop);
	block->backing = *backing;
	return note(created, "disk", backing->index) ? NULL : block;
}

struct device *block_device(struct block *block)
{
	return &block->device;
}

unsigned block_features(const struct block *block)
{
	(void)block;
	return FEATURE_URING;
}

void block_counters(const struct block *block, uint64_t value[DISK_COUNTERS])
{
	value[0] = 100 + block->backing.index;
}

void block_destroy(struct block *block)
{
	note(destroyed, "disk", block->backing.index);
}

int net_open(struct net *net, const struct net_options *options,
	     unsigned number)
{
	net->link_up = options->kind == NET_UNIX;
	net->in.count = number;
	return note(opened, "net", number);
}

bool net_is_stream(const struct net *net)
{
	return net->link_up;
}

int net_wait(struct net *net)
{
	(void)net;
	return 0;
}

int net_create(struct net *net, struct loop *loop)
{
	assert_ptr_equal(loop, &the_loop);
	return note(created, "net", (unsigned)net->in.count);
}

void net_counters(const struct net *net, uint64_t value[NET_COUNTERS])
{
	value[0] = 200 + net->in.count;
}

static struct {
	enum counted what;
	unsigned number;
	uint64_t first;
} added[2 * DEVICES_MAX];
static unsigned adds;

void report_add(struct report_line *line, enum counted what, unsigned number,
		const uint64_t value[])
{
	assert_null(line);
	added[adds].what = what;
	added[adds].number = number;
	added[adds++].first = value[0];
}

void net_destroy(struct net *net)
{
	note(destroyed, "net", (unsigned)net->in.count);
}

int vsock_open(struct vsock **vsock, const struct vsock_options *options)
{
	int error = note(opened, "vsock", options->cid);

	if (!error)
		*vsock = &the_vsock;
	return error;
}

int vsock_create(struct vsock *vsock, struct loop *loop)
{
	assert_ptr_equal(vsock, &the_vsock);
	assert_ptr_equal(loop, &the_loop);
	return note(created, "vsock", devices.options->vsock.cid);
}

void vsock_destroy(struct vsock *vsock)
{
	assert_ptr_equal(vsock, &the_vsock);
	note(destroyed, "vsock", devices.options->vsock.cid);
}

bool unixsock_is_ours(const struct unixsock *file)
{
	return file->dir_fd >= 0;
}

/* -- in place of the transport -------------------------------------------- */

int mmio_attach(struct device *device, struct vm *vm, struct loop *loop,
		const struct ram *ram, const struct mmio_slot *slot)
{
	assert_ptr_equal(vm, &the_vm);
	assert_ptr_equal(loop, &the_loop);
	assert_ptr_equal(ram, &the_ram);
	attached[attached_count] = device;
	slots[attached_count] = *slot;
	return note(created, "slot", attached_count++);
}

void mmio_detach(struct device *device)
{
	for (unsigned i = 0; i < attached_count; i++)
		if (attached[i] == device)
			note(detached, "slot", i);
}

/* Those of slots 1 and 4 are not quiet at once. */
static void (*quiet_of[DEVICES_MAX])(void *arg);
static void *quiet_arg;
static unsigned resumed, restored;

static unsigned slot_of(const struct device *device)
{
	unsigned i = 0;

	while (attached[i] != device)
		i++;
	return i;
}

bool mmio_pause(struct device *device, void (*quiet)(void *arg), void *arg)
{
	const unsigned slot = slot_of(device);

	if (slot != 1 && slot != 4)
		return true;
	quiet_of[slot] = quiet;
	quiet_arg = arg;
	return false;
}

void mmio_resume(struct device *device)
{
	quiet_of[slot_of(device)] = NULL;
	resumed++;
}

bool mmio_is_busy(const struct device *device)
{
	return quiet_of[slot_of(device)];
}

void mmio_restored(struct device *device)
{
	restored += slot_of(device);
}

/* -- what is tested ------------------------------------------------------- */

static int setup(void **state)
{
	(void)state;
	the_options =
		(struct device_options){ .vsock.file.fd = -1, .vsock.cid = 3 };
	devices = (struct devices){ .count = 0 };
	the_vsock.conns.host = VSOCK_HOST_NONE;
	*opened = *created = *destroyed = *detached = 0;
	refused = NULL;
	attached_count = 0;
	return 0;
}

static int create(gpa alias)
{
	return devices_create(&devices, &(struct devices_setup){
						.vm = &the_vm,
						.loop = &the_loop,
						.ram = &the_ram,
						.base = GPA(BASE),
						.alias = alias,
						.alias_absent = &alias_absent,
						.hook.arg = &the_vm,
					});
}

/* Two disks, two networks and a vsock. */
static void ask_for_five(void)
{
	the_options.disk_count = the_options.net_count = 2;
	the_options.nets[0].kind = the_options.nets[1].kind = NET_TAP;
	the_options.vsock.file.path = "v";
}

/* Each under its number among those of its type, where it is there. */
static void test_devices_count(void **state)
{
	static const struct {
		enum counted what;
		unsigned number;
		uint64_t first;
	} wanted[] = {
		{ COUNTED_DISK, 0, 100 },  { COUNTED_DISK, 1, 101 },
		{ COUNTED_NET, 0, 200 },   { COUNTED_NET, 1, 201 },
		{ COUNTED_VSOCK, 0, 300 },
	};

	(void)state;
	ask_for_five();
	the_vsock.conns.counter[0] = 300;
	adds = 0;
	devices_counters(&devices, NULL);
	assert_int_equal(adds, 0);
	assert_int_equal(devices_open(&devices, &the_options, 1), 0);
	devices_counters(&devices, NULL);
	assert_int_equal(adds, 1); /* the vsock, which is there by then */
	adds = 0;
	assert_int_equal(create(GPA(0)), 0);
	devices_counters(&devices, NULL);
	assert_int_equal(adds, ARRAY_LEN(wanted));
	for (unsigned i = 0; i < adds; i++) {
		assert_int_equal(added[i].what, wanted[i].what);
		assert_int_equal(added[i].number, wanted[i].number);
		assert_int_equal(added[i].first, wanted[i].first);
	}
	devices_destroy(&devices);
	adds = 0;
	devices_counters(&devices, NULL);
	assert_int_equal(adds, 0);
}

static void test_devices_in_order(void **state)
{
	(void)state;
	ask_for_five();
	assert_int_equal(devices_open(&devices, &the_options, 1), 0);
	assert_string_equal(opened, "disk 0, disk 1, net 0, net 1, vsock 3");
	assert_int_equal(devices.count, 5);
	assert_int_equal(create(GPA(ALIAS)), 0);
	assert_string_equal(created,
			    "disk 0, slot 0, disk 1, slot 1, net 0, slot 2, "
			    "net 1, slot 3, vsock 3, slot 4");
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(slots[i].base.v, BASE + i * MMIO_SLOT_SIZE);
		assert_int_equal(slots[i].alias.v, ALIAS + i * MMIO_SLOT_SIZE);
		assert_ptr_equal(slots[i].alias_absent, &alias_absent);
		assert_int_equal(slots[i].gsi, VM_GSI_VIRTIO + i);
	}
	assert_ptr_equal(attached[1], &disks[1].device);
	assert_ptr_equal(attached[3], &devices.net[1].device);
	assert_ptr_equal(attached[4], &the_vsock.device);
	assert_ptr_equal(devices.options->disks[0].hook.arg, &the_vm);
	assert_ptr_equal(devices.options->disks[1].hook.arg, &the_vm);
	devices_destroy(&devices);
	assert_string_equal(detached, "slot 0, slot 1, slot 2, slot 3, slot 4");
	assert_string_equal(destroyed, "disk 0, disk 1, net 0, net 1, vsock 3");
	/* Once. */
	devices_destroy(&devices);
	assert_int_equal(devices.count, 0);
	assert_string_equal(destroyed, "disk 0, disk 1, net 0, net 1, vsock 3");
	expect_no_log();
}

static void test_devices_without_alias(void **state)
{
	(void)state;
	the_options.disk_count = 2;
	assert_int_equal(devices_open(&devices, &the_options, 1), 0);
	assert_int_equal(create(GPA(0)), 0);
	assert_int_equal(attached_count, 2);
	assert_int_equal(slots[0].alias.v, 0);
	assert_int_equal(slots[1].alias.v, 0);
	assert_int_equal(slots[1].base.v, BASE + MMIO_SLOT_SIZE);
}

/* A disk has as many queues as it is told, else one for each CPU, up to a
 * limit. */
static void test_devices_queues(void **state)
{
	static const unsigned cpus[][2] = {
		{ 1, 1 },
		{ 2, 2 },
		{ DEVICE_QUEUES_MAX - 1, DEVICE_QUEUES_MAX - 1 },
		{ DEVICE_QUEUES_MAX, DEVICE_QUEUES_MAX },
		{ DEVICE_QUEUES_MAX + 1, DEVICE_QUEUES_MAX },
		{ 64, DEVICE_QUEUES_MAX },
	};

	for (size_t i = 0; i < ARRAY_LEN(cpus); i++) {
		setup(state);
		the_options.disk_count = 3;
		the_options.disks[2].queues = 3;
		assert_int_equal(
			devices_open(&devices, &the_options, cpus[i][0]), 0);
		assert_int_equal(devices.options->disks[0].queues, cpus[i][1]);
		assert_int_equal(devices.options->disks[1].queues, cpus[i][1]);
		assert_int_equal(devices.options->disks[2].queues, 3);
	}
}

/* As many as there are interrupt lines, and not one more. */
static void test_devices_too_many(void **state)
{
	(void)state;
	the_options.disk_count = DEVICES_MAX - 1;
	the_options.vsock.internal = true;
	assert_int_equal(devices_open(&devices, &the_options, 1), 0);
	assert_int_equal(devices.count, DEVICES_MAX);
	assert_int_equal(create(GPA(0)), 0);
	assert_int_equal(slots[DEVICES_MAX - 1].gsi, VM_GSI_COUNT - 1);
	expect_no_log();

	setup(state);
	the_options.disk_count = DEVICES_MAX - 1;
	the_options.net_count = 1;
	the_options.vsock.internal = true;
	assert_int_equal(devices_open(&devices, &the_options, 1), -ENOSPC);
	expect_log("too many devices");
	assert_null(strstr(opened, "vsock"));
}

static unsigned quiets;

static void all_quiet(void *arg)
{
	assert_ptr_equal(arg, &quiets);
	quiets++;
}

static void one_quiet(unsigned slot)
{
	void (*quiet)(void *arg) = quiet_of[slot];

	quiet_of[slot] = NULL;
	quiet(quiet_arg);
}

/* It is said once that they are quiet: by the last of them. */
static void test_devices_pause(void **state)
{
	(void)state;
	ask_for_five();
	assert_int_equal(devices_open(&devices, &the_options, 1), 0);
	assert_int_equal(create(GPA(0)), 0);
	disks[1].device.name = "disk 1";
	the_vsock.device.name = "vsock";
	quiets = resumed = restored = 0;
	for (unsigned round = 0; round < 2; round++) {
		assert_false(devices_pause(&devices, all_quiet, &quiets));
		assert_string_equal(devices_awaited(&devices), "disk 1");
		one_quiet(1);
		assert_string_equal(devices_awaited(&devices), "vsock");
		assert_int_equal(quiets, round);
		one_quiet(4);
		assert_null(devices_awaited(&devices));
		assert_int_equal(quiets, round + 1);
		devices_resume(&devices);
		assert_int_equal(resumed, 5 * (round + 1));
	}
	devices_restored(&devices);
	assert_int_equal(restored, 0 + 1 + 2 + 3 + 4);

	/* Without those two all are at once. */
	setup(state);
	the_options.disk_count = 1;
	assert_int_equal(devices_open(&devices, &the_options, 1), 0);
	assert_int_equal(create(GPA(0)), 0);
	assert_true(devices_pause(&devices, all_quiet, &quiets));
	assert_int_equal(quiets, 2);
}

/* What comes behind one that fails is not tried. */
static void test_devices_fail(void **state)
{
	(void)state;
	ask_for_five();
	refused = "disk 1";
	assert_int_equal(devices_open(&devices, &the_options, 1), -EIO);
	assert_string_equal(opened, "disk 0, disk 1");

	setup(state);
	ask_for_five();
	assert_int_equal(devices_open(&devices, &the_options, 1), 0);
	refused = "disk 1";
	assert_int_equal(create(GPA(0)), -EIO);
	assert_string_equal(created, "disk 0, slot 0, disk 1");
	devices_destroy(&devices);
	/* The vsock's socket is a file: it does not stay behind. */
	assert_string_equal(detached, "slot 0");
	assert_string_equal(destroyed, "disk 0, vsock 3");

	setup(state);
	ask_for_five();
	assert_int_equal(devices_open(&devices, &the_options, 1), 0);
	refused = "net 1";
	assert_int_equal(create(GPA(0)), -EIO);
	devices_destroy(&devices);
	assert_string_equal(destroyed, "disk 0, disk 1, net 0, net 1, vsock 3");

	setup(state);
	ask_for_five();
	assert_int_equal(devices_open(&devices, &the_options, 1), 0);
	refused = "slot 2";
	assert_int_equal(create(GPA(0)), -EIO);
	assert_int_equal(attached_count, 3);

	setup(state);
	the_options.vsock.internal = true;
	refused = "vsock 3";
	assert_int_equal(devices_open(&devices, &the_options, 1), -EIO);
	devices_destroy(&devices);
	assert_string_equal(destroyed, "");
}

/* -- features ------------------------------------------------------------- */

/* Those of the guest's devices, after they were opened. */
static unsigned features(void)
{
	devices = (struct devices){ .count = 0 };
	assert_int_equal(devices_open(&devices, &the_options, 1), 0);
	return devices_features(&devices);
}

static void test_devices_disk_features(void **state)
{
	static const struct {
		const char *path;
		bool ro, ephemeral;
		unsigned features;
	} cases[] = {
		{ "a", true, false, 0 },
		{ "a", false, false, FEATURE_DISK_WRITE },
		{ "a", false, true, FEATURE_EPHEMERAL },
		{ "a", true, true, FEATURE_EPHEMERAL },
		{ "/dev/a", true, false, 0 },
		{ "/dev/a", false, false,
		  FEATURE_DISK_WRITE | FEATURE_DISK_DEVICE },
		{ "/dev/a", false, true, FEATURE_EPHEMERAL },
	};

	(void)state;
	the_options.disk_count = 1;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		the_options.disks[0].file.path = cases[i].path;
		the_options.disks[0].ro = cases[i].ro;
		the_options.disks[0].ephemeral = cases[i].ephemeral;
		/* Before it is made, what it may come to use counts. */
		the_options.disks[0].engine = BLOCK_ENGINE_THREADS;
		assert_int_equal(features(), FEATURE_DISK | cases[i].features);
		the_options.disks[0].engine = BLOCK_ENGINE_AUTO;
		assert_int_equal(features(), FEATURE_DISK | FEATURE_URING |
						     cases[i].features);
		assert_int_equal(create(GPA(0)), 0);
		assert_int_equal(devices_features(&devices),
				 FEATURE_DISK | FEATURE_URING |
					 cases[i].features);
		devices_destroy(&devices);
		attached_count = 0;
	}
}

static void test_devices_net_features(void **state)
{
	(void)state;
	assert_int_equal(features(), 0);
	the_options.net_count = 1;
	the_options.nets[0].kind = NET_TAP;
	assert_int_equal(features(), FEATURE_TAP);
	the_options.nets[0].kind = NET_UNIX;
	assert_int_equal(features(), FEATURE_STREAM);
	the_options.net_count = 2;
	the_options.nets[1].kind = NET_TAP;
	assert_int_equal(features(), FEATURE_STREAM | FEATURE_TAP);
}

static void test_devices_vsock_features(void **state)
{
	struct vsock_host *host = &the_vsock.conns.host;

	(void)state;
	/* The internal stream alone: no file, nobody to connect to. */
	the_options.vsock.internal = true;
	assert_int_equal(features(), FEATURE_COMMAND);
	the_options.vsock.internal = false;
	the_options.vsock.file.fd = 0;
	assert_int_equal(features(), FEATURE_VSOCK);
	the_options.vsock.file.fd = 7;
	assert_int_equal(features(), FEATURE_VSOCK);
	host->prefix = "v";
	assert_int_equal(features(), FEATURE_VSOCK | FEATURE_VSOCK_DIAL);
	host->prefix = NULL;
	host->file.dir_fd = 5;
	the_options.vsock.file = (struct option_file){ "v", -1 };
	assert_int_equal(features(), FEATURE_VSOCK | FEATURE_SOCKET_FILE);
	host->prefix = "v";
	the_options.vsock.internal = true;
	assert_int_equal(features(), FEATURE_VSOCK | FEATURE_VSOCK_DIAL |
					     FEATURE_SOCKET_FILE |
					     FEATURE_COMMAND);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup(test, setup)
	const struct CMUnitTest tests[] = {
		TEST(test_devices_in_order),
		TEST(test_devices_count),
		TEST(test_devices_without_alias),
		TEST(test_devices_queues),
		TEST(test_devices_too_many),
		TEST(test_devices_pause),
		TEST(test_devices_fail),
		TEST(test_devices_disk_features),
		TEST(test_devices_net_features),
		TEST(test_devices_vsock_features),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
