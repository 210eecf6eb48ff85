/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of the command line that look at more than one value, and the
 * values that have a form of their own: mac=, --user, --as, --hostname (those
 * of --net and --publish: address.c, publish.c). Whether a file is there, and
 * fit, is for those who open it.
 *
 * Trusts that each value is what the table says. Owns nothing and keeps nothing
 * between calls; the main thread runs it, before anything else.
 */
#include "boot/options/options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/options/address.h"
#include "mem/util.h"

/* The file is replaced by one that mote makes, from what the guest writes. */
static int check_learn(const struct options *options)
{
	static const struct option_where where = { .option = "restore",
						   .key = "learn" };
	const struct restore_options *r = &options->restore;

	if (r->learn && !r->file.path)
		return optparse_fail(&where, NULL,
				     "it needs a PATH that it can replace");
	if (r->learn && (r->copy || r->prefault))
		return optparse_fail(&where, NULL,
				     "with copy or prefault all pages are "
				     "there, whether the guest writes them or "
				     "not");
	if (r->learn && file_is_given(&options->snapshot.file))
		return optparse_fail(&where, NULL,
				     "it cannot be used with --snapshot");
	return 0;
}

/* What a snapshot says, and what is said in another way. */
static int check_restore(struct options *options)
{
	static const struct {
		const char *option, *mend;
	} said_there[] = {
		{ "kernel", "the guest runs already" },
		{ "initrd", "the guest runs already" },
		{ "append", "the guest runs already" },
		{ "cmdline", "the guest runs already" },
		{ "memory", "the snapshot says how much; how it is backed is "
			    "said by keys of --restore" },
		{ "cpus", "the snapshot says how many" },
	};

	if (!file_is_given(&options->restore.file))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(said_there); i++)
		if (optparse_given(&options->parsed, said_there[i].option))
			return optparse_fail(NULL, NULL,
					     "--%s has no place beside "
					     "--restore: %s",
					     said_there[i].option,
					     said_there[i].mend);
	return check_learn(options);
}

static int check_snapshot(struct options *options)
{
	static const struct option_where on = { .option = "snapshot",
						.key = "on" },
					 then = { .option = "snapshot",
						  .key = "then" };
	struct snapshot_options *s = &options->snapshot;
	const bool command = options_have_command(options);

	/* A snapshot that is restored may have a command. */
	if (!file_is_given(&s->file) ||
	    (file_is_given(&options->restore.file) && !options->restore.known))
		return 0;
	if (s->on == SNAPSHOT_ON_ANY)
		s->on = command ? SNAPSHOT_ON_READY : SNAPSHOT_ON_SIGNAL;
	if (s->on == SNAPSHOT_ON_PROGRAM && !command)
		return optparse_fail(&on, "program",
				     "is for a command, and there is none: it "
				     "stands last, after --");
	if (s->on == SNAPSHOT_ON_READY && command &&
	    file_is_given(&options->restore.file))
		return optparse_fail(&on, "ready",
				     "was when the guest was saved that is "
				     "restored: its command can say that it is "
				     "with on=program");
	if (s->on == SNAPSHOT_ON_SIGNAL && command)
		return optparse_fail(&on, "signal",
				     "cannot be used with a command yet: its "
				     "streams would be cut; use on=ready or "
				     "on=program");
	if (s->then == SNAPSHOT_THEN_ANY)
		s->then = s->on == SNAPSHOT_ON_SIGNAL ? SNAPSHOT_CONTINUES
						      : SNAPSHOT_EXITS;
	if (s->then == SNAPSHOT_CONTINUES && s->on == SNAPSHOT_ON_PROGRAM)
		return optparse_fail(&then, "continue",
				     "cannot be used with on=program: the "
				     "arguments are the clones'");
	return 0;
}

static int check_boot(struct options *options)
{
	if (file_is_given(&options->restore.file) ||
	    file_is_given(&options->exec))
		return 0;
	if (!file_is_given(&options->kernel))
		return optparse_fail(NULL, NULL,
				     "no kernel is given: add -k PATH, an ELF "
				     "vmlinux or a bzImage; 'mote --help' "
				     "lists the options");
	if (options->cmdline && options->append_count)
		return optparse_fail(NULL, NULL,
				     "--append adds to the default command "
				     "line, which --cmdline replaces: give one "
				     "of the two");
	return 0;
}

static int check_memory(struct options *options)
{
	static const struct option_where where = { .option = "memory" };
	const struct ram_options *ram = &options->ram;
	const struct ram_page_type *type = ram_page_type(ram->pages);
	const uint64_t page = 1ULL << type->shift;

	if (ram->size % page)
		return optparse_fail(&where, NULL,
				     "%lluK is not a multiple of its pages of "
				     "%s",
				     (unsigned long long)(ram->size >> 10),
				     type->name);
	if (ram->mergeable && page != RAM_PAGE)
		return optparse_fail(&where, NULL,
				     "mergeable has no effect on pages of %s: "
				     "use hugepages=off or hugepages=thp with "
				     "it",
				     type->name);
	return 0;
}

static unsigned count_root_disks(const struct options *options)
{
	unsigned roots = 0;

	for (unsigned i = 0; i < options->devices.disk_count; i++)
		roots += options->devices.disks[i].root;
	return roots;
}

static int check_root_disk(struct options *options)
{
	const unsigned roots = count_root_disks(options);

	return roots < 2 ? 0
			 : optparse_fail(NULL, NULL,
					 "%u disks have `root`: only one can "
					 "hold the root file system",
					 roots);
}

static int check_disk_sizes(struct options *options)
{
	static const struct option_where where = { .option = "disk",
						   .key = "size" };

	for (unsigned i = 0; i < options->devices.disk_count; i++) {
		const struct block_options *disk = &options->devices.disks[i];

		if (disk->size && (!disk->ephemeral || disk->ro))
			return optparse_fail(
				&where, NULL,
				"it is for a disk with `ephemeral` and without "
				"`ro`; an image itself is made longer with "
				"truncate -s");
	}
	return 0;
}

/* The last number of 32 bits means nobody to the kernel. */
static bool read_id(const char **text, unsigned *id)
{
	uint64_t value;
	const bool good = optparse_digits(text, &value) && value < UINT32_MAX;

	*id = (unsigned)value;
	return good;
}

/* A name is for the guest to look up; a number is what the kernel takes. */
static bool is_user_part(const char *text, size_t len)
{
	const char *at = text;
	unsigned id;

	if (!len || memchr(text, ':', len))
		return false;
	return strspn(text, "0123456789") < len ||
	       (read_id(&at, &id) && at == text + len);
}

static int check_as(struct options *options)
{
	static const struct option_where where = { .option = "as" };
	const char *text = options->as;
	const size_t len = text ? strcspn(text, ":") : 0;

	if (!text || (is_user_part(text, len) &&
		      (!text[len] ||
		       is_user_part(text + len + 1, strlen(text + len + 1)))))
		return 0;
	return optparse_fail(&where, text,
			     "is not USER or USER:GROUP, each a name or a "
			     "number of 32 bits, for example 1000:1000");
}

static int check_command(struct options *options)
{
	static const char *const alone[] = { "tty", "workdir", "env",
					     "env-file", "as" };

	for (size_t i = 0; i < ARRAY_LEN(alone) && !options->command; i++)
		if (optparse_given(&options->parsed, alone[i]))
			return optparse_fail(NULL, NULL,
					     "--%s is for a command, and there "
					     "is none: it stands last, after "
					     "--",
					     alone[i]);
	for (unsigned i = 0; i < options->env_count; i++)
		if (!*options->env[i] || *options->env[i] == '=')
			return optparse_fail(NULL, NULL,
					     "--env: a variable has no name; "
					     "for example LANG=C.UTF-8");
	if (options->workdir && options->workdir[0] != '/')
		return optparse_fail(NULL, NULL,
				     "--workdir is a directory of the guest "
				     "and begins with /, for example /src");
	return 0;
}

static int fail_transfer(const char *option, const char *why)
{
	return optparse_fail(&(struct option_where){ .option = option }, NULL,
			     "%s", why);
}

static unsigned count_stdout(const struct options *options)
{
	unsigned count = 0;

	for (unsigned i = 0; i < options->get_count; i++)
		count += transfer_is_stdout(&options->gets[i]);
	return count;
}

/* An archive has nothing else in it. */
static bool takes_stderr(const struct transfer_options *transfers,
			 unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (transfers[i].file.fd == STDERR_FILENO)
			return true;
	return false;
}

/* Where the guest is saved, and ends, what goes on is its clones. */
static int check_transfers(struct options *options)
{
	const struct snapshot_options *s = &options->snapshot;
	const bool saved = file_is_given(&s->file) && s->then == SNAPSHOT_EXITS;
	const char *any = options->put_count   ? "put"
			  : options->get_count ? "get"
					       : NULL;

	/* A snapshot that is restored may have a command. */
	if (any && !options_have_command(options) &&
	    (!file_is_given(&options->restore.file) || options->restore.known))
		return fail_transfer(any, "it is for a command, and there is "
					  "none: it stands last, after --");
	if (saved && options->put_count && s->on == SNAPSHOT_ON_READY)
		return fail_transfer("put", "the snapshot is taken before "
					    "that: give it with --restore");
	if (saved && options->get_count)
		return fail_transfer("get", "the command goes on in clones of "
					    "the snapshot: give it with "
					    "--restore");
	if (takes_stderr(options->puts, options->put_count) ||
	    takes_stderr(options->gets, options->get_count))
		return fail_transfer(any, "fd=2 is mote's and the command's "
					  "stderr: have it opened as another");
	return count_stdout(options) < 2
		       ? 0
		       : fail_transfer("get", "only one can be - for standard "
					      "output");
}

/* RFC 1123, 2.1: labels of letters, digits and inner hyphens. */
static bool is_host_name(const char *name)
{
	size_t len;

	do {
		len = 0;
		while (isalnum((unsigned char)name[len]) || name[len] == '-')
			len++;
		if (!len || len > 63 || name[0] == '-' || name[len - 1] == '-')
			return false;
		name += len;
	} while (*name++ == '.');
	return !name[-1];
}

static int check_hostname(struct options *options)
{
	static const struct option_where where = { .option = "hostname" };
	const bool restores = file_is_given(&options->restore.file);

	if (!options->hostname)
		return 0;
	if (!is_host_name(options->hostname))
		return optparse_fail(&where, options->hostname,
				     "is no host's name: letters, digits and "
				     "\"-\" inside, in parts of 63 with \".\" "
				     "between them, for example web-1");
	if (options_have_command(options))
		return 0;
	if (restores && options->restore.known)
		return optparse_fail(&where, NULL,
				     "the snapshot has no command, so nobody "
				     "is in the guest who would name it");
	if (!restores && options->cmdline)
		return optparse_fail(&where, NULL,
				     "without a command it is a word of the "
				     "default command line, which --cmdline "
				     "replaces: write hostname=%s there",
				     options->hostname);
	return 0;
}

static int check_serial(struct options *options)
{
	const struct console_options *serial = &options->serial;
	const struct option_where where = {
		.option = "serial",
		.key = serial->max ? "max" : "append",
	};

	if (serial->kind == CONSOLE_FILE || !(serial->max || serial->append))
		return 0;
	return optparse_fail(&where, NULL, "is of a file: --serial file=PATH");
}

/* What the guest prints must not pass for what mote reports. */
static int check_stdio(struct options *options)
{
	static const char *const names[] = { "stdin", "stdout" };

	const bool command = options_have_command(options);

	if (options->serial.kind != CONSOLE_STDIO && !command)
		return 0;
	for (int fd = 0; fd < (int)ARRAY_LEN(names); fd++) {
		const char *owner = optparse_fd_owner(&options->parsed, fd);

		if (owner)
			return optparse_fail(
				NULL, NULL,
				"--%s takes fd=%d, which is %s of the %s",
				owner, fd, names[fd],
				command ? "command: have it opened as another"
					: "serial port: move the port, for "
					  "example with --serial off");
	}
	return 0;
}

/* "02:00:00:00:00:01": 0, or -EINVAL and nothing logged. */
static int read_mac(const char *text, uint8_t mac[NET_MAC_BYTES])
{
	for (unsigned i = 0; i < NET_MAC_BYTES; i++, text += 3) {
		if (!isxdigit((unsigned char)text[0]) ||
		    !isxdigit((unsigned char)text[1]) ||
		    text[2] != (i + 1 < NET_MAC_BYTES ? ':' : '\0'))
			return -EINVAL;
		mac[i] = (uint8_t)strtoul(text, NULL, 16);
	}
	return 0;
}

static int check_mac(struct net_options *nets, unsigned i)
{
	static const struct option_where where = { .option = "net",
						   .key = "mac" };
	static const uint8_t none[NET_MAC_BYTES];
	struct net_options *net = &nets[i];

	if (read_mac(net->mac_text, net->mac))
		return optparse_fail(&where, net->mac_text,
				     "is not six bytes in hexadecimal, for "
				     "example 02:00:00:00:00:01");
	/* IEEE 802: the lowest bit of the first byte. */
	if (net->mac[0] & 1 || !memcmp(net->mac, none, sizeof(none)))
		return optparse_fail(&where, net->mac_text,
				     "is the address of no one interface; "
				     "take one that begins with 02");
	while (i--)
		if (nets[i].mac_text &&
		    !memcmp(nets[i].mac, net->mac, sizeof(net->mac)))
			return optparse_fail(&where, NULL,
					     "two interfaces have '%s'; give "
					     "each its own",
					     net->mac_text);
	return 0;
}

static int check_nets(struct options *options)
{
	struct device_options *devices = &options->devices;
	int error = 0;

	for (unsigned i = 0; i < devices->net_count && !error; i++)
		if (devices->nets[i].mac_text)
			error = check_mac(devices->nets, i);
	return error;
}

/* "UID" or "UID:GID". */
static int check_user(struct option_user *user)
{
	static const struct option_where where = { .option = "user" };
	const char *at = user->text;
	bool good;

	user->uid = user->gid = USER_NOBODY;
	if (!at)
		return 0;
	good = read_id(&at, &user->uid);
	user->gid = user->uid;
	if (good && *at == ':') {
		at++;
		good = read_id(&at, &user->gid);
	}
	if (good && !*at)
		return 0;
	return optparse_fail(&where, user->text,
			     "is not one or two numbers, for example "
			     "1000:1000; id(1) tells whose they are (the "
			     "command's user in the guest is --as)");
}

/* It goes into JSON as it is. */
static int check_name(struct options *options)
{
	static const struct option_where where = { .option = "name" };
	static const char good[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

	if (!options->name || !options->name[strspn(options->name, good)])
		return 0;
	return optparse_fail(&where, options->name,
			     "may have letters, digits, \".\", \"_\" and "
			     "\"-\", for example job-7");
}

static int check_sandbox(struct options *options)
{
	int error = check_user(&options->user);

	if (error || !options->user.text || options->sandbox != SANDBOX_OFF)
		return error;
	return optparse_fail(NULL, NULL,
			     "--user is a part of the sandbox, and --sandbox "
			     "off leaves that out: give one of the two");
}

/* What is of a command, and of this process; all else is of the guest. */
static int check_exec(struct options *options)
{
	static const struct option_where where = { .option = "exec" };
	static const char *const with[] = {
		"exec",	   "env",   "env-file", "workdir", "tty", "as",
		"timeout", "grace", "sandbox",	"user",	   "log", "timing",
	};
	const struct option_parsed *parsed = &options->parsed;

	if (!file_is_given(&options->exec))
		return 0;
	if (!options->command)
		return optparse_fail(&where, NULL,
				     "the command is missing: it stands last, "
				     "after --");
	for (unsigned i = 0, j; i < parsed->given_count; i++) {
		for (j = 0; j < ARRAY_LEN(with); j++)
			if (!strcmp(parsed->given[i].option, with[j]))
				break;
		if (j == ARRAY_LEN(with))
			return optparse_fail(&where, NULL,
					     "the guest runs already, and --%s "
					     "is of the mote that runs it",
					     parsed->given[i].option);
	}
	return 0;
}

int options_check(struct options *options)
{
	static int (*const checks[])(struct options * options) = {
		check_exec,
		check_restore,
		check_snapshot,
		check_boot,
		check_memory,
		check_nets,
		check_root_disk,
		check_sandbox,
		check_command,
		check_serial,
		check_stdio,
		check_disk_sizes,
		check_name,
		check_hostname,
		check_as,
		check_transfers,
		options_check_addresses,
		options_check_publish,
	};
	int error = 0;

	for (size_t i = 0; i < ARRAY_LEN(checks) && !error; i++)
		error = checks[i](options);
	return error;
}

void options_explain_root(const struct options *options)
{
	bool named = options->cmdline && strstr(options->cmdline, "root=");

	for (unsigned i = 0; i < options->append_count; i++)
		named |= !!strstr(options->append[i], "root=");
	if (named || options->initrd_count || count_root_disks(options))
		return;
	log_warn(options->devices.disk_count
			 ? "is its root file system on a --disk? Add `,root` "
			   "to that one"
			 : "it was given no root file system: --disk PATH,root "
			   "or --initrd PATH");
}
