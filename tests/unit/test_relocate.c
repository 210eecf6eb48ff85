/* SPDX-License-Identifier: Apache-2.0 */
/* uses: mem/relocate.c */
/* A program's own relocation, of an image that is made here. */
#include "tests/unit/unit.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef DT_RELR
#define DT_RELRSZ 35
#define DT_RELR	  36
#endif

#define PAGE	 4096u
#define WORDS	 (PAGE / 8)
#define TABLE_AT 0x800u /* in the first page */

void relocate_itself(uintptr_t base, Elf64_Dyn *dynamic);

/* The header and the table; words to be relocated, and the dynamic section. */
struct image {
	union {
		struct {
			Elf64_Ehdr header;
			Elf64_Phdr part;
		};
		uint64_t words[WORDS];
	} first;
	uint64_t words[WORDS];
	uint64_t others[WORDS];
};

static struct image *image;
static Elf64_Dyn dynamic[3];

static uint64_t base(void)
{
	return (uint64_t)(uintptr_t)image;
}

/* Words 0, 1, 3 and 63 of the second page, and 65, which is word 1 of a map. */
static int make_image(void **state)
{
	uint64_t *table;

	(void)state;
	image = mmap(NULL, sizeof(*image), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(image != MAP_FAILED);
	image->first.header.e_phoff = sizeof(image->first.header);
	image->first.header.e_phnum = 1;
	image->first.part = (Elf64_Phdr){ .p_type = PT_GNU_RELRO,
					  .p_vaddr = PAGE,
					  .p_memsz = PAGE };
	table = &image->first.words[TABLE_AT / 8];
	table[0] = PAGE;
	table[1] = 1 | 1ULL << 1 | 1ULL << 3 | 1ULL << 63;
	table[2] = 1 | 1ULL << 2;
	for (unsigned i = 0; i < WORDS; i++)
		image->words[i] = i;
	dynamic[0] = (Elf64_Dyn){ DT_RELRSZ, { 3 * sizeof(*table) } };
	dynamic[1] = (Elf64_Dyn){ DT_RELR, { TABLE_AT } };
	dynamic[2] = (Elf64_Dyn){ DT_NULL, { 0 } };
	return 0;
}

static int unmap_image(void **state)
{
	(void)state;
	return munmap(image, sizeof(*image));
}

static void must_be_relocated_once(void)
{
	for (unsigned i = 0; i < WORDS; i++) {
		const bool pointer =
			i == 0 || i == 1 || i == 3 || i == 63 || i == 65;

		assert_int_equal(image->words[i], pointer ? base() + i : i);
	}
}

static void test_relocate_packed_places(void **state)
{
	(void)state;
	relocate_itself(base(), dynamic);
	must_be_relocated_once();
}

/* That of a C library which knows packed places, too. */
static void test_relocate_leaves_nothing(void **state)
{
	(void)state;
	relocate_itself(base(), dynamic);
	relocate_itself(base(), dynamic);
	must_be_relocated_once();
}

/* The kernel says whether it could write there. */
static bool is_writable(void *at)
{
	const int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	const bool writable = read(fd, at, 1) == 1;

	close(fd);
	return writable;
}

static void test_relocate_protects(void **state)
{
	(void)state;
	assert_true(is_writable(&image->words[WORDS - 1]));
	relocate_itself(base(), dynamic);
	assert_true(is_writable(&image->first.words[WORDS - 1]));
	assert_false(is_writable(&image->words[0]));
	assert_false(is_writable(&image->words[WORDS - 1]));
	assert_true(is_writable(&image->others[0]));
}

#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(name, make_image, unmap_image)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_relocate_packed_places),
		CASE(test_relocate_leaves_nothing),
		CASE(test_relocate_protects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
