/* SPDX-License-Identifier: BSD-3-Clause */
/* HDM decoders: commit rules, lock, order, answers that come late or never, resets. */
#include "hdm-fake.h"

static void test_commit(void)
{
	Fake *fake = fake_new(16 * MIB_256);
	const Setting first = { .base = 0x8000000000, .size = 4 * MIB_256 };
	const Setting second = { .base = 0x8100000000,
				 .size = 4 * MIB_256,
				 .skip = 2 * MIB_256,
				 .ways = 2,
				 .granularity = 4096 };
	const HdmDecoder *got;

	wr(fake, fake->hdm + CXL_HDM_CTRL, UINT32_MAX);
	g_assert_cmphex(rd(fake, fake->hdm + CXL_HDM_CTRL), ==, CXL_HDM_CTRL_ENABLE);

	commit(fake, 0, &first);
	assert_state(fake, 0, GOOD);
	got = &fake->calls[0].decoder;
	g_assert_cmpuint(fake->n_calls, ==, 1);
	g_assert_true(got->committed);
	g_assert_cmphex(got->hpa, ==, first.base);
	g_assert_cmphex(got->len, ==, first.size);
	g_assert_cmphex(got->dpa, ==, 0);
	g_assert_cmpuint(got->ways, ==, 1);
	g_assert_cmpuint(got->granularity, ==, 256);

	commit(fake, 1, &second);
	assert_state(fake, 1, GOOD);
	got = &fake->calls[1].decoder;
	g_assert_cmpuint(got->index, ==, 1);
	g_assert_cmphex(got->dpa, ==, 6 * MIB_256);
	g_assert_cmpuint(got->ways, ==, 2);
	g_assert_cmpuint(got->granularity, ==, 4096);

	/* Frozen, and a repeated commit is nothing new */
	commit(fake, 1, &(Setting){ .base = 0x9000000000, .size = MIB_256 });
	g_assert_cmpuint(fake->n_calls, ==, 2);
	g_assert_cmphex(rd(fake, fake->hdm + CXL_HDM_BASE_HI(1)), ==, 0x81);
	g_assert_cmphex(rd(fake, fake->hdm + CXL_HDM_SIZE_LO(1)), ==, 4 * MIB_256);
	assert_state(fake, 1, GOOD);

	uncommit(fake, 1);
	assert_state(fake, 1, 0);
	g_assert_cmpuint(fake->n_calls, ==, 3);
	g_assert_false(fake->calls[2].decoder.committed);
	g_assert_cmphex(fake->calls[2].decoder.hpa, ==, second.base);
	g_assert_cmphex(rd(fake, fake->hdm + CXL_HDM_BASE_HI(1)), ==, 0);
	g_assert_cmphex(rd(fake, fake->hdm + CXL_HDM_SIZE_LO(1)), ==, 0);
	commit(fake, 1, &second);
	assert_state(fake, 1, GOOD);
	fake_free(fake);
}

/* Each row is tried as decoder 1 above a committed decoder 0 of 4 x 256 MiB at HPA 80_0000_0000h.
 */
static void test_rules(void)
{
	static const struct {
		const char *what;
		Setting s;
		bool ok;
	} rows[] = {
		{ "adjacent", { 0x8040000000, MIB_256, 0, 1, 256, 0 }, true },
		{ "size 0", { 0x8100000000, 0, 0, 1, 256, 0 }, false },
		{ "overlaps the first", { 0x8030000000, MIB_256, 0, 1, 256, 0 }, false },
		{ "covers the first", { 0x7000000000, MIB_256, 0, 1, 256, 0 }, false },
		{ "below the first", { 0x1000000000, MIB_256, 0, 1, 256, 0 }, false },
		{ "wraps", { UINT64_MAX - MIB_256 + 1, 2 * MIB_256, 0, 1, 256, 0 }, false },
		{ "all of DPA", { 0x8100000000, 12 * MIB_256, 0, 1, 256, 0 }, true },
		{ "beyond DPA", { 0x8100000000, 13 * MIB_256, 0, 1, 256, 0 }, false },
		{ "skip to the end", { 0x8100000000, MIB_256, 11 * MIB_256, 1, 256, 0 }, true },
		{ "skip past it", { 0x8100000000, MIB_256, 12 * MIB_256, 1, 256, 0 }, false },
		{ "skip wraps",
		  { 0x8100000000, MIB_256, UINT64_MAX - MIB_256 + 1, 1, 256, 0 },
		  false },
		{ "huge size", { 0x8100000000, UINT64_C(1) << 62, 0, 1, 256, 0 }, false },
		{ "2 ways, whole shares", { 0x8100000000, 24 * MIB_256, 0, 2, 512, 0 }, true },
		{ "2 ways, half shares", { 0x8100000000, 3 * MIB_256, 0, 2, 512, 0 }, false },
		{ "3 ways", { 0x8100000000, 36 * MIB_256, 0, 3, 1024, 0 }, true },
		{ "3 ways, no multiple", { 0x8100000000, 4 * MIB_256, 0, 3, 1024, 0 }, false },
		{ "6 ways", { 0x8100000000, 12 * MIB_256, 0, 6, 2048, 0 }, true },
		{ "6 ways, no multiple", { 0x8100000000, 9 * MIB_256, 0, 6, 2048, 0 }, false },
		{ "12 ways", { 0x8100000000, 12 * MIB_256, 0, 12, 8192, 0 }, true },
		{ "12 ways, no multiple", { 0x8100000000, 6 * MIB_256, 0, 12, 8192, 0 }, false },
		{ "16 ways", { 0x8100000000, 16 * MIB_256, 0, 16, 16384, 0 }, true },
		{ "8 ways", { 0x8100000000, 8 * MIB_256, 0, 8, 16384, 0 }, true },
		{ "4 ways", { 0x8100000000, 4 * MIB_256, 0, 4, 16384, 0 }, true },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		Fake *fake = fake_new(16 * MIB_256);

		g_test_message("%s", rows[i].what);
		commit(fake, 0, &(Setting){ .base = 0x8000000000, .size = 4 * MIB_256 });
		commit(fake, 1, &rows[i].s);
		assert_state(fake, 1, rows[i].ok ? GOOD : BAD);
		g_assert_cmpuint(fake->n_calls, ==, rows[i].ok ? 2 : 1);
		/* ERROR goes with COMMIT, and the decoder can be used again */
		uncommit(fake, 1);
		assert_state(fake, 1, 0);
		commit(fake, 1, &(Setting){ .base = 0x8100000000, .size = MIB_256 });
		assert_state(fake, 1, GOOD);
		fake_free(fake);
	}
}

static void test_bad_codes(void)
{
	Fake *fake = fake_new(16 * MIB_256);
	static const struct {
		unsigned iw, ig;
	} rows[] = { { 5, 0 }, { 7, 0 }, { 11, 0 }, { 15, 0 }, { 0, 7 }, { 0, 15 }, { 15, 15 } };

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		commit(fake, 0, &(Setting){ .base = MIB_256, .size = 12 * MIB_256 });
		uncommit(fake, 0);
		wr(fake, fake->hdm + CXL_HDM_SIZE_LO(0), (uint32_t)(12 * MIB_256));
		wr(fake, fake->hdm + CXL_HDM_DEC_CTRL(0),
		   rows[i].ig | rows[i].iw << 4 | CXL_HDM_DEC_COMMIT);
		assert_state(fake, 0, BAD);
		uncommit(fake, 0);
	}
	fake_free(fake);
}

static void test_order(void)
{
	Fake *fake = fake_new(16 * MIB_256);
	Setting s = { .base = 0x8000000000, .size = MIB_256 };

	commit(fake, 1, &s);
	assert_state(fake, 1, BAD);
	g_assert_cmpuint(fake->n_calls, ==, 0);
	uncommit(fake, 1);
	for (unsigned i = 0; i < N; i++, s.base += s.size) {
		commit(fake, i, &s);
		assert_state(fake, i, GOOD);
		g_assert_cmphex(fake->calls[i].decoder.dpa, ==, i * MIB_256);
	}
	/* Taken back from the middle: it may not come back before what is above it went */
	uncommit(fake, 4);
	commit(fake, 4, &(Setting){ .base = 0x8000000000 + 4 * MIB_256, .size = MIB_256 });
	assert_state(fake, 4, BAD);
	uncommit(fake, 4);
	for (unsigned i = N - 1; i > 4; i--)
		uncommit(fake, i);
	commit(fake, 4, &(Setting){ .base = 0x8000000000 + 4 * MIB_256, .size = MIB_256 });
	assert_state(fake, 4, GOOD);
	/* Linux: goes on above the highest although one below is gone */
	uncommit(fake, 2);
	commit(fake, 5, &(Setting){ .base = 0x9000000000, .size = MIB_256 });
	assert_state(fake, 5, GOOD);
	g_assert_cmphex(fake->mapped[5].dpa, ==, 5 * MIB_256);
	fake_free(fake);
}

static void test_lock(void)
{
	Fake *fake = fake_new(16 * MIB_256);
	Setting s = { .base = 0x8000000000, .size = MIB_256, .extra = CXL_HDM_DEC_LOCK };

	commit(fake, 0, &s);
	assert_state(fake, 0, GOOD);
	uncommit(fake, 0);
	assert_state(fake, 0, GOOD);
	g_assert_true(ctrl(fake, 0) & CXL_HDM_DEC_LOCK);
	g_assert_cmphex(rd(fake, fake->hdm + CXL_HDM_SIZE_LO(0)), ==, MIB_256);
	g_assert_cmpuint(fake->n_calls, ==, 1);
	component_reset(fake->component, false);
	g_assert_cmphex(ctrl(fake, 0), ==, CXL_HDM_DEC_HOST_ONLY);
	g_assert_false(fake->mapped[0].committed);
	/* Not committed: not locked */
	s.size = 0;
	commit(fake, 0, &s);
	assert_state(fake, 0, BAD);
	uncommit(fake, 0);
	assert_state(fake, 0, 0);
	fake_free(fake);
}

static void test_later(void)
{
	Fake *fake = fake_new(16 * MIB_256);
	Hdm *hdm = component_peek_hdm(fake->component);
	const Setting s = { .base = 0x8000000000, .size = MIB_256 };

	fake->mode = ANSWER_LATER;
	g_assert_true(hdm_next_deadline_us(hdm) == UINT64_MAX);
	commit(fake, 0, &s);
	assert_state(fake, 0, CXL_HDM_DEC_COMMIT);
	g_assert_cmpuint(fake->n_deadline_changed, ==, 1);
	g_assert_cmpuint(hdm_next_deadline_us(hdm), ==, HDM_ANSWER_US);
	hdm_done(hdm, 4711, true); /* nobody's */
	assert_state(fake, 0, CXL_HDM_DEC_COMMIT);
	fake->now_us = HDM_ANSWER_US - 1;
	hdm_tick(hdm);
	answer(fake, 0, true);
	assert_state(fake, 0, GOOD);
	g_assert_true(hdm_next_deadline_us(hdm) == UINT64_MAX);
	answer(fake, 0, false); /* a second answer is nobody's */
	assert_state(fake, 0, GOOD);

	/* Gone only when the host side says so; the registers are free at once */
	uncommit(fake, 0);
	assert_state(fake, 0, CXL_HDM_DEC_COMMITTED);
	g_assert_cmphex(rd(fake, fake->hdm + CXL_HDM_SIZE_LO(0)), ==, 0);
	/* A new commit waits for that, and COMMITTED does not lie about it meanwhile */
	commit(fake, 0, &s);
	assert_state(fake, 0, CXL_HDM_DEC_COMMIT);
	g_assert_cmpuint(fake->n_calls, ==, 2);
	answer(fake, 1, true);
	g_assert_cmpuint(fake->n_calls, ==, 3);
	assert_state(fake, 0, CXL_HDM_DEC_COMMIT);
	answer(fake, 2, true);
	assert_state(fake, 0, GOOD);

	uncommit(fake, 0);
	answer(fake, 3, true);
	assert_state(fake, 0, 0);
	fake_free(fake);
}

static void test_timeout(void)
{
	Fake *fake = fake_new(16 * MIB_256);
	Hdm *hdm = component_peek_hdm(fake->component);
	const Setting s = { .base = 0x8000000000, .size = MIB_256 };

	fake->mode = ANSWER_LATER;
	commit(fake, 0, &s);
	fake->now_us += HDM_ANSWER_US;
	hdm_tick(hdm);
	assert_state(fake, 0, BAD);
	/* The late yes left something behind: it is taken back, nothing becomes committed */
	answer(fake, 0, true);
	assert_state(fake, 0, BAD);
	g_assert_cmpuint(fake->n_calls, ==, 2);
	g_assert_false(fake->calls[1].decoder.committed);
	uncommit(fake, 0);
	assert_state(fake, 0, 0);
	/* One asked for meanwhile waits for it, up to its own deadline */
	commit(fake, 0, &s);
	g_assert_cmpuint(fake->n_calls, ==, 2);
	answer(fake, 1, true);
	g_assert_cmpuint(fake->n_calls, ==, 3);
	answer(fake, 2, true);
	assert_state(fake, 0, GOOD);

	/* Taking back times out: still committed, with the error bit, until the answer comes */
	uncommit(fake, 0);
	fake->now_us += HDM_ANSWER_US;
	hdm_tick(hdm);
	assert_state(fake, 0, CXL_HDM_DEC_COMMITTED | CXL_HDM_DEC_ERROR);
	answer(fake, 3, true);
	assert_state(fake, 0, 0);

	/* Never answered: every later commit ends with the error bit, the machine stays alive */
	commit(fake, 0, &s);
	commit(fake, 1, &(Setting){ .base = 0x9000000000, .size = MIB_256 });
	g_assert_cmpuint(fake->n_calls, ==, 5);
	fake->now_us += HDM_ANSWER_US;
	hdm_tick(hdm);
	assert_state(fake, 0, BAD);
	assert_state(fake, 1, BAD);
	g_assert_true(hdm_next_deadline_us(hdm) == UINT64_MAX);
	fake_free(fake);
}

static void test_refused(void)
{
	Fake *fake = fake_new(16 * MIB_256);
	const Setting s = { .base = 0x8000000000, .size = MIB_256 };

	fake->mode = ANSWER_NO;
	commit(fake, 0, &s);
	assert_state(fake, 0, BAD);
	uncommit(fake, 0);
	assert_state(fake, 0, 0);
	g_assert_cmpuint(fake->n_calls, ==, 1); /* nothing to take back */

	fake->mode = ANSWER_YES;
	commit(fake, 0, &s);
	fake->mode = ANSWER_NO;
	uncommit(fake, 0);
	assert_state(fake, 0, CXL_HDM_DEC_COMMITTED | CXL_HDM_DEC_ERROR);
	g_assert_cmpuint(fake->n_calls, ==, 3);
	/* Asked again, and only when the host asks again */
	uncommit(fake, 0);
	g_assert_cmpuint(fake->n_calls, ==, 4);
	commit(fake, 0, &s);
	assert_state(fake, 0, BAD);
	g_assert_cmpuint(fake->n_calls, ==, 5);
	fake->mode = ANSWER_YES;
	uncommit(fake, 0);
	assert_state(fake, 0, 0);
	commit(fake, 0, &s);
	assert_state(fake, 0, GOOD);
	fake_free(fake);
}

/* COMMIT cleared while the commit is under way: what was made is taken back. */
static void test_withdrawn(void)
{
	Fake *fake = fake_new(16 * MIB_256);
	const Setting s = { .base = 0x8000000000, .size = MIB_256 };

	fake->mode = ANSWER_LATER;
	commit(fake, 0, &s);
	uncommit(fake, 0);
	assert_state(fake, 0, 0);
	commit(fake, 0, &(Setting){ .base = 0xa000000000, .size = 2 * MIB_256 });
	answer(fake, 0, true);
	assert_state(fake, 0, CXL_HDM_DEC_COMMIT);
	g_assert_false(fake->calls[1].decoder.committed);
	g_assert_cmphex(fake->calls[1].decoder.hpa, ==, s.base);
	answer(fake, 1, true);
	g_assert_cmphex(fake->calls[2].decoder.hpa, ==, 0xa000000000);
	answer(fake, 2, true);
	assert_state(fake, 0, GOOD);
	g_assert_cmpuint(fake->n_calls, ==, 3);
	fake_free(fake);
}

static void count_committed(const HdmDecoder *decoder, void *opaque)
{
	unsigned *n = opaque;

	g_assert_true(decoder->committed);
	g_assert_cmpuint(decoder->index, ==, *n);
	(*n)++;
}

static void test_reset(void)
{
	Fake *fake = fake_new(16 * MIB_256);
	Hdm *hdm = component_peek_hdm(fake->component);
	unsigned n = 0;

	commit(fake, 0, &(Setting){ .base = 0x8000000000, .size = MIB_256 });
	commit(fake, 1, &(Setting){ .base = 0x9000000000, .size = MIB_256 });
	hdm_foreach_committed(hdm, count_committed, &n);
	g_assert_cmpuint(n, ==, 2);
	fake->mode = ANSWER_LATER;
	commit(fake, 2, &(Setting){ .base = 0xa000000000, .size = MIB_256 });
	component_reset(fake->component, false);
	for (unsigned i = 0; i < N; i++)
		g_assert_cmphex(ctrl(fake, i), ==, CXL_HDM_DEC_HOST_ONLY);
	g_assert_cmpuint(fake->n_calls, ==, 5); /* two taken back; the third waits for its answer */
	answer(fake, 2, true);
	g_assert_cmpuint(fake->n_calls, ==, 6);
	for (unsigned i = 3; i < 6; i++) {
		g_assert_false(fake->calls[i].decoder.committed);
		answer(fake, i, true);
	}
	for (unsigned i = 0; i < N; i++)
		g_assert_false(fake->mapped[i].committed);

	/* Another host: the former one's silence blocks nobody */
	commit(fake, 0, &(Setting){ .base = 0x8000000000, .size = MIB_256 });
	component_reset(fake->component, true);
	fake->mode = ANSWER_YES;
	commit(fake, 0, &(Setting){ .base = 0x8000000000, .size = 2 * MIB_256 });
	assert_state(fake, 0, GOOD);
	answer(fake, 6, false);
	answer(fake, 7, false);
	assert_state(fake, 0, GOOD);
	/* The same with answers given at once, good or bad */
	fake->mode = ANSWER_NO;
	component_reset(fake->component, true);
	fake->mode = ANSWER_YES;
	commit(fake, 0, &(Setting){ .base = 0x8000000000, .size = MIB_256 });
	assert_state(fake, 0, GOOD);
	fake_free(fake);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/device/hdm/commit", test_commit);
	g_test_add_func("/unit/device/hdm/rules", test_rules);
	g_test_add_func("/unit/device/hdm/bad-codes", test_bad_codes);
	g_test_add_func("/unit/device/hdm/order", test_order);
	g_test_add_func("/unit/device/hdm/lock", test_lock);
	g_test_add_func("/unit/device/hdm/later", test_later);
	g_test_add_func("/unit/device/hdm/timeout", test_timeout);
	g_test_add_func("/unit/device/hdm/refused", test_refused);
	g_test_add_func("/unit/device/hdm/withdrawn", test_withdrawn);
	g_test_add_func("/unit/device/hdm/reset", test_reset);
	return g_test_run();
}
