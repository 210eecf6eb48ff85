/* SPDX-License-Identifier: Apache-2.0 */
/* What holds of the connections of a vsock device whenever nothing runs. */
#ifndef TESTS_UNIT_VSOCK_CHECK_H
#define TESTS_UNIT_VSOCK_CHECK_H

#include "virtio/vsock/conn.h"

/*
 * Each connection is either free or in use, once, and a free one is in no list
 * and has no socket: what happens to one after it was freed shows up here.
 * NULL, or what is wrong.
 */
const char *vsock_check(const struct conns *conns);

#endif
