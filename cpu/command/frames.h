/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames out of what the guest sends (cpu/command/protocol.h): every type and
 * length is judged here, what they mean by whoever asks.
 */
#ifndef CPU_COMMAND_FRAMES_H
#define CPU_COMMAND_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "cpu/command/protocol.h"

struct frames {
	uint8_t header[PROTOCOL_HEADER];
	uint32_t header_len;
	uint32_t type, left; /* of the payload, once the header is there */
	uint32_t payload_len;
	uint8_t payload[PROTOCOL_TEXT + 1];
};

/*
 * Called with what has come: of STDOUT, STDERR and GET bytes in pieces of any
 * size, and of a GET without any that; of the other types the whole payload,
 * whose length is right, and a zero after it. 0, or what frames_feed is to
 * return at once.
 */
typedef int frames_take(void *arg, unsigned type, const uint8_t *payload,
			size_t len);

/* Start with all zero. 0, or -EPROTO where it is no frame. Not logged. */
int frames_feed(struct frames *frames, const uint8_t *data, size_t len,
		frames_take *take, void *arg);

/* Writes a frame's header. */
void frames_header(uint8_t to[PROTOCOL_HEADER], unsigned type, size_t len);

#endif
