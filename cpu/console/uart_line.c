/*
 * The queues behind the serial port's registers, and the host's end of them.
 *
 * Output. What the guest transmits goes into a ring that the main thread
 * empties; no write by the guest ever waits. When the host takes the bytes
 * more slowly than they come, there are two kinds of guest code:
 *   - An interrupt-driven transmitter has IER.THRI set: user programs behind a
 *     tty. It stops while LSR.THRE is clear, so THRE goes away when the ring is
 *     above HIGH, and comes back, with its interrupt, below LOW. Nothing is
 *     lost, and only the programs that print wait.
 *   - A polled transmitter has it clear: Linux's kernel console (which clears
 *     IER for as long as it prints, drivers/tty/serial/8250/8250_port.c), early
 *     printk, small guests. It would spin with locks held, so it always sees
 *     THRE, and what the ring cannot hold is dropped and counted. The quarter
 *     above HIGH is kept for it.
 * The main thread is woken when the ring stops being empty, not for each byte.
 *
 * Input. The line's far end decides when a byte arrives, so the host's bytes
 * wait in a queue until the guest listens, and only then enter the FIFO: while
 * the receive interrupt is enabled, or after LISTEN_POLLS reads of LSR in a row
 * found nothing to do; never while RTS is off that was on before, nor in
 * loopback. A driver's probes, which read RBR blindly and reset FIFOs, hence
 * take nothing; and what a FIFO reset finds unread arrives again afterwards.
 * Input typed before a shell is up, or pasted in any amount, comes whole.
 *
 * Any thread, under the port's lock; the functions of serial.h take it.
 */
#include "cpu/console/uart_line.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"

#define LISTEN_POLLS 16

static unsigned fifo_depth(const struct serial *serial)
{
	return serial->fcr & FCR_ENABLE ? SERIAL_FIFO : 1;
}

static uint32_t output_used(const struct serial *serial)
{
	return serial->output_tail - serial->output_head;
}

uint8_t serial_line_causes(const struct serial *serial)
{
	uint8_t pending = 0;

	if (serial->fifo_count)
		pending |= IER_RDI;
	if (serial->thre_pending)
		pending |= IER_THRI;
	if (serial->line_errors)
		pending |= IER_RLSI;
	if (serial->modem_deltas)
		pending |= IER_MSI;
	return pending & serial->ier;
}

static void signal_fd(int fd)
{
	static const uint64_t one = 1;
	ssize_t written;

	/* EAGAIN: the counter is full, hence not zero; it is signalled. */
	if (fd >= 0) {
		written = write(fd, &one, sizeof(one));
		(void)written;
	}
}

struct serial_wake serial_line_lock(struct serial *serial)
{
	pthread_mutex_lock(&serial->lock);
	return (struct serial_wake){ .causes_before =
					     serial_line_causes(serial) };
}

void serial_line_unlock(struct serial *serial, struct serial_wake *wake)
{
	const uint8_t after = serial_line_causes(serial);
	const bool irq = (after & ~wake->causes_before) || (wake->irq && after);

	pthread_mutex_unlock(&serial->lock);
	if (irq)
		signal_fd(serial->irq_fd);
	if (wake->event)
		signal_fd(serial->event_fd);
}

/* Receiver */

static void fifo_put(struct serial *serial, uint8_t byte)
{
	const unsigned at = serial->fifo_head + serial->fifo_count++;

	serial->fifo[at % SERIAL_FIFO] = byte;
}

static uint8_t fifo_take(struct serial *serial)
{
	const uint8_t byte = serial->fifo[serial->fifo_head];

	serial->fifo_head = (serial->fifo_head + 1) % SERIAL_FIFO;
	serial->fifo_count--;
	return byte;
}

static bool guest_listens(const struct serial *serial)
{
	if (serial->mcr & MCR_LOOP || serial->fifo_loopback)
		return false;
	if (serial->rts_seen && !(serial->mcr & MCR_RTS))
		return false;
	return serial->ier & IER_RDI || serial->polls >= LISTEN_POLLS;
}

void serial_line_receive(struct serial *serial, struct serial_wake *wake)
{
	if (!guest_listens(serial))
		return;
	/* The line was silent for a moment: handlers may rely on the edge. */
	if (!serial->fifo_count && serial->input_count)
		wake->irq = true;
	while (serial->input_count && serial->fifo_count < fifo_depth(serial)) {
		fifo_put(serial, serial->input[serial->input_head]);
		serial->input_head =
			(serial->input_head + 1) % ARRAY_LEN(serial->input);
		serial->input_count--;
	}
	if (serial->input_wanted &&
	    serial->input_count <= SERIAL_INPUT_QUEUE / 2) {
		serial->input_wanted = false;
		wake->event = true;
	}
}

void serial_line_reset_fifo(struct serial *serial)
{
	const unsigned size = ARRAY_LEN(serial->input);

	if (!serial->fifo_loopback) {
		serial->input_head =
			(serial->input_head + size - serial->fifo_count) % size;
		serial->input_count += serial->fifo_count;
		for (unsigned i = 0; serial->fifo_count; i++) {
			serial->input[(serial->input_head + i) % size] =
				fifo_take(serial);
		}
	}
	serial->fifo_count = 0;
	serial->fifo_loopback = false;
	serial->line_errors = 0;
	serial->polls = 0;
}

uint8_t serial_line_take(struct serial *serial)
{
	uint8_t byte;

	if (!serial->fifo_count)
		return 0;
	byte = fifo_take(serial);
	if (!serial->fifo_loopback)
		serial->counters.in++;
	else if (!serial->fifo_count)
		serial->fifo_loopback = false;
	return byte;
}

/* Transmitter */

static void loop_back(struct serial *serial, uint8_t byte)
{
	if (serial->fifo_count == fifo_depth(serial)) {
		serial->line_errors |= LSR_OE;
		return;
	}
	serial->fifo_loopback = true;
	fifo_put(serial, byte);
}

static void transmit(struct serial *serial, uint8_t byte,
		     struct serial_wake *wake)
{
	const uint32_t used = output_used(serial);

	serial->counters.out++;
	if (serial->output_discard || used == SERIAL_OUTPUT_RING) {
		serial->counters.dropped++;
		return;
	}
	serial->output[serial->output_tail++ % SERIAL_OUTPUT_RING] = byte;
	wake->event = !used;
	if (used + 1 > SERIAL_OUTPUT_HIGH)
		serial->output_blocked = true;
}

void serial_line_send(struct serial *serial, uint8_t byte,
		      struct serial_wake *wake)
{
	serial->polls = 0;
	if (serial->mcr & MCR_LOOP)
		loop_back(serial, byte);
	else
		transmit(serial, byte, wake);
}

static void unblock(struct serial *serial)
{
	if (!serial->output_blocked || output_used(serial) >= SERIAL_OUTPUT_LOW)
		return;
	serial->output_blocked = false;
	serial->thre_pending = true;
}

uint8_t serial_line_status(struct serial *serial)
{
	uint8_t lsr = serial->line_errors;

	serial->line_errors = 0;
	if (serial->fifo_count)
		lsr |= LSR_DR;
	else if (serial->polls < LISTEN_POLLS)
		serial->polls++;
	if (!serial->output_blocked || !(serial->ier & IER_THRI))
		lsr |= LSR_THRE | LSR_TEMT;
	return lsr;
}

/* The host's end */

int serial_create(struct serial *serial, int irq_fd)
{
	int error;

	memset(serial, 0, offsetof(struct serial, output));
	serial->output_head = serial->output_tail = 0;
	serial->counters = (struct serial_counters){ 0 };
	serial->irq_fd = irq_fd;
	serial->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (serial->event_fd < 0) {
		error = errno;
		log_error("serial: eventfd: %s; raise the limit on open files "
			  "(ulimit -n)",
			  strerror(error));
		return -error;
	}
	pthread_mutex_init(&serial->lock, NULL);
	return 0;
}

void serial_destroy(struct serial *serial)
{
	if (serial->event_fd < 0)
		return;
	close(serial->event_fd);
	serial->event_fd = -1;
	pthread_mutex_destroy(&serial->lock);
}

static size_t input_room(const struct serial *serial)
{
	return serial->input_count < SERIAL_INPUT_QUEUE
		       ? SERIAL_INPUT_QUEUE - serial->input_count
		       : 0;
}

size_t serial_input(struct serial *serial, const uint8_t *data, size_t len)
{
	struct serial_wake wake = serial_line_lock(serial);
	const size_t room = input_room(serial);
	const size_t taken = len < room ? len : room;
	unsigned at = serial->input_head + serial->input_count;

	for (size_t i = 0; i < taken; i++)
		serial->input[at++ % ARRAY_LEN(serial->input)] = data[i];
	serial->input_count += (unsigned)taken;
	serial->input_wanted = taken < len;
	serial_line_receive(serial, &wake);
	/*
	 * More data are an edge of their own: Linux's handler gives up after
	 * 512 rounds, with data left and no new cause to come.
	 */
	wake.irq = taken && serial_line_causes(serial) & IER_RDI;
	serial_line_unlock(serial, &wake);
	return taken;
}

size_t serial_input_room(struct serial *serial)
{
	size_t room;

	pthread_mutex_lock(&serial->lock);
	room = input_room(serial);
	pthread_mutex_unlock(&serial->lock);
	return room;
}

size_t serial_output_peek(struct serial *serial, const uint8_t **data)
{
	uint32_t at, used;

	pthread_mutex_lock(&serial->lock);
	at = serial->output_head % SERIAL_OUTPUT_RING;
	used = output_used(serial);
	pthread_mutex_unlock(&serial->lock);
	*data = &serial->output[at];
	return used < SERIAL_OUTPUT_RING - at ? used : SERIAL_OUTPUT_RING - at;
}

static void consume(struct serial *serial, uint32_t len)
{
	serial->output_head += len;
	/* Start over at the front: fewer pages are ever touched. */
	if (!output_used(serial))
		serial->output_head = serial->output_tail = 0;
	unblock(serial);
}

void serial_output_consume(struct serial *serial, size_t len)
{
	struct serial_wake wake = serial_line_lock(serial);

	consume(serial, (uint32_t)len);
	serial_line_unlock(serial, &wake);
}

size_t serial_output_waiting(struct serial *serial)
{
	size_t used;

	pthread_mutex_lock(&serial->lock);
	used = output_used(serial);
	pthread_mutex_unlock(&serial->lock);
	return used;
}

void serial_output_discard(struct serial *serial, bool discard)
{
	struct serial_wake wake = serial_line_lock(serial);
	const uint32_t used = output_used(serial);

	serial->output_discard = discard;
	if (discard) {
		serial->counters.dropped += used;
		consume(serial, used);
	}
	serial_line_unlock(serial, &wake);
}

struct serial_counters serial_counters(struct serial *serial)
{
	struct serial_counters counters;

	pthread_mutex_lock(&serial->lock);
	counters = serial->counters;
	pthread_mutex_unlock(&serial->lock);
	return counters;
}
