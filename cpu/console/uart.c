/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A serial port (National Semiconductor PC16550D data sheet), as Linux's
 * 8250 driver and simpler ones expect it to behave.
 *
 * A byte written to THR leaves at once, and silence on the line passes at once:
 * there is no time in here.
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
 * While a reader is awaited, the ring keeps what came last, and holds up
 * nobody.
 *
 * Input. The line's far end decides when a byte arrives, so the host's bytes
 * wait in a queue until the guest listens, and only then enter the FIFO: while
 * the receive interrupt is enabled, or after LISTEN_POLLS reads of LSR in a row
 * found nothing to do; never while RTS is off that was on before, nor in
 * loopback. A driver's probes, which read RBR blindly and reset FIFOs, hence
 * take nothing; and what a FIFO reset finds unread arrives again afterwards.
 * Input typed before a shell is up, or pasted in any amount, comes whole.
 *
 * A guest's accesses are not trusted, and nothing that they do is an error.
 * They come from any vCPU thread, the host's calls from the main thread; all
 * take the port's lock. It owns event_fd; irq_fd is its creator's.
 */
#include "cpu/console/uart.h"

#include <errno.h>
#include <linux/serial_reg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"

#define LISTEN_POLLS 16

/* linux/serial_reg.h has the rest of the data sheet's names. */
#define IER_ALL	  0x0f
#define IIR_FIFOS 0xc0
#define FCR_KEPT  0xc1 /* the other bits do something once */
#define MCR_ALL	  0x1f

/*
 * What happens while the lock is held. Unlocking tells whom it concerns: an
 * edge for each cause of an interrupt that was not there before.
 */
struct uart_wake {
	uint8_t causes_before;
	bool irq;   /* an edge even so, if anything is pending */
	bool event; /* for the main thread */
};

static unsigned fifo_depth(const struct uart *uart)
{
	return uart->fcr & UART_FCR_ENABLE_FIFO ? UART_FIFO : 1;
}

static uint32_t output_used(const struct uart *uart)
{
	return uart->output_tail - uart->output_head;
}

/* The interrupts that are pending and enabled, as bits of IER. */
static uint8_t uart_causes(const struct uart *uart)
{
	uint8_t pending = 0;

	if (uart->fifo_count || uart->loopback_count)
		pending |= UART_IER_RDI;
	if (uart->thre_pending)
		pending |= UART_IER_THRI;
	if (uart->line_errors)
		pending |= UART_IER_RLSI;
	if (uart->modem_deltas)
		pending |= UART_IER_MSI;
	return pending & uart->ier;
}

static struct uart_wake lock_uart(struct uart *uart)
{
	pthread_mutex_lock(&uart->lock);
	return (struct uart_wake){ .causes_before = uart_causes(uart) };
}

static void unlock_uart(struct uart *uart, struct uart_wake *wake)
{
	const uint8_t after = uart_causes(uart);
	const bool irq = (after & ~wake->causes_before) || (wake->irq && after);

	pthread_mutex_unlock(&uart->lock);
	if (irq && uart->irq_fd >= 0)
		eventfd_raise(uart->irq_fd);
	if (wake->event)
		eventfd_raise(uart->event_fd);
}

/* -- receiver ------------------------------------------------------------- */

static bool guest_listens(const struct uart *uart)
{
	if (uart->mcr & UART_MCR_LOOP || uart->loopback_count)
		return false;
	if (uart->rts_seen && !(uart->mcr & UART_MCR_RTS))
		return false;
	return uart->ier & UART_IER_RDI || uart->polls >= LISTEN_POLLS;
}

/* What the host has sent and is not in the FIFO. */
static unsigned input_waiting(const struct uart *uart)
{
	return uart->input_count - uart->fifo_count;
}

/* After each access: what waits enters the FIFO, if the guest listens. */
static void fill_fifo(struct uart *uart, struct uart_wake *wake)
{
	const unsigned depth = fifo_depth(uart);

	if (!guest_listens(uart))
		return;
	/* The line was silent for a moment: handlers may rely on the edge. */
	if (!uart->fifo_count && uart->input_count)
		wake->irq = true;
	uart->fifo_count =
		uart->input_count < depth ? uart->input_count : depth;
	if (uart->input_wanted && input_waiting(uart) <= UART_INPUT_QUEUE / 2) {
		uart->input_wanted = false;
		wake->event = true;
	}
}

/* What came from the host is still in the queue, and will come again. */
static void reset_fifo(struct uart *uart)
{
	uart->fifo_count = uart->loopback_count = 0;
	uart->line_errors = 0;
	uart->polls = 0;
}

static uint8_t read_rbr(struct uart *uart)
{
	uint8_t byte;

	if (uart->loopback_count) {
		uart->loopback_count--;
		return uart->loopback[uart->loopback_head++ % UART_FIFO];
	}
	if (!uart->fifo_count)
		return 0;
	byte = uart->input[uart->input_head];
	uart->input_head = (uart->input_head + 1) % ARRAY_LEN(uart->input);
	uart->input_count--;
	uart->fifo_count--;
	count_up(&uart->counter[SERIAL_IN_BYTES], 1);
	return byte;
}

/* -- transmitter ---------------------------------------------------------- */

static void loop_back_byte(struct uart *uart, uint8_t byte)
{
	const unsigned at = uart->loopback_head + uart->loopback_count;

	if (uart->loopback_count == fifo_depth(uart)) {
		uart->line_errors |= UART_LSR_OE;
		return;
	}
	uart->loopback[at % UART_FIFO] = byte;
	uart->loopback_count++;
}

static void transmit_byte(struct uart *uart, uint8_t byte,
			  struct uart_wake *wake)
{
	const uint32_t used = output_used(uart);

	count_up(&uart->counter[SERIAL_OUT_BYTES], 1);
	if (uart->reader == UART_READER_GONE || used == UART_OUTPUT_RING) {
		count_up(&uart->counter[SERIAL_DROPPED_BYTES], 1);
		if (uart->reader != UART_READER_AWAITED)
			return;
		uart->output_head++;
	}
	uart->output[uart->output_tail++ % UART_OUTPUT_RING] = byte;
	if (uart->reader != UART_READER_THERE)
		return;
	wake->event |= !used;
	if (used + 1 > UART_OUTPUT_HIGH)
		uart->output_blocked = true;
}

static void unblock_output(struct uart *uart)
{
	if (!uart->output_blocked || (uart->reader == UART_READER_THERE &&
				      output_used(uart) >= UART_OUTPUT_LOW))
		return;
	uart->output_blocked = false;
	uart->thre_pending = true;
}

static uint8_t read_lsr(struct uart *uart)
{
	uint8_t lsr = uart->line_errors;

	uart->line_errors = 0;
	if (uart->fifo_count || uart->loopback_count)
		lsr |= UART_LSR_DR;
	else if (uart->polls < LISTEN_POLLS)
		uart->polls++;
	if (!uart->output_blocked || !(uart->ier & UART_IER_THRI))
		lsr |= UART_LSR_THRE | UART_LSR_TEMT;
	return lsr;
}

/* -- registers ------------------------------------------------------------ */

static void write_thr(struct uart *uart, uint8_t byte, struct uart_wake *wake)
{
	uart->polls = 0;
	if (uart->mcr & UART_MCR_LOOP)
		loop_back_byte(uart, byte);
	else
		transmit_byte(uart, byte, wake);
	/*
	 * Each write ends a pending THRE interrupt and, the byte having left at
	 * once, begins the next, which is an edge. A guest that acknowledges by
	 * reading IIR needs only the edge of the first byte that it writes from
	 * there on (the following ones find that interrupt pending still); one
	 * that never reads IIR needs them all.
	 */
	uart->thre_pending = !uart->output_blocked;
	if (uart->thre_pending && !uart->thre_acknowledged)
		wake->irq |= uart->ier & UART_IER_THRI;
}

static void write_ier(struct uart *uart, uint8_t value)
{
	const uint8_t risen = value & ~uart->ier & UART_IER_THRI;

	uart->ier = value & IER_ALL;
	/* Enabling it while THR is empty raises it (Linux tests for this). */
	if (risen) {
		uart->thre_pending = !uart->output_blocked;
		uart->thre_acknowledged = false;
	}
}

static uint8_t read_iir(struct uart *uart)
{
	static const uint8_t trigger[] = { 1, 4, 8, 14 };
	const uint8_t pending = uart_causes(uart);
	const bool fifos = uart->fcr & UART_FCR_ENABLE_FIFO;
	uint8_t iir = fifos ? IIR_FIFOS : 0;

	/* By falling priority, PC16550D, table IV. */
	if (pending & UART_IER_RLSI)
		return iir | UART_IIR_RLSI;
	if (pending & UART_IER_RDI) {
		/* Silence on the line passes at once: no timeout to wait. */
		if (fifos && uart->fifo_count + uart->loopback_count <
				     trigger[uart->fcr >> 6])
			return iir | UART_IIR_RX_TIMEOUT;
		return iir | UART_IIR_RDI;
	}
	if (pending & UART_IER_THRI) {
		uart->thre_pending = false;
		uart->thre_acknowledged = true;
		return iir | UART_IIR_THRI;
	}
	if (pending & UART_IER_MSI)
		return iir | UART_IIR_MSI;
	return iir | UART_IIR_NO_INT;
}

static void write_fcr(struct uart *uart, uint8_t value)
{
	const bool toggled = (value ^ uart->fcr) & UART_FCR_ENABLE_FIFO;
	const bool enabled = value & UART_FCR_ENABLE_FIFO;

	uart->fcr = enabled ? value & FCR_KEPT : 0;
	if (toggled || (enabled && value & UART_FCR_CLEAR_RCVR))
		reset_fifo(uart);
}

static uint8_t modem_lines(const struct uart *uart)
{
	const uint8_t mcr = uart->mcr;

	if (!(mcr & UART_MCR_LOOP))
		return UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;
	return (mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
	       (mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
	       (mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
	       (mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0);
}

static void write_mcr(struct uart *uart, uint8_t value)
{
	const uint8_t before = modem_lines(uart);
	const bool looped = uart->mcr & UART_MCR_LOOP;
	uint8_t changed;

	uart->mcr = value & MCR_ALL;
	if (!looped && value & UART_MCR_LOOP)
		reset_fifo(uart);
	if (!(value & UART_MCR_LOOP) && value & UART_MCR_RTS)
		uart->rts_seen = true;
	changed = before ^ modem_lines(uart);
	/* The ring indicator counts when it ends. */
	if (!(before & UART_MSR_RI))
		changed &= ~UART_MSR_RI;
	uart->modem_deltas |= changed >> 4;
}

static uint8_t read_msr(struct uart *uart)
{
	const uint8_t msr = modem_lines(uart) | uart->modem_deltas;

	uart->modem_deltas = 0;
	return msr;
}

static uint8_t read_uart_register(struct uart *uart, uint64_t offset)
{
	const bool dlab = uart->lcr & UART_LCR_DLAB;

	switch (offset) {
	case UART_RX:
		return dlab ? uart->dll : read_rbr(uart);
	case UART_IER:
		return dlab ? uart->dlm : uart->ier;
	case UART_IIR:
		return read_iir(uart);
	case UART_LCR:
		return uart->lcr;
	case UART_MCR:
		return uart->mcr;
	case UART_LSR:
		return read_lsr(uart);
	case UART_MSR:
		return read_msr(uart);
	default:
		return uart->scr;
	}
}

static void write_uart_register(struct uart *uart, uint64_t offset,
				uint8_t value, struct uart_wake *wake)
{
	const bool dlab = uart->lcr & UART_LCR_DLAB;

	switch (offset) {
	case UART_RX:
		if (dlab)
			uart->dll = value;
		else
			write_thr(uart, value, wake);
		break;
	case UART_IER:
		if (dlab)
			uart->dlm = value;
		else
			write_ier(uart, value);
		break;
	case UART_IIR:
		write_fcr(uart, value);
		break;
	case UART_LCR:
		uart->lcr = value;
		break;
	case UART_MCR:
		write_mcr(uart, value);
		break;
	case UART_SCR:
		uart->scr = value;
		break;
	default: /* LSR and MSR cannot be written */
		break;
	}
}

/* A wide access is one to each of its registers, from the lowest up. */
static void uart_read(void *device, uint64_t offset, uint8_t *data,
		      unsigned len)
{
	struct uart *uart = device;
	struct uart_wake wake = lock_uart(uart);

	for (unsigned i = 0; i < len; i++) {
		data[i] = read_uart_register(uart, offset + i);
		fill_fifo(uart, &wake);
	}
	unlock_uart(uart, &wake);
}

static void uart_write(void *device, uint64_t offset, const uint8_t *data,
		       unsigned len)
{
	struct uart *uart = device;
	struct uart_wake wake = lock_uart(uart);

	for (unsigned i = 0; i < len; i++) {
		write_uart_register(uart, offset + i, data[i], &wake);
		fill_fifo(uart, &wake);
	}
	unlock_uart(uart, &wake);
}

const struct bus_ops uart_bus_ops = { uart_read, uart_write };

/* -- the host's end ------------------------------------------------------- */

int uart_create(struct uart *uart, int irq_fd)
{
	memset(uart, 0, offsetof(struct uart, output));
	uart->irq_fd = irq_fd;
	uart->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (uart->event_fd < 0)
		return log_errno("serial: eventfd");
	pthread_mutex_init(&uart->lock, NULL);
	return 0;
}

void uart_destroy(struct uart *uart)
{
	if (uart->event_fd < 0)
		return;
	close(uart->event_fd);
	uart->event_fd = -1;
	pthread_mutex_destroy(&uart->lock);
}

size_t uart_input(struct uart *uart, const uint8_t *data, size_t len)
{
	struct uart_wake wake = lock_uart(uart);
	const unsigned waiting = input_waiting(uart);
	/* After a reset of the FIFO more than the queue's size may wait. */
	const size_t room =
		waiting < UART_INPUT_QUEUE ? UART_INPUT_QUEUE - waiting : 0;
	const size_t taken = len < room ? len : room;
	unsigned at = uart->input_head + uart->input_count;

	for (size_t i = 0; i < taken; i++)
		uart->input[at++ % ARRAY_LEN(uart->input)] = data[i];
	uart->input_count += (unsigned)taken;
	uart->input_wanted = taken < len;
	fill_fifo(uart, &wake);
	/*
	 * More data are an edge of their own: Linux's handler gives up after
	 * 512 rounds, with data left and no new cause to come.
	 */
	wake.irq = taken && uart_causes(uart) & UART_IER_RDI;
	unlock_uart(uart, &wake);
	return taken;
}

/* What is kept for a reader to come may be overwritten at any time. */
static uint32_t output_waiting(const struct uart *uart)
{
	return uart->reader == UART_READER_THERE ? output_used(uart) : 0;
}

size_t uart_output_peek(struct uart *uart, const uint8_t **data)
{
	uint32_t at, used;

	pthread_mutex_lock(&uart->lock);
	at = uart->output_head % UART_OUTPUT_RING;
	used = output_waiting(uart);
	pthread_mutex_unlock(&uart->lock);
	*data = &uart->output[at];
	return used < UART_OUTPUT_RING - at ? used : UART_OUTPUT_RING - at;
}

static void consume_output(struct uart *uart, uint32_t len)
{
	uart->output_head += len;
	/* Start over at the front: fewer pages are ever touched. */
	if (!output_used(uart))
		uart->output_head = uart->output_tail = 0;
	unblock_output(uart);
}

void uart_output_consume(struct uart *uart, size_t len)
{
	struct uart_wake wake = lock_uart(uart);

	consume_output(uart, (uint32_t)len);
	unlock_uart(uart, &wake);
}

size_t uart_output_waiting(struct uart *uart)
{
	size_t used;

	pthread_mutex_lock(&uart->lock);
	used = output_waiting(uart);
	pthread_mutex_unlock(&uart->lock);
	return used;
}

void uart_set_reader(struct uart *uart, enum uart_reader reader)
{
	struct uart_wake wake = lock_uart(uart);
	const uint32_t used = output_used(uart);

	uart->reader = reader;
	if (reader == UART_READER_GONE) {
		count_up(&uart->counter[SERIAL_DROPPED_BYTES], used);
		consume_output(uart, used);
	}
	/* He may take what was kept for him at less than the guest's pace. */
	if (reader == UART_READER_THERE && used > UART_OUTPUT_HIGH)
		uart->output_blocked = true;
	unblock_output(uart);
	unlock_uart(uart, &wake);
}

uint64_t uart_counter(const struct uart *uart, enum serial_counter counter)
{
	return counted_up(&uart->counter[counter]);
}

/* -- snapshots ------------------------------------------------------------ */

/* A ring's bytes from its head on, which is 0 after they were loaded. */
static void ring_state(uint8_t *ring, unsigned size, unsigned *head,
		       unsigned *count, struct state *s)
{
	state_unsigned(s, count);
	if (!state_check(s, *count <= size, "it holds more than it can"))
		*count = 0;
	if (s->loading)
		*head = 0;
	for (unsigned i = 0; i < *count; i++)
		state_u8(s, &ring[(*head + i) % size]);
}

/* Output that held up the guest is not loaded with it: THR is empty. */
static void unblocked_state(struct uart *uart, struct state *s)
{
	bool pending = uart->thre_pending || uart->output_blocked;

	state_bool(s, &pending);
	if (s->loading)
		uart->thre_pending = pending;
}

void uart_state(struct uart *uart, struct state *s)
{
	uint8_t *const registers[] = { &uart->ier,	   &uart->fcr,
				       &uart->lcr,	   &uart->mcr,
				       &uart->scr,	   &uart->dll,
				       &uart->dlm,	   &uart->line_errors,
				       &uart->modem_deltas };

	for (size_t i = 0; i < ARRAY_LEN(registers); i++)
		state_u8(s, registers[i]);
	unblocked_state(uart, s);
	state_bool(s, &uart->thre_acknowledged);
	state_bool(s, &uart->rts_seen);
	state_unsigned(s, &uart->polls);
	state_unsigned(s, &uart->fifo_count);
	ring_state(uart->input, ARRAY_LEN(uart->input), &uart->input_head,
		   &uart->input_count, s);
	ring_state(uart->loopback, UART_FIFO, &uart->loopback_head,
		   &uart->loopback_count, s);
	state_check(s,
		    !(uart->ier & ~IER_ALL) && !(uart->fcr & ~FCR_KEPT) &&
			    !(uart->mcr & ~MCR_ALL) &&
			    !(uart->line_errors & ~UART_LSR_OE) &&
			    !(uart->modem_deltas & ~UART_MSR_ANY_DELTA) &&
			    uart->polls <= LISTEN_POLLS,
		    "its registers are impossible");
	state_check(s,
		    uart->fifo_count <= uart->input_count &&
			    uart->fifo_count <= fifo_depth(uart) &&
			    uart->loopback_count <= fifo_depth(uart) &&
			    !(uart->fifo_count && uart->loopback_count),
		    "its FIFO holds more than it can");
}

void uart_restored(struct uart *uart)
{
	struct uart_wake wake = lock_uart(uart);

	fill_fifo(uart, &wake);
	wake.irq = true;
	unlock_uart(uart, &wake);
}
