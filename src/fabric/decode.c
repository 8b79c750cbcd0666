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

/* One turn of the inner level is one granule of the outer one. */
static bool is_inner(DecodeInterleave inner, DecodeInterleave outer)
{
	return (uint64_t)inner.granularity * inner.ways == outer.granularity;
}

bool decode_is_nested(DecodeInterleave window, DecodeInterleave bridge, DecodeInterleave endpoint)
{
	if (endpoint.ways != window.ways * bridge.ways)
		return false;
	if (endpoint.ways == 1)
		return true;
	if (bridge.ways == 1)
		return endpoint.granularity == window.granularity;
	if (window.ways == 1)
		return endpoint.granularity == bridge.granularity;
	return (endpoint.granularity == window.granularity && is_inner(window, bridge)) ||
	       (endpoint.granularity == bridge.granularity && is_inner(bridge, window));
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
	/* Nested levels take every position once in a turn. */
	g_assert_not_reached();
}
