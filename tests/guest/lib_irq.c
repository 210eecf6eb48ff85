/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions and interrupts of a bare-metal guest: an IDT over the stubs of
 * start.S, the local APIC in xAPIC mode, one IOAPIC at its usual address
 * (Intel SDM 3A, 11; 82093AA datasheet). Handlers run with interrupts off.
 */
#include "tests/guest/guest.h"

#define VECTORS	  48
#define STUB_SIZE 16
#define GATE	  0x8E00 /* present, ring 0, interrupt gate */
#define CODE	  0x10

#define MSR_APIC_BASE	 0x1B
#define APIC_BASE_ENABLE 0x800
#define APIC		 0xFEE00000
#define APIC_TPR	 0x80
#define APIC_EOI	 0xB0
#define APIC_SVR	 0xF0
#define SVR_ENABLE	 0x1FF /* and the spurious vector 255 */

#define IOAPIC	      0xFEC00000
#define IOAPIC_WINDOW 0x10
#define IOAPIC_ENTRY  0x10
#define ENTRY_LEVEL   0x8000

volatile uint64_t trap_resume;
volatile uint64_t trap_vector;

static uint64_t idt[256][2] __attribute__((aligned(16)));
static void (*handlers[VECTORS])(void);

void trap_dispatch(struct trap_frame *frame)
{
	uint64_t resume = trap_resume;

	if (frame->vector >= IRQ_VECTOR && frame->vector < VECTORS &&
	    handlers[frame->vector]) {
		handlers[frame->vector]();
		apic_write(APIC_EOI, 0);
		return;
	}
	if (!resume)
		fail("exception %lu, error %lx at %lx",
		     (unsigned long)frame->vector, (unsigned long)frame->error,
		     (unsigned long)frame->rip);
	trap_resume = 0;
	trap_vector = frame->vector;
	frame->rip = resume;
}

uint32_t apic_read(uint32_t reg)
{
	return *(volatile uint32_t *)(uintptr_t)(APIC + reg);
}

void apic_write(uint32_t reg, uint32_t value)
{
	*(volatile uint32_t *)(uintptr_t)(APIC + reg) = value;
}

void irq_load(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (uintptr_t)idt };

	__asm__ volatile("lidt %0" : : "m"(pointer) : "memory");
}

/* Nothing is expected at the spurious vector; it just returns. */
static __attribute__((naked)) void spurious(void)
{
	__asm__ volatile("iretq");
}

static void set_gate(unsigned vector, uintptr_t to)
{
	idt[vector][0] = (to & 0xFFFF) | CODE << 16 | (uint64_t)GATE << 32 |
			 (uint64_t)(to & 0xFFFF0000) << 32;
	idt[vector][1] = to >> 32;
}

void irq_init(void)
{
	for (unsigned i = 0; i < VECTORS; i++)
		set_gate(i, (uintptr_t)trap_stubs + (uintptr_t)i * STUB_SIZE);
	set_gate(255, (uintptr_t)spurious);
	irq_load();
	map_memory(1ULL << 32);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_SVR, SVR_ENABLE);
}

void irq_handle(uint8_t vector, void (*handler)(void))
{
	handlers[vector] = handler;
}

static void ioapic_write(uint32_t reg, uint32_t value)
{
	*(volatile uint32_t *)(uintptr_t)IOAPIC = reg;
	*(volatile uint32_t *)(uintptr_t)(IOAPIC + IOAPIC_WINDOW) = value;
}

void irq_route(uint32_t gsi, uint8_t vector, bool level)
{
	ioapic_write(IOAPIC_ENTRY + 2 * gsi + 1, apic_read(0x20) & 0xFF000000);
	ioapic_write(IOAPIC_ENTRY + 2 * gsi,
		     vector | (level ? ENTRY_LEVEL : 0));
}

int msr_read(uint32_t msr, uint64_t *value)
{
	uint32_t low = 0, high = 0;

	trap_vector = 0;
	__asm__ volatile("movq $1f, %2\n\t"
			 "rdmsr\n"
			 "1:\tmovq $0, %2"
			 : "+a"(low), "+d"(high), "+m"(trap_resume)
			 : "c"(msr)
			 : "memory");
	*value = (uint64_t)high << 32 | low;
	return trap_vector ? -1 : 0;
}

int msr_write(uint32_t msr, uint64_t value)
{
	trap_vector = 0;
	__asm__ volatile("movq $1f, %0\n\t"
			 "wrmsr\n"
			 "1:\tmovq $0, %0"
			 : "+m"(trap_resume)
			 : "c"(msr), "a"((uint32_t)value),
			   "d"((uint32_t)(value >> 32))
			 : "memory");
	return trap_vector ? -1 : 0;
}
