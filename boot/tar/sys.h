/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls without a libc, for what runs in the guest's init: that has
 * none. It works beside a libc as well, whose errno it leaves alone.
 *
 * SYS(call, argument...) returns what the kernel returns, so an error is
 * -errno. A call that takes no arguments is given a 0.
 */
#ifndef BOOT_TAR_SYS_H
#define BOOT_TAR_SYS_H

#include <asm/unistd.h>

#define SYS(call, ...) SYS_PADDED(call, __VA_ARGS__, 0, 0, 0, 0, 0)
#define SYS_PADDED(call, a, b, c, d, e, ...)                                   \
	sys_call(__NR_##call, (long)(a), (long)(b), (long)(c), (long)(d),      \
		 (long)(e))

static inline long sys_call(long number, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10),
			   "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
}

/* The few calls that take six. */
#define SYS6(call, a, b, c, d, e, f)                                           \
	sys_call6(__NR_##call, (long)(a), (long)(b), (long)(c), (long)(d),     \
		  (long)(e), (long)(f))

static inline long sys_call6(long number, long a, long b, long c, long d,
			     long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10),
			   "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

#endif
