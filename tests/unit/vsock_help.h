/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock device for the tests of virtio/vsock, with a driver (vsock_guest.h),
 * a loop, and a directory for sockets. expect_* waits for what the device does,
 * host_* is its other side.
 */
#ifndef TESTS_UNIT_VSOCK_HELP_H
#define TESTS_UNIT_VSOCK_HELP_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/kept_log.h"
#include "tests/unit/mock_broker.h"
#include "tests/unit/vsock_guest.h"

#define PORT	 1234u /* a port of whoever listens */
#define GUEST	 5000u /* a port of the guest's client */
#define INTERNAL 77u   /* the port whose stream ends inside mote, */

extern int internal_fd; /* in this socket, where there is one */

/* As the device is told: enough for all streams to have whole buffers. */
extern uint64_t guest_memory;

extern struct loop loop;
extern struct loop_timer tick; /* of run_ticks */
extern char dir[32], path[64];

/* Whether `done` came true within so many ticks of the loop. */
bool run_ticks(unsigned ticks, bool (*done)(void));
void run_a_while(void);

#define SOON 20000 /* ticks, at most */

/* The last packet that came. */
extern struct vsock_packet got;
extern uint8_t got_data[RX_STEP];
bool packet_came(void);

void expect_packet(enum vsock_op op, uint32_t host_port, uint32_t guest_port);
void expect_request(uint32_t guest_port); /* from a port of the device's */
void expect_rst(uint32_t host_port, uint32_t guest_port);
void expect_no_packet(void);

/* The connections, their lists and their table are what they should be. */
void expect_sound(void);

/* `awaited_fd` has something to read, or has ended. */
extern int awaited_fd;
bool fd_came(void);

/* Reads exactly that from a socket of the host. */
void host_gets(int fd, const void *bytes, size_t len);
void host_gets_text(int fd, const char *text);
void host_gets_eof(int fd);

void host_write(int fd, const void *bytes, size_t len);
void host_say(int fd, const char *text);

int host_dial(void);
int host_listen_on(unsigned port, int backlog);

/* A stream that a client of the host began: its fd; `got` has the ports. */
int host_connects(uint32_t port);
/* A stream that the guest began; `listener` is at PORT. */
int guest_connects(int listener, uint32_t guest_port);

/* The device that `vsock` is; setup and teardown do it, too. */
void open_vsock(unsigned cid);
void close_vsock(void);

int setup(void **state);
int teardown(void **state);

#define vsock_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
