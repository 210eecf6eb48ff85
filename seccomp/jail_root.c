/*
 * Namespaces, and a root directory with nothing in it.
 *
 * The new root is a tmpfs that is mounted for reading only. pivot_root(2) puts
 * it in the place of the old one, which is then detached as a whole: no path,
 * and no "..", leads back. Where the kernel runs from its own initramfs, which
 * cannot be pivoted, the new root covers the old one, and chroot(2) does.
 *
 * A directory that is to stay reachable is first cut out (open_tree(2), Linux
 * 5.2): a mount of its own that hangs in no tree, so that ".." ends there. Its
 * descriptor from before leads anywhere, and so does not stay in any case.
 *
 * Trusts the options. Owns nothing. Main thread, the only one then.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"
#include "seccomp/jail_parts.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

/* -- namespaces ------------------------------------------------------------ */

static const struct namespace
{
	int flag;
	const char *name;
}
namespaces[] = {
	{ CLONE_NEWNS, "mount" },
	{ CLONE_NEWIPC, "ipc" },
	{ CLONE_NEWUTS, "uts" },
	{ CLONE_NEWNET, "network" },
};

/* One by one, where they cannot be had together: which is it? */
static int enter_each(void)
{
	int entered = 0;

	for (size_t i = 0; i < ARRAY_LEN(namespaces); i++)
		if (unshare(namespaces[i].flag))
			log_info("sandbox: no %s namespace: %s",
				 namespaces[i].name, strerror(errno));
		else
			entered |= namespaces[i].flag;
	return entered;
}

int jail_namespaces(bool user)
{
	int all = user ? CLONE_NEWUSER : 0;

	for (size_t i = 0; i < ARRAY_LEN(namespaces); i++)
		all |= namespaces[i].flag;
	if (!unshare(all)) {
		log_info("sandbox: mount, ipc, uts and network namespaces%s",
			 user ? ", in a user namespace" : "");
		return all & ~CLONE_NEWUSER;
	}
	if (!user && errno == EPERM)
		return -EPERM;
	if (!user || !unshare(CLONE_NEWUSER))
		return enter_each();
	log_info("sandbox: no namespaces: this host does not let this user "
		 "make them: %s",
		 strerror(errno));
	return 0;
}

/* -- the sockets' directories ---------------------------------------------- */

static void cut_out(struct unixsock *file)
{
	static const unsigned flags[] = { 0, AT_RECURSIVE };
	char dir[UNIXSOCK_PATH_MAX + 1];
	int tree = -1;

	unixsock_directory(file->path, dir);
	/* Not by its descriptor: that is of the old namespace. EINVAL: what is
	 * mounted below must come along. */
	for (size_t i = 0; i < ARRAY_LEN(flags) && tree < 0; i++)
		tree = (int)syscall(SYS_open_tree, AT_FDCWD, dir,
				    OPEN_TREE_CLONE | O_CLOEXEC | flags[i]);
	if (tree < 0)
		log_info("sandbox: %s does not remain reachable: %s", dir,
			 strerror(errno));
	else
		log_info("sandbox: what remains reachable: %s", dir);
	close(file->dir_fd);
	file->dir_fd = tree;
}

/* -- the root directory ---------------------------------------------------- */

static const char *change_root(void)
{
	static const unsigned long flags =
		MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *failed = NULL;

	if (old < 0)
		return "open /";
	/* It covers the old root, from where only ".." finds it. */
	if (mount("mote", "/", "tmpfs", flags, "size=4k,mode=555"))
		failed = "mount a tmpfs";
	else if (chdir("/.."))
		failed = "chdir";
	else if (syscall(SYS_pivot_root, ".", "."))
		failed = chroot(".") ? "chroot" : NULL;
	else if (fchdir(old) || umount2(".", MNT_DETACH) || chdir("/"))
		failed = "detach the old root";
	close(old);
	return failed;
}

bool jail_root(const struct jail_options *o)
{
	const char *failed = NULL;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		failed = "make mounts private";
	for (size_t i = 0; i < ARRAY_LEN(o->sockets) && !failed; i++)
		if (o->sockets[i] && o->sockets[i]->dir_fd >= 0)
			cut_out(o->sockets[i]);
	if (!failed)
		failed = change_root();
	if (failed)
		log_info("sandbox: the root directory stays: cannot %s: %s",
			 failed, strerror(errno));
	else
		log_info("sandbox: the root directory is empty and read-only");
	return !failed;
}
