/* SPDX-License-Identifier: BSD-3-Clause */
/* DPA that was taken by force and stays unused until the host has said that it knows. */
#include "capacity/capacity_priv.h"

#define DPA_KEY(dpa) GSIZE_TO_POINTER((gsize)(dpa))

static int compare_dpa(gconstpointer a, gconstpointer b, gpointer opaque)
{
	gsize dpa_a = GPOINTER_TO_SIZE(a), dpa_b = GPOINTER_TO_SIZE(b);

	return (dpa_a > dpa_b) - (dpa_a < dpa_b);
}

void quarantine_init(DcDevice *dev)
{
	dev->quarantine = g_tree_new_full(compare_dpa, NULL, NULL, g_free);
}

void quarantine_add_range(DcDevice *dev, Extent *extent, uint64_t dpa, uint64_t len)
{
	QuarantinedRange *range = g_new(QuarantinedRange, 1);

	*range = (QuarantinedRange){ dpa, len, extent };
	g_tree_insert_node(dev->quarantine, DPA_KEY(dpa), range);
}

void quarantine_add(DcDevice *dev, Extent *extent)
{
	extent->quarantined_len = extent->len;
	quarantine_add_range(dev, extent, extent->dpa, extent->len);
}

static QuarantinedRange *range_at(const DcDevice *dev, uint64_t dpa)
{
	GTreeNode *above, *node;
	QuarantinedRange *range;

	if (g_tree_nnodes(dev->quarantine) == 0)
		return NULL;
	above = g_tree_upper_bound(dev->quarantine, DPA_KEY(dpa));
	node = above ? g_tree_node_previous(above) : g_tree_node_last(dev->quarantine);
	range = node ? g_tree_node_value(node) : NULL;
	return range && dpa - range->dpa < range->len ? range : NULL;
}

uint64_t quarantine_run(const DcDevice *dev, uint64_t dpa)
{
	const QuarantinedRange *range = range_at(dev, dpa);

	return range ? range->len - (dpa - range->dpa) : 0;
}

static void end_part(DcDevice *dev, QuarantinedRange *range, uint64_t dpa, uint64_t len)
{
	RowRecord *record = journal_changes(dev->cap);
	Extent *extent = range->extent;
	uint64_t start = range->dpa, end = range->dpa + range->len;

	g_tree_remove(dev->quarantine, DPA_KEY(start));
	rows_delete_quarantine(dev, start, record);
	if (start < dpa) {
		quarantine_add_range(dev, extent, start, dpa - start);
		rows_add_quarantine(dev, start, dpa - start, extent->dpa, record);
	}
	if (dpa + len < end) {
		quarantine_add_range(dev, extent, dpa + len, end - (dpa + len));
		rows_add_quarantine(dev, dpa + len, end - (dpa + len), extent->dpa, record);
	}
	extent->quarantined_len -= len;
	if (extent->quarantined_len > 0)
		return;
	if (extent->settled) {
		dev->n_settled--;
		extent_set_state(extent, EXTENT_FREED);
		extent_free(extent);
	} else {
		extent_set_state(extent, EXTENT_DRAINING);
	}
}

void quarantine_end(DcDevice *dev, uint64_t dpa, uint64_t len)
{
	while (len > 0) {
		QuarantinedRange *range = range_at(dev, dpa);
		uint64_t run = MIN(len, range->len - (dpa - range->dpa));

		end_part(dev, range, dpa, run);
		dpa += run;
		len -= run;
	}
}

void quarantine_end_all(DcDevice *dev)
{
	GTreeNode *node;

	while ((node = g_tree_node_first(dev->quarantine))) {
		const QuarantinedRange *range = g_tree_node_value(node);

		quarantine_end(dev, range->dpa, range->len);
	}
}

static DcEvent describe_range(DcDevice *dev, const QuarantinedRange *range)
{
	DcEvent event = {
		.cookie = dev->cap->next_id++,
		.type = DC_EVENT_FORCED_RELEASE,
		.region = range->extent->region,
		.dpa = range->dpa,
		.len = range->len,
		.tag = range->extent->offer->tag,
		.shared_seq = range->extent->shared_seq,
	};
	uint32_t n;

	dc_device_limits(dev, &n, &event.available_extents, &n, &event.available_tags);
	return event;
}

/* What finds no room is told after the next restart, if it has not ended with a reset. */
static void tell_again(Capacity *cap, const Work *work)
{
	DcDevice *dev = work->object;
	g_autoptr(GArray) events = g_array_new(FALSE, FALSE, sizeof(DcEvent));

	for (GTreeNode *node = g_tree_node_first(dev->quarantine); node;
	     node = g_tree_node_next(node)) {
		DcEvent event;

		if (!dev->ops.log_reserve(dev->opaque, 1))
			break;
		event = describe_range(dev, g_tree_node_value(node));
		g_array_append_val(events, event);
	}
	rows_add_counters(cap, journal_changes(cap));
	/* The host may answer from inside. */
	for (guint i = 0; i < events->len; i++)
		dev->ops.log_post(dev->opaque, &g_array_index(events, DcEvent, i));
}

void quarantine_tell_again(DcDevice *dev)
{
	if (dev->tell_quarantine && g_tree_nnodes(dev->quarantine) > 0)
		capacity_queue(dev->cap, tell_again, dev, 0);
	dev->tell_quarantine = false;
}
