/* SPDX-License-Identifier: BSD-3-Clause */
/* 4803h, draining, wipes, quarantine, release requests and forced release. */
#include "capacity-fixture.h"

#include <glib/gstdio.h>

#define AT(block, n_blocks)                                 \
	{                                                   \
		256 * MIB + (block)*BLOCK, (n_blocks)*BLOCK \
	}

static DcRange at(unsigned block, unsigned n_blocks)
{
	return (DcRange)AT(block, n_blocks);
}

/* ---- codes ---- */

typedef struct CodeRow {
	const char *what;
	DcRange ranges[3];
	size_t n;
	enum cxl_rc rc;
} CodeRow;

/* Accepted: blocks 0, 2, 4, 6 of region 0. Offered: 20. */
static const CodeRow code_rows[] = {
	{ "nothing", { { 0, 0 } }, 0, CXL_RC_INVALID_INPUT },
	{ "zero length", { { 256 * MIB, 0 } }, 1, CXL_RC_INVALID_EXTENT_LIST },
	{ "misaligned DPA", { { 256 * MIB + 4096, BLOCK } }, 1, CXL_RC_INVALID_EXTENT_LIST },
	{ "misaligned length", { { 256 * MIB, 4096 } }, 1, CXL_RC_INVALID_EXTENT_LIST },
	{ "wraps", { { 256 * MIB, UINT64_MAX - BLOCK + 1 } }, 1, CXL_RC_INVALID_EXTENT_LIST },
	{ "the same twice", { AT(0, 1), AT(0, 1) }, 2, CXL_RC_INVALID_EXTENT_LIST },
	{ "no region", { { 0, BLOCK } }, 1, CXL_RC_INVALID_PA },
	{ "across two regions", { AT(127, 2) }, 1, CXL_RC_INVALID_PA },
	{ "not accepted", { AT(1, 1) }, 1, CXL_RC_INVALID_PA },
	{ "only offered", { AT(20, 1) }, 1, CXL_RC_INVALID_PA },
	{ "reaches beyond", { AT(0, 2) }, 1, CXL_RC_INVALID_PA },
	{ "good and bad", { AT(0, 1), AT(2, 1), AT(9, 1) }, 3, CXL_RC_INVALID_PA },
};

static void test_codes(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(code_rows); i++) {
		const CodeRow *row = &code_rows[i];
		Fixture *fix = fix_new(NULL);
		g_autofree char *before = NULL;

		fix_backend(fix, "b", 1, 4 * BLOCK, NULL);
		fix_accept_blocks(fix, 0, NORMAL, 1, 0, 4);
		fix_offer_blocks(fix, 0, NORMAL, 0, 20, 1);
		before = fix_snapshot(fix);
		g_test_message("%s", row->what);
		g_assert_cmpint(fix_release(fix, 0, row->ranges, row->n), ==, row->rc);
		fix_assert_unchanged(fix, before);
		fix_free(fix);
	}
}

/* Splitting makes the list longer: refused when it does not fit. */
static void test_list_space(void)
{
	FixtureConfig config = { .max_extents = 3 };
	Fixture *fix = fix_new(&config);
	OfferRequest request = { .policy = OFFER_CONTIGUOUS, .len = 16 * BLOCK };
	DcRange all = at(0, 16), both[] = { AT(2, 1), AT(5, 1) };
	g_autofree char *before = NULL;

	g_assert_true(capacity_offer(fix->cap, fix->dev[0].dc, &request, NULL, NULL));
	g_assert_cmpint(fix_respond(fix, 0, &all, 1), ==, CXL_RC_SUCCESS);
	fix_offer_blocks(fix, 0, NORMAL, 0, 20, 1);
	before = fix_snapshot(fix);
	g_assert_cmpint(fix_release(fix, 0, both, 2), ==, CXL_RC_RESOURCES_EXHAUSTED);
	fix_assert_unchanged(fix, before);
	g_assert_cmpint(fix_release(fix, 0, both, 1), ==, CXL_RC_SUCCESS); /* 2 + 1 pending */
	g_assert_cmpint(fix_release(fix, 0, (DcRange[]){ AT(0, 1), AT(3, 2) }, 2), ==,
			CXL_RC_SUCCESS); /* cuts nothing in two */
	g_assert_cmpuint(dc_device_n_extents(fix->dev[0].dc), ==, 2);
	fix_free(fix);
}

/* ---- parts ---- */

/* One range over several extents, parts of both ends; parts keep tag, order, offset, map. */
static void test_parts(void)
{
	static const OfferExtent extents[] = { { 4 * BLOCK, 4 * BLOCK }, { 0, 4 * BLOCK } };
	OfferRequest request = {
		.tag = tag_of(1),
		.policy = OFFER_PRESCRIPTIVE,
		.extents = extents,
		.n_extents = 2,
	};
	DcRange all[] = { AT(0, 4), AT(4, 4) }, middle = at(1, 6);
	Fixture *fix = fix_new(NULL);
	DcDevice *dev = fix->dev[0].dc;
	DcExtent e[3];

	fix_backend(fix, "b", 1, 8 * BLOCK, NULL);
	g_assert_true(capacity_offer(fix->cap, dev, &request, NULL, NULL));
	g_assert_cmpint(fix_respond(fix, 0, all, 2), ==, CXL_RC_SUCCESS);
	g_assert_cmpint(fix_release(fix, 0, &middle, 1), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(dc_device_generation(dev), ==, 2);
	g_assert_cmpuint(dc_device_extents(dev, 0, e, 3), ==, 2);
	g_assert_cmpuint(e[0].dpa, ==, region_base(0) + 7 * BLOCK); /* assembly order */
	g_assert_cmpuint(e[0].backend_offset, ==, 3 * BLOCK);
	g_assert_cmpuint(e[0].order, ==, 0);
	g_assert_cmpuint(e[1].dpa, ==, region_base(0));
	g_assert_cmpuint(e[1].backend_offset, ==, 4 * BLOCK);
	g_assert_cmpuint(e[1].order, ==, 1);
	g_assert_true(uuid_equal(&e[0].tag, &request.tag));
	g_assert_cmpuint(e[0].map_id, !=, 0);
	g_assert_cmpuint(fake_reachable_len(&fix->dev[0]), ==, 2 * BLOCK);
	capacity_check(fix->cap);
	fix_free(fix);
}

/* Freed parts are punched out at once, but the backend is whole again only with a fresh file. */
static void test_punch_and_renew(void)
{
	Fixture *fix = fix_new(NULL);
	Backend *backend = fix_backend(fix, "b", 1, 4 * BLOCK, NULL);
	uint64_t incarnation = backend_incarnation(backend), value = 0x1234;
	MemFile *file = backend_peek_file(backend);
	DcRange rest[] = { AT(2, 1), AT(4, 1), AT(6, 1) }, first = at(0, 1);
	CapacityCounters c;

	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 4);
	for (unsigned i = 0; i < 4; i++)
		mem_file_write(file, i * BLOCK, &value, sizeof(value));
	fix->hold_wipes = true;
	g_assert_cmpint(fix_release(fix, 0, &first, 1), ==, CXL_RC_SUCCESS);
	backend_counters(backend, &c);
	g_assert_cmpuint(c.draining, ==, BLOCK); /* wiping is no part of the command */
	g_assert_cmpuint(c.accepted, ==, 3 * BLOCK);
	fix_finish_wipe(fix, true);
	backend_counters(backend, &c);
	g_assert_cmpuint(c.free, ==, BLOCK);
	mem_file_read(file, 0, &value, sizeof(value));
	g_assert_cmpuint(value, ==, 0);
	mem_file_read(file, BLOCK, &value, sizeof(value));
	g_assert_cmpuint(value, ==, 0x1234); /* the others are in use */
	g_assert_cmpuint(backend_incarnation(backend), ==, incarnation);
	g_assert_true(memory_refuses_offer(backend, fix->dev[1].dc, NULL));
	fix->hold_wipes = false;
	g_assert_cmpint(fix_release(fix, 0, rest, 3), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(backend_incarnation(backend), !=, incarnation);
	g_assert_true(backend_is_clean(backend));
	mem_file_read(backend_peek_file(backend), BLOCK, &value, sizeof(value));
	g_assert_cmpuint(value, ==, 0);
	backend_counters(backend, &c);
	g_assert_cmpuint(c.free, ==, c.total);
	fix_accept_blocks(fix, 1, NORMAL, 1, 0, 4); /* the next tenant (QEMU W8, W18) */
	fix_free(fix);
}

/* ---- draining ---- */

static void test_draining(void)
{
	Fixture *fix = fix_new(NULL);
	DcDevice *dev = fix->dev[0].dc;
	OfferRequest request = {
		.policy = OFFER_PRESCRIPTIVE,
		.extents = (const OfferExtent[]){ { 0, BLOCK } },
		.n_extents = 1,
	};
	DcRange range = at(0, 1);
	CapacityCounters c;
	Answer answer = { 0 };

	fix_backend(fix, "b", 1, BLOCK, NULL);
	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 1);
	fix->dev[0].revoke = HOLD;
	dc_device_release_response(dev, &range, 1, false, on_answer, &answer);
	g_assert_cmpuint(answer.n, ==, 0);
	g_assert_cmpuint(dc_device_n_extents(dev), ==, 0); /* left the list at once */
	g_assert_false(capacity_offer(fix->cap, dev, &request, NULL, NULL));
	g_assert_true(memory_refuses_offer(capacity_peek_backend(fix->cap, "b"), dev, NULL));
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpint(answer.rc, ==, CXL_RC_SUCCESS); /* and the drain goes on */
	dc_device_counters(dev, &c);
	g_assert_cmpuint(c.draining, ==, BLOCK);
	g_assert_cmpint(fix_release(fix, 0, &range, 1), ==, CXL_RC_INVALID_PA);
	fake_answer(&fix->dev[0], true);
	g_assert_cmpuint(answer.n, ==, 1);
	dc_device_counters(dev, &c);
	g_assert_cmpuint(c.free, ==, c.total);
	g_assert_true(capacity_offer(fix->cap, dev, &request, NULL, NULL));
	fix_free(fix);
}

/* The journal refuses: nothing has changed. It never answers: 04h, and its late word taken back. */
static void test_journal(void)
{
	FixtureConfig config = { .journal = true };
	Fixture *fix = fix_new(&config);
	DcDevice *dev = fix->dev[0].dc;
	DcRange range = at(0, 1);
	g_autofree char *before = NULL;
	Answer answer = { 0 };

	fix_accept_blocks(fix, 0, NORMAL, 0, 0, 2);
	before = fix_snapshot(fix);
	fix->journal[ROW_REASON_RELEASE] = REFUSE;
	g_assert_cmpint(fix_release(fix, 0, &range, 1), ==, CXL_RC_INTERNAL_ERROR);
	fix_assert_unchanged(fix, before);
	fix->journal[ROW_REASON_RELEASE] = HOLD;
	dc_device_release_response(dev, &range, 1, false, on_answer, &answer);
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpint(answer.rc, ==, CXL_RC_INTERNAL_ERROR);
	fix_assert_unchanged(fix, before);
	g_assert_cmpint(fix_release(fix, 0, &range, 1), ==, CXL_RC_RETRY_REQUIRED);
	fix->journal[ROW_REASON_RELEASE] = ANSWER;
	fix_answer_journal(fix, true);
	g_assert_cmpint(
		g_array_index(fix->journal_reasons, RowReason, fix->journal_reasons->len - 1), ==,
		ROW_REASON_UNDO);
	fix_assert_unchanged(fix, before);
	g_assert_cmpint(fix_release(fix, 0, &range, 1), ==, CXL_RC_SUCCESS);
	fix_free(fix);
}

/* ---- who may have memory next ---- */

typedef struct KeepRow {
	const char *what;
	BackendType type;
	OnRelease on_release;
	bool same_uid, sanitize, read_only;
	bool quarantined; /* until the host has gone */
	bool zero;        /* reads as zero for the next */
	bool same_file;   /* as before */
} KeepRow;

static const KeepRow keep_rows[] = {
	{ "ram", BACKEND_MEMFD, ON_RELEASE_DEFAULT, false, false, false, false, true, false },
	{ "kept ram", BACKEND_MEMFD, ON_RELEASE_KEEP, true, false, false, false, false, true },
	{ "kept ram, stranger", BACKEND_MEMFD, ON_RELEASE_KEEP, false, false, false, true, false,
	  true },
	{ "kept ram, sanitized", BACKEND_MEMFD, ON_RELEASE_KEEP, false, true, false, false, true,
	  false },
	{ "file", BACKEND_FILE, ON_RELEASE_DEFAULT, true, false, false, false, false, true },
	{ "file, stranger", BACKEND_FILE, ON_RELEASE_DEFAULT, false, false, false, true, false,
	  true },
	{ "file, sanitized", BACKEND_FILE, ON_RELEASE_DEFAULT, true, true, false, false, true,
	  true },
	{ "file, sanitized, stranger", BACKEND_FILE, ON_RELEASE_DEFAULT, false, true, false, true,
	  true, true },
	{ "wiped file", BACKEND_FILE, ON_RELEASE_WIPE, true, false, false, false, true, true },
	{ "wiped file, stranger", BACKEND_FILE, ON_RELEASE_WIPE, false, false, false, true, true,
	  true },
	{ "read-only", BACKEND_FILE, ON_RELEASE_DEFAULT, false, false, true, false, false, true },
};

static void release_with(Fixture *fix, bool sanitize)
{
	ReleaseRequest request = { .tag = tag_of(1), .sanitize = true };
	DcRange ranges[] = { AT(0, 1), AT(2, 1) };

	if (sanitize)
		g_assert_true(capacity_release(fix->cap, fix->dev[0].dc, &request, NULL, NULL));
	g_assert_cmpint(fix_release(fix, 0, ranges, 2), ==, CXL_RC_SUCCESS);
}

static void test_next_tenant(void)
{
	g_autofree char *dir = g_dir_make_tmp("softdcd-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "file", NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(keep_rows); i++) {
		const KeepRow *row = &keep_rows[i];
		FixtureConfig config = { .host = { .same_uid = row->same_uid } };
		BackendConfig like = {
			.type = row->type,
			.path = path,
			.on_release = row->on_release,
			.read_only = row->read_only,
		};
		g_autofree char *contents = g_malloc0(2 * BLOCK);
		Fixture *fix = fix_new(&config);
		uint64_t value = 0x1234, incarnation;
		Backend *backend;

		g_test_message("%s", row->what);
		memcpy(contents, &value, sizeof(value));
		g_assert_true(g_file_set_contents(path, contents, 2 * BLOCK, NULL));
		backend = fix_backend(fix, "b", 1, 2 * BLOCK, &like);
		incarnation = backend_incarnation(backend);
		fix_accept_blocks(fix, 0, NORMAL, 1, 0, 2);
		mem_file_write(backend_peek_file(backend), 0, &value, sizeof(value));
		release_with(fix, row->sanitize);
		g_assert_cmpint(memory_refuses_offer(backend, fix->dev[1].dc, NULL), ==,
				row->quarantined);
		g_assert_cmpint(fix->n_notices[NOTICE_QUARANTINED], ==, row->quarantined);
		capacity_check(fix->cap);
		/* The wipe comes after the former host can write no more. */
		if (row->quarantined)
			mem_file_write(backend_peek_file(backend), 0, &value, sizeof(value));
		capacity_host_gone(fix->cap, 1);
		g_assert_false(memory_refuses_offer(backend, fix->dev[1].dc, NULL));
		mem_file_read(backend_peek_file(backend), 0, &value, sizeof(value));
		g_assert_cmpuint(value, ==, row->zero ? 0 : 0x1234);
		g_assert_cmpint(backend_incarnation(backend) == incarnation, ==, !row->zero);
		fix_accept_blocks(fix, 1, NORMAL, 1, 0, 2);
		fix_free(fix);
	}
	g_unlink(path);
	g_rmdir(dir);
}

static void test_reclaim(void)
{
	BackendConfig keep = { .on_release = ON_RELEASE_KEEP };
	Fixture *fix = fix_new(NULL);
	Backend *backend = fix_backend(fix, "b", 1, 2 * BLOCK, &keep);
	g_autoptr(GError) error = NULL, busy = NULL;
	DcRange ranges[] = { AT(0, 1), AT(2, 1) };
	CapacityCounters c;

	g_assert_false(capacity_reclaim_backend(fix->cap, "b", &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID);
	g_assert_false(capacity_reclaim_backend(fix->cap, "z", NULL));
	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 2);
	g_assert_cmpint(fix_release(fix, 0, ranges, 2), ==, CXL_RC_SUCCESS);
	backend_counters(backend, &c);
	g_assert_cmpuint(c.quarantined, ==, c.total);
	g_assert_null(capacity_remove_backend(fix->cap, "b", &busy));
	g_assert_error(busy, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
	g_assert_true(capacity_reclaim_backend(fix->cap, "b", NULL));
	backend_counters(backend, &c);
	g_assert_cmpuint(c.free, ==, c.total);
	fix_free(fix);
}

/* A wipe that fails, of a part and of the whole: never free, until the operator says so. */
static void test_wipe_fails(void)
{
	Fixture *fix = fix_new(NULL);
	Backend *backend = fix_backend(fix, "b", 1, 2 * BLOCK, NULL);
	DcRange first = at(0, 1), second = at(2, 1);
	CapacityCounters c;

	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 2);
	fix->hold_wipes = true;
	g_assert_cmpint(fix_release(fix, 0, &first, 1), ==, CXL_RC_SUCCESS);
	fix_finish_wipe(fix, false);
	backend_counters(backend, &c);
	g_assert_cmpuint(c.quarantined, ==, BLOCK);
	g_assert_cmpuint(c.accepted, ==, BLOCK);
	capacity_check(fix->cap);
	g_assert_cmpint(fix_release(fix, 0, &second, 1), ==, CXL_RC_SUCCESS);
	fix_finish_wipe(fix, false);
	backend_counters(backend, &c);
	g_assert_cmpuint(c.quarantined, ==, 2 * BLOCK);
	g_assert_cmpuint(fix->n_notices[NOTICE_QUARANTINED], ==, 2);
	g_assert_false(backend_is_clean(backend));
	g_assert_true(memory_refuses_offer(backend, fix->dev[0].dc, NULL));
	capacity_host_gone(fix->cap, 1); /* does not make it clean */
	g_assert_true(memory_refuses_offer(backend, fix->dev[0].dc, NULL));
	g_assert_true(capacity_reclaim_backend(fix->cap, "b", NULL)); /* wipes again */
	fix_finish_wipe(fix, true);
	g_assert_true(backend_is_clean(backend));
	backend_counters(backend, &c);
	g_assert_cmpuint(c.free, ==, c.total);
	capacity_check(fix->cap);
	fix_free(fix);
}

/* ---- forced release ---- */

static uint64_t force(Fixture *fix, uint8_t tag)
{
	ReleaseRequest request = { .tag = tag_of(tag), .forced = true };
	GError *error = NULL;
	uint64_t id = 0;

	capacity_release(fix->cap, fix->dev[0].dc, &request, &id, &error);
	g_assert_no_error(error);
	return id;
}

static void test_forced(void)
{
	Fixture *fix = fix_new(NULL);
	DcDevice *dev = fix->dev[0].dc;
	Backend *backend = fix_backend(fix, "b", 1, 2 * BLOCK, NULL);
	OfferRequest again = {
		.policy = OFFER_PRESCRIPTIVE,
		.extents = (const OfferExtent[]){ { 0, BLOCK } },
		.n_extents = 1,
	};
	DcRange first = at(0, 1), second = at(2, 1);
	ReleaseInfo info;
	CapacityCounters c;
	uint64_t id;

	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 2);
	fake_clear_log(&fix->dev[0]);
	id = force(fix, 1);
	g_assert_true(dc_device_release_info(dev, id, &info));
	g_assert_cmpint(info.state, ==, RELEASE_FORCED);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 2);
	g_assert_cmpint(g_array_index(fix->dev[0].events, DcEvent, 0).type, ==,
			DC_EVENT_FORCED_RELEASE);
	g_assert_cmpuint(fake_reachable_len(&fix->dev[0]), ==, 0);
	g_assert_cmpuint(dc_device_n_extents(dev), ==, 0);
	g_assert_cmpuint(dc_device_generation(dev), ==, 2);
	backend_counters(backend, &c);
	g_assert_cmpuint(c.free, ==, c.total); /* the memory is free, the DPA is not */
	dc_device_counters(dev, &c);
	g_assert_cmpuint(c.quarantined, ==, 2 * BLOCK);
	g_assert_false(capacity_offer(fix->cap, dev, &again, NULL, NULL));
	g_assert_cmpint(fix_release(fix, 0, &first, 1), ==, CXL_RC_SUCCESS); /* now it knows */
	g_assert_cmpuint(dc_device_generation(dev), ==, 2);
	g_assert_cmpint(fix_release(fix, 0, &first, 1), ==, CXL_RC_INVALID_PA);
	g_assert_true(capacity_offer(fix->cap, dev, &again, NULL, NULL));
	capacity_check(fix->cap);
	dc_device_reset(dev, DC_RESET_CONVENTIONAL); /* ends the other one */
	dc_device_counters(dev, &c);
	g_assert_cmpuint(c.quarantined, ==, 0);
	g_assert_cmpint(fix_release(fix, 0, &second, 1), ==, CXL_RC_INVALID_PA);
	capacity_check(fix->cap);
	fix_free(fix);
}

/* 4803h for it while the revocation is open: known, but not free before it is confirmed. */
static void test_forced_unconfirmed(void)
{
	Fixture *fix = fix_new(NULL);
	DcDevice *dev = fix->dev[0].dc;
	OfferRequest request = { .policy = OFFER_CONTIGUOUS, .len = 4 * BLOCK, .tag = { { 0 } } };
	DcRange all = at(0, 4), part = at(1, 1), rest[] = { AT(0, 1), AT(2, 2) };
	ReleaseRequest release = {
		.extents = (const OfferExtent[]){ { 0, 4 * BLOCK } },
		.n_extents = 1,
		.forced = true,
	};
	CapacityCounters c;

	g_assert_true(capacity_offer(fix->cap, dev, &request, NULL, NULL));
	g_assert_cmpint(fix_respond(fix, 0, &all, 1), ==, CXL_RC_SUCCESS);
	fix->dev[0].revoke = HOLD;
	g_assert_true(capacity_release(fix->cap, dev, &release, NULL, NULL));
	g_assert_cmpint(fix_release(fix, 0, &part, 1), ==, CXL_RC_SUCCESS);
	dc_device_counters(dev, &c);
	g_assert_cmpuint(c.quarantined, ==, 4 * BLOCK);
	g_assert_cmpint(fix_release(fix, 0, rest, 2), ==, CXL_RC_SUCCESS);
	dc_device_counters(dev, &c);
	g_assert_cmpuint(c.draining, ==, 4 * BLOCK);
	capacity_check(fix->cap);
	while (fake_answer(&fix->dev[0], true))
		;
	dc_device_counters(dev, &c);
	g_assert_cmpuint(c.free, ==, c.total);
	capacity_check(fix->cap);
	fix_free(fix);
}

static void test_forced_journal(void)
{
	FixtureConfig config = { .journal = true };
	Fixture *fix = fix_new(&config);
	ReleaseInfo info;
	uint64_t id;

	fix_backend(fix, "b", 1, 2 * BLOCK, NULL);
	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 2);
	fix->journal[ROW_REASON_RELEASE] = REFUSE;
	id = force(fix, 1);
	g_assert_true(dc_device_release_info(fix->dev[0].dc, id, &info));
	g_assert_cmpint(info.state, ==, RELEASE_FAILED);
	g_assert_cmpuint(dc_device_n_extents(fix->dev[0].dc), ==, 2);
	g_assert_cmpuint(fake_reachable_len(&fix->dev[0]), ==, 2 * BLOCK);
	capacity_check(fix->cap);
	fix_free(fix);
}

/* ---- release requests ---- */

static ReleaseInfo info_of(Fixture *fix, uint64_t id)
{
	ReleaseInfo info;

	g_assert_true(dc_device_release_info(fix->dev[0].dc, id, &info));
	return info;
}

static void test_request_refusals(void)
{
	static const OfferExtent none = { 40 * BLOCK, BLOCK }, odd = { 4096, BLOCK };
	static const OfferExtent beyond = { REGION, BLOCK },
				 wrap = { BLOCK, UINT64_MAX - BLOCK + 1 };
	static const OfferExtent half[] = { { 0, BLOCK }, { BLOCK, BLOCK } };
	static const OfferExtent twice[] = { { 0, BLOCK }, { 0, BLOCK } };
	static const struct {
		ReleaseRequest request;
		CapacityError code;
	} rows[] = {
		{ { .region = 9 }, CAPACITY_ERROR_INVALID },
		{ { .region = 0 }, CAPACITY_ERROR_INVALID },
		{ { .tag = { { 7 } } }, CAPACITY_ERROR_NOT_FOUND }, /* QEMU W16 */
		{ { .tag = { { [0] = 0xaa, [15] = 1 } }, .region = 2 }, CAPACITY_ERROR_NOT_FOUND },
		{ { .tag = { { [0] = 0xaa, [15] = 2 } } }, CAPACITY_ERROR_NOT_FOUND }, /* offered */
		{ { .extents = &none, .n_extents = 1 }, CAPACITY_ERROR_NOT_FOUND },
		{ { .extents = &odd, .n_extents = 1 }, CAPACITY_ERROR_INVALID },
		{ { .extents = &beyond, .n_extents = 1 }, CAPACITY_ERROR_INVALID },
		{ { .extents = &wrap, .n_extents = 1 }, CAPACITY_ERROR_INVALID },
		{ { .extents = half, .n_extents = 2 }, CAPACITY_ERROR_NOT_FOUND },
		{ { .extents = twice, .n_extents = 2 }, CAPACITY_ERROR_INVALID },
	};
	Fixture *fix = fix_new(NULL);

	fix_backend(fix, "b", 1, 2 * BLOCK, NULL);
	fix_backend(fix, "c", 2, 2 * BLOCK, NULL);
	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 2);
	fix_offer_blocks(fix, 0, NORMAL, 2, 10, 2);
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *before = fix_snapshot(fix);
		g_autoptr(GError) error = NULL;

		g_assert_false(
			capacity_release(fix->cap, fix->dev[0].dc, &rows[i].request, NULL, &error));
		g_assert_error(error, CAPACITY_ERROR, (int)rows[i].code);
		fix_assert_unchanged(fix, before);
	}
	fix_free(fix);
}

/* Silently cleared while in use (Linux 7.3): asked again after 1 s, 2 s, 4 s ... 60 s. */
static void test_reissue(void)
{
	static const unsigned seconds[] = { 1, 2, 4, 8, 16, 32, 60, 60 };
	ReleaseRequest request = { .tag = tag_of(1) };
	Fixture *fix = fix_new(NULL);
	DcRange ranges[] = { AT(0, 1), AT(2, 1) };
	g_autoptr(GError) busy = NULL;
	uint64_t id;

	fix_backend(fix, "b", 1, 2 * BLOCK, NULL);
	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 2);
	fake_clear_log(&fix->dev[0]);
	g_assert_true(capacity_release(fix->cap, fix->dev[0].dc, &request, &id, NULL));
	g_assert_cmpint(info_of(fix, id).state, ==, RELEASE_DELIVERED);
	g_assert_cmpuint(info_of(fix, id).len, ==, 2 * BLOCK);
	g_assert_cmpuint(fix->n_notices[NOTICE_RELEASE_REQUESTED], ==, 2);
	g_assert_false(capacity_release(fix->cap, fix->dev[0].dc, &request, NULL, &busy));
	g_assert_error(busy, CAPACITY_ERROR, CAPACITY_ERROR_BUSY); /* one live record per range */
	for (size_t i = 0; i < G_N_ELEMENTS(seconds); i++) {
		const DcEvent *event = &g_array_index(fix->dev[0].events, DcEvent, 0);

		g_assert_cmpuint(fix->dev[0].events->len, ==, 2);
		g_assert_cmpint(event->type, ==, DC_EVENT_RELEASE);
		g_assert_true(uuid_equal(&event->tag, &request.tag)); /* QEMU W16: was zero */
		g_assert_true(event->more);
		fake_clear_log(&fix->dev[0]);
		g_assert_cmpint(info_of(fix, id).state, ==, RELEASE_CLEARED_UNANSWERED);
		fix_advance(fix, seconds[i] * G_USEC_PER_SEC - 1);
		g_assert_cmpuint(fix->dev[0].events->len, ==, 0);
		fix_advance(fix, 1);
		g_assert_cmpint(info_of(fix, id).state, ==, RELEASE_RESENT);
		g_assert_cmpuint(info_of(fix, id).n_resent, ==, i + 1);
	}
	g_assert_cmpint(fix_release(fix, 0, ranges, 1), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(info_of(fix, id).len, ==, BLOCK);
	fake_clear_log(&fix->dev[0]);
	fix_advance(fix, 60 * G_USEC_PER_SEC);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 1); /* only what is left */
	g_assert_cmpint(fix_release(fix, 0, ranges + 1, 1), ==, CXL_RC_SUCCESS);
	g_assert_cmpint(info_of(fix, id).state, ==, RELEASE_DONE);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 0); /* the unread record has gone */
	g_assert_cmpuint(capacity_next_deadline_us(fix->cap), ==, UINT64_MAX);
	fix_free(fix);
}

static void test_request_timeout(void)
{
	ReleaseRequest request = { .tag = tag_of(1), .timeout_us = 5 * G_USEC_PER_SEC };
	Fixture *fix = fix_new(NULL);
	uint64_t id;

	fix_backend(fix, "b", 1, 2 * BLOCK, NULL);
	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 2);
	g_assert_true(capacity_release(fix->cap, fix->dev[0].dc, &request, &id, NULL));
	fix_advance(fix, 5 * G_USEC_PER_SEC);
	g_assert_cmpint(info_of(fix, id).state, ==, RELEASE_TIMED_OUT);
	g_assert_true(capacity_release(fix->cap, fix->dev[0].dc, &request, &id, NULL));
	force(fix, 1); /* also over an open request */
	g_assert_cmpint(info_of(fix, id).state, ==, RELEASE_DONE);
	fix_free(fix);
}

/* No room in the log: queued until there is. */
static void test_request_waits_for_room(void)
{
	ReleaseRequest request = { .tag = tag_of(1) };
	Fixture *fix = fix_new(NULL);
	uint64_t id;

	fix_backend(fix, "b", 1, 2 * BLOCK, NULL);
	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 2);
	fake_clear_log(&fix->dev[0]);
	fix->dev[0].log_depth = 1;
	g_assert_true(capacity_release(fix->cap, fix->dev[0].dc, &request, &id, NULL));
	g_assert_cmpint(info_of(fix, id).state, ==, RELEASE_QUEUED);
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpint(info_of(fix, id).state, ==, RELEASE_QUEUED);
	fix->dev[0].log_depth = 2;
	fix_advance(fix, G_USEC_PER_SEC);
	g_assert_cmpint(info_of(fix, id).state, ==, RELEASE_DELIVERED);
	g_assert_cmpuint(info_of(fix, id).n_resent, ==, 0);
	fix_free(fix);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/capacity/release/codes", test_codes);
	g_test_add_func("/unit/capacity/release/list-space", test_list_space);
	g_test_add_func("/unit/capacity/release/parts", test_parts);
	g_test_add_func("/unit/capacity/release/punch-and-renew", test_punch_and_renew);
	g_test_add_func("/unit/capacity/release/draining", test_draining);
	g_test_add_func("/unit/capacity/release/journal", test_journal);
	g_test_add_func("/unit/capacity/release/next-tenant", test_next_tenant);
	g_test_add_func("/unit/capacity/release/reclaim", test_reclaim);
	g_test_add_func("/unit/capacity/release/wipe-fails", test_wipe_fails);
	g_test_add_func("/unit/capacity/forced/quarantine", test_forced);
	g_test_add_func("/unit/capacity/forced/unconfirmed", test_forced_unconfirmed);
	g_test_add_func("/unit/capacity/forced/journal", test_forced_journal);
	g_test_add_func("/unit/capacity/release-request/refusals", test_request_refusals);
	g_test_add_func("/unit/capacity/release-request/reissue", test_reissue);
	g_test_add_func("/unit/capacity/release-request/timeout", test_request_timeout);
	g_test_add_func("/unit/capacity/release-request/waits-for-room",
			test_request_waits_for_room);
	return g_test_run();
}
