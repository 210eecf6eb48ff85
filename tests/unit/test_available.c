/* SPDX-License-Identifier: Apache-2.0 */
/* uses: mem/available.c tests/unit/kept_log.c */
/* ldflags: -Wl,--wrap=open */
/* What a host has left of its memory, as several kinds of hosts tell it. */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "mem/available.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

#define KIB 1024ULL
#define MIB (1024 * KIB)

static char root[] = "/tmp/mote-available-XXXXXX";

/* -- a host in a directory ------------------------------------------------- */

int __real_open(const char *name, int flags, ...);
int __wrap_open(const char *name, int flags, ...);

int __wrap_open(const char *name, int flags, ...)
{
	char path[256];

	snprintf(path, sizeof(path), "%s%s", root, name);
	return __real_open(path, flags, 0600);
}

static void put(const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s%s", root, name);
	for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		mkdir(path, 0700);
		*at = '/';
	}
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int remove_one(const char *path, const struct stat *status, int type,
		      struct FTW *at)
{
	(void)status;
	(void)type;
	return at->level ? remove(path) : 0;
}

static void new_host(void)
{
	nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put_memory(unsigned available_mib, unsigned swap_mib)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "MemTotal:       99999999 kB\nMemFree:               7 kB\n"
		 "MemAvailable:   %8u kB\nSwapTotal:      99999999 kB\n"
		 "SwapFree:       %8u kB\n",
		 available_mib * 1024, swap_mib * 1024);
	put("/proc/meminfo", text);
}

static void expect_left(uint64_t mib, const char *who, const char *cgroup)
{
	struct available a;
	const char *whose;

	available_open(&a, 12, cgroup);
	assert_int_equal(available_bytes(&a, &whose) / MIB, mib);
	assert_non_null(strstr(whose, who));
	available_close(&a);
	expect_no_log();
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	new_host();
	return rmdir(root);
}

/* -- tests ----------------------------------------------------------------- */

static void test_machine(void **state)
{
	struct available a;
	const char *whose;

	(void)state;
	new_host();
	available_open(&a, 12, NULL);
	assert_true(available_bytes(&a, &whose) == UINT64_MAX);
	available_close(&a);
	put_memory(500, 0);
	expect_left(500, "this machine", NULL);
	put_memory(500, 70);
	expect_left(570, "this machine", NULL);
	/* It is asked each time. */
	available_open(&a, 12, NULL);
	put_memory(300, 0);
	assert_int_equal(available_bytes(&a, &whose), 300 * MIB);
	available_close(&a);
}

static void test_cgroup_v2(void **state)
{
	(void)state;
	new_host();
	put_memory(5000, 0);
	put("/proc/self/cgroup", "0::/user.slice/job\n");
	put("/sys/fs/cgroup/user.slice/job/memory.max", "max\n");
	put("/sys/fs/cgroup/user.slice/job/memory.current", "1048576\n");
	expect_left(5000, "this machine", NULL);
	/* A limit further up holds, too. */
	put("/sys/fs/cgroup/user.slice/memory.max", "1073741824\n");
	put("/sys/fs/cgroup/user.slice/memory.current", "209715200\n");
	expect_left(1024 - 200, "/sys/fs/cgroup/user.slice", NULL);
	/* Pages of files are given back where they are in the way. */
	put("/sys/fs/cgroup/user.slice/memory.stat",
	    "anon 1048576\nfile 157286400\nshmem 999\ninactive_anon 7777777\n"
	    "active_anon 8888888\ninactive_file 52428800\n"
	    "active_file 10485760\nslab_reclaimable 1048576\n");
	expect_left(1024 - 200 + 61, "/sys/fs/cgroup/user.slice", NULL);
	put("/sys/fs/cgroup/user.slice/job/memory.max", "104857600\n");
	expect_left(99, "user.slice/job", NULL);
	/* More than is allowed, as after the limit was lowered. */
	put("/sys/fs/cgroup/user.slice/job/memory.current", "204857600\n");
	expect_left(0, "user.slice/job", NULL);
}

static void test_cgroup_swap(void **state)
{
	(void)state;
	new_host();
	put_memory(5000, 50);
	put("/proc/self/cgroup", "0::/a\n");
	put("/sys/fs/cgroup/a/memory.max", "104857600\n");
	put("/sys/fs/cgroup/a/memory.current", "0\n");
	expect_left(150, "cgroup/a", NULL);
	put("/sys/fs/cgroup/a/memory.swap.max", "max\n");
	expect_left(150, "cgroup/a", NULL);
	put("/sys/fs/cgroup/a/memory.swap.max", "0\n");
	expect_left(100, "cgroup/a", NULL);
	put("/sys/fs/cgroup/a/memory.swap.max", "10485760\n");
	expect_left(110, "cgroup/a", NULL);
}

/* A container that sees only its own part of the tree. */
static void test_cgroup_of_a_container(void **state)
{
	(void)state;
	new_host();
	put_memory(5000, 0);
	put("/proc/self/cgroup", "0::/kubepods/pod1/abc\n");
	put("/sys/fs/cgroup/memory.max", "104857600\n");
	put("/sys/fs/cgroup/memory.current", "1048576\n");
	expect_left(99, "/sys/fs/cgroup", NULL);
	put("/proc/self/cgroup", "0::/\n");
	expect_left(99, "/sys/fs/cgroup", NULL);
}

static void test_cgroup_v1(void **state)
{
	(void)state;
	new_host();
	put_memory(5000, 50);
	put("/proc/self/cgroup", "9:pids:/x\n4:memory:/docker/abc\n0::/\n");
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes",
	    "9223372036854771712\n");
	put("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes",
	    "104857600\n");
	put("/sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes",
	    "31457280\n");
	put("/sys/fs/cgroup/memory/docker/abc/memory.stat",
	    "active_file 7\ninactive_file 7\ntotal_inactive_file 10485760\n"
	    "total_active_file 10485760\n");
	put("/sys/fs/cgroup/memory/docker/abc/memory.memsw.limit_in_bytes",
	    "104857600\n");
	expect_left(100 - 30 + 20, "docker/abc", NULL);
	put("/sys/fs/cgroup/memory/docker/abc/memory.memsw.limit_in_bytes",
	    "9223372036854771712\n");
	expect_left(100 - 30 + 20 + 50, "docker/abc", NULL);
}

/* One that mote will be in, and is not in yet. */
static void test_cgroup_to_join(void **state)
{
	(void)state;
	new_host();
	put_memory(5000, 0);
	put("/proc/self/cgroup", "9:memory:/here\n0::/here\n");
	put("/sys/fs/cgroup/here/memory.max", "104857600\n");
	put("/sys/fs/cgroup/here/memory.current", "0\n");
	/* Its parent gives it no controller. */
	put("/sys/fs/cgroup/there/x/cgroup.controllers", "\n");
	put("/sys/fs/cgroup/there/memory.max", "204857600\n");
	put("/sys/fs/cgroup/there/memory.current", "0\n");
	put("/sys/fs/cgroup/memory/here/memory.limit_in_bytes", "204857600\n");
	put("/sys/fs/cgroup/memory/here/memory.usage_in_bytes", "0\n");
	expect_left(100, "cgroup/here", NULL);
	expect_left(195, "cgroup/there", "/sys/fs/cgroup/there/x");
	/* That of another controller leaves the memory's. */
	put("/sys/fs/cgroup/pids/there/pids.max", "5\n");
	expect_left(100, "cgroup/here", "/sys/fs/cgroup/pids/there");
	/* Of both versions, each has its own. */
	put("/sys/fs/cgroup/memory/there/memory.limit_in_bytes", "99857600\n");
	put("/sys/fs/cgroup/memory/there/memory.usage_in_bytes", "0\n");
	expect_left(95, "memory/there", "/sys/fs/cgroup/memory/there");
}

static void test_huge_pages(void **state)
{
	static const char pool[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/";
	static const struct {
		const char *name, *text;
		uint64_t pages;
	} steps[] = {
		{ "free_hugepages", "10\n", 10 },
		{ "resv_hugepages", "3\n", 7 },
		{ "nr_overcommit_hugepages", "5\n", 12 },
		{ "surplus_hugepages", "4\n", 8 },
		{ "resv_hugepages", "30\n", 0 },
	};
	struct available a;
	const char *whose;

	(void)state;
	new_host();
	put_memory(1, 0); /* they are none of it */
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		char name[128];

		snprintf(name, sizeof(name), "%s%s", pool, steps[i].name);
		put(name, steps[i].text);
		available_open(&a, 21, NULL);
		assert_int_equal(available_bytes(&a, &whose),
				 steps[i].pages * 2 * MIB);
		available_close(&a);
		available_open(&a, 30, NULL);
		assert_int_equal(available_bytes(&a, &whose), 0);
		available_close(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_machine),
		cmocka_unit_test(test_cgroup_v2),
		cmocka_unit_test(test_cgroup_swap),
		cmocka_unit_test(test_cgroup_of_a_container),
		cmocka_unit_test(test_cgroup_v1),
		cmocka_unit_test(test_cgroup_to_join),
		cmocka_unit_test(test_huge_pages),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
