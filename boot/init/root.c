/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drivers and file systems: the kernel's own, the root disk, and what is done
 * for the disks' sake before the power goes off.
 *
 * A root that cannot be written to gets a tmpfs over it, so that programs find
 * the writable system that they expect; what they write is gone afterwards.
 */
#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "boot/init/init.h"

#define DIR   "/.mote/"
#define DISK  DIR "disk"
#define OVER  DIR "over"
#define TMPFS DIR "tmpfs"

#define WAIT_MS 2000 /* for the disk's driver */
#define STEP_MS 5

static const struct kernel_fs {
	const char *path, *type, *data;
	unsigned long flags;
} kernel_fs[] = {
	{ "/proc", "proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "/sys", "sysfs", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "/dev", "devtmpfs", "mode=0755", MS_NOSUID },
	{ "/dev/pts", "devpts", "mode=0620,gid=5,ptmxmode=0666",
	  MS_NOSUID | MS_NOEXEC },
	{ "/dev/shm", "tmpfs", "mode=1777", MS_NOSUID | MS_NODEV },
	{ "/dev/mqueue", "mqueue", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "/sys/fs/cgroup", "cgroup2", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	/* the root's own directories, so not before that is there */
	{ "/run", "tmpfs", "mode=0755", MS_NOSUID | MS_NODEV },
	{ "/tmp", "tmpfs", "mode=1777", MS_NOSUID | MS_NODEV },
};
#define MOVED 3u /* the first of them go over to the root disk */
#define EARLY 7u
#define RUN   7u
#define TMP   8u

static void root_mount_fs(const struct kernel_fs *fs)
{
	SYS(mkdir, fs->path, 0755);
	SYS(mount, fs->type, fs->path, fs->type, fs->flags, fs->data);
}

void root_mount_kernel(void)
{
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" },
		{ "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" },
		{ "/proc/self/fd/2", "/dev/stderr" },
	};

	for (unsigned i = 0; i < EARLY; i++)
		root_mount_fs(&kernel_fs[i]);
	for (unsigned i = 0; i < sizeof(links) / sizeof(*links); i++)
		SYS(symlink, links[i][0], links[i][1]);
}

/* -- drivers -------------------------------------------------------------- */

/* virtio 1.2, 5: device IDs */
static const struct virtio_driver {
	const char *id, *module;
} virtio_drivers[] = {
	{ "0x0001", "virtio_net" },
	{ "0x0002", "virtio_blk" },
	{ "0x0013", "vmw_vsock_virtio_transport" },
	{ NULL, NULL },
};

void root_load_drivers(void)
{
	struct names devices;
	const char *name;
	char id[16];

	module_load("virtio_mmio");
	if (!names_open(&devices, "/sys/bus/virtio/devices"))
		return;
	while ((name = names_next(&devices))) {
		struct text path = { .len = 0 };

		text_add(&path, "/sys/bus/virtio/devices/");
		text_add(text_add(&path, name), "/device");
		text_read(path.bytes, id, sizeof(id));
		for (const struct virtio_driver *d = virtio_drivers; d->id; d++)
			if (text_after(id, d->id))
				module_load(d->module);
	}
}

/* -- the root disk -------------------------------------------------------- */

static void root_mount_disk(const char *device)
{
	const bool rw = text_word("rw") && !text_word("ro");
	const unsigned long flags = rw ? 0 : MS_RDONLY;
	const char *type, *data = text_word("rootflags");
	long result;

	for (int ms = 0; SYS(access, device, 0) < 0; ms += STEP_MS) {
		if (ms >= WAIT_MS)
			stream_fail("there is no such disk (has the initrd the "
				    "kernel's modules virtio_mmio and "
				    "virtio_blk?)",
				    device, 0);
		sys_sleep_ms(STEP_MS);
	}
	type = text_word("rootfstype");
	if (!type)
		type = disk_type(device);
	if (!type)
		stream_fail("no file system that is known here is on the root "
			    "disk",
			    device, 0);
	SYS(mkdir, DISK, 0755);
	result = module_mount(device, DISK, type, flags, data);
	if (rw && (result == -EACCES || result == -EROFS))
		result = module_mount(device, DISK, type, MS_RDONLY, data);
	if (result < 0)
		stream_fail("cannot mount the root disk, as", type, result);
}

/* Where the root is to be found: the disk, or a tmpfs over it. */
static const char *root_make_writable(void)
{
	struct statfs status = { .f_flags = 0 };
	long result;

	if (SYS(statfs, DISK, &status) || !(status.f_flags & ST_RDONLY))
		return DISK;
	SYS(mkdir, TMPFS, 0755);
	SYS(mkdir, OVER, 0755);
	result = SYS(mount, "tmpfs", TMPFS, "tmpfs", 0, "mode=0755");
	SYS(mkdir, TMPFS "/upper", 0755);
	SYS(mkdir, TMPFS "/work", 0755);
	if (!result)
		result = module_mount("overlay", OVER, "overlay", 0,
				      "lowerdir=" DISK ",upperdir=" TMPFS
				      "/upper,workdir=" TMPFS "/work");
	if (!result)
		return OVER;
	stream_note("the root disk stays read-only: no overlayfs", NULL,
		    result);
	return DISK;
}

/*
 * What the initrd brought is memory that nobody needs any more, but for modules
 * that are kept. Only what is in its own file system; the directory is the
 * current one.
 */
static void root_empty(uint64_t device)
{
	struct names names;
	struct stat status = { .st_dev = 0 };
	const char *name;

	if (!names_open(&names, "."))
		return;
	while ((name = names_next(&names))) {
		if (SYS(lstat, name, &status) || status.st_dev != device ||
		    module_keeps(status.st_ino))
			continue;
		if (!S_ISDIR(status.st_mode)) {
			SYS(unlink, name);
		} else if (!SYS(chdir, name)) {
			root_empty(device);
			SYS(chdir, "..");
			SYS(rmdir, name);
		}
	}
}

/* What switch_root does: the disk becomes /, the initrd's files are gone. */
static void root_switch(const char *root)
{
	struct stat status = { .st_dev = 0 };

	for (unsigned i = 0; i < MOVED; i++) {
		struct text path = { .len = 0 };

		text_add(text_add(&path, root), kernel_fs[i].path);
		SYS(mkdir, path.bytes, 0755);
		if (SYS(mount, kernel_fs[i].path, path.bytes, NULL, MS_MOVE,
			NULL))
			stream_note("the root disk has no directory",
				    kernel_fs[i].path, 0);
	}
	SYS(chdir, "/");
	if (!SYS(stat, "/", &status))
		root_empty(status.st_dev);
	SYS(chdir, root);
	if (SYS(mount, ".", "/", NULL, MS_MOVE, NULL) || SYS(chroot, "."))
		stream_fail("cannot go over to the root disk", NULL, 0);
	SYS(chdir, "/");
}

/* For all users, as no mode of mkdir's is: that is what the umask leaves. */
static void root_make_public(const char *path)
{
	if (!SYS(mkdir, path, 0777))
		SYS(chmod, path, 01777);
}

/* Temporary files are on the disk where that is written to: it has room. */
void root_enter(void)
{
	const char *device = text_word("root"), *root = NULL;
	struct statfs status = { .f_flags = ST_RDONLY };

	if (device && *device) {
		root_mount_disk(disk_resolve(device));
		root = root_make_writable();
		if (text_same(root, DISK))
			SYS(statfs, root, &status);
		module_keep(root);
		root_switch(root);
	}
	root_mount_fs(&kernel_fs[RUN]);
	root_make_public("/run/lock");
	if (status.f_flags & ST_RDONLY)
		root_mount_fs(&kernel_fs[TMP]);
	else
		root_make_public("/tmp");
	module_offer(!(status.f_flags & ST_RDONLY));
}

/* What stays mounted is made read-only, so that its journal is clean. */
static void root_unmount(const char *path, bool apart)
{
	const long pid = apart ? SYS(fork, 0) : -1;

	if (pid > 0)
		return;
	if (!path)
		SYS(sync, 0);
	else if (SYS(umount2, path, 0))
		SYS(mount, NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL);
	if (!pid)
		sys_exit();
}

void root_leave(bool apart)
{
	static char mounts[65536]; /* a container is a line or two */
	long len = text_read("/proc/self/mounts", mounts, sizeof(mounts));
	char *at, *end;

	root_unmount(NULL, apart);
	/* The last first: what is mounted in another is behind it. Apart they
	 * may find it busy yet: then it is made read-only. */
	for (end = mounts + (len > 0 ? len : 0); end > mounts; end = at) {
		for (at = end - 1; at > mounts && at[-1] != '\n'; at--)
			if (at[-1] == ' ')
				at[-1] = 0;
		if (!text_after(at, "/dev/"))
			continue;
		root_unmount(at + text_len(at) + 1, apart);
	}
	while (apart && SYS(wait4, -1, NULL, 0, NULL) > 0)
		;
}

/* The fields of reads, writes, discards and flushes that are over (proc(5)). */
unsigned long root_operations(void)
{
	static const unsigned completed =
		1U << 4 | 1U << 8 | 1U << 15 | 1U << 19;
	static char stats[8192];
	unsigned long sum = 0, number = 0;
	unsigned field = 0;

	text_read("/proc/diskstats", stats, sizeof(stats));
	for (const char *at = stats; *at; at++) {
		if (*at > ' ') {
			number = number * 10 + (unsigned char)*at - '0';
			continue;
		}
		if (at > stats && at[-1] > ' ' && ++field < 32 &&
		    completed >> field & 1)
			sum += number;
		number = 0;
		if (*at == '\n')
			field = 0;
	}
	return sum;
}
