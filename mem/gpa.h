/*
 * A guest physical address. A type of its own, so that it can be mixed up with
 * neither a length nor a pointer; only ram_* (and virtio/queue.c, through
 * ram_span) turn one into a pointer.
 */
#ifndef MEM_GPA_H
#define MEM_GPA_H

#include <stdint.h>

typedef struct {
	uint64_t v;
} gpa;

#define GPA(address) ((gpa){ (address) })

/* `at` moved on by `bytes`; the caller knows that it does not wrap. */
static inline gpa gpa_add(gpa at, uint64_t bytes)
{
	return GPA(at.v + bytes);
}

#endif
