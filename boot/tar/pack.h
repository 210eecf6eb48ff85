/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that pack offer each other: pack.c -> head, links, sparse ->
 * out. */
#ifndef BOOT_TAR_PACK_H
#define BOOT_TAR_PACK_H

#include "boot/tar/work.h"

struct packer {
	struct tar_report report;
	struct tar_work *work;
	tar_write *write;
	void *arg;
	size_t filled;	 /* of work->stream */
	size_t name_len; /* of work->name, the entry's */
	size_t pax_len;	 /* records of the entry, so far */
	long error;	 /* once writing has failed, nothing is written */
};

/* -- out.c: the stream ---------------------------------------------------- */

void out_bytes(struct packer *p, const void *bytes, size_t len);
void out_zeros(struct packer *p, int64_t len);
void out_flush(struct packer *p);

/* `len` bytes of a file, from where it is; zeros in place of what lacks. */
void out_file(struct packer *p, int fd, int64_t len);

/* -- head.c: an entry's headers ------------------------------------------- */

/* One more extended attribute of the next entry, which is open as `fd`. */
void head_add_xattr(struct packer *p, int fd, const char *name);

/* Writes them; what the ustar header cannot say is in a pax header before. */
void head_write(struct packer *p, const struct tar_entry *entry);

/* The number's digits, from `to` on; what follows them. */
char *head_put_number(char *to, uint64_t number);

/* -- links.c: files with several names ------------------------------------ */

void links_begin(struct tar_work *work);

/* The name that this file was packed under before; NULL: none. */
char *links_find(struct tar_work *work, const struct stat *status);

/* False: there is no more room. */
bool links_keep(struct tar_work *work, const struct stat *status,
		const char *name);

/* -- sparse.c: files with holes ------------------------------------------- */

/* work->segment says where there are data: how many; 0: there are no holes. */
unsigned sparse_find(struct tar_work *work, int fd, int64_t size);

/* The bytes of the entry that so many segments make, map and data. */
int64_t sparse_size(const struct tar_work *work, unsigned count);
void sparse_write(struct packer *p, int fd, unsigned count);

#endif
