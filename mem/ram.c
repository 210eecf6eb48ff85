/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's RAM.
 *
 * One anonymous MAP_NORESERVE mapping, so that a guest costs what it touches.
 * Parts of it are replaced by private file mappings (ram_load): a kernel or an
 * initrd is then shared through the page cache until the guest writes to it.
 * Trusts nobody: every address and length is checked against the two regions.
 * Owns the mapping. Any thread may read and write; only the main thread, and
 * only before the vCPUs run, creates, loads and destroys.
 */
#include "mem/ram.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/pool.h"
#include "mem/util.h"

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#ifndef MADV_POPULATE_WRITE /* Linux 5.14; older headers lack it */
#define MADV_POPULATE_WRITE 23
#endif

/* A host address whose large pages line up with the guest's. */
#define HOST_ALIGN (2ULL << 20)

/*
 * Huge pages that are mapped are the host's no more: a check takes none, and
 * only asks how many are left.
 */
static bool huge_pages_lack(const struct ram_options *options)
{
	const char *whose;

	return options->left &&
	       options->size > options->left(options->available, &whose);
}

static int map_ram(struct ram *ram, const struct ram_options *options)
{
	const struct ram_page_type *type = ram_page_type(options->pages);
	uint64_t align;
	int flags = MAP_NORESERVE;
	uint8_t *host = NULL;

	ram->page = 1ULL << type->shift;
	align = ram->page > HOST_ALIGN ? ram->page : HOST_ALIGN;
	if (ram->page != RAM_PAGE && !options->check)
		flags = MAP_HUGETLB | (int)(type->shift << MAP_HUGE_SHIFT);
	ram->room = options->size + align + 2 * POOL_GUARD;
	if (ram->page != RAM_PAGE && options->check && huge_pages_lack(options))
		errno = ENOMEM;
	else
		host = pool_map_aligned(options->size, ram->room, align, flags,
					&ram->reserved);
	if (!host) {
		int error = errno;

		if (ram->page != RAM_PAGE)
			log_error("cannot get %llu MiB of RAM in %s huge "
				  "pages: %s; reserve them first, as in "
				  "/sys/kernel/mm/hugepages/hugepages-%llukB/"
				  "nr_hugepages",
				  (unsigned long long)(options->size >> 20),
				  type->name, strerror(error),
				  (unsigned long long)(ram->page >> 10));
		else
			log_error("cannot get %llu MiB of address space for "
				  "RAM: %s; give a smaller --memory or raise "
				  "ulimit -v",
				  (unsigned long long)(options->size >> 20),
				  strerror(error));
		return -error;
	}
	ram->region[0].host = host;
	if (options->check)
		ram->page = RAM_PAGE;
	return 0;
}

/* -- prefault ------------------------------------------------------------- */

/* A signal waits for one: 16 MiB take 4 ms, or 120 ms where pages are dear. */
#define PREFAULT_STEP (16ULL << 20)

static int prefault_step(uint8_t *host, uint64_t size)
{
	if (!madvise(host, size, MADV_POPULATE_WRITE))
		return 0;
	if (errno != EINVAL) /* EINVAL: a host before Linux 5.14 */
		return -errno;
	for (uint64_t at = 0; at < size; at += RAM_PAGE)
		((volatile uint8_t *)host)[at] = 0;
	return 0;
}

/* With page tables; 0, or -ENOMEM, logged. Huge pages are reserved by now. */
static int check_available(const struct ram *ram,
			   const struct ram_options *options, uint64_t step,
			   uint64_t done)
{
	const char *whose;
	uint64_t left;

	if (!options->left || ram_page_type(options->pages)->shift > 12)
		return 0;
	left = options->left(options->available, &whose);
	if (step + step / 256 <= left)
		return 0;
	log_error("--memory: prefault has %llu MiB still to allocate, and %s "
		  "has %llu MiB left; give a smaller --memory, or leave "
		  "prefault out",
		  (unsigned long long)(ram->size - done) >> 20, whose,
		  (unsigned long long)left >> 20);
	return -ENOMEM;
}

/* All of it must be there at first, and each step when it is taken. */
static int prefault(const struct ram *ram, const struct ram_options *options)
{
	uint64_t step = ram->page > PREFAULT_STEP ? ram->page : PREFAULT_STEP;
	int error = check_available(ram, options, ram->size, 0);

	for (uint64_t at = 0; at < ram->size && !error && !options->check;
	     at += step) {
		if (step > ram->size - at)
			step = ram->size - at;
		error = check_available(ram, options, step, at);
		if (error)
			break;
		error = prefault_step(ram->region[0].host + at, step);
		if (error)
			log_error("cannot prefault %llu MiB of RAM: %s; give a "
				  "smaller --memory",
				  (unsigned long long)ram->size >> 20,
				  strerror(-error));
	}
	return error;
}

/* Advice that the host cannot take is said once and does not stop us. */
static void advise_pages(uint8_t *host, uint64_t size, int advice,
			 const char *what)
{
	if (madvise(host, size, advice))
		log_warn("%s has no effect: this host's kernel says: %s", what,
			 strerror(errno));
}

int ram_create(struct ram *ram, const struct ram_options *options)
{
	const struct ram_page_type *type = ram_page_type(options->pages);
	uint64_t size = options->size, low;
	int error;

	*ram = (struct ram){ .size = size };
	if (size < RAM_PAGE || size & ((1ULL << type->shift) - 1)) {
		log_error("--memory is not a multiple of its %s pages",
			  type->name);
		return -EINVAL;
	}
	error = map_ram(ram, options);
	if (error)
		return error;
	low = size < RAM_GAP_START ? size : RAM_GAP_START;
	ram->region[0].size = low;
	ram->region[1] = (struct ram_region){
		.start = GPA(RAM_HIGH_START),
		.size = size - low,
		.host = ram->region[0].host + low,
	};
	if (options->pages == RAM_PAGES_THP)
		advise_pages(ram->region[0].host, size, MADV_HUGEPAGE,
			     "hugepages=thp");
	if (options->mergeable)
		advise_pages(ram->region[0].host, size, MADV_MERGEABLE,
			     "mergeable");
	if (options->prefault)
		error = prefault(ram, options);
	if (error)
		ram_destroy(ram);
	return error;
}

void ram_destroy(struct ram *ram)
{
	if (ram->region[0].host)
		munmap(ram->reserved, ram->room);
	*ram = (struct ram){ 0 };
}

void *ram_span(const struct ram *ram, gpa at, uint64_t len)
{
	for (unsigned i = 0; i < ARRAY_LEN(ram->region); i++) {
		const struct ram_region *region = &ram->region[i];
		uint64_t offset = at.v - region->start.v;

		if (at.v >= region->start.v && len && offset < region->size &&
		    len <= region->size - offset)
			return region->host + offset;
	}
	return NULL;
}

int ram_read(const struct ram *ram, void *to, gpa from, uint64_t len)
{
	const void *host = ram_span(ram, from, len);

	if (!host)
		return len ? -EFAULT : 0;
	memcpy(to, host, len);
	return 0;
}

int ram_write(const struct ram *ram, gpa to, const void *from, uint64_t len)
{
	void *host = ram_span(ram, to, len);

	if (!host)
		return len ? -EFAULT : 0;
	memcpy(host, from, len);
	return 0;
}

int ram_clear(const struct ram *ram, gpa at, uint64_t len)
{
	void *host = ram_span(ram, at, len);

	if (!host)
		return len ? -EFAULT : 0;
	memset(host, 0, len);
	return 0;
}

/* A signal is answered between two reads: from a slow disk they take long. */
#define READ_STEP (4ULL << 20)

static int read_file_part(int fd, uint8_t *to, uint64_t offset, uint64_t len)
{
	while (len) {
		ssize_t n = pread(fd, to, len < READ_STEP ? len : READ_STEP,
				  (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENODATA;
		to += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/*
 * Only a regular file that holds all of the range is mapped: a touch past a
 * file's end would be SIGBUS.
 */
static int may_map_file(int fd, uint64_t offset, uint64_t len, bool *may)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*may = S_ISREG(st.st_mode);
	if (*may && (uint64_t)st.st_size < offset + len)
		return -ENODATA;
	return 0;
}

static void note_mapping(struct ram *ram, uint64_t start, uint64_t end)
{
	struct ram_mapping *last = &ram->mapping[RAM_MAPPINGS_MAX - 1];

	if (ram->mapping_count < RAM_MAPPINGS_MAX) {
		ram->mapping[ram->mapping_count++] =
			(struct ram_mapping){ start, end };
		return;
	}
	if (start < last->start)
		last->start = start;
	if (end > last->end)
		last->end = end;
}

static int map_pages(struct ram *ram, uint8_t *host, int fd, uint64_t offset,
		     uint64_t len)
{
	const uint64_t start = (uint64_t)(host - ram->region[0].host);

	if (mmap(host, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd,
		 (off_t)offset) == MAP_FAILED)
		return -errno;
	note_mapping(ram, start, start + len);
	return 0;
}

/* ram_load's work, from a host address on: both have the same pages. */
static int load_host(struct ram *ram, uint8_t *host, int fd, uint64_t offset,
		     uint64_t len, bool copy)
{
	const uint64_t head = -(uintptr_t)host & (RAM_PAGE - 1);
	uint64_t body;
	bool may = false;
	int error;

	if (offset > INT64_MAX - len)
		return -ENODATA;
	error = may_map_file(fd, offset, len, &may);
	if (error)
		return error;
	if (copy || !may || ram->page != RAM_PAGE ||
	    ((uintptr_t)host ^ offset) % RAM_PAGE || len < head + RAM_PAGE)
		return read_file_part(fd, host, offset, len);
	body = (len - head) & ~(RAM_PAGE - 1);
	error = read_file_part(fd, host, offset, head);
	if (!error)
		error = map_pages(ram, host + head, fd, offset + head, body);
	if (error == -ENODEV) /* a file that cannot be mapped */
		error = read_file_part(fd, host + head, offset + head, body);
	if (!error)
		error = read_file_part(fd, host + head + body,
				       offset + head + body, len - head - body);
	return error;
}

int ram_load(struct ram *ram, gpa at, int fd, uint64_t offset, uint64_t len,
	     bool copy)
{
	uint8_t *host = ram_span(ram, at, len);

	if (!host)
		return len ? -EFAULT : 0;
	return load_host(ram, host, fd, offset, len, copy);
}

/*
 * Copies what there is of `len` bytes: a hole, which costs its file nothing,
 * must cost no memory, either. `offset` is a page's, and RAM still untouched.
 */
static int copy_data(struct ram *ram, uint8_t *host, int fd, uint64_t offset,
		     uint64_t len)
{
	const uint64_t last = offset + len;
	uint64_t from = offset, to;
	bool may;
	int error = may_map_file(fd, offset, len, &may);

	for (; from < last && !error; from = to) {
		off_t data = lseek(fd, (off_t)from, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO) /* holes only */
			break;
		if (data < 0) /* nobody knows */
			data = (off_t)from;
		hole = lseek(fd, data, SEEK_HOLE);
		to = hole > data ? round_up((uint64_t)hole, RAM_PAGE) : last;
		if (to > last)
			to = last;
		from = (uint64_t)data & ~(RAM_PAGE - 1);
		if (from < to)
			error = load_host(ram, host + (from - offset), fd, from,
					  to - from, true);
	}
	return error;
}

int ram_load_all(struct ram *ram, int fd, uint64_t offset, bool copy,
		 const struct ram_options *options)
{
	uint8_t *host = ram->region[0].host; /* of both regions */
	int error = copy ? copy_data(ram, host, fd, offset, ram->size)
			 : load_host(ram, host, fd, offset, ram->size, false);

	if (!error && options->mergeable)
		advise_pages(ram->region[0].host, ram->size, MADV_MERGEABLE,
			     "mergeable");
	if (!error && options->prefault)
		error = prefault(ram, options);
	return error;
}
