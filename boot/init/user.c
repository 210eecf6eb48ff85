/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom the command runs as: RUN_USER, "USER[:GROUP]", looked up in the root's
 * own /etc/passwd and /etc/group (passwd(5), group(5)), and what its
 * environment says of that user. As in a container: a number is a number and
 * needs no entry, without which its group is 0 and its home /; a group that is
 * given stands alone, without one come all that the user is a member of.
 *
 * Whoever made the image made these files. They are read once, a field at a
 * time: of any size and with lines of any length, they take no more memory than
 * a line's first fields. A field that is longer than its room is an empty one.
 */
#include <sys/stat.h>

#include "boot/init/init.h"

#define ID_NONE	   UINT32_MAX /* nobody's, to the kernel */
#define GROUPS_MAX 65536u     /* NGROUPS_MAX of linux/limits.h */

enum passwd_field { NAME, PASSWORD, UID, GID, GECOS, HOME, SHELL, FIELDS };
#define GROUP_GID 2 /* NAME:PASSWORD:GID:MEMBER,MEMBER... */

/* With "LOGNAME=" in front one fits into a struct text. */
typedef char user_field[480];

static uint32_t user_groups[GROUPS_MAX]; /* the first is the user's own */

/* -- a file of lines of fields -------------------------------------------- */

struct entries {
	int fd;
	long at, end;
	char bytes[1024];
};

/* A file that is none, or that is not there, has no entries. */
static void entries_open(struct entries *e, const char *dir, const char *name)
{
	struct stat status = { .st_mode = 0 };
	struct text path = { .len = 0 };

	text_add(text_add(&path, dir), name);
	*e = (struct entries){ .at = 0 };
	/* O_NONBLOCK: a FIFO must not keep init waiting. */
	e->fd = sys_open(path.bytes, O_RDONLY | O_NONBLOCK);
	if (e->fd >= 0 && !SYS(fstat, e->fd, &status) &&
	    S_ISREG(status.st_mode))
		return;
	SYS(close, e->fd);
	e->fd = -1;
}

/* -1: there is no more. */
static int entries_byte(struct entries *e)
{
	if (e->at >= e->end) {
		e->at = 0;
		e->end = SYS(read, e->fd, e->bytes, sizeof(e->bytes));
	}
	return e->end > 0 ? (uint8_t)e->bytes[e->at++] : -1;
}

/* Up to `mark` or the end of the line; which it was is returned. */
static int entries_field(struct entries *e, user_field to, int mark)
{
	size_t len = 0;
	int c;

	while ((c = entries_byte(e)) >= 0 && c != '\n' && c != mark) {
		if (len < sizeof(user_field))
			to[len] = (char)c;
		len++;
	}
	to[len < sizeof(user_field) ? len : 0] = 0;
	return c;
}

/* The first `count` fields of a line; what it lacks is empty. As above. */
static int entries_begin(struct entries *e, user_field *to, unsigned count)
{
	int end = ':';

	for (unsigned i = 0; i < count; i++) {
		to[i][0] = 0;
		if (end == ':')
			end = entries_field(e, to[i], ':');
	}
	return end;
}

/* Past the end of a line of which `end` was read last; false: of the file. */
static bool entries_go_on(struct entries *e, int end)
{
	while (end >= 0 && end != '\n')
		end = entries_byte(e);
	return end >= 0;
}

/* Lines without a name are none, nor are those that begin with #. */
static bool entry_is_good(const user_field name)
{
	return *name && *name != '#';
}

/* ID_NONE where it is no number, or none that a user or a group can have. */
static uint32_t user_number(const char *text)
{
	uint64_t value = *text ? 0 : ID_NONE;

	for (; *text >= '0' && *text <= '9' && value < ID_NONE; text++)
		value = value * 10 + (uint64_t)(*text - '0');
	return *text || value > ID_NONE ? ID_NONE : (uint32_t)value;
}

/* -- looking up ----------------------------------------------------------- */

/* The first entry of that number, or else name; false: there is none. */
static bool user_find_entry(const char *dir, const char *name, uint32_t number,
			    user_field entry[FIELDS])
{
	struct entries e;
	uint32_t uid;
	bool found;
	int end;

	entries_open(&e, dir, "passwd");
	do {
		end = entries_begin(&e, entry, FIELDS);
		uid = user_number(entry[UID]);
		found = entry_is_good(entry[NAME]) && uid != ID_NONE &&
			user_number(entry[GID]) != ID_NONE &&
			(number == ID_NONE ? text_same(entry[NAME], name)
					   : uid == number);
	} while (!found && entries_go_on(&e, end));
	SYS(close, e.fd);
	return found;
}

static bool group_has_member(struct entries *e, int *end, const char *name)
{
	user_field member;
	bool found = false;

	for (*end = *end == ':' ? ',' : *end; *end == ',';) {
		*end = entries_field(e, member, ',');
		found |= text_same(member, name);
	}
	return found;
}

/*
 * Puts the groups that have this name, or without one (NULL) this member, into
 * `to`, which has room for `room`; how many there are.
 */
static unsigned group_find(const char *dir, const char *name,
			   const char *member, uint32_t *to, unsigned room)
{
	user_field entry[GROUP_GID + 1];
	struct entries e;
	unsigned count = 0;
	uint32_t gid;
	bool found;
	int end;

	entries_open(&e, dir, "group");
	do {
		end = entries_begin(&e, entry, GROUP_GID + 1);
		gid = user_number(entry[GROUP_GID]);
		found = name ? text_same(entry[NAME], name)
			     : group_has_member(&e, &end, member);
		if (!entry_is_good(entry[NAME]) || !found || gid == ID_NONE)
			continue;
		if (count < room)
			to[count] = gid;
		count++;
	} while (entries_go_on(&e, end));
	SYS(close, e.fd);
	return count;
}

/* -- the environment ------------------------------------------------------ */

/* "NAME=" VALUE, unless the command has that name already. */
static void user_add_env(struct run *run, struct text *to, const char *name,
			 const char *value)
{
	char **at = run->env;

	to->len = 0;
	while (*at && !text_after(*at, name))
		at++;
	if (!*at)
		*at = text_add(text_add(to, name), value)->bytes;
}

/* An entry that leaves out its shell means this one (passwd(5)). */
static void user_add_envs(struct run *run, user_field entry[FIELDS])
{
	static struct text env[RUN_ENV_ROOM];

	user_add_env(run, &env[0], "HOME=", entry[HOME][0] ? entry[HOME] : "/");
	if (!entry[NAME][0])
		return;
	user_add_env(run, &env[1], "USER=", entry[NAME]);
	user_add_env(run, &env[2], "LOGNAME=", entry[NAME]);
	user_add_env(run, &env[3],
		     "SHELL=", entry[SHELL][0] ? entry[SHELL] : "/bin/sh");
}

/* -- all of it ------------------------------------------------------------ */

/* Tells why there is none; false. */
static bool user_refuse(const char *why, const char *what)
{
	stream_note(why, what, 0);
	return false;
}

/* What is given behind the ':'. */
static bool user_set_group(struct user *user, const char *etc,
			   const char *group)
{
	user->gid = user_number(group);
	return user->gid != ID_NONE ||
	       group_find(etc, group, NULL, &user->gid, 1) ||
	       user_refuse("--as: the guest's /etc/group has no such group",
			   group);
}

/* Without it: all that have the user for a member. */
static bool user_set_groups(struct user *user, const char *etc,
			    const char *name)
{
	user->group_count +=
		group_find(etc, NULL, name, user_groups + 1, GROUPS_MAX - 1);
	return user->group_count <= GROUPS_MAX ||
	       user_refuse("--as: the user is in more groups than a process "
			   "can have",
			   name);
}

bool user_find(struct run *run, const char *etc)
{
	static struct user user;
	user_field entry[FIELDS];
	struct text name = { .len = 0 };
	const char *at = run->as;

	if (!at)
		return true;
	while (*at && *at != ':')
		at++;
	text_add_part(&name, run->as, (size_t)(at - run->as));
	user = (struct user){ user_number(name.bytes), 0, 1, user_groups };
	if (user_find_entry(etc, name.bytes, user.uid, entry)) {
		user.uid = user_number(entry[UID]);
		user.gid = user_number(entry[GID]);
	} else if (user.uid != ID_NONE) {
		memset(entry, 0, sizeof(entry));
	} else {
		return user_refuse("--as: the guest's /etc/passwd has no such "
				   "user",
				   name.bytes);
	}
	if (*at ? !user_set_group(&user, etc, at + 1)
		: entry[NAME][0] && !user_set_groups(&user, etc, entry[NAME]))
		return false;
	user_groups[0] = user.gid;
	user_add_envs(run, entry);
	run->user = &user;
	return true;
}

long user_become(const struct user *user)
{
	long error = 0;

	if (!user)
		return 0;
	/* By /dev/stderr a pipe or a terminal is opened by its owner only. */
	for (int fd = 0; fd < 3 && !error; fd++)
		error = SYS(fchown, fd, user->uid, -1);
	if (!error)
		error = SYS(setgroups, user->group_count, user->groups);
	if (!error)
		error = SYS(setgid, user->gid);
	if (!error)
		error = SYS(setuid, user->uid);
	return error;
}
