/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges the state on entry: what the boot protocol asks for
 * (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol") and what
 * boot_params must hold.
 */
#include "tests/guest/guest.h"

#define CR0_PE	   0x1
#define CR0_PG	   0x80000000
#define CR4_PAE	   0x20
#define RFLAGS_IF  0x200
#define RFLAGS_DF  0x400
#define BOOT_FLAG  0x1FE
#define CODE_64	   0x00209A0000000000 /* L, P, code, readable */
#define CODE_MASK  0x00609A0000000000
#define DATA_WRITE 0x0000920000000000
#define DATA_MASK  0x00009A0000000000

static void check_gdt(void)
{
	const uint8_t *gdt = at_physical(get64(entry_state.gdtr + 2));
	unsigned limit = get16(entry_state.gdtr);

	if (limit < 0x1F)
		fail("the GDT's limit is %x", limit);
	if ((get64(gdt + 0x10) & CODE_MASK) != CODE_64)
		fail("descriptor 0x10 is %lx", (unsigned long)get64(gdt + 16));
	if ((get64(gdt + 0x18) & DATA_MASK) != DATA_WRITE)
		fail("descriptor 0x18 is %lx", (unsigned long)get64(gdt + 24));
}

static void check_registers(const uint8_t *boot_params)
{
	const struct entry_state *s = &entry_state;

	if (s->cs != 0x10 || s->ds != 0x18 || s->es != 0x18 || s->ss != 0x18)
		fail("cs %x ds %x es %x ss %x", s->cs, s->ds, s->es, s->ss);
	if (s->rflags & (RFLAGS_IF | RFLAGS_DF))
		fail("rflags %lx", (unsigned long)s->rflags);
	if ((s->cr0 & (CR0_PE | CR0_PG)) != (CR0_PE | CR0_PG) ||
	    !(s->cr4 & CR4_PAE))
		fail("cr0 %lx cr4 %lx", (unsigned long)s->cr0,
		     (unsigned long)s->cr4);
	if (s->rsi != (uintptr_t)boot_params || s->rsi & 15 ||
	    s->rsi >= 0x90000)
		fail("boot_params at %lx", (unsigned long)s->rsi);
}

static void check_params(const uint8_t *p)
{
	if (memcmp(p + BP_HEADER, "HdrS", 4) || get16(p + BOOT_FLAG) != 0xAA55)
		fail("boot_params holds no setup header");
	if (p[BP_SENTINEL])
		fail("the sentinel is %x", p[BP_SENTINEL]);
	if (!p[BP_LOADER])
		fail("type_of_loader is 0");
	if (!get32(p + BP_CMDLINE) || get32(p + BP_CMDLINE) >= 0xA0000)
		fail("cmd_line_ptr is %x", get32(p + BP_CMDLINE));
}

/* The monitor's page tables: the first GiB as is, to its last page. */
static void check_map(const uint8_t *boot_params)
{
	unsigned count = boot_params[BP_E820_ENTRIES];
	uint64_t top = 0;

	for (unsigned i = 0; i < count; i++) {
		const uint8_t *at = boot_params + BP_E820 + i * E820_ENTRY_SIZE;

		if (get32(at + 16) == E820_RAM && get64(at) < (1u << 30))
			top = get64(at) + get64(at + 8);
	}
	if (top > (1u << 30))
		top = 1u << 30;
	*(volatile uint32_t *)at_physical(top - 4) = 0xC0FFEE;
	if (*(volatile uint32_t *)at_physical(top - 4) != 0xC0FFEE)
		fail("no RAM at %lx", (unsigned long)top - 4);
}

void guest_main(const uint8_t *boot_params)
{
	check_registers(boot_params);
	check_gdt();
	check_params(boot_params);
	check_map(boot_params);
	print("entry state is right\n");
}
