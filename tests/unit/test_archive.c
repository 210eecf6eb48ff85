/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/archive.c boot/options/env.c cpu/command/orders.c */
/* uses: cpu/loop/file.c mem/state.c mem/log.c */
/*
 * The archive for a guest with a command: a cpio that cpio itself reads, and
 * what it says of the command.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/initrd.h"
#include "boot/options/options.h"
#include "cpu/command/orders.h"

/* In place of the guest's init: 9 bytes, so that something is filled up. */
extern const char archive_init[];
extern const uint32_t archive_init_len;
const char archive_init[] = "the init\n";
const uint32_t archive_init_len = sizeof(archive_init) - 1;

static struct options options;
static bool program;

/* What a command of the host's makes of the archive; its length. */
static size_t run(const char *command, char *to, size_t room, bool no_serial)
{
	struct orders orders = { .len = 0 };
	char line[256];
	FILE *pipe;
	size_t len;
	int fd;

	assert_int_equal(archive_orders(&orders, &options, no_serial, program),
			 0);
	fd = archive_create(&options, &orders);
	orders_free(&orders);
	assert_true(fd >= 0);
	assert_int_equal(lseek(fd, 0, SEEK_END) % 4, 0);
	snprintf(line, sizeof(line), "</proc/%d/fd/%d 2>&1 %s", (int)getpid(),
		 fd, command);
	pipe = popen(line, "r");
	assert_non_null(pipe);
	len = fread(to, 1, room - 1, pipe);
	to[len] = 0;
	assert_int_equal(pclose(pipe), 0);
	close(fd);
	return len;
}

#define EXTRACT "cpio -i --quiet --to-stdout "

#define NOT_GIVEN .exec.fd = -1, .devices.vsock.file.fd = -1

static void test_files(void **state)
{
	char *command[] = { (char[]){ "true" }, NULL };
	char got[1024];

	(void)state;
	options = (struct options){ .command = command, NOT_GIVEN };
	run("cpio -tv --quiet | awk '{ print $1, $NF }'", got, sizeof(got),
	    false);
	assert_string_equal(got, "drwx------ .mote\n"
				 "-rwx------ .mote/init\n"
				 "-rw------- .mote/run\n");
	run(EXTRACT RUN_INIT, got, sizeof(got), false);
	assert_string_equal(got, "the init\n");
}

/* Each string with a '|' for its NUL. */
static const char *command_file(bool no_serial)
{
	static char got[65536];
	size_t len = run(EXTRACT RUN_FILE, got, sizeof(got), no_serial);

	for (size_t i = 0; i < len; i++)
		if (!got[i])
			got[i] = '|';
	return got;
}

#define PATH_WORDS                                                             \
	"ePATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|"

static void test_command(void **state)
{
	char *command[] = { (char[]){ "sh" }, (char[]){ "-c" },
			    (char[]){ "echo \"a b\"\n" }, (char[]){ "" },
			    NULL };

	(void)state;
	options = (struct options){ .command = command, NOT_GIVEN };
	assert_string_equal(command_file(false),
			    "ash|a-c|aecho \"a b\"\n|a|" PATH_WORDS
			    "eHOME=/root|");
	options.workdir = "/src";
	assert_string_equal(command_file(true),
			    "ash|a-c|aecho \"a b\"\n|a|" PATH_WORDS
			    "eHOME=/root|w/src|s|");
}

static void test_env(void **state)
{
	char *command[] = { (char[]){ "x" }, NULL };

	(void)state;
	setenv("PASSED", "on", 1);
	unsetenv("ABSENT");
	setenv("TERM", "vt100", 1);
	options = (struct options){
		.command = command,
		.env = { "A=1", "PATH=/p", "PASSED", "ABSENT", "B=", "C=a=b" },
		.env_count = 6,
		NOT_GIVEN,
	};
	assert_string_equal(command_file(false),
			    "ax|eHOME=/root|eA=1|ePATH=/p|ePASSED=on|eB=|"
			    "eC=a=b|");
	options.tty = true;
	options.env_count = 1;
	options.env[0] = "HOMES=1"; /* not HOME */
	assert_string_equal(command_file(false),
			    "ax|" PATH_WORDS "eHOME=/root|eTERM=vt100|"
			    "eHOMES=1|t|");
	options.env[0] = "TERM=dumb";
	assert_string_equal(command_file(false),
			    "ax|" PATH_WORDS "eHOME=/root|eTERM=dumb|t|");
}

/* Who the user is, and has for a home, init finds out. */
static void test_user(void **state)
{
	char *command[] = { (char[]){ "x" }, NULL };

	(void)state;
	options = (struct options){ .command = command,
				    .as = "app:staff",
				    .hostname = "web",
				    .workdir = "/src",
				    NOT_GIVEN };
	assert_string_equal(command_file(false),
			    "ax|" PATH_WORDS "uapp:staff|Hweb|w/src|");
	options.env_count = 1;
	options.env[0] = "HOME=/h";
	assert_string_equal(command_file(false),
			    "ax|" PATH_WORDS "eHOME=/h|uapp:staff|Hweb|w/src|");
}

/* What --env gives counts more than what a file does. */
static void test_env_file(void **state)
{
	static const char text[] = "A=file\nB=file\nHOME=/f\nPASSED\nABSENT\n";
	char *command[] = { (char[]){ "x" }, NULL };
	struct orders orders = { .len = 0 };
	const int fd = memfd_create("env", 0);

	(void)state;
	setenv("PASSED", "on", 1);
	unsetenv("ABSENT");
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	lseek(fd, 0, SEEK_SET);
	options = (struct options){ .command = command,
				    .env = { "A=1" },
				    .env_count = 1,
				    .env_files = { { NULL, fd } },
				    .env_file_count = 1,
				    NOT_GIVEN };
	assert_string_equal(command_file(false),
			    "ax|" PATH_WORDS "eB=file|eHOME=/f|ePASSED=on|"
			    "eA=1|");
	options.env_files[0] = (struct option_file){ "/nowhere/env", -1 };
	assert_int_equal(archive_orders(&orders, &options, false, false),
			 -ENOENT);
	orders_free(&orders);
}

/* Beside another command, what is not said is left to that one. */
static void test_exec(void **state)
{
	char *command[] = { (char[]){ "x" }, NULL };

	(void)state;
	unsetenv("TERM");
	options = (struct options){ .command = command, NOT_GIVEN };
	options.devices.vsock.file.path = "guest.sock";
	assert_string_equal(command_file(false),
			    "ax|" PATH_WORDS "eHOME=/root|x|");
	options = (struct options){ .command = command, NOT_GIVEN };
	options.exec.path = "guest.sock";
	options.tty = true;
	options.env[options.env_count++] = "A=1";
	assert_string_equal(command_file(false), "ax|eTERM=linux|eA=1|t|");
}

/* A user's own -e does not hide how it says that it is ready. */
static void test_program(void **state)
{
	char *command[] = { (char[]){ "x" }, NULL };

	(void)state;
	options = (struct options){
		.command = command,
		.env = { "MOTE_ARGS=1", "PATH=/p" },
		.env_count = 2,
		NOT_GIVEN,
	};
	program = true;
	assert_string_equal(command_file(false),
			    "ax|p|eMOTE_READY=/dev/mote-ready|"
			    "eMOTE_ARGS=/dev/mote-args|"
			    "eHOME=/root|eMOTE_ARGS=1|ePATH=/p|");
	program = false;
}

static void test_long(void **state)
{
	static char word[30000];
	char *command[] = { word, word, NULL };

	(void)state;
	memset(word, 'x', sizeof(word) - 1);
	options = (struct options){ .command = command, NOT_GIVEN };
	assert_int_equal(strlen(command_file(false)),
			 2 * (sizeof(word) + 1) + strlen(PATH_WORDS) +
				 strlen("eHOME=/root|"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),	 cmocka_unit_test(test_command),
		cmocka_unit_test(test_env),	 cmocka_unit_test(test_program),
		cmocka_unit_test(test_long),	 cmocka_unit_test(test_user),
		cmocka_unit_test(test_env_file), cmocka_unit_test(test_exec),
	};

	/* no terminal: the size of one would show */
	if (!freopen("/dev/null", "r", stdin))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
