/*
 * Whether a kernel needs virtio_mmio.device= words on its command line.
 *
 * Both discoveries can be there at once without harm (LAYOUT_VIRTIO_ALIAS), so
 * what is guessed here never decides whether a device is found. But the module
 * virtio_mmio of a kernel built without the parameter logs a warning for each
 * word, so a kernel that has no use for them should not get them:
 *
 * - a vmlinux, where its section __param (struct kernel_param of Linux's
 *   include/linux/moduleparam.h: a name's address first, 40 bytes in all) does
 *   not have the parameter;
 * - a bzImage, where the part that unpacks it looks for ACPI's RSDP itself:
 *   then it has ACPI, unless the command line switches that off.
 *
 * The file is hostile: each number in it is checked, what is odd counts as "it
 * cannot be told". Owns nothing. Main thread, before the vCPUs run.
 */
#include "boot/discovery.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/layout.h"
#include "cpu/vm.h"
#include "mem/util.h"

#define PARAMETER    "virtio_mmio.device"
#define PARAM_SIZE   40u
#define PARAMS_MAX   16384u
#define SECTIONS_MAX 128u
#define NAMES_MAX    4096u
#define TAIL_MAX     (64u << 10)
#define KERNEL_MAP   0xffffffff80000000ULL /* asm/page_64_types.h */

static bool read_at(int fd, void *to, size_t len, uint64_t offset)
{
	return offset <= INT64_MAX &&
	       pread(fd, to, len, (off_t)offset) == (ssize_t)len;
}

/* The section headers and names of a vmlinux; `count` 0: none, or odd ones. */
struct sections {
	unsigned count;
	Elf64_Shdr header[SECTIONS_MAX];
	char name[NAMES_MAX]; /* the last byte is NUL */
};

static void read_sections(struct sections *s, int fd)
{
	const Elf64_Shdr *names;
	Elf64_Ehdr head;

	s->count = 0;
	if (!read_at(fd, &head, sizeof(head), 0) ||
	    head.e_shentsize != sizeof(s->header[0]) ||
	    head.e_shnum > SECTIONS_MAX || head.e_shstrndx >= head.e_shnum ||
	    !read_at(fd, s->header, head.e_shnum * sizeof(s->header[0]),
		     head.e_shoff))
		return;
	names = &s->header[head.e_shstrndx];
	if (names->sh_size >= NAMES_MAX ||
	    !read_at(fd, s->name, names->sh_size, names->sh_offset))
		return;
	s->name[names->sh_size] = '\0';
	s->name[NAMES_MAX - 1] = '\0';
	s->count = head.e_shnum;
}

static const Elf64_Shdr *find_section(const struct sections *s,
				      const char *name)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->header[i].sh_name < NAMES_MAX &&
		    !strcmp(s->name + s->header[i].sh_name, name))
			return &s->header[i];
	return NULL;
}

/* What the kernel, as it lies in RAM, has at one of its own addresses. */
static const uint8_t *at_virtual(const struct ram *ram, uint64_t address,
				 uint64_t len)
{
	return address < KERNEL_MAP
		       ? NULL
		       : ram_span(ram, GPA(address - KERNEL_MAP), len);
}

static bool elf_may_have_parameter(const struct ram *ram, int fd)
{
	static struct sections sections; /* too large for the stack */
	const Elf64_Shdr *section;
	const uint8_t *params, *name;

	read_sections(&sections, fd);
	section = find_section(&sections, "__param");
	if (!section || section->sh_size % PARAM_SIZE ||
	    section->sh_size / PARAM_SIZE > PARAMS_MAX)
		return true;
	params = at_virtual(ram, section->sh_addr, section->sh_size);
	if (!params)
		return true;
	for (uint64_t i = 0; i < section->sh_size; i += PARAM_SIZE) {
		name = at_virtual(ram, get_le64(params + i), sizeof(PARAMETER));
		if (name && !memcmp(name, PARAMETER, sizeof(PARAMETER)))
			return true;
	}
	return false;
}

/* The unpacker is the end of the file, behind what it unpacks. */
static bool bzimage_has_acpi(int fd)
{
	static uint8_t tail[TAIL_MAX];
	struct stat st;
	size_t len;

	if (fstat(fd, &st) || st.st_size <= 0)
		return false;
	len = st.st_size < TAIL_MAX ? (size_t)st.st_size : TAIL_MAX;
	return read_at(fd, tail, len, (uint64_t)st.st_size - len) &&
	       memmem(tail, len, "RSD PTR ", 8);
}

bool discovery_wants_words(const struct kernel_image *kernel,
			   const struct ram *ram, int fd,
			   const struct cmdline *line)
{
	if (!kernel->bzimage)
		return elf_may_have_parameter(ram, fd);
	return cmdline_has_value(line, "acpi", "off") || !bzimage_has_acpi(fd);
}

/* Linux, Documentation/admin-guide/kernel-parameters.txt. */
int discovery_add_words(struct cmdline *line, unsigned slots)
{
	char word[48];
	int error = 0;

	for (unsigned i = 0; i < slots && !error; i++) {
		snprintf(word, sizeof(word), PARAMETER "=4K@0x%x:%u",
			 LAYOUT_VIRTIO_ALIAS + i * LAYOUT_VIRTIO_SLOT,
			 VM_GSI_VIRTIO + i);
		error = cmdline_add(line, word);
	}
	return error;
}
