/* SPDX-License-Identifier: BSD-3-Clause */
/* The real memory link client at the other end: its k-th map fails, for every k. */
#include "pool_fixture.h"

#include "link/mem_link_client.h"
#include "mem_link_raw.h"

#define TAG       1
#define N_EXTENTS 20u
#define SIZE      (N_EXTENTS * BLOCK)

/* What the host's window holds; the client's thread changes it, the test looks while it sleeps. */
typedef struct Window {
	GMutex lock;
	GHashTable *maps; /* id -> descriptor */
	unsigned n_exposed;
	int fail_prepare; /* counts down to the map to be refused; -1 = none */
	bool fail_expose;
} Window;

static int window_prepare(void *opaque, const MemLinkClientMap *map)
{
	Window *window = opaque;
	bool fails;

	g_mutex_lock(&window->lock);
	fails = window->fail_prepare >= 0 && window->fail_prepare-- == 0;
	if (!fails)
		g_hash_table_insert(window->maps, GSIZE_TO_POINTER((gsize)map->id),
				    GINT_TO_POINTER(map->fd));
	g_mutex_unlock(&window->lock);
	return fails ? -ENOMEM : 0;
}

static int window_expose(void *opaque, const uint64_t *ids, size_t n)
{
	Window *window = opaque;
	bool fails;

	g_mutex_lock(&window->lock);
	fails = window->fail_expose;
	window->fail_expose = false;
	if (!fails)
		window->n_exposed += (unsigned)n;
	g_mutex_unlock(&window->lock);
	return fails ? -ENOMEM : 0;
}

static int window_revoke(void *opaque, uint64_t id, uint64_t dpa, uint64_t len)
{
	return 0;
}

static int window_drop(void *opaque, uint64_t id)
{
	Window *window = opaque;
	gpointer fd, key = GSIZE_TO_POINTER((gsize)id);

	g_mutex_lock(&window->lock);
	g_assert_true(g_hash_table_steal_extended(window->maps, key, NULL, &fd));
	close(GPOINTER_TO_INT(fd));
	g_mutex_unlock(&window->lock);
	return 0;
}

static int window_decoder(void *opaque, const MemLinkClientDecoder *decoder)
{
	return 0;
}

static void window_closed(void *opaque)
{
}

static const MemLinkClientOps window_ops = { window_prepare, window_expose,  window_revoke,
					     window_drop,    window_decoder, window_closed };

static unsigned n_maps(Window *window)
{
	unsigned n;

	g_mutex_lock(&window->lock);
	n = g_hash_table_size(window->maps);
	g_mutex_unlock(&window->lock);
	return n;
}

static unsigned n_exposed(Window *window)
{
	unsigned n;

	g_mutex_lock(&window->lock);
	n = window->n_exposed;
	g_mutex_unlock(&window->lock);
	return n;
}

static void set_failing(Window *window, int prepare, bool expose)
{
	g_mutex_lock(&window->lock);
	window->fail_prepare = prepare;
	window->fail_expose = expose;
	g_mutex_unlock(&window->lock);
}

typedef struct Bench {
	uint64_t dc_base;  /* DPA of the region */
	unsigned n_static; /* partitions mapped from the beginning */
	Pool *pool;
	TestHost *host;
	MemLinkClient *client;
	Window window;
	DcRange ranges[N_EXTENTS];
	PoolState before;
} Bench;

/* Sets up no offer if MAX_MAPS are too few for it, but then a static partition, which takes one. */
static void bench_init(Bench *bench, uint32_t max_maps)
{
	DcRegionConfig region = { .len = REGION_LEN, .block_size = BLOCK };
	PoolDeviceConfig config = {
		.name = "dev0",
		.ram_len = max_maps < N_EXTENTS ? REGION_LEN : 0,
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
	};
	static const uint8_t session[16] = { 1 };
	g_autoptr(GError) error = NULL;
	OfferExtent extents[N_EXTENTS];
	int mem[2];

	bench->pool = test_pool();
	bench->dc_base = config.ram_len;
	bench->n_static = config.ram_len > 0;
	bench->host = test_host(bench->pool, test_device_with(bench->pool, &config), LINK_NONE);
	bench->window = (Window){ .fail_prepare = -1 };
	g_mutex_init(&bench->window.lock);
	bench->window.maps = g_hash_table_new(NULL, NULL);
	raw_pair(mem);
	g_assert_true(pool_attach_host(bench->pool, bench->host->device, -1, mem[0], NULL));
	bench->client = mem_link_client_new(mem[1], session, max_maps, NULL, 0, &window_ops,
					    &bench->window, WAIT_MS, &error);
	g_assert_no_error(error);
	test_backend(bench->pool, "mem", TAG, SIZE);
	for (unsigned i = 0; i < N_EXTENTS; i++) {
		extents[i] = (OfferExtent){ 2 * i * BLOCK, BLOCK };
		bench->ranges[i] = (DcRange){ bench->dc_base + 2 * i * BLOCK, BLOCK };
	}
	if (max_maps >= N_EXTENTS)
		test_offer(bench->host, TAG, extents, N_EXTENTS);
	pool_state(bench->host, &bench->before);
}

static void close_map(gpointer key, gpointer value, gpointer user_data)
{
	close(GPOINTER_TO_INT(value));
}

static void bench_clear(Bench *bench)
{
	mem_link_client_free(bench->client);
	test_host_free(bench->host);
	pool_free(bench->pool);
	g_hash_table_foreach(bench->window.maps, close_map, NULL);
	g_hash_table_unref(bench->window.maps);
	g_mutex_clear(&bench->window.lock);
}

/* After a failure the host has to confirm that it dropped all; meanwhile 05h. */
static enum cxl_rc accept_again(Bench *bench)
{
	enum cxl_rc rc;

	while ((rc = host_accept(bench->host, bench->ranges, N_EXTENTS)) == CXL_RC_RETRY_REQUIRED)
		g_usleep(100);
	return rc;
}

static void expect_unchanged(Bench *bench)
{
	PoolState now;

	pool_state(bench->host, &now);
	assert_same_state(&now, &bench->before);
	g_assert_cmpuint(n_exposed(&bench->window), ==, bench->n_static);
}

/* Every k in one session: what a failed attempt leaves behind would show in the next. */
static void test_kth_map(void)
{
	Bench bench;

	bench_init(&bench, UINT32_MAX);
	for (int k = 0; k < (int)N_EXTENTS; k++) {
		set_failing(&bench.window, k, false);
		g_assert_cmphex(accept_again(&bench), ==, CXL_RC_INTERNAL_ERROR);
		expect_unchanged(&bench);
	}
	set_failing(&bench.window, -1, false);
	g_assert_cmphex(accept_again(&bench), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(n_maps(&bench.window), ==, N_EXTENTS);
	g_assert_cmpuint(n_exposed(&bench.window), ==, N_EXTENTS);
	g_assert_cmphex(host_release(bench.host, bench.ranges, N_EXTENTS), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(n_maps(&bench.window), ==, 0);
	host_drain(bench.host);
	assert_counters(bench.host, 0, 0, 0, 0);
	bench_clear(&bench);
}

static void test_expose(void)
{
	Bench bench;

	bench_init(&bench, UINT32_MAX);
	set_failing(&bench.window, -1, true);
	g_assert_cmphex(accept_again(&bench), ==, CXL_RC_INTERNAL_ERROR);
	expect_unchanged(&bench);
	g_assert_cmphex(accept_again(&bench), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(n_maps(&bench.window), ==, N_EXTENTS);
	bench_clear(&bench);
}

/* A host that says how many maps it can hold is never offered more, and 4800h says so. */
static void test_host_limit(void)
{
	g_autoptr(GError) error = NULL;
	OfferExtent extents[N_EXTENTS];
	OfferRequest request = {
		.policy = OFFER_PRESCRIPTIVE,
		.tag = test_tag(TAG),
		.extents = extents,
		.n_extents = 5,
	};
	CxlDcConfigIn in = { .n_regions = 8 };
	struct {
		CxlDcConfigOut header;
		CxlDcRegionConfig region;
		CxlDcConfigTail tail;
	} out;
	Bench bench;

	bench_init(&bench, 5);
	while (n_exposed(&bench.window) < 1) /* its ram comes by itself */
		g_usleep(100);
	for (unsigned i = 0; i < N_EXTENTS; i++)
		extents[i] = (OfferExtent){ 2 * i * BLOCK, BLOCK };
	g_assert_false(pool_offer(bench.pool, bench.host->device, &request, NULL, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_LIMIT);
	expect_unchanged(&bench);
	g_assert_cmphex(mbox_call(bench.host, CXL_OP_GET_DC_CONFIG, &in, sizeof(in), &out,
				  sizeof(out), NULL),
			==, CXL_RC_SUCCESS);
	g_assert_cmpuint(le32_get(out.tail.n_extents_supported), ==, 4);
	g_assert_cmpuint(le32_get(out.tail.n_extents_available), ==, 4);
	test_offer(bench.host, TAG, extents, 4);
	g_assert_cmphex(host_accept(bench.host, bench.ranges, 4), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(n_maps(&bench.window), ==, 5);
	bench_clear(&bench);
}

#define P "/protocol/pool/maps/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "kth-map", test_kth_map);
	g_test_add_func(P "expose", test_expose);
	g_test_add_func(P "host-limit", test_host_limit);
	return g_test_run();
}
