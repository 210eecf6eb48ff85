/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mote is asked to do: its command line, parsed and checked. The table of
 * options is in table.c; adding one is one entry there and one field here.
 */
#ifndef BOOT_OPTIONS_OPTIONS_H
#define BOOT_OPTIONS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "boot/options/parse.h"
#include "cpu/command/transfer.h"
#include "cpu/console/open.h"
#include "mem/log.h"
#include "mem/ram.h"
#include "virtio/devices.h"

#ifndef MOTE_VERSION
#define MOTE_VERSION "0.1" /* the build may say otherwise, with -D */
#endif

#define OPTIONS_INITRDS_MAX   16
#define OPTIONS_APPENDS_MAX   16
#define OPTIONS_ENVS_MAX      128
#define OPTIONS_ENV_FILES_MAX 16

enum sandbox_mode {
	SANDBOX_ON,
	SANDBOX_OFF,
	SANDBOX_LOG, /* as on; but a call that is not allowed is named only */
};

/* Whether other processes may run on the other half of a core of mote's. */
enum sandbox_cores { SANDBOX_CORES_SHARED, SANDBOX_CORES_OWN };

struct option_user {
	const char *text; /* NULL: not given */
	unsigned uid, gid;
};

#define USER_NOBODY 65534

/* When a snapshot is taken, and what follows. */
enum snapshot_on {
	SNAPSHOT_ON_ANY, /* READY with a command, else SIGNAL */
	SNAPSHOT_ON_READY,
	SNAPSHOT_ON_PROGRAM,
	SNAPSHOT_ON_SIGNAL
};
enum snapshot_then { SNAPSHOT_THEN_ANY, SNAPSHOT_EXITS, SNAPSHOT_CONTINUES };

struct snapshot_options {
	struct option_file file; /* not given: no snapshot is taken */
	enum snapshot_on on;	 /* after options_check never ANY */
	enum snapshot_then then; /* likewise */
};

struct restore_options {
	struct option_file file; /* not given: the guest boots */
	bool copy, prefault, mergeable, learn, moved;
	bool known;	  /* the header was read: */
	bool has_command; /* the snapshot has one */
	bool whole;	  /* its devices are among the options, too */
	enum restore_clock { RESTORE_CLOCK_HOST, RESTORE_CLOCK_KEEP } clock;
};

/* A file that is not given has path NULL and fd -1. */
struct options {
	struct option_file kernel; /* given, or `restore` is */
	bool kernel_copy;
	unsigned initrd_count, append_count;
	const char *cmdline; /* NULL: the default one, and `append` */
	struct ram_options ram;
	unsigned cpus;
	bool nested;
	struct option_file kvm; /* not given: /dev/kvm */
	struct console_options serial;
	char **command; /* with its arguments, up to a NULL; NULL: none */
	struct option_file exec; /* given: in that guest, another mote's */
	unsigned env_count;
	unsigned env_file_count;
	const char *workdir;  /* NULL: not given */
	const char *as;	      /* USER[:GROUP]; NULL: root */
	const char *hostname; /* NULL: not given */
	bool tty;
	unsigned put_count, get_count, publish_count;
	struct snapshot_options snapshot;
	struct restore_options restore;
	uint64_t timeout_ns; /* 0: none */
	uint64_t grace_ns;   /* 0: none */
	unsigned reboot_status;
	enum sandbox_mode sandbox;
	enum sandbox_cores sandbox_cores;
	struct option_user user;
	struct option_file netns, cgroup;
	const char *name; /* NULL: none; else a word */
	struct option_file events;
	uint64_t events_every_ns; /* 0: no counters unasked */
	bool timing;
	enum log_level log;
	bool check;
	/* Behind its counts nothing is cleared at start: large, and each is
	 * when it is named. */
	struct device_options devices;
	struct option_file initrds[OPTIONS_INITRDS_MAX];
	const char *append[OPTIONS_APPENDS_MAX]; /* to join with blanks */
	struct option_parsed parsed;
	const char *env[OPTIONS_ENVS_MAX];
	struct option_file env_files[OPTIONS_ENV_FILES_MAX];
	struct passt_publish publish[PASST_PUBLISH_MAX];
	struct transfer_options puts[RUN_TRANSFERS_MAX];
	struct transfer_options gets[RUN_TRANSFERS_MAX];
};

extern const struct option_set options_set;

/* There is a command in the guest. */
static inline bool options_have_command(const struct options *options)
{
	return options->command || options->restore.has_command;
}

/*
 * Strings point into argv and into *options, which therefore must not be
 * copied. 0; 1 where help or the version was printed and mote is to end with
 * status 0; -EINVAL (or -errno of that printing), with one line logged.
 */
int options_parse(struct options *options, int argc, char **argv);

/*
 * What options_parse does once each value is stored: the checks that look at
 * more than one value; reads mac= and --user. 0, or -EINVAL, logged.
 */
int options_check(struct options *options);

/*
 * After an end that it may be the cause of: says that the guest was given no
 * root file system, where no option names one.
 */
void options_explain_root(const struct options *options);

/* -- what the table says to people ----------------------------------------- */

/* An exit status of mote. */
struct option_status {
	const char *status, *meaning;
};
extern const struct option_status options_statuses[]; /* to a NULL status */

/* Onto stdout; 0, or -errno and a logged line where stdout does not take it. */
int options_print_help(const struct option_set *set);
int options_print_version(const struct option_set *set);
/* " (HASH)", or nothing: see commit.c. */
extern const char options_commit[];

/* "PATH|fd=N[,copy]"; each "[,...]" stays whole. Empty for a flag. */
void options_add_syntax(struct option_text *to,
			const struct option_entry *entry);

/* "256M": the default of the option's own value; NULL where there is none. */
const char *options_default(const struct option_field *field,
			    char buf[OPTPARSE_FORMAT_BYTES]);

#endif
