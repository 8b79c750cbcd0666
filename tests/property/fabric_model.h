/* SPDX-License-Identifier: BSD-3-Clause */
/* A naive model of the fabric: plain arrays, and every address decoded from scratch. */
#ifndef TESTS_FABRIC_MODEL_H
#define TESTS_FABRIC_MODEL_H

/*
 * What levels of interleaving fit together it does not take from a rule but tries out: an endpoint
 * decoder is right if in every turn of its ways the same one of its granules comes to its port, as
 * a whole.
 */

#include "../unit/fabric_fake.h"

#define N_BRIDGES   3
#define N_PORTS     2
#define N_EPS       (N_BRIDGES * N_PORTS)
#define N_DECODERS  3
#define MAX_STRIPES 8
#define MAX_MAPS    16
#define POOL_LEN    (UINT64_C(1) << 20)
#define PAGE        UINT64_C(4096)

typedef struct ModelPart {
	uint64_t map_id, dpa, len;
	bool was_cut;
} ModelPart;

typedef struct ModelMap {
	FabricMap config;
	bool exposed;
	GArray *parts; /* ModelPart */
} ModelMap;

typedef struct ModelEndpoint {
	FabricEndpoint *ep;
	int fd;
	uint8_t *memory; /* POOL_LEN bytes, written once */
	FabricDecoder decoders[N_DECODERS];
	GPtrArray *maps; /* ModelMap */
	uint64_t next_id;
} ModelEndpoint;

typedef struct ModelBridgeDecoder {
	bool committed;
	FakeBridgeDecoder config;
} ModelBridgeDecoder;

struct Recipe;

typedef struct Model {
	GRand *rand;
	FakeMapper fake;
	Fabric *fabric;
	ModelEndpoint eps[N_EPS];
	ModelBridgeDecoder bridges[N_BRIDGES][N_DECODERS];
	GHashTable *fits;                         /* what was tried out */
	const struct Recipe *current[N_DECODERS]; /* what most decoders are programmed to */
	uint64_t n_reachable, n_aliased, n_exposed, n_failed; /* that the run was worth something */
} Model;

static const FabricWindow windows[] = {
	{ .hpa = 16 * MIB256, .len = 4 * MIB256, .ways = 1, .granularity = 256, .targets = { 0 } },
	{ .hpa = 24 * MIB256,
	  .len = 4 * MIB256,
	  .ways = 2,
	  .granularity = 4096,
	  .targets = { 1, 0 } },
	{ .hpa = 32 * MIB256,
	  .len = 6 * MIB256,
	  .ways = 3,
	  .granularity = 512,
	  .targets = { 2, 0, 1 } },
};

static uint64_t rand_below(Model *m, uint64_t n)
{
	return ((uint64_t)g_rand_int(m->rand) << 32 | g_rand_int(m->rand)) % n;
}

/* ---- The naive decode ---- */

typedef struct Where {
	unsigned ep;
	const FabricDecoder *decoder;
	const ModelMap *map;
	const ModelPart *part;
	uint64_t dpa, offset;
} Where;

/* By trial, over several turns, in steps of the finest granule there is. */
static bool fits_by_trial(unsigned w_ways, uint64_t w_g, unsigned b_ways, uint64_t b_g,
			  unsigned ways, uint64_t g)
{
	uint64_t end = MAX(MAX(w_ways * w_g, b_ways * b_g), ways * g) * 12;
	uint64_t targets[16], seen = 0;

	for (uint64_t at = 0; at < end; at += 256) {
		uint64_t target = at / w_g % w_ways * b_ways + at / b_g % b_ways;
		uint64_t granule = at / g, pos = granule % ways;

		if (granule < ways && at % g == 0) {
			if (seen >> target & 1) /* two granules of a turn to one target */
				return false;
			seen |= UINT64_C(1) << target;
			targets[pos] = target;
		} else if (targets[pos] != target) {
			return false;
		}
	}
	/* and all targets have one */
	return seen == (UINT64_C(1) << w_ways * b_ways) - 1;
}

static bool fits(Model *m, const FabricWindow *w, const FakeBridgeDecoder *b,
		 const FabricDecoder *d)
{
	unsigned key = w->ways | (unsigned)cxl_ig_encode(b->granularity) << 4 | b->ways << 7 |
		       d->ways << 11 | (unsigned)cxl_ig_encode(d->granularity) << 16;
	gpointer known;

	if (!g_hash_table_lookup_extended(m->fits, GUINT_TO_POINTER(key), NULL, &known)) {
		known = GINT_TO_POINTER(fits_by_trial(w->ways, w->granularity, b->ways,
						      b->granularity, d->ways, d->granularity));
		g_hash_table_insert(m->fits, GUINT_TO_POINTER(key), known);
	}
	return GPOINTER_TO_INT(known);
}

static bool find_part(const ModelEndpoint *ep, uint64_t dpa, Where *where)
{
	for (guint i = 0; i < ep->maps->len; i++) {
		const ModelMap *map = g_ptr_array_index(ep->maps, i);

		for (guint j = 0; map->exposed && j < map->parts->len; j++) {
			const ModelPart *part = &g_array_index(map->parts, ModelPart, j);

			if (dpa < part->dpa || dpa - part->dpa >= part->len)
				continue;
			where->map = map;
			where->part = part;
			where->offset = map->config.offset + (dpa - map->config.dpa);
			return true;
		}
	}
	return false;
}

static bool locate(Model *m, uint64_t hpa, Where *ret)
{
	const FabricWindow *w = NULL;
	const FakeBridgeDecoder *b = NULL;
	const FabricDecoder *d = NULL;
	unsigned bridge;
	uint64_t n;

	*ret = (Where){ 0 };
	for (size_t i = 0; i < G_N_ELEMENTS(windows); i++) {
		if (hpa >= windows[i].hpa && hpa < windows[i].hpa + windows[i].len)
			w = &windows[i];
	}
	if (!w)
		return false;
	bridge = w->targets[(hpa - w->hpa) / w->granularity % w->ways];
	for (unsigned i = 0; i < N_DECODERS; i++) {
		const ModelBridgeDecoder *known = &m->bridges[bridge][i];

		if (known->committed && hpa >= known->config.hpa &&
		    hpa < known->config.hpa + known->config.len)
			b = &known->config;
	}
	if (!b)
		return false;
	ret->ep = bridge * N_PORTS + b->targets[hpa / b->granularity % b->ways];
	for (unsigned i = 0; i < N_DECODERS; i++) {
		const FabricDecoder *known = &m->eps[ret->ep].decoders[i];

		if (known->committed && hpa >= known->hpa && hpa < known->hpa + known->len)
			d = known;
	}
	if (!d || !fits(m, w, b, d))
		return false;
	n = (hpa - d->hpa) / d->granularity;
	ret->decoder = d;
	ret->dpa = d->dpa + n / d->ways * d->granularity + (hpa - d->hpa) % d->granularity;
	return find_part(&m->eps[ret->ep], ret->dpa, ret);
}

/* Whole pages of one part, as many pieces as allowed, have an alias; nothing else has. */
static bool wants_alias(const Where *where, uint64_t hpa)
{
	const FabricDecoder *d = where->decoder;
	const ModelPart *part = where->part;
	uint64_t in_page = hpa % PAGE, start = MAX(part->dpa, d->dpa), end;

	end = MIN(part->dpa + part->len, d->dpa + d->len / d->ways);
	if (where->offset % PAGE != in_page)
		return false;
	if (d->ways > 1 &&
	    (d->granularity < PAGE ||
	     (end - 1 - d->dpa) / d->granularity - (start - d->dpa) / d->granularity >=
		     MAX_STRIPES))
		return false;
	return where->dpa - start >= in_page && end - where->dpa >= PAGE - in_page;
}

#endif
