/*
 * The text that boot/options/docs.c writes around what the table of options
 * says: prose of the manual, and the constant parts of the completion
 * functions.
 */
#ifndef BOOT_OPTIONS_DOCS_H
#define BOOT_OPTIONS_DOCS_H

#define MAN_DATE "2026-11-22"

static const char *const man_description[] = {
	"mote boots one Linux guest on /dev/kvm and is that guest: an ordinary "
	"process, which top(1) shows and kill(1) stops, and whose exit status "
	"says how the guest ended. Every setting is on the command line; there "
	"is no daemon and no configuration file.",
	"An option's value can be followed by keys: VALUE,key=value,flag. A "
	"comma within a value is written twice, but not in TEXT, which is "
	"taken "
	"as it is. Wherever a file is expected, fd=N names a descriptor that "
	"the caller has opened; a file of such a name is ./fd=N. A size takes "
	"K, M, G or T (powers of 1024), a duration ms, s, m or h. An option "
	"that is given again replaces the first, unless it is one that "
	"repeats.",
};

struct note {
	const char *name, *text;
};

static const struct note man_signals[] = {
	{ "SIGTERM", "Presses the guest's power button, so that it can shut "
		     "down; the second one stops it at once." },
	{ "SIGINT, SIGHUP, SIGQUIT",
	  "Stop the guest at once. Where the serial port is this terminal, "
	  "Ctrl-C goes to the guest and Ctrl-A x stops it." },
	{ "With a command",
	  "SIGINT, SIGTERM, SIGHUP and SIGQUIT go to the command, and SIGWINCH "
	  "with --tty. A second SIGTERM or SIGHUP stops the guest at once, "
	  "and so does any of these before the command has begun or after it "
	  "has ended." },
	{ "SIGUSR2", "Writes counters as an event; see --events." },
	{ "SIGSTOP, SIGTSTP, SIGCONT", "Pause the guest and let it go on." },
};

static const struct note man_examples[] = {
	{ "mote -k vmlinux -i initrd.cpio -m 128M",
	  "Boot to whatever the initramfs starts, on this terminal:" },
	{ "mote -k vmlinux -i base.cpio -i job.cpio -c 4 -m 2G \\\n"
	  "    --timeout 10m --serial file=job.log",
	  "Run a job that is laid over a base system, for ten minutes at most, "
	  "and keep what it prints:" },
	{ "mote -k vmlinux -d root.img,root -- make test",
	  "Run one command in a fresh guest; its status is mote's:" },
	{ "mote -k fd=3 -i fd=4 --events fd=5 \\\n"
	  "    3<vmlinux 4<initrd.cpio 5>events.json",
	  "Open nothing, because the caller has opened every file:" },
	{ "mote -k bzImage -a 'loglevel=7 mitigations=off' --check",
	  "See whether it would start:" },
};

static const char bash_head[] =
	"# bash completion for mote, made from its table of options.\n"
	"_mote()\n"
	"{\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT} option= head= part cut path i\n"
	"\tlocal files= first= keys= paths=\n"
	"\tlocal -a words=()\n"
	"\n"
	"\tread -ra words <<<\"$line\"\n"
	"\t[[ $line == *[[:space:]] ]] && words+=('')\n"
	"\tlocal cur=${words[-1]} prev=${words[-2]}\n"
	"\tCOMPREPLY=()\n"
	"\tcase $cur in\n"
	"\t--*=*) option=${cur%%=*} head=$option= ;;\n"
	"\t--* | -) ;;\n";

static const char bash_tail[] =
	"\tpart=${cur#\"$head\"}\n"
	"\tif [[ $part == *,* ]]; then\n"
	"\t\thead=${cur%\"${cur##*,}\"} part=${cur##*,} first=$keys files=\n"
	"\tfi\n"
	"\tfor path in $paths; do\n"
	"\t\tif [[ $part == \"$path\"* ]]; then\n"
	"\t\t\thead+=$path part=${part#\"$path\"} first= files=1\n"
	"\t\tfi\n"
	"\tdone\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$first\" -- \"$part\")\n"
	"\t[[ ${COMPREPLY[*]} == *= ]] && compopt -o nospace\n"
	"\tif [[ $files ]]; then\n"
	"\t\tmapfile -t -O ${#COMPREPLY[@]} COMPREPLY \\\n"
	"\t\t\t< <(compgen -f -- \"$part\")\n"
	"\t\tcompopt -o filenames\n"
	"\tfi\n"
	"\t# readline completes what follows the last = or : of the word.\n"
	"\tcut=${cur%\"${cur##*[=:]}\"}\n"
	"\tfor i in \"${!COMPREPLY[@]}\"; do\n"
	"\t\tCOMPREPLY[i]=$head${COMPREPLY[i]}\n"
	"\t\tCOMPREPLY[i]=${COMPREPLY[i]#\"$cut\"}\n"
	"\tdone\n"
	"}\n"
	"complete -F _mote mote\n";

static const char zsh_head[] =
	"#compdef mote\n"
	"# zsh completion for mote, made from its table of options.\n"
	"\n"
	"# VALUE,key...: whether files can be the value, the words that can,\n"
	"# the keys, and what is followed by a path.\n"
	"_mote_value()\n"
	"{\n"
	"\tlocal files=$1 path\n"
	"\tlocal -a words=(${=2}) paths=(${=4})\n"
	"\n"
	"\tcompset -P '*,' && words=(${=3}) files=\n"
	"\tfor path in $paths; do\n"
	"\t\tcompset -P $path && words=() files=1\n"
	"\tdone\n"
	"\tcompadd -S '' -- ${(M)words:#*=}\n"
	"\tcompadd -- ${words:#*=}\n"
	"\t[[ -n $files ]] && _files\n"
	"}\n"
	"\n"
	"_arguments -s -S";

#endif
