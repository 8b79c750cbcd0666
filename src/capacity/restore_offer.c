/* SPDX-License-Identifier: BSD-3-Clause */
/* Offers, extents and quarantined DPA from their rows. */
#include "capacity/restore_priv.h"

#define U64   "%" G_GUINT64_FORMAT
#define AT    "extent at DPA 0x%" G_GINT64_MODIFIER "x of %s"
#define ID(x) ((x)->row->id)

/* ---- each extent by itself and against its neighbours ---- */

static const RestoreDevice *device_of(const Restore *restore, uint64_t id)
{
	return g_hash_table_lookup(restore->devices, &id);
}

static bool check_extent(Restore *restore, const RowExtent *row, GError **error)
{
	const RestoreDevice *device = device_of(restore, row->device);
	RestoreOffer *offer = g_hash_table_lookup(restore->offers, &row->offer);
	const DcRegion *region;
	const char *name;

	if (!device)
		return restore_refuse(error,
				      "extent at DPA 0x%" G_GINT64_MODIFIER "x: its device " U64
				      " has no row",
				      row->dpa, row->device);
	name = device->row->name;
	if (!offer || offer->row->device != row->device || offer->row->region != row->region)
		return restore_refuse(error, AT ": its offer " U64 " is elsewhere or has no row",
				      row->dpa, name, row->offer);
	region = dc_device_region(device->dev, row->region);
	if (!region || row->dpa < region->base || row->len == 0 ||
	    row->dpa - region->base >= region->config.len ||
	    row->len > region->config.len - (row->dpa - region->base))
		return restore_refuse(error, AT ": " U64 " bytes are not inside region %u",
				      row->dpa, name, row->len, row->region);
	if (row->dpa % region->config.block_size != 0 || row->len % region->config.block_size != 0)
		return restore_refuse(error, AT ": not in blocks of " U64 " bytes", row->dpa, name,
				      region->config.block_size);
	if (row->state < ROW_EXTENT_RESERVED || row->state > ROW_EXTENT_SETTLED)
		return restore_refuse(error, AT ": state %u is none", row->dpa, name, row->state);
	if ((row->state == ROW_EXTENT_RESERVED) != offer->row->pending)
		return restore_refuse(error, AT ": is %sreserved, its offer " U64 " %spending",
				      row->dpa, name, offer->row->pending ? "not " : "", row->offer,
				      offer->row->pending ? "" : "not ");
	if (row->shared_seq != 0 && !region->config.sharable)
		return restore_refuse(error,
				      AT ": has a sequence number, region %u is not sharable",
				      row->dpa, name, row->region);
	if (row->map_id >= restore->counters.next_map)
		return restore_refuse(error, AT ": map " U64 " is not below the counter of maps",
				      row->dpa, name, row->map_id);
	g_ptr_array_add(offer->extents, (gpointer)row);
	return true;
}

static int compare_by_dpa(gconstpointer a, gconstpointer b)
{
	const RowExtent *x = *(RowExtent *const *)a, *y = *(RowExtent *const *)b;

	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

static bool check_extents(Restore *restore, GError **error)
{
	const RowExtent *below = NULL;

	g_ptr_array_sort(restore->extents, compare_by_dpa);
	for (guint i = 0; i < restore->extents->len; i++) {
		const RowExtent *row = restore->extents->pdata[i];

		if (!check_extent(restore, row, error))
			return false;
		if (below && below->device == row->device && row->dpa - below->dpa < below->len)
			return restore_refuse(
				error, AT ": overlaps the one at 0x%" G_GINT64_MODIFIER "x",
				row->dpa, device_of(restore, row->device)->row->name, below->dpa);
		below = row;
	}
	return true;
}

/* ---- an offer's memory ---- */

static int compare_by_place(gconstpointer a, gconstpointer b)
{
	const RowExtent *x = *(RowExtent *const *)a, *y = *(RowExtent *const *)b;

	return (x->mem_offset > y->mem_offset) - (x->mem_offset < y->mem_offset);
}

static bool uses_memory(const RestoreOffer *offer)
{
	for (guint i = 0; i < offer->extents->len; i++)
		if (((const RowExtent *)offer->extents->pdata[i])->state != ROW_EXTENT_SETTLED)
			return true;
	return false;
}

/* Extents in use lie in the memory one after the other, in assembly order. */
static bool check_places(const RestoreOffer *offer, const Backend *mem, GError **error)
{
	uint64_t page = mem->file ? mem_file_page_size(mem->file) : 1, end = 0;
	uint32_t order = 0;

	for (guint i = 0; i < offer->extents->len; i++) {
		const RowExtent *row = offer->extents->pdata[i];

		if (row->state == ROW_EXTENT_SETTLED)
			continue;
		if (row->mem_offset < end || row->mem_offset >= mem->size ||
		    row->len > mem->size - row->mem_offset || row->order < order)
			return restore_refuse(error,
					      "extent at DPA 0x%" G_GINT64_MODIFIER
					      "x of offer " U64 ": offset " U64
					      " is outside its memory of " U64
					      " bytes, used by another extent, or out of order",
					      row->dpa, ID(offer), row->mem_offset, mem->size);
		if (row->dpa % page != 0 || row->len % page != 0)
			return restore_refuse(error,
					      "extent at DPA 0x%" G_GINT64_MODIFIER
					      "x of offer " U64 ": not in pages of " U64 " bytes",
					      row->dpa, ID(offer), page);
		end = row->mem_offset + row->len;
		order = row->order;
	}
	return true;
}

static Backend *tagged_memory(Restore *restore, const RowOffer *row, DcDevice *dev, GError **error)
{
	Backend *mem = capacity_peek_backend(restore->cap, row->backend);

	if (!mem || !uuid_equal(&mem->tag, &row->tag) || mem->size != row->mem_len) {
		restore_refuse(error, "offer " U64 ": backend %s has another tag, size, or no row",
			       row->id, row->backend);
		return NULL;
	}
	if (mem->shareable && !dev->regions[row->region].config.sharable) {
		restore_refuse(error,
			       "offer " U64 ": backend %s is shareable, region %u of %s is not",
			       row->id, row->backend, row->region, dev->name);
		return NULL;
	}
	if ((!mem->shareable && mem->offers.length > 0) ||
	    g_hash_table_contains(dev->offers_by_tag, &row->tag)) {
		restore_refuse(error, "offer " U64 ": backend %s is another offer's already",
			       row->id, row->backend);
		return NULL;
	}
	return mem;
}

/* ---- building ---- */

static void add_quarantined(RestoreDevice *device, Extent *extent)
{
	if (!device->quarantined)
		device->quarantined = g_hash_table_new(g_int64_hash, g_int64_equal);
	g_hash_table_insert(device->quarantined, &extent->dpa, extent);
}

typedef struct Building {
	Restore *restore;
	RestoreDevice *device;
	GPtrArray *pending;
	GHashTable *drains; /* host serial -> GPtrArray of Extents it has to let go of */
} Building;

static void build_draining(Building *building, Extent *extent, const RowExtent *row)
{
	GPtrArray *extents;

	/* A host without a row has ended; one never given a map has nothing to confirm. */
	if (row->map_id == 0 || !g_hash_table_contains(building->restore->cap->hosts, &row->host)) {
		g_ptr_array_add(building->restore->returned, extent);
		return;
	}
	extent->map_id = row->map_id;
	extents = g_hash_table_lookup(building->drains, &row->host);
	if (!extents) {
		extents = g_ptr_array_new();
		g_hash_table_insert(building->drains, (gpointer)&row->host, extents);
	}
	g_ptr_array_add(extents, extent);
}

static void build_extent(Building *building, Offer *offer, const RowExtent *row)
{
	DcDevice *dev = offer->dev;
	Extent *extent = extent_restore(offer, row);

	if (row->state == ROW_EXTENT_RESERVED) {
		g_ptr_array_add(building->pending, extent);
	} else if (row->state == ROW_EXTENT_ACCEPTED) {
		/* Whether its host still holds it, it will say when it is back. */
		if (row->map_id != 0 && row->host == dev->host.serial) {
			extent->map_id = row->map_id;
			extent->map_state = row->host ? MAP_EXPOSED : MAP_NONE;
		}
		extent_list_insert(dev->list, extent);
	} else {
		if (row->state != ROW_EXTENT_DRAINING)
			add_quarantined(building->device, extent);
		if (row->state != ROW_EXTENT_SETTLED)
			build_draining(building, extent, row);
	}
}

static void build(Restore *restore, RestoreOffer *offer, RestoreDevice *device, Backend *mem)
{
	Building building = {
		.restore = restore,
		.device = device,
		.pending = g_ptr_array_new(),
		.drains = g_hash_table_new(g_int64_hash, g_int64_equal),
	};
	GHashTableIter iter;
	GPtrArray *extents;
	uint64_t *host;

	offer->offer = offer_restore(device->dev, offer->row, mem);
	for (guint i = 0; i < offer->extents->len; i++)
		build_extent(&building, offer->offer, offer->extents->pdata[i]);
	if (building.pending->len > 0)
		offer_restore_pending(offer->offer, building.pending);
	else
		g_ptr_array_unref(building.pending);
	g_hash_table_iter_init(&iter, building.drains);
	while (g_hash_table_iter_next(&iter, (gpointer *)&host, (gpointer *)&extents))
		drain_restore(device->dev, extents, *host);
	g_hash_table_unref(building.drains);
}

static bool restore_offer(Restore *restore, RestoreOffer *offer, GError **error)
{
	const RowOffer *row = offer->row;
	RestoreDevice *device = g_hash_table_lookup(restore->devices, &row->device);
	const DcRegion *region = device ? dc_device_region(device->dev, row->region) : NULL;
	Backend *mem = NULL;

	if (!region)
		return restore_refuse(error, "offer " U64 ": its device has no row or no region %u",
				      row->id, row->region);
	if (uuid_is_null(&row->tag) && (row->backend || region->config.sharable))
		return restore_refuse(
			error, "offer " U64 ": untagged, but of a backend or sharable", row->id);
	if (row->pending && offer->extents->len == 0)
		return restore_refuse(error, "offer " U64 ": is pending without any extent",
				      row->id);
	/* The last of it was freed just before the end. */
	if (offer->extents->len == 0)
		return true;
	g_ptr_array_sort(offer->extents, compare_by_place);
	if (uses_memory(offer)) {
		if (!uuid_is_null(&row->tag) && !row->backend)
			return restore_refuse(error, "offer " U64 ": tagged, but of no backend",
					      row->id);
		mem = row->backend ? tagged_memory(restore, row, device->dev, error)
				   : restore_untagged(restore, row, error);
		if (!mem || !check_places(offer, mem, error))
			return false;
	}
	build(restore, offer, device, mem);
	return true;
}

static int compare_ids(gconstpointer a, gconstpointer b)
{
	const RestoreOffer *x = *(RestoreOffer *const *)a, *y = *(RestoreOffer *const *)b;

	return (ID(x) > ID(y)) - (ID(x) < ID(y));
}

/* ---- quarantine ---- */

static int compare_quarantine(gconstpointer a, gconstpointer b)
{
	const RowQuarantine *x = *(RowQuarantine *const *)a, *y = *(RowQuarantine *const *)b;

	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

static bool restore_range(Restore *restore, const RowQuarantine *row, const RowQuarantine *below,
			  GError **error)
{
	const RestoreDevice *device = device_of(restore, row->device);
	Extent *extent = device && device->quarantined
				 ? g_hash_table_lookup(device->quarantined, &row->extent)
				 : NULL;

	if (!extent || row->len == 0 || row->dpa < extent->dpa ||
	    row->dpa - extent->dpa >= extent->len ||
	    row->len > extent->len - (row->dpa - extent->dpa))
		return restore_refuse(error,
				      "quarantined DPA 0x%" G_GINT64_MODIFIER "x, " U64
				      " bytes: not inside a quarantined extent",
				      row->dpa, row->len);
	if (below && below->device == row->device && row->dpa - below->dpa < below->len)
		return restore_refuse(error,
				      "quarantined DPA 0x%" G_GINT64_MODIFIER
				      "x: overlaps the range below it",
				      row->dpa);
	quarantine_add_range(device->dev, extent, row->dpa, row->len);
	device->dev->tell_quarantine = true;
	extent->quarantined_len += row->len;
	return true;
}

static bool restore_quarantine(Restore *restore, GError **error)
{
	g_autoptr(GPtrArray) rows = g_ptr_array_new();
	GHashTableIter iter;
	const Extent *extent;

	for (guint i = 0; i < restore->rows->changes->len; i++) {
		const RowChange *change = row_record_at(restore->rows, i);

		if (change->kind == ROW_QUARANTINE)
			g_ptr_array_add(rows, (gpointer)&change->quarantine);
	}
	g_ptr_array_sort(rows, compare_quarantine);
	for (guint i = 0; i < rows->len; i++)
		if (!restore_range(restore, rows->pdata[i], i > 0 ? rows->pdata[i - 1] : NULL,
				   error))
			return false;
	for (guint i = 0; i < restore->in_order->len; i++) {
		const RestoreDevice *device = restore->in_order->pdata[i];

		if (!device->quarantined)
			continue;
		g_hash_table_iter_init(&iter, device->quarantined);
		while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&extent))
			if (extent->quarantined_len == 0)
				return restore_refuse(error, AT ": nothing of it is quarantined",
						      extent->dpa, device->row->name);
	}
	return true;
}

bool restore_offers(Restore *restore, GError **error)
{
	g_autoptr(GPtrArray) offers = NULL;

	if (!check_extents(restore, error))
		return false;
	offers = hash_table_values(restore->offers);
	g_ptr_array_sort(offers, compare_ids);
	for (guint i = 0; i < offers->len; i++)
		if (!restore_offer(restore, offers->pdata[i], error))
			return false;
	return restore_quarantine(restore, error) && restore_holders(restore, error);
}
