/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory the host has left: this machine, and each cgroup (version 1
 * or 2) that this process is in and that has a limit. Where RAM is allocated
 * all at once (`prefault`), to go beyond that would bring the kernel to kill
 * processes, and not always the one that took too much.
 */
#ifndef MEM_AVAILABLE_H
#define MEM_AVAILABLE_H

#include <stdint.h>

#define AVAILABLE_CGROUPS_MAX 8

struct available {
	int meminfo_fd;
	struct available_cgroup {
		int usage_fd, stat_fd;
		const char *const *cache; /* what of stat can be given back */
		uint64_t most;		  /* bytes, of memory and swap */
		char name[128];		  /* for messages: "the cgroup /a/b" */
	} cgroup[AVAILABLE_CGROUPS_MAX];
	unsigned cgroups;
	uint64_t pool; /* bytes of huge pages; UINT64_MAX: not asked for */
};

/*
 * Opens what tells that, before the sandbox closes in. With a `shift` above 12
 * the pages are the host's reserved ones of 1 << shift bytes, and their pool is
 * looked at instead, once. `cgroup`, the path of one that is to be joined
 * later, counts in place of this process's own; NULL: there is none. What
 * cannot be read is no limit.
 */
void available_open(struct available *available, unsigned shift,
		    const char *cgroup);
void available_close(struct available *available);

/*
 * Bytes that are left now, and *whose: who has no more, for messages (valid
 * until available_close). What the page cache holds counts as left, and so does
 * swap. UINT64_MAX: nobody knows.
 */
uint64_t available_bytes(const struct available *available, const char **whose);

/* -- what this process has had --------------------------------------------- */

/* Descriptors; -1: the host does not tell. */
struct available_peaks {
	int status_fd, cgroup_fd;
};
#define AVAILABLE_PEAKS_NONE                                                   \
	((struct available_peaks){ .status_fd = -1, .cgroup_fd = -1 })

/*
 * Opens what tells how much memory this process, and the cgroup that it is in
 * now, has had at most; before the sandbox closes in. They stay open until the
 * process ends.
 */
void available_open_peaks(struct available_peaks *peaks);

/* Bytes; UINT64_MAX: nobody knows. Safe in a handler of signals. */
uint64_t available_peak_rss(const struct available_peaks *peaks);
uint64_t available_peak_cgroup(const struct available_peaks *peaks);

#endif
