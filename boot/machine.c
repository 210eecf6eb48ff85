/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the parts of a guest together in its memory: the kernel where it wants
 * to be, the initrd as high as it goes, tables and parameters below 1 MiB.
 * The files are hostile; the parts check what they read of them. Owns nothing.
 * Main thread, before the vCPUs run.
 */
#include "boot/machine.h"

#include <errno.h>
#include <stdio.h>

#include "boot/cmdline.h"
#include "boot/initrd.h"
#include "boot/kernel.h"
#include "boot/layout.h"
#include "boot/networds.h"
#include "cpu/command/protocol.h"
#include "cpu/entry.h"
#include "cpu/vm.h"
#include "mem/log.h"
#include "mem/util.h"

#define SLOT_PARAMETER "virtio_mmio.device"

enum when { ALWAYS, WITH_SERIAL, ONE_CPU };

/*
 * The default command line. quiet: a line on the console costs more than most
 * of the boot; an error still shows, and `-a loglevel=7` brings all back.
 */
static const struct default_words {
	enum when when;
	const char *words;
} default_words[] = {
	{ WITH_SERIAL, "console=ttyS0" },
	{ WITH_SERIAL,
	  "8250.nr_uarts=1" }, /* probes no ports that are absent */
	{ ALWAYS, "quiet" },
	{ ALWAYS, "panic=-1" }, /* a panic ends the guest, at once */
	/* t: a triple fault always works, whatever the kernel was built with;
	 * the rest: see cpu/platform.c */
	{ ALWAYS, "reboot=t,warm,panic_cold" },
	{ ALWAYS, "pci=off" },	      /* there is none; Linux still says so */
	{ ALWAYS, "no_timer_check" }, /* saves 20 M instructions */
	{ ALWAYS, "cryptomgr.notests" }, /* saves 4 M */
	{ ONE_CPU, "noreplace-smp" },	 /* saves 3 M */
};

static bool default_applies(enum when when, const struct options *options)
{
	return when == ALWAYS ||
	       (when == WITH_SERIAL && options->serial.kind != CONSOLE_OFF) ||
	       (when == ONE_CPU && options->cpus == 1);
}

_Static_assert(DEVICES_MAX <= 26, "one letter for each disk");

/*
 * The disk with `root`. Linux names virtio disks in the order in which it finds
 * them, which is that of their slots: vda, vdb and so on. There is no
 * rootwait: a disk that the kernel cannot mount is to be a panic, not a guest
 * that waits for ever. In front of all others, so that a root= of the user's
 * counts more, and a "--" of theirs does not hide it from the kernel.
 */
static int add_root_words(struct cmdline *line,
			  const struct device_options *devices)
{
	char words[] = "root=/dev/vdX rX";

	for (unsigned i = 0; i < devices->disk_count; i++) {
		if (!devices->disks[i].root)
			continue;
		snprintf(words, sizeof(words), "root=/dev/vd%c %s",
			 (char)('a' + i), devices->disks[i].ro ? "ro" : "rw");
		return cmdline_add(line, words);
	}
	return 0;
}

/*
 * The slots' aliases, for kernels that do not read the DSDT (Linux,
 * Documentation/admin-guide/kernel-parameters.txt). A kernel that was built
 * without the parameter says so once a slot, which quiet hides, and no more.
 */
static int add_slot_words(struct cmdline *line, unsigned slots)
{
	char word[48];
	int error = 0;

	for (unsigned i = 0; i < slots && !error; i++) {
		snprintf(word, sizeof(word), SLOT_PARAMETER "=%u@0x%x:%u",
			 LAYOUT_VIRTIO_WINDOW,
			 LAYOUT_VIRTIO_ALIAS + i * LAYOUT_VIRTIO_SLOT,
			 VM_GSI_VIRTIO + i);
		error = cmdline_add(line, word);
	}
	return error;
}

/* With a command init is told. */
static int add_hostname_word(struct cmdline *line, const char *name)
{
	char word[sizeof("hostname=") + 64];

	snprintf(word, sizeof(word), "hostname=%s", name);
	return cmdline_add(line, word);
}

/* What is appended comes last: it may have a --. */
static int make_cmdline(struct cmdline *line, const struct options *options,
			unsigned slots)
{
	int error;

	*line = (struct cmdline){ .len = 0 };
	error = add_root_words(line, &options->devices);
	if (!options->command && !error)
		error = networds_add(line, &options->devices);
	if (options->command && !error)
		error = cmdline_add(line, "rdinit=/" RUN_INIT);
	if (options->cmdline && !error)
		error = cmdline_add(line, options->cmdline);
	for (size_t i = 0; i < ARRAY_LEN(default_words) && !error; i++)
		if (!options->cmdline &&
		    default_applies(default_words[i].when, options))
			error = cmdline_add(line, default_words[i].words);
	if (!options->cmdline && !error)
		error = add_slot_words(line, slots);
	if (options->hostname && !options->command && !error)
		error = add_hostname_word(line, options->hostname);
	for (unsigned i = 0; i < options->append_count && !error; i++)
		error = cmdline_add(line, options->append[i]);
	return error;
}

int machine_load(struct machine *machine, struct ram *ram,
		 const struct options *options, const struct files *files,
		 unsigned slots)
{
	struct kernel_image kernel;
	struct initrd initrd;
	struct cmdline cmdline;
	int error = make_cmdline(&cmdline, options, slots);

	if (!error)
		error = kernel_load(&kernel, ram, files->kernel_fd,
				    files->kernel_name, options->kernel_copy);
	if (!error)
		error = cmdline_check(&cmdline, kernel.cmdline_max);
	if (!error)
		error = initrd_load(
			&initrd, ram, files->initrd, files->initrd_count,
			gpa_add(kernel.start, kernel.size), kernel.initrd_max);
	if (!error)
		error = params_write(ram, &kernel, &initrd, &cmdline);
	if (!error)
		error = acpi_write(ram, options->cpus, slots);
	if (!error)
		error = mptable_write(ram, options->cpus);
	if (!error && entry_write_tables(ram)) {
		log_error("the first page tables do not fit into RAM");
		error = -EFAULT;
	}
	if (error)
		return error;
	log_info("command line: %s", cmdline.text);
	*machine = (struct machine){
		.entry = kernel.entry,
		.boot_params = LAYOUT_BOOT_PARAMS,
		.tells_panic = cmdline_tells_panic(&cmdline),
		.names_virtio = cmdline_has(&cmdline, SLOT_PARAMETER),
	};
	return 0;
}
