/* SPDX-License-Identifier: BSD-3-Clause */
/* Extents for operators: those a host sees are in the extent list, these are all the others too. */
#include "capacity/query.h"

#include "capacity/capacity_priv.h"

static const char *const state_names[DC_EXTENT_N_STATES] = {
	[DC_EXTENT_QUEUED] = "queued",           [DC_EXTENT_OFFERED] = "offered",
	[DC_EXTENT_ACCEPTED] = "accepted",       [DC_EXTENT_DRAINING] = "draining",
	[DC_EXTENT_QUARANTINED] = "quarantined",
};

const char *dc_extent_state_name(DcExtentState state)
{
	return state_names[state];
}

/* False: at an end, nobody's business any more. */
static bool describe_state(const Extent *extent, DcExtentState *ret)
{
	static const struct {
		ExtentState state;
		DcExtentState shown;
	} rows[] = {
		{ EXTENT_QUEUED, DC_EXTENT_QUEUED },
		{ EXTENT_OFFERED, DC_EXTENT_OFFERED },
		{ EXTENT_ACCEPTED, DC_EXTENT_ACCEPTED },
		{ EXTENT_DRAINING, DC_EXTENT_DRAINING },
		{ EXTENT_QUARANTINED, DC_EXTENT_QUARANTINED },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		if (rows[i].state == (ExtentState)extent->state) {
			*ret = rows[i].shown;
			return true;
		}
	}
	return false;
}

static size_t show_offer(const Offer *offer, DcExtentFunc func, void *opaque)
{
	size_t n_shown = 0;

	for (const GList *link = offer->live.head; link; link = link->next) {
		const Extent *extent = link->data;
		DcExtentState state;
		DcExtent shown;

		if (!describe_state(extent, &state) || state == DC_EXTENT_ACCEPTED)
			continue;
		extent_describe(extent, &shown);
		func(&shown, state, opaque);
		n_shown++;
	}
	return n_shown;
}

/* They are in the order of their ids, after a restart too. */
uint64_t dc_device_foreach_other(const DcDevice *dev, uint64_t after, size_t n, DcExtentFunc func,
				 void *opaque)
{
	const GList *link = dev->all_offers.head;
	size_t n_shown = 0;

	while (link && ((const Offer *)link->data)->id <= after)
		link = link->next;
	for (; link && n_shown < n; link = link->next) {
		const Offer *offer = link->data;

		n_shown += show_offer(offer, func, opaque);
		after = offer->id;
	}
	return link ? after : 0;
}

void dc_device_tag_bytes(const DcDevice *dev, unsigned region, const Uuid *tag,
			 uint64_t ret_len[DC_EXTENT_N_STATES])
{
	for (unsigned i = 0; i < DC_EXTENT_N_STATES; i++)
		ret_len[i] = 0;
	for (const GList *link = dev->all_offers.head; link; link = link->next) {
		const Offer *offer = link->data;

		if (offer->region != region || !uuid_equal(&offer->tag, tag))
			continue;
		for (const GList *at = offer->live.head; at; at = at->next) {
			const Extent *extent = at->data;
			DcExtentState state;

			if (describe_state(extent, &state))
				ret_len[state] += extent->len;
		}
	}
}
