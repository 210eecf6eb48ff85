/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A broker (cpu/loop/broker.h) that is no process but a source of the test's
 * own loop, so that it answers when the test lets it.
 */
#ifndef TESTS_UNIT_MOCK_BROKER_H
#define TESTS_UNIT_MOCK_BROKER_H

#include "virtio/vsock/vsock.h"

/* Between vsock_open and vsock_create. Aborts where it cannot. */
void mock_broker_start(struct vsock *vsock, struct loop *loop);

/* From now on it answers nobody; it is gone. Both are harmless twice. */
void mock_broker_stop(void);
void mock_broker_lose(void);

/* After vsock_destroy. */
void mock_broker_end(void);

#endif
