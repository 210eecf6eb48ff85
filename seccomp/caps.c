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

int caps_drop_all(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {
		{ 0 },
	};

	/* A kernel before 4.3 has no ambient set: then that is empty. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) &&
	    errno != EINVAL)
		return -errno;
	return syscall(SYS_capset, &header, none) ? -errno : 0;
}
