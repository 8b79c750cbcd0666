/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions: programming the decoders of every component between a window and its endpoints. */
#include "driver/region_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void set_decoder(HdmDecoder *dec, const RegionPlan *plan)
{
	memset(dec, 0, sizeof(*dec));
	dec->hpa = plan->hpa;
	dec->len = plan->len;
}

static int commit_endpoint(RegionPlan *plan, unsigned position)
{
	CxlMemdev *memdev = plan->memdevs[position];
	HdmDecoder dec;

	set_decoder(&dec, plan);
	dec.ways = plan->ways;
	dec.granularity = plan->granularity;
	dec.dpa = plan->dpa;
	dec.skip = plan->dpa - hdm_block_dpa_end(&memdev->hdm);
	return hdm_block_commit(&memdev->hdm, hdm_block_next(&memdev->hdm), &dec, plan->lock);
}

static int commit_port(RegionPlan *plan, const PortUse *use)
{
	HdmDecoder dec;

	if (!use->port->hdm.n_decoders) /* one way through, nothing to program */
		return 0;
	set_decoder(&dec, plan);
	dec.ways = use->n_targets;
	dec.granularity = use->granularity;
	memcpy(dec.targets, use->target, use->n_targets);
	return hdm_block_commit(&use->port->hdm, hdm_block_next(&use->port->hdm), &dec, plan->lock);
}

/* The decoder that carries exactly this range; NULL if none does. */
static HdmDecoder *find_decoder(HdmBlock *hdm, uint64_t hpa, uint64_t len)
{
	for (unsigned i = 0; i < hdm->n_decoders; i++) {
		HdmDecoder *dec = &hdm->decoders[i];

		if (dec->committed && dec->hpa == hpa && dec->len == len)
			return dec;
	}
	return NULL;
}

static int reset_range(HdmBlock *hdm, uint64_t hpa, uint64_t len)
{
	HdmDecoder *dec = find_decoder(hdm, hpa, len);

	return dec ? hdm_block_reset(hdm, (unsigned)(dec - hdm->decoders)) : 0;
}

/* Top down, the reverse of committing; goes on after a failure and reports the first. */
static int reset_all(CxlDriver *driver, const CxlRegionInfo *info)
{
	int first = 0;

	for (unsigned depth = 0; depth < PLAN_MAX_DEPTH; depth++) {
		for (Port *port = driver->ports; port; port = port->next) {
			int err = 0;

			if (port_depth(port) == depth)
				err = reset_range(&port->hdm, info->hpa, info->len);
			if (err < 0 && first >= 0)
				first = err;
		}
	}
	for (unsigned i = 0; i < info->ways; i++) {
		int err = 0;

		if (info->memdevs[i])
			err = reset_range(&info->memdevs[i]->hdm, info->hpa, info->len);
		if (err < 0 && first >= 0)
			first = err;
	}
	return first;
}

static CxlRegion *new_region(CxlDriver *driver, const RegionPlan *plan)
{
	CxlRegion *region = calloc(1, sizeof(*region));

	if (!region)
		return NULL;
	region->driver = driver;
	region->info.hpa = plan->hpa;
	region->info.len = plan->len;
	region->info.dpa = plan->dpa;
	region->info.ways = plan->ways;
	region->info.granularity = plan->granularity;
	memcpy(region->info.memdevs, plan->memdevs, sizeof(region->info.memdevs));
	return region;
}

static void own_decoders(CxlRegion *region)
{
	const CxlRegionInfo *info = &region->info;
	CxlDriver *driver = region->driver;
	CxlRegion **slot = &driver->regions;

	for (Port *port = driver->ports; port; port = port->next) {
		HdmDecoder *dec = find_decoder(&port->hdm, info->hpa, info->len);

		if (dec)
			dec->region = region;
	}
	for (unsigned i = 0; i < info->ways; i++) {
		HdmDecoder *dec = NULL;

		if (info->memdevs[i])
			dec = find_decoder(&info->memdevs[i]->hdm, info->hpa, info->len);
		if (dec)
			dec->region = region;
	}
	while (*slot && (*slot)->info.hpa < info->hpa)
		slot = &(*slot)->next;
	region->next = *slot;
	*slot = region;
}

static int commit_all(RegionPlan *plan)
{
	int err = 0;

	for (unsigned i = 0; i < plan->ways && err >= 0; i++)
		err = memdev_enable_mem(plan->memdevs[i]);
	for (unsigned i = 0; i < plan->ways && err >= 0; i++)
		err = commit_endpoint(plan, i);
	/* Uses are sorted top down: the bridge that opens the way comes last. */
	for (unsigned i = plan->n_uses; i > 0 && err >= 0; i--)
		err = commit_port(plan, &plan->uses[i - 1]);
	return err;
}

/* An adopted region that is just what SPEC asks for */
static CxlRegion *find_adopted(CxlDriver *driver, const CxlRegionSpec *spec)
{
	for (CxlRegion *region = driver->regions; region; region = region->next) {
		const CxlRegionInfo *info = &region->info;
		unsigned n = 0;

		if (!info->adopted || info->dpa != spec->dpa || info->ways != spec->n_memdevs ||
		    info->len / info->ways != spec->len || (spec->hpa && spec->hpa != info->hpa))
			continue;
		for (unsigned i = 0; i < info->ways; i++) {
			for (unsigned k = 0; k < spec->n_memdevs; k++)
				n += info->memdevs[i] && info->memdevs[i] == spec->memdevs[k];
		}
		if (n == info->ways)
			return region;
	}
	return NULL;
}

int cxl_driver_program(CxlDriver *driver, const CxlRegionSpec *spec, CxlRegion **ret_region)
{
	CxlRegion *region = find_adopted(driver, spec);
	RegionPlan *plan;
	int err;

	if (region) {
		*ret_region = region;
		return 0;
	}
	plan = calloc(1, sizeof(*plan));
	if (!plan)
		return driver_fail(driver, -ENOMEM, "out of memory");
	err = region_plan(driver, spec, plan);
	if (err >= 0) {
		region = new_region(driver, plan);
		if (!region)
			err = driver_fail(driver, -ENOMEM, "out of memory");
	}
	if (err >= 0)
		err = commit_all(plan);
	if (err >= 0) {
		own_decoders(region);
		*ret_region = region;
	} else if (region) {
		char text[sizeof(driver->error)];

		/* The reason to keep is the first one. */
		memcpy(text, driver->error, sizeof(text));
		reset_all(driver, &region->info);
		memcpy(driver->error, text, sizeof(text));
		free(region);
	}
	free(plan);
	return err;
}

int cxl_driver_unprogram(CxlDriver *driver, CxlRegion *region)
{
	CxlRegion **slot = &driver->regions;
	int err;

	if (region->info.adopted)
		return driver_fail(driver, -EPERM, "region at %#llx was not programmed by us",
				   (unsigned long long)region->info.hpa);
	err = reset_all(driver, &region->info);
	if (err < 0)
		return err;
	while (*slot && *slot != region)
		slot = &(*slot)->next;
	if (*slot)
		*slot = region->next;
	free(region);
	return 0;
}

/* Where in the interleave MEMDEV sits, by following the committed decoders down; -1 if nowhere. */
static int find_position(CxlDriver *driver, const CxlMemdev *memdev, const HdmDecoder *end)
{
	const CxlWindow *window = NULL;

	for (unsigned i = 0; i < driver->n_windows; i++) {
		const CxlWindow *w = &driver->windows[i];

		if (end->hpa >= w->hpa && end->hpa - w->hpa < w->len &&
		    end->len <= w->len - (end->hpa - w->hpa))
			window = w;
	}
	for (unsigned p = 0; window && p < end->ways; p++) {
		uint64_t offset = (uint64_t)p * end->granularity;
		const Port *want[PLAN_MAX_DEPTH];
		unsigned depth = port_depth(memdev->port);
		bool there = true;

		if (depth >= PLAN_MAX_DEPTH)
			return -1;
		for (Port *port = memdev->port; port; port = port->parent)
			want[port_depth(port)] = port;
		if (window->targets[p % window->ways] != want[0]->uid)
			continue;
		for (unsigned d = 0; d <= depth && there; d++) {
			Port *port = (Port *)want[d];
			uint8_t no = d < depth ? want[d + 1]->parent_no : memdev->port_no;
			const HdmDecoder *dec = find_decoder(&port->hdm, end->hpa, end->len);

			if (!port->hdm.n_decoders)
				continue;
			there = dec && dec->targets[offset / dec->granularity % dec->ways] == no;
		}
		if (there)
			return (int)p;
	}
	return -1;
}

static int adopt_decoder(CxlDriver *driver, CxlMemdev *memdev, HdmDecoder *dec)
{
	int position = find_position(driver, memdev, dec);
	CxlRegion *region = driver->regions;
	RegionPlan plan = {
		.hpa = dec->hpa,
		.len = dec->len,
		.dpa = dec->dpa,
		.ways = dec->ways,
		.granularity = dec->granularity,
	};

	if (position < 0) {
		driver_log(driver, "%s: nothing routes to the decoder at %#llx", memdev->name,
			   (unsigned long long)dec->hpa);
		return 0;
	}
	while (region && (region->info.hpa != dec->hpa || region->info.len != dec->len))
		region = region->next;
	if (!region) {
		region = new_region(driver, &plan);
		if (!region)
			return driver_fail(driver, -ENOMEM, "out of memory");
		region->info.adopted = true;
		own_decoders(region);
	}
	/* Whether all devices start at the same DPA is not ours to judge: each decoder knows. */
	region->info.memdevs[position] = memdev;
	dec->region = region;
	return 0;
}

int driver_adopt(CxlDriver *driver)
{
	for (unsigned i = 0; i < driver->n_memdevs; i++) {
		CxlMemdev *memdev = driver->memdevs[i];

		for (unsigned n = 0; memdev->usable && n < memdev->hdm.n_decoders; n++) {
			int err = 0;

			if (memdev->hdm.decoders[n].committed)
				err = adopt_decoder(driver, memdev, &memdev->hdm.decoders[n]);
			if (err < 0)
				return err;
		}
	}
	return 0;
}

int cxl_memdev_hpa_of_dpa(const CxlMemdev *memdev, uint64_t dpa, uint64_t *ret_hpa,
			  uint64_t *ret_run)
{
	for (unsigned i = 0; i < memdev->hdm.n_decoders; i++) {
		const HdmDecoder *dec = &memdev->hdm.decoders[i];
		unsigned position = 0;
		uint64_t offset;
		uint64_t part;

		if (!dec->committed || !dec->region || dpa < dec->dpa ||
		    dpa - dec->dpa >= dec->len / dec->ways)
			continue;
		offset = dpa - dec->dpa;
		if (dec->ways == 1) {
			*ret_hpa = dec->hpa + offset;
			*ret_run = dec->len - offset;
			return 0;
		}
		while (position < dec->ways && dec->region->info.memdevs[position] != memdev)
			position++;
		if (position == dec->ways)
			return -ENOENT;
		part = offset % dec->granularity;
		*ret_hpa = dec->hpa + part +
			   (offset / dec->granularity * dec->ways + position) * dec->granularity;
		*ret_run = dec->granularity - part;
		return 0;
	}
	return -ENOENT;
}

const CxlRegionInfo *cxl_region_info(const CxlRegion *region)
{
	return &region->info;
}

CxlRegion *cxl_driver_first_region(CxlDriver *driver)
{
	return driver->regions;
}

CxlRegion *cxl_region_next(CxlRegion *region)
{
	return region->next;
}
