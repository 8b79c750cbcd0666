/* SPDX-License-Identifier: BSD-3-Clause */
/* How fast memory is: two ranges compared in short turns, so that noise meets both alike. */

/*
 * Design. A turn is a little work in one range and at once the same in the other, and gives one
 * ratio; what counts is the median of many. Turns are so short that most have the machine for
 * themselves however busy it is. Those that have not are as often too good as too bad, because each
 * range is first in half of them. What changes slowly, as the size of an emulated CPU's TLB does,
 * meets both sides of a turn.
 */
#include "host/mem_speed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINE_LEN    64
#define ROUND_TURNS 512u
#define MAX_TURNS   (ROUND_TURNS * MEM_SPEED_MAX_ROUNDS)
#define CHASE_STEPS 1024u

/* Stops the compiler from dropping or moving memory work around the clock. */
#define BARRIER() __asm__ volatile("" ::: "memory")

typedef struct Line {
	uint64_t next;
	uint64_t unused[7];
} Line;
static_assert(sizeof(Line) == LINE_LEN, "a cache line");

/* One of the two ranges. */
typedef struct Side {
	uint8_t *memory;
	uint64_t position; /* the line that the chase has come to */
} Side;

/* What a turn does with a side: TURN-th of those of a round, LEN bytes for each. */
typedef void Work(Side *side, uint64_t turn, uint64_t len);

/* Not memset(): string instructions are slow where a CPU is emulated, and a turn is to be short. */
static void write_part(Side *side, uint64_t turn, uint64_t len)
{
	uint64_t *words = (void *)(side->memory + turn * len);

	for (uint64_t i = 0; i < len / sizeof(*words); i += 8) {
		for (unsigned j = 0; j < 8; j++)
			words[i + j] = turn;
		BARRIER();
	}
}

static void read_part(Side *side, uint64_t turn, uint64_t len)
{
	const uint64_t *words = (const void *)(side->memory + turn * len);
	uint64_t sums[8] = { 0 };

	/* Eight chains, so that additions do not wait for each other. */
	for (uint64_t i = 0; i < len / sizeof(*words); i += 8) {
		for (unsigned j = 0; j < 8; j++)
			sums[j] += words[i + j];
	}
	for (unsigned j = 1; j < 8; j++)
		sums[0] += sums[j];
	__asm__ volatile("" : : "r"(sums[0]) : "memory");
}

static void chase(Side *side, uint64_t turn, uint64_t len)
{
	const Line *lines = (const void *)side->memory;
	uint64_t at = side->position;

	(void)turn;
	(void)len;
	for (unsigned i = 0; i < CHASE_STEPS; i++)
		at = lines[at].next;
	__asm__ volatile("" : "+r"(at));
	side->position = at;
}

/*
 * Links the lines of the largest power of two below LEN into one cycle, the same for each side: a
 * linear congruence of full period, whose jumps no prefetcher foresees.
 */
static void link_lines(Side *side, uint64_t len)
{
	uint64_t n = UINT64_C(1) << (63 - __builtin_clzll(len / LINE_LEN));
	Line *lines = (void *)side->memory;

	for (uint64_t i = 0; i < n; i++)
		lines[i].next = (i * UINT64_C(6364136223846793005) + 88172645463325253u) & (n - 1);
}

static double time_ns(Work *work, Side *side, uint64_t turn, uint64_t len)
{
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	work(side, turn, len);
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec);
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), compare_doubles);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/*
 * Of the median of N sorted values. How many lie below it is binomial: its standard deviation is
 * half the root of N, and two of them are 95 %.
 */
static MemSpeedSpread spread(const double *sorted, size_t n)
{
	size_t reach = 0;

	while (reach * reach < n)
		reach++;
	return (MemSpeedSpread){ sorted[n / 2 - reach], sorted[n / 2 + reach] };
}

typedef struct Comparison {
	double extent_ns, ordinary_ns; /* medians */
	double ratio;                  /* 1.0 is equal, more is faster */
	MemSpeedSpread spread;
} Comparison;

static Comparison compare(Side sides[2], Work *work, uint64_t len, unsigned rounds)
{
	double ns[2][MAX_TURNS], ratios[MAX_TURNS];
	unsigned n = rounds * ROUND_TURNS;
	Comparison result;

	for (unsigned i = 0; i < n; i++) {
		unsigned first = (i + i / ROUND_TURNS) % 2;

		ns[first][i] = time_ns(work, &sides[first], i % ROUND_TURNS, len);
		ns[!first][i] = time_ns(work, &sides[!first], i % ROUND_TURNS, len);
		ratios[i] = ns[1][i] / ns[0][i];
	}
	result.extent_ns = median(ns[0], n);
	result.ordinary_ns = median(ns[1], n);
	result.ratio = median(ratios, n);
	result.spread = spread(ratios, n);
	return result;
}

void mem_speed_compare(void *extent, void *ordinary, uint64_t len, unsigned rounds,
		       MemSpeedResult *ret)
{
	Side sides[2] = { { .memory = extent }, { .memory = ordinary } };
	uint64_t part_len = len / ROUND_TURNS / 4096 * 4096;
	Comparison write, read, latency;

	assert(len >= MEM_SPEED_MIN_LEN && len % 4096 == 0);
	assert(rounds >= 3 && rounds <= MEM_SPEED_MAX_ROUNDS);

	/* Not counted: here page tables and memory come into being. */
	for (unsigned i = 0; i < 2; i++)
		memset(sides[i].memory, 0, len);
	write = compare(sides, write_part, part_len, rounds);
	read = compare(sides, read_part, part_len, rounds);
	for (unsigned i = 0; i < 2; i++)
		link_lines(&sides[i], len);
	latency = compare(sides, chase, 0, rounds);

	*ret = (MemSpeedResult){
		.read_ratio = read.ratio,
		.write_ratio = write.ratio,
		.latency_ratio = latency.ratio,
		.read_spread = read.spread,
		.write_spread = write.spread,
		.latency_spread = latency.spread,
		.extent = {
			.write_gbps = (double)part_len / write.extent_ns,
			.read_gbps = (double)part_len / read.extent_ns,
			.latency_ns = latency.extent_ns / CHASE_STEPS,
		},
		.ordinary = {
			.write_gbps = (double)part_len / write.ordinary_ns,
			.read_gbps = (double)part_len / read.ordinary_ns,
			.latency_ns = latency.ordinary_ns / CHASE_STEPS,
		},
		.rounds = rounds,
	};
}
