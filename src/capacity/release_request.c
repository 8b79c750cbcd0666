/* SPDX-License-Identifier: BSD-3-Clause */
/* Release requests: asking a host to give capacity back, again and again, or taking it. */
#include "capacity/release_plan.h"
#include "capacity/request.h"

/*
 * Linux 7.3 clears the record without a word while the memory is in use, so a request is asked
 * again (1 s later, doubling to 60 s) until none of its bytes is accepted. A byte is in at most one
 * live request; a second one is refused. Forced requests are not live: what they name is out of the
 * list as soon as they are journaled.
 */

#define MAX_FINISHED 256 /* kept for queries */

static int compare_dpa(gconstpointer a, gconstpointer b, gpointer opaque)
{
	gsize dpa_a = GPOINTER_TO_SIZE(a), dpa_b = GPOINTER_TO_SIZE(b);

	return (dpa_a > dpa_b) - (dpa_a < dpa_b);
}

#define DPA_KEY(dpa) GSIZE_TO_POINTER((gsize)(dpa))

static uint64_t due_us(const Request *request)
{
	return MIN(request->timeout_us, request->resend_us);
}

static int compare_due(gconstpointer a, gconstpointer b, gpointer opaque)
{
	uint64_t x = due_us(a), y = due_us(b);

	return (x > y) - (x < y);
}

static void request_free(gpointer data)
{
	g_free(data);
}

void requests_init(DcDevice *dev)
{
	dev->requests = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, request_free);
	dev->requested_ranges = g_tree_new_full(compare_dpa, NULL, NULL, g_free);
	dev->due_requests = g_sequence_new(NULL);
}

/* What they still hold besides themselves. */
void requests_discard(DcDevice *dev)
{
	GHashTableIter iter;
	Request *request;

	g_hash_table_iter_init(&iter, dev->requests);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&request))
		g_clear_pointer(&request->forced, g_array_unref);
}

void requests_clear(DcDevice *dev)
{
	g_sequence_free(dev->due_requests);
	g_tree_unref(dev->requested_ranges);
	g_hash_table_unref(dev->requests);
}

void request_set_due(Request *request, uint64_t resend_us)
{
	DcDevice *dev = request->dev;

	if (request->due)
		g_sequence_remove(request->due);
	request->due = NULL;
	request->resend_us = resend_us;
	if (request->live && due_us(request) != NEVER)
		request->due = g_sequence_insert_sorted(dev->due_requests, request, compare_due,
							NULL);
}

static void set_state(Request *request, ReleaseState state)
{
	request->state = state;
	request->changed_us = capacity_now_us(request->dev->cap);
	if (request->recorded)
		request_add_row(request, state, journal_changes(request->dev->cap));
}

/* ---- the ranges of live requests ---- */

static RequestedRange *range_overlapping(const DcDevice *dev, uint64_t dpa, uint64_t len)
{
	GTreeNode *above, *node;
	RequestedRange *range;

	if (g_tree_nnodes(dev->requested_ranges) == 0)
		return NULL;
	above = g_tree_upper_bound(dev->requested_ranges, DPA_KEY(dpa));
	node = above ? g_tree_node_previous(above) : g_tree_node_last(dev->requested_ranges);
	range = node ? g_tree_node_value(node) : NULL;
	if (range && dpa - range->dpa < range->len)
		return range;
	range = above ? g_tree_node_value(above) : NULL;
	return range && range->dpa - dpa < len ? range : NULL;
}

static RequestedRange *add_range(const RequestedRange *like)
{
	RequestedRange *range = g_new(RequestedRange, 1);
	Request *request = like->request;

	*range = *like;
	range->link = (GList){ .data = range };
	g_queue_push_tail_link(&request->ranges, &range->link);
	g_tree_insert_node(request->dev->requested_ranges, DPA_KEY(range->dpa), range);
	return range;
}

void request_ask_for(Request *request, const Extent *extent, uint64_t dpa, uint64_t len)
{
	const RequestedRange range = {
		.dpa = dpa,
		.len = len,
		.tag = extent->offer->tag,
		.region = extent->region,
		.alloc = extent->alloc,
		.request = request,
	};

	add_range(&range);
}

static void remove_range(RequestedRange *range)
{
	g_queue_unlink(&range->request->ranges, &range->link);
	g_tree_remove(range->request->dev->requested_ranges, DPA_KEY(range->dpa));
}

static void cut_range(RequestedRange *range, uint64_t start, uint64_t end)
{
	uint64_t range_end = range->dpa + range->len;
	RequestedRange above = *range;

	above.dpa = end;
	above.len = range_end - end;
	if (end < range_end)
		add_range(&above);
	if (start > range->dpa)
		range->len = start - range->dpa;
	else
		remove_range(range);
}

/* ---- the end of a request ---- */

void request_finish(Request *request, ReleaseState state)
{
	DcDevice *dev = request->dev;
	RequestedRange *range;

	request->live = false;
	request_set_due(request, NEVER);
	while ((range = g_queue_peek_head(&request->ranges)))
		remove_range(range);
	/* With it go its ranges. */
	if (request->recorded)
		request_delete_row(request);
	if (request->n_in_log > 0 && state != RELEASE_FORCED)
		delivery_withdraw_records(dev, request->id);
	set_state(request, state);
	request_shelve(request);
}

void request_shelve(Request *request)
{
	DcDevice *dev = request->dev;

	g_queue_push_tail_link(&dev->finished_requests, &request->link);
	request = dev->finished_requests.head->data;
	if (dev->finished_requests.length > MAX_FINISHED && !request->journaling) {
		g_queue_pop_head_link(&dev->finished_requests);
		if (request->recorded)
			request_delete_row(request);
		g_hash_table_remove(dev->requests, &request->id);
	}
}

uint64_t requests_live_at(const DcDevice *dev, uint64_t dpa, uint64_t len)
{
	const RequestedRange *range = range_overlapping(dev, dpa, len);

	return range ? range->request->id : 0;
}

bool requests_sanitize_at(const DcDevice *dev, uint64_t dpa, uint64_t len)
{
	uint64_t end = dpa + len;

	for (;;) {
		const RequestedRange *range = range_overlapping(dev, dpa, end - dpa);

		if (!range || range->request->sanitize)
			return range;
		dpa = range->dpa + range->len;
		if (dpa >= end)
			return false;
	}
}

bool requests_note_released(DcDevice *dev, uint64_t dpa, uint64_t len)
{
	uint64_t end = dpa + len;
	bool sanitize = false;
	RequestedRange *range;

	while ((range = range_overlapping(dev, dpa, len))) {
		Request *request = range->request;
		uint64_t range_start = MAX(dpa, range->dpa);
		uint64_t range_end = MIN(end, range->dpa + range->len);

		sanitize |= request->sanitize;
		request->len -= range_end - range_start;
		cut_range(range, range_start, range_end);
		if (request->len == 0)
			request_finish(request, RELEASE_DONE);
	}
	return sanitize;
}

static void post_events(DcDevice *dev, GArray *events)
{
	for (guint i = 0; i < events->len; i++)
		dev->ops.log_post(dev->opaque, &g_array_index(events, DcEvent, i));
}

static void post_forced(Capacity *cap, const Work *work)
{
	post_events(work->object, work->opaque);
	g_array_unref(work->opaque);
}

void request_forced_done(DcDevice *dev, Request *request, bool ok)
{
	Work work = { .run = post_forced, .object = dev, .opaque = request->forced };

	if (request->forced && ok) {
		request->n_in_log = request->forced->len;
		capacity_queue_work(dev->cap, &work);
	} else if (request->forced) {
		dev->ops.log_unreserve(dev->opaque, request->forced->len);
		delivery_unblock(dev, OFFER_BLOCK_ROOM);
		g_array_unref(request->forced);
	}
	request->forced = NULL;
	request->recorded = ok && dev->cap->ops.journal;
	if (ok)
		request->len = 0;
	request_finish(request, ok ? RELEASE_FORCED : RELEASE_FAILED);
}

/* ---- records ---- */

static GArray *make_events(Request *request, guint n, DcEventType type)
{
	GArray *events = g_array_sized_new(FALSE, FALSE, sizeof(DcEvent), n);
	uint32_t extents, extents_available, tags, tags_available;
	GList *link = request->ranges.head;

	dc_device_limits(request->dev, &extents, &extents_available, &tags, &tags_available);
	for (; link && events->len < n; link = link->next) {
		RequestedRange *range = link->data;
		DcEvent event = {
			.cookie = request->id,
			.type = type,
			.region = range->region,
			.more = events->len + 1 < n,
			.dpa = range->dpa,
			.len = range->len,
			.tag = range->tag,
			.available_extents = extents_available,
			.available_tags = tags_available,
		};

		if (range->round == request->round)
			continue;
		range->round = request->round;
		g_array_append_val(events, event);
	}
	return events;
}

static guint n_to_post(const Request *request)
{
	guint n = 0;

	for (GList *link = request->ranges.head; link; link = link->next)
		n += ((RequestedRange *)link->data)->round != request->round;
	return n;
}

/* As many of this round's records as the log has room for; the rest a second later. */
static void post(Capacity *cap, const Work *work)
{
	DcDevice *dev = work->object;
	Request *request = g_hash_table_lookup(dev->requests, &work->number);
	g_autoptr(GPtrArray) chains = NULL;
	guint left;

	if (!request || !request->live || request->journaling)
		return;
	chains = g_ptr_array_new_with_free_func((GDestroyNotify)g_array_unref);
	left = n_to_post(request);
	while (left > 0) {
		guint n = MIN(left, dev->config.max_chain);

		if (!dev->ops.log_reserve(dev->opaque, n))
			break;
		g_ptr_array_add(chains, make_events(request, n, DC_EVENT_RELEASE));
		request->n_in_log += n;
		left -= n;
	}
	if (left > 0) {
		request_set_due(request, capacity_now_us(cap) + RETRY_MIN_US);
	} else {
		request_set_due(request, NEVER);
		request->n_resent = request->round - 1;
		set_state(request, request->round > 1 ? RELEASE_RESENT : RELEASE_DELIVERED);
	}
	for (guint i = 0; i < chains->len; i++)
		post_events(dev, chains->pdata[i]);
}

static void lost(Request *request)
{
	uint64_t now_us = capacity_now_us(request->dev->cap);

	request->n_in_log = 0;
	set_state(request, RELEASE_CLEARED_UNANSWERED);
	request_set_due(request, now_us + request->backoff_us);
	request->backoff_us = MIN(request->backoff_us * 2, RETRY_MAX_US);
}

void requests_record_cleared(DcDevice *dev, uint64_t cookie)
{
	Request *request = g_hash_table_lookup(dev->requests, &cookie);

	if (!request || request->n_in_log == 0)
		return;
	request->n_in_log--;
	if (request->live && request->n_in_log == 0 && n_to_post(request) == 0)
		lost(request);
}

void requests_records_lost(DcDevice *dev)
{
	GHashTableIter iter;
	Request *request;

	g_hash_table_iter_init(&iter, dev->requests);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&request)) {
		if (!request->live || request->n_in_log == 0)
			continue;
		delivery_withdraw_records(dev, request->id);
		lost(request);
	}
}

void requests_tick(DcDevice *dev, uint64_t now_us)
{
	while (!g_sequence_is_empty(dev->due_requests)) {
		Request *request = g_sequence_get(g_sequence_get_begin_iter(dev->due_requests));

		if (due_us(request) > now_us)
			break;
		if (request->timeout_us <= now_us) {
			request_finish(request, RELEASE_TIMED_OUT);
			continue;
		}
		if (n_to_post(request) == 0)
			request->round++;
		request_set_due(request, NEVER);
		capacity_queue(dev->cap, post, dev, request->id);
	}
}

uint64_t requests_deadline_us(const DcDevice *dev)
{
	if (g_sequence_is_empty(dev->due_requests))
		return NEVER;
	return due_us(g_sequence_get(g_sequence_get_begin_iter(dev->due_requests)));
}

/* ---- doing it ---- */

Request *request_alloc(DcDevice *dev, uint64_t id)
{
	Request *request = g_new0(Request, 1);

	request->id = id;
	request->dev = dev;
	request->created_us = request->changed_us = capacity_now_us(dev->cap);
	request->timeout_us = request->resend_us = NEVER;
	request->backoff_us = RETRY_MIN_US;
	request->round = 1;
	request->link.data = request;
	g_hash_table_insert(dev->requests, &request->id, request);
	return request;
}

static Request *request_new(const ReleasePlan *plan)
{
	DcDevice *dev = plan->dev;
	Request *request = request_alloc(dev, dev->cap->next_id++);

	request->forced_out = plan->request->forced;
	request->sanitize = plan->request->sanitize;
	request->region = plan->request->region;
	request->tag = plan->request->tag;
	request->len = plan->len;
	if (plan->request->timeout_us == 0 ||
	    __builtin_add_overflow(request->created_us, plan->request->timeout_us,
				   &request->timeout_us))
		request->timeout_us = NEVER;
	set_state(request, RELEASE_QUEUED);
	return request;
}

static void asked(void *context, bool ok)
{
	Request *request = context;
	DcDevice *dev = request->dev;

	request->journaling = false;
	dev->n_journaling--;
	request->recorded = ok && dev->cap->ops.journal;
	if (!request->live) {
		/* Its ranges are not asked for any more. */
		if (request->recorded) {
			request_delete_row(request);
			request_add_row(request, request->state, journal_changes(dev->cap));
		}
		return;
	}
	if (!ok) {
		request_finish(request, RELEASE_FAILED);
		return;
	}
	for (const GList *link = request->ranges.head; link; link = link->next) {
		const RequestedRange *range = link->data;
		const Extent *extent = extent_list_find(dev->list, range->dpa);

		if (extent)
			capacity_tell(dev->cap, NOTICE_RELEASE_REQUESTED, extent->offer, range->dpa,
				      range->len);
	}
	capacity_queue(dev->cap, post, dev, request->id);
}

static void ask(Request *request, const ReleasePlan *plan)
{
	DcDevice *dev = plan->dev;
	RowRecord *record = journal_new(dev->cap, ROW_REASON_REQUEST);

	request->live = true;
	request->journaling = true;
	dev->n_journaling++;
	for (guint i = 0; i < plan->ranges->len; i++) {
		const DcRange *range = &g_array_index(plan->ranges, DcRange, i);

		request_ask_for(request, plan->extents->pdata[i], range->dpa, range->len);
	}
	request_set_due(request, NEVER);
	rows_add_counters(dev->cap, record);
	request_add_rows(request, record);
	journal_submit(dev->cap, record, false, asked, request);
}

/* The host is told if its log has room; it is not asked. */
static void force(Request *request, const ReleasePlan *plan, bool must_apply)
{
	DcDevice *dev = plan->dev;
	guint n = plan->ranges->len;
	ReleaseOptions options = {
		.forced = true,
		.sanitize = request->sanitize,
		.must_apply = must_apply,
		.request = request,
	};

	if (dev->ops.log_reserve(dev->opaque, n))
		request->forced = g_array_sized_new(FALSE, FALSE, sizeof(DcEvent), n);
	for (guint i = 0; request->forced && i < n; i++) {
		const Extent *extent = plan->extents->pdata[i];
		const DcRange *range = &g_array_index(plan->ranges, DcRange, i);
		DcEvent event = {
			.cookie = request->id,
			.type = DC_EVENT_FORCED_RELEASE,
			.region = extent->region,
			.more = i + 1 < n && (i + 1) % dev->config.max_chain != 0,
			.dpa = range->dpa,
			.len = range->len,
			.tag = extent->offer->tag,
			.shared_seq = extent->shared_seq,
		};

		dc_device_limits(dev, &(uint32_t){ 0 }, &event.available_extents, &(uint32_t){ 0 },
				 &event.available_tags);
		g_array_append_val(request->forced, event);
	}
	release_start(dev, plan->ranges, &options);
}

bool capacity_release(Capacity *cap, DcDevice *dev, const ReleaseRequest *request, uint64_t *ret_id,
		      GError **error)
{
	g_autoptr(GPtrArray) extents = g_ptr_array_new();
	g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(DcRange));
	ReleasePlan plan = { .dev = dev, .request = request, .extents = extents, .ranges = ranges };
	Request *made;

	if (journal_refuses(cap, error) || !release_plan_decide(&plan, error))
		return false;
	capacity_enter(cap);
	made = request_new(&plan);
	if (ret_id)
		*ret_id = made->id;
	if (request->forced)
		force(made, &plan, false);
	else
		ask(made, &plan);
	capacity_leave(cap);
	return true;
}

void requests_force(DcDevice *dev, GPtrArray *extents)
{
	g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(DcRange));
	const Extent *first = extents->pdata[0];
	ReleaseRequest request = { .region = first->region, .forced = true };
	ReleasePlan plan = {
		.dev = dev, .request = &request, .extents = extents, .ranges = ranges
	};

	request.tag = first->offer->tag;
	for (guint i = 0; i < extents->len; i++) {
		const Extent *extent = extents->pdata[i];
		DcRange range = { extent->dpa, extent->len };

		g_array_append_val(ranges, range);
		plan.len += extent->len;
	}
	force(request_new(&plan), &plan, true);
}
