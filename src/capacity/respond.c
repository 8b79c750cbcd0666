/* SPDX-License-Identifier: BSD-3-Clause */
/* 4802h: deciding on a host's answer to an offer, and carrying it out with full rollback. */
#include "capacity/accept.h"
#include "capacity/ranges.h"

/*
 * decide -> (journal: dirty) -> prepare all -> journal: accept -> expose all -> lists, counters,
 * generation -> Success. Until the last step nothing but the offer's "being accepted" has changed,
 * so failing means: let go of the maps, take the journal's word back, answer. The answer never
 * waits longer than the deadline; the letting go may, and the offer refuses answers (05h) until
 * then. An answer that lists nothing goes the same way, without maps.
 */

static void accept_unwind(Accept *accept, enum cxl_rc rc);

/* ---- decide: changes nothing ---- */

static enum cxl_rc find_pieces(const DcDevice *dev, const Offer *offer, const GArray *ranges,
			       GArray *pieces)
{
	uint64_t page = offer->mem->file ? mem_file_page_size(offer->mem->file) : 1;

	for (guint i = 0; i < ranges->len; i++) {
		const DcRange *range = &g_array_index(ranges, DcRange, i);
		AcceptPiece piece = { .dpa = range->dpa, .len = range->len };

		piece.extent = offer_find_extent(offer, range->dpa);
		if (!piece.extent || range->len > extent_end(piece.extent) - range->dpa)
			return CXL_RC_INVALID_PA;
		/* Large pages cannot be handed out in parts. */
		if (range->dpa % page != 0 || range->len % page != 0)
			return CXL_RC_INVALID_EXTENT_LIST;
		g_array_append_val(pieces, piece);
	}
	return CXL_RC_SUCCESS;
}

/* How many entries a response may have: what the list has room for when this group is answered. */
static uint32_t free_list_space(const DcDevice *dev)
{
	const Offer *first = delivery_first(dev);
	uint64_t used = extent_list_n(dev->list) + dev->n_pending;
	uint32_t max = dc_device_max_extents(dev);

	if (first)
		used -= first->extents->len;
	return used < max ? (uint32_t)(max - used) : 0;
}

static enum cxl_rc decide(DcDevice *dev, GArray *ranges, GArray *pieces)
{
	const Offer *first = delivery_first(dev);
	enum cxl_rc rc;

	if (ranges->len > free_list_space(dev))
		return CXL_RC_RESOURCES_EXHAUSTED;
	rc = ranges_check(dev, ranges);
	if (rc != CXL_RC_SUCCESS)
		return rc;
	if (!first)
		return CXL_RC_INVALID_PA;
	rc = find_pieces(dev, first, ranges, pieces);
	if (rc != CXL_RC_SUCCESS)
		return rc;
	if (first->accept || (dev->host.serial != 0 && !dev->attached) ||
	    !memory_is_ready_for_offer(first->mem, &dev->host))
		return CXL_RC_RETRY_REQUIRED;
	return CXL_RC_SUCCESS;
}

static int compare_pieces(gconstpointer a, gconstpointer b)
{
	const AcceptPiece *x = a, *y = b;

	if (x->extent->order != y->extent->order)
		return x->extent->order < y->extent->order ? -1 : 1;
	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

/* ---- the end, good or bad ---- */

bool accept_is_recorded(const Accept *accept)
{
	return accept->journal_open || accept->journaled;
}

void accept_free(Accept *accept)
{
	g_array_unref(accept->pieces);
	g_free(accept);
}

static void accept_over(Accept *accept, enum cxl_rc rc)
{
	DcDevice *dev = accept->dev;

	accept->offer->accept = NULL;
	g_ptr_array_remove_fast(dev->accepts, accept);
	if (dev->command.accept == accept)
		dc_device_end_command(dev, rc);
}

static void accept_extent(Accept *accept, Extent *extent, const AcceptPiece *piece)
{
	DcDevice *dev = accept->dev;

	extent_set_state(extent, EXTENT_ACCEPTED);
	extent_set_bytes(extent, BYTES_ACCEPTED);
	if (accept->stage == ACCEPT_EXPOSING) {
		extent->map_id = piece->map_id;
		extent->map_state = MAP_EXPOSED;
	}
	extent_list_insert(dev->list, extent);
	capacity_tell(dev->cap, NOTICE_ACCEPTED, accept->offer, extent->dpa, extent->len);
}

static void decline_extent(Extent *extent)
{
	Offer *offer = extent->offer;

	capacity_tell(offer->dev->cap, NOTICE_DECLINED, offer, extent->dpa, extent->len);
	extent_set_state(extent, EXTENT_DECLINED);
	memory_unreserve(extent);
}

/* Cuts EXTENT into the accepted pieces and the rest; returns the index of the next piece. */
static guint commit_extent(Accept *accept, Extent *extent, guint index)
{
	const Extent *original = extent;

	for (; extent && index < accept->pieces->len; index++) {
		const AcceptPiece *piece = &g_array_index(accept->pieces, AcceptPiece, index);
		Extent *rest = NULL;

		if (piece->extent != original)
			break;
		if (piece->dpa > extent->dpa) {
			Extent *upper = extent_split(extent, piece->dpa - extent->dpa);

			/* ORIGINAL is only compared from here on. */
			decline_extent(extent);
			extent = upper;
		}
		if (piece->len < extent->len)
			rest = extent_split(extent, piece->len);
		accept_extent(accept, extent, piece);
		extent = rest;
	}
	if (extent)
		decline_extent(extent);
	return index;
}

static void accept_commit(Accept *accept)
{
	DcDevice *dev = accept->dev;
	Offer *offer = accept->offer;
	guint index = 0;

	if (accept->pieces->len == 0) {
		accept_over(accept, CXL_RC_SUCCESS);
		offer_end(offer, EXTENT_DECLINED, NOTICE_DECLINED);
		accept_free(accept);
		return;
	}
	for (guint i = 0; i < offer->extents->len; i++)
		index = commit_extent(accept, offer->extents->pdata[i], index);
	dev->generation++;
	accept_over(accept, CXL_RC_SUCCESS);
	offer_unpend(offer);
	accept_free(accept);
}

/* ---- rolling back ---- */

static void accept_check_unwound(Accept *accept)
{
	Offer *offer = accept->offer;

	if (accept->n_open > 0)
		return;
	if (offer->state == OFFER_ACCEPTING)
		offer->state = OFFER_OFFERED;
	accept_over(accept, accept->rc);
	accept_free(accept);
	if (offer->withdraw_when_unwound)
		offer_end(offer, EXTENT_WITHDRAWN, NOTICE_WITHDRAWN);
	else
		delivery_unblock_offer(offer, OFFER_BLOCK_MEMORY);
}

static void accept_part_undone(void *context, bool ok)
{
	Accept *accept = context;

	accept->n_open--;
	accept_check_unwound(accept);
}

/* The journal says accepted, the host will hear otherwise. */
static void accept_take_back(Accept *accept)
{
	accept->journaled = false;
	accept->n_open++;
	journal_submit(accept->dev->cap, accept_undo_record(accept), true, accept_part_undone,
		       accept);
}

static void accept_unwind(Accept *accept, enum cxl_rc rc)
{
	DcDevice *dev = accept->dev;
	bool made = accept->stage != ACCEPT_DIRTYING;
	GArray *parts;

	accept->unwinding = true;
	accept->rc = rc;
	accept->n_open = 1;
	if (accept->effect != 0)
		effect_forget(dev, accept->effect);
	accept->effect = 0;
	if (made && accept->pieces->len > 0 && dc_device_owes_maps(dev)) {
		parts = g_array_sized_new(FALSE, FALSE, sizeof(DcMapPart), accept->pieces->len);
		for (guint i = 0; i < accept->pieces->len; i++) {
			const AcceptPiece *piece = &g_array_index(accept->pieces, AcceptPiece, i);
			DcMapPart part = { piece->map_id, piece->dpa, piece->len };

			g_array_append_val(parts, part);
		}
		accept->n_open++;
		effect_let_go(dev, accept->stage != ACCEPT_EXPOSING, parts, accept_part_undone,
			      accept);
	}
	if (accept->journal_open)
		accept->n_open++;
	else if (accept->journaled)
		accept_take_back(accept);
	accept_part_undone(accept, true);
}

void accept_abort(Accept *accept, enum cxl_rc rc)
{
	if (!accept->unwinding)
		accept_unwind(accept, rc);
}

/* ---- the steps ---- */

static void accept_exposed(void *context, bool ok)
{
	Accept *accept = context;

	accept->effect = 0;
	if (ok)
		accept_commit(accept);
	else
		accept_unwind(accept, CXL_RC_INTERNAL_ERROR);
}

static void accept_expose(Accept *accept)
{
	GArray *ids = g_array_sized_new(FALSE, FALSE, sizeof(uint64_t), accept->pieces->len);

	for (guint i = 0; i < accept->pieces->len; i++)
		g_array_append_val(ids, g_array_index(accept->pieces, AcceptPiece, i).map_id);
	accept->stage = ACCEPT_EXPOSING;
	accept->effect = effect_expose(accept->dev, ids, accept_exposed, accept);
}

static void accept_journaled(void *context, bool ok)
{
	Accept *accept = context;

	accept->journal_open = false;
	accept->journaled = ok;
	if (accept->unwinding) {
		if (ok)
			accept_take_back(accept);
		accept_part_undone(accept, true);
	} else if (!ok) {
		accept_unwind(accept, CXL_RC_INTERNAL_ERROR);
	} else if (accept->pieces->len > 0 && dc_device_owes_maps(accept->dev)) {
		accept_expose(accept);
	} else {
		accept_commit(accept);
	}
}

static void accept_journal(Accept *accept)
{
	accept->stage = ACCEPT_JOURNALING;
	accept->journal_open = true;
	journal_submit(accept->dev->cap, accept_record(accept), false, accept_journaled, accept);
}

static void accept_prepared(void *context, bool ok)
{
	Accept *accept = context;

	accept->effect = 0;
	if (ok)
		accept_journal(accept);
	else
		accept_unwind(accept, CXL_RC_INTERNAL_ERROR);
}

static void accept_prepare(Accept *accept)
{
	DcDevice *dev = accept->dev;
	GArray *maps = g_array_sized_new(FALSE, FALSE, sizeof(DcMap), accept->pieces->len);

	for (guint i = 0; i < accept->pieces->len; i++) {
		const AcceptPiece *piece = &g_array_index(accept->pieces, AcceptPiece, i);
		DcMap map = extent_make_map(piece->extent, piece->dpa, piece->len, piece->map_id);

		g_array_append_val(maps, map);
	}
	accept->stage = ACCEPT_PREPARING;
	accept->effect = effect_prepare(dev, maps, accept_prepared, accept);
}

static void accept_dirtied(void *context, bool ok)
{
	Accept *accept = context;

	accept->journal_open = false;
	if (ok && accept->unwinding)
		memory_not_handed_out(accept->offer->mem, &accept->host);
	if (accept->unwinding) {
		accept_part_undone(accept, true);
	} else if (ok) {
		memory_hand_out(accept->offer->mem, &accept->host);
		accept_prepare(accept);
	} else {
		accept_unwind(accept, CXL_RC_INTERNAL_ERROR);
	}
}

static void accept_dirty(Accept *accept)
{
	Capacity *cap = accept->dev->cap;
	RowRecord *record = journal_new(cap, ROW_REASON_DIRTY);

	rows_add_maps(cap, record);
	memory_record_hand_out(accept->offer->mem, &accept->host, record);
	accept->journal_open = true;
	journal_submit(cap, record, false, accept_dirtied, accept);
}

static void accept_begin(DcDevice *dev, GArray *pieces)
{
	Accept *accept = g_new0(Accept, 1);
	Offer *offer = delivery_first(dev);
	Backend *mem = offer->mem;

	if (pieces->len > 1)
		g_array_sort(pieces, compare_pieces);
	for (guint i = 0; i < pieces->len; i++)
		g_array_index(pieces, AcceptPiece, i).map_id = dc_device_owes_maps(dev)
								       ? dev->cap->next_map++
								       : 0;
	accept->dev = dev;
	accept->host = dev->host;
	accept->offer = offer;
	accept->pieces = g_array_ref(pieces);
	offer->accept = accept;
	offer->state = OFFER_ACCEPTING;
	g_ptr_array_add(dev->accepts, accept);
	dev->command.accept = accept;
	if (pieces->len == 0 || !dc_device_owes_maps(dev)) {
		accept_journal(accept);
	} else if (!memory_ensure_file(mem, NULL)) {
		accept_unwind(accept, CXL_RC_INTERNAL_ERROR);
	} else if (dev->cap->ops.journal && memory_record_hand_out(mem, &dev->host, NULL)) {
		accept_dirty(accept);
	} else {
		memory_hand_out(mem, &dev->host);
		accept_prepare(accept);
	}
}

/* ---- the command ---- */

static void respond(DcDevice *dev, GArray *ranges)
{
	g_autoptr(GArray) pieces = g_array_new(FALSE, FALSE, sizeof(AcceptPiece));
	Offer *first = delivery_first(dev);
	enum cxl_rc rc = CXL_RC_SUCCESS;

	if (ranges->len > 0) {
		rc = decide(dev, ranges, pieces);
		if (rc == CXL_RC_SUCCESS) {
			accept_begin(dev, pieces);
			return;
		}
	} else if (first && first->accept) {
		rc = CXL_RC_RETRY_REQUIRED;
	} else if (first && dev->cap->ops.journal) {
		accept_begin(dev, pieces);
		return;
	} else if (first) {
		offer_end(first, EXTENT_DECLINED, NOTICE_DECLINED);
	}
	dc_device_end_command(dev, rc);
}

void dc_device_add_response(DcDevice *dev, const DcRange *ranges, size_t n, bool more,
			    DcResponseDone done, void *opaque)
{
	g_autoptr(GArray) all = NULL;
	enum cxl_rc rc;

	capacity_enter(dev->cap);
	if (dc_device_begin_command(dev, done, opaque)) {
		rc = ranges_collect(dev->collected_adds, ranges, n, more, free_list_space(dev),
				    &all);
		if (all)
			respond(dev, all);
		else
			dc_device_end_command(dev, rc);
	}
	capacity_leave(dev->cap);
}
