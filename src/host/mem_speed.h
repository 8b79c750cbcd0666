/* SPDX-License-Identifier: BSD-3-Clause */
/* How fast memory is: two ranges compared in short turns, so that noise meets both. libc only. */
#ifndef HOST_MEM_SPEED_H
#define HOST_MEM_SPEED_H

#include <stddef.h>
#include <stdint.h>

#define MEM_SPEED_MIN_LEN    (UINT64_C(256) << 20) /* far beyond any cache */
#define MEM_SPEED_MAX_ROUNDS 15

typedef struct MemSpeed {
	double write_gbps, read_gbps; /* 10^9 bytes per second */
	double latency_ns;            /* one dependent load at a random line */
} MemSpeed;

/* Of a median: with a probability of 95 % the true one lies between these. */
typedef struct MemSpeedSpread {
	double low, high;
} MemSpeedSpread;

typedef struct MemSpeedResult {
	MemSpeed extent, ordinary; /* medians over the turns */
	/* Medians of each turn's own ratio; larger is better for the extent, 1.0 is equal. */
	double read_ratio, write_ratio, latency_ratio;
	MemSpeedSpread read_spread, write_spread, latency_spread;
	unsigned rounds;
} MemSpeedResult;

/*
 * Compares LEN bytes (multiple of 4096, at least MEM_SPEED_MIN_LEN) at EXTENT with as many at
 * ORDINARY, both writable and in pages of the same size; overwrites both. ROUNDS, 3 to
 * MEM_SPEED_MAX_ROUNDS, is how often all of it is read and written: the more, the less the spread.
 */
void mem_speed_compare(void *extent, void *ordinary, uint64_t len, unsigned rounds,
		       MemSpeedResult *ret);

double median(double *values, size_t n); /* sorts VALUES; N >= 1 */

#endif
