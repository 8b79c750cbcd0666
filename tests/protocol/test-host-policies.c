/* SPDX-License-Identifier: BSD-3-Clause */
/* What a host takes of what it is offered, and every way in which it loses it again. */
#include "host_fixture.h"

#define SEED 11

typedef struct Duo {
	Pool *pool;
	PoolDevice *devices[2];
	HostEnd *host;
	HostPort *first, *second;
} Duo;

static void set_up(Duo *duo, gconstpointer data)
{
	duo->pool = host_pool();
	duo->devices[0] = host_device(duo->pool, "dev0", 1);
	duo->devices[1] = host_device(duo->pool, "dev1", 1);
	duo->host = host_end_new(duo->pool, duo->devices, 2);
	duo->first = &duo->host->ports[0];
	duo->second = &duo->host->ports[1];
}

static void tear_down(Duo *duo, gconstpointer data)
{
	host_end_free(duo->host);
	pool_free(duo->pool);
}

static uint64_t dpa_of(HostPort *port, uint64_t block)
{
	return host_region_dpa(port, 0) + block * BLOCK;
}

static void assert_all_free(Duo *duo)
{
	CapacityCounters counters = host_pool_counters(duo->pool);

	g_assert_cmpuint(counters.free, ==, counters.total);
	for (unsigned i = 0; i < 2; i++) {
		pool_device_counters(duo->pool, duo->devices[i], &counters);
		g_assert_cmpuint(counters.free, ==, REGION_LEN);
	}
}

/* Until the pool has nothing reserved any more: all offers have an answer. */
static void wait_answered(Duo *duo)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_US;

	while (host_pool_counters(duo->pool).reserved) {
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		host_assert_ok(duo->host, cxl_dcd_poll(duo->first->dcd, 10));
	}
}

/* ---- what is taken ---- */

static CxlAccept accept_none(HostPort *port, const CxlDcGroup *offer, bool *take)
{
	return CXL_ACCEPT_NONE;
}

static CxlAccept accept_listed(HostPort *port, const CxlDcGroup *offer, bool *take)
{
	return cxl_accept_list_judge(port->data, offer);
}

static CxlAccept accept_odd(HostPort *port, const CxlDcGroup *offer, bool *take)
{
	for (uint32_t i = 1; i < offer->n_extents; i += 2)
		take[i] = true;
	return CXL_ACCEPT_SOME;
}

static void test_none(Duo *duo, gconstpointer data)
{
	static const OfferExtent extents[] = { { 4 * BLOCK, BLOCK }, { 0, 2 * BLOCK } };

	duo->first->accept = accept_none;
	host_backend(duo->pool, 1, 3 * BLOCK);
	host_offer(duo->first, 1, extents, 2);
	host_poll(duo->first, &duo->first->n_offered, 1);
	wait_answered(duo);
	host_offer(duo->first, 0, extents, 2);
	host_poll(duo->first, &duo->first->n_offered, 2);
	wait_answered(duo);
	g_assert_cmpuint(duo->first->n_mapped, ==, 0);
	assert_all_free(duo);
	host_assert_filled(duo->first, dpa_of(duo->first, 0), 6 * BLOCK, UINT64_MAX);
	/* A change of mind: the same once more. */
	duo->first->accept = NULL;
	host_give(duo->first, 1, extents, 2);
	host_assert_filled(duo->first, dpa_of(duo->first, 0), 2 * BLOCK, 0);
}

static void test_list(Duo *duo, gconstpointer data)
{
	g_autofree char *text = NULL;
	char tags[2][CXL_TAG_TEXT_LEN];
	CxlTag tag = host_cxl_tag(2);
	CxlAcceptList list;

	cxl_tag_format(&tag, tags[0]);
	tag = host_cxl_tag(4);
	cxl_tag_format(&tag, tags[1]);
	text = g_strdup_printf("%s,%s", tags[1], tags[0]);
	g_assert_cmpint(cxl_accept_list_parse(text, &list), ==, 0);
	duo->first->accept = accept_listed;
	duo->first->data = &list;
	for (unsigned i = 1; i <= 5; i++) {
		OfferExtent extent = { i * 2 * BLOCK, BLOCK };

		host_backend(duo->pool, i, BLOCK);
		host_offer(duo->first, i, &extent, 1);
	}
	host_offer(duo->first, 0, &(OfferExtent){ 0, BLOCK }, 1);
	host_poll(duo->first, &duo->first->n_offered, 6);
	wait_answered(duo);
	g_assert_cmpuint(duo->first->n_mapped, ==, 2);
	for (unsigned i = 0; i <= 5; i++) {
		uint64_t want = i == 2 || i == 4 ? 0 : UINT64_MAX;

		tag = host_cxl_tag(i);
		g_assert_true(cxl_dcd_has_tag(duo->first->dcd, &tag) == (want == 0));
		host_assert_filled(duo->first, dpa_of(duo->first, 2 * i), BLOCK, want);
		host_assert_filled(duo->first, dpa_of(duo->first, 2 * i + 1), BLOCK, UINT64_MAX);
	}
	g_assert_cmpuint(host_pool_counters(duo->pool).accepted, ==, 2 * BLOCK);
	cxl_accept_list_clear(&list);
}

static void check_part_of_chain(Duo *duo, unsigned tag, uint64_t first_block)
{
	OfferExtent extents[6];

	for (unsigned i = 0; i < G_N_ELEMENTS(extents); i++)
		extents[i] = (OfferExtent){ (first_block + 5 - i) * BLOCK, BLOCK };
	host_give(duo->first, tag, extents, G_N_ELEMENTS(extents));
	g_assert_cmpuint(duo->first->extents->len, ==, 3);
	for (unsigned i = 0; i < G_N_ELEMENTS(extents); i++) {
		uint64_t dpa = dpa_of(duo->first, first_block + 5 - i);

		if (i % 2 == 0) {
			host_assert_filled(duo->first, dpa, BLOCK, UINT64_MAX);
			continue;
		}
		g_assert_cmphex(g_array_index(duo->first->extents, CxlHostExtent, i / 2).dpa, ==,
				dpa);
		host_assert_filled(duo->first, dpa, BLOCK, 0);
		host_fill(host_hva(duo->first, dpa), BLOCK, SEED, i * BLOCK);
	}
}

static void test_part_of_chain(Duo *duo, gconstpointer data)
{
	g_autofree uint8_t *bytes = g_malloc(BLOCK);

	duo->first->accept = accept_odd;
	host_backend(duo->pool, 1, 6 * BLOCK);
	check_part_of_chain(duo, 1, 0);
	check_part_of_chain(duo, 0, 10);
	/* The parts of a tag keep their places in the backend; what was declined stays empty. */
	for (unsigned i = 0; i < 6; i++) {
		host_backend_read(duo->pool, 1, i * BLOCK, bytes, BLOCK);
		if (i % 2)
			host_assert_fill(bytes, BLOCK, SEED, i * BLOCK);
		else
			g_assert_cmphex(*(uint64_t *)(void *)bytes, ==, 0);
	}
	g_assert_cmpuint(host_backend_counters(duo->pool, 1).accepted, ==, 3 * BLOCK);
	g_assert_cmpuint(host_backend_counters(duo->pool, 1).reserved, ==, 0);
	host_take_back(duo->first, dpa_of(duo->first, 0), REGION_LEN);
	assert_all_free(duo);
}

static void test_untagged(Duo *duo, gconstpointer data)
{
	uint64_t total = host_pool_counters(duo->pool).total;

	for (unsigned i = 0; i < 3; i++) {
		host_give_with(duo->first, &(OfferRequest){ .len = 3 * BLOCK });
		g_assert_cmpuint(duo->first->len, ==, 3 * BLOCK);
		host_assert_filled(duo->first, dpa_of(duo->first, 0), 3 * BLOCK, 0);
		host_fill(host_hva(duo->first, dpa_of(duo->first, 0)), 3 * BLOCK, SEED, 0);
		host_assert_ok(duo->host,
			       cxl_dcd_release_group(duo->first->dcd, duo->first->group));
		host_wait_drained(duo->first);
		host_assert_filled(duo->first, dpa_of(duo->first, 0), 3 * BLOCK, UINT64_MAX);
		g_assert_cmpuint(host_pool_counters(duo->pool).total, ==, total);
	}
}

/* ---- what is given back, while somebody uses the rest ---- */

typedef struct Keeper {
	const uint8_t *hva[2];
	uint64_t len[2], offset[2];
	gint stop;
	gint n_rounds;
} Keeper;

static gpointer read_kept(gpointer data)
{
	Keeper *keeper = data;

	while (!g_atomic_int_get(&keeper->stop)) {
		for (unsigned i = 0; i < 2; i++)
			host_assert_fill(keeper->hva[i], keeper->len[i], SEED, keeper->offset[i]);
		g_atomic_int_inc(&keeper->n_rounds);
	}
	return NULL;
}

/* After it the reader has been through all of it once more at least. */
static void let_read(Keeper *keeper)
{
	gint until = g_atomic_int_get(&keeper->n_rounds) + 2;

	while (g_atomic_int_get(&keeper->n_rounds) < until)
		g_usleep(100);
}

/* How the middle [from, from + n) of the extent at block 0 goes. */
typedef void (*TakeMiddle)(HostPort *port, uint64_t from, uint64_t n);

static void take_by_range(HostPort *port, uint64_t from, uint64_t n)
{
	host_take_back(port, dpa_of(port, from), n * BLOCK);
}

static void take_by_request(HostPort *port, uint64_t from, uint64_t n)
{
	OfferExtent extent = { from * BLOCK, n * BLOCK };

	port->verdict = CXL_RELEASE_RANGES;
	host_ask_back(port, &(ReleaseRequest){ .extents = &extent, .n_extents = 1 });
}

static void take_by_force(HostPort *port, uint64_t from, uint64_t n)
{
	OfferExtent extent = { from * BLOCK, n * BLOCK };

	host_ask_back(port,
		      &(ReleaseRequest){ .extents = &extent, .n_extents = 1, .forced = true });
}

#define EXTENT_BLOCKS 8

static void check_middle(Duo *duo, TakeMiddle take, uint64_t from, uint64_t n)
{
	HostPort *port = duo->first;
	uint8_t *hva = host_hva(port, dpa_of(port, 0));
	uint64_t after = from + n;
	Keeper keeper = {
		.hva = { hva, hva + after * BLOCK },
		.len = { from * BLOCK, (EXTENT_BLOCKS - after) * BLOCK },
		.offset = { 0, after * BLOCK },
	};
	GThread *thread;

	host_give_one(port, 1, 0, EXTENT_BLOCKS * BLOCK);
	host_fill(hva, EXTENT_BLOCKS * BLOCK, SEED, 0);
	thread = g_thread_new("keeper", read_kept, &keeper);
	let_read(&keeper);
	take(port, from, n);
	let_read(&keeper);
	host_assert_filled(port, dpa_of(port, from), n * BLOCK, UINT64_MAX);
	g_assert_cmpuint(host_backend_counters(duo->pool, 1).accepted, ==,
			 (EXTENT_BLOCKS - n) * BLOCK);
	/* Somebody else may have the place now, but not these bytes of the backend. */
	host_give_one(port, 0, from * BLOCK, n * BLOCK);
	host_assert_filled(port, dpa_of(port, from), n * BLOCK, 0);
	host_fill(host_hva(port, dpa_of(port, from)), n * BLOCK, SEED + 1, 0);
	let_read(&keeper);
	host_take_back(port, dpa_of(port, from), n * BLOCK);
	let_read(&keeper);
	g_atomic_int_set(&keeper.stop, 1);
	g_thread_join(thread);
	host_take_back_tag(port, 1);
	host_assert_filled(port, dpa_of(port, 0), EXTENT_BLOCKS * BLOCK, UINT64_MAX);
	assert_all_free(duo);
}

static void test_middle(Duo *duo, gconstpointer data)
{
	static const TakeMiddle ways[] = { take_by_range, take_by_request, take_by_force };

	host_backend(duo->pool, 1, EXTENT_BLOCKS * BLOCK);
	for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
		check_middle(duo, ways[i], 3, 2);
		check_middle(duo, ways[i], 0, 1);
		check_middle(duo, ways[i], EXTENT_BLOCKS - 1, 1);
		check_middle(duo, ways[i], 1, EXTENT_BLOCKS - 2);
	}
}

/* A range over the ends of two extents and a hole between them. */
static void test_several(Duo *duo, gconstpointer data)
{
	static const OfferExtent extents[] = { { 6 * BLOCK, 4 * BLOCK }, { 0, 4 * BLOCK } };
	HostPort *port = duo->first;
	uint64_t base = dpa_of(port, 0);

	host_backend(duo->pool, 1, 8 * BLOCK);
	host_give(port, 1, extents, 2);
	host_fill(host_hva(port, base + 6 * BLOCK), 4 * BLOCK, SEED, 0);
	host_fill(host_hva(port, base), 4 * BLOCK, SEED, 4 * BLOCK);
	host_take_back(port, base + 3 * BLOCK, 5 * BLOCK);
	host_assert_fill(host_hva(port, base), 3 * BLOCK, SEED, 4 * BLOCK);
	host_assert_filled(port, base + 3 * BLOCK, 5 * BLOCK, UINT64_MAX);
	host_assert_fill(host_hva(port, base + 8 * BLOCK), 2 * BLOCK, SEED, 2 * BLOCK);
	host_take_back_tag(port, 1);
	host_assert_filled(port, base, 10 * BLOCK, UINT64_MAX);
	assert_all_free(duo);
}

/* ---- on request, and by force ---- */

static void test_request(Duo *duo, gconstpointer data)
{
	HostPort *port = duo->first;
	ReleaseRequest request = { .tag = host_tag(1) };

	host_backend(duo->pool, 1, 4 * BLOCK);
	host_give_one(port, 1, 0, 4 * BLOCK);
	host_fill(host_hva(port, dpa_of(port, 0)), 4 * BLOCK, SEED, 0);
	/* In use: it stays, and is asked for again. */
	port->verdict = CXL_RELEASE_KEEP;
	host_ask_back(port, &request);
	host_assert_fill(host_hva(port, dpa_of(port, 0)), 4 * BLOCK, SEED, 0);
	g_assert_cmpuint(host_backend_counters(duo->pool, 1).accepted, ==, 4 * BLOCK);
	port->verdict = CXL_RELEASE_GROUP;
	host_poll(port, &port->n_asked, 2);
	host_wait_drained(port);
	host_assert_filled(port, dpa_of(port, 0), 4 * BLOCK, UINT64_MAX);
	assert_all_free(duo);
}

static void test_forced(Duo *duo, gconstpointer data)
{
	HostPort *port = duo->first;
	ReleaseRequest request = { .tag = host_tag(1), .forced = true };
	gint64 give_up = g_get_monotonic_time() + WAIT_US;
	CapacityCounters counters;
	g_autoptr(GError) error = NULL;

	host_backend(duo->pool, 1, 4 * BLOCK);
	host_give_one(port, 1, 0, 4 * BLOCK);
	host_fill(host_hva(port, dpa_of(port, 0)), 4 * BLOCK, SEED, 0);
	/* Nobody handles events, so the host is not asked: the memory is gone all the same. */
	pool_release(duo->pool, duo->devices[0], &request, NULL, &error);
	g_assert_no_error(error);
	while (host_backend_counters(duo->pool, 1).free != 4 * BLOCK) {
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		g_usleep(100);
	}
	g_assert_cmpuint(port->n_revoked, ==, 0);
	host_assert_filled(port, dpa_of(port, 0), 4 * BLOCK, UINT64_MAX);
	/* Its place is not offered to anybody before the host has said that it knows. */
	pool_device_counters(duo->pool, duo->devices[0], &counters);
	g_assert_cmpuint(counters.free, ==, REGION_LEN - 4 * BLOCK);
	host_poll(port, &port->n_revoked, 1);
	host_wait_drained(port);
	assert_all_free(duo);
	host_give_one(port, 1, 0, 4 * BLOCK);
	host_assert_filled(port, dpa_of(port, 0), 4 * BLOCK, 0);
}

/* ---- the next tenant ---- */

static bool is_zero(const uint8_t *bytes, uint64_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

static void test_next_tenant(Duo *duo, gconstpointer data)
{
	const uint64_t len = 8 * BLOCK;
	HostPort *ports[] = { duo->first, duo->second };

	host_backend(duo->pool, 1, len);
	for (unsigned i = 0; i < 6; i++) {
		HostPort *port = ports[i % 2];
		uint8_t *hva = host_hva(port, dpa_of(port, i));

		host_give_one(port, 1, i * BLOCK, len);
		/* Every byte, not one a page. */
		g_assert_true(is_zero(hva, len));
		memset(hva, 0xa0 + (int)i, len);
		if (i % 3 == 0) {
			host_take_back_tag(port, 1);
		} else if (i % 3 == 1) {
			host_take_back(port, dpa_of(port, i + 2), 3 * BLOCK);
			host_take_back_tag(port, 1);
		} else {
			take_by_force(port, i, 8);
		}
		g_assert_cmphex(*(volatile uint64_t *)(void *)hva, ==, UINT64_MAX);
	}
	assert_all_free(duo);
}

#define P "/protocol/host/policies/"

static void add(const char *path, void (*test)(Duo *duo, gconstpointer data))
{
	g_test_add(path, Duo, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add(P "none", test_none);
	add(P "list", test_list);
	add(P "part-of-chain", test_part_of_chain);
	add(P "untagged", test_untagged);
	add(P "middle", test_middle);
	add(P "several", test_several);
	add(P "request", test_request);
	add(P "forced", test_forced);
	add(P "next-tenant", test_next_tenant);
	return g_test_run();
}
