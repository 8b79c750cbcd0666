/* SPDX-License-Identifier: BSD-3-Clause */
/* Bus: who answers a guest's access to an address that is no memory, and to an I/O port. */
#ifndef MACHINE_BUS_H
#define MACHINE_BUS_H

/*
 * Ranges do not overlap. Lookups take a read lock for a few comparisons, never across an op, so an
 * op may add and remove ranges, its own too. Removing does not wait: an op found before may still
 * be running or about to run, so OPAQUE outlives the machine's vCPUs.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct MachineBus MachineBus;
typedef struct MachineBusRange MachineBusRange;

typedef enum MachineBusSpace {
	MACHINE_BUS_MMIO,
	MACHINE_BUS_PIO,
	MACHINE_BUS_N_SPACES,
} MachineBusSpace;

/*
 * Called from any vCPU thread, several at once. offset + len is inside the range. LEN is 1..8 from
 * a guest, in any alignment. READ fills all of BUF.
 */
typedef struct MachineBusOps {
	void (*read)(void *opaque, uint64_t offset, void *buf, uint32_t len);
	void (*write)(void *opaque, uint64_t offset, const void *buf, uint32_t len);
} MachineBusOps;

MachineBus *machine_bus_new(void);
void machine_bus_free(MachineBus *bus);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MachineBus, machine_bus_free)

/* OPS must stay. NULL if LEN is 0, the range wraps, or it overlaps another one. */
MachineBusRange *machine_bus_add(MachineBus *bus, MachineBusSpace space, uint64_t base,
				 uint64_t len, const MachineBusOps *ops, void *opaque);
/* RANGE may be NULL; it is gone afterwards. */
void machine_bus_remove(MachineBus *bus, MachineBusRange *range);

/* Bytes nobody answers for are ones, or dropped, and the access is counted. */
void machine_bus_access(MachineBus *bus, MachineBusSpace space, uint64_t address, void *buf,
			uint32_t len, bool is_write);
/* Accesses to addresses nobody answers for. */
uint64_t machine_bus_n_unclaimed(MachineBus *bus, MachineBusSpace space);

#endif
