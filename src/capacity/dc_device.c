/* SPDX-License-Identifier: BSD-3-Clause */
/* The dynamic capacity of one device: regions, limits, the command under way, queries. */
#include "capacity/capacity_priv.h"

#define U64 "%" G_GUINT64_FORMAT

#define DEFAULT_BLOCK_SIZE  (UINT64_C(2) << 20)
#define MIN_BLOCK_SIZE      4096
#define DEFAULT_MAX_EXTENTS 65536
#define DEFAULT_MAX_OFFERS  1024
#define DEFAULT_MAX_CHAIN   100

/* ---- coming and going ---- */

static bool check_region(const DcDeviceConfig *config, unsigned index, uint64_t *base,
			 DcRegionConfig *ret, GError **error)
{
	DcRegionConfig region = config->regions[index];

	if (region.block_size == 0)
		region.block_size = DEFAULT_BLOCK_SIZE;
	if (region.len == 0 || region.len % DC_REGION_ALIGN != 0 ||
	    region.len > UINT64_MAX / 2 - *base) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "device %s, region %u: length " U64 " must be a multiple of 256 MiB",
			    config->name, index, region.len);
		return false;
	}
	if (region.block_size < MIN_BLOCK_SIZE ||
	    (region.block_size & (region.block_size - 1)) != 0 ||
	    region.len % region.block_size != 0 || *base % region.block_size != 0) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "device %s, region %u: block size " U64
			    " must be a power of two, at least 4 KiB, and divide the region's base "
			    "and length",
			    config->name, index, region.block_size);
		return false;
	}
	*base += region.len;
	*ret = region;
	return true;
}

static bool check_config(Capacity *cap, const DcDeviceConfig *config, GError **error)
{
	uint64_t base = config->static_len;
	DcRegionConfig region;

	if (!config->name || !config->name[0]) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID, "a device needs a name");
		return false;
	}
	if (g_hash_table_contains(cap->devices, config->name)) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
			    "device %s: the name is taken; choose another", config->name);
		return false;
	}
	if (config->n_regions > DC_MAX_REGIONS) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_LIMIT,
			    "device %s: %u regions, at most %d are possible", config->name,
			    config->n_regions, DC_MAX_REGIONS);
		return false;
	}
	if (config->static_len % DC_REGION_ALIGN != 0 || config->static_len > UINT64_MAX / 4) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "device %s: static length " U64 " must be a multiple of 256 MiB",
			    config->name, config->static_len);
		return false;
	}
	for (unsigned i = 0; i < config->n_regions; i++)
		if (!check_region(config, i, &base, &region, error))
			return false;
	return true;
}

static void add_regions(DcDevice *dev, const DcDeviceConfig *config)
{
	uint64_t base = config->static_len;

	for (unsigned i = 0; i < config->n_regions; i++) {
		DcRegion *region = &dev->regions[i];

		region->base = base;
		check_region(config, i, &base, &region->config, NULL);
		dev->spaces[i] = dpa_space_new(region->base, region->config.len);
		dev->bytes.total += region->config.len;
	}
	dev->n_regions = config->n_regions;
	dev->bytes.free = dev->bytes.total;
}

static void set_default(uint32_t *value, uint32_t preset)
{
	if (*value == 0)
		*value = preset;
}

static void effect_destroy(gpointer data)
{
	effect_free(data);
}

static void device_free(DcDevice *dev)
{
	for (guint i = 0; i < dev->statics->len; i++) {
		Backend *mem = ((StaticPart *)dev->statics->pdata[i])->offer.mem;

		if (mem->cap)
			memory_leave(mem);
	}
	g_ptr_array_unref(dev->statics);
	requests_clear(dev);
	g_tree_unref(dev->quarantine);
	g_clear_pointer(&dev->syncing, g_array_unref);
	g_hash_table_unref(dev->effects);
	g_ptr_array_unref(dev->accepts);
	g_ptr_array_unref(dev->releases);
	g_clear_pointer(&dev->planned, g_array_unref);
	g_array_unref(dev->collected_adds);
	g_array_unref(dev->collected_releases);
	g_hash_table_unref(dev->offers);
	g_hash_table_unref(dev->offers_by_tag);
	extent_list_free(dev->list);
	for (unsigned i = 0; i < dev->n_regions; i++)
		dpa_space_free(dev->spaces[i]);
	g_free(dev->pool_config);
	g_free(dev->name);
	g_free(dev);
}

DcDevice *capacity_add_device(Capacity *cap, const DcDeviceConfig *config, const DcDeviceOps *ops,
			      void *opaque, GError **error)
{
	DcDevice *dev;

	if (!check_config(cap, config, error))
		return NULL;
	dev = g_new0(DcDevice, 1);
	dev->cap = cap;
	dev->name = g_strdup(config->name);
	dev->pool_config = g_strdup(config->pool_config);
	dev->ops = *ops;
	dev->opaque = opaque;
	dev->config = *config;
	dev->config.name = NULL; /* the caller's */
	dev->config.regions = NULL;
	dev->config.pool_config = NULL;
	set_default(&dev->config.max_extents, DEFAULT_MAX_EXTENTS);
	set_default(&dev->config.max_offers, DEFAULT_MAX_OFFERS);
	set_default(&dev->config.max_chain, DEFAULT_MAX_CHAIN);
	set_default(&dev->config.chains_in_flight, 1);
	add_regions(dev, config);
	dev->list = extent_list_new();
	dev->offers = g_hash_table_new(g_int64_hash, g_int64_equal);
	dev->offers_by_tag = g_hash_table_new(uuid_key_hash, uuid_key_equal);
	dev->collected_adds = g_array_new(FALSE, FALSE, sizeof(DcRange));
	dev->collected_releases = g_array_new(FALSE, FALSE, sizeof(DcRange));
	dev->effects = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, effect_destroy);
	dev->accepts = g_ptr_array_new();
	dev->releases = g_ptr_array_new();
	dev->statics = g_ptr_array_new_with_free_func(g_free);
	dev->sync_retry_us = NEVER;
	dev->sync_backoff_us = RETRY_MIN_US;
	quarantine_init(dev);
	requests_init(dev);
	if (cap->restore && !restore_device(dev, error)) {
		device_free(dev);
		return NULL;
	}
	g_hash_table_insert(cap->devices, dev->name, dev);
	if (cap->restore)
		return dev;
	capacity_enter(cap);
	dev->id = cap->next_map++;
	rows_add_counters(cap, journal_changes(cap));
	rows_add_device(dev, journal_changes(cap));
	capacity_leave(cap);
	return dev;
}

static void delete_rows(const DcDevice *dev)
{
	RowRecord *record = journal_changes(dev->cap);

	for (guint i = 0; i < dev->statics->len; i++) {
		const Backend *mem = ((StaticPart *)dev->statics->pdata[i])->offer.mem;

		rows_delete_backend(mem->name, record);
		rows_delete_file(mem->incarnation, record);
	}
	rows_delete_device(dev, record);
}

/* ---- giving up: nothing of it is told, undone or wiped ---- */

static void discard_offer(Offer *offer)
{
	while (offer->live.head)
		g_free(g_queue_pop_head_link(&offer->live)->data);
	g_clear_pointer(&offer->extents, g_ptr_array_unref);
	g_clear_pointer(&offer->by_dpa, g_ptr_array_unref);
	g_free(offer);
}

void dc_device_discard(DcDevice *dev)
{
	for (guint i = 0; i < dev->accepts->len; i++)
		accept_free(dev->accepts->pdata[i]);
	for (guint i = 0; i < dev->releases->len; i++)
		release_free(dev->releases->pdata[i]);
	while (dev->drains.head)
		drain_free(g_queue_pop_head_link(&dev->drains)->data);
	while (dev->all_offers.head)
		discard_offer(g_queue_pop_head_link(&dev->all_offers)->data);
	for (guint i = 0; i < dev->statics->len; i++)
		memory_discard(((StaticPart *)dev->statics->pdata[i])->offer.mem);
	requests_discard(dev);
	device_free(dev);
}

/* ---- removing ---- */

static void free_later(Capacity *cap, const Work *work)
{
	device_free(work->object);
}

/* Static text; NULL if nothing but clean offers and settled quarantine is left. */
static const char *why_busy(DcDevice *dev)
{
	GHashTableIter iter;
	Offer *offer;

	if (dev->bytes.accepted > 0)
		return "has accepted extents; release them first";
	if (dev->n_extents != dev->n_pending + dev->n_settled || dev->drains.length > 0 ||
	    dev->n_journaling > 0 || dev->accepts->len > 0 || dev->releases->len > 0 ||
	    dev->n_sync_blocks > 0 || dev->sync_dirtying || dev->command.active)
		return "has extents that are being accepted or released; try again";
	g_hash_table_iter_init(&iter, dev->offers);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&offer))
		if (offer->mem->dirty)
			return "has an offer whose memory must be wiped; withdraw it first";
	for (guint i = 0; i < dev->statics->len; i++)
		if (((StaticPart *)dev->statics->pdata[i])->offer.mem->n_jobs > 0)
			return "has a static partition that is being wiped; try again";
	return NULL;
}

bool capacity_remove_device(Capacity *cap, DcDevice *dev, GError **error)
{
	const char *why = why_busy(dev);
	Offer *offer;

	if (why) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY, "device %s: %s", dev->name,
			    why);
		return false;
	}
	capacity_enter(cap);
	for (GQueue *queues[] = { &dev->queued, &dev->blocked, &dev->delivered }, **queue = queues;
	     queue < queues + G_N_ELEMENTS(queues); queue++)
		while ((offer = g_queue_peek_head(*queue)))
			offer_end(offer, EXTENT_WITHDRAWN, NOTICE_WITHDRAWN);
	quarantine_end_all(dev);
	requests_delete_rows(dev);
	delete_rows(dev);
	g_hash_table_remove(cap->devices, dev->name);
	/* After everything queued that still names it. */
	capacity_queue(cap, free_later, dev, 0);
	capacity_leave(cap);
	return true;
}

/* ---- the command under way ---- */

static void call_response_done(Capacity *cap, const Work *work)
{
	work->response_done(work->opaque, (enum cxl_rc)work->number);
}

static void answer(DcDevice *dev, DcResponseDone done, void *opaque, enum cxl_rc rc)
{
	Work work = {
		.run = call_response_done,
		.opaque = opaque,
		.number = rc,
		.response_done = done,
	};

	capacity_queue_work(dev->cap, &work);
}

bool dc_device_begin_command(DcDevice *dev, DcResponseDone done, void *opaque)
{
	if (dev->command.active) {
		answer(dev, done, opaque, CXL_RC_RETRY_REQUIRED);
		return false;
	}
	dev->command = (Command){
		.active = true,
		.serial = ++dev->n_commands,
		.deadline_us = capacity_now_us(dev->cap) + RESPONSE_DEADLINE_US,
		.done = done,
		.opaque = opaque,
	};
	return true;
}

void dc_device_end_command(DcDevice *dev, enum cxl_rc rc)
{
	Command *command = &dev->command;

	if (!command->active)
		return;
	command->active = false;
	command->accept = NULL;
	command->release = NULL;
	answer(dev, command->done, command->opaque, rc);
}

void dc_device_abort_command(DcDevice *dev, enum cxl_rc rc)
{
	Command *command = &dev->command;

	if (!command->active)
		return;
	if (command->accept)
		accept_abort(command->accept, rc);
	else if (command->release)
		release_abort(command->release);
	else
		rc = CXL_RC_SUCCESS; /* a release that is committed and drains */
	dc_device_end_command(dev, rc);
}

uint64_t dc_device_deadline_us(const DcDevice *dev)
{
	uint64_t deadline_us = MIN(delivery_deadline_us(dev), requests_deadline_us(dev));

	if (dev->command.active)
		deadline_us = MIN(deadline_us, dev->command.deadline_us);
	return MIN(deadline_us, dev->sync_retry_us);
}

void dc_device_tick(DcDevice *dev, uint64_t now_us)
{
	if (dev->command.active && dev->command.deadline_us <= now_us)
		dc_device_abort_command(dev, CXL_RC_INTERNAL_ERROR);
	requests_tick(dev, now_us);
	delivery_unblock(dev, OFFER_BLOCK_ROOM);
	if (dev->sync_retry_us <= now_us) {
		dev->sync_retry_us = NEVER;
		sync_later(dev);
	}
}

/* ---- what it is and has ---- */

bool dc_device_owes_maps(const DcDevice *dev)
{
	return dev->host.serial != 0 && !dev->host.control_only;
}

const DcRegion *dc_device_region_at(const DcDevice *dev, uint64_t dpa, unsigned *ret_index)
{
	for (unsigned i = 0; i < dev->n_regions; i++) {
		const DcRegion *region = &dev->regions[i];

		if (dpa >= region->base && dpa - region->base < region->config.len) {
			if (ret_index)
				*ret_index = i;
			return region;
		}
	}
	return NULL;
}

uint32_t dc_device_max_extents(const DcDevice *dev)
{
	uint32_t max = dev->config.max_extents, n_statics = dev->statics->len;

	if (!dc_device_owes_maps(dev) || dev->host.max_maps == UINT32_MAX)
		return max;
	return MIN(max, dev->host.max_maps > n_statics ? dev->host.max_maps - n_statics : 0);
}

DcMap extent_make_map(const Extent *extent, uint64_t dpa, uint64_t len, uint64_t map_id)
{
	const DcDevice *dev = extent->offer->dev;
	const Backend *mem = extent->offer->mem;

	return (DcMap){
		.id = map_id,
		.dpa = dpa,
		.len = len,
		.offset = extent->mem_offset + (dpa - extent->dpa),
		.incarnation = mem->incarnation,
		.file = mem->file,
		.writable = !mem->read_only && (extent->region >= dev->n_regions ||
						!dev->regions[extent->region].config.read_only),
	};
}

uint64_t dc_device_id(const DcDevice *dev)
{
	return dev->id;
}

const char *dc_device_name(const DcDevice *dev)
{
	return dev->name;
}

unsigned dc_device_n_regions(const DcDevice *dev)
{
	return dev->n_regions;
}

const DcRegion *dc_device_region(const DcDevice *dev, unsigned index)
{
	return index < dev->n_regions ? &dev->regions[index] : NULL;
}

uint64_t dc_device_static_len(const DcDevice *dev)
{
	return dev->config.static_len;
}

void dc_device_counters(const DcDevice *dev, CapacityCounters *ret)
{
	*ret = dev->bytes;
}

uint32_t dc_device_generation(const DcDevice *dev)
{
	return dev->generation;
}

size_t dc_device_n_extents(const DcDevice *dev)
{
	return extent_list_n(dev->list);
}

size_t dc_device_extents(const DcDevice *dev, size_t start, DcExtent *ret, size_t n)
{
	Extent *extents[64];
	size_t n_copied = 0, got;

	do {
		got = extent_list_copy(dev->list, start + n_copied, extents,
				       MIN(n - n_copied, G_N_ELEMENTS(extents)));
		for (size_t i = 0; i < got; i++)
			extent_describe(extents[i], &ret[n_copied++]);
	} while (got == G_N_ELEMENTS(extents));
	return n_copied;
}

bool dc_device_find_extent(const DcDevice *dev, uint64_t dpa, DcExtent *ret)
{
	const Extent *extent = extent_list_find(dev->list, dpa);

	if (!extent)
		return false;
	extent_describe(extent, ret);
	return true;
}

void dc_device_limits(const DcDevice *dev, uint32_t *ret_extents, uint32_t *ret_extents_available,
		      uint32_t *ret_tags, uint32_t *ret_tags_available)
{
	uint32_t max = dc_device_max_extents(dev);
	uint64_t used = extent_list_n(dev->list) + dev->n_pending;
	uint32_t n_tags = g_hash_table_size(dev->offers_by_tag);

	*ret_extents = max;
	*ret_extents_available = used < max ? (uint32_t)(max - used) : 0;
	*ret_tags = max;
	*ret_tags_available = n_tags < max ? max - n_tags : 0;
}
