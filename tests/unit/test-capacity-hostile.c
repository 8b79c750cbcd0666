/* SPDX-License-Identifier: BSD-3-Clause */
/* Hosts that lie about what they hold, come back without a link, refuse, or never end. */
#include "capacity-fixture.h"

#include <unistd.h>

#define KEPT_LEN (4 * BLOCK)

static void read_backend(Backend *backend, uint64_t offset, uint8_t *ret)
{
	g_assert_cmpint(mem_file_read(backend_peek_file(backend), offset, ret, 1), ==, 0);
}

static void write_backend(Backend *backend, uint64_t offset, uint8_t byte)
{
	g_assert_cmpint(mem_file_write(backend_peek_file(backend), offset, &byte, 1), ==, 0);
}

static CapacityCounters bytes_of(const Backend *backend)
{
	CapacityCounters counters;

	backend_counters(backend, &counters);
	return counters;
}

/* All of tag 1, at block 0. */
static Backend *accept_kept(Fixture *fix)
{
	static const BackendConfig keep = { .on_release = ON_RELEASE_KEEP };
	Backend *backend = fix_backend(fix, "kept", 1, KEPT_LEN, &keep);
	OfferRequest request = { .tag = tag_of(1), .policy = OFFER_CONTIGUOUS };
	DcRange range = block_range(NORMAL, 0, 4);
	GError *error = NULL;

	capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpint(fix_respond(fix, 0, &range, 1), ==, CXL_RC_SUCCESS);
	return backend;
}

static void forget_asked(Fake *fake)
{
	for (guint i = 0; i < fake->held->len; i++) {
		Held *held = fake->held->pdata[i];

		g_array_unref(held->items);
		g_free(held);
	}
	g_ptr_array_set_size(fake->held, 0);
}

/* ---- a session without a link, of a process that had one ---- */

static void test_no_link_confirms_nothing(void)
{
	FixtureConfig config = { .host = { .same_uid = true } };
	Fixture *fix = fix_new(&config);
	Backend *backend = accept_kept(fix);
	DcRange range = block_range(NORMAL, 0, 4);
	DcHost host = fix->dev[0].dc->host;
	Answer answer = { 0 };

	dc_device_detach_host(fix->dev[0].dc);
	host.control_only = true;
	fix_attach(fix, 0, &host);
	fix->dev[0].revoke = HOLD; /* as a pool without a link */
	dc_device_release_response(fix->dev[0].dc, &range, 1, false, on_answer, &answer);
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpint(answer.rc, ==, CXL_RC_SUCCESS);
	/* The process may still have it mapped: nobody else gets it. */
	g_assert_cmpuint(bytes_of(backend).draining, ==, KEPT_LEN);
	dc_device_detach_host(fix->dev[0].dc);
	host.control_only = false;
	fix_attach(fix, 0, &host);
	g_assert_cmpuint(bytes_of(backend).free, ==, KEPT_LEN);
	forget_asked(&fix->dev[0]);
	fix_free(fix);
}

/* What was accepted without a link was never mapped: nothing has to be confirmed. */
static void test_control_only_is_free_at_once(void)
{
	FixtureConfig config = { .host = { .control_only = true } };
	Fixture *fix = fix_new(&config);
	Backend *backend = accept_kept(fix);
	DcRange range = block_range(NORMAL, 0, 4);

	fix->dev[0].revoke = HOLD;
	g_assert_cmpint(fix_release(fix, 0, &range, 1), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(bytes_of(backend).free, ==, KEPT_LEN);
	fix_free(fix);
}

/* ---- hello ---- */

/* Every second small block of one accepted extent is released, and the host never confirms. */
static uint64_t release_in_parts(Fixture *fix, guint n_parts)
{
	uint64_t len = n_parts * UINT64_C(2) * 4096;
	OfferRequest request = { .region = SMALL_BLOCKS, .policy = OFFER_CONTIGUOUS, .len = len };
	DcRange all = { region_base(SMALL_BLOCKS), len };
	g_autofree DcRange *parts = g_new(DcRange, n_parts);
	Answer answer = { 0 };
	DcExtent extent;

	g_assert_true(capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, NULL));
	g_assert_cmpint(fix_respond(fix, 0, &all, 1), ==, CXL_RC_SUCCESS);
	g_assert_true(dc_device_find_extent(fix->dev[0].dc, all.dpa, &extent));
	for (guint i = 0; i < n_parts; i++)
		parts[i] = (DcRange){ all.dpa + i * UINT64_C(8192), 4096 };
	fix->dev[0].revoke = HOLD;
	dc_device_release_response(fix->dev[0].dc, parts, n_parts, false, on_answer, &answer);
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpint(answer.rc, ==, CXL_RC_SUCCESS);
	return extent.map_id;
}

/* What the host is asked to let go of: its bytes in RET_LEN. */
static guint count_asked(const Fake *fake, uint64_t *ret_len)
{
	guint n = 0;

	*ret_len = 0;
	for (guint i = 0; i < fake->held->len; i++) {
		const Held *held = fake->held->pdata[i];

		g_assert_cmpint(held->kind, ==, EFFECT_REVOKE);
		for (guint j = 0; j < held->items->len; j++)
			*ret_len += g_array_index(held->items, DcMapPart, j).len;
		n += held->items->len;
	}
	return n;
}

static void come_back(Fixture *fix, const DcHeldMap *held, size_t n_held)
{
	Fake *fake = &fix->dev[0];
	DcHost host = fake->dc->host;

	dc_device_detach_host(fake->dc);
	forget_asked(fake);
	dc_device_attach_host(fake->dc, &host, held, n_held);
	capacity_check(fix->cap);
}

/* One map that is draining in many parts: each is asked for once, what is between is kept. */
static void test_held_whole(void)
{
	const guint n = 30000;
	Fixture *fix = fix_new(NULL);
	uint64_t map_id = release_in_parts(fix, n), len, base = region_base(SMALL_BLOCKS);
	uint64_t incarnation = g_array_index(fix->dev[0].reach, Reach, 0).incarnation;
	DcHeldMap held = { map_id, base, n * UINT64_C(8192), incarnation };
	DcExtent extent;

	come_back(fix, &held, 1);
	g_assert_cmpuint(count_asked(&fix->dev[0], &len), ==, n);
	g_assert_cmphex(len, ==, n * UINT64_C(4096));
	for (guint i = 0; i < n; i++) {
		g_assert_true(
			dc_device_find_extent(fix->dev[0].dc, base + i * 8192 + 4096, &extent));
		g_assert_cmpuint(extent.map_id, ==, map_id);
	}
	forget_asked(&fix->dev[0]);
	fix_free(fix);
}

/* The same range again and again: revoked as if it had been said once. */
static void test_held_twice(void)
{
	const guint n = 3000;
	Fixture *fix = fix_new(NULL);
	uint64_t map_id = release_in_parts(fix, n), len, base = region_base(SMALL_BLOCKS);
	g_autofree DcHeldMap *held = g_new(DcHeldMap, 65536);

	for (guint i = 0; i < 65536; i++)
		held[i] = (DcHeldMap){ map_id, base + i % 7 * 4096, n * UINT64_C(8192), 1 };
	come_back(fix, held, 65536);
	g_assert_cmpuint(count_asked(&fix->dev[0], &len), <=, 2 * n + 7);
	/* Nothing of it is of the right incarnation, and six blocks more are said to be held. */
	g_assert_cmphex(len, ==, n * UINT64_C(8192) + 6 * 4096);
	forget_asked(&fix->dev[0]);
	fix_free(fix);
}

/* Maps that never were, each over everything there is. */
static void test_held_bogus(void)
{
	const guint n_extents = 4096, n_held = 65536;
	Fixture *fix = fix_new(NULL);
	g_autofree DcHeldMap *held = g_new(DcHeldMap, n_held);
	uint64_t len;

	release_in_parts(fix, n_extents);
	for (guint i = 0; i < n_held; i++)
		held[i] = (DcHeldMap){ 1000000 + i, 0, UINT64_C(1) << 40, 1 };
	come_back(fix, held, n_held);
	g_assert_cmpuint(count_asked(&fix->dev[0], &len), ==, n_held);
	g_assert_cmphex(len, ==, (uint64_t)n_held << 40);
	forget_asked(&fix->dev[0]);
	fix_free(fix);
}

typedef struct HeldRow {
	const char *what;
	DcHeldMap held[4]; /* DPA in small blocks */
	size_t n;
	DcMapPart covered[4];
	size_t n_covered;
	DcMapPart outside[4];
	size_t n_outside;
} HeldRow;

static const HeldRow held_rows[] = {
	{ "nothing", { { 0 } }, 0, { { 1, 0, 9 } }, 1, { { 0 } }, 0 },
	{ "all unknown", { { 1, 2, 3, 0 } }, 1, { { 0 } }, 0, { { 1, 2, 3 } }, 1 },
	{ "all known", { { 1, 2, 3, 0 } }, 1, { { 1, 0, 9 } }, 1, { { 0 } }, 0 },
	{ "another map's",
	  { { 2, 2, 3, 0 } },
	  1,
	  { { 1, 0, 9 }, { 3, 0, 9 } },
	  2,
	  { { 2, 2, 3 } },
	  1 },
	{ "a hole", { { 1, 0, 9, 0 } }, 1, { { 1, 3, 2 } }, 1, { { 1, 0, 3 }, { 1, 5, 4 } }, 2 },
	{ "both ends", { { 1, 2, 6, 0 } }, 1, { { 1, 6, 9 }, { 1, 0, 3 } }, 2, { { 1, 3, 3 } }, 1 },
	{ "one part for two",
	  { { 1, 0, 3, 0 }, { 1, 5, 3, 0 } },
	  2,
	  { { 1, 2, 4 } },
	  1,
	  { { 1, 0, 2 }, { 1, 6, 2 } },
	  2 },
	{ "overlapping",
	  { { 1, 2, 4, 0 }, { 1, 0, 4, 0 }, { 1, 1, 2, 0 } },
	  3,
	  { { 0 } },
	  0,
	  { { 1, 0, 4 }, { 1, 4, 2 } },
	  2 },
	{ "wrapping",
	  { { 1, UINT64_MAX, 2, 0 }, { 1, 1, 1, 0 } },
	  2,
	  { { 0 } },
	  0,
	  { { 1, 1, 1 } },
	  1 },
};

static void test_held_rows(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(held_rows); i++) {
		const HeldRow *row = &held_rows[i];
		g_autoptr(GArray) held = held_sort(row->held, row->n);
		g_autoptr(GArray) covered = g_array_new(FALSE, FALSE, sizeof(DcMapPart));
		g_autoptr(GArray) outside = NULL;

		g_test_message("%s", row->what);
		g_array_append_vals(covered, row->covered, (guint)row->n_covered);
		outside = held_outside(held, covered);
		g_assert_cmpmem(outside->data, outside->len * sizeof(DcMapPart), row->outside,
				row->n_outside * sizeof(DcMapPart));
	}
}

/* ---- a host that refuses ---- */

static void test_refused_sync_waits(void)
{
	Fixture *fix = fix_new(NULL);
	Fake *fake = &fix->dev[0];
	unsigned n;

	fix_accept_blocks(fix, 0, NORMAL, 0, 0, 2);
	fake->prepare = REFUSE;
	fake->refuse_at = 1;
	n = fake->n_prepares;
	come_back(fix, NULL, 0);
	g_assert_cmpuint(fake->n_prepares, ==, n + 1);
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpuint(fake->n_prepares, ==, n + 2);
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpuint(fake->n_prepares, ==, n + 2);
	fake->prepare = ANSWER;
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpuint(fake->n_prepares, ==, n + 3);
	g_assert_cmpuint(fake_reachable_len(fake), >=, 2 * BLOCK);
	fix_free(fix);
}

/* ---- hosts that come and go ---- */

static void test_many_hosts(void)
{
	Fixture *fix = fix_new(NULL);
	Backend *backend = fix_backend(fix, "ram", 1, 2 * BLOCK, NULL);

	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 2);
	for (unsigned i = 0; i < 100; i++) {
		dc_device_detach_host(fix->dev[0].dc);
		capacity_host_gone(fix->cap, fix->dev[0].dc->host.serial);
		fix_attach(fix, 0, NULL);
	}
	g_assert_cmpuint(backend->holders->len, <=, 2);
	/* And that somebody wrote to it is not forgotten. */
	g_assert_false(backend_is_clean(backend));
	fix_free(fix);
}

/* ---- static ram ---- */

static void test_static_wipe_is_tried_again(void)
{
	static const BackendConfig type = { .type = BACKEND_MEMFD, .name = "ram", .size = BLOCK };
	FixtureConfig config = { .no_host = true };
	Fixture *fix = fix_new(&config);
	Backend *ram = backend_new(&type, NULL);
	Fake *fake = &fix->dev[0];

	g_assert_true(dc_device_add_static(fake->dc, 0, ram, true, NULL));
	fix_attach(fix, 0, NULL);
	g_assert_cmpuint(fake_reachable_len(fake), ==, BLOCK);
	write_backend(ram, 0, 0x55);
	g_array_set_size(fake->reach, 0);
	fix->hold_wipes = true;
	fix_attach(fix, 0, NULL);
	g_assert_true(fix_finish_wipe(fix, false));
	g_assert_cmpuint(fake_reachable_len(fake), ==, 0);
	fix_attach(fix, 0, NULL);
	g_assert_true(fix_finish_wipe(fix, true));
	g_assert_cmpuint(fake_reachable_len(fake), ==, BLOCK);
	fix_free(fix);
	backend_free(ram);
}

/* ---- sanitize ---- */

static void release_sanitized(Fixture *fix, unsigned device, unsigned region, unsigned block,
			      unsigned n)
{
	OfferExtent extent = { block * BLOCK, n * BLOCK };
	ReleaseRequest request = {
		.region = (uint8_t)region, .extents = &extent, .n_extents = 1, .sanitize = true
	};
	DcRange range = block_range(region, block, n);

	g_assert_true(capacity_release(fix->cap, fix->dev[device].dc, &request, NULL, NULL));
	g_assert_cmpint(fix_release(fix, device, &range, 1), ==, CXL_RC_SUCCESS);
}

static void test_sanitize_after_failure(void)
{
	FixtureConfig config = { .host = { .same_uid = true } };
	Fixture *fix = fix_new(&config);
	Backend *backend = accept_kept(fix);
	DcRange rest = block_range(NORMAL, 2, 2);
	uint8_t byte;

	write_backend(backend, 0, 0x55);
	write_backend(backend, 2 * BLOCK, 0x66);
	fix->hold_wipes = true;
	release_sanitized(fix, 0, NORMAL, 0, 2);
	g_assert_cmpint(fix_release(fix, 0, &rest, 1), ==, CXL_RC_SUCCESS);
	g_assert_true(fix_finish_wipe(fix, false));
	g_assert_cmpuint(bytes_of(backend).quarantined, ==, KEPT_LEN);
	/* "reclaim it to try again": not "to do without". */
	g_assert_true(capacity_reclaim_backend(fix->cap, "kept", NULL));
	g_assert_cmpuint(bytes_of(backend).free, ==, 0);
	g_assert_true(fix_finish_wipe(fix, true));
	g_assert_cmpuint(bytes_of(backend).free, ==, KEPT_LEN);
	read_backend(backend, 0, &byte);
	g_assert_cmphex(byte, ==, 0);
	read_backend(backend, 2 * BLOCK, &byte);
	g_assert_cmphex(byte, ==, 0x66);
	fix_free(fix);
}

/* Two users of the same half: the other half is kept. */
static void test_sanitize_shared(void)
{
	static const BackendConfig keep = { .on_release = ON_RELEASE_KEEP, .shareable = true };
	FixtureConfig config = { .host = { .same_uid = true } };
	Fixture *fix = fix_new(&config);
	Backend *backend = fix_backend(fix, "shared", 1, KEPT_LEN, &keep);
	OfferExtent extent = { 0, KEPT_LEN };
	OfferRequest request = { .region = SHARED,
				 .tag = tag_of(1),
				 .policy = OFFER_PRESCRIPTIVE,
				 .extents = &extent,
				 .n_extents = 1 };
	DcRange all = block_range(SHARED, 0, 4), rest = block_range(SHARED, 2, 2);
	uint8_t byte;

	for (unsigned i = 0; i < N_DEVICES; i++) {
		g_assert_true(capacity_offer(fix->cap, fix->dev[i].dc, &request, NULL, NULL));
		g_assert_cmpint(fix_respond(fix, i, &all, 1), ==, CXL_RC_SUCCESS);
	}
	write_backend(backend, 0, 0x55);
	write_backend(backend, 2 * BLOCK, 0x66);
	for (unsigned i = 0; i < N_DEVICES; i++) {
		release_sanitized(fix, i, SHARED, 0, 2);
		g_assert_cmpint(fix_release(fix, i, &rest, 1), ==, CXL_RC_SUCCESS);
	}
	read_backend(backend, 0, &byte);
	g_assert_cmphex(byte, ==, 0);
	read_backend(backend, 2 * BLOCK, &byte);
	g_assert_cmphex(byte, ==, 0x66);
	fix_free(fix);
}

/* ---- pages larger than what regions are aligned to ---- */

/* What can be offered can be accepted. Nothing is mapped, so no huge page is needed. */
static void test_huge_pages_in_region(void)
{
	static const BackendConfig huge = { .type = BACKEND_HUGETLB, .page_size = 1024 * MIB };
	static const DcRegionConfig region = { .len = 4096 * MIB };
	DcDeviceConfig device = {
		.name = "huge",
		.static_len = 256 * MIB,
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
	};
	OfferExtent extent = { 0, 1024 * MIB };
	OfferRequest request = {
		.tag = tag_of(1), .policy = OFFER_PRESCRIPTIVE, .extents = &extent, .n_extents = 1
	};
	DcRange range = { 1024 * MIB, 1024 * MIB };
	Fixture *fix;
	DcDevice *dev;
	Answer answer = { 0 };

	if (access("/sys/kernel/mm/hugepages/hugepages-1048576kB", F_OK) != 0) {
		g_test_skip("no pages of 1 GiB here");
		return;
	}
	fix = fix_new(NULL);
	fix_backend(fix, "huge", 1, 1024 * MIB, &huge);
	dev = capacity_add_device(fix->cap, &device, &fake_ops, &fix->dev[0], NULL);
	g_assert_nonnull(dev);
	g_assert_false(capacity_offer(fix->cap, dev, &request, NULL, NULL));
	extent.offset = range.dpa - 256 * MIB;
	g_assert_true(capacity_offer(fix->cap, dev, &request, NULL, NULL));
	dc_device_add_response(dev, &range, 1, false, on_answer, &answer);
	g_assert_cmpint(answer.rc, ==, CXL_RC_SUCCESS);
	dc_device_reset(dev, DC_RESET_FORGET);
	g_assert_true(capacity_remove_device(fix->cap, dev, NULL));
	fix_free(fix);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	fixture_use_all();
	g_test_add_func("/capacity/hostile/no-link-confirms-nothing",
			test_no_link_confirms_nothing);
	g_test_add_func("/capacity/hostile/control-only-is-free-at-once",
			test_control_only_is_free_at_once);
	g_test_add_func("/capacity/hostile/held-rows", test_held_rows);
	g_test_add_func("/capacity/hostile/held-whole", test_held_whole);
	g_test_add_func("/capacity/hostile/held-twice", test_held_twice);
	g_test_add_func("/capacity/hostile/held-bogus", test_held_bogus);
	g_test_add_func("/capacity/hostile/refused-sync-waits", test_refused_sync_waits);
	g_test_add_func("/capacity/hostile/many-hosts", test_many_hosts);
	g_test_add_func("/capacity/hostile/static-wipe-is-tried-again",
			test_static_wipe_is_tried_again);
	g_test_add_func("/capacity/hostile/sanitize-after-failure", test_sanitize_after_failure);
	g_test_add_func("/capacity/hostile/sanitize-shared", test_sanitize_shared);
	g_test_add_func("/capacity/hostile/huge-pages-in-region", test_huge_pages_in_region);
	return g_test_run();
}
