/* SPDX-License-Identifier: BSD-3-Clause */
/* core-cycle-us: offer, accept and release of one extent while many others are accepted. */
#include "bench/bench.h"
#include "capacity/capacity.h"
#include "host/mem_speed.h"

#include <string.h>

#define BLOCK_LEN (UINT64_C(2) << 20)
#define CHAIN     100u /* extents in one offer: the longest chain Linux takes */
#define CYCLES    40u  /* offers in one round */
#define ROUNDS    15u
#define SMALL     1024u
#define LARGE     65536u

typedef struct Core {
	Capacity *capacity;
	DcDevice *device;
	uint64_t clock_us;
	uint32_t max_extents;
} Core;

/* Everything outside the core answers at once, so that only the core is measured. */

static void effect_maps(void *opaque, uint64_t req, const DcMap *maps, size_t n)
{
	Core *core = opaque;

	dc_device_effect_done(core->device, req, true);
}

static void effect_ids(void *opaque, uint64_t req, const uint64_t *ids, size_t n)
{
	Core *core = opaque;

	dc_device_effect_done(core->device, req, true);
}

static void effect_parts(void *opaque, uint64_t req, const DcMapPart *parts, size_t n)
{
	Core *core = opaque;

	dc_device_effect_done(core->device, req, true);
}

static bool log_reserve(void *opaque, uint32_t n)
{
	return true;
}

static void log_unreserve(void *opaque, uint32_t n)
{
}

static void log_post(void *opaque, const DcEvent *event)
{
}

static void log_withdraw(void *opaque, uint64_t cookie)
{
}

static const DcDeviceOps device_ops = {
	.prepare = effect_maps,
	.expose = effect_ids,
	.revoke = effect_parts,
	.drop = effect_ids,
	.log_reserve = log_reserve,
	.log_unreserve = log_unreserve,
	.log_post = log_post,
	.log_withdraw = log_withdraw,
};

static uint64_t core_now_us(void *opaque)
{
	Core *core = opaque;

	return core->clock_us;
}

/* The file that replaces a wiped one is made by the wipe workers; the core only starts them. */
static void keep_wipe(void *opaque, WipeJob *job)
{
	wipe_job_run(job);
	wipe_job_finish(job);
}

static const CapacityOps core_ops = {
	.now_us = core_now_us,
	.wipe = keep_wipe,
};

static void expect(void *opaque, enum cxl_rc rc)
{
	g_assert_cmpint(rc, ==, CXL_RC_SUCCESS);
}

/* Extents at every second block, so that neighbours never touch. */
static uint64_t block_offset(uint32_t block)
{
	return (uint64_t)block * 2 * BLOCK_LEN;
}

static void offer_and_accept(Core *core, const char *name, uint32_t first, uint32_t n)
{
	g_autofree OfferExtent *extents = g_new(OfferExtent, n);
	g_autofree DcRange *ranges = g_new(DcRange, n);
	const DcRegion *region = dc_device_region(core->device, 0);
	OfferRequest request = { .policy = OFFER_PRESCRIPTIVE, .extents = extents, .n_extents = n };
	GError *error = NULL;

	request.tag = *backend_tag(capacity_peek_backend(core->capacity, name));
	for (uint32_t i = 0; i < n; i++) {
		extents[i] = (OfferExtent){ block_offset(first + i), BLOCK_LEN };
		ranges[i] = (DcRange){ region->base + extents[i].offset, BLOCK_LEN };
	}
	capacity_offer(core->capacity, core->device, &request, NULL, &error);
	g_assert_no_error(error);
	dc_device_add_response(core->device, ranges, n, false, expect, core);
}

static void release_all(Core *core, uint32_t first, uint32_t n)
{
	g_autofree DcRange *ranges = g_new(DcRange, n);
	const DcRegion *region = dc_device_region(core->device, 0);

	for (uint32_t i = 0; i < n; i++)
		ranges[i] = (DcRange){ region->base + block_offset(first + i), BLOCK_LEN };
	dc_device_release_response(core->device, ranges, n, false, expect, core);
}

static void add_backend(Core *core, const char *name, uint32_t n_blocks)
{
	BackendConfig config = {
		.name = name,
		.type = BACKEND_MEMFD,
		.size = n_blocks * BLOCK_LEN,
	};
	GError *error = NULL;

	uuid_random(&config.tag);
	capacity_add_backend(core->capacity, backend_new(&config, &error), &error);
	g_assert_no_error(error);
}

static void core_set_up(Core *core, uint32_t n_accepted)
{
	DcRegionConfig region = {
		.len = (UINT64_C(2) * (LARGE + 2 * CHAIN) * BLOCK_LEN + DC_REGION_ALIGN - 1) &
		       ~(DC_REGION_ALIGN - 1),
		.block_size = BLOCK_LEN,
	};
	DcDeviceConfig config = {
		.name = "core",
		.regions = &region,
		.n_regions = 1,
		.max_extents = 2 * LARGE,
		.max_chain = 2 * LARGE,
		.hold_off = true,
	};
	DcHost host = { .serial = 1, .same_uid = true, .max_maps = UINT32_MAX };
	GError *error = NULL;

	core->capacity = capacity_new(&core_ops, core);
	core->device = capacity_add_device(core->capacity, &config, &device_ops, core, &error);
	g_assert_no_error(error);
	dc_device_attach_host(core->device, &host, NULL, 0);
	add_backend(core, "resident", n_accepted);
	add_backend(core, "cycle", CHAIN);
	offer_and_accept(core, "resident", CHAIN, n_accepted);
}

static double round_us(Core *core)
{
	uint64_t start = bench_now_ns();

	for (uint32_t i = 0; i < CYCLES; i++) {
		/* Before, in the middle of, and after what is there. */
		uint32_t first = i % 2 ? 0 : CHAIN + LARGE;

		offer_and_accept(core, "cycle", first, CHAIN);
		release_all(core, first, CHAIN);
	}
	return (double)(bench_now_ns() - start) / 1e3 / CYCLES / CHAIN;
}

int main(void)
{
	Core small = { 0 }, large = { 0 };
	double small_us[ROUNDS], large_us[ROUNDS];

	core_set_up(&small, SMALL);
	core_set_up(&large, LARGE);
	round_us(&small);
	round_us(&large);
	for (unsigned i = 0; i < ROUNDS; i++) {
		small_us[i] = round_us(&small);
		large_us[i] = round_us(&large);
	}
	bench_report("core-cycle-us-1k", median(small_us, ROUNDS), "us", BENCH_AT_MOST, 5.0);
	bench_report("core-cycle-us-64k", median(large_us, ROUNDS), "us", BENCH_AT_MOST,
		     MIN(5.0, 1.5 * median(small_us, ROUNDS)));
	return 0;
}
