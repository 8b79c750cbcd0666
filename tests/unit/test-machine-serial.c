/* SPDX-License-Identifier: BSD-3-Clause */
/* A serial port as Linux' 8250 driver uses it: probe, polling, interrupts, and slow readers. */
#include "machine/layout.h"
#include "machine/serial.h"
#include "vm_fake.h"

#include <pthread.h>
#include <string.h>

enum {
	DATA,
	IER,
	IIR,
	LCR,
	MCR,
	LSR,
	MSR,
	SCRATCH
};

#define RTS  0x02
#define LOOP 0x10
#define GSI  machine_serial_gsis[1]

typedef struct Bench {
	KvmVm *vm;
	MachineBus *bus;
	Serial *serial; /* COM2 */
} Bench;

static uint8_t in(Bench *bench, unsigned reg)
{
	uint8_t value;

	machine_bus_access(bench->bus, MACHINE_BUS_PIO, machine_serial_ports[1] + reg, &value, 1,
			   false);
	return value;
}

static void out(Bench *bench, unsigned reg, unsigned value)
{
	uint8_t byte = (uint8_t)value;

	machine_bus_access(bench->bus, MACHINE_BUS_PIO, machine_serial_ports[1] + reg, &byte, 1,
			   true);
}

static void set_up(Bench *bench)
{
	bench->vm = vm_fake_new();
	bench->bus = machine_bus_new();
	bench->serial = serial_new(bench->vm, bench->bus, 1);
	g_assert_nonnull(bench->serial);
}

static void tear_down(Bench *bench)
{
	serial_free(bench->serial);
	machine_bus_free(bench->bus);
	kvm_vm_free(bench->vm);
}

/* What Linux tries to find out whether there is a 16550A. */
static void test_probe(void)
{
	Bench bench;

	set_up(&bench);
	g_assert_null(serial_new(bench.vm, bench.bus, 1)); /* its ports are taken */
	out(&bench, IER, 0);
	g_assert_cmphex(in(&bench, IER), ==, 0);
	out(&bench, IER, 0xff);
	g_assert_cmphex(in(&bench, IER), ==, 0x0f);
	out(&bench, IER, 0);
	out(&bench, MCR, LOOP | 0x0a);
	g_assert_cmphex(in(&bench, MSR) & 0xf0, ==, 0x90);
	out(&bench, MCR, 0);
	g_assert_cmphex(in(&bench, MSR) & 0xf0, ==, 0xb0);
	out(&bench, IIR, 1);
	g_assert_cmphex(in(&bench, IIR) & 0xc0, ==, 0xc0);
	out(&bench, IIR, 0);
	g_assert_cmphex(in(&bench, IIR) & 0xc0, ==, 0);
	out(&bench, SCRATCH, 0x5a);
	g_assert_cmphex(in(&bench, SCRATCH), ==, 0x5a);
	/* The divisor is behind the first two. */
	out(&bench, LCR, 0x80);
	out(&bench, DATA, 1);
	out(&bench, IER, 2);
	g_assert_cmphex(in(&bench, DATA), ==, 1);
	g_assert_cmphex(in(&bench, IER), ==, 2);
	out(&bench, LCR, 3);
	g_assert_cmphex(in(&bench, IER), ==, 0);
	tear_down(&bench);
}

static void test_loop(void)
{
	Bench bench;

	set_up(&bench);
	out(&bench, MCR, LOOP);
	out(&bench, DATA, 'x');
	g_assert_cmphex(in(&bench, LSR) & 1, ==, 1);
	g_assert_cmphex(in(&bench, DATA), ==, 'x');
	g_assert_cmphex(in(&bench, LSR) & 1, ==, 0);
	tear_down(&bench);
}

static void test_transmit(void)
{
	char text[8];
	Bench bench;

	set_up(&bench);
	g_assert_cmphex(in(&bench, LSR), ==, 0x60);
	out(&bench, DATA, 'h');
	out(&bench, DATA, 'i');
	g_assert_cmpuint(serial_receive(bench.serial, text, sizeof(text)), ==, 2);
	g_assert_cmpint(memcmp(text, "hi", 2), ==, 0);
	serial_close(bench.serial);
	g_assert_cmpuint(serial_receive(bench.serial, text, sizeof(text)), ==, 0);
	tear_down(&bench);
}

/* What was sent before the end is still there, what is sent after it is not. */
static void test_close(void)
{
	char text[8];
	Bench bench;

	set_up(&bench);
	out(&bench, DATA, 'a');
	serial_close(bench.serial);
	out(&bench, DATA, 'b');
	g_assert_cmpuint(serial_receive(bench.serial, text, sizeof(text)), ==, 1);
	g_assert_cmpint(text[0], ==, 'a');
	g_assert_cmpuint(serial_receive(bench.serial, text, sizeof(text)), ==, 0);
	g_assert_false(serial_send(bench.serial, "x", 1));
	g_assert_false(serial_try_send(bench.serial, "x", 1));
	tear_down(&bench);
}

/* Nobody reads: the transmitter says so in time, and says when it is free again. */
static void test_slow_reader(void)
{
	g_autofree char *text = g_malloc(1 << 20);
	unsigned n = 0;
	Bench bench;

	set_up(&bench);
	out(&bench, IER, 2);
	while (in(&bench, LSR) & 0x20) {
		/* As much as a FIFO takes. */
		for (unsigned i = 0; i < 16; i++)
			out(&bench, DATA, n++ & 0xff);
		g_assert_cmpuint(n, <, 1 << 20);
	}
	g_assert_cmphex(in(&bench, IIR) & 0x0f, ==, 1);
	g_assert_false(vm_fake_level(bench.vm, GSI));
	g_assert_cmpuint(serial_receive(bench.serial, text, 1 << 20), ==, n);
	for (unsigned i = 0; i < n; i++)
		g_assert_cmphex((uint8_t)text[i], ==, i & 0xff);
	g_assert_true(vm_fake_level(bench.vm, GSI));
	g_assert_cmphex(in(&bench, LSR), ==, 0x60);
	tear_down(&bench);
}

/* The interrupt for an empty transmitter comes once, until something is sent. */
static void test_transmit_interrupt(void)
{
	Bench bench;

	set_up(&bench);
	out(&bench, IER, 2);
	g_assert_cmpuint(vm_fake_take_edges(bench.vm, GSI), ==, 1);
	g_assert_cmphex(in(&bench, IIR) & 0x0f, ==, 2);
	g_assert_false(vm_fake_level(bench.vm, GSI));
	g_assert_cmphex(in(&bench, IIR) & 0x0f, ==, 1);
	for (unsigned i = 0; i < 16; i++)
		out(&bench, DATA, 'x');
	g_assert_cmpuint(vm_fake_take_edges(bench.vm, GSI), ==, 1);
	out(&bench, IER, 0);
	g_assert_false(vm_fake_level(bench.vm, GSI));
	tear_down(&bench);
}

/* Linux: interrupts on, RTS on; takes what there is until LSR says there is no more. */
static void test_receive(void)
{
	char text[6] = { 0 };
	Bench bench;

	set_up(&bench);
	out(&bench, IER, 1);
	g_assert_true(serial_send(bench.serial, "hello", 5));
	/* Not asked for yet. */
	g_assert_cmphex(in(&bench, LSR) & 1, ==, 0);
	g_assert_cmphex(in(&bench, DATA), ==, 0);
	g_assert_false(vm_fake_level(bench.vm, GSI));
	out(&bench, MCR, RTS);
	g_assert_true(vm_fake_level(bench.vm, GSI));
	g_assert_cmphex(in(&bench, IIR) & 0x0f, ==, 4);
	for (unsigned i = 0; in(&bench, LSR) & 1; i++)
		text[i] = (char)in(&bench, DATA);
	g_assert_cmpstr(text, ==, "hello");
	g_assert_false(vm_fake_level(bench.vm, GSI));
	/* Resetting FIFOs, as every open of the port does, takes nothing away. */
	serial_send(bench.serial, "x", 1);
	out(&bench, IIR, 7);
	g_assert_cmphex(in(&bench, DATA), ==, 'x');
	tear_down(&bench);
}

static void test_try_send(void)
{
	g_autofree char *much = g_strnfill(4096, 'm');
	Bench bench;

	set_up(&bench);
	g_assert_true(serial_try_send(bench.serial, "x", 1));
	g_assert_false(serial_try_send(bench.serial, much, 4096));
	out(&bench, MCR, RTS);
	g_assert_cmphex(in(&bench, DATA), ==, 'x');
	g_assert_cmphex(in(&bench, LSR) & 1, ==, 0);
	tear_down(&bench);
}

/* Wider accesses are those of the single ports. */
static void test_wide(void)
{
	uint32_t value = 0;
	Bench bench;

	set_up(&bench);
	out(&bench, SCRATCH, 0x5a);
	machine_bus_access(bench.bus, MACHINE_BUS_PIO, machine_serial_ports[1] + LSR, &value, 4,
			   false);
	g_assert_cmphex(value, ==, 0xff5ab060);
	tear_down(&bench);
}

/* ---- two ends at once ---- */

#define N_BYTES 300000u

static void *send_all(void *opaque)
{
	Bench *bench = opaque;
	uint8_t bytes[700];

	for (unsigned sent = 0; sent < N_BYTES;) {
		unsigned n = MIN(N_BYTES - sent, (unsigned)sizeof(bytes));

		for (unsigned i = 0; i < n; i++)
			bytes[i] = (uint8_t)((sent + i) * 7);
		g_assert_true(serial_send(bench->serial, bytes, n));
		sent += n;
	}
	return NULL;
}

static void *receive_all(void *opaque)
{
	Bench *bench = opaque;
	uint8_t bytes[900];
	unsigned received = 0;
	size_t n;

	while (received < N_BYTES && (n = serial_receive(bench->serial, bytes, sizeof(bytes)))) {
		for (size_t i = 0; i < n; i++)
			g_assert_cmphex(bytes[i], ==, (uint8_t)((received + i) * 7));
		received += (unsigned)n;
	}
	g_assert_cmpuint(received, ==, N_BYTES);
	return NULL;
}

/* A guest that echoes, as fast as it is let. */
static void test_echo(void)
{
	pthread_t sender, receiver;
	unsigned n = 0;
	Bench bench;

	set_up(&bench);
	out(&bench, MCR, RTS);
	pthread_create(&sender, NULL, send_all, &bench);
	pthread_create(&receiver, NULL, receive_all, &bench);
	while (n < N_BYTES) {
		if ((in(&bench, LSR) & 0x21) != 0x21)
			continue;
		out(&bench, DATA, in(&bench, DATA));
		n++;
	}
	pthread_join(sender, NULL);
	pthread_join(receiver, NULL);
	tear_down(&bench);
}

typedef struct Gathered {
	Bench *bench;
	unsigned n_calls;
} Gathered;

static void *count_calls(void *opaque)
{
	Gathered *gathered = opaque;
	uint8_t bytes[4096];

	while (serial_receive(gathered->bench->serial, bytes, sizeof(bytes)))
		gathered->n_calls++;
	return NULL;
}

/* Who receives is not woken for each byte: for 1,024 of them, or after a millisecond. */
static void test_gather(void)
{
	const unsigned n = 100000;
	Gathered gathered = { 0 };
	gint64 begin, elapsed_ms;
	pthread_t receiver;
	Bench bench;

	set_up(&bench);
	gathered.bench = &bench;
	pthread_create(&receiver, NULL, count_calls, &gathered);
	begin = g_get_monotonic_time();
	for (unsigned i = 0; i < n;) {
		if (!(in(&bench, LSR) & 0x20))
			continue;
		out(&bench, DATA, 'x');
		i++;
	}
	serial_close(bench.serial);
	pthread_join(receiver, NULL);
	elapsed_ms = (g_get_monotonic_time() - begin) / 1000;
	g_assert_cmpuint(gathered.n_calls, <=, elapsed_ms + n / 1024 + 2);
	tear_down(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/machine/serial/probe", test_probe);
	g_test_add_func("/machine/serial/loop", test_loop);
	g_test_add_func("/machine/serial/transmit", test_transmit);
	g_test_add_func("/machine/serial/close", test_close);
	g_test_add_func("/machine/serial/slow-reader", test_slow_reader);
	g_test_add_func("/machine/serial/transmit-interrupt", test_transmit_interrupt);
	g_test_add_func("/machine/serial/receive", test_receive);
	g_test_add_func("/machine/serial/try-send", test_try_send);
	g_test_add_func("/machine/serial/wide", test_wide);
	g_test_add_func("/machine/serial/echo", test_echo);
	g_test_add_func("/machine/serial/gather", test_gather);
	return g_test_run();
}
