/* SPDX-License-Identifier: BSD-3-Clause */
/* Bus: sorted ranges per address space, looked up under a read lock. */
#include "machine/bus.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

struct MachineBusRange {
	MachineBusSpace space;
	uint64_t base, len;
	const MachineBusOps *ops;
	void *opaque;
};

typedef struct Space {
	GPtrArray *ranges; /* owned, by base */
	atomic_uint_least64_t n_unclaimed;
} Space;

struct MachineBus {
	pthread_rwlock_t lock; /* of all ranges; never held across an op */
	Space spaces[MACHINE_BUS_N_SPACES];
};

MachineBus *machine_bus_new(void)
{
	MachineBus *bus = g_new0(MachineBus, 1);

	pthread_rwlock_init(&bus->lock, NULL);
	for (unsigned i = 0; i < MACHINE_BUS_N_SPACES; i++)
		bus->spaces[i].ranges = g_ptr_array_new_with_free_func(g_free);
	return bus;
}

void machine_bus_free(MachineBus *bus)
{
	if (!bus)
		return;
	for (unsigned i = 0; i < MACHINE_BUS_N_SPACES; i++)
		g_ptr_array_unref(bus->spaces[i].ranges);
	pthread_rwlock_destroy(&bus->lock);
	g_free(bus);
}

/* How many ranges begin at or below ADDRESS. */
static unsigned n_upto(const GPtrArray *ranges, uint64_t address)
{
	unsigned low = 0, high = ranges->len;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		const MachineBusRange *range = ranges->pdata[middle];

		if (range->base <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool overlaps(const GPtrArray *ranges, unsigned i, uint64_t base, uint64_t last)
{
	const MachineBusRange *before = i ? ranges->pdata[i - 1] : NULL;
	const MachineBusRange *after = i < ranges->len ? ranges->pdata[i] : NULL;

	return (before && before->base + (before->len - 1) >= base) ||
	       (after && after->base <= last);
}

MachineBusRange *machine_bus_add(MachineBus *bus, MachineBusSpace space, uint64_t base,
				 uint64_t len, const MachineBusOps *ops, void *opaque)
{
	GPtrArray *ranges = bus->spaces[space].ranges;
	MachineBusRange *range = NULL;
	unsigned i;

	if (!len || base + (len - 1) < base)
		return NULL;
	pthread_rwlock_wrlock(&bus->lock);
	i = n_upto(ranges, base);
	if (!overlaps(ranges, i, base, base + (len - 1))) {
		range = g_new(MachineBusRange, 1);
		*range = (MachineBusRange){ space, base, len, ops, opaque };
		g_ptr_array_insert(ranges, (int)i, range);
	}
	pthread_rwlock_unlock(&bus->lock);
	return range;
}

void machine_bus_remove(MachineBus *bus, MachineBusRange *range)
{
	if (!range)
		return;
	pthread_rwlock_wrlock(&bus->lock);
	g_ptr_array_remove(bus->spaces[range->space].ranges, range);
	pthread_rwlock_unlock(&bus->lock);
}

/*
 * What answers at ADDRESS, into RET. Returns how many of LEN bytes from there on it (or, with
 * ops NULL, nobody) answers for.
 */
static uint32_t look_up(MachineBus *bus, MachineBusSpace space, uint64_t address, uint32_t len,
			MachineBusRange *ret)
{
	const GPtrArray *ranges = bus->spaces[space].ranges;
	uint64_t run = len;
	unsigned i;

	*ret = (MachineBusRange){ .ops = NULL };
	pthread_rwlock_rdlock(&bus->lock);
	i = n_upto(ranges, address);
	if (i) {
		const MachineBusRange *range = ranges->pdata[i - 1];

		if (address - range->base < range->len) {
			*ret = *range;
			run = range->len - (address - range->base);
		}
	}
	if (!ret->ops && i < ranges->len)
		run = ((const MachineBusRange *)ranges->pdata[i])->base - address;
	pthread_rwlock_unlock(&bus->lock);
	return (uint32_t)MIN(run, len);
}

void machine_bus_access(MachineBus *bus, MachineBusSpace space, uint64_t address, void *buf,
			uint32_t len, bool is_write)
{
	uint8_t *bytes = buf;
	bool is_unclaimed = false;

	while (len) {
		MachineBusRange range;
		uint32_t n = look_up(bus, space, address, len, &range);

		if (!range.ops) {
			is_unclaimed = true;
			if (!is_write)
				memset(bytes, 0xff, n);
		} else if (is_write) {
			range.ops->write(range.opaque, address - range.base, bytes, n);
		} else {
			range.ops->read(range.opaque, address - range.base, bytes, n);
		}
		bytes += n;
		address += n;
		len -= n;
	}
	if (is_unclaimed)
		atomic_fetch_add(&bus->spaces[space].n_unclaimed, 1);
}

uint64_t machine_bus_n_unclaimed(MachineBus *bus, MachineBusSpace space)
{
	return atomic_load(&bus->spaces[space].n_unclaimed);
}
