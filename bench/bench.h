/* SPDX-License-Identifier: BSD-3-Clause */
/* What the benchmarks share: a clock, and one line of JSON per figure on stdout. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <glib.h>
#include <stdint.h>

typedef enum BenchTarget {
	BENCH_AT_MOST,
	BENCH_AT_LEAST
} BenchTarget;

uint64_t bench_now_ns(void);
/* {"name", "value", "unit", "target", "met", "better": "less" or "more"} */
void bench_report(const char *name, double value, const char *unit, BenchTarget kind,
		  double target);
/* The same without a target ("target" and "met" are null): good to know, not promised. */
void bench_info(const char *name, double value, const char *unit, BenchTarget kind);

#endif
