/* SPDX-License-Identifier: BSD-3-Clause */
/* Release requests as rows of the ledger, and back. */
#include "capacity/request.h"

static uint64_t wall_us(const Capacity *cap)
{
	return cap->ops.wall_us ? cap->ops.wall_us(cap->opaque) : capacity_now_us(cap);
}

/* Of the core's clock, as wall clock. */
static uint64_t to_wall_us(const Capacity *cap, uint64_t at_us)
{
	return wall_us(cap) - capacity_now_us(cap) + at_us;
}

void request_add_row(const Request *request, ReleaseState state, RowRecord *record)
{
	const Capacity *cap = request->dev->cap;
	RowRequest *row;

	if (!record)
		return;
	row = &row_record_add(record, ROW_UPSERT, ROW_REQUEST)->request;
	*row = (RowRequest){
		.id = request->id,
		.device = request->dev->id,
		.region = request->region,
		.state = (uint8_t)state,
		.forced = request->forced_out,
		.sanitize = request->sanitize,
		.tag = request->tag,
		.n_resent = request->n_resent,
		.created_us = to_wall_us(cap, request->created_us),
		.changed_us = to_wall_us(cap, request->changed_us),
	};
	if (request->timeout_us != NEVER)
		row->timeout_us = to_wall_us(cap, request->timeout_us);
}

void request_add_rows(const Request *request, RowRecord *record)
{
	uint32_t index = 0;

	if (!record)
		return;
	request_add_row(request, request->state, record);
	for (const GList *link = request->ranges.head; link; link = link->next) {
		const RequestedRange *range = link->data;

		row_record_add(record, ROW_UPSERT, ROW_REQUEST_RANGE)->request_range =
			(RowRequestRange){
				.request = request->id,
				.index = index++,
				.dpa = range->dpa,
				.len = range->len,
				.offer = range->alloc,
			};
	}
}

void requests_add_rows(const DcDevice *dev, RowRecord *record)
{
	GHashTableIter iter;
	Request *request;

	g_hash_table_iter_init(&iter, dev->requests);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&request))
		if (request->recorded)
			request_add_rows(request, record);
}

void request_delete_row(const Request *request)
{
	RowRecord *record = journal_changes(request->dev->cap);

	if (record)
		row_record_add(record, ROW_DELETE, ROW_REQUEST)->request.id = request->id;
}

void requests_delete_rows(const DcDevice *dev)
{
	GHashTableIter iter;
	Request *request;

	g_hash_table_iter_init(&iter, dev->requests);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&request))
		if (request->recorded)
			request_delete_row(request);
}

/* ---- back ---- */

/* A time of the wall clock on the core's; what has been longer ago than that counts is 0. */
static uint64_t from_wall_us(const Capacity *cap, uint64_t at_us)
{
	uint64_t now_us = capacity_now_us(cap), wall_now_us = wall_us(cap), ahead;

	if (at_us <= wall_now_us)
		return now_us - MIN(now_us, wall_now_us - at_us);
	return __builtin_add_overflow(now_us, at_us - wall_now_us, &ahead) ? NEVER : ahead;
}

Request *request_restore(DcDevice *dev, const RowRequest *row)
{
	Request *request = request_alloc(dev, row->id);

	request->state = (ReleaseState)row->state;
	request->forced_out = row->forced;
	request->sanitize = row->sanitize;
	request->recorded = dev->cap->ops.journal;
	request->region = row->region;
	request->tag = row->tag;
	request->n_resent = row->n_resent;
	request->created_us = from_wall_us(dev->cap, row->created_us);
	request->changed_us = from_wall_us(dev->cap, row->changed_us);
	if (row->timeout_us != 0)
		request->timeout_us = from_wall_us(dev->cap, row->timeout_us);
	return request;
}

static bool is_finished(const Request *request)
{
	return request->state == RELEASE_DONE || request->state == RELEASE_TIMED_OUT ||
	       request->state == RELEASE_FORCED || request->state == RELEASE_FAILED;
}

void request_restore_range(Request *request, const Extent *extent, uint64_t dpa, uint64_t len)
{
	if (is_finished(request))
		return;
	request->len += len;
	request_ask_for(request, extent, dpa, len);
}

/* The log has been emptied: what the host did not answer it is asked again. */
void request_restore_end(Request *request)
{
	if (is_finished(request)) {
		request_shelve(request);
		return;
	}
	if (request->len == 0) {
		request_finish(request, RELEASE_DONE);
		return;
	}
	request->live = true;
	request->round = request->n_resent + (request->state != RELEASE_QUEUED);
	for (GList *link = request->ranges.head; link; link = link->next)
		((RequestedRange *)link->data)->round = request->round;
	request_set_due(request, capacity_now_us(request->dev->cap) + request->backoff_us);
}
