/* SPDX-License-Identifier: BSD-3-Clause */
/* Slow hosts and wipes, several at once: registers answer all the while, no deadline is missed. */
#include "pool_fixture.h"

#include "mem_link_raw.h"

#define N_DEVICES   2u
#define N_OFFERS    2u
#define N_EXTENTS   4u
#define DELAY_MS    500u /* of an answer on the link: twice that is a command's deadline */
#define REG_READ_US 5000 /* for one register read, whatever goes on */

/*
 * Reads one register over and over. On a busy machine some reads are slow; if the pool waited for a
 * link or a wipe even once, one read would take as long as that.
 */
typedef struct Reader {
	TestHost *host;
	int stop;
	unsigned n_reads, n_slow;
	gint64 worst_us;
} Reader;

static void *read_registers(void *data)
{
	Reader *reader = data;

	while (!g_atomic_int_get(&reader->stop)) {
		gint64 began = g_get_monotonic_time(), took;

		reg_read(reader->host, reader->host->status, 4);
		took = g_get_monotonic_time() - began;
		reader->worst_us = MAX(reader->worst_us, took);
		reader->n_slow += took > REG_READ_US;
		reader->n_reads++;
		g_usleep(200);
	}
	return NULL;
}

static void check_reader(const Reader *reader)
{
	g_test_message("%u reads, %u slow, slowest %.2f ms", reader->n_reads, reader->n_slow,
		       (double)reader->worst_us / 1e3);
	g_assert_cmpuint(reader->n_reads, >, 100);
	g_assert_cmpuint(reader->n_slow, <, reader->n_reads / 10);
	g_assert_cmpint(reader->worst_us, <, DELAY_MS * 1000 / 4);
}

typedef struct Tenant {
	TestHost *host;
	unsigned first_tag;
	Reader reader;
	GThread *thread, *reader_thread;
	gint64 slowest_us; /* command */
} Tenant;

static void timed(Tenant *tenant, enum cxl_rc (*call)(TestHost *, const DcRange *, uint32_t),
		  const DcRange *ranges)
{
	gint64 began = g_get_monotonic_time();

	g_assert_cmphex(call(tenant->host, ranges, N_EXTENTS), ==, CXL_RC_SUCCESS);
	tenant->slowest_us = MAX(tenant->slowest_us, g_get_monotonic_time() - began);
}

static void *tenant_run(void *data)
{
	Tenant *tenant = data;

	for (unsigned i = 0; i < N_OFFERS; i++) {
		OfferExtent extents[N_EXTENTS];
		DcRange ranges[N_EXTENTS];

		for (unsigned k = 0; k < N_EXTENTS; k++) {
			uint64_t dpa = (i * N_EXTENTS + k) * 2 * BLOCK;

			extents[k] = (OfferExtent){ dpa, BLOCK };
			ranges[N_EXTENTS - 1 - k] = (DcRange){ dpa, BLOCK };
		}
		test_offer(tenant->host, tenant->first_tag + i, extents, N_EXTENTS);
		timed(tenant, host_accept, ranges);
		if (i % 2 == 0)
			timed(tenant, host_release, ranges);
	}
	return NULL;
}

/*
 * Two devices, two offers each. Prepare and expose are two answers in one command: half a second
 * for each would be just too late, so here it is less.
 */
static void test_slow_links(void)
{
	g_autoptr(Pool) pool = test_pool();
	Tenant tenants[N_DEVICES] = { 0 };

	for (unsigned i = 0; i < N_DEVICES; i++) {
		g_autofree char *name = g_strdup_printf("dev%u", i);
		Tenant *tenant = &tenants[i];

		tenant->host = test_host(pool, test_device(pool, name), LINK_RAW);
		tenant->first_tag = 1 + i * N_OFFERS;
		for (unsigned k = 0; k < N_OFFERS; k++) {
			g_autofree char *backend = g_strdup_printf("mem%u-%u", i, k);

			test_backend(pool, backend, tenant->first_tag + k, N_EXTENTS * BLOCK);
		}
		tenant->reader.host = tenant->host;
	}
	for (unsigned i = 0; i < N_DEVICES; i++) {
		Tenant *tenant = &tenants[i];

		link_peer_run(tenant->host->link, DELAY_MS * 7 / 10);
		tenant->reader_thread = g_thread_new("reader", read_registers, &tenant->reader);
		tenant->thread = g_thread_new("tenant", tenant_run, tenant);
	}
	for (unsigned i = 0; i < N_DEVICES; i++) {
		Tenant *tenant = &tenants[i];

		g_thread_join(tenant->thread);
		g_atomic_int_set(&tenant->reader.stop, 1);
		g_thread_join(tenant->reader_thread);
		link_peer_stop(tenant->host->link);
		g_test_message("slowest command %.0f ms", (double)tenant->slowest_us / 1e3);
		g_assert_cmpint(tenant->slowest_us, <, DEADLINE_US + DEADLINE_US / 5);
		check_reader(&tenant->reader);
		g_assert_cmpuint(tenant->host->link->n_seen[MEM_LINK_PREPARE], ==, N_OFFERS);
	}
	for (unsigned i = 0; i < N_DEVICES; i++) {
		host_drain(tenants[i].host);
		assert_counters(tenants[i].host, 0, N_OFFERS / 2 * N_EXTENTS * BLOCK, 0, 0);
		g_assert_cmpuint(link_n_exposed(tenants[i].host->link), ==,
				 N_OFFERS / 2 * N_EXTENTS);
		test_host_free(tenants[i].host);
	}
}

/* An answer half a second late to each of prepare and expose is too late: all of it is undone. */
static void test_too_slow(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, test_device(pool, "dev0"), LINK_RAW);
	PoolState before, after;
	gint64 began;

	test_backend(pool, "mem", 1, BLOCK);
	test_offer_one(host, 1, 0, BLOCK);
	pool_state(host, &before);
	link_peer_run(host->link, DELAY_MS + 50);
	began = g_get_monotonic_time();
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_INTERNAL_ERROR);
	g_assert_cmpint(g_get_monotonic_time() - began, <, DEADLINE_US + DEADLINE_US / 5);
	pool_state(host, &after);
	assert_same_state(&before, &after);
	link_peer_stop(host->link); /* answers what it has */
	host_settle(host);
	g_assert_cmpuint(host->link->maps->len, ==, 0);
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
}

/* ---- wiping ---- */

#define STALL_US (1100 * 1000)

/* Both wipe workers are stuck for longer than a command may take. */
static void test_stalled_wipe(void)
{
	PoolConfig config = { .wipe_delay_us = STALL_US };
	g_autoptr(Pool) pool = pool_new(&config);
	g_autoptr(TestHost) host = test_host(pool, test_device(pool, "dev0"), LINK_RAW);
	Reader reader = { .host = host };
	GThread *thread;
	gint64 began = g_get_monotonic_time(), slowest = 0;
	unsigned n_accepted = 0;
	PoolState state;

	for (unsigned i = 0; i < 4; i++) {
		g_autofree char *name = g_strdup_printf("mem%u", i);

		test_backend(pool, name, 1 + i, BLOCK);
	}
	thread = g_thread_new("reader", read_registers, &reader);
	for (unsigned i = 0; i < 4; i++) {
		gint64 start = g_get_monotonic_time();

		test_offer_one(host, 1 + i, i * BLOCK, BLOCK);
		g_assert_cmphex(host_accept_one(host, i * BLOCK, BLOCK), ==, CXL_RC_SUCCESS);
		if (i < 3)
			g_assert_cmphex(host_release_one(host, i * BLOCK, BLOCK), ==,
					CXL_RC_SUCCESS);
		else
			n_accepted++;
		slowest = MAX(slowest, g_get_monotonic_time() - start);
	}
	pool_state(host, &state);
	g_assert_cmpuint(state.device.draining, ==, 3 * BLOCK);
	while (g_get_monotonic_time() - began < STALL_US / 2)
		g_usleep(10000);
	g_atomic_int_set(&reader.stop, 1);
	g_thread_join(thread);
	g_test_message("slowest accept + release %.2f ms", (double)slowest / 1e3);
	g_assert_cmpint(slowest, <, DEADLINE_US / 2);
	check_reader(&reader);
	pool_state(host, &state);
	g_assert_cmpuint(state.device.draining, ==, 3 * BLOCK); /* not before it is wiped */
	g_assert_cmpuint(state.device.accepted, ==, n_accepted * BLOCK);
}

#define P "/protocol/pool/threads/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "slow-links", test_slow_links);
	g_test_add_func(P "too-slow", test_too_slow);
	g_test_add_func(P "stalled-wipe", test_stalled_wipe);
	return g_test_run();
}
