/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts another CPU as the MP specification 1.4, B.4 says: INIT, 10 ms, a
 * STARTUP to the page of a trampoline below 1 MiB, and another one if need be.
 * The trampoline goes from real mode straight to long mode on the boot CPU's
 * page tables and GDT. The CPUs are started one after the other; each has its
 * own stack.
 */
#include "tests/guest/guest.h"

#define TRAMPOLINE 0x2000 /* a free page of low RAM: DESIGN, section 3 */
#define CPU_MAX	   256
#define STACK_SIZE 2048

#define APIC_ICR_LOW  0x300
#define APIC_ICR_HIGH 0x310
#define ICR_PENDING   0x1000
#define ICR_INIT      0x4500
#define ICR_STARTUP   0x4600

extern const uint8_t smp_code[], smp_code_end[];
extern const uint8_t smp_cr3[], smp_gdt[];
void smp_enter(void);

static uint8_t stacks[CPU_MAX][STACK_SIZE] __attribute__((aligned(16)));
uint8_t *volatile smp_stack;
static void (*volatile entry)(unsigned index);
static volatile unsigned entry_index;
static volatile bool alive;

/*
 * Real mode at CS:0; addresses in here are relative to the trampoline page.
 * CR4.PAE, EFER.LME, then CR0.PE and PG at once (AMD64 APM 2, 14.6.1).
 */
__asm__(".pushsection .text, \"ax\"\n"
	".globl smp_code, smp_code_end, smp_cr3, smp_gdt\n"
	"smp_code:\n"
	".code16\n"
	"	cli\n"
	"	cld\n"
	"	mov	%cs, %ax\n"
	"	mov	%ax, %ds\n"
	"	lgdtl	smp_gdt - smp_code\n"
	"	mov	%cr4, %eax\n"
	"	or	$0x20, %eax\n"
	"	mov	%eax, %cr4\n"
	"	mov	smp_cr3 - smp_code, %eax\n"
	"	mov	%eax, %cr3\n"
	"	mov	$0xC0000080, %ecx\n"
	"	rdmsr\n"
	"	or	$0x100, %eax\n"
	"	wrmsr\n"
	"	mov	%cr0, %eax\n"
	"	and	$0x9FFFFFFF, %eax\n" /* caches on */
	"	or	$0x80000001, %eax\n"
	"	mov	%eax, %cr0\n"
	"	ljmpl	$0x10, $smp_long\n"
	".balign 16\n"
	"smp_cr3: .long 0\n"
	"smp_gdt: .skip 6\n"
	"smp_code_end:\n"
	".code64\n"
	"smp_long:\n"
	"	mov	$0x18, %eax\n"
	"	mov	%eax, %ds\n"
	"	mov	%eax, %es\n"
	"	mov	%eax, %ss\n"
	"	mov	smp_stack(%rip), %rsp\n"
	"	call	smp_enter\n"
	".popsection\n");

void smp_enter(void)
{
	void (*run)(unsigned) = entry;
	unsigned index = entry_index;

	__atomic_store_n(&alive, true, __ATOMIC_SEQ_CST);
	run(index);
	halt_forever();
}

/* About `n` µs on any host: a port read takes about one, and here more. */
static bool wait(unsigned n)
{
	while (n-- && !alive)
		in8(0x80);
	return alive;
}

static void send(uint8_t apic_id, uint32_t command)
{
	apic_write(APIC_ICR_HIGH, (uint32_t)apic_id << 24);
	apic_write(APIC_ICR_LOW, command);
	while (apic_read(APIC_ICR_LOW) & ICR_PENDING)
		pause_cpu();
}

static void place_trampoline(void)
{
	uint8_t *to = at_physical(TRAMPOLINE);
	uint64_t cr3;
	uint8_t gdtr[10];

	__asm__ volatile("mov %%cr3, %0; sgdt %1" : "=r"(cr3), "=m"(gdtr));
	memcpy(to, smp_code, (size_t)(smp_code_end - smp_code));
	memcpy(to + (smp_cr3 - smp_code), &cr3, 4);
	memcpy(to + (smp_gdt - smp_code), gdtr, 6);
}

bool smp_start(uint8_t apic_id, unsigned index, void (*run)(unsigned index))
{
	if (index >= CPU_MAX)
		fail("more than %u CPUs", CPU_MAX);
	place_trampoline();
	entry = run;
	entry_index = index;
	smp_stack = stacks[index] + STACK_SIZE;
	alive = false;
	send(apic_id, ICR_INIT);
	wait(100);
	for (unsigned try = 0; try < 2; try++) {
		send(apic_id, ICR_STARTUP | TRAMPOLINE >> 12);
		if (wait(200000))
			return true;
	}
	return false;
}
