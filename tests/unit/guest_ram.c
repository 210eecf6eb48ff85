/* SPDX-License-Identifier: Apache-2.0 */
/* uses: mem/ram.c tests/unit/kept_log.c mem/pool.c */
#include "tests/unit/guest_ram.h"

#include <stdio.h>

#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

void make_ram(struct ram *ram, uint64_t size)
{
	struct ram_options options = { .size = size };

	assert_int_equal(ram_create(ram, &options), 0);
	expect_no_log();
}

void expect_bytes(const struct ram *ram, uint64_t at, const void *bytes,
		  size_t len)
{
	const uint8_t *host = ram_span(ram, GPA(at), len);

	assert_non_null(host);
	assert_memory_equal(host, bytes, len);
}

void expect_zero(const struct ram *ram, uint64_t at, size_t len)
{
	const uint8_t *host = ram_span(ram, GPA(at), len);

	assert_non_null(host);
	for (size_t i = 0; i < len; i++)
		if (host[i])
			fail_msg("0x%llx is not zero",
				 (unsigned long long)at + i);
}

bool is_mapped(const struct ram *ram, uint64_t at)
{
	uintptr_t host = (uintptr_t)ram_span(ram, GPA(at), 1), start, end;
	FILE *maps = fopen("/proc/self/maps", "re");
	bool found = false, mapped = false;
	char line[512];

	assert_true(host);
	assert_non_null(maps);
	while (!found && fgets(line, sizeof(line), maps)) {
		assert_int_equal(sscanf(line, "%lx-%lx", &start, &end), 2);
		found = start <= host && host < end;
		mapped = found && strstr(line, "/memfd:");
	}
	fclose(maps);
	assert_true(found);
	return mapped;
}
