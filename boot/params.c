/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The "zero page".
 *
 * A bzImage brings its own setup header, which is passed on; for an ELF kernel
 * one is made up. The memory map: RAM up to 0x9fc00, reserved for tables up to
 * 1 MiB, RAM around the gap below 4 GiB. Owns nothing. Main thread.
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "boot/cmdline.h"
#include "boot/initrd.h"
#include "boot/kernel.h"
#include "boot/layout.h"
#include "mem/log.h"
#include "mem/util.h"

#define HEADER_MAGIC   0x53726448 /* "HdrS" */
#define HEADER_VERSION 0x020c
#define BOOT_FLAG      0xaa55
#define LOADER_UNKNOWN 0xff
#define KERNEL_ALIGN   0x1000000

#define SEED_BYTES 32

enum e820_type { E820_RAM = 1, E820_RESERVED = 2 };

_Static_assert(offsetof(struct boot_params, hdr) == KERNEL_SETUP_START,
	       "the setup header's place in the zero page");

static void add_e820_range(struct boot_params *params, uint64_t start,
			   uint64_t end, enum e820_type type)
{
	struct boot_e820_entry *e = &params->e820_table[params->e820_entries];

	if (end <= start)
		return;
	e->addr = start;
	e->size = end - start;
	e->type = type;
	params->e820_entries++;
}

static void fill_memory_map(struct boot_params *params, const struct ram *ram)
{
	const struct ram_region *low = &ram->region[0], *high = &ram->region[1];

	add_e820_range(params, 0, LAYOUT_LOW_END, E820_RAM);
	add_e820_range(params, LAYOUT_LOW_END, LAYOUT_HIGH_START,
		       E820_RESERVED);
	add_e820_range(params, LAYOUT_HIGH_START, low->size, E820_RAM);
	add_e820_range(params, high->start.v, high->start.v + high->size,
		       E820_RAM);
}

static void fill_setup_header(struct boot_params *params,
			      const struct kernel_image *kernel)
{
	struct setup_header *header = &params->hdr;

	if (kernel->setup_header_len) {
		memcpy(header, kernel->setup_header, kernel->setup_header_len);
	} else {
		header->boot_flag = BOOT_FLAG;
		header->header = HEADER_MAGIC;
		header->version = HEADER_VERSION;
		header->kernel_alignment = KERNEL_ALIGN;
		header->loadflags = LOADED_HIGH;
		header->cmdline_size = CMDLINE_SIZE - 1;
	}
	header->type_of_loader = LOADER_UNKNOWN;
}

/*
 * A seed for the guest's random numbers, so that they are good from the start.
 * Linux 6.0 and later take it, older ones skip it.
 */
static int write_random_seed(const struct ram *ram, struct boot_params *params)
{
	uint8_t data[sizeof(struct setup_data) + SEED_BYTES] = { 0 };
	const struct setup_data head = { .type = SETUP_RNG_SEED,
					 .len = SEED_BYTES };
	ssize_t n;

	params->hdr.setup_data = 0; /* not what the file says */
	n = getrandom(data + sizeof(head), SEED_BYTES, GRND_NONBLOCK);
	if (n != SEED_BYTES)
		return 0; /* a host that young has none to give */
	memcpy(data, &head, sizeof(head));
	params->hdr.setup_data = LAYOUT_SETUP_DATA.v;
	return ram_write(ram, LAYOUT_SETUP_DATA, data, sizeof(data));
}

int params_write(const struct ram *ram, const struct kernel_image *kernel,
		 const struct initrd *initrd, const struct cmdline *cmdline)
{
	struct boot_params params;
	int error;

	memset(&params, 0, sizeof(params));
	fill_setup_header(&params, kernel);
	fill_memory_map(&params, ram);
	params.acpi_rsdp_addr = LAYOUT_ACPI.v;
	params.hdr.cmd_line_ptr = (uint32_t)LAYOUT_CMDLINE.v;
	params.hdr.ramdisk_image = (uint32_t)initrd->start.v;
	params.hdr.ramdisk_size = (uint32_t)initrd->size;
	error = write_random_seed(ram, &params);
	if (!error)
		error = ram_write(ram, LAYOUT_CMDLINE, cmdline->text,
				  cmdline->len + 1);
	if (!error)
		error = ram_write(ram, LAYOUT_BOOT_PARAMS, &params,
				  sizeof(params));
	if (error)
		log_error("the boot parameters do not fit into RAM");
	return error;
}
