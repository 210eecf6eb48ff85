/*
 * What can follow --disk, --net, --vsock and --serial: a part of the table in
 * options.c, which says how it is used. Constant data, trusted by those who
 * read it.
 */
#include "boot/options/devices.h"

#include "boot/options/options.h"

#define TIB (1ULL << 40)

/* The parser stores an enum as an unsigned. */
_Static_assert(sizeof(enum block_engine) == sizeof(unsigned), "enum size");
_Static_assert(sizeof(enum net_kind) == sizeof(unsigned), "enum size");
_Static_assert(sizeof(enum console_kind) == sizeof(unsigned), "enum size");

/* -- disks ----------------------------------------------------------------- */

static const struct option_choice engines[] = {
	{ "auto", BLOCK_ENGINE_AUTO, OPTION_ARG_NONE,
	  "io_uring where the host allows it; a thread writes to files" },
	{ "uring", BLOCK_ENGINE_URING, OPTION_ARG_NONE, "io_uring" },
	{ "threads", BLOCK_ENGINE_THREADS, OPTION_ARG_NONE, "a thread" },
	{ 0 },
};

const struct option_key options_disk_keys[] = {
	{
		.name = "ro",
		.help = "The guest cannot write to it.",
		.field = { .kind = OPTION_FLAG,
			   .offset = offsetof(struct block_options, ro) },
	},
	{
		.name = "root",
		.help = "It holds the root file system: root=/dev/vda (or "
			"whichever it is) and rw, or ro, go to the front of "
			"the kernel's command line. A root= of your own, for "
			"a partition, counts more.",
		.field = { .kind = OPTION_FLAG,
			   .offset = offsetof(struct block_options, root) },
	},
	{
		.name = "ephemeral",
		.help = "What the guest writes vanishes when it ends; the "
			"image stays as it is, and many guests can share it.",
		.field = { .kind = OPTION_FLAG,
			   .offset =
				   offsetof(struct block_options, ephemeral) },
	},
	{
		.name = "direct",
		.help = "Go past the host's page cache (O_DIRECT).",
		.field = { .kind = OPTION_FLAG,
			   .offset = offsetof(struct block_options, direct) },
	},
	{
		.name = "serial",
		.help = "A serial number that the guest can read.",
		.field = { .kind = OPTION_STRING,
			   .offset = offsetof(struct block_options, serial),
			   .min = 1,
			   .max = 20,
			   .value = "ID",
			   .example = "root-1" },
	},
	{
		.name = "engine",
		.help = "What carries out the guest's requests.",
		.field = { .kind = OPTION_ENUM,
			   .offset = offsetof(struct block_options, engine),
			   .initial = BLOCK_ENGINE_AUTO,
			   .example = "threads",
			   .choices = engines },
	},
	{
		.name = "bw",
		.help = "At most so many bytes a second.",
		.field = { .kind = OPTION_SIZE,
			   .offset =
				   offsetof(struct block_options, bytes_per_s),
			   .max = TIB,
			   .unit = 1,
			   .value = "RATE",
			   .example = "100M" },
	},
	{
		.name = "iops",
		.help = "At most so many requests a second.",
		.field = { .kind = OPTION_SIZE,
			   .offset = offsetof(struct block_options, ops_per_s),
			   .max = TIB,
			   .unit = 1,
			   .value = "N",
			   .example = "1000" },
	},
	{ 0 },
};

/* -- networks -------------------------------------------------------------- */

const struct option_choice options_net_forms[] = {
	{ "tap", NET_TAP, OPTION_ARG_NAME,
	  "a tap interface that exists: ip tuntap add dev NAME mode tap user "
	  "$USER && ip link set NAME up" },
	{ "fd", NET_FD, OPTION_ARG_FD,
	  "an open descriptor: of a tap, or of a connected stream socket" },
	{ "unix", NET_UNIX, OPTION_ARG_PATH,
	  "a unix stream socket where passt(1) listens, or any program that "
	  "takes frames as it does, each after its length in 32 bits; that "
	  "needs no rights at all" },
	{ 0 },
};

const struct option_key options_net_keys[] = {
	{
		.name = "mac",
		.help = "The interface's address in the guest. Without it "
			"each start makes a new, random one (of those that "
			"are administered locally), so that guests of one "
			"image differ.",
		.field = { .kind = OPTION_STRING,
			   .offset = offsetof(struct net_options, mac_text),
			   .min = 17,
			   .max = 17,
			   .value = "MAC",
			   .example = "02:00:00:00:00:01" },
	},
	{
		.name = "mtu",
		.help = "The largest packet, in bytes, that the guest is told "
			"to send; without it, as the tap says.",
		.field = { .kind = OPTION_NUMBER,
			   .offset = offsetof(struct net_options, mtu),
			   .min = 68,
			   .max = 65535,
			   .unit = 1,
			   .value = "N",
			   .example = "9000" },
	},
	{
		.name = "bw",
		.help = "At most so many bytes a second, each way.",
		.field = { .kind = OPTION_SIZE,
			   .offset = offsetof(struct net_options, bytes_per_s),
			   .max = TIB,
			   .unit = 1,
			   .value = "RATE",
			   .example = "10M" },
	},
	{
		.name = "pps",
		.help = "At most so many packets a second, each way.",
		.field = { .kind = OPTION_NUMBER,
			   .offset =
				   offsetof(struct net_options, packets_per_s),
			   .max = 1000000000,
			   .unit = 1,
			   .value = "N",
			   .example = "10000" },
	},
	{ 0 },
};

/* -- vsock ----------------------------------------------------------------- */

const struct option_key options_vsock_keys[] = {
	{
		.name = "cid",
		.help = "The guest's context identifier, its address.",
		.field = { .kind = OPTION_NUMBER,
			   .offset = offsetof(struct vsock_options, cid),
			   .min = VSOCK_CID_MIN,
			   .max = VSOCK_CID_MAX,
			   .initial = VSOCK_CID_DEFAULT,
			   .value = "N",
			   .example = "42" },
	},
	{ 0 },
};

/* -- the serial port ------------------------------------------------------- */

const struct option_choice options_serial_forms[] = {
	{ "stdio", CONSOLE_STDIO, OPTION_ARG_NONE,
	  "standard input and output; a terminal is put into raw mode" },
	{ "off", CONSOLE_OFF, OPTION_ARG_NONE,
	  "output is dropped, there is no input" },
	{ "pty", CONSOLE_PTY, OPTION_ARG_NONE,
	  "a new pseudo-terminal, whose name goes to stderr" },
	{ "file", CONSOLE_FILE, OPTION_ARG_PATH,
	  "output goes to that file, which is emptied; no input" },
	{ "unix", CONSOLE_UNIX, OPTION_ARG_PATH,
	  "a unix socket that one client at a time connects to" },
	{ "fd", CONSOLE_FD, OPTION_ARG_FD,
	  "an open descriptor, for the ways that it allows; or a unix socket "
	  "that listens, and is then served as with unix=" },
	{ 0 },
};
