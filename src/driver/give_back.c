/* SPDX-License-Identifier: BSD-3-Clause */
/* Giving capacity back: on request, by force, and when the host is done with it. */
#include "driver/dcd_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A part of one held extent */
typedef struct Piece {
	CxlDpaRange range;
	Group *group;
} Piece;

typedef struct PieceList {
	Piece *items;
	uint32_t n, room;
} PieceList;

/*
 * 4802h is one list over several commands, joined by More, and is sent even when empty; commands of
 * 4803h stand for themselves. *ret_n_done: entries the device has confirmed.
 */
int dc_send_ranges(CxlDcd *dcd, uint16_t opcode, const CxlDpaRange *ranges, uint32_t n,
		   uint32_t *ret_n_done)
{
	uint32_t room = (dcd->memdev->info.payload_len - (uint32_t)sizeof(CxlDcResponseHeader)) /
			(uint32_t)sizeof(CxlDcResponseEntry);
	uint32_t pos = 0;
	int rc;

	if (ret_n_done)
		*ret_n_done = 0;
	do {
		uint32_t count = n - pos < room ? n - pos : room;
		CxlDcResponseHeader header = { .n_extents = le32_put(count) };
		uint8_t *at = dcd->out;

		if (opcode == CXL_OP_ADD_DC_RESPONSE && pos + count < n)
			header.flags = CXL_DC_RESPONSE_MORE;
		memcpy(at, &header, sizeof(header));
		at += sizeof(header);
		for (uint32_t i = 0; i < count; i++) {
			CxlDcResponseEntry entry = {
				.dpa = le64_put(ranges[pos + i].dpa),
				.len = le64_put(ranges[pos + i].len),
			};

			memcpy(at, &entry, sizeof(entry));
			at += sizeof(entry);
		}
		rc = cxl_memdev_command(dcd->memdev, opcode, dcd->out, (uint32_t)(at - dcd->out),
					NULL, 0, NULL);
		pos += count;
		if (rc == CXL_RC_SUCCESS && ret_n_done)
			*ret_n_done = pos;
	} while (rc == CXL_RC_SUCCESS && pos < n);
	return rc;
}

static int push_piece(CxlDcd *dcd, PieceList *list, const Piece *piece)
{
	if (list->n == list->room) {
		uint32_t room = list->room ? list->room * 2 : 16;
		Piece *items = realloc(list->items, room * sizeof(*items));

		if (!items)
			return driver_fail(dcd->driver, -ENOMEM, "out of memory");
		list->items = items;
		list->room = room;
	}
	list->items[list->n++] = *piece;
	return 0;
}

/* What RANGE has in common with held extents of TAG (NULL: any) */
static int clip(CxlDcd *dcd, CxlDpaRange range, const CxlTag *tag, PieceList *list)
{
	uint64_t end = range.dpa + range.len;

	if (end < range.dpa)
		return 0; /* wraps: names nothing */
	while (range.dpa < end) {
		Held *held = held_overlap(dcd, range.dpa, end - range.dpa);
		Piece piece;
		uint64_t last;
		int err;

		if (!held)
			break;
		last = held->dpa + held->len < end ? held->dpa + held->len : end;
		piece.group = held->group;
		piece.range.dpa = held->dpa > range.dpa ? held->dpa : range.dpa;
		piece.range.len = last - piece.range.dpa;
		range.dpa = last;
		if (tag && memcmp(tag, &held->group->tag, sizeof(*tag)) != 0)
			continue;
		err = push_piece(dcd, list, &piece);
		if (err < 0)
			return err;
	}
	return 0;
}

static int compare_piece(const void *a, const void *b)
{
	const Piece *x = a;
	const Piece *y = b;

	if (x->group->id != y->group->id)
		return x->group->id < y->group->id ? -1 : 1;
	return x->range.dpa < y->range.dpa ? -1 : x->range.dpa > y->range.dpa;
}

/* Sorts by group and DPA and cuts off what was named twice. */
static void tidy(PieceList *list)
{
	uint32_t n = 0;

	if (list->n)
		qsort(list->items, list->n, sizeof(*list->items), compare_piece);
	for (uint32_t i = 0; i < list->n; i++) {
		Piece piece = list->items[i];

		if (n && list->items[n - 1].group == piece.group) {
			const CxlDpaRange *before = &list->items[n - 1].range;
			uint64_t end = before->dpa + before->len;

			if (piece.range.dpa + piece.range.len <= end)
				continue;
			if (piece.range.dpa < end) {
				piece.range.len -= end - piece.range.dpa;
				piece.range.dpa = end;
			}
		}
		list->items[n++] = piece;
	}
	list->n = n;
}

/* Forgets a range that lies within one held extent. Without memory for a split, a bit more. */
static void forget(CxlDcd *dcd, CxlDpaRange range, Held **spare)
{
	Held *held = held_overlap(dcd, range.dpa, range.len);
	Group *group;

	if (!held)
		return;
	group = held->group;
	held_carve(dcd, held, range.dpa, range.len, spare);
	if (group->n_held == 0)
		dc_group_free(dcd, group);
}

static void forget_all(CxlDcd *dcd, const CxlDpaRange *ranges, uint32_t n)
{
	Held *spare = NULL;

	for (uint32_t i = 0; i < n; i++) {
		if (!spare)
			spare = calloc(1, sizeof(*spare));
		if (!spare) /* then a split forgets too much, and the list has to tell */
			dcd->must_resync = true;
		forget(dcd, ranges[i], &spare);
	}
	free(spare);
}

void dc_revoke_ranges(CxlDcd *dcd, Group *group, const CxlDpaRange *ranges, uint32_t n)
{
	CxlDcGroup view;

	if (dcd->ops.revoked) {
		if (dc_group_view(dcd, group, &view) >= 0) {
			dcd->ops.revoked(dcd->opaque, &view, ranges, n);
			dc_group_view_clear(&view);
		} else {
			driver_log(dcd->driver, "%s: %s", dcd->memdev->name, dcd->driver->error);
		}
	}
	forget_all(dcd, ranges, n);
}

/* Sends 4803h and forgets what the device has confirmed. */
static int give_back(CxlDcd *dcd, const CxlDpaRange *ranges, uint32_t n)
{
	uint32_t n_done;
	int rc = dc_send_ranges(dcd, CXL_OP_RELEASE_DC, ranges, n, &n_done);

	forget_all(dcd, ranges, n_done);
	if (rc == CXL_RC_SUCCESS)
		return 0;
	/* What it holds and what we think it holds differ, or we do not know: look. */
	dcd->must_resync = true;
	return rc < 0 ? rc
		      : driver_fail(dcd->driver, -EIO, "%s: Release Dynamic Capacity: %s",
				    dcd->memdev->name, cxl_rc_name(rc));
}

static int give_back_group(CxlDcd *dcd, const Group *group)
{
	CxlDpaRange *ranges = calloc(group->n_held, sizeof(*ranges));
	uint32_t n = 0;
	int err;

	if (!ranges)
		return driver_fail(dcd->driver, -ENOMEM, "out of memory");
	for (const Held *held = group->first; held; held = held->next)
		ranges[n++] = (CxlDpaRange){ .dpa = held->dpa, .len = held->len };
	err = give_back(dcd, ranges, n);
	free(ranges);
	return err;
}

/* Caller frees. NULL: out of memory, which has been said. */
static CxlDpaRange *ranges_of(CxlDcd *dcd, const Piece *pieces, uint32_t n)
{
	CxlDpaRange *ranges = calloc(n, sizeof(*ranges));

	if (!ranges)
		driver_fail(dcd->driver, -ENOMEM, "out of memory");
	for (uint32_t i = 0; ranges && i < n; i++)
		ranges[i] = pieces[i].range;
	return ranges;
}

/* N pieces of one group were asked for. */
static int ask_release(CxlDcd *dcd, const Piece *pieces, uint32_t n)
{
	Group *group = pieces->group;
	CxlRelease verdict = CXL_RELEASE_GROUP;
	CxlDpaRange *ranges = ranges_of(dcd, pieces, n);
	CxlDcGroup view;
	int err;

	if (!ranges)
		return -ENOMEM;
	err = dc_group_view(dcd, group, &view);
	if (err >= 0) {
		if (dcd->ops.release)
			verdict = dcd->ops.release(dcd->opaque, &view, ranges, n);
		dc_group_view_clear(&view);
		if (verdict == CXL_RELEASE_GROUP)
			err = give_back_group(dcd, group);
		else if (verdict == CXL_RELEASE_RANGES)
			err = give_back(dcd, ranges, n);
	}
	free(ranges);
	return err;
}

/* Calls FUNC once per group of a tidied list; returns the first failure but does not stop. */
static int foreach_group(CxlDcd *dcd, const PieceList *list,
			 int (*func)(CxlDcd *dcd, const Piece *pieces, uint32_t n))
{
	int first = 0;

	for (uint32_t i = 0; i < list->n;) {
		uint32_t n = 1;
		int err;

		while (i + n < list->n && list->items[i + n].group == list->items[i].group)
			n++;
		err = func(dcd, &list->items[i], n);
		if (err < 0 && first >= 0)
			first = err;
		i += n;
	}
	return first;
}

static int revoke_pieces(CxlDcd *dcd, const Piece *pieces, uint32_t n)
{
	CxlDpaRange *ranges = ranges_of(dcd, pieces, n);

	if (!ranges)
		return -ENOMEM;
	dc_revoke_ranges(dcd, pieces->group, ranges, n);
	free(ranges);
	return 0;
}

/* The memory is gone already; saying so to the device ends the quarantine of the range. */
static int release_forced(CxlDcd *dcd, const ReleaseAsk *ask)
{
	PieceList list = { 0 };
	int err = clip(dcd, ask->range, NULL, &list);
	int rc;

	if (err >= 0)
		err = foreach_group(dcd, &list, revoke_pieces);
	free(list.items);
	if (err < 0)
		return err;
	rc = dc_send_ranges(dcd, CXL_OP_RELEASE_DC, &ask->range, 1, NULL);
	if (rc > 0)
		driver_log(dcd->driver, "%s: 4803h after a forced release: %s", dcd->memdev->name,
			   cxl_rc_name(rc));
	return rc < 0 ? rc : 0;
}

int dc_release_asked(CxlDcd *dcd, const ReleaseAsk *asks, uint32_t n)
{
	PieceList list = { 0 };
	int first = 0;
	int err;

	for (uint32_t i = 0; i < n && first >= 0; i++) {
		const CxlTag *tag = cxl_tag_is_null(&asks[i].tag) ? NULL : &asks[i].tag;
		uint32_t before = list.n;

		if (asks[i].forced)
			continue;
		/* Extents named by many records over and over would only cost memory. */
		if (list.n > 2 * dcd->options.max_extents)
			tidy(&list);
		first = clip(dcd, asks[i].range, tag, &list);
		if (list.n == before)
			driver_log(dcd->driver, "%s: asked to release %#llx, which is not held",
				   dcd->memdev->name, (unsigned long long)asks[i].range.dpa);
	}
	tidy(&list);
	err = foreach_group(dcd, &list, ask_release);
	if (err < 0 && first >= 0)
		first = err;
	free(list.items);
	for (uint32_t i = 0; i < n; i++) {
		err = asks[i].forced ? release_forced(dcd, &asks[i]) : 0;
		if (err < 0 && first >= 0)
			first = err;
	}
	return first;
}

int cxl_dcd_release_tag(CxlDcd *dcd, const CxlTag *tag)
{
	Group *group = cxl_tag_is_null(tag) ? NULL : dc_group_by_tag(dcd, tag);

	if (!group)
		return driver_fail(dcd->driver, -ENOENT, "%s: the tag is not held",
				   dcd->memdev->name);
	return give_back_group(dcd, group);
}

int cxl_dcd_release_group(CxlDcd *dcd, uint64_t id)
{
	for (Group *group = dcd->first; group; group = group->next) {
		if (group->id == id)
			return give_back_group(dcd, group);
	}
	return driver_fail(dcd->driver, -ENOENT, "%s: no group %llu", dcd->memdev->name,
			   (unsigned long long)id);
}

int cxl_dcd_release_range(CxlDcd *dcd, uint64_t dpa, uint64_t len)
{
	PieceList list = { 0 };
	CxlDpaRange *ranges = NULL;
	int err = clip(dcd, (CxlDpaRange){ .dpa = dpa, .len = len }, NULL, &list);

	if (err >= 0 && list.n == 0)
		err = driver_fail(dcd->driver, -ENOENT, "%s: nothing held in that range",
				  dcd->memdev->name);
	if (err >= 0) {
		ranges = ranges_of(dcd, list.items, list.n);
		err = ranges ? give_back(dcd, ranges, list.n) : -ENOMEM;
	}
	free(ranges);
	free(list.items);
	return err;
}
