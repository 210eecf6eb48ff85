/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of virtio-net: the other end of the host's side. That is a stream
 * socket; or a pair of message sockets in a tap's place, where no tap is to be
 * had: it, too, takes and gives one packet a call.
 */
#ifndef TESTS_UNIT_NET_PEER_H
#define TESTS_UNIT_NET_PEER_H

#include "tests/unit/net_help.h"

extern int peer; /* does not block; -1: closed */

/* A device (net_help.h) with `peer` at its other end; not started yet. */
void make_stream_with(struct net_options options);

/* The same, without options, and started with these features. */
void make_stream(uint64_t features);
void make_packet_tap(uint64_t features);

/* The end of both; and nothing has been logged that was not expected. */
void end_host(void);

void peer_close(void);
void peer_write(const void *bytes, size_t len);

/* Frame `number` behind its length: the bytes of both. */
size_t make_stream_bytes(uint8_t *to, size_t len, unsigned number);
void peer_send(size_t len, unsigned number);

/* Reads exactly so much, while the device goes on writing. */
void peer_read(uint8_t *to, size_t len);

/* The next frame on the stream is this one; or there is nothing. */
void peer_expect(size_t len, unsigned number);
void peer_expect_nothing(void);

#endif
