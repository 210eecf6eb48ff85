/*
 * Locks mote in: the order of the steps, and the small ones.
 *
 * Root has the right to make namespaces, uses it and drops it. An ordinary user
 * gets that right in a user namespace, where the host lets him, and has no
 * other there; he stays who he is. There is no namespace for processes: to
 * enter one takes a fork, and mote is to stay the process that was started.
 * Other processes are out of reach all the same: by Landlock, where the host
 * has that, by the user's identity, and by the filters.
 *
 * After the last step the process has no capability, not even in its own
 * namespaces, and can get none: the bounding set is empty and no_new_privs is
 * set. What it still has are its descriptors.
 *
 * Trusts the options. Owns nothing. Main thread, the only one then.
 */
#include "seccomp/jail.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/securebits.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"
#include "seccomp/jail_parts.h"

#define FILES_MAX 2048 /* 1023 streams of vsock, and what vsock.c leaves */

/* -- who ------------------------------------------------------------------- */

/*
 * Whose files the sockets' directories hold: he can reach the listeners there,
 * and remove mote's own socket. Whom --user names is that user in all. In a
 * directory like /tmp, the owner would reach everybody's: mote does not.
 */
static unsigned file_user(const struct jail_options *o)
{
	struct stat status;
	unsigned owner = o->uid;

	for (size_t i = 0; i < ARRAY_LEN(o->sockets) && !o->user_given; i++) {
		const struct unixsock *file = o->sockets[i];

		if (!file || file->dir_fd < 0 || fstat(file->dir_fd, &status))
			continue;
		if (status.st_mode & (S_IWGRP | S_IWOTH)) {
			log_warn("%s%s: others write to its directory, too, so "
				 "mote is nobody special there and may reach "
				 "nobody's listeners; give the socket a "
				 "directory of its own, or name its --user",
				 file->option, file->path);
			return o->uid;
		}
		if (owner == o->uid)
			owner = status.st_uid;
	}
	return owner;
}

/*
 * The calls of libc would have to reach all threads; there is one. First the
 * bounding set, and that capabilities stay until they are dropped: both take
 * one, and so does it to have another user for files (credentials(7)).
 */
static int become(const struct jail_options *o)
{
	const unsigned uid = o->uid, gid = o->gid, files = file_user(o);
	bool groups;
	int error;

	capng_clear(CAPNG_SELECT_BOUNDS);
	capng_apply(CAPNG_SELECT_BOUNDS);
	prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
	/* A container may refuse just that: the rest is worth having. */
	groups = !syscall(SYS_setgroups, 0, NULL);
	if ((groups || !o->user_given) &&
	    !syscall(SYS_setresgid, gid, gid, gid) &&
	    !syscall(SYS_setresuid, uid, uid, uid)) {
		syscall(SYS_setfsuid, files);
		log_info("sandbox: uid %u, gid %u, %s other groups", uid, gid,
			 groups ? "no" : "its");
		if (files != uid)
			log_info("sandbox: uid %lu in the sockets' directories",
				 syscall(SYS_setfsuid, -1));
		return 0;
	}
	error = errno;
	if (!o->user_given) {
		log_warn("sandbox: cannot become uid %u: %s; it stays %u", uid,
			 strerror(error), geteuid());
		return 0;
	}
	log_error("--user %u:%u: %s", uid, gid, strerror(error));
	return -error;
}

static int become_user(const struct jail_options *o)
{
	if (!geteuid())
		return become(o);
	if (o->user_given && (o->uid != geteuid() || o->gid != getegid())) {
		log_error("--user: only root can become another user, and this "
			  "is uid %u",
			  geteuid());
		return -EPERM;
	}
	return 0;
}

static bool bounding_set_is_empty(void)
{
	int held = 0;

	for (int cap = 0; held == 0; cap++)
		held = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
	return held < 0; /* past the last one that there is */
}

/*
 * Of a user namespace all are held, unless the host takes some away from those;
 * root's bounding set is empty by now.
 */
static int drop_capabilities(bool user_namespace)
{
	capng_clear(CAPNG_SELECT_ALL);
	if (user_namespace)
		capng_apply(CAPNG_SELECT_BOUNDS);
	if (capng_apply(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT)) {
		log_error("sandbox: the capabilities cannot be dropped: %s",
			  strerror(errno));
		return -EPERM;
	}
	log_info(
		"sandbox: no capabilities%s",
		bounding_set_is_empty() ? ", the bounding set is empty"
		: user_namespace
			? "; this host does not let the bounding set be emptied"
			: "; to empty the bounding set takes root, or a user "
			  "namespace");
	return 0;
}

/* -- limits ---------------------------------------------------------------- */

static int limit_to(int resource, const char *name, rlim_t value)
{
	struct rlimit limit;

	if (!getrlimit(resource, &limit)) {
		limit.rlim_max =
			value < limit.rlim_max ? value : limit.rlim_max;
		if (limit.rlim_cur > limit.rlim_max)
			limit.rlim_cur = limit.rlim_max;
		if (resource == RLIMIT_NOFILE)
			limit.rlim_max = limit.rlim_cur;
		if (!setrlimit(resource, &limit))
			return 0;
	}
	return log_errno(name);
}

static rlim_t largest_file(const struct jail_options *o)
{
	struct stat status;

	for (size_t i = 0; i < ARRAY_LEN(o->outputs); i++)
		if (o->outputs[i] >= 0 && !fstat(o->outputs[i], &status) &&
		    S_ISREG(status.st_mode))
			return RLIM_INFINITY;
	return o->largest;
}

static int set_limits(const struct jail_options *o)
{
	const rlim_t largest = largest_file(o);
	int error = limit_to(RLIMIT_CORE, "RLIMIT_CORE", 0);

	if (!error)
		error = limit_to(RLIMIT_NOFILE, "RLIMIT_NOFILE", FILES_MAX);
	if (!error)
		error = limit_to(RLIMIT_FSIZE, "RLIMIT_FSIZE", largest);
	if (error)
		return error;
	if (largest == RLIM_INFINITY)
		log_info(
			"sandbox: files of any size, since output goes to one");
	else
		log_info("sandbox: no file beyond %llu bytes",
			 (unsigned long long)largest);
	return 0;
}

/* -- what is left of the caller -------------------------------------------- */

/* Secrets are passed in it. Nothing in mote keeps what getenv() gave. */
static void wipe_environment(void)
{
	for (char **at = environ; at && *at; at++) {
		memset(*at, 0, strlen(*at));
		*at = NULL;
	}
}

static int set_flag(int flag, const char *name, unsigned long value)
{
	return prctl(flag, value, 0, 0, 0) ? log_errno(name) : 0;
}

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>

/* Later there is no /proc, in which it looks. */
static void look_for_leaks(void)
{
	__lsan_do_leak_check();
}
#else
static void look_for_leaks(void)
{
}
#endif

/* -- entering it ----------------------------------------------------------- */

int jail_enter(const struct jail_options *o, unsigned *holds)
{
	bool root = false;
	int error, own, spaces, landlock = 0;

	*holds = 0;
	look_for_leaks();
	wipe_environment();
	error = set_flag(PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS", 1);
	if (error)
		return error;
	own = spaces = jail_namespaces(false);
	if (own > 0 && own & CLONE_NEWNS)
		root = jail_root(o);
	error = become_user(o);
	/* An ordinary user, or a container's root. After he became another
	 * user: that one's number means nothing in a user namespace. */
	if (!error && own == -EPERM) {
		spaces = jail_namespaces(true);
		root = spaces & CLONE_NEWNS && jail_root(o);
	}
	if (!error)
		error = drop_capabilities(own == -EPERM);
	if (!error)
		landlock = jail_landlock(o);
	if (!error)
		error = set_limits(o);
	if (!error)
		error = set_flag(PR_SET_DUMPABLE, "PR_SET_DUMPABLE", 0);
	if (!error && !root && !landlock)
		log_warn("sandbox: this host lets this user have neither "
			 "namespaces nor Landlock: of the host's files, only "
			 "the filters of system calls keep mote away");
	/* Abstract sockets are of a network, and so of no directory. */
	if (root && (spaces & CLONE_NEWNET || landlock >= LANDLOCK_ABSTRACT))
		*holds |= JAIL_ALONE;
	if (root || landlock)
		*holds |= JAIL_REMOVAL;
	return error;
}
