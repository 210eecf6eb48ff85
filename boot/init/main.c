/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's init: process 1 of a guest that runs one command for mote.
 *
 * It is a program of its own, static and without a libc. boot/archive_init.S
 * puts it into mote, boot/archive.c hands it to the guest in a second initrd,
 * together with its orders, and the kernel's rdinit= starts it. From then on:
 *
 *	1. root_mount_kernel	/proc, /sys, /dev
 *	2. orders_load		RUN_FILE: arguments, environment, terminal
 *	3. root_load_drivers	for kernels that have virtio as modules
 *	4. stream_dial		connects to mote; from now on failures go there
 *	5. root_enter		makes the root disk /, if there is one, and
 *				keeps modules that it lacks
 *	6. net_start		lo, and the networks that it is told of
 *	7. clock_await		the time, which it has asked for meanwhile
 *	8. stream_ready		tells mote, which may take a snapshot of this
 *	   orders_ask		moment: a guest restored from it is told then
 *				what to run
 *	9. transfer_put		files come in
 *	10. relay_run		starts the command, carries its bytes, reaps it
 *	   orders_hear		in a process of its own: one more command, which
 *				somebody wants by --exec, goes on from 10
 *	11. transfer_get	files go out
 *	12. relay_leave		everything is on the disks
 *	13. stream_end		the status, last of all; mote ends the guest
 *	    stream_power	no status: the command has asked for power-off
 *
 * Nothing before 8 depends on the command, and nothing after it on what was
 * said before: that is what makes one snapshot good for any command.
 *
 * Calls go one way: main -> relay -> child, transfer -> user, orders, session
 * -> net, clock, root -> dhcp, disk, module -> lease, link, router, resolve
 * -> stream -> text
 * (init.h declares all of it). So any stage may end the guest with stream_fail,
 * and none returns an error.
 *
 * For example `mote ... -- cat`: RUN_FILE holds the orders "acat" and, for each
 * variable of the environment, "eNAME=value". When the command is about to run,
 * mote's port 0x507 is read and relay sends READY; then STDIN frames come and
 * STDOUT frames go, until EXIT with cat's status. cpu/command/command.c has the
 * other side of it.
 *
 * Whom it trusts: mote, the kernel, and who made the disk and the initrd; all
 * of these may do with the guest as they like. The command is root here and may
 * as well, but it must not do it by mistake: a command that does not read, does
 * not end, or leaves processes behind must not keep its output or its status
 * from mote. Mote for its part trusts nothing that init says: it is as hostile
 * as the guest.
 */
#include "boot/init/init.h"

void init_main(long *stack) __attribute__((externally_visible));

/* `stack`: as the kernel has left it: argc, argv... */
void init_main(long *stack)
{
	struct run run;
	struct outcome outcome;

	module_serve((char **)stack + 1);
	/* Descriptors 0 to 2 are taken, whatever the kernel has opened. */
	while (sys_open("/", O_PATH) < 3)
		;
	root_mount_kernel();
	orders_load(&run);
	root_load_drivers();
	stream_dial(run.no_serial);
	root_enter();
	clock_ask();
	net_start(run.hostname);
	clock_await();
	/* In a guest that was restored what is to be run is something else. */
	if (!run.program && stream_ready())
		orders_ask(&run);
	transfer_put(&run);
	while (relay_run(&run, &outcome))
		orders_hear(&run);
	if (outcome.started)
		transfer_get(&run);
	relay_leave();
	if (outcome.power)
		stream_power(outcome.power);
	stream_end(outcome.status, outcome.flags);
}

__asm__(".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call init_main\n");
