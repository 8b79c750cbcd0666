/* SPDX-License-Identifier: BSD-3-Clause */
/* The device's list of accepted extents (4801h): reading it, and making our table agree. */
#include "driver/dcd_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RESTARTS 10

/* One page from START on; *ret_n extents are in dcd->in behind the header. */
static int read_page(CxlDcd *dcd, uint32_t start, CxlDcExtentListOut *ret_header, uint32_t *ret_n)
{
	CxlMemdev *memdev = dcd->memdev;
	uint32_t room = (memdev->info.payload_len - (uint32_t)sizeof(CxlDcExtentListOut)) /
			(uint32_t)sizeof(CxlDcExtent);
	CxlDcExtentListIn in = { .n_extents = le32_put(room), .start = le32_put(start) };
	uint32_t len;
	uint32_t n;
	int err;

	err = memdev_call(memdev, CXL_OP_GET_DC_EXTENT_LIST, &in, sizeof(in), dcd->in,
			  memdev->info.payload_len, sizeof(*ret_header), &len);
	if (err < 0)
		return err;
	memcpy(ret_header, dcd->in, sizeof(*ret_header));
	n = le32_get(ret_header->n_returned);
	if (n > room || n > (len - sizeof(*ret_header)) / sizeof(CxlDcExtent))
		return driver_fail(dcd->driver, -EPROTO, "%s: 4801h gives %u extents in %u bytes",
				   memdev->name, n, len);
	*ret_n = n;
	return 0;
}

/* The whole list, or -EAGAIN if it changed meanwhile */
static int read_once(CxlDcd *dcd, OfferedList *list)
{
	CxlDcExtentListOut first = { 0 };
	uint32_t total = 0;

	do {
		CxlDcExtentListOut header;
		uint32_t n = 0;
		int err = read_page(dcd, list->n, &header, &n);

		if (err < 0)
			return err;
		if (list->n == 0) {
			first = header;
			total = le32_get(header.n_total);
			if (total > dcd->options.max_extents)
				return driver_fail(dcd->driver, -EOVERFLOW,
						   "%s: %u extents accepted, the limit is %u",
						   dcd->memdev->name, total,
						   dcd->options.max_extents);
		} else if (memcmp(&header.n_total, &first.n_total, sizeof(first.n_total)) != 0 ||
			   memcmp(&header.generation, &first.generation,
				  sizeof(first.generation)) != 0) {
			return -EAGAIN;
		}
		if (n > total - list->n || (n == 0 && list->n < total))
			return driver_fail(dcd->driver, -EIO,
					   "%s: 4801h gives %u extents at %u of %u",
					   dcd->memdev->name, n, list->n, total);
		for (uint32_t i = 0; i < n && err >= 0; i++) {
			CxlDcExtent extent;

			memcpy(&extent, dcd->in + sizeof(header) + i * sizeof(extent),
			       sizeof(extent));
			err = offered_push(dcd, list, total, &extent);
		}
		if (err < 0)
			return err;
	} while (list->n < total);
	dcd->stats.generation = le32_get(first.generation);
	return 0;
}

static int read_list(CxlDcd *dcd, OfferedList *list)
{
	for (unsigned i = 0; i < MAX_RESTARTS; i++) {
		int err = read_once(dcd, list);

		if (err >= 0)
			return 0;
		offered_clear(list);
		if (err != -EAGAIN)
			return err;
	}
	return driver_fail(dcd->driver, -EIO, "%s: the extent list keeps changing",
			   dcd->memdev->name);
}

static int compare_dpa(const void *a, const void *b)
{
	const Offered *x = a;
	const Offered *y = b;

	return x->dpa < y->dpa ? -1 : x->dpa > y->dpa;
}

/* Sorts a copy of the list by DPA; a list with overlaps or wraps is not believed. */
static int sort_list(CxlDcd *dcd, const OfferedList *list, Offered **ret_sorted)
{
	Offered *sorted = calloc(list->n ? list->n : 1, sizeof(*sorted));
	uint64_t end = 0;

	if (!sorted)
		return driver_fail(dcd->driver, -ENOMEM, "out of memory");
	if (list->n) {
		memcpy(sorted, list->items, list->n * sizeof(*sorted));
		qsort(sorted, list->n, sizeof(*sorted), compare_dpa);
	}
	for (uint32_t i = 0; i < list->n; i++) {
		if (!sorted[i].len || sorted[i].dpa + sorted[i].len < sorted[i].dpa ||
		    sorted[i].dpa < end) {
			free(sorted);
			return driver_fail(dcd->driver, -EPROTO,
					   "%s: accepted extents overlap or make no sense",
					   dcd->memdev->name);
		}
		end = sorted[i].dpa + sorted[i].len;
	}
	*ret_sorted = sorted;
	return 0;
}

/* First of the sorted extents that ends above DPA */
static uint32_t lower_bound(const Offered *sorted, uint32_t n, uint64_t dpa)
{
	uint32_t lo = 0;

	while (n > lo) {
		uint32_t mid = lo + (n - lo) / 2;

		if (sorted[mid].dpa + sorted[mid].len <= dpa)
			lo = mid + 1;
		else
			n = mid;
	}
	return lo;
}

/* Adds to GONE (or just counts, if it is NULL) what the list does not have of HELD under its tag.
 */
static uint32_t missing(const Held *held, const Offered *sorted, uint32_t n, CxlDpaRange *gone)
{
	uint64_t pos = held->dpa;
	uint64_t end = held->dpa + held->len;
	uint32_t n_gone = 0;

	for (uint32_t i = lower_bound(sorted, n, pos); pos < end; i++) {
		bool listed = i < n && sorted[i].dpa < end;
		uint64_t start = listed ? sorted[i].dpa : end;

		if (listed && memcmp(&sorted[i].tag, &held->group->tag, sizeof(CxlTag)) != 0)
			continue;
		if (start > pos) {
			if (gone)
				gone[n_gone] = (CxlDpaRange){ .dpa = pos, .len = start - pos };
			n_gone++;
		}
		if (!listed)
			break;
		pos = sorted[i].dpa + sorted[i].len;
	}
	return n_gone;
}

static int revoke_missing(CxlDcd *dcd, const Offered *sorted, uint32_t n)
{
	Group *next;

	for (Group *group = dcd->first; group; group = next) {
		CxlDpaRange *gone;
		uint32_t n_gone = 0;

		next = group->next;
		for (const Held *held = group->first; held; held = held->next)
			n_gone += missing(held, sorted, n, NULL);
		if (!n_gone)
			continue;
		gone = calloc(n_gone, sizeof(*gone));
		if (!gone)
			return driver_fail(dcd->driver, -ENOMEM, "out of memory");
		n_gone = 0;
		for (const Held *held = group->first; held; held = held->next)
			n_gone += missing(held, sorted, n, gone + n_gone);
		dc_revoke_ranges(dcd, group, gone, n_gone);
		free(gone);
	}
	return 0;
}

/* What is listed and not held, in list order */
static int find_new(CxlDcd *dcd, const OfferedList *list, OfferedList *fresh)
{
	for (uint32_t i = 0; i < list->n; i++) {
		const Offered *item = &list->items[i];
		uint64_t pos = item->dpa;
		uint64_t end = item->dpa + item->len;

		while (pos < end) {
			const Held *held = held_overlap(dcd, pos, end - pos);
			uint64_t stop = held ? held->dpa : end;

			if (stop > pos) {
				CxlDcExtent extent = {
					.dpa = le64_put(pos),
					.len = le64_put(stop - pos),
					.shared_seq = le16_put(item->shared_seq),
				};
				int err;

				memcpy(extent.tag, item->tag.b, sizeof(extent.tag));
				err = offered_push(dcd, fresh, UINT32_MAX, &extent);
				if (err < 0)
					return err;
			}
			if (!held)
				break;
			pos = held->dpa + held->len;
		}
	}
	return 0;
}

static int give_back_list(CxlDcd *dcd, const OfferedList *list)
{
	CxlDpaRange *ranges = calloc(list->n ? list->n : 1, sizeof(*ranges));
	int rc = 0;

	if (!ranges)
		return driver_fail(dcd->driver, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < list->n; i++)
		ranges[i] = (CxlDpaRange){ list->items[i].dpa, list->items[i].len };
	if (list->n)
		rc = dc_send_ranges(dcd, CXL_OP_RELEASE_DC, ranges, list->n, NULL);
	free(ranges);
	if (rc > 0)
		driver_log(dcd->driver, "%s: giving back recovered extents: %s", dcd->memdev->name,
			   cxl_rc_name(rc));
	return rc < 0 ? rc : 0;
}

/* Takes over what the device says we have accepted. */
static int recover(CxlDcd *dcd, OfferedList *fresh)
{
	OfferedList unwanted = { 0 };
	Group *groups = NULL;
	int err = offered_judge(dcd, fresh, true, &groups, &unwanted);

	while (err >= 0 && groups) {
		Group *next = groups->next;

		dc_group_link(dcd, groups);
		dc_groups_tell_mapped(dcd, groups);
		groups = next;
	}
	if (err >= 0)
		err = give_back_list(dcd, &unwanted);
	offered_clear(&unwanted);
	return err;
}

int dcd_sync(CxlDcd *dcd)
{
	OfferedList list = { 0 };
	OfferedList fresh = { 0 };
	Offered *sorted = NULL;
	int err = read_list(dcd, &list);

	if (err >= 0)
		err = sort_list(dcd, &list, &sorted);
	if (err >= 0)
		err = revoke_missing(dcd, sorted, list.n);
	if (err >= 0)
		err = find_new(dcd, &list, &fresh);
	if (err >= 0)
		err = recover(dcd, &fresh);
	free(sorted);
	offered_clear(&list);
	offered_clear(&fresh);
	if (err >= 0)
		dcd->must_resync = false;
	return err;
}

int cxl_dcd_resync(CxlDcd *dcd)
{
	if (!dcd->memdev->info.has_dc)
		return 0;
	dcd->stats.n_resyncs++;
	return dcd_sync(dcd);
}
