/*
 * A 16550A (National Semiconductor PC16550D data sheet) between the guest's
 * driver and the main thread's console.
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
 * Interrupts are edges: a cause that was not there before writes to irq_fd.
 *
 * The guest's accesses are not trusted; nothing they do is an error.
 */
#include "cpu/serial.h"

#include "mem/bytes.h"
#include "mem/log.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* PC16550D, table II: registers by offset; DLAB swaps the first two. */
enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RDI	 0x01 /* received data */
#define IER_THRI 0x02 /* transmitter holding register empty */
#define IER_RLSI 0x04 /* receiver line status */
#define IER_MSI	 0x08 /* modem status */
#define IER_ALL	 0x0f

#define IIR_MSI	  0x00
#define IIR_NONE  0x01
#define IIR_THRE  0x02
#define IIR_RDI	  0x04
#define IIR_RLS	  0x06
#define IIR_CTI	  0x0c /* received data, fewer than the trigger level */
#define IIR_FIFOS 0xc0

#define FCR_ENABLE  0x01
#define FCR_RESET_R 0x02

#define LCR_DLAB 0x80

#define MCR_DTR	 0x01
#define MCR_RTS	 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_ALL	 0x1f

#define LSR_DR	 0x01
#define LSR_OE	 0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_TERI 0x04 /* RI went off */
#define MSR_CTS	 0x10
#define MSR_DSR	 0x20
#define MSR_RI	 0x40
#define MSR_DCD	 0x80

#define LISTEN_POLLS 16

static unsigned fifo_depth(const struct serial *serial)
{
	return serial->fcr & FCR_ENABLE ? SERIAL_FIFO : 1;
}

static uint32_t output_used(const struct serial *serial)
{
	return serial->output_tail - serial->output_head;
}

/* The interrupts that are pending and enabled, as bits of IER. */
static uint8_t causes(const struct serial *serial)
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

/* What to tell others once the lock is released. */
struct wake {
	uint8_t causes_before;
	bool irq, event;
};

static struct wake lock_serial(struct serial *serial)
{
	pthread_mutex_lock(&serial->lock);
	return (struct wake){ .causes_before = causes(serial) };
}

static void unlock_serial(struct serial *serial, struct wake *wake)
{
	const uint8_t after = causes(serial);
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

/* Moves what waits in the queue into the FIFO where the guest listens. */
static void receive(struct serial *serial, struct wake *wake)
{
	if (!guest_listens(serial))
		return;
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

/* Empties the FIFO; bytes that came from the host go back to the queue. */
static void fifo_reset(struct serial *serial)
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

static uint8_t read_rbr(struct serial *serial)
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

static void transmit(struct serial *serial, uint8_t byte, struct wake *wake)
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

static void write_thr(struct serial *serial, uint8_t byte, struct wake *wake)
{
	serial->polls = 0;
	if (serial->mcr & MCR_LOOP)
		loop_back(serial, byte);
	else
		transmit(serial, byte, wake);
	/*
	 * Each write ends a pending THRE interrupt and, the byte having left at
	 * once, begins the next, which is an edge. A guest that acknowledges by
	 * reading IIR needs only the edge of the first byte that it writes from
	 * there on (the following ones find that interrupt pending still); one
	 * that never reads IIR needs them all.
	 */
	serial->thre_pending = !serial->output_blocked;
	if (serial->thre_pending && !serial->thre_acknowledged)
		wake->irq |= serial->ier & IER_THRI;
}

static void unblock(struct serial *serial)
{
	if (!serial->output_blocked || output_used(serial) >= SERIAL_OUTPUT_LOW)
		return;
	serial->output_blocked = false;
	serial->thre_pending = true;
}

/* The other registers */

static void write_ier(struct serial *serial, uint8_t value)
{
	const uint8_t risen = value & ~serial->ier & IER_THRI;

	serial->ier = value & IER_ALL;
	/* Enabling it while THR is empty raises it (Linux tests for this). */
	if (risen) {
		serial->thre_pending = !serial->output_blocked;
		serial->thre_acknowledged = false;
	}
}

static uint8_t read_iir(struct serial *serial)
{
	static const uint8_t trigger[] = { 1, 4, 8, 14 };
	const uint8_t pending = causes(serial);
	const bool fifos = serial->fcr & FCR_ENABLE;
	uint8_t iir = fifos ? IIR_FIFOS : 0;

	/* By falling priority, PC16550D, table IV. */
	if (pending & IER_RLSI)
		return iir | IIR_RLS;
	if (pending & IER_RDI) {
		/* Silence on the line passes at once: no timeout to wait. */
		if (fifos && serial->fifo_count < trigger[serial->fcr >> 6])
			return iir | IIR_CTI;
		return iir | IIR_RDI;
	}
	if (pending & IER_THRI) {
		serial->thre_pending = false;
		serial->thre_acknowledged = true;
		return iir | IIR_THRE;
	}
	if (pending & IER_MSI)
		return iir | IIR_MSI;
	return iir | IIR_NONE;
}

static void write_fcr(struct serial *serial, uint8_t value)
{
	const bool toggled = (value ^ serial->fcr) & FCR_ENABLE;
	const bool enabled = value & FCR_ENABLE;

	serial->fcr = enabled ? value & 0xc1 : 0;
	if (toggled || (enabled && value & FCR_RESET_R))
		fifo_reset(serial);
}

static uint8_t modem_lines(const struct serial *serial)
{
	const uint8_t mcr = serial->mcr;

	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
	       (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void write_mcr(struct serial *serial, uint8_t value)
{
	const uint8_t before = modem_lines(serial);
	const bool looped = serial->mcr & MCR_LOOP;
	uint8_t changed;

	serial->mcr = value & MCR_ALL;
	if (!looped && value & MCR_LOOP)
		fifo_reset(serial);
	if (!(value & MCR_LOOP) && value & MCR_RTS)
		serial->rts_seen = true;
	changed = before ^ modem_lines(serial);
	/* The ring indicator counts when it ends. */
	if (!(before & MSR_RI))
		changed &= ~MSR_RI;
	serial->modem_deltas |= changed >> 4;
}

static uint8_t read_lsr(struct serial *serial)
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

static uint8_t read_msr(struct serial *serial)
{
	const uint8_t msr = modem_lines(serial) | serial->modem_deltas;

	serial->modem_deltas = 0;
	return msr;
}

static uint8_t read_register(struct serial *serial, uint64_t offset)
{
	const bool dlab = serial->lcr & LCR_DLAB;

	switch (offset) {
	case RBR_THR:
		return dlab ? serial->dll : read_rbr(serial);
	case IER:
		return dlab ? serial->dlm : serial->ier;
	case IIR_FCR:
		return read_iir(serial);
	case LCR:
		return serial->lcr;
	case MCR:
		return serial->mcr;
	case LSR:
		return read_lsr(serial);
	case MSR:
		return read_msr(serial);
	default:
		return serial->scr;
	}
}

static void write_register(struct serial *serial, uint64_t offset,
			   uint8_t value, struct wake *wake)
{
	const bool dlab = serial->lcr & LCR_DLAB;

	switch (offset) {
	case RBR_THR:
		if (dlab)
			serial->dll = value;
		else
			write_thr(serial, value, wake);
		break;
	case IER:
		if (dlab)
			serial->dlm = value;
		else
			write_ier(serial, value);
		break;
	case IIR_FCR:
		write_fcr(serial, value);
		break;
	case LCR:
		serial->lcr = value;
		break;
	case MCR:
		write_mcr(serial, value);
		break;
	case SCR:
		serial->scr = value;
		break;
	default: /* LSR and MSR are for reading */
		break;
	}
}

/* A wide access is one to each of its registers, from the lowest up. */
static void serial_read(void *device, uint64_t offset, uint8_t *data,
			unsigned len)
{
	struct serial *serial = device;
	struct wake wake = lock_serial(serial);

	for (unsigned i = 0; i < len; i++) {
		data[i] = read_register(serial, offset + i);
		receive(serial, &wake);
	}
	unlock_serial(serial, &wake);
}

static void serial_write(void *device, uint64_t offset, const uint8_t *data,
			 unsigned len)
{
	struct serial *serial = device;
	struct wake wake = lock_serial(serial);

	for (unsigned i = 0; i < len; i++) {
		write_register(serial, offset + i, data[i], &wake);
		receive(serial, &wake);
	}
	unlock_serial(serial, &wake);
}

const struct bus_ops serial_bus_ops = { serial_read, serial_write };

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
	struct wake wake = lock_serial(serial);
	const size_t room = input_room(serial);
	const size_t taken = len < room ? len : room;
	unsigned at = serial->input_head + serial->input_count;

	for (size_t i = 0; i < taken; i++)
		serial->input[at++ % ARRAY_LEN(serial->input)] = data[i];
	serial->input_count += (unsigned)taken;
	serial->input_wanted = taken < len;
	receive(serial, &wake);
	/*
	 * More data are an edge of their own: Linux's handler gives up after
	 * 512 rounds, with data left and no new cause to come.
	 */
	wake.irq = taken && causes(serial) & IER_RDI;
	unlock_serial(serial, &wake);
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
	struct wake wake = lock_serial(serial);

	consume(serial, (uint32_t)len);
	unlock_serial(serial, &wake);
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
	struct wake wake = lock_serial(serial);
	const uint32_t used = output_used(serial);

	serial->output_discard = discard;
	if (discard) {
		serial->counters.dropped += used;
		consume(serial, used);
	}
	unlock_serial(serial, &wake);
}

struct serial_counters serial_counters(struct serial *serial)
{
	struct serial_counters counters;

	pthread_mutex_lock(&serial->lock);
	counters = serial->counters;
	pthread_mutex_unlock(&serial->lock);
	return counters;
}
