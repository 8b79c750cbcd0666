/* SPDX-License-Identifier: BSD-3-Clause */
/* Room in the event log: promised to offers, kept over resets, given back, never lost. */
#include "capacity-fixture.h"

static bool try_offer(Fixture *fix, unsigned first, unsigned n)
{
	OfferExtent extents[8];
	OfferRequest request = { .policy = OFFER_PRESCRIPTIVE, .extents = extents, .n_extents = n };

	for (unsigned i = 0; i < n; i++)
		extents[i] = (OfferExtent){ (first + 2 * i) * BLOCK, BLOCK };
	return capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, NULL);
}

/* What an offer was promised it still has after a reset. */
static void test_reset_keeps_room(void)
{
	Fixture *fix = fix_new(NULL);
	Fake *fake = &fix->dev[0];

	fake->log_depth = 4;
	g_assert_true(try_offer(fix, 0, 3));
	g_assert_cmpuint(fake->events->len, ==, 3);
	fake_clear_log(fake); /* as a reset of the device does first */
	dc_device_reset(fake->dc, DC_RESET_CONVENTIONAL);
	g_assert_cmpuint(fake->log_reserved, ==, 3);
	g_assert_false(try_offer(fix, 10, 2));
	g_assert_true(try_offer(fix, 10, 1));
	fake_clear_log(fake);
	dc_device_list_was_read(fake->dc);
	g_assert_cmpint(fix_respond(fix, 0, NULL, 0), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(fake->events->len, ==, 3);
	fix_free(fix);
}

/* Room that comes back by a withdrawal goes to who waits for it. */
static void test_withdrawal_gives_room(gconstpointer data)
{
	bool delivered = GPOINTER_TO_INT(data);
	FixtureConfig config = { .chains_in_flight = 1 };
	Fixture *fix = fix_new(&config);
	Fake *fake = &fix->dev[0];
	uint64_t last;

	fake->log_depth = 5;
	fix_offer_blocks(fix, 0, NORMAL, 0, 0, 2);
	for (unsigned i = 0; i < 2; i++)
		dc_device_record_read(fake->dc, g_array_index(fake->events, DcEvent, i).cookie);
	last = fix_offer_blocks(fix, 0, NORMAL, 0, 10, 3);
	/* The first offer's records stay in the log: no room to promise it anything. */
	dc_device_reset(fake->dc, DC_RESET_CONVENTIONAL);
	if (delivered)
		dc_device_list_was_read(fake->dc);
	g_assert_cmpuint(fake->events->len, ==, delivered ? 5 : 2);
	g_assert_true(capacity_withdraw(fix->cap, fake->dc, last, NULL, NULL));
	dc_device_list_was_read(fake->dc);
	g_assert_cmpuint(fake->events->len, ==, 4);
	fix_free(fix);
}

/* ---- forced releases ---- */

static void force(Fixture *fix, unsigned n)
{
	OfferExtent extents[8];
	ReleaseRequest request = { .extents = extents, .n_extents = n, .forced = true };

	for (unsigned i = 0; i < n; i++)
		extents[i] = (OfferExtent){ 2 * i * BLOCK, BLOCK };
	g_assert_true(capacity_release(fix->cap, fix->dev[0].dc, &request, NULL, NULL));
}

static void test_forced_in_chains(void)
{
	FixtureConfig config = { .max_chain = 3 };
	Fixture *fix = fix_new(&config);
	Fake *fake = &fix->dev[0];

	fix_accept_blocks(fix, 0, NORMAL, 0, 0, 3);
	fix_accept_blocks(fix, 0, NORMAL, 0, 6, 2);
	fake_clear_log(fake);
	force(fix, 5);
	g_assert_cmpuint(fake->events->len, ==, 5);
	for (unsigned i = 0; i < 5; i++) {
		const DcEvent *event = &g_array_index(fake->events, DcEvent, i);

		g_assert_cmpint(event->type, ==, DC_EVENT_FORCED_RELEASE);
		g_assert_cmpint(event->more, ==, i != 2 && i != 4);
	}
	fix_free(fix);
}

/* The host is not told of what did not happen. */
static void test_forced_and_refused(void)
{
	FixtureConfig config = { .journal = true };
	Fixture *fix = fix_new(&config);
	Fake *fake = &fix->dev[0];

	fix_accept_blocks(fix, 0, NORMAL, 0, 0, 2);
	fake_clear_log(fake);
	fix->journal[ROW_REASON_RELEASE] = HOLD;
	force(fix, 2);
	g_assert_cmpuint(fake->events->len, ==, 0);
	fix_answer_journal(fix, false);
	g_assert_cmpuint(fake->events->len, ==, 0);
	g_assert_cmpuint(fake->log_reserved, ==, 0);
	g_assert_cmpuint(dc_device_n_extents(fake->dc), ==, 2);
	force(fix, 2);
	fix_answer_journal(fix, true);
	g_assert_cmpuint(fake->events->len, ==, 2);
	g_assert_cmpuint(dc_device_n_extents(fake->dc), ==, 0);
	fix_free(fix);
}

static void test_timeout_beyond_time(void)
{
	Fixture *fix = fix_new(NULL);
	OfferExtent extent = { 0, BLOCK };
	ReleaseRequest request = { .extents = &extent, .n_extents = 1, .timeout_us = UINT64_MAX };
	ReleaseInfo info;
	uint64_t id;

	fix_accept_blocks(fix, 0, NORMAL, 0, 0, 1);
	g_assert_true(capacity_release(fix->cap, fix->dev[0].dc, &request, &id, NULL));
	fix_advance(fix, 1);
	g_assert_true(dc_device_release_info(fix->dev[0].dc, id, &info));
	g_assert_cmpint(info.state, ==, RELEASE_DELIVERED);
	fix_free(fix);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	fixture_use_all();
	g_test_add_func("/capacity/log/reset-keeps-room", test_reset_keeps_room);
	g_test_add_data_func("/capacity/log/withdrawal-gives-room/delivered", GINT_TO_POINTER(1),
			     test_withdrawal_gives_room);
	g_test_add_data_func("/capacity/log/withdrawal-gives-room/queued", GINT_TO_POINTER(0),
			     test_withdrawal_gives_room);
	g_test_add_func("/capacity/log/forced-in-chains", test_forced_in_chains);
	g_test_add_func("/capacity/log/forced-and-refused", test_forced_and_refused);
	g_test_add_func("/capacity/log/timeout-beyond-time", test_timeout_beyond_time);
	return g_test_run();
}
