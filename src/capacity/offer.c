/* SPDX-License-Identifier: BSD-3-Clause */
/* Offers: choosing extents for a request, every check before any change, and taking them back. */
#include "capacity/capacity_priv.h"

#define U64            "%" G_GUINT64_FORMAT
#define MAX_SHARED_SEQ UINT16_MAX

typedef struct Plan {
	DcDevice *dev;
	const DcRegion *region;
	uint8_t region_index;
	Backend *mem;   /* NULL: untagged */
	char label[64]; /* for messages: "tag ..." or "untagged" */
	uint64_t align;
	GArray *pieces; /* DpaPiece, in assembly order */
	uint64_t len;
} Plan;

static bool invalid(const Plan *plan, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);
static bool invalid(const Plan *plan, GError **error, const char *format, ...)
{
	g_autofree char *what = NULL;
	va_list args;

	va_start(args, format);
	what = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID, "offer to %s (%s): %s",
		    plan->dev->name, plan->label, what);
	return false;
}

/* ---- which memory ---- */

static bool check_untagged(Plan *plan, const OfferRequest *request, GError **error)
{
	if (plan->region->config.sharable)
		return invalid(plan, error, "region %u is sharable and takes tagged memory only",
			       request->region);
	if (plan->region->config.read_only)
		return invalid(plan, error,
			       "region %u is read-only and takes tagged read-only memory only",
			       request->region);
	if (request->policy == OFFER_ENABLE_SHARED_ACCESS)
		return invalid(plan, error, "enable-shared-access needs a tag");
	return true;
}

static bool check_tagged(Plan *plan, const OfferRequest *request, GError **error)
{
	Backend *mem = plan->mem;

	if (mem->shareable && !plan->region->config.sharable)
		return invalid(plan, error,
			       "backend %s is shareable, region %u is not; use a sharable region",
			       mem->name, request->region);
	if (plan->region->config.read_only && !mem->read_only && mem->type != BACKEND_FILE)
		return invalid(plan, error,
			       "region %u is read-only, backend %s is not; use a read-only backend",
			       request->region, mem->name);
	if (request->policy == OFFER_ENABLE_SHARED_ACCESS) {
		if (!mem->shareable)
			return invalid(plan, error, "backend %s is not shareable", mem->name);
		if (mem->n_extents[BYTES_ACCEPTED] == 0)
			return invalid(plan, error,
				       "backend %s is accepted by no host yet; offer it with "
				       "another policy first",
				       mem->name);
	}
	return !memory_refuses_offer(mem, plan->dev, error);
}

static bool find_memory(Capacity *cap, Plan *plan, const OfferRequest *request, GError **error)
{
	char text[UUID_TEXT_SIZE];

	plan->align = plan->region->config.block_size;
	if (uuid_is_null(&request->tag)) {
		g_strlcpy(plan->label, "untagged", sizeof(plan->label));
		return check_untagged(plan, request, error);
	}
	uuid_format(&request->tag, text);
	g_snprintf(plan->label, sizeof(plan->label), "tag %s", text);
	plan->mem = g_hash_table_lookup(cap->backends_by_tag, &request->tag);
	if (!plan->mem) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_NOT_FOUND,
			    "offer to %s: no backend has tag %s; add one first", plan->dev->name,
			    text);
		return false;
	}
	plan->align = MAX(plan->align, mem_file_page_size(plan->mem->file));
	return check_tagged(plan, request, error);
}

/* ---- which DPA ---- */

static const char *what_is_at(DcDevice *dev, uint64_t dpa, uint64_t len, uint64_t *ret_offer)
{
	Extent *extent = extent_list_overlap(dev->list, dpa, len);
	GHashTableIter iter;
	Offer *offer;

	*ret_offer = 0;
	if (extent) {
		*ret_offer = extent->alloc;
		return "an accepted extent";
	}
	g_hash_table_iter_init(&iter, dev->offers);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&offer)) {
		for (guint i = 0; i < offer->extents->len; i++) {
			extent = offer->extents->pdata[i];
			if (extent->dpa < dpa + len && dpa < extent_end(extent)) {
				*ret_offer = offer->id;
				return "an offered extent";
			}
		}
	}
	return "capacity that is draining or quarantined";
}

static bool check_piece(const Plan *plan, unsigned index, const OfferExtent *extent, GError **error)
{
	uint64_t region_len = plan->region->config.len;

	if (extent->len == 0)
		return invalid(plan, error, "extent %u: length is 0", index);
	if (extent->offset >= region_len || extent->len > region_len - extent->offset)
		return invalid(plan, error,
			       "extent %u: offset " U64 " and length " U64
			       " reach beyond region %u (" U64 " bytes)",
			       index, extent->offset, extent->len, plan->region_index, region_len);
	/* Blocks divide the region's base, huge pages may not: a host maps by address. */
	if ((plan->region->base + extent->offset) % plan->align != 0 ||
	    extent->len % plan->align != 0)
		return invalid(plan, error,
			       "extent %u: offset " U64 " (DPA " U64 ") and length " U64
			       " must be multiples of " U64
			       " bytes (the region's block or the backend's page)",
			       index, extent->offset, plan->region->base + extent->offset,
			       extent->len, plan->align);
	return true;
}

static int compare_pieces(gconstpointer a, gconstpointer b)
{
	const DpaPiece *x = a, *y = b;

	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

static bool check_disjoint(const Plan *plan, GError **error)
{
	g_autoptr(GArray) sorted = NULL;

	if (plan->pieces->len < 2)
		return true;
	sorted = g_array_copy(plan->pieces);
	g_array_sort(sorted, compare_pieces);
	for (guint i = 1; i < sorted->len; i++) {
		const DpaPiece *below = &g_array_index(sorted, DpaPiece, i - 1);
		const DpaPiece *above = &g_array_index(sorted, DpaPiece, i);

		if (above->dpa < below->dpa + below->len)
			return invalid(plan, error, "its extents overlap each other at offset " U64,
				       above->dpa - plan->region->base);
	}
	return true;
}

static bool place_prescribed(Plan *plan, const OfferRequest *request, GError **error)
{
	DpaSpace *space = plan->dev->spaces[plan->region_index];

	if (request->n_extents == 0)
		return invalid(plan, error, "the prescriptive policy needs at least one extent");
	for (size_t i = 0; i < request->n_extents; i++) {
		const OfferExtent *extent = &request->extents[i];
		DpaPiece piece = { plan->region->base + extent->offset, extent->len };
		uint64_t offer;
		const char *what;

		if (!check_piece(plan, (unsigned)i, extent, error))
			return false;
		if (!dpa_space_is_free(space, piece.dpa, piece.len)) {
			what = what_is_at(plan->dev, piece.dpa, piece.len, &offer);
			g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
				    "offer to %s (%s): extent %u at offset " U64
				    " overlaps %s (offer " U64 ")",
				    plan->dev->name, plan->label, (unsigned)i, extent->offset, what,
				    offer);
			return false;
		}
		/* No overflow: disjoint parts of one region, checked below. */
		plan->len += piece.len;
		g_array_append_val(plan->pieces, piece);
	}
	if (!check_disjoint(plan, error))
		return false;
	if (plan->mem && plan->len > plan->mem->size)
		return invalid(plan, error,
			       "its extents add up to " U64 " bytes, backend %s has " U64,
			       plan->len, plan->mem->name, plan->mem->size);
	return true;
}

static bool place_freely(Plan *plan, const OfferRequest *request, GError **error)
{
	DpaSpace *space = plan->dev->spaces[plan->region_index];
	bool contiguous = request->policy == OFFER_CONTIGUOUS;
	uint64_t len = request->len, largest = 0;

	if (request->n_extents > 0)
		return invalid(plan, error, "only the prescriptive policy takes extents");
	if (plan->mem) {
		if (len != 0 && len != plan->mem->size)
			return invalid(plan, error,
				       "length " U64 " must be 0 or the size of backend %s, " U64,
				       len, plan->mem->name, plan->mem->size);
		len = plan->mem->size;
	}
	if (len == 0)
		return invalid(plan, error, "length is 0");
	if (len % plan->align != 0)
		return invalid(plan, error,
			       "length " U64 " is not a multiple of region %u's block size " U64,
			       len, plan->region_index, plan->align);
	g_array_unref(plan->pieces);
	plan->pieces = dpa_space_plan(space, len, plan->align, contiguous,
				      plan->dev->config.max_chain, &largest);
	if (!plan->pieces) {
		plan->pieces = g_array_new(FALSE, FALSE, sizeof(DpaPiece));
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_LIMIT,
			    "offer to %s (%s): region %u has no room for " U64
			    " bytes%s in at most %u extents: " U64 " free, longest run " U64,
			    plan->dev->name, plan->label, plan->region_index, len,
			    contiguous ? " in one piece" : "", plan->dev->config.max_chain,
			    dpa_space_free_len(space), largest);
		return false;
	}
	plan->len = len;
	return true;
}

/* ---- limits ---- */

static bool exceeds(const Plan *plan, const char *limit, uint64_t wanted, uint64_t max,
		    GError **error)
{
	if (wanted <= max)
		return false;
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_LIMIT,
		    "offer to %s (%s): would need " U64 " where %s is " U64, plan->dev->name,
		    plan->label, wanted, limit, max);
	return true;
}

static bool check_limits(const Plan *plan, GError **error)
{
	DcDevice *dev = plan->dev;
	uint32_t n = plan->pieces->len;
	uint32_t max = dc_device_max_extents(dev);

	if (exceeds(plan, "max-offers", g_hash_table_size(dev->offers) + 1, dev->config.max_offers,
		    error) ||
	    exceeds(plan, "max-chain (extents in one offer)", n, dev->config.max_chain, error) ||
	    (plan->region->config.sharable &&
	     exceeds(plan, "the shared sequence number's range", n, MAX_SHARED_SEQ + 1, error)) ||
	    exceeds(plan,
		    max < dev->config.max_extents ? "the host's limit of mappings" : "max-extents",
		    extent_list_n(dev->list) + dev->n_pending + n, max, error))
		return false;
	if (dev->ops.log_reserve(dev->opaque, n))
		return true;
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_LIMIT,
		    "offer to %s (%s): the event log has no room for %u records; wait until the "
		    "host has read it",
		    dev->name, plan->label, n);
	return false;
}

/* ---- doing it ---- */

static int compare_extents_by_dpa(gconstpointer a, gconstpointer b)
{
	const Extent *x = *(Extent *const *)a, *y = *(Extent *const *)b;

	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

static void sort_extents(Offer *offer)
{
	if (offer->extents->len > 1) {
		offer->by_dpa = g_ptr_array_copy(offer->extents, NULL, NULL);
		g_ptr_array_sort(offer->by_dpa, compare_extents_by_dpa);
	} else {
		offer->by_dpa = g_ptr_array_ref(offer->extents);
	}
}

static void add_extents(Offer *offer, const Plan *plan)
{
	DcDevice *dev = plan->dev;
	uint64_t mem_offset = 0;

	offer->extents = g_ptr_array_new_full(plan->pieces->len, NULL);
	for (guint i = 0; i < plan->pieces->len; i++) {
		const DpaPiece *piece = &g_array_index(plan->pieces, DpaPiece, i);
		Extent *extent = extent_new(offer, plan->region_index, piece->dpa, piece->len);

		extent->mem_offset = mem_offset;
		extent->order = i;
		extent->shared_seq = plan->region->config.sharable ? (uint16_t)i : 0;
		mem_offset += piece->len;
		dpa_space_take(dev->spaces[plan->region_index], piece->dpa, piece->len);
		extent_set_state(extent, EXTENT_QUEUED);
		extent_set_bytes(extent, BYTES_RESERVED);
		g_ptr_array_add(offer->extents, extent);
	}
	sort_extents(offer);
}

static void offer_pend(Offer *offer)
{
	DcDevice *dev = offer->dev;

	offer->pending = true;
	g_hash_table_insert(dev->offers, &offer->id, offer);
	dev->n_pending += offer->extents->len;
}

static void offer_tell(Offer *offer, CapacityNoticeType notice)
{
	capacity_tell(offer->dev->cap, notice, offer, ((Extent *)offer->extents->pdata[0])->dpa,
		      offer->len);
}

static void offer_recorded(void *context, bool ok)
{
	Offer *offer = context;

	offer->journaling = false;
	offer->dev->n_journaling--;
	if (!ok) {
		offer_end(offer, EXTENT_WITHDRAWN, NOTICE_OFFER_FAILED);
	} else if (offer->withdraw_when_unwound) {
		offer_end(offer, EXTENT_WITHDRAWN, NOTICE_WITHDRAWN);
	} else {
		offer_tell(offer, NOTICE_OFFERED);
		delivery_unblock_offer(offer, OFFER_BLOCK_JOURNAL);
	}
}

static Offer *offer_alloc(DcDevice *dev, uint64_t id)
{
	Offer *offer = g_new0(Offer, 1);

	offer->id = id;
	offer->dev = dev;
	offer->link.data = offer;
	offer->dev_link.data = offer;
	g_queue_push_tail_link(&dev->all_offers, &offer->dev_link);
	return offer;
}

static Offer *offer_new(Capacity *cap, const Plan *plan, const OfferRequest *request)
{
	Offer *offer = offer_alloc(plan->dev, cap->next_id++);
	Backend *mem;

	offer->tag = request->tag;
	offer->region = plan->region_index;
	offer->policy = (uint8_t)request->policy;
	offer->has_room = true;
	mem = plan->mem ? plan->mem : memory_new_untagged(cap, plan->len, offer->id);
	offer->mem_len = mem->size;
	memory_attach_offer(mem, offer);
	add_extents(offer, plan);
	offer->len = plan->len;
	offer_pend(offer);
	if (!uuid_is_null(&offer->tag))
		g_hash_table_insert(offer->dev->offers_by_tag, &offer->tag, offer);
	return offer;
}

Offer *offer_restore(DcDevice *dev, const RowOffer *row, Backend *mem)
{
	Offer *offer = offer_alloc(dev, row->id);

	offer->tag = row->tag;
	offer->region = row->region;
	offer->policy = row->policy;
	offer->mem_len = row->mem_len;
	if (!mem)
		return offer;
	memory_attach_offer(mem, offer);
	if (!uuid_is_null(&offer->tag))
		g_hash_table_insert(dev->offers_by_tag, &offer->tag, offer);
	return offer;
}

void offer_restore_pending(Offer *offer, GPtrArray *extents)
{
	offer->extents = extents;
	for (guint i = 0; i < extents->len; i++)
		offer->len += ((Extent *)extents->pdata[i])->len;
	sort_extents(offer);
	offer_pend(offer);
	delivery_enqueue(offer, OFFER_BLOCK_NONE);
}

static void offer_begin(Offer *offer)
{
	Capacity *cap = offer->dev->cap;
	RowRecord *record;

	offer->journaling = cap->ops.journal;
	if (!offer->journaling) {
		offer_tell(offer, NOTICE_OFFERED);
		delivery_enqueue(offer, OFFER_BLOCK_NONE);
		return;
	}
	offer->dev->n_journaling++;
	delivery_enqueue(offer, OFFER_BLOCK_JOURNAL);
	record = journal_new(cap, ROW_REASON_OFFER);
	rows_add_counters(cap, record);
	rows_add_offer(offer, true, record);
	for (guint i = 0; i < offer->extents->len; i++)
		rows_add_extent(offer->extents->pdata[i], record);
	journal_submit(cap, record, false, offer_recorded, offer);
}

bool capacity_offer(Capacity *cap, DcDevice *dev, const OfferRequest *request, uint64_t *ret_offer,
		    GError **error)
{
	g_autoptr(GArray) initial = g_array_new(FALSE, FALSE, sizeof(DpaPiece));
	Plan plan = { .dev = dev, .label = "", .pieces = g_array_ref(initial) };
	bool ok = false;

	if (journal_refuses(cap, error)) {
		ok = false;
	} else if (request->region >= dev->n_regions) {
		invalid(&plan, error, "region %u: the device has %u", request->region,
			dev->n_regions);
	} else if (request->policy > OFFER_ENABLE_SHARED_ACCESS) {
		invalid(&plan, error, "policy %d is none", (int)request->policy);
	} else {
		plan.region_index = request->region;
		plan.region = &dev->regions[request->region];
		ok = find_memory(cap, &plan, request, error) &&
		     (request->policy == OFFER_PRESCRIPTIVE
			      ? place_prescribed(&plan, request, error)
			      : place_freely(&plan, request, error)) &&
		     check_limits(&plan, error);
	}
	if (ok) {
		capacity_enter(cap);
		Offer *offer = offer_new(cap, &plan, request);

		if (ret_offer)
			*ret_offer = offer->id;
		offer_begin(offer);
		capacity_leave(cap);
	}
	g_array_unref(plan.pieces);
	return ok;
}

/* ---- taking back ---- */

void offer_free_if_over(Offer *offer)
{
	/* A static partition's is part of it. */
	if (offer->id == 0 || offer->pending || offer->live.length > 0)
		return;
	g_assert(!offer->mem && !offer->accept && !offer->journaling);
	rows_delete_offer(offer->id, journal_changes(offer->dev->cap));
	g_queue_unlink(&offer->dev->all_offers, &offer->dev_link);
	g_free(offer);
}

Extent *offer_find_extent(const Offer *offer, uint64_t dpa)
{
	guint lo = 0, hi = offer->by_dpa->len;
	Extent *extent;

	while (lo < hi) {
		guint mid = lo + (hi - lo) / 2;

		extent = offer->by_dpa->pdata[mid];
		if (extent->dpa <= dpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	extent = lo > 0 ? offer->by_dpa->pdata[lo - 1] : NULL;
	return extent && dpa - extent->dpa < extent->len ? extent : NULL;
}

void offer_unpend(Offer *offer)
{
	DcDevice *dev = offer->dev;

	delivery_drop_records(offer);
	g_queue_unlink(delivery_queue_of(offer), &offer->link);
	g_hash_table_remove(dev->offers, &offer->id);
	dev->n_pending -= offer->extents->len;
	g_clear_pointer(&offer->extents, g_ptr_array_unref);
	g_clear_pointer(&offer->by_dpa, g_ptr_array_unref);
	offer->pending = false;
	delivery_later(dev);
	offer_free_if_over(offer);
}

void offer_end(Offer *offer, ExtentState end, CapacityNoticeType notice)
{
	offer_tell(offer, notice);
	for (guint i = 0; i < offer->extents->len; i++) {
		Extent *extent = offer->extents->pdata[i];

		extent_set_state(extent, end);
		memory_unreserve(extent);
	}
	/* Some are to be wiped first. */
	if (offer->live.length > 0)
		rows_add_offer(offer, false, journal_changes(offer->dev->cap));
	offer_unpend(offer);
}

bool capacity_withdraw(Capacity *cap, DcDevice *dev, uint64_t id, const Uuid *tag, GError **error)
{
	Offer *offer = NULL;
	char text[UUID_TEXT_SIZE] = "";

	if (id != 0)
		offer = g_hash_table_lookup(dev->offers, &id);
	else if (tag && !uuid_is_null(tag))
		offer = g_hash_table_lookup(dev->offers_by_tag, tag);
	if (tag)
		uuid_format(tag, text);
	if (!offer || !offer->pending) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_NOT_FOUND,
			    "device %s has no pending offer %s" U64 "%s%s", dev->name,
			    id ? "" : "of id ", id, text[0] ? " tag " : "", text);
		return false;
	}
	if (offer->journaling) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
			    "offer " U64 " on %s is being recorded right now; try again", offer->id,
			    dev->name);
		return false;
	}
	if (offer->accept) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY,
			    "offer " U64 " on %s is being accepted right now; release it after",
			    offer->id, dev->name);
		return false;
	}
	capacity_enter(cap);
	offer_end(offer, EXTENT_WITHDRAWN, NOTICE_WITHDRAWN);
	capacity_leave(cap);
	return true;
}
