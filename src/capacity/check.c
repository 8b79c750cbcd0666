/* SPDX-License-Identifier: BSD-3-Clause */
/* Self-check for tests: recomputes every counter and index from nothing. */
#include "capacity/capacity_priv.h"

typedef struct Census {
	CapacityCounters bytes;
	GArray *ranges; /* DcRange of everything that is not free */
	size_t n_extents, n_settled;
} Census;

static int compare_ranges(gconstpointer a, gconstpointer b)
{
	const DcRange *x = a, *y = b;

	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

static void assert_equal(const CapacityCounters *a, const CapacityCounters *b)
{
	g_assert_cmpuint(a->total, ==, b->total);
	g_assert_cmpuint(a->reserved, ==, b->reserved);
	g_assert_cmpuint(a->accepted, ==, b->accepted);
	g_assert_cmpuint(a->draining, ==, b->draining);
	g_assert_cmpuint(a->quarantined, ==, b->quarantined);
	g_assert_cmpuint(a->free, ==, b->free);
	g_assert_cmpuint(a->total, ==,
			 a->free + a->reserved + a->accepted + a->draining + a->quarantined);
}

static void count(Census *census, const Extent *extent)
{
	ByteState state = extent_state_bytes((ExtentState)extent->state);
	DcRange range = { extent->dpa, extent->len };

	g_assert_cmpuint(extent->len, >, 0);
	*capacity_counters_at(&census->bytes, state) += extent->len;
	g_array_append_val(census->ranges, range);
	census->n_extents++;
}

/* The two orders of the list hold the same extents, each in its order. */
static void check_list(DcDevice *dev, Census *census)
{
	const Extent *before = NULL;
	size_t n = 0;

	for (Extent *extent = extent_list_at(dev->list, 0); extent;
	     extent = extent_list_next(dev->list, extent), n++) {
		g_assert_true(extent->state == EXTENT_ACCEPTED);
		g_assert_true(extent->bytes == BYTES_ACCEPTED);
		g_assert_true(extent->offer->dev == dev && extent->alloc == extent->offer->id);
		g_assert_true(extent_list_find(dev->list, extent->dpa) == extent);
		g_assert_true(extent_list_find(dev->list, extent_end(extent) - 1) == extent);
		g_assert_true(extent_list_at(dev->list, n) == extent);
		if (before) {
			g_assert_cmpuint(before->alloc, <=, extent->alloc);
			if (before->alloc == extent->alloc)
				g_assert_true(before->order < extent->order ||
					      (before->order == extent->order &&
					       before->mem_offset < extent->mem_offset));
		}
		before = extent;
		count(census, extent);
	}
	g_assert_cmpuint(n, ==, extent_list_n(dev->list));
}

static void check_offers(DcDevice *dev, Census *census)
{
	const GQueue *queues[] = { &dev->queued, &dev->blocked, &dev->delivered };
	size_t n_pending = 0, n_offers = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(queues); i++) {
		for (const GList *link = queues[i]->head; link; link = link->next) {
			const Offer *offer = link->data;

			g_assert_true(offer->pending && offer->dev == dev && offer->mem);
			g_assert_true(delivery_queue_of(offer) == queues[i]);
			g_assert_true(g_hash_table_lookup(dev->offers, &offer->id) == offer);
			g_assert_true((offer->state == OFFER_ACCEPTING) <= (offer->accept != NULL));
			n_offers++;
			n_pending += offer->extents->len;
			for (guint j = 0; j < offer->extents->len; j++) {
				const Extent *extent = offer->extents->pdata[j];

				g_assert_true(extent->state == (offer->state == OFFER_QUEUED
									? EXTENT_QUEUED
									: EXTENT_OFFERED));
				g_assert_true(extent->bytes == BYTES_RESERVED);
				count(census, extent);
			}
		}
	}
	g_assert_cmpuint(n_pending, ==, dev->n_pending);
	g_assert_cmpuint(n_offers, ==, g_hash_table_size(dev->offers));
	g_assert_cmpuint(dev->delivered.length, <=, dev->config.chains_in_flight);
}

static gboolean count_quarantined(gpointer key, gpointer value, gpointer opaque)
{
	const QuarantinedRange *range = value;
	Census *census = opaque;

	/* An extent is counted with the first of its ranges. */
	g_assert_true(range->extent->state == EXTENT_QUARANTINED);
	g_assert_cmpuint(range->extent->quarantined_len, >, 0);
	for (guint i = 0; i < census->ranges->len; i++)
		if (g_array_index(census->ranges, DcRange, i).dpa == range->extent->dpa)
			return FALSE;
	count(census, range->extent);
	census->n_settled += range->extent->settled;
	return FALSE;
}

/* What is neither listed nor pending nor quarantined is draining, and not free. */
static void check_dpa(DcDevice *dev, Census *census)
{
	uint64_t end = 0, n_free = 0;

	g_array_sort(census->ranges, compare_ranges);
	for (guint i = 0; i < census->ranges->len; i++) {
		const DcRange *range = &g_array_index(census->ranges, DcRange, i);
		unsigned region = 0;

		g_assert_cmpuint(range->dpa, >=, end);
		end = range->dpa + range->len;
		g_assert_nonnull(dc_device_region_at(dev, range->dpa, &region));
		g_assert_false(dpa_space_is_free(dev->spaces[region], range->dpa, 1));
		g_assert_false(dpa_space_is_free(dev->spaces[region], end - 1, 1));
	}
	for (unsigned i = 0; i < dev->n_regions; i++)
		n_free += dpa_space_free_len(dev->spaces[i]);
	g_assert_cmpuint(n_free, ==, dev->bytes.free);
}

static void check_device(DcDevice *dev)
{
	Census census = { .ranges = g_array_new(FALSE, FALSE, sizeof(DcRange)) };

	check_list(dev, &census);
	check_offers(dev, &census);
	g_tree_foreach(dev->quarantine, count_quarantined, &census);
	g_assert_cmpuint(census.n_settled, ==, dev->n_settled);
	g_assert_cmpuint(census.n_extents, <=, dev->n_extents);
	census.bytes.total = dev->bytes.total;
	/* Draining ones belong to drains, jobs and memory; their DPA is what is left over. */
	census.bytes.draining = dev->bytes.draining;
	census.bytes.free = dev->bytes.total - dev->bytes.draining - census.bytes.reserved -
			    census.bytes.accepted - census.bytes.quarantined;
	assert_equal(&census.bytes, &dev->bytes);
	check_dpa(dev, &census);
	g_array_unref(census.ranges);
}

/* ---- memory: who uses which byte (I2) ---- */

typedef struct MemoryCensus {
	const Backend *mem;
	size_t n_accepted, n_reserved;
	uint64_t accepted_len, reserved_len;
	GArray *ranges; /* DcRange of offsets that are accepted */
} MemoryCensus;

static void count_memory(MemoryCensus *census, const Extent *extent)
{
	DcRange range = { extent->mem_offset, extent->len };

	if (extent->offer->mem != census->mem)
		return;
	g_assert_cmpuint(extent->mem_offset + extent->len, <=, census->mem->size);
	if (extent->state == EXTENT_ACCEPTED) {
		census->n_accepted++;
		census->accepted_len += extent->len;
		g_array_append_val(census->ranges, range);
	} else {
		census->n_reserved++;
		census->reserved_len += extent->len;
	}
}

static void check_memory(Capacity *cap, const Backend *mem)
{
	MemoryCensus census = { .mem = mem, .ranges = g_array_new(FALSE, FALSE, sizeof(DcRange)) };
	GHashTableIter devices, offers;
	DcDevice *dev;
	Offer *offer;

	g_hash_table_iter_init(&devices, cap->devices);
	while (g_hash_table_iter_next(&devices, NULL, (gpointer *)&dev)) {
		for (Extent *extent = extent_list_at(dev->list, 0); extent;
		     extent = extent_list_next(dev->list, extent))
			count_memory(&census, extent);
		g_hash_table_iter_init(&offers, dev->offers);
		while (g_hash_table_iter_next(&offers, NULL, (gpointer *)&offer))
			for (guint i = 0; i < offer->extents->len; i++)
				count_memory(&census, offer->extents->pdata[i]);
	}
	g_assert_cmpuint(census.n_accepted, ==, mem->n_extents[BYTES_ACCEPTED]);
	g_assert_cmpuint(census.n_reserved, ==, mem->n_extents[BYTES_RESERVED]);
	g_assert_cmpuint(mem->bytes.total, ==, mem->size);
	g_assert_cmpuint(mem->bytes.total, ==,
			 mem->bytes.free + mem->bytes.reserved + mem->bytes.accepted +
				 mem->bytes.draining + mem->bytes.quarantined);
	if (!mem->shareable) {
		g_assert_cmpuint(census.accepted_len, ==, mem->bytes.accepted);
		g_assert_cmpuint(census.reserved_len, ==, mem->bytes.reserved);
		g_array_sort(census.ranges, compare_ranges);
		for (guint i = 1; i < census.ranges->len; i++) {
			const DcRange *below = &g_array_index(census.ranges, DcRange, i - 1);

			g_assert_cmpuint(below->dpa + below->len, <=,
					 g_array_index(census.ranges, DcRange, i).dpa);
		}
	} else {
		g_assert_true((census.n_accepted > 0) == (mem->bytes.accepted > 0));
	}
	if (mem->state != MEMORY_READY)
		g_assert_cmpuint(mem->bytes.accepted, ==, 0);
	g_array_unref(census.ranges);
}

void capacity_check(Capacity *cap)
{
	CapacityCounters pool = { 0 };
	GHashTableIter iter;
	DcDevice *dev;

	g_assert_true(cap->depth > 0 || cap->work->len == 0);
	g_hash_table_iter_init(&iter, cap->devices);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&dev))
		check_device(dev);
	for (const GList *link = cap->memories.head; link; link = link->next) {
		const Backend *mem = link->data;
		CapacityCounters bytes = mem->bytes;

		if (mem->is_static)
			continue;
		check_memory(cap, mem);
		pool.total += mem->bytes.total;
		for (ByteState i = BYTES_FREE; i < BYTES_N_STATES; i++)
			*capacity_counters_at(&pool, i) += *capacity_counters_at(&bytes, i);
	}
	assert_equal(&pool, &cap->bytes);
}
