/* SPDX-License-Identifier: BSD-3-Clause */
/* guest-peek: what can be done with memory. */
#include "host/mem_speed.h"
#include "peek.h"

#include <fcntl.h>
#include <immintrin.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define SMALL_PAGE 4096
#define MAX_VALUES 64
#define MAX_LEN    (UINT64_C(1) << 40)

/*
 * Loads and stores of eight bytes, nothing wider: where nothing is mapped each is an exit to the
 * machine, and KVM cannot emulate all vector instructions.
 */
static volatile uint64_t *words(const Source *source)
{
	return (volatile uint64_t *)(void *)source->memory;
}

static uint64_t pattern(uint64_t seed, uint64_t i)
{
	uint64_t word = seed * UINT64_C(0x9e3779b97f4a7c15) + i;

	word = (word ^ word >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ word >> 27) * UINT64_C(0x94d049bb133111eb);
	return word ^ word >> 31;
}

static int fill(const Source *source, const uint64_t *args)
{
	for (uint64_t i = 0; i < source->len / 8; i++)
		words(source)[i] = pattern(args[0], i);
	return 0;
}

static uint64_t eight_times(uint64_t byte)
{
	return (byte & 0xff) * UINT64_C(0x0101010101010101);
}

static int set(const Source *source, const uint64_t *args)
{
	for (uint64_t i = 0; i < source->len / 8; i++)
		words(source)[i] = eight_times(args[0]);
	return 0;
}

static int unequal(const Source *source, uint64_t i, uint64_t want)
{
	printf("{\"source\": \"%s\", \"offset\": %" PRIu64 ", \"value\": \"%016" PRIx64
	       "\", \"want\": \"%016" PRIx64 "\"}\n",
	       source->name, i * 8, words(source)[i], want);
	return 1;
}

static int check(const Source *source, const uint64_t *args)
{
	for (uint64_t i = 0; i < source->len / 8; i++) {
		if (words(source)[i] != pattern(args[0], i))
			return unequal(source, i, pattern(args[0], i));
	}
	return 0;
}

static int same(const Source *source, const uint64_t *args)
{
	uint64_t want = eight_times(args[0]);

	for (uint64_t i = 0; i < source->len / 8; i++) {
		if (words(source)[i] != want)
			return unequal(source, i, want);
	}
	return 0;
}

/* Distinct values seen, and how often; what does not fit is counted together. */
typedef struct Seen {
	uint64_t values[MAX_VALUES], counts[MAX_VALUES];
	unsigned n;
	uint64_t others;
} Seen;

static void note(Seen *seen, uint64_t value)
{
	unsigned i = 0;

	while (i < seen->n && seen->values[i] != value)
		i++;
	if (i == MAX_VALUES) {
		seen->others++;
		return;
	}
	if (i == seen->n) {
		seen->values[seen->n++] = value;
		seen->counts[i] = 0;
	}
	seen->counts[i]++;
}

static void note_all(Seen *seen, const Source *source)
{
	for (uint64_t at = 0; at < source->len; at += SMALL_PAGE)
		note(seen, words(source)[at / 8]);
}

/*
 * A word of each page, round and round, as fast as it goes, until stdin ends. A whole round comes
 * before what this prints first and after the end of stdin, so that what was there at either time
 * has been seen, however slow the CPU is.
 */
static int watch(const Source *source, const uint64_t *args)
{
	Seen seen = { .n = 0 };
	char byte;

	(void)args;
	fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	note_all(&seen, source);
	puts("{\"watching\": true}");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) != 0)
		note_all(&seen, source);
	note_all(&seen, source);
	printf("{\"watched\": [");
	for (unsigned i = 0; i < seen.n; i++)
		printf("%s[\"%016" PRIx64 "\", %" PRIu64 "]", i ? ", " : "", seen.values[i],
		       seen.counts[i]);
	printf("], \"others\": %" PRIu64 "}\n", seen.others);
	return 0;
}

/* Loads of 32 bytes at once, which KVM can carry out only where there is memory. */
__attribute__((target("avx"))) static uint64_t load_vector(const volatile uint64_t *at)
{
	__m256i vector = _mm256_loadu_si256((const __m256i *)at);

	return (uint64_t)_mm_cvtsi128_si64(_mm256_castsi256_si128(vector));
}

/* Checks what fill() left there, all the time, until stdin ends. */
static int vectors(const Source *source, const uint64_t *args)
{
	bool has_avx = __builtin_cpu_supports("avx");
	uint64_t n = 0;
	char byte;

	fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	puts("{\"watching\": true}");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) != 0) {
		for (uint64_t i = 0; i < source->len / 8; i += SMALL_PAGE / 8, n++) {
			uint64_t have = has_avx ? load_vector(words(source) + i) : words(source)[i];

			if (have != pattern(args[0], i))
				return unequal(source, i, pattern(args[0], i));
		}
	}
	printf("{\"loads\": %" PRIu64 ", \"avx\": %s}\n", n, has_avx ? "true" : "false");
	return 0;
}

static void print_speed(const char *name, const MemSpeed *speed, uint64_t page_len)
{
	printf("\"%s\": {\"write_gbps\": %.4f, \"read_gbps\": %.4f, \"latency_ns\": %.1f, "
	       "\"page\": %" PRIu64 "}, ",
	       name, speed->write_gbps, speed->read_gbps, speed->latency_ns, page_len);
}

static void print_ratios(const MemSpeedResult *result)
{
	const MemSpeedSpread *read = &result->read_spread, *write = &result->write_spread,
			     *latency = &result->latency_spread;

	printf("\"ratio\": {\"read\": %.4f, \"write\": %.4f, \"latency\": %.4f}, ",
	       result->read_ratio, result->write_ratio, result->latency_ratio);
	printf("\"spread\": {\"read\": [%.4f, %.4f], \"write\": [%.4f, %.4f], "
	       "\"latency\": [%.4f, %.4f]}",
	       read->low, read->high, write->low, write->high, latency->low, latency->high);
}

static void touch(const Source *source)
{
	for (uint64_t at = 0; at < source->len; at += SMALL_PAGE)
		words(source)[at / 8] = 1;
}

static int speed(const Source *source, const uint64_t *args)
{
	uint64_t page_len, ordinary_page_len;
	Source ordinary;
	MemSpeedResult result;

	if (source->len < MEM_SPEED_MIN_LEN || source->len > MAX_LEN)
		die("speed needs at least %" PRIu64 " bytes", MEM_SPEED_MIN_LEN);
	if (args[0] < 3 || args[0] > MEM_SPEED_MAX_ROUNDS)
		die("speed needs 3 to %d rounds", MEM_SPEED_MAX_ROUNDS);
	touch(source);
	page_len = source_page_len(source);
	ordinary = source_ordinary(source->len, page_len);
	ordinary_page_len = source_page_len(&ordinary);
	mem_speed_compare(source->memory, ordinary.memory, source->len, (unsigned)args[0], &result);
	printf("{\"source\": \"%s\", \"len\": %" PRIu64 ", \"rounds\": %u, ", source->name,
	       source->len, result.rounds);
	print_speed("memory", &result.extent, page_len);
	print_speed("ordinary", &result.ordinary, ordinary_page_len);
	printf("\"comparable\": %s, ",
	       page_len != 0 && page_len == ordinary_page_len ? "true" : "false");
	print_ratios(&result);
	puts("}");
	return 0;
}

/* Mean time of one load or store of eight bytes at random places, in ns. */
static double mean_access_ns(const Source *source, uint64_t n, bool is_write)
{
	uint64_t n_words = source->len / 8;
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (uint64_t i = 0; i < n; i++) {
		volatile uint64_t *word = &words(source)[pattern(1, i) % n_words];

		if (is_write)
			*word = i;
		else
			(void)*word;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	return ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) /
	       (double)n;
}

/* For memory whose every access is carried out by somebody else: too slow for speed(). */
static int trickle(const Source *source, const uint64_t *args)
{
	double times[2][2]; /* [whose][is_write] */
	Source ordinary;

	if (args[0] == 0)
		die("trickle needs at least one access");
	touch(source);
	ordinary = source_ordinary(source->len, source_page_len(source));
	for (int is_write = 0; is_write < 2; is_write++) {
		times[0][is_write] = mean_access_ns(source, args[0], is_write);
		times[1][is_write] = mean_access_ns(&ordinary, args[0], is_write);
	}
	printf("{\"source\": \"%s\", \"len\": %" PRIu64 ", \"accesses\": %" PRIu64
	       ", \"memory\": {\"load_ns\": %.1f, \"store_ns\": %.1f}, "
	       "\"ordinary\": {\"load_ns\": %.1f, \"store_ns\": %.1f}, "
	       "\"ratio\": {\"load\": %.6f, \"store\": %.6f}}\n",
	       source->name, source->len, args[0], times[0][0], times[0][1], times[1][0],
	       times[1][1], times[1][0] / times[0][0], times[1][1] / times[0][1]);
	return 0;
}

/* Both in one process: memory of a node is gone with it. */
static int try_out(const Source *source, const uint64_t *args)
{
	fill(source, args);
	return check(source, args);
}

const Command commands[] = {
	{ "fill", 1, fill },   { "check", 1, check },     { "set", 1, set },
	{ "same", 1, same },   { "try", 1, try_out },     { "watch", 0, watch },
	{ "speed", 1, speed }, { "trickle", 1, trickle }, { "vectors", 1, vectors },
};
const size_t n_commands = sizeof(commands) / sizeof(commands[0]);
