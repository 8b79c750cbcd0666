/* SPDX-License-Identifier: BSD-3-Clause */
/* Composition: which aliases stand after which changes, and what happens when mapping fails. */

#include "fabric_fake.h"

#include <fcntl.h>
#include <sys/stat.h>

#define UID    7
#define WINDOW (16 * MIB256)
#define MIB    (UINT64_C(1) << 20)

static const FabricHostBridge bridges[] = {
	{ .uid = UID, .bus_first = 0x10, .bus_last = 0x1f, .n_ports = 4 },
	{ .uid = 9, .bus_first = 0x20, .bus_last = 0x2f, .n_ports = 2 },
};

static const FabricWindow windows[] = {
	{ .hpa = WINDOW, .len = 16 * MIB256, .ways = 1, .granularity = 256, .targets = { UID } },
	{ .hpa = 2 * WINDOW,
	  .len = 16 * MIB256,
	  .ways = 2,
	  .granularity = 4096,
	  .targets = { UID, 9 } },
};

typedef struct Setup {
	FakeMapper fake;
	Fabric *fabric;
	FabricEndpoint *ep; /* bridge UID, port 1 */
} Setup;

static void setup(Setup *s, bool can_cut)
{
	FabricConfig config = {
		.windows = windows, .n_windows = 2, .bridges = bridges, .n_bridges = 2
	};

	s->fabric = fake_fabric(&s->fake, &config, can_cut);
	s->ep = fabric_endpoint_new(s->fabric, UID, 1);
	g_assert_nonnull(s->ep);
}

static void teardown(Setup *s)
{
	FabricStats stats;

	fabric_endpoint_free(s->ep);
	fabric_stats(s->fabric, &stats);
	g_assert_cmpuint(stats.n_aliases, ==, 0);
	fake_clear(&s->fake);
	fabric_free(s->fabric);
}

static int n_aliases(Setup *s)
{
	FabricStats stats;

	fabric_stats(s->fabric, &stats);
	g_assert_cmpuint(stats.n_aliases, ==, (uint64_t)g_tree_nnodes(s->fake.aliases));
	return (int)stats.n_aliases;
}

static void prepare(Setup *s, uint64_t id, uint64_t dpa, uint64_t len, uint64_t offset)
{
	FabricMap map = { .id = id,
			  .dpa = dpa,
			  .len = len,
			  .offset = offset,
			  .incarnation = id + 100,
			  .writable = true,
			  .fd = fake_memory(offset + len) };

	g_assert_cmpint(fabric_endpoint_prepare(s->ep, &map), ==, 0);
}

static int expose(Setup *s, uint64_t id)
{
	return fabric_endpoint_expose(s->ep, &id, 1);
}

static int decoder(Setup *s, unsigned index, uint64_t hpa, uint64_t len, uint64_t dpa)
{
	FabricDecoder d = { .index = index,
			    .committed = true,
			    .hpa = hpa,
			    .len = len,
			    .dpa = dpa,
			    .granularity = 256,
			    .ways = 1 };

	return fabric_endpoint_decoder(s->ep, &d);
}

static void take_back(Setup *s, unsigned index)
{
	FabricDecoder d = { .index = index };

	g_assert_cmpint(fabric_endpoint_decoder(s->ep, &d), ==, 0);
}

static bool commit_bridge(Setup *s, unsigned index, uint64_t hpa, uint64_t len)
{
	FakeBridgeDecoder d = { .index = index, .hpa = hpa, .len = len, .targets = { 1 } };

	return bridge_commit(s->fabric, UID, &d);
}

static uint64_t load(Setup *s, uint64_t hpa)
{
	uint64_t value = 0x55;

	fabric_access(s->fabric, hpa, &value, sizeof(value), false);
	return value;
}

static void store(Setup *s, uint64_t hpa, uint64_t value)
{
	fabric_access(s->fabric, hpa, &value, sizeof(value), true);
}

/* Each of the four ingredients may come last, and go first. */
static void test_any_order(void)
{
	static const unsigned orders[][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
					      { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

	for (size_t i = 0; i < G_N_ELEMENTS(orders); i++) {
		for (size_t j = 0; j < G_N_ELEMENTS(orders); j++) {
			Setup s;

			setup(&s, true);
			prepare(&s, 1, 64 * MIB, 32 * MIB, 2 * MIB);
			for (unsigned k = 0; k < 3; k++) {
				g_assert_cmpint(n_aliases(&s), ==, 0);
				g_assert_cmphex(load(&s, WINDOW + 64 * MIB), ==, UINT64_MAX);
				if (orders[i][k] == 0)
					g_assert_cmpint(expose(&s, 1), ==, 0);
				else if (orders[i][k] == 1)
					g_assert_cmpint(decoder(&s, 0, WINDOW, MIB256, 0), ==, 0);
				else
					g_assert_true(commit_bridge(&s, 0, WINDOW, MIB256));
			}
			g_assert_cmpint(n_aliases(&s), ==, 1);
			store(&s, WINDOW + 64 * MIB, 42);
			g_assert_cmphex(load(&s, WINDOW + 64 * MIB), ==, 42);
			for (unsigned k = 0; k < 3; k++) {
				if (orders[j][k] == 0)
					g_assert_cmpint(
						fabric_endpoint_revoke(s.ep, 1, 64 * MIB, 32 * MIB),
						==, 0);
				else if (orders[j][k] == 1)
					take_back(&s, 0);
				else
					bridge_take_back(s.fabric, UID, 0);
				g_assert_cmpint(n_aliases(&s), ==, 0);
				g_assert_cmphex(load(&s, WINDOW + 64 * MIB), ==, UINT64_MAX);
			}
			teardown(&s);
		}
	}
}

static void test_alias_contents(void)
{
	Setup s;
	const FabricAlias *alias;

	setup(&s, true);
	g_assert_true(commit_bridge(&s, 0, WINDOW, 4 * MIB256));
	g_assert_cmpint(decoder(&s, 0, WINDOW + MIB256, MIB256, MIB256), ==, 0);
	prepare(&s, 5, MIB256 + 8 * MIB, 4 * MIB, 3 * MIB);
	g_assert_cmpint(expose(&s, 5), ==, 0);
	alias = fake_find(&s.fake, WINDOW + MIB256 + 8 * MIB);
	g_assert_nonnull(alias);
	g_assert_cmphex(alias->hpa, ==, WINDOW + MIB256 + 8 * MIB);
	g_assert_cmphex(alias->len, ==, 4 * MIB);
	g_assert_cmphex(alias->dpa, ==, MIB256 + 8 * MIB);
	g_assert_cmphex(alias->offset, ==, 3 * MIB);
	g_assert_cmpuint(alias->map_id, ==, 5);
	g_assert_true(alias->writable);
	/* Good for huge pages in a hypervisor */
	g_assert_cmphex((uintptr_t)alias->hva % (2 * MIB), ==, alias->hpa % (2 * MIB));
	store(&s, alias->hpa + 16, 0x1234);
	g_assert_cmphex(*(volatile uint64_t *)((uint8_t *)alias->hva + 16), ==, 0x1234);
	teardown(&s);
}

/* Extents side by side stay two; one across a decoder boundary becomes two. */
static void test_boundaries(void)
{
	Setup s;

	setup(&s, true);
	prepare(&s, 1, 0, 16 * MIB, 0);
	prepare(&s, 2, 16 * MIB, 16 * MIB, 0);
	prepare(&s, 3, MIB256 - 8 * MIB, 16 * MIB, 0);
	g_assert_true(commit_bridge(&s, 0, WINDOW, 8 * MIB256));
	g_assert_cmpint(decoder(&s, 0, WINDOW, MIB256, 0), ==, 0);
	g_assert_cmpint(expose(&s, 1), ==, 0);
	g_assert_cmpint(expose(&s, 2), ==, 0);
	g_assert_cmpint(n_aliases(&s), ==, 2);
	g_assert_cmpint(expose(&s, 3), ==, 0);
	g_assert_cmpint(n_aliases(&s), ==, 3);
	g_assert_cmpuint(fake_find(&s.fake, WINDOW + MIB256 - 1)->len, ==, 8 * MIB);
	/* The second half, far away */
	g_assert_cmpint(decoder(&s, 1, WINDOW + 4 * MIB256, MIB256, MIB256), ==, 0);
	g_assert_cmpint(n_aliases(&s), ==, 4);
	g_assert_cmphex(fake_find(&s.fake, WINDOW + 4 * MIB256)->dpa, ==, MIB256);
	store(&s, WINDOW + MIB256 - 8, 1);
	store(&s, WINDOW + 4 * MIB256, 2);
	g_assert_cmphex(load(&s, WINDOW + MIB256 - 8), ==, 1);
	g_assert_cmphex(load(&s, WINDOW + 4 * MIB256), ==, 2);
	/* Host bridge decoders cut as well. */
	bridge_take_back(s.fabric, UID, 0);
	g_assert_cmpint(n_aliases(&s), ==, 0);
	g_assert_true(commit_bridge(&s, 0, WINDOW + 4 * MIB256, MIB256));
	g_assert_cmpint(n_aliases(&s), ==, 1);
	teardown(&s);
}

static void check_partial(bool can_cut)
{
	Setup s;

	setup(&s, can_cut);
	g_assert_true(commit_bridge(&s, 0, WINDOW, MIB256));
	g_assert_cmpint(decoder(&s, 0, WINDOW, MIB256, 0), ==, 0);
	prepare(&s, 1, 0, 16 * MIB, 0);
	g_assert_cmpint(expose(&s, 1), ==, 0);
	for (uint64_t at = 0; at < 16 * MIB; at += MIB)
		store(&s, WINDOW + at, at + 1);
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 1, 4 * MIB, 2 * MIB), ==, 0);
	g_assert_cmpint(n_aliases(&s), ==, 2);
	g_assert_cmpuint(s.fake.n_cuts, ==, can_cut);
	for (uint64_t at = 0; at < 16 * MIB; at += MIB)
		g_assert_cmphex(load(&s, WINDOW + at), ==,
				at / MIB == 4 || at / MIB == 5 ? UINT64_MAX : at + 1);
	g_assert_cmphex(load(&s, WINDOW + 6 * MIB - 4), ==,
			UINT64_C(0x00000001ffffffff) | 6 * MIB << 32);
	/* Another one may take the hole, and is not touched by what the first loses. */
	prepare(&s, 2, 4 * MIB, 2 * MIB, 0);
	g_assert_cmpint(expose(&s, 2), ==, 0);
	g_assert_cmphex(load(&s, WINDOW + 5 * MIB), ==, 0);
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 1, 2 * MIB, 10 * MIB), ==, 0);
	g_assert_cmphex(load(&s, WINDOW + 5 * MIB), ==, 0);
	g_assert_cmphex(load(&s, WINDOW + 3 * MIB), ==, UINT64_MAX);
	g_assert_cmphex(load(&s, WINDOW + 8 * MIB), ==, UINT64_MAX);
	g_assert_cmphex(load(&s, WINDOW + 12 * MIB), ==, 12 * MIB + 1);
	g_assert_cmpint(n_aliases(&s), ==, 3);
	/* The same again is no harm; neither is dropping what is left. */
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 1, 2 * MIB, 10 * MIB), ==, 0);
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 1, 15 * MIB, 2 * MIB), ==, -ERANGE);
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 1, 0, 0), ==, -ERANGE);
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 1, 4096, UINT64_MAX), ==, -ERANGE);
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 9, 0, 1), ==, -ENOENT);
	g_assert_cmpint(fabric_endpoint_drop(s.ep, 1), ==, 0);
	g_assert_cmpint(fabric_endpoint_drop(s.ep, 1), ==, -ENOENT);
	g_assert_cmpint(n_aliases(&s), ==, 1);
	teardown(&s);
}

static void test_partial_revoke(void)
{
	check_partial(true);
}

static void test_partial_revoke_without_cut(void)
{
	check_partial(false);
}

/* Pieces given back before the map is exposed never appear. */
static void test_revoke_prepared(void)
{
	Setup s;
	size_t n;
	g_autofree FabricHeld *held = NULL;

	setup(&s, true);
	g_assert_true(commit_bridge(&s, 0, WINDOW, MIB256));
	g_assert_cmpint(decoder(&s, 0, WINDOW, MIB256, 0), ==, 0);
	prepare(&s, 1, 0, 16 * MIB, 0);
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 1, 0, MIB), ==, 0);
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 1, 8 * MIB, 4 * MIB), ==, 0);
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 1, 15 * MIB, MIB), ==, 0);
	g_assert_cmpint(expose(&s, 1), ==, 0);
	g_assert_cmpint(n_aliases(&s), ==, 2);
	held = fabric_endpoint_held(s.ep, &n);
	g_assert_cmpuint(n, ==, 2);
	g_assert_cmpuint(held[0].dpa, ==, MIB);
	g_assert_cmpuint(held[0].len, ==, 7 * MIB);
	g_assert_cmpuint(held[1].dpa, ==, 12 * MIB);
	g_assert_cmpuint(held[1].len, ==, 3 * MIB);
	g_assert_cmpuint(held[1].map_id, ==, 1);
	g_assert_cmpuint(held[1].incarnation, ==, 101);
	/* All of a prepared map given back: still known, exposes nothing. */
	prepare(&s, 2, 32 * MIB, MIB, 0);
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 2, 32 * MIB, MIB), ==, 0);
	g_assert_cmpint(expose(&s, 2), ==, 0);
	g_assert_cmpint(n_aliases(&s), ==, 2);
	g_assert_cmpint(fabric_endpoint_drop(s.ep, 2), ==, 0);
	teardown(&s);
}

/* When a link ends: what was only made ready goes, all else stays and can be found. */
static void test_link_ends(void)
{
	FabricPlace place;
	FabricMap again = { .id = 3, .dpa = 64 * MIB, .len = MIB, .fd = fake_memory(MIB) };
	Setup s;

	setup(&s, true);
	g_assert_true(commit_bridge(&s, 0, WINDOW, MIB256));
	g_assert_cmpint(decoder(&s, 0, WINDOW, MIB256, 0), ==, 0);
	prepare(&s, 1, 0, 16 * MIB, 4 * MIB);
	g_assert_cmpint(expose(&s, 1), ==, 0);
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 1, 8 * MIB, 4 * MIB), ==, 0);
	prepare(&s, 2, 32 * MIB, MIB, 0);
	prepare(&s, 3, 64 * MIB, 2 * MIB, 0);
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 3, 64 * MIB, 2 * MIB), ==, 0);
	g_assert_cmpint(fabric_endpoint_find(s.ep, 32 * MIB, &place), ==, -ENOENT);
	fabric_endpoint_drop_unexposed(s.ep);
	g_assert_cmpint(expose(&s, 2), ==, -ENOENT);
	g_assert_cmpint(fabric_endpoint_prepare(s.ep, &again), ==, 0);
	fabric_endpoint_drop_unexposed(s.ep);
	g_assert_cmpint(n_aliases(&s), ==, 2);

	g_assert_cmpint(fabric_endpoint_find(s.ep, 4096, &place), ==, 0);
	g_assert_cmpuint(place.map_id, ==, 1);
	g_assert_cmpuint(place.incarnation, ==, 101);
	g_assert_cmpuint(place.offset, ==, 4 * MIB + 4096);
	g_assert_cmpuint(place.run, ==, 8 * MIB - 4096);
	g_assert_true(place.writable);
	g_assert_cmpint(fcntl(place.fd, F_GETFD), >=, 0);
	g_assert_cmpint(fabric_endpoint_find(s.ep, 12 * MIB, &place), ==, 0);
	g_assert_cmpuint(place.offset, ==, 16 * MIB);
	g_assert_cmpuint(place.run, ==, 4 * MIB);
	g_assert_cmpint(fabric_endpoint_find(s.ep, 8 * MIB, &place), ==, -ENOENT);
	g_assert_cmpint(fabric_endpoint_find(s.ep, 16 * MIB, &place), ==, -ENOENT);
	teardown(&s);
}

static void test_refusals(void)
{
	FabricMap map = { .id = 1, .len = MIB, .fd = fake_memory(MIB) };
	uint64_t twice[] = { 7, 7 }, unknown[] = { 7, 99 };
	FabricDecoder bad = { .committed = true, .len = MIB256, .ways = 1, .granularity = 256 };
	struct stat st;
	int pipe_fds[2];
	Setup s;

	setup(&s, true);
	g_assert_null(fabric_endpoint_new(s.fabric, UID, 1));
	g_assert_null(fabric_endpoint_new(s.fabric, UID, 4));
	g_assert_null(fabric_endpoint_new(s.fabric, 8, 0));
	map.offset = 4096; /* beyond the file */
	g_assert_cmpint(fabric_endpoint_prepare(s.ep, &map), ==, -EINVAL);
	map.offset = UINT64_MAX - 4095;
	g_assert_cmpint(fabric_endpoint_prepare(s.ep, &map), ==, -EINVAL);
	map.offset = 0;
	map.dpa = UINT64_MAX - 4095;
	g_assert_cmpint(fabric_endpoint_prepare(s.ep, &map), ==, -EINVAL);
	map.dpa = map.len = 0;
	g_assert_cmpint(fabric_endpoint_prepare(s.ep, &map), ==, -EINVAL);
	g_assert_cmpint(fstat(map.fd, &st), ==, 0); /* still ours */
	close(map.fd);
	g_assert_cmpint(pipe(pipe_fds), ==, 0);
	map = (FabricMap){ .id = 1, .len = MIB, .fd = pipe_fds[0] };
	g_assert_cmpint(fabric_endpoint_prepare(s.ep, &map), ==, -EINVAL);
	close(pipe_fds[0]);
	close(pipe_fds[1]);

	prepare(&s, 7, 0, MIB, 0);
	map = (FabricMap){ .id = 7, .len = MIB, .fd = -1 };
	g_assert_cmpint(fabric_endpoint_prepare(s.ep, &map), ==, -EEXIST);
	g_assert_cmpint(fabric_endpoint_expose(s.ep, twice, 2), ==, -EALREADY);
	g_assert_cmpint(fabric_endpoint_expose(s.ep, unknown, 2), ==, -ENOENT);
	g_assert_cmpint(expose(&s, 7), ==, 0);
	g_assert_cmpint(expose(&s, 7), ==, -EALREADY);
	prepare(&s, 8, MIB - 4096, MIB, 0);
	g_assert_cmpint(expose(&s, 8), ==, -EEXIST);
	prepare(&s, 9, 4 * MIB, MIB, 0);
	prepare(&s, 10, 4 * MIB, MIB, 0);
	g_assert_cmpint(fabric_endpoint_expose(s.ep, (uint64_t[]){ 9, 10 }, 2), ==, -EEXIST);

	bad.index = 32;
	g_assert_cmpint(fabric_endpoint_decoder(s.ep, &bad), ==, -EINVAL);
	bad.index = 0;
	bad.hpa = 4096;
	g_assert_cmpint(fabric_endpoint_decoder(s.ep, &bad), ==, -EINVAL);
	bad.hpa = WINDOW;
	bad.ways = 2;
	g_assert_cmpint(fabric_endpoint_decoder(s.ep, &bad), ==, -EINVAL);
	bad.ways = 5;
	g_assert_cmpint(fabric_endpoint_decoder(s.ep, &bad), ==, -EINVAL);
	bad.ways = 1;
	bad.dpa = UINT64_MAX;
	g_assert_cmpint(fabric_endpoint_decoder(s.ep, &bad), ==, -EINVAL);
	bad.dpa = 0;
	g_assert_cmpint(fabric_endpoint_decoder(s.ep, &bad), ==, 0);
	g_assert_cmpint(fabric_endpoint_decoder(s.ep, &bad), ==, 0); /* the same again */
	bad.dpa = MIB256;
	g_assert_cmpint(fabric_endpoint_decoder(s.ep, &bad), ==, -EBUSY);
	bad.index = 1;
	g_assert_cmpint(fabric_endpoint_decoder(s.ep, &bad), ==, -EEXIST); /* same HPA */
	bad.hpa += MIB256;
	bad.dpa = 0;
	g_assert_cmpint(fabric_endpoint_decoder(s.ep, &bad), ==, -EEXIST); /* same DPA */
	teardown(&s);
}

/* Whichever map() fails: nothing of the call stands, and it works the next time. */
static void test_expose_fails(void)
{
	uint64_t ids[8];

	for (unsigned k = 1; k <= 9; k++) {
		Setup s;

		setup(&s, true);
		g_assert_true(commit_bridge(&s, 0, WINDOW, MIB256));
		g_assert_true(commit_bridge(&s, 1, WINDOW + MIB256, MIB256));
		g_assert_cmpint(decoder(&s, 0, WINDOW, 2 * MIB256, 0), ==, 0);
		prepare(&s, 100, 0, MIB, 0);
		g_assert_cmpint(expose(&s, 100), ==, 0);
		for (unsigned i = 0; i < 8; i++) {
			ids[i] = i;
			/* The last lies across the two bridge decoders: two aliases. */
			prepare(&s, i, i < 7 ? (i + 1) * 4 * MIB : MIB256 - MIB, 2 * MIB, 0);
		}
		fake_fail_at(&s.fake, k);
		g_assert_cmpint(fabric_endpoint_expose(s.ep, ids, 8), ==, -ENOSPC);
		g_assert_cmpint(n_aliases(&s), ==, 1);
		for (unsigned i = 0; i < 8; i++)
			g_assert_cmphex(load(&s, WINDOW + (i + 1) * 4 * MIB), ==, UINT64_MAX);
		g_assert_cmphex(load(&s, WINDOW + MIB256 - MIB), ==, UINT64_MAX);
		fake_fail_at(&s.fake, 0);
		g_assert_cmpint(fabric_endpoint_expose(s.ep, ids, 8), ==, 0);
		g_assert_cmpint(n_aliases(&s), ==, 10);
		teardown(&s);
	}
}

static void test_commit_fails(void)
{
	for (unsigned k = 1; k <= 4; k++) {
		Setup s;

		setup(&s, true);
		for (unsigned i = 0; i < 4; i++) {
			prepare(&s, i, i * 4 * MIB, 2 * MIB, 0);
			g_assert_cmpint(expose(&s, i), ==, 0);
		}
		g_assert_true(commit_bridge(&s, 0, WINDOW, MIB256));
		fake_fail_at(&s.fake, k);
		g_assert_cmpint(decoder(&s, 0, WINDOW, MIB256, 0), ==, -ENOSPC);
		g_assert_cmpint(n_aliases(&s), ==, 0);
		g_assert_cmphex(load(&s, WINDOW), ==, UINT64_MAX);
		fake_fail_at(&s.fake, 0);
		g_assert_cmpint(decoder(&s, 0, WINDOW, MIB256, 0), ==, 0);
		g_assert_cmpint(n_aliases(&s), ==, 4);
		/* The same with the host bridge's */
		bridge_take_back(s.fabric, UID, 0);
		fake_fail_at(&s.fake, k);
		g_assert_false(commit_bridge(&s, 0, WINDOW, MIB256));
		g_assert_cmpint(n_aliases(&s), ==, 0);
		g_assert_cmphex(load(&s, WINDOW), ==, UINT64_MAX);
		bridge_take_back(s.fabric, UID, 0);
		fake_fail_at(&s.fake, 0);
		g_assert_true(commit_bridge(&s, 0, WINDOW, MIB256));
		g_assert_cmpint(n_aliases(&s), ==, 4);
		teardown(&s);
	}
}

/* One more extent costs one call, however many there are. */
static void test_incremental(void)
{
	Setup s;

	setup(&s, true);
	g_assert_true(commit_bridge(&s, 0, WINDOW, 8 * MIB256));
	g_assert_cmpint(decoder(&s, 0, WINDOW, 8 * MIB256, 0), ==, 0);
	for (unsigned i = 0; i < 1000; i++) {
		fake_fail_at(&s.fake, 0);
		prepare(&s, i, i * MIB, MIB, 0);
		g_assert_cmpint(expose(&s, i), ==, 0);
		g_assert_cmpuint(s.fake.n_maps, ==, 1);
	}
	s.fake.n_unmaps = 0;
	g_assert_cmpint(fabric_endpoint_drop(s.ep, 500), ==, 0);
	g_assert_cmpuint(s.fake.n_unmaps, ==, 1);
	/* A decoder that concerns nothing moves nothing. */
	fake_fail_at(&s.fake, 0);
	s.fake.n_unmaps = 0;
	g_assert_cmpint(decoder(&s, 1, WINDOW + 8 * MIB256, MIB256, 8 * MIB256), ==, 0);
	g_assert_true(commit_bridge(&s, 1, WINDOW + 8 * MIB256, MIB256));
	g_assert_cmpuint(s.fake.n_maps + s.fake.n_unmaps, ==, 0);
	teardown(&s);
}

/* Two bridges, one device each, 4 KiB apart: a stripe per page; more than max_stripes: none. */
static void test_stripes(void)
{
	FabricDecoder d = { .committed = true,
			    .hpa = 2 * WINDOW,
			    .len = 2 * MIB256,
			    .ways = 2,
			    .granularity = 4096 };
	FakeBridgeDecoder b = { .hpa = 2 * WINDOW, .len = 2 * MIB256, .targets = { 1 } };
	FabricEndpoint *other;
	Setup s;

	setup(&s, true);
	other = fabric_endpoint_new(s.fabric, 9, 1);
	g_assert_cmpint(fabric_endpoint_decoder(s.ep, &d), ==, 0);
	g_assert_cmpint(fabric_endpoint_decoder(other, &d), ==, 0);
	g_assert_true(bridge_commit(s.fabric, UID, &b));
	g_assert_true(bridge_commit(s.fabric, 9, &b));
	prepare(&s, 1, MIB, MIB, 0);
	g_assert_cmpint(expose(&s, 1), ==, 0);
	g_assert_cmpint(n_aliases(&s), ==, 256);
	for (uint64_t i = 0; i < 256; i++) {
		uint64_t hpa = 2 * WINDOW + 2 * MIB + i * 8192;
		const FabricAlias *alias = fake_find(&s.fake, hpa);

		g_assert_nonnull(alias);
		g_assert_cmphex(alias->hpa, ==, hpa);
		g_assert_cmphex(alias->len, ==, 4096);
		g_assert_cmphex(alias->offset, ==, i * 4096);
		store(&s, hpa + 4088, i);
		g_assert_cmphex(*(uint64_t *)(void *)((uint8_t *)alias->hva + 4088), ==, i);
		g_assert_cmphex(load(&s, hpa + 4096), ==, UINT64_MAX);
	}
	g_assert_cmpint(fabric_endpoint_revoke(s.ep, 1, MIB + 8192, 4096), ==, 0);
	g_assert_cmpint(n_aliases(&s), ==, 255);
	prepare(&s, 2, 32 * MIB, 17 * MIB, 0); /* 4352 pieces */
	g_assert_cmpint(expose(&s, 2), ==, 0);
	g_assert_cmpint(n_aliases(&s), ==, 255);
	store(&s, 2 * WINDOW + 64 * MIB, 7);
	g_assert_cmphex(load(&s, 2 * WINDOW + 64 * MIB), ==, 7);
	fabric_endpoint_free(other);
	teardown(&s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/fabric/compose/any-order", test_any_order);
	g_test_add_func("/unit/fabric/compose/alias-contents", test_alias_contents);
	g_test_add_func("/unit/fabric/compose/boundaries", test_boundaries);
	g_test_add_func("/unit/fabric/compose/partial-revoke", test_partial_revoke);
	g_test_add_func("/unit/fabric/compose/partial-revoke-without-cut",
			test_partial_revoke_without_cut);
	g_test_add_func("/unit/fabric/compose/revoke-prepared", test_revoke_prepared);
	g_test_add_func("/unit/fabric/compose/link-ends", test_link_ends);
	g_test_add_func("/unit/fabric/compose/refusals", test_refusals);
	g_test_add_func("/unit/fabric/compose/expose-fails", test_expose_fails);
	g_test_add_func("/unit/fabric/compose/commit-fails", test_commit_fails);
	g_test_add_func("/unit/fabric/compose/incremental", test_incremental);
	g_test_add_func("/unit/fabric/compose/stripes", test_stripes);
	return g_test_run();
}
