/* SPDX-License-Identifier: BSD-3-Clause */
/* Random numbers that a seed repeats. */
#ifndef HAMMER_RANDOM_H
#define HAMMER_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct Random {
	uint64_t state;
} Random;

/* splitmix64: every seed is a good one, 0 too. */
static inline uint64_t random_next(Random *random)
{
	uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline uint32_t random_below(Random *random, uint32_t n)
{
	return (uint32_t)((random_next(random) >> 32) * n >> 32);
}

/* A value as registers like them: any, few bits, all ones, or small. */
static inline uint64_t random_value(Random *random)
{
	switch (random_below(random, 6)) {
	case 0:
		return UINT64_MAX;
	case 1:
		return UINT64_C(1) << random_below(random, 64);
	case 2:
		return random_below(random, 256);
	case 3:
		return random_next(random) & random_next(random) & random_next(random);
	default:
		return random_next(random);
	}
}

static inline void random_fill(Random *random, void *buf, size_t len)
{
	uint8_t *bytes = buf;

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)random_next(random);
}

#endif
