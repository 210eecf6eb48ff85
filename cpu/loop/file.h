/*
 * What to open, as the command line says it: a path, or a descriptor that the
 * caller has open.
 */
#ifndef CPU_LOOP_FILE_H
#define CPU_LOOP_FILE_H

struct option_file {
	const char *path; /* NULL where fd=N was given, or nothing */
	int fd;		  /* -1 where a path was given, or nothing */
};

#endif
