/*
 * Loads kernel modules, as modprobe would: what a module needs first. There is
 * no search by aliases: the handful of names is known.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "boot/init/init.h"
#include "boot/init/sys.h"

#define COMPRESSED_FILE 4 /* finit_module(2): the kernel decompresses */

static struct text dir; /* "/lib/modules/RELEASE/" */
static const char *dep; /* modules.dep, whole */
static const char none[1];

static const char *read_whole(const char *path)
{
	struct stat status = { .st_size = 0 };
	long at;

	if (SYS_2(stat, path, &status))
		return none;
	at = SYS_1(brk, 0);
	if (SYS_1(brk, at + status.st_size + 1) < at + status.st_size + 1)
		return none;
	text_read(path, (char *)at, (size_t)status.st_size + 1);
	return (const char *)at;
}

static void open_dep(void)
{
	struct utsname name;
	struct text path;

	if (dep)
		return;
	SYS_1(uname, &name);
	dir.len = path.len = 0;
	text_add(text_add(text_add(&dir, "/lib/modules/"), name.release), "/");
	text_add(text_add(&path, dir.bytes), "modules.dep");
	dep = read_whole(path.bytes);
}

/* Does the path up to `end` name that module? '-' and '_' are the same. */
static bool names_module(const char *path, const char *end, const char *name)
{
	const char *base = path;

	for (const char *at = path; at < end; at++)
		if (*at == '/')
			base = at + 1;
	for (; *name && base < end; name++, base++)
		if (*name != *base && !(*name == '_' && *base == '-'))
			return false;
	return !*name && end - base >= 3 && text_after(base, ".ko");
}

static void insert(const char *path, size_t len)
{
	struct text file = { .len = 0 };
	long result;
	int fd;

	text_add(&file, dir.bytes);
	if (file.len + len >= sizeof(file.bytes))
		return;
	memcpy(file.bytes + file.len, path, len);
	file.bytes[file.len + len] = 0;
	fd = sys_open(file.bytes, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* what needs it says so */
	result = SYS_3(finit_module, fd, "",
		       path[len - 1] == 'o' && path[len - 2] == 'k'
			       ? 0
			       : COMPRESSED_FILE);
	if (result < 0 && result != -EEXIST)
		init_note("cannot load", file.bytes, result);
	sys_close(fd);
}

/* "PATH: PATH...\n": what it needs stands behind it, the first need last. */
static void insert_line(const char *line)
{
	const char *end = line, *at;

	while (*end && *end != '\n')
		end++;
	for (at = end; at > line; at = end) {
		while (at > line && at[-1] != ' ')
			at--;
		if (end > at)
			insert(at,
			       (size_t)(end - at) - (end[-1] == ':' ? 1 : 0));
		end = at > line ? at - 1 : at;
	}
}

void modules_load(const char *name)
{
	const char *line, *end;

	open_dep();
	for (line = dep; *line; line = end) {
		for (end = line; *end && *end != ':' && *end != '\n'; end++)
			;
		if (names_module(line, end, name)) {
			insert_line(line);
			return;
		}
		while (*end && *end++ != '\n')
			;
	}
}

/* virtio 1.2, 5: device IDs */
static const struct {
	const char *id, *module;
} drivers[] = {
	{ "0x0001", "virtio_net" },
	{ "0x0002", "virtio_blk" },
	{ "0x0013", "vmw_vsock_virtio_transport" },
};

void modules_load_drivers(void)
{
	struct names devices;
	const char *name;
	char id[16];

	modules_load("virtio_mmio");
	if (!names_open(&devices, "/sys/bus/virtio/devices"))
		return;
	while ((name = names_next(&devices))) {
		struct text path = { .len = 0 };

		text_add(&path, "/sys/bus/virtio/devices/");
		text_add(text_add(&path, name), "/device");
		text_read(path.bytes, id, sizeof(id));
		for (size_t i = 0; i < sizeof(drivers) / sizeof(*drivers); i++)
			if (text_after(id, drivers[i].id))
				modules_load(drivers[i].module);
	}
}
