/*
 * Counts what is allocated from outside of the C library. Included by one C
 * file of a test program, which is linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=mmap.
 */
#ifndef TESTS_UNIT_COUNT_ALLOCATIONS_H
#define TESTS_UNIT_COUNT_ALLOCATIONS_H

#include <stddef.h>
#include <sys/types.h>

static unsigned allocations;

#define COUNT(type, name, params, args)                                        \
	type __real_##name params;                                             \
	type __wrap_##name params;                                             \
	type __wrap_##name params                                              \
	{                                                                      \
		allocations++;                                                 \
		return __real_##name args;                                     \
	}
COUNT(void *, malloc, (size_t size), (size))
COUNT(void *, calloc, (size_t count, size_t size), (count, size))
COUNT(void *, realloc, (void *at, size_t size), (at, size))
COUNT(void *, mmap,
      (void *at, size_t len, int prot, int flags, int fd, off_t offset),
      (at, len, prot, flags, fd, offset))

#endif
