/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a command as on a host that lacks some system calls:
 *
 *	without CALL[:ERROR][,...] COMMAND...
 *
 * Each call named fails, with ENOSYS (as on an older kernel), EPERM, EINVAL,
 * ENODEV, EFAULT or EIO, or does nothing and says that it has (`done`).
 *`capbset` stands for PR_CAPBSET_DROP of prctl(2), `core` for PR_SCHED_CORE of
 * it, `netns` for an unshare(2) that has CLONE_NEWNET among its flags,
 *`readonly` for the question whether KVM has read-only memory, `run` for
 * KVM_RUN. The command's own filters come on top.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))
#define CALLS	   8

static const struct call {
	const char *name;
	int number;
	int value;    /* of its argument, or -1: whatever it is */
	bool flag;    /* it is one of several */
	int argument; /* its number */
} calls[] = {
	{ "capbset", SYS_prctl, PR_CAPBSET_DROP, false, 0 },
	{ "chroot", SYS_chroot, -1, false, 0 },
	{ "close_range", SYS_close_range, -1, false, 0 },
	{ "core", SYS_prctl, 62, false, 0 },
	{ "fsync", SYS_fsync, -1, false, 0 },
	{ "io_uring_setup", SYS_io_uring_setup, -1, false, 0 },
	{ "landlock_create_ruleset", 444, -1, false, 0 },
	{ "mount", SYS_mount, -1, false, 0 },
	{ "netns", SYS_unshare, CLONE_NEWNET, true, 0 },
	{ "open_tree", SYS_open_tree, -1, false, 0 },
	{ "pivot_root", SYS_pivot_root, -1, false, 0 },
	{ "pwrite64", SYS_pwrite64, -1, false, 0 },
	{ "readonly", SYS_ioctl, KVM_CAP_READONLY_MEM, false, 2 },
	{ "renameat", SYS_renameat, -1, false, 0 },
	{ "run", SYS_ioctl, KVM_RUN, false, 1 },
	{ "setfsuid", SYS_setfsuid, -1, false, 0 },
	{ "setgroups", SYS_setgroups, -1, false, 0 },
	{ "setresuid", SYS_setresuid, -1, false, 0 },
	{ "unshare", SYS_unshare, -1, false, 0 },
};

static const struct error {
	const char *name;
	int number;
} errors[] = {
	{ "ENOSYS", ENOSYS }, { "EPERM", EPERM },   { "EINVAL", EINVAL },
	{ "ENODEV", ENODEV }, { "EFAULT", EFAULT }, { "EIO", EIO },
	{ "done", 0 },
};

static struct sock_filter code[4 + 4 * CALLS];
static unsigned short len;

static void add(struct sock_filter one)
{
	code[len++] = one;
}

#define LOAD(field)                                                            \
	((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,                \
				      offsetof(struct seccomp_data, field)))
#define SKIP_UNLESS(value, count)                                              \
	((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,               \
				      (unsigned)(value), 0, count))
#define SKIP_UNLESS_SET(value, count)                                          \
	((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K,              \
				      (unsigned)(value), 0, count))
#define RETURN(value)                                                          \
	((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, (unsigned)(value)))

static void refuse(char *text)
{
	const char *name = strtok(text, ":"), *why = strtok(NULL, ":");
	const struct call *call = NULL;
	int error = why ? -1 : ENOSYS;

	for (size_t i = 0; i < LEN(calls); i++)
		if (name && !strcmp(calls[i].name, name))
			call = &calls[i];
	for (size_t i = 0; i < LEN(errors); i++)
		if (why && !strcmp(errors[i].name, why))
			error = errors[i].number;
	if (!call || error < 0 || len + 5u > LEN(code)) {
		fprintf(stderr, "without: %s: what is that?\n", text);
		exit(2);
	}
	if (call->value < 0) {
		add(SKIP_UNLESS(call->number, 1));
	} else {
		add(SKIP_UNLESS(call->number, 4));
		add(LOAD(args[call->argument]));
		add(call->flag ? SKIP_UNLESS_SET(call->value, 1)
			       : SKIP_UNLESS(call->value, 1));
	}
	add(RETURN(SECCOMP_RET_ERRNO | (unsigned)error));
	if (call->value >= 0)
		add(LOAD(nr));
}

int main(int argc, char **argv)
{
	struct sock_fprog program = { .filter = code };
	char *save, *text;

	if (argc < 3) {
		fputs("usage: without CALL[:ERROR][,...] COMMAND...\n", stderr);
		return 2;
	}
	add(LOAD(nr));
	for (text = strtok_r(argv[1], ",", &save); text;
	     text = strtok_r(NULL, ",", &save))
		refuse(text);
	add(RETURN(SECCOMP_RET_ALLOW));
	program.len = len;
	/* Root needs no PR_SET_NO_NEW_PRIVS for it; others do. */
	if (geteuid())
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		perror("without: seccomp");
		return 2;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 2;
}
