/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's RAM in a test program: made, and looked at. Linked with mem/ram.c
 * and tests/unit/kept_log.c.
 */
#ifndef TESTS_UNIT_GUEST_RAM_H
#define TESTS_UNIT_GUEST_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/ram.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

void make_ram(struct ram *ram, uint64_t size);
void expect_bytes(const struct ram *ram, uint64_t at, const void *bytes,
		  size_t len);
void expect_zero(const struct ram *ram, uint64_t at, size_t len);

/* Does the page at `at` come from a memory file, by /proc/self/maps? */
bool is_mapped(const struct ram *ram, uint64_t at);

#endif
