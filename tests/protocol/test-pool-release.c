/* SPDX-License-Identifier: BSD-3-Clause */
/* Release requests and their re-issue, and release by force. */
#include "pool_fixture.h"

#include "mem_link_raw.h"

#define TAG  1
#define SIZE (2 * BLOCK)

static const OfferExtent offered[] = { { 0, BLOCK }, { 4 * BLOCK, BLOCK } };
static const DcRange ranges[] = { { 0, BLOCK }, { 4 * BLOCK, BLOCK } };

static TestHost *tenant(Pool *pool)
{
	TestHost *host = test_host(pool, test_device(pool, "dev0"), LINK_RAW);
	CxlEventDc events[4];

	test_backend(pool, "mem", TAG, SIZE);
	test_offer(host, TAG, offered, 2);
	g_assert_cmphex(host_accept(host, ranges, 2), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(host_events(host, events, 4), ==, 0); /* unread and answered */
	return host;
}

static uint64_t request(TestHost *host, const ReleaseRequest *release)
{
	g_autoptr(GError) error = NULL;
	uint64_t id = 0;

	pool_release(host->pool, host->device, release, &id, &error);
	g_assert_no_error(error);
	return id;
}

static void expect_refused(TestHost *host, const ReleaseRequest *release, CapacityError code)
{
	g_autoptr(GError) error = NULL;
	PoolState before, after;

	pool_state(host, &before);
	g_assert_false(pool_release(host->pool, host->device, release, NULL, &error));
	g_assert_error(error, CAPACITY_ERROR, (int)code);
	pool_state(host, &after);
	assert_same_state(&before, &after);
}

static ReleaseInfo release_info(TestHost *host, uint64_t id)
{
	PoolState state;

	pool_state(host, &state);
	for (unsigned i = 0; i < state.n_releases; i++) {
		if (state.releases[i].id == id)
			return state.releases[i];
	}
	g_assert_not_reached();
}

/* The records of one round: the tag in each, so that a host that goes by tags finds the group. */
static void check_records(TestHost *host, uint8_t type)
{
	Uuid tag = test_tag(TAG);
	CxlEventDc events[4];

	g_assert_cmpuint(host_events(host, events, 4), ==, 2);
	for (unsigned i = 0; i < 2; i++) {
		g_assert_cmpuint(events[i].type, ==, type);
		g_assert_cmpmem(events[i].extent.tag, 16, tag.b, 16);
		g_assert_cmphex(le64_get(events[i].extent.dpa), ==, ranges[i].dpa);
		g_assert_cmphex(le64_get(events[i].extent.len), ==, BLOCK);
		g_assert_cmpuint(events[i].flags & CXL_EVENT_DC_MORE, ==, i == 0);
	}
	g_assert_cmphex(host_clear_events(host, events, 2), ==, CXL_RC_SUCCESS);
}

static void wait_for_record(TestHost *host)
{
	gint64 began = g_get_monotonic_time();

	while (!(reg_read(host, host->status, 4) & CXL_DEV_EVENT_STATUS_DC)) {
		g_assert_cmpint(g_get_monotonic_time() - began, <, 10 * G_USEC_PER_SEC);
		g_usleep(1000);
	}
}

/* Linux clears the record of memory in use without a word: asked again after 1 s, then 2 s. */
static void test_asked_again(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = tenant(pool);
	ReleaseRequest release = { .tag = test_tag(TAG) };
	uint64_t id = request(host, &release);

	g_assert_cmpint(release_info(host, id).state, ==, RELEASE_DELIVERED);
	assert_counters(host, 0, SIZE, 0, 0); /* asking changes nothing */
	expect_refused(host, &release, CAPACITY_ERROR_BUSY);
	for (unsigned round = 0; round < 2; round++) {
		gint64 due = G_USEC_PER_SEC << round;
		gint64 began = g_get_monotonic_time(), took;

		check_records(host, CXL_DC_EVENT_RELEASE);
		g_assert_cmpint(release_info(host, id).state, ==, RELEASE_CLEARED_UNANSWERED);
		wait_for_record(host);
		took = g_get_monotonic_time() - began;
		g_assert_cmpint(took, >=, due);
		g_assert_cmpint(took, <, due * 3 / 2);
		g_assert_cmpint(release_info(host, id).state, ==, RELEASE_RESENT);
		g_assert_cmpuint(release_info(host, id).n_resent, ==, round + 1);
	}
	/* Half of it: the request lives on for the rest. */
	g_assert_cmphex(host_release(host, &ranges[0], 1), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(release_info(host, id).len, ==, BLOCK);
	g_assert_cmphex(host_release(host, &ranges[1], 1), ==, CXL_RC_SUCCESS);
	g_assert_cmpint(release_info(host, id).state, ==, RELEASE_DONE);
	host_drain(host);
	assert_counters(host, 0, 0, 0, 0);
	/* The records nobody has read are of no use any more. */
	g_assert_cmphex(reg_read(host, host->status, 4), ==, 0);
}

static void test_refused(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = tenant(pool);
	OfferExtent beyond = { REGION_LEN, BLOCK }, free_range = { BLOCK, BLOCK },
		    odd = { 4096, BLOCK }, wraps = { BLOCK, UINT64_MAX - BLOCK + 1 },
		    half = { 0, 2 * BLOCK };
	OfferExtent twice[] = { { 0, BLOCK }, { 0, BLOCK } };
	const struct {
		ReleaseRequest release;
		CapacityError code;
	} rows[] = {
		{ { .tag = test_tag(99) }, CAPACITY_ERROR_NOT_FOUND },
		{ { .tag = test_tag(TAG), .region = 1 }, CAPACITY_ERROR_INVALID },
		{ { .region = 0 }, CAPACITY_ERROR_INVALID },
		{ { .extents = &beyond, .n_extents = 1 }, CAPACITY_ERROR_INVALID },
		{ { .extents = &odd, .n_extents = 1 }, CAPACITY_ERROR_INVALID },
		{ { .extents = &wraps, .n_extents = 1 }, CAPACITY_ERROR_INVALID },
		{ { .extents = twice, .n_extents = 2 }, CAPACITY_ERROR_INVALID },
		{ { .extents = &free_range, .n_extents = 1 }, CAPACITY_ERROR_NOT_FOUND },
		{ { .extents = &half, .n_extents = 1 }, CAPACITY_ERROR_NOT_FOUND },
		{ { .extents = &half, .n_extents = 1, .forced = true }, CAPACITY_ERROR_NOT_FOUND },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		expect_refused(host, &rows[i].release, rows[i].code);
	g_assert_cmphex(reg_read(host, host->status, 4), ==, 0);
}

/* ---- by force ---- */

static void expect_dpa_taken(TestHost *host)
{
	g_autoptr(GError) error = NULL;
	OfferRequest offer = {
		.policy = OFFER_PRESCRIPTIVE,
		.extents = offered,
		.n_extents = 1,
	};

	g_assert_false(pool_offer(host->pool, host->device, &offer, NULL, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
}

/* Revoked without being asked for. The memory is free, the addresses wait for the host's word. */
static void test_forced(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = tenant(pool);
	ReleaseRequest release = { .tag = test_tag(TAG), .forced = true };
	CapacityCounters bytes;
	uint64_t allocated, id;
	PoolState state;

	id = request(host, &release);
	g_assert_cmpint(release_info(host, id).state, ==, RELEASE_FORCED);
	{
		g_autoptr(LinkMessage) revoke = link_expect(host->link, MEM_LINK_REVOKE);

		pool_state(host, &state);
		g_assert_cmpuint(state.n_extents, ==, 0);
		g_assert_true(pool_backend_counters(pool, "mem", &bytes, &allocated));
		g_assert_cmpuint(bytes.free, ==, 0); /* not before it is confirmed */
		link_apply(host->link, revoke);
		link_answer(host->link, revoke, MEM_LINK_OK);
	}
	do {
		host_settle(host);
		g_assert_true(pool_backend_counters(pool, "mem", &bytes, &allocated));
	} while (bytes.draining > 0);
	g_assert_cmpuint(bytes.free, ==, SIZE);
	assert_counters(host, 0, 0, 0, SIZE);
	check_records(host, CXL_DC_EVENT_FORCED_RELEASE);
	expect_dpa_taken(host);
	g_assert_cmphex(host_release(host, &ranges[0], 1), ==, CXL_RC_SUCCESS);
	assert_counters(host, 0, 0, 0, BLOCK);
	g_assert_cmphex(host_release(host, &ranges[0], 1), ==, CXL_RC_INVALID_PA);
	g_assert_cmphex(host_release(host, &ranges[1], 1), ==, CXL_RC_SUCCESS);
	assert_counters(host, 0, 0, 0, 0);
	/* All of it is as new. */
	test_offer(host, TAG, offered, 2);
	g_assert_cmphex(host_accept(host, ranges, 2), ==, CXL_RC_SUCCESS);
}

/* A reset ends the quarantine too; so does the host's answer if it comes before the revocation. */
static void test_forced_then_reset(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = tenant(pool);
	ReleaseRequest release = { .tag = test_tag(TAG), .forced = true };

	request(host, &release);
	host_settle(host);
	expect_dpa_taken(host);
	g_assert_cmpint(vfu_client_reset(host->vfu), ==, 0);
	host_drain(host);
	assert_counters(host, 0, 0, 0, 0);
	g_assert_cmphex(host_release(host, ranges, 2), ==, CXL_RC_INVALID_PA);
}

static void test_forced_silent(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = tenant(pool);
	ReleaseRequest release = { .tag = test_tag(TAG), .forced = true };
	g_autoptr(LinkMessage) revoke = NULL;
	CapacityCounters bytes;
	uint64_t allocated;

	request(host, &release);
	revoke = link_expect(host->link, MEM_LINK_REVOKE);
	/* It says that it knows, over the mailbox; over the link it has not let go. */
	extents_start(host, CXL_OP_RELEASE_DC, ranges, 2, 0);
	g_assert_cmphex(mbox_wait(host), ==, CXL_RC_SUCCESS);
	assert_counters(host, 0, 0, SIZE, 0);
	g_assert_true(pool_backend_counters(pool, "mem", &bytes, &allocated));
	g_assert_cmpuint(bytes.free, ==, 0);
	expect_dpa_taken(host);
	link_apply(host->link, revoke);
	link_answer(host->link, revoke, MEM_LINK_OK);
	host_drain(host);
	assert_counters(host, 0, 0, 0, 0);
}

#define P "/protocol/pool/release/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "asked-again", test_asked_again);
	g_test_add_func(P "refused", test_refused);
	g_test_add_func(P "forced", test_forced);
	g_test_add_func(P "forced-then-reset", test_forced_then_reset);
	g_test_add_func(P "forced-silent", test_forced_silent);
	return g_test_run();
}
