/*
 * The options of mote, each declared once.
 *
 * The table below is all there is: parser, --help, mote.1 and the completions
 * of bash and zsh are made from it. Checks that look at more than one option
 * are in options_parse.c. Constant data, trusted by those who read it.
 */
#include "boot/options/options.h"

#include "boot/options/devices.h"
#include "boot/options/help.h"
#include "cpu/vm.h"
#include "mem/util.h"

#define MIB    (1ULL << 20)
#define TIB    (1ULL << 40)
#define SECOND 1000000000ULL
#define YEAR   (8760 * 3600 * SECOND)

/* The parser stores an enum as an unsigned. */
_Static_assert(sizeof(enum ram_pages) == sizeof(unsigned), "enum size");
_Static_assert(sizeof(enum log_level) == sizeof(unsigned), "enum size");
_Static_assert(sizeof(enum sandbox_mode) == sizeof(unsigned), "enum size");

enum group { BOOT, MACHINE, DEVICES, COMMAND, SANDBOX, REPORT };

static const char *const group_names[] = {
	[BOOT] = "boot",       [MACHINE] = "machine", [DEVICES] = "devices",
	[COMMAND] = "command", [SANDBOX] = "sandbox", [REPORT] = "report",
};

/* -- choices --------------------------------------------------------------- */

static const struct option_choice hugepages[] = {
	{ "off", RAM_PAGES_OFF, OPTION_ARG_NONE, "whatever the host does" },
	{ "thp", RAM_PAGES_THP, OPTION_ARG_NONE,
	  "transparent huge pages, as far as the host has them" },
	{ "2M", RAM_PAGES_2M, OPTION_ARG_NONE,
	  "the host's reserved pages of 2 MiB" },
	{ "1G", RAM_PAGES_1G, OPTION_ARG_NONE,
	  "the host's reserved pages of 1 GiB" },
	{ 0 },
};

static const struct option_choice sandbox_modes[] = {
	{ "on", SANDBOX_ON, OPTION_ARG_NONE,
	  "mote gives up every right that it does not need, and ends if it is "
	  "made to ask for more" },
	{ "off", SANDBOX_OFF, OPTION_ARG_NONE,
	  "a guest that breaks out of its machine has your rights" },
	{ "log", SANDBOX_LOG, OPTION_ARG_NONE,
	  "as on, but a system call that mote should not make is named and "
	  "let pass: to find what is missing" },
	{ 0 },
};

static const struct option_choice log_levels[] = {
	{ "error", LOG_ERROR, OPTION_ARG_NONE, "what made mote fail" },
	{ "warn", LOG_WARN, OPTION_ARG_NONE,
	  "and what is not as it should be" },
	{ "info", LOG_INFO, OPTION_ARG_NONE, "and what mote does" },
	{ "debug", LOG_DEBUG, OPTION_ARG_NONE, "and what helps to mend mote" },
	{ 0 },
};

/* -- keys ------------------------------------------------------------------ */

static const struct option_key kernel_keys[] = {
	{
		.name = "copy",
		.help = "Give the guest a copy of its own. Otherwise guests "
			"that boot from one file share its pages in the "
			"host's page cache until they write to them, which "
			"could tell one guest what another has touched.",
		.field = { .kind = OPTION_FLAG,
			   .offset = offsetof(struct options, kernel_copy) },
	},
	{ 0 },
};

static const struct option_key memory_keys[] = {
	{
		.name = "hugepages",
		.help = "The host's pages behind the guest's memory.",
		.field = { .kind = OPTION_ENUM,
			   .offset = offsetof(struct ram_options, pages),
			   .initial = RAM_PAGES_OFF,
			   .example = "2M",
			   .choices = hugepages },
	},
	{
		.name = "prefault",
		.help = "Allocate all of it before the guest starts.",
		.field = { .kind = OPTION_FLAG,
			   .offset = offsetof(struct ram_options, prefault) },
	},
	{
		.name = "mergeable",
		.help = "Let the host merge equal pages (KSM). Guests can "
			"find out by timing which pages others have.",
		.field = { .kind = OPTION_FLAG,
			   .offset = offsetof(struct ram_options, mergeable) },
	},
	{ 0 },
};

static const struct option_key cpus_keys[] = {
	{
		.name = "nested",
		.help = "Let the guest use virtualisation itself, where the "
			"host's KVM allows it.",
		.field = { .kind = OPTION_FLAG,
			   .offset = offsetof(struct options, nested) },
	},
	{ 0 },
};

/* -- the table ------------------------------------------------------------- */

static const struct option_entry options_table[] = {
	{
		.name = "kernel",
		.letter = 'k',
		.group = BOOT,
		.help = "the kernel: an ELF vmlinux or a bzImage",
		.field = { .kind = OPTION_FILE,
			   .offset = offsetof(struct options, kernel),
			   .value = "PATH|fd=N",
			   .example = "vmlinux" },
		.keys = kernel_keys,
	},
	{
		.name = "initrd",
		.letter = 'i',
		.group = BOOT,
		.help = "an initramfs; repeat to append more archives",
		.field = { .kind = OPTION_FILE,
			   .value = "PATH|fd=N",
			   .example = "initrd.cpio" },
		.base = offsetof(struct options, initrds),
		.stride = sizeof(struct option_file),
		.count = offsetof(struct options, initrd_count),
		.max = OPTIONS_INITRDS_MAX,
	},
	{
		.name = "append",
		.letter = 'a',
		.group = BOOT,
		.help = "add to the default kernel command line; repeat to "
			"add more",
		.field = { .kind = OPTION_TEXT,
			   .value = "TEXT",
			   .example = "loglevel=7" },
		.base = offsetof(struct options, append),
		.stride = sizeof(const char *),
		.count = offsetof(struct options, append_count),
		.max = OPTIONS_APPENDS_MAX,
	},
	{
		.name = "cmdline",
		.group = BOOT,
		.help = "replace the default kernel command line",
		.more = "Keep \"reboot=warm,panic_cold\" in it: a guest "
			"without a pvpanic driver shows a panic by that.",
		.field = { .kind = OPTION_TEXT,
			   .offset = offsetof(struct options, cmdline),
			   .value = "TEXT",
			   .example = "console=ttyS0" },
	},
	{
		.name = "memory",
		.letter = 'm',
		.group = MACHINE,
		.help = "the guest's memory",
		.field = { .kind = OPTION_SIZE,
			   .offset = offsetof(struct ram_options, size),
			   .min = RAM_MIN_SIZE,
			   .max = 4 * TIB,
			   .unit = MIB,
			   .initial = 256 * MIB,
			   .value = "SIZE",
			   .example = "512M" },
		.keys = memory_keys,
		.base = offsetof(struct options, ram),
	},
	{
		.name = "cpus",
		.letter = 'c',
		.group = MACHINE,
		.help = "the number of CPUs",
		.field = { .kind = OPTION_NUMBER,
			   .offset = offsetof(struct options, cpus),
			   .min = 1,
			   .max = VM_CPUS_MAX,
			   .initial = 1,
			   .value = "N",
			   .example = "2" },
		.keys = cpus_keys,
	},
	{
		.name = "kvm",
		.group = MACHINE,
		.help = "the host's KVM, in place of /dev/kvm",
		.field = { .kind = OPTION_FILE,
			   .offset = offsetof(struct options, kvm),
			   .value = "PATH|fd=N",
			   .example = "fd=3" },
	},
	{
		.name = "disk",
		.letter = 'd',
		.group = DEVICES,
		.help = "a raw disk image or a block device; repeat for more",
		.field = { .kind = OPTION_FILE,
			   .offset = offsetof(struct block_options, file),
			   .value = "PATH|fd=N",
			   .example = "disk.img" },
		.keys = options_disk_keys,
		.base = offsetof(struct options, devices.disks),
		.stride = sizeof(struct block_options),
		.count = offsetof(struct options, devices.disk_count),
		.max = DEVICES_MAX,
	},
	{
		.name = "net",
		.letter = 'n',
		.group = DEVICES,
		.help = "a network interface; repeat for more",
		.field = { .kind = OPTION_VARIANT,
			   .offset = offsetof(struct net_options, kind),
			   .file_offset = offsetof(struct net_options, file),
			   .initial = NET_NONE,
			   .example = "tap=tap0",
			   .choices = options_net_forms },
		.keys = options_net_keys,
		.base = offsetof(struct options, devices.nets),
		.stride = sizeof(struct net_options),
		.count = offsetof(struct options, devices.net_count),
		.max = NETS_MAX,
	},
	{
		.name = "vsock",
		.group = DEVICES,
		.help = "streams between guest and host by unix sockets",
		.more = "A program of the host connects to PATH, writes "
			"\"CONNECT 1234\" and a newline, reads \"OK\", a "
			"number and a newline, and is connected to port 1234 "
			"of the guest. A program in the guest that connects "
			"to port 1234 of the host (CID 2) reaches whoever "
			"listens on PATH_1234. fd=N is a socket that listens "
			"already; PATH is then the path that it is bound to. "
			"All that is in the directory of PATH remains in "
			"mote's reach: give it one of its own.",
		.field = { .kind = OPTION_FILE,
			   .offset = offsetof(struct vsock_options, file),
			   .value = "PATH|fd=N",
			   .example = "guest.sock" },
		.keys = options_vsock_keys,
		.base = offsetof(struct options, devices.vsock),
	},
	{
		.name = "serial",
		.group = DEVICES,
		.help = "where the guest's serial port leads",
		.more = "With a command, stdio is the command's own: then "
			"what the kernel says is shown only where it explains "
			"why the guest died. fd=2 shows all of it.",
		.field = { .kind = OPTION_VARIANT,
			   .offset = offsetof(struct options, serial.kind),
			   .file_offset = offsetof(struct options, serial.file),
			   .initial = CONSOLE_STDIO,
			   .example = "file=console.log",
			   .choices = options_serial_forms },
	},
	{
		.name = "env",
		.letter = 'e',
		.group = COMMAND,
		.help = "a variable for the command; repeat for more",
		.more = "NAME alone takes its value from mote's own "
			"environment, where it has one. Besides, the command "
			"has PATH, HOME and, with a terminal, TERM.",
		.field = { .kind = OPTION_TEXT,
			   .value = "NAME=VALUE",
			   .example = "LANG=C.UTF-8" },
		.base = offsetof(struct options, env),
		.stride = sizeof(const char *),
		.count = offsetof(struct options, env_count),
		.max = OPTIONS_ENVS_MAX,
	},
	{
		.name = "workdir",
		.group = COMMAND,
		.help = "the command's directory in the guest",
		.more = "Without it, /.",
		.field = { .kind = OPTION_TEXT,
			   .offset = offsetof(struct options, workdir),
			   .value = "DIR",
			   .example = "/src" },
	},
	{
		.name = "tty",
		.letter = 't',
		.group = COMMAND,
		.help = "the command gets a terminal; for a shell",
		.more = "It is as large as the one that mote is run in, and "
			"follows it. Ctrl-A x ends the guest.",
		.field = { .kind = OPTION_FLAG,
			   .offset = offsetof(struct options, tty) },
	},
	{
		.name = "timeout",
		.group = COMMAND,
		.help = "stop the guest after that long, with status 124",
		.more = "0 is no limit, as without this option.",
		.field = { .kind = OPTION_DURATION,
			   .offset = offsetof(struct options, timeout_ns),
			   .max = YEAR,
			   .unit = SECOND,
			   .value = "DURATION",
			   .example = "90s" },
	},
	{
		.name = "sandbox",
		.group = SANDBOX,
		.help = "whether mote locks itself in before the guest runs",
		.more = "--log info says what of it holds on this host.",
		.field = { .kind = OPTION_ENUM,
			   .offset = offsetof(struct options, sandbox),
			   .initial = SANDBOX_ON,
			   .example = "log",
			   .choices = sandbox_modes },
	},
	{
		.name = "user",
		.group = SANDBOX,
		.help = "whom root becomes (default 65534:65534, nobody)",
		.more = "Two numbers; without the second, the group has the "
			"number of the user. All files are open by then, but "
			"the directories of unix sockets (--vsock, --serial) "
			"are still needed: as that user, or without this "
			"option as the owner of the directory. 0 stays root, "
			"without any capability.",
		.field = { .kind = OPTION_STRING,
			   .offset = offsetof(struct options, user.text),
			   .min = 1,
			   .max = 21,
			   .value = "UID[:GID]",
			   .example = "1000:1000" },
	},
	{
		.name = "netns",
		.group = SANDBOX,
		.help = "the network namespace that taps are found in",
		.more = "For example /run/netns/NAME, as ip-netns(8) makes "
			"them. mote itself runs in one of its own, which is "
			"empty.",
		.field = { .kind = OPTION_FILE,
			   .offset = offsetof(struct options, netns),
			   .value = "PATH|fd=N",
			   .example = "/run/netns/guests" },
	},
	{
		.name = "cgroup",
		.group = SANDBOX,
		.help = "the cgroup that mote moves into",
		.more = "PATH is its directory, for example "
			"/sys/fs/cgroup/guests; fd=N its file cgroup.procs, "
			"open for writing.",
		.field = { .kind = OPTION_FILE,
			   .offset = offsetof(struct options, cgroup),
			   .value = "PATH|fd=N",
			   .example = "/sys/fs/cgroup/guests" },
	},
	{
		.name = "events",
		.group = REPORT,
		.help = "write one line of JSON for each event",
		.more = "A line is an object with the members event (start, "
			"ready, counters or exit), t_us (microseconds since "
			"mote was started) and, in the event exit, status and "
			"reason (poweroff, reboot, panic, crash, exited, "
			"signal, timeout or error). The guest is ready when "
			"it writes to port 0x507. It is not made to wait for "
			"whoever reads the events.",
		.field = { .kind = OPTION_FILE,
			   .offset = offsetof(struct options, events),
			   .value = "PATH|fd=N",
			   .example = "events.json" },
	},
	{
		.name = "timing",
		.group = REPORT,
		.help = "say on stderr how long each stage took",
		.field = { .kind = OPTION_FLAG,
			   .offset = offsetof(struct options, timing) },
	},
	{
		.name = "log",
		.group = REPORT,
		.help = "how much to say on stderr",
		.field = { .kind = OPTION_ENUM,
			   .offset = offsetof(struct options, log),
			   .initial = LOG_WARN,
			   .example = "info",
			   .choices = log_levels },
	},
	{
		.name = "check",
		.group = REPORT,
		.help = "validate options and files, and run nothing",
		.field = { .kind = OPTION_FLAG,
			   .offset = offsetof(struct options, check) },
	},
	{
		.name = "help",
		.letter = 'h',
		.group = REPORT,
		.help = "print this",
		.field = { .kind = OPTION_ACTION,
			   .action = options_print_help },
	},
	{
		.name = "version",
		.letter = 'V',
		.group = REPORT,
		.help = "print the version",
		.field = { .kind = OPTION_ACTION,
			   .action = options_print_version },
	},
};

const struct option_set options_set = {
	.program = "mote",
	.entries = options_table,
	.entry_count = ARRAY_LEN(options_table),
	.groups = group_names,
	.group_count = ARRAY_LEN(group_names),
	.rest_syntax = "[-- command [argument...]]",
	.rest = offsetof(struct options, command),
};
