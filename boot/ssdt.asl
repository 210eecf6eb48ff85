// SPDX-License-Identifier: Apache-2.0
//
// One virtio-mmio slot. acpi.c appends what is in this block to the DSDT for
// each slot, and writes the slot's own values over the four that stand for them
// here: VI__, and the numbers that spell "UID_", "BASE" and "GSI_" in memory.
DefinitionBlock ("", "SSDT", 2, "MOTE  ", "MOTEGST ", 1)
{
	Scope (\_SB)
	{
		Device (VI__)
		{
			Name (_HID, "LNRO0005")
			Name (_UID, 0x5f444955)
			Name (_CCA, 1)
			Name (_CRS, ResourceTemplate () {
				Memory32Fixed (ReadWrite, 0x45534142, 0x200)
				Interrupt (ResourceConsumer, Edge, ActiveHigh,
					   Exclusive) { 0x5f495347 }
			})
		}
	}
}
