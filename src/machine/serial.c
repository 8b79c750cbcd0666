/* SPDX-License-Identifier: BSD-3-Clause */
/* Serial port: registers of a 16550A, as far as Linux uses them. */
#include "machine/serial.h"

#include "machine/layout.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

/* Register offsets; DLAB (LCR bit 7) changes the first two. */
enum {
	REG_DATA = 0,
	REG_IER = 1,
	REG_IIR_FCR = 2,
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCRATCH = 7,
	N_REGS = 8,
};

#define IER_RX       0x01
#define IER_TX       0x02
#define IER_MASK     0x0f
#define IIR_NONE     0x01
#define IIR_TX       0x02
#define IIR_RX       0x04
#define IIR_FIFO     0xc0
#define FCR_ENABLE   0x01
#define FCR_RESET_RX 0x02
#define LCR_DLAB     0x80
#define MCR_DTR      0x01
#define MCR_RTS      0x02
#define MCR_OUT1     0x04
#define MCR_OUT2     0x08
#define MCR_LOOP     0x10
#define LSR_DATA     0x01
#define LSR_IDLE     0x60 /* transmitter and its shift register are empty */
#define MSR_CTS      0x10
#define MSR_DSR      0x20
#define MSR_RI       0x40
#define MSR_DCD      0x80

#define FIFO_LEN  16u /* what a guest writes at once when told that there is room */
#define QUEUE_LEN 65536u
#define RX_LEN    4096u /* less than Linux buffers for a reader that does not come */

/*
 * A guest takes an exit for each byte either way. Who is at the other end is not woken for each as
 * well: what is sent is gathered for a moment, and there is room again when half of the queue is.
 */
#define GATHER_LEN 1024u
#define GATHER_NS  1000000
#define RX_HALF    (RX_LEN / 2)

/* A ring of bytes. */
typedef struct Queue {
	uint8_t *bytes;
	size_t capacity, begin, len;
} Queue;

struct Serial {
	KvmVm *vm;
	MachineBus *bus;
	MachineBusRange *range;
	unsigned gsi;

	pthread_mutex_t lock;
	pthread_cond_t changed; /* of the queues and of is_closed */
	uint8_t ier, fcr, lcr, mcr, scratch, divisor[2];
	bool tx_is_due; /* the interrupt for an empty transmitter, not yet seen */
	bool is_high;   /* the interrupt line */
	bool is_closed, discards;
	Queue tx; /* from the guest */
	Queue rx; /* to the guest */
};

/* ---- queues ---- */

static void queue_init(Queue *queue, size_t capacity)
{
	*queue = (Queue){ .bytes = g_malloc(capacity), .capacity = capacity };
}

static size_t queue_put(Queue *queue, const uint8_t *bytes, size_t len)
{
	size_t n = MIN(len, queue->capacity - queue->len);

	for (size_t i = 0; i < n; i++)
		queue->bytes[(queue->begin + queue->len + i) % queue->capacity] = bytes[i];
	queue->len += n;
	return n;
}

static size_t queue_take(Queue *queue, uint8_t *bytes, size_t len)
{
	size_t n = MIN(len, queue->len);

	for (size_t i = 0; i < n; i++)
		bytes[i] = queue->bytes[(queue->begin + i) % queue->capacity];
	queue->begin = (queue->begin + n) % queue->capacity;
	queue->len -= n;
	return n;
}

/* ---- state; the lock is held ---- */

static bool has_tx_room(const Serial *serial)
{
	return serial->tx.capacity - serial->tx.len >= FIFO_LEN;
}

/* The guest sees what is for it only while it asks for more. */
static bool has_rx(const Serial *serial)
{
	return serial->rx.len && serial->mcr & (MCR_RTS | MCR_LOOP);
}

static uint8_t interrupt_id(const Serial *serial)
{
	if (serial->ier & IER_RX && has_rx(serial))
		return IIR_RX;
	if (serial->ier & IER_TX && serial->tx_is_due)
		return IIR_TX;
	return IIR_NONE;
}

static void update_line(Serial *serial)
{
	bool is_high = interrupt_id(serial) != IIR_NONE;

	if (is_high == serial->is_high)
		return;
	serial->is_high = is_high;
	kvm_vm_set_level(serial->vm, serial->gsi, is_high);
}

static uint8_t modem_status(const Serial *serial)
{
	uint8_t mcr = serial->mcr, msr = 0;

	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	/* Linux: a port without this is none. */
	msr |= mcr & MCR_DTR ? MSR_DSR : 0;
	msr |= mcr & MCR_RTS ? MSR_CTS : 0;
	msr |= mcr & MCR_OUT1 ? MSR_RI : 0;
	msr |= mcr & MCR_OUT2 ? MSR_DCD : 0;
	return msr;
}

static uint8_t line_status(const Serial *serial)
{
	return (has_tx_room(serial) ? LSR_IDLE : 0) | (has_rx(serial) ? LSR_DATA : 0);
}

static void transmit(Serial *serial, uint8_t byte)
{
	serial->tx_is_due = false;
	if (serial->mcr & MCR_LOOP)
		queue_put(&serial->rx, &byte, 1);
	else if (!serial->is_closed && !serial->discards)
		queue_put(&serial->tx, &byte, 1);
	serial->tx_is_due = has_tx_room(serial);
	if (serial->tx.len == 1 || serial->tx.len == GATHER_LEN)
		pthread_cond_broadcast(&serial->changed);
}

static uint8_t take_data(Serial *serial)
{
	uint8_t byte = 0;

	if (has_rx(serial)) {
		queue_take(&serial->rx, &byte, 1);
		if (serial->rx.len == RX_HALF)
			pthread_cond_broadcast(&serial->changed);
	}
	return byte;
}

static uint8_t take_interrupt_id(Serial *serial)
{
	uint8_t id = interrupt_id(serial);

	if (id == IIR_TX)
		serial->tx_is_due = false;
	return id | (serial->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_register(Serial *serial, unsigned reg)
{
	bool dlab = serial->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		return dlab ? serial->divisor[0] : take_data(serial);
	case REG_IER:
		return dlab ? serial->divisor[1] : serial->ier;
	case REG_IIR_FCR:
		return take_interrupt_id(serial);
	case REG_LCR:
		return serial->lcr;
	case REG_MCR:
		return serial->mcr;
	case REG_LSR:
		return line_status(serial);
	case REG_MSR:
		return modem_status(serial);
	default:
		return serial->scratch;
	}
}

static void set_ier(Serial *serial, uint8_t value)
{
	value &= IER_MASK;
	/* Asking for it while there is room raises it. */
	if (value & ~serial->ier & IER_TX && has_tx_room(serial))
		serial->tx_is_due = true;
	serial->ier = value;
}

static void set_fcr(Serial *serial, uint8_t value)
{
	/* What a guest has not seen yet was not in its FIFO. */
	if (value & FCR_RESET_RX && serial->mcr & MCR_LOOP) {
		serial->rx.len = 0;
		pthread_cond_broadcast(&serial->changed);
	}
	serial->fcr = value & FCR_ENABLE;
}

static void write_register(Serial *serial, unsigned reg, uint8_t value)
{
	bool dlab = serial->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (dlab)
			serial->divisor[0] = value;
		else
			transmit(serial, value);
		break;
	case REG_IER:
		if (dlab)
			serial->divisor[1] = value;
		else
			set_ier(serial, value);
		break;
	case REG_IIR_FCR:
		set_fcr(serial, value);
		break;
	case REG_LCR:
		serial->lcr = value;
		break;
	case REG_MCR:
		serial->mcr = value & 0x1f;
		break;
	case REG_SCRATCH:
		serial->scratch = value;
		break;
	default: /* status registers */
		break;
	}
}

/* ---- the guest's accesses ---- */

static void bus_read(void *opaque, uint64_t offset, void *buf, uint32_t len)
{
	Serial *serial = opaque;
	uint8_t *bytes = buf;

	pthread_mutex_lock(&serial->lock);
	for (uint32_t i = 0; i < len; i++)
		bytes[i] = read_register(serial, (unsigned)offset + i);
	update_line(serial);
	pthread_mutex_unlock(&serial->lock);
}

static void bus_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
	Serial *serial = opaque;
	const uint8_t *bytes = buf;

	pthread_mutex_lock(&serial->lock);
	for (uint32_t i = 0; i < len; i++)
		write_register(serial, (unsigned)offset + i, bytes[i]);
	update_line(serial);
	pthread_mutex_unlock(&serial->lock);
}

static const MachineBusOps ops = { bus_read, bus_write };

Serial *serial_new(KvmVm *vm, MachineBus *bus, unsigned number)
{
	Serial *serial = g_new0(Serial, 1);

	serial->vm = vm;
	serial->bus = bus;
	serial->gsi = machine_serial_gsis[number];
	pthread_mutex_init(&serial->lock, NULL);
	pthread_cond_init(&serial->changed, NULL);
	queue_init(&serial->tx, QUEUE_LEN);
	queue_init(&serial->rx, RX_LEN);
	serial->range = machine_bus_add(bus, MACHINE_BUS_PIO, machine_serial_ports[number], N_REGS,
					&ops, serial);
	if (serial->range)
		return serial;
	serial_free(serial);
	return NULL;
}

void serial_free(Serial *serial)
{
	if (!serial)
		return;
	machine_bus_remove(serial->bus, serial->range);
	g_free(serial->tx.bytes);
	g_free(serial->rx.bytes);
	pthread_cond_destroy(&serial->changed);
	pthread_mutex_destroy(&serial->lock);
	g_free(serial);
}

/* ---- the other end ---- */

/* The lock is held. There is something; waits for more, but not for long. */
static void gather(Serial *serial)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += GATHER_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	while (serial->tx.len < GATHER_LEN && !serial->is_closed) {
		if (pthread_cond_clockwait(&serial->changed, &serial->lock, CLOCK_MONOTONIC,
					   &until))
			return;
	}
}

size_t serial_receive(Serial *serial, void *buf, size_t len)
{
	size_t n;

	pthread_mutex_lock(&serial->lock);
	while (!serial->tx.len && !serial->is_closed)
		pthread_cond_wait(&serial->changed, &serial->lock);
	gather(serial);
	n = queue_take(&serial->tx, buf, len);
	if (!serial->tx_is_due && has_tx_room(serial)) {
		serial->tx_is_due = true;
		update_line(serial);
	}
	pthread_mutex_unlock(&serial->lock);
	return n;
}

bool serial_send(Serial *serial, const void *buf, size_t len)
{
	const uint8_t *bytes = buf;
	bool ok;

	pthread_mutex_lock(&serial->lock);
	while (len && !serial->is_closed) {
		size_t n = queue_put(&serial->rx, bytes, len);

		bytes += n;
		len -= n;
		update_line(serial);
		if (len)
			pthread_cond_wait(&serial->changed, &serial->lock);
	}
	ok = !serial->is_closed;
	pthread_mutex_unlock(&serial->lock);
	return ok;
}

bool serial_try_send(Serial *serial, const void *buf, size_t len)
{
	bool ok;

	pthread_mutex_lock(&serial->lock);
	ok = !serial->is_closed && serial->rx.capacity - serial->rx.len >= len;
	if (ok) {
		queue_put(&serial->rx, buf, len);
		update_line(serial);
	}
	pthread_mutex_unlock(&serial->lock);
	return ok;
}

void serial_discard(Serial *serial)
{
	pthread_mutex_lock(&serial->lock);
	serial->discards = true;
	serial->tx.len = 0;
	pthread_mutex_unlock(&serial->lock);
}

void serial_close(Serial *serial)
{
	pthread_mutex_lock(&serial->lock);
	serial->is_closed = true;
	pthread_cond_broadcast(&serial->changed);
	pthread_mutex_unlock(&serial->lock);
}
