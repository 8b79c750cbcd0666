/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool of two devices around the capacity core, with a scripted host side, journal and wipe pool.
 */
#ifndef TESTS_CAPACITY_FIXTURE_H
#define TESTS_CAPACITY_FIXTURE_H

#include "capacity/capacity_priv.h"

#include <inttypes.h>

#define MIB       (UINT64_C(1) << 20)
#define BLOCK     (2 * MIB)
#define REGION    (256 * MIB)
#define N_DEVICES 2

enum {
	NORMAL,
	SHARED,
	SMALL_BLOCKS,
	N_REGIONS
}; /* regions of each device, 256 MiB each */

typedef enum Behaviour {
	ANSWER,
	REFUSE,
	HOLD
} Behaviour;

typedef struct Reach {
	uint64_t map_id, dpa, len, offset, incarnation;
	bool exposed, writable;
} Reach;

typedef struct Held {
	EffectKind kind;
	uint64_t req;
	GArray *items;
} Held;

typedef struct HeldRecord {
	uint64_t req;
	RowRecord *record;
} HeldRecord;

typedef struct Fixture Fixture;

typedef struct Fake {
	Fixture *fix;
	DcDevice *dc;
	GArray *reach; /* Reach */
	/* What the host does; a refused prepare makes ready the first REFUSE_AT maps, a refused
	 * expose exposes as many. */
	Behaviour prepare, expose, revoke;
	size_t refuse_at;
	GPtrArray *held; /* Held */
	GArray *events;  /* DcEvent */
	uint32_t log_depth, log_used, log_reserved;
	unsigned n_prepares, n_drops;
} Fake;

struct Fixture {
	Capacity *cap;
	CapacityOps ops;
	uint64_t now_us;
	Fake dev[N_DEVICES];
	bool hold_wipes;
	GPtrArray *wipes; /* WipeJob */
	Behaviour journal[ROW_N_REASONS];
	GArray *journal_held;                                /* HeldRecord */
	void (*keep)(void *opaque, const RowRecord *record); /* gets what is durable; or NULL */
	void *keep_opaque;
	GArray *journal_reasons; /* RowReason of every record */
	unsigned n_notices[NOTICE_N_TYPES];
	uint64_t serial; /* of the last host */
};

typedef struct Answer {
	unsigned n;
	enum cxl_rc rc;
} Answer;

/* ---- the host side ---- */

static void fake_drop(Fake *fake, uint64_t id)
{
	for (guint i = fake->reach->len; i-- > 0;)
		if (g_array_index(fake->reach, Reach, i).map_id == id)
			g_array_remove_index(fake->reach, i);
	fake->n_drops++;
}

static void fake_revoke(Fake *fake, const DcMapPart *part)
{
	for (guint i = fake->reach->len; i-- > 0;) {
		Reach map = g_array_index(fake->reach, Reach, i), below = map, above = map;
		uint64_t start = MAX(map.dpa, part->dpa);
		uint64_t end = MIN(map.dpa + map.len, part->dpa + part->len);

		if (map.map_id != part->map_id || start >= end)
			continue;
		g_array_remove_index(fake->reach, i);
		below.len = start - map.dpa;
		above.dpa = end;
		above.offset += end - map.dpa;
		above.len = map.dpa + map.len - end;
		if (below.len > 0)
			g_array_append_val(fake->reach, below);
		if (above.len > 0)
			g_array_append_val(fake->reach, above);
	}
}

/* Carries out and answers what was held back; false if there is nothing (more). */
static bool fake_answer(Fake *fake, bool ok)
{
	Held *held;

	if (fake->held->len == 0)
		return false;
	held = g_ptr_array_steal_index(fake->held, 0);
	for (guint i = 0; i < held->items->len; i++) {
		if (held->kind == EFFECT_REVOKE)
			fake_revoke(fake, &g_array_index(held->items, DcMapPart, i));
		else if (held->kind == EFFECT_DROP)
			fake_drop(fake, g_array_index(held->items, uint64_t, i));
	}
	dc_device_effect_done(fake->dc, held->req, ok);
	g_array_unref(held->items);
	g_free(held);
	return true;
}

/* What was asked over a link that is gone. */
static void fake_lose(Fake *fake)
{
	while (fake->held->len > 0) {
		Held *held = g_ptr_array_steal_index(fake->held, 0);

		g_array_unref(held->items);
		g_free(held);
	}
}

static void hold(Fake *fake, EffectKind kind, uint64_t req, const void *items, guint size, size_t n)
{
	Held *held = g_new0(Held, 1);

	held->kind = kind;
	held->req = req;
	held->items = g_array_new(FALSE, FALSE, size);
	g_array_append_vals(held->items, items, (guint)n);
	g_ptr_array_add(fake->held, held);
}

static void op_prepare(void *opaque, uint64_t req, const DcMap *maps, size_t n)
{
	Fake *fake = opaque;

	fake->n_prepares++;
	for (size_t i = 0; i < n; i++) {
		Reach reach = { maps[i].id,          maps[i].dpa, maps[i].len,     maps[i].offset,
				maps[i].incarnation, false,       maps[i].writable };

		g_assert_nonnull(maps[i].file);
		if (fake->prepare == REFUSE && i == fake->refuse_at)
			break;
		g_array_append_val(fake->reach, reach);
	}
	if (fake->prepare == HOLD)
		hold(fake, EFFECT_PREPARE, req, maps, sizeof(*maps), n);
	else
		dc_device_effect_done(fake->dc, req, fake->prepare == ANSWER);
}

static void op_expose(void *opaque, uint64_t req, const uint64_t *ids, size_t n)
{
	Fake *fake = opaque;

	for (size_t i = 0; i < n && !(fake->expose == REFUSE && i == fake->refuse_at); i++)
		for (guint j = 0; j < fake->reach->len; j++)
			if (g_array_index(fake->reach, Reach, j).map_id == ids[i])
				g_array_index(fake->reach, Reach, j).exposed = true;
	if (fake->expose == HOLD)
		hold(fake, EFFECT_EXPOSE, req, ids, sizeof(*ids), n);
	else
		dc_device_effect_done(fake->dc, req, fake->expose == ANSWER);
}

static void op_revoke(void *opaque, uint64_t req, const DcMapPart *parts, size_t n)
{
	Fake *fake = opaque;

	if (fake->revoke == HOLD) {
		hold(fake, EFFECT_REVOKE, req, parts, sizeof(*parts), n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		fake_revoke(fake, &parts[i]);
	dc_device_effect_done(fake->dc, req, true);
}

static void op_drop(void *opaque, uint64_t req, const uint64_t *ids, size_t n)
{
	Fake *fake = opaque;

	if (fake->revoke == HOLD) {
		hold(fake, EFFECT_DROP, req, ids, sizeof(*ids), n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		fake_drop(fake, ids[i]);
	dc_device_effect_done(fake->dc, req, true);
}

static uint64_t fake_reachable_len(const Fake *fake)
{
	uint64_t len = 0;

	for (guint i = 0; i < fake->reach->len; i++)
		if (g_array_index(fake->reach, Reach, i).exposed)
			len += g_array_index(fake->reach, Reach, i).len;
	return len;
}

/* ---- the event log ---- */

static bool op_log_reserve(void *opaque, uint32_t n)
{
	Fake *fake = opaque;

	if (fake->log_used + fake->log_reserved + n > fake->log_depth)
		return false;
	fake->log_reserved += n;
	return true;
}

static void op_log_unreserve(void *opaque, uint32_t n)
{
	Fake *fake = opaque;

	g_assert_cmpuint(fake->log_reserved, >=, n);
	fake->log_reserved -= n;
}

static void op_log_post(void *opaque, const DcEvent *event)
{
	Fake *fake = opaque;

	g_assert_cmpuint(fake->log_reserved, >, 0);
	fake->log_reserved--;
	fake->log_used++;
	g_array_append_val(fake->events, *event);
}

static void op_log_withdraw(void *opaque, uint64_t cookie)
{
	Fake *fake = opaque;

	for (guint i = fake->events->len; i-- > 0;) {
		if (g_array_index(fake->events, DcEvent, i).cookie == cookie) {
			g_array_remove_index(fake->events, i);
			fake->log_used--;
		}
	}
}

/* The host reads and clears its log. */
static void fake_clear_log(Fake *fake)
{
	while (fake->events->len > 0) {
		uint64_t cookie = g_array_index(fake->events, DcEvent, 0).cookie;

		g_array_remove_index(fake->events, 0);
		fake->log_used--;
		dc_device_record_read(fake->dc, cookie);
		dc_device_record_cleared(fake->dc, cookie);
	}
}

static const DcDeviceOps fake_ops = {
	.prepare = op_prepare,
	.expose = op_expose,
	.revoke = op_revoke,
	.drop = op_drop,
	.log_reserve = op_log_reserve,
	.log_unreserve = op_log_unreserve,
	.log_post = op_log_post,
	.log_withdraw = op_log_withdraw,
};

/* ---- the pool's side ---- */

static uint64_t op_now_us(void *opaque)
{
	return ((Fixture *)opaque)->now_us;
}

static void op_wipe(void *opaque, WipeJob *job)
{
	Fixture *fix = opaque;

	if (fix->hold_wipes) {
		g_ptr_array_add(fix->wipes, job);
		return;
	}
	wipe_job_run(job);
	wipe_job_finish(job);
}

/* RUN false: the job fails. */
static bool fix_finish_wipe(Fixture *fix, bool run)
{
	WipeJob *job;

	if (fix->wipes->len == 0)
		return false;
	job = g_ptr_array_steal_index(fix->wipes, 0);
	if (run)
		wipe_job_run(job);
	wipe_job_finish(job);
	return true;
}

static void answer_record(Fixture *fix, HeldRecord *held, bool ok)
{
	if (ok && fix->keep)
		fix->keep(fix->keep_opaque, held->record);
	capacity_journal_done(fix->cap, held->req, ok);
	row_record_unref(held->record);
}

static void op_journal(void *opaque, uint64_t req, RowRecord *record)
{
	Fixture *fix = opaque;

	HeldRecord held = { req, row_record_ref(record) };

	g_array_append_val(fix->journal_reasons, record->reason);
	if (fix->journal[record->reason] == HOLD)
		g_array_append_val(fix->journal_held, held);
	else
		answer_record(fix, &held, fix->journal[record->reason] == ANSWER);
}

static void fix_answer_journal(Fixture *fix, bool ok)
{
	HeldRecord held;

	g_assert_cmpuint(fix->journal_held->len, >, 0);
	held = g_array_index(fix->journal_held, HeldRecord, 0);
	g_array_remove_index(fix->journal_held, 0);
	answer_record(fix, &held, ok);
}

static void op_notify(void *opaque, const CapacityNotice *notice)
{
	((Fixture *)opaque)->n_notices[notice->type]++;
}

static void fix_advance(Fixture *fix, uint64_t us)
{
	fix->now_us += us;
	capacity_tick(fix->cap);
}

/* ---- set up ---- */

static const DcRegionConfig fixture_regions[N_REGIONS] = {
	[NORMAL] = { .len = REGION },
	[SHARED] = { .len = REGION, .sharable = true },
	[SMALL_BLOCKS] = { .len = REGION, .block_size = 4096, .sanitize_on_release = true },
};

static void fix_add_device(Fixture *fix, unsigned index, const DcDeviceConfig *config)
{
	Fake *fake = &fix->dev[index];
	GError *error = NULL;

	fake->fix = fix;
	fake->reach = g_array_new(FALSE, FALSE, sizeof(Reach));
	fake->held = g_ptr_array_new();
	fake->events = g_array_new(FALSE, FALSE, sizeof(DcEvent));
	fake->log_depth = 4096;
	fake->dc = capacity_add_device(fix->cap, config, &fake_ops, fake, &error);
	g_assert_no_error(error);
}

static uint64_t fix_attach(Fixture *fix, unsigned index, const DcHost *like)
{
	DcHost host = { .max_maps = UINT32_MAX };

	if (like)
		host = *like;
	if (host.serial == 0)
		host.serial = ++fix->serial;
	dc_device_attach_host(fix->dev[index].dc, &host, NULL, 0);
	return host.serial;
}

typedef struct FixtureConfig {
	bool journal;
	bool no_host;
	bool hold; /* delivery waits as for a real host */
	unsigned faults;
	uint32_t max_extents, max_offers, max_chain, chains_in_flight;
	DcHost host;
	void (*keep)(void *opaque, const RowRecord *record);
	void *keep_opaque;
} FixtureConfig;

static Fixture *fix_new(const FixtureConfig *config)
{
	static const char *const names[N_DEVICES] = { "dev0", "dev1" };
	static const FixtureConfig none;
	Fixture *fix = g_new0(Fixture, 1);
	const FixtureConfig *c = config ? config : &none;
	CapacityOps ops = {
		.now_us = op_now_us,
		.wipe = op_wipe,
		.journal = c->journal ? op_journal : NULL,
		.notify = op_notify,
		.faults = c->faults,
	};
	DcHost host = c->host;

	if (host.max_maps == 0)
		host.max_maps = UINT32_MAX;
	fix->now_us = 1000;
	fix->ops = ops;
	fix->keep = c->keep;
	fix->keep_opaque = c->keep_opaque;
	fix->cap = capacity_new(&ops, fix);
	fix->wipes = g_ptr_array_new();
	fix->journal_held = g_array_new(FALSE, FALSE, sizeof(HeldRecord));
	fix->journal_reasons = g_array_new(FALSE, FALSE, sizeof(RowReason));
	for (unsigned i = 0; i < N_DEVICES; i++) {
		DcDeviceConfig device = {
			.name = names[i],
			.static_len = 256 * MIB,
			.regions = fixture_regions,
			.n_regions = N_REGIONS,
			.hold_off = !c->hold,
			.max_extents = c->max_extents,
			.max_offers = c->max_offers,
			.max_chain = c->max_chain,
			.chains_in_flight = c->chains_in_flight,
		};

		fix_add_device(fix, i, &device);
		if (!c->no_host)
			fix_attach(fix, i, &host);
	}
	return fix;
}

static void free_backend(Backend *backend, void *names)
{
	g_ptr_array_add(names, g_strdup(backend_name(backend)));
}

/* Everything has to come back: whatever a test left behind is forced out. */
static void fix_free(Fixture *fix)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	GError *error = NULL;

	fix->hold_wipes = false;
	while (fix_finish_wipe(fix, true))
		;
	memset(fix->journal, 0, sizeof(fix->journal));
	while (fix->journal_held->len > 0)
		fix_answer_journal(fix, true);
	fix_advance(fix, 2 * G_USEC_PER_SEC);
	g_assert_false(capacity_is_behind(fix->cap));
	for (unsigned i = 0; i < N_DEVICES; i++) {
		Fake *fake = &fix->dev[i];

		fake->prepare = fake->expose = fake->revoke = ANSWER;
		dc_device_reset(fake->dc, DC_RESET_FORGET);
		while (fake_answer(fake, true))
			;
		fake_lose(fake);
	}
	for (uint64_t serial = 1; serial <= fix->serial; serial++)
		capacity_host_gone(fix->cap, serial);
	for (unsigned i = 0; i < N_DEVICES; i++)
		dc_device_reset(fix->dev[i].dc, DC_RESET_FORGET);
	capacity_foreach_backend(fix->cap, free_backend, names);
	for (guint i = 0; i < names->len; i++)
		capacity_reclaim_backend(fix->cap, names->pdata[i], NULL);
	capacity_check(fix->cap);
	for (unsigned i = 0; i < N_DEVICES; i++) {
		Fake *fake = &fix->dev[i];

		capacity_remove_device(fix->cap, fake->dc, &error);
		g_assert_no_error(error);
		g_assert_cmpuint(fake->log_reserved, ==, 0);
		g_array_unref(fake->reach);
		g_array_unref(fake->events);
		g_ptr_array_unref(fake->held);
	}
	for (guint i = 0; i < names->len; i++) {
		backend_free(capacity_remove_backend(fix->cap, names->pdata[i], &error));
		g_assert_no_error(error);
	}
	capacity_free(fix->cap);
	g_ptr_array_unref(fix->wipes);
	g_array_unref(fix->journal_held);
	g_array_unref(fix->journal_reasons);
	g_free(fix);
}

/* ---- short hands ---- */

static uint64_t region_base(unsigned region)
{
	return 256 * MIB + region * REGION;
}

static Uuid tag_of(uint8_t number)
{
	return (Uuid){ .b = { [0] = 0xaa, [15] = number } };
}

static Backend *fix_backend(Fixture *fix, const char *name, uint8_t tag, uint64_t size,
			    const BackendConfig *like)
{
	BackendConfig config = { .type = BACKEND_MEMFD };
	GError *error = NULL;
	Backend *backend;

	if (like)
		config = *like;
	config.name = name;
	config.size = size;
	if (tag)
		config.tag = tag_of(tag);
	backend = backend_new(&config, &error);
	g_assert_no_error(error);
	capacity_add_backend(fix->cap, backend, &error);
	g_assert_no_error(error);
	return backend;
}

/* Extents of one block each at every second block from FIRST on. */
static uint64_t fix_offer_blocks(Fixture *fix, unsigned device, unsigned region, uint8_t tag,
				 unsigned first, unsigned n)
{
	g_autofree OfferExtent *extents = g_new(OfferExtent, n);
	OfferRequest request = {
		.region = (uint8_t)region,
		.policy = OFFER_PRESCRIPTIVE,
		.extents = extents,
		.n_extents = n,
	};
	GError *error = NULL;
	uint64_t id = 0;

	if (tag)
		request.tag = tag_of(tag);
	for (unsigned i = 0; i < n; i++)
		extents[i] = (OfferExtent){ (first + 2 * i) * BLOCK, BLOCK };
	capacity_offer(fix->cap, fix->dev[device].dc, &request, &id, &error);
	g_assert_no_error(error);
	return id;
}

static DcRange block_range(unsigned region, unsigned block, unsigned n)
{
	return (DcRange){ region_base(region) + block * BLOCK, n * BLOCK };
}

static void on_answer(void *opaque, enum cxl_rc rc)
{
	Answer *answer = opaque;

	g_assert_cmpuint(answer->n, ==, 0);
	answer->n++;
	answer->rc = rc;
}

static enum cxl_rc fix_respond(Fixture *fix, unsigned device, const DcRange *ranges, size_t n)
{
	Answer answer = { 0 };

	dc_device_add_response(fix->dev[device].dc, ranges, n, false, on_answer, &answer);
	g_assert_cmpuint(answer.n, ==, 1);
	return answer.rc;
}

static enum cxl_rc fix_release(Fixture *fix, unsigned device, const DcRange *ranges, size_t n)
{
	Answer answer = { 0 };

	dc_device_release_response(fix->dev[device].dc, ranges, n, false, on_answer, &answer);
	g_assert_cmpuint(answer.n, ==, 1);
	return answer.rc;
}

/* Offers blocks as above and accepts all of them. */
static void fix_accept_blocks(Fixture *fix, unsigned device, unsigned region, uint8_t tag,
			      unsigned first, unsigned n)
{
	g_autofree DcRange *ranges = g_new(DcRange, n);

	fix_offer_blocks(fix, device, region, tag, first, n);
	for (unsigned i = 0; i < n; i++)
		ranges[i] = block_range(region, first + 2 * i, 1);
	g_assert_cmpint(fix_respond(fix, device, ranges, n), ==, CXL_RC_SUCCESS);
}

/* ---- everything visible, for "nothing has changed" ---- */

static void show_counters(GString *text, const CapacityCounters *c)
{
	g_string_append_printf(
		text, "%" PRIu64 "=%" PRIu64 "+%" PRIu64 "+%" PRIu64 "+%" PRIu64 "+%" PRIu64 "\n",
		c->total, c->free, c->reserved, c->accepted, c->draining, c->quarantined);
}

static void show_offer(const OfferInfo *info, void *text)
{
	g_string_append_printf(text, "offer %" PRIu64 " state %d n %zu len %" PRIu64 "\n", info->id,
			       info->state, info->n_extents, info->len);
}

static void show_release(const ReleaseInfo *info, void *text)
{
	g_string_append_printf(text, "release %" PRIu64 " state %d len %" PRIu64 "\n", info->id,
			       info->state, info->len);
}

static void show_backend(Backend *backend, void *text)
{
	CapacityCounters c;

	backend_counters(backend, &c);
	g_string_append_printf(text, "%s %" PRIx64 " ", backend_name(backend),
			       backend_incarnation(backend));
	show_counters(text, &c);
}

static char *fix_snapshot(Fixture *fix)
{
	GString *text = g_string_new(NULL);
	CapacityCounters c;

	for (unsigned i = 0; i < N_DEVICES; i++) {
		Fake *fake = &fix->dev[i];
		uint32_t limits[4];
		DcExtent extent;

		dc_device_counters(fake->dc, &c);
		show_counters(text, &c);
		for (size_t j = 0; dc_device_extents(fake->dc, j, &extent, 1) == 1; j++)
			g_string_append_printf(text,
					       "extent %" PRIx64 "+%" PRIx64 " order %u seq %u "
					       "offset %" PRIx64 " map %" PRIu64 "\n",
					       extent.dpa, extent.len, extent.order,
					       extent.shared_seq, extent.backend_offset,
					       extent.map_id);
		dc_device_limits(fake->dc, &limits[0], &limits[1], &limits[2], &limits[3]);
		g_string_append_printf(
			text, "generation %u limits %u %u %u %u log %u %u reach %" PRIu64 "\n",
			dc_device_generation(fake->dc), limits[0], limits[1], limits[2], limits[3],
			fake->log_used, fake->log_reserved, fake_reachable_len(fake));
		dc_device_foreach_offer(fake->dc, show_offer, text);
		dc_device_foreach_release(fake->dc, show_release, text);
	}
	capacity_counters(fix->cap, &c);
	show_counters(text, &c);
	capacity_foreach_backend(fix->cap, show_backend, text);
	return g_string_free(text, FALSE);
}

static void fix_assert_unchanged(Fixture *fix, const char *before)
{
	g_autofree char *after = fix_snapshot(fix);

	g_assert_cmpstr(before, ==, after);
	capacity_check(fix->cap);
}

/* A header of static functions: not every program uses each of them. */
static inline void fixture_use_all(void)
{
	(void)fix_release;
	(void)fake_lose;
	(void)fix_assert_unchanged;
	(void)fix_accept_blocks;
	(void)fix_advance;
	(void)fix_backend;
	(void)fake_clear_log;
	(void)fix_new;
	(void)fix_free;
}

#endif
