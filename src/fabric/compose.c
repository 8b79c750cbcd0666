/* SPDX-License-Identifier: BSD-3-Clause */
/* Composes aliases: window, host bridge decoder, endpoint decoder and exposed map, intersected. */

/*
 * Design. Paths are the address ranges on which the three decoders agree; there are few, and they
 * are found anew when a decoder changes. A part's aliases follow from the part and the paths alone,
 * so a new part costs only itself, and after a decoder change each part's aliases are compared with
 * what they should be. Everything here runs under ep->lock, which also covers the mapper calls, but
 * for those about spans.
 */

#include "fabric/fabric_priv.h"

/* ---- Paths ---- */

static int compare_paths(const void *a, const void *b)
{
	uint64_t hpa_a = ((const Path *)a)->hpa, hpa_b = ((const Path *)b)->hpa;

	return (hpa_a > hpa_b) - (hpa_a < hpa_b);
}

static unsigned window_position(const Window *window, const Bridge *bridge)
{
	unsigned pos = 0;

	while (pos < window->config.ways && window->targets[pos] != bridge)
		pos++;
	return pos;
}

static unsigned bridge_position(const BridgeDecoder *decoder, unsigned port)
{
	unsigned pos = 0;

	while (pos < decoder->interleave.ways && decoder->targets[pos] != port)
		pos++;
	return pos;
}

static void add_path(GArray *paths, const FabricEndpoint *ep, const Window *window,
		     const BridgeDecoder *bridge, const FabricDecoder *decoder)
{
	Path path = {
		.hpa = MAX(MAX(window->config.hpa, bridge->hpa), decoder->hpa),
		.end = MIN(MIN(window->config.hpa + window->config.len, bridge->hpa + bridge->len),
			   decoder->hpa + decoder->len),
		.decoder = *decoder,
		.interleave = { decoder->ways, decoder->granularity },
	};
	DecodeRoute route = {
		.window_hpa = window->config.hpa,
		.window = window->interleave,
		.window_pos = window_position(window, ep->bridge),
		.bridge = bridge->interleave,
		.bridge_pos = bridge_position(bridge, ep->port),
		.endpoint_hpa = decoder->hpa,
		.endpoint = path.interleave,
	};

	if (path.hpa >= path.end || route.window_pos == window->config.ways ||
	    route.bridge_pos == bridge->interleave.ways ||
	    !decode_fits(route.window, route.bridge, route.endpoint))
		return;
	path.position = decode_endpoint_position(&route, path.hpa);
	g_array_append_val(paths, path);
}

static void find_paths(FabricEndpoint *ep)
{
	Fabric *fabric = ep->fabric;
	unsigned shard = access_lock_read_begin(&fabric->access);

	g_array_set_size(ep->paths, 0);
	for (unsigned d = 0; d < CXL_HDM_MAX_DECODERS; d++) {
		if (!ep->decoders[d].committed)
			continue;
		for (unsigned b = 0; b < ep->bridge->config.n_decoders; b++) {
			if (!ep->bridge->decoders[b].committed)
				continue;
			for (unsigned w = 0; w < fabric->n_windows; w++)
				add_path(ep->paths, ep, &fabric->windows[w],
					 &ep->bridge->decoders[b], &ep->decoders[d]);
		}
	}
	access_lock_read_end(&fabric->access, shard);
	g_array_sort(ep->paths, compare_paths);
}

/* ---- What a part's aliases should be ---- */

/* [DPA, DPA + LEN) of the part lies in one run from HPA on; keeps what is whole pages of PATH. */
static void add_run(GArray *aliases, const Part *part, const Path *path, uint64_t hpa, uint64_t dpa,
		    uint64_t len)
{
	const Map *map = part->map;
	uint64_t page = map->page_size, start = MAX(hpa, path->hpa),
		 end = MIN(hpa + len, path->end);
	uint64_t offset = map->config.offset + (dpa - map->config.dpa);
	FabricAlias alias;

	/* Address and place in the file must agree on where pages begin. */
	if (start >= end || hpa % page != offset % page)
		return;
	start = (start + page - 1) / page * page;
	end = end / page * page;
	if (start >= end)
		return;
	alias = (FabricAlias){
		.hpa = start,
		.len = end - start,
		.dpa = dpa + (start - hpa),
		.fd = map->file->fd,
		.offset = offset + (start - hpa),
		.hva = map->hva + (dpa + (start - hpa) - map->config.dpa),
		.map_id = map->config.id,
		.writable = map->config.writable,
	};
	g_array_append_val(aliases, alias);
}

static void add_aliases_on_path(GArray *aliases, const Fabric *fabric, const Part *part,
				const Path *path)
{
	const FabricDecoder *decoder = &path->decoder;
	DecodeInterleave il = path->interleave;
	uint64_t share = decoder->len / il.ways;
	uint64_t start = MAX(part->dpa, decoder->dpa);
	uint64_t end = MIN(part->dpa + part->len, decoder->dpa + share);
	uint64_t first, last;

	if (start >= end)
		return;
	if (il.ways == 1) {
		add_run(aliases, part, path, decoder->hpa + (start - decoder->dpa), start,
			end - start);
		return;
	}
	if (fabric->spans)
		return;
	first = (start - decoder->dpa) / il.granularity;
	last = (end - 1 - decoder->dpa) / il.granularity;
	if (il.granularity < part->map->page_size || last - first >= fabric->max_stripes)
		return;
	for (uint64_t granule = first; granule <= last; granule++) {
		uint64_t from = MAX(start, decoder->dpa + granule * il.granularity);
		uint64_t to = MIN(end, decoder->dpa + (granule + 1) * il.granularity);
		uint64_t hpa = decoder->hpa +
			       decode_host_offset(from - decoder->dpa, path->position, il);

		add_run(aliases, part, path, hpa, from, to - from);
	}
}

/* By address; NULL if there are none. */
static GArray *wanted_aliases(const FabricEndpoint *ep, const Part *part)
{
	GArray *aliases = g_array_sized_new(FALSE, FALSE, sizeof(FabricAlias), 1);

	for (guint i = 0; i < ep->paths->len; i++)
		add_aliases_on_path(aliases, ep->fabric, part, &g_array_index(ep->paths, Path, i));
	if (aliases->len == 0)
		g_clear_pointer(&aliases, g_array_unref);
	return aliases;
}

/* ---- Calls to the mapper ---- */

static int map_alias(Fabric *fabric, const FabricAlias *alias)
{
	int ret = fabric->mapper.map(fabric->opaque, alias);

	if (ret == 0)
		__atomic_add_fetch(&fabric->n_aliases, 1, __ATOMIC_RELAXED);
	return ret < 0 ? ret : 0;
}

static void unmap_alias(Fabric *fabric, const FabricAlias *alias)
{
	fabric->mapper.unmap(fabric->opaque, alias);
	__atomic_sub_fetch(&fabric->n_aliases, 1, __ATOMIC_RELAXED);
}

static guint n_aliases(const GArray *aliases)
{
	return aliases ? aliases->len : 0;
}

int compose_part_map(FabricEndpoint *ep, Part *part)
{
	GArray *wanted = wanted_aliases(ep, part);

	for (guint i = 0; i < n_aliases(wanted); i++) {
		int ret = map_alias(ep->fabric, &g_array_index(wanted, FabricAlias, i));

		if (ret == 0)
			continue;
		while (i-- > 0)
			unmap_alias(ep->fabric, &g_array_index(wanted, FabricAlias, i));
		g_array_unref(wanted);
		return ret;
	}
	part->aliases = wanted;
	compose_stripes_put(ep, part);
	return 0;
}

void compose_part_unmap(FabricEndpoint *ep, Part *part)
{
	for (guint i = 0; i < n_aliases(part->aliases); i++)
		unmap_alias(ep->fabric, &g_array_index(part->aliases, FabricAlias, i));
	g_clear_pointer(&part->aliases, g_array_unref);
	compose_stripes_drop(ep, part, part->dpa, part->len);
}

static void append_alias(GArray **aliases, const FabricAlias *alias)
{
	if (!*aliases)
		*aliases = g_array_sized_new(FALSE, FALSE, sizeof(FabricAlias), 1);
	g_array_append_vals(*aliases, alias, 1);
}

/* LEN bytes of ALIAS from SKIP on */
static FabricAlias sub_alias(const FabricAlias *alias, uint64_t skip, uint64_t len)
{
	FabricAlias sub = *alias;

	sub.hpa += skip;
	sub.dpa += skip;
	sub.offset += skip;
	sub.hva = (uint8_t *)sub.hva + skip;
	sub.len = len;
	return sub;
}

/* Takes [FROM, TO) (offsets in ALIAS) out; returns what is left of it, up to two. */
static unsigned cut_alias(FabricEndpoint *ep, const FabricAlias *alias, uint64_t from, uint64_t to,
			  FabricAlias ret_rest[2])
{
	Fabric *fabric = ep->fabric;
	unsigned n = 0, n_kept = 0;

	if (from > 0)
		ret_rest[n++] = sub_alias(alias, 0, from);
	if (to < alias->len)
		ret_rest[n++] = sub_alias(alias, to, alias->len - to);
	if (n > 0 && fabric->mapper.cut) {
		fabric->mapper.cut(fabric->opaque, alias, alias->hpa + from, to - from);
		__atomic_add_fetch(&fabric->n_aliases, n - 1, __ATOMIC_RELAXED);
		return n;
	}
	unmap_alias(fabric, alias);
	/* What cannot be mapped again is still right through fabric_access(). */
	for (unsigned i = 0; i < n; i++) {
		if (map_alias(fabric, &ret_rest[i]) == 0)
			ret_rest[n_kept++] = ret_rest[i];
	}
	return n_kept;
}

void compose_part_cut(FabricEndpoint *ep, Part *part, uint64_t dpa, uint64_t len, Part *right)
{
	g_autoptr(GArray) old = g_steal_pointer(&part->aliases);
	uint64_t page = part->map->page_size, end = dpa + len;

	for (guint i = 0; i < n_aliases(old); i++) {
		const FabricAlias *alias = &g_array_index(old, FabricAlias, i);
		FabricAlias rest[2] = { *alias };
		unsigned n = 1;

		if (alias->dpa < end && alias->dpa + alias->len > dpa) {
			uint64_t from = dpa > alias->dpa ? (dpa - alias->dpa) / page * page : 0;
			uint64_t to = end - alias->dpa;

			to = to >= alias->len ? alias->len
					      : MIN((to + page - 1) / page * page, alias->len);
			n = cut_alias(ep, alias, from, to, rest);
		}
		for (unsigned j = 0; j < n; j++)
			append_alias(rest[j].dpa >= end && right ? &right->aliases : &part->aliases,
				     &rest[j]);
	}
	compose_stripes_drop(ep, part, dpa, len);
	compose_stripes_put(ep, part);
	if (right)
		compose_stripes_put(ep, right);
}

/* ---- After a decoder changed ---- */

static bool is_same_alias(const FabricAlias *a, const FabricAlias *b)
{
	return a->hpa == b->hpa && a->len == b->len && a->dpa == b->dpa;
}

/* First half: leaves in part->aliases what is there and wanted. */
static void unmap_unwanted(FabricEndpoint *ep, Part *part, const GArray *wanted)
{
	g_autoptr(GArray) old = g_steal_pointer(&part->aliases);
	guint w = 0;

	for (guint i = 0; i < n_aliases(old); i++) {
		const FabricAlias *alias = &g_array_index(old, FabricAlias, i);

		while (w < n_aliases(wanted) &&
		       g_array_index(wanted, FabricAlias, w).hpa < alias->hpa)
			w++;
		if (w < n_aliases(wanted) &&
		    is_same_alias(alias, &g_array_index(wanted, FabricAlias, w)))
			append_alias(&part->aliases, alias);
		else
			unmap_alias(ep->fabric, alias);
	}
}

/* Second half: what is there is a subset of what is wanted. */
static int map_wanted(FabricEndpoint *ep, Part *part, const GArray *wanted, bool best_effort)
{
	g_autoptr(GArray) old = g_steal_pointer(&part->aliases);
	guint o = 0;
	int ret = 0;

	for (guint i = 0; i < n_aliases(wanted); i++) {
		const FabricAlias *alias = &g_array_index(wanted, FabricAlias, i);
		bool is_there = o < n_aliases(old) &&
				is_same_alias(alias, &g_array_index(old, FabricAlias, o));

		if (is_there) {
			o++;
		} else if (ret == 0) {
			int err = map_alias(ep->fabric, alias);

			if (err != 0 && !best_effort)
				ret = err;
			is_there = err == 0;
		}
		if (is_there)
			append_alias(&part->aliases, alias);
	}
	return ret;
}

int compose_update(FabricEndpoint *ep, bool best_effort)
{
	find_paths(ep);
	for (GTreeNode *node = g_tree_node_first(ep->parts); node; node = g_tree_node_next(node)) {
		Part *part = g_tree_node_value(node);
		g_autoptr(GArray) wanted = wanted_aliases(ep, part);

		unmap_unwanted(ep, part, wanted);
		compose_stripes_take(ep, part);
	}
	for (GTreeNode *node = g_tree_node_first(ep->parts); node; node = g_tree_node_next(node)) {
		Part *part = g_tree_node_value(node);
		g_autoptr(GArray) wanted = wanted_aliases(ep, part);
		int ret = map_wanted(ep, part, wanted, best_effort);

		if (ret != 0)
			return ret;
		compose_stripes_put(ep, part);
	}
	return 0;
}
