/* SPDX-License-Identifier: BSD-3-Clause */
/* Spans: what they show is what fabric_access() shows, and nothing is left of what was taken. */

#include "fabric_fake.h"

#include <fcntl.h>
#include <stdio.h>

#define FILE_LEN  (UINT64_C(512) << 10)
#define PAGE      UINT64_C(4096)
#define MAX_UNITS 16u
#define SETTLE_US (120 * G_USEC_PER_SEC)
#define N_SHAPES  36
#define N_STEPS   30

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

static unsigned below(Setup *s, unsigned n)
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

static void settle(Setup *s)
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
static unsigned n_file_mappings(void)
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

static void set_decoder(Setup *s, unsigned number, bool committed)
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

static void set_bridge(Setup *s, unsigned bridge, bool committed)
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

static void plug(Setup *s, unsigned number)
{
	Unit *unit = &s->units[number];

	unit->ep = fabric_endpoint_new(s->fabric, number / s->shape.bridge_ways,
				       number % s->shape.bridge_ways);
	g_assert_nonnull(unit->ep);
	g_array_set_size(unit->pieces, 0);
	unit->is_committed = false;
}

static void unplug(Setup *s, unsigned number)
{
	fabric_endpoint_free(g_steal_pointer(&s->units[number].ep));
	g_array_set_size(s->units[number].pieces, 0);
	s->units[number].is_committed = false;
}

/* 0, or -EEXIST where something is exposed. */
static int expose(Setup *s, unsigned number, uint64_t at, uint64_t len, bool writable)
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
static void give_back(Setup *s, unsigned number, unsigned index, uint64_t skip, uint64_t len)
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

static void setup(Setup *s, const Shape *shape, uint64_t max_pieces, guint32 seed)
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

static void teardown(Setup *s)
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
static unsigned locate(const Setup *s, uint64_t hpa, uint64_t *ret_at)
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
static bool is_turn_reachable(const Setup *s, uint64_t hpa)
{
	bool is_good = true;

	for (unsigned i = 0; i < s->n_units && is_good; i++) {
		uint64_t at;
		unsigned number = locate(s, hpa + (uint64_t)i * s->shape.g, &at);

		is_good = is_reachable(s, number, at, s->shape.g);
	}
	return is_good;
}

/* ---- checks ---- */

/* At any moment: an alias is of whole turns that lead to memory. */
static void check_no_stale(Setup *s)
{
	uint64_t turn = (uint64_t)s->shape.g * s->n_units;

	g_mutex_lock(&s->fake.lock);
	for (GTreeNode *node = g_tree_node_first(s->fake.aliases); node;
	     node = g_tree_node_next(node)) {
		const FabricAlias *alias = g_tree_node_key(node);

		g_assert_cmpint(alias->fd, ==, -1);
		g_assert_cmpuint((alias->hpa - s->window.hpa) % turn, ==, 0);
		g_assert_cmpuint(alias->len % turn, ==, 0);
		for (uint64_t at = 0; at < alias->len; at += turn)
			g_assert_true(is_turn_reachable(s, alias->hpa + at));
	}
	g_mutex_unlock(&s->fake.lock);
}

static void check_alias(Setup *s, const FabricAlias *alias)
{
	g_autofree uint8_t *slow = g_malloc(alias->len);
	uint64_t at, turn = (uint64_t)s->shape.g * s->n_units;
	uint64_t place = below(s, (unsigned)(alias->len / 8)) * UINT64_C(8), old, value = 0x1234;
	volatile uint64_t *word = (volatile uint64_t *)(void *)((uint8_t *)alias->hva + place);

	fabric_access(s->fabric, alias->hpa, slow, alias->len, false);
	g_assert_true(memcmp(slow, alias->hva, alias->len) == 0);
	for (uint64_t i = 0; i < alias->len; i += s->shape.g) {
		unsigned number = locate(s, alias->hpa + i, &at);

		g_assert_cmphex(*(uint64_t *)(void *)(slow + i), ==,
				(uint64_t)(number + 1) << 40 | at);
	}
	old = *word;
	*word = ~old;
	fabric_access(s->fabric, alias->hpa + place, &value, sizeof(value), false);
	g_assert_cmphex(value, ==, ~old);
	fabric_access(s->fabric, alias->hpa + place, &old, sizeof(old), true);
	g_assert_cmphex(*word, ==, old);
	s->n_checked += alias->len / turn;
}

/* When all is composed: exactly the turns that can be are aliases. */
static void check_all(Setup *s)
{
	uint64_t turn = (uint64_t)s->shape.g * s->n_units;

	settle(s);
	check_no_stale(s);
	for (uint64_t at = 0; at < FILE_LEN * s->n_units; at += turn) {
		uint64_t hpa = s->window.hpa + at;

		g_assert_true(is_turn_reachable(s, hpa) == (fake_find(&s->fake, hpa) != NULL));
	}
	for (GTreeNode *node = g_tree_node_first(s->fake.aliases); node;
	     node = g_tree_node_next(node))
		check_alias(s, g_tree_node_key(node));
}

/* ---- at random ---- */

static Shape random_shape(GRand *rand)
{
	static const uint32_t sizes[] = { 4096, 8192, 16384 };
	static const unsigned window_ways[] = { 2, 3, 4, 6, 8, 12, 16 };
	static const unsigned bridge_ways[] = { 2, 4, 8 };
	uint32_t g = sizes[g_rand_int_range(rand, 0, 3)];
	unsigned many = window_ways[g_rand_int_range(rand, 0, G_N_ELEMENTS(window_ways))];
	unsigned few = bridge_ways[g_rand_int_range(rand, 0, G_N_ELEMENTS(bridge_ways))];
	unsigned two_or_three = (unsigned)g_rand_int_range(rand, 2, 4);

	switch (g_rand_int_range(rand, 0, 4)) {
	case 0:
		return (Shape){ 1, few, 256, g, g };
	case 1:
		return (Shape){ many, 1, g, 256, g };
	case 2:
		return (Shape){ two_or_three, 2, 8192, 4096, 4096 };
	default: /* the same size on both levels goes with 3 and 2^n */
		return (Shape){ 3, 2, g, g, g };
	}
}

/* The same piece of each device, or of one only; where there is one already, nothing happens. */
static void step_expose(Setup *s)
{
	uint64_t n_pages = FILE_LEN / PAGE, at = below(s, (unsigned)n_pages) * PAGE;
	uint64_t len = (1 + below(s, (unsigned)(n_pages - at / PAGE))) * PAGE;
	unsigned first = below(s, s->n_units), n = below(s, 4) ? s->n_units : 1;

	for (unsigned i = 0; i < n; i++) {
		if (s->units[(first + i) % s->n_units].ep)
			expose(s, (first + i) % s->n_units, at, len, true);
	}
}

static void step_revoke(Setup *s, unsigned number)
{
	Unit *unit = &s->units[number];
	unsigned index, n_pages, skip;

	if (unit->pieces->len == 0)
		return;
	index = below(s, unit->pieces->len);
	n_pages = (unsigned)(g_array_index(unit->pieces, Piece, index).len / PAGE);
	skip = below(s, n_pages);
	give_back(s, number, index, skip * PAGE, (1 + below(s, n_pages - skip)) * PAGE);
}

static void step(Setup *s)
{
	unsigned number = below(s, s->n_units), bridge = below(s, s->shape.window_ways);

	switch (below(s, 10)) {
	case 0:
		if (s->units[number].ep)
			set_decoder(s, number, !s->units[number].is_committed);
		break;
	case 1:
		set_bridge(s, bridge, !s->has_bridge[bridge]);
		break;
	case 2:
		if (s->units[number].ep)
			unplug(s, number);
		else
			plug(s, number);
		break;
	case 3:
	case 4:
	case 5:
		step_revoke(s, number);
		break;
	default:
		step_expose(s);
	}
}

/* What steps have broken, so that there is something to look at. */
static void mend(Setup *s)
{
	for (unsigned i = 0; i < s->shape.window_ways; i++) {
		if (!s->has_bridge[i])
			set_bridge(s, i, true);
	}
	for (unsigned i = 0; i < s->n_units; i++) {
		if (!s->units[i].ep)
			plug(s, i);
		if (!s->units[i].is_committed)
			set_decoder(s, i, true);
	}
}

static void test_random(void)
{
	guint32 seed = (guint32)g_test_rand_int();
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
	uint64_t n_checked = 0;

	for (unsigned i = 0; i < N_SHAPES; i++) {
		Shape shape = random_shape(rand);
		Setup s;

		g_test_message("%u x %u ways, %u and %u bytes", shape.window_ways,
			       shape.bridge_ways, shape.window_g, shape.bridge_g);
		setup(&s, &shape, 1 << 20, g_rand_int(rand));
		for (unsigned j = 0; j < N_STEPS; j++) {
			step(&s);
			check_no_stale(&s);
			if (below(&s, 2))
				check_all(&s);
			if (below(&s, 4) == 0)
				mend(&s);
		}
		mend(&s);
		check_all(&s);
		n_checked += s.n_checked;
		teardown(&s);
	}
	g_assert_cmpuint(n_checked, >, 1000);
}

/* ---- one thing at a time ---- */

static const Shape two = { 2, 1, 4096, 256, 4096 }, four = { 1, 4, 256, 4096, 4096 };

static void expose_all(Setup *s, uint64_t at, uint64_t len)
{
	for (unsigned i = 0; i < s->n_units; i++)
		g_assert_cmpint(expose(s, i, at, len, true), ==, 0);
}

static void assert_slow_works(Setup *s, uint64_t hpa)
{
	uint64_t at, value;
	unsigned number = locate(s, hpa, &at);

	fabric_access(s->fabric, hpa, &value, sizeof(value), false);
	g_assert_cmphex(value, ==, (uint64_t)(number + 1) << 40 | at);
}

static void assert_report(Setup *s, guint n, int rc)
{
	settle(s);
	g_assert_cmpuint(g_atomic_int_get(&s->n_reports), ==, n);
	g_assert_cmpint(g_atomic_int_get(&s->reported), ==, rc);
}

/* Whatever ends it: nobody reaches the memory, and it comes back as a whole. */
static void test_teardown_at_any_level(void)
{
	Setup s;

	setup(&s, &four, 1024, 1);
	expose_all(&s, 0, 64 * PAGE);
	assert_report(&s, 1, 0);
	g_assert_cmpint(g_tree_nnodes(s.fake.aliases), ==, 1);
	g_assert_cmpuint(n_file_mappings(), ==, 256 + 4);
	check_all(&s);
	for (unsigned i = 0; i < 4; i++) {
		set_decoder(&s, i, false);
		g_assert_cmpint(g_tree_nnodes(s.fake.aliases), ==, 0);
		set_decoder(&s, i, true);
		assert_report(&s, 2 + i, 0);
	}
	set_bridge(&s, 0, false);
	g_assert_cmpint(g_tree_nnodes(s.fake.aliases), ==, 0);
	set_bridge(&s, 0, true);
	check_all(&s);
	/* Hot removal, and revoking what no decoder shows any more */
	set_decoder(&s, 2, false);
	unplug(&s, 2);
	g_assert_cmpint(g_tree_nnodes(s.fake.aliases), ==, 0);
	g_assert_cmpuint(n_file_mappings(), ==, 3);
	mend(&s);
	g_assert_cmpint(expose(&s, 2, 0, 64 * PAGE, true), ==, 0);
	assert_report(&s, 7, 0);
	/* A page of one device: its turn goes, and is unmapped when the call returns. */
	give_back(&s, 1, 0, 10 * PAGE, PAGE);
	check_no_stale(&s);
	settle(&s);
	g_assert_cmpint(g_tree_nnodes(s.fake.aliases), ==, 2);
	g_assert_cmpuint(n_file_mappings(), ==, 63 * 4 + 5);
	check_all(&s);
	teardown(&s);
}

static void test_over_budget(void)
{
	Setup s;

	setup(&s, &two, 200, 2);
	expose_all(&s, 0, 101 * PAGE);
	assert_report(&s, 1, -E2BIG);
	g_assert_cmpuint(s.n_needed, ==, 202);
	g_assert_cmpint(g_tree_nnodes(s.fake.aliases), ==, 0);
	g_assert_cmpuint(n_file_mappings(), ==, 2);
	for (uint64_t page = 0; page < 202; page++)
		assert_slow_works(&s, s.window.hpa + page * PAGE);
	/* A page less fits. */
	give_back(&s, 0, 0, 100 * PAGE, PAGE);
	assert_report(&s, 2, 0);
	check_all(&s);
	/* What does not fit beside it gets its turn when there is room. */
	expose_all(&s, 110 * PAGE, 10 * PAGE);
	assert_report(&s, 3, -E2BIG);
	g_assert_cmpuint(s.n_needed, ==, 220);
	give_back(&s, 1, 0, 0, 101 * PAGE);
	assert_report(&s, 4, 0);
	check_all(&s);
	teardown(&s);
}

/* A mapping in the middle, or the mapper. */
static void test_failures(void)
{
	Setup s;

	setup(&s, &four, 1024, 3);
	g_assert_cmpint(fcntl(s.units[s.ports[0][3]].fd, F_ADD_SEALS, 0), ==, 0);
	for (unsigned i = 0; i < 4; i++)
		g_assert_cmpint(expose(&s, i, 0, 64 * PAGE, true), ==, 0);
	assert_report(&s, 1, 0);
	fake_fail_at(&s.fake, 1);
	set_decoder(&s, 0, false);
	set_decoder(&s, 0, true); /* the commit is good all the same */
	assert_report(&s, 2, -ENOSPC);
	g_assert_cmpuint(n_file_mappings(), ==, 4);
	assert_slow_works(&s, s.window.hpa);
	fake_fail_at(&s.fake, 0);
	set_decoder(&s, 0, false);
	g_assert_cmpint(fcntl(s.units[s.ports[0][3]].fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), ==, 0);
	set_decoder(&s, 0, true);
	assert_report(&s, 3, -EPERM);
	g_assert_cmpint(g_tree_nnodes(s.fake.aliases), ==, 0);
	g_assert_cmpuint(n_file_mappings(), ==, 4);
	assert_slow_works(&s, s.window.hpa);
	teardown(&s);
}

/* One alias cannot be writable in parts; and below a page there is none. */
static void test_never(void)
{
	static const Shape fine = { 2, 1, 2048, 256, 2048 };
	Setup s;

	setup(&s, &two, 1024, 4);
	g_assert_cmpint(expose(&s, 0, 0, 8 * PAGE, true), ==, 0);
	g_assert_cmpint(expose(&s, 1, 0, 8 * PAGE, false), ==, 0);
	assert_report(&s, 0, 0);
	assert_slow_works(&s, s.window.hpa + PAGE);
	teardown(&s);
	setup(&s, &fine, 1024, 5);
	expose_all(&s, 0, 8 * PAGE);
	assert_report(&s, 0, 0);
	assert_slow_works(&s, s.window.hpa + PAGE);
	teardown(&s);
}

/* Taken back while it is being mapped. */
static void test_cancel(void)
{
	static const Shape eight = { 8, 1, 4096, 256, 4096 };
	Setup s;

	setup(&s, &eight, 4096, 6);
	expose_all(&s, 0, FILE_LEN);
	for (unsigned i = 0; i < 60; i++) {
		unsigned number = below(&s, 8);

		g_usleep(below(&s, 3000));
		set_decoder(&s, number, false);
		g_assert_cmpint(g_tree_nnodes(s.fake.aliases), ==, 0);
		g_usleep(below(&s, 300));
		set_decoder(&s, number, true);
	}
	check_all(&s);
	give_back(&s, 0, 0, 0, FILE_LEN);
	g_assert_cmpuint(n_file_mappings(), ==, 7);
	teardown(&s);
}

typedef struct Worker {
	Setup *s;
	unsigned number;
} Worker;

static void *come_and_go(void *data)
{
	const Worker *worker = data;
	Unit *unit = &worker->s->units[worker->number];

	for (uint64_t i = 0; i < 300; i++) {
		uint64_t id = i << 8 | worker->number;
		FabricMap map = { .id = id,
				  .dpa = worker->s->dpa + i % 4 * 16 * PAGE,
				  .len = 32 * PAGE,
				  .offset = i % 4 * 16 * PAGE,
				  .writable = true,
				  .fd = fcntl(unit->fd, F_DUPFD_CLOEXEC, 0) };

		g_assert_cmpint(fabric_endpoint_prepare(unit->ep, &map), ==, 0);
		g_assert_cmpint(fabric_endpoint_expose(unit->ep, &id, 1), ==, 0);
		if (i % 3 == 0)
			g_usleep(100);
		g_assert_cmpint(fabric_endpoint_drop(unit->ep, id), ==, 0);
	}
	return NULL;
}

/* Devices that know nothing of each other. */
static void test_threads(void)
{
	GThread *threads[4];
	Worker workers[4];
	Setup s;

	setup(&s, &four, 4096, 7);
	for (unsigned i = 0; i < 4; i++) {
		workers[i] = (Worker){ &s, i };
		threads[i] = g_thread_new("device", come_and_go, &workers[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		g_thread_join(threads[i]);
	settle(&s);
	g_assert_cmpint(g_tree_nnodes(s.fake.aliases), ==, 0);
	g_assert_cmpuint(n_file_mappings(), ==, 0);
	expose_all(&s, 0, 32 * PAGE);
	check_all(&s);
	g_assert_cmpint(g_tree_nnodes(s.fake.aliases), ==, 1);
	teardown(&s);
}

#define P "/unit/fabric/span/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "random", test_random);
	g_test_add_func(P "teardown-at-any-level", test_teardown_at_any_level);
	g_test_add_func(P "over-budget", test_over_budget);
	g_test_add_func(P "failures", test_failures);
	g_test_add_func(P "never", test_never);
	g_test_add_func(P "cancel", test_cancel);
	g_test_add_func(P "threads", test_threads);
	return g_test_run();
}
