/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls for the guest's init, which has no libc: SYS(call, argument...)
 * returns what the kernel returns, so an error is -errno. A call that takes no
 * arguments is given a 0.
 */
#ifndef BOOT_INIT_SYS_H
#define BOOT_INIT_SYS_H

#include <asm/unistd.h>
#include <fcntl.h>

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

/* The command inherits no descriptor. */
static inline int sys_open(const char *path, int flags)
{
	return (int)SYS(open, path, flags | O_CLOEXEC);
}

static inline void __attribute__((noreturn)) sys_exit(void)
{
	for (;;)
		SYS(exit_group, 0);
}

static inline void sys_sleep_ms(long ms)
{
	const long time[2] = { ms / 1000, ms % 1000 * 1000000 };

	SYS(nanosleep, time, 0);
}

#endif
