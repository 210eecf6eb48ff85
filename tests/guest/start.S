/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where every bare-metal guest begins: the 64-bit entry of the Linux boot
 * protocol (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"). The
 * state that the monitor left is written down first, for the guest `entry` to
 * judge; then come a stack, an own GDT and guest_main(boot_params). A guest
 * whose guest_main returns powers off.
 *
 * Also here: the stubs of the interrupt vectors, which lib_irq.c fills an IDT
 * with.
 */
	.section .text.start, "ax"
	.globl _start
_start:
	mov	%rsp, entry_state+0x00(%rip)
	mov	%rsi, entry_state+0x08(%rip)
	mov	%rax, entry_state+0x10(%rip)	/* now rax is free */
	lea	boot_stack_top(%rip), %rsp
	pushfq
	pop	entry_state+0x18(%rip)
	mov	%cr0, %rax
	mov	%rax, entry_state+0x20(%rip)
	mov	%cr3, %rax
	mov	%rax, entry_state+0x28(%rip)
	mov	%cr4, %rax
	mov	%rax, entry_state+0x30(%rip)
	mov	%cs, entry_state+0x38(%rip)
	mov	%ds, entry_state+0x3a(%rip)
	mov	%es, entry_state+0x3c(%rip)
	mov	%ss, entry_state+0x3e(%rip)
	sgdt	entry_state+0x40(%rip)
	cld
	mov	%rsi, %rbx

	lgdt	gdt_pointer(%rip)
	mov	$0x18, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	push	$0x10
	lea	1f(%rip), %rax
	push	%rax
	lretq
1:	mov	%rbx, %rdi
	call	guest_main
	call	guest_poweroff
2:	hlt
	jmp	2b

/* The 64-bit entry of the same image as a bzImage (tests/guest/bzimage). */
	.org	0x200
	jmp	_start

/*
 * 48 stubs of 16 bytes each: exceptions 0-31, then the interrupts 32-47. Those
 * exceptions for which the CPU pushes no error code get a 0 in its place
 * (AMD64 Architecture Programmer's Manual 2, 8.2).
 */
	.text
	.globl	trap_stubs
	.balign 16
trap_stubs:
	vector = 0
	.rept 48
	.balign 16
	.if !((1 << vector) & 0x60227d00)
	push	$0
	.endif
	push	$vector
	jmp	trap_common
	vector = vector + 1
	.endr

	.balign 16
trap_common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	cld
	mov	%rsp, %rdi
	mov	%rsp, %rbp
	and	$-16, %rsp
	call	trap_dispatch
	mov	%rbp, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

/* The selectors that the boot protocol asks of a loader: 0x10 and 0x18. */
	.data
	.globl	gdt_pointer
	.balign 16
gdt:
	.quad	0, 0
	.quad	0x00af9b000000ffff	/* 0x10: 64-bit code */
	.quad	0x00cf93000000ffff	/* 0x18: data */
gdt_pointer:
	.word	. - gdt - 1
	.quad	gdt

	.globl	entry_state
	.balign 16
entry_state:
	.fill	0x50, 1, 0

	.bss
	.balign 4096
	.skip	16384
boot_stack_top:
	.section .note.GNU-stack, "", @progbits
