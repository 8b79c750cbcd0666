/* SPDX-License-Identifier: BSD-3-Clause */
/* What becomes of memory that was used: wiped, kept, quarantined, free again. */
#include "capacity/capacity_priv.h"

/*
 * A descriptor cannot be taken back, so memory is only as free as its file. Extents come here one
 * by one when the host has confirmed that it cannot reach them (memory_return). While others of
 * the same file are in use their bytes are punched out and rest. With the last one the whole file
 * is settled: RAM gets a fresh file, so that a descriptor kept by a former host shows nothing of
 * the next. What cannot be replaced, or is to be kept, is free at once only if every former host
 * could read the pool's memory anyway (same uid) and has confirmed; else it is quarantined until
 * those hosts are gone. Read-only memory needs none of this: no tenant can leave anything in it.
 *
 * Settling is queued, so that a command that returns many extents leads to one job.
 */

static void memory_settle(Capacity *cap, const Work *work);

void memory_join(Capacity *cap, Backend *mem)
{
	mem->cap = cap;
	mem->link.data = mem;
	g_queue_push_tail_link(&cap->memories, &mem->link);
	if (mem->is_static)
		return;
	for (ByteState i = BYTES_FREE; i < BYTES_N_STATES; i++)
		*capacity_counters_at(&cap->bytes, i) += *capacity_counters_at(&mem->bytes, i);
	cap->bytes.total += mem->bytes.total;
}

void memory_leave(Backend *mem)
{
	Capacity *cap = mem->cap;

	g_queue_unlink(&cap->memories, &mem->link);
	mem->cap = NULL;
	if (mem->is_static)
		return;
	for (ByteState i = BYTES_FREE; i < BYTES_N_STATES; i++)
		*capacity_counters_at(&cap->bytes, i) -= *capacity_counters_at(&mem->bytes, i);
	cap->bytes.total -= mem->bytes.total;
}

/* All bytes at once, when no extent has any of them. */
static void set_all_bytes(Backend *mem, ByteState state)
{
	for (ByteState i = BYTES_FREE; i < BYTES_N_STATES; i++)
		capacity_counters_move(&mem->cap->bytes, i, state,
				       *capacity_counters_at(&mem->bytes, i));
	mem->bytes = (CapacityCounters){ .total = mem->size };
	*capacity_counters_at(&mem->bytes, state) = mem->size;
}

/* ---- who has a descriptor ---- */

void memory_hand_out(Backend *mem, const DcHost *host)
{
	Holder holder = { .serial = host->serial, .same_uid = host->same_uid };

	mem->dirty = true;
	for (guint i = 0; i < array_len(mem->holders); i++) {
		Holder *known = &g_array_index(mem->holders, Holder, i);

		if (known->serial == host->serial) {
			known->wiped = false;
			/* An operator's word may have been that it is. */
			known->gone = false;
			return;
		}
	}
	if (!mem->holders)
		mem->holders = g_array_new(FALSE, FALSE, sizeof(Holder));
	g_array_append_val(mem->holders, holder);
}

bool memory_record_hand_out(const Backend *mem, const DcHost *host, RowRecord *record)
{
	Holder holder = { .serial = host->serial, .same_uid = host->same_uid };

	for (guint i = 0; i < array_len(mem->holders); i++) {
		const Holder *known = &g_array_index(mem->holders, Holder, i);

		if (known->serial == host->serial && !known->wiped && !known->gone && mem->dirty)
			return false;
		if (known->serial == host->serial)
			holder.ghost = known->ghost;
	}
	if (!mem->dirty)
		rows_add_file(mem, mem->untagged, true, record);
	rows_add_holder(mem, &holder, record);
	return true;
}

void memory_host_replaced(Backend *mem, uint64_t serial)
{
	for (guint i = 0; i < array_len(mem->holders); i++) {
		Holder *holder = &g_array_index(mem->holders, Holder, i);

		if (holder->serial != serial || holder->ghost)
			continue;
		holder->ghost = true;
		rows_add_holder(mem, holder, journal_changes(mem->cap));
	}
}

/* SERIAL: whose own hold does not matter, 0 = everybody's does. */
static bool is_held_by_others(const Backend *mem, uint64_t serial)
{
	if (mem->read_only)
		return false;
	for (guint i = 0; i < array_len(mem->holders); i++) {
		const Holder *holder = &g_array_index(mem->holders, Holder, i);

		if (holder->serial != serial && !holder->gone &&
		    (holder->ghost || holder->uncertain || !holder->same_uid))
			return true;
	}
	return false;
}

bool memory_may_go_to(const Backend *mem, const DcHost *host)
{
	return mem->shareable || !is_held_by_others(mem, host->serial);
}

static bool is_in_doubt(const Backend *mem, uint64_t serial)
{
	for (guint i = 0; i < array_len(mem->holders); i++) {
		const Holder *holder = &g_array_index(mem->holders, Holder, i);

		if (holder->uncertain && !holder->gone && holder->serial != serial)
			return true;
	}
	return false;
}

bool memory_is_ready_for_offer(const Backend *mem, const DcHost *host)
{
	if (mem->shareable || mem->read_only || (!mem->dirty && !is_in_doubt(mem, host->serial)))
		return true;
	if (mem->state != MEMORY_READY || (mem->wipes && mem->past_unknown))
		return false;
	if (!mem->wipes || !mem->dirty)
		return !is_held_by_others(mem, host->serial);
	for (guint i = 0; i < array_len(mem->holders); i++) {
		const Holder *holder = &g_array_index(mem->holders, Holder, i);

		if (holder->serial != host->serial && !holder->wiped)
			return false;
	}
	return true;
}

void memory_make_ready_for_offer(Backend *mem)
{
	if (!mem->wipes || !mem->dirty)
		return;
	mem->renew_wanted = true;
	memory_settle_later(mem);
}

/* ---- offers ---- */

void memory_attach_offer(Backend *mem, Offer *offer)
{
	offer->mem = mem;
	offer->mem_link.data = offer;
	g_queue_push_tail_link(&mem->offers, &offer->mem_link);
}

void memory_detach_offer(Backend *mem, Offer *offer)
{
	DcDevice *dev = offer->dev;

	g_queue_unlink(&mem->offers, &offer->mem_link);
	offer->mem = NULL;
	if (g_hash_table_lookup(dev->offers_by_tag, &offer->tag) == offer)
		g_hash_table_remove(dev->offers_by_tag, &offer->tag);
}

bool memory_is_idle(const Backend *mem)
{
	return mem->offers.length == 0 && mem->n_jobs == 0 && !mem->settle_queued &&
	       mem->returned.length == 0 && mem->stuck.length == 0 && mem->state != MEMORY_WIPING;
}

bool memory_refuses_offer(const Backend *mem, DcDevice *dev, GError **error)
{
	const char *why = NULL;
	uint64_t offer = 0;

	if (mem->offers.length > 0)
		offer = ((const Offer *)mem->offers.head->data)->id;
	if (mem->state == MEMORY_QUARANTINED)
		why = mem->wipe_failed
			      ? "is quarantined because its wipe failed; reclaim it to try again"
			      : "is quarantined until its former host is gone; reclaim it "
				"to override";
	else if (g_hash_table_lookup(dev->offers_by_tag, &mem->tag))
		why = "is already offered to or in use by this device";
	else if (mem->n_extents[BYTES_ACCEPTED] + mem->n_extents[BYTES_RESERVED] > 0)
		why = mem->shareable ? NULL : "is already offered or accepted, and not shareable";
	else if (!memory_is_idle(mem) || mem->bytes.free != mem->bytes.total)
		why = "is still draining; try again when it is free";
	if (!why)
		return false;
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
		    offer ? "backend %s %s (offer %" G_GUINT64_FORMAT ")" : "backend %s %s",
		    mem->name, why, offer);
	return true;
}

/* ---- coming back ---- */

void memory_settle_later(Backend *mem)
{
	if (mem->settle_queued)
		return;
	mem->settle_queued = true;
	capacity_queue(mem->cap, memory_settle, mem, 0);
}

#define SIZE_KEY(size) GSIZE_TO_POINTER((gsize)(size))

static void add_sanitize(Backend *mem, uint64_t offset, uint64_t len)
{
	uint64_t known;

	if (!mem->sanitize)
		mem->sanitize = g_hash_table_new(NULL, NULL);
	known = GPOINTER_TO_SIZE(g_hash_table_lookup(mem->sanitize, SIZE_KEY(offset)));
	if (known >= len)
		return;
	g_hash_table_insert(mem->sanitize, SIZE_KEY(offset), SIZE_KEY(len));
	rows_add_wipe(mem, offset, len, journal_changes(mem->cap));
}

void memory_return(Extent *extent)
{
	Backend *mem = extent->offer->mem;

	if (extent->sanitize && !mem->wipes && !mem->read_only)
		add_sanitize(mem, extent->mem_offset, extent->len);
	g_queue_push_tail_link(&mem->returned, &extent->link);
	memory_settle_later(mem);
}

void memory_unreserve(Extent *extent)
{
	Backend *mem = extent->offer->mem;

	if (mem->dirty) {
		extent_set_bytes(extent, BYTES_DRAINING);
		g_queue_push_tail_link(&mem->returned, &extent->link);
	} else {
		extent_set_bytes(extent, BYTES_FREE);
		extent_free(extent);
	}
	memory_settle_later(mem);
}

/* ---- settling ---- */

static void end_extent(Extent *extent)
{
	Offer *offer = extent->offer;

	if (!extent_state_is_end((ExtentState)extent->state))
		capacity_tell(offer->dev->cap, NOTICE_FREED, offer, extent->dpa, extent->len);
	if (extent->state == EXTENT_QUARANTINED) {
		extent->settled = true;
		offer->dev->n_settled++;
		rows_add_extent(extent, journal_changes(offer->dev->cap));
		extent_set_bytes(extent, BYTES_FREE);
		return;
	}
	extent_set_bytes(extent, BYTES_FREE);
	if (!extent_state_is_end((ExtentState)extent->state))
		extent_set_state(extent, EXTENT_FREED);
	extent_free(extent);
}

static void end_extents(GQueue *extents)
{
	while (extents->head)
		end_extent(g_queue_pop_head_link(extents)->data);
}

/* Those whose wipe failed wait for the wipe of the whole. */
static void end_returned(Backend *mem)
{
	while (mem->stuck.head)
		g_queue_push_tail_link(&mem->returned, g_queue_pop_head_link(&mem->stuck));
	end_extents(&mem->returned);
}

/* Extents that still use the memory, whatever for. */
static size_t n_users(const Backend *mem)
{
	size_t n = 0;

	for (ByteState i = BYTES_RESERVED; i < BYTES_N_STATES; i++)
		n += mem->n_extents[i];
	return n - mem->returned.length - mem->stuck.length - mem->n_punching;
}

/* Others still use the file: punch out what came back, or let it rest. */
static void settle_parts(Backend *mem)
{
	GQueue *parts = &mem->returned;
	GArray *ranges;

	if (!mem->dirty || mem->shareable || !mem->wipes || parts->length == 0) {
		if (parts->length > 0)
			end_extents(parts);
		return;
	}
	ranges = g_array_sized_new(FALSE, FALSE, sizeof(DpaPiece), parts->length);
	for (const GList *link = parts->head; link; link = link->next) {
		const Extent *extent = link->data;
		DpaPiece range = { extent->mem_offset, extent->len };

		g_array_append_val(ranges, range);
	}
	mem->n_punching += parts->length;
	wipe_job_start(mem, WIPE_PARTS, ranges, parts);
}

static void quarantine(Backend *mem)
{
	bool reserved = n_users(mem) > 0;

	mem->state = MEMORY_QUARANTINED;
	end_returned(mem);
	if (!reserved && !mem->is_static)
		set_all_bytes(mem, BYTES_QUARANTINED);
	capacity_tell_backend(mem->cap, NOTICE_QUARANTINED, mem);
}

/* Nobody has it in use; it is fit for anybody, or for the offers that wait for it. */
static void make_ready(Backend *mem)
{
	bool was_quarantined = mem->state == MEMORY_QUARANTINED;
	bool reserved = n_users(mem) > 0;

	mem->state = MEMORY_READY;
	mem->wipe_failed = false;
	mem->renew_wanted = false;
	end_returned(mem);
	if (mem->is_static) {
		sync_later(mem->static_dev);
		return;
	}
	if (!reserved)
		set_all_bytes(mem, BYTES_FREE);
	if (was_quarantined)
		capacity_tell_backend(mem->cap, NOTICE_FREED, mem);
	for (const GList *link = mem->offers.head; link; link = link->next)
		delivery_unblock_offer(link->data, OFFER_BLOCK_MEMORY);
}

static int compare_pieces(gconstpointer a, gconstpointer b)
{
	const DpaPiece *x = a, *y = b;

	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

static GArray *sanitize_pieces(const Backend *mem)
{
	GArray *pieces = g_array_new(FALSE, FALSE, sizeof(DpaPiece));
	GHashTableIter iter;
	gpointer offset, len;

	g_hash_table_iter_init(&iter, mem->sanitize);
	while (g_hash_table_iter_next(&iter, &offset, &len)) {
		DpaPiece piece = { GPOINTER_TO_SIZE(offset), GPOINTER_TO_SIZE(len) };

		g_array_append_val(pieces, piece);
	}
	return pieces;
}

/* Several users of shared memory may each have asked for the same bytes. */
static bool is_all_sanitized(const Backend *mem)
{
	g_autoptr(GArray) pieces = mem->sanitize ? sanitize_pieces(mem) : NULL;
	uint64_t end = 0;

	if (pieces)
		g_array_sort(pieces, compare_pieces);
	for (guint i = 0; i < array_len(pieces); i++) {
		const DpaPiece *piece = &g_array_index(pieces, DpaPiece, i);

		if (piece->dpa > end)
			break;
		end = MAX(end, piece->dpa + piece->len);
	}
	return end >= mem->size;
}

static void start_whole(Backend *mem, WipeKind kind, GArray *ranges)
{
	mem->state = MEMORY_WIPING;
	wipe_job_start(mem, kind, ranges, NULL);
}

/* No host should reach it any more; the file's kind says who still could. */
static void settle_whole(Backend *mem)
{
	bool whole = mem->wipes || is_all_sanitized(mem);
	bool held = is_held_by_others(mem, 0);

	if (!mem->dirty) {
		make_ready(mem);
	} else if (mem->untagged && n_users(mem) == 0) {
		start_whole(mem, WIPE_DROP, NULL);
	} else if (held && !(whole && mem_file_is_replaceable(mem->file))) {
		if (n_users(mem) == 0)
			quarantine(mem);
	} else if (whole) {
		start_whole(mem, WIPE_WHOLE, NULL);
	} else if (mem->sanitize) {
		start_whole(mem, WIPE_SOME, sanitize_pieces(mem));
	} else {
		make_ready(mem);
	}
}

static bool may_settle_whole(const Backend *mem)
{
	size_t n = n_users(mem);

	if (mem->n_jobs > 0 || (mem->is_static && !mem->renew_wanted))
		return false;
	return n == 0 || (mem->renew_wanted && n == mem->n_extents[BYTES_RESERVED]);
}

static void memory_settle(Capacity *cap, const Work *work)
{
	Backend *mem = work->object;

	mem->settle_queued = false;
	if (mem->state == MEMORY_QUARANTINED) {
		if (n_users(mem) == 0 && (mem->returned.length > 0 || mem->stuck.length > 0))
			quarantine(mem);
	} else if (mem->state == MEMORY_READY && may_settle_whole(mem)) {
		settle_whole(mem);
	} else if (mem->state == MEMORY_READY) {
		settle_parts(mem);
	}
	if (mem->untagged && memory_is_idle(mem))
		backend_free_untagged(mem);
}

static void whole_done(Backend *mem, WipeKind kind, MemFile *fresh, int result)
{
	if (result < 0 && kind != WIPE_DROP) {
		mem->wipe_failed = true;
		quarantine(mem);
		return;
	}
	if (kind == WIPE_SOME)
		rows_delete_wipes(mem, journal_changes(mem->cap));
	g_clear_pointer(&mem->sanitize, g_hash_table_unref);
	if (kind == WIPE_WHOLE)
		backend_renew(mem, fresh);
	else if (kind == WIPE_DROP)
		mem->dirty = false; /* nobody will ever use this file again */
	make_ready(mem);
}

void memory_wipe_done(Backend *mem, WipeKind kind, GQueue *parts, MemFile *fresh, int result)
{
	if (kind != WIPE_PARTS) {
		whole_done(mem, kind, fresh, result);
	} else {
		mem->n_punching -= parts->length;
		if (result == 0) {
			end_extents(parts);
		} else {
			while (parts->head) {
				GList *link = g_queue_pop_head_link(parts);

				extent_set_bytes(link->data, BYTES_QUARANTINED);
				g_queue_push_tail_link(&mem->stuck, link);
			}
			capacity_tell_backend(mem->cap, NOTICE_QUARANTINED, mem);
		}
	}
	memory_settle_later(mem);
}

/* ---- the ways out of quarantine ---- */

static void try_again(Backend *mem)
{
	if (mem->state == MEMORY_QUARANTINED && !mem->wipe_failed)
		settle_whole(mem);
	for (const GList *link = mem->offers.head; link; link = link->next) {
		Offer *offer = link->data;

		delivery_unblock_offer(offer, OFFER_BLOCK_MEMORY);
		/* What is accepted of it may now be mapped for the present host. */
		sync_later(offer->dev);
	}
	if (mem->is_static)
		sync_later(mem->static_dev);
}

void memory_host_resumed(Backend *mem, uint64_t serial)
{
	for (guint i = 0; i < array_len(mem->holders); i++) {
		Holder *holder = &g_array_index(mem->holders, Holder, i);

		if (holder->serial != serial || !holder->uncertain)
			continue;
		holder->uncertain = false;
		try_again(mem);
	}
}

/* Besides SERIAL: it may be reported twice. */
static bool has_gone_holder(const Backend *mem, uint64_t serial)
{
	for (guint i = 0; i < array_len(mem->holders); i++) {
		const Holder *holder = &g_array_index(mem->holders, Holder, i);

		if (holder->gone && !holder->wiped && holder->serial != serial)
			return true;
	}
	return false;
}

void memory_host_gone(Backend *mem, uint64_t serial)
{
	for (guint i = 0; i < array_len(mem->holders); i++) {
		Holder *holder = &g_array_index(mem->holders, Holder, i);

		if (holder->serial != serial)
			continue;
		/* Kept memory is meant to show what its former hosts wrote; elsewhere one of those
		 * that left something stands for all, however many hosts come and go. */
		if (holder->wiped || !mem->wipes || has_gone_holder(mem, serial)) {
			rows_delete_holder(mem->incarnation, serial, journal_changes(mem->cap));
			g_array_remove_index_fast(mem->holders, i);
		} else {
			holder->gone = true;
			rows_add_holder(mem, holder, journal_changes(mem->cap));
		}
		try_again(mem);
		return;
	}
}

void memory_not_handed_out(Backend *mem, const DcHost *host)
{
	RowRecord *record = journal_changes(mem->cap);

	/* By now it may have been, for something else. */
	if (!memory_record_hand_out(mem, host, NULL))
		return;
	if (!mem->dirty && mem->untagged) {
		rows_delete_file(mem->incarnation, record);
		return;
	}
	if (!mem->dirty)
		rows_add_file(mem, false, false, record);
	rows_delete_holder(mem->incarnation, host->serial, record);
	/* As it was before. */
	for (guint i = 0; i < array_len(mem->holders); i++)
		if (g_array_index(mem->holders, Holder, i).serial == host->serial)
			rows_add_holder(mem, &g_array_index(mem->holders, Holder, i), record);
}

bool memory_reclaim(Backend *mem, GError **error)
{
	if (mem->state != MEMORY_QUARANTINED) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "backend %s: is not quarantined; there is nothing to reclaim",
			    mem->name);
		return false;
	}
	for (guint i = 0; i < array_len(mem->holders); i++)
		g_array_index(mem->holders, Holder, i).gone = true;
	rows_add_holders(mem, journal_changes(mem->cap));
	mem->wipe_failed = false;
	try_again(mem);
	return true;
}

/* Its holders are marked, so that a restart knows whose contents are not the present host's. */
void memory_renew_static(Backend *mem)
{
	if (!mem->dirty)
		return;
	for (guint i = 0; i < array_len(mem->holders); i++)
		memory_host_replaced(mem, g_array_index(mem->holders, Holder, i).serial);
	/* No operator names it to reclaim it: each new session tries again. */
	if (mem->state == MEMORY_QUARANTINED) {
		mem->state = MEMORY_READY;
		mem->wipe_failed = false;
	}
	mem->renew_wanted = true;
	memory_settle_later(mem);
}
