/* SPDX-License-Identifier: BSD-3-Clause */
/* Random decoders and maps: aliases and accesses always agree with a naive model of the fabric. */

/*
 * What is where, and what has an alias, is compared with fabric_model.h after every step.
 * SOFTDCD_SEED=N repeats a run, SOFTDCD_OPS=N sets its length.
 */

#include "fabric_model.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Interleavings that make a working region in window INDEX; others are tried too. */
typedef struct Recipe {
	unsigned index; /* of window and of the decoders */
	unsigned bridge_ways, bridge_granularity;
	unsigned ways, granularity;
} Recipe;

static const Recipe recipes[] = {
	{ 0, 1, 256, 1, 256 },   { 0, 1, 4096, 1, 8192 },   { 0, 2, 256, 2, 256 },
	{ 0, 2, 4096, 2, 4096 }, { 0, 2, 16384, 2, 16384 }, { 1, 1, 256, 2, 4096 },
	{ 1, 2, 8192, 4, 4096 }, { 1, 2, 2048, 4, 2048 },   { 2, 1, 256, 3, 512 },
	{ 2, 2, 256, 6, 256 },   { 1, 1, 256, 2, 512 },     { 2, 2, 512, 6, 512 },
	{ 2, 2, 1024, 6, 512 },
};

/* ---- Checks ---- */

static void check_address(Model *m, uint64_t hpa)
{
	Where where;
	bool reachable = locate(m, hpa, &where);
	const FabricAlias *alias = fake_find(&m->fake, hpa);
	uint8_t want = 0xff, have = 0x77;

	if (reachable)
		want = m->eps[where.ep].memory[where.offset];
	fabric_access(m->fabric, hpa, &have, 1, false);
	g_assert_cmphex(have, ==, want);
	if (!reachable) {
		g_assert_null(alias);
		return;
	}
	m->n_reachable++;
	/* What had too many stripes may have few enough once it is cut; it need not get aliases. */
	if (alias || !where.part->was_cut || where.decoder->ways == 1)
		g_assert_true((alias != NULL) == wants_alias(&where, hpa));
	if (!alias)
		return;
	m->n_aliased++;
	g_assert_cmphex(alias->dpa + (hpa - alias->hpa), ==, where.dpa);
	g_assert_cmphex(alias->offset + (hpa - alias->hpa), ==, where.offset);
	g_assert_cmpuint(alias->map_id, ==, where.part->map_id);
	g_assert_true(alias->writable == where.map->config.writable);
	g_assert_cmphex(((uint8_t *)alias->hva)[hpa - alias->hpa], ==, want);
}

/* Wherever DPA may be seen through the endpoint's decoders, at any position. */
static void check_dpa(Model *m, const ModelEndpoint *ep, uint64_t dpa)
{
	for (unsigned i = 0; i < N_DECODERS; i++) {
		const FabricDecoder *d = &ep->decoders[i];
		uint64_t offset = dpa - d->dpa, n;

		if (!d->committed || dpa < d->dpa || offset >= d->len / d->ways)
			continue;
		n = offset / d->granularity * d->ways;
		for (unsigned pos = 0; pos < d->ways; pos++)
			check_address(m, d->hpa + (n + pos) * d->granularity +
						 offset % d->granularity);
	}
}

static void check_part(Model *m, const ModelEndpoint *ep, const ModelPart *part)
{
	uint64_t end = part->dpa + part->len;

	check_dpa(m, ep, part->dpa);
	check_dpa(m, ep, part->dpa - (part->dpa > 0));
	check_dpa(m, ep, end - 1);
	check_dpa(m, ep, end);
	check_dpa(m, ep, part->dpa + rand_below(m, part->len));
}

/* Long reads at any alignment, across everything: byte by byte as the model says. */
static void check_span(Model *m, uint64_t hpa)
{
	uint8_t have[700];
	uint64_t len = 1 + rand_below(m, sizeof(have));

	fabric_access(m->fabric, hpa, have, len, false);
	for (uint64_t i = 0; i < len; i++) {
		Where where;
		bool reachable = locate(m, hpa + i, &where);

		g_assert_cmphex(have[i], ==,
				reachable ? m->eps[where.ep].memory[where.offset] : 0xff);
	}
}

/* A write lands where the model says, or nowhere; then it is undone. */
static void check_write(Model *m, uint64_t hpa)
{
	Where where;
	bool writable = locate(m, hpa, &where) && where.map->config.writable;
	uint8_t old = writable ? m->eps[where.ep].memory[where.offset] : 0, value = (uint8_t)~old;

	fabric_access(m->fabric, hpa, &value, 1, true);
	if (!writable) {
		check_address(m, hpa);
		return;
	}
	g_assert_cmphex(m->eps[where.ep].memory[where.offset], ==, value);
	m->eps[where.ep].memory[where.offset] = old;
}

static gboolean check_alias(gpointer key, gpointer value, gpointer data)
{
	const FabricAlias *alias = key;

	check_address(data, alias->hpa);
	check_address(data, alias->hpa + alias->len - 1);
	return FALSE;
}

static uint64_t random_address(Model *m)
{
	const FabricWindow *w = &windows[rand_below(m, G_N_ELEMENTS(windows))];

	/* Most of the life is in the first pages of a multiple of 256 MiB. */
	return w->hpa + rand_below(m, w->len / MIB256) * MIB256 + rand_below(m, 1 << 21) -
	       (1 << 20);
}

static void check_some(Model *m)
{
	for (unsigned i = 0; i < 24; i++) {
		const ModelEndpoint *ep = &m->eps[rand_below(m, N_EPS)];
		const ModelMap *map;

		if (ep->maps->len == 0)
			continue;
		map = g_ptr_array_index(ep->maps, rand_below(m, ep->maps->len));
		if (map->parts->len > 0)
			check_part(m, ep,
				   &g_array_index(map->parts, ModelPart,
						  rand_below(m, map->parts->len)));
	}
	check_address(m, random_address(m));
	check_write(m, random_address(m));
}

static void check_all(Model *m)
{
	FabricStats stats;

	for (unsigned e = 0; e < N_EPS; e++) {
		const ModelEndpoint *ep = &m->eps[e];
		g_autofree FabricHeld *held = NULL;
		size_t n_held, n = 0;

		for (guint i = 0; i < ep->maps->len; i++) {
			const ModelMap *map = g_ptr_array_index(ep->maps, i);

			for (guint j = 0; j < map->parts->len; j++)
				check_part(m, ep, &g_array_index(map->parts, ModelPart, j));
			n += map->exposed ? map->parts->len : 0;
		}
		held = fabric_endpoint_held(ep->ep, &n_held);
		g_assert_cmpuint(n_held, ==, n);
		for (size_t i = 1; i < n; i++)
			g_assert_cmphex(held[i - 1].dpa + held[i - 1].len, <=, held[i].dpa);
	}
	g_tree_foreach(m->fake.aliases, check_alias, m);
	fabric_stats(m->fabric, &stats);
	g_assert_cmpuint(stats.n_aliases, ==, (uint64_t)g_tree_nnodes(m->fake.aliases));
	check_span(m, random_address(m));
}

/* ---- Operations ---- */

static void free_model_map(gpointer data)
{
	ModelMap *map = data;

	g_array_unref(map->parts);
	g_free(map);
}

static void op_prepare(Model *m, ModelEndpoint *ep)
{
	ModelMap *map;
	uint64_t dpa, len, unit = g_rand_boolean(m->rand) ? PAGE : 64;
	ModelPart part;

	if (ep->maps->len >= MAX_MAPS)
		return;
	/* Around the borders between decoders' DPA ranges */
	dpa = rand_below(m, N_DECODERS) * MIB256 + rand_below(m, 512 * 1024) / unit * unit;
	dpa = dpa >= 256 * 1024 ? dpa - 256 * 1024 : dpa;
	len = (1 + rand_below(m, 48 * 1024 / unit)) * unit;
	map = g_new0(ModelMap, 1);
	map->config = (FabricMap){
		.id = ep->next_id++,
		.dpa = dpa,
		.len = len,
		.offset = rand_below(m, (POOL_LEN - 128 * 1024) / PAGE) * PAGE + dpa % PAGE,
		.writable = g_rand_boolean(m->rand),
		.fd = fcntl(ep->fd, F_DUPFD_CLOEXEC, 3),
	};
	if (rand_below(m, 8) == 0) /* pages begin elsewhere in the file than in the window */
		map->config.offset += 64;
	g_assert_cmpint(fabric_endpoint_prepare(ep->ep, &map->config), ==, 0);
	map->parts = g_array_new(FALSE, FALSE, sizeof(ModelPart));
	part = (ModelPart){ map->config.id, dpa, len, false };
	g_array_append_val(map->parts, part);
	g_ptr_array_add(ep->maps, map);
}

static bool is_free(const ModelEndpoint *ep, const ModelMap *map)
{
	for (guint i = 0; i < ep->maps->len; i++) {
		const ModelMap *other = g_ptr_array_index(ep->maps, i);

		for (guint j = 0; other->exposed && j < other->parts->len; j++) {
			const ModelPart *o = &g_array_index(other->parts, ModelPart, j);

			for (guint k = 0; k < map->parts->len; k++) {
				const ModelPart *p = &g_array_index(map->parts, ModelPart, k);

				if (p->dpa < o->dpa + o->len && o->dpa < p->dpa + p->len)
					return false;
			}
		}
	}
	return true;
}

static void fail_sometimes(Model *m)
{
	fake_fail_at(&m->fake, rand_below(m, 2) == 0 ? 1 + (unsigned)rand_below(m, 4) : 0);
}

static void op_expose(Model *m, ModelEndpoint *ep)
{
	uint64_t ids[2];
	ModelMap *maps[2];
	size_t n = 1 + rand_below(m, 2);
	int ret;

	for (size_t i = 0; i < n; i++) {
		if (ep->maps->len == 0)
			return;
		maps[i] = g_ptr_array_index(ep->maps, rand_below(m, ep->maps->len));
		ids[i] = maps[i]->config.id;
	}
	fail_sometimes(m);
	ret = fabric_endpoint_expose(ep->ep, ids, n);
	fake_fail_at(&m->fake, 0);
	m->n_failed += ret == -ENOSPC;
	if (ret == 0) {
		for (size_t i = 0; i < n; i++) {
			g_assert_false(maps[i]->exposed);
			g_assert_true(is_free(ep, maps[i]));
			maps[i]->exposed = true;
			m->n_exposed++;
		}
	} else if (ret != -ENOSPC) {
		/* Refused for a reason: one was exposed, named twice, or something is in the way.
		 */
		g_assert_true(maps[0]->exposed || !is_free(ep, maps[0]) ||
			      (n == 2 && (maps[1]->exposed || maps[0] == maps[1] ||
					  !is_free(ep, maps[1]) || ret == -EEXIST)));
	}
}

static void cut_parts(ModelMap *map, uint64_t dpa, uint64_t end)
{
	g_autoptr(GArray) old = map->parts;

	map->parts = g_array_new(FALSE, FALSE, sizeof(ModelPart));
	for (guint i = 0; i < old->len; i++) {
		ModelPart part = g_array_index(old, ModelPart, i), piece = part;
		uint64_t part_end = part.dpa + part.len;

		piece.was_cut |= part.dpa < end && dpa < part_end;
		piece.len = MIN(part_end, dpa) - part.dpa;
		if (part.dpa < dpa)
			g_array_append_val(map->parts, piece);
		piece.dpa = MAX(part.dpa, end);
		piece.len = part_end - piece.dpa;
		if (part_end > end)
			g_array_append_val(map->parts, piece);
	}
}

static void op_revoke(Model *m, ModelEndpoint *ep)
{
	uint64_t unit = g_rand_boolean(m->rand) ? PAGE : 64, dpa, len;
	ModelMap *map;
	ModelPart gone;

	if (ep->maps->len == 0)
		return;
	map = g_ptr_array_index(ep->maps, rand_below(m, ep->maps->len));
	dpa = map->config.dpa + rand_below(m, map->config.len) / unit * unit;
	len = (1 + rand_below(m, 8)) * unit;
	len = MIN(map->config.dpa + map->config.len - dpa, len);
	if (rand_below(m, 3) == 0) {
		dpa = map->config.dpa;
		len = map->config.len;
	}
	g_assert_cmpint(fabric_endpoint_revoke(ep->ep, map->config.id, dpa, len), ==, 0);
	cut_parts(map, dpa, dpa + len);
	gone = (ModelPart){ map->config.id, dpa, len, true };
	check_part(m, ep, &gone);
}

static void op_drop(Model *m, ModelEndpoint *ep)
{
	guint i;
	ModelMap *map;

	if (ep->maps->len == 0)
		return;
	i = (guint)rand_below(m, ep->maps->len);
	map = g_ptr_array_index(ep->maps, i);
	g_assert_cmpint(fabric_endpoint_drop(ep->ep, map->config.id), ==, 0);
	g_ptr_array_remove_index_fast(ep->maps, i);
}

static const Recipe *random_recipe(Model *m, unsigned index)
{
	const Recipe *recipe;

	do {
		recipe = &recipes[rand_below(m, G_N_ELEMENTS(recipes))];
	} while (recipe->index != index);
	if (!m->current[index] || rand_below(m, 200) == 0)
		m->current[index] = recipe;
	if (rand_below(m, 16) != 0)
		recipe = m->current[index];
	return recipe;
}

static void op_decoder(Model *m, ModelEndpoint *ep)
{
	unsigned index = (unsigned)rand_below(m, N_DECODERS);
	const Recipe *recipe = random_recipe(m, index);
	FabricDecoder decoder = {
		.index = index,
		.committed = !ep->decoders[index].committed,
		.hpa = windows[index].hpa + (rand_below(m, 32) == 0) * MIB256,
		.len = recipe->ways * MIB256,
		.dpa = index * MIB256,
		.ways = recipe->ways,
		.granularity = recipe->granularity,
	};
	int ret;

	/* Working regions should live for a while. */
	if (!decoder.committed && rand_below(m, 6) != 0)
		return;
	fail_sometimes(m);
	ret = fabric_endpoint_decoder(ep->ep, &decoder);
	fake_fail_at(&m->fake, 0);
	m->n_failed += ret == -ENOSPC;
	if (ret == 0)
		ep->decoders[index] = decoder;
	else
		g_assert_cmpint(ret, ==, -ENOSPC);
}

static void op_bridge(Model *m)
{
	unsigned uid = (unsigned)rand_below(m, N_BRIDGES), index = (unsigned)rand_below(m, 3);
	ModelBridgeDecoder *known;
	const Recipe *recipe;
	unsigned first = (unsigned)rand_below(m, N_PORTS);

	known = &m->bridges[uid][index];
	if (known->committed) {
		/* Out of order too, for a change; then those above block until they are gone. */
		if (rand_below(m, 6) == 0) {
			bridge_take_back(m->fabric, uid, index);
			known->committed = false;
		}
		return;
	}
	recipe = random_recipe(m, index);
	known->config = (FakeBridgeDecoder){
		.index = index,
		.hpa = windows[index].hpa + (rand_below(m, 32) == 0) * MIB256,
		.len = recipe->bridge_ways * windows[index].ways * MIB256,
		.ways = recipe->bridge_ways,
		.granularity = recipe->bridge_granularity,
		.targets = { (uint8_t)first, (uint8_t)(1 - first) },
	};
	fail_sometimes(m);
	known->committed = bridge_commit(m->fabric, uid, &known->config);
	fake_fail_at(&m->fake, 0);
	if (!known->committed)
		bridge_take_back(m->fabric, uid, index);
}

static void step(Model *m)
{
	ModelEndpoint *ep = &m->eps[rand_below(m, N_EPS)];
	uint64_t choice = rand_below(m, 100);

	if (choice < 30)
		op_prepare(m, ep);
	else if (choice < 60)
		op_expose(m, ep);
	else if (choice < 72)
		op_revoke(m, ep);
	else if (choice < 92)
		op_drop(m, ep);
	else if (choice < 96)
		op_decoder(m, ep);
	else
		op_bridge(m);
}

/* ---- Start and end ---- */

static void model_init(Model *m, uint32_t seed)
{
	FabricHostBridge bridges[N_BRIDGES];
	FabricConfig config = { .windows = windows,
				.n_windows = G_N_ELEMENTS(windows),
				.bridges = bridges,
				.n_bridges = N_BRIDGES,
				.max_stripes = MAX_STRIPES };

	for (unsigned i = 0; i < N_BRIDGES; i++)
		bridges[i] = (FabricHostBridge){ .uid = i,
						 .bus_first = (uint8_t)(16 * i),
						 .bus_last = (uint8_t)(16 * i + 15),
						 .n_ports = N_PORTS,
						 .n_decoders = 4 };
	*m = (Model){ .rand = g_rand_new_with_seed(seed), .fits = g_hash_table_new(NULL, NULL) };
	m->fabric = fake_fabric(&m->fake, &config, seed % 2 == 0);
	for (unsigned i = 0; i < N_EPS; i++) {
		ModelEndpoint *ep = &m->eps[i];

		ep->ep = fabric_endpoint_new(m->fabric, i / N_PORTS, i % N_PORTS);
		ep->fd = fake_memory(POOL_LEN);
		ep->memory = mmap(NULL, POOL_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, ep->fd, 0);
		g_assert_true(ep->memory != MAP_FAILED);
		for (uint64_t at = 0; at < POOL_LEN; at++)
			ep->memory[at] = (uint8_t)((at * 31 + at / 256 * 7 + i * 57) % 251);
		ep->maps = g_ptr_array_new_with_free_func(free_model_map);
		ep->next_id = 1000 * i;
	}
}

static void model_clear(Model *m)
{
	for (unsigned i = 0; i < N_EPS; i++) {
		fabric_endpoint_free(m->eps[i].ep);
		munmap(m->eps[i].memory, POOL_LEN);
		close(m->eps[i].fd);
		g_ptr_array_unref(m->eps[i].maps);
	}
	fake_clear(&m->fake);
	fabric_free(m->fabric);
	g_hash_table_unref(m->fits);
	g_rand_free(m->rand);
}

static void test_random(void)
{
	const char *seed_text = g_getenv("SOFTDCD_SEED"), *ops_text = g_getenv("SOFTDCD_OPS");
	uint32_t seed = seed_text ? (uint32_t)strtoul(seed_text, NULL, 0) : g_random_int();
	unsigned long n_ops = ops_text ? strtoul(ops_text, NULL, 0) : 200000;
	Model m;

	g_test_message("SOFTDCD_SEED=%u", seed);
	model_init(&m, seed);
	for (unsigned long i = 0; i < n_ops; i++) {
		step(&m);
		check_some(&m);
		if (i % 1000 == 0)
			check_all(&m);
	}
	check_all(&m);
	g_test_message("%" PRIu64 " reachable and %" PRIu64 " aliased addresses, %" PRIu64
		       " maps exposed, %" PRIu64 " injected failures",
		       m.n_reachable, m.n_aliased, m.n_exposed, m.n_failed);
	if (n_ops >= 100000) {
		g_assert_cmpuint(m.n_reachable, >, n_ops / 4);
		g_assert_cmpuint(m.n_aliased, >, n_ops / 20);
		g_assert_cmpuint(m.n_failed, >, 20);
	}
	model_clear(&m);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/property/fabric/random", test_random);
	return g_test_run();
}
