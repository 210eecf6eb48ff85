/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capabilities are given up by the system calls that do it, and none besides.
 * libcap-ng first asks for all that there is (182 calls of prctl(2) in all, ten
 * of them in each run, whether locked in or not) and registers a handler of
 * forks, for which libc's heap is set up: a twelfth of a start.
 *
 * Sources: capset(2); prctl(2), PR_CAPBSET_DROP and PR_CAP_AMBIENT. Trusts the
 * host's kernel. Owns nothing. Main thread, the only one then.
 */
#include "seccomp/caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

void caps_empty_bounding_set(void)
{
	/* Ends past the last one that this kernel has, or at the first if this
	 * thread may not. To drop what is not there is no error. */
	for (unsigned long cap = 0; !prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);)
		cap++;
}

int caps_drop_all_but(int cap)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {
		{ 0 },
	};

	if (cap >= 0)
		sets[CAP_TO_INDEX(cap)].effective =
			sets[CAP_TO_INDEX(cap)].permitted = CAP_TO_MASK(cap);
	/* A kernel before 4.3 has no ambient set: then that is empty. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) &&
	    errno != EINVAL)
		return -errno;
	return syscall(SYS_capset, &header, sets) ? -errno : 0;
}

int caps_find(const int *caps)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {
		{ 0 },
	};

	if (syscall(SYS_capget, &header, sets))
		return -1;
	while (*caps >= 0 &&
	       !(sets[CAP_TO_INDEX(*caps)].effective & CAP_TO_MASK(*caps)))
		caps++;
	return *caps;
}
