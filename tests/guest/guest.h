/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bare-metal guests share. They are freestanding programs, entered by
 * the 64-bit Linux boot protocol with boot_params in RSI, that use one part of
 * the machine and say on the serial port what they saw. Each prints "FAIL" and
 * ends with status 99 where the machine is not as it should be.
 *
 *	lib.c		console, ports, ways to end, page tables, strings
 *	lib_acpi.c	ACPI tables
 *	lib_irq.c	IDT, local APIC, IOAPIC
 *	lib_smp.c	starting the other CPUs
 */
#ifndef TESTS_GUEST_H
#define TESTS_GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERIAL	     0x3F8
#define PORT_PVPANIC 0x505
#define PORT_EXIT    0x506
#define PORT_READY   0x507

#define PVPANIC_PANICKED 1
#define STATUS_FAIL	 99

/* Offsets in boot_params: Documentation/arch/x86/zero-page.rst. */
#define BP_ACPI_RSDP	0x070
#define BP_E820_ENTRIES 0x1E8
#define BP_SENTINEL	0x1EF
#define BP_HEADER	0x202 /* "HdrS" */
#define BP_LOADER	0x210
#define BP_RAMDISK	0x218
#define BP_RAMDISK_SIZE 0x21C
#define BP_CMDLINE	0x228
#define BP_E820		0x2D0
#define E820_ENTRY_SIZE 20
#define E820_RAM	1

/* What start.S found on entry, and never changes. */
struct entry_state {
	uint64_t rsp, rsi, rax, rflags, cr0, cr3, cr4;
	uint16_t cs, ds, es, ss;
	uint8_t gdtr[16];
};
extern struct entry_state entry_state;
extern char image_end[];

/* The guest itself. Returning is guest_poweroff(). */
void guest_main(const uint8_t *boot_params);

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}
static inline uint16_t in16(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}
static inline uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}
static inline void cpuid(uint32_t leaf, uint32_t index, uint32_t reg[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(reg[0]), "=b"(reg[1]), "=c"(reg[2]),
			   "=d"(reg[3])
			 : "a"(leaf), "c"(index));
}
static inline void pause_cpu(void)
{
	__asm__ volatile("pause" : : : "memory");
}

/* Unaligned little-endian reads of memory that something else wrote. */
uint16_t get16(const uint8_t *from);
uint32_t get32(const uint8_t *from);
uint64_t get64(const uint8_t *from);

/* A guest physical address as a pointer: the first GiB, or see map_memory. */
static inline void *at_physical(uint64_t address)
{
	return (void *)(uintptr_t)address;
}

void *memset(void *to, int value, size_t len);
void *memcpy(void *to, const void *from, size_t len);
int memcmp(const void *a, const void *b, size_t len);
size_t strlen(const char *text);

/*
 * Polled output on the serial port. Of printf's: %c %s %d %u %x %p, each but
 * %c and %s with `l`, and a width with leading zeros for %x, as in %08x.
 */
void put(char c);
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * The value of `name=` on the command line, up to the next blank, into `to`;
 * false where it is not there or does not fit.
 */
bool cmdline_get(const char *name, char *to, size_t size);
unsigned cmdline_number(const char *name, unsigned otherwise);
const char *cmdline(void);

/* Page tables of our own that map all below `top` as is, in 2 MiB pages. */
#define MAP_MAX (64ULL << 30)
void map_memory(uint64_t top);

/* Bytes that sum to zero, as the tables of ACPI and of the MP spec must. */
bool sums_to_zero(const uint8_t *from, size_t len);

/* Ways to end. */
_Noreturn void fail(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
_Noreturn void guest_exit(uint8_t status); /* port 0x506 */
_Noreturn void guest_poweroff(void);	   /* ACPI S5 */
_Noreturn void triple_fault(void);
_Noreturn void halt_forever(void); /* interrupts off */

/* lib_acpi.c */
struct acpi_machine {
	const uint8_t *fadt, *dsdt, *madt;
	uint32_t dsdt_size, madt_size, flags; /* FADT flags */
	uint16_t sleep_control, sleep_status, reset_port;
	uint8_t reset_value, s5; /* SLP_TYP of S5 */
};
#define FADT_RESET_REG_SUP (1u << 10)
#define FADT_HW_REDUCED	   (1u << 20)
const uint8_t *acpi_scan(void); /* the RSDP, by its signature */
const uint8_t *acpi_rsdp(void); /* as boot_params says, else acpi_scan */
const uint8_t *acpi_table(const char *signature, uint32_t *size);
const uint8_t *acpi_find(const uint8_t *from, uint32_t size, const char *text);
void acpi_load(struct acpi_machine *machine);
void acpi_sleep_s5(const struct acpi_machine *machine);
void acpi_reset(const struct acpi_machine *machine);

/* The next MADT entry of `type` after `*at` (0 to begin), or NULL. */
const uint8_t *madt_next(const struct acpi_machine *machine, uint8_t type,
			 uint32_t *at);

/* lib_irq.c */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx,
		rcx, rax, vector, error, rip, cs, rflags, rsp, ss;
};
void trap_dispatch(struct trap_frame *frame);
extern uint8_t trap_stubs[];
extern volatile uint64_t trap_resume; /* where a caught fault goes on */
extern volatile uint64_t trap_vector; /* the last one caught */

#define IRQ_VECTOR 32
void irq_init(void); /* IDT, local APIC, its timer masked */
void irq_load(void); /* the IDT on another CPU */
void irq_handle(uint8_t vector, void (*handler)(void));
void irq_route(uint32_t gsi, uint8_t vector, bool level);
static inline void irq_enable(void)
{
	__asm__ volatile("sti" : : : "memory");
}
static inline void irq_disable(void)
{
	__asm__ volatile("cli" : : : "memory");
}
/* Sleep until an interrupt; they must be off, and are off again after. */
static inline void irq_wait(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}
uint32_t apic_read(uint32_t reg);
void apic_write(uint32_t reg, uint32_t value);

/* 0, or -1 where it raised #GP. */
int msr_read(uint32_t msr, uint64_t *value);
int msr_write(uint32_t msr, uint64_t value);

/* lib_smp.c: starts CPU `apic_id` in `main(index)`; false after a while. */
bool smp_start(uint8_t apic_id, unsigned index, void (*run)(unsigned index));

#endif
