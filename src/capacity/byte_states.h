/* SPDX-License-Identifier: BSD-3-Clause */
/* What each byte of a shareable backend counts as while several devices use it. */
#ifndef CAPACITY_BYTE_STATES_H
#define CAPACITY_BYTE_STATES_H

#include "capacity/extent.h"

/*
 * A byte counts once, as the strongest thing any user does with it: accepted, reserved, draining,
 * quarantined, free. Kept as segments with a use count per state; a move costs O(log n) and a step
 * per border of other users' extents inside the range.
 */
typedef struct ByteStates ByteStates;

ByteStates *byte_states_new(uint64_t len);
void byte_states_free(ByteStates *states);
/* One user's LEN bytes from OFFSET on change and COUNTERS with them. */
void byte_states_move(ByteStates *states, uint64_t offset, uint64_t len, ByteState from,
		      ByteState to, CapacityCounters *counters);

#endif
