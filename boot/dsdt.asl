// SPDX-License-Identifier: Apache-2.0
//
// What every guest's DSDT says: how to switch off, the serial port, the clock,
// the panic device, the power button, the generation. acpi.c puts it behind a header of its own and
// appends ssdt.asl once for each virtio-mmio slot.
//
// The C preprocessor runs first, for the numbers that mote's headers define;
// the Makefile drops what it leaves of them above the definition block.
#include "cpu/console/uart.h"
#include "cpu/platform.h"
#include "cpu/rtc.h"
#include "cpu/vm.h"

DefinitionBlock ("", "DSDT", 2, "MOTE  ", "MOTEGST ", 1)
{
	// ACPI 6.4, 7.4.2.6: what to write to the sleep control register.
	Name (\_S5, Package () { PLATFORM_S5_TYPE, 0, 0, 0 })

	Scope (\_SB)
	{
		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate () {
				IO (Decode16, UART_PORT, UART_PORT, 1,
				    UART_REGISTERS)
				Interrupt (ResourceConsumer, Edge, ActiveHigh,
					   Exclusive) { VM_GSI_SERIAL }
			})
		}

		Device (RTC0)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate () {
				IO (Decode16, RTC_PORT, RTC_PORT, 1, RTC_PORTS)
			})
		}

		Device (PEVT)
		{
			Name (_HID, "QEMU0001")
			Name (_CRS, ResourceTemplate () {
				IO (Decode16, PLATFORM_PORT_PVPANIC,
				    PLATFORM_PORT_PVPANIC, 1, 1)
			})
		}

		Device (PWRB)
		{
			Name (_HID, EisaId ("PNP0C0C"))
			Name (_UID, 0)
		}

		// Microsoft's "Virtual Machine Generation ID": 16 bytes that are
		// others once the guest was restored from a snapshot, so that
		// it has other random numbers than the next one. By its _CID
		// Linux (drivers/virt/vmgenid.c) and Windows know it.
		Device (VGEN)
		{
			Name (_HID, "MOTE0001")
			Name (_CID, "VM_Gen_Counter")
			Name (_DDN, "VM_Gen_Counter")
			Name (ADDR, Package () { PLATFORM_GENERATION, 0 })
		}

		// ACPI 6.4, 5.6.9: the Generic Event Device runs _EVT when its
		// interrupt comes; that reads which events are pending, which
		// clears them, and tells of each.
		Device (GED0)
		{
			Name (_HID, "ACPI0013")
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate () {
				Interrupt (ResourceConsumer, Edge, ActiveHigh,
					   Exclusive) { VM_GSI_BUTTON }
			})
			OperationRegion (EVRG, SystemIO,
					 PLATFORM_PORT_BUTTON, 1)
			Field (EVRG, ByteAcc, NoLock, Preserve) { EVST, 8 }
			Method (_EVT, 1, Serialized)
			{
				Local0 = EVST
				If (Local0 & PLATFORM_EVENT_BUTTON)
				{
					Notify (PWRB, 0x80)
				}
				If (Local0 & PLATFORM_EVENT_GENERATION)
				{
					Notify (VGEN, 0x80)
				}
			}
		}

		// ACPI 6.4, 6.5.1: _INI runs when the interpreter starts,
		// before it looks for devices. It says that these tables are
		// being read: see LAYOUT_VIRTIO_ALIAS in boot/layout.h.
		OperationRegion (INIR, SystemIO, PLATFORM_PORT_ACPI, 1)
		Field (INIR, ByteAcc, NoLock, Preserve) { INIB, 8 }
		Method (_INI, 0, Serialized)
		{
			INIB = 1
		}
	}
}
