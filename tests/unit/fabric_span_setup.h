/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices in one interleaved range, what they expose there, and where each address leads. */
#ifndef TESTS_FABRIC_SPAN_SETUP_H
#define TESTS_FABRIC_SPAN_SETUP_H

#include "fabric_fake.h"

#include <fcntl.h>
#include <stdio.h>

#define FILE_LEN  (UINT64_C(512) << 10)
#define PAGE      UINT64_C(4096)
#define MAX_UNITS 16u
#define SETTLE_US (120 * G_USEC_PER_SEC)

/* Two levels of interleaving and what an endpoint makes of them. */
typedef struct Shape {
	unsigned window_ways, bridge_ways;
	uint32_t window_g, bridge_g, g;
} Shape;

typedef struct Piece {
	uint64_t id, at, len; /* AT in the unit's file, which is its share of the range */
} Piece;

/* A device; its file has the unit's number and the place in each word. */
typedef struct Unit {
	FabricEndpoint *ep;
	int fd;
	bool is_committed;
	GArray *pieces;
} Unit;

typedef struct Setup {
	FakeMapper fake; /* first: the mapper's opaque */
	Fabric *fabric;
	Shape shape;
	FabricWindow window;
	uint8_t ports[MAX_UNITS][8]; /* by bridge */
	bool has_bridge[MAX_UNITS];
	Unit units[MAX_UNITS]; /* bridge * bridge_ways + port */
	unsigned n_units;
	uint64_t dpa, next_id;
	GRand *rand;
	int reported;      /* atomic: rc of the last report */
	guint n_reports;   /* atomic */
	uint64_t n_needed; /* of the last report */
	uint64_t n_checked;
} Setup;

static inline unsigned below(Setup *s, unsigned n)
{
	return (unsigned)g_rand_int_range(s->rand, 0, (gint32)n);
}

static void on_span(void *opaque, const FabricSpan *span, int rc)
{
	Setup *s = opaque;

	s->n_needed = span->n_needed;
	g_atomic_int_set(&s->reported, rc);
	g_atomic_int_inc(&s->n_reports);
}

static const FabricMapper mapper = { .map = fake_map, .unmap = fake_unmap, .span = on_span };

static inline void settle(Setup *s)
{
	int64_t end = g_get_monotonic_time() + SETTLE_US;
	FabricStats stats;

	for (fabric_stats(s->fabric, &stats); stats.is_composing; fabric_stats(s->fabric, &stats)) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(200);
	}
	g_assert_cmpuint(stats.n_aliases, ==, (uint64_t)g_tree_nnodes(s->fake.aliases));
}

/* Mappings of this process that show units' files. */
static inline unsigned n_file_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned n = 0;

	g_assert_nonnull(maps);
	while (fgets(line, sizeof(line), maps))
		n += strstr(line, "fabric-test") != NULL;
	fclose(maps);
	return n;
}

/* ---- the devices ---- */

static int make_file(unsigned number)
{
	int fd = memfd_create("fabric-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	g_autofree uint64_t *words = g_new(uint64_t, FILE_LEN / 8);

	for (uint64_t i = 0; i < FILE_LEN / 8; i++)
		words[i] = (uint64_t)(number + 1) << 40 | i * 8;
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(write(fd, words, FILE_LEN), ==, FILE_LEN);
	return fd;
}

static inline void set_decoder(Setup *s, unsigned number, bool committed)
{
	FabricDecoder d = {
		.committed = committed,
		.hpa = s->window.hpa,
		.len = s->n_units * MIB256,
		.dpa = s->dpa,
		.granularity = s->shape.g,
		.ways = s->n_units,
	};

	g_assert_cmpint(fabric_endpoint_decoder(s->units[number].ep, &d), ==, 0);
	s->units[number].is_committed = committed;
}

static inline void set_bridge(Setup *s, unsigned bridge, bool committed)
{
	FakeBridgeDecoder d = {
		.hpa = s->window.hpa,
		.len = s->n_units * MIB256,
		.ways = s->shape.bridge_ways,
		.granularity = s->shape.bridge_g,
	};

	memcpy(d.targets, s->ports[bridge], sizeof(d.targets));
	if (committed)
		g_assert_true(bridge_commit(s->fabric, bridge, &d));
	else
		bridge_take_back(s->fabric, bridge, 0);
	s->has_bridge[bridge] = committed;
}

static inline void plug(Setup *s, unsigned number)
{
	Unit *unit = &s->units[number];

	unit->ep = fabric_endpoint_new(s->fabric, number / s->shape.bridge_ways,
				       number % s->shape.bridge_ways);
	g_assert_nonnull(unit->ep);
	g_array_set_size(unit->pieces, 0);
	unit->is_committed = false;
}

static inline void unplug(Setup *s, unsigned number)
{
	fabric_endpoint_free(g_steal_pointer(&s->units[number].ep));
	g_array_set_size(s->units[number].pieces, 0);
	s->units[number].is_committed = false;
}

/* 0, or -EEXIST where something is exposed. */
static inline int expose(Setup *s, unsigned number, uint64_t at, uint64_t len, bool writable)
{
	Unit *unit = &s->units[number];
	Piece piece = { ++s->next_id, at, len };
	FabricMap map = { .id = piece.id,
			  .dpa = s->dpa + at,
			  .len = len,
			  .offset = at,
			  .writable = writable,
			  .fd = fcntl(unit->fd, F_DUPFD_CLOEXEC, 0) };
	int rc;

	g_assert_cmpint(fabric_endpoint_prepare(unit->ep, &map), ==, 0);
	rc = fabric_endpoint_expose(unit->ep, &piece.id, 1);
	if (rc == 0)
		g_array_append_val(unit->pieces, piece);
	else
		g_assert_cmpint(fabric_endpoint_drop(unit->ep, piece.id), ==, 0);
	return rc;
}

/* LEN bytes from SKIP on, of one piece. */
static inline void give_back(Setup *s, unsigned number, unsigned index, uint64_t skip, uint64_t len)
{
	Unit *unit = &s->units[number];
	Piece piece = g_array_index(unit->pieces, Piece, index);
	Piece left = { piece.id, piece.at, skip };
	Piece right = { piece.id, piece.at + skip + len, piece.len - skip - len };

	g_assert_cmpint(fabric_endpoint_revoke(unit->ep, piece.id, s->dpa + piece.at + skip, len),
			==, 0);
	g_array_remove_index(unit->pieces, index);
	if (left.len > 0)
		g_array_append_val(unit->pieces, left);
	if (right.len > 0)
		g_array_append_val(unit->pieces, right);
}

/* ---- set up ---- */

static void shuffle(Setup *s, uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		bytes[i] = (uint8_t)i;
	for (unsigned i = n; i > 1; i--) {
		unsigned j = below(s, i);
		uint8_t byte = bytes[i - 1];

		bytes[i - 1] = bytes[j];
		bytes[j] = byte;
	}
}

static inline void setup(Setup *s, const Shape *shape, uint64_t max_pieces, guint32 seed)
{
	FabricHostBridge bridges[MAX_UNITS];
	FabricConfig config = { .windows = &s->window,
				.n_windows = 1,
				.bridges = bridges,
				.n_bridges = shape->window_ways,
				.max_span_pieces = max_pieces };
	g_autoptr(GError) error = NULL;
	uint8_t order[MAX_UNITS];

	*s = (Setup){ .shape = *shape, .rand = g_rand_new_with_seed(seed) };
	s->n_units = shape->window_ways * shape->bridge_ways;
	s->dpa = below(s, 3) * MIB256;
	s->window = (FabricWindow){ .hpa = (16 + below(s, 16)) * MIB256,
				    .len = s->n_units * MIB256,
				    .ways = shape->window_ways,
				    .granularity = shape->window_g };
	shuffle(s, order, shape->window_ways);
	for (unsigned i = 0; i < shape->window_ways; i++) {
		s->window.targets[i] = order[i];
		bridges[i] = (FabricHostBridge){ .uid = i,
						 .bus_first = (uint8_t)(i * 8),
						 .bus_last = (uint8_t)(i * 8 + 7),
						 .n_ports = shape->bridge_ways };
		shuffle(s, s->ports[i], shape->bridge_ways);
	}
	fake_init(&s->fake);
	s->fabric = fabric_new(&config, &mapper, s, &error);
	g_assert_no_error(error);
	for (unsigned i = 0; i < shape->window_ways; i++)
		set_bridge(s, i, true);
	for (unsigned i = 0; i < s->n_units; i++) {
		s->units[i].fd = make_file(i);
		s->units[i].pieces = g_array_new(FALSE, FALSE, sizeof(Piece));
		plug(s, i);
		set_decoder(s, i, true);
	}
}

static inline void teardown(Setup *s)
{
	for (unsigned i = 0; i < s->n_units; i++) {
		if (s->units[i].ep)
			unplug(s, i);
		g_array_unref(s->units[i].pieces);
		close(s->units[i].fd);
	}
	settle(s);
	fake_clear(&s->fake);
	fabric_free(s->fabric);
	g_rand_free(s->rand);
	g_assert_cmpuint(n_file_mappings(), ==, 0);
}

/* ---- the naive decode ---- */

/* The unit that HPA leads to and where in its file, whatever is committed or exposed. */
static inline unsigned locate(const Setup *s, uint64_t hpa, uint64_t *ret_at)
{
	const Shape *shape = &s->shape;
	uint64_t offset = hpa - s->window.hpa;
	unsigned bridge = s->window.targets[offset / shape->window_g % shape->window_ways];
	unsigned port = s->ports[bridge][hpa / shape->bridge_g % shape->bridge_ways];

	*ret_at = offset / shape->g / s->n_units * shape->g + offset % shape->g;
	return bridge * shape->bridge_ways + port;
}

static bool is_reachable(const Setup *s, unsigned number, uint64_t at, uint64_t len)
{
	const Unit *unit = &s->units[number];

	if (!unit->is_committed || !s->has_bridge[number / s->shape.bridge_ways])
		return false;
	for (guint i = 0; i < unit->pieces->len; i++) {
		const Piece *piece = &g_array_index(unit->pieces, Piece, i);

		if (at >= piece->at && at + len <= piece->at + piece->len)
			return true;
	}
	return false;
}

/* All granules from HPA to the end of the turn. */
static inline bool is_turn_reachable(const Setup *s, uint64_t hpa)
{
	bool is_good = true;

	for (unsigned i = 0; i < s->n_units && is_good; i++) {
		uint64_t at;
		unsigned number = locate(s, hpa + (uint64_t)i * s->shape.g, &at);

		is_good = is_reachable(s, number, at, s->shape.g);
	}
	return is_good;
}

#endif
