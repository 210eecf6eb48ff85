/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/init/user.c boot/init/text.c */
/*
 * The guest's init: whom the command runs as. Its files are this test's own, in
 * a directory that is not the root's /etc.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/init/init.h"
#include "tests/unit/unit.h"

static char etc[] = "/tmp/mote-user-XXXXXX/";
static struct run run;
static char *env[16 + RUN_ENV_ROOM];

/* In place of stream.c: what mote's user is told. */
static char said[256];

void stream_note(const char *why, const char *what, long error)
{
	snprintf(said, sizeof(said), "%s: %s", why, what);
	assert_int_equal(error, 0);
}

static void put_bytes(const char *name, const void *bytes, size_t len)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "%s%s", etc, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	fclose(file);
}

static void drop(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "%s%s", etc, name);
	unlink(path);
}

static void put(const char *passwd, const char *group)
{
	drop("passwd");
	drop("group");
	if (passwd)
		put_bytes("passwd", passwd, strlen(passwd));
	if (group)
		put_bytes("group", group, strlen(group));
}

static void find(const char *as)
{
	bool found;

	memset(env, 0, sizeof(env));
	run = (struct run){ .env = env, .as = as };
	said[0] = 0;
	found = user_find(&run, etc);
	assert_int_equal(found, !said[0]);
	assert_int_equal(run.user != NULL, as && !said[0]);
}

/* "UID:GID GROUP... | ENV..."; or why there is none. */
static const char *look(const char *as)
{
	static char text[2048];
	size_t at = 0;

	find(as);
	if (said[0])
		return said;
	at += (size_t)snprintf(text, sizeof(text), "%u:%u", run.user->uid,
			       run.user->gid);
	for (unsigned i = 0; i < run.user->group_count; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, " %u",
				       run.user->groups[i]);
	at += (size_t)snprintf(text + at, sizeof(text) - at, " |");
	for (char **var = run.env; *var; var++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, " %s",
				       *var);
	return text;
}

#define APP	 "HOME=/srv/app USER=app LOGNAME=app SHELL=/bin/ash"
#define NO_USER	 "--as: the guest's /etc/passwd has no such user: "
#define NO_GROUP "--as: the guest's /etc/group has no such group: "

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "app:x:1000:1001:An App,,,:/srv/app:/bin/ash\n"
			     "again:x:1000:7:::\n"
			     "app:x:5:5:::\n"
			     "bare:x:12:13:::\n"
			     "42:x:43:44::/h:/s";
static const char group[] = "root:x:0:\n"
			    "staff:x:50:other,app\n"
			    "apps:x:51:application,xapp,ap\n"
			    "none:x:52\n"
			    "last:x:53:app,\n"
			    "wheel:x:10:app:x\n"
			    "bad:x:-1:app\n"
			    "staff:x:99:\n"
			    "end:x:54:x,app";

static void test_found(void **state)
{
	static const struct {
		const char *as, *is;
	} cases[] = {
		{ "app", "1000:1001 1001 50 53 54 | " APP },
		{ "1000", "1000:1001 1001 50 53 54 | " APP },
		{ "app:7", "1000:7 7 | " APP },
		{ "app:staff", "1000:50 50 | " APP },
		{ "1000:end", "1000:54 54 | " APP },
		{ "app:51", "1000:51 51 | " APP },
		{ "again", "1000:7 7 | HOME=/ USER=again LOGNAME=again "
			   "SHELL=/bin/sh" },
		{ "bare", "12:13 13 | HOME=/ USER=bare LOGNAME=bare "
			  "SHELL=/bin/sh" },
		{ "root", "0:0 0 | HOME=/root USER=root LOGNAME=root "
			  "SHELL=/bin/sh" },
		/* a number is none's name, with or without an entry */
		{ "42", "42:0 0 | HOME=/" },
		{ "43", "43:44 44 | HOME=/h USER=42 LOGNAME=42 SHELL=/s" },
		{ "77", "77:0 0 | HOME=/" },
		{ "77:88", "77:88 88 | HOME=/" },
		{ "77:staff", "77:50 50 | HOME=/" },
		{ "4294967294:4294967294",
		  "4294967294:4294967294 4294967294 | HOME=/" },
		{ "nobody", NO_USER "nobody" },
		{ "ap", NO_USER "ap" },
		{ "", NO_USER },
		{ ":50", NO_USER },
		{ "4294967295", NO_USER "4294967295" },
		{ "99999999999999999999", NO_USER "99999999999999999999" },
		{ "app:stafff", NO_GROUP "stafff" },
		{ "app:", NO_GROUP },
		{ "app:50:1", NO_GROUP "50:1" },
		{ "app:4294967296", NO_GROUP "4294967296" },
		{ "app:bad", NO_GROUP "bad" },
	};

	(void)state;
	put(passwd, group);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(look(cases[i].as), cases[i].is);
	find(NULL);
	assert_null(run.user);
	assert_null(env[0]);
}

/* Where the root has no such files, or what is none. */
static void test_without_files(void **state)
{
	char path[64];

	(void)state;
	put(NULL, NULL);
	assert_string_equal(look("1000"), "1000:0 0 | HOME=/");
	assert_string_equal(look("1000:5"), "1000:5 5 | HOME=/");
	assert_string_equal(look("root"), NO_USER "root");
	assert_string_equal(look("1:a"), NO_GROUP "a");
	snprintf(path, sizeof(path), "%spasswd", etc);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_string_equal(look("app"), NO_USER "app");
	put("", "");
	assert_string_equal(look("app"), NO_USER "app");
	drop("passwd");
	assert_int_equal(symlink("/dev/zero", path), 0);
	assert_string_equal(look("app"), NO_USER "app");
	drop("passwd");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_string_equal(look("app"), NO_USER "app");
	rmdir(path);
}

/* What the command is given by --env stays. */
static void test_env_given(void **state)
{
	static char home[] = "HOME=/mine", shell[] = "SHELLS=1",
		    user[] = "USER";

	(void)state;
	put(passwd, group);
	memset(env, 0, sizeof(env));
	env[0] = home;
	env[1] = shell;
	env[2] = user;
	run = (struct run){ .env = env, .as = "app" };
	assert_true(user_find(&run, etc));
	assert_ptr_equal(env[0], home);
	assert_string_equal(env[3], "USER=app");
	assert_string_equal(env[4], "LOGNAME=app");
	assert_string_equal(env[5], "SHELL=/bin/ash");
	assert_null(env[6]);
}

/* Lines that are no entries, of which the files of an image may be full. */
static void test_bad_lines(void **state)
{
	static const char nul[] =
		"\0app:x:1:1:::\nbad\0:x:2:2:::\ngood:x:3:3:::";

	(void)state;
	put("\n:\n::\n:x:9:9:::\napp\napp:\napp:x\napp:x:\napp:x::9:::\n"
	    "app:x:9\napp:x:9:\napp:x:a:9:::\napp:x:9:b:::\napp:x: 9:9:::\n"
	    "app:x:-1:9:::\napp:x:4294967295:9:::\napp:x:9:4294967295:::\n"
	    "app:x:18446744073709551625:9:::\n#app:x:9:9:::\n app:x:6:6:::\n"
	    "app:x:8:7:::::::\n",
	    "staff\n:x:5:app\n#a:x:4:app\nstaff:x\nstaff:x:\nstaff:x:a:\nz:x:6:"
	    "app\n");
	assert_string_equal(look("app"), "8:7 7 6 | HOME=/ USER=app "
					 "LOGNAME=app SHELL=/bin/sh");
	assert_string_equal(look("9"), "9:0 0 | HOME=/");
	assert_string_equal(look("app:staff"), NO_GROUP "staff");
	put_bytes("passwd", nul, sizeof(nul) - 1);
	assert_string_equal(look("app"), NO_USER "app");
	assert_string_equal(look("good"), "3:3 3 | HOME=/ USER=good "
					  "LOGNAME=good SHELL=/bin/sh");
}

/* Fields longer than there is room for, and one byte less, and files beyond. */
static void test_long(void **state)
{
	static char text[1 << 20];
	char name[480];
	size_t at;

	(void)state;
	memset(name, 'n', sizeof(name));
	name[479] = 0;
	put(NULL, NULL);
	snprintf(text, sizeof(text), "%sx:x:1:1:::\n%s:x:2:3:%s%s:/%s:/%s\n",
		 name, name, name, name, name, name + 1);
	put_bytes("passwd", text, strlen(text));
	find(name);
	assert_int_equal(run.user->uid, 2);
	assert_string_equal(env[0], "HOME=/"); /* too long */
	assert_string_equal(env[1] + 5, name);
	assert_string_equal(env[2] + 8, name);
	assert_int_equal(strlen(env[3]), 6 + 479);
	snprintf(text, sizeof(text), "b:x:4:5:::%s%s\n", name, name);
	put_bytes("passwd", text, strlen(text));
	assert_string_equal(look("b"), "4:5 5 | HOME=/ USER=b LOGNAME=b "
				       "SHELL=/bin/sh");
	snprintf(text, sizeof(text), "%s:x:2:3:::", name);
	put_bytes("passwd", text, strlen(text));
	/* a line of a megabyte of members, and one of nothing at all */
	at = (size_t)sprintf(text, "a:x:7:");
	memset(text + at, ',', sizeof(text) - at);
	memcpy(text + sizeof(text) - 480, name, 479);
	text[sizeof(text) - 481] = 'n';
	put_bytes("group", text, sizeof(text));
	find("2");
	assert_int_equal(run.user->group_count, 1);
	text[sizeof(text) - 481] = ',';
	put_bytes("group", text, sizeof(text));
	find("2");
	assert_int_equal(run.user->group_count, 2);
	memset(text, 'x', sizeof(text));
	put_bytes("passwd", text, sizeof(text));
	assert_string_equal(look("app"), NO_USER "app");
}

/* As many groups as a process can have, and one more. */
static void test_many_groups(void **state)
{
	static char text[65536 * 16];
	size_t at = 0;

	(void)state;
	put(passwd, NULL);
	for (unsigned i = 1; i < 65536; i++)
		at += (size_t)sprintf(text + at, "g:x:%u:app\n", i);
	put_bytes("group", text, at);
	find("app");
	assert_string_equal(said, "");
	assert_int_equal(run.user->group_count, 65536);
	assert_int_equal(run.user->groups[0], 1001);
	assert_int_equal(run.user->groups[65535], 65535);
	at += (size_t)sprintf(text + at, "g:x:1:app\n");
	put_bytes("group", text, at);
	assert_string_equal(look("app"), "--as: the user is in more groups "
					 "than a process can have: app");
}

static int make_etc(void **state)
{
	(void)state;
	etc[strlen(etc) - 1] = 0;
	if (!mkdtemp(etc))
		return -1;
	etc[strlen(etc)] = '/';
	return 0;
}

static int remove_etc(void **state)
{
	(void)state;
	put(NULL, NULL);
	return rmdir(etc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_without_files),
		cmocka_unit_test(test_env_given),
		cmocka_unit_test(test_bad_lines),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_many_groups),
	};

	return cmocka_run_group_tests(tests, make_etc, remove_etc);
}
