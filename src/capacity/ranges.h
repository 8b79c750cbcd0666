/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks of the DPA ranges in 4802h and 4803h that are the same for both. */
#ifndef CAPACITY_RANGES_H
#define CAPACITY_RANGES_H

#include "capacity/capacity.h"

/*
 * Sorts RANGES by DPA. Zero length, a sum beyond 2^64, misaligned to the region's block, or
 * overlapping: 1Eh; not inside one region: 0Fh.
 */
enum cxl_rc ranges_check(const DcDevice *dev, GArray *ranges);

/*
 * One part of a response. With MORE it is added to COLLECTED; without, *RET_ALL gets everything. A
 * response of more than MAX ranges in all is refused (1Dh). COLLECTED is empty after a refusal and
 * after the last part: a response that failed in one part has failed.
 */
enum cxl_rc ranges_collect(GArray *collected, const DcRange *ranges, size_t n, bool more,
			   uint32_t max, GArray **ret_all);

#endif
