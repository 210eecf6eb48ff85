/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules of the kernel, which the initrd has brought in /lib/modules/RELEASE.
 *
 * They are loaded as modprobe would: what a module needs first, as modules.dep
 * says. init loads by name the few that it knows to be needed. All others the
 * kernel asks for, once they are: a file system that is mounted, a device that
 * is opened, a kind of interface that is made. It asks by starting a program,
 * and that is this one: few images have a modprobe. The kernel's words are
 * aliases, which modules.alias has (depmod(8)).
 *
 * A root disk has the modules of its own kernel, if any, and seldom those of
 * the one that mote was given. Then the initrd's stay where they are, in
 * memory, and process 1 keeps that directory open: that is where they are
 * found, whatever is mounted over what. For programs they are in /lib/modules,
 * too, as far as that takes no directory which a disk would keep.
 */
#include <errno.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "boot/init/init.h"

#define MODULES	 "/lib/modules"
#define KEPT_FD	 99
#define KEPT	 "/proc/self/fd/99" /* for process 1; for others: */
#define KEPT_BY	 "/proc/1/fd/99"
#define SELF	 "/proc/1/exe"
#define MODPROBE "/sbin/modprobe" /* what the kernel starts else */
#define ASK_PATH "/proc/sys/kernel/modprobe"

#define COMPRESSED_FILE 4 /* finit_module(2): the kernel decompresses */

static struct {
	struct text dir; /* "/lib/modules/RELEASE/" */
	const char *dep; /* modules.dep, whole; "" where there is none */
	uint64_t kept;	 /* inode of what is to stay of the initrd */
	bool serves;	 /* the kernel, and says nothing */
} module;

/* -- by name -------------------------------------------------------------- */

static bool same_letter(char a, char b)
{
	return (a == '-' ? '_' : a) == (b == '-' ? '_' : b);
}

/* Does the path up to `end` name that module? '-' and '_' are the same. */
static bool module_is_named(const char *path, const char *end, const char *name,
			    size_t len)
{
	const char *base = path;

	for (const char *at = path; at < end; at++)
		if (*at == '/')
			base = at + 1;
	for (; len && base < end; len--)
		if (!same_letter(*base++, *name++))
			return false;
	return !len && end - base >= 3 && text_after(base, ".ko");
}

/* The module of a path under /lib/modules/RELEASE/; true: it is there now. */
static bool module_insert(const char *path, size_t len)
{
	struct text file = module.dir;
	const bool plain = path[len - 1] == 'o' && path[len - 2] == 'k';
	long result;
	int fd;

	if (file.len + len >= sizeof(file.bytes))
		return false;
	memcpy(file.bytes + file.len, path, len);
	file.bytes[file.len + len] = 0;
	fd = sys_open(file.bytes, O_RDONLY);
	if (fd < 0)
		return false; /* what needs it says so */
	result = SYS(finit_module, fd, "", plain ? 0 : COMPRESSED_FILE);
	if (result < 0 && result != -EEXIST && !module.serves)
		stream_note("cannot load", file.bytes, result);
	SYS(close, fd);
	return !result || result == -EEXIST;
}

/* "PATH: PATH...\n": what it needs stands behind it, the first need last. */
static bool module_insert_line(const char *line)
{
	const char *end = line, *at;
	bool there = false;

	while (*end && *end != '\n')
		end++;
	for (; end > line; end = at > line ? at - 1 : at) {
		for (at = end; at > line && at[-1] != ' '; at--)
			;
		if (end > at)
			there = module_insert(at,
					      (size_t)(end - at) -
						      (end[-1] == ':' ? 1 : 0));
	}
	return there;
}

static const char *line_after(const char *at)
{
	while (*at && *at++ != '\n')
		;
	return at;
}

/* Its line of modules.dep; NULL where there is none. */
static const char *module_line(const char *name, size_t len)
{
	const char *end;

	for (const char *line = module.dep; *line; line = line_after(end)) {
		for (end = line; *end && *end != ':' && *end != '\n'; end++)
			;
		if (module_is_named(line, end, name, len))
			return line;
	}
	return NULL;
}

static bool module_load_named(const char *name, size_t len)
{
	const char *line = module_line(name, len);

	return line && module_insert_line(line);
}

/* What one of the files that depmod made says; "" where it is not there. */
static const char *module_text(const char *file)
{
	struct text path = module.dir;
	size_t len;

	return text_load(text_add(&path, file)->bytes, &len);
}

/* PARENT/RELEASE/ is where the modules are; false: they are not. */
static bool module_find(const char *parent)
{
	struct utsname kernel;

	module.dir.len = 0;
	SYS(uname, &kernel);
	text_add(text_add(&module.dir, parent), "/");
	text_add(text_add(&module.dir, kernel.release), "/");
	module.dep = module_text("modules.dep");
	return *module.dep;
}

/* Who answers the kernel when it asks for a module. */
static void module_set_server(const char *path)
{
	int fd = sys_open(ASK_PATH, O_WRONLY);

	SYS(write, fd, path, text_len(path));
	SYS(close, fd);
}

void module_load(const char *name)
{
	if (!module.dep && module_find(MODULES))
		module_set_server(SELF);
	module_load_named(name, text_len(name));
}

long module_mount(const char *source, const char *target, const char *type,
		  unsigned long flags, const char *data)
{
	long result = SYS(mount, source, target, type, flags, data);

	if (result == -ENODEV) {
		module_load(type);
		result = SYS(mount, source, target, type, flags, data);
	}
	return result;
}

/* -- by what the kernel asks for ------------------------------------------ */

/* fnmatch(3), but for sets: those are in aliases of hardware alone. */
static bool alias_matches(const char *pattern, const char *end,
			  const char *name)
{
	for (; pattern < end && *pattern != '*'; pattern++, name++)
		if (!*name ||
		    (*pattern != '?' && !same_letter(*pattern, *name)))
			return false;
	if (pattern == end)
		return !*name;
	for (; *name; name++)
		if (alias_matches(pattern + 1, end, name))
			return true;
	return alias_matches(pattern + 1, end, name);
}

/* The end of a word of a line. */
static const char *word_end(const char *at)
{
	while (*at && *at != ' ' && *at != '\n')
		at++;
	return at;
}

/* "alias PATTERN MODULE\n": all that match, as modprobe does. */
static bool module_load_aliases(const char *name)
{
	const char *line, *pattern, *end, *to;
	bool there = false;

	for (line = module_text("modules.alias"); *line;
	     line = line_after(line)) {
		pattern = text_after(line, "alias ");
		if (!pattern)
			continue;
		end = word_end(pattern);
		if (*end != ' ' || !alias_matches(pattern, end, name))
			continue;
		to = word_end(end + 1);
		there |= module_load_named(end + 1, (size_t)(to - end - 1));
	}
	return there;
}

/* By its own name, or else by what it is good for. */
static bool module_load_any(const char *name)
{
	const size_t len = text_len(name);

	return module_line(name, len) ? module_load_named(name, len)
				      : module_load_aliases(name);
}

/*
 * The kernel's words are "-q -- NAME" (kernel/kmod.c); those of a program that
 * asks the kernel who answers it, as iptables does, are "NAME -q". The kernel
 * complains if it is told that a file system is there which is not.
 */
void module_serve(char **argv)
{
	bool there = false;

	if (!text_same(argv[0], SELF))
		return;
	module.serves = true;
	if (module_find(KEPT_BY) || module_find(MODULES))
		while (*++argv)
			if (**argv != '-')
				there = module_load_any(*argv);
	for (;;)
		SYS(exit_group, !there);
}

/* -- on a root disk ------------------------------------------------------- */

/* A path on that disk, seen from there, whatever its links say. */
static bool root_has(const char *root, const char *path)
{
	const struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT,
	};
	int dir = sys_open(root, O_PATH | O_DIRECTORY);
	int fd = (int)SYS(openat2, dir, path, &how, sizeof(how));

	SYS(close, dir);
	SYS(close, fd);
	return fd >= 0;
}

void module_keep(const char *root)
{
	struct text path = module.dir;
	struct stat status = { .st_ino = 0 };
	int fd;

	if (!module.dep || !*module.dep ||
	    root_has(root, text_add(&path, "modules.dep")->bytes))
		return;
	fd = sys_open(MODULES, O_PATH | O_DIRECTORY);
	SYS(dup3, fd, KEPT_FD, O_CLOEXEC);
	SYS(close, fd);
	SYS(fstat, KEPT_FD, &status);
	module.kept = status.st_ino;
}

bool module_keeps(uint64_t inode)
{
	return inode == module.kept;
}

/*
 * Bound to a directory of its own; where a disk would have to keep that, over
 * all of /lib/modules, which then cannot be written to: what is installed there
 * must not seem to be.
 */
static void module_show(bool on_disk)
{
	struct text at = module.dir, from = { .len = 0 };

	text_add(text_add(&from, KEPT), module.dir.bytes + sizeof(MODULES) - 1);
	if (!on_disk) {
		SYS(mkdir, "/lib", 0755);
		SYS(mkdir, MODULES, 0755);
		SYS(mkdir, at.bytes, 0755);
	}
	module.dir = from;
	if (SYS(mount, from.bytes, at.bytes, NULL, MS_BIND, NULL))
		module_mount("overlay", MODULES, "overlay", MS_RDONLY,
			     "lowerdir=" KEPT ":" MODULES);
}

/*
 * "MODULE NAME cMAJOR:MINOR": nodes of drivers that are loaded when one opens
 * them. Those that any user may open have the modes that their drivers give.
 */
static void module_make_node(const char *line)
{
	struct text path = { .len = 0 };
	const char *at = word_end(line), *end = *at ? word_end(at + 1) : at;
	unsigned major, minor;
	char name[64] = "";
	bool any;

	if (*at != ' ' || *end != ' ' || (size_t)(end - at) > sizeof(name))
		return;
	memcpy(name, at + 1, (size_t)(end - at - 1));
	any = text_same(name, "fuse") || text_same(name, "net/tun");
	text_add(text_add(&path, "/dev/"), name);
	names_make_parents(path.bytes);
	at = end + 2;
	major = text_number(&at);
	at += *at == ':';
	minor = text_number(&at);
	SYS(mknod, path.bytes, (end[1] == 'b' ? S_IFBLK : S_IFCHR) | 0600,
	    major << 8 | (minor & 0xff) | (minor & ~0xffu) << 12);
	if (any)
		SYS(chmod, path.bytes, 0666);
}

void module_offer(bool on_disk)
{
	if (!module.dep || !*module.dep)
		return;
	if (module.kept)
		module_show(on_disk);
	else if (!SYS(access, MODPROBE, 0))
		module_set_server(MODPROBE);
	for (const char *line = module_text("modules.devname"); *line;
	     line = line_after(line))
		if (*line != '#')
			module_make_node(line);
}
