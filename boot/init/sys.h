/*
 * System calls for the guest's init, which has no libc: each returns what the
 * kernel returns, so an error is -errno.
 */
#ifndef BOOT_INIT_SYS_H
#define BOOT_INIT_SYS_H

#include <asm/unistd.h>
#include <linux/types.h>
#include <stddef.h>
#include <stdint.h>

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

#define SYS_ARG(x) ((long)(x))
#define SYS_5(call, a, b, c, d, e)                                             \
	sys_call(__NR_##call, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d),  \
		 SYS_ARG(e))
#define SYS_4(call, a, b, c, d) SYS_5(call, a, b, c, d, 0)
#define SYS_3(call, a, b, c)	SYS_5(call, a, b, c, 0, 0)
#define SYS_2(call, a, b)	SYS_5(call, a, b, 0, 0, 0)
#define SYS_1(call, a)		SYS_5(call, a, 0, 0, 0, 0)
#define SYS_0(call)		SYS_5(call, 0, 0, 0, 0, 0)

static inline int sys_open(const char *path, int flags)
{
	return (int)SYS_3(open, path, flags, 0600);
}

static inline void sys_close(int fd)
{
	SYS_1(close, fd);
}

static inline long sys_read(int fd, void *to, size_t len)
{
	return SYS_3(read, fd, to, len);
}

static inline long sys_write(int fd, const void *from, size_t len)
{
	return SYS_3(write, fd, from, len);
}

static inline long sys_ioctl(int fd, unsigned long request, const void *arg)
{
	return SYS_3(ioctl, fd, request, arg);
}

static inline long sys_mount(const char *source, const char *target,
			     const char *type, unsigned long flags,
			     const char *data)
{
	return SYS_5(mount, source, target, type, flags, data);
}

static inline long sys_mkdir(const char *path)
{
	return SYS_2(mkdir, path, 0755);
}

/* 0 or -errno. */
static inline long sys_kill(int pid, int number)
{
	return SYS_2(kill, pid, number);
}

static inline void __attribute__((noreturn)) sys_exit(void)
{
	for (;;)
		SYS_1(exit_group, 0);
}

static inline void sys_sleep_ms(long ms)
{
	const long time[2] = { ms / 1000, ms % 1000 * 1000000 };

	SYS_2(nanosleep, time, 0);
}

#endif
