/* SPDX-License-Identifier: BSD-3-Clause */
/* Interleave arithmetic and address choice for a region. */
#include "driver/region_plan.h"

#include <errno.h>
#include <string.h>

/*
 * Design. Granule x of a region (x = HPA offset / granularity) belongs to position x mod ways. The
 * window sends it to its target x mod window ways; a port below sends it to target (x / stride) mod
 * its ways, where stride is the product of the powers of two in the ways above: a factor of three
 * is chosen by remainder, everything else by address bits, and the two do not disturb each other.
 * So positions are not ours to choose: each follows from where a device hangs.
 */

unsigned port_depth(const Port *port)
{
	unsigned depth = 0;

	while (port->parent) {
		port = port->parent;
		depth++;
	}
	return depth;
}

static unsigned pow2_part(unsigned ways)
{
	return ways % 3 ? ways : ways / 3;
}

static PortUse *find_use(RegionPlan *plan, const Port *port)
{
	for (unsigned i = 0; i < plan->n_uses; i++) {
		if (plan->uses[i].port == port)
			return &plan->uses[i];
	}
	return NULL;
}

static int add_target(CxlDriver *driver, RegionPlan *plan, Port *port, uint8_t no)
{
	PortUse *use = find_use(plan, port);

	if (port->broken)
		return driver_fail(driver, -ENXIO, "%s cannot be programmed", port->name);
	if (!use) {
		if (plan->n_uses == PLAN_MAX_USES)
			return driver_fail(driver, -E2BIG, "more than %u ports in one region",
					   PLAN_MAX_USES);
		use = &plan->uses[plan->n_uses++];
		*use = (PortUse){ .port = port };
	}
	for (unsigned i = 0; i < use->n_targets; i++) {
		if (use->target[i] == no)
			return 0;
	}
	if (use->n_targets == CXL_DRIVER_MAX_WAYS)
		return driver_fail(driver, -E2BIG, "%s: too many targets", port->name);
	use->target[use->n_targets++] = no;
	return 0;
}

/* All ports on the way to the devices, bridges first, with the targets each needs */
static int collect_uses(CxlDriver *driver, const CxlRegionSpec *spec, RegionPlan *plan)
{
	plan->n_uses = 0;
	for (unsigned depth = 0; depth < PLAN_MAX_DEPTH; depth++) {
		for (unsigned i = 0; i < spec->n_memdevs; i++) {
			Port *port = spec->memdevs[i]->port;
			uint8_t no = spec->memdevs[i]->port_no;
			int err;

			while (port && port_depth(port) > depth) {
				no = port->parent_no;
				port = port->parent;
			}
			if (!port || port_depth(port) != depth)
				continue;
			err = add_target(driver, plan, port, no);
			if (err < 0)
				return err;
		}
	}
	return 0;
}

static int set_granularity(CxlDriver *driver, RegionPlan *plan)
{
	for (unsigned i = 0; i < plan->n_uses; i++) {
		PortUse *use = &plan->uses[i];
		const HdmBlock *hdm = &use->port->hdm;
		const PortUse *above = NULL;

		use->stride = pow2_part(plan->window->ways);
		if (use->port->parent) {
			above = find_use(plan, use->port->parent);
			use->stride = above->stride * pow2_part(above->n_targets);
		}
		use->granularity = plan->granularity;
		if (use->n_targets == 1 && !hdm->n_decoders) {
			if (use->port->n_dports != 1)
				return driver_fail(driver, -ENXIO,
						   "%s: %u ports and no HDM decoders",
						   use->port->name, use->port->n_dports);
			continue;
		}
		if (use->n_targets > 1)
			use->granularity = plan->granularity * use->stride;
		if (cxl_iw_encode(use->n_targets) < 0 || use->n_targets > hdm->n_targets ||
		    use->n_targets > CXL_HDM_MAX_TARGETS || cxl_ig_encode(use->granularity) < 0 ||
		    !hdm_block_can_interleave(hdm, use->n_targets, use->granularity))
			return driver_fail(driver, -EINVAL,
					   "%s: cannot interleave %u ways at %u bytes",
					   use->port->name, use->n_targets, use->granularity);
	}
	return 0;
}

/* The device that position P reaches, or NULL */
static CxlMemdev *route(CxlDriver *driver, const CxlRegionSpec *spec, RegionPlan *plan, unsigned p)
{
	uint32_t uid = plan->window->targets[p % plan->window->ways];
	PortUse *use = NULL;

	for (unsigned i = 0; i < plan->n_uses; i++) {
		if (!plan->uses[i].port->parent && plan->uses[i].port->uid == uid)
			use = &plan->uses[i];
	}
	while (use) {
		const Port *port = use->port;
		uint8_t no = use->target[p / use->stride % use->n_targets];

		for (unsigned i = 0; i < spec->n_memdevs; i++) {
			if (spec->memdevs[i]->port == port && spec->memdevs[i]->port_no == no)
				return spec->memdevs[i];
		}
		use = NULL;
		for (unsigned i = 0; i < plan->n_uses; i++) {
			if (plan->uses[i].port->parent == port &&
			    plan->uses[i].port->parent_no == no)
				use = &plan->uses[i];
		}
	}
	return NULL;
}

/* Every granule must find its device: choices repeat after at most 48 of them. */
static int assign_positions(CxlDriver *driver, const CxlRegionSpec *spec, RegionPlan *plan)
{
	for (unsigned granule = 0; granule < 48 * plan->ways; granule++) {
		CxlMemdev *memdev = route(driver, spec, plan, granule);
		unsigned p = granule % plan->ways;
		bool taken = false;

		for (unsigned i = 0; i < plan->ways && granule < plan->ways; i++)
			taken = taken || (plan->memdevs[i] && plan->memdevs[i] == memdev);
		if (granule < plan->ways && !taken)
			plan->memdevs[p] = memdev;
		if (!memdev || plan->memdevs[p] != memdev)
			return driver_fail(driver, -EINVAL,
					   "%u devices do not spread evenly over the window's %u "
					   "host bridges and their ports",
					   plan->ways, plan->window->ways);
	}
	return 0;
}

/* First address from which nothing on the way is in the way */
static uint64_t hpa_floor(const RegionPlan *plan)
{
	uint64_t floor = plan->window->hpa;

	for (unsigned i = 0; i < plan->n_uses; i++) {
		uint64_t end = hdm_block_hpa_end(&plan->uses[i].port->hdm);

		if (end > floor)
			floor = end;
	}
	for (unsigned i = 0; i < plan->ways; i++) {
		uint64_t end = hdm_block_hpa_end(&plan->memdevs[i]->hdm);

		if (end > floor)
			floor = end;
	}
	return floor;
}

/* End of a committed range that overlaps [hpa, hpa + len), 0 if there is none */
static uint64_t conflict_end(const CxlDriver *driver, uint64_t hpa, uint64_t len)
{
	const Port *port = driver->ports;
	unsigned i = 0;

	for (;;) {
		const HdmBlock *hdm;

		if (port) {
			hdm = &port->hdm;
			port = port->next;
		} else if (i < driver->n_memdevs) {
			hdm = &driver->memdevs[i++]->hdm;
		} else {
			return 0;
		}
		for (unsigned n = 0; n < hdm->n_decoders; n++) {
			const HdmDecoder *dec = &hdm->decoders[n];

			if (dec->committed && dec->hpa < hpa + len && hpa < dec->hpa + dec->len)
				return dec->hpa + dec->len;
		}
	}
}

static int choose_hpa(CxlDriver *driver, const CxlRegionSpec *spec, RegionPlan *plan)
{
	const CxlWindow *window = plan->window;
	/*
	 * A choice by remainder of three counts from the window's base in the window and from zero
	 * in a port, positions count from the region's: where that starts, all three must agree.
	 */
	uint64_t align = CXL_HDM_ALIGN * (plan->ways % 3 ? 1 : 3);
	uint64_t origin = window->ways % 3 ? window->hpa % align : 0;
	uint64_t offset = hpa_floor(plan) - window->hpa;
	uint64_t end;

	if (spec->hpa) {
		if (spec->hpa < window->hpa + offset || (spec->hpa - window->hpa + origin) % align)
			return driver_fail(driver, -EBUSY,
					   "HPA %#llx is not above all that is decoded on the way, "
					   "or not aligned",
					   (unsigned long long)spec->hpa);
		offset = spec->hpa - window->hpa;
	}
	for (;;) {
		offset = (offset + origin + align - 1) / align * align - origin;
		if (offset > window->len || plan->len > window->len - offset)
			return driver_fail(driver, -ENOSPC,
					   "no %llu MiB left in the window at %#llx",
					   (unsigned long long)(plan->len >> 20),
					   (unsigned long long)window->hpa);
		end = conflict_end(driver, window->hpa + offset, plan->len);
		if (!end)
			break;
		if (spec->hpa)
			return driver_fail(driver, -EBUSY, "HPA %#llx is decoded already",
					   (unsigned long long)spec->hpa);
		offset = end - window->hpa;
	}
	plan->hpa = window->hpa + offset;
	return 0;
}

static int check_decoders(CxlDriver *driver, const RegionPlan *plan)
{
	for (unsigned i = 0; i < plan->n_uses; i++) {
		const HdmBlock *hdm = &plan->uses[i].port->hdm;

		if (hdm->n_decoders && hdm_block_next(hdm) == hdm->n_decoders)
			return driver_fail(driver, -ENOSPC, "%s: all %u decoders are in use",
					   hdm->name, hdm->n_decoders);
	}
	for (unsigned i = 0; i < plan->ways; i++) {
		const HdmBlock *hdm = &plan->memdevs[i]->hdm;

		if (hdm_block_next(hdm) == hdm->n_decoders)
			return driver_fail(driver, -ENOSPC, "%s: all %u decoders are in use",
					   hdm->name, hdm->n_decoders);
		if (plan->dpa < hdm_block_dpa_end(hdm))
			return driver_fail(driver, -EBUSY,
					   "%s: DPA below %#llx is behind committed decoders",
					   hdm->name, (unsigned long long)hdm_block_dpa_end(hdm));
		if (!hdm_block_can_interleave(hdm, plan->ways, plan->granularity))
			return driver_fail(driver, -EINVAL,
					   "%s: cannot interleave %u ways at %u bytes", hdm->name,
					   plan->ways, plan->granularity);
	}
	return 0;
}

static int plan_in_window(CxlDriver *driver, const CxlRegionSpec *spec, RegionPlan *plan)
{
	/* 0: the platform does not say */
	const uint16_t need = 0x6; /* type 3, volatile */
	int err;

	if (plan->window->restrictions && (plan->window->restrictions & need) != need)
		return driver_fail(driver, -EPERM,
				   "the window at %#llx is not for volatile type 3 memory",
				   (unsigned long long)plan->window->hpa);
	plan->granularity = spec->granularity;
	memset(plan->memdevs, 0, sizeof(plan->memdevs));
	if (plan->window->ways > 1) {
		if (spec->granularity && spec->granularity != plan->window->granularity)
			return driver_fail(driver, -EINVAL,
					   "granularity must be the window's %u bytes",
					   plan->window->granularity);
		plan->granularity = plan->window->granularity;
	}
	if (!plan->granularity)
		plan->granularity = cxl_ig_encode(plan->window->granularity) < 0
					    ? 256
					    : plan->window->granularity;
	if (cxl_ig_encode(plan->granularity) < 0)
		return driver_fail(driver, -EINVAL, "granularity %u cannot be", plan->granularity);
	err = collect_uses(driver, spec, plan);
	if (err >= 0)
		err = set_granularity(driver, plan);
	if (err >= 0)
		err = assign_positions(driver, spec, plan);
	if (err >= 0)
		err = check_decoders(driver, plan);
	if (err >= 0)
		err = choose_hpa(driver, spec, plan);
	return err;
}

static int check_spec(CxlDriver *driver, const CxlRegionSpec *spec, uint64_t *ret_len)
{
	if (cxl_iw_encode(spec->n_memdevs) < 0 || spec->n_memdevs > CXL_DRIVER_MAX_WAYS)
		return driver_fail(driver, -EINVAL, "a region cannot have %u ways",
				   spec->n_memdevs);
	if (!spec->len || (spec->len | spec->dpa) % CXL_HDM_ALIGN)
		return driver_fail(driver, -EINVAL,
				   "region: DPA and length must be multiples of 256 MiB");
	if (spec->dpa + spec->len < spec->dpa ||
	    __builtin_mul_overflow(spec->len, (uint64_t)spec->n_memdevs, ret_len))
		return driver_fail(driver, -EINVAL, "region: length overflows");
	for (unsigned i = 0; i < spec->n_memdevs; i++) {
		const CxlMemdev *memdev = spec->memdevs[i];
		uint64_t end = memdev->info.total_len;

		if (memdev->driver != driver || !memdev->usable || !memdev->info.media_ready)
			return driver_fail(driver, -ENODEV, "%s cannot be used", memdev->name);
		if (memdev->info.n_dc_regions) {
			const CxlDcRegionInfo *last =
				&memdev->dc_regions[memdev->info.n_dc_regions - 1];

			end = last->dpa + last->decode_len;
		}
		if (spec->dpa + spec->len > end)
			return driver_fail(driver, -ERANGE, "%s: DPA ends at %#llx", memdev->name,
					   (unsigned long long)end);
	}
	return 0;
}

int region_plan(CxlDriver *driver, const CxlRegionSpec *spec, RegionPlan *plan)
{
	int err = check_spec(driver, spec, &plan->len);

	if (err < 0)
		return err;
	plan->dpa = spec->dpa;
	plan->ways = spec->n_memdevs;
	plan->lock = spec->lock;
	err = driver_fail(driver, -ENOENT, "the platform has no CXL window");
	for (unsigned i = 0; i < driver->n_windows && err < 0; i++) {
		plan->window = &driver->windows[i];
		if (!spec->window || spec->window == plan->window)
			err = plan_in_window(driver, spec, plan);
	}
	return err;
}
