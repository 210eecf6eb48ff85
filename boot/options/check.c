/*
 * The command line, parsed by the table, and the checks that look at more than
 * one option. Whether a file is there, and fit, is for those who open it.
 *
 * Trusts nobody: argv is the user's. Owns nothing and keeps nothing between
 * calls; the main thread runs it, before anything else.
 */
#include "boot/options/options.h"

#include <errno.h>
#include <string.h>

#include "boot/options/values.h"
#include "mem/util.h"

#define MIB (1ULL << 20)

static int check_boot(const struct options *options)
{
	if (!options->kernel.path && options->kernel.fd < 0) {
		log_error("no kernel is given: add -k PATH, an ELF vmlinux or "
			  "a bzImage; 'mote --help' lists the options");
		return -EINVAL;
	}
	if (options->cmdline && options->append_count) {
		log_error("--append adds to the default command line, which "
			  "--cmdline replaces: give one of the two");
		return -EINVAL;
	}
	return 0;
}

static int check_memory(const struct ram_options *ram)
{
	static const struct {
		uint64_t bytes;
		const char *name;
	} pages[] = {
		[RAM_PAGES_OFF] = { RAM_PAGE, "4K" },
		[RAM_PAGES_THP] = { RAM_PAGE, "4K" },
		[RAM_PAGES_2M] = { 2 * MIB, "2M" },
		[RAM_PAGES_1G] = { 1024 * MIB, "1G" },
	};
	bool reserved =
		ram->pages == RAM_PAGES_2M || ram->pages == RAM_PAGES_1G;

	if (ram->size % pages[ram->pages].bytes) {
		log_error("--memory: %lluK is not a multiple of its pages of "
			  "%s",
			  (unsigned long long)(ram->size >> 10),
			  pages[ram->pages].name);
		return -EINVAL;
	}
	if (ram->mergeable && reserved) {
		log_error("--memory: mergeable has no effect on pages of %s: "
			  "use hugepages=off or hugepages=thp with it",
			  pages[ram->pages].name);
		return -EINVAL;
	}
	return 0;
}

static int check_root(const struct device_options *devices)
{
	unsigned roots = 0;

	for (unsigned i = 0; i < devices->disk_count; i++)
		roots += devices->disks[i].root;
	if (roots < 2)
		return 0;
	log_error("%u disks have `root`: only one can hold the root file "
		  "system",
		  roots);
	return -EINVAL;
}

static bool good_env(const char *text)
{
	return *text && *text != '=';
}

static int check_command(const struct options *options)
{
	const char *alone = options->tty	 ? "tty"
			    : options->workdir	 ? "workdir"
			    : options->env_count ? "env"
						 : NULL;

	if (!options->command && alone) {
		log_error("--%s is for a command, and there is none: it "
			  "stands last, after --",
			  alone);
		return -EINVAL;
	}
	for (unsigned i = 0; i < options->env_count; i++)
		if (!good_env(options->env[i])) {
			log_error("--env: a variable has no name; for "
				  "example LANG=C.UTF-8");
			return -EINVAL;
		}
	if (options->workdir && options->workdir[0] != '/') {
		log_error("--workdir is a directory of the guest and begins "
			  "with /, for example /src");
		return -EINVAL;
	}
	return 0;
}

/* What the guest prints must not pass for what mote reports. */
static int check_stdio(const struct options *options)
{
	static const char *const names[] = { "stdin", "stdout" };
	const struct option_entry *owner;

	if (options->serial.kind != CONSOLE_STDIO && !options->command)
		return 0;
	for (int fd = 0; fd < (int)ARRAY_LEN(names); fd++) {
		owner = optparse_fd_owner(&options_set, options, fd);
		if (!owner)
			continue;
		if (options->command)
			log_error("--%s takes fd=%d, which is %s of the "
				  "command: have it opened as another",
				  owner->name, fd, names[fd]);
		else
			log_error("--%s takes fd=%d, which is %s of the "
				  "serial port: move the port, for example "
				  "with --serial off",
				  owner->name, fd, names[fd]);
		return -EINVAL;
	}
	return 0;
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at =
		c ? strchr(digits, c | ('A' <= c && c <= 'F') << 5) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* "02:00:00:00:00:01": 0, or -EINVAL and nothing logged. */
static int read_mac(const char *text, uint8_t mac[NET_MAC_BYTES])
{
	for (unsigned i = 0; i < NET_MAC_BYTES; i++, text += 3) {
		int high = hex_digit(text[0]), low = hex_digit(text[1]);

		if (high < 0 || low < 0 ||
		    text[2] != (i + 1 < NET_MAC_BYTES ? ':' : '\0'))
			return -EINVAL;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static int check_mac(struct net_options *nets, unsigned i)
{
	static const struct option_where where = { "net", "mac" };
	static const uint8_t none[NET_MAC_BYTES];
	struct net_options *net = &nets[i];
	char shown[OPTVALUE_SHOW_BYTES];

	optvalue_show(shown, net->mac_text);
	if (read_mac(net->mac_text, net->mac))
		return optvalue_fail(&where,
				     "%s is not six bytes in hexadecimal, for "
				     "example 02:00:00:00:00:01",
				     shown);
	/* IEEE 802: the lowest bit of the first byte. */
	if (net->mac[0] & 1 || !memcmp(net->mac, none, sizeof(none)))
		return optvalue_fail(&where,
				     "%s is the address of no one interface; "
				     "take one that begins with 02",
				     shown);
	while (i--)
		if (nets[i].mac_text &&
		    !memcmp(nets[i].mac, net->mac, sizeof(net->mac)))
			return optvalue_fail(&where,
					     "two interfaces have %s; give "
					     "each its own",
					     shown);
	return 0;
}

static int check_nets(struct device_options *devices)
{
	int error = 0;

	for (unsigned i = 0; i < devices->net_count && !error; i++)
		if (devices->nets[i].mac_text)
			error = check_mac(devices->nets, i);
	return error;
}

/* "UID" or "UID:GID"; the last number of 32 bits means nobody to the kernel. */
static int check_user(struct option_user *user)
{
	static const struct option_where where = { "user", NULL };
	char shown[OPTVALUE_SHOW_BYTES];
	unsigned *const ids[] = { &user->uid, &user->gid };
	const char *at = user->text;

	user->uid = user->gid = USER_NOBODY;
	for (size_t i = 0; at && i < ARRAY_LEN(ids); i++) {
		uint64_t value = 0;
		const char *from = at;

		for (; *at >= '0' && *at <= '9' && value < UINT32_MAX; at++)
			value = value * 10 + (uint64_t)(*at - '0');
		if (at == from || value >= UINT32_MAX ||
		    (*at && (*at != ':' || i)))
			return optvalue_fail(
				&where,
				"%s is not one or two numbers, for example "
				"1000:1000; id(1) tells whose they are",
				optvalue_show(shown, user->text));
		*ids[i] = user->gid = (unsigned)value;
		at = *at ? at + 1 : NULL;
	}
	return 0;
}

static int check_sandbox(struct options *options)
{
	int error = check_user(&options->user);

	if (error || !options->user.text || options->sandbox != SANDBOX_OFF)
		return error;
	log_error("--user is a part of the sandbox, and --sandbox off leaves "
		  "that out: give one of the two");
	return -EINVAL;
}

int options_parse(struct options *options, int argc, char **argv)
{
	struct option_pool pool = {
		.bytes = options->pool,
		.size = sizeof(options->pool),
	};
	int done;

	*options = (struct options){ 0 };
	done = optparse_run(&options_set, options, &pool, argc, argv);
	if (!done)
		done = check_boot(options);
	if (!done)
		done = check_memory(&options->ram);
	if (!done)
		done = check_nets(&options->devices);
	if (!done)
		done = check_root(&options->devices);
	if (!done)
		done = check_sandbox(options);
	if (!done)
		done = check_command(options);
	if (!done)
		done = optparse_check_fds(&options_set, options);
	if (!done)
		done = check_stdio(options);
	return done;
}
