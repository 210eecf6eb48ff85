/*
 * The registers of a 16550A (National Semiconductor PC16550D data sheet), as
 * Linux's 8250 driver and simpler ones expect them to behave.
 *
 * A byte written to THR leaves at once, and silence on the line passes at once:
 * there is no time in here. What happens to the bytes is serial_line.c's.
 *
 * The guest's accesses are not trusted; nothing they do is an error. They come
 * from any vCPU thread and take the port's lock.
 */
#include "cpu/console/uart.h"

#include "cpu/console/uart_line.h"

/* PC16550D, table II: registers by offset; DLAB swaps the first two. */
enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IIR_MSI	  0x00
#define IIR_NONE  0x01
#define IIR_THRE  0x02
#define IIR_RDI	  0x04
#define IIR_RLS	  0x06
#define IIR_CTI	  0x0c /* received data, fewer than the trigger level */
#define IIR_FIFOS 0xc0

#define FCR_RESET_R 0x02

#define LCR_DLAB 0x80

#define MCR_DTR	 0x01
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_ALL	 0x1f

#define MSR_TERI 0x04 /* RI went off */
#define MSR_CTS	 0x10
#define MSR_DSR	 0x20
#define MSR_RI	 0x40
#define MSR_DCD	 0x80

static void write_thr(struct serial *serial, uint8_t byte,
		      struct serial_wake *wake)
{
	serial_line_send(serial, byte, wake);
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
	const uint8_t pending = serial_line_causes(serial);
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
		serial_line_reset_fifo(serial);
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
		serial_line_reset_fifo(serial);
	if (!(value & MCR_LOOP) && value & MCR_RTS)
		serial->rts_seen = true;
	changed = before ^ modem_lines(serial);
	/* The ring indicator counts when it ends. */
	if (!(before & MSR_RI))
		changed &= ~MSR_RI;
	serial->modem_deltas |= changed >> 4;
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
		return dlab ? serial->dll : serial_line_take(serial);
	case IER:
		return dlab ? serial->dlm : serial->ier;
	case IIR_FCR:
		return read_iir(serial);
	case LCR:
		return serial->lcr;
	case MCR:
		return serial->mcr;
	case LSR:
		return serial_line_status(serial);
	case MSR:
		return read_msr(serial);
	default:
		return serial->scr;
	}
}

static void write_register(struct serial *serial, uint64_t offset,
			   uint8_t value, struct serial_wake *wake)
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
	struct serial_wake wake = serial_line_lock(serial);

	for (unsigned i = 0; i < len; i++) {
		data[i] = read_register(serial, offset + i);
		serial_line_receive(serial, &wake);
	}
	serial_line_unlock(serial, &wake);
}

static void serial_write(void *device, uint64_t offset, const uint8_t *data,
			 unsigned len)
{
	struct serial *serial = device;
	struct serial_wake wake = serial_line_lock(serial);

	for (unsigned i = 0; i < len; i++) {
		write_register(serial, offset + i, data[i], &wake);
		serial_line_receive(serial, &wake);
	}
	serial_line_unlock(serial, &wake);
}

const struct bus_ops serial_bus_ops = { serial_read, serial_write };
