/* SPDX-License-Identifier: BSD-3-Clause */
/* Composes stripes: what the exposed parts of an endpoint give to interleaved ranges. */

#include "fabric/fabric_priv.h"

static uint64_t div_up(uint64_t value, uint64_t by)
{
	return (value + by - 1) / by;
}

/* Whole granules only; false if there are none, or if they are no whole pages of the file. */
static bool find_stripe(const Part *part, const Path *path, Stripe *ret)
{
	const FabricDecoder *decoder = &path->decoder;
	const FabricMap *config = &part->map->config;
	DecodeInterleave il = path->interleave;
	uint64_t g = il.granularity, turn = g * il.ways, at = path->position * g;
	uint64_t start = MAX(part->dpa, decoder->dpa);
	uint64_t end = MIN(part->dpa + part->len, decoder->dpa + decoder->len / il.ways);
	uint64_t skip = path->hpa - decoder->hpa, room = path->end - decoder->hpa;

	if (il.ways == 1 || start >= end || room < at + g || g % part->map->page_size != 0)
		return false;
	*ret = (Stripe){
		.hpa = decoder->hpa,
		.interleave = il,
		.position = path->position,
		.first = div_up(start - decoder->dpa, g),
		.end = MIN((end - decoder->dpa) / g, (room - at - g) / turn + 1),
		.map = part->map,
		.fd = part->map->file->fd,
		.writable = config->writable,
	};
	if (skip > at)
		ret->first = MAX(ret->first, div_up(skip - at, turn));
	ret->offset = config->offset + (decoder->dpa + ret->first * g - config->dpa);
	return ret->first < ret->end && ret->offset % part->map->page_size == 0;
}

static guint n_stripes(const GArray *stripes)
{
	return stripes ? stripes->len : 0;
}

static bool has_stripe(const GArray *stripes, const Stripe *stripe)
{
	for (guint i = 0; i < n_stripes(stripes); i++) {
		if (stripe_is_same(&g_array_index(stripes, Stripe, i), stripe))
			return true;
	}
	return false;
}

/* NULL if there are none. */
static GArray *wanted_stripes(const FabricEndpoint *ep, const Part *part)
{
	GArray *stripes = NULL;

	for (guint i = 0; i < ep->paths->len; i++) {
		Stripe stripe;

		if (!find_stripe(part, &g_array_index(ep->paths, Path, i), &stripe))
			continue;
		if (!stripes)
			stripes = g_array_new(FALSE, FALSE, sizeof(Stripe));
		g_array_append_val(stripes, stripe);
	}
	return stripes;
}

void compose_stripes_take(FabricEndpoint *ep, Part *part)
{
	Spans *spans = ep->fabric->spans;
	GArray *wanted;

	if (!spans || !part->stripes)
		return;
	wanted = wanted_stripes(ep, part);
	for (guint i = part->stripes->len; i-- > 0;) {
		Stripe stripe = g_array_index(part->stripes, Stripe, i);

		if (has_stripe(wanted, &stripe))
			continue;
		spans_take(spans, &stripe, stripe.first, stripe.end);
		g_array_remove_index(part->stripes, i);
	}
	g_clear_pointer(&wanted, g_array_unref);
}

void compose_stripes_put(FabricEndpoint *ep, Part *part)
{
	Spans *spans = ep->fabric->spans;
	GArray *wanted = spans ? wanted_stripes(ep, part) : NULL;

	for (guint i = 0; i < n_stripes(wanted); i++) {
		const Stripe *stripe = &g_array_index(wanted, Stripe, i);

		if (!has_stripe(part->stripes, stripe))
			spans_put(spans, stripe);
	}
	g_clear_pointer(&part->stripes, g_array_unref);
	part->stripes = wanted;
}

void compose_stripes_drop(FabricEndpoint *ep, Part *part, uint64_t dpa, uint64_t len)
{
	const FabricMap *config = &part->map->config;
	Spans *spans = ep->fabric->spans;

	if (!spans)
		return;
	for (guint i = 0; i < n_stripes(part->stripes); i++) {
		const Stripe *stripe = &g_array_index(part->stripes, Stripe, i);
		uint64_t g = stripe->interleave.granularity;
		uint64_t start = config->dpa + (stripe->offset - config->offset);
		uint64_t from = dpa > start ? (dpa - start) / g : 0;
		uint64_t end = dpa + len > start ? div_up(dpa + len - start, g) : 0;

		spans_take(spans, stripe, stripe->first + from,
			   MIN(stripe->first + end, stripe->end));
	}
	g_clear_pointer(&part->stripes, g_array_unref);
	spans_flush(spans, part->map);
}
