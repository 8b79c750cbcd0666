/* SPDX-License-Identifier: BSD-3-Clause */
/* The host at the other end: coming, going, coming back, resets; static partitions. */
#include "capacity/capacity_priv.h"

/*
 * Accepted extents outlive their host. A host that attaches says which maps it still holds; those
 * the core knows are kept, the others revoked, and then everything accepted that it does not
 * hold is prepared and exposed ("sync"). Memory a former host process may still reach is not
 * mapped for the next one until that process is gone.
 */

#define NO_REGION 0xff /* of a static partition's extent */

/* ---- every extent that should be mapped ---- */

typedef void (*ExtentFunc)(Extent *extent, void *opaque);

static void foreach_mappable(DcDevice *dev, ExtentFunc func, void *opaque)
{
	for (guint i = 0; i < dev->statics->len; i++)
		func(&((StaticPart *)dev->statics->pdata[i])->extent, opaque);
	for (Extent *extent = extent_list_at(dev->list, 0); extent;
	     extent = extent_list_next(dev->list, extent))
		func(extent, opaque);
}

static Extent *find_static(DcDevice *dev, uint64_t dpa, uint64_t len)
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
	Extent *extent = find_static(dev, dpa, len);

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

/* Lets go of maps before the next sync may start. Owns PARTS. */
static void sync_let_go(DcDevice *dev, bool drop, GArray *parts)
{
	dev->n_sync_blocks++;
	effect_let_go(dev, drop, parts, sync_block_gone, dev);
}

static Extent *sync_find(DcDevice *dev, const SyncItem *item)
{
	Extent *extent = find_mappable(dev, item->dpa, 1);

	return extent && extent->map_id == item->map_id ? extent : NULL;
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
		Extent *extent = sync_find(dev, &g_array_index(dev->syncing, SyncItem, i));
		DcMapPart part;

		if (!extent)
			continue;
		part = (DcMapPart){ extent->map_id, extent->dpa, extent->len };
		g_array_append_val(parts, part);
		extent->map_state = MAP_NONE;
		extent->map_id = 0;
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
	for (guint i = 0; i < dev->syncing->len; i++) {
		Extent *extent = sync_find(dev, &g_array_index(dev->syncing, SyncItem, i));

		if (extent)
			extent->map_state = MAP_EXPOSED;
	}
	dev->sync_backoff_us = RETRY_MIN_US;
	sync_over(dev);
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
		Extent *extent = sync_find(dev, item);

		/* Released meanwhile: its map has been dropped. */
		if (!extent)
			continue;
		extent->map_state = MAP_EXPOSING;
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

static void sync_add(DcDevice *dev, const SyncItem *item, GArray *maps)
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
	    (extent->len != item->len || memory_record_hand_out(mem, &dev->host, NULL))) {
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

static void sync_handed_out(DcDevice *dev, const GArray *planned)
{
	g_autoptr(GHashTable) recorded = NULL;

	for (guint i = 0; i < planned->len; i++) {
		uint64_t *incarnation = &g_array_index(planned, SyncItem, i).incarnation;

		if (*incarnation != 0 && !recorded)
			recorded = g_hash_table_new(g_int64_hash, g_int64_equal);
		if (*incarnation != 0)
			g_hash_table_add(recorded, incarnation);
	}
	for (const GList *link = dev->cap->memories.head; recorded && link; link = link->next) {
		Backend *mem = link->data;

		if (g_hash_table_contains(recorded, &mem->incarnation))
			memory_handed_out(mem, &dev->sync_host);
	}
}

static void sync_map(void *context, bool ok)
{
	DcDevice *dev = context;
	g_autoptr(GArray) maps = g_array_new(FALSE, FALSE, sizeof(DcMap));
	g_autoptr(GArray) planned = g_steal_pointer(&dev->planned);

	dev->sync_dirtying = false;
	if (ok)
		sync_handed_out(dev, planned);
	else
		sync_retry(dev);
	if (!ok || !dev->attached || !dc_device_owes_maps(dev) || dev->n_sync_blocks > 0 ||
	    dev->syncing)
		return;
	dev->syncing = g_array_new(FALSE, FALSE, sizeof(SyncItem));
	for (guint i = 0; i < planned->len && dev->host.serial == dev->sync_host.serial; i++)
		sync_add(dev, &g_array_index(planned, SyncItem, i), maps);
	if (maps->len > 0)
		dev->sync_req = effect_prepare(dev, g_steal_pointer(&maps), sync_prepared, dev);
	else
		sync_over(dev);
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
	dev->sync_host = dev->host;
	dev->planned = g_array_new(FALSE, FALSE, sizeof(SyncItem));
	plan.record = journal_new(cap, ROW_REASON_DIRTY);
	plan.seen = g_hash_table_new(NULL, NULL);
	foreach_mappable(dev, sync_plan, &plan);
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

/* ---- what a host that comes back holds ---- */

typedef struct Resume {
	GArray *held;    /* DcHeldMap, sorted */
	GArray *covered; /* DcMapPart: what of it is not to be revoked (again) */
} Resume;

/* One that the host holds whole, of the present contents, needs nothing. */
static void match_held(Extent *extent, void *opaque)
{
	Resume *resume = opaque;
	DcMapPart part = { extent->map_id, extent->dpa, extent->len };
	guint at = held_search(resume->held, extent->map_id, extent->dpa);
	const DcHeldMap *held = &g_array_index(resume->held, DcHeldMap, at);

	if (extent->map_state == MAP_NONE || at == resume->held->len ||
	    held->map_id != extent->map_id || held->dpa > extent->dpa ||
	    held->dpa + held->len < extent_end(extent) ||
	    held->incarnation != extent->offer->mem->incarnation)
		return;
	extent->held = true;
	g_array_append_val(resume->covered, part);
}

static void settle_held(Extent *extent, void *opaque)
{
	if (extent->held && extent->map_state != MAP_NONE) {
		extent->map_state = MAP_EXPOSED;
	} else {
		extent->map_state = MAP_NONE;
		extent->map_id = 0;
	}
	extent->held = false;
}

static void resume(DcDevice *dev, const DcHeldMap *held, size_t n_held)
{
	g_autoptr(GArray) sorted = held_sort(held, n_held);
	g_autoptr(GArray) covered = g_array_new(FALSE, FALSE, sizeof(DcMapPart));
	Resume match = { .held = sorted, .covered = covered };
	GArray *parts;

	GHashTableIter iter;
	Offer *offer;

	/* What it holds beyond what is known is revoked below. */
	g_hash_table_iter_init(&iter, dev->offers);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&offer))
		memory_host_resumed(offer->mem, dev->host.serial);
	effect_resume(dev, sorted, covered);
	foreach_mappable(dev, match_held, &match);
	foreach_mappable(dev, settle_held, NULL);
	parts = held_outside(sorted, covered);
	if (parts->len > 0)
		sync_let_go(dev, false, parts);
	else
		g_array_unref(parts);
	sync_later(dev);
}

/* ---- attach, detach, gone ---- */

static void detach(DcDevice *dev)
{
	if (!dev->attached)
		return;
	dev->attached = false;
	if (dev->command.accept)
		dc_device_abort_command(dev, CXL_RC_INTERNAL_ERROR);
	/* Whether it holds them, it will say when it is back. */
	for (guint i = 0; dev->syncing && i < dev->syncing->len; i++) {
		Extent *extent = sync_find(dev, &g_array_index(dev->syncing, SyncItem, i));

		if (extent)
			extent->map_state = MAP_EXPOSED;
	}
	if (dev->sync_req != 0)
		effect_forget(dev, dev->sync_req);
	g_clear_pointer(&dev->syncing, g_array_unref);
	dev->sync_req = 0;
	dev->sync_retry_us = NEVER;
	dev->sync_backoff_us = RETRY_MIN_US;
}

/* ---- which process it is ---- */

static void record_host(DcDevice *dev)
{
	Capacity *cap = dev->cap;
	const DcHost *host = &dev->host;
	RowRecord *record = journal_changes(cap);

	if (host->serial != 0) {
		cap->last_serial = MAX(cap->last_serial, host->serial);
		if (!g_hash_table_contains(cap->hosts, &host->serial)) {
			DcHost *known = g_memdup2(host, sizeof(*host));

			g_hash_table_insert(cap->hosts, &known->serial, known);
			rows_add_counters(cap, record);
			rows_add_host(host, record);
		}
	}
	rows_add_device(dev, record);
}

/* Its process may live on with everything mapped. */
static void lose_map_to_ghost(Extent *extent, void *opaque)
{
	if (extent->map_state != MAP_NONE)
		memory_host_replaced(extent->offer->mem, extent->offer->dev->host.serial);
	extent->map_state = MAP_NONE;
	extent->map_id = 0;
}

static void lose_map(Extent *extent, void *opaque)
{
	extent->map_state = MAP_NONE;
	extent->map_id = 0;
}

/* The conventional part of every change of host. */
static void forget_session(DcDevice *dev, enum cxl_rc rc)
{
	dc_device_abort_command(dev, rc);
	g_array_set_size(dev->collected_adds, 0);
	g_array_set_size(dev->collected_releases, 0);
	delivery_requeue_all(dev);
	requests_records_lost(dev);
	quarantine_end_all(dev);
}

static void renew_statics(DcDevice *dev)
{
	for (guint i = 0; i < dev->statics->len; i++) {
		StaticPart *part = dev->statics->pdata[i];

		if (part->fresh_per_session)
			memory_renew_static(part->offer.mem);
	}
}

void dc_device_attach_host(DcDevice *dev, const DcHost *host, const DcHeldMap *held, size_t n_held)
{
	bool is_new = dev->host.serial != host->serial;
	bool had_one = dev->host.serial != 0, is_known;

	capacity_enter(dev->cap);
	detach(dev);
	if (is_new && had_one) {
		forget_session(dev, CXL_RC_ABORTED);
		foreach_mappable(dev, lose_map_to_ghost, NULL);
	} else if (is_new) {
		dc_device_abort_command(dev, CXL_RC_ABORTED);
		quarantine_end_all(dev);
	}
	/* The process may still hold what its former session had; what it lists of it is revoked.
	 */
	if (!is_new && host->new_session)
		foreach_mappable(dev, lose_map, NULL);
	is_known = dev->host.serial == host->serial &&
		   dev->host.control_only == host->control_only &&
		   dev->host.max_maps == host->max_maps;
	dev->host = *host;
	dev->attached = true;
	if (!is_known)
		record_host(dev);
	/* Also for one without a link: if that comes later, the host is no longer new. */
	if (is_new || host->new_session)
		renew_statics(dev);
	if (dc_device_owes_maps(dev))
		resume(dev, held, n_held);
	/* Offers may now find their memory fit, or not. */
	delivery_unblock(dev, OFFER_BLOCK_MEMORY);
	capacity_leave(dev->cap);
}

void dc_device_detach_host(DcDevice *dev)
{
	capacity_enter(dev->cap);
	detach(dev);
	capacity_leave(dev->cap);
}

static void device_host_gone(DcDevice *dev, uint64_t serial)
{
	effect_confirm_serial(dev, serial);
	if (dev->host.serial != serial)
		return;
	detach(dev);
	forget_session(dev, CXL_RC_ABORTED);
	foreach_mappable(dev, lose_map, NULL);
	/* Aborting has opened new ones. */
	effect_confirm_serial(dev, serial);
	dev->host = (DcHost){ 0 };
	record_host(dev);
}

void capacity_host_gone(Capacity *cap, uint64_t serial)
{
	g_autoptr(GPtrArray) devices = hash_table_values(cap->devices);

	if (serial == 0)
		return;
	capacity_enter(cap);
	for (guint i = 0; i < devices->len; i++)
		device_host_gone(devices->pdata[i], serial);
	/* What this frees goes later, by the queue. */
	for (const GList *link = cap->memories.head; link; link = link->next)
		memory_host_gone(link->data, serial);
	if (g_hash_table_remove(cap->hosts, &serial))
		rows_delete_host(serial, journal_changes(cap));
	capacity_leave(cap);
}

/* ---- resets ---- */

static void withdraw_all(DcDevice *dev)
{
	g_autoptr(GPtrArray) offers = hash_table_values(dev->offers);

	for (guint i = 0; i < offers->len; i++) {
		Offer *offer = offers->pdata[i];

		/* One that is unwinding cannot go before it has. */
		if (offer->accept || offer->journaling)
			offer->withdraw_when_unwound = true;
		else
			offer_end(offer, EXTENT_WITHDRAWN, NOTICE_WITHDRAWN);
	}
}

void dc_device_reset(DcDevice *dev, DcReset kind)
{
	capacity_enter(dev->cap);
	if (kind == DC_RESET_FLR) {
		dc_device_abort_command(dev, CXL_RC_ABORTED);
		g_array_set_size(dev->collected_adds, 0);
		g_array_set_size(dev->collected_releases, 0);
	} else {
		forget_session(dev, CXL_RC_ABORTED);
	}
	if (kind == DC_RESET_FORGET) {
		withdraw_all(dev);
		release_everything(dev);
	}
	capacity_leave(dev->cap);
}

/* ---- static partitions ---- */

/* New, it is recorded; restored, it may be mapped already. */
static void restore_static(StaticPart *part)
{
	Backend *mem = part->offer.mem;
	Capacity *cap = mem->cap;

	if (mem->static_map_id != 0) {
		part->extent.map_id = mem->static_map_id;
		part->extent.map_state = MAP_EXPOSED;
	}
	if (mem->is_restored)
		return;
	capacity_enter(cap);
	rows_add_backend(mem, journal_changes(cap));
	rows_add_file(mem, true, mem->dirty, journal_changes(cap));
	capacity_leave(cap);
}

bool dc_device_add_static(DcDevice *dev, uint64_t dpa, Backend *backend, bool fresh_per_session,
			  GError **error)
{
	StaticPart *part;

	if (backend->cap || dpa > dev->config.static_len ||
	    backend->size > dev->config.static_len - dpa || find_static(dev, dpa, backend->size) ||
	    (dev->host.serial != 0 && !dev->cap->restore)) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "device %s: backend %s cannot be a static partition at DPA "
			    "0x%" G_GINT64_MODIFIER
			    "x: it must be in no pool, fit below 0x%" G_GINT64_MODIFIER
			    "x, overlap no other, and come before the first host",
			    dev->name, backend->name, dpa, dev->config.static_len);
		return false;
	}
	part = g_new0(StaticPart, 1);
	part->fresh_per_session = fresh_per_session;
	part->offer.dev = dev;
	part->offer.mem = backend;
	part->extent.offer = &part->offer;
	part->extent.region = NO_REGION;
	part->extent.dpa = dpa;
	part->extent.len = backend->size;
	backend->is_static = true;
	backend->static_dev = dev;
	backend->static_extent = &part->extent;
	backend->wipes = fresh_per_session;
	memory_join(dev->cap, backend);
	g_ptr_array_add(dev->statics, part);
	restore_static(part);
	return true;
}
