/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the guest's init offer each other. Each uses those that
 * stand above it here; main.c says what the program does.
 */
#ifndef BOOT_INIT_INIT_H
#define BOOT_INIT_INIT_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot/tar/sys.h"
#include "cpu/command/protocol.h"

/* -- system calls --------------------------------------------------------- */

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

/* Since the machine's start, what it was paused for included. */
static inline long sys_now_ms(void)
{
	long time[2] = { 0, 0 };

	SYS(clock_gettime, 7 /* CLOCK_BOOTTIME */, time);
	return time[0] * 1000 + time[1] / 1000000;
}

/* -- text.c: strings, small files, words of the kernel's command line ------ */

/* A libc has these, too, beside which tests compile some of init. */
/* NOLINTBEGIN(readability-*) */
void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);
/* NOLINTEND(readability-*) */

size_t text_len(const char *text);
bool text_same(const char *a, const char *b);

/* What follows `start` in `text`; NULL where it does not begin with it. */
const char *text_after(const char *text, const char *start);

/* Reads a decimal number, moves past it; a number too large wraps. */
unsigned text_number(const char **text);
/* Two small hexadecimal digits. */
uint8_t text_hex(const char digit[2]);

/* A string that is put together; what does not fit is left off. */
struct text {
	char bytes[512];
	size_t len;
};
struct text *text_add(struct text *text, const char *more);
struct text *text_add_part(struct text *text, const char *from, size_t len);
struct text *text_add_number(struct text *text, unsigned number);
/* Of IPv4: "192.0.2.1". */
struct text *text_add_address(struct text *text, const uint8_t bytes[4]);
/* Of IPv6, without "::". */
struct text *text_add_v6(struct text *text, const uint8_t bytes[16]);

/* Zeroed memory that is never freed; NULL where there is no more. */
void *text_alloc(size_t size);

/* Moves the end of the heap to so far behind `text`; false: no more memory. */
bool text_grow(char *text, size_t size);

/* The bytes of a file, NUL at its end; -errno. Short for what fits in. */
long text_read(const char *path, char *to, size_t room);
/* All of a file, in memory of its own, NUL at its end; "" for none. */
char *text_load(const char *path, size_t *len);

/*
 * Of the kernel's command line: the value of the last KEY=value, "" for a word
 * without; NULL where there is none.
 */
const char *text_word(const char *key);

/* Names in a directory, one after the other, but for . and .. */
struct names {
	int fd;
	long at, end;
	char bytes[1024];
};
bool names_open(struct names *names, const char *path);
const char *names_next(struct names *names); /* NULL: closed, too */

/* The directories that a path goes through, where they are not there; not the
 * last one, whether there is a slash behind it or not. */
void names_make_parents(const char *path);

/* -- stream.c: what mote is told, and what it says ------------------------- */

/* By vsock, or else by the serial port; fails where there is neither. */
void stream_dial(bool no_serial);

/*
 * From now on this process has the stream `fd`, no other descriptor, and an end
 * of its own, which is not the guest's: see session.c.
 */
void stream_adopt(int fd);
/* Tells the mote at the other end of `fd` why its command is not run. */
void stream_refuse(int fd, const char *why);
int stream_fd(void); /* 0: not open */

/*
 * Tells mote that the guest is ready: its port. True in a guest that was
 * restored from a snapshot of that moment, whose stream leads nowhere.
 */
bool stream_ready(void);
/* Then: by the same way, and asks with RUN. 0, or -errno: not yet. */
long stream_redial(void);

/* 0, or -errno: mote is gone. */
long stream_send_bytes(unsigned type, const void *payload, size_t len);
long stream_send_words(unsigned type, uint32_t a, uint32_t b);
/* Reads `room` bytes at most and sends them on: what read(2) returned. */
long stream_send_from(unsigned type, int fd, size_t room);

struct frame {
	uint32_t type, len;
	const uint8_t *payload;
	uint32_t word[2]; /* what a payload that is words says */
};

/* Reads what is there: 0, or -errno where the stream is over. */
long stream_receive(void);
/* The next frame that is complete; good until the next stream_receive. */
bool stream_next(struct frame *frame);

/* Tells mote's user. `what`: a name, or NULL; `error`: a -errno, or 0. */
void stream_note(const char *why, const char *what, long error);

/*
 * Ends the guest: with a status, and what else EXIT says of it; or with a note
 * why and status 125; or without a status, by reboot(2).
 */
void stream_end(unsigned status, unsigned flags) __attribute__((noreturn));
void stream_power(unsigned how) __attribute__((noreturn));
void stream_fail(const char *why, const char *what, long error)
	__attribute__((noreturn));

/* -- disk.c: what is on a disk --------------------------------------------- */

/* Its file system, as mount(2) wants it; NULL for none that is known here. */
const char *disk_type(const char *device);

/*
 * The /dev/NAME that root= means: itself, or the disk or partition with that
 * UUID=, LABEL= or PARTUUID=, which is waited for.
 */
const char *disk_resolve(const char *root);

/* -- module.c: modules of the kernel, which the initrd brought ------------- */

/*
 * Instead of main, returns only in a process that the kernel did not start for
 * a module's sake.
 */
void module_serve(char **argv);

/* With what it needs; nothing where there is none of that name. */
void module_load(const char *name);

/* mount(2); loads the file system's module where the kernel lacks it. */
long module_mount(const char *source, const char *target, const char *type,
		  unsigned long flags, const char *data);

/*
 * Before `root`, a directory, becomes /: the initrd's modules are kept, if that
 * has none for this kernel. Then: is it they that have this inode? After that:
 * they are there for programs and for the kernel; `on_disk`: the root's own
 * directories last.
 */
void module_keep(const char *root);
bool module_keeps(uint64_t inode);
void module_offer(bool on_disk);

/* -- root.c: drivers, file systems, the root disk -------------------------- */

void root_mount_kernel(void);
void root_load_drivers(void); /* of what mote has; none without modules */
void root_enter(void);	      /* the disk that root= names, if it does */

/*
 * Everything is on the disks afterwards. `apart`: a process for each file
 * system, and one for all else, so that none waits for another's disk.
 */
void root_leave(bool apart);

/* Operations that the disks have completed so far. */
unsigned long root_operations(void);

/* -- clock.c: the time ----------------------------------------------------- */

void clock_ask(void); /* mote, for the host's */
bool clock_is_asked(void);
void clock_await(void); /* its answer, and sets the clock; so does: */
void clock_obey(const struct frame *frame); /* a TIME that has come */

/* -- link.c: network interfaces -------------------------------------------- */

#define LINK_MAC_TEXT 17 /* characters of "02:00:00:00:00:01" */

struct link {
	char name[16];
	unsigned index;
	uint8_t mac[6];
};

struct address {
	uint8_t bytes[16];
	uint8_t len; /* 4, or 16 of IPv6; 0: none */
	uint8_t prefix;
};

struct route {
	struct address to, via; /* via none: on the interface's own network */
	unsigned metric;
};

/* An interface by its name, or its MAC in small digits; false: there is none.
 */
bool link_named(struct link *link, const char *name);
bool link_found(struct link *link, const char *mac);

bool link_is_up(const struct link *link);
long link_set_up(const struct link *link, bool up);
long link_set_mac(const struct link *link, const char *mac);
void link_set_mtu(const struct link *link, unsigned mtu);
void link_clear(const struct link *link); /* down, and without addresses */

/* 0, also where it is there already, or -errno. */
long link_add_address(const struct link *link, const struct address *address);
long link_add_route(const struct link *link, const struct route *route);
void link_remove_address(const struct link *link,
			 const struct address *address);
void link_remove_route(const struct link *link, const struct route *route);

/* Addresses of IPv6 are good at once, without a question who else has them. */
void link_trust_addresses(const struct link *link);

struct link_v6 {
	bool any, global;
	bool tentative; /* one is not to be used yet */
};
struct link_v6 link_look_at_v6(const struct link *link);
/* Until there is one, and none is tentative; or so long. */
void link_await_v6(const struct link *link, unsigned ms);

/* -- router.c: DNS servers by router advertisements ------------------------ */

/* Before interfaces go up: a descriptor, or -errno. */
int router_listen(void);

/* What has come since: each server, and the interface it was advertised on. */
typedef void router_found(unsigned index, const uint8_t address[16]);
void router_hear(int fd, router_found *found);

/* -- resolve.c: /etc/hosts and /etc/resolv.conf ---------------------------- */

void resolve_set_name(const char *name, const char *address);

#define RESOLVE_PARTS	16 /* interfaces */
#define RESOLVE_SERVERS 3  /* as many as a C library asks */

/* What an interface knows: shared by all processes of init's. */
struct resolve_part {
	char search[256];
	/* "": none; those of routers come after the others */
	char server[RESOLVE_SERVERS][64], router[RESOLVE_SERVERS][64];
};
struct resolve_part *resolve_part(unsigned i);

/* All of it, into /etc/resolv.conf; false where there is no such file. */
bool resolve_write(void);

/* -- dhcp.c: an address by DHCP -------------------------------------------- */

struct dhcp_options {
	struct link link;
	unsigned metric;	       /* of its routes */
	unsigned number;	       /* of its resolve_part */
	bool has_gateway, has_servers; /* the user's, so not its */
};

/*
 * Starts a process that gets an address and keeps it; its number or -errno. A
 * long can be read from *report when there is one: 0; or -errno, and the
 * process has ended. *options must last.
 */
long dhcp_start(const struct dhcp_options *options, int *report);

/* -- net.c: the network ---------------------------------------------------- */

/* `hostname`: NULL where the kernel's command line says it. */
void net_start(const char *hostname);
void net_set_name(const char *name);
void net_set_mac(const char *order); /* see RUN_MAC */

/* RUN_NET's string, which must last; then net_start, or in a guest that was
 * restored net_apply, does it. */
void net_add_order(const char *order);
void net_apply(void);
/* -- session.c: more commands, beside the first one ------------------------ */

/* Opens the port for them, once, where that is wanted. */
void session_listen(bool wanted);
int session_fd(void); /* readable while somebody is there; -1: no port */
/* True in the process that is to run his command: see stream_adopt. */
bool session_accept(void);
void session_ended(int pid); /* a child of process 1 has */

/* -- orders.c: what to run ------------------------------------------------- */

/* What the command's environment has of its user (user.c). */
#define RUN_ENV_ROOM 4

/* Strings of RUN_FILE; argv and env end in NULL. */
struct run {
	char **argv, **env; /* env with RUN_ENV_ROOM more at its end */
	const char *workdir;
	const char *hostname;	 /* NULL: as ip= or hostname= says */
	const char *as;		 /* USER[:GROUP]; NULL: as init itself, root */
	const struct user *user; /* who that is, after user_find */
	const char *tty;	 /* rows and columns; NULL: none */
	bool no_serial;
	bool program; /* it says by itself when it is ready */
	bool exec;    /* more commands may come */
	/* Of RUN_PUT and RUN_GET. */
	unsigned put_count, get_count;
	const char *put[RUN_TRANSFERS_MAX], *get[RUN_TRANSFERS_MAX];
};

void orders_load(struct run *run); /* from the initrd */
void orders_ask(struct run *run);  /* mote, where stream_ready says so */
/* In a session: what its mote says. *run is the first command's before. */
void orders_hear(struct run *run);

/* -- user.c: whom the command runs as -------------------------------------- */

struct user {
	uint32_t uid, gid;
	unsigned group_count; /* gid is one of them */
	const uint32_t *groups;
};

/*
 * Looks up run->as in `etc`passwd and `etc`group ("/etc/"): run->user, which
 * lasts until the next call, and HOME and others where run->env lacks them.
 * False where there is none, and that is told.
 */
bool user_find(struct run *run, const char *etc);

/* In the command's process: 0 to 2 are the user's, then so is the process. 0 or
 * -errno. NULL: as it is. */
long user_become(const struct user *user);

/* -- transfer.c: --put and --get ------------------------------------------- */

/* Ends the guest where it fails. Needs whom the command runs as. */
void transfer_put(struct run *run);
void transfer_get(const struct run *run);

/* -- child.c: the command's start ------------------------------------------ */

/* Its descriptors' other ends, -1: closed. A terminal's is twice here: `in` and
 * out[PROTOCOL_STDOUT]. */
struct child {
	int pid;
	int in, out[PROTOCOL_STREAMS];
};

/* 0; or its status, where it cannot be started: 125 to 127, and why is told. */
unsigned child_start(struct child *child, struct run *run);

/* -- relay.c: the command -------------------------------------------------- */

/* How it went: its status; whether the kernel killed it, as memory was out; or
 * what reboot(2) is to do at its own wish, and then there is no status. */
struct outcome {
	unsigned status, flags, power;
	bool started; /* it has run at all */
};

/*
 * Runs the command to its end, and all that it wrote is sent. *run changes if
 * the command says that it is ready, and goes on in a guest that was restored.
 * True, at once, in a process that is to run another command: see orders_hear.
 */
bool relay_run(struct run *run, struct outcome *outcome);

/* root_leave, which no process that cannot be killed holds up for ever. Not in
 * a session, whose end is not the guest's. */
void relay_leave(void);

#endif
