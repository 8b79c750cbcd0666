/* SPDX-License-Identifier: BSD-3-Clause */
/* 4803h and forced release: out of the list, revoked, then on to the wipe. */
#include "capacity/capacity_priv.h"
#include "capacity/ranges.h"

/*
 * decide -> journal -> leave the list -> revoke -> Success -> wipe -> free. From the journal's yes
 * on there is no way back: a host that does not confirm gets Success at the deadline, and DPA and
 * memory stay draining until it does or is gone.
 */

struct Release {
	DcDevice *dev;
	GArray *ranges;   /* DcRange, sorted; accepted or quarantined throughout */
	GArray *sanitize; /* DcRange that a live request wants wiped, sorted; NULL = none */
	ReleaseOptions options;
	bool aborted;
};

struct Drain {
	DcDevice *dev;
	GList link; /* in dev->drains */
	GPtrArray *extents;
	uint64_t command; /* its serial, 0 = none waits */
	unsigned n_open;
};

/* ---- decide ---- */

static bool cuts_page(const Extent *extent, uint64_t start, uint64_t end)
{
	const MemFile *file = extent->offer->mem->file;
	uint64_t page = file ? mem_file_page_size(file) : 1;

	return start % page != 0 || end % page != 0;
}

/* Every byte accepted or quarantined; RET_N_MORE: by how many entries the list grows. */
static enum cxl_rc check_accepted(const DcDevice *dev, const GArray *ranges, int64_t *ret_n_more)
{
	uint64_t covered = 0; /* end of the range before */
	int64_t n_more = 0;

	for (guint i = 0; i < ranges->len; i++) {
		const DcRange *range = &g_array_index(ranges, DcRange, i);
		const DcRange *next = i + 1 < ranges->len ? range + 1 : NULL;
		uint64_t end = range->dpa + range->len;

		for (uint64_t dpa = range->dpa; dpa < end;) {
			const Extent *extent = extent_list_find(dev->list, dpa);
			uint64_t run = extent ? 0 : quarantine_run(dev, dpa), stop;

			if (!extent && run == 0)
				return CXL_RC_INVALID_PA;
			stop = extent ? MIN(end, extent_end(extent)) : MIN(end, dpa + run);
			if (extent && cuts_page(extent, dpa, stop))
				return CXL_RC_INVALID_EXTENT_LIST;
			if (extent && extent->locked)
				return CXL_RC_RETRY_REQUIRED;
			if (extent) {
				n_more -= covered <= extent->dpa;
				n_more += dpa > MAX(extent->dpa, covered);
				n_more += stop < extent_end(extent) &&
					  !(next && next->dpa < extent_end(extent));
			}
			covered = dpa = stop;
		}
	}
	*ret_n_more = n_more;
	return CXL_RC_SUCCESS;
}

static enum cxl_rc decide(DcDevice *dev, GArray *ranges)
{
	uint32_t max = dc_device_max_extents(dev);
	int64_t n_more;
	enum cxl_rc rc;

	if (ranges->len == 0)
		return CXL_RC_INVALID_INPUT;
	rc = ranges_check(dev, ranges);
	if (rc == CXL_RC_SUCCESS)
		rc = check_accepted(dev, ranges, &n_more);
	if (rc == CXL_RC_SUCCESS && n_more > 0 &&
	    extent_list_n(dev->list) + dev->n_pending + (uint64_t)n_more > max)
		rc = CXL_RC_RESOURCES_EXHAUSTED;
	return rc;
}

/* ---- draining ---- */

static void drain_part_confirmed(void *context, bool ok)
{
	Drain *drain = context;
	DcDevice *dev = drain->dev;

	if (--drain->n_open > 0)
		return;
	for (guint i = 0; i < drain->extents->len; i++) {
		Extent *extent = drain->extents->pdata[i];

		extent->host = 0;
		memory_return(extent);
	}
	if (dev->command.active && dev->command.serial == drain->command)
		dc_device_end_command(dev, CXL_RC_SUCCESS);
	g_queue_unlink(&dev->drains, &drain->link);
	drain_free(drain);
}

void drain_free(Drain *drain)
{
	g_ptr_array_unref(drain->extents);
	g_free(drain);
}

static Drain *drain_new(DcDevice *dev, GPtrArray *extents)
{
	Drain *drain = g_new0(Drain, 1);

	drain->dev = dev;
	drain->extents = extents;
	drain->n_open = 1;
	drain->link.data = drain;
	g_queue_push_tail_link(&dev->drains, &drain->link);
	return drain;
}

void drain_restore(DcDevice *dev, GPtrArray *extents, uint64_t host)
{
	Drain *drain = drain_new(dev, extents);
	GArray *parts = g_array_new(FALSE, FALSE, sizeof(DcMapPart));

	for (guint i = 0; i < extents->len; i++) {
		Extent *extent = extents->pdata[i];
		DcMapPart part = { extent->map_id, extent->dpa, extent->len };

		extent->host = host;
		g_array_append_val(parts, part);
	}
	effect_let_go_of(dev, host, parts, drain_part_confirmed, drain);
}

static void forget_map(DcDevice *dev, uint64_t dpa, uint64_t map_id)
{
	Extent *extent = extent_list_find(dev->list, dpa);

	while (extent && extent->map_id == map_id) {
		extent->map_id = 0;
		extent->map_state = MAP_NONE;
		extent = extent_list_find(dev->list, extent_end(extent));
	}
}

/* What is to be asked of the host. A map that was never exposed can only be dropped whole: what
 * stays accepted of it is mapped anew. */
static void unmap(DcDevice *dev, Extent *extent, GArray *revokes, GArray *drops)
{
	DcMapPart part = { extent->map_id, extent->dpa, extent->len };

	if (extent->map_state == MAP_PREPARING) {
		Extent *below = extent_list_find(dev->list, extent->dpa - 1);

		g_array_append_val(drops, part);
		while (below && below->map_id == part.map_id) {
			forget_map(dev, below->dpa, part.map_id);
			below = extent_list_find(dev->list, below->dpa - 1);
		}
		forget_map(dev, extent_end(extent), part.map_id);
		sync_later(dev);
	} else if (extent->map_state != MAP_NONE) {
		g_array_append_val(revokes, part);
	}
	extent->host = extent->map_state == MAP_NONE ? 0 : dev->host.serial;
	extent->map_state = MAP_NONE;
}

/* What stays is mapped if it should have been meanwhile. */
static void unlock(Extent *extent)
{
	DcDevice *dev = extent->offer->dev;

	extent->locked = false;
	if (extent->map_state == MAP_NONE && dc_device_owes_maps(dev))
		sync_later(dev);
}

typedef struct Leaving {
	Release *release;
	GPtrArray *extents;
	GArray *revokes, *drops; /* DcMapPart */
	bool ends_quarantine;
} Leaving;

static bool is_to_sanitize(const Release *release, const Extent *extent)
{
	guint lo = 0, n = array_len(release->sanitize), hi = n;

	while (lo < hi) {
		guint mid = lo + (hi - lo) / 2;
		const DcRange *range = &g_array_index(release->sanitize, DcRange, mid);

		if (range->dpa + range->len <= extent->dpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && g_array_index(release->sanitize, DcRange, lo).dpa < extent_end(extent);
}

/* EXTENT leaves the list. */
static void take_out(Leaving *leaving, Extent *extent)
{
	const ReleaseOptions *options = &leaving->release->options;
	DcDevice *dev = leaving->release->dev;

	extent_list_remove(dev->list, extent);
	extent->locked = false;
	extent->sanitize |= is_to_sanitize(leaving->release, extent);
	extent->sanitize |= requests_note_released(dev, extent->dpa, extent->len) ||
			    options->sanitize ||
			    dev->regions[extent->region].config.sanitize_on_release;
	extent_set_state(extent, options->forced ? EXTENT_QUARANTINED : EXTENT_DRAINING);
	extent_set_bytes(extent, BYTES_DRAINING);
	if (options->forced)
		quarantine_add(dev, extent);
	unmap(dev, extent, leaving->revokes, leaving->drops);
	capacity_tell(dev->cap, options->forced ? NOTICE_FORCED : NOTICE_RELEASED, extent->offer,
		      extent->dpa, extent->len);
	g_ptr_array_add(leaving->extents, extent);
}

/* Cuts out what lies in the range; what stays is no longer locked. */
static void take_out_part(Leaving *leaving, Extent *extent, uint64_t dpa, uint64_t end)
{
	ExtentList *list = leaving->release->dev->list;

	if (dpa > extent->dpa || end < extent_end(extent))
		unlock(extent);
	if (dpa > extent->dpa)
		extent = extent_list_split(list, extent, dpa - extent->dpa);
	if (end < extent_end(extent))
		extent_list_split(list, extent, end - extent->dpa);
	take_out(leaving, extent);
}

static void start_drain(Leaving *leaving)
{
	DcDevice *dev = leaving->release->dev;
	Drain *drain = drain_new(dev, leaving->extents);

	if (dev->command.release == leaving->release)
		drain->command = dev->command.serial;
	/* What has happened to the quarantine is on record before the host is told. */
	if (leaving->ends_quarantine && dev->cap->ops.journal) {
		drain->n_open++;
		journal_submit(dev->cap, journal_new(dev->cap, ROW_REASON_BARRIER), false,
			       drain_part_confirmed, drain);
	}
	if (leaving->drops->len > 0) {
		drain->n_open++;
		effect_let_go(dev, true, g_array_ref(leaving->drops), drain_part_confirmed, drain);
	}
	effect_let_go(dev, false, g_array_ref(leaving->revokes), drain_part_confirmed, drain);
}

/*
 * The next run of accepted or quarantined bytes from *DPA on: its length, 0 at the end. What a
 * reset has taken out of quarantine since the decision is skipped.
 */
uint64_t release_next_run(const DcDevice *dev, uint64_t *dpa, uint64_t end, Extent **ret_extent)
{
	Extent *extent;
	uint64_t run;

	if (*dpa >= end)
		return 0;
	extent = extent_list_find(dev->list, *dpa);
	run = extent ? 0 : quarantine_run(dev, *dpa);
	if (!extent && run == 0) {
		extent = extent_list_overlap(dev->list, *dpa, end - *dpa);
		if (!extent)
			return 0;
		*dpa = extent->dpa;
	}
	*ret_extent = extent;
	return MIN(end - *dpa, extent ? extent_end(extent) - *dpa : run);
}

static void release_apply(Release *release)
{
	DcDevice *dev = release->dev;
	Leaving leaving = {
		.release = release,
		.extents = g_ptr_array_new(),
		.revokes = g_array_new(FALSE, FALSE, sizeof(DcMapPart)),
		.drops = g_array_new(FALSE, FALSE, sizeof(DcMapPart)),
	};

	for (guint i = 0; i < release->ranges->len; i++) {
		const DcRange *range = &g_array_index(release->ranges, DcRange, i);
		uint64_t end = range->dpa + range->len;

		uint64_t dpa = range->dpa, run;
		Extent *extent;

		while ((run = release_next_run(dev, &dpa, end, &extent)) > 0) {
			if (extent)
				take_out_part(&leaving, extent, dpa, dpa + run);
			else
				quarantine_end(dev, dpa, run);
			leaving.ends_quarantine |= !extent;
			dpa += run;
		}
	}
	if (leaving.extents->len > 0)
		dev->generation++;
	/* Applied although it could not be recorded. */
	dev->recorded_generation = MAX(dev->recorded_generation, dev->generation);
	if (release->options.request)
		request_forced_done(dev, release->options.request, true);
	start_drain(&leaving);
	if (dev->command.release == release)
		dev->command.release = NULL;
	g_array_unref(leaving.revokes);
	g_array_unref(leaving.drops);
}

/* ---- through the journal ---- */

void release_free(Release *release)
{
	g_array_unref(release->ranges);
	g_clear_pointer(&release->sanitize, g_array_unref);
	g_free(release);
}

/* Whether it is to be wiped is decided now, as it is recorded: the request may end meanwhile. */
static void lock_part(Release *release, Extent *extent, uint64_t dpa, uint64_t len)
{
	DcRange range = { dpa, len };

	extent->locked = true;
	if (!requests_sanitize_at(release->dev, dpa, len))
		return;
	if (!release->sanitize)
		release->sanitize = g_array_new(FALSE, FALSE, sizeof(DcRange));
	g_array_append_val(release->sanitize, range);
}

static int compare_ranges(gconstpointer a, gconstpointer b)
{
	const DcRange *x = a, *y = b;

	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

static void lock(Release *release, bool locked)
{
	for (guint i = 0; i < release->ranges->len; i++) {
		const DcRange *range = &g_array_index(release->ranges, DcRange, i);
		uint64_t end = range->dpa + range->len;

		uint64_t dpa = range->dpa, run;
		Extent *extent;

		while ((run = release_next_run(release->dev, &dpa, end, &extent)) > 0) {
			if (extent && locked)
				lock_part(release, extent, dpa, run);
			else if (extent)
				unlock(extent);
			dpa += run;
		}
	}
	if (release->sanitize)
		g_array_sort(release->sanitize, compare_ranges);
}

static void release_over(Release *release)
{
	g_ptr_array_remove_fast(release->dev->releases, release);
	release_free(release);
}

static void release_undone(void *context, bool ok)
{
	Release *release = context;

	lock(release, false);
	release_over(release);
}

/* The journal says released, the host has heard otherwise. */
static void release_take_back(Release *release)
{
	DcDevice *dev = release->dev;

	journal_submit(dev->cap, release_record(dev, release->ranges, &release->options, true),
		       true, release_undone, release);
}

static void release_journaled(void *context, bool ok)
{
	Release *release = context;
	DcDevice *dev = release->dev;

	if (!ok && release->options.must_apply)
		journal_lost(dev->cap);
	if (release->options.must_apply || (ok && !release->aborted)) {
		release_apply(release);
		release_over(release);
	} else if (ok) {
		release_take_back(release);
	} else {
		if (release->options.request)
			request_forced_done(dev, release->options.request, false);
		if (dev->command.release == release)
			dc_device_end_command(dev, CXL_RC_INTERNAL_ERROR);
		release_undone(release, true);
	}
}

void release_start(DcDevice *dev, GArray *ranges, const ReleaseOptions *options)
{
	Release *release = g_new0(Release, 1);

	release->dev = dev;
	release->ranges = g_array_ref(ranges);
	release->options = *options;
	g_ptr_array_add(dev->releases, release);
	if (options->command)
		dev->command.release = release;
	if (!dev->cap->ops.journal) {
		release_apply(release);
		release_over(release);
		return;
	}
	lock(release, true);
	journal_submit(dev->cap, release_record(dev, release->ranges, options, false),
		       options->must_apply, release_journaled, release);
}

void release_abort(Release *release)
{
	release->aborted = true;
}

/* A reset that forgets. What is on its way to the journal goes whatever the journal says. */
void release_everything(DcDevice *dev)
{
	g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(DcRange));
	ReleaseOptions options = { .must_apply = true };

	for (guint i = 0; i < dev->releases->len; i++)
		((Release *)dev->releases->pdata[i])->options.must_apply = true;
	for (Extent *extent = extent_list_at(dev->list, 0); extent;
	     extent = extent_list_next(dev->list, extent)) {
		DcRange range = { extent->dpa, extent->len };

		if (!extent->locked)
			g_array_append_val(ranges, range);
	}
	if (ranges->len > 0)
		release_start(dev, ranges, &options);
}

/* ---- the command ---- */

static void release(DcDevice *dev, GArray *ranges)
{
	ReleaseOptions options = { .command = true };
	enum cxl_rc rc = decide(dev, ranges);

	if (rc == CXL_RC_SUCCESS)
		release_start(dev, ranges, &options);
	else
		dc_device_end_command(dev, rc);
}

void dc_device_release_response(DcDevice *dev, const DcRange *ranges, size_t n, bool more,
				DcResponseDone done, void *opaque)
{
	g_autoptr(GArray) all = NULL;
	enum cxl_rc rc = CXL_RC_INVALID_INPUT;

	capacity_enter(dev->cap);
	if (dc_device_begin_command(dev, done, opaque)) {
		if (n > 0 || !more)
			rc = ranges_collect(dev->collected_releases, ranges, n, more,
					    dev->config.max_extents, &all);
		if (all)
			release(dev, all);
		else
			dc_device_end_command(dev, rc);
	}
	capacity_leave(dev->cap);
}
