/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks of the DPA ranges in 4802h and 4803h that are the same for both. */
#include "capacity/ranges.h"
#include "capacity/capacity_priv.h"

static int compare_ranges(gconstpointer a, gconstpointer b)
{
	const DcRange *x = a, *y = b;

	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

static enum cxl_rc check_one(const DcDevice *dev, const DcRange *range)
{
	const DcRegion *region;
	uint64_t end;

	if (range->len == 0 || __builtin_add_overflow(range->dpa, range->len, &end))
		return CXL_RC_INVALID_EXTENT_LIST;
	region = dc_device_region_at(dev, range->dpa, NULL);
	if (!region || end > region->base + region->config.len)
		return CXL_RC_INVALID_PA;
	if (range->dpa % region->config.block_size != 0 ||
	    range->len % region->config.block_size != 0)
		return CXL_RC_INVALID_EXTENT_LIST;
	return CXL_RC_SUCCESS;
}

enum cxl_rc ranges_check(const DcDevice *dev, GArray *ranges)
{
	for (guint i = 0; i < ranges->len; i++) {
		enum cxl_rc rc = check_one(dev, &g_array_index(ranges, DcRange, i));

		if (rc != CXL_RC_SUCCESS)
			return rc;
	}
	if (ranges->len > 1)
		g_array_sort(ranges, compare_ranges);
	for (guint i = 1; i < ranges->len; i++) {
		const DcRange *below = &g_array_index(ranges, DcRange, i - 1);

		if (g_array_index(ranges, DcRange, i).dpa - below->dpa < below->len)
			return CXL_RC_INVALID_EXTENT_LIST;
	}
	return CXL_RC_SUCCESS;
}

enum cxl_rc ranges_collect(GArray *collected, const DcRange *ranges, size_t n, bool more,
			   uint32_t max, GArray **ret_all)
{
	GArray *all;

	if (n > max || collected->len > max - n) {
		g_array_set_size(collected, 0);
		return CXL_RC_RESOURCES_EXHAUSTED;
	}
	if (more) {
		if (n > 0)
			g_array_append_vals(collected, ranges, (guint)n);
		return CXL_RC_SUCCESS;
	}
	all = g_array_sized_new(FALSE, FALSE, sizeof(DcRange), collected->len + (guint)n);
	if (collected->len > 0)
		g_array_append_vals(all, collected->data, collected->len);
	if (n > 0)
		g_array_append_vals(all, ranges, (guint)n);
	g_array_set_size(collected, 0);
	*ret_all = all;
	return CXL_RC_SUCCESS;
}
