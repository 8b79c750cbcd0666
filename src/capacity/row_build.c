/* SPDX-License-Identifier: BSD-3-Clause */
/* The core's objects as rows of its ledger, one by one and all together. */
#include "capacity/capacity_priv.h"

/* How far ahead of the map ids in use the recorded one is kept, and when it is moved. */
#define MAP_MARGIN (UINT64_C(1) << 20)

static RowChange *add(RowRecord *record, RowKind kind)
{
	return row_record_add(record, ROW_UPSERT, kind);
}

static void add_counters(const Capacity *cap, RowRecord *record)
{
	add(record, ROW_COUNTERS)->counters = (RowCounters){
		.next_id = cap->next_id,
		.next_map = cap->next_map + MAP_MARGIN,
		.last_serial = cap->last_serial,
	};
}

void rows_add_counters(Capacity *cap, RowRecord *record)
{
	if (!record)
		return;
	cap->saved_map = cap->next_map + MAP_MARGIN;
	add_counters(cap, record);
}

void rows_add_maps(Capacity *cap, RowRecord *record)
{
	if (cap->next_map + MAP_MARGIN / 2 > cap->saved_map)
		rows_add_counters(cap, record);
}

void rows_add_host(const DcHost *host, RowRecord *record)
{
	if (record)
		add(record, ROW_HOST)->host = (RowHost){
			.serial = host->serial,
			.pid = host->pid,
			.start_time = host->start_time,
			.uid = host->uid,
		};
}

/* ---- memory ---- */

void rows_add_backend(const Backend *mem, RowRecord *record)
{
	const Extent *part = mem->is_static ? mem->static_extent : NULL;
	RowBackend *row;

	if (!record)
		return;
	row = &add(record, ROW_BACKEND)->backend;
	*row = (RowBackend){
		.name = g_strdup(mem->name),
		.type = mem->type,
		.size = mem->size,
		.page_size = mem->page_size,
		.path = g_strdup(mem->path),
		.tag = mem->tag,
		.share = mem->share,
		.shareable = mem->shareable,
		.read_only = mem->read_only,
		.prealloc = mem->prealloc,
		.wipes = mem->wipes,
		.incarnation = mem->incarnation,
	};
	if (!part)
		return;
	row->device = mem->static_dev->id;
	row->static_dpa = part->dpa;
	row->fresh_per_session = mem->wipes;
	row->map_id = part->map_id;
	row->host = part->map_id ? mem->static_dev->host.serial : 0;
}

void rows_add_file(const Backend *mem, bool new_file, bool dirty, RowRecord *record)
{
	bool is_ram = mem->type == BACKEND_MEMFD || mem->type == BACKEND_HUGETLB;

	if (record)
		add(record, ROW_FILE)->file = (RowFile){
			.incarnation = mem->incarnation,
			.type = mem->type,
			.len = mem->size,
			.page_size = mem->page_size,
			.read_only = mem->read_only,
			.dirty = dirty,
			.backend = g_strdup(mem->name),
			.offer = mem->untagged ? mem->owner : 0,
			.file = is_ram && new_file ? mem_file_ref(mem->file) : NULL,
		};
}

void rows_add_holder(const Backend *mem, const Holder *holder, RowRecord *record)
{
	if (record)
		add(record, ROW_HOLDER)->holder = (RowHolder){
			.incarnation = mem->incarnation,
			.serial = holder->serial,
			.same_uid = holder->same_uid,
			.ghost = holder->ghost,
			.wiped = holder->wiped,
			.gone = holder->gone,
		};
}

void rows_add_holders(const Backend *mem, RowRecord *record)
{
	for (guint i = 0; record && i < array_len(mem->holders); i++)
		rows_add_holder(mem, &g_array_index(mem->holders, Holder, i), record);
}

void rows_add_wipe(const Backend *mem, uint64_t offset, uint64_t len, RowRecord *record)
{
	if (record)
		add(record, ROW_WIPE)->wipe = (RowWipe){ mem->incarnation, offset, len };
}

void rows_delete_wipes(const Backend *mem, RowRecord *record)
{
	GHashTableIter iter;
	gpointer offset;

	if (!record || !mem->sanitize)
		return;
	g_hash_table_iter_init(&iter, mem->sanitize);
	while (g_hash_table_iter_next(&iter, &offset, NULL))
		row_record_add(record, ROW_DELETE, ROW_WIPE)->wipe = (RowWipe){
			.incarnation = mem->incarnation,
			.offset = GPOINTER_TO_SIZE(offset),
		};
}

void rows_delete_backend(const char *name, RowRecord *record)
{
	if (record)
		row_record_add(record, ROW_DELETE, ROW_BACKEND)->backend.name = g_strdup(name);
}

void rows_delete_file(uint64_t incarnation, RowRecord *record)
{
	if (record)
		row_record_add(record, ROW_DELETE, ROW_FILE)->file.incarnation = incarnation;
}

void rows_delete_holder(uint64_t incarnation, uint64_t serial, RowRecord *record)
{
	if (record)
		row_record_add(record, ROW_DELETE, ROW_HOLDER)->holder = (RowHolder){
			.incarnation = incarnation,
			.serial = serial,
		};
}

void rows_delete_host(uint64_t serial, RowRecord *record)
{
	if (record)
		row_record_add(record, ROW_DELETE, ROW_HOST)->host.serial = serial;
}

/* ---- devices ---- */

static RowRegion *make_regions(const DcDevice *dev)
{
	RowRegion *rows = g_new0(RowRegion, dev->n_regions);

	for (unsigned i = 0; i < dev->n_regions; i++) {
		const DcRegionConfig *config = &dev->regions[i].config;

		rows[i] = (RowRegion){
			.len = config->len,
			.block_size = config->block_size,
			.sharable = config->sharable,
			.read_only = config->read_only,
			.sanitize_on_release = config->sanitize_on_release,
			.non_volatile = config->non_volatile,
		};
	}
	return rows;
}

void rows_add_device(const DcDevice *dev, RowRecord *record)
{
	if (record)
		add(record, ROW_DEVICE)->device = (RowDevice){
			.id = dev->id,
			.name = g_strdup(dev->name),
			.static_len = dev->config.static_len,
			.n_regions = dev->n_regions,
			.regions = make_regions(dev),
			.max_extents = dev->config.max_extents,
			.max_offers = dev->config.max_offers,
			.max_chain = dev->config.max_chain,
			.chains_in_flight = dev->config.chains_in_flight,
			.hold_off = dev->config.hold_off,
			.pool_config = g_strdup(dev->pool_config),
			.generation = dev->recorded_generation,
			.host = dev->host.serial,
			.host_control_only = dev->host.control_only,
			.host_same_uid = dev->host.same_uid,
			.host_max_maps = dev->host.max_maps,
		};
}

void rows_delete_device(const DcDevice *dev, RowRecord *record)
{
	if (record)
		row_record_add(record, ROW_DELETE, ROW_DEVICE)->device.id = dev->id;
}

void rows_add_offer(const Offer *offer, bool pending, RowRecord *record)
{
	const Backend *mem = offer->mem;

	if (record)
		add(record, ROW_OFFER)->offer = (RowOffer){
			.id = offer->id,
			.device = offer->dev->id,
			.region = offer->region,
			.policy = offer->policy,
			.pending = pending,
			.tag = offer->tag,
			.backend = mem && !mem->untagged ? g_strdup(mem->name) : NULL,
			.mem_len = offer->mem_len,
		};
}

static RowExtentState row_state(const Extent *extent)
{
	switch (extent->state) {
	case EXTENT_ACCEPTED:
		return ROW_EXTENT_ACCEPTED;
	case EXTENT_DRAINING:
		return ROW_EXTENT_DRAINING;
	case EXTENT_QUARANTINED:
		return extent->settled ? ROW_EXTENT_SETTLED : ROW_EXTENT_QUARANTINED;
	default:
		return ROW_EXTENT_RESERVED;
	}
}

RowExtent *rows_add_extent(const Extent *extent, RowRecord *record)
{
	const DcDevice *dev = extent->offer->dev;
	bool is_mapped = extent->map_state != MAP_NONE;
	RowExtent *row;

	if (!record)
		return NULL;
	row = &add(record, ROW_EXTENT)->extent;
	*row = (RowExtent){
		.device = dev->id,
		.dpa = extent->dpa,
		.len = extent->len,
		.offer = extent->alloc,
		.region = extent->region,
		.state = row_state(extent),
		.sanitize = extent->sanitize,
		.shared_seq = extent->shared_seq,
		.order = extent->order,
		.mem_offset = extent->mem_offset,
		.map_id = is_mapped || extent->host ? extent->map_id : 0,
		.host = is_mapped ? dev->host.serial : extent->host,
	};
	return row;
}

void rows_delete_offer(uint64_t id, RowRecord *record)
{
	if (record)
		row_record_add(record, ROW_DELETE, ROW_OFFER)->offer.id = id;
}

void rows_delete_extent(const DcDevice *dev, uint64_t dpa, RowRecord *record)
{
	if (record)
		row_record_add(record, ROW_DELETE, ROW_EXTENT)->extent = (RowExtent){
			.device = dev->id,
			.dpa = dpa,
		};
}

void rows_add_quarantine(const DcDevice *dev, uint64_t dpa, uint64_t len, uint64_t extent,
			 RowRecord *record)
{
	if (record)
		add(record, ROW_QUARANTINE)->quarantine = (RowQuarantine){
			.device = dev->id,
			.dpa = dpa,
			.len = len,
			.extent = extent,
		};
}

void rows_delete_quarantine(const DcDevice *dev, uint64_t dpa, RowRecord *record)
{
	if (record)
		row_record_add(record, ROW_DELETE, ROW_QUARANTINE)->quarantine = (RowQuarantine){
			.device = dev->id,
			.dpa = dpa,
		};
}

/* ---- all of it ---- */

static void add_offer_rows(const Offer *offer, RowRecord *record)
{
	if (offer->journaling)
		return;
	rows_add_offer(offer, offer->pending, record);
	for (const GList *link = offer->live.head; link; link = link->next) {
		const Extent *extent = link->data;

		if (!extent_state_is_end((ExtentState)extent->state))
			rows_add_extent(extent, record);
	}
}

static gboolean add_quarantine_row(gpointer key, gpointer value, gpointer opaque)
{
	const QuarantinedRange *range = value;
	const DcDevice *dev = range->extent->offer->dev;

	rows_add_quarantine(dev, range->dpa, range->len, range->extent->dpa, opaque);
	return FALSE;
}

static void add_device_rows(DcDevice *dev, RowRecord *record)
{
	rows_add_device(dev, record);
	for (const GList *link = dev->all_offers.head; link; link = link->next)
		add_offer_rows(link->data, record);
	g_tree_foreach(dev->quarantine, add_quarantine_row, record);
	requests_add_rows(dev, record);
}

static void add_memory_rows(const Backend *mem, RowRecord *record)
{
	GHashTableIter iter;
	gpointer offset, len;

	if (!mem->untagged)
		rows_add_backend(mem, record);
	/* An untagged offer's is only worth keeping once somebody may have written to it. */
	if (!mem->untagged || mem->dirty)
		rows_add_file(mem, true, mem->dirty, record);
	rows_add_holders(mem, record);
	if (mem->sanitize)
		g_hash_table_iter_init(&iter, mem->sanitize);
	while (mem->sanitize && g_hash_table_iter_next(&iter, &offset, &len))
		rows_add_wipe(mem, GPOINTER_TO_SIZE(offset), GPOINTER_TO_SIZE(len), record);
}

RowRecord *capacity_dump(Capacity *cap)
{
	RowRecord *record = row_record_new(ROW_REASON_REPLACE);
	GHashTableIter iter;
	gpointer value;

	record->replaces_all = true;
	add_counters(cap, record);
	g_hash_table_iter_init(&iter, cap->hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		rows_add_host(value, record);
	for (const GList *link = cap->memories.head; link; link = link->next)
		add_memory_rows(link->data, record);
	g_hash_table_iter_init(&iter, cap->devices);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		add_device_rows(value, record);
	return record;
}
