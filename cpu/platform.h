/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The platform's event ports: what a guest says about its own life (panic,
 * exit status, ready, power off, reset) and the power button.
 */
#ifndef CPU_PLATFORM_H
#define CPU_PLATFORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu/loop/report.h"
#include "cpu/vm.h"
#include "mem/ram.h"
#include "mem/state.h"

#define PLATFORM_PORT_I8042   0x64  /* 0xFE pulses the reset line */
#define PLATFORM_PORT_PVPANIC 0x505 /* ACPI QEMU0001 */
#define PLATFORM_PORT_EXIT    0x506 /* write: ends the guest, that status */
#define PLATFORM_PORT_READY   0x507 /* write, or read (0): it is ready */
#define PLATFORM_PORT_ACPI    0x508 /* write: the guest interprets ACPI */
#define PLATFORM_PORT_SLEEP   0x600 /* ACPI sleep control register */
#define PLATFORM_PORT_STATUS  0x601 /* ACPI sleep status register */
#define PLATFORM_PORT_RESET   0x602 /* ACPI reset register */
#define PLATFORM_PORT_BUTTON  0x604 /* pending events; a read clears them */

#define PLATFORM_RESET_VALUE 1
#define PLATFORM_S5_TYPE     5
/* Bits of PLATFORM_PORT_BUTTON */
#define PLATFORM_EVENT_BUTTON	  1
#define PLATFORM_EVENT_GENERATION 2

/*
 * Where the guest finds 16 bytes that no other run of a machine has: Microsoft,
 * "Virtual Machine Generation ID". The device in boot/dsdt.asl says so.
 */
#define PLATFORM_GENERATION	  0xe0030 /* in the ACPI tables' page */
#define PLATFORM_GENERATION_BYTES 16

#define PLATFORM_PORTS 9

/*
 * What the loop's thread does when the guest says that it is ready, for the
 * first time, while the vCPU that said it waits: where `call` has the vCPUs
 * paused, this one parks right behind that instruction. `vcpu`: the one that
 * has said it by an IN, whose AL is 0; -1: by an OUT.
 */
struct platform_ready {
	struct loop *loop; /* NULL: nothing; set before the guest runs */
	void (*call)(void *arg, int vcpu);
	void *arg;
};

struct platform {
	const struct ram *ram;
	bool tells_panic;	 /* see platform_options */
	unsigned reboot_status;	 /* likewise */
	int wake_fd;		 /* eventfd: something below has changed */
	int button_fd;		 /* eventfd: irqfd of the button's GSI */
	_Atomic uint32_t ending; /* reason << 8 | status; 0 while it runs */
	_Atomic uint64_t ready_ns;
	struct platform_ready on_ready;
	_Atomic uint8_t events;
	_Atomic bool acpi; /* the guest's ACPI interpreter has run _INI */
	struct platform_port {
		struct platform *platform;
		unsigned index;
	} port[PLATFORM_PORTS]; /* what the bus hands back */
};

struct platform_options {
	const struct ram *ram;
	/*
	 * The guest was told to leave at physical 0x472 what kind of reset it
	 * wants, 0x1234 for a reboot and 0 for a panic; a reset looks there.
	 */
	bool tells_panic;
	unsigned reboot_status; /* mote's exit status after a reboot */
	/* RAM is a snapshot's: nothing of the start is written to it. */
	bool restored;
};

/* What there is of it without a machine: how it ends. 0 or -errno, logged. */
int platform_create_alone(struct platform *platform);

/* Adds the ports to vm's bus; 0 or -errno, logged. */
int platform_create(struct platform *platform, struct vm *vm,
		    const struct platform_options *options);
void platform_destroy(struct platform *platform);

/* The first ending counts; later ones are ignored. Any thread. */
void platform_end(struct platform *platform, enum end_reason reason,
		  unsigned status);

/* A reset asked for by a port, or (`triple_fault`) by giving up. Any thread. */
void platform_reset(struct platform *platform, bool triple_fault);

/* reason END_NONE while the guest runs. Any thread. */
struct ending platform_ending(const struct platform *platform);

/*
 * The guest is ready, as if it had said so by itself; on_ready is not called.
 * Any thread.
 */
void platform_ready(struct platform *platform);

/*
 * The vCPUs are about to run. One that was saved when it was ready is so from
 * now on: who waits for it here has waited since here.
 */
void platform_start(struct platform *platform);

/*
 * In a guest that was restored, once its state is there: new bytes at
 * PLATFORM_GENERATION, and the event that has its kernel read them. Before the
 * vCPUs run. 0 or -errno, logged.
 */
int platform_new_generation(struct platform *platform);

/*
 * ACPI 6.4, 5.6.9: sets the event and raises the interrupt of the device, an
 * edge: a guest that has masked it does not hear of it.
 */
void platform_press_button(struct platform *platform);

/*
 * What the guest has said of itself so far, and what it is to hear; while no
 * vCPU runs. A platform to load into is created without tells_panic, so that
 * nothing is written to the guest's memory: that is loaded, too.
 */
void platform_state(struct platform *platform, struct state *s);

/* Raises the button's interrupt once more: see uart_restored. */
void platform_restored(struct platform *platform);

#endif
