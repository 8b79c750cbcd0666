/* SPDX-License-Identifier: BSD-3-Clause */
/* Extent: one DPA range backed by one range of memory, with the one life all of them have. */
#ifndef CAPACITY_EXTENT_H
#define CAPACITY_EXTENT_H

#include "capacity/capacity.h"

struct Offer;

/*
 * Life of an extent, seen from its DPA range. NEW and the three ends count as free. A forced
 * release quarantines the range until the host has said that it knows.
 */
typedef enum ExtentState {
	EXTENT_NEW,
	EXTENT_QUEUED,
	EXTENT_OFFERED,
	EXTENT_ACCEPTED,
	EXTENT_DRAINING,    /* not confirmed as unreachable, or not wiped */
	EXTENT_QUARANTINED, /* forced out, the host has not answered with 4803h */
	EXTENT_DECLINED,
	EXTENT_WITHDRAWN,
	EXTENT_FREED,
	EXTENT_N_STATES
} ExtentState;

/* What a byte counts as, in every CapacityCounters. */
typedef enum ByteState {
	BYTES_FREE,
	BYTES_RESERVED,
	BYTES_ACCEPTED,
	BYTES_DRAINING,
	BYTES_QUARANTINED,
	BYTES_N_STATES
} ByteState;

/* What the host side has been asked to do with the extent's mapping. */
typedef enum MapState {
	MAP_NONE,
	MAP_PREPARING, /* nothing reachable: drop it to end it */
	MAP_EXPOSING,  /* may be reachable: revoke it to end it */
	MAP_EXPOSED,
} MapState;

typedef struct Extent {
	uint64_t dpa;
	uint64_t len;
	uint64_t mem_offset; /* into the offer's memory */
	uint64_t map_id;     /* 0 = not mapped */
	uint64_t alloc;      /* the offer's id: first key of the list order */
	uint32_t order;      /* second key; mem_offset is the third */
	uint16_t shared_seq;
	uint8_t region;
	uint8_t state;     /* ExtentState */
	uint8_t bytes;     /* ByteState of its memory, which may run ahead of its DPA */
	uint8_t map_state; /* MapState */
	bool sanitize;     /* a release request asked to wipe it */
	bool locked;       /* a release of it is on its way to the journal */
	bool held;         /* used while a host that comes back is matched */
	bool settled;      /* its memory is done with; only the quarantine of its DPA is left */
	uint64_t quarantined_len; /* DPA bytes the host has not answered for */
	uint64_t host;            /* draining: serial of whom MAP_ID is to be confirmed by */
	struct Offer *offer;
	GList live_link; /* in its offer's extents, from new to free */
	GList link;      /* in its memory's returned or stuck, or in a wipe job */
} Extent;

bool extent_state_may_become(ExtentState from, ExtentState to);
bool extent_state_is_end(ExtentState state);
ByteState extent_state_bytes(ExtentState state);
const char *extent_state_name(ExtentState state);

/* The counter of a state. */
uint64_t *capacity_counters_at(CapacityCounters *counters, ByteState state);
void capacity_counters_move(CapacityCounters *counters, ByteState from, ByteState to, uint64_t len);

/* A part of OFFER that counts as free until its first state. */
Extent *extent_new(struct Offer *offer, uint8_t region, uint64_t dpa, uint64_t len);
/* As a row says; its place in the device's lists is the caller's. Must fit in. */
Extent *extent_restore(struct Offer *offer, const RowExtent *row);
/* Moves along the table above and keeps the device's counters. An end frees the DPA range. */
void extent_set_state(Extent *extent, ExtentState state);
/* Moves the memory behind it and keeps the backend's and the pool's counters. */
void extent_set_bytes(Extent *extent, ByteState state);
/* Cuts EXTENT at AT bytes; returns the upper part, same state. A list position is the caller's. */
Extent *extent_split(Extent *extent, uint64_t at);
/* At an end state, out of every list. */
void extent_free(Extent *extent);

/* As queries and the journal see it. */
void extent_describe(const Extent *extent, DcExtent *ret);
/* As extent_describe(), of LEN bytes from DPA on, which must lie inside. */
void extent_describe_part(const Extent *extent, uint64_t dpa, uint64_t len, DcExtent *ret);

static inline uint64_t extent_end(const Extent *extent)
{
	return extent->dpa + extent->len;
}

#endif
