/* SPDX-License-Identifier: BSD-3-Clause */
/* Release requests from their rows. */
#include "capacity/restore_priv.h"

#define U64 "%" G_GUINT64_FORMAT

static int compare_ids(gconstpointer a, gconstpointer b)
{
	const RowRequest *x = *(RowRequest *const *)a, *y = *(RowRequest *const *)b;

	return (x->id > y->id) - (x->id < y->id);
}

static bool restore_request(Restore *restore, const RowRequest *row, GHashTable *made,
			    GError **error)
{
	const RestoreDevice *device = g_hash_table_lookup(restore->devices, &row->device);

	if (!device || row->region >= device->dev->n_regions || row->state > RELEASE_FAILED)
		return restore_refuse(
			error,
			"release request " U64
			": its device has no row or no region %u, or state %u is none",
			row->id, row->region, row->state);
	g_hash_table_insert(made, (gpointer)&row->id, request_restore(device->dev, row));
	return true;
}

/*
 * The latest request first: an earlier one for the same bytes was over by then, though it may not
 * have been on record as such yet.
 */
static int compare_ranges(gconstpointer a, gconstpointer b)
{
	const RowRequestRange *x = *(RowRequestRange *const *)a, *y = *(RowRequestRange *const *)b;

	return (y->request > x->request) - (y->request < x->request);
}

/* What of the range is still accepted, and so still to be asked for. */
static bool restore_range(Restore *restore, const RowRequestRange *row, GHashTable *made,
			  GError **error)
{
	const RowRequest *request = g_hash_table_lookup(restore->requests, &row->request);
	uint64_t dpa = row->dpa, end;
	DcDevice *dev;
	Extent *extent;

	if (!request || __builtin_add_overflow(row->dpa, row->len, &end))
		return restore_refuse(error,
				      "range %u of release request " U64
				      ": the request has no row, or it wraps around",
				      row->index, row->request);
	dev = ((const RestoreDevice *)g_hash_table_lookup(restore->devices, &request->device))->dev;
	while (dpa < end && (extent = extent_list_overlap(dev->list, dpa, end - dpa))) {
		uint64_t start = MAX(dpa, extent->dpa), stop = MIN(end, extent_end(extent));

		dpa = stop;
		if (extent->alloc != row->offer)
			continue;
		if (requests_live_at(dev, start, stop - start) != 0)
			continue;
		request_restore_range(g_hash_table_lookup(made, &row->request), extent, start,
				      stop - start);
	}
	return true;
}

bool restore_requests(Restore *restore, GError **error)
{
	GHashTable *made = restore->made;
	g_autoptr(GPtrArray) rows = hash_table_values(restore->requests);
	g_autoptr(GPtrArray) ranges = g_ptr_array_new();

	g_ptr_array_sort(rows, compare_ids);
	for (guint i = 0; i < rows->len; i++)
		if (!restore_request(restore, rows->pdata[i], made, error))
			return false;
	for (guint i = 0; i < restore->rows->changes->len; i++) {
		const RowChange *change = row_record_at(restore->rows, i);

		if (change->kind == ROW_REQUEST_RANGE)
			g_ptr_array_add(ranges, (gpointer)&change->request_range);
	}
	g_ptr_array_sort(ranges, compare_ranges);
	for (guint i = 0; i < ranges->len; i++)
		if (!restore_range(restore, ranges->pdata[i], made, error))
			return false;
	return true;
}

void restore_resume_requests(Restore *restore)
{
	g_autoptr(GPtrArray) rows = hash_table_values(restore->requests);

	g_ptr_array_sort(rows, compare_ids);
	for (guint i = 0; i < rows->len; i++) {
		const RowRequest *row = rows->pdata[i];

		request_restore_end(g_hash_table_lookup(restore->made, &row->id));
	}
}
