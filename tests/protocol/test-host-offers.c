/* SPDX-License-Identifier: BSD-3-Clause */
/* Tagged offers of any number of extents: assembled in the tag's order, alone or shared. */
#include "host_fixture.h"

#define SMALL    (64 * KIB) /* block */
#define N_BLOCKS (REGION_LEN / SMALL)
#define MANY     2000

enum {
	PLAIN,
	SHARABLE
};

static PoolDevice *make_device(Pool *pool, const char *name, uint32_t max_chain)
{
	static const DcRegionConfig regions[] = {
		[PLAIN] = { .len = REGION_LEN, .block_size = SMALL },
		[SHARABLE] = { .len = REGION_LEN, .block_size = SMALL, .sharable = true },
	};
	PoolDeviceConfig config = {
		.name = name,
		.regions = regions,
		.n_regions = G_N_ELEMENTS(regions),
		.max_chain = max_chain,
	};

	return host_device_with(pool, &config);
}

static void shareable_backend(Pool *pool, unsigned tag, uint64_t size)
{
	g_autofree char *name = g_strdup_printf("mem%u", tag);
	BackendConfig config = {
		.name = name,
		.type = BACKEND_MEMFD,
		.size = size,
		.tag = host_tag(tag),
		.shareable = true,
	};

	host_backend_with(pool, &config);
}

/* N single blocks, all different, in random order; the rest of the region stays between them. */
static OfferExtent *random_extents(unsigned n)
{
	g_autofree uint64_t *blocks = g_new(uint64_t, N_BLOCKS);
	OfferExtent *extents = g_new(OfferExtent, n);

	for (unsigned i = 0; i < N_BLOCKS; i++)
		blocks[i] = i;
	for (unsigned i = 0; i < n; i++) {
		unsigned j = (unsigned)g_test_rand_int_range((gint32)i, N_BLOCKS);
		uint64_t block = blocks[j];

		blocks[j] = blocks[i];
		extents[i] = (OfferExtent){ block * SMALL, SMALL };
	}
	return extents;
}

/* What is stored extent by extent lies in the backend in that order, without a gap. */
static void assert_assembled(HostPort *port, unsigned tag, uint64_t seed)
{
	g_autofree uint8_t *bytes = g_malloc(port->len);
	uint64_t offset = 0;

	for (unsigned i = 0; i < port->extents->len; i++) {
		const CxlHostExtent *extent = &g_array_index(port->extents, CxlHostExtent, i);
		uint8_t *hva = process_host_hva(port->host->process, extent->hpa);

		g_assert_cmphex(extent->hpa, ==, host_hpa(port, extent->dpa));
		host_fill(hva, extent->len, seed, offset);
		offset += extent->len;
	}
	g_assert_cmpuint(offset, ==, port->len);
	host_backend_read(port->host->pool, tag, 0, bytes, offset);
	host_assert_fill(bytes, offset, seed, 0);
}

/* Of every block of region REGION: backed if an extent of PORT has it, else all-ones. */
static void assert_only_extents(HostPort *port, unsigned region, uint64_t seed)
{
	uint64_t base = host_region_dpa(port, region), offset = 0;
	g_autofree uint64_t *words = g_new(uint64_t, N_BLOCKS);

	memset(words, 0xff, N_BLOCKS * sizeof(*words));
	for (unsigned i = 0; i < port->extents->len; i++) {
		const CxlHostExtent *extent = &g_array_index(port->extents, CxlHostExtent, i);

		for (uint64_t at = 0; at < extent->len; at += SMALL)
			words[(extent->dpa + at - base) / SMALL] = host_word(seed, offset + at);
		offset += extent->len;
	}
	for (unsigned i = 0; i < N_BLOCKS; i++) {
		g_assert_cmphex(host_load(port, base + i * SMALL), ==, words[i]);
		g_assert_cmphex(host_access(port, base + i * SMALL), ==, words[i]);
	}
}

typedef struct ListCall {
	PoolDevice *device;
	DcExtent *extents;
	size_t n;
} ListCall;

static void run_list(Pool *pool, void *user_data)
{
	ListCall *call = user_data;

	g_assert_cmpuint(
		dc_device_extents(pool_device_peek_dc(call->device), 0, call->extents, call->n), ==,
		call->n);
	g_assert_cmpuint(dc_device_n_extents(pool_device_peek_dc(call->device)), ==, call->n);
}

/* ---- one tag, N extents ---- */

static void check_n(unsigned n)
{
	g_autoptr(Pool) pool = host_pool();
	PoolDevice *device = make_device(pool, "dev0", n > 100 ? n : 0);
	g_autoptr(HostEnd) host = host_end_new(pool, &device, 1);
	g_autofree OfferExtent *extents = random_extents(n);
	g_autofree DcExtent *list = g_new(DcExtent, n);
	ListCall call = { .device = device, .extents = list, .n = n };
	HostPort *port = &host->ports[0];
	uint64_t base = host_region_dpa(port, PLAIN);
	unsigned n_maps = count_mappings();

	host_backend(pool, 1, n * SMALL);
	host_give(port, 1, extents, n);
	g_assert_cmpuint(port->extents->len, ==, n);
	g_assert_cmpuint(port->len, ==, n * SMALL);
	pool_call(pool, run_list, &call);
	for (unsigned i = 0; i < n; i++) {
		const CxlHostExtent *extent = &g_array_index(port->extents, CxlHostExtent, i);

		g_assert_cmphex(extent->dpa, ==, base + extents[i].offset);
		g_assert_cmphex(extent->len, ==, SMALL);
		g_assert_cmpuint(extent->shared_seq, ==, 0);
		g_assert_cmphex(list[i].dpa, ==, extent->dpa);
		g_assert_cmpuint(list[i].order, ==, i);
		g_assert_cmphex(list[i].backend_offset, ==, i * SMALL);
	}
	assert_assembled(port, 1, n);
	assert_only_extents(port, PLAIN, n);
	host_take_back_tag(port, 1);
	for (unsigned i = 0; i < N_BLOCKS; i++)
		g_assert_cmphex(host_load(port, base + i * SMALL), ==, UINT64_MAX);
	host_assert_n_mappings(n_maps);
	g_assert_cmpuint(host_backend_counters(pool, 1).free, ==, n * SMALL);
}

static void test_one(void)
{
	check_n(1);
}

static void test_eight(void)
{
	check_n(8);
}

static void test_hundred(void)
{
	check_n(100);
}

static void test_many(void)
{
	check_n(MANY);
}

/* One more than the chain may have is refused, naming the limit, and changes nothing. */
static void test_max_chain(void)
{
	g_autoptr(Pool) pool = host_pool();
	PoolDevice *device = make_device(pool, "dev0", 0);
	g_autoptr(HostEnd) host = host_end_new(pool, &device, 1);
	g_autofree OfferExtent *extents = random_extents(101);
	OfferRequest request = {
		.tag = host_tag(1),
		.policy = OFFER_PRESCRIPTIVE,
		.extents = extents,
		.n_extents = 101,
	};
	g_autoptr(GError) error = NULL;

	host_backend(pool, 1, 101 * SMALL);
	g_assert_false(pool_offer(pool, device, &request, NULL, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_LIMIT);
	g_assert_nonnull(strstr(error->message, "max-chain"));
	host_poll_now(&host->ports[0]);
	g_assert_cmpuint(host->ports[0].n_offered, ==, 0);
	g_assert_cmpuint(host_backend_counters(pool, 1).free, ==, 101 * SMALL);
}

/* ---- the pool chooses the place ---- */

static void test_policies(void)
{
	g_autoptr(Pool) pool = host_pool();
	PoolDevice *device = make_device(pool, "dev0", 0);
	g_autoptr(HostEnd) host = host_end_new(pool, &device, 1);
	HostPort *port = &host->ports[0];
	OfferRequest request = { .policy = OFFER_CONTIGUOUS, .tag = host_tag(2) };
	OfferExtent walls[7];
	g_autoptr(GError) error = NULL;

	/* Walls of one block each leave eight runs of 32 MiB less a little. */
	for (unsigned i = 0; i < G_N_ELEMENTS(walls); i++)
		walls[i] = (OfferExtent){ (i + 1) * 32 * MIB, SMALL };
	host_backend(pool, 1, G_N_ELEMENTS(walls) * SMALL);
	host_give(port, 1, walls, G_N_ELEMENTS(walls));
	assert_assembled(port, 1, 1);

	host_backend(pool, 2, 30 * MIB);
	host_give_with(port, &request);
	g_assert_cmpuint(port->extents->len, ==, 1);
	g_assert_cmpuint(port->len, ==, 30 * MIB);
	assert_assembled(port, 2, 2);

	host_backend(pool, 3, 100 * MIB);
	request.tag = host_tag(3);
	g_assert_false(pool_offer(pool, device, &request, NULL, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_LIMIT);
	request.policy = OFFER_FREE;
	host_give_with(port, &request);
	g_assert_cmpuint(port->extents->len, ==, 4);
	g_assert_cmpuint(port->len, ==, 100 * MIB);
	assert_assembled(port, 3, 3);
	/* None has touched another. */
	for (unsigned i = 0; i < G_N_ELEMENTS(walls); i++)
		g_assert_cmphex(host_load(port, host_region_dpa(port, PLAIN) + walls[i].offset), ==,
				host_word(1, i * SMALL));
	host_take_back(port, host_region_dpa(port, PLAIN), REGION_LEN);
	g_assert_cmpuint(host_pool_counters(pool).free, ==, host_pool_counters(pool).total);
}

/* Offers that wait for each other: one chain at a time, all of them in the end. */
static void test_queue(void)
{
	g_autoptr(Pool) pool = host_pool();
	PoolDevice *device = make_device(pool, "dev0", 0);
	g_autoptr(HostEnd) host = host_end_new(pool, &device, 1);
	HostPort *port = &host->ports[0];
	CxlDcdStats stats;

	for (unsigned i = 0; i < 20; i++) {
		OfferExtent extents[2] = { { (40 - i) * SMALL, SMALL }, { i * SMALL, SMALL } };

		host_backend(pool, i + 1, 2 * SMALL);
		host_offer(port, i + 1, extents, 2);
	}
	host_poll(port, &port->n_mapped, 20);
	cxl_dcd_stats(port->dcd, &stats);
	g_assert_cmpuint(stats.n_groups, ==, 20);
	g_assert_cmpuint(stats.n_extents, ==, 40);
	g_assert_cmpuint(stats.n_declined, ==, 0);
	g_assert_cmpuint(host_pool_counters(pool).accepted, ==, 40 * SMALL);
}

/* ---- shared ---- */

/* Stores through one host's window, looks through the other's. */
static void assert_same_memory(HostPort *writer, HostPort *reader, uint64_t seed)
{
	uint64_t offset = 0;

	for (unsigned i = 0; i < writer->extents->len; i++) {
		const CxlHostExtent *extent = &g_array_index(writer->extents, CxlHostExtent, i);

		host_fill(process_host_hva(writer->host->process, extent->hpa), extent->len, seed,
			  offset);
		offset += extent->len;
	}
	offset = 0;
	for (unsigned i = 0; i < reader->extents->len; i++) {
		const CxlHostExtent *extent = &g_array_index(reader->extents, CxlHostExtent, i);

		g_assert_cmpuint(extent->shared_seq, ==, i);
		host_assert_fill(process_host_hva(reader->host->process, extent->hpa), extent->len,
				 seed, offset);
		offset += extent->len;
	}
	g_assert_cmpuint(offset, ==, writer->len);
}

typedef struct Shared {
	Pool *pool;
	PoolDevice *devices[2];
	HostEnd *hosts[2];
	HostPort *a, *b;
} Shared;

static void shared_set_up(Shared *shared, gconstpointer data)
{
	shared->pool = host_pool();
	for (unsigned i = 0; i < 2; i++) {
		shared->devices[i] = make_device(shared->pool, i ? "dev1" : "dev0", 0);
		shared->hosts[i] = host_end_new(shared->pool, &shared->devices[i], 1);
	}
	shared->a = &shared->hosts[0]->ports[0];
	shared->b = &shared->hosts[1]->ports[0];
}

static void shared_tear_down(Shared *shared, gconstpointer data)
{
	host_end_free(shared->hosts[0]);
	host_end_free(shared->hosts[1]);
	pool_free(shared->pool);
}

#define SHARED_LEN (9 * SMALL)

static void give_to_both(Shared *shared)
{
	static const OfferExtent scattered[] = {
		{ 100 * SMALL, 3 * SMALL },
		{ 0, SMALL },
		{ 50 * SMALL, 5 * SMALL },
	};
	OfferRequest request = {
		.region = SHARABLE,
		.tag = host_tag(1),
		.policy = OFFER_PRESCRIPTIVE,
		.extents = scattered,
		.n_extents = G_N_ELEMENTS(scattered),
	};

	shareable_backend(shared->pool, 1, SHARED_LEN);
	host_give_with(shared->a, &request);
	request.policy = OFFER_ENABLE_SHARED_ACCESS;
	request.n_extents = 0;
	host_give_with(shared->b, &request);
	g_assert_cmpuint(shared->a->len, ==, SHARED_LEN);
	g_assert_cmpuint(shared->b->len, ==, SHARED_LEN);
}

static void test_shared(Shared *shared, gconstpointer data)
{
	CapacityCounters device;

	give_to_both(shared);
	/* Counted once per pool and once per device. */
	g_assert_cmpuint(host_pool_counters(shared->pool).accepted, ==, SHARED_LEN);
	for (unsigned i = 0; i < 2; i++) {
		pool_device_counters(shared->pool, shared->devices[i], &device);
		g_assert_cmpuint(device.accepted, ==, SHARED_LEN);
	}
	assert_same_memory(shared->a, shared->b, 1);
	assert_same_memory(shared->b, shared->a, 2);
	/* One lets go: the other keeps it, contents and all. */
	host_take_back_tag(shared->a, 1);
	g_assert_cmphex(host_load(shared->a, host_region_dpa(shared->a, SHARABLE)), ==, UINT64_MAX);
	g_assert_cmpuint(host_pool_counters(shared->pool).accepted, ==, SHARED_LEN);
	assert_same_memory(shared->b, shared->b, 3);
	/* The last one: now it is wiped. */
	host_take_back_tag(shared->b, 1);
	g_assert_cmpuint(host_backend_counters(shared->pool, 1).free, ==, SHARED_LEN);
	host_give_with(shared->a, &(OfferRequest){ .region = SHARABLE, .tag = host_tag(1) });
	for (unsigned i = 0; i < shared->a->extents->len; i++) {
		const CxlHostExtent *extent = &g_array_index(shared->a->extents, CxlHostExtent, i);

		host_assert_filled(shared->a, extent->dpa, extent->len, 0);
	}
}

static void assert_offer_fails(PoolDevice *device, Pool *pool, const OfferRequest *request,
			       int code, const char *text)
{
	g_autoptr(GError) error = NULL;

	g_assert_false(pool_offer(pool, device, request, NULL, &error));
	g_assert_error(error, CAPACITY_ERROR, code);
	if (!strstr(error->message, text))
		g_error("\"%s\" does not say \"%s\"", error->message, text);
}

/* I2: without --shareable nobody gets what another has, offered or accepted. */
static void test_exclusive(Shared *shared, gconstpointer data)
{
	OfferRequest request = { .tag = host_tag(1), .policy = OFFER_CONTIGUOUS };
	OfferRequest sharing = { .tag = host_tag(1),
				 .policy = OFFER_ENABLE_SHARED_ACCESS,
				 .region = SHARABLE };
	OfferRequest plain = { .tag = host_tag(2), .policy = OFFER_CONTIGUOUS };
	Pool *pool = shared->pool;

	host_backend(pool, 1, 4 * SMALL);
	shareable_backend(pool, 2, 4 * SMALL);
	assert_offer_fails(shared->devices[0], pool, &plain, CAPACITY_ERROR_INVALID,
			   "use a sharable region");
	host_offer_with(shared->a, &request);
	assert_offer_fails(shared->devices[1], pool, &request, CAPACITY_ERROR_BUSY, "offered");
	host_poll(shared->a, &shared->a->n_mapped, 1);
	assert_assembled(shared->a, 1, 7);
	assert_offer_fails(shared->devices[1], pool, &request, CAPACITY_ERROR_BUSY, "accepted");
	assert_offer_fails(shared->devices[1], pool, &sharing, CAPACITY_ERROR_INVALID,
			   "not shareable");
	assert_offer_fails(shared->devices[0], pool, &request, CAPACITY_ERROR_BUSY,
			   "in use by this device");
	host_poll_now(shared->b);
	g_assert_cmpuint(shared->b->n_offered, ==, 0);
	assert_only_extents(shared->a, PLAIN, 7);
}

/* A tag names one allocation of a host: its second device cannot give it the same once more. */
static void test_same_host(void)
{
	g_autoptr(Pool) pool = host_pool();
	PoolDevice *devices[2] = { make_device(pool, "dev0", 0), make_device(pool, "dev1", 0) };
	g_autoptr(HostEnd) host = host_end_new(pool, devices, 2);
	OfferRequest request = { .region = SHARABLE, .tag = host_tag(1) };
	HostPort *first = &host->ports[0], *second = &host->ports[1];
	gint64 end = g_get_monotonic_time() + WAIT_US;
	CapacityCounters counters;

	shareable_backend(pool, 1, 4 * SMALL);
	host_give_with(first, &request);
	host_offer_with(second, &request);
	while (!host_log_has(host, "the tag is in use already")) {
		host_assert_ok(host, cxl_dcd_poll(second->dcd, 100));
		g_assert_cmpint(g_get_monotonic_time(), <, end);
	}
	g_assert_cmpuint(second->n_offered, ==, 0);
	pool_device_counters(pool, devices[1], &counters);
	g_assert_cmpuint(counters.free, ==, counters.total);
	g_assert_cmphex(host_load(second, host_region_dpa(second, SHARABLE)), ==, UINT64_MAX);
	assert_assembled(first, 1, 5);
}

#define P "/protocol/host/offers/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "one", test_one);
	g_test_add_func(P "eight", test_eight);
	g_test_add_func(P "hundred", test_hundred);
	g_test_add_func(P "many", test_many);
	g_test_add_func(P "max-chain", test_max_chain);
	g_test_add_func(P "policies", test_policies);
	g_test_add_func(P "queue", test_queue);
	g_test_add(P "shared", Shared, NULL, shared_set_up, test_shared, shared_tear_down);
	g_test_add(P "exclusive", Shared, NULL, shared_set_up, test_exclusive, shared_tear_down);
	g_test_add_func(P "same-host", test_same_host);
	return g_test_run();
}
