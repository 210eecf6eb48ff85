/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of mote, each declared once.
 *
 * The table below is all there is: parser, --help, mote.1 and the completions
 * of bash and zsh are made from it. An option is added by a member of struct
 * options and an entry here, for example
 *
 *	OPTION('c', MACHINE, NUMBER("cpus", cpus, 1, 254, 1, "N", "2"),
 *	       "the number of CPUs", .keys = cpus_keys),
 *
 * which are its letter (0: none), its place in --help, its name, the member,
 * the range, the default, a placeholder and an example of a value, and what
 * --help says; then what not every option has. Checks that look at more than
 * one value are in check.c.
 *
 * Constant data, trusted by those who read it; and, at the end, options_parse,
 * which main.c calls before anything else: it runs the parser (parse.c) over
 * the table, then check.c. It owns nothing and keeps nothing between calls.
 */
#include "boot/options/options.h"

#include <string.h>

#include "cpu/vm.h"
#include "mem/util.h"

#define KIB    (1ULL << 10)
#define MIB    (1ULL << 20)
#define TIB    (1ULL << 40)
#define SECOND 1000000000ULL
#define YEAR   (8760 * 3600 * SECOND)

/* More often they would be a load on who reads them, and on the guest. */
#define EVENTS_EVERY_MIN (SECOND / 10)

/* -- the words of the table ------------------------------------------------ */

/* What only the manual says is not in the program itself (see Makefile). */
#ifdef OPTIONS_WITHOUT_MANUAL
#define MANUAL(text) ""
#define MORE(text)
#else
#define MANUAL(text) text
#define MORE(text)   .more = text
#endif

#define MEMBER(member) (((struct options *)0)->member)

/* Where a member lies, which must be as large as what the parser stores. */
#define AT(member, stored)                                                     \
	(offsetof(struct options, member) +                                    \
	 0 * sizeof(char[sizeof(MEMBER(member)) == sizeof(stored) ? 1 : -1]))

#define FIELD(kind_, stored, name_, member, ...)                               \
	.kind = (kind_), .offset = AT(member, stored), .name = (name_),        \
	__VA_ARGS__
#define FLAG(name, member)                                                     \
	FIELD(OPTION_FLAG, bool, name, member, .initial = false)
#define TEXT(name, member, value_, example_)                                   \
	FIELD(OPTION_TEXT, const char *, name, member, .value = (value_),      \
	      .example = (example_))
#define STRING(name, member, min_, max_, value_, example_)                     \
	FIELD(OPTION_STRING, const char *, name, member, .min = (min_),        \
	      .max = (max_), .value = (value_), .example = (example_))
/* A key that may be given as often as `array` has elements. */
#define STRINGS(name_, array, min_, max_, value_, example_)                    \
	.kind = OPTION_STRING, .offset = offsetof(struct options, array),      \
	.times = ARRAY_LEN(MEMBER(array)), .name = (name_), .min = (min_),     \
	.max = (max_), .value = (value_), .example = (example_)
#define NUMBER(name, member, min_, max_, initial_, value_, example_)           \
	FIELD(OPTION_NUMBER, unsigned, name, member, .min = (min_),            \
	      .max = (max_), .initial = (initial_), .value = (value_),         \
	      .example = (example_))
#define SIZE(name, member, min_, max_, unit_, initial_, example_)              \
	FIELD(OPTION_SIZE, uint64_t, name, member, .min = (min_),              \
	      .max = (max_), .unit = (unit_), .initial = (initial_),           \
	      .value = "SIZE", .example = (example_))
#define RATE(name, member, value_, example_)                                   \
	FIELD(OPTION_RATE, uint64_t, name, member, .max = TIB, .unit = 1,      \
	      .value = (value_), .example = (example_))
#define DURATION(name, member, min_, max_, example_)                           \
	FIELD(OPTION_DURATION, uint64_t, name, member, .min = (min_),          \
	      .max = (max_), .unit = SECOND, .value = "DURATION",              \
	      .example = (example_))
#define ENUM(name, member, choices_, initial_, example_)                       \
	FIELD(OPTION_ENUM, unsigned, name, member, .choices = (choices_),      \
	      .initial = (initial_), .example = (example_))
#define PATH_OR_FD(name, member, example_)                                     \
	FIELD(OPTION_FILE, struct option_file, name, member,                   \
	      .value = "PATH|fd=N", .example = (example_))
#define VARIANT(name, member, file, choices_, initial_, example_)              \
	FIELD(OPTION_VARIANT, unsigned, name, member,                          \
	      .file_offset = AT(file, struct option_file),                     \
	      .choices = (choices_), .initial = (initial_),                    \
	      .example = (example_))
#define PATHS(kind_, name_, guest, file, value_, example_)                     \
	FIELD(kind_, const char *, name_, guest,                               \
	      .file_offset = AT(file, struct option_file), .value = (value_),  \
	      .example = (example_))
#define ACTION(name_, action_)                                                 \
	.kind = OPTION_ACTION, .name = (name_), .action = (action_)

/* `text` is for the manual. */
#define CHOICE(name, value, text)                                              \
	{                                                                      \
		name, MANUAL(text), value, OPTION_ARG_NONE                     \
	}
#define FORM(name, argument, value, text)                                      \
	{                                                                      \
		name, MANUAL(text), value, OPTION_ARG_##argument               \
	}
#define KEY(field, text)                                                       \
	{                                                                      \
		field, .help = MANUAL(text)                                    \
	}
#define OPTION(letter_, group_, field, help_, ...)                             \
	{                                                                      \
		.letter = (letter_), .group = (group_),                        \
		.own = { field, .help = (help_) }, __VA_ARGS__                 \
	}
/* It repeats: `array` has the elements, `counter` says how many there are. */
#define REPEATS(array, counter)                                                \
	.first = offsetof(struct options, array),                              \
	.stride = sizeof(MEMBER(array)[0]), .count = AT(counter, unsigned),    \
	.max = ARRAY_LEN(MEMBER(array))

/* -- choices --------------------------------------------------------------- */

static const struct option_choice hugepages[] = {
	CHOICE("off", RAM_PAGES_OFF, "whatever the host does"),
	CHOICE("thp", RAM_PAGES_THP,
	       "transparent huge pages, as far as the host has them"),
	CHOICE("2M", RAM_PAGES_2M, "the host's reserved pages of 2 MiB"),
	CHOICE("1G", RAM_PAGES_1G, "the host's reserved pages of 1 GiB"),
	{ 0 },
};

static const struct option_choice engines[] = {
	CHOICE("auto", BLOCK_ENGINE_AUTO,
	       "io_uring where the host allows it; a thread writes to files"),
	CHOICE("uring", BLOCK_ENGINE_URING, "io_uring"),
	CHOICE("threads", BLOCK_ENGINE_THREADS, "a thread"),
	{ 0 },
};

static const struct option_choice snapshot_ons[] = {
	CHOICE("ready", SNAPSHOT_ON_READY,
	       "when mote's init is ready for a command, or the guest has "
	       "written to port 0x507; with a command that is what happens if "
	       "nothing is said"),
	CHOICE("program", SNAPSHOT_ON_PROGRAM,
	       "when the command has written to the FIFO that MOTE_READY "
	       "names"),
	CHOICE("signal", SNAPSHOT_ON_SIGNAL, "at each SIGUSR1"),
	{ 0 },
};

static const struct option_choice snapshot_thens[] = {
	CHOICE("exit", SNAPSHOT_EXITS,
	       "mote ends, with status 0; of `ready` and `program`"),
	CHOICE("continue", SNAPSHOT_CONTINUES, "the guest goes on"),
	{ 0 },
};

static const struct option_choice restore_clocks[] = {
	CHOICE("host", RESTORE_CLOCK_HOST,
	       "it shows the host's time, and the time since boot has passed, "
	       "too"),
	CHOICE("keep", RESTORE_CLOCK_KEEP,
	       "it goes on where it was, and the date with it, but where "
	       "mote's init sets that"),
	{ 0 },
};

static const struct option_choice net_forms[] = {
	FORM("user", NONE, NET_USER,
	     "a network by passt(1), which mote starts, and ends with itself: "
	     "it takes no rights and no set-up. By DHCP, NDP and DHCPv6 the "
	     "guest is " PASST_GUEST4 " and " PASST_GUEST6 ", and the host's "
	     "resolvers are its own. It reaches whatever the host does, as far "
	     "as that has IPv4 and IPv6; " PASST_HOST4 " and " PASST_HOST6
	     "%eth0 are the host itself, with what listens on its loopback "
	     "addresses, too. Nothing reaches the guest but by --publish"),
	FORM("tap", NAME, NET_TAP,
	     "a tap interface that exists: ip tuntap add dev NAME mode tap "
	     "user $USER && ip link set NAME up"),
	FORM("fd", FD, NET_FD,
	     "an open descriptor: of a tap, or of a connected stream socket"),
	FORM("unix", PATH, NET_UNIX,
	     "a unix stream socket where passt(1) listens, or any program that "
	     "takes frames as it does, each after its length in 32 bits; that "
	     "needs no rights at all"),
	{ 0 },
};

static const struct option_choice serial_forms[] = {
	FORM("stdio", NONE, CONSOLE_STDIO,
	     "standard input and output; a terminal is put into raw mode"),
	FORM("off", NONE, CONSOLE_OFF, "output is dropped, there is no input"),
	FORM("pty", NONE, CONSOLE_PTY,
	     "a new pseudo-terminal, whose name goes to stderr; who opens it "
	     "finds the last 64 KiB that were printed before"),
	FORM("file", PATH, CONSOLE_FILE,
	     "output goes to that file, which is emptied first unless append "
	     "is given; no input. Who rotates it may empty it while mote "
	     "writes (logrotate's copytruncate)"),
	FORM("unix", PATH, CONSOLE_UNIX,
	     "a unix socket that one client at a time connects to, who finds "
	     "the last 64 KiB that were printed while nobody was there"),
	FORM("fd", FD, CONSOLE_FD,
	     "an open descriptor, for the ways that it allows; or a unix "
	     "socket that listens, and is then served as with unix="),
	{ 0 },
};

static const struct option_choice sandbox_modes[] = {
	CHOICE("on", SANDBOX_ON,
	       "mote gives up every right that it does not need, and ends if "
	       "it is made to ask for more"),
	CHOICE("off", SANDBOX_OFF,
	       "a guest that breaks out of its machine has your rights"),
	CHOICE("log", SANDBOX_LOG,
	       "as on, but a system call that mote should not make is named "
	       "and let pass: to find what is missing"),
	{ 0 },
};

static const struct option_choice core_scheduling[] = {
	CHOICE("on", SANDBOX_CORES_OWN,
	       "while a thread of mote runs on one hyperthread of a core, no "
	       "other process runs on its sibling; where the host's kernel has "
	       "core scheduling"),
	CHOICE("off", SANDBOX_CORES_SHARED,
	       "they share cores: no time is lost, and a guest may learn from "
	       "caches what its neighbour does"),
	{ 0 },
};

static const struct option_choice owners[] = {
	CHOICE("any", TRANSFER_OWNER_ANY,
	       "whoever unpacks them: in the guest the command's user, who is "
	       "root or whom --as names"),
	CHOICE("keep", TRANSFER_OWNER_KEEP,
	       "the numbers of user and group go with each file"),
	{ 0 },
};

static const struct option_choice log_levels[] = {
	CHOICE("error", LOG_ERROR, "what made mote fail"),
	CHOICE("warn", LOG_WARN, "and what is not as it should be"),
	CHOICE("info", LOG_INFO, "and what mote does"),
	CHOICE("debug", LOG_DEBUG, "and what helps to mend mote"),
	{ 0 },
};

/* -- keys ------------------------------------------------------------------ */

static const struct option_field kernel_keys[] = {
	KEY(FLAG("copy", kernel_copy),
	    "Give the guest a copy of its own. Otherwise guests that boot from "
	    "one file share its pages in the host's page cache until they "
	    "write to them, which could tell one guest what another has "
	    "touched."),
	{ 0 },
};

static const struct option_field memory_keys[] = {
	KEY(ENUM("hugepages", ram.pages, hugepages, RAM_PAGES_OFF, "2M"),
	    "The host's pages behind the guest's memory."),
	KEY(FLAG("prefault", ram.prefault),
	    "Allocate all of it before the guest starts. More than the "
	    "machine, or a cgroup that mote is in, has left is an error."),
	KEY(FLAG("mergeable", ram.mergeable),
	    "Let the host merge equal pages (KSM). Guests can find out by "
	    "timing which pages others have."),
	{ 0 },
};

static const struct option_field cpus_keys[] = {
	KEY(FLAG("nested", nested),
	    "Let the guest use virtualisation itself, where the host's KVM "
	    "allows it."),
	{ 0 },
};

#define DISK(member) devices.disks[0].member
static const struct option_field disk_keys[] = {
	KEY(FLAG("ro", DISK(ro)), "The guest cannot write to it."),
	KEY(FLAG("root", DISK(root)),
	    "It holds the root file system: root=/dev/vda (or whichever it is) "
	    "and rw, or ro, go to the front of the kernel's command line. A "
	    "root= of your own counts more: /dev/NAME, PARTUUID= and, with a "
	    "command, UUID= or LABEL=."),
	KEY(FLAG("ephemeral", DISK(ephemeral)),
	    "What the guest writes vanishes when it ends; the image stays as "
	    "it is, and many guests can share it. Until then it is in a file "
	    "without a name in $TMPDIR, /var/tmp or /tmp, else in memory."),
	KEY(SIZE("size", DISK(size), 512, 64 * TIB, 1, 0, "4G"),
	    "With `ephemeral`: how large the guest sees the disk, where that "
	    "is to be more than its image. What is behind the image reads as "
	    "zeros; its file system does not grow by itself (resize2fs in the "
	    "guest). A number alone is bytes."),
	KEY(FLAG("direct", DISK(direct)),
	    "Go past the host's page cache (O_DIRECT)."),
	KEY(STRING("serial", DISK(serial), 1, BLOCK_SERIAL_BYTES, "ID",
		   "root-1"),
	    "A serial number that the guest can read."),
	KEY(ENUM("engine", DISK(engine), engines, BLOCK_ENGINE_AUTO, "threads"),
	    "What carries out the guest's requests."),
	KEY(NUMBER("queues", DISK(queues), 1, DEVICE_QUEUES_MAX, 0, "N", "1"),
	    "How many queues the guest can use; without it one for each of its "
	    "vCPUs, up to 16."),
	KEY(RATE("bw", DISK(bytes_per_s), "RATE", "100M"),
	    "At most so many bytes a second."),
	KEY(RATE("iops", DISK(ops_per_s), "N", "1000"),
	    "At most so many requests a second."),
	{ 0 },
};

#define NET(member) devices.nets[0].member
static const struct option_field net_keys[] = {
	KEY(STRING("mac", NET(mac_text), 17, 17, "MAC", "02:00:00:00:00:01"),
	    "The interface's address in the guest. Without it each start makes "
	    "a new, random one (of those that are administered locally), so "
	    "that guests of one image differ."),
	KEY(NUMBER("mtu", NET(mtu), 68, 65535, 0, "N", "9000"),
	    "The largest packet, in bytes, that the guest is told to send; "
	    "without it, as the tap says."),
	KEY(RATE("bw", NET(bytes_per_s), "RATE", "10M"),
	    "At most so many bytes a second, each way."),
	KEY(NUMBER("pps", NET(packets_per_s), 0, 1000000000, 0, "N", "10000"),
	    "At most so many packets a second, each way."),
	KEY(STRINGS("ip", NET(ip), 2, 49, "ADDR/LEN|dhcp|off", "10.0.2.15/24"),
	    "The guest's address, of IPv4 or IPv6, with the length of its "
	    "network's prefix; repeat for more. dhcp: a DHCP server says it, "
	    "and the gateway, DNS servers and MTU, too; the command starts "
	    "when it has, or after 10 seconds; with `user` that goes without "
	    "saying. off, or no ip= elsewhere: the interface is left alone. "
	    "Addresses of IPv6 that routers advertise come by "
	    "themselves where an interface is up. Without a command the kernel "
	    "is told by its word ip=, which is for one interface and IPv4, and "
	    "which it obeys if it was built with CONFIG_IP_PNP."),
	KEY(STRINGS("gw", NET(gw), 2, 45, "ADDR", "10.0.2.2"),
	    "The guest's gateway; one for IPv4, one for IPv6. Of several "
	    "interfaces' the first one's counts. One that is given counts more "
	    "than a DHCP server's."),
	KEY(STRINGS("dns", NET(dns), 2, 45, "ADDR", "10.0.2.3"),
	    "A DNS server, for the guest's /etc/resolv.conf, up to three "
	    "times; in place of a DHCP server's. The file itself is not "
	    "written to: "
	    "another one lies over it while the guest runs."),
	{ 0 },
};

static const struct option_field vsock_keys[] = {
	KEY(NUMBER("cid", devices.vsock.cid, VSOCK_CID_MIN, VSOCK_CID_MAX,
		   VSOCK_CID_DEFAULT, "N", "42"),
	    "The guest's context identifier, its address."),
	{ 0 },
};

static const struct option_field put_keys[] = {
	KEY(ENUM("owner", puts[0].owner, owners, TRANSFER_OWNER_ANY, "keep"),
	    "Whose the files are in the guest."),
	{ 0 },
};

static const struct option_field get_keys[] = {
	KEY(ENUM("owner", gets[0].owner, owners, TRANSFER_OWNER_ANY, "keep"),
	    "Whose the files are in the archive."),
	{ 0 },
};

static const struct option_field sandbox_keys[] = {
	KEY(ENUM("core-scheduling", sandbox_cores, core_scheduling,
		 SANDBOX_CORES_OWN, "off"),
	    "Whom mote shares a core with."),
	{ 0 },
};

static const struct option_field snapshot_keys[] = {
	KEY(ENUM("on", snapshot.on, snapshot_ons, SNAPSHOT_ON_ANY, "signal"),
	    "When it is taken."),
	KEY(ENUM("then", snapshot.then, snapshot_thens, SNAPSHOT_THEN_ANY,
		 "continue"),
	    "What follows."),
	{ 0 },
};

static const struct option_field events_keys[] = {
	KEY(DURATION("every", events_every_ns, EVENTS_EVERY_MIN, YEAR, "10s"),
	    "Write the counters each time that so much time has passed, 100 ms "
	    "at least. Without it they are in the last event, and written at "
	    "each SIGUSR2."),
	{ 0 },
};

static const struct option_field restore_keys[] = {
	KEY(FLAG("copy", restore.copy),
	    "Read the guest's memory instead of mapping the file: clones then "
	    "share nothing, and the file may go."),
	KEY(FLAG("prefault", restore.prefault),
	    "Read, or allocate, all of its memory before it runs."),
	KEY(FLAG("mergeable", restore.mergeable),
	    "Let the host merge equal pages (KSM)."),
	KEY(FLAG("learn", restore.learn),
	    "At the end, note in the snapshot which pages this run has "
	    "written: the next ones have them sooner. Not where mote is told "
	    "to stop, at the end of --timeout, or where PATH is another "
	    "snapshot's by then."),
	KEY(ENUM("clock", restore.clock, restore_clocks, RESTORE_CLOCK_HOST,
		 "keep"),
	    "What the guest's clock shows."),
	KEY(FLAG("moved", restore.moved),
	    "Take disks that are written to although they are other files than "
	    "they were: for copies that were made with the snapshot."),
	{ 0 },
};

static const struct option_field serial_keys[] = {
	KEY(FLAG("append", serial.append), "With file=: what is in the file "
					   "stays, and output is added to it."),
	KEY(SIZE("max", serial.max, 64 * KIB, 4 * TIB, 1, 0, "10M"),
	    "With file=: the file has so many bytes at most. When it is full, "
	    "mote empties it and writes on from its start: what was in it is "
	    "lost, the newest output is not."),
	{ 0 },
};

/* -- the table ------------------------------------------------------------- */

static const char BOOT[] = "boot", MACHINE[] = "machine", DEVICES[] = "devices",
		  COMMAND[] = "command", SNAPSHOT[] = "snapshot",
		  SANDBOX[] = "sandbox", REPORT[] = "report";

static const struct option_entry options_table[] = {
	OPTION('k', BOOT, PATH_OR_FD("kernel", kernel, "vmlinux"),
	       "the kernel: an ELF vmlinux or a bzImage", .keys = kernel_keys),
	OPTION('i', BOOT, PATH_OR_FD("initrd", initrds[0], "initrd.cpio"),
	       "an initramfs; repeat to append more archives",
	       REPEATS(initrds, initrd_count)),
	OPTION('a', BOOT, TEXT("append", append[0], "TEXT", "loglevel=7"),
	       "add to the default kernel command line; repeat to add more",
	       REPEATS(append, append_count)),
	OPTION(0, BOOT, TEXT("cmdline", cmdline, "TEXT", "console=ttyS0"),
	       "replace the default kernel command line",
	       MORE("Keep \"reboot=warm,panic_cold\" in it: a guest without a "
		    "pvpanic driver shows a panic by that.")),

	OPTION('m', MACHINE,
	       SIZE("memory", ram.size, RAM_MIN_SIZE, RAM_MAX_SIZE, MIB,
		    256 * MIB, "512M"),
	       "the guest's memory", .keys = memory_keys),
	OPTION('c', MACHINE, NUMBER("cpus", cpus, 1, VM_CPUS_MAX, 1, "N", "2"),
	       "the number of CPUs", .keys = cpus_keys),
	OPTION(0, MACHINE, PATH_OR_FD("kvm", kvm, "fd=3"),
	       "the host's KVM, in place of /dev/kvm"),

	OPTION('d', DEVICES, PATH_OR_FD("disk", DISK(file), "disk.img"),
	       "a raw disk image or a block device; repeat for more",
	       .keys = disk_keys, REPEATS(devices.disks, devices.disk_count),
	       MORE("It is locked (flock(2)) for as long as anything may still "
		    "be written to it; shared with `ro` and `ephemeral`. "
		    "Where another process has it, mote waits for up to 2 "
		    "seconds. fd=N is opened again through /proc, with `ro` "
		    "and `ephemeral` for reading only.")),
	OPTION('n', DEVICES,
	       VARIANT("net", NET(kind), NET(file), net_forms, NET_NONE,
		       "tap=tap0"),
	       "a network interface; repeat for more", .keys = net_keys,
	       REPEATS(devices.nets, devices.net_count)),
	OPTION('p', DEVICES,
	       TEXT("publish", publish[0].text, "[ADDR:]PORT[:GUESTPORT][/udp]",
		    "8080:80"),
	       "lead a port of the host to the guest; repeat for more",
	       REPEATS(publish, publish_count),
	       MORE("It takes --net user, and the first of these gets it. ADDR "
		    "is an address of the host, 127.0.0.1 or [::1] for itself "
		    "alone; without one the port is open on all. Connections "
		    "from the host's loopback addresses come from the guest's "
		    "gateway. A port below 1024 takes root, or sysctl "
		    "net.ipv4.ip_unprivileged_port_start. With Debian 12's "
		    "passt a "
		    "server that speaks first (SMTP, FTP) is heard once the "
		    "client has sent something. Ports are not saved in a "
		    "snapshot: each clone has its own.")),
	OPTION(0, DEVICES,
	       PATH_OR_FD("vsock", devices.vsock.file, "guest.sock"),
	       "streams between guest and host by unix sockets",
	       .keys = vsock_keys,
	       MORE("A program of the host connects to PATH, writes \"CONNECT "
		    "1234\" and a newline, reads \"OK\", a number and a "
		    "newline, and is connected to port 1234 of the guest. A "
		    "program in the guest that connects to port 1234 of the "
		    "host (CID 2) reaches the program at PATH_1234. fd=N "
		    "is a socket that listens already; PATH is then the path "
		    "that it is bound to. All that is in the directory of PATH "
		    "remains in mote's reach: give it one of its own. Beside "
		    "a command, mote's init takes more of them at port "
		    "1702389091, for --exec: who may write to the socket is "
		    "root in the guest. At most "
		    "4096 streams are open at once, and 3584 of those that the "
		    "guest begins, or as many as the limit of open files "
		    "leaves (ulimit -Hn). What the guest has sent and nobody "
		    "has read takes an eighth of the guest's memory on the "
		    "host, 8 MiB at least, and 16 KiB for each stream, at "
		    "most: each of few may have some 460 KiB of that, each of "
		    "many less, and one that was never read at its other end "
		    "leaves some 9 KiB there when it is closed.")),
	OPTION(0, DEVICES,
	       VARIANT("serial", serial.kind, serial.file, serial_forms,
		       CONSOLE_STDIO, "file=console.log"),
	       "where the guest's serial port leads", .keys = serial_keys,
	       MORE("With a command, stdio is the command's own: then what the "
		    "kernel says is shown only where it explains why the guest "
		    "died. fd=2 shows all of it.")),

	OPTION('e', COMMAND, TEXT("env", env[0], "NAME=VALUE", "LANG=C.UTF-8"),
	       "a variable for the command; repeat for more",
	       REPEATS(env, env_count),
	       MORE("NAME alone takes its value from mote's own environment, "
		    "where it has one. Besides, the command has PATH, HOME "
		    "and, with a terminal, TERM.")),
	OPTION(0, COMMAND, PATH_OR_FD("env-file", env_files[0], "app.env"),
	       "a file of variables, one a line; repeat for more",
	       REPEATS(env_files, env_file_count),
	       MORE("A line is NAME=VALUE or NAME, as with --env, which counts "
		    "more. Empty lines and those that begin with # are none; "
		    "quotes are a part of the value.")),
	OPTION(0, COMMAND,
	       STRING("as", as, 1, 255, "USER[:GROUP]", "1000:1000"),
	       "the command's user in the guest (default root)",
	       MORE("Names are those of the guest's /etc/passwd and "
		    "/etc/group. A number needs no entry there; the group of a "
		    "user without one is 0. Without GROUP the command is in "
		    "all of the user's groups. It has the user's HOME, USER, "
		    "LOGNAME and SHELL, unless --env gives it others. (--user "
		    "is whom mote becomes on the host.)")),
	OPTION(0, COMMAND, STRING("hostname", hostname, 1, 64, "NAME", "web-1"),
	       "the guest's own name",
	       MORE("Without a command, Linux 6.0 or newer takes it (as "
		    "hostname= on its command line). A guest that is restored "
		    "is given it where it has a command.")),
	OPTION('w', COMMAND, TEXT("workdir", workdir, "DIR", "/src"),
	       "the command's directory in the guest", MORE("Without it, /.")),
	OPTION('t', COMMAND, FLAG("tty", tty),
	       "the command gets a terminal; for a shell",
	       MORE("It is as large as the one that mote is run in, and "
		    "follows it. Ctrl-A x ends the guest.")),
	OPTION(0, COMMAND,
	       PATHS(OPTION_PUT, "put", puts[0].guest, puts[0].file,
		     "FILE|DIR|fd=N[:GUESTDIR]", ".:/src"),
	       "bring files into the guest before the command; repeat for more",
	       .keys = put_keys, REPEATS(puts, put_count),
	       MORE("A file lands in GUESTDIR under its own name; of a "
		    "directory all that is in it does, with modes, times, "
		    "links, holes and extended attributes. Links in it are "
		    "not followed; devices, FIFOs and sockets are made anew, "
		    "never opened. fd=N is a tar stream: 3< <(tar -c DIR). "
		    "Without GUESTDIR it is the directory of --workdir, or /. "
		    "It begins with /, is what follows the last \":/\", and is "
		    "made where it does not exist, with those above it. What "
		    "has the same name there is replaced.")),
	OPTION(0, COMMAND,
	       PATHS(OPTION_GET, "get", gets[0].guest, gets[0].file,
		     "GUESTPATH[:FILE.tar|fd=N|-]", "/src/out:out.tar"),
	       "take files out as a tar archive after the command; repeat for "
	       "more",
	       .keys = get_keys, REPEATS(gets, get_count),
	       MORE("Whatever the command's status is, which stays mote's. Of "
		    "a directory the archive has what is in it, of a file "
		    "itself. Without FILE.tar it is the last part of GUESTPATH "
		    "and \".tar\", in mote's own directory. With - it is "
		    "standard output, and what the command writes there goes "
		    "to standard error. A path that is not there is a warning, "
		    "and the archive is empty. The file is written in place: "
		    "where it cannot be, or the guest dies, it is not whole, "
		    "mote says so, and its status is not 0.")),
	OPTION(0, COMMAND, PATH_OR_FD("exec", exec, "guest.sock"),
	       "run the command in a guest that another mote runs",
	       MORE("That mote has this PATH for --vsock, and a command of its "
		    "own; fd=N is a connection to that socket. Whoever may "
		    "connect to it is root in the guest by it. Streams, "
		    "terminal and status are as ever; environment and "
		    "directory are the first command's, where no option says "
		    "otherwise. A guest that boots still is waited for, a few "
		    "seconds. The guest's end, by its first command or "
		    "otherwise, is the end of all, with 123. Where mote is "
		    "stopped, the command in the guest has a SIGHUP; what it "
		    "leaves running when it ends runs on. At most 256 at a "
		    "time. It takes no /dev/kvm.")),
	OPTION(0, COMMAND, DURATION("timeout", timeout_ns, 0, YEAR, "90s"),
	       "stop the guest after that long, with status 124",
	       MORE("0 is no limit, as without this option.")),
	OPTION(0, COMMAND, DURATION("grace", grace_ns, 0, YEAR, "10s"),
	       "after a SIGTERM, stop the guest after that long, with 143",
	       MORE("The first SIGTERM presses the guest's power button, or is "
		    "the command's; a guest that does not end by it is stopped "
		    "when the time has passed. 0 is no limit, as without this "
		    "option: then a second SIGTERM stops it.")),
	OPTION(0, COMMAND,
	       NUMBER("reboot-status", reboot_status, 0, 255, 0, "N", "133"),
	       "the status of a guest that reboots",
	       MORE("By it a supervisor knows that it is to start the guest "
		    "again: systemd with RestartForceExitStatus=. One that "
		    "powers off has status 0.")),

	OPTION(0, SNAPSHOT, PATH_OR_FD("snapshot", snapshot.file, "py.snap"),
	       "save the guest, memory and all, in this file",
	       .keys = snapshot_keys,
	       MORE("What was there under that name stays as it is until the "
		    "new one is whole. fd=N is a file, open for reading and "
		    "writing. It holds all that the guest's memory holds, "
		    "keys and passwords too: only its owner can read it.")),
	OPTION(0, SNAPSHOT, PATH_OR_FD("restore", restore.file, "py.snap"),
	       "go on from a snapshot, in place of -k", .keys = restore_keys,
	       MORE("Any number of guests can, at once and as often as you "
		    "like; what they have not written they share. Devices are "
		    "those that the snapshot names, or of each kind those of "
		    "this command line.")),

	OPTION(0, SANDBOX,
	       ENUM("sandbox", sandbox, sandbox_modes, SANDBOX_ON, "log"),
	       "whether mote locks itself in before the guest runs",
	       .keys = sandbox_keys,
	       MORE("--log info says what of it holds on this host.")),
	OPTION(0, SANDBOX,
	       STRING("user", user.text, 1, 21, "UID[:GID]", "1000:1000"),
	       "whom root becomes (default 65534:65534, nobody)",
	       MORE("Two numbers; without the second, the group has the number "
		    "of the user. mote opens its files before that. The "
		    "broker, which connects to listeners for --vsock and "
		    "removes sockets, has that user, too; without this option, "
		    "the owner of the directory. 0 stays root, without any "
		    "capability.")),
	OPTION(0, SANDBOX, PATH_OR_FD("netns", netns, "/run/netns/guests"),
	       "the network namespace that taps are found in",
	       MORE("For example /run/netns/NAME, as ip-netns(8) makes them; "
		    "passt of --net user runs in it, too. "
		    "mote itself runs in one of its own, which is empty.")),
	OPTION(0, SANDBOX,
	       PATH_OR_FD("cgroup", cgroup, "/sys/fs/cgroup/guests"),
	       "the cgroup that mote moves into",
	       MORE("PATH is its directory, for example /sys/fs/cgroup/guests; "
		    "fd=N its file cgroup.procs, open for writing.")),

	OPTION(0, REPORT, STRING("name", name, 1, 64, "NAME", "job-7"),
	       "what --events calls the guest",
	       MORE("Letters, digits, \".\", \"_\" and \"-\".")),
	OPTION(0, REPORT, PATH_OR_FD("events", events, "events.json"),
	       "write one line of JSON for each event", .keys = events_keys,
	       MORE("A line is an object with the members event (start, ready, "
		    "counters or exit), t_us (microseconds since mote was "
		    "started), time (RFC 3339, UTC), pid, name (where --name "
		    "was given) and, in the event exit, status and reason "
		    "(poweroff, reboot, panic, crash, exited, oom, signal, "
		    "timeout or error). In counters and exit there is more, "
		    "see "
		    "COUNTERS. Lines go to the end of the file, which "
		    "is not emptied; several guests may share it, or a pipe. "
		    "The guest is ready when it writes to port 0x507, or reads "
		    "it. A reader "
		    "that is slow loses events, and never delays the guest.")),
	OPTION(0, REPORT, FLAG("timing", timing),
	       "say on stderr how long each stage took"),
	OPTION(0, REPORT, ENUM("log", log, log_levels, LOG_WARN, "info"),
	       "how much to say on stderr"),
	OPTION(0, REPORT, FLAG("check", check),
	       "validate options and files, and run nothing"),
	OPTION('h', REPORT, ACTION("help", options_print_help), "print this"),
	OPTION('V', REPORT, ACTION("version", options_print_version),
	       "print the version, and the commit that mote is made of"),
};

/* -- what is typed out of habit -------------------------------------------- */

#define DIRECTORY                                                              \
	"--put DIR:/PATH brings a directory in, and --get /PATH:FILE.tar out"

/*
 * The words of docker, QEMU, Firecracker and others, and what to write here.
 * An option that is in the table above needs no row.
 */
static const struct option_foreign foreign_words[] = {
	{ NULL, "v",
	  "-V prints the version, and --log info says more; " DIRECTORY },
	{ NULL, "volume mount virtfs fsdev fs share shared-dir", DIRECTORY },
	{ NULL, "port expose hostfwd",
	  "--net user -p 8080:80 leads a port of the host to the guest's 80" },
	{ NULL, "u",
	  "--as USER[:GROUP] is the command's user; --user is whom mote "
	  "becomes on the host" },
	{ NULL, "dns ip ip6 gateway",
	  "these are keys: --net tap=NAME,ip=ADDR/LEN,gw=ADDR,dns=ADDR" },
	{ NULL, "network netdev nic",
	  "--net user, which takes no rights, or --net tap=NAME" },
	{ NULL, "smp vcpus", "--cpus N" },
	{ NULL, "drive hda hdb blockdev rwdisk", "--disk PATH" },
	{ NULL, "rootfs root", "--disk PATH,root" },
	{ NULL, "cdrom bios pflash firmware boot",
	  "there is no firmware to boot from: --kernel PATH --disk PATH,root" },
	{ NULL, "initramfs", "--initrd PATH" },
	{ NULL, "params boot-args", "--append TEXT" },
	{ NULL, "it ti interactive",
	  "-t is a terminal for the command, which has mote's stdin in any "
	  "case (an initrd called t is -i ./t)" },
	{ NULL, "detach daemonize",
	  "mote is a process like any other: end the line with &" },
	{ NULL, "rm",
	  "leave it out, nothing of a guest is kept; --disk PATH,ephemeral "
	  "forgets what is written to a disk" },
	{ NULL, "entrypoint cmd", "a command comes last, after --" },
	{ NULL,
	  "M machine accel enable-kvm cpu nographic display vga nodefaults "
	  "no-user-config no-reboot no-acpi",
	  "leave it out: there is one kind of machine, on KVM, with the "
	  "host's CPU and a serial port, and a reboot ends it" },
	{ NULL, "device", "the devices are --disk, --net and --vsock" },
	{ NULL, "console chardev", "--serial, for example --serial stdio" },
	{ NULL, "monitor qmp api-sock api-socket config-file no-api",
	  "there is no API and no configuration file, but options, signals "
	  "and --events" },
	{ NULL, "verbose debug quiet q level", "--log LEVEL" },
	{ NULL, "uid gid", "--user UID:GID" },
	{ NULL, "seccomp no-seccomp seccomp-level", "--sandbox on|off|log" },
	{ NULL, "privileged cap-add security-opt",
	  "leave it out: the guest is a machine of its own, and mote needs no "
	  "rights but /dev/kvm" },
	{ "net", "slirp slirp4netns passt pasta", "--net user" },
	{ "net", "bridge host",
	  "--net tap=NAME, of a tap that is in it (ip link set NAME master "
	  "BRIDGE)" },
	{ "net", "none", "leave --net out, and there is none" },
	{ "disk", "path file", "the path comes first: --disk PATH,ro" },
	{ "disk", "format if",
	  "leave it out: a disk is virtio and raw (qemu-img convert -O raw)" },
	{ "disk", "readonly read-only", "ro" },
	{ "disk", "snapshot", "ephemeral" },
	{ "disk", "cache", "direct, to go past the host's page cache" },
	{ "memory", "size", "the size comes first: --memory 512M" },
	{ "cpus", "boot cores sockets threads max maxcpus",
	  "their number is all there is to say: --cpus 2" },
	{ "serial", "null none", "off" },
	{ "serial", "mon:stdio", "stdio, where Ctrl-A ? helps" },
	{ "serial", "socket", "unix=PATH" },
	{ 0 },
};

const struct option_set options_set = {
	.program = "mote",
	.entries = options_table,
	.entry_count = ARRAY_LEN(options_table),
	.foreign = foreign_words,
	.rest_syntax = "[-- command [argument...]]",
	.rest = offsetof(struct options, command),
};

int options_parse(struct options *options, int argc, char **argv)
{
	int done;

	/* But for the arrays and the room for texts: 24 KiB of memory. */
	memset(options, 0, offsetof(struct options, devices.disks));
	done = optparse_run(&options_set, options, &options->parsed, argc,
			    argv);
	return done ? done : options_check(options);
}
