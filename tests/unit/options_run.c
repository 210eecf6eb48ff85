/* SPDX-License-Identifier: Apache-2.0 */
/* The parser, run on lines of words; see options_run.h. */
#include "tests/unit/options_run.h"

#include <sys/mman.h>

struct options options;
char output[65536];
char *argv_of[OPTIONS_RUN_ARGS + 1];

void capture_start(struct capture *capture, int fd)
{
	fflush(stdout);
	capture->fd = fd;
	capture->saved = dup(fd);
	capture->memory = memfd_create("output", 0);
	assert_true(capture->saved >= 0 && capture->memory >= 0);
	assert_true(dup2(capture->memory, fd) == fd);
}

void capture_end(struct capture *capture)
{
	ssize_t n;

	fflush(stdout);
	dup2(capture->saved, capture->fd);
	n = pread(capture->memory, output, sizeof(output) - 1, 0);
	assert_true(n >= 0);
	output[n] = '\0';
	close(capture->saved);
	close(capture->memory);
}

int run_words(int count, char **argv)
{
	struct capture capture;
	int done;

	memset(&options, 0xa5, sizeof(options));
	capture_start(&capture, STDERR_FILENO);
	done = options_parse(&options, count, argv);
	capture_end(&capture);
	return done;
}

int split_line(const char *line)
{
	static char buf[4096];
	int n = snprintf(buf, sizeof(buf), "mote %s", line), count = 0;
	char *word;

	assert_true(n > 0 && n < (int)sizeof(buf));
	for (word = strtok(buf, " "); word; word = strtok(NULL, " ")) {
		assert_true(count < OPTIONS_RUN_ARGS);
		if (!strcmp(word, "_"))
			*word = '\0';
		argv_of[count++] = word;
	}
	argv_of[count] = NULL;
	return count;
}

int run_line(const char *line)
{
	return run_words(split_line(line), argv_of);
}

void accepts(const char *line)
{
	int done = run_line(line);

	if (done || output[0])
		fail_msg("mote %s: %d, %s", line, done, output);
}

void refuses(const char *line, const char *expected)
{
	int done = run_line(line);
	size_t len = strlen(output);

	if (done != -EINVAL)
		fail_msg("mote %s: returned %d", line, done);
	if (!strstr(output, expected))
		fail_msg("mote %s: said %s, not %s", line, output, expected);
	if (!len || strchr(output, '\n') != output + len - 1)
		fail_msg("mote %s: not one line: %s", line, output);
	assert_int_equal(strncmp(output, "mote: ", 6), 0);
}
