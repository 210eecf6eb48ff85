/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's init, as boot/init/ is built to: a file to hand on, not code.
 */
	.section .rodata.archive_init, "a"
	.globl archive_init, archive_init_len
	.hidden archive_init, archive_init_len
archive_init:
	.incbin INIT
end:
	.balign 4
archive_init_len:
	.long end - archive_init
	.section .note.GNU-stack, "", @progbits
