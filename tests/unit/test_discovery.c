/* uses: boot/discovery.c boot/cmdline.c mem/ram.c */
/* Which kernels are given virtio_mmio.device= words, and which words. */
#include <elf.h>
#include <errno.h>

#include "boot/discovery.h"
#include "tests/unit/boot_help.h"

#define MAP	   0xffffffff80000000ULL
#define PARAMS_AT  0x200000ULL /* in RAM */
#define NAMES_AT   0x300000ULL
#define PARAM_SIZE 40

static struct ram ram;
static const struct kernel_image elf_kernel, bzimage = { .bzimage = true };

/* A vmlinux as far as it matters here: section headers and their names. */
static struct image {
	Elf64_Ehdr head;
	Elf64_Shdr section[4];
	char names[32];
} image;

static void make_image(void)
{
	static const char names[] = "\0.text\0__param\0.shstrtab";

	memset(&image, 0, sizeof(image));
	image.head.e_shoff = offsetof(struct image, section);
	image.head.e_shentsize = sizeof(image.section[0]);
	image.head.e_shnum = ARRAY_LEN(image.section);
	image.head.e_shstrndx = 3;
	image.section[1].sh_name = 1;
	image.section[2].sh_name = 7;
	image.section[2].sh_addr = MAP + PARAMS_AT;
	image.section[2].sh_size = (Elf64_Xword)3 * PARAM_SIZE;
	image.section[3].sh_name = 15;
	image.section[3].sh_offset = offsetof(struct image, names);
	image.section[3].sh_size = sizeof(names);
	memcpy(image.names, names, sizeof(names));
}

static void set_param(unsigned index, const char *name)
{
	const uint64_t at = NAMES_AT + (uint64_t)index * 64;
	uint8_t bytes[8];

	put_le64(bytes, MAP + at);
	ram_write(&ram, GPA(PARAMS_AT + (uint64_t)index * PARAM_SIZE), bytes,
		  8);
	ram_write(&ram, GPA(at), name, strlen(name) + 1);
}

static bool wants(const struct kernel_image *kernel, const void *file,
		  size_t len, const char *words)
{
	struct cmdline line;
	int fd = file_of(file, len);
	bool wanted;

	cmdline_init(&line);
	assert_int_equal(cmdline_add(&line, words), 0);
	wanted = discovery_wants_words(kernel, &ram, fd, &line);
	close(fd);
	expect_no_log();
	return wanted;
}

static bool image_wants(void)
{
	return wants(&elf_kernel, &image, sizeof(image), "quiet");
}

static int setup(void **state)
{
	(void)state;
	make_ram(&ram, 32 * MIB);
	make_image();
	set_param(0, "printk.time");
	set_param(1, "virtio_mmio.devices");
	set_param(2, "virtio_mmio.dev");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ram_destroy(&ram);
	return 0;
}

static void test_parameter(void **state)
{
	(void)state;
	assert_false(image_wants());
	for (unsigned i = 0; i < 3; i++) {
		set_param(i, "virtio_mmio.device");
		assert_true(image_wants());
		set_param(i, "other");
	}
	assert_false(image_wants());
	/* Beyond the section. */
	set_param(3, "virtio_mmio.device");
	assert_false(image_wants());
}

/* Odd files: it cannot be told, and nothing is read that is not there. */
static void test_odd(void **state)
{
	static const uint8_t far[] = { 0xff, 0xff, 0xff, 0xff,
				       0xff, 0xff, 0xff, 0xff };
	const struct {
		void *field;
		size_t size;
		uint64_t value;
	} cases[] = {
		{ &image.head.e_shnum, 2, 0 },
		{ &image.head.e_shnum, 2, 129 },
		{ &image.head.e_shnum, 2, 0xffff },
		{ &image.head.e_shnum, 2, 2 },
		{ &image.head.e_shentsize, 2, 63 },
		{ &image.head.e_shstrndx, 2, 4 },
		{ &image.head.e_shstrndx, 2, 0xffff },
		{ &image.head.e_shoff, 8, sizeof(image) },
		{ &image.head.e_shoff, 8, UINT64_MAX },
		{ &image.section[3].sh_size, 8, UINT64_MAX },
		{ &image.section[3].sh_size, 8, 4096 },
		{ &image.section[3].sh_offset, 8, UINT64_MAX - 3 },
		{ &image.section[2].sh_name, 4, 4096 },
		{ &image.section[2].sh_name, 4, UINT32_MAX },
		{ &image.section[2].sh_size, 8, 41 },
		{ &image.section[2].sh_size, 8, UINT64_MAX - 15 },
		{ &image.section[2].sh_size, 8, 40ULL * 16385 },
		{ &image.section[2].sh_addr, 8, PARAMS_AT },
		{ &image.section[2].sh_addr, 8, MAP + 32 * MIB - 40 },
		{ &image.section[2].sh_addr, 8, UINT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		make_image();
		assert_false(image_wants());
		memcpy(cases[i].field, &cases[i].value, cases[i].size);
		if (!image_wants())
			fail_msg("case %zu", i);
	}
	make_image();
	assert_true(wants(&elf_kernel, &image, 63, "quiet"));
	assert_true(wants(&elf_kernel, &image,
			  offsetof(struct image, section[3]), "quiet"));
	/* Names that are nowhere are not the name. */
	ram_write(&ram, GPA(PARAMS_AT), far, sizeof(far));
	assert_false(image_wants());
}

static void test_bzimage(void **state)
{
	static uint8_t file[200000];

	(void)state;
	assert_true(wants(&bzimage, file, sizeof(file), "quiet"));
	memcpy(file + sizeof(file) - 20000, "RSD PTR ", 8);
	assert_false(wants(&bzimage, file, sizeof(file), "quiet"));
	assert_true(wants(&bzimage, file, sizeof(file), "quiet acpi=off"));
	assert_false(wants(&bzimage, file, sizeof(file), "acpi=on"));
	/* Among what is unpacked it means nothing. */
	assert_true(wants(&bzimage, file, sizeof(file) - 19996, "quiet"));
	memcpy(file, "RSD PTR ", 8);
	assert_true(wants(&bzimage, file, 100000, "quiet"));
	assert_false(wants(&bzimage, file, 8, "quiet"));
}

static void test_words(void **state)
{
	struct cmdline line;

	(void)state;
	cmdline_init(&line);
	assert_int_equal(discovery_add_words(&line, 0), 0);
	assert_string_equal(line.text, "");
	assert_int_equal(discovery_add_words(&line, 2), 0);
	assert_string_equal(line.text, "virtio_mmio.device=4K@0xd0100000:5 "
				       "virtio_mmio.device=4K@0xd0101000:6");
	/* All slots leave two thirds of the line. */
	cmdline_init(&line);
	assert_int_equal(discovery_add_words(&line, 19), 0);
	assert_non_null(strstr(line.text, "=4K@0xd0112000:23"));
	assert_true(line.len < 700);
	discovery_add_words(&line, 19);
	discovery_add_words(&line, 19);
	assert_int_equal(discovery_add_words(&line, 19), -E2BIG);
	expect_log("no room");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_parameter, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_odd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bzimage, setup, teardown),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
