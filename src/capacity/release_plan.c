/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks of a new release request: what it names, before anything changes. */
#include "capacity/release_plan.h"

#define U64 "%" G_GUINT64_FORMAT

static bool refuse(const ReleasePlan *plan, GError **error, CapacityError code, const char *format,
		   ...) G_GNUC_PRINTF(4, 5);
static bool refuse(const ReleasePlan *plan, GError **error, CapacityError code, const char *format,
		   ...)
{
	g_autofree char *what = NULL;
	va_list args;

	va_start(args, format);
	what = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, CAPACITY_ERROR, (int)code, "release from %s: %s", plan->dev->name, what);
	return false;
}

static bool want(ReleasePlan *plan, Extent *extent, uint64_t dpa, uint64_t len, GError **error)
{
	const Backend *mem = extent->offer->mem;
	uint64_t live = requests_live_at(plan->dev, dpa, len);
	uint64_t page = mem->file ? mem_file_page_size(mem->file) : 1;
	DcRange range = { dpa, len };

	if (dpa % page != 0 || len % page != 0)
		return refuse(plan, error, CAPACITY_ERROR_INVALID,
			      "the extent at DPA 0x%" G_GINT64_MODIFIER "x has pages of " U64
			      " bytes and cannot be given back in parts of them",
			      extent->dpa, page);
	if (plan->request->sanitize && mem->read_only)
		return refuse(plan, error, CAPACITY_ERROR_INVALID,
			      "backend %s is read-only and cannot be sanitized", mem->name);
	if (extent->locked)
		return refuse(plan, error, CAPACITY_ERROR_BUSY,
			      "the extent at DPA 0x%" G_GINT64_MODIFIER
			      "x is being released already",
			      extent->dpa);
	if (live && !plan->request->forced)
		return refuse(plan, error, CAPACITY_ERROR_BUSY,
			      "request " U64 " for DPA 0x%" G_GINT64_MODIFIER
			      "x is still open; wait for it or force",
			      live, dpa);
	g_ptr_array_add(plan->extents, extent);
	g_array_append_val(plan->ranges, range);
	plan->len += len;
	return true;
}

static bool want_tag(ReleasePlan *plan, GError **error)
{
	const ReleaseRequest *request = plan->request;
	DcDevice *dev = plan->dev;
	const Offer *offer = g_hash_table_lookup(dev->offers_by_tag, &request->tag);
	Extent *extent = offer ? extent_list_first_of(dev->list, offer->id) : NULL;
	char text[UUID_TEXT_SIZE];

	for (; extent && extent->alloc == offer->id; extent = extent_list_next(dev->list, extent))
		if (extent->region == request->region &&
		    !want(plan, extent, extent->dpa, extent->len, error))
			return false;
	if (plan->ranges->len > 0)
		return true;
	uuid_format(&request->tag, text);
	return refuse(plan, error, CAPACITY_ERROR_NOT_FOUND,
		      "nothing of tag %s is accepted in region %u%s", text, request->region,
		      offer && offer->pending ? "; it is offered: withdraw it instead" : "");
}

static bool want_range(ReleasePlan *plan, const OfferExtent *extent, GError **error)
{
	const DcRegion *region = &plan->dev->regions[plan->request->region];
	uint64_t block = region->config.block_size, dpa, end;

	if (extent->len == 0 || extent->offset % block != 0 || extent->len % block != 0 ||
	    extent->offset >= region->config.len ||
	    extent->len > region->config.len - extent->offset)
		return refuse(plan, error, CAPACITY_ERROR_INVALID,
			      "offset " U64 " and length " U64 " must be multiples of region %u's "
			      "block size " U64 " and inside its " U64 " bytes",
			      extent->offset, extent->len, plan->request->region, block,
			      region->config.len);
	dpa = region->base + extent->offset;
	end = dpa + extent->len;
	while (dpa < end) {
		Extent *found = extent_list_find(plan->dev->list, dpa);
		uint64_t stop;

		if (!found)
			return refuse(plan, error, CAPACITY_ERROR_NOT_FOUND,
				      "offset " U64 " of region %u is not accepted",
				      dpa - region->base, plan->request->region);
		stop = MIN(end, extent_end(found));
		if (!want(plan, found, dpa, stop - dpa, error))
			return false;
		dpa = stop;
	}
	return true;
}

static int compare_ranges(gconstpointer a, gconstpointer b)
{
	const DcRange *x = a, *y = b;

	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

static bool want_ranges(ReleasePlan *plan, GError **error)
{
	const ReleaseRequest *request = plan->request;
	g_autoptr(GArray) sorted = NULL;

	if (request->n_extents == 0)
		return refuse(plan, error, CAPACITY_ERROR_INVALID, "needs a tag or extents");
	for (size_t i = 0; i < request->n_extents; i++)
		if (!want_range(plan, &request->extents[i], error))
			return false;
	sorted = g_array_copy(plan->ranges);
	g_array_sort(sorted, compare_ranges);
	for (guint i = 1; i < sorted->len; i++)
		if (g_array_index(sorted, DcRange, i - 1).dpa +
			    g_array_index(sorted, DcRange, i - 1).len >
		    g_array_index(sorted, DcRange, i).dpa)
			return refuse(plan, error, CAPACITY_ERROR_INVALID,
				      "its extents overlap each other");
	return true;
}

bool release_plan_decide(ReleasePlan *plan, GError **error)
{
	const ReleaseRequest *request = plan->request;

	if (request->region >= plan->dev->n_regions)
		return refuse(plan, error, CAPACITY_ERROR_INVALID, "region %u: the device has %u",
			      request->region, plan->dev->n_regions);
	if (!uuid_is_null(&request->tag))
		return want_tag(plan, error);
	return want_ranges(plan, error);
}
