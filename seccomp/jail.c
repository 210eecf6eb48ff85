/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks mote in. jail_enter, at the end of this file, says in which order:
 *
 *	no_new_privs, wiped environment, processor cores of its own
 *	namespaces	its own mount, ipc and uts namespaces; see there for
 *			when a network namespace as well
 *	root directory	a tmpfs without anything in it, for reading only
 *	user		another one than root, without groups
 *	(the first two again, in a user namespace, where they took root)
 *	capabilities	none, the bounding set included
 *	Landlock	no files, no TCP, no other processes
 *	limits		of descriptors, of the size of files, no core dump
 *	launcher	still ends mote when it ends, where it asked for that
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
 * What it joins rather than leaves comes before all of this: a network
 * namespace, for its taps, and a cgroup, for what it uses.
 *
 * Trusts the options. Owns nothing. Main thread, the only one then.
 */
#include "seccomp/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"
#include "seccomp/caps.h"

#define FILES_MAX  2048 /* with many CPUs, disks and queues */
#define PATH_BYTES 4096

/* -- joining -------------------------------------------------------------- */

static int fail_join(const char *option, const struct option_file *file,
		     int error, const char *help)
{
	char room[FILE_NAME_BYTES];

	log_error("--%s %s: %s%s", option, file_name(file, room),
		  strerror(error), help);
	return -error;
}

int jail_join_netns(const struct option_file *netns)
{
	static const struct file_advice advice[] = {
		{ 0, "as root: ip netns add NAME makes /run/netns/NAME" },
	};
	int fd, error = 0;

	if (!file_is_given(netns))
		return 0;
	fd = file_open(netns, "--netns ", O_RDONLY, 0, advice);
	if (fd < 0)
		return fd;
	if (setns(fd, CLONE_NEWNET))
		error = errno;
	close(fd);
	if (error == EPERM)
		return fail_join(
			"netns", netns, error,
			"; only root may enter it: have the tap opened "
			"there, and give --net fd=N");
	if (error)
		return fail_join("netns", netns, error,
				 "; it is no network namespace");
	return 0;
}

/* Controllers that take no process beside a cgroup's own children. */
static bool gives_memory_on(const char *directory)
{
	char path[PATH_BYTES], text[256] = "";
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.type", directory);
	if (access(path, F_OK)) /* the root cgroup has none, and takes any */
		return false;
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", directory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	return n > 0 && (strstr(text, "memory") || strstr(text, "io"));
}

static bool is_cgroup2(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* Makes it the path of the cgroup above; false where there is none. */
static bool go_up(char path[PATH_BYTES])
{
	const size_t len = strlen(path);

	if (len + sizeof("/..") > PATH_BYTES)
		return false;
	memcpy(path + len, "/..", sizeof("/.."));
	return is_cgroup2(path);
}

/* `path` becomes that of this process's own cgroup, which `other` leads to. */
static bool find_own_cgroup(const char *other, char path[PATH_BYTES])
{
	char text[PATH_BYTES] = "\n";
	const int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	const char *at;
	size_t top;

	if (fd < 0 || read(fd, text + 1, sizeof(text) - 2) < 0)
		text[1] = 0;
	if (fd >= 0)
		close(fd);
	at = strstr(text, "\n0::");
	snprintf(path, PATH_BYTES, "%s", other);
	do
		top = strlen(path);
	while (go_up(path));
	if (at)
		snprintf(path + top, PATH_BYTES - top, "%.*s",
			 (int)strcspn(at + 4, "\n"), at + 4);
	return at && is_cgroup2(path);
}

/*
 * "Delegation Containment": who moves a process may write to cgroup.procs of
 * the nearest cgroup above both. True also where that cannot be seen.
 */
static bool may_move_to(const char *directory)
{
	char own[PATH_BYTES], at[PATH_BYTES];
	struct stat above, other;

	if (!find_own_cgroup(directory, own))
		return true;
	do {
		if (stat(own, &above))
			return true;
		snprintf(at, sizeof(at), "%s", directory);
		do
			if (!stat(at, &other) && above.st_ino == other.st_ino) {
				strncat(at, "/cgroup.procs",
					sizeof(at) - strlen(at) - 1);
				return !access(at, W_OK);
			}
		while (go_up(at));
	} while (go_up(own));
	return true;
}

/* Of a version 2 cgroup: errno where the kernel would refuse to be joined. */
static int judge_cgroup(const char *directory)
{
	if (!may_move_to(directory))
		return EACCES;
	return gives_memory_on(directory) ? EBUSY : 0;
}

/*
 * cgroup.procs, in Documentation/admin-guide/cgroup-v2.rst: 0 is the process
 * that writes it. Whoever only checks must not: to be in there, and gone again,
 * is an event. He looks at the rules that are broken most (the above, and "No
 * Internal Process Constraint"). 0 or errno.
 */
static int join_or_judge(const struct option_file *cgroup, int procs_fd,
			 bool check)
{
	struct statfs fs;

	if (fstatfs(procs_fd, &fs))
		return errno;
	if (fs.f_type != CGROUP2_SUPER_MAGIC && fs.f_type != CGROUP_SUPER_MAGIC)
		return EINVAL;
	if (check)
		return fs.f_type == CGROUP2_SUPER_MAGIC && cgroup->path
			       ? judge_cgroup(cgroup->path)
			       : 0;
	return write(procs_fd, "0", 1) == 1 ? 0 : errno;
}

/* Apart: its paths take four pages of the stack, which are touched on entry. */
static __attribute__((noinline)) int
join_given_cgroup(const struct option_file *cgroup, bool check)
{
	static const struct file_advice advice[] = {
		{ ENOENT, "there is no cgroup: make it with mkdir" },
		{ EBADF, "have its file cgroup.procs opened for that" },
		{ 0, "have it given to your user" },
	};
	struct option_file procs = *cgroup;
	char path[PATH_BYTES];
	const char *help = "";
	int fd, error;

	if (cgroup->path) {
		if (snprintf(path, sizeof(path), "%s/cgroup.procs",
			     cgroup->path) >= (int)sizeof(path))
			return fail_join("cgroup", cgroup, ENAMETOOLONG, "");
		procs.path = path;
	}
	fd = file_open(&procs, "--cgroup ", O_WRONLY, 0, advice);
	if (fd < 0)
		return fd;
	error = join_or_judge(cgroup, fd, check);
	close(fd);
	if (error == EINVAL)
		help = "; it is no cgroup that processes can be in";
	if (error == EACCES)
		help = "; the cgroup above both it and mote's own has to be "
		       "yours, too: start mote from within that, or as root";
	if (error == EBUSY)
		help = "; it gives its memory on to cgroups below it: name one "
		       "of these";
	return error ? fail_join("cgroup", cgroup, error, help) : 0;
}

int jail_join_cgroup(const struct option_file *cgroup, bool check)
{
	return file_is_given(cgroup) ? join_given_cgroup(cgroup, check) : 0;
}

/* -- namespaces ------------------------------------------------------------ */

/*
 * A network namespace is what costs by far the most of all of this, when it is
 * made, and again when the host's kernel takes it down. It says where sockets
 * are that are made in it, and from its first filter on mote can make none: the
 * broker connects, with a filter that names the one kind that it may. So mote
 * has one where there is something that could be led elsewhere all the same, as
 * jail_options says; and it is the last of the table.
 */
static const struct namespace
{
	int flag;
	const char *name;
}
namespace_types[] = {
	{ CLONE_NEWNS, "mount" },
	{ CLONE_NEWIPC, "ipc" },
	{ CLONE_NEWUTS, "uts" },
	{ CLONE_NEWNET, "network" },
};

static const char *missing;

/*
 * Asked where something failed, and before the bounding set goes: a host has
 * all of that, and a container what it was given. (To a filter of system calls
 * PR_GET_SECCOMP says 2.)
 */
static void find_missing(void)
{
	bool filtered = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2;

	if (missing)
		return;
	if (!prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0))
		missing = filtered ? "this container lacks CAP_SYS_ADMIN, or a "
				     "seccomp profile that allows unshare, "
				     "mount and pivot_root without it"
				   : "this container lacks CAP_SYS_ADMIN "
				     "(docker run --cap-add SYS_ADMIN)";
	else if (filtered)
		missing = "a seccomp profile is in the way: one that allows "
			  "unshare, mount and pivot_root is missing";
	else
		missing = "start it as root, or have user namespaces allowed";
}

static size_t count_namespaces(bool network)
{
	return ARRAY_LEN(namespace_types) - !network;
}

/* One by one, where they cannot be had together: which is it? */
static int enter_each_namespace(bool network)
{
	int entered = 0;

	for (size_t i = 0; i < count_namespaces(network); i++)
		if (unshare(namespace_types[i].flag))
			log_info("sandbox: no %s namespace: %s",
				 namespace_types[i].name, strerror(errno));
		else
			entered |= namespace_types[i].flag;
	return entered;
}

/*
 * Namespaces of mote's own: which, by their CLONE_NEW* flags, CLONE_NEWUSER
 * aside; or -EPERM, unlogged, where they take a right that this process lacks,
 * and that everybody has inside of a user namespace (`user`).
 */
static int enter_namespaces(bool network, bool user)
{
	int all = user ? CLONE_NEWUSER : 0, error;

	for (size_t i = 0; i < count_namespaces(network); i++)
		all |= namespace_types[i].flag;
	if (!unshare(all)) {
		log_info("sandbox: mount, ipc%s namespaces%s%s",
			 network ? ", uts and network" : " and uts",
			 user ? ", in a user namespace" : "",
			 network ? ""
				 : "; no network namespace: mote has no "
				   "socket of its caller's, and can make none");
		return all & ~CLONE_NEWUSER;
	}
	error = errno;
	if (!user && error == EPERM)
		return -EPERM;
	find_missing();
	if (!user || !unshare(CLONE_NEWUSER))
		return enter_each_namespace(network);
	log_info("sandbox: no namespaces: this host does not let this user "
		 "make them: %s; %s",
		 strerror(errno), missing);
	return 0;
}

/* -- the root directory ---------------------------------------------------- */

/*
 * The new root is a tmpfs that is mounted for reading only. pivot_root(2) puts
 * it in the place of the old one, which then lies on top of it, and is what "."
 * leads to for umount2(2), as the manual has it: it is detached as a whole, and
 * no path, and no "..", leads back. Where the kernel runs from its own
 * initramfs, which cannot be pivoted, the new root covers the old one, and
 * chroot(2) does.
 */
static const char *change_root(void)
{
	static const unsigned long flags =
		MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

	/* It covers the old root, from where only ".." finds it. */
	if (mount("mote", "/", "tmpfs", flags, "size=4k,mode=555"))
		return "mount a tmpfs";
	if (chdir("/.."))
		return "chdir";
	if (syscall(SYS_pivot_root, ".", "."))
		return chroot(".") ? "chroot" : NULL;
	return umount2(".", MNT_DETACH) ? "detach the old root" : NULL;
}

/*
 * In a mount namespace of mote's own: an empty root directory that nobody can
 * write to. True if that was done.
 */
static bool enter_empty_root(void)
{
	const char *failed = NULL;
	int error;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		failed = "make mounts private";
	else
		failed = change_root();
	error = errno;
	if (failed) {
		find_missing();
		log_info("sandbox: the root directory stays: cannot %s: %s",
			 failed, strerror(error));
	} else {
		log_info("sandbox: the root directory is empty and read-only");
	}
	return !failed;
}

/* -- who ------------------------------------------------------------------- */

unsigned jail_directory_user(const struct jail_options *o, int dir_fd)
{
	struct stat status;

	return o->user_given || geteuid() || fstat(dir_fd, &status)
		       ? o->uid
		       : status.st_uid;
}

unsigned jail_socket_user(const struct jail_options *o,
			  const struct unixsock *file, bool dials)
{
	struct stat status;

	if (o->user_given || geteuid() || fstat(file->dir_fd, &status))
		return o->uid;
	if (!dials || !(status.st_mode & (S_IWGRP | S_IWOTH)))
		return status.st_uid;
	log_warn("%s%s: others write to its directory, too, so the guest "
		 "reaches only such listeners there as everybody does; give "
		 "the socket a directory of its own, or name its --user",
		 file->option, file->path);
	return o->uid;
}

/*
 * The calls of libc would have to reach all threads; there is one. First the
 * bounding set, and that capabilities stay until they are dropped: both take
 * one, and so does the broker's having another user for files (credentials(7)).
 */
static int become_unprivileged(const struct jail_options *o)
{
	const unsigned uid = o->uid, gid = o->gid;
	bool groups;
	int error;

	caps_empty_bounding_set();
	prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
	/* A container may refuse just that: the rest is worth having. */
	groups = !syscall(SYS_setgroups, 0, NULL);
	if ((groups || !o->user_given) &&
	    !syscall(SYS_setresgid, gid, gid, gid) &&
	    !syscall(SYS_setresuid, uid, uid, uid)) {
		log_info("sandbox: uid %u, gid %u, %s other groups", uid, gid,
			 groups ? "no" : "its");
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
		return become_unprivileged(o);
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
	int held = log_get_level() < LOG_INFO ? -1 : 0;

	/* One call for each capability, where somebody wants to know. */
	for (int cap = 0; held == 0; cap++)
		held = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
	return held < 0; /* past the last one that there is */
}

/* `cap`: -1, or the one that stays. */
static int drop_all_but(int cap)
{
	const int error = caps_drop_all_but(cap);

	if (error)
		log_error("sandbox: the capabilities cannot be dropped: %s",
			  strerror(-error));
	return error;
}

/*
 * Of a user namespace all are held, unless the host takes some away from those;
 * root's bounding set is empty by now.
 */
static int drop_capabilities(bool user_namespace)
{
	int error;

	if (user_namespace)
		caps_empty_bounding_set();
	error = drop_all_but(-1);
	if (error)
		return error;
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

static int lower_limit(int resource, const char *name, rlim_t value)
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

static rlim_t file_size_limit(const struct jail_options *o)
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
	const rlim_t largest = file_size_limit(o);
	int error = lower_limit(RLIMIT_CORE, "RLIMIT_CORE", 0);

	if (!error)
		error = lower_limit(RLIMIT_NOFILE, "RLIMIT_NOFILE",
				    o->files ? o->files : FILES_MAX);
	if (!error)
		error = lower_limit(RLIMIT_FSIZE, "RLIMIT_FSIZE", largest);
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

/* -- cores ----------------------------------------------------------------- */

#ifndef PR_SCHED_CORE /* Linux 5.14 */
#define PR_SCHED_CORE			 62
#define PR_SCHED_CORE_CREATE		 1
#define PR_SCHED_CORE_SCOPE_THREAD_GROUP 1
#endif

/*
 * A cookie of its own (Documentation/admin-guide/hw-vuln/core-scheduling.rst):
 * on the hyperthreads of a core only threads with the same one run at the same
 * time, so that no guest measures what another process does there. Threads that
 * are started later have it, too.
 */
static void take_own_cores(void)
{
	if (!prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0,
		   PR_SCHED_CORE_SCOPE_THREAD_GROUP, 0))
		log_info("sandbox: it shares no core with another process");
	else
		log_info("sandbox: no core scheduling: %s",
			 errno == ENODEV ? "this host has no hyperthreads"
					 : strerror(errno));
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

/*
 * Whoever started mote may have asked that it dies with him: PR_SET_PDEATHSIG,
 * which systemd, Go's Pdeathsig and setpriv(1) use. A change of user or of
 * capabilities takes that back.
 */
struct launcher {
	int signal; /* 0: he did not ask */
	pid_t pid;
};

static struct launcher remember_launcher(void)
{
	struct launcher launcher = { 0, getppid() };

	if (prctl(PR_GET_PDEATHSIG, &launcher.signal))
		launcher.signal = 0;
	return launcher;
}

/* He may have ended meanwhile, when nobody was told. */
static void follow_launcher(const struct launcher *launcher)
{
	if (!launcher->signal)
		return;
	prctl(PR_SET_PDEATHSIG, launcher->signal);
	if (getppid() != launcher->pid)
		raise(launcher->signal);
}

static int set_prctl(int flag, const char *name, unsigned long value)
{
	return prctl(flag, value, 0, 0, 0) ? log_errno(name) : 0;
}

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

/* Later there is no /proc, in which LeakSanitizer looks. */
static void look_for_leaks(void)
{
#ifdef __SANITIZE_ADDRESS__
	__lsan_do_leak_check();
#endif
}

/* -- Landlock -------------------------------------------------------------- */

/* linux/landlock.h of the build host may be older than the kernel. */
#define CREATE_RULESET_VERSION 1u

struct ruleset {
	uint64_t fs, net, scoped;
};

/* All rights that a version of the interface knows. */
static const struct ruleset landlock_versions[] = {
	{ 0, 0, 0 },	  { 0x1fff, 0, 0 }, /* Linux 5.13 */
	{ 0x3fff, 0, 0 }, /* 5.19: to link and rename elsewhere */
	{ 0x7fff, 0, 0 }, /* 6.2: to truncate */
	{ 0x7fff, 3, 0 }, /* 6.7: TCP */
	{ 0xffff, 3, 0 }, /* 6.10: ioctl of devices */
	{ 0xffff, 3, 3 }, /* 6.12: abstract unix sockets, signals */
};

/* Of `fs`: to read files, and directories. */
#define LANDLOCK_READ	      (1ULL << 2 | 1ULL << 3)
#define LANDLOCK_PATH_BENEATH 1

struct path_beneath {
	uint64_t rights;
	int32_t fd;
} __attribute__((packed));

static long create_landlock_ruleset(const struct ruleset *rules, size_t size,
				    unsigned flags)
{
	return syscall(SYS_landlock_create_ruleset, rules, size, flags);
}

/*
 * Landlock (Documentation/userspace-api/landlock.rst) takes the rights to
 * files, to TCP and to other processes from this process itself, which takes
 * no privilege. It holds where there are no namespaces, and where there are, it
 * holds once more. What is open stays open, with all its rights: they hang on
 * the descriptor. `tree_fd`: what is in that may be read (-1: nothing). True
 * where it holds.
 */
static bool restrict_by_landlock(int tree_fd)
{
	const struct path_beneath tree = { LANDLOCK_READ, tree_fd };
	const long newest = ARRAY_LEN(landlock_versions) - 1;
	long version = create_landlock_ruleset(NULL, 0, CREATE_RULESET_VERSION);
	int ruleset = -1;
	bool restricted = false;

	if (version > 0) {
		const struct ruleset *rules =
			&landlock_versions[version < newest ? version : newest];

		ruleset =
			(int)create_landlock_ruleset(rules, sizeof(*rules), 0);
	}
	/* A file that is open needs no rule, and gets none. */
	if (ruleset >= 0 && tree_fd >= 0)
		syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_PATH_BENEATH,
			&tree, 0);
	if (ruleset >= 0)
		restricted = !syscall(SYS_landlock_restrict_self, ruleset, 0);
	if (restricted)
		log_info("sandbox: Landlock, version %ld: no files%s%s",
			 version, version >= 4 ? ", no TCP" : "",
			 version >= 6 ? ", no other processes" : "");
	else
		log_info("sandbox: no Landlock: %s", strerror(errno));
	if (ruleset >= 0)
		close(ruleset);
	return restricted;
}

/* -- entering it ----------------------------------------------------------- */

int jail_enter(const struct jail_options *o)
{
	const struct launcher launcher = remember_launcher();
	bool root = false, landlock = false;
	int error, own;

	look_for_leaks();
	wipe_environment();
	error = set_prctl(PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS", 1);
	if (error)
		return error;
	if (o->own_cores)
		take_own_cores();
	own = enter_namespaces(o->own_network, false);
	if (own > 0 && own & CLONE_NEWNS)
		root = enter_empty_root();
	error = become_user(o);
	/* An ordinary user, or a container's root. After he became another
	 * user: that one's number means nothing in a user namespace. */
	if (!error && own == -EPERM)
		root = enter_namespaces(o->own_network, true) & CLONE_NEWNS &&
		       enter_empty_root();
	if (!error)
		error = drop_capabilities(own == -EPERM);
	if (!error)
		landlock = restrict_by_landlock(-1);
	if (!error)
		error = set_limits(o);
	if (!error)
		error = set_prctl(PR_SET_DUMPABLE, "PR_SET_DUMPABLE", 0);
	follow_launcher(&launcher);
	if (!error && !root && !landlock)
		log_warn("sandbox: this host lets this user have neither "
			 "namespaces nor Landlock: of the host's files, only "
			 "the filters of system calls keep mote away; %s",
			 missing ? missing : "see --log info");
	return error;
}

/* A process beside mote leaves no core, and writes to no file. */
static int limit_helper(void)
{
	int error = lower_limit(RLIMIT_CORE, "RLIMIT_CORE", 0);

	if (!error)
		error = lower_limit(RLIMIT_FSIZE, "RLIMIT_FSIZE", 0);
	return error ? error : set_prctl(PR_SET_DUMPABLE, "PR_SET_DUMPABLE", 0);
}

/*
 * It stays where it is: which names it may look up, and what for, its filter
 * says, which holds where there are no namespaces, too.
 */
int jail_enter_broker(const struct jail_options *o, unsigned files)
{
	const bool root = !geteuid();
	int error;

	wipe_environment();
	error = set_prctl(PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS", 1);
	if (!error)
		error = become_user(o);
	if (!error && root)
		syscall(SYS_setfsuid, files);
	if (!error)
		error = drop_capabilities(false);
	return error ? error : limit_helper();
}

static void write_own_map(const char *path, const char *text)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		log_info("sandbox: %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* So that of what it reads those that are its caller's are seen to be. */
static void map_own_ids(unsigned uid, unsigned gid)
{
	char text[32];

	write_own_map("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "%u %u 1", uid, uid);
	write_own_map("/proc/self/uid_map", text);
	snprintf(text, sizeof(text), "%u %u 1", gid, gid);
	write_own_map("/proc/self/gid_map", text);
}

/*
 * Its root directory becomes the tree; or, where that is one file, which it has
 * open, an empty one. No descriptor leads out of it.
 */
static bool enter_tree(int tree_fd)
{
	if (!fchdir(tree_fd))
		return !chroot(".");
	return errno == ENOTDIR && !unshare(CLONE_NEWNS) && enter_empty_root();
}

/*
 * It reads all that its caller may read. A user stays who he is; root becomes
 * another one (--user) and keeps the capability to read what is others', or the
 * wider one, which is what containers have: no file can be opened for writing
 * all the same, its filter says. Where root has neither, it reads by being
 * root.
 *
 * Where Landlock holds, an ordinary user needs no namespace, in which owners
 * could not be seen.
 */
int jail_enter_walker(const struct jail_options *o, int tree_fd)
{
	static const int readers[] = { CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE,
				       -1 };
	const int cap = caps_find(readers);
	const unsigned uid = geteuid(), gid = getegid();
	bool confined;
	int error;

	wipe_environment();
	error = set_prctl(PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS", 1);
	confined = enter_tree(tree_fd);
	if (restrict_by_landlock(tree_fd))
		confined = true;
	/* In which no capability would be good for what others own. */
	if (!confined && cap < 0 && !unshare(CLONE_NEWUSER)) {
		map_own_ids(uid, gid);
		confined = enter_tree(tree_fd);
	}
	if (!confined)
		log_info("sandbox: the walker has its filter only");
	if (!error && !uid && cap >= 0)
		error = become_user(o);
	if (!error)
		error = drop_all_but(cap);
	return error ? error : limit_helper();
}
