/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits for the power button as a hardware-reduced kernel does (ACPI 6.4,
 * 5.6.9): the interrupt of the Generic Event Device, then the event port that
 * its _EVT method reads, which must say what happened and say it once. Prints
 * what came and powers off; with ignore=N, only after N presses. With late=1
 * the interrupt is masked until a byte comes on the serial port: a kernel that
 * has not come to the device yet.
 */
#include "tests/guest/guest.h"

/* As the DSDT has them; the DSDT itself is for Linux to interpret. */
#define BUTTON_GSI  3
#define EVENT_PORT  0x604
#define EVENT_PRESS 1
#define EVENT_OTHER 2 /* of a guest that was restored, a new generation */

static volatile unsigned presses, wrong;

static void on_event(void)
{
	uint8_t events = in8(EVENT_PORT);

	if (events == EVENT_OTHER)
		return;
	if (events != EVENT_PRESS || in8(EVENT_PORT))
		wrong++;
	presses++;
}

void guest_main(const uint8_t *boot_params)
{
	unsigned wanted = cmdline_number("ignore", 0) + 1;

	(void)boot_params;
	irq_init();
	irq_handle(IRQ_VECTOR, on_event);
	if (cmdline_number("late", 0)) {
		print("busy\n");
		while (!(in8(SERIAL + 5) & 1))
			pause_cpu();
	}
	irq_route(BUTTON_GSI, IRQ_VECTOR, false);
	out8(PORT_READY, 1);
	print("waiting for the button\n");
	while (presses < wanted)
		irq_wait();
	if (wrong)
		fail("%u interrupts without an event", wrong);
	print("pressed %u\n", presses);
}
