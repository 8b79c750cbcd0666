/* SPDX-License-Identifier: BSD-3-Clause */
/* Life of an extent: its states, and the counters that follow them. */
#include "capacity/capacity_priv.h"

#define MAY(state) (1u << EXTENT_##state)

typedef struct StateRow {
	const char *name;
	ByteState bytes;
	unsigned next; /* MAY() of the states it may become */
} StateRow;

/* clang-format off */
static const StateRow states[EXTENT_N_STATES] = {
	[EXTENT_NEW]         = { "new",         BYTES_FREE,        MAY(QUEUED) },
	[EXTENT_QUEUED]      = { "queued",      BYTES_RESERVED,    MAY(OFFERED) | MAY(WITHDRAWN) },
	[EXTENT_OFFERED]     = { "offered",     BYTES_RESERVED,    MAY(QUEUED) | MAY(ACCEPTED) |
	                                                           MAY(DECLINED) | MAY(WITHDRAWN) },
	[EXTENT_ACCEPTED]    = { "accepted",    BYTES_ACCEPTED,    MAY(DRAINING) | MAY(QUARANTINED) },
	[EXTENT_DRAINING]    = { "draining",    BYTES_DRAINING,    MAY(FREED) },
	[EXTENT_QUARANTINED] = { "quarantined", BYTES_QUARANTINED, MAY(DRAINING) | MAY(FREED) },
	[EXTENT_DECLINED]    = { "declined",    BYTES_FREE,        0 },
	[EXTENT_WITHDRAWN]   = { "withdrawn",   BYTES_FREE,        0 },
	[EXTENT_FREED]       = { "freed",       BYTES_FREE,        0 },
};
/* clang-format on */

bool extent_state_may_become(ExtentState from, ExtentState to)
{
	return states[from].next & (1u << to);
}

bool extent_state_is_end(ExtentState state)
{
	return states[state].next == 0;
}

ByteState extent_state_bytes(ExtentState state)
{
	return states[state].bytes;
}

const char *extent_state_name(ExtentState state)
{
	return states[state].name;
}

uint64_t *capacity_counters_at(CapacityCounters *counters, ByteState state)
{
	switch (state) {
	case BYTES_RESERVED:
		return &counters->reserved;
	case BYTES_ACCEPTED:
		return &counters->accepted;
	case BYTES_DRAINING:
		return &counters->draining;
	case BYTES_QUARANTINED:
		return &counters->quarantined;
	default:
		return &counters->free;
	}
}

void capacity_counters_move(CapacityCounters *counters, ByteState from, ByteState to, uint64_t len)
{
	*capacity_counters_at(counters, from) -= len;
	*capacity_counters_at(counters, to) += len;
}

Extent *extent_new(Offer *offer, uint8_t region, uint64_t dpa, uint64_t len)
{
	Extent *extent = g_new0(Extent, 1);

	extent->offer = offer;
	extent->link.data = extent;
	extent->live_link.data = extent;
	g_queue_push_tail_link(&offer->live, &extent->live_link);
	extent->alloc = offer->id;
	extent->region = region;
	extent->dpa = dpa;
	extent->len = len;
	extent->state = EXTENT_NEW;
	extent->bytes = BYTES_FREE;
	offer->dev->n_extents++;
	return extent;
}

Extent *extent_restore(Offer *offer, const RowExtent *row)
{
	static const ExtentState from_row[] = {
		[ROW_EXTENT_RESERVED] = EXTENT_QUEUED,
		[ROW_EXTENT_ACCEPTED] = EXTENT_ACCEPTED,
		[ROW_EXTENT_DRAINING] = EXTENT_DRAINING,
		[ROW_EXTENT_QUARANTINED] = EXTENT_QUARANTINED,
		[ROW_EXTENT_SETTLED] = EXTENT_QUARANTINED,
	};
	Extent *extent = extent_new(offer, row->region, row->dpa, row->len);
	DcDevice *dev = offer->dev;

	extent->state = (uint8_t)from_row[row->state];
	extent->mem_offset = row->mem_offset;
	extent->order = row->order;
	extent->shared_seq = row->shared_seq;
	extent->sanitize = row->sanitize;
	dpa_space_take(dev->spaces[row->region], row->dpa, row->len);
	capacity_counters_move(&dev->bytes, BYTES_FREE, states[extent->state].bytes, row->len);
	if (row->state == ROW_EXTENT_SETTLED) {
		extent->settled = true;
		dev->n_settled++;
	} else {
		extent_set_bytes(extent, extent->state == EXTENT_QUARANTINED
						 ? BYTES_DRAINING
						 : states[extent->state].bytes);
	}
	return extent;
}

void extent_set_state(Extent *extent, ExtentState state)
{
	DcDevice *dev = extent->offer->dev;
	bool unquarantined;

	g_assert(extent_state_may_become((ExtentState)extent->state, state));
	capacity_counters_move(&dev->bytes, states[extent->state].bytes, states[state].bytes,
			       extent->len);
	/* What leads to the other states is recorded before it happens. */
	unquarantined = extent->state == EXTENT_QUARANTINED;
	extent->state = (uint8_t)state;
	if (states[state].next == 0) {
		rows_delete_extent(dev, extent->dpa, journal_changes(dev->cap));
		dpa_space_give(dev->spaces[extent->region], extent->dpa, extent->len);
	} else if (unquarantined) {
		rows_add_extent(extent, journal_changes(dev->cap));
	}
}

void extent_set_bytes(Extent *extent, ByteState state)
{
	Offer *offer = extent->offer;
	Backend *mem = offer->mem;
	CapacityCounters before = mem->bytes;
	ByteState from = (ByteState)extent->bytes;

	if (from == state)
		return;
	extent->bytes = (uint8_t)state;
	if (mem->shared) {
		CapacityCounters *pool = &mem->cap->bytes;

		byte_states_move(mem->shared, extent->mem_offset, extent->len, from, state,
				 &mem->bytes);
		for (ByteState i = BYTES_FREE; i < BYTES_N_STATES; i++)
			*capacity_counters_at(pool, i) += *capacity_counters_at(&mem->bytes, i) -
							  *capacity_counters_at(&before, i);
	} else {
		capacity_counters_move(&mem->bytes, from, state, extent->len);
		capacity_counters_move(&mem->cap->bytes, from, state, extent->len);
	}
	if (from == BYTES_FREE) {
		offer->n_in_use++;
	} else {
		mem->n_extents[from]--;
	}
	if (state != BYTES_FREE) {
		mem->n_extents[state]++;
	} else if (--offer->n_in_use == 0) {
		memory_detach_offer(mem, offer);
	}
}

Extent *extent_split(Extent *extent, uint64_t at)
{
	Extent *upper = extent_new(extent->offer, extent->region, extent->dpa + at,
				   extent->len - at);

	g_assert(at > 0 && at < extent->len);
	upper->mem_offset = extent->mem_offset + at;
	upper->map_id = extent->map_id;
	upper->order = extent->order;
	upper->shared_seq = extent->shared_seq;
	upper->state = extent->state;
	upper->bytes = extent->bytes;
	upper->map_state = extent->map_state;
	upper->sanitize = extent->sanitize;
	upper->locked = extent->locked;
	upper->host = extent->host;
	extent->len = at;
	if (upper->bytes != BYTES_FREE) {
		upper->offer->n_in_use++;
		upper->offer->mem->n_extents[upper->bytes]++;
	}
	return upper;
}

void extent_free(Extent *extent)
{
	Offer *offer = extent->offer;

	g_assert(states[extent->state].next == 0);
	g_queue_unlink(&offer->live, &extent->live_link);
	g_free(extent);
	offer->dev->n_extents--;
	offer_free_if_over(offer);
}

void extent_describe_part(const Extent *extent, uint64_t dpa, uint64_t len, DcExtent *ret)
{
	const Backend *mem = extent->offer->mem;

	*ret = (DcExtent){
		.dpa = dpa,
		.len = len,
		.tag = extent->offer->tag,
		.shared_seq = extent->shared_seq,
		.order = extent->order,
		.region = extent->region,
		.alloc = extent->alloc,
		.map_id = extent->map_id,
		.backend = mem && !mem->untagged ? (Backend *)mem : NULL,
		.backend_offset = extent->mem_offset + (dpa - extent->dpa),
	};
}

void extent_describe(const Extent *extent, DcExtent *ret)
{
	extent_describe_part(extent, extent->dpa, extent->len, ret);
}
