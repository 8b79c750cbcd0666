/* SPDX-License-Identifier: BSD-3-Clause */
/* The PC's ports: clock, timer, sleep, reset; and which of a guest's writes mean anything. */
#include "machine/layout.h"
#include "machine/legacy.h"

#include <stdio.h>
#include <time.h>

typedef struct Bench {
	MachineBus *bus;
	Legacy *legacy;
	unsigned n_offs, n_resets;
} Bench;

static void on_off(void *opaque)
{
	((Bench *)opaque)->n_offs++;
}

static void on_reset(void *opaque)
{
	((Bench *)opaque)->n_resets++;
}

static const LegacyOps ops = { on_off, on_reset };

static void set_up(Bench *bench)
{
	*bench = (Bench){ .bus = machine_bus_new() };
	bench->legacy = legacy_new(bench->bus, &ops, bench);
	g_assert_nonnull(bench->legacy);
}

static void tear_down(Bench *bench)
{
	legacy_free(bench->legacy);
	machine_bus_free(bench->bus);
}

static uint8_t in(Bench *bench, uint64_t port)
{
	uint8_t value;

	machine_bus_access(bench->bus, MACHINE_BUS_PIO, port, &value, 1, false);
	return value;
}

static void out(Bench *bench, uint64_t port, uint8_t value)
{
	machine_bus_access(bench->bus, MACHINE_BUS_PIO, port, &value, 1, true);
}

static unsigned cmos(Bench *bench, uint8_t index)
{
	out(bench, 0x70, index);
	return in(bench, 0x71);
}

static int bcd(unsigned value)
{
	g_assert_cmpuint(value & 15, <, 10);
	g_assert_cmpuint(value >> 4, <, 10);
	return (int)((value >> 4) * 10 + (value & 15));
}

/* What a guest reads is between the times before and after. */
static void test_clock(void)
{
	time_t before = time(NULL), read;
	struct tm tm = { 0 };
	Bench bench;

	set_up(&bench);
	do {
		tm.tm_sec = bcd(cmos(&bench, 0));
		tm.tm_min = bcd(cmos(&bench, 2));
		tm.tm_hour = bcd(cmos(&bench, 4));
		tm.tm_mday = bcd(cmos(&bench, 7));
		tm.tm_mon = bcd(cmos(&bench, 8)) - 1;
		tm.tm_year = bcd(cmos(&bench, 9)) + (bcd(cmos(&bench, 0x32)) - 19) * 100;
	} while (tm.tm_sec != bcd(cmos(&bench, 0)));
	read = timegm(&tm);
	g_assert_cmpint(read, >=, before);
	g_assert_cmpint(read, <=, time(NULL));
	g_assert_cmphex(cmos(&bench, 0x0a) & 0x80, ==, 0); /* no update in progress */
	g_assert_cmphex(cmos(&bench, 0x0b), ==, 2);
	g_assert_cmphex(cmos(&bench, 0x0d), ==, 0x80);
	/* The NMI mask is no index; the clock is not set. */
	out(&bench, 0x70, 0x8d);
	g_assert_cmphex(in(&bench, 0x71), ==, 0x80);
	out(&bench, 0x71, 0);
	g_assert_cmphex(in(&bench, 0x71), ==, 0x80);
	tear_down(&bench);
}

static void test_timer(void)
{
	Bench bench;

	set_up(&bench);
	g_assert_cmphex(in(&bench, 0x42), ==, 0);
	out(&bench, 0x42, 0xff);
	g_assert_cmphex(in(&bench, 0x42), ==, 0);
	tear_down(&bench);
}

static void test_power(void)
{
	uint16_t wide = 0x34;
	Bench bench;

	set_up(&bench);
	out(&bench, MACHINE_PORT_SLEEP_STATUS, 0x80);
	out(&bench, MACHINE_PORT_SLEEP_CONTROL, 0);
	out(&bench, MACHINE_PORT_SLEEP_CONTROL, 5 << 2);        /* not enabled */
	out(&bench, MACHINE_PORT_SLEEP_CONTROL, 0x20 | 3 << 2); /* another sleep */
	out(&bench, MACHINE_PORT_SLEEP_STATUS, 0x34);
	g_assert_cmpuint(bench.n_offs, ==, 0);
	out(&bench, MACHINE_PORT_SLEEP_CONTROL, 0x34);
	g_assert_cmpuint(bench.n_offs, ==, 1);
	machine_bus_access(bench.bus, MACHINE_BUS_PIO, MACHINE_PORT_SLEEP_CONTROL, &wide, 2, true);
	g_assert_cmpuint(bench.n_offs, ==, 2);
	g_assert_cmphex(in(&bench, MACHINE_PORT_SLEEP_CONTROL), ==, 0);
	out(&bench, MACHINE_PORT_RESET, 0);
	out(&bench, MACHINE_PORT_RESET, 6);
	g_assert_cmpuint(bench.n_resets, ==, 0);
	out(&bench, MACHINE_PORT_RESET, MACHINE_RESET_VALUE);
	g_assert_cmpuint(bench.n_resets, ==, 1);
	tear_down(&bench);
}

static void test_taken(void)
{
	Bench bench;

	set_up(&bench);
	g_assert_null(legacy_new(bench.bus, &ops, &bench));
	g_assert_cmphex(in(&bench, 0x42), ==, 0);
	tear_down(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/machine/legacy/clock", test_clock);
	g_test_add_func("/machine/legacy/timer", test_timer);
	g_test_add_func("/machine/legacy/power", test_power);
	g_test_add_func("/machine/legacy/taken", test_taken);
	return g_test_run();
}
