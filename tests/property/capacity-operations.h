/* SPDX-License-Identifier: BSD-3-Clause */
/* What operators, guests and hosts do at random to a pool, mostly in ways that could work. */
#ifndef TESTS_CAPACITY_OPERATIONS_H
#define TESTS_CAPACITY_OPERATIONS_H

#include "capacity-model.h"

#define REGION_LEN DC_REGION_ALIGN
#define STATIC_LEN DC_REGION_ALIGN
#define PLAYGROUND 48 /* blocks of a region where prescribed extents go: they shall collide */

static const DcRegionConfig regions[] = {
	{ .len = REGION_LEN, .block_size = BLOCK },
	{ .len = REGION_LEN, .block_size = BLOCK, .sharable = true },
	{ .len = REGION_LEN, .block_size = BLOCK, .sanitize_on_release = true },
};

/* ---- operations ---- */

static ModelDevice *any_device(Model *model)
{
	return &model->devices[model_random(model, N_DEVICES)];
}

static Uuid any_tag(Model *model)
{
	Uuid tag = { .b = { 0 } };

	if (model_chance(model, 60))
		tag.b[15] = (uint8_t)(1 + model_random(model, N_BACKENDS));
	else if (model_chance(model, 2))
		tag.b[15] = N_BACKENDS + 1; /* nobody's */
	return tag;
}

static void op_offer(Model *model)
{
	ModelDevice *device = any_device(model);
	OfferExtent extents[6];
	OfferRequest request = {
		.region = (uint8_t)model_random(model, G_N_ELEMENTS(regions)),
		.tag = any_tag(model),
		.policy = (OfferPolicy)model_random(model, 4),
		.extents = extents,
	};
	const Backend *backend = capacity_peek_backend_by_tag(model->cap, &request.tag);
	uint64_t left = backend ? backend_size(backend) / BLOCK : 8;
	g_autofree char *before = model_snapshot(model);
	g_autoptr(GError) error = NULL;

	/* Mostly something that could work. */
	if (model_chance(model, 95)) {
		bool shareable = backend && backend_is_shareable(backend);

		request.region = shareable ? 1 : request.region & 2;
		if (!shareable && request.policy == OFFER_ENABLE_SHARED_ACCESS)
			request.policy = OFFER_PRESCRIPTIVE;
	}
	if (request.policy == OFFER_PRESCRIPTIVE || model_chance(model, 2)) {
		request.n_extents = (size_t)model_random(model, G_N_ELEMENTS(extents) + 1);
		for (size_t i = 0; i < request.n_extents; i++) {
			uint64_t n = 1 + (uint64_t)model_random(model, (int)MAX(left / 2, 1));

			extents[i].offset = (uint64_t)model_random(model, PLAYGROUND) * BLOCK;
			extents[i].len = MIN(n, MAX(left, 1)) * BLOCK;
			left -= MIN(left, n);
			if (model_chance(model, 1))
				extents[i].offset = G_MAXUINT64 - BLOCK + 1;
			if (model_chance(model, 1))
				extents[i].len += 512;
		}
	} else if (!backend) {
		request.len = (uint64_t)model_random(model, 9) * BLOCK;
	}
	if (!capacity_offer(model->cap, device->dc, &request, NULL, &error)) {
		g_autofree char *after = model_snapshot(model);

		g_assert_nonnull(error);
		g_assert_cmpstr(before, ==, after);
	}
}

static void op_withdraw(Model *model)
{
	ModelDevice *device = any_device(model);
	g_autofree char *before = model_snapshot(model);
	g_autoptr(GError) error = NULL;
	Uuid tag = any_tag(model);
	uint64_t id = 0;

	if (model_chance(model, 50) && g_hash_table_size(device->dc->offers) > 0) {
		g_autoptr(GPtrArray) offers = hash_table_values(device->dc->offers);

		id = ((Offer *)offers->pdata[0])->id;
	}
	if (!capacity_withdraw(model->cap, device->dc, id, &tag, &error)) {
		g_autofree char *after = model_snapshot(model);

		g_assert_cmpstr(before, ==, after);
	}
}

typedef void (*Respond)(DcDevice *, const DcRange *, size_t, bool, DcResponseDone, void *);

/* I3 where the answer comes at once; it always comes once, in time (op_tick, teardown). */
static void send(Model *model, ModelDevice *device, Respond respond, GArray *ranges)
{
	guint sent = 0;

	if (ranges->len > 1 && model_chance(model, 20)) {
		Answer *part = model_answer_new(model);

		sent = 1 + (guint)model_random(model, (int)ranges->len - 1);
		respond(device->dc, (DcRange *)(void *)ranges->data, sent, true, on_answer, part);
		if (part->n_calls == 0 || part->rc != CXL_RC_SUCCESS)
			return;
	}
	g_autofree char *before = model_snapshot(model);
	Answer *answer = model_answer_new(model);

	respond(device->dc, (DcRange *)(void *)ranges->data + sent, ranges->len - sent, false,
		on_answer, answer);
	if (answer->n_calls > 0 && answer->rc != CXL_RC_SUCCESS) {
		g_autofree char *after = model_snapshot(model);

		g_assert_cmpstr(before, ==, after);
	}
}

static void add_bogus(Model *model, GArray *ranges)
{
	static const DcRange bogus[] = {
		{ 0, BLOCK },
		{ STATIC_LEN, 0 },
		{ STATIC_LEN + 512, BLOCK },
		{ STATIC_LEN, G_MAXUINT64 - BLOCK + 1 },
		{ STATIC_LEN + REGION_LEN - BLOCK, 2 * BLOCK },
		{ STATIC_LEN, BLOCK },
	};

	if (model_chance(model, 5))
		g_array_append_val(ranges, bogus[model_random(model, G_N_ELEMENTS(bogus))]);
	if (ranges->len > 0 && model_chance(model, 2)) {
		DcRange twice = g_array_index(ranges, DcRange, 0);

		g_array_append_val(ranges, twice);
	}
}

/* All of a range, or some blocks of it. */
static void add_range(Model *model, GArray *ranges, uint64_t dpa, uint64_t len)
{
	uint64_t n = len / BLOCK;
	uint64_t first = model_chance(model, 75) ? 0 : (uint64_t)model_random(model, (int)n);
	uint64_t count = n - first;
	DcRange range;

	if (model_chance(model, 35))
		count = 1 + (uint64_t)model_random(model, (int)count);
	range = (DcRange){ dpa + first * BLOCK, count * BLOCK };
	g_array_append_val(ranges, range);
	/* More pieces of the same extent. */
	for (first += count + 1; first < n && model_chance(model, 60); first += 2) {
		range = (DcRange){ dpa + first * BLOCK, BLOCK };
		g_array_append_val(ranges, range);
	}
}

static void op_respond(Model *model)
{
	ModelDevice *device = any_device(model);
	g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(DcRange));
	const Offer *first = delivery_first(device->dc);

	if (first && !model_chance(model, 10)) {
		guint n = first->extents->len;
		guint start = (guint)model_random(model, (int)n); /* in any order */

		for (guint i = 0; i < n; i++) {
			const Extent *extent = first->extents->pdata[(start + i) % n];

			if (!model_chance(model, 15))
				add_range(model, ranges, extent->dpa, extent->len);
		}
	}
	add_bogus(model, ranges);
	send(model, device, dc_device_add_response, ranges);
}

static void op_give_back(Model *model)
{
	ModelDevice *device = any_device(model);
	g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(DcRange));
	DcExtent extents[4];
	size_t n = dc_device_n_extents(device->dc);

	n = dc_device_extents(device->dc, n ? (size_t)model_random(model, (int)n) : 0, extents,
			      1 + (size_t)model_random(model, 4));
	for (size_t i = 0; i < n; i++)
		add_range(model, ranges, extents[i].dpa, extents[i].len);
	if (model_chance(model, 15)) {
		GTreeNode *node = g_tree_node_first(device->dc->quarantine);
		const QuarantinedRange *range = node ? g_tree_node_value(node) : NULL;

		if (range)
			add_range(model, ranges, range->dpa, range->len);
	}
	add_bogus(model, ranges);
	send(model, device, dc_device_release_response, ranges);
}

static void op_request_release(Model *model)
{
	ModelDevice *device = any_device(model);
	OfferExtent range;
	ReleaseRequest request = {
		.region = (uint8_t)model_random(model, G_N_ELEMENTS(regions)),
		.tag = any_tag(model),
		.forced = model_chance(model, 25),
		.sanitize = model_chance(model, 25),
		.timeout_us = model_chance(model, 30) ? 5 * G_USEC_PER_SEC : 0,
	};
	g_autofree char *before = model_snapshot(model);
	g_autoptr(GError) error = NULL;
	size_t n = dc_device_n_extents(device->dc);
	DcExtent extent;

	if (n > 0 && model_chance(model, 60)) {
		dc_device_extents(device->dc, (size_t)model_random(model, (int)n), &extent, 1);
		request.region = extent.region;
		request.tag = extent.tag;
		if (model_chance(model, 50)) {
			range.offset = extent.dpa -
				       dc_device_region(device->dc, extent.region)->base;
			range.len = extent.len;
			if (model_chance(model, 30))
				range.len = BLOCK;
			request.tag = (Uuid){ .b = { 0 } };
			request.extents = &range;
			request.n_extents = 1;
		}
	}
	if (!capacity_release(model->cap, device->dc, &request, NULL, &error)) {
		g_autofree char *after = model_snapshot(model);

		g_assert_cmpstr(before, ==, after);
	}
}

static void op_answer(Model *model)
{
	if (model->pending->len > 0)
		model_answer(model, (guint)model_random(model, (int)model->pending->len));
}

static void op_tick(Model *model)
{
	static const uint64_t steps_us[] = { 1000, 300000, 1000000, 5000000, 70000000 };

	model->now_us += steps_us[model_random(model, G_N_ELEMENTS(steps_us))];
	capacity_tick(model->cap);
	for (unsigned i = 0; i < N_DEVICES; i++) {
		const Command *command = &model->devices[i].dc->command;

		g_assert_true(!command->active || command->deadline_us > model->now_us);
	}
}

static void op_read_list(Model *model)
{
	ModelDevice *device = any_device(model);

	dc_device_set_events_enabled(device->dc, !model_chance(model, 10));
	dc_device_list_was_read(device->dc);
}

static void op_read_log(Model *model)
{
	ModelDevice *device = any_device(model);

	if (device->log->len > 0) {
		LogRecord *record = &g_array_index(device->log, LogRecord, 0);

		if (record->read && model_chance(model, 70)) {
			uint64_t cookie = record->cookie;

			g_array_remove_index(device->log, 0);
			dc_device_record_cleared(device->dc, cookie);
		} else if (!record->read) {
			record->read = true;
			dc_device_record_read(device->dc, record->cookie);
		}
	}
}

static void op_host_writes(Model *model)
{
	Process *process;

	if (model->processes->len == 0)
		return;
	process = model->processes->pdata[model_random(model, (int)model->processes->len)];
	/* Through any descriptor it ever had. */
	if (process->alive && process->files->len > 0) {
		MemFile *file =
			process->files->pdata[model_random(model, (int)process->files->len)];
		uint64_t n = mem_file_len(file) / BLOCK;

		model_write(model, file, (uint64_t)model_random(model, (int)n) * BLOCK,
			    process->host.serial);
	}
}

#endif
