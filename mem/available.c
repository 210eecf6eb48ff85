/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left of the host's memory, as its kernel tells it: MemAvailable of
 * /proc/meminfo (Documentation/filesystems/proc.rst) for the machine; for each
 * cgroup from this process's own up to the root its limit less its use
 * (Documentation/admin-guide/cgroup-v2.rst; cgroup-v1/memory.rst).
 *
 * It errs towards too much: whoever would have had his memory must not be
 * refused it. So pages of files and free swap count as left.
 *
 * Cgroups are looked for where every distribution mounts them. A container that
 * sees only its own part of the tree has that mounted there; the path that its
 * kernel tells then leads nowhere, and the way up ends at the part's top.
 *
 * Trusts the host. Owns the descriptors, which stay open while RAM is filled.
 * Main thread.
 */
#include "mem/available.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem/util.h"

#define TEXT_BYTES  4096 /* meminfo has 1.5 KiB, memory.stat 2 */
#define PATH_BYTES  512
#define CGROUP_ROOT "/sys/fs/cgroup"
#define NO_LIMIT    (1ULL << 62) /* version 1 has a number for it */

struct cgroup_version {
	const char *root, *line; /* of the mount; of /proc/self/cgroup */
	const char *mark;	 /* what all of its cgroups have */
	const char *most, *usage, *peak, *swap;
	bool swap_with_memory; /* `swap` is the limit of both together */
	const char *cache[4];  /* lines of memory.stat */
};

static const struct cgroup_version cgroup_versions[] = {
	{ CGROUP_ROOT,
	  "\n0::",
	  "cgroup.controllers",
	  "memory.max",
	  "memory.current",
	  "memory.peak",
	  "memory.swap.max",
	  false,
	  { "\nactive_file ", "\ninactive_file ", "\nslab_reclaimable ",
	    NULL } },
	{ CGROUP_ROOT "/memory",
	  ":memory:",
	  "memory.usage_in_bytes",
	  "memory.limit_in_bytes",
	  "memory.usage_in_bytes",
	  "memory.max_usage_in_bytes",
	  "memory.memsw.limit_in_bytes",
	  true,
	  { "\ntotal_active_file ", "\ntotal_inactive_file ", NULL } },
};

/* All lines, the first one too, begin behind a newline. */
static void read_lines(int fd, char text[TEXT_BYTES])
{
	const ssize_t n = pread(fd, text + 1, TEXT_BYTES - 2, 0);

	text[0] = '\n';
	text[1 + (n < 0 ? 0 : n)] = '\0';
}

/* The number behind `key`; `otherwise` where there is none ("max", too). */
static uint64_t number_after(const char *text, const char *key,
			     uint64_t otherwise)
{
	const char *at = strstr(text, key);
	char *end;
	uint64_t value;

	if (!at)
		return otherwise;
	at += strlen(key);
	value = strtoull(at, &end, 10);
	return end == at ? otherwise : value;
}

static int open_in(const char *directory, const char *name)
{
	char path[PATH_BYTES + 64];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static bool has_file(const char *directory, const char *name)
{
	const int fd = open_in(directory, name);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static uint64_t number_in(const char *directory, const char *name,
			  uint64_t otherwise)
{
	char text[TEXT_BYTES];
	const int fd = open_in(directory, name);

	if (fd < 0)
		return otherwise;
	read_lines(fd, text);
	close(fd);
	return number_after(text, "\n", otherwise);
}

/* -- cgroups --------------------------------------------------------------- */

static void add_cgroup(struct available *a, const struct cgroup_version *v,
		       const char *path, uint64_t free_swap)
{
	const uint64_t most = number_in(path, v->most, NO_LIMIT);
	struct available_cgroup *group = &a->cgroup[a->cgroups];
	uint64_t swap;

	if (most >= NO_LIMIT || a->cgroups == AVAILABLE_CGROUPS_MAX)
		return;
	/* Without the file, swap is not counted. */
	swap = number_in(path, v->swap, NO_LIMIT);
	if (v->swap_with_memory)
		swap -= swap > most ? most : swap;
	*group = (struct available_cgroup){
		.usage_fd = open_in(path, v->usage),
		.stat_fd = open_in(path, "memory.stat"),
		.cache = v->cache,
		.most = most + (swap < free_swap ? swap : free_swap),
	};
	snprintf(group->name, sizeof(group->name), "the cgroup %.100s", path);
	a->cgroups++;
}

/* From `path`, which is cut, up to the top, or to what can be seen of it. */
static void add_cgroups(struct available *a, const struct cgroup_version *v,
			char *path, uint64_t free_swap)
{
	char *slash;

	do {
		add_cgroup(a, v, path, free_swap);
		slash = strrchr(path, '/');
		if (slash)
			*slash = '\0';
	} while (slash && *path);
}

/*
 * That of the process, in `list`, its /proc/self/cgroup: false where it is the
 * root of all, or there is none, and the path is empty then.
 */
static bool own_cgroup(const struct cgroup_version *v, const char *list,
		       char path[PATH_BYTES])
{
	const char *at = strstr(list, v->line);

	*path = '\0';
	if (!at)
		return false;
	at += strlen(v->line);
	snprintf(path, PATH_BYTES, "%s%.*s", v->root, (int)strcspn(at, "\n"),
		 at);
	return at[0] == '/' && at[1] != '\n' && at[1];
}

/* That of the process, or else `cgroup`. */
static void find_cgroups(struct available *a, const char *cgroup,
			 const char *list, uint64_t free_swap)
{
	for (size_t i = 0; i < ARRAY_LEN(cgroup_versions); i++) {
		const struct cgroup_version *v = &cgroup_versions[i];
		char path[PATH_BYTES];

		own_cgroup(v, list, path);
		/* It may be one of another controller than the memory's. */
		if (cgroup && has_file(cgroup, v->mark))
			snprintf(path, sizeof(path), "%s", cgroup);
		add_cgroups(a, v, path, free_swap);
	}
}

static uint64_t cgroup_left(const struct available_cgroup *group)
{
	char text[TEXT_BYTES];
	uint64_t used, cache = 0;

	read_lines(group->stat_fd, text);
	for (const char *const *key = group->cache; *key; key++)
		cache += number_after(text, *key, 0);
	read_lines(group->usage_fd, text);
	used = number_after(text, "\n", 0);
	used -= cache < used ? cache : used;
	return used < group->most ? group->most - used : 0;
}

/* -- huge pages ------------------------------------------------------------ */

/* Documentation/admin-guide/mm/hugetlbpage.rst */
static uint64_t read_pool(unsigned shift)
{
	char path[PATH_BYTES];
	uint64_t pages, promised;

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%llukB",
		 1ULL << shift >> 10);
	pages = number_in(path, "free_hugepages", 0) +
		number_in(path, "nr_overcommit_hugepages", 0);
	promised = number_in(path, "resv_hugepages", 0) +
		   number_in(path, "surplus_hugepages", 0);
	return pages > promised ? (pages - promised) << shift : 0;
}

/* -- all ------------------------------------------------------------------- */

static void read_own_cgroups(char text[TEXT_BYTES])
{
	const int fd = open_in("/proc/self", "cgroup");

	read_lines(fd, text);
	if (fd >= 0)
		close(fd);
}

void available_open(struct available *a, unsigned shift, const char *cgroup)
{
	char text[TEXT_BYTES];
	uint64_t free_swap;

	*a = (struct available){ .meminfo_fd = -1, .pool = UINT64_MAX };
	if (shift > 12) {
		a->pool = read_pool(shift);
		return;
	}
	a->meminfo_fd = open_in("/proc", "meminfo");
	read_lines(a->meminfo_fd, text);
	free_swap = number_after(text, "\nSwapFree:", 0) << 10;
	read_own_cgroups(text);
	find_cgroups(a, cgroup, text, free_swap);
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void available_close(struct available *a)
{
	close_one(&a->meminfo_fd);
	for (unsigned i = 0; i < a->cgroups; i++) {
		close_one(&a->cgroup[i].usage_fd);
		close_one(&a->cgroup[i].stat_fd);
	}
	a->cgroups = 0;
}

uint64_t available_bytes(const struct available *a, const char **whose)
{
	char text[TEXT_BYTES];
	uint64_t left, least = a->pool;

	*whose = "the host's pool";
	read_lines(a->meminfo_fd, text);
	left = number_after(text, "\nMemAvailable:", UINT64_MAX >> 10) +
	       number_after(text, "\nSwapFree:", 0);
	if (left < least >> 10) {
		least = left << 10;
		*whose = "this machine";
	}
	for (unsigned i = 0; i < a->cgroups; i++) {
		left = cgroup_left(&a->cgroup[i]);
		if (left >= least)
			continue;
		least = left;
		*whose = a->cgroup[i].name;
	}
	return least;
}

/* -- what this process has had --------------------------------------------- */

/*
 * A cgroup in which nobody has turned the controller on is counted in the one
 * above it. Of the root of version 1, which counts the whole machine, the way
 * up stops short where the process is said to be in it; in a container that
 * sees its own part only, the top of that part is its cgroup.
 */
static int open_cgroup_peak(const struct cgroup_version *v, const char *list)
{
	char path[PATH_BYTES];
	int fd = -1;

	if (!own_cgroup(v, list, path) && v->swap_with_memory)
		return -1;
	while (strlen(path) >= strlen(v->root) &&
	       (fd = open_in(path, v->peak)) < 0)
		*strrchr(path, '/') = '\0';
	return fd;
}

void available_open_peaks(struct available_peaks *peaks)
{
	char text[TEXT_BYTES];

	*peaks = AVAILABLE_PEAKS_NONE;
	peaks->status_fd = open_in("/proc/self", "status");
	read_own_cgroups(text);
	for (size_t i = 0;
	     i < ARRAY_LEN(cgroup_versions) && peaks->cgroup_fd < 0; i++)
		peaks->cgroup_fd = open_cgroup_peak(&cgroup_versions[i], text);
}

static uint64_t read_peak(int fd, const char *key, unsigned shift)
{
	char text[TEXT_BYTES];
	uint64_t value;

	if (fd < 0)
		return UINT64_MAX;
	read_lines(fd, text);
	value = number_after(text, key, UINT64_MAX);
	return value == UINT64_MAX ? value : value << shift;
}

uint64_t available_peak_rss(const struct available_peaks *peaks)
{
	return read_peak(peaks->status_fd, "\nVmHWM:", 10);
}

uint64_t available_peak_cgroup(const struct available_peaks *peaks)
{
	return read_peak(peaks->cgroup_fd, "\n", 0);
}
