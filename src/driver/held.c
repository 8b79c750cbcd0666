/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of accepted extents: by DPA, by tag, and in groups. */
#include "driver/dcd_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare_dpa(const TreapNode *a, const TreapNode *b)
{
	const Held *x = treap_entry(a, Held, by_dpa);
	const Held *y = treap_entry(b, Held, by_dpa);

	if (x->dpa + x->len <= y->dpa)
		return -1;
	return y->dpa + y->len <= x->dpa;
}

static int compare_tag(const TreapNode *a, const TreapNode *b)
{
	return memcmp(&treap_entry(a, Group, by_tag)->tag, &treap_entry(b, Group, by_tag)->tag,
		      sizeof(CxlTag));
}

void held_init(CxlDcd *dcd)
{
	treap_init(&dcd->by_dpa, compare_dpa);
	treap_init(&dcd->by_tag, compare_tag);
	dcd->next_id = 1;
}

Held *held_overlap(const CxlDcd *dcd, uint64_t dpa, uint64_t len)
{
	Held key = { .dpa = dpa, .len = len };
	TreapNode *node = treap_find(&dcd->by_dpa, &key.by_dpa);

	return node ? treap_entry(node, Held, by_dpa) : NULL;
}

Group *dc_group_by_tag(const CxlDcd *dcd, const CxlTag *tag)
{
	Group key = { .tag = *tag };
	TreapNode *node = treap_find(&dcd->by_tag, &key.by_tag);

	return node ? treap_entry(node, Group, by_tag) : NULL;
}

bool cxl_tag_is_null(const CxlTag *tag)
{
	static const CxlTag null;

	return memcmp(tag, &null, sizeof(null)) == 0;
}

Group *dc_group_new(CxlDcd *dcd, const CxlTag *tag, unsigned region)
{
	Group *group = calloc(1, sizeof(*group));

	if (!group)
		return NULL;
	group->tag = *tag;
	group->tagged = !cxl_tag_is_null(tag);
	group->region = region;
	if (group->tagged)
		treap_insert(&dcd->by_tag, &group->by_tag);
	return group;
}

int dc_group_add(CxlDcd *dcd, Group *group, uint64_t dpa, uint64_t len, uint16_t shared_seq)
{
	Held *held = calloc(1, sizeof(*held));

	if (!held)
		return -ENOMEM;
	held->group = group;
	held->dpa = dpa;
	held->len = len;
	held->shared_seq = shared_seq;
	if (!treap_insert(&dcd->by_dpa, &held->by_dpa)) {
		free(held);
		return -EEXIST;
	}
	held->prev = group->last;
	if (group->last)
		group->last->next = held;
	else
		group->first = held;
	group->last = held;
	group->n_held++;
	group->len += len;
	return 0;
}

static bool linked(const CxlDcd *dcd, const Group *group)
{
	return group->id != 0;
}

void dc_group_drop(CxlDcd *dcd, Group *group, Held *held)
{
	treap_remove(&dcd->by_dpa, &held->by_dpa);
	if (held->prev)
		held->prev->next = held->next;
	else
		group->first = held->next;
	if (held->next)
		held->next->prev = held->prev;
	else
		group->last = held->prev;
	group->n_held--;
	group->len -= held->len;
	if (linked(dcd, group)) {
		dcd->stats.n_extents--;
		dcd->stats.len -= held->len;
	}
	free(held);
}

void dc_group_link(CxlDcd *dcd, Group *group)
{
	group->id = dcd->next_id++;
	group->next = NULL;
	group->prev = dcd->last;
	if (dcd->last)
		dcd->last->next = group;
	else
		dcd->first = group;
	dcd->last = group;
	dcd->stats.n_groups++;
	dcd->stats.n_extents += group->n_held;
	dcd->stats.len += group->len;
}

void dc_group_free(CxlDcd *dcd, Group *group)
{
	while (group->first)
		dc_group_drop(dcd, group, group->first);
	if (group->tagged)
		treap_remove(&dcd->by_tag, &group->by_tag);
	if (linked(dcd, group)) {
		if (group->prev)
			group->prev->next = group->next;
		else
			dcd->first = group->next;
		if (group->next)
			group->next->prev = group->prev;
		else
			dcd->last = group->prev;
		dcd->stats.n_groups--;
	}
	free(group);
}

void held_carve(CxlDcd *dcd, Held *held, uint64_t dpa, uint64_t len, Held **spare)
{
	Group *group = held->group;
	uint64_t end = held->dpa + held->len;
	uint64_t left = dpa - held->dpa;
	uint64_t right = end - (dpa + len);
	Held *piece;

	if (left == 0 && right == 0) {
		dc_group_drop(dcd, group, held);
		return;
	}
	if (left && right && !*spare) {
		len += right;
		right = 0;
	}
	group->len -= len;
	dcd->stats.len -= len;
	/* Shrinking where it stands keeps the order of the treap. */
	if (left == 0) {
		held->dpa += len;
		held->len = right;
		return;
	}
	held->len = left;
	if (right == 0)
		return;
	piece = *spare;
	*spare = NULL;
	*piece = (Held){
		.group = group,
		.prev = held,
		.next = held->next,
		.dpa = dpa + len,
		.len = right,
		.shared_seq = held->shared_seq,
	};
	if (held->next)
		held->next->prev = piece;
	else
		group->last = piece;
	held->next = piece;
	treap_insert(&dcd->by_dpa, &piece->by_dpa);
	group->n_held++;
	dcd->stats.n_extents++;
}

/* Where an extent is for the host; CXL_NO_HPA unless one decoder covers all of it */
static void locate(const CxlMemdev *memdev, CxlHostExtent *extent)
{
	const HdmBlock *hdm = &memdev->hdm;
	uint64_t run;

	extent->hpa = CXL_NO_HPA;
	extent->ways = 1;
	for (unsigned i = 0; i < hdm->n_decoders; i++) {
		const HdmDecoder *dec = &hdm->decoders[i];

		if (!dec->committed || !dec->region || extent->dpa < dec->dpa ||
		    extent->len > dec->len / dec->ways ||
		    extent->dpa - dec->dpa > dec->len / dec->ways - extent->len)
			continue;
		if (cxl_memdev_hpa_of_dpa(memdev, extent->dpa, &extent->hpa, &run) >= 0)
			extent->ways = dec->ways;
	}
}

int dc_group_view(const CxlDcd *dcd, const Group *group, CxlDcGroup *ret_view)
{
	CxlHostExtent *extents = calloc(group->n_held ? group->n_held : 1, sizeof(*extents));
	uint32_t n = 0;

	if (!extents)
		return driver_fail(dcd->driver, -ENOMEM, "out of memory");
	for (const Held *held = group->first; held; held = held->next) {
		extents[n] = (CxlHostExtent){
			.dpa = held->dpa,
			.len = held->len,
			.shared_seq = held->shared_seq,
		};
		locate(dcd->memdev, &extents[n++]);
	}
	*ret_view = (CxlDcGroup){
		.id = group->id,
		.tag = group->tag,
		.tagged = group->tagged,
		.recovered = group->recovered,
		.region = group->region,
		.len = group->len,
		.n_extents = n,
		.extents = extents,
	};
	return 0;
}

int cxl_dcd_foreach(const CxlDcd *dcd, bool (*func)(void *opaque, const CxlDcGroup *group),
		    void *opaque)
{
	for (const Group *group = dcd->first; group; group = group->next) {
		CxlDcGroup view;
		bool more;
		int err = dc_group_view(dcd, group, &view);

		if (err < 0)
			return err;
		more = func(opaque, &view);
		dc_group_view_clear(&view);
		if (!more)
			break;
	}
	return 0;
}

bool cxl_dcd_has_tag(const CxlDcd *dcd, const CxlTag *tag)
{
	return !cxl_tag_is_null(tag) && dc_group_by_tag(dcd, tag);
}

void cxl_dcd_stats(const CxlDcd *dcd, CxlDcdStats *ret_stats)
{
	*ret_stats = dcd->stats;
}
