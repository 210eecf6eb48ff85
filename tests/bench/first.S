/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest that `start` measures with: its first instructions send one byte
 * to the serial port, where the driver sees it come out of the monitor; the
 * next ones end the monitor: mote and limit with status 0 by the exit status
 * port, others by a reset (the keyboard controller's, else a triple fault).
 *
 * Each instruction has the same bytes in 16-bit, 32-bit and 64-bit mode, so
 * that any monitor can run it: as a 64-bit kernel from its ELF entry, by PVH
 * (the note; QEMU, Cloud Hypervisor), or as the flat binary that kvmtool loads
 * in real mode. The byte is one that no monitor's own log has.
 */
#define SERIAL	  0x3F8
#define EXIT_PORT 0x506
#define KEYBOARD  0x64
#define RESET	  0xFE
#define PVH_ENTRY 18 /* XEN_ELFNOTE_PHYS32_ENTRY */

	.section .text.start, "ax"
	.globl	_start
_start:
	mov	$(SERIAL & 0xFF), %dl
	mov	$(SERIAL >> 8), %dh
	mov	$1, %al
	outb	%al, %dx
	mov	$(EXIT_PORT & 0xFF), %dl
	mov	$(EXIT_PORT >> 8), %dh
	mov	$0, %al
	outb	%al, %dx
	mov	$RESET, %al
	outb	%al, $KEYBOARD
	ud2
1:	cli
	hlt
	jmp	1b

	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 8, PVH_ENTRY
	.asciz	"Xen"
	.quad	_start

	.section .note.GNU-stack, "", @progbits
