/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names: the machine's own in /etc/hosts, the servers of others in
 * /etc/resolv.conf.
 *
 * The root's own files are never written to: they may be on somebody's disk.
 * Files in the guest's memory lie over them, as in a container, bound there.
 * What a file is to be bound over has to be there. Where it is not, it is made
 * if that is in memory, too: in the initrd, in the tmpfs over a root that is
 * read-only, in /run, where links like Debian's lead (../run/systemd/resolve/
 * stub-resolv.conf). On a disk that is written to, no file is made.
 *
 * Several processes know of servers, one for each interface with DHCP (dhcp.c):
 * each has a part of memory that they share, and the process that has changed
 * its part writes the whole file again.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "boot/init/init.h"

#define HOSTS  "hosts"
#define RESOLV "resolv.conf"
#define LINKS  8u /* that lead to each other */

static struct resolve_part *resolve_parts;

/* -- a file over another --------------------------------------------------- */

/* Is what is written there gone with the guest? A root that is an overlay has
 * its upper half in memory (root.c). */
static bool resolve_forgets(const char *dir)
{
	static const long memory[] = { 0x01021994 /* tmpfs */,
				       0x858458f6 /* ramfs */,
				       0x794c7630 /* overlay */ };
	struct statfs status = { .f_type = 0 };
	bool forgets = false;

	if (SYS(statfs, dir, &status))
		return false;
	for (unsigned i = 0; i < sizeof(memory) / sizeof(*memory); i++)
		forgets |= status.f_type == memory[i];
	return forgets;
}

/* Makes the directories of `path`, which is left with the last one's end. */
static bool resolve_make_dirs(char *path)
{
	char *slash = path;

	for (char *at = path + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = 0;
		if (SYS(access, path, 0)) {
			*slash = 0;
			if (!resolve_forgets(slash == path ? "/" : path))
				return false;
			*slash = '/';
			if (SYS(mkdir, path, 0755))
				return false;
		}
		*at = '/';
		slash = at;
	}
	*slash = 0;
	return resolve_forgets(slash == path ? "/" : path);
}

/* An empty file, where `path` is, or leads to by links that lead nowhere. */
static bool resolve_make(const char *path)
{
	struct text at = { .len = 0 }, dir;
	char link[256];
	long len;
	int fd;

	text_add(&at, path);
	for (unsigned i = 0; i < LINKS; i++) {
		len = SYS(readlink, at.bytes, link, sizeof(link) - 1);
		if (len <= 0)
			break;
		link[len] = 0;
		while (at.len && at.bytes[at.len - 1] != '/')
			at.len--;
		if (*link == '/')
			at.len = 0;
		text_add(&at, link);
	}
	dir = at;
	if (!resolve_make_dirs(dir.bytes))
		return false;
	fd = (int)SYS(open, at.bytes,
		      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		      0644);
	SYS(close, fd);
	return fd >= 0;
}

/* The file in memory: in /run, or in /dev, where the root has no /run. */
static int resolve_create(const char *name, struct text *path)
{
	static const char *const places[] = { "/run/", "/dev/" };

	for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++) {
		path->len = 0;
		text_add(text_add(path, places[i]), name);
		if (resolve_forgets(places[i]))
			return (int)SYS(open, path->bytes,
					O_WRONLY | O_CREAT | O_TRUNC |
						O_NOFOLLOW | O_CLOEXEC,
					0644);
	}
	return -EROFS;
}

/*
 * Binds what was just written over /etc/NAME, if it is not there yet. That may
 * be a link to anything; over /dev/null it is not for all others to see.
 */
static bool resolve_cover(const char *name, const char *from)
{
	struct text target = { .len = 0 };
	struct stat a = { .st_ino = 0 }, b = { .st_ino = 0 };
	const char *to = text_add(text_add(&target, "/etc/"), name)->bytes;

	if (SYS(access, to, 0) && !resolve_make(to))
		return false;
	SYS(stat, from, &a);
	SYS(stat, to, &b);
	if (a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return true;
	return S_ISREG(b.st_mode) && !SYS(mount, from, to, NULL, MS_BIND, NULL);
}

/* -- the machine's own name ------------------------------------------------ */

/* Is it a word of a file like /etc/hosts? A comment's do not count. */
static bool resolve_has_name(const char *hosts, const char *name)
{
	while (*hosts) {
		const char *rest = text_after(hosts, name);

		if (rest && (*rest <= ' ' || *rest == '#'))
			return true;
		while (*hosts > ' ' && *hosts != '#')
			hosts++;
		if (*hosts == '#')
			while (*hosts && *hosts != '\n')
				hosts++;
		while (*hosts && *hosts <= ' ')
			hosts++;
	}
	return false;
}

/* A machine finds itself by its name, unless /etc/hosts cannot say so. */
void resolve_set_name(const char *name, const char *address)
{
	struct text line = { .len = 0 }, path;
	size_t len;
	const char *hosts = text_load("/etc/" HOSTS, &len);
	int fd;

	if (resolve_has_name(hosts, name))
		return;
	if (!len)
		text_add(&line, "127.0.0.1\tlocalhost\n::1\tlocalhost\n");
	text_add(text_add(&line, address), "\t");
	text_add(text_add(&line, name), "\n");
	fd = resolve_create(HOSTS, &path);
	if (fd < 0)
		return;
	SYS(write, fd, line.bytes, line.len);
	SYS(write, fd, hosts, len);
	SYS(close, fd);
	resolve_cover(HOSTS, path.bytes);
}

/* -- servers --------------------------------------------------------------- */

struct resolve_part *resolve_part(unsigned i)
{
	const size_t size = RESOLVE_PARTS * sizeof(struct resolve_part);
	long at;

	if (!resolve_parts) {
		at = SYS6(mmap, NULL, size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (at < 0)
			stream_fail("no memory for the network", NULL, at);
		resolve_parts = (struct resolve_part *)at;
	}
	return &resolve_parts[i];
}

static void resolve_add_servers(struct text *text, unsigned *count,
				const char server[RESOLVE_SERVERS][64])
{
	for (unsigned n = 0; n < RESOLVE_SERVERS; n++)
		if (server[n][0] && (*count)++ < RESOLVE_SERVERS)
			text_add(text_add(text_add(text, "nameserver "),
					  server[n]),
				 "\n");
}

bool resolve_write(void)
{
	/* A guest that was restored may have none, and not those of before. */
	static bool written;
	struct text text = { .len = 0 }, path;
	unsigned servers = 0;
	bool search = false;
	int fd;

	for (unsigned i = 0; resolve_parts && i < RESOLVE_PARTS; i++) {
		const struct resolve_part *part = &resolve_parts[i];

		if (part->search[0] && !search)
			text_add(text_add(text_add(&text, "search "),
					  part->search),
				 "\n");
		search |= part->search[0] != 0;
		resolve_add_servers(&text, &servers, part->server);
	}
	for (unsigned i = 0; resolve_parts && i < RESOLVE_PARTS; i++)
		resolve_add_servers(&text, &servers, resolve_parts[i].router);
	written |= text.len != 0;
	fd = written ? resolve_create(RESOLV, &path) : -1;
	if (fd < 0)
		return !text.len;
	SYS(write, fd, text.bytes, text.len);
	SYS(close, fd);
	return resolve_cover(RESOLV, path.bytes);
}
