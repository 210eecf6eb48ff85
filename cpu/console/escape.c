/*
 * The keys that are mote's own on a terminal in raw mode. Owns nothing. Main
 * thread.
 */
#include "cpu/console/escape.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mem/log.h"

#define ESCAPE 0x01 /* Ctrl-A */

static const char help[] =
	"\r\nmote: Ctrl-A x  ends the guest\r\n"
	"      Ctrl-A a  (or Ctrl-A twice) sends a Ctrl-A to the guest\r\n"
	"      Ctrl-A h  shows this\r\n";

size_t escape_filter(struct escape *escape, uint8_t *data, size_t len)
{
	size_t kept = 0;

	for (size_t i = 0; i < len; i++) {
		const uint8_t byte = data[i];

		if (!escape->begun) {
			escape->begun = byte == ESCAPE;
			if (!escape->begun)
				data[kept++] = byte;
			continue;
		}
		escape->begun = false;
		if (byte == ESCAPE || byte == 'a') {
			data[kept++] = ESCAPE;
		} else if (byte == 'x') {
			if (escape->on_quit)
				escape->on_quit(escape->arg);
		} else if (byte == 'h' || byte == '?') {
			if (write(STDERR_FILENO, help, sizeof(help) - 1) < 0)
				log_debug("help: %s", strerror(errno));
		}
	}
	return kept;
}
