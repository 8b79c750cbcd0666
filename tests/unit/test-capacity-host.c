/* SPDX-License-Identifier: BSD-3-Clause */
/* Hosts: coming back with what they hold, staying away, new ones, resets, static partitions. */
#include "capacity-fixture.h"

#define N 3

static DcRange at(unsigned block, unsigned n_blocks)
{
	return block_range(NORMAL, block, n_blocks);
}

/* N blocks accepted by host 1 on dev0, backed by backend "b" with tag 1. */
static Fixture *fix_accepted(void)
{
	Fixture *fix = fix_new(NULL);

	fix_backend(fix, "b", 1, N * BLOCK, NULL);
	fix_accept_blocks(fix, 0, NORMAL, 1, 0, N);
	fake_clear_log(&fix->dev[0]);
	return fix;
}

static GArray *held_of(const Fake *fake)
{
	GArray *held = g_array_new(FALSE, FALSE, sizeof(DcHeldMap));

	for (guint i = 0; i < fake->reach->len; i++) {
		const Reach *reach = &g_array_index(fake->reach, Reach, i);
		DcHeldMap map = { reach->map_id, reach->dpa, reach->len, reach->incarnation };

		g_array_append_val(held, map);
	}
	return held;
}

static void come_back(Fixture *fix, const GArray *held)
{
	DcHost host = { .serial = 1, .max_maps = UINT32_MAX };

	dc_device_attach_host(fix->dev[0].dc, &host, (const DcHeldMap *)(const void *)held->data,
			      held->len);
}

/* ---- the same process again ---- */

static void test_resume(void)
{
	Fixture *fix = fix_accepted();
	Fake *fake = &fix->dev[0];
	g_autoptr(GArray) held = held_of(fake);
	g_autofree char *before = fix_snapshot(fix);
	unsigned n_prepares = fake->n_prepares;

	dc_device_detach_host(fake->dc);
	fix_assert_unchanged(fix, before);
	come_back(fix, held);
	fix_assert_unchanged(fix, before);
	g_assert_cmpuint(fake->n_prepares, ==, n_prepares); /* nothing was missing */
	fix_free(fix);
}

/* Missing at the host: mapped anew. Unknown to the core: revoked. */
static void test_reconcile(void)
{
	Fixture *fix = fix_accepted();
	Fake *fake = &fix->dev[0];
	g_autoptr(GArray) held = NULL;
	DcHeldMap wrap = { 1, UINT64_MAX - BLOCK + 1, 2 * BLOCK, 1 };
	DcExtent extent;
	Reach stray = { 999, region_base(NORMAL) + 40 * BLOCK, BLOCK, 0, 1, true, true };
	DcHeldMap old;

	dc_device_detach_host(fake->dc);
	g_array_remove_index(fake->reach, 0); /* the host has lost one */
	g_array_append_val(fake->reach, stray);
	g_array_index(fake->reach, Reach, 0).incarnation ^= 1; /* and has one of another life */
	held = held_of(fake);
	old = g_array_index(held, DcHeldMap, 0);
	g_array_append_val(held, wrap);
	come_back(fix, held);
	g_assert_cmpuint(fake->reach->len, ==, N);
	g_assert_cmpuint(fake_reachable_len(fake), ==, N * BLOCK);
	for (unsigned i = 0; i < N; i++) {
		g_assert_true(dc_device_find_extent(fake->dc, at(2 * i, 1).dpa, &extent));
		g_assert_cmpuint(extent.map_id, !=, 0);
		g_assert_cmpuint(extent.map_id, !=, old.map_id);
	}
	capacity_check(fix->cap);
	fix_free(fix);
}

/* A revoke left open by a lost link: confirmed if it is not held, asked again if it is. */
static void test_open_revoke(void)
{
	for (int holds = 0; holds < 2; holds++) {
		Fixture *fix = fix_accepted();
		Fake *fake = &fix->dev[0];
		g_autoptr(GArray) held = NULL;
		Answer answer = { 0 };
		DcRange range = at(0, 1);
		CapacityCounters c;

		fake->revoke = HOLD;
		dc_device_release_response(fake->dc, &range, 1, false, on_answer, &answer);
		dc_device_detach_host(fake->dc);
		fix_advance(fix, G_USEC_PER_SEC);
		g_assert_cmpint(answer.rc, ==, CXL_RC_SUCCESS);
		dc_device_counters(fake->dc, &c);
		g_assert_cmpuint(c.draining, ==, BLOCK);
		fake_lose(fake); /* died with the link */
		if (!holds)
			g_array_remove_index(fake->reach, 0);
		held = held_of(fake);
		come_back(fix, held);
		dc_device_counters(fake->dc, &c);
		g_assert_cmpuint(c.draining, ==, holds ? BLOCK : 0);
		g_assert_cmpuint(fake->held->len, ==, holds);
		while (fake_answer(fake, true))
			;
		dc_device_counters(fake->dc, &c);
		g_assert_cmpuint(c.draining, ==, 0);
		g_assert_cmpuint(fake_reachable_len(fake), ==, (N - 1) * BLOCK);
		capacity_check(fix->cap);
		fix_free(fix);
	}
}

/* Accepting when the link goes: rolled back at once; its drop waits for the process. */
static void test_lost_while_accepting(void)
{
	Fixture *fix = fix_new(NULL);
	Fake *fake = &fix->dev[0];
	DcHost host = { .serial = 1, .max_maps = UINT32_MAX };
	DcRange range = at(0, 1);
	Answer answer = { 0 };

	fix_offer_blocks(fix, 0, NORMAL, 0, 0, 1);
	fake->prepare = HOLD;
	dc_device_add_response(fake->dc, &range, 1, false, on_answer, &answer);
	dc_device_detach_host(fake->dc);
	g_assert_cmpint(answer.rc, ==, CXL_RC_INTERNAL_ERROR);
	g_assert_cmpint(fix_respond(fix, 0, &range, 1), ==, CXL_RC_RETRY_REQUIRED);
	fake_lose(fake);
	g_array_set_size(fake->reach, 0);
	fake->prepare = ANSWER;
	dc_device_attach_host(fake->dc, &host, NULL, 0);
	g_assert_cmpint(fix_respond(fix, 0, &range, 1), ==, CXL_RC_SUCCESS);
	capacity_check(fix->cap);
	fix_free(fix);
}

/* The host cannot map on return: tried again, 1 s, 2 s ... later. */
static void test_sync_retry(void)
{
	Fixture *fix = fix_accepted();
	Fake *fake = &fix->dev[0];
	g_autoptr(GArray) nothing = g_array_new(FALSE, FALSE, sizeof(DcHeldMap));
	DcExtent extent;

	dc_device_detach_host(fake->dc);
	g_array_set_size(fake->reach, 0);
	fake->prepare = REFUSE;
	come_back(fix, nothing);
	g_assert_cmpuint(fake->reach->len, ==, 0);
	g_assert_true(dc_device_find_extent(fake->dc, at(0, 1).dpa, &extent));
	g_assert_cmpuint(extent.map_id, ==, 0);
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpuint(fake->reach->len, ==, 0);
	fake->prepare = ANSWER;
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpuint(fake->reach->len, ==, 0);
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpuint(fake_reachable_len(fake), ==, N * BLOCK);
	fix_free(fix);
}

/* Forced out while its mapping is being restored: dropped, never exposed. */
static void test_forced_while_syncing(void)
{
	Fixture *fix = fix_accepted();
	Fake *fake = &fix->dev[0];
	g_autoptr(GArray) nothing = g_array_new(FALSE, FALSE, sizeof(DcHeldMap));
	ReleaseRequest request = {
		.extents = (const OfferExtent[]){ { 0, BLOCK } },
		.n_extents = 1,
		.forced = true,
	};

	dc_device_detach_host(fake->dc);
	g_array_set_size(fake->reach, 0);
	fake->prepare = HOLD;
	come_back(fix, nothing);
	g_assert_true(capacity_release(fix->cap, fake->dc, &request, NULL, NULL));
	g_assert_cmpuint(fake->n_drops, ==, 1);
	fake_answer(fake, true);
	g_assert_cmpuint(fake_reachable_len(fake), ==, (N - 1) * BLOCK);
	capacity_check(fix->cap);
	fix_free(fix);
}

/* ---- another process ---- */

/* The next host of a device gets the accepted extents only when the former can reach them no more.
 */
static void test_new_host(void)
{
	Fixture *fix = fix_accepted();
	Fake *fake = &fix->dev[0];
	uint32_t generation = dc_device_generation(fake->dc);

	dc_device_detach_host(fake->dc);
	g_array_set_size(fake->reach, 0);
	fix_attach(fix, 0, NULL);
	g_assert_cmpuint(dc_device_n_extents(fake->dc), ==, N); /* kept */
	g_assert_cmpuint(dc_device_generation(fake->dc), ==, generation);
	g_assert_cmpuint(fake->reach->len, ==, 0);
	capacity_host_gone(fix->cap, 1);
	g_assert_cmpuint(fake_reachable_len(fake), ==, N * BLOCK);
	capacity_check(fix->cap);
	fix_free(fix);
}

/* What the former host left open stays draining under its number. */
static void test_drain_of_former_host(void)
{
	Fixture *fix = fix_accepted();
	Fake *fake = &fix->dev[0];
	DcRange all[N] = { at(0, 1), at(2, 1), at(4, 1) };
	Answer answer = { 0 };
	CapacityCounters c;

	fake->revoke = HOLD;
	dc_device_release_response(fake->dc, all, N, false, on_answer, &answer);
	fix_attach(fix, 0, NULL);
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpuint(answer.n, ==, 1);
	dc_device_counters(fake->dc, &c);
	g_assert_cmpuint(c.draining, ==, N * BLOCK);
	g_assert_true(memory_refuses_offer(capacity_peek_backend(fix->cap, "b"), fake->dc, NULL));
	capacity_host_gone(fix->cap, 77); /* somebody else */
	dc_device_counters(fake->dc, &c);
	g_assert_cmpuint(c.draining, ==, N * BLOCK);
	capacity_host_gone(fix->cap, 1);
	dc_device_counters(fake->dc, &c);
	g_assert_cmpuint(c.free, ==, c.total);
	g_assert_true(backend_is_clean(capacity_peek_backend(fix->cap, "b")));
	capacity_check(fix->cap);
	fix_free(fix);
}

static void test_gone_frees(void)
{
	Fixture *fix = fix_accepted();
	Fake *fake = &fix->dev[0];

	capacity_host_gone(fix->cap, 1);
	g_assert_cmpuint(dc_device_n_extents(fake->dc), ==, N); /* accepted extents outlive it */
	g_array_set_size(fake->reach, 0);
	fix_attach(fix, 0, NULL);
	g_assert_cmpuint(fake_reachable_len(fake), ==, N * BLOCK);
	fix_free(fix);
}

/* ---- resets ---- */

static void test_resets(void)
{
	Fixture *fix = fix_accepted();
	Fake *fake = &fix->dev[0];
	DcRange range = at(10, 1);
	Answer part = { 0 }, flr = { 0 };
	uint32_t generation = dc_device_generation(fake->dc);
	CapacityCounters c;

	fix_offer_blocks(fix, 0, NORMAL, 0, 10, 1);
	dc_device_add_response(fake->dc, &range, 1, true, on_answer, &part);
	dc_device_reset(fake->dc, DC_RESET_FLR);
	/* The collected part is forgotten: this is an empty response, a refusal. */
	g_assert_cmpint(fix_respond(fix, 0, NULL, 0), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(dc_device_n_extents(fake->dc), ==, N);
	fix_offer_blocks(fix, 0, NORMAL, 0, 10, 1);
	fake->prepare = HOLD;
	dc_device_add_response(fake->dc, &range, 1, false, on_answer, &flr);
	dc_device_reset(fake->dc, DC_RESET_FLR);
	g_assert_cmpint(flr.rc, ==, CXL_RC_ABORTED);
	while (fake_answer(fake, true))
		;
	g_assert_cmpuint(fake_reachable_len(fake), ==, N * BLOCK); /* mappings kept */
	dc_device_reset(fake->dc, DC_RESET_CONVENTIONAL);
	g_assert_cmpuint(dc_device_n_extents(fake->dc), ==, N);
	g_assert_cmpuint(dc_device_generation(fake->dc), ==, generation);
	fake->prepare = ANSWER;
	dc_device_reset(fake->dc, DC_RESET_FORGET);
	g_assert_cmpuint(dc_device_n_extents(fake->dc), ==, 0);
	g_assert_cmpuint(fake_reachable_len(fake), ==, 0);
	dc_device_counters(fake->dc, &c);
	g_assert_cmpuint(c.free, ==, c.total); /* offers withdrawn, nothing quarantined */
	capacity_check(fix->cap);
	fix_free(fix);
}

static void test_forget_while_unwinding(void)
{
	Fixture *fix = fix_new(NULL);
	Fake *fake = &fix->dev[0];
	DcRange range = at(0, 1);
	Answer answer = { 0 };
	CapacityCounters c;

	fix_offer_blocks(fix, 0, NORMAL, 0, 0, 1);
	fake->prepare = fake->revoke = HOLD;
	dc_device_add_response(fake->dc, &range, 1, false, on_answer, &answer);
	dc_device_reset(fake->dc, DC_RESET_FORGET);
	g_assert_cmpint(answer.rc, ==, CXL_RC_ABORTED);
	dc_device_counters(fake->dc, &c);
	g_assert_cmpuint(c.reserved, ==, BLOCK);
	while (fake_answer(fake, true))
		;
	dc_device_counters(fake->dc, &c);
	g_assert_cmpuint(c.free, ==, c.total);
	fix_free(fix);
}

/* ---- static partitions ---- */

static Backend *new_static(const char *name, uint64_t size)
{
	BackendConfig config = { .name = name, .size = size };

	return backend_new(&config, NULL);
}

static void test_static(void)
{
	FixtureConfig config = { .no_host = true };
	Fixture *fix = fix_new(&config);
	Fake *fake = &fix->dev[0];
	Backend *ram = new_static("ram", 64 * MIB), *pmem = new_static("pmem", 128 * MIB);
	Backend *big = new_static("big", 256 * MIB);
	MemFile *first_pmem;
	uint64_t value = 5, incarnation;

	g_assert_true(dc_device_add_static(fake->dc, 0, ram, true, NULL));
	g_assert_false(dc_device_add_static(fake->dc, 32 * MIB, pmem, false, NULL)); /* overlaps */
	g_assert_false(dc_device_add_static(fake->dc, 64 * MIB, big, false, NULL));  /* too big */
	g_assert_false(dc_device_add_static(fake->dc, 0, ram, false, NULL));         /* taken */
	g_assert_true(dc_device_add_static(fake->dc, 64 * MIB, pmem, false, NULL));
	fix_attach(fix, 0, NULL);
	g_assert_cmpuint(fake_reachable_len(fake), ==, 192 * MIB);
	g_assert_cmpuint(dc_device_n_extents(fake->dc), ==, 0); /* not in any list or counter */
	first_pmem = backend_peek_file(pmem);
	incarnation = backend_incarnation(ram);
	mem_file_write(first_pmem, 0, &value, sizeof(value));
	/* The same process again: as it was. */
	dc_device_detach_host(fake->dc);
	g_array_set_size(fake->reach, 0);
	fix_attach(fix, 0, &(DcHost){ .serial = 1, .max_maps = UINT32_MAX });
	g_assert_cmpuint(backend_incarnation(ram), ==, incarnation);
	g_assert_cmpuint(fake_reachable_len(fake), ==, 192 * MIB);
	/* A new one: fresh ram at once; pmem when the former can no longer write to it. */
	dc_device_detach_host(fake->dc);
	g_array_set_size(fake->reach, 0);
	fix_attach(fix, 0, NULL);
	g_assert_cmpuint(backend_incarnation(ram), !=, incarnation);
	g_assert_true(backend_peek_file(pmem) == first_pmem);
	g_assert_cmpuint(fake_reachable_len(fake), ==, 64 * MIB);
	capacity_host_gone(fix->cap, 1);
	g_assert_cmpuint(fake_reachable_len(fake), ==, 192 * MIB);
	mem_file_read(first_pmem, 0, &value, sizeof(value));
	g_assert_cmpuint(value, ==, 5);
	fix_free(fix);
	backend_free(ram);
	backend_free(pmem);
	backend_free(big);
}

/* The host's limit counts static partitions too. */
static void test_static_counts(void)
{
	FixtureConfig config = { .no_host = true };
	Fixture *fix = fix_new(&config);
	Backend *ram = new_static("ram", 64 * MIB);
	uint32_t limits[4];

	g_assert_true(dc_device_add_static(fix->dev[0].dc, 0, ram, true, NULL));
	fix_attach(fix, 0, &(DcHost){ .max_maps = 3 });
	dc_device_limits(fix->dev[0].dc, &limits[0], &limits[1], &limits[2], &limits[3]);
	g_assert_cmpuint(limits[0], ==, 2);
	fix_free(fix);
	backend_free(ram);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/capacity/host/resume", test_resume);
	g_test_add_func("/unit/capacity/host/reconcile", test_reconcile);
	g_test_add_func("/unit/capacity/host/open-revoke", test_open_revoke);
	g_test_add_func("/unit/capacity/host/lost-while-accepting", test_lost_while_accepting);
	g_test_add_func("/unit/capacity/host/sync-retry", test_sync_retry);
	g_test_add_func("/unit/capacity/host/forced-while-syncing", test_forced_while_syncing);
	g_test_add_func("/unit/capacity/host/new", test_new_host);
	g_test_add_func("/unit/capacity/host/drain-of-former", test_drain_of_former_host);
	g_test_add_func("/unit/capacity/host/gone", test_gone_frees);
	g_test_add_func("/unit/capacity/reset/kinds", test_resets);
	g_test_add_func("/unit/capacity/reset/forget-while-unwinding", test_forget_while_unwinding);
	g_test_add_func("/unit/capacity/static/sessions", test_static);
	g_test_add_func("/unit/capacity/static/count-as-maps", test_static_counts);
	return g_test_run();
}
