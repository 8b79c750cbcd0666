/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking for input again for a few microseconds before sleeping, as long as that pays. */

/*
 * Waking a thread on another, idle CPU costs 25-60 us in a virtual machine, a round trip between
 * two that are awake 5 us. But when both ends run on one CPU, the one that looks keeps the other
 * from answering: so after a moment it yields between looks. On a busy machine that hands a whole
 * time slice to a stranger, which shows in how long it took: then nothing is yielded for a while.
 * And where looking never helps, after VFU_SPIN_PATIENCE failures in a row (more than the pauses
 * between bursts of messages make), only every VFU_SPIN_SKIP-th wait looks.
 */
#ifndef LINK_VFU_SPIN_H
#define LINK_VFU_SPIN_H

#include <glib.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#define VFU_SPIN_DEFAULT_US  50u
#define VFU_SPIN_PATIENCE    8u
#define VFU_SPIN_SKIP        4u
#define VFU_SPIN_YIELD_US    3   /* an end that is awake has often answered by then */
#define VFU_SPIN_STRANGER_US 500 /* no answer of ours takes that long */
#define VFU_SPIN_NO_YIELD    64u /* waits */

typedef struct VfuSpin {
	unsigned us; /* 0 = never */
	unsigned n_failed;
	unsigned n_skip;
	unsigned n_no_yield;
	int64_t begun; /* of the current wait; 0 = not begun */
} VfuSpin;

/* Nothing is there. True: look again. False: sleep. */
static inline bool vfu_spin_again(VfuSpin *spin)
{
	int64_t now;

	if (spin->us == 0)
		return false;
	if (spin->begun == 0) {
		if (spin->n_skip > 0) {
			spin->n_skip--;
			return false;
		}
		spin->begun = g_get_monotonic_time();
		spin->n_no_yield -= spin->n_no_yield > 0;
		return true;
	}
	now = g_get_monotonic_time();
	if (now < spin->begun + spin->us) {
		if (spin->n_no_yield == 0 && now >= spin->begun + VFU_SPIN_YIELD_US) {
			sched_yield();
			if (g_get_monotonic_time() - now >= VFU_SPIN_STRANGER_US)
				spin->n_no_yield = VFU_SPIN_NO_YIELD;
		}
		return true;
	}
	spin->begun = 0;
	spin->n_failed = MIN(spin->n_failed + 1, VFU_SPIN_PATIENCE);
	spin->n_skip = spin->n_failed < VFU_SPIN_PATIENCE ? 0 : VFU_SPIN_SKIP - 1;
	return false;
}

/* Something came. */
static inline void vfu_spin_found(VfuSpin *spin)
{
	if (spin->begun != 0)
		spin->n_failed = 0;
	spin->begun = 0;
}

#endif
