/* SPDX-License-Identifier: BSD-3-Clause */
/* What the benchmarks share: a clock, and one line of JSON per figure on stdout. */
#include "bench/bench.h"

#include <stdio.h>
#include <time.h>

uint64_t bench_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void bench_report(const char *name, double value, const char *unit, BenchTarget kind, double target)
{
	gboolean met = kind == BENCH_AT_MOST ? value <= target : value >= target;

	printf("{\"name\": \"%s\", \"value\": %.4f, \"unit\": \"%s\", \"target\": %.4g, "
	       "\"met\": %s, \"better\": \"%s\"}\n",
	       name, value, unit, target, met ? "true" : "false",
	       kind == BENCH_AT_MOST ? "less" : "more");
	fflush(stdout);
}

void bench_info(const char *name, double value, const char *unit, BenchTarget kind)
{
	printf("{\"name\": \"%s\", \"value\": %.4f, \"unit\": \"%s\", \"target\": null, "
	       "\"met\": null, \"better\": \"%s\"}\n",
	       name, value, unit, kind == BENCH_AT_MOST ? "less" : "more");
	fflush(stdout);
}
