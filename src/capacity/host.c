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

	dev->resumed = true;
	effect_resume(dev, sorted, covered);
	mappable_foreach(dev, match_held, &match);
	mappable_foreach(dev, settle_held, NULL);
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
	sync_cut_off(dev);
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
		mappable_foreach(dev, lose_map_to_ghost, NULL);
	} else if (is_new) {
		dc_device_abort_command(dev, CXL_RC_ABORTED);
		quarantine_end_all(dev);
	}
	/* The process may still hold what its former session had; what it lists of it is revoked.
	 */
	if (!is_new && host->new_session)
		mappable_foreach(dev, lose_map, NULL);
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
	quarantine_tell_again(dev);
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
	mappable_foreach(dev, lose_map, NULL);
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

bool dc_device_owes_static(const DcDevice *dev, uint64_t dpa, uint64_t len)
{
	if (!dc_device_owes_maps(dev))
		return false;
	for (guint i = 0; i < dev->statics->len; i++) {
		const Extent *extent = &((StaticPart *)dev->statics->pdata[i])->extent;

		if (extent->map_state != MAP_EXPOSED && dpa < extent_end(extent) &&
		    extent->dpa - MIN(extent->dpa, dpa) < len)
			return true;
	}
	return false;
}

/* New, it is recorded; restored, it may be mapped already. */
static void restore_static(StaticPart *part)
{
	Backend *mem = part->offer.mem;
	Capacity *cap = mem->cap;

	if (mem->static_map_id != 0 && mem->static_host == part->offer.dev->host.serial) {
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
	    backend->size > dev->config.static_len - dpa ||
	    mappable_find_static(dev, dpa, backend->size) ||
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
