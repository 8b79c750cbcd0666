/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking for input again for a few microseconds before sleeping, as long as that pays. */

/*
 * Waking a thread on another, idle CPU costs 25-60 us in a virtual machine, a round trip between
 * two that are awake 5 us. But when both ends run on one CPU, the one that looks keeps the other
 * from answering. sched_yield() would help there, and hand whole time slices to strangers when the
 * machine is busy. So we count: looking that failed several times in a row is left out for a number
 * of turns that doubles, up to 63.
 */
#ifndef LINK_VFU_SPIN_H
#define LINK_VFU_SPIN_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define VFU_SPIN_DEFAULT_US 50u

typedef struct VfuSpin {
	unsigned us; /* 0 = never */
	unsigned n_failed;
	unsigned n_skip;
	int64_t end; /* of the current wait; 0 = not begun */
} VfuSpin;

/* Nothing is there. True: look again. False: sleep. */
static inline bool vfu_spin_again(VfuSpin *spin)
{
	if (spin->us == 0)
		return false;
	if (spin->end == 0) {
		if (spin->n_skip > 0) {
			spin->n_skip--;
			return false;
		}
		spin->end = g_get_monotonic_time() + spin->us;
		return true;
	}
	if (g_get_monotonic_time() < spin->end)
		return true;
	spin->end = 0;
	spin->n_skip = (1u << spin->n_failed) - 1;
	spin->n_failed = MIN(spin->n_failed + 1, 6);
	return false;
}

/* Something came. */
static inline void vfu_spin_found(VfuSpin *spin)
{
	if (spin->end != 0)
		spin->n_failed = 0;
	spin->end = 0;
}

#endif
