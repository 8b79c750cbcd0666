/* SPDX-License-Identifier: BSD-3-Clause */
/* I1 from the host's side: after every step each block is all-ones or what was stored there. */

/*
 * A model of two devices' regions, block by block, beside the real thing. It learns what became of
 * an offer from the driver's callbacks alone, and what is stored from what it stored itself. A
 * block is looked at in one word, at a place that differs from block to block.
 */

#include "host_fixture.h"

#define N_DEVICES 2
#define N_BLOCKS  (REGION_LEN / BLOCK)
#define N_TAGS    4
#define N_STEPS   8000
#define MAX_OFFER 12 /* extents */

typedef struct Block {
	bool accepted;
	uint64_t word;
} Block;

typedef struct Model {
	Pool *pool;
	PoolDevice *devices[N_DEVICES];
	HostEnd *host;
	Block blocks[N_DEVICES][N_BLOCKS];
	uint64_t base[N_DEVICES]; /* DPA of the region */
	uint64_t hpa[N_DEVICES];  /* of the region, when a decoder is over it */
	CxlRegion *regions[N_DEVICES];
	bool programmed[N_DEVICES];
	uint64_t n_stores;
	unsigned n_done[8]; /* by kind of step */
	unsigned n_refused_offers;
} Model;

/* ---- random ---- */

static unsigned pick(unsigned n)
{
	return (unsigned)g_test_rand_int_range(0, (gint32)n);
}

/* ---- what the driver tells ---- */

static unsigned device_of(const HostPort *port)
{
	return (unsigned)(port - port->host->ports);
}

static Block *block_at(Model *model, unsigned device, uint64_t dpa)
{
	uint64_t block = (dpa - model->base[device]) / BLOCK;

	g_assert_cmpuint(block, <, N_BLOCKS);
	return &model->blocks[device][block];
}

/* New memory reads zero (I4). */
static void on_mapped(HostPort *port, const CxlDcGroup *group)
{
	Model *model = port->data;

	for (uint32_t i = 0; i < group->n_extents; i++) {
		const CxlHostExtent *extent = &group->extents[i];

		for (uint64_t at = 0; at < extent->len; at += BLOCK) {
			Block *block = block_at(model, device_of(port), extent->dpa + at);

			g_assert_false(block->accepted);
			*block = (Block){ .accepted = true };
		}
	}
}

static void lose(Model *model, unsigned device, uint64_t dpa, uint64_t len)
{
	for (uint64_t at = 0; at < len; at += BLOCK)
		block_at(model, device, dpa + at)->accepted = false;
}

static void on_gone(HostPort *port, const CxlDcGroup *group, const CxlDpaRange *ranges,
		    uint32_t n_ranges)
{
	Model *model = port->data;

	if (port->n_revoked || port->verdict != CXL_RELEASE_GROUP) {
		for (uint32_t i = 0; i < n_ranges; i++)
			lose(model, device_of(port), ranges[i].dpa, ranges[i].len);
	} else {
		for (uint32_t i = 0; i < group->n_extents; i++)
			lose(model, device_of(port), group->extents[i].dpa, group->extents[i].len);
	}
	port->n_revoked = 0;
}

static CxlAccept on_accept(HostPort *port, const CxlDcGroup *offer, bool *take)
{
	switch (pick(6)) {
	case 0:
		return CXL_ACCEPT_NONE;
	case 1:
	case 2:
		for (uint32_t i = 0; i < offer->n_extents; i++)
			take[i] = pick(2);
		return CXL_ACCEPT_SOME;
	default:
		return CXL_ACCEPT_ALL;
	}
}

/* ---- decoders ---- */

static void program(Model *model, unsigned device)
{
	HostPort *port = &model->host->ports[device];
	CxlRegionSpec spec = {
		.memdevs = &port->memdev,
		.n_memdevs = 1,
		.dpa = model->base[device],
		.len = REGION_LEN,
	};

	model->regions[device] = host_program(model->host, &spec);
	g_assert_cmphex(cxl_region_info(model->regions[device])->hpa, ==, model->hpa[device]);
	model->programmed[device] = true;
}

static void unprogram(Model *model, unsigned device)
{
	host_unprogram(model->host, model->regions[device]);
	model->programmed[device] = false;
}

/* ---- looking ---- */

/* The word looked at in block B lies at another page each, never in the first line. */
static uint64_t word_offset(uint64_t b)
{
	return b * 37 % (BLOCK / PAGE) * PAGE + 64 + b % 500 * 8;
}

static uint64_t expected(const Model *model, unsigned device, uint64_t b)
{
	const Block *block = &model->blocks[device][b];

	return model->programmed[device] && block->accepted ? block->word : UINT64_MAX;
}

static void check(Model *model, unsigned step)
{
	ProcessHost *process = model->host->process;

	for (unsigned d = 0; d < N_DEVICES; d++) {
		for (uint64_t b = 0; b < N_BLOCKS; b++) {
			uint64_t hpa = model->hpa[d] + b * BLOCK + word_offset(b);
			uint64_t want = expected(model, d, b), access;
			uint64_t load = *(volatile uint64_t *)process_host_hva(process, hpa);

			process_host_access(process, hpa, &access, sizeof(access), false);
			if (load != want || access != want)
				g_error("step %u: device %u, block %" PRIu64 ": load %#" PRIx64
					", access %#" PRIx64 ", should be %#" PRIx64,
					step, d, b, load, access, want);
		}
	}
}

typedef struct TruthCall {
	Model *model;
	unsigned device;
} TruthCall;

/* The core's own list says the same as the model. */
static void run_truth(Pool *pool, void *user_data)
{
	const TruthCall *call = user_data;
	DcDevice *dc = pool_device_peek_dc(call->model->devices[call->device]);

	for (uint64_t b = 0; b < N_BLOCKS; b++) {
		DcExtent extent;
		uint64_t dpa = call->model->base[call->device] + b * BLOCK;

		g_assert_true(dc_device_find_extent(dc, dpa, &extent) ==
			      call->model->blocks[call->device][b].accepted);
	}
}

/* ---- steps ---- */

/* Answers what is offered, and waits until nothing is reserved or drains. */
static void settle(Model *model)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_US;

	for (;;) {
		CapacityCounters counters = host_pool_counters(model->pool);

		for (unsigned d = 0; d < N_DEVICES; d++)
			host_poll_now(&model->host->ports[d]);
		if (!counters.reserved && !counters.draining)
			break;
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
	}
	for (unsigned d = 0; d < N_DEVICES; d++)
		host_wait_drained(&model->host->ports[d]);
}

static void step_offer(Model *model, unsigned device)
{
	OfferExtent extents[MAX_OFFER];
	OfferRequest request = {
		.policy = (OfferPolicy)pick(3),
		.extents = extents,
		.n_extents = 1 + pick(pick(4) ? 3 : MAX_OFFER),
	};
	unsigned tag = pick(2 * N_TAGS);

	if (tag < N_TAGS)
		request.tag = host_tag(tag + 1);
	if (request.policy != OFFER_PRESCRIPTIVE) {
		request.n_extents = 0;
		request.len = tag < N_TAGS ? 0 : (1 + pick(16)) * BLOCK;
	}
	for (size_t i = 0; i < request.n_extents; i++)
		extents[i] = (OfferExtent){ pick(N_BLOCKS) * BLOCK, (1 + pick(2)) * BLOCK };
	if (!pool_offer(model->pool, model->devices[device], &request, NULL, NULL))
		model->n_refused_offers++;
}

/* Accepted or not, of one tag or several: what is held of the range goes. */
static void step_take_back(Model *model, unsigned device)
{
	HostPort *port = &model->host->ports[device];
	uint64_t first = pick(N_BLOCKS), n = 1 + pick(8);
	uint64_t dpa = model->base[device] + first * BLOCK;
	uint64_t len = MIN(n, N_BLOCKS - first) * BLOCK;
	int rc = cxl_dcd_release_range(port->dcd, dpa, len);

	if (rc != -ENOENT)
		host_assert_ok(model->host, rc);
	lose(model, device, dpa, len);
}

static void step_ask_back(Model *model, unsigned device)
{
	HostPort *port = &model->host->ports[device];
	uint64_t first = pick(N_BLOCKS);
	OfferExtent extent = { first * BLOCK, BLOCK };
	ReleaseRequest request = { .forced = pick(2) };

	if (pick(2)) {
		request.tag = host_tag(1 + pick(N_TAGS));
	} else {
		request.extents = &extent;
		request.n_extents = 1;
	}
	port->verdict = pick(2) ? CXL_RELEASE_GROUP : CXL_RELEASE_RANGES;
	/* Not accepted: refused. */
	pool_release(model->pool, model->devices[device], &request, NULL, NULL);
}

/* Decoders go and come in order: a lower one below a committed one could not come back. */
static void step_decoders(Model *model, unsigned device)
{
	unsigned n = pick(N_DEVICES + 1);

	for (unsigned d = N_DEVICES; d-- > n;) {
		if (model->programmed[d])
			unprogram(model, d);
	}
	for (unsigned d = 0; d < n; d++) {
		if (!model->programmed[d])
			program(model, d);
	}
}

/* Stores everywhere: what hits nothing vanishes. By load and store where something is. */
static void step_store(Model *model, unsigned device)
{
	ProcessHost *process = model->host->process;

	for (unsigned i = 0; i < 16; i++) {
		uint64_t b = pick(N_BLOCKS);
		uint64_t hpa = model->hpa[device] + b * BLOCK + word_offset(b);
		uint64_t word = ++model->n_stores * UINT64_C(0x9e3779b97f4a7c15);
		bool is_there = expected(model, device, b) != UINT64_MAX;

		if (is_there && pick(2))
			*(volatile uint64_t *)process_host_hva(process, hpa) = word;
		else
			process_host_access(process, hpa, &word, sizeof(word), true);
		if (is_there)
			model->blocks[device][b].word = word;
	}
}

/* One long store over many blocks, backed and not. */
static void step_sweep(Model *model, unsigned device)
{
	uint64_t first = pick(N_BLOCKS), n = 1 + pick(4);
	g_autofree uint64_t *words = NULL;
	uint64_t hpa = model->hpa[device] + first * BLOCK;

	n = MIN(n, N_BLOCKS - first);
	words = g_new0(uint64_t, n * BLOCK / 8);
	for (uint64_t b = first; b < first + n; b++) {
		uint64_t word = ++model->n_stores * UINT64_C(0x9e3779b97f4a7c15);

		words[((b - first) * BLOCK + word_offset(b)) / 8] = word;
		if (expected(model, device, b) != UINT64_MAX)
			model->blocks[device][b].word = word;
	}
	process_host_access(model->host->process, hpa, words, n * BLOCK, true);
}

typedef struct Step {
	void (*run)(Model *model, unsigned device);
	unsigned weight;
	const char *name;
} Step;

static const Step steps[] = {
	{ step_offer, 40, "offers" },        { step_take_back, 15, "taken back" },
	{ step_ask_back, 15, "asked back" }, { step_decoders, 8, "decoders" },
	{ step_store, 20, "stores" },        { step_sweep, 2, "sweeps" },
};

static void run_step(Model *model)
{
	unsigned total = 0, at;

	for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++)
		total += steps[i].weight;
	at = pick(total);
	for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
		if (at < steps[i].weight) {
			steps[i].run(model, pick(N_DEVICES));
			model->n_done[i]++;
			return;
		}
		at -= steps[i].weight;
	}
}

static void set_up(Model *model)
{
	/* Extents may come while no decoder is over them. */
	CxlDcdOptions options = { .allow_unmapped = true };

	model->pool = host_pool();
	for (unsigned d = 0; d < N_DEVICES; d++)
		model->devices[d] = host_device(model->pool, d ? "dev1" : "dev0", 1);
	for (unsigned i = 0; i < N_TAGS; i++)
		host_backend(model->pool, i + 1, (6 + i * 6) * BLOCK);
	model->host = host_end_new_with(model->pool, model->devices, N_DEVICES, &options);
	for (unsigned d = 0; d < N_DEVICES; d++) {
		HostPort *port = &model->host->ports[d];

		port->accept = on_accept;
		port->mapped = on_mapped;
		port->gone = on_gone;
		port->data = model;
		model->base[d] = host_region_dpa(port, 0);
		model->hpa[d] = host_hpa(port, model->base[d]);
		model->programmed[d] = true;
	}
	for (CxlRegion *region = cxl_driver_first_region(host_driver(model->host)); region;
	     region = cxl_region_next(region))
		model->regions[cxl_region_info(region)->hpa != model->hpa[0]] = region;
}

static void test_reach(void)
{
	g_autofree Model *model = g_new0(Model, 1);
	CapacityCounters counters;

	set_up(model);
	check(model, 0);
	for (unsigned step = 1; step <= N_STEPS; step++) {
		run_step(model);
		settle(model);
		check(model, step);
		for (unsigned d = 0; d < N_DEVICES && step % 50 == 0; d++) {
			TruthCall call = { model, d };

			pool_call(model->pool, run_truth, &call);
		}
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++)
		g_test_message("%s: %u", steps[i].name, model->n_done[i]);
	g_test_message("groups accepted: %u and %u; offers refused by the pool: %u",
		       model->host->ports[0].n_mapped, model->host->ports[1].n_mapped,
		       model->n_refused_offers);
	g_assert_cmpuint(model->host->ports[0].n_mapped, >, N_STEPS / 50);
	g_assert_cmpuint(model->host->ports[1].n_mapped, >, N_STEPS / 50);

	for (unsigned d = 0; d < N_DEVICES; d++) {
		cxl_dcd_release_range(model->host->ports[d].dcd, model->base[d], REGION_LEN);
		lose(model, d, model->base[d], REGION_LEN);
	}
	settle(model);
	check(model, N_STEPS + 1);
	counters = host_pool_counters(model->pool);
	g_assert_cmpuint(counters.free, ==, counters.total);
	host_end_free(model->host);
	pool_free(model->pool);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/host/reach/random", test_reach);
	return g_test_run();
}
