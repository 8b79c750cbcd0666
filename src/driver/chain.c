/* SPDX-License-Identifier: BSD-3-Clause */
/* Offers: collecting a More chain, grouping by tag, judging, and the response. */
#include "driver/dcd_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_US           2000000
#define RETRY_PAUSE_MIN_US 100
#define RETRY_PAUSE_MAX_US 20000

void offered_clear(OfferedList *list)
{
	free(list->items);
	memset(list, 0, sizeof(*list));
}

static int region_of(const CxlDcd *dcd, uint64_t dpa, uint64_t len)
{
	const CxlMemdev *memdev = dcd->memdev;

	for (unsigned i = 0; i < memdev->info.n_dc_regions; i++) {
		const CxlDcRegionInfo *region = &memdev->dc_regions[i];

		if (dpa < region->dpa || len > region->len || dpa - region->dpa > region->len - len)
			continue;
		if (!len || (dpa - region->dpa) % region->block_len || len % region->block_len)
			return -1;
		return (int)i;
	}
	return -1;
}

int offered_push(CxlDcd *dcd, OfferedList *list, uint32_t max, const CxlDcExtent *extent)
{
	Offered *item;

	if (list->n >= max) {
		list->too_long = true;
		return 0;
	}
	if (list->n == list->room) {
		uint32_t room = list->room ? list->room * 2 : 16;
		Offered *items = realloc(list->items, room * sizeof(*items));

		if (!items)
			return driver_fail(dcd->driver, -ENOMEM, "out of memory");
		list->items = items;
		list->room = room;
	}
	item = &list->items[list->n];
	item->dpa = le64_get(extent->dpa);
	item->len = le64_get(extent->len);
	memcpy(item->tag.b, extent->tag, sizeof(item->tag.b));
	item->shared_seq = le16_get(extent->shared_seq);
	item->order = list->n++;
	item->region = region_of(dcd, item->dpa, item->len);
	return 0;
}

/* By tag; untagged ones by region too, as a group lies in one region; then as they came. */
static int compare_group(const void *a, const void *b)
{
	const Offered *x = a;
	const Offered *y = b;
	int order = memcmp(&x->tag, &y->tag, sizeof(CxlTag));

	if (order == 0 && x->region != y->region && cxl_tag_is_null(&x->tag))
		order = x->region < y->region ? -1 : 1;
	if (order == 0)
		order = x->order < y->order ? -1 : 1;
	return order;
}

static int compare_seq(const void *a, const void *b)
{
	const Offered *x = a;
	const Offered *y = b;

	if (x->shared_seq != y->shared_seq)
		return x->shared_seq < y->shared_seq ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static bool same_group(const Offered *a, const Offered *b)
{
	return memcmp(&a->tag, &b->tag, sizeof(CxlTag)) == 0 &&
	       (a->region == b->region || !cxl_tag_is_null(&a->tag));
}

/* A tag names one allocation of this host, whichever device it is on. */
static bool tag_held(const CxlDcd *dcd, const CxlTag *tag)
{
	const CxlDriver *driver = dcd->driver;

	for (unsigned i = 0; i < driver->n_memdevs; i++) {
		if (driver->memdevs[i]->dcd && dc_group_by_tag(driver->memdevs[i]->dcd, tag))
			return true;
	}
	return false;
}

/* Why a group cannot be taken as a whole, NULL if it can. Sorts shared ones by sequence. */
static const char *group_fault(CxlDcd *dcd, Offered *items, uint32_t n)
{
	bool tagged = !cxl_tag_is_null(&items->tag);
	bool sharable;

	if (items->region < 0 && !tagged)
		return "outside all regions, or not in whole blocks";
	if (tagged && tag_held(dcd, &items->tag))
		return "the tag is in use already";
	for (uint32_t i = 0; i < n; i++) {
		if (items[i].region < 0)
			return "an extent outside all regions, or not in whole blocks";
		if (items[i].region != items->region)
			return "extents of one tag in two regions";
	}
	sharable = dcd->memdev->dc_regions[items->region].sharable;
	if (sharable && !tagged)
		return "no tag in a sharable region";
	if (sharable)
		qsort(items, n, sizeof(*items), compare_seq);
	for (uint32_t i = 0; i < n; i++) {
		if (items[i].shared_seq != (sharable ? i : 0))
			return sharable ? "the sequence numbers are not 0 to n-1"
					: "a sequence number in a region that is not sharable";
	}
	return NULL;
}

/* Enters the extents of a group into the table; overlapping ones only spoil an untagged group's. */
static int enter(CxlDcd *dcd, Group *group, const Offered *items, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		int err = dc_group_add(dcd, group, items[i].dpa, items[i].len, items[i].shared_seq);

		if (err == -ENOMEM || (err < 0 && group->tagged))
			return err;
	}
	return group->n_held ? 0 : -EEXIST;
}

/* Drops the extents nobody can reach: all of them if the group is tagged. */
static void drop_unmapped(CxlDcd *dcd, Group *group, const CxlDcGroup *view, bool *take)
{
	for (uint32_t i = 0; i < view->n_extents; i++) {
		if (view->extents[i].hpa != CXL_NO_HPA)
			continue;
		driver_log(dcd->driver, "%s: extent %#llx: no decoder covers it", dcd->memdev->name,
			   (unsigned long long)view->extents[i].dpa);
		if (group->tagged) {
			memset(take, 0, view->n_extents * sizeof(*take));
			return;
		}
		take[i] = false;
	}
}

/* Asks the policy and forgets what it does not want. */
static int ask_policy(CxlDcd *dcd, Group *group, OfferedList *give_back)
{
	CxlAccept verdict = CXL_ACCEPT_ALL;
	uint32_t n_taken = 0;
	CxlDcGroup view;
	bool *take;
	Held *held;
	int err = dc_group_view(dcd, group, &view);

	if (err < 0)
		return err;
	take = calloc(view.n_extents, sizeof(*take));
	if (!take) {
		dc_group_view_clear(&view);
		return driver_fail(dcd->driver, -ENOMEM, "out of memory");
	}
	if (dcd->ops.accept)
		verdict = dcd->ops.accept(dcd->opaque, &view, take);
	if (verdict != CXL_ACCEPT_SOME)
		memset(take, verdict == CXL_ACCEPT_ALL, view.n_extents * sizeof(*take));
	if (!group->recovered && !dcd->options.allow_unmapped)
		drop_unmapped(dcd, group, &view, take);
	for (uint32_t i = 0; i < view.n_extents; i++)
		n_taken += take[i];
	/* A part of a shared allocation would have a hole in its numbering. */
	if (n_taken < view.n_extents && dcd->memdev->dc_regions[group->region].sharable)
		memset(take, 0, view.n_extents * sizeof(*take));
	held = group->first;
	for (uint32_t i = 0; i < view.n_extents && err >= 0; i++) {
		Held *next = held->next;

		if (!take[i]) {
			CxlDcExtent extent = {
				.dpa = le64_put(held->dpa),
				.len = le64_put(held->len),
			};

			if (group->recovered)
				err = offered_push(dcd, give_back, UINT32_MAX, &extent);
			else
				dcd->stats.n_declined++;
			dc_group_drop(dcd, group, held);
		}
		held = next;
	}
	free(take);
	dc_group_view_clear(&view);
	return err;
}

/* One group of equal tags; *ret_group stays NULL if nothing of it is taken. */
static int judge_group(CxlDcd *dcd, Offered *items, uint32_t n, bool recovered, uint32_t n_pending,
		       OfferedList *give_back, Group **ret_group)
{
	const char *fault = group_fault(dcd, items, n);
	char tag[CXL_TAG_TEXT_LEN];
	Group *group = NULL;
	int err = 0;

	if (!fault && (uint64_t)n + n_pending + dcd->stats.n_extents > dcd->options.max_extents)
		fault = "more extents than may be accepted";
	if (!fault) {
		group = dc_group_new(dcd, &items->tag, (unsigned)items->region);
		if (!group)
			return driver_fail(dcd->driver, -ENOMEM, "out of memory");
		group->recovered = recovered;
		err = enter(dcd, group, items, n);
		if (err == -EEXIST)
			fault = "an extent overlaps another";
	}
	if (fault) {
		cxl_tag_format(&items->tag, tag);
		driver_log(dcd->driver, "%s: %s %u extents of tag %s: %s", dcd->memdev->name,
			   recovered ? "cannot use" : "declining", n, tag, fault);
		if (!recovered)
			dcd->stats.n_declined += n;
		if (group)
			dc_group_free(dcd, group);
		return 0;
	}
	if (err >= 0) {
		if (!recovered)
			dcd->stats.n_declined += n - group->n_held;
		err = ask_policy(dcd, group, give_back);
	}
	if (err < 0 || group->n_held == 0) {
		dc_group_free(dcd, group);
		return err;
	}
	*ret_group = group;
	return 0;
}

typedef struct Run {
	uint32_t start, n, order;
} Run;

static int compare_run(const void *a, const void *b)
{
	const Run *x = a;
	const Run *y = b;

	return x->order < y->order ? -1 : x->order > y->order;
}

static void free_groups(CxlDcd *dcd, Group *group)
{
	while (group) {
		Group *next = group->next;

		group->next = NULL;
		dc_group_free(dcd, group);
		group = next;
	}
}

int offered_judge(CxlDcd *dcd, OfferedList *list, bool recovered, Group **ret_groups,
		  OfferedList *give_back)
{
	Run *runs = calloc(list->n ? list->n : 1, sizeof(*runs));
	Group *groups = NULL;
	Group **tail = &groups;
	uint32_t n_pending = 0;
	uint32_t n_runs = 0;
	int err = 0;

	if (!runs)
		return driver_fail(dcd->driver, -ENOMEM, "out of memory");
	if (list->n)
		qsort(list->items, list->n, sizeof(*list->items), compare_group);
	for (uint32_t i = 0; i < list->n; i++) {
		if (i == 0 || !same_group(&list->items[i - 1], &list->items[i]))
			runs[n_runs++] = (Run){ .start = i, .order = list->items[i].order };
		runs[n_runs - 1].n++;
	}
	qsort(runs, n_runs, sizeof(*runs), compare_run);
	for (uint32_t i = 0; i < n_runs && err >= 0; i++) {
		err = judge_group(dcd, &list->items[runs[i].start], runs[i].n, recovered, n_pending,
				  give_back, tail);
		if (err >= 0 && *tail) {
			n_pending += (*tail)->n_held;
			tail = &(*tail)->next;
		}
	}
	free(runs);
	if (err < 0)
		free_groups(dcd, groups);
	else
		*ret_groups = groups;
	return err;
}

void dc_groups_tell_mapped(CxlDcd *dcd, Group *group)
{
	CxlDcGroup view;

	if (!dcd->ops.mapped)
		return;
	if (dc_group_view(dcd, group, &view) < 0) {
		driver_log(dcd->driver, "%s: %s", dcd->memdev->name, dcd->driver->error);
		return;
	}
	dcd->ops.mapped(dcd->opaque, &view);
	dc_group_view_clear(&view);
}

/*
 * 4802h, as long as the device asks to try again: it is still undoing a former response, or making
 * the memory ready.
 */
static int send_response(CxlDcd *dcd, const CxlDpaRange *ranges, uint32_t n)
{
	uint64_t end = driver_now_us(dcd->driver) + RETRY_US;
	uint64_t pause = RETRY_PAUSE_MIN_US;
	int rc;

	for (;;) {
		rc = dc_send_ranges(dcd, CXL_OP_ADD_DC_RESPONSE, ranges, n, NULL);
		if (rc != CXL_RC_RETRY_REQUIRED || driver_now_us(dcd->driver) >= end)
			return rc;
		driver_sleep_us(dcd->driver, pause);
		pause = pause * 2 < RETRY_PAUSE_MAX_US ? pause * 2 : RETRY_PAUSE_MAX_US;
	}
}

/* An empty response: the offer that comes first is not wanted. */
static int decline(CxlDcd *dcd)
{
	int rc = send_response(dcd, NULL, 0);

	if (rc > 0)
		driver_log(dcd->driver, "%s: declining refused: %s", dcd->memdev->name,
			   cxl_rc_name(rc));
	return rc < 0 ? rc : 0;
}

/* The device took none of it: tells the policy, forgets the groups, and leaves no offer hanging. */
static int refused(CxlDcd *dcd, Group *groups, int rc)
{
	driver_log(dcd->driver, "%s: response refused: %s", dcd->memdev->name, cxl_rc_name(rc));
	for (Group *group = groups; group; group = group->next) {
		CxlDcGroup view;

		if (!dcd->ops.refused || dc_group_view(dcd, group, &view) < 0)
			continue;
		dcd->ops.refused(dcd->opaque, &view, rc);
		dc_group_view_clear(&view);
	}
	free_groups(dcd, groups);
	if (rc < 0) {
		dcd->must_resync = true;
		return rc;
	}
	/*
	 * Invalid Physical Address: the offer was withdrawn, and an empty response would decline
	 * the next one. After any other code the offer still stands; it is declined for good.
	 */
	return rc == CXL_RC_INVALID_PA ? 0 : decline(dcd);
}

static int respond(CxlDcd *dcd, Group *groups)
{
	uint32_t n = 0;
	uint32_t i = 0;
	CxlDpaRange *ranges;
	int rc;

	for (Group *group = groups; group; group = group->next)
		n += group->n_held;
	ranges = calloc(n ? n : 1, sizeof(*ranges));
	if (!ranges) {
		free_groups(dcd, groups);
		return driver_fail(dcd->driver, -ENOMEM, "out of memory");
	}
	for (Group *group = groups; group; group = group->next) {
		for (Held *held = group->first; held; held = held->next)
			ranges[i++] = (CxlDpaRange){ .dpa = held->dpa, .len = held->len };
	}
	rc = send_response(dcd, ranges, n);
	free(ranges);
	if (rc != CXL_RC_SUCCESS)
		return refused(dcd, groups, rc);
	while (groups) {
		Group *next = groups->next;

		dc_group_link(dcd, groups);
		dc_groups_tell_mapped(dcd, groups);
		groups = next;
	}
	return 0;
}

static int dc_chain_close(CxlDcd *dcd)
{
	OfferedList chain = dcd->chain;
	Group *groups = NULL;
	int err;

	memset(&dcd->chain, 0, sizeof(dcd->chain));
	err = offered_judge(dcd, &chain, false, &groups, NULL);
	offered_clear(&chain);
	if (err < 0) {
		/* Better no capacity than an offer that blocks all later ones. */
		decline(dcd);
		return err;
	}
	return respond(dcd, groups);
}

int dc_chain_abandon(CxlDcd *dcd, const char *why)
{
	driver_log(dcd->driver, "%s: declining a chain of %u extents: %s", dcd->memdev->name,
		   dcd->chain.n, why);
	dcd->stats.n_declined += dcd->chain.n;
	offered_clear(&dcd->chain);
	return decline(dcd);
}

int dc_chain_add(CxlDcd *dcd, const CxlEventDc *record)
{
	int err;

	if (!dcd->chain.n && !dcd->chain.too_long)
		dcd->chain_begun = driver_now_us(dcd->driver);
	err = offered_push(dcd, &dcd->chain, dcd->options.max_chain, &record->extent);
	if (err < 0)
		dcd->chain.too_long = true; /* what is missing cannot be accepted */
	if (record->flags & CXL_EVENT_DC_MORE)
		return err;
	if (dcd->chain.too_long) {
		int end = dc_chain_abandon(dcd, "too long, or out of memory");

		return err < 0 ? err : end;
	}
	return dc_chain_close(dcd);
}
