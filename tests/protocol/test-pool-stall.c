/* SPDX-License-Identifier: BSD-3-Clause */
/* Ten seconds in which neither the ledger nor a wipe gets on: registers answer as ever, commands
 * keep their deadline, nothing is lost. */
#include "pool_life.h"

#include "mem_link_raw.h"

#define STALL_US (10 * (gint64)G_USEC_PER_SEC)
#define LIMIT_US 5000 /* of a register access, stalled or not */
#define SLACK_US (500 * 1000)
#define DC_BASE  LIFE_RAM_LEN
#define N        4u

static const OfferExtent offered[N] = {
	{ 0, BLOCK }, { 2 * BLOCK, BLOCK }, { 4 * BLOCK, BLOCK }, { 6 * BLOCK, BLOCK }
};
static const DcRange accepted[N] = {
	{ DC_BASE, BLOCK },
	{ DC_BASE + 2 * BLOCK, BLOCK },
	{ DC_BASE + 4 * BLOCK, BLOCK },
	{ DC_BASE + 6 * BLOCK, BLOCK },
};
static const DcRange other = { DC_BASE + 20 * BLOCK, BLOCK };

/* ---- how long register accesses take ---- */

static void read_registers(TestHost *host, GArray *times)
{
	const uint64_t places[] = { host->mbox + CXL_MBOX_CTRL, host->status,
				    host->hdm + CXL_HDM_DEC_CTRL(0) };

	for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
		gint64 start = g_get_monotonic_time(), took;

		reg_read(host, places[i], 4);
		took = g_get_monotonic_time() - start;
		g_array_append_val(times, took);
	}
}

static int compare_times(gconstpointer a, gconstpointer b)
{
	const gint64 *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/*
 * The machine may be busy with other things for a moment, so single outliers are counted and not
 * forbidden; but nothing may take anything like as long as what is stalled.
 */
static void check_times(GArray *times, const char *what)
{
	guint n_late = 0;
	gint64 median, p99, longest;

	g_array_sort(times, compare_times);
	for (guint i = 0; i < times->len; i++)
		n_late += g_array_index(times, gint64, i) > LIMIT_US;
	median = g_array_index(times, gint64, times->len / 2);
	p99 = g_array_index(times, gint64, times->len / 100 * 99);
	longest = g_array_index(times, gint64, times->len - 1);
	g_test_message("%s: %u accesses, median %" G_GINT64_FORMAT " us, 99%% %" G_GINT64_FORMAT
		       " us, longest %" G_GINT64_FORMAT " us, %u over %d us",
		       what, times->len, median, p99, longest, n_late, LIMIT_US);
	g_assert_cmpuint(times->len, >, 1000);
	g_assert_cmpint(median, <, LIMIT_US / 5);
	g_assert_cmpint(p99, <, LIMIT_US);
	g_assert_cmpint(longest, <, STALL_US / 10);
}

/* ---- commands meanwhile ---- */

/* Waits for the command to end, reading registers of both devices all the time. */
static gint64 watch_command(TestHost *host, TestHost *second, GArray *times)
{
	gint64 start = g_get_monotonic_time();

	do {
		read_registers(host, times);
		read_registers(second, times);
		link_serve(host->link);
		g_assert_cmpint(g_get_monotonic_time() - start, <, 2 * STALL_US);
	} while (mbox_is_busy(host));
	return g_get_monotonic_time() - start;
}

static void watch_until(TestHost *host, TestHost *second, GArray *times, gint64 end)
{
	while (g_get_monotonic_time() < end) {
		read_registers(host, times);
		read_registers(second, times);
		link_serve(host->link);
		g_usleep(200);
	}
}

static TestHost *connect_device(PoolLife *life, PoolDevice *device)
{
	g_autoptr(GError) error = NULL;
	TestHost *host;
	int regs[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, regs), ==, 0);
	pool_attach_host(life->pool, device, regs[0], -1, &error);
	g_assert_no_error(error);
	host = test_host_on(regs[1], -1, 0);
	host->pool = life->pool;
	host->device = device;
	return host;
}

static void accept_first(PoolLife *life, TestHost *host)
{
	test_backend(life->pool, "mem", 1, N * BLOCK);
	test_backend(life->pool, "more", 2, BLOCK);
	test_offer(host, 1, offered, N);
	pool_life_settle(life, host);
	pool_life_accept(life, host, accepted, N);
	test_offer_one(host, 2, other.dpa - DC_BASE, BLOCK);
	pool_life_settle(life, host);
}

static void stall(PoolLife *life, gint64 stall_us)
{
	__atomic_store_n(&life->stall_us, stall_us, __ATOMIC_RELAXED);
}

/* What the stall held up comes to its end: every byte is where the host was told. */
static void check_nothing_lost(PoolLife *life, TestHost *host)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_MS * (gint64)1000;
	uint32_t n_extents;
	PoolState state;

	do {
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		pool_life_settle(life, host);
		pool_state(host, &state);
	} while (state.device.draining > 0 || state.pool.draining > 0);
	n_extents = host_extents(host, NULL, 8, NULL);
	g_assert_cmpuint(n_extents, ==, state.n_extents);
	/* The offer that could not be accepted stands. */
	if (link_map_at(host->link, other.dpa) == NULL)
		pool_life_accept(life, host, &other, 1);
	pool_life_settle(life, host);
	g_assert_cmpuint(link_n_exposed(host->link), ==, host_extents(host, NULL, 8, NULL) + 1);
	pool_state(host, &state);
	g_assert_cmpuint(state.device.accepted, ==, state.n_extents * BLOCK);
}

static void test_stall(void)
{
	DcRegionConfig region = { .len = REGION_LEN, .block_size = BLOCK };
	const PoolDeviceConfig second_config = {
		.name = "dev1",
		.serial = 8,
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
	};
	g_autoptr(PoolLife) life = pool_life_new();
	g_autoptr(TestHost) host = NULL, second = NULL;
	g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(gint64));
	gint64 end;

	pool_life_stop(life);
	life->wipe_delay_us = (unsigned)STALL_US;
	pool_life_start(life);
	host = connect_device(life, life->device);
	host->link = link_peer_new(pool_life_connect_link(life));
	link_peer_hello(host->link, NULL, 0);
	second = connect_device(life, test_device_with(life->pool, &second_config));
	accept_first(life, host);

	/* The wipe's ten seconds begin, then those of the ledger. */
	end = g_get_monotonic_time() + STALL_US;
	g_assert_cmphex(host_release(host, accepted, 2), ==, CXL_RC_SUCCESS);
	stall(life, STALL_US);
	extents_start(host, CXL_OP_ADD_DC_RESPONSE, &other, 1, 0);
	g_assert_cmpint(watch_command(host, second, times), <, DEADLINE_US + SLACK_US);
	g_assert_cmphex(mbox_result(host, NULL, 0, NULL), ==, CXL_RC_INTERNAL_ERROR);
	extents_start(host, CXL_OP_RELEASE_DC, &accepted[2], 1, 0);
	g_assert_cmpint(watch_command(host, second, times), <, DEADLINE_US + SLACK_US);
	/* What can be told without the ledger is. */
	g_assert_cmphex(mbox_call(second, CXL_OP_IDENTIFY_MEMDEV, NULL, 0, NULL, 0, NULL), ==,
			CXL_RC_SUCCESS);
	watch_until(host, second, times, end);
	stall(life, 0);
	check_times(times, "ledger and wipe stalled");
	check_nothing_lost(life, host);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/pool/stall", test_stall);
	return g_test_run();
}
