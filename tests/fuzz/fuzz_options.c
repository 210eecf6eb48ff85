/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/options/table.c boot/options/check.c boot/options/parse.c */
/* uses: boot/options/values.c */
/* uses: boot/options/address.c boot/options/publish.c */
/* uses: boot/options/help.c cpu/loop/file.c mem/log.c */
/* ldflags: -Wl,--wrap=write */
/*
 * Fuzzes the command line: the input is words that end in NUL bytes. What is
 * accepted must keep the promises of boot/options/options.h, silently; what is
 * refused must be refused in one line. Messages are caught here, help goes to
 * /dev/null.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/options/options.h"
#include "cpu/vm.h"
#include "mem/log.h"

#define WORDS_MAX 64
#define BYTES_MAX 65536

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);

static bool parsing;
static unsigned lines;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	if (!freopen("/dev/null", "w", stdout))
		abort();
	return 0;
}

static void require(bool promise)
{
	if (!promise)
		abort();
}

/* One call is one line, whole, and of bytes that a terminal only shows. */
ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	const char *text = data;

	if (!parsing || fd != STDERR_FILENO)
		return __real_write(fd, data, len);
	lines++;
	require(len > 7 && len <= 1024 && !memcmp(text, "mote: ", 6));
	for (size_t i = 0; i < len - 1; i++)
		require((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
	require(text[len - 1] == '\n');
	return (ssize_t)len;
}

static void check_file(const struct option_file *file)
{
	require((file->path != NULL) != (file->fd >= 0));
	require(!file->path || file->path[0]);
}

static void check(const struct options *options)
{
	const struct ram_options *ram = &options->ram;
	size_t length = 0;

	/* One of the three, and what each brings with it. */
	if (file_is_given(&options->exec)) {
		check_file(&options->exec);
		require(options->command != NULL);
		require(!file_is_given(&options->kernel));
		require(!file_is_given(&options->restore.file));
		require(!options->devices.disk_count && !options->check);
	} else if (file_is_given(&options->restore.file)) {
		check_file(&options->restore.file);
		require(!file_is_given(&options->kernel));
		require(!options->initrd_count && !options->append_count);
		require(!options->cmdline);
	} else {
		check_file(&options->kernel);
	}
	if (file_is_given(&options->snapshot.file)) {
		check_file(&options->snapshot.file);
		require(file_is_given(&options->restore.file) ||
			(options->snapshot.on != SNAPSHOT_ON_ANY &&
			 options->snapshot.then != SNAPSHOT_THEN_ANY));
	}
	require(options->initrd_count <= OPTIONS_INITRDS_MAX);
	for (unsigned i = 0; i < options->initrd_count; i++)
		check_file(&options->initrds[i]);
	require(options->append_count <= OPTIONS_APPENDS_MAX);
	for (unsigned i = 0; i < options->append_count; i++)
		length += strlen(options->append[i]);
	require(!options->cmdline || !options->append_count);
	require(length <= BYTES_MAX);
	require(ram->size >= RAM_MIN_SIZE && ram->size % RAM_PAGE == 0);
	require(ram->pages <= RAM_PAGES_1G);
	require(ram->pages != RAM_PAGES_1G || ram->size % (1ULL << 30) == 0);
	require(options->cpus >= 1 && options->cpus <= VM_CPUS_MAX);
	require(options->serial.kind <= CONSOLE_FD);
	if (options->serial.kind >= CONSOLE_FILE)
		check_file(&options->serial.file);
	if (options->events.path || options->events.fd >= 0)
		check_file(&options->events);
	require(options->log <= LOG_DEBUG);
	require(options->env_file_count <= OPTIONS_ENV_FILES_MAX);
	for (unsigned i = 0; i < options->env_file_count; i++)
		check_file(&options->env_files[i]);
	require(!options->as ||
		(options->command && options->as[0] && options->as[0] != ':'));
	/* It becomes a word of the kernel's command line. */
	require(!options->hostname ||
		(strlen(options->hostname) <= 64 &&
		 !options->hostname[strcspn(options->hostname, " \"=\n")]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct options options;
	static char bytes[BYTES_MAX + 1];
	char *argv[WORDS_MAX + 2] = { (char[]){ "mote" } };
	int argc = 1, done;

	/* What is not as it should be is warned of, and is no refusal. */
	log_set_level(LOG_ERROR);
	if (size > BYTES_MAX)
		return 0;
	memcpy(bytes, data, size);
	bytes[size] = '\0';
	for (size_t at = 0; at < size && argc <= WORDS_MAX; argc++) {
		argv[argc] = bytes + at;
		at += strlen(bytes + at) + 1;
	}
	lines = 0;
	parsing = true;
	done = options_parse(&options, argc, argv);
	parsing = false;
	require(done <= 1 && lines == (done < 0));
	require(!memcmp(bytes, data, size));
	if (!done)
		check(&options);
	return 0;
}
