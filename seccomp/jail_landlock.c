/*
 * Landlock (Documentation/userspace-api/landlock.rst): takes the rights to
 * files, to TCP and to other processes from this process itself, which takes
 * no privilege. It holds where there are no namespaces, and where there are, it
 * holds once more.
 *
 * What is open stays open, with all its rights: they hang on the descriptor.
 * One right remains, to remove files below the sockets' directories. (To
 * connect to a socket by its path is none of Landlock's rights.)
 *
 * Owns nothing. Main thread, the only one then; later ones inherit it.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"
#include "seccomp/jail_parts.h"

/* linux/landlock.h of the build host may be older than the kernel. */
#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH      1
#define FS_REMOVE_FILE	       (1ULL << 5)

struct ruleset {
	uint64_t fs, net, scoped;
};

struct path_beneath {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

/* All rights that a version of the interface knows. */
static const struct ruleset versions[] = {
	{ 0, 0, 0 },	  { 0x1fff, 0, 0 }, /* Linux 5.13 */
	{ 0x3fff, 0, 0 }, /* 5.19: to link and rename elsewhere */
	{ 0x7fff, 0, 0 }, /* 6.2: to truncate */
	{ 0x7fff, 3, 0 }, /* 6.7: TCP */
	{ 0xffff, 3, 0 }, /* 6.10: ioctl of devices */
	{ 0xffff, 3, 3 }, /* 6.12: abstract unix sockets, signals */
};

static long create_ruleset(const struct ruleset *rules, size_t size,
			   unsigned flags)
{
	return syscall(SYS_landlock_create_ruleset, rules, size, flags);
}

/* Where that fails the file stays, and the next one replaces it. */
static void allow_removal(int ruleset, const struct jail_options *o)
{
	for (size_t i = 0; i < ARRAY_LEN(o->sockets); i++) {
		struct path_beneath rule = { .allowed = FS_REMOVE_FILE };

		if (!o->sockets[i] || !unixsock_is_ours(o->sockets[i]))
			continue;
		rule.parent_fd = o->sockets[i]->dir_fd;
		syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH,
			&rule, 0);
	}
}

int jail_landlock(const struct jail_options *o)
{
	const long newest = ARRAY_LEN(versions) - 1;
	long version = create_ruleset(NULL, 0, CREATE_RULESET_VERSION);
	int ruleset = -1;
	bool held = false;

	if (version > 0) {
		const struct ruleset *rules =
			&versions[version < newest ? version : newest];

		ruleset = (int)create_ruleset(rules, sizeof(*rules), 0);
	}
	if (ruleset >= 0) {
		allow_removal(ruleset, o);
		held = !syscall(SYS_landlock_restrict_self, ruleset, 0);
	}
	if (held)
		log_info("sandbox: Landlock, version %ld: no files%s%s",
			 version, version >= 4 ? ", no TCP" : "",
			 version >= 6 ? ", no other processes" : "");
	else
		log_info("sandbox: no Landlock: %s", strerror(errno));
	if (ruleset >= 0)
		close(ruleset);
	return held ? (int)version : 0;
}
