/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/kernel.c boot/source.c cpu/loop/format.c */
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c */
/* ELF kernels: what is loaded where, and every broken one refused. */
#include <errno.h>

#include "boot/kernel.h"
#include "tests/unit/boot_sample.h"
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

#define VIRTUAL 0xffffffff80000000ULL

/* As a vmlinux has it: page-aligned segments, a bss, one that is not aligned.
 */
static const struct sample_segment good[] = {
	{ PT_NOTE, 0x100, 0, 0, 0x40, 0x40 },
	{ PT_LOAD, 0x1000, VIRTUAL + 0x200000, 0x200000, 0x2100, 0x2100 },
	{ PT_LOAD, 0x4000, VIRTUAL + 0x300000, 0x300000, 0x1234, 0x9000 },
	{ PT_LOAD, 0x5238, 0, 0x400010, 0x1000, 0x3000 },
};

static struct sample sample;

static void make_good(void)
{
	sample_elf(&sample, good, ARRAY_LEN(good), 0x200040);
}

static int load(struct kernel_image *image, struct ram *ram, bool copy)
{
	int fd = file_of(sample.bytes, sample.len);
	int error = kernel_load(image, ram, fd, "vmlinux", copy);

	close(fd);
	return error;
}

static void test_good(void **state)
{
	struct kernel_image image;
	struct ram ram;

	(void)state;
	for (int copy = 0; copy <= 1; copy++) {
		make_good();
		make_ram(&ram, 64 * MIB);
		assert_int_equal(load(&image, &ram, copy), 0);
		expect_no_log();
		assert_true(image.entry.v == 0x200040);
		assert_true(image.start.v == 0x200000);
		assert_true(image.size == 0x403010 - 0x200000);
		assert_true(image.initrd_max.v == 3 * GIB - 1);
		assert_int_equal(image.cmdline_max, 2047);
		assert_int_equal(image.setup_header_len, 0);

		expect_bytes(&ram, 0x200000, sample.bytes + 0x1000, 0x2100);
		expect_bytes(&ram, 0x300000, sample.bytes + 0x4000, 0x1234);
		expect_bytes(&ram, 0x400010, sample.bytes + 0x5238, 0x1000);
		/* All around them, and the bss, nothing of the file. */
		expect_zero(&ram, 0, 0x200000);
		expect_zero(&ram, 0x202100, 0x300000 - 0x202100);
		expect_zero(&ram, 0x301234, 0x400010 - 0x301234);
		expect_zero(&ram, 0x401010, 0x10000);
		assert_int_equal(is_mapped(&ram, 0x200000), !copy);
		assert_int_equal(is_mapped(&ram, 0x201000), !copy);
		assert_int_equal(is_mapped(&ram, 0x300000), !copy);
		assert_false(is_mapped(&ram, 0x202000));
		assert_false(is_mapped(&ram, 0x301000));
		assert_false(is_mapped(&ram, 0x400000));
		ram_destroy(&ram);
	}
}

/* A guest that writes over its kernel changes neither file nor neighbour. */
static void test_private(void **state)
{
	uint8_t again[SAMPLE_MAX];
	struct kernel_image image;
	struct ram ram[2];
	int fd;

	(void)state;
	make_good();
	fd = file_of(sample.bytes, sample.len);
	for (unsigned i = 0; i < 2; i++) {
		make_ram(&ram[i], 64 * MIB);
		assert_int_equal(kernel_load(&image, &ram[i], fd, "x", false),
				 0);
	}
	memset(ram_span(&ram[0], GPA(0x200000), 0x2100), 0, 0x2100);
	expect_bytes(&ram[1], 0x200000, sample.bytes + 0x1000, 0x2100);
	assert_int_equal(pread(fd, again, sizeof(again), 0), sample.len);
	assert_memory_equal(again, sample.bytes, sample.len);
	assert_true(is_mapped(&ram[1], 0x200000));
	close(fd);
	for (unsigned i = 0; i < 2; i++)
		ram_destroy(&ram[i]);
}

static void test_entry(void **state)
{
	static const struct {
		uint64_t e_entry, physical;
	} cases[] = {
		{ 0x200000, 0x200000 },
		{ 0x2020ff, 0x2020ff },
		{ 0x301233, 0x301233 },
		{ VIRTUAL + 0x200040, 0x200040 },
		{ VIRTUAL + 0x301233, 0x301233 },
		/* The last segment's p_vaddr is 0, like Linux's per-CPU data.
		 */
		{ 0xfff, 0x40100f },
	};
	struct kernel_image image;
	struct ram ram;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		make_good();
		put_le64(sample.bytes + offsetof(Elf64_Ehdr, e_entry),
			 cases[i].e_entry);
		make_ram(&ram, 64 * MIB);
		assert_int_equal(load(&image, &ram, false), 0);
		assert_true(image.entry.v == cases[i].physical);
		ram_destroy(&ram);
	}
}

/* Physical wins where an address could be either. */
static void test_entry_physical_first(void **state)
{
	static const struct sample_segment both[] = {
		{ PT_LOAD, 0x1000, 0x300000, 0x200000, 0x1000, 0x1000 },
		{ PT_LOAD, 0x2000, 0x200000, 0x300000, 0x1000, 0x1000 },
	};
	struct kernel_image image;
	struct ram ram;

	(void)state;
	sample_elf(&sample, both, ARRAY_LEN(both), 0x300004);
	make_ram(&ram, 64 * MIB);
	assert_int_equal(load(&image, &ram, false), 0);
	assert_true(image.entry.v == 0x300004);
	ram_destroy(&ram);
}

/* Two segments that meet within a page must not wipe each other. */
static void test_shared_page(void **state)
{
	static const struct sample_segment meet[] = {
		{ PT_LOAD, 0x3800, 0, 0x102800, 0x2000, 0x2000 },
		{ PT_LOAD, 0x1000, 0, 0x100000, 0x2800, 0x2800 },
	};
	struct kernel_image image;
	struct ram ram;

	(void)state;
	sample_elf(&sample, meet, ARRAY_LEN(meet), 0x100000);
	make_ram(&ram, 64 * MIB);
	assert_int_equal(load(&image, &ram, false), 0);
	expect_bytes(&ram, 0x100000, sample.bytes + 0x1000, 0x4800);
	expect_zero(&ram, 0x104800, 0x1000);
	assert_true(is_mapped(&ram, 0x100000));
	assert_false(is_mapped(&ram, 0x102000));
	assert_true(is_mapped(&ram, 0x103000));
	ram_destroy(&ram);
}

/* Empty segments, and a bss whose offset is past the end, do no harm. */
static void test_odd_but_good(void **state)
{
	static const struct sample_segment odd[] = {
		{ PT_LOAD, UINT64_MAX, 0, UINT64_MAX, 0, 0 },
		{ PT_LOAD, 0x1000, 0, 64 * MIB - 0x1000, 0x1000, 0x1000 },
		{ PT_LOAD, UINT64_MAX, 0, 0x100000, 0, 0x1000 },
	};
	struct kernel_image image;
	struct ram ram;

	(void)state;
	sample_elf(&sample, odd, ARRAY_LEN(odd), 64 * MIB - 1);
	make_ram(&ram, 64 * MIB);
	assert_int_equal(load(&image, &ram, false), 0);
	assert_true(image.start.v == 0x100000);
	assert_true(image.size == 63 * MIB);
	assert_true(image.entry.v == 64 * MIB - 1);
	ram_destroy(&ram);
}

/*
 * As many segments as there may be, page behind page; the last of them ends
 * with the file, and the kernel starts in its last byte. One more is too many.
 */
static void test_most_segments(void **state)
{
	struct sample_segment many[65];
	struct kernel_image image;
	struct ram ram;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (struct sample_segment){
			PT_LOAD, 0x1000 + i * 0x100,
			0,	 0x100000 + i * 0x1000,
			0x100,	 0x1000,
		};
	for (unsigned count = 63; count <= 64; count++) {
		const uint64_t last = 0x100000 + (count - 1) * 0x1000;

		sample_elf(&sample, many, count, last + 0xff);
		assert_int_equal(sample.len, 0x1000 + count * 0x100);
		make_ram(&ram, 64 * MIB);
		assert_int_equal(load(&image, &ram, false), 0);
		assert_true(image.entry.v == last + 0xff);
		assert_true(image.size == count * 0x1000);
		for (unsigned i = 0; i < count; i++)
			expect_bytes(&ram, many[i].paddr,
				     sample.bytes + many[i].offset, 0x100);
		ram_destroy(&ram);
	}
	sample_elf(&sample, many, 65, 0x100000);
	make_ram(&ram, 64 * MIB);
	assert_int_equal(load(&image, &ram, false), -EINVAL);
	expect_log("65 program headers; 64 are");
	expect_zero(&ram, 0, 0x200000);
	ram_destroy(&ram);
}

/* What the file's end cuts by a byte is refused, what meets it is not. */
static void test_at_the_end(void **state)
{
	const size_t table =
		SAMPLE_PHDR(ARRAY_LEN(good), p_type) - sizeof(Elf64_Ehdr);
	struct kernel_image image;
	struct ram ram;

	(void)state;
	for (unsigned i = 0; i <= 1; i++) {
		/* the last segment ... */
		make_good();
		put_le64(sample.bytes + SAMPLE_PHDR(3, p_filesz), 0x1000 + i);
		make_ram(&ram, 64 * MIB);
		assert_int_equal(load(&image, &ram, false), i ? -ENODATA : 0);
		if (i)
			expect_log("segment 3 is at 0x5238 with 4097 bytes");
		ram_destroy(&ram);
		/* ... and the program headers themselves */
		make_good();
		memcpy(sample.bytes + sample.len,
		       sample.bytes + sizeof(Elf64_Ehdr), table);
		put_le64(sample.bytes + offsetof(Elf64_Ehdr, e_phoff),
			 sample.len);
		sample.len += table - i;
		make_ram(&ram, 64 * MIB);
		assert_int_equal(load(&image, &ram, false), i ? -ENODATA : 0);
		if (i)
			expect_log("program headers at 0x6238 are past");
		ram_destroy(&ram);
	}
	expect_no_log();
}

#define EHDR(field)	   offsetof(Elf64_Ehdr, field)
#define PHDR(index, field) SAMPLE_PHDR(index, field)

/* One field of the good file spoiled: segment 1 is the first PT_LOAD. */
static const struct spoiled {
	size_t offset;
	size_t width;
	uint64_t value;
	int error;
	const char *log;
} spoiled[] = {
	{ EI_CLASS, 1, ELFCLASS32, -ENOEXEC, "32-bit ELF" },
	{ EI_CLASS, 1, 0x7f, -ENOEXEC, "is a 32-bit ELF file; give a 64-bit" },
	{ EI_DATA, 1, ELFDATA2MSB, -ENOEXEC, "big-endian" },
	{ EHDR(e_machine), 2, EM_386, -ENOEXEC, "is for 32-bit x86" },
	{ EHDR(e_machine), 2, EM_AARCH64, -ENOEXEC, "is for ARM64" },
	{ EHDR(e_machine), 2, EM_ARM, -ENOEXEC, "is for 32-bit ARM" },
	{ EHDR(e_machine), 2, EM_RISCV, -ENOEXEC, "is for RISC-V" },
	{ EHDR(e_machine), 2, EM_PPC, -ENOEXEC, "PowerPC (ELF machine 20)" },
	{ EHDR(e_machine), 2, EM_PPC64, -ENOEXEC, "is for PowerPC 64" },
	{ EHDR(e_machine), 2, EM_S390, -ENOEXEC, "is for s390" },
	{ EHDR(e_machine), 2, EM_MIPS, -ENOEXEC, "is for MIPS" },
	{ EHDR(e_machine), 2, EM_SPARCV9, -ENOEXEC, "is for SPARC 64" },
	{ EHDR(e_machine), 2, 258, -ENOEXEC, "is for LoongArch" },
	{ EHDR(e_machine), 2, 0xffff, -ENOEXEC, "machine 65535" },
	{ EHDR(e_type), 2, ET_NONE, -ENOEXEC, "file of no type" },
	{ EHDR(e_type), 2, ET_DYN, -ENOEXEC, "position-independent" },
	{ EHDR(e_type), 2, ET_REL, -ENOEXEC, "object file or module" },
	{ EHDR(e_type), 2, ET_CORE, -ENOEXEC, "core dump" },
	{ EHDR(e_type), 2, 0xfe00, -ENOEXEC, "type 65024" },

	{ EHDR(e_phnum), 2, 0, -EINVAL, "no program headers" },
	{ EHDR(e_phnum), 2, 65, -EINVAL, "65 program headers; 64 are" },
	{ EHDR(e_phnum), 2, 0xffff, -EINVAL, "65535 program headers" },
	{ EHDR(e_phentsize), 2, 0, -EINVAL, "headers of 0 bytes" },
	{ EHDR(e_phentsize), 2, 32, -EINVAL, "headers of 32 bytes" },
	{ EHDR(e_phentsize), 2, 0xffff, -EINVAL, "of 65535 bytes" },
	{ EHDR(e_phoff), 8, 0x10000, -ENODATA, "cut short or damaged" },
	{ EHDR(e_phoff), 8, UINT64_MAX, -ENODATA, "cut short or damaged" },
	{ EHDR(e_phoff), 8, UINT64_MAX - 223, -ENODATA,
	  "cut short or damaged" },
	{ EHDR(e_phoff), 8, INT64_MAX, -ENODATA, "cut short or damaged" },
	{ EHDR(e_phnum), 2, 1, -EINVAL, "no PT_LOAD" },

	{ PHDR(0, p_type), 4, PT_INTERP, -ENOEXEC, "not a kernel" },
	{ PHDR(1, p_filesz), 8, 0x2101, -EINVAL, "segment 1 has more bytes" },
	{ PHDR(1, p_filesz), 8, UINT64_MAX, -EINVAL, "segment 1 has more" },
	{ PHDR(1, p_memsz), 8, 0, -EINVAL, "segment 1 has more bytes" },
	{ PHDR(2, p_offset), 8, 0x6000, -ENODATA, "segment 2 is at 0x6000" },
	{ PHDR(2, p_offset), 8, UINT64_MAX, -ENODATA, "cut short or damaged" },
	{ PHDR(2, p_offset), 8, UINT64_MAX - 0x1233, -ENODATA, "cut short" },
	{ PHDR(2, p_offset), 8, INT64_MAX, -ENODATA, "cut short or damaged" },

	{ PHDR(1, p_paddr), 8, 0, -EINVAL, "below 1 MiB" },
	{ PHDR(1, p_paddr), 8, 0xfffff, -EINVAL, "below 1 MiB" },
	{ PHDR(1, p_paddr), 8, VIRTUAL, -EINVAL, "not below 3 GiB" },
	{ PHDR(1, p_paddr), 8, UINT64_MAX, -EINVAL, "not below 3 GiB" },
	{ PHDR(1, p_paddr), 8, UINT64_MAX - 0x20ff, -EINVAL, "not below 3" },
	{ PHDR(1, p_paddr), 8, 3 * GIB, -EINVAL, "not below 3 GiB" },
	{ PHDR(1, p_paddr), 8, 3 * GIB - 0x1000, -EINVAL, "not below 3 GiB" },
	{ PHDR(1, p_paddr), 8, 4 * GIB, -EINVAL, "not below 3 GiB" },
	{ PHDR(1, p_memsz), 8, UINT64_MAX, -EINVAL, "not below 3 GiB" },
	{ PHDR(1, p_memsz), 8, UINT64_MAX - 0x1fffff, -EINVAL, "not below 3" },
	{ PHDR(1, p_paddr), 8, 64 * MIB, -ENOMEM, "--memory 65M or more" },
	{ PHDR(1, p_paddr), 8, 64 * MIB - 0x1000, -ENOMEM, "--memory 65M" },
	{ PHDR(3, p_memsz), 8, 120 * MIB, -ENOMEM, "--memory 125M or more" },
	{ PHDR(3, p_paddr), 8, 3 * GIB - 0x3000, -ENOMEM, "--memory 3072M" },

	{ PHDR(2, p_paddr), 8, 0x200000, -EINVAL, "segments 1 and 2 overlap" },
	{ PHDR(2, p_paddr), 8, 0x2020ff, -EINVAL, "segments 1 and 2 overlap" },
	{ PHDR(2, p_paddr), 8, 0x1f7001, -EINVAL, "segments 1 and 2 overlap" },
	{ PHDR(2, p_paddr), 8, 0x1fff00, -EINVAL, "segments 1 and 2 overlap" },
	{ PHDR(3, p_paddr), 8, 0x308fff, -EINVAL, "segments 2 and 3 overlap" },
	{ PHDR(1, p_memsz), 8, 0x300000, -EINVAL, "segments 1 and 2 overlap" },

	{ EHDR(e_entry), 8, 0x1000, -EINVAL, "entry at 0x1000, outside" },
	{ EHDR(e_entry), 8, 0x202100, -EINVAL, "outside of what it loads" },
	{ EHDR(e_entry), 8, 0x301234, -EINVAL, "outside of what it loads" },
	{ EHDR(e_entry), 8, VIRTUAL + 0x1fffff, -EINVAL, "outside of what" },
	{ EHDR(e_entry), 8, UINT64_MAX, -EINVAL, "outside of what it loads" },
};

static void spoil(size_t offset, size_t width, uint64_t value)
{
	memcpy(sample.bytes + offset, &value, width);
}

static void test_spoiled(void **state)
{
	struct kernel_image image;
	struct ram ram;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(spoiled); i++) {
		const struct spoiled *one = &spoiled[i];
		int error;

		make_good();
		spoil(one->offset, one->width, one->value);
		make_ram(&ram, 64 * MIB);
		error = load(&image, &ram, false);
		if (error != one->error)
			fail_msg("case %zu (%s): %d, not %d: %s", i, one->log,
				 error, one->error, logged.last);
		expect_log(one->log);
		/* Judged before anything was put there. */
		expect_zero(&ram, 0, 0x500000);
		ram_destroy(&ram);
	}
}

static void test_just_apart(void **state)
{
	static const uint64_t places[] = { 0x202100, 0x1f7000 };
	struct kernel_image image;
	struct ram ram;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		make_good();
		spoil(PHDR(2, p_paddr), 8, places[i]);
		make_ram(&ram, 64 * MIB);
		assert_int_equal(load(&image, &ram, false), 0);
		expect_bytes(&ram, 0x200000, sample.bytes + 0x1000, 0x2100);
		expect_bytes(&ram, places[i], sample.bytes + 0x4000, 0x1234);
		ram_destroy(&ram);
	}
}

/* Cut at every length: refused until the last byte is there. */
static void test_cut(void **state)
{
	struct kernel_image image;
	struct ram ram;
	size_t whole;

	(void)state;
	make_good();
	whole = sample.len;
	make_ram(&ram, 64 * MIB);
	for (sample.len = 4; sample.len < whole; sample.len++) {
		int error = load(&image, &ram, false);

		if (error != -ENODATA && error != -ENOEXEC && error != -EINVAL)
			fail_msg("%zu bytes: %d", sample.len, error);
		if (sample.len >= sizeof(Elf64_Ehdr))
			assert_int_equal(error, -ENODATA);
		assert_int_equal(logged.count, 1);
		logged.count = 0;
		sample.len += sample.len > 0x200 ? 0x3f : 0;
	}
	ram_destroy(&ram);
}

/* Any one bit of the headers wrong: loaded, or refused with one line. */
static void test_flips(void **state)
{
	struct kernel_image image;
	size_t headers = SAMPLE_PHDR(ARRAY_LEN(good), p_type);
	unsigned refused = 0;
	struct ram ram;

	(void)state;
	for (size_t bit = 0; bit < headers * 8; bit++) {
		int error;

		make_good();
		sample.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		make_ram(&ram, 64 * MIB);
		error = load(&image, &ram, false);
		assert_int_equal(logged.count, error ? 1 : 0);
		assert_true(error <= 0);
		if (!error)
			assert_non_null(ram_span(&ram, image.entry, 1));
		refused += logged.count;
		logged.count = 0;
		ram_destroy(&ram);
	}
	assert_true(refused > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_private),
		cmocka_unit_test(test_entry),
		cmocka_unit_test(test_entry_physical_first),
		cmocka_unit_test(test_shared_page),
		cmocka_unit_test(test_odd_but_good),
		cmocka_unit_test(test_most_segments),
		cmocka_unit_test(test_at_the_end),
		cmocka_unit_test(test_spoiled),
		cmocka_unit_test(test_just_apart),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_flips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
