/* SPDX-License-Identifier: BSD-3-Clause */
/* How fast memory is: two ranges measured turn by turn, so that noise meets both. libc only. */
#ifndef HOST_MEM_SPEED_H
#define HOST_MEM_SPEED_H

#include <stddef.h>
#include <stdint.h>

#define MEM_SPEED_MIN_LEN (UINT64_C(256) << 20) /* far beyond any cache */

typedef struct MemSpeed {
	double write_gbps, read_gbps; /* 10^9 bytes per second */
	double latency_ns;            /* one dependent load at a random line */
} MemSpeed;

typedef struct MemSpeedResult {
	MemSpeed extent, ordinary; /* medians over the rounds */
	/* Medians of each round's own ratio; larger is better for the extent, 1.0 is equal. */
	double read_ratio, write_ratio, latency_ratio;
	unsigned rounds;
} MemSpeedResult;

/*
 * Compares LEN bytes (multiple of 4096, at least MEM_SPEED_MIN_LEN) at EXTENT with as many at
 * ORDINARY, both writable and already touched; overwrites both. ROUNDS is odd and at least 3.
 */
void mem_speed_compare(void *extent, void *ordinary, uint64_t len, unsigned rounds,
		       MemSpeedResult *ret);

double median(double *values, size_t n); /* sorts VALUES; N >= 1 */

#endif
