/* SPDX-License-Identifier: BSD-3-Clause */
/* Interleave arithmetic between host physical addresses and device addresses; pure functions. */

#include "fabric/decode.h"
#include "cxl/component.h"
#include <glib.h>

bool decode_is_valid(DecodeInterleave interleave)
{
	return cxl_iw_encode(interleave.ways) >= 0 && cxl_ig_encode(interleave.granularity) >= 0;
}

unsigned decode_position(uint64_t offset, DecodeInterleave interleave)
{
	return (unsigned)(offset / interleave.granularity % interleave.ways);
}

uint64_t decode_device_offset(uint64_t offset, DecodeInterleave interleave)
{
	uint64_t granule = offset / interleave.granularity / interleave.ways;

	return granule * interleave.granularity + offset % interleave.granularity;
}

uint64_t decode_host_offset(uint64_t device_offset, unsigned position, DecodeInterleave interleave)
{
	uint64_t granule = device_offset / interleave.granularity * interleave.ways + position;

	return granule * interleave.granularity + device_offset % interleave.granularity;
}

static bool is_coprime(unsigned a, unsigned b)
{
	while (b != 0) {
		unsigned rest = a % b;

		a = b;
		b = rest;
	}
	return a == 1;
}

/*
 * Granule n of the finer level goes to (n div RATIO mod outer.ways, n mod inner.ways). All pairs
 * come once in a turn of inner.ways * outer.ways granules, and in the same order in every turn, if
 * RATIO divides inner.ways and the outer level's step from one inner turn to the next has no
 * divisor in common with its ways.
 */
static bool is_full_turn(DecodeInterleave inner, DecodeInterleave outer)
{
	unsigned ratio = outer.granularity / inner.granularity;

	return inner.ways % ratio == 0 && is_coprime(inner.ways / ratio, outer.ways);
}

bool decode_fits(DecodeInterleave window, DecodeInterleave bridge, DecodeInterleave endpoint)
{
	if (endpoint.ways != window.ways * bridge.ways)
		return false;
	if (endpoint.ways == 1)
		return true;
	if (bridge.ways == 1)
		return endpoint.granularity == window.granularity;
	if (window.ways == 1)
		return endpoint.granularity == bridge.granularity;
	if (bridge.granularity <= window.granularity)
		return endpoint.granularity == bridge.granularity && is_full_turn(bridge, window);
	return endpoint.granularity == window.granularity && is_full_turn(window, bridge);
}

unsigned decode_endpoint_position(const DecodeRoute *route, uint64_t from)
{
	uint32_t granularity = route->endpoint.granularity;

	for (unsigned i = 0; i < route->endpoint.ways; i++) {
		uint64_t hpa = from + (uint64_t)i * granularity;

		if (decode_position(hpa - route->window_hpa, route->window) == route->window_pos &&
		    decode_position(hpa, route->bridge) == route->bridge_pos)
			return decode_position(hpa - route->endpoint_hpa, route->endpoint);
	}
	/* Levels that fit take every position once in a turn. */
	g_assert_not_reached();
}
