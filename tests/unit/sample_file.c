/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/sample_file.h"

#include <dirent.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/unit.h"

void fill(uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)((i * 7 + (i >> 12) * 13) % 255 + 1);
}

int file_of(const void *bytes, size_t len)
{
	int fd = memfd_create("mote-test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	return fd;
}

int pipe_of(const void *bytes, size_t len)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], bytes, len), len);
	close(ends[1]);
	return ends[0];
}

unsigned count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}
