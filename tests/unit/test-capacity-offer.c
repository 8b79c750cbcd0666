/* SPDX-License-Identifier: BSD-3-Clause */
/* Backends and offers: every refusal leaves everything as it was; policies; delivery. */
#include "capacity-fixture.h"

#include <glib/gstdio.h>

/* ---- backends ---- */

typedef struct BackendRow {
	const char *what;
	BackendConfig config;
	const char *message; /* part of it */
} BackendRow;

static const BackendRow backend_rows[] = {
	{ "no name", { .size = MIB }, "name" },
	{ "empty name", { .name = "", .size = MIB }, "name" },
	{ "slash", { .name = "a/b", .size = MIB }, "name" },
	{ "no size", { .name = "a" }, "a" },
	{ "odd size", { .name = "a", .size = MIB + 1 }, "a" },
	{ "read-only wiped",
	  { .name = "a", .size = MIB, .read_only = true, .on_release = ON_RELEASE_WIPE },
	  "keep" },
	{ "read-only devdax",
	  { .name = "a", .type = BACKEND_DEVDAX, .path = "/dev/zero", .read_only = true },
	  "read-only" },
	{ "no file", { .name = "a", .type = BACKEND_FILE, .path = "/nonexistent/x" }, "nonexist" },
};

static void test_backend_refusals(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(backend_rows); i++) {
		g_autoptr(GError) error = NULL;
		Backend *backend = backend_new(&backend_rows[i].config, &error);

		g_test_message("%s", backend_rows[i].what);
		g_assert_null(backend);
		g_assert_nonnull(error);
		g_assert_nonnull(strstr(error->message, backend_rows[i].message));
	}
}

static void test_registry(void)
{
	BackendConfig config = { .name = "a", .size = MIB, .tag = tag_of(1) };
	BackendConfig same_name = { .name = "a", .size = MIB };
	BackendConfig same_tag = { .name = "b", .size = MIB, .tag = tag_of(1) };
	g_autoptr(GError) error = NULL, error2 = NULL, error3 = NULL;
	Fixture *fix = fix_new(NULL);
	g_autoptr(Backend) other = backend_new(&same_name, NULL);
	g_autoptr(Backend) third = backend_new(&same_tag, NULL);
	Backend *backend = backend_new(&config, NULL);
	CapacityCounters c;

	g_assert_true(capacity_add_backend(fix->cap, backend, NULL));
	g_assert_false(capacity_add_backend(fix->cap, backend, NULL));
	g_assert_false(capacity_add_backend(fix->cap, other, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
	g_assert_false(capacity_add_backend(fix->cap, third, &error2));
	g_assert_error(error2, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
	g_assert_true(capacity_peek_backend(fix->cap, "a") == backend);
	g_assert_true(capacity_peek_backend_by_tag(fix->cap, &config.tag) == backend);
	g_assert_null(capacity_peek_backend(fix->cap, "z"));
	capacity_counters(fix->cap, &c);
	g_assert_cmpuint(c.total, ==, MIB);
	g_assert_cmpuint(backend_incarnation(backend), !=, 0);
	g_assert_null(capacity_remove_backend(fix->cap, "z", &error3));
	g_assert_error(error3, CAPACITY_ERROR, CAPACITY_ERROR_NOT_FOUND);
	g_assert_true(capacity_remove_backend(fix->cap, "a", NULL) == backend);
	g_assert_null(capacity_peek_backend_by_tag(fix->cap, &config.tag));
	backend_free(backend);
	fix_free(fix);
}

/* An offer holds its backend (QEMU W7): named in the refusal. */
static void test_reserved_backend_stays(void)
{
	Fixture *fix = fix_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autofree char *before = NULL, *id_text = NULL;
	uint64_t id;

	fix_backend(fix, "b", 1, 2 * BLOCK, NULL);
	id = fix_offer_blocks(fix, 0, NORMAL, 1, 0, 1);
	before = fix_snapshot(fix);
	g_assert_null(capacity_remove_backend(fix->cap, "b", &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
	id_text = g_strdup_printf("offer %" PRIu64, id);
	g_assert_nonnull(strstr(error->message, id_text));
	fix_assert_unchanged(fix, before);
	g_assert_true(capacity_withdraw(fix->cap, fix->dev[0].dc, id, NULL, NULL));
	backend_free(capacity_remove_backend(fix->cap, "b", NULL));
	fix_free(fix);
}

/* ---- devices ---- */

static void test_device_refusals(void)
{
	static const DcRegionConfig nine[9] = {
		{ .len = REGION }, { .len = REGION }, { .len = REGION },
		{ .len = REGION }, { .len = REGION }, { .len = REGION },
		{ .len = REGION }, { .len = REGION }, { .len = REGION },
	};
	static const DcRegionConfig odd = { .len = REGION + MIB }, empty = { 0 };
	static const DcRegionConfig tiny = { .len = REGION, .block_size = 2048 };
	static const DcRegionConfig crooked = { .len = REGION, .block_size = 3 * MIB };
	static const DcRegionConfig huge = { .len = REGION, .block_size = 2 * REGION };
	static const DcRegionConfig wrap = { .len = UINT64_MAX - REGION + 1 };
	static const DcDeviceConfig rows[] = {
		{ .name = "" },
		{ .name = "dev0" }, /* taken */
		{ .name = "x", .static_len = MIB },
		{ .name = "x", .regions = nine, .n_regions = 9 }, /* QEMU B14 */
		{ .name = "x", .regions = &odd, .n_regions = 1 },
		{ .name = "x", .regions = &empty, .n_regions = 1 },
		{ .name = "x", .regions = &tiny, .n_regions = 1 },
		{ .name = "x", .regions = &crooked, .n_regions = 1 },
		{ .name = "x", .regions = &huge, .n_regions = 1 },
		{ .name = "x", .regions = &wrap, .n_regions = 1 },
	};
	Fixture *fix = fix_new(NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_null(capacity_add_device(fix->cap, &rows[i], &fake_ops, NULL, &error));
		g_assert_nonnull(error);
	}
	fix_free(fix);
}

static void test_device_removal(void)
{
	Fixture *fix = fix_new(NULL);
	DcDeviceConfig config = { .name = "dev0" };
	g_autoptr(GError) error = NULL;

	fix_accept_blocks(fix, 0, NORMAL, 0, 0, 1);
	fix_offer_blocks(fix, 0, NORMAL, 0, 4, 1);
	g_assert_false(capacity_remove_device(fix->cap, fix->dev[0].dc, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
	fix->dev[0].revoke = HOLD;
	dc_device_release_response(fix->dev[0].dc, &(DcRange){ region_base(0), BLOCK }, 1, false,
				   on_answer, &(Answer){ 0 });
	g_assert_false(capacity_remove_device(fix->cap, fix->dev[0].dc, NULL));
	g_assert_null(capacity_add_device(fix->cap, &config, &fake_ops, NULL, NULL));
	fake_answer(&fix->dev[0], true);
	fix_free(fix); /* removes it, with the offer pending */
}

/* ---- offers: what is refused ---- */

typedef struct OfferRow {
	const char *what;
	OfferRequest request;
	CapacityError code;
	const char *message; /* part of it */
} OfferRow;

#define EXTENTS(...)                                                                   \
	.policy = OFFER_PRESCRIPTIVE, .extents = (const OfferExtent[]){ __VA_ARGS__ }, \
	.n_extents = sizeof((const OfferExtent[]){ __VA_ARGS__ }) / sizeof(OfferExtent)
#define TAG(number) .tag = { .b = { [0] = 0xaa, [15] = (number) } }

/*
 * Tags: 1 = 4 blocks, 2 = 4 blocks shareable, 3 = 3 MiB, 4 = read-only, 5 = offered to dev1,
 * 6 = accepted by dev1. Of region 0, block 20 is accepted, 30 offered.
 */
static const OfferRow offer_rows[] = {
	{ "region", { .region = N_REGIONS, .len = BLOCK }, CAPACITY_ERROR_INVALID, "region 3" },
	{ "policy", { .policy = (OfferPolicy)9, .len = BLOCK }, CAPACITY_ERROR_INVALID, "policy" },
	{ "unknown tag",
	  { TAG(99), .policy = OFFER_FREE },
	  CAPACITY_ERROR_NOT_FOUND,
	  "no backend" },
	{ "no extents", { .policy = OFFER_PRESCRIPTIVE }, CAPACITY_ERROR_INVALID, "at least one" },
	{ "zero length", { EXTENTS({ 0, 0 }) }, CAPACITY_ERROR_INVALID, "length is 0" },
	{ "misaligned offset", { EXTENTS({ MIB, BLOCK }) }, CAPACITY_ERROR_INVALID, "2097152" },
	{ "misaligned length", { EXTENTS({ 0, MIB }) }, CAPACITY_ERROR_INVALID, "2097152" },
	{ "beyond", { EXTENTS({ REGION - BLOCK, 2 * BLOCK }) }, CAPACITY_ERROR_INVALID, "beyond" },
	{ "far beyond", { EXTENTS({ REGION, BLOCK }) }, CAPACITY_ERROR_INVALID, "beyond" },
	{ "wraps",
	  { EXTENTS({ BLOCK, UINT64_MAX - BLOCK + 1 }) },
	  CAPACITY_ERROR_INVALID,
	  "beyond" },
	{ "wraps too",
	  { EXTENTS({ UINT64_MAX - BLOCK + 1, BLOCK }) },
	  CAPACITY_ERROR_INVALID,
	  "beyond" },
	{ "overlap itself",
	  { EXTENTS({ 0, 2 * BLOCK }, { BLOCK, BLOCK }) },
	  CAPACITY_ERROR_INVALID,
	  "overlap each other" },
	{ "overlap accepted",
	  { EXTENTS({ 20 * BLOCK, BLOCK }) },
	  CAPACITY_ERROR_BUSY,
	  "an accepted" },
	{ "overlap offered",
	  { EXTENTS({ 29 * BLOCK, 2 * BLOCK }) },
	  CAPACITY_ERROR_BUSY,
	  "an offered" },
	{ "more than the backend",
	  { TAG(1), EXTENTS({ 0, 4 * BLOCK }, { 8 * BLOCK, BLOCK }) },
	  CAPACITY_ERROR_INVALID,
	  "add up" },
	{ "length of a part", { TAG(1), .len = BLOCK }, CAPACITY_ERROR_INVALID, "size of backend" },
	{ "extents of a free offer",
	  { TAG(1), .extents = (const OfferExtent[]){ { 0, BLOCK } }, .n_extents = 1 },
	  CAPACITY_ERROR_INVALID,
	  "prescriptive" },
	{ "odd backend", { TAG(3) }, CAPACITY_ERROR_INVALID, "3145728" },
	{ "untagged without length",
	  { .policy = OFFER_FREE },
	  CAPACITY_ERROR_INVALID,
	  "length is 0" },
	{ "untagged odd length", { .len = MIB }, CAPACITY_ERROR_INVALID, "2097152" },
	{ "too long", { .len = 2 * REGION }, CAPACITY_ERROR_LIMIT, "no room" },
	{ "no run",
	  { .policy = OFFER_CONTIGUOUS, .len = REGION - 4 * BLOCK },
	  CAPACITY_ERROR_LIMIT,
	  "one piece" },
	{ "untagged shared region",
	  { .region = SHARED, .len = BLOCK },
	  CAPACITY_ERROR_INVALID,
	  "tagged" },
	{ "shareable elsewhere", { TAG(2) }, CAPACITY_ERROR_INVALID, "sharable" },
	{ "shared access to none",
	  { .region = SHARED, TAG(2), .policy = OFFER_ENABLE_SHARED_ACCESS },
	  CAPACITY_ERROR_INVALID,
	  "accepted by no host" },
	{ "shared access, not shareable",
	  { .region = SHARED, TAG(1), .policy = OFFER_ENABLE_SHARED_ACCESS },
	  CAPACITY_ERROR_INVALID,
	  "not shareable" },
	{ "shared access, untagged",
	  { .len = BLOCK, .policy = OFFER_ENABLE_SHARED_ACCESS },
	  CAPACITY_ERROR_INVALID,
	  "tag" },
	{ "offered elsewhere", { TAG(5) }, CAPACITY_ERROR_BUSY, "offered or accepted" },
	{ "accepted elsewhere", { TAG(6) }, CAPACITY_ERROR_BUSY, "offered or accepted" },
	{ "more than max-chain",
	  { EXTENTS({ 0, BLOCK }, { 4 * BLOCK, BLOCK }, { 8 * BLOCK, BLOCK },
		    { 12 * BLOCK, BLOCK }) },
	  CAPACITY_ERROR_LIMIT,
	  "max-chain" },
};

static void test_refusals(void)
{
	FixtureConfig config = { .max_chain = 3 };
	Fixture *fix = fix_new(&config);
	BackendConfig shareable = { .shareable = true }, read_only = { .read_only = true };

	fix_backend(fix, "one", 1, 4 * BLOCK, NULL);
	fix_backend(fix, "two", 2, 4 * BLOCK, &shareable);
	fix_backend(fix, "three", 3, 3 * MIB, NULL);
	fix_backend(fix, "four", 4, 2 * BLOCK, &read_only);
	fix_backend(fix, "five", 5, 2 * BLOCK, NULL);
	fix_backend(fix, "six", 6, BLOCK, NULL);
	fix_accept_blocks(fix, 1, NORMAL, 6, 0, 1);
	fix_offer_blocks(fix, 1, NORMAL, 5, 10, 2);
	fix_accept_blocks(fix, 0, NORMAL, 0, 20, 1);
	fix_offer_blocks(fix, 0, NORMAL, 0, 30, 1);
	for (size_t i = 0; i < G_N_ELEMENTS(offer_rows); i++) {
		const OfferRow *row = &offer_rows[i];
		g_autofree char *before = fix_snapshot(fix);
		g_autoptr(GError) error = NULL;
		uint64_t id = 12345;

		g_test_message("%s", row->what);
		g_assert_false(
			capacity_offer(fix->cap, fix->dev[0].dc, &row->request, &id, &error));
		g_assert_error(error, CAPACITY_ERROR, (int)row->code);
		g_assert_nonnull(strstr(error->message, row->message));
		g_assert_cmpuint(id, ==, 12345);
		fix_assert_unchanged(fix, before);
	}
	fix_free(fix);
}

/* max_offers, max_extents and the log: refused at the limit, possible again below it. */
static void test_limits(void)
{
	FixtureConfig config = { .max_offers = 3, .max_extents = 8 };
	Fixture *fix = fix_new(&config);
	OfferExtent extents[8];
	OfferRequest request = { .policy = OFFER_PRESCRIPTIVE, .extents = extents, .n_extents = 1 };
	g_autoptr(GError) offers = NULL, n_extents = NULL, log = NULL;
	uint32_t limits[4];

	for (unsigned i = 0; i < 8; i++)
		extents[i] = (OfferExtent){ (100 + 2 * i) * BLOCK, BLOCK };
	for (unsigned i = 0; i < 3; i++)
		fix_offer_blocks(fix, 0, NORMAL, 0, 2 * i, 1);
	g_assert_false(capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, &offers));
	g_assert_error(offers, CAPACITY_ERROR, CAPACITY_ERROR_LIMIT);
	g_assert_nonnull(strstr(offers->message, "max-offers"));
	g_assert_cmpint(fix_respond(fix, 0, &(DcRange){ region_base(0), BLOCK }, 1), ==, 0);
	request.n_extents = 6; /* 1 accepted + 2 pending + 6 */
	g_assert_false(capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, &n_extents));
	g_assert_nonnull(strstr(n_extents->message, "max-extents"));
	dc_device_limits(fix->dev[0].dc, &limits[0], &limits[1], &limits[2], &limits[3]);
	g_assert_cmpuint(limits[0], ==, 8);
	g_assert_cmpuint(limits[1], ==, 5);
	request.n_extents = 5;
	fix->dev[0].log_depth = fix->dev[0].log_used + fix->dev[0].log_reserved + 4;
	g_assert_false(capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, &log));
	g_assert_nonnull(strstr(log->message, "event log"));
	fix->dev[0].log_depth++;
	g_assert_true(capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, NULL));
	fix_free(fix);
}

static void test_host_limit(void)
{
	FixtureConfig config = { .host = { .max_maps = 2 } };
	Fixture *fix = fix_new(&config);
	OfferExtent extents[] = { { 0, BLOCK }, { 4 * BLOCK, BLOCK }, { 8 * BLOCK, BLOCK } };
	OfferRequest request = { .policy = OFFER_PRESCRIPTIVE, .extents = extents, .n_extents = 3 };
	g_autoptr(GError) error = NULL;

	g_assert_false(capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, &error));
	g_assert_nonnull(strstr(error->message, "host"));
	request.n_extents = 2;
	g_assert_true(capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, NULL));
	fix_free(fix);
}

/* ---- offers: what they become ---- */

/* Free takes few pieces, contiguous one, both align to the backend's needs. */
static void test_policies(void)
{
	Fixture *fix = fix_new(NULL);
	OfferRequest request = { .policy = OFFER_CONTIGUOUS, .len = 120 * BLOCK };
	OfferRequest tagged = { .tag = tag_of(1), .policy = OFFER_FREE };
	const DcEvent *event;

	fix_offer_blocks(fix, 0, NORMAL, 0, 3, 1);
	g_assert_cmpint(fix_respond(fix, 0, NULL, 0), ==, 0);
	g_assert_true(capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, NULL));
	g_assert_cmpint(fix_respond(fix, 0, &(DcRange){ region_base(0), 120 * BLOCK }, 1), ==, 0);
	/* 8 blocks are left at the end; take one out of the middle of them. */
	fix_accept_blocks(fix, 0, NORMAL, 0, 122, 1);
	fix_backend(fix, "b", 1, 7 * BLOCK, NULL);
	fake_clear_log(&fix->dev[0]);
	tagged.policy = OFFER_CONTIGUOUS;
	g_assert_false(capacity_offer(fix->cap, fix->dev[0].dc, &tagged, NULL, NULL));
	tagged.policy = OFFER_FREE;
	g_assert_true(capacity_offer(fix->cap, fix->dev[0].dc, &tagged, NULL, NULL));
	g_assert_cmpuint(fix->dev[0].events->len, ==, 2);
	event = &g_array_index(fix->dev[0].events, DcEvent, 0);
	g_assert_cmpuint(event->dpa, ==, region_base(0) + 123 * BLOCK); /* longest first */
	g_assert_cmpuint(event->len, ==, 5 * BLOCK);
	capacity_check(fix->cap);
	fix_free(fix);
}

/* The records: in order, More on all but the last, tag, region, numbers (QEMU B2, B4, B8). */
static void test_records(void)
{
	Fixture *fix = fix_new(NULL);
	BackendConfig shareable = { .shareable = true };
	Uuid tag = tag_of(1);
	uint64_t id;

	fix_backend(fix, "b", 1, 20 * BLOCK, &shareable);
	id = fix_offer_blocks(fix, 0, SHARED, 1, 0, 20);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 20);
	for (unsigned i = 0; i < 20; i++) {
		const DcEvent *event = &g_array_index(fix->dev[0].events, DcEvent, i);

		g_assert_cmpint(event->type, ==, DC_EVENT_ADD);
		g_assert_cmpuint(event->cookie, ==, id);
		g_assert_cmpuint(event->region, ==, SHARED);
		g_assert_cmpint(event->more, ==, i < 19);
		g_assert_cmpuint(event->dpa, ==, region_base(SHARED) + 2 * i * BLOCK);
		g_assert_cmpuint(event->shared_seq, ==, i);
		g_assert_true(uuid_equal(&event->tag, &tag));
		g_assert_cmpuint(event->available_extents, ==, 65536 - 20);
		g_assert_cmpuint(event->available_tags, ==, 65536 - 1);
	}
	g_assert_cmpuint(fix->dev[0].log_reserved, ==, 0);
	fix_free(fix);
}

/* Two hosts share one backend; its bytes count once; wiped when the last has gone. */
static void test_sharing(void)
{
	Fixture *fix = fix_new(NULL);
	BackendConfig shareable = { .shareable = true };
	Backend *backend = fix_backend(fix, "b", 1, 4 * BLOCK, &shareable);
	OfferRequest request = {
		.region = SHARED,
		.tag = tag_of(1),
		.policy = OFFER_ENABLE_SHARED_ACCESS,
	};
	g_autoptr(GError) error = NULL;
	DcRange first[] = { block_range(SHARED, 10, 1), block_range(SHARED, 12, 1) };
	DcRange second = block_range(SHARED, 0, 4);
	CapacityCounters c;
	uint64_t incarnation;

	fix_accept_blocks(fix, 0, SHARED, 1, 10, 2);
	incarnation = backend_incarnation(backend);
	g_assert_false(capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY); /* not twice by one device */
	g_assert_true(capacity_offer(fix->cap, fix->dev[1].dc, &request, NULL, NULL));
	g_assert_cmpint(fix_respond(fix, 1, &second, 1), ==, CXL_RC_SUCCESS);
	capacity_counters(fix->cap, &c);
	g_assert_cmpuint(c.accepted, ==, 4 * BLOCK);
	g_assert_cmpint(fix_release(fix, 1, &second, 1), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(backend_incarnation(backend), ==, incarnation);
	g_assert_cmpint(fix_release(fix, 0, first, 2), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(backend_incarnation(backend), !=, incarnation);
	g_assert_true(backend_is_clean(backend));
	fix_free(fix);
}

static void test_read_only(void)
{
	Fixture *fix = fix_new(NULL);
	BackendConfig read_only = { .read_only = true };

	fix_backend(fix, "b", 1, BLOCK, &read_only);
	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 1);
	g_assert_false(g_array_index(fix->dev[0].reach, Reach, 0).writable);
	fix_free(fix);
}

/* ---- withdraw ---- */

static void test_withdraw(void)
{
	Fixture *fix = fix_new(NULL);
	DcDevice *dev = fix->dev[0].dc;
	g_autofree char *before = fix_snapshot(fix);
	g_autoptr(GError) error = NULL;
	DcRange range = block_range(NORMAL, 0, 1);
	uint64_t first, second;

	first = fix_offer_blocks(fix, 0, NORMAL, 0, 0, 3);
	second = fix_offer_blocks(fix, 0, NORMAL, 0, 10, 3); /* queued: its room is reserved */
	g_assert_cmpuint(fix->dev[0].log_reserved, ==, 3);
	g_assert_true(capacity_withdraw(fix->cap, dev, second, NULL, NULL));
	g_assert_cmpuint(fix->dev[0].log_reserved, ==, 0);
	g_assert_true(capacity_withdraw(fix->cap, dev, first, NULL, NULL));
	g_assert_cmpuint(fix->dev[0].events->len, ==, 0); /* unread records have left the log */
	fix_assert_unchanged(fix, before);
	g_assert_cmpint(fix_respond(fix, 0, &range, 1), ==, CXL_RC_INVALID_PA);
	g_assert_false(capacity_withdraw(fix->cap, dev, first, NULL, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_NOT_FOUND);
	g_assert_false(capacity_withdraw(fix->cap, dev, 0, NULL, NULL));
	fix_free(fix);
}

/* ---- delivery ---- */

static void find_wait(const OfferInfo *info, void *ret)
{
	*(const char **)ret = info->waits_for;
}

static const char *waits_for(Fixture *fix)
{
	const char *text = "no offer";

	dc_device_foreach_offer(fix->dev[0].dc, find_wait, &text);
	return text;
}

static void test_hold(void)
{
	FixtureConfig config = { .hold = true };
	Fixture *fix = fix_new(&config);
	DcDevice *dev = fix->dev[0].dc;

	fix_offer_blocks(fix, 0, NORMAL, 0, 0, 1);
	g_assert_nonnull(strstr(waits_for(fix), "enable"));
	dc_device_set_events_enabled(dev, true);
	g_assert_nonnull(strstr(waits_for(fix), "4801h"));
	dc_device_list_was_read(dev);
	g_assert_nonnull(strstr(waits_for(fix), "second"));
	g_assert_cmpuint(capacity_next_deadline_us(fix->cap), ==, fix->now_us + G_USEC_PER_SEC);
	fix_advance(fix, G_USEC_PER_SEC - 1);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 0);
	fix_advance(fix, 1);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 1);
	g_assert_null(waits_for(fix));
	fix_offer_blocks(fix, 0, NORMAL, 0, 4, 1);
	g_assert_nonnull(strstr(waits_for(fix), "earlier offer"));
	fake_clear_log(&fix->dev[0]); /* read, cleared, not answered: it stays pending */
	g_assert_nonnull(strstr(waits_for(fix), "earlier offer"));
	g_assert_cmpint(fix_respond(fix, 0, &(DcRange){ region_base(0), BLOCK }, 1), ==, 0);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 1);
	fix_free(fix);
}

/* After a conventional reset unanswered offers go out again after the next 4801h. */
static void test_requeue(void)
{
	FixtureConfig config = { .hold = true };
	Fixture *fix = fix_new(&config);
	DcDevice *dev = fix->dev[0].dc;
	DcRange range = block_range(NORMAL, 0, 1);

	dc_device_set_events_enabled(dev, true);
	dc_device_list_was_read(dev);
	fix_advance(fix, G_USEC_PER_SEC);
	fix_offer_blocks(fix, 0, NORMAL, 0, 0, 1);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 1);
	dc_device_reset(dev, DC_RESET_FLR);
	g_assert_null(waits_for(fix)); /* kept */
	fix->dev[0].log_depth = 1;     /* full: its room cannot be had again yet */
	dc_device_reset(dev, DC_RESET_CONVENTIONAL);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 0);
	g_assert_nonnull(strstr(waits_for(fix), "4801h"));
	g_assert_cmpint(fix_respond(fix, 0, &range, 1), ==, CXL_RC_INVALID_PA);
	fix->dev[0].log_depth = 0;
	dc_device_list_was_read(dev);
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_nonnull(strstr(waits_for(fix), "room"));
	fix->dev[0].log_depth = 1;
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_null(waits_for(fix));
	g_assert_cmpint(fix_respond(fix, 0, &range, 1), ==, CXL_RC_SUCCESS);
	capacity_check(fix->cap);
	fix_free(fix);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/capacity/backend/refusals", test_backend_refusals);
	g_test_add_func("/unit/capacity/backend/registry", test_registry);
	g_test_add_func("/unit/capacity/backend/reserved-stays", test_reserved_backend_stays);
	g_test_add_func("/unit/capacity/device/refusals", test_device_refusals);
	g_test_add_func("/unit/capacity/device/removal", test_device_removal);
	g_test_add_func("/unit/capacity/offer/refusals", test_refusals);
	g_test_add_func("/unit/capacity/offer/limits", test_limits);
	g_test_add_func("/unit/capacity/offer/host-limit", test_host_limit);
	g_test_add_func("/unit/capacity/offer/policies", test_policies);
	g_test_add_func("/unit/capacity/offer/records", test_records);
	g_test_add_func("/unit/capacity/offer/sharing", test_sharing);
	g_test_add_func("/unit/capacity/offer/read-only", test_read_only);
	g_test_add_func("/unit/capacity/offer/withdraw", test_withdraw);
	g_test_add_func("/unit/capacity/delivery/hold", test_hold);
	g_test_add_func("/unit/capacity/delivery/requeue", test_requeue);
	return g_test_run();
}
