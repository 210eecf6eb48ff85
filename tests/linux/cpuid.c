/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid: what CPUID shows in leaf 1, ECX, as a number in hex: to the guest's
 * programs, which ask the processor and not their kernel. Static, so that it
 * needs nothing.
 */
#include <cpuid.h>
#include <stdio.h>

int main(void)
{
	unsigned eax, ebx, ecx, edx;

	__cpuid(1, eax, ebx, ecx, edx);
	printf("0x%x\n", ecx);
	return 0;
}
