/* SPDX-License-Identifier: BSD-3-Clause */
/* Sync: everything accepted that a device's host does not hold is recorded, prepared, exposed. */
#include "capacity/capacity_priv.h"

/* ---- every extent that should be mapped ---- */

void mappable_foreach(DcDevice *dev, void (*func)(Extent *, void *), void *opaque)
{
	for (guint i = 0; i < dev->statics->len; i++)
		func(&((StaticPart *)dev->statics->pdata[i])->extent, opaque);
	for (Extent *extent = extent_list_at(dev->list, 0); extent;
	     extent = extent_list_next(dev->list, extent))
		func(extent, opaque);
}

Extent *mappable_find_static(DcDevice *dev, uint64_t dpa, uint64_t len)
{
	for (guint i = 0; i < dev->statics->len; i++) {
		Extent *extent = &((StaticPart *)dev->statics->pdata[i])->extent;

		if (dpa < extent_end(extent) && extent->dpa - MIN(extent->dpa, dpa) < len)
			return extent;
	}
	return NULL;
}

/* The lowest mappable extent in the range. Static partitions lie below the regions. */
static Extent *find_mappable(DcDevice *dev, uint64_t dpa, uint64_t len)
{
	Extent *extent = mappable_find_static(dev, dpa, len);

	return extent ? extent : extent_list_overlap(dev->list, dpa, len);
}

/* ---- sync ---- */

static void sync_block_gone(void *context, bool ok)
{
	DcDevice *dev = context;

	dev->n_sync_blocks--;
	/* After a failure its own time is waited for, or a host that refuses would keep us busy. */
	if (dev->sync_retry_us == NEVER)
		sync_later(dev);
}

void sync_let_go(DcDevice *dev, bool drop, GArray *parts)
{
	dev->n_sync_blocks++;
	effect_let_go(dev, drop, parts, sync_block_gone, dev);
}

/* The next extent of the item, which may have been cut or released in part since. */
static Extent *sync_next(DcDevice *dev, const SyncItem *item, const Extent *before)
{
	uint64_t dpa = before ? extent_end(before) : item->dpa, end = item->dpa + item->len;

	while (dpa < end) {
		Extent *extent = find_mappable(dev, dpa, end - dpa);

		if (!extent || extent->map_id == item->map_id)
			return extent;
		dpa = extent_end(extent);
	}
	return NULL;
}

/* False: all of it has been released meanwhile, and its map dropped. */
static bool sync_set_state(DcDevice *dev, const SyncItem *item, MapState state)
{
	bool any = false;

	for (Extent *extent = NULL; (extent = sync_next(dev, item, extent)); any = true)
		extent->map_state = (uint8_t)state;
	return any;
}

static void sync_over(DcDevice *dev)
{
	g_clear_pointer(&dev->syncing, g_array_unref);
	dev->sync_req = 0;
	if (dev->sync_again)
		sync_later(dev);
	dev->sync_again = false;
}

static void sync_retry(DcDevice *dev)
{
	dev->sync_retry_us = capacity_now_us(dev->cap) + dev->sync_backoff_us;
	dev->sync_backoff_us = MIN(dev->sync_backoff_us * 2, RETRY_MAX_US);
}

static void sync_failed(DcDevice *dev, bool exposed)
{
	GArray *parts = g_array_new(FALSE, FALSE, sizeof(DcMapPart));

	for (guint i = 0; i < dev->syncing->len; i++) {
		const SyncItem *item = &g_array_index(dev->syncing, SyncItem, i);

		for (Extent *extent = NULL; (extent = sync_next(dev, item, extent));) {
			DcMapPart part = { extent->map_id, extent->dpa, extent->len };

			g_array_append_val(parts, part);
			extent->map_state = MAP_NONE;
			extent->map_id = 0;
		}
	}
	sync_let_go(dev, !exposed, parts);
	sync_retry(dev);
	dev->sync_again = false;
	sync_over(dev);
}

static void sync_exposed(void *context, bool ok)
{
	DcDevice *dev = context;

	if (!ok) {
		sync_failed(dev, true);
		return;
	}
	for (guint i = 0; i < dev->syncing->len; i++)
		sync_set_state(dev, &g_array_index(dev->syncing, SyncItem, i), MAP_EXPOSED);
	dev->sync_backoff_us = RETRY_MIN_US;
	sync_over(dev);
	if (dev->ops.static_mapped)
		dev->ops.static_mapped(dev->opaque);
}

static void sync_prepared(void *context, bool ok)
{
	DcDevice *dev = context;
	GArray *ids;

	if (!ok) {
		sync_failed(dev, false);
		return;
	}
	ids = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	for (guint i = 0; i < dev->syncing->len; i++) {
		const SyncItem *item = &g_array_index(dev->syncing, SyncItem, i);

		if (sync_set_state(dev, item, MAP_EXPOSING))
			g_array_append_val(ids, item->map_id);
	}
	if (ids->len > 0) {
		dev->sync_req = effect_expose(dev, ids, sync_exposed, dev);
	} else {
		g_array_unref(ids);
		sync_over(dev);
	}
}

/* What is on its way out of the list is not mapped once more. */
static bool sync_may_map(const Extent *extent)
{
	const Backend *mem = extent->offer->mem;

	return extent->map_state == MAP_NONE && !extent->locked &&
	       memory_may_go_to(mem, &extent->offer->dev->host) && mem->state == MEMORY_READY &&
	       !(mem->is_static && mem->renew_wanted);
}

static void sync_add(DcDevice *dev, const SyncItem *item, GHashTable *recorded, GArray *maps)
{
	Extent *extent = find_mappable(dev, item->dpa, 1);
	Backend *mem;
	DcMap map;

	/* It may have been cut since it was planned, and its memory have begun anew. */
	if (!extent || extent->dpa != item->dpa || !sync_may_map(extent) ||
	    !extent->offer->mem->file)
		return;
	mem = extent->offer->mem;
	if (dev->cap->ops.journal &&
	    (extent->len != item->len || (!g_hash_table_contains(recorded, &mem->incarnation) &&
					  memory_record_hand_out(mem, &dev->host, NULL)))) {
		dev->sync_again = true;
		return;
	}
	memory_hand_out(mem, &dev->host);
	map = extent_make_map(extent, extent->dpa, extent->len, item->map_id);
	extent->map_id = item->map_id;
	extent->map_state = MAP_PREPARING;
	g_array_append_val(dev->syncing, *item);
	g_array_append_val(maps, map);
}

/* Incarnations of the files that were recorded as handed out. Keys lie in PLANNED. */
static GHashTable *sync_recorded(const GArray *planned)
{
	GHashTable *recorded = g_hash_table_new(g_int64_hash, g_int64_equal);

	for (guint i = 0; i < planned->len; i++) {
		uint64_t *incarnation = &g_array_index(planned, SyncItem, i).incarnation;

		if (*incarnation != 0)
			g_hash_table_add(recorded, incarnation);
	}
	return recorded;
}

/* What has been recorded and did not come to be. */
static void sync_undo_record(DcDevice *dev, GHashTable *recorded)
{
	if (g_hash_table_size(recorded) == 0)
		return;
	for (const GList *link = dev->cap->memories.head; link; link = link->next) {
		Backend *mem = link->data;

		if (g_hash_table_contains(recorded, &mem->incarnation))
			memory_not_handed_out(mem, &dev->sync_host);
	}
}

static void sync_begin(DcDevice *dev, const GArray *planned, GHashTable *recorded)
{
	g_autoptr(GArray) maps = g_array_new(FALSE, FALSE, sizeof(DcMap));

	dev->syncing = g_array_new(FALSE, FALSE, sizeof(SyncItem));
	for (guint i = 0; i < planned->len && dev->host.serial == dev->sync_host.serial; i++)
		sync_add(dev, &g_array_index(planned, SyncItem, i), recorded, maps);
	if (maps->len > 0)
		dev->sync_req = effect_prepare(dev, g_steal_pointer(&maps), sync_prepared, dev);
	else
		sync_over(dev);
}

static void sync_map(void *context, bool ok)
{
	DcDevice *dev = context;
	g_autoptr(GArray) planned = g_steal_pointer(&dev->planned);
	g_autoptr(GHashTable) recorded = sync_recorded(planned);

	dev->sync_dirtying = false;
	if (!ok) {
		sync_retry(dev);
		return;
	}
	if (dev->attached && dc_device_owes_maps(dev) && dev->n_sync_blocks == 0 && !dev->syncing)
		sync_begin(dev, planned, recorded);
	sync_undo_record(dev, recorded);
}

typedef struct SyncPlan {
	DcDevice *dev;
	GHashTable *seen; /* Backends whose descriptor is on record */
	RowRecord *record;
} SyncPlan;

static void sync_plan(Extent *extent, void *opaque)
{
	SyncPlan *plan = opaque;
	DcDevice *dev = plan->dev;
	Backend *mem = extent->offer->mem;
	SyncItem item = { .dpa = extent->dpa, .len = extent->len };
	RowExtent *row;

	if (!sync_may_map(extent) || !memory_ensure_file(mem, NULL))
		return;
	item.map_id = dev->cap->next_map++;
	if (plan->record && g_hash_table_add(plan->seen, mem) &&
	    memory_record_hand_out(mem, &dev->host, plan->record))
		item.incarnation = mem->incarnation;
	if (plan->record && mem->is_static) {
		rows_add_backend(mem, plan->record);
		row_record_last(plan->record)->backend.map_id = item.map_id;
		row_record_last(plan->record)->backend.host = dev->host.serial;
	} else if (plan->record) {
		row = rows_add_extent(extent, plan->record);
		row->map_id = item.map_id;
		row->host = dev->host.serial;
	}
	g_array_append_val(dev->planned, item);
}

/* What it should not hold it has let go of: by now it holds nothing unknown. */
static void sync_resumed(DcDevice *dev)
{
	dev->resumed = false;
	for (const GList *link = dev->cap->memories.head; link; link = link->next)
		memory_host_resumed(link->data, dev->host.serial);
}

static void sync_run(Capacity *cap, const Work *work)
{
	DcDevice *dev = work->object;
	SyncPlan plan = { .dev = dev };

	dev->sync_queued = false;
	if (dev->syncing || dev->sync_dirtying) {
		dev->sync_again = true;
		return;
	}
	if (!dev->attached || !dc_device_owes_maps(dev) || dev->n_sync_blocks > 0)
		return;
	if (dev->resumed)
		sync_resumed(dev);
	dev->sync_host = dev->host;
	dev->planned = g_array_new(FALSE, FALSE, sizeof(SyncItem));
	plan.record = journal_new(cap, ROW_REASON_DIRTY);
	plan.seen = g_hash_table_new(NULL, NULL);
	mappable_foreach(dev, sync_plan, &plan);
	g_hash_table_unref(plan.seen);
	dev->sync_dirtying = dev->planned->len > 0;
	if (!dev->sync_dirtying) {
		g_clear_pointer(&dev->planned, g_array_unref);
		g_clear_pointer(&plan.record, row_record_unref);
	} else if (!cap->ops.journal) {
		sync_map(dev, true);
	} else {
		if (plan.record)
			rows_add_maps(cap, plan.record);
		journal_submit(cap, plan.record, false, sync_map, dev);
	}
}

void sync_later(DcDevice *dev)
{
	if (dev->sync_queued)
		return;
	dev->sync_queued = true;
	capacity_queue(dev->cap, sync_run, dev, 0);
}

void sync_cut_off(DcDevice *dev)
{
	/* Whether it holds them, it will say when it is back. */
	for (guint i = 0; dev->syncing && i < dev->syncing->len; i++)
		sync_set_state(dev, &g_array_index(dev->syncing, SyncItem, i), MAP_EXPOSED);
	if (dev->sync_req != 0)
		effect_forget(dev, dev->sync_req);
	g_clear_pointer(&dev->syncing, g_array_unref);
	dev->sync_req = 0;
	dev->sync_retry_us = NEVER;
	dev->sync_backoff_us = RETRY_MIN_US;
}
