/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy: every system call that a thread of mote may make once it is
 * locked in, and what it is needed for. All others end the process.
 *
 * A row holds for the threads named and, unless its features are 0, only in
 * runs that use one of them. Arguments are compared where they decide what a
 * call can do. tests/guest/rules.t takes the rows out one by one and expects
 * that something fails each time, so a row that nothing needs does not stay.
 *
 * Filters lie on top of each other. The first, LOAD, holds from before an image
 * is looked at, and under those of all threads. So it has all of their rows,
 * and a few more: what loading and building take. Threads are started and
 * memory is mapped under it alone: the others have no clone, no mmap and no
 * mprotect to judge.
 *
 * The broker is another process (cpu/loop/broker.c), with one filter. What it
 * does with names is judged by where these lie. The committer and the walkers
 * are others.
 *
 * Names of calls are those that musl 1.2 makes: epoll_pwait for epoll_wait,
 * recvfrom for recv, exit and not munmap where a joinable thread ends.
 *
 * sendmsg and recvmsg pass descriptors, and reach whomever an address names. So
 * sockets are read and written as files are; but for the one between mote and
 * its broker, by which the broker passes connections.
 *
 * In the order of this table the calls are looked for. Those without arguments
 * cost nothing: the kernel keeps a bitmap of them.
 */
#include "seccomp/policy.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "cpu/loop/broker.h"
#include "cpu/loop/committer.h"
#include "cpu/loop/helper.h"
#include "cpu/loop/thread.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

#define LOAD	  (1u << FILTER_LOAD)
#define LOOP	  (1u << FILTER_LOOP | LOAD)
#define ONLY_LOOP (1u << FILTER_LOOP)
#define VCPU	  (1u << FILTER_VCPU | LOAD)
#define WORKER	  (1u << FILTER_WORKER | LOAD)
#define BESIDE	  (1u << FILTER_VCPU | 1u << FILTER_WORKER | LOAD)
#define ALL	  (LOOP | VCPU | WORKER)
#define BROKER	  (1u << FILTER_BROKER)
#define COMMITTER (1u << FILTER_COMMITTER)
#define WALKER	  (1u << FILTER_WALKER)

#define OUTPUT	   FEATURE_OUTPUT
#define TTY	   FEATURE_TTY
#define SOCKET	   FEATURE_SOCKET
#define PTY	   FEATURE_PTY
#define UNIX	   FEATURE_UNIX
#define DISK	   FEATURE_DISK
#define DISK_WRITE FEATURE_DISK_WRITE
#define EPHEMERAL  FEATURE_EPHEMERAL
#define DEVICE	   FEATURE_DISK_DEVICE
#define URING	   FEATURE_URING
#define TAP	   FEATURE_TAP
#define STREAM	   FEATURE_STREAM
#define VSOCK	   FEATURE_VSOCK
#define COMMAND	   FEATURE_COMMAND
#define DIAL	   FEATURE_VSOCK_DIAL
#define FILE_LEFT  FEATURE_SOCKET_FILE
#define MAX	   FEATURE_OUTPUT_MAX
#define SNAPSHOT   FEATURE_SNAPSHOT
#define LEARN	   FEATURE_LEARN
#define TREE	   FEATURE_TREE
#define EVENTS	   FEATURE_EVENTS

#define MASKED(index, mask, value)                                             \
	{                                                                      \
		true, index, mask, value                                       \
	}
#define ARG(index, value)  MASKED(index, UINT32_MAX, (uint32_t)(value))
#define AT(index, pointer) MASKED(index, UINT64_MAX, pointer)
#define ANY                                                                    \
	{                                                                      \
		{                                                              \
			0                                                      \
		}                                                              \
	}
#define IOCTL(request)                                                         \
	{                                                                      \
		ARG(1, (uint32_t)(request))                                    \
	}
#define SIGNAL(number)                                                         \
	{                                                                      \
		ARG(0, POLICY_SELF), ARG(2, number)                            \
	}

#define UNIX_STREAM                                                            \
	{                                                                      \
		ARG(0, AF_UNIX),                                               \
			ARG(1, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC),    \
			ARG(2, 0)                                              \
	}

/* At the end the socket's file is removed: looked at first. */
#define FILE_OF_SOCKET(i)                                                      \
	{ BROKER,                                                              \
	  FILE_LEFT,                                                           \
	  SYS_newfstatat,                                                      \
	  { ARG(0, BROKER_DIR + (i)), AT(1, BROKER_NAME(i)),                   \
	    ARG(3, AT_SYMLINK_NOFOLLOW) },                                     \
	  "whether it is still ours" },                                        \
	{                                                                      \
		BROKER, FILE_LEFT, SYS_unlinkat,                               \
			{ ARG(0, BROKER_DIR + (i)), AT(1, BROKER_NAME(i)),     \
			  ARG(2, 0) },                                         \
			"removes it, and no directory"                         \
	}

/* All that it may ask of open(2): not to write, nor to make anything. */
#define WALKER_OPENS                                                           \
	(O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |         \
	 O_CLOEXEC)

/* What musl's pthread_create asks for. */
#define THREAD_FLAGS                                                           \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |    \
	 CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |                  \
	 CLONE_CHILD_CLEARTID | CLONE_DETACHED)

const struct policy_rule policy_rules[] = {
	/* vCPUs: run the guest, say what it did, end. */
	{ VCPU, 0, SYS_ioctl, IOCTL(KVM_RUN), "runs the guest" },
	{ VCPU, 0, SYS_ioctl, IOCTL(KVM_KVMCLOCK_CTRL),
	  "tells the guest that it was stopped (SIGSTOP, SIGCONT)" },
	{ VCPU, 0, SYS_ioctl, IOCTL(KVM_GET_REGS),
	  "where the guest crashed, for the report" },
	{ VCPU, 0, SYS_rt_sigreturn, ANY,
	  "back from the handler of the kick that ends KVM_RUN" },

	/* All threads. */
	{ ALL, 0, SYS_write, ANY,
	  "eventfds, standard error; the loop: the guest's output" },
	{ ALL, 0, SYS_futex, ANY, "locks; joining threads" },
	{ ALL, 0, SYS_clock_gettime, ANY,
	  "the time, where the host's clock has no vDSO" },
	{ ALL, 0, SYS_exit_group, ANY, "the end; after a crash in any thread" },
	{ ALL, 0, SYS_poll, ANY,
	  "neither a line nor an event waits for a reader that has stopped" },
	{ ALL, TTY, SYS_ioctl, IOCTL(TIOCGPGRP),
	  "the terminal is touched only while it is ours" },
	{ ALL, TTY, SYS_ioctl, IOCTL(TCSETS),
	  "the terminal's settings, put back also after a crash" },
	{ ALL, 0, SYS_rt_sigprocmask, ANY,
	  "musl blocks signals while a thread ends; the loop's end has an "
	  "alarm" },
	{ BESIDE, 0, SYS_exit, ANY, "the end of a thread" },

	/* Of the main thread. pread64 not LOAD, which has it for images. */
	{ LOOP, EVENTS, SYS_getrusage, ANY,
	  "--events tells how much processor time mote has taken" },
	{ ONLY_LOOP, EVENTS | EPHEMERAL | SNAPSHOT | LEARN, SYS_pread64, ANY,
	  "... and how much memory; a cluster that is copied; which memory the "
	  "guest has" },

	/* The event loop. */
	{ LOOP, 0, SYS_epoll_pwait, ANY, "waits for events" },
	{ LOOP, 0, SYS_read, ANY, "eventfds, timers, signals, input" },
	{ LOOP, 0, SYS_epoll_ctl, ANY, "what is waited for changes" },
	{ LOOP, 0, SYS_timerfd_settime, ANY, "timers" },
	{ LOOP, 0, SYS_timerfd_create, ANY,
	  "after SIGTERM: the button is pressed again and again" },
	{ LOOP, 0, SYS_close, ANY, "clients that left; all at the end" },
	{ LOOP, 0, SYS_munmap, ANY, "stacks of threads, memory at the end" },
	{ LOOP, 0, SYS_tgkill, SIGNAL(THREAD_SIGNAL),
	  "makes a vCPU leave the guest" },
	{ LOOP, 0, SYS_tgkill, SIGNAL(SIGSTOP),
	  "stops itself on SIGTSTP, the terminal put back first" },
	{ LOOP,
	  0,
	  SYS_setitimer,
	  { ARG(0, ITIMER_REAL) },
	  "an alarm at the end, should the host's kernel hang" },

	/* --serial */
	{ LOOP, OUTPUT, SYS_ppoll, ANY,
	  "the last of the output waits for its reader" },
	{ LOOP, TTY, SYS_ioctl, IOCTL(TIOCGWINSZ),
	  "isatty(): whether messages go to a raw terminal" },
	{ LOOP, TTY | PTY, SYS_ioctl, IOCTL(TCGETS),
	  "settings, before they are changed" },
	{ LOOP, PTY, SYS_ioctl, IOCTL(TCSETS),
	  "a raw terminal for the next client" },
	{ LOOP,
	  SOCKET,
	  SYS_sendto,
	  { ARG(5, 0) },
	  "output without O_NONBLOCK, to no other address" },
	{ LOOP, SOCKET, SYS_recvfrom, ANY, "input without O_NONBLOCK" },
	{ LOOP,
	  PTY | UNIX,
	  SYS_fcntl,
	  { ARG(1, F_DUPFD_CLOEXEC) },
	  "epoll takes a descriptor once: one for each direction" },
	{ LOOP,
	  PTY | UNIX,
	  SYS_fcntl,
	  { ARG(1, F_SETFD), ARG(2, FD_CLOEXEC) },
	  "musl makes sure of close-on-exec" },

	{ LOOP, MAX, SYS_lseek, ANY, "whether a file with max= is full" },
	{ LOOP,
	  MAX | SNAPSHOT,
	  SYS_ftruncate,
	  { AT(1, 0) },
	  "a file that begins anew: with max= it was full" },

	/* --disk */
	{ LOOP, DISK, SYS_preadv2, ANY, "what is in memory is read at once" },
	{ LOOP, DISK_WRITE | EPHEMERAL, SYS_pwritev2, ANY,
	  "what need not wait is written at once" },
	{ LOOP,
	  DISK,
	  SYS_flock,
	  { ARG(1, LOCK_UN) },
	  "the next mote need not wait until a ring is gone" },
	{ LOOP, EPHEMERAL, SYS_pwrite64, ANY, "to the overlay" },
	{ LOOP,
	  URING,
	  SYS_io_uring_enter,
	  { MASKED(3, ~(uint32_t)IORING_ENTER_GETEVENTS, 0) },
	  "hands operations to a ring that is restricted itself" },
	{ LOOP,
	  DISK,
	  SYS_madvise,
	  { ARG(2, MADV_DONTNEED) },
	  "memory that many requests took goes back to the host" },
	{ WORKER, 0, SYS_preadv, ANY, "reads" },
	{ WORKER, DISK_WRITE | EPHEMERAL, SYS_pwritev, ANY, "writes" },
	{ WORKER, DISK_WRITE, SYS_fdatasync, ANY, "FLUSH" },
	{ WORKER, DISK_WRITE | EPHEMERAL, SYS_fallocate, ANY,
	  "DISCARD and WRITE_ZEROES" },
	{ WORKER, DEVICE, SYS_ioctl, IOCTL(BLKDISCARD),
	  "DISCARD of a block device" },

	/* Any virtio device. Not LOAD, which has all of KVM whatever is used:
	 * its program would ask for these features first. */
	{ ONLY_LOOP, DISK | TAP | STREAM | VSOCK | COMMAND, SYS_ioctl,
	  IOCTL(KVM_IRQ_LINE), "interrupts" },

	/* --net */
	{ LOOP, TAP | STREAM, SYS_readv, ANY,
	  "packets, straight to guest memory" },
	{ LOOP, TAP | STREAM, SYS_writev, ANY,
	  "packets, straight from guest memory" },
	{ LOOP, TAP, SYS_ioctl, IOCTL(TUNSETOFFLOAD),
	  "what the driver has negotiated" },
	{ LOOP, STREAM, SYS_recvfrom, ANY, "the length of the next frame" },

	/* --vsock; a command's stream */
	{ LOOP, VSOCK | UNIX, SYS_accept4, ANY, "clients of the host" },
	{ LOOP,
	  DIAL,
	  SYS_recvmsg,
	  { ARG(0, POLICY_BROKER) },
	  "a connection that the guest begins, from the broker" },
	/* A command has the next one with the socket of its other end. */
	{ LOOP, VSOCK, SYS_recvfrom, ANY,
	  "a client's CONNECT line; whether there is more to read" },
	{ LOOP, VSOCK | COMMAND, SYS_readv, ANY, "data for the guest" },
	{ LOOP, VSOCK | COMMAND, SYS_writev, ANY, "data from the guest" },
	{ LOOP,
	  VSOCK,
	  SYS_setsockopt,
	  { ARG(1, SOL_SOCKET), ARG(2, SO_SNDBUF) },
	  "of many streams each has less room" },
	{ LOOP, VSOCK | COMMAND, SYS_shutdown, ANY, "half-close" },
	{ LOOP,
	  VSOCK | COMMAND,
	  SYS_madvise,
	  { ARG(2, MADV_DONTNEED) },
	  "buffers of a closed connection go back to the host" },

	/* --snapshot. Of KVM not LOAD, as above. */
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_CHECK_EXTENSION),
	  "how much there is to save" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_MSR_INDEX_LIST),
	  "likewise" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_TSC_KHZ), "likewise" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_MP_STATE),
	  "saves the machine" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_SREGS),
	  "saves the machine" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_REGS),
	  "saves the machine" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_XSAVE2),
	  "saves the machine" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_XCRS),
	  "saves the machine" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_DEBUGREGS),
	  "saves the machine" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_LAPIC),
	  "saves the machine" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_MSRS),
	  "saves the machine" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_VCPU_EVENTS),
	  "saves the machine" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_IRQCHIP),
	  "saves the machine" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_CLOCK),
	  "saves the machine" },
	{ ONLY_LOOP, SNAPSHOT, SYS_ioctl, IOCTL(KVM_GET_DEVICE_ATTR),
	  "saves the machine" },
	{ LOOP, SNAPSHOT | LEARN, SYS_pwrite64, ANY,
	  "memory and all else, to the file" },
	{ LOOP, SNAPSHOT, SYS_fdatasync, ANY,
	  "fd=N; disks, before they are named" },
	{ LOOP, SNAPSHOT, SYS_fstat, ANY, "when a disk was written last" },
	{ LOOP, SNAPSHOT | LEARN, SYS_lseek, ANY,
	  "holes of an overlay, or of a snapshot" },
	{ ONLY_LOOP, SNAPSHOT, SYS_getrandom, ANY,
	  "what tells snapshots apart" },
	{ LOOP, LEARN, SYS_copy_file_range, ANY, "a snapshot, that learns" },
	{ LOOP,
	  SNAPSHOT | LEARN,
	  SYS_recvmsg,
	  { ARG(0, POLICY_COMMITTER) },
	  "the next file, from the committer" },

	/* Loading an image, and building the machine. */
	{ LOAD, 0, SYS_ioctl, { MASKED(1, 0xff00, KVMIO << 8) }, "KVM" },
	{ LOAD,
	  0,
	  SYS_mmap,
	  { MASKED(2, PROT_EXEC, 0) },
	  "memory, images, vCPUs, rings" },
	{ LOAD, 0, SYS_fstat, ANY, "what an image is, how long" },
	{ LOAD, 0, SYS_lseek, ANY, "how long a block device is" },
	{ LOAD, 0, SYS_pread64, ANY, "an image" },
	{ LOAD, 0, SYS_memfd_create, ANY, "an image that comes from a pipe" },
	{ LOAD, 0, SYS_madvise, { ARG(2, MADV_POPULATE_WRITE) }, "prefault" },
	{ LOAD, 0, SYS_madvise, { ARG(2, MADV_HUGEPAGE) }, "hugepages=thp" },
	{ LOAD, 0, SYS_madvise, { ARG(2, MADV_MERGEABLE) }, "mergeable" },
	{ LOAD,
	  0,
	  SYS_madvise,
	  { ARG(2, MADV_NOHUGEPAGE) },
	  "a disk's pool stays small" },
	{ LOAD, 0, SYS_getrandom, ANY, "the guest's first random bytes" },
	{ LOAD, TTY, SYS_getpgid, ANY, "whether the terminal is ours" },
	{ LOAD, 0, SYS_setitimer, { ARG(0, ITIMER_REAL) }, "--timeout" },
	{ LOAD, 0, SYS_signalfd4, { ARG(0, -1) }, "signals" },
	{ LOAD, 0, SYS_eventfd2, ANY, "interrupts, kicks" },
	{ LOAD, 0, SYS_epoll_create1, ANY, "the event loop" },
	{ LOAD, 0, SYS_timerfd_create, ANY, "timers" },
	{ LOAD, DISK, SYS_fcntl, { ARG(1, F_GETFL) }, "O_DIRECT or not" },
	{ LOAD, URING, SYS_io_uring_setup, ANY, "a disk's ring" },
	{ LOAD, URING, SYS_io_uring_register, ANY,
	  "restricts it, on the disk's files" },
	{ LOAD, 0, SYS_getpid, ANY, "for tgkill, and its row" },
	{ LOAD,
	  0,
	  SYS_rt_sigaction,
	  { ARG(0, THREAD_SIGNAL) },
	  "what kicks a vCPU does nothing else" },
	{ LOAD, 0, SYS_clone, { ARG(0, THREAD_FLAGS) }, "a thread, " },
	{ LOAD,
	  0,
	  SYS_mprotect,
	  { MASKED(2, PROT_EXEC, 0) },
	  "... the guard of its stack, " },
	{ LOAD, 0, SYS_prctl, { ARG(0, PR_SET_NAME) }, "... its name, " },
	{ LOAD, 0, SYS_gettid, ANY, "... its number, " },
	{ LOAD,
	  0,
	  SYS_seccomp,
	  { ARG(0, SECCOMP_SET_MODE_FILTER) },
	  "... and its own filter" },
	{ LOAD,
	  TAP | STREAM,
	  SYS_setpriority,
	  { ARG(0, PRIO_PROCESS), ARG(1, 0) },
	  "the loop comes a step behind the vCPUs" },

	/* The broker. */
	{ BROKER,
	  0,
	  SYS_read,
	  { ARG(0, BROKER_CHANNEL) },
	  "what mote asks for, and its end" },
	{ BROKER, 0, SYS_exit_group, ANY, "the end" },
	{ BROKER, DIAL, SYS_socket, UNIX_STREAM,
	  "a connection that the guest begins" },
	{ BROKER,
	  DIAL,
	  SYS_connect,
	  { AT(1, BROKER_ADDRESS), ARG(2, sizeof(struct sockaddr_un)) },
	  "to PATH_port" },
	{ BROKER,
	  DIAL,
	  SYS_sendmsg,
	  { ARG(0, BROKER_CHANNEL) },
	  "the connection, or why there is none" },
	{ BROKER, DIAL, SYS_close, ANY,
	  "what was passed on, or could not be connected" },
	FILE_OF_SOCKET(0),
	FILE_OF_SOCKET(1),

	/* The committer. */
	{ COMMITTER,
	  0,
	  SYS_read,
	  { ARG(0, COMMITTER_CHANNEL) },
	  "a snapshot is whole; mote's end" },
	{ COMMITTER, 0, SYS_fsync, ANY, "it is on the disk, " },
	{ COMMITTER,
	  0,
	  SYS_renameat,
	  { ARG(0, COMMITTER_DIR), AT(1, COMMITTER_TEMPORARY),
	    ARG(2, COMMITTER_DIR), AT(3, COMMITTER_NAME) },
	  "... before it has its name" },
	{ COMMITTER,
	  0,
	  SYS_openat,
	  { ARG(0, COMMITTER_DIR), AT(1, COMMITTER_TEMPORARY),
	    MASKED(2, ~COMMITTER_LARGEFILE, COMMITTER_FLAGS),
	    ARG(3, COMMITTER_MODE) },
	  "the file of the next one, new and empty" },
	{ COMMITTER,
	  0,
	  SYS_sendmsg,
	  { ARG(0, COMMITTER_CHANNEL) },
	  "that file, or why there is none" },
	{ COMMITTER, 0, SYS_close, ANY, "the one that has its name" },
	{ COMMITTER,
	  0,
	  SYS_unlinkat,
	  { ARG(0, COMMITTER_DIR), AT(1, COMMITTER_TEMPORARY), ARG(2, 0) },
	  "removes what was not finished" },
	{ COMMITTER,
	  LEARN,
	  SYS_openat,
	  { ARG(0, COMMITTER_DIR), AT(1, COMMITTER_NAME),
	    MASKED(2, ~COMMITTER_LARGEFILE, COMMITTER_LOOK) },
	  "what has the name by now" },
	{ COMMITTER, LEARN, SYS_pread64, ANY, "... and whether it is another" },
	{ COMMITTER, 0, SYS_exit_group, ANY, "the end" },

	/* The walkers, whose directory, or file, is all that they see. */
	{ WALKER, TREE, SYS_newfstatat, ANY, "what a name is" },
	{ WALKER,
	  TREE,
	  SYS_openat,
	  { MASKED(2, ~(uint32_t)WALKER_OPENS, 0) },
	  "a directory, or a file, for reading" },
	{ WALKER, 0, SYS_fstat, ANY, "whether it is still that" },
	{ WALKER, TREE, SYS_fstatfs, ANY,
	  "no file system of the kernel's own" },
	{ WALKER, TREE, SYS_getdents64, ANY, "names in a directory" },
	{ WALKER, TREE, SYS_readlinkat, ANY, "where a link leads to" },
	{ WALKER, 0, SYS_flistxattr, ANY, "extended attributes, " },
	{ WALKER, 0, SYS_fgetxattr, ANY, "... and their values" },
	{ WALKER, 0, SYS_lseek, ANY, "holes" },
	{ WALKER, 0, SYS_read, ANY, "what is in a file" },
	{ WALKER, 0, SYS_close, ANY, "one after the other" },
	{ WALKER,
	  0,
	  SYS_writev,
	  { ARG(0, HELPER_CHANNEL) },
	  "the stream, to mote" },
	{ WALKER, 0, SYS_exit_group, ANY, "the end" },
};

const size_t policy_count = sizeof(policy_rules) / sizeof(policy_rules[0]);
