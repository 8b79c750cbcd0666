/* SPDX-License-Identifier: BSD-3-Clause */
/* 4802h: every return code, every order of entries, and a failure at each step of accepting. */
#include "capacity-fixture.h"

#define N 4 /* extents of the offer that the tables are about */

/* ---- codes ---- */

typedef struct CodeRow {
	const char *what;
	DcRange ranges[3];
	size_t n;
	enum cxl_rc rc;
} CodeRow;

#define AT(block, n_blocks)                                 \
	{                                                   \
		256 * MIB + (block)*BLOCK, (n_blocks)*BLOCK \
	}

/* Pending: blocks 0, 2, 4, 6 of region 0, then, as a later offer, 10. Accepted: 20. */
static const CodeRow code_rows[] = {
	{ "zero length", { { 256 * MIB, 0 } }, 1, CXL_RC_INVALID_EXTENT_LIST },
	{ "misaligned DPA", { { 256 * MIB + 4096, BLOCK } }, 1, CXL_RC_INVALID_EXTENT_LIST },
	{ "misaligned length", { { 256 * MIB, 4096 } }, 1, CXL_RC_INVALID_EXTENT_LIST },
	{ "wraps", { { 256 * MIB, UINT64_MAX - BLOCK + 1 } }, 1, CXL_RC_INVALID_EXTENT_LIST },
	{ "wraps to 0",
	  { { 256 * MIB, UINT64_MAX - 256 * MIB + 1 } },
	  1,
	  CXL_RC_INVALID_EXTENT_LIST },
	{ "the same twice", { AT(0, 1), AT(0, 1) }, 2, CXL_RC_INVALID_EXTENT_LIST },
	{ "below every region", { { 0, BLOCK } }, 1, CXL_RC_INVALID_PA },
	{ "above every region",
	  { { 256 * MIB + N_REGIONS * REGION, BLOCK } },
	  1,
	  CXL_RC_INVALID_PA },
	{ "across two regions", { AT(127, 2) }, 1, CXL_RC_INVALID_PA },
	{ "never offered", { AT(30, 1) }, 1, CXL_RC_INVALID_PA },
	{ "in the gap", { AT(1, 1) }, 1, CXL_RC_INVALID_PA },
	{ "more than the extent", { AT(0, 2) }, 1, CXL_RC_INVALID_PA },
	{ "over two extents", { AT(0, 3) }, 1, CXL_RC_INVALID_PA },
	{ "of the second group", { AT(10, 1) }, 1, CXL_RC_INVALID_PA },
	{ "of both groups", { AT(0, 1), AT(10, 1) }, 2, CXL_RC_INVALID_PA },
	{ "accepted already", { AT(20, 1) }, 1, CXL_RC_INVALID_PA },
	{ "good and bad", { AT(0, 1), AT(2, 1), AT(31, 1) }, 3, CXL_RC_INVALID_PA },
};

static void test_codes(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(code_rows); i++) {
		const CodeRow *row = &code_rows[i];
		Fixture *fix = fix_new(NULL);
		g_autofree char *before = NULL;

		fix_backend(fix, "b", 1, N * BLOCK, NULL);
		fix_accept_blocks(fix, 0, NORMAL, 0, 20, 1);
		fix_offer_blocks(fix, 0, NORMAL, 1, 0, N);
		fix_offer_blocks(fix, 0, NORMAL, 0, 10, 1);
		before = fix_snapshot(fix);
		g_test_message("%s", row->what);
		g_assert_cmpint(fix_respond(fix, 0, row->ranges, row->n), ==, row->rc);
		fix_assert_unchanged(fix, before);
		g_assert_cmpuint(fix->dev[0].n_prepares, ==, 1); /* of the one accepted before */
		fix_free(fix);
	}
}

/* QEMU 11.1 D1: dies of the first of these. */
static void test_empty(void)
{
	Fixture *fix = fix_new(NULL);
	g_autofree char *before = fix_snapshot(fix);

	g_assert_cmpint(fix_respond(fix, 0, NULL, 0), ==, CXL_RC_SUCCESS);
	fix_assert_unchanged(fix, before);
	fix_offer_blocks(fix, 0, NORMAL, 0, 0, 2);
	fix_offer_blocks(fix, 0, NORMAL, 0, 10, 1);
	g_assert_cmpint(fix_respond(fix, 0, NULL, 0), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(fix->n_notices[NOTICE_DECLINED], ==, 1);
	/* The second has been delivered now. */
	g_assert_cmpint(fix_respond(fix, 0, &(DcRange)AT(10, 1), 1), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(dc_device_n_extents(fix->dev[0].dc), ==, 1);
	fix_free(fix);
}

/* What does not fit the list is refused; pending extents are not counted twice (QEMU B3). */
static void test_list_space(void)
{
	FixtureConfig config = { .max_extents = 4 };
	Fixture *fix = fix_new(&config);
	DcRange many[5], all[4];
	g_autofree char *before = NULL;
	Backend *backend = fix_backend(fix, "b", 1, 8 * BLOCK, NULL);
	OfferRequest request = { .tag = tag_of(1), .policy = OFFER_CONTIGUOUS };

	g_assert_true(capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, NULL));
	for (unsigned i = 0; i < 5; i++)
		many[i] = block_range(NORMAL, i, 1);
	before = fix_snapshot(fix);
	g_assert_cmpint(fix_respond(fix, 0, many, 5), ==, CXL_RC_RESOURCES_EXHAUSTED);
	fix_assert_unchanged(fix, before);
	g_assert_cmpint(fix_respond(fix, 0, NULL, 0), ==, CXL_RC_SUCCESS);
	g_assert_true(backend_is_clean(backend));
	fix_offer_blocks(fix, 0, NORMAL, 1, 0, 4);
	for (unsigned i = 0; i < 4; i++)
		all[i] = block_range(NORMAL, 2 * i, 1);
	g_assert_cmpint(fix_respond(fix, 0, all, 4), ==, CXL_RC_SUCCESS);
	fix_free(fix);
}

/* ---- what is accepted ---- */

static void assert_extent(Fixture *fix, size_t position, unsigned block, unsigned n_blocks,
			  uint32_t order, uint64_t offset)
{
	DcExtent extent;
	Uuid tag = tag_of(1);

	g_assert_cmpuint(dc_device_extents(fix->dev[0].dc, position, &extent, 1), ==, 1);
	g_assert_cmpuint(extent.dpa, ==, region_base(NORMAL) + block * BLOCK);
	g_assert_cmpuint(extent.len, ==, n_blocks * BLOCK);
	g_assert_cmpuint(extent.order, ==, order);
	g_assert_cmpuint(extent.backend_offset, ==, offset * BLOCK);
	g_assert_true(uuid_equal(&extent.tag, &tag)); /* QEMU W4: lost at acceptance */
	g_assert_cmpuint(extent.shared_seq, ==, 0);
}

/* Entries in any order; the list is in assembly order. */
static void test_any_order(void)
{
	static const DcRange ranges[] = { AT(4, 1), AT(0, 1), AT(6, 1), AT(2, 1) };
	Fixture *fix = fix_new(NULL);

	fix_backend(fix, "b", 1, N * BLOCK, NULL);
	fix_offer_blocks(fix, 0, NORMAL, 1, 0, N);
	g_assert_cmpint(fix_respond(fix, 0, ranges, N), ==, CXL_RC_SUCCESS);
	for (unsigned i = 0; i < N; i++)
		assert_extent(fix, i, 2 * i, 1, i, i);
	g_assert_cmpuint(dc_device_generation(fix->dev[0].dc), ==, 1);
	g_assert_cmpuint(fake_reachable_len(&fix->dev[0]), ==, N * BLOCK);
	capacity_check(fix->cap);
	fix_free(fix);
}

/* Parts of extents, several pieces of one (QEMU W3), the rest declined and its DPA free. */
static void test_sub_ranges(void)
{
	static const OfferExtent extents[] = { { 0, 8 * BLOCK }, { 16 * BLOCK, 8 * BLOCK } };
	static const DcRange ranges[] = { AT(18, 6), AT(4, 1), AT(1, 2) };
	OfferRequest request = {
		.tag = tag_of(1),
		.policy = OFFER_PRESCRIPTIVE,
		.extents = extents,
		.n_extents = 2,
	};
	Fixture *fix = fix_new(NULL);
	CapacityCounters c;

	fix_backend(fix, "b", 1, 16 * BLOCK, NULL);
	g_assert_true(capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, NULL));
	g_assert_cmpint(fix_respond(fix, 0, ranges, 3), ==, CXL_RC_SUCCESS);
	assert_extent(fix, 0, 1, 2, 0, 1);
	assert_extent(fix, 1, 4, 1, 0, 4);
	assert_extent(fix, 2, 18, 6, 1, 10);
	dc_device_counters(fix->dev[0].dc, &c);
	g_assert_cmpuint(c.accepted, ==, 9 * BLOCK);
	g_assert_cmpuint(c.reserved + c.draining, ==, 0);
	fix_offer_blocks(fix, 0, NORMAL, 0, 5, 2); /* declined DPA can be offered again */
	capacity_check(fix->cap);
	fix_free(fix);
}

/* More: collected, acted on with the last part, atomically. */
static void test_more(void)
{
	Fixture *fix = fix_new(NULL);
	DcDevice *dev = fix->dev[0].dc;
	g_autofree char *before = NULL;
	Answer a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };

	fix_backend(fix, "b", 1, N * BLOCK, NULL);
	fix_offer_blocks(fix, 0, NORMAL, 1, 0, N);
	before = fix_snapshot(fix);
	dc_device_add_response(dev, &(DcRange)AT(2, 1), 1, true, on_answer, &a);
	dc_device_add_response(dev, &(DcRange)AT(2, 1), 1, false, on_answer, &b);
	g_assert_cmpint(a.rc, ==, CXL_RC_SUCCESS);
	g_assert_cmpint(b.rc, ==, CXL_RC_INVALID_EXTENT_LIST); /* overlaps the part before */
	fix_assert_unchanged(fix, before);
	/* That response has failed as a whole: the part collected is gone. */
	dc_device_add_response(dev, &(DcRange)AT(0, 1), 1, true, on_answer, &c);
	fix_assert_unchanged(fix, before);
	dc_device_add_response(dev, NULL, 0, false, on_answer, &d);
	g_assert_cmpint(d.rc, ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(dc_device_n_extents(dev), ==, 1); /* count 0: what was collected */
	assert_extent(fix, 0, 0, 1, 0, 0);
	fix_free(fix);
}

static void test_more_is_bounded(void)
{
	FixtureConfig config = { .max_extents = 8 };
	Fixture *fix = fix_new(&config);
	DcRange range = AT(0, 1);

	for (unsigned i = 0; i < 100; i++) {
		Answer answer = { 0 };

		dc_device_add_response(fix->dev[0].dc, &range, 1, true, on_answer, &answer);
		g_assert_cmpint(answer.rc, ==,
				i % 9 == 8 ? CXL_RC_RESOURCES_EXHAUSTED : CXL_RC_SUCCESS);
	}
	g_assert_cmpuint(fix->dev[0].dc->collected_adds->len, <=, 8);
	fix_free(fix);
}

static void test_control_only(void)
{
	FixtureConfig config = { .host = { .control_only = true } };
	Fixture *fix = fix_new(&config);
	Backend *backend = fix_backend(fix, "b", 1, N * BLOCK, NULL);
	DcExtent extent;

	fix_accept_blocks(fix, 0, NORMAL, 1, 0, N);
	g_assert_true(dc_device_find_extent(fix->dev[0].dc, region_base(NORMAL), &extent));
	g_assert_cmpuint(extent.map_id, ==, 0);
	g_assert_cmpuint(fix->dev[0].n_prepares, ==, 0);
	g_assert_true(backend_is_clean(backend)); /* nobody was given a descriptor */
	fix_free(fix);
}

/* ---- a failure at each step, each position ---- */

typedef enum FailAt {
	FAIL_DIRTY,
	FAIL_PREPARE,
	FAIL_ACCEPT,
	FAIL_EXPOSE,
	N_FAILURES
} FailAt;

static void set_failure(Fixture *fix, FailAt step, Behaviour how, size_t position)
{
	Fake *fake = &fix->dev[0];

	fake->refuse_at = position;
	if (step == FAIL_PREPARE)
		fake->prepare = how;
	else if (step == FAIL_EXPOSE)
		fake->expose = how;
	else
		fix->journal[step == FAIL_DIRTY ? ROW_REASON_DIRTY : ROW_REASON_ACCEPT] = how;
}

static void accept_all(Fixture *fix, Answer *answer)
{
	static const DcRange ranges[] = { AT(0, 1), AT(2, 1), AT(4, 1), AT(6, 1) };

	dc_device_add_response(fix->dev[0].dc, ranges, N, false, on_answer, answer);
}

/* What the journal holds adds up to nothing accepted. */
static void assert_journal_taken_back(Fixture *fix)
{
	int balance = 0;

	for (guint i = 0; i < fix->journal_reasons->len; i++) {
		RowReason reason = g_array_index(fix->journal_reasons, RowReason, i);

		balance += reason == ROW_REASON_ACCEPT ? 1 : reason == ROW_REASON_UNDO ? -1 : 0;
	}
	g_assert_cmpint(balance, ==, 0);
}

static Fixture *fix_with_offer(char **ret_before)
{
	FixtureConfig config = { .journal = true };
	Fixture *fix = fix_new(&config);

	fix_backend(fix, "b", 1, N * BLOCK, NULL);
	fix_offer_blocks(fix, 0, NORMAL, 1, 0, N);
	*ret_before = fix_snapshot(fix);
	return fix;
}

static void test_refused(void)
{
	for (FailAt step = FAIL_DIRTY; step < N_FAILURES; step++) {
		for (size_t k = 0; k < N; k++) {
			g_autofree char *before = NULL;
			Fixture *fix = fix_with_offer(&before);
			Answer failed = { 0 }, again = { 0 };

			set_failure(fix, step, REFUSE, k);
			accept_all(fix, &failed);
			g_assert_cmpuint(failed.n, ==, 1);
			g_assert_cmpint(failed.rc, ==, CXL_RC_INTERNAL_ERROR);
			g_assert_cmpuint(fix->dev[0].reach->len, ==, 0);
			fix_assert_unchanged(fix, before);
			if (step == FAIL_EXPOSE)
				assert_journal_taken_back(fix);
			/* Not stuck, as in QEMU W1. */
			set_failure(fix, step, ANSWER, 0);
			accept_all(fix, &again);
			g_assert_cmpint(again.rc, ==, CXL_RC_SUCCESS);
			g_assert_cmpuint(fake_reachable_len(&fix->dev[0]), ==, N * BLOCK);
			capacity_check(fix->cap);
			fix_free(fix);
		}
	}
}

/* Never answered: 04h at the deadline, 05h until all has been undone, then as new. */
static void test_never_answered(void)
{
	for (FailAt step = FAIL_DIRTY; step < N_FAILURES; step++) {
		g_autofree char *before = NULL;
		Fixture *fix = fix_with_offer(&before);
		Fake *fake = &fix->dev[0];
		Answer late = { 0 }, meanwhile = { 0 }, again = { 0 };

		set_failure(fix, step, HOLD, 0);
		fake->revoke = HOLD;
		accept_all(fix, &late);
		g_assert_cmpuint(late.n, ==, 0);
		g_assert_cmpuint(capacity_next_deadline_us(fix->cap), ==,
				 fix->now_us + G_USEC_PER_SEC);
		fix_advance(fix, G_USEC_PER_SEC - 1);
		g_assert_cmpuint(late.n, ==, 0);
		fix_advance(fix, 1);
		g_assert_cmpuint(late.n, ==, 1);
		g_assert_cmpint(late.rc, ==, CXL_RC_INTERNAL_ERROR);
		g_assert_cmpuint(dc_device_n_extents(fake->dc), ==, 0);
		accept_all(fix, &meanwhile);
		g_assert_cmpint(meanwhile.rc, ==, CXL_RC_RETRY_REQUIRED);
		capacity_check(fix->cap);

		/* Everything held back comes late: the effects, then the journal's word. */
		while (fake_answer(fake, true))
			;
		while (fix->journal_held->len > 0)
			fix_answer_journal(fix, true);
		g_assert_cmpuint(fake->reach->len, ==, 0);
		fix_assert_unchanged(fix, before);
		if (step == FAIL_ACCEPT || step == FAIL_EXPOSE)
			assert_journal_taken_back(fix);

		set_failure(fix, step, ANSWER, 0);
		fake->revoke = ANSWER;
		accept_all(fix, &again);
		g_assert_cmpint(again.rc, ==, CXL_RC_SUCCESS);
		fix_free(fix);
	}
}

/* Answers within time, from outside the call. */
static void test_answered_later(void)
{
	for (FailAt step = FAIL_DIRTY; step < N_FAILURES; step++) {
		g_autofree char *before = NULL;
		Fixture *fix = fix_with_offer(&before);
		Answer answer = { 0 }, other = { 0 };

		set_failure(fix, step, HOLD, 0);
		accept_all(fix, &answer);
		g_assert_cmpuint(answer.n, ==, 0);
		g_assert_cmpuint(fake_reachable_len(&fix->dev[0]), ==,
				 step == FAIL_EXPOSE ? N * BLOCK : 0);
		/* One command at a time. */
		accept_all(fix, &other);
		g_assert_cmpint(other.rc, ==, CXL_RC_RETRY_REQUIRED);
		g_assert_false(capacity_withdraw(fix->cap, fix->dev[0].dc, 0,
						 &(Uuid){ .b = { [0] = 0xaa, [15] = 1 } }, NULL));
		fix_advance(fix, 500000);
		if (step == FAIL_PREPARE || step == FAIL_EXPOSE)
			fake_answer(&fix->dev[0], true);
		else
			fix_answer_journal(fix, true);
		g_assert_cmpuint(answer.n, ==, 1);
		g_assert_cmpint(answer.rc, ==, CXL_RC_SUCCESS);
		g_assert_cmpuint(fake_reachable_len(&fix->dev[0]), ==, N * BLOCK);
		fix_free(fix);
	}
}

/* Twice, for unknown numbers, after the end: harmless. */
static void test_bogus_answers(void)
{
	g_autofree char *before = NULL;
	Fixture *fix = fix_with_offer(&before);
	DcDevice *dev = fix->dev[0].dc;
	Answer answer = { 0 };

	for (uint64_t req = 0; req < 50; req++)
		dc_device_effect_done(dev, req, req % 2);
	fix_assert_unchanged(fix, before);
	fix->dev[0].prepare = HOLD;
	accept_all(fix, &answer);
	for (uint64_t req = 100; req < 150; req++)
		dc_device_effect_done(dev, req, true);
	g_assert_cmpuint(answer.n, ==, 0);
	fake_answer(&fix->dev[0], true);
	g_assert_cmpint(answer.rc, ==, CXL_RC_SUCCESS);
	for (uint64_t req = 0; req < 50; req++) {
		dc_device_effect_done(dev, req, false);
		capacity_journal_done(fix->cap, req, false);
	}
	g_assert_cmpuint(dc_device_n_extents(dev), ==, N);
	capacity_check(fix->cap);
	fix_free(fix);
}

/* Once a descriptor was out, nobody else gets that file: not even if accepting failed. */
static void test_used_memory_is_wiped(void)
{
	g_autofree char *before = NULL;
	Fixture *fix = fix_with_offer(&before);
	Backend *backend = capacity_peek_backend(fix->cap, "b");
	uint64_t incarnation = backend_incarnation(backend);
	Answer answer = { 0 };
	Uuid tag = tag_of(1);

	fix->dev[0].prepare = REFUSE;
	accept_all(fix, &answer);
	g_assert_false(backend_is_clean(backend));
	g_assert_cmpuint(backend_incarnation(backend), ==, incarnation);
	fix->hold_wipes = true;
	g_assert_true(capacity_withdraw(fix->cap, fix->dev[0].dc, 0, &tag, NULL));
	g_assert_cmpuint(fix->wipes->len, ==, 1);
	g_assert_true(memory_refuses_offer(backend, fix->dev[1].dc, NULL));
	fix_finish_wipe(fix, true);
	g_assert_true(backend_is_clean(backend));
	g_assert_cmpuint(backend_incarnation(backend), !=, incarnation);
	fix_offer_blocks(fix, 1, NORMAL, 1, 0, N);
	fix_free(fix);
}

/* The same offer outlives the host that failed: the next host gets fresh memory. */
static void test_used_memory_and_new_host(void)
{
	g_autofree char *before = NULL;
	Fixture *fix = fix_with_offer(&before);
	Backend *backend = capacity_peek_backend(fix->cap, "b");
	uint64_t incarnation = backend_incarnation(backend);
	Answer failed = { 0 }, answer = { 0 };

	fix->dev[0].prepare = REFUSE;
	accept_all(fix, &failed);
	fix->dev[0].prepare = ANSWER;
	fix_attach(fix, 0, NULL);
	dc_device_list_was_read(fix->dev[0].dc);
	g_assert_cmpuint(backend_incarnation(backend), !=, incarnation);
	accept_all(fix, &answer);
	g_assert_cmpint(answer.rc, ==, CXL_RC_SUCCESS);
	fix_free(fix);
}

/* done() may send the next command from inside. */
typedef struct Chain {
	Fixture *fix;
	unsigned n_left;
} Chain;

static void on_chain(void *opaque, enum cxl_rc rc)
{
	Chain *chain = opaque;

	g_assert_cmpint(rc, ==, CXL_RC_SUCCESS);
	if (chain->n_left-- > 0)
		dc_device_add_response(chain->fix->dev[0].dc, &(DcRange)AT(2 * chain->n_left, 1), 1,
				       false, on_chain, chain);
}

static void test_from_inside_done(void)
{
	FixtureConfig config = { .chains_in_flight = 4 };
	Fixture *fix = fix_new(&config);
	Chain chain = { fix, 3 };

	for (unsigned i = 4; i-- > 0;)
		fix_offer_blocks(fix, 0, NORMAL, 0, 2 * i, 1);
	dc_device_add_response(fix->dev[0].dc, &(DcRange)AT(6, 1), 1, false, on_chain, &chain);
	g_assert_cmpuint(dc_device_n_extents(fix->dev[0].dc), ==, 4);
	capacity_check(fix->cap);
	fix_free(fix);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/capacity/respond/codes", test_codes);
	g_test_add_func("/unit/capacity/respond/empty", test_empty);
	g_test_add_func("/unit/capacity/respond/list-space", test_list_space);
	g_test_add_func("/unit/capacity/respond/any-order", test_any_order);
	g_test_add_func("/unit/capacity/respond/sub-ranges", test_sub_ranges);
	g_test_add_func("/unit/capacity/respond/more", test_more);
	g_test_add_func("/unit/capacity/respond/more-is-bounded", test_more_is_bounded);
	g_test_add_func("/unit/capacity/respond/control-only", test_control_only);
	g_test_add_func("/unit/capacity/respond/refused", test_refused);
	g_test_add_func("/unit/capacity/respond/never-answered", test_never_answered);
	g_test_add_func("/unit/capacity/respond/answered-later", test_answered_later);
	g_test_add_func("/unit/capacity/respond/bogus-answers", test_bogus_answers);
	g_test_add_func("/unit/capacity/respond/used-memory-is-wiped", test_used_memory_is_wiped);
	g_test_add_func("/unit/capacity/respond/used-memory-and-new-host",
			test_used_memory_and_new_host);
	g_test_add_func("/unit/capacity/respond/from-inside-done", test_from_inside_done);
	return g_test_run();
}
