/* SPDX-License-Identifier: BSD-3-Clause */
/* Interleave arithmetic between host physical addresses and device addresses; pure functions. */
#ifndef FABRIC_DECODE_H
#define FABRIC_DECODE_H

/*
 * Design. CXL modulo arithmetic on granules, numbered from the base of whatever decodes: granule n
 * of a W-way range goes to target n mod W and is its granule n div W. That is what the bit formulas
 * of CXL 3.1 8.2.4.20.13 and 9.18.1 say for 1, 2, 4, 8, 16 and for 3, 6, 12 ways, as all bases are
 * multiples of 256 MiB. Several levels (window, host bridge) agree with what the endpoint believes
 * if in each turn of its ways every target gets one granule, always the same one: for instance if
 * the coarser level's granule is one full turn of the finer one, or with 3 and 2 ways of the same
 * granularity.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct DecodeInterleave {
	unsigned ways;        /* 1, 2, 4, 8, 16, 3, 6, 12 */
	uint32_t granularity; /* bytes, 256 << 0..6 */
} DecodeInterleave;

bool decode_is_valid(DecodeInterleave interleave);

/* OFFSET is from the base of the interleaved range; DEVICE_OFFSET is in one target's share of it.
 */
unsigned decode_position(uint64_t offset, DecodeInterleave interleave);
uint64_t decode_device_offset(uint64_t offset, DecodeInterleave interleave);
uint64_t decode_host_offset(uint64_t device_offset, unsigned position, DecodeInterleave interleave);

/*
 * Whether a window and a host bridge decoder send to one port what an endpoint decoder at that port
 * takes for its share.
 */
bool decode_fits(DecodeInterleave window, DecodeInterleave bridge, DecodeInterleave endpoint);

/*
 * The endpoint's position in a range that begins at ENDPOINT_HPA, at window position WINDOW_POS and
 * host bridge position BRIDGE_POS. FROM is any granule boundary in both window and endpoint range.
 * The three fit.
 */
typedef struct DecodeRoute {
	uint64_t window_hpa;
	DecodeInterleave window;
	unsigned window_pos;
	DecodeInterleave bridge; /* counts granules from address 0, as it selects by address bits */
	unsigned bridge_pos;
	uint64_t endpoint_hpa;
	DecodeInterleave endpoint;
} DecodeRoute;

unsigned decode_endpoint_position(const DecodeRoute *route, uint64_t from);

#endif
