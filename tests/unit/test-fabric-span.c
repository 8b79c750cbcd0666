/* SPDX-License-Identifier: BSD-3-Clause */
/* Spans: what they show is what fabric_access() shows, and nothing is left of what was taken. */

#include "fabric_span_setup.h"

#define N_SHAPES 36
#define N_STEPS  30

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
	expose_all(&s, 0, 64 * PAGE);
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
