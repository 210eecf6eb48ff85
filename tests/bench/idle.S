/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest whose clones' memory is measured: it says by an IN that it is
 * ready, and waits for ever.
 */
#define READY_PORT 0x507

	.section .text.start, "ax"
	.globl	_start
_start:
	mov	$READY_PORT, %edx
	inb	%dx, %al
1:	cli
	hlt
	jmp	1b

	.section .note.GNU-stack, "", @progbits
