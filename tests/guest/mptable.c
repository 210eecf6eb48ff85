/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the MP configuration as a kernel without ACPI does (MP
 * specification 1.4, 4): floating pointer, header, entries; prints the CPUs and
 * interrupts.
 */
#include "tests/guest/guest.h"

#define HEADER 44

static const struct {
	uint32_t start, end;
} places[] = { { 0, 0x400 }, { 0x9FC00, 0xA0000 }, { 0xE0000, 0x100000 } };

static const uint8_t *find_pointer(void)
{
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		for (uint32_t at = places[i].start; at < places[i].end;
		     at += 16) {
			const uint8_t *p = at_physical(at);

			if (!memcmp(p, "_MP_", 4) && p[8] == 1 &&
			    sums_to_zero(p, 16))
				return p;
		}
	fail("no MP floating pointer");
}

void guest_main(const uint8_t *boot_params)
{
	const uint8_t *pointer = find_pointer();
	const uint8_t *table = at_physical(get32(pointer + 4)), *at, *end;
	unsigned size = get16(table + 4), seen[5] = { 0 }, enabled = 0,
		 boot = 0;

	(void)boot_params;
	if (memcmp(table, "PCMP", 4) || size < HEADER ||
	    !sums_to_zero(table, size))
		fail("the MP table at %p", (const void *)table);
	at = table + HEADER;
	end = table + size;
	for (unsigned n = get16(table + 34); n; n--) {
		if (at >= end || *at > 4)
			fail("MP entry of type %u at %p", *at,
			     (const void *)at);
		seen[*at]++;
		if (!*at) {
			enabled += at[3] & 1;
			boot += at[3] >> 1 & 1;
		}
		at += *at ? 8 : 20;
	}
	if (at != end)
		fail("the MP table's entries end at %p, not %p",
		     (const void *)at, (const void *)end);
	print("cpus %u enabled %u boot %u\n", seen[0], enabled, boot);
	print("buses %u ioapics %u interrupts %u local %u\n", seen[1], seen[2],
	      seen[3], seen[4]);
	print("lapic %x\n", get32(table + 36));
}
