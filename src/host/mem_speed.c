/* SPDX-License-Identifier: BSD-3-Clause */
/* How fast memory is: two ranges measured turn by turn, so that noise meets both alike. */
#include "host/mem_speed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINE_LEN    64
#define CHASE_STEPS (UINT64_C(1) << 20)
#define MAX_ROUNDS  101

/* Stops the compiler from dropping or moving memory work around the clock. */
#define BARRIER() __asm__ volatile("" ::: "memory")

typedef struct Line {
	uint64_t next;
	uint64_t unused[7];
} Line;
static_assert(sizeof(Line) == LINE_LEN, "a cache line");

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static double write_gbps(void *memory, uint64_t len, unsigned char value)
{
	uint64_t start = now_ns();

	memset(memory, value, len);
	BARRIER();
	return (double)len / (double)(now_ns() - start);
}

static double read_gbps(const void *memory, uint64_t len)
{
	const uint64_t *words = memory;
	uint64_t sums[8] = { 0 };
	uint64_t start = now_ns();

	/* Eight chains, so that additions do not wait for each other. */
	for (uint64_t i = 0; i < len / sizeof(*words); i += 8) {
		for (unsigned j = 0; j < 8; j++)
			sums[j] += words[i + j];
	}
	for (unsigned j = 1; j < 8; j++)
		sums[0] += sums[j];
	__asm__ volatile("" : : "r"(sums[0]) : "memory");
	return (double)len / (double)(now_ns() - start);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Links all lines into one cycle in random order (Sattolo), the same one for the same seed. */
static void link_lines(Line *lines, uint64_t n, uint64_t seed)
{
	for (uint64_t i = 0; i < n; i++)
		lines[i].next = i;
	for (uint64_t i = n - 1; i > 0; i--) {
		uint64_t j = next_random(&seed) % i;
		uint64_t next = lines[i].next;

		lines[i].next = lines[j].next;
		lines[j].next = next;
	}
}

static double chase_ns(const Line *lines, uint64_t *position)
{
	uint64_t at = *position;
	uint64_t start = now_ns();

	for (uint64_t i = 0; i < CHASE_STEPS; i++)
		at = lines[at].next;
	__asm__ volatile("" : "+r"(at));
	*position = at;
	return (double)(now_ns() - start) / (double)CHASE_STEPS;
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

/* One kind of measurement over all rounds: [0] extent, [1] ordinary, [2] extent / ordinary. */
typedef double Series[3][MAX_ROUNDS];

/* Who goes first changes each round: the second finds caches and clocks as the first left them. */
#define MEASURE(series, round, expr_extent, expr_ordinary)                    \
	do {                                                                  \
		if ((round) % 2) {                                            \
			(series)[1][round] = (expr_ordinary);                 \
			(series)[0][round] = (expr_extent);                   \
		} else {                                                      \
			(series)[0][round] = (expr_extent);                   \
			(series)[1][round] = (expr_ordinary);                 \
		}                                                             \
		(series)[2][round] = (series)[0][round] / (series)[1][round]; \
	} while (0)

void mem_speed_compare(void *extent, void *ordinary, uint64_t len, unsigned rounds,
		       MemSpeedResult *ret)
{
	uint64_t n_lines = len / LINE_LEN, at_extent = 0, at_ordinary = 0;
	Series write, read, latency;

	assert(len >= MEM_SPEED_MIN_LEN && len % 4096 == 0);
	assert(rounds >= 3 && rounds <= MAX_ROUNDS);

	for (unsigned i = 0; i < rounds; i++) {
		MEASURE(write, i, write_gbps(extent, len, (unsigned char)i),
			write_gbps(ordinary, len, (unsigned char)i));
		MEASURE(read, i, read_gbps(extent, len), read_gbps(ordinary, len));
	}
	link_lines(extent, n_lines, 88172645463325252u);
	link_lines(ordinary, n_lines, 88172645463325252u);
	for (unsigned i = 0; i < rounds; i++)
		MEASURE(latency, i, chase_ns(extent, &at_extent), chase_ns(ordinary, &at_ordinary));

	*ret = (MemSpeedResult){
		.read_ratio = median(read[2], rounds),
		.write_ratio = median(write[2], rounds),
		/* Less is better here, so the other way up. */
		.latency_ratio = 1.0 / median(latency[2], rounds),
		.extent = {
			.write_gbps = median(write[0], rounds),
			.read_gbps = median(read[0], rounds),
			.latency_ns = median(latency[0], rounds),
		},
		.ordinary = {
			.write_gbps = median(write[1], rounds),
			.read_gbps = median(read[1], rounds),
			.latency_ns = median(latency[1], rounds),
		},
		.rounds = rounds,
	};
}
