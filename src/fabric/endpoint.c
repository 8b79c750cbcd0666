/* SPDX-License-Identifier: BSD-3-Clause */
/* The endpoint as the host sees it: its committed decoders and the maps its device lends. */

#include "fabric/fabric_priv.h"
#include <errno.h>

#define PUBLISHED_AT_ONCE 64

/* ---- Parts by DPA ---- */

static int compare_parts(gconstpointer a, gconstpointer b, gpointer data)
{
	const Part *x = a, *y = b;

	return (x->dpa > y->dpa) - (x->dpa < y->dpa);
}

/* The last part that begins at DPA or before. */
static Part *part_at_or_below(const FabricEndpoint *ep, uint64_t dpa, GTreeNode **ret_above)
{
	Part key = { .dpa = dpa };
	GTreeNode *above = g_tree_upper_bound(ep->parts, &key);
	GTreeNode *below = above ? g_tree_node_previous(above) : g_tree_node_last(ep->parts);

	*ret_above = above;
	return below ? g_tree_node_value(below) : NULL;
}

static bool overlaps(uint64_t dpa_a, uint64_t len_a, uint64_t dpa_b, uint64_t len_b)
{
	return dpa_a < dpa_b + len_b && dpa_b < dpa_a + len_a;
}

static bool is_dpa_taken(const FabricEndpoint *ep, const Part *part)
{
	GTreeNode *above;
	const Part *below = part_at_or_below(ep, part->dpa, &above);
	const Part *next = above ? g_tree_node_value(above) : NULL;

	return (below && overlaps(below->dpa, below->len, part->dpa, part->len)) ||
	       (next && overlaps(next->dpa, next->len, part->dpa, part->len));
}

Part *endpoint_find_part(const FabricEndpoint *ep, uint64_t dpa, uint64_t *ret_run)
{
	GTreeNode *above;
	Part *below = part_at_or_below(ep, dpa, &above);

	if (below && dpa - below->dpa < below->len) {
		*ret_run = below->len - (dpa - below->dpa);
		return below;
	}
	*ret_run = above ? ((Part *)g_tree_node_value(above))->dpa - dpa : UINT64_MAX;
	return NULL;
}

/* Many at a time: taking the lock costs far more than what is done under it. */
static void publish_parts(FabricEndpoint *ep, const GPtrArray *parts)
{
	for (guint i = 0; i < parts->len; i += PUBLISHED_AT_ONCE) {
		guint end = MIN(i + PUBLISHED_AT_ONCE, parts->len);

		access_lock_write_begin(&ep->fabric->access);
		for (guint j = i; j < end; j++)
			g_tree_insert(ep->parts, parts->pdata[j], parts->pdata[j]);
		access_lock_write_end(&ep->fabric->access);
	}
}

static Part *part_new(Map *map, uint64_t dpa, uint64_t len)
{
	Part *part = g_new0(Part, 1);

	*part = (Part){ .dpa = dpa, .len = len, .map = map };
	map->n_parts++;
	return part;
}

/* ---- Endpoints ---- */

static void free_map(gpointer data)
{
	Map *map = data;

	if (map->pending)
		g_ptr_array_unref(map->pending);
	g_free(map);
}

FabricEndpoint *fabric_endpoint_new(Fabric *fabric, uint32_t uid, unsigned port)
{
	Bridge *bridge = fabric_find_bridge(fabric, uid);
	FabricEndpoint *ep;

	if (!bridge || port >= bridge->config.n_ports)
		return NULL;
	ep = g_new0(FabricEndpoint, 1);
	ep->fabric = fabric;
	ep->bridge = bridge;
	ep->port = port;
	g_mutex_init(&ep->lock);
	ep->paths = g_array_new(FALSE, FALSE, sizeof(Path));
	ep->maps = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_map);
	ep->files = g_hash_table_new_full(map_file_hash, map_file_equal, g_free, NULL);
	ep->parts = g_tree_new_full(compare_parts, NULL, NULL, NULL);

	g_mutex_lock(&bridge->lock);
	if (!bridge->ports[port].endpoint) {
		access_lock_write_begin(&fabric->access);
		bridge->ports[port].endpoint = ep;
		access_lock_write_end(&fabric->access);
		g_mutex_unlock(&bridge->lock);
		return ep;
	}
	g_mutex_unlock(&bridge->lock);
	fabric_endpoint_free(ep);
	return NULL;
}

static void drop_map(FabricEndpoint *ep, Map *map);

void fabric_endpoint_free(FabricEndpoint *ep)
{
	Port *port = &ep->bridge->ports[ep->port];
	GHashTableIter iter;
	gpointer map;

	g_mutex_lock(&ep->bridge->lock);
	if (port->endpoint == ep) {
		access_lock_write_begin(&ep->fabric->access);
		port->endpoint = NULL;
		access_lock_write_end(&ep->fabric->access);
	}
	g_mutex_unlock(&ep->bridge->lock);
	for (;;) {
		g_hash_table_iter_init(&iter, ep->maps);
		if (!g_hash_table_iter_next(&iter, NULL, &map))
			break;
		drop_map(ep, map);
	}
	g_tree_unref(ep->parts);
	g_hash_table_unref(ep->maps);
	g_hash_table_unref(ep->files);
	g_array_unref(ep->paths);
	g_mutex_clear(&ep->lock);
	g_free(ep);
}

/* ---- Decoders ---- */

static bool is_same_decoder(const FabricDecoder *a, const FabricDecoder *b)
{
	return a->hpa == b->hpa && a->len == b->len && a->dpa == b->dpa && a->ways == b->ways &&
	       a->granularity == b->granularity;
}

/* The device is believed in nothing: what overlaps would make one byte appear twice. */
static int check_decoder(const FabricEndpoint *ep, const FabricDecoder *decoder)
{
	DecodeInterleave il = { decoder->ways, decoder->granularity };
	uint64_t share;

	if (!decode_is_valid(il) || decoder->len == 0 || decoder->hpa % CXL_HDM_ALIGN != 0 ||
	    decoder->len % (CXL_HDM_ALIGN * decoder->ways) != 0 ||
	    decoder->hpa + decoder->len < decoder->hpa)
		return -EINVAL;
	share = decoder->len / decoder->ways;
	if (decoder->dpa + share < decoder->dpa)
		return -EINVAL;
	for (unsigned i = 0; i < CXL_HDM_MAX_DECODERS; i++) {
		const FabricDecoder *other = &ep->decoders[i];

		if (i == decoder->index || !other->committed)
			continue;
		if (overlaps(other->hpa, other->len, decoder->hpa, decoder->len) ||
		    overlaps(other->dpa, other->len / other->ways, decoder->dpa, share))
			return -EEXIST;
	}
	return 0;
}

static void publish_decoder(FabricEndpoint *ep, const FabricDecoder *decoder)
{
	access_lock_write_begin(&ep->fabric->access);
	ep->decoders[decoder->index] = *decoder;
	access_lock_write_end(&ep->fabric->access);
}

static int set_decoder(FabricEndpoint *ep, const FabricDecoder *decoder)
{
	const FabricDecoder *current = &ep->decoders[decoder->index];
	FabricDecoder none = { .index = decoder->index };
	int ret;

	if (!decoder->committed) {
		if (current->committed) {
			publish_decoder(ep, &none);
			compose_update(ep, true);
		}
		return 0;
	}
	if (current->committed)
		return is_same_decoder(current, decoder) ? 0 : -EBUSY;
	ret = check_decoder(ep, decoder);
	if (ret != 0)
		return ret;
	publish_decoder(ep, decoder);
	ret = compose_update(ep, false);
	if (ret != 0) {
		publish_decoder(ep, &none);
		compose_update(ep, true);
	}
	return ret;
}

int fabric_endpoint_decoder(FabricEndpoint *ep, const FabricDecoder *decoder)
{
	int ret;

	if (decoder->index >= CXL_HDM_MAX_DECODERS)
		return -EINVAL;
	g_mutex_lock(&ep->lock);
	ret = set_decoder(ep, decoder);
	g_mutex_unlock(&ep->lock);
	return ret;
}

/* ---- Maps ---- */

int fabric_endpoint_prepare(FabricEndpoint *ep, const FabricMap *config)
{
	int ret = -EEXIST;

	g_mutex_lock(&ep->lock);
	if (!g_hash_table_contains(ep->maps, &config->id)) {
		Map *map = g_new0(Map, 1);

		ret = map_open(ep, config, map);
		if (ret == 0) {
			map->pending = g_ptr_array_new_with_free_func(g_free);
			g_ptr_array_add(map->pending, part_new(map, config->dpa, config->len));
			g_hash_table_insert(ep->maps, &map->config.id, map);
		} else {
			g_free(map);
		}
	}
	g_mutex_unlock(&ep->lock);
	return ret;
}

static gint compare_part_pointers(gconstpointer a, gconstpointer b)
{
	return compare_parts(*(const Part *const *)a, *(const Part *const *)b, NULL);
}

/* All parts of the maps named, in order of DPA; 0 or why they cannot be exposed. */
static int collect_parts(const FabricEndpoint *ep, const uint64_t *ids, size_t n, GPtrArray *parts)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

	for (size_t i = 0; i < n; i++) {
		Map *map = g_hash_table_lookup(ep->maps, &ids[i]);

		if (!map)
			return -ENOENT;
		if (map->is_exposed || !g_hash_table_add(seen, map))
			return -EALREADY;
		for (guint j = 0; j < map->pending->len; j++)
			g_ptr_array_add(parts, g_ptr_array_index(map->pending, j));
	}
	g_ptr_array_sort(parts, compare_part_pointers);
	for (guint i = 0; i < parts->len; i++) {
		const Part *part = g_ptr_array_index(parts, i);
		const Part *before = i > 0 ? g_ptr_array_index(parts, i - 1) : NULL;

		if (is_dpa_taken(ep, part) ||
		    (before && overlaps(before->dpa, before->len, part->dpa, part->len)))
			return -EEXIST;
	}
	return 0;
}

static int expose_maps(FabricEndpoint *ep, const uint64_t *ids, size_t n)
{
	g_autoptr(GPtrArray) parts = g_ptr_array_new();
	int ret = collect_parts(ep, ids, n, parts);

	if (ret != 0)
		return ret;
	for (guint i = 0; i < parts->len; i++) {
		ret = compose_part_map(ep, g_ptr_array_index(parts, i));
		if (ret == 0)
			continue;
		while (i-- > 0)
			compose_part_unmap(ep, g_ptr_array_index(parts, i));
		return ret;
	}
	publish_parts(ep, parts);
	for (size_t i = 0; i < n; i++) {
		Map *map = g_hash_table_lookup(ep->maps, &ids[i]);

		/* The parts are in the tree now. */
		g_ptr_array_set_free_func(map->pending, NULL);
		g_clear_pointer(&map->pending, g_ptr_array_unref);
		map->is_exposed = true;
	}
	return 0;
}

int fabric_endpoint_expose(FabricEndpoint *ep, const uint64_t *ids, size_t n)
{
	int ret;

	g_mutex_lock(&ep->lock);
	ret = expose_maps(ep, ids, n);
	g_mutex_unlock(&ep->lock);
	return ret;
}

/* ---- Revoking ---- */

/*
 * Takes [DPA, END), which it overlaps, out of PART and returns what is split off behind, or NULL.
 * LEN 0: nothing is left.
 */
static Part *shrink_part(Part *part, uint64_t dpa, uint64_t end)
{
	uint64_t part_end = part->dpa + part->len;
	bool keeps_left = dpa > part->dpa, keeps_right = end < part_end;

	if (keeps_left && keeps_right) {
		part->len = dpa - part->dpa;
		return part_new(part->map, end, part_end - end);
	}
	if (keeps_left) {
		part->len = dpa - part->dpa;
	} else if (keeps_right) {
		part->dpa = end;
		part->len = part_end - end;
	} else {
		part->len = 0;
	}
	return NULL;
}

static void finish_part(FabricEndpoint *ep, Part *part)
{
	Map *map = part->map;

	g_free(part);
	/* The map itself stays known until it is dropped. */
	if (--map->n_parts == 0)
		map_close(ep, map);
}

/* First fabric_access() lets go, then the aliases, then our own mapping. */
static void revoke_exposed(FabricEndpoint *ep, Part *part, uint64_t dpa, uint64_t end)
{
	Part key = *part, *right;

	dpa = MAX(dpa, part->dpa);
	end = MIN(end, part->dpa + part->len);
	access_lock_write_begin(&ep->fabric->access);
	if (dpa == part->dpa && end == part->dpa + part->len)
		g_tree_remove(ep->parts, &key);
	right = shrink_part(part, dpa, end);
	if (right)
		g_tree_insert(ep->parts, right, right);
	access_lock_write_end(&ep->fabric->access);

	compose_part_cut(ep, part, dpa, end - dpa, right);
	if (part->map->n_parts > 1 || part->len > 0)
		map_forget(part->map, dpa, end - dpa);
	if (part->len == 0)
		finish_part(ep, part);
}

static void revoke_pending(FabricEndpoint *ep, Map *map, uint64_t dpa, uint64_t end)
{
	for (guint i = map->pending->len; i-- > 0;) {
		Part *part = g_ptr_array_index(map->pending, i), *right;

		if (!overlaps(part->dpa, part->len, dpa, end - dpa))
			continue;
		right = shrink_part(part, dpa, end);
		if (right)
			g_ptr_array_add(map->pending, right);
		map_forget(map, dpa, end - dpa);
		if (part->len == 0)
			finish_part(ep, g_ptr_array_steal_index_fast(map->pending, i));
	}
}

static void revoke_range(FabricEndpoint *ep, Map *map, uint64_t dpa, uint64_t len)
{
	uint64_t at = dpa, end = dpa + len;

	if (!map->is_exposed) {
		revoke_pending(ep, map, dpa, end);
		return;
	}
	/* In holes of this map another one may be exposed by now. */
	while (at < end && map->n_parts > 0) {
		uint64_t run;
		Part *part = endpoint_find_part(ep, at, &run);

		if (part && part->map == map)
			revoke_exposed(ep, part, at, end);
		at += MIN(run, end - at);
	}
}

int fabric_endpoint_revoke(FabricEndpoint *ep, uint64_t map_id, uint64_t dpa, uint64_t len)
{
	int ret = -ENOENT;
	Map *map;

	g_mutex_lock(&ep->lock);
	map = g_hash_table_lookup(ep->maps, &map_id);
	if (map) {
		ret = -ERANGE;
		if (len > 0 && dpa >= map->config.dpa && len <= map->config.len &&
		    dpa - map->config.dpa <= map->config.len - len) {
			revoke_range(ep, map, dpa, len);
			ret = 0;
		}
	}
	g_mutex_unlock(&ep->lock);
	return ret;
}

static void drop_map(FabricEndpoint *ep, Map *map)
{
	if (map->n_parts > 0)
		revoke_range(ep, map, map->config.dpa, map->config.len);
	g_hash_table_remove(ep->maps, &map->config.id);
}

int fabric_endpoint_drop(FabricEndpoint *ep, uint64_t map_id)
{
	int ret = -ENOENT;
	Map *map;

	g_mutex_lock(&ep->lock);
	map = g_hash_table_lookup(ep->maps, &map_id);
	if (map) {
		drop_map(ep, map);
		ret = 0;
	}
	g_mutex_unlock(&ep->lock);
	return ret;
}

FabricHeld *fabric_endpoint_held(FabricEndpoint *ep, size_t *ret_n)
{
	FabricHeld *held;
	size_t n = 0;

	g_mutex_lock(&ep->lock);
	held = g_new(FabricHeld, MAX(1, g_tree_nnodes(ep->parts)));
	for (GTreeNode *node = g_tree_node_first(ep->parts); node; node = g_tree_node_next(node)) {
		const Part *part = g_tree_node_value(node);

		held[n++] = (FabricHeld){ .map_id = part->map->config.id,
					  .dpa = part->dpa,
					  .len = part->len,
					  .incarnation = part->map->config.incarnation };
	}
	g_mutex_unlock(&ep->lock);
	*ret_n = n;
	return held;
}

void fabric_endpoint_drop_unexposed(FabricEndpoint *ep)
{
	GHashTableIter iter;
	gpointer value;

	g_mutex_lock(&ep->lock);
	g_hash_table_iter_init(&iter, ep->maps);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Map *map = value;

		if (map->is_exposed)
			continue;
		if (map->n_parts > 0)
			revoke_range(ep, map, map->config.dpa, map->config.len);
		g_hash_table_iter_remove(&iter);
	}
	g_mutex_unlock(&ep->lock);
}

int fabric_endpoint_find(FabricEndpoint *ep, uint64_t dpa, FabricPlace *ret)
{
	uint64_t run;
	Part *part;

	g_mutex_lock(&ep->lock);
	part = endpoint_find_part(ep, dpa, &run);
	if (part) {
		const Map *map = part->map;

		*ret = (FabricPlace){
			.map_id = map->config.id,
			.incarnation = map->config.incarnation,
			.offset = map->config.offset + (dpa - map->config.dpa),
			.run = run,
			.fd = map->file->fd,
			.writable = map->config.writable,
		};
	}
	g_mutex_unlock(&ep->lock);
	return part ? 0 : -ENOENT;
}
