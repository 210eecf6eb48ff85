/*
 * File systems: the kernel's own, the root disk, and what is done for the
 * disks' sake before the power goes off.
 *
 * Which file system the disk has is seen from the disk: trying one after the
 * other would have each that it is not complain on the console. A root that
 * cannot be written to gets a tmpfs over it, so that programs find the writable
 * system that they expect; what they write is gone afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "boot/init/init.h"
#include "boot/init/sys.h"

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
	/* the root's own directory, so not before that is there */
	{ "/tmp", "tmpfs", "mode=1777", MS_NOSUID | MS_NODEV },
};
#define MOVED 3u /* the first of them go over to the root disk */
#define EARLY 5u

static void mount_fs(const struct kernel_fs *fs)
{
	sys_mkdir(fs->path);
	sys_mount(fs->type, fs->path, fs->type, fs->flags, fs->data);
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
		mount_fs(&kernel_fs[i]);
	for (unsigned i = 0; i < sizeof(links) / sizeof(*links); i++)
		SYS_2(symlink, links[i][0], links[i][1]);
}

/* -- which file system ---------------------------------------------------- */

static const struct magic {
	const char *type;
	uint32_t at;
	const char *bytes;
} magics[] = {
	{ "ext4", 0x438, "\x53\xef" },
	{ "erofs", 0x400, "\xe2\xe1\xf5\xe0" },
	{ "squashfs", 0, "hsqs" },
	{ "xfs", 0, "XFSB" },
	{ "btrfs", 0x10040, "_BHRfS_M" },
	{ "f2fs", 0x400, "\x10\x20\xf5\xf2" },
	{ "iso9660", 0x8001, "CD001" },
};

static const char *find_type(const char *device)
{
	const char *type = text_word("rootfstype");
	int fd = sys_open(device, O_RDONLY | O_CLOEXEC);
	char bytes[8];
	size_t len;

	if (fd < 0)
		init_fail("cannot open the root disk", device, fd);
	for (size_t i = 0; i < sizeof(magics) / sizeof(*magics) && !type; i++) {
		len = text_len(magics[i].bytes);
		if (SYS_4(pread64, fd, bytes, len, magics[i].at) == (long)len &&
		    !memcmp(bytes, magics[i].bytes, len))
			type = magics[i].type;
	}
	sys_close(fd);
	if (!type)
		init_fail("no file system that is known here is on the root "
			  "disk",
			  device, 0);
	return type;
}

/* Loads the file system's module where the kernel does not know it. */
static long mount_type(const char *source, const char *target, const char *type,
		       unsigned long flags, const char *data)
{
	long result = sys_mount(source, target, type, flags, data);

	if (result == -ENODEV) {
		modules_load(type);
		result = sys_mount(source, target, type, flags, data);
	}
	return result;
}

/* -- the root disk -------------------------------------------------------- */

static void await(const char *device)
{
	for (int ms = 0; SYS_2(access, device, 0) < 0; ms += STEP_MS) {
		if (ms >= WAIT_MS)
			init_fail("there is no such disk (has the initrd the "
				  "kernel's modules virtio_mmio and "
				  "virtio_blk?)",
				  device, 0);
		sys_sleep_ms(STEP_MS);
	}
}

static void mount_disk(const char *device)
{
	const char *type = find_type(device);
	const char *data = text_word("rootflags");
	unsigned long flags = MS_RDONLY;
	long result;

	if (text_word("rw") && !text_word("ro"))
		flags = 0;
	sys_mkdir(DISK);
	result = mount_type(device, DISK, type, flags, data);
	if (!flags && (result == -EACCES || result == -EROFS))
		result = mount_type(device, DISK, type, MS_RDONLY, data);
	if (result < 0)
		init_fail("cannot mount the root disk, as", type, result);
}

/* Where the root is to be found: the disk, or a tmpfs over it. */
static const char *writable(void)
{
	struct statfs status = { .f_flags = 0 };
	long result;

	if (SYS_2(statfs, DISK, &status) || !(status.f_flags & ST_RDONLY))
		return DISK;
	sys_mkdir(TMPFS);
	sys_mkdir(OVER);
	result = sys_mount("tmpfs", TMPFS, "tmpfs", 0, "mode=0755");
	sys_mkdir(TMPFS "/upper");
	sys_mkdir(TMPFS "/work");
	if (!result)
		result = mount_type("overlay", OVER, "overlay", 0,
				    "lowerdir=" DISK ",upperdir=" TMPFS
				    "/upper,workdir=" TMPFS "/work");
	if (!result)
		return OVER;
	init_note("the root disk stays read-only: no overlayfs", NULL, result);
	return DISK;
}

/*
 * What the initrd brought is memory that nobody needs any more. Only what is
 * in its own file system; the directory is the current one.
 */
static void empty(uint64_t device)
{
	struct names names;
	struct stat status = { .st_dev = 0 };
	const char *name;

	if (!names_open(&names, "."))
		return;
	while ((name = names_next(&names))) {
		if (SYS_2(lstat, name, &status) || status.st_dev != device)
			continue;
		if (!S_ISDIR(status.st_mode)) {
			SYS_1(unlink, name);
		} else if (!SYS_1(chdir, name)) {
			empty(device);
			SYS_1(chdir, "..");
			SYS_1(rmdir, name);
		}
	}
}

static void go_over(const char *root)
{
	struct stat status = { .st_dev = 0 };

	for (unsigned i = 0; i < MOVED; i++) {
		struct text path = { .len = 0 };

		text_add(text_add(&path, root), kernel_fs[i].path);
		sys_mkdir(path.bytes);
		if (sys_mount(kernel_fs[i].path, path.bytes, NULL, MS_MOVE,
			      NULL))
			init_note("the root disk has no directory",
				  kernel_fs[i].path, 0);
	}
	SYS_1(chdir, "/");
	if (!SYS_2(stat, "/", &status))
		empty(status.st_dev);
	SYS_1(chdir, root);
	if (sys_mount(".", "/", NULL, MS_MOVE, NULL) || SYS_1(chroot, "."))
		init_fail("cannot go over to the root disk", NULL, 0);
	SYS_1(chdir, "/");
}

void root_enter(void)
{
	const char *device = text_word("root");

	if (device && *device) {
		if (!text_after(device, "/dev/"))
			init_fail("root= is to be /dev/NAME, not", device, 0);
		await(device);
		mount_disk(device);
		go_over(writable());
	}
	mount_fs(&kernel_fs[EARLY]);
}

/* What stays mounted is made read-only, so that its journal is clean. */
static void leave(const char *path, bool apart)
{
	const long pid = apart ? SYS_0(fork) : -1;

	if (pid > 0)
		return;
	if (!path)
		SYS_0(sync);
	else if (SYS_2(umount2, path, 0))
		sys_mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL);
	if (!pid)
		sys_exit();
}

void root_leave(bool apart)
{
	static char mounts[8192];
	long len = text_read("/proc/self/mounts", mounts, sizeof(mounts));
	char *at, *end;

	leave(NULL, apart);
	/* The last first: what is mounted in another is behind it. Apart they
	 * may find it busy yet: then it is made read-only. */
	for (end = mounts + (len > 0 ? len : 0); end > mounts; end = at) {
		for (at = end - 1; at > mounts && at[-1] != '\n'; at--)
			if (at[-1] == ' ')
				at[-1] = 0;
		if (!text_after(at, "/dev/"))
			continue;
		leave(at + text_len(at) + 1, apart);
	}
	while (apart && SYS_4(wait4, -1, NULL, 0, NULL) > 0)
		;
}

/* The fields of reads, writes, discards and flushes that are over (proc(5)). */
unsigned long root_done(void)
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
