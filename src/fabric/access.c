/* SPDX-License-Identifier: BSD-3-Clause */
/* Accesses that no alias can serve: decoded piece by piece, from address to memory. */

#include "fabric/fabric_priv.h"
#include <string.h>

#define LOCKED_LEN (UINT64_C(64) << 10) /* how much is copied under one read lock */

/* Where an address leads, for RUN bytes from it on; PART is NULL where nothing is mapped. */
typedef struct Place {
	const Part *part;
	uint64_t dpa;
	uint64_t run;
} Place;

/* Shortens RUN to the bytes that ADDRESS has left in the range, or before it. */
static bool limit_run(uint64_t start, uint64_t len, uint64_t address, uint64_t *run)
{
	if (address < start) {
		*run = MIN(*run, start - address);
		return false;
	}
	if (address - start >= len)
		return false;
	*run = MIN(*run, len - (address - start));
	return true;
}

static void limit_to_granule(DecodeInterleave interleave, uint64_t offset, uint64_t *run)
{
	if (interleave.ways > 1)
		*run = MIN(*run, interleave.granularity - offset % interleave.granularity);
}

static Window *find_window(const Fabric *fabric, uint64_t hpa, uint64_t *run)
{
	for (unsigned i = 0; i < fabric->n_windows; i++) {
		Window *window = &fabric->windows[i];

		if (limit_run(window->config.hpa, window->config.len, hpa, run)) {
			limit_to_granule(window->interleave, hpa - window->config.hpa, run);
			return window;
		}
	}
	return NULL;
}

static const BridgeDecoder *find_bridge_decoder(const Bridge *bridge, uint64_t hpa, uint64_t *run)
{
	for (unsigned i = 0; i < bridge->config.n_decoders; i++) {
		const BridgeDecoder *decoder = &bridge->decoders[i];

		if (decoder->committed && limit_run(decoder->hpa, decoder->len, hpa, run)) {
			limit_to_granule(decoder->interleave, hpa, run);
			return decoder;
		}
	}
	return NULL;
}

static const FabricDecoder *find_decoder(const FabricEndpoint *ep, uint64_t hpa, uint64_t *run)
{
	for (unsigned i = 0; i < CXL_HDM_MAX_DECODERS; i++) {
		const FabricDecoder *decoder = &ep->decoders[i];

		if (decoder->committed && limit_run(decoder->hpa, decoder->len, hpa, run))
			return decoder;
	}
	return NULL;
}

/* Level by level, as the hardware does it. Under the access lock. */
static Place find_place(const Fabric *fabric, uint64_t hpa, uint64_t len)
{
	Place place = { .run = len };
	const Window *window = find_window(fabric, hpa, &place.run);
	const BridgeDecoder *bridge_decoder;
	const FabricDecoder *decoder;
	const FabricEndpoint *ep;
	const Bridge *bridge;
	DecodeInterleave il;
	uint64_t part_run;

	if (!window)
		return place;
	bridge = window->targets[decode_position(hpa - window->config.hpa, window->interleave)];
	bridge_decoder = find_bridge_decoder(bridge, hpa, &place.run);
	if (!bridge_decoder)
		return place;
	ep = bridge->ports[bridge_decoder
				   ->targets[decode_position(hpa, bridge_decoder->interleave)]]
		     .endpoint;
	if (!ep)
		return place;
	decoder = find_decoder(ep, hpa, &place.run);
	if (!decoder)
		return place;
	il = (DecodeInterleave){ decoder->ways, decoder->granularity };
	if (!decode_fits(window->interleave, bridge_decoder->interleave, il))
		return place;
	limit_to_granule(il, hpa - decoder->hpa, &place.run);
	place.dpa = decoder->dpa + decode_device_offset(hpa - decoder->hpa, il);
	place.part = endpoint_find_part(ep, place.dpa, &part_run);
	place.run = MIN(place.run, part_run);
	return place;
}

#define COPY_AS(type)                                                         \
	do {                                                                  \
		type value;                                                   \
		if (is_write) {                                               \
			memcpy(&value, buf, sizeof(value));                   \
			*(volatile type *)(void *)memory = value;             \
		} else {                                                      \
			value = *(const volatile type *)(const void *)memory; \
			memcpy(buf, &value, sizeof(value));                   \
		}                                                             \
	} while (0)

/* Aligned memory of a register's width in one access, so that nobody sees half of it. */
static void copy(uint8_t *memory, uint8_t *buf, uint64_t len, bool is_write)
{
	bool is_aligned = (uintptr_t)memory % len == 0;

	if (len == 8 && is_aligned)
		COPY_AS(uint64_t);
	else if (len == 4 && is_aligned)
		COPY_AS(uint32_t);
	else if (len == 2 && is_aligned)
		COPY_AS(uint16_t);
	else
		memcpy(is_write ? memory : buf, is_write ? buf : memory, len);
}

/* Returns false if nothing is mapped there, or it may not be written. */
static bool access_place(const Place *place, uint8_t *buf, bool is_write)
{
	const Map *map;
	uint8_t *hva;

	if (!place->part) {
		if (!is_write)
			memset(buf, 0xff, place->run);
		return false;
	}
	map = place->part->map;
	hva = map->hva + (place->dpa - map->config.dpa);
	if (!is_write || map->config.writable)
		copy(hva, buf, place->run, is_write);
	return !is_write || map->config.writable;
}

static void count_unmapped(Fabric *fabric, uint64_t hpa, bool is_write)
{
	uint64_t run = UINT64_MAX;
	Window *window = find_window(fabric, hpa, &run);
	uint64_t *n_reads = window ? &window->n_unmapped_reads : &fabric->n_unmapped_reads;
	uint64_t *n_writes = window ? &window->n_unmapped_writes : &fabric->n_unmapped_writes;

	__atomic_add_fetch(is_write ? n_writes : n_reads, 1, __ATOMIC_RELAXED);
}

void fabric_access(Fabric *fabric, uint64_t hpa, void *buf, uint64_t len, bool is_write)
{
	uint64_t first = hpa;
	uint8_t *at = buf;
	bool complete = true;

	if (len > 0 && hpa + (len - 1) < hpa) { /* nothing is behind the last address */
		uint64_t beyond = hpa + len;

		len -= beyond;
		if (!is_write)
			memset(at + len, 0xff, beyond);
		complete = false;
	}
	while (len > 0) {
		uint64_t locked = MIN(len, LOCKED_LEN);
		unsigned shard = access_lock_read_begin(&fabric->access);

		len -= locked;
		while (locked > 0) {
			Place place = find_place(fabric, hpa, locked);

			complete &= access_place(&place, at, is_write);
			hpa += place.run;
			at += place.run;
			locked -= place.run;
		}
		access_lock_read_end(&fabric->access, shard);
	}
	if (!complete)
		count_unmapped(fabric, first, is_write);
}
