/*
 * The descriptors that mote was started with.
 */
#ifndef BOOT_FDS_H
#define BOOT_FDS_H

#include "boot/options/options.h"

/*
 * Before anything is opened: sees to it that each descriptor that an option
 * names is open, lest one of mote's own is taken for it, and with `alone`
 * closes all others but 0, 1 and 2. 0, or -EBADF, logged.
 */
int fds_take(const struct options *options, bool alone);

/*
 * Standard input and output, where nothing uses them, are /dev/null from then
 * on: what the caller has there may be worth more than that to a guest that
 * takes mote over.
 */
void fds_spare(const struct options *options);

/*
 * One of those that remain is a socket, but no stream between processes of this
 * host (TCP, for one): connect(2) leads it anywhere in the network that it is
 * of. After fds_spare.
 */
bool fds_have_foreign(const struct options *options);

#endif
