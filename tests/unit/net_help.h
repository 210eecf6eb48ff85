/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of virtio-net: one device with its event loop, driven without a
 * transport; the driver's side of its two rings, with buffers; frames whose
 * every byte is told by a number.
 */
#ifndef TESTS_UNIT_NET_HELP_H
#define TESTS_UNIT_NET_HELP_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/ring.h"
#include "virtio/net/net.h"

#define MIB	(1ULL << 20)
#define RX_DATA 0x100000 /* DATA_SLOT bytes for each descriptor */
#define TX_DATA 0x1200000

extern struct net_test {
	struct ram ram;
	struct loop loop;
	struct net net;
	struct ring ring[NET_QUEUES];
	unsigned interrupts, broken, config_changes;
	unsigned config_changed; /* bytes, the last time */
} t;

/* -- the device ------------------------------------------------------------ */

/* RAM, loop and device: what net_open says; and their end. */
int try_net(const struct net_options *options);
void end_net(void);

/* Opening fails, leaves nothing open, and says so in one line with `why`. */
void refuse_net(struct net_options options, const char *why);

/* The call before this logged one line, in which `fragment` is; or none. */
void expect_net_log(const char *fragment);
void expect_no_net_log(void);

/* The loop's turns until there is nothing to do; the same, for some time. */
void run_loop(void);
void run_loop_for(uint64_t ns);

/* Is served in the loop's next turn, and sees the counts of that moment. */
struct bystander {
	struct loop_source source;
	uint64_t in, out; /* packets */
};
void bystander_add(struct bystander *bystander);
void bystander_remove(struct bystander *bystander);

/* -- the driver ------------------------------------------------------------ */

/* Starts the device with these features and rings of this size, or of 64. */
void driver_start_sized(uint64_t features, uint16_t size);
void driver_start(uint64_t features);
void driver_kick(unsigned queue);
void driver_reset(void);

/* A packet for the device to send: header and frame, in `parts` buffers. */
uint16_t put_packet(size_t len, unsigned number, unsigned parts);

/* So many packets have come back sent, and no more. */
void expect_sent(unsigned count);

/* How many have; those are seen then. */
unsigned count_sent(void);

/* An empty receive buffer of so many bytes, full of 0xee: its head. */
uint16_t put_buffer(uint32_t len);

/* Where the receive buffer of this head begins. */
uint64_t rx_at(uint32_t head);

/* The next packet that the driver has got is this one: the chains it took. */
unsigned expect_packet(size_t len, unsigned number);
void expect_no_packet(void);

/* Frames differ in each byte by number and place. */
void make_frame(uint8_t *frame, size_t len, unsigned number);

/* The receive buffers' memory is the driver's alone from now on. */
void mark_rx_data(void);
void expect_rx_data_untouched(void);

#endif
