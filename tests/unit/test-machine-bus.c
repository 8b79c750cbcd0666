/* SPDX-License-Identifier: BSD-3-Clause */
/* The machine's bus: who answers, who does not, and ranges that come and go meanwhile. */
#include "machine/bus.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

typedef struct Range {
	uint8_t bytes[64];
	unsigned n_reads, n_writes;
	uint32_t last_len;
} Range;

static void range_read(void *opaque, uint64_t offset, void *buf, uint32_t len)
{
	Range *range = opaque;

	g_assert_cmpuint(offset + len, <=, sizeof(range->bytes));
	memcpy(buf, range->bytes + offset, len);
	range->n_reads++;
	range->last_len = len;
}

static void range_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
	Range *range = opaque;

	g_assert_cmpuint(offset + len, <=, sizeof(range->bytes));
	memcpy(range->bytes + offset, buf, len);
	range->n_writes++;
	range->last_len = len;
}

static const MachineBusOps ops = { range_read, range_write };

static uint64_t load(MachineBus *bus, uint64_t address, uint32_t len)
{
	uint64_t value = 0;

	machine_bus_access(bus, MACHINE_BUS_MMIO, address, &value, len, false);
	return value;
}

static void store(MachineBus *bus, uint64_t address, uint64_t value, uint32_t len)
{
	machine_bus_access(bus, MACHINE_BUS_MMIO, address, &value, len, true);
}

static void test_access(void)
{
	g_autoptr(MachineBus) bus = machine_bus_new();
	Range a = { .n_reads = 0 }, b = { .n_reads = 0 };

	g_assert_nonnull(machine_bus_add(bus, MACHINE_BUS_MMIO, 0x2000, 64, &ops, &b));
	g_assert_nonnull(machine_bus_add(bus, MACHINE_BUS_MMIO, 0x1000, 64, &ops, &a));
	store(bus, 0x1000, 0x1122334455667788, 8);
	store(bus, 0x203c, 0xaabbccdd, 4);
	g_assert_cmphex(load(bus, 0x1000, 8), ==, 0x1122334455667788);
	g_assert_cmphex(load(bus, 0x1003, 2), ==, 0x4455);
	g_assert_cmphex(load(bus, 0x203c, 4), ==, 0xaabbccdd);
	g_assert_cmpuint(a.n_reads, ==, 2);
	g_assert_cmpuint(machine_bus_n_unclaimed(bus, MACHINE_BUS_MMIO), ==, 0);
	/* The other space has none of it. */
	g_assert_cmpuint(machine_bus_n_unclaimed(bus, MACHINE_BUS_PIO), ==, 0);
}

static void test_nobody(void)
{
	g_autoptr(MachineBus) bus = machine_bus_new();
	Range range = { .n_reads = 0 };

	machine_bus_add(bus, MACHINE_BUS_MMIO, 0x1000, 64, &ops, &range);
	g_assert_cmphex(load(bus, 0xfff, 1), ==, 0xff);
	g_assert_cmphex(load(bus, 0x1040, 8), ==, UINT64_MAX);
	g_assert_cmphex(load(bus, UINT64_MAX, 1), ==, 0xff);
	store(bus, 0x800, 1, 8);
	g_assert_cmpuint(machine_bus_n_unclaimed(bus, MACHINE_BUS_MMIO), ==, 4);
	g_assert_cmpuint(range.n_reads + range.n_writes, ==, 0);
}

/* An access over an end is each part's own. */
static void test_straddling(void)
{
	g_autoptr(MachineBus) bus = machine_bus_new();
	Range a = { .n_reads = 0 }, b = { .n_reads = 0 };

	machine_bus_add(bus, MACHINE_BUS_MMIO, 0x1000, 64, &ops, &a);
	machine_bus_add(bus, MACHINE_BUS_MMIO, 0x1040, 64, &ops, &b);
	memset(a.bytes, 0xaa, 64);
	memset(b.bytes, 0xbb, 64);
	g_assert_cmphex(load(bus, 0x103e, 4), ==, 0xbbbbaaaa);
	g_assert_cmpuint(a.last_len, ==, 2);
	g_assert_cmphex(load(bus, 0x107e, 4), ==, 0xffffbbbb);
	g_assert_cmphex(load(bus, 0xffe, 4), ==, 0xaaaaffff);
	store(bus, 0x103e, 0x44332211, 4);
	g_assert_cmphex(a.bytes[62], ==, 0x11);
	g_assert_cmphex(b.bytes[1], ==, 0x44);
	g_assert_cmpuint(machine_bus_n_unclaimed(bus, MACHINE_BUS_MMIO), ==, 2);
}

static void test_overlap(void)
{
	g_autoptr(MachineBus) bus = machine_bus_new();
	static const struct {
		uint64_t base, len;
	} refused[] = {
		{ 0x1000, 64 }, { 0xfff, 2 },  { 0x103f, 1 },     { 0x800, 0x1000 },
		{ 0x1010, 1 },  { 0x5000, 0 }, { UINT64_MAX, 2 }, { 1, UINT64_MAX },
	};
	Range range = { .n_reads = 0 };
	MachineBusRange *first = machine_bus_add(bus, MACHINE_BUS_MMIO, 0x1000, 64, &ops, &range);

	for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++)
		g_assert_null(machine_bus_add(bus, MACHINE_BUS_MMIO, refused[i].base,
					      refused[i].len, &ops, &range));
	g_assert_nonnull(machine_bus_add(bus, MACHINE_BUS_PIO, 0x1000, 64, &ops, &range));
	g_assert_nonnull(machine_bus_add(bus, MACHINE_BUS_MMIO, UINT64_MAX, 1, &ops, &range));
	machine_bus_remove(bus, first);
	machine_bus_remove(bus, NULL);
	g_assert_nonnull(machine_bus_add(bus, MACHINE_BUS_MMIO, 0xfff, 2, &ops, &range));
}

/* An op may take its own range off the bus, as a guest that moves a BAR does. */
typedef struct Mover {
	MachineBus *bus;
	MachineBusRange *range;
	uint64_t base;
} Mover;

static void mover_read(void *opaque, uint64_t offset, void *buf, uint32_t len)
{
	memset(buf, 0x5a, len);
}

static void mover_write(void *opaque, uint64_t offset, const void *buf, uint32_t len);
static const MachineBusOps mover_ops = { mover_read, mover_write };

static void mover_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
	Mover *mover = opaque;

	machine_bus_remove(mover->bus, mover->range);
	memcpy(&mover->base, buf, len);
	mover->range = machine_bus_add(mover->bus, MACHINE_BUS_MMIO, mover->base, 64, &mover_ops,
				       mover);
}

static void test_moving(void)
{
	g_autoptr(MachineBus) bus = machine_bus_new();
	Mover mover = { .bus = bus };

	mover.range = machine_bus_add(bus, MACHINE_BUS_MMIO, 0x1000, 64, &mover_ops, &mover);
	store(bus, 0x1000, 0x9000, 8);
	g_assert_cmphex(load(bus, 0x1000, 1), ==, 0xff);
	g_assert_cmphex(load(bus, 0x9000, 1), ==, 0x5a);
}

/* ---- many at once ---- */

typedef struct Hammer {
	MachineBus *bus;
	atomic_bool stops;
} Hammer;

static void *hammer(void *opaque)
{
	Hammer *hammer = opaque;

	/* The neighbour always answers, whatever comes and goes beside it. */
	while (!atomic_load(&hammer->stops)) {
		g_assert_cmphex(load(hammer->bus, 0x2000, 1), ==, 0x5a);
		load(hammer->bus, 0x1000, 8);
	}
	return NULL;
}

static void test_threads(void)
{
	g_autoptr(MachineBus) bus = machine_bus_new();
	Hammer shared = { .bus = bus };
	Mover neighbour = { .bus = bus }, coming = { .bus = bus };
	pthread_t threads[3];

	machine_bus_add(bus, MACHINE_BUS_MMIO, 0x2000, 64, &mover_ops, &neighbour);
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
		pthread_create(&threads[i], NULL, hammer, &shared);
	for (unsigned i = 0; i < 20000; i++) {
		coming.range = machine_bus_add(bus, MACHINE_BUS_MMIO, 0x1000, 64, &mover_ops,
					       &coming);
		g_assert_nonnull(coming.range);
		machine_bus_remove(bus, coming.range);
	}
	atomic_store(&shared.stops, true);
	for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/machine/bus/access", test_access);
	g_test_add_func("/machine/bus/nobody", test_nobody);
	g_test_add_func("/machine/bus/straddling", test_straddling);
	g_test_add_func("/machine/bus/overlap", test_overlap);
	g_test_add_func("/machine/bus/moving", test_moving);
	g_test_add_func("/machine/bus/threads", test_threads);
	return g_test_run();
}
