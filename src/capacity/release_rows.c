/* SPDX-License-Identifier: BSD-3-Clause */
/* What the ledger is told of a release, before it is applied and if it is taken back. */
#include "capacity/capacity_priv.h"

typedef struct Cutting {
	DcDevice *dev;
	const ReleaseOptions *options;
	RowRecord *record;
	bool undo;
	Extent *extent; /* the one being cut; NULL = none */
	uint64_t done;  /* up to here it has its rows */
} Cutting;

/* LEN bytes at DPA of the extent as a row of their own. */
static void add_part(Cutting *cutting, uint64_t dpa, uint64_t len, RowExtentState state)
{
	const Extent *extent = cutting->extent;
	RowExtent *row = rows_add_extent(extent, cutting->record);

	row->dpa = dpa;
	row->len = len;
	row->mem_offset += dpa - extent->dpa;
	row->state = (uint8_t)state;
	if (state == ROW_EXTENT_ACCEPTED)
		return;
	row->sanitize = extent->sanitize || cutting->options->sanitize ||
			cutting->dev->regions[extent->region].config.sanitize_on_release ||
			requests_sanitize_at(cutting->dev, dpa, len);
}

/* A row that comes or, if it was added in vain, goes. */
static void put_part(Cutting *cutting, uint64_t dpa, uint64_t len, RowExtentState state)
{
	DcDevice *dev = cutting->dev;

	if (!cutting->undo)
		add_part(cutting, dpa, len, state);
	else if (dpa != cutting->extent->dpa)
		rows_delete_extent(dev, dpa, cutting->record);
	if (state != ROW_EXTENT_QUARANTINED)
		return;
	if (!cutting->undo)
		rows_add_quarantine(dev, dpa, len, dpa, cutting->record);
	else
		rows_delete_quarantine(dev, dpa, cutting->record);
}

static void finish_extent(Cutting *cutting)
{
	Extent *extent = cutting->extent;

	if (!extent)
		return;
	if (cutting->done < extent_end(extent))
		put_part(cutting, cutting->done, extent_end(extent) - cutting->done,
			 ROW_EXTENT_ACCEPTED);
	if (cutting->undo)
		rows_add_extent(extent, cutting->record);
	cutting->extent = NULL;
}

static void cut(Cutting *cutting, Extent *extent, uint64_t dpa, uint64_t len)
{
	if (extent != cutting->extent) {
		finish_extent(cutting);
		cutting->extent = extent;
		cutting->done = extent->dpa;
	}
	if (dpa > cutting->done)
		put_part(cutting, cutting->done, dpa - cutting->done, ROW_EXTENT_ACCEPTED);
	put_part(cutting, dpa, len,
		 cutting->options->forced ? ROW_EXTENT_QUARANTINED : ROW_EXTENT_DRAINING);
	cutting->done = dpa + len;
}

static int compare_ranges(gconstpointer a, gconstpointer b)
{
	const DcRange *x = a, *y = b;

	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

RowRecord *release_record(DcDevice *dev, const GArray *ranges, const ReleaseOptions *options,
			  bool undo)
{
	RowRecord *record = journal_new(dev->cap, undo ? ROW_REASON_UNDO : ROW_REASON_RELEASE);
	Cutting cutting = { .dev = dev, .options = options, .record = record, .undo = undo };
	g_autoptr(GArray) sorted = NULL;

	if (!record)
		return NULL;
	sorted = g_array_copy((GArray *)ranges);
	g_array_sort(sorted, compare_ranges);
	if (!undo)
		dev->recorded_generation++;
	rows_add_device(dev, record);
	for (guint i = 0; i < sorted->len; i++) {
		const DcRange *range = &g_array_index(sorted, DcRange, i);
		uint64_t dpa = range->dpa, end = range->dpa + range->len, run;
		Extent *extent;

		while ((run = release_next_run(dev, &dpa, end, &extent)) > 0) {
			if (extent)
				cut(&cutting, extent, dpa, run);
			dpa += run;
		}
	}
	finish_extent(&cutting);
	if (options->request && !undo)
		rows_add_counters(dev->cap, record);
	if (options->request && !undo)
		request_add_row(options->request, RELEASE_FORCED, record);
	return record;
}
