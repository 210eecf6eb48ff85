/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to a guest that another mote runs: through the socket of its --vsock,
 * to mote's init in there, which runs one more command (boot/init/session.c).
 */
#ifndef CPU_COMMAND_EXEC_H
#define CPU_COMMAND_EXEC_H

#include "cpu/loop/file.h"

/*
 * A connection to that init, which waits for its orders and then is the link of
 * a command: see command_join. `file`: the socket's path, or a connection to
 * it, which becomes the caller's. Before the sandbox closes in; it waits for a
 * guest that boots, a few seconds. The descriptor or -errno, logged.
 */
int exec_connect(const struct option_file *file);

#endif
