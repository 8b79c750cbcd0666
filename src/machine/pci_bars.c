/* SPDX-License-Identifier: BSD-3-Clause */
/* Base address registers: a BAR is on the bus as long as it decodes to where it may be. */
#include "machine/pci_bars.h"

#include <string.h>

#define BARS_FIRST PCI_CFG_BAR(0)
#define BARS_LEN   (4 * PCI_CFG0_N_BARS)

typedef struct Bar {
	PciBars *bars;
	unsigned index;
	uint64_t len; /* 0 = none */
	bool is_64;
	uint64_t gpa; /* atomic: read without the lock */
	MachineBusRange *range;
} Bar;

struct PciBars {
	MachineBus *bus;
	PciBarsOps ops;
	void *opaque;
	GMutex lock;
	PciWindows windows;
	bool is_decoding;
	uint8_t value[BARS_LEN];
	uint8_t writable[BARS_LEN];
	uint8_t fixed[BARS_LEN];
	Bar bar[PCI_CFG0_N_BARS];
};

PciBars *pci_bars_new(MachineBus *bus, const PciBarsOps *ops, void *opaque)
{
	PciBars *bars = g_new0(PciBars, 1);

	bars->bus = bus;
	bars->ops = *ops;
	bars->opaque = opaque;
	g_mutex_init(&bars->lock);
	for (unsigned i = 0; i < PCI_CFG0_N_BARS; i++)
		bars->bar[i] = (Bar){ .bars = bars, .index = i, .gpa = PCI_BAR_NOWHERE };
	return bars;
}

void pci_bars_free(PciBars *bars)
{
	if (!bars)
		return;
	for (unsigned i = 0; i < PCI_CFG0_N_BARS; i++)
		machine_bus_remove(bars->bus, bars->bar[i].range);
	g_mutex_clear(&bars->lock);
	g_free(bars);
}

void pci_bars_add(PciBars *bars, unsigned index, uint64_t len, uint32_t flags)
{
	uint64_t mask = ~(len - 1);
	Bar *bar = &bars->bar[index];

	g_assert(index < PCI_CFG0_N_BARS && len >= 16 && (len & (len - 1)) == 0);
	bar->len = len;
	bar->is_64 = (flags & PCI_BAR_TYPE) == PCI_BAR_MEM_64;
	g_assert(bar->is_64 ? index + 1 < PCI_CFG0_N_BARS : len <= UINT32_MAX);
	bars->fixed[4 * index] = (uint8_t)(flags & PCI_BAR_FLAGS);
	memcpy(&bars->value[4 * index], &bars->fixed[4 * index], 4);
	le32_store(&bars->writable[4 * index], (uint32_t)mask & ~PCI_BAR_FLAGS);
	if (bar->is_64)
		le32_store(&bars->writable[4 * (index + 1)], (uint32_t)(mask >> 32));
}

uint64_t pci_bars_len(const PciBars *bars, unsigned bar)
{
	return bar < PCI_CFG0_N_BARS ? bars->bar[bar].len : 0;
}

/* ---- on the bus ---- */

static void bar_read(void *opaque, uint64_t offset, void *buf, uint32_t len)
{
	Bar *bar = opaque;

	memset(buf, 0xff, len);
	bar->bars->ops.read(bar->bars->opaque, bar->index, offset, buf, len);
}

static void bar_write(void *opaque, uint64_t offset, const void *buf, uint32_t len)
{
	Bar *bar = opaque;

	bar->bars->ops.write(bar->bars->opaque, bar->index, offset, buf, len);
}

static const MachineBusOps bar_ops = { .read = bar_read, .write = bar_write };

static bool is_inside(uint64_t gpa, uint64_t len, uint64_t window, uint64_t window_len)
{
	return gpa >= window && len <= window_len && gpa - window <= window_len - len;
}

static uint64_t wanted_gpa(const PciBars *bars, const Bar *bar)
{
	const uint8_t *value = &bars->value[4 * bar->index];
	const PciWindows *windows = &bars->windows;
	uint64_t gpa = le32_load(value) & ~PCI_BAR_FLAGS;

	if (bar->is_64)
		gpa |= (uint64_t)le32_load(value + 4) << 32;
	if (!bars->is_decoding || bar->len == 0)
		return PCI_BAR_NOWHERE;
	if (is_inside(gpa, bar->len, windows->mem32, windows->mem32_len) ||
	    is_inside(gpa, bar->len, windows->mem64, windows->mem64_len))
		return gpa;
	return PCI_BAR_NOWHERE;
}

/* With the lock held. Off first, all of them: two may have changed places. */
static void place(PciBars *bars)
{
	for (unsigned i = 0; i < PCI_CFG0_N_BARS; i++) {
		Bar *bar = &bars->bar[i];

		if (!bar->range || bar->gpa == wanted_gpa(bars, bar))
			continue;
		__atomic_store_n(&bar->gpa, PCI_BAR_NOWHERE, __ATOMIC_RELEASE);
		if (bars->ops.moved)
			bars->ops.moved(bars->opaque, i, PCI_BAR_NOWHERE);
		machine_bus_remove(bars->bus, g_steal_pointer(&bar->range));
	}
	for (unsigned i = 0; i < PCI_CFG0_N_BARS; i++) {
		Bar *bar = &bars->bar[i];
		uint64_t gpa = wanted_gpa(bars, bar);

		if (bar->range || gpa == PCI_BAR_NOWHERE)
			continue;
		bar->range = machine_bus_add(bars->bus, MACHINE_BUS_MMIO, gpa, bar->len, &bar_ops,
					     bar);
		/* What overlaps is nowhere, until it is moved. */
		if (!bar->range)
			continue;
		__atomic_store_n(&bar->gpa, gpa, __ATOMIC_RELEASE);
		if (bars->ops.moved)
			bars->ops.moved(bars->opaque, i, gpa);
	}
}

void pci_bars_set_windows(PciBars *bars, const PciWindows *windows)
{
	g_mutex_lock(&bars->lock);
	bars->windows = *windows;
	place(bars);
	g_mutex_unlock(&bars->lock);
}

void pci_bars_set_decoding(PciBars *bars, bool on)
{
	g_mutex_lock(&bars->lock);
	if (bars->is_decoding != on) {
		bars->is_decoding = on;
		place(bars);
	}
	g_mutex_unlock(&bars->lock);
}

void pci_bars_reset(PciBars *bars)
{
	g_mutex_lock(&bars->lock);
	memcpy(bars->value, bars->fixed, sizeof(bars->value));
	bars->is_decoding = false;
	place(bars);
	g_mutex_unlock(&bars->lock);
}

uint64_t pci_bars_gpa(PciBars *bars, unsigned bar)
{
	if (bar >= PCI_CFG0_N_BARS)
		return PCI_BAR_NOWHERE;
	return __atomic_load_n(&bars->bar[bar].gpa, __ATOMIC_ACQUIRE);
}

/* ---- the registers ---- */

void pci_bars_config_read(PciBars *bars, uint32_t offset, void *buf, uint32_t len)
{
	uint8_t *bytes = buf;

	g_mutex_lock(&bars->lock);
	for (uint32_t i = 0; i < len; i++) {
		if (offset + i >= BARS_FIRST && offset + i < BARS_FIRST + BARS_LEN)
			bytes[i] = bars->value[offset + i - BARS_FIRST];
	}
	g_mutex_unlock(&bars->lock);
}

void pci_bars_config_write(PciBars *bars, uint32_t offset, const void *buf, uint32_t len)
{
	const uint8_t *bytes = buf;
	bool has_changed = false;

	g_mutex_lock(&bars->lock);
	for (uint32_t i = 0; i < len; i++) {
		uint32_t at = offset + i - BARS_FIRST;
		uint8_t value;

		if (offset + i < BARS_FIRST || at >= BARS_LEN)
			continue;
		value = (uint8_t)((bytes[i] & bars->writable[at]) | bars->fixed[at]);
		has_changed |= value != bars->value[at];
		bars->value[at] = value;
	}
	if (has_changed && bars->is_decoding)
		place(bars);
	g_mutex_unlock(&bars->lock);
}
