/* SPDX-License-Identifier: BSD-3-Clause */
/* Interleave arithmetic: bijection, inverse, edges of granules, levels nested in each other. */

#include "fabric/decode.h"
#include <glib.h>
#include <string.h>

#define MIB256 (UINT64_C(256) << 20)

static const unsigned all_ways[] = { 1, 2, 4, 8, 16, 3, 6, 12 };

static void test_valid(void)
{
	for (unsigned ways = 0; ways < 40; ways++) {
		bool is_known = false;

		for (size_t i = 0; i < G_N_ELEMENTS(all_ways); i++)
			is_known |= all_ways[i] == ways;
		g_assert_true(decode_is_valid((DecodeInterleave){ ways, 256 }) == is_known);
	}
	g_assert_true(decode_is_valid((DecodeInterleave){ 2, 16384 }));
	g_assert_false(decode_is_valid((DecodeInterleave){ 2, 32768 }));
	g_assert_false(decode_is_valid((DecodeInterleave){ 2, 128 }));
	g_assert_false(decode_is_valid((DecodeInterleave){ 2, 768 }));
	g_assert_false(decode_is_valid((DecodeInterleave){ 2, 0 }));
}

static void check_offset(uint64_t offset, DecodeInterleave il, uint64_t share)
{
	unsigned pos = decode_position(offset, il);
	uint64_t device = decode_device_offset(offset, il);

	g_assert_cmpuint(pos, <, il.ways);
	g_assert_cmpuint(device, <, share);
	g_assert_cmpuint(decode_host_offset(device, pos, il), ==, offset);
}

/* Every granule of the first turns, both its edges, and random places far out. */
static void test_inverse(void)
{
	for (size_t w = 0; w < G_N_ELEMENTS(all_ways); w++) {
		for (uint32_t g = 256; g <= 16384; g *= 2) {
			DecodeInterleave il = { all_ways[w], g };
			uint64_t share = MIB256 * 4096;

			for (uint64_t granule = 0; granule < 64; granule++) {
				check_offset(granule * g, il, share);
				check_offset(granule * g + 1, il, share);
				check_offset(granule * g + g - 1, il, share);
			}
			for (int i = 0; i < 2000; i++) {
				uint64_t r = (uint64_t)g_test_rand_int() << 32 |
					     (uint32_t)g_test_rand_int();

				check_offset(r % (share * il.ways), il, share);
			}
			check_offset(share * il.ways - 1, il, share);
		}
	}
}

/* Each device's granules are hit exactly once: counted over a whole small range. */
static void test_bijection(void)
{
	const unsigned n_turns = 50;

	for (size_t w = 0; w < G_N_ELEMENTS(all_ways); w++) {
		for (uint32_t g = 256; g <= 16384; g *= 4) {
			DecodeInterleave il = { all_ways[w], g };
			g_autofree uint8_t *seen = g_malloc0(il.ways * n_turns);

			for (uint64_t n = 0; n < (uint64_t)il.ways * n_turns; n++) {
				uint64_t device = decode_device_offset(n * g, il);

				g_assert_cmpuint(device % g, ==, 0);
				seen[decode_position(n * g, il) * n_turns + device / g]++;
			}
			for (unsigned i = 0; i < il.ways * n_turns; i++)
				g_assert_cmpuint(seen[i], ==, 1);
		}
	}
}

/* The bit formulas for powers of two, and division for the others, as the specification has it. */
static void test_formulas(void)
{
	for (unsigned log2_ways = 0; log2_ways <= 4; log2_ways++) {
		DecodeInterleave il = { 1u << log2_ways, 1024 };
		uint64_t offset = UINT64_C(0x123456789abc);
		uint64_t want = offset >> (10 + log2_ways) << 10 | (offset & 1023);

		g_assert_cmpuint(decode_device_offset(offset, il), ==, want);
		g_assert_cmpuint(decode_position(offset, il), ==, (offset >> 10) & (il.ways - 1));
	}
	for (unsigned shift = 0; shift <= 2; shift++) {
		DecodeInterleave il = { 3u << shift, 512 };
		uint64_t offset = UINT64_C(0x123456789abc);
		uint64_t want = (offset >> (9 + shift)) / 3 << 9 | (offset & 511);

		g_assert_cmpuint(decode_device_offset(offset, il), ==, want);
	}
}

static void test_fits(void)
{
	static const struct {
		DecodeInterleave window, bridge, endpoint;
		bool ok;
	} cases[] = {
		{ { 1, 256 }, { 1, 256 }, { 1, 256 }, true },
		{ { 1, 256 }, { 1, 1024 }, { 1, 4096 }, true },
		{ { 1, 256 }, { 1, 256 }, { 2, 256 }, false },
		{ { 2, 256 }, { 1, 8192 }, { 2, 256 }, true },
		{ { 2, 256 }, { 1, 256 }, { 2, 512 }, false },
		{ { 2, 256 }, { 1, 256 }, { 1, 256 }, false },
		{ { 1, 8192 }, { 4, 512 }, { 4, 512 }, true },
		{ { 1, 512 }, { 4, 1024 }, { 4, 512 }, false },
		{ { 2, 256 }, { 2, 512 }, { 4, 256 }, true },
		{ { 2, 512 }, { 2, 256 }, { 4, 256 }, true },
		{ { 2, 256 }, { 2, 256 }, { 4, 256 }, false },
		{ { 2, 256 }, { 2, 1024 }, { 4, 256 }, false },
		{ { 2, 256 }, { 2, 512 }, { 4, 512 }, false },
		{ { 3, 512 }, { 2, 256 }, { 6, 256 }, true },
		{ { 3, 256 }, { 2, 512 }, { 6, 256 }, false },
		{ { 3, 512 }, { 2, 512 }, { 6, 512 }, true }, /* 3 and 2 have no common divisor */
		{ { 3, 512 }, { 4, 256 }, { 12, 256 }, true },
		{ { 6, 512 }, { 2, 512 }, { 12, 512 }, false },
		{ { 6, 512 }, { 2, 256 }, { 12, 256 }, true },
		{ { 3, 512 }, { 2, 512 }, { 6, 256 }, false },
		{ { 3, 1024 }, { 4, 256 }, { 12, 256 }, true },
		{ { 2, 256 }, { 8, 512 }, { 16, 256 }, true },
		{ { 3, 256 }, { 1, 256 }, { 3, 256 }, true },
		{ { 3, 256 }, { 1, 256 }, { 6, 256 }, false },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_true(decode_fits(cases[i].window, cases[i].bridge, cases[i].endpoint) ==
			      cases[i].ok);
}

/*
 * Walks addresses through window and bridge to one of ways devices each; what every device gets
 * must be all of its share, in the place its own arithmetic and position say.
 */
static void check_levels(DecodeInterleave window, DecodeInterleave bridge, uint64_t skew)
{
	uint32_t g = window.ways == 1   ? bridge.granularity
		     : bridge.ways == 1 ? window.granularity
					: MIN(window.granularity, bridge.granularity);
	DecodeInterleave endpoint = { window.ways * bridge.ways, g };
	uint64_t window_hpa = MIB256 * 12, hpa = window_hpa + skew * MIB256;
	const unsigned n_turns = 24;
	g_autofree uint8_t *seen = g_malloc0(endpoint.ways * n_turns);

	g_assert_true(decode_fits(window, bridge, endpoint));
	for (uint64_t n = 0; n < (uint64_t)endpoint.ways * n_turns; n++) {
		uint64_t at = hpa + n * g;
		DecodeRoute route = {
			.window_hpa = window_hpa,
			.window = window,
			.window_pos = decode_position(at - window_hpa, window),
			.bridge = bridge,
			.bridge_pos = decode_position(at, bridge),
			.endpoint_hpa = hpa,
			.endpoint = endpoint,
		};
		unsigned device = route.window_pos * bridge.ways + route.bridge_pos;
		unsigned pos = decode_endpoint_position(&route, hpa);
		uint64_t offset = decode_device_offset(n * g, endpoint);

		g_assert_cmpuint(pos, ==, decode_position(n * g, endpoint));
		g_assert_cmpuint(hpa + decode_host_offset(offset, pos, endpoint), ==, at);
		g_assert_cmpuint(offset / g, <, n_turns);
		seen[device * n_turns + offset / g]++;
	}
	for (unsigned i = 0; i < endpoint.ways * n_turns; i++)
		g_assert_cmpuint(seen[i], ==, 1);
}

static void test_levels(void)
{
	for (uint64_t skew = 0; skew < 4; skew++) {
		for (uint32_t g = 256; g <= 2048; g *= 2) {
			for (size_t w = 0; w < G_N_ELEMENTS(all_ways); w++)
				check_levels((DecodeInterleave){ all_ways[w], g },
					     (DecodeInterleave){ 1, 256 }, skew);
			for (unsigned b = 2; b <= 8; b *= 2) {
				check_levels((DecodeInterleave){ 1, 256 },
					     (DecodeInterleave){ b, g }, skew);
				/* either level may be the finer one */
				check_levels((DecodeInterleave){ 2, g },
					     (DecodeInterleave){ b, 2 * g }, skew);
				check_levels((DecodeInterleave){ 2, b * g },
					     (DecodeInterleave){ b, g }, skew);
				if (b <= 4)
					check_levels((DecodeInterleave){ 3, g },
						     (DecodeInterleave){ b, g }, skew);
				if (b <= 4)
					check_levels((DecodeInterleave){ 3, b * g },
						     (DecodeInterleave){ b, g }, skew);
			}
			check_levels((DecodeInterleave){ 6, 2 * g }, (DecodeInterleave){ 2, g },
				     skew);
			check_levels((DecodeInterleave){ 4, g }, (DecodeInterleave){ 4, 4 * g },
				     skew);
		}
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/fabric/decode/valid", test_valid);
	g_test_add_func("/unit/fabric/decode/inverse", test_inverse);
	g_test_add_func("/unit/fabric/decode/bijection", test_bijection);
	g_test_add_func("/unit/fabric/decode/formulas", test_formulas);
	g_test_add_func("/unit/fabric/decode/fits", test_fits);
	g_test_add_func("/unit/fabric/decode/levels", test_levels);
	return g_test_run();
}
