/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the fuzzer's first kernels, a few hundred bytes each, into the
 * directory given. Only to be run again when they should change:
 *
 *	cc -D_GNU_SOURCE -I. -o build/seed_kernel tests/fuzz/seed_kernel.c
 *	build/seed_kernel tests/fuzz/corpus/kernel
 */
#include <stdio.h>

#include "tests/unit/boot_sample.h"

#define HIGH 0xffffffff80000000ULL

/* Two segments and a note; a bss; one that goes to a page of its own. */
static const struct sample_segment segments[] = {
	{ PT_NOTE, 0x120, 0, 0, 0x20, 0x20 },
	{ PT_LOAD, 0x120, HIGH + 0x100120, 0x100120, 0x60, 0x60 },
	{ PT_LOAD, 0x180, HIGH + 0x102000, 0x102000, 0x40, 0x9000 },
};

static int save(const char *directory, const char *name,
		const struct sample *sample)
{
	char path[4096];
	FILE *file;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "wb");
	if (!file) {
		perror(path);
		return 1;
	}
	n = fwrite(sample->bytes, 1, sample->len, file);
	return fclose(file) || n != sample->len;
}

int main(int argc, char **argv)
{
	static struct sample sample;
	int failed = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: seed_kernel DIRECTORY\n");
		return 2;
	}
	sample_elf(&sample, segments, 3, 0x100140);
	failed |= save(argv[1], "elf", &sample);
	sample_elf(&sample, segments + 1, 1, HIGH + 0x100120);
	failed |= save(argv[1], "elf-virtual-entry", &sample);
	sample_bzimage(&sample, 1, 0x28, 0x10000);
	failed |= save(argv[1], "bzimage", &sample);
	put_le64(sample.bytes + 0x258, 0); /* no pref_address */
	failed |= save(argv[1], "bzimage-no-address", &sample);
	memset(sample.bytes + 0x202, 0, 4); /* no HdrS: a boot sector */
	sample.len = 0x220;
	failed |= save(argv[1], "boot-sector", &sample);
	return failed;
}
