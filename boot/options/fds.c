/*
 * Which option took which descriptor.
 *
 * The table says where every struct option_file of the filled struct lies, so
 * a walk over it finds each fd=N, whatever options there are. Two users of one
 * descriptor would share its offset, and close it under one another. Trusts
 * that optparse_run filled the struct. Owns nothing; the main thread runs it.
 */
#include <errno.h>

#include "boot/options/parse.h"
#include "mem/log.h"

/* A walk over every struct option_file that the options filled. */
struct walk {
	const struct option_set *set;
	const char *target;
	size_t entry, slot; /* slot 0: the option's own; then the keys' */
	unsigned element;
};

static const struct option_file *file_at(const struct option_field *field,
					 const char *element)
{
	const void *at;

	if (field->kind != OPTION_FILE && field->kind != OPTION_VARIANT)
		return NULL;
	at = element +
	     (field->kind == OPTION_FILE ? field->offset : field->file_offset);
	return at;
}

static unsigned elements(const struct walk *walk,
			 const struct option_entry *entry)
{
	const void *count = walk->target + entry->count;

	return entry->max ? *(const unsigned *)count : 1;
}

/* The next one that holds a descriptor, and whose it is; NULL: no more. */
static const struct option_file *next_fd(struct walk *walk,
					 const struct option_entry **owner)
{
	while (walk->entry < walk->set->entry_count) {
		const struct option_entry *entry =
			&walk->set->entries[walk->entry];
		const struct option_field *field = &entry->field;
		const struct option_file *file;

		if (walk->element >= elements(walk, entry)) {
			walk->entry++;
			walk->element = 0;
			continue;
		}
		if (walk->slot) {
			const struct option_key *key =
				entry->keys ? &entry->keys[walk->slot - 1]
					    : NULL;

			if (!key || !key->name) {
				walk->element++;
				walk->slot = 0;
				continue;
			}
			field = &key->field;
		}
		walk->slot++;
		file = file_at(field, walk->target + entry->base +
					      walk->element * entry->stride);
		if (file && file->fd >= 0) {
			*owner = entry;
			return file;
		}
	}
	return NULL;
}

const struct option_entry *optparse_fd_owner(const struct option_set *set,
					     const void *target, int fd)
{
	struct walk walk = { .set = set, .target = target };
	const struct option_entry *owner;
	const struct option_file *file;

	while ((file = next_fd(&walk, &owner)))
		if (file->fd == fd)
			return owner;
	return NULL;
}

int optparse_next_fd(const struct option_set *set, const void *target, int from)
{
	struct walk walk = { .set = set, .target = target };
	const struct option_entry *owner;
	const struct option_file *file;
	int lowest = -1;

	while ((file = next_fd(&walk, &owner)))
		if (file->fd >= from && (lowest < 0 || file->fd < lowest))
			lowest = file->fd;
	return lowest;
}

int optparse_check_fds(const struct option_set *set, const void *target)
{
	struct walk walk = { .set = set, .target = target }, ahead;
	const struct option_entry *owner, *other;
	const struct option_file *file, *twin;

	while ((file = next_fd(&walk, &owner))) {
		ahead = walk;
		while ((twin = next_fd(&ahead, &other)))
			if (twin->fd == file->fd) {
				log_error("--%s and --%s both take fd=%d; "
					  "give each its own descriptor",
					  owner->name, other->name, file->fd);
				return -EINVAL;
			}
	}
	return 0;
}
