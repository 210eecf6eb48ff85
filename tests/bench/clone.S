/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest that `start` measures restores with: its first instruction says by
 * an IN that it is ready, at which mote saves it; the next ones are the first
 * of its clones, and send one byte to the serial port, then end the monitor,
 * as those of first.S do.
 */
#define SERIAL	   0x3F8
#define EXIT_PORT  0x506
#define READY_PORT 0x507

	.section .text.start, "ax"
	.globl	_start
_start:
	mov	$READY_PORT, %edx
	inb	%dx, %al
	mov	$SERIAL, %edx
	mov	$1, %al
	outb	%al, %dx
	mov	$EXIT_PORT, %edx
	mov	$0, %al
	outb	%al, %dx
1:	cli
	hlt
	jmp	1b

	.section .note.GNU-stack, "", @progbits
