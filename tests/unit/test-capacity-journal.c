/* SPDX-License-Identifier: BSD-3-Clause */
/* The journal that is slow, refuses, or falls behind; and the end of a pool in any state. */
#include "restore-fixture.h"

static uint64_t offer_block(Fixture *fix, unsigned block, GError **error)
{
	OfferExtent extent = { block * BLOCK, BLOCK };
	OfferRequest request = {
		.region = NORMAL,
		.policy = OFFER_PRESCRIPTIVE,
		.extents = &extent,
		.n_extents = 1,
	};
	uint64_t id = 0;

	capacity_offer(fix->cap, fix->dev[0].dc, &request, &id, error);
	return id;
}

static CapacityCounters bytes_of(Fixture *fix)
{
	CapacityCounters counters;

	dc_device_counters(fix->dev[0].dc, &counters);
	return counters;
}

/* Nobody hears of an offer, host or operator, before it is durable. */
static void test_offer_waits(void)
{
	World world;
	Fixture *fix;
	uint64_t id;

	world_init(&world, NULL);
	fix = world.fix;
	fix->journal[ROW_REASON_OFFER] = HOLD;
	id = offer_block(fix, 0, NULL);
	g_assert_cmpuint(id, !=, 0);
	g_assert_cmpuint(fix->n_notices[NOTICE_OFFERED], ==, 0);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 0);
	g_assert_cmpuint(bytes_of(fix).reserved, ==, BLOCK);
	g_assert_false(capacity_withdraw(fix->cap, fix->dev[0].dc, id, NULL, NULL));
	g_assert_false(capacity_remove_device(fix->cap, fix->dev[0].dc, NULL));
	fix_answer_journal(fix, true);
	g_assert_cmpuint(fix->n_notices[NOTICE_OFFERED], ==, 1);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 1);
	g_assert_true(capacity_withdraw(fix->cap, fix->dev[0].dc, id, NULL, NULL));
	row_table_assert_is(&world.table, fix->cap);
	world_free(&world);
}

static void test_offer_refused(void)
{
	World world;
	Fixture *fix;

	world_init(&world, NULL);
	fix = world.fix;
	fix->journal[ROW_REASON_OFFER] = REFUSE;
	offer_block(fix, 0, NULL);
	g_assert_cmpuint(fix->n_notices[NOTICE_OFFERED], ==, 0);
	g_assert_cmpuint(fix->n_notices[NOTICE_OFFER_FAILED], ==, 1);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 0);
	g_assert_cmpuint(fix->dev[0].log_reserved, ==, 0);
	g_assert_cmpuint(bytes_of(fix).free, ==, bytes_of(fix).total);
	/* Nothing that had happened is missing: the next one is taken. */
	g_assert_false(capacity_is_behind(fix->cap));
	row_table_assert_is(&world.table, fix->cap);
	world_free(&world);
}

/* A reset that forgets comes while it is on its way. */
static void test_offer_forgotten(void)
{
	World world;

	world_init(&world, NULL);
	world.fix->journal[ROW_REASON_OFFER] = HOLD;
	offer_block(world.fix, 0, NULL);
	dc_device_reset(world.fix->dev[0].dc, DC_RESET_FORGET);
	fix_answer_journal(world.fix, true);
	g_assert_cmpuint(world.fix->n_notices[NOTICE_OFFERED], ==, 0);
	g_assert_cmpuint(world.fix->n_notices[NOTICE_WITHDRAWN], ==, 1);
	row_table_assert_is(&world.table, world.fix->cap);
	world_free(&world);
}

static void test_decline_waits(void)
{
	World world;
	Answer answer = { 0 };

	world_init(&world, NULL);
	offer_block(world.fix, 0, NULL);
	world.fix->journal[ROW_REASON_ACCEPT] = HOLD;
	dc_device_add_response(world.fix->dev[0].dc, NULL, 0, false, on_answer, &answer);
	g_assert_cmpuint(answer.n, ==, 0);
	g_assert_cmpuint(bytes_of(world.fix).reserved, ==, BLOCK);
	fix_answer_journal(world.fix, true);
	g_assert_cmpint(answer.rc, ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(bytes_of(world.fix).reserved, ==, 0);
	g_assert_cmpuint(world.fix->n_notices[NOTICE_DECLINED], ==, 1);
	row_table_assert_is(&world.table, world.fix->cap);
	world_free(&world);
}

static void test_decline_refused(void)
{
	World world;

	world_init(&world, NULL);
	offer_block(world.fix, 0, NULL);
	world.fix->journal[ROW_REASON_ACCEPT] = REFUSE;
	g_assert_cmpint(fix_respond(world.fix, 0, NULL, 0), ==, CXL_RC_INTERNAL_ERROR);
	g_assert_cmpuint(bytes_of(world.fix).reserved, ==, BLOCK);
	world.fix->journal[ROW_REASON_ACCEPT] = ANSWER;
	g_assert_cmpint(fix_respond(world.fix, 0, NULL, 0), ==, CXL_RC_SUCCESS);
	row_table_assert_is(&world.table, world.fix->cap);
	world_free(&world);
}

static uint64_t ask_release(Fixture *fix)
{
	OfferExtent extent = { 0, BLOCK };
	ReleaseRequest request = { .region = NORMAL, .extents = &extent, .n_extents = 1 };
	uint64_t id = 0;

	g_assert_true(capacity_release(fix->cap, fix->dev[0].dc, &request, &id, NULL));
	return id;
}

static void test_request(void)
{
	World world;
	Fixture *fix;
	ReleaseInfo info;
	uint64_t id;

	world_init(&world, NULL);
	fix = world.fix;
	fix_accept_blocks(fix, 0, NORMAL, 0, 0, 1);
	fake_clear_log(&fix->dev[0]);
	fix->journal[ROW_REASON_REQUEST] = REFUSE;
	id = ask_release(fix);
	g_assert_true(dc_device_release_info(fix->dev[0].dc, id, &info));
	g_assert_cmpint(info.state, ==, RELEASE_FAILED);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 0);
	fix->journal[ROW_REASON_REQUEST] = HOLD;
	id = ask_release(fix);
	g_assert_cmpuint(fix->n_notices[NOTICE_RELEASE_REQUESTED], ==, 0);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 0);
	fix_answer_journal(fix, true);
	g_assert_cmpuint(fix->n_notices[NOTICE_RELEASE_REQUESTED], ==, 1);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 1);
	row_table_assert_is(&world.table, fix->cap);

	/* Answered before it is on record: it is recorded as done. */
	fix_release(fix, 0, (DcRange[]){ block_range(NORMAL, 0, 1) }, 1);
	fix_accept_blocks(fix, 0, NORMAL, 0, 0, 1);
	id = ask_release(fix);
	fix_release(fix, 0, (DcRange[]){ block_range(NORMAL, 0, 1) }, 1);
	fix_answer_journal(fix, true);
	g_assert_true(dc_device_release_info(fix->dev[0].dc, id, &info));
	g_assert_cmpint(info.state, ==, RELEASE_DONE);
	row_table_assert_is(&world.table, fix->cap);
	world_free(&world);
}

/* One that was over before it was on record, and the next for the same bytes: the next counts. */
static void test_request_after_request(void)
{
	OfferExtent extent = { 0, BLOCK };
	ReleaseRequest request = {
		.region = NORMAL,
		.extents = &extent,
		.n_extents = 1,
		.timeout_us = G_USEC_PER_SEC,
	};
	World world;
	ReleaseInfo info;
	uint64_t id;

	world_init(&world, NULL);
	fix_accept_blocks(world.fix, 0, NORMAL, 0, 0, 1);
	world.fix->journal[ROW_REASON_REQUEST] = HOLD;
	g_assert_true(capacity_release(world.fix->cap, world.fix->dev[0].dc, &request, NULL, NULL));
	fix_advance(world.fix, G_USEC_PER_SEC);
	id = ask_release(world.fix);
	/* Both became durable, and nobody heard. */
	for (guint i = 0; i < world.fix->journal_held->len; i++)
		world_keep(&world, g_array_index(world.fix->journal_held, HeldRecord, i).record);
	world_restart(&world);
	g_assert_true(dc_device_release_info(world.fix->dev[0].dc, id, &info));
	g_assert_cmpuint(info.len, ==, BLOCK);
	world_free(&world);
}

/* ---- behind ---- */

static void test_behind(void)
{
	World world;
	Fixture *fix;
	GError *error = NULL;
	ReleaseRequest request = { .region = NORMAL };
	Answer answer = { 0 };
	uint64_t due_us;

	world_init(&world, NULL);
	fix = world.fix;
	fix_accept_blocks(fix, 0, NORMAL, 0, 0, 1);
	fix->journal[ROW_REASON_CHANGE] = fix->journal[ROW_REASON_REPLACE] = REFUSE;
	fix_backend(fix, "b", 1, BLOCK, NULL);
	g_assert_true(capacity_is_behind(fix->cap));
	g_assert_cmpuint(offer_block(fix, 4, &error), ==, 0);
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_FAILED);
	g_clear_error(&error);
	g_assert_false(capacity_release(fix->cap, fix->dev[0].dc, &request, NULL, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_FAILED);
	g_clear_error(&error);
	dc_device_release_response(fix->dev[0].dc, (DcRange[]){ block_range(NORMAL, 0, 1) }, 1,
				   false, on_answer, &answer);
	g_assert_cmpint(answer.rc, ==, CXL_RC_INTERNAL_ERROR);
	/* Tried again each second, not more often. */
	due_us = capacity_next_deadline_us(fix->cap);
	g_assert_cmpuint(due_us, ==, fix->now_us + G_USEC_PER_SEC);
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_true(capacity_is_behind(fix->cap));
	g_assert_cmpuint(capacity_next_deadline_us(fix->cap), ==, fix->now_us + G_USEC_PER_SEC);
	fix->journal[ROW_REASON_CHANGE] = fix->journal[ROW_REASON_REPLACE] = ANSWER;
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_false(capacity_is_behind(fix->cap));
	g_assert_cmpuint(capacity_next_deadline_us(fix->cap), ==, UINT64_MAX);
	row_table_assert_is(&world.table, fix->cap);
	fix_offer_blocks(fix, 0, NORMAL, 1, 8, 1);
	row_table_assert_is(&world.table, fix->cap);
	world_free(&world);
}

/* What is recorded and not yet done, or not yet answered, holds it up. */
static void test_replace_waits(void)
{
	static const FixtureConfig config;
	World world;
	Fixture *fix;
	Answer answer = { 0 };

	world_init(&world, &config);
	fix = world.fix;
	offer_block(fix, 0, NULL);
	fix->dev[0].expose = HOLD;
	dc_device_add_response(fix->dev[0].dc, (DcRange[]){ block_range(NORMAL, 0, 1) }, 1, false,
			       on_answer, &answer);
	fix->journal[ROW_REASON_CHANGE] = REFUSE;
	fix_backend(fix, "b", 1, BLOCK, NULL);
	fix->journal[ROW_REASON_CHANGE] = ANSWER;
	fix_advance(fix, G_USEC_PER_SEC - 1);
	g_assert_true(capacity_is_behind(fix->cap));
	fake_answer(&fix->dev[0], true);
	g_assert_cmpint(answer.rc, ==, CXL_RC_SUCCESS);
	fix_advance(fix, 1);
	g_assert_false(capacity_is_behind(fix->cap));
	row_table_assert_is(&world.table, fix->cap);
	world_free(&world);
}

/* A record that fails takes along what was given after it: the pool knows before it is told. */
static void test_epoch(void)
{
	World world;
	Fixture *fix;

	world_init(&world, NULL);
	fix = world.fix;
	fix->journal[ROW_REASON_OFFER] = fix->journal[ROW_REASON_CHANGE] = HOLD;
	offer_block(fix, 0, NULL);
	fix_backend(fix, "b", 1, BLOCK, NULL);
	g_assert_cmpuint(fix->journal_held->len, ==, 2);
	fix_answer_journal(fix, false);
	g_assert_true(capacity_is_behind(fix->cap));
	fix_answer_journal(fix, false);
	fix->journal[ROW_REASON_CHANGE] = ANSWER;
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_false(capacity_is_behind(fix->cap));
	row_table_assert_is(&world.table, fix->cap);
	world_free(&world);
}

/* ---- while maps are restored ---- */

/* The rest of a map that a release cut while it was being exposed is not forgotten. */
static void test_cut_while_exposing(void)
{
	Fixture *fix = fix_new(NULL);
	Fake *fake = &fix->dev[0];
	DcRange half = { region_base(SMALL_BLOCKS), BLOCK / 2 };

	fix_accept_blocks(fix, 0, SMALL_BLOCKS, 0, 0, 1);
	capacity_host_gone(fix->cap, fake->dc->host.serial);
	g_array_set_size(fake->reach, 0);
	fake->expose = HOLD;
	fix_attach(fix, 0, NULL);
	g_assert_cmpint(fix_release(fix, 0, &half, 1), ==, CXL_RC_SUCCESS);
	fake_answer(fake, false);
	fake->expose = ANSWER;
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpuint(fake_reachable_len(fake), ==, BLOCK / 2);
	fix_free(fix);
}

/* What is being released is not mapped for a new host, but is if the journal refuses. */
static void test_release_refused_while_syncing(void)
{
	World world;
	Fake *fake;
	OfferExtent extent = { 0, BLOCK };
	ReleaseRequest request = {
		.region = NORMAL,
		.extents = &extent,
		.n_extents = 1,
		.forced = true,
	};

	world_init(&world, NULL);
	fake = &world.fix->dev[0];
	fix_accept_blocks(world.fix, 0, NORMAL, 0, 0, 1);
	capacity_host_gone(world.fix->cap, fake->dc->host.serial);
	g_array_set_size(fake->reach, 0);
	world.fix->journal[ROW_REASON_RELEASE] = HOLD;
	g_assert_true(capacity_release(world.fix->cap, fake->dc, &request, NULL, NULL));
	fix_attach(world.fix, 0, NULL);
	g_assert_cmpuint(fake->reach->len, ==, 0);
	fix_answer_journal(world.fix, false);
	g_assert_cmpuint(fake_reachable_len(fake), ==, BLOCK);
	row_table_assert_is(&world.table, world.fix->cap);
	world_free(&world);
}

/* An operator's word that a host is gone does not outlive its next descriptor. */
static void test_reclaimed_and_held_again(void)
{
	BackendConfig keep = { .type = BACKEND_MEMFD, .on_release = ON_RELEASE_KEEP };
	World world;
	Backend *backend;
	CapacityCounters bytes;

	world_init(&world, NULL);
	backend = fix_backend(world.fix, "k", 1, BLOCK, &keep);
	for (int i = 0; i < 2; i++) {
		fix_accept_blocks(world.fix, 0, NORMAL, 1, 0, 1);
		fix_release(world.fix, 0, (DcRange[]){ block_range(NORMAL, 0, 1) }, 1);
		backend_counters(backend, &bytes);
		g_assert_cmpuint(bytes.quarantined, ==, BLOCK);
		g_assert_true(capacity_reclaim_backend(world.fix->cap, "k", NULL));
		backend_counters(backend, &bytes);
		g_assert_cmpuint(bytes.free, ==, BLOCK);
	}
	row_table_assert_is(&world.table, world.fix->cap);
	world_free(&world);
}

/* The end of a host may be reported twice; what it left is still wiped for the next. */
static void test_gone_twice(void)
{
	World world;
	Backend *backend;
	uint64_t host;
	uint8_t byte = 7;

	world_init(&world, NULL);
	host = world.fix->dev[0].dc->host.serial;
	backend = fix_backend(world.fix, "b", 1, BLOCK, NULL);
	world.fix->dev[0].expose = REFUSE;
	fix_offer_blocks(world.fix, 0, NORMAL, 1, 0, 1);
	fix_respond(world.fix, 0, (DcRange[]){ block_range(NORMAL, 0, 1) }, 1);
	g_assert_cmpint(mem_file_write(backend_peek_file(backend), 0, &byte, 1), ==, 0);
	world.fix->dev[0].expose = ANSWER;
	capacity_host_gone(world.fix->cap, host);
	capacity_host_gone(world.fix->cap, host);
	row_table_assert_is(&world.table, world.fix->cap);
	fix_attach(world.fix, 0, NULL);
	dc_device_list_was_read(world.fix->dev[0].dc);
	g_assert_cmpint(fix_respond(world.fix, 0, (DcRange[]){ block_range(NORMAL, 0, 1) }, 1), ==,
			CXL_RC_SUCCESS);
	g_assert_cmpint(mem_file_read(backend_peek_file(backend), 0, &byte, 1), ==, 0);
	g_assert_cmpuint(byte, ==, 0);
	world_free(&world);
}

/* ---- when durable ---- */

static void on_durable(void *opaque, bool ok)
{
	int *answer = opaque;

	g_assert_cmpint(*answer, ==, -1);
	*answer = ok;
}

static void test_when_durable(void)
{
	World world;
	Fixture *fix, *plain = fix_new(NULL);
	int first = -1, second = -1, third = -1, none = -1, never = -1;

	world_init(&world, NULL);
	fix = world.fix;
	fix->journal[ROW_REASON_CHANGE] = fix->journal[ROW_REASON_BARRIER] = HOLD;
	fix_backend(fix, "b", 1, BLOCK, NULL);
	capacity_when_durable(fix->cap, on_durable, &first);
	capacity_when_durable(fix->cap, on_durable, &second);
	g_assert_cmpuint(fix->journal_held->len, ==, 3);
	fix_answer_journal(fix, true);
	g_assert_cmpint(first, ==, -1);
	fix_answer_journal(fix, true);
	g_assert_cmpint(first, ==, true);
	fix_answer_journal(fix, false);
	g_assert_cmpint(second, ==, false);
	fix->journal[ROW_REASON_CHANGE] = fix->journal[ROW_REASON_BARRIER] = ANSWER;
	while (fix->journal_held->len > 0)
		fix_answer_journal(fix, true);
	capacity_when_durable(fix->cap, on_durable, &third);
	g_assert_cmpint(third, ==, true);
	/* The end of the pool tells nobody anything. */
	fix->journal[ROW_REASON_BARRIER] = HOLD;
	capacity_when_durable(fix->cap, on_durable, &never);
	world_restart(&world);
	g_assert_cmpint(never, ==, -1);
	world_free(&world);

	capacity_when_durable(plain->cap, on_durable, &none);
	g_assert_cmpint(none, ==, true);
	fix_free(plain);
}

/* ---- the end ---- */

/* Nothing is told or answered after it, and a wipe that is out can still be finished. */
static void test_end_in_any_state(void)
{
	World world;
	Fixture *fix;
	Fake *fake;
	Answer accepting = { 0 }, releasing = { 0 };
	unsigned n_told = 0;

	world_init(&world, NULL);
	fix = world.fix;
	fake = &fix->dev[0];
	fix_backend(fix, "b", 1, 2 * BLOCK, NULL);
	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 2);
	fix_accept_blocks(fix, 0, NORMAL, 0, 20, 3);
	fix->hold_wipes = true;
	fix_release(fix, 0, (DcRange[]){ block_range(NORMAL, 20, 1) }, 1);
	g_assert_cmpuint(fix->wipes->len, ==, 1);
	offer_block(fix, 40, NULL);
	offer_block(fix, 42, NULL);
	fake->prepare = fake->revoke = HOLD;
	fix_release(fix, 1, NULL, 0);
	dc_device_add_response(fake->dc, (DcRange[]){ block_range(NORMAL, 40, 1) }, 1, false,
			       on_answer, &accepting);
	fix->journal[ROW_REASON_OFFER] = fix->journal[ROW_REASON_REQUEST] = HOLD;
	offer_block(fix, 44, NULL);
	ask_release(fix);
	dc_device_release_response(fix->dev[1].dc, (DcRange[]){ block_range(NORMAL, 22, 1) }, 1,
				   false, on_answer, &releasing);
	for (unsigned i = 0; i < NOTICE_N_TYPES; i++)
		n_told += fix->n_notices[i];
	row_record_unref(world_stop(&world));
	g_assert_cmpuint(accepting.n, ==, 0);
	for (unsigned i = 0; i < NOTICE_N_TYPES; i++)
		n_told -= fix->n_notices[i];
	g_assert_cmpuint(n_told, ==, 0);
	g_assert_cmpuint(fake_reachable_len(fake), ==, 4 * BLOCK);
	g_assert_true(world_start(&world, row_table_load(&world.table), NULL));
	g_assert_cmpuint(dc_device_n_extents(fake->dc), ==, 4);
	fake->prepare = fake->revoke = ANSWER;
	world_free(&world);
}

int main(int argc, char **argv)
{
	fixture_use_all();
	world_use_all();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/capacity/journal/offer-waits", test_offer_waits);
	g_test_add_func("/unit/capacity/journal/offer-refused", test_offer_refused);
	g_test_add_func("/unit/capacity/journal/offer-forgotten", test_offer_forgotten);
	g_test_add_func("/unit/capacity/journal/decline-waits", test_decline_waits);
	g_test_add_func("/unit/capacity/journal/decline-refused", test_decline_refused);
	g_test_add_func("/unit/capacity/journal/request", test_request);
	g_test_add_func("/unit/capacity/journal/request-after-request", test_request_after_request);
	g_test_add_func("/unit/capacity/journal/behind", test_behind);
	g_test_add_func("/unit/capacity/journal/replace-waits", test_replace_waits);
	g_test_add_func("/unit/capacity/journal/epoch", test_epoch);
	g_test_add_func("/unit/capacity/journal/cut-while-exposing", test_cut_while_exposing);
	g_test_add_func("/unit/capacity/journal/release-refused-while-syncing",
			test_release_refused_while_syncing);
	g_test_add_func("/unit/capacity/journal/reclaimed-and-held-again",
			test_reclaimed_and_held_again);
	g_test_add_func("/unit/capacity/journal/gone-twice", test_gone_twice);
	g_test_add_func("/unit/capacity/journal/when-durable", test_when_durable);
	g_test_add_func("/unit/capacity/journal/end-in-any-state", test_end_in_any_state);
	return g_test_run();
}
