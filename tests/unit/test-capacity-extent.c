/* SPDX-License-Identifier: BSD-3-Clause */
/* Extents: every transition of their life, the list in both its orders, free DPA, shared bytes. */
#include "capacity/capacity_priv.h"
#include "capacity/sorted_map.h"

#define MIB (UINT64_C(1) << 20)

/* ---- the one life all extents have ---- */

/* What the design says, written down a second time: rows from, columns to. */
static const char *const legal[EXTENT_N_STATES] = {
	/*                     new queued offered accepted draining quarantined ends... */
	[EXTENT_NEW] = ".Q.......",      [EXTENT_QUEUED] = "..O....W.",
	[EXTENT_OFFERED] = ".Q.A..DW.",  [EXTENT_ACCEPTED] = "....DQ...",
	[EXTENT_DRAINING] = "........F", [EXTENT_QUARANTINED] = "....D...F",
	[EXTENT_DECLINED] = ".........", [EXTENT_WITHDRAWN] = ".........",
	[EXTENT_FREED] = ".........",
};

static void test_transitions(void)
{
	for (ExtentState from = EXTENT_NEW; from < EXTENT_N_STATES; from++)
		for (ExtentState to = EXTENT_NEW; to < EXTENT_N_STATES; to++)
			g_assert_cmpint(extent_state_may_become(from, to), ==,
					legal[from][to] != '.');
	g_assert_true(extent_state_is_end(EXTENT_DECLINED));
	g_assert_true(extent_state_is_end(EXTENT_WITHDRAWN));
	g_assert_true(extent_state_is_end(EXTENT_FREED));
	g_assert_false(extent_state_is_end(EXTENT_QUARANTINED));
	g_assert_cmpstr(extent_state_name(EXTENT_DRAINING), ==, "draining");
}

static void test_illegal_transition(void)
{
	DcDevice dev = { 0 };
	Offer offer = { .dev = &dev };
	Extent extent = { .offer = &offer, .state = EXTENT_ACCEPTED };

	if (g_test_subprocess()) {
		extent_set_state(&extent, EXTENT_FREED); /* not without draining */
		return;
	}
	g_test_trap_subprocess(NULL, 0, (GTestSubprocessFlags)0);
	g_test_trap_assert_failed();
}

/* ---- the map under it ---- */

#define MAP_KEYS 3000

static SortedKey map_key(unsigned i)
{
	return (SortedKey){ i / 3, i % 3 };
}

/* Against an array that says which keys are there. */
static void check_map(const SortedMap *map, const unsigned *there)
{
	SortedIter iter = sorted_map_seek_position(map, 0);
	const unsigned *below = NULL;
	size_t n = 0;

	for (unsigned i = 0; i < MAP_KEYS; i++) {
		SortedIter seek = sorted_map_seek(map, map_key(i)), at;

		if (there[i]) {
			at = sorted_map_seek_position(map, n++);
			g_assert_true(sorted_iter_value(&at) == &there[i]);
			g_assert_true(sorted_iter_value(&iter) == &there[i]);
			g_assert_true(sorted_iter_value(&seek) == &there[i]);
			sorted_iter_next(&iter);
			below = &there[i];
		}
		g_assert_true(sorted_map_lookup(map, map_key(i)) == (there[i] ? below : NULL));
		g_assert_true(sorted_map_at_or_below(map, map_key(i)) == below);
		g_assert_true(sorted_map_above(map, map_key(i)) == sorted_iter_value(&iter));
	}
	g_assert_null(sorted_iter_value(&iter));
	g_assert_null(sorted_iter_key(&iter));
	g_assert_cmpuint(sorted_map_n(map), ==, n);
	iter = sorted_map_end(map);
	g_assert_cmpint(sorted_iter_prev(&iter), ==, n > 0);
	if (n > 0)
		g_assert_true(sorted_iter_value(&iter) == below);
	while (sorted_iter_prev(&iter))
		n--;
	g_assert_cmpuint(n, <=, 1);
}

static void test_map(void)
{
	SortedMap *map = sorted_map_new();
	unsigned there[MAP_KEYS] = { 0 };

	check_map(map, there);
	for (unsigned i = 0; i < MAP_KEYS; i += 2) { /* in order: leaves fill up */
		sorted_map_insert(map, map_key(i), &there[i]);
		there[i] = 1;
	}
	check_map(map, there);
	for (unsigned round = 0; round < 40; round++) {
		/* Grows and shrinks, so that leaves split, empty and merge. */
		int inserts = round % 10 < 5 ? 80 : 20;

		for (unsigned i = 0; i < 600; i++) {
			unsigned at = (unsigned)g_test_rand_int_range(0, MAP_KEYS);

			if (!there[at] && g_test_rand_int_range(0, 100) < inserts) {
				sorted_map_insert(map, map_key(at), &there[at]);
				there[at] = 1;
			} else if (there[at] && g_test_rand_int_range(0, 100) >= inserts) {
				sorted_map_remove(map, map_key(at));
				there[at] = 0;
			}
		}
		check_map(map, there);
	}
	for (unsigned i = MAP_KEYS; i-- > 0;)
		if (there[i])
			sorted_map_remove(map, map_key(i));
	g_assert_cmpuint(sorted_map_n(map), ==, 0);
	sorted_map_free(map);
}

static void test_map_rekey(void)
{
	SortedMap *map = sorted_map_new();
	int values[100];

	for (unsigned i = 0; i < 100; i++)
		sorted_map_insert(map, (SortedKey){ 10 * i, 7 }, &values[i]);
	for (unsigned i = 0; i < 100; i++)
		sorted_map_rekey(map, (SortedKey){ 10 * i, 7 }, (SortedKey){ 10 * i + 5, i });
	for (unsigned i = 0; i < 100; i++) {
		g_assert_null(sorted_map_lookup(map, (SortedKey){ 10 * i, 7 }));
		g_assert_true(sorted_map_lookup(map, (SortedKey){ 10 * i + 5, i }) == &values[i]);
	}
	sorted_map_free(map);
}

/* ---- the list ---- */

static Extent *new_extent(uint64_t alloc, uint32_t order, uint64_t dpa, uint64_t len)
{
	Extent *extent = g_new0(Extent, 1);

	extent->alloc = alloc;
	extent->order = order;
	extent->mem_offset = order * MIB; /* assembly order is memory order */
	extent->dpa = dpa;
	extent->len = len;
	return extent;
}

static void test_list_lookup(void)
{
	g_autoptr(ExtentList) list = extent_list_new();
	g_autofree Extent *a = new_extent(1, 0, 0, 2 * MIB);
	g_autofree Extent *b = new_extent(1, 1, 4 * MIB, 2 * MIB);
	g_autofree Extent *top = new_extent(2, 0, UINT64_MAX - MIB + 1, MIB);

	g_assert_null(extent_list_find(list, 0));
	g_assert_null(extent_list_overlap(list, 0, UINT64_MAX));
	g_assert_null(extent_list_at(list, 0));
	g_assert_null(extent_list_first_of(list, 1));
	extent_list_insert(list, b);
	extent_list_insert(list, a);
	extent_list_insert(list, top);
	g_assert_cmpuint(extent_list_n(list), ==, 3);
	g_assert_true(extent_list_find(list, 0) == a);
	g_assert_true(extent_list_find(list, 2 * MIB - 1) == a);
	g_assert_null(extent_list_find(list, 2 * MIB));
	g_assert_true(extent_list_find(list, 4 * MIB) == b);
	g_assert_null(extent_list_find(list, 6 * MIB));
	g_assert_true(extent_list_find(list, UINT64_MAX) == top);
	g_assert_true(extent_list_overlap(list, MIB, 8 * MIB) == a);
	g_assert_true(extent_list_overlap(list, 2 * MIB, 2 * MIB + 1) == b);
	g_assert_null(extent_list_overlap(list, 2 * MIB, 2 * MIB));
	g_assert_null(extent_list_overlap(list, 6 * MIB, MIB));
	extent_list_remove(list, a);
	g_assert_null(extent_list_find(list, 0));
	g_assert_true(extent_list_overlap(list, 0, UINT64_MAX) == b);
	extent_list_remove(list, b);
	extent_list_remove(list, top);
	g_assert_cmpuint(extent_list_n(list), ==, 0);
}

static void test_list_order(void)
{
	/* DPA, allocation and order all disagree. */
	static const struct {
		uint64_t alloc;
		uint32_t order;
		uint64_t dpa;
	} rows[] = { { 7, 1, 3 }, { 7, 0, 9 }, { 3, 2, 1 }, { 3, 0, 5 }, { 9, 0, 0 }, { 3, 1, 8 } };
	static const uint64_t expected[] = { 5, 8, 1, 9, 3, 0 };
	g_autoptr(ExtentList) list = extent_list_new();
	Extent *extents[G_N_ELEMENTS(rows)];

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		extents[i] = new_extent(rows[i].alloc, rows[i].order, rows[i].dpa * MIB, MIB);
		extent_list_insert(list, extents[i]);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(expected); i++)
		g_assert_cmpuint(extent_list_at(list, i)->dpa, ==, expected[i] * MIB);
	g_assert_null(extent_list_at(list, G_N_ELEMENTS(rows)));
	g_assert_cmpuint(extent_list_first_of(list, 3)->dpa, ==, 5 * MIB);
	g_assert_cmpuint(extent_list_first_of(list, 9)->dpa, ==, 0);
	g_assert_null(extent_list_first_of(list, 4));
	g_assert_null(extent_list_first_of(list, 10));
	g_assert_cmpuint(extent_list_next(list, extent_list_at(list, 2))->dpa, ==, 9 * MIB);
	g_assert_null(extent_list_next(list, extent_list_at(list, 5)));
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		extent_list_remove(list, extents[i]);
		g_free(extents[i]);
	}
}

static void test_list_split(void)
{
	g_autoptr(ExtentList) list = extent_list_new();
	DcDevice dev = { 0 };
	Offer offer = { .id = 1, .dev = &dev };
	g_autofree Extent *first = extent_new(&offer, 0, 0, 8 * MIB);
	g_autofree Extent *other = extent_new(&offer, 0, 16 * MIB, MIB);
	g_autofree Extent *upper = NULL;

	first->mem_offset = 32 * MIB;
	first->shared_seq = 5;
	first->map_id = 77;
	other->order = 1;
	other->mem_offset = 40 * MIB;
	extent_list_insert(list, first);
	extent_list_insert(list, other);
	upper = extent_list_split(list, first, 2 * MIB);
	g_assert_cmpuint(first->len, ==, 2 * MIB);
	g_assert_cmpuint(upper->dpa, ==, 2 * MIB);
	g_assert_cmpuint(upper->len, ==, 6 * MIB);
	g_assert_cmpuint(upper->mem_offset, ==, 34 * MIB);
	g_assert_cmpuint(upper->shared_seq, ==, 5);
	g_assert_cmpuint(upper->map_id, ==, 77);
	g_assert_true(extent_list_at(list, 1) == upper);
	g_assert_true(extent_list_at(list, 2) == other);
	g_assert_true(extent_list_find(list, 3 * MIB) == upper);
	extent_list_remove(list, first);
	extent_list_remove(list, upper);
	extent_list_remove(list, other);
}

/* ---- free DPA ---- */

static void add_range(uint64_t dpa, uint64_t len, void *text)
{
	g_string_append_printf(text, "%u+%u ", (unsigned)(dpa / MIB), (unsigned)(len / MIB));
}

static void assert_space(const DpaSpace *space, const char *expected)
{
	GString *text = g_string_new(NULL);

	dpa_space_foreach(space, add_range, text);
	g_assert_cmpstr(g_strchomp(text->str), ==, expected);
	g_string_free(text, TRUE);
}

static void test_space(void)
{
	g_autoptr(DpaSpace) space = dpa_space_new(16 * MIB, 64 * MIB);

	assert_space(space, "16+64");
	g_assert_true(dpa_space_is_free(space, 16 * MIB, 64 * MIB));
	g_assert_false(dpa_space_is_free(space, 15 * MIB, MIB));
	g_assert_false(dpa_space_is_free(space, 79 * MIB, 2 * MIB));
	g_assert_false(dpa_space_is_free(space, 16 * MIB, UINT64_MAX));
	dpa_space_take(space, 32 * MIB, 8 * MIB); /* middle */
	assert_space(space, "16+16 40+40");
	dpa_space_take(space, 16 * MIB, 4 * MIB); /* start */
	dpa_space_take(space, 76 * MIB, 4 * MIB); /* end */
	assert_space(space, "20+12 40+36");
	dpa_space_take(space, 20 * MIB, 12 * MIB); /* all of one */
	assert_space(space, "40+36");
	g_assert_cmpuint(dpa_space_free_len(space), ==, 36 * MIB);
	dpa_space_give(space, 20 * MIB, 4 * MIB); /* alone */
	assert_space(space, "20+4 40+36");
	dpa_space_give(space, 24 * MIB, 4 * MIB); /* grows the lower */
	dpa_space_give(space, 36 * MIB, 4 * MIB); /* grows the upper */
	assert_space(space, "20+8 36+40");
	dpa_space_give(space, 28 * MIB, 8 * MIB); /* joins both */
	assert_space(space, "20+56");
	dpa_space_give(space, 16 * MIB, 4 * MIB);
	dpa_space_give(space, 76 * MIB, 4 * MIB);
	assert_space(space, "16+64");
	g_assert_cmpuint(dpa_space_n_ranges(space), ==, 1);
}

typedef struct PlanRow {
	unsigned len, align;
	bool contiguous;
	size_t max;
	const char *expected; /* NULL: refused */
} PlanRow;

/* Free: 2+4, 8+2, 12+8, 24+1 (MiB). */
static const PlanRow plan_rows[] = {
	{ 1, 1, true, 9, "24+1" }, /* the smallest that fits */
	{ 2, 1, true, 9, "8+2" },        { 3, 1, false, 9, "2+3" },
	{ 8, 1, true, 9, "12+8" },       { 9, 1, true, 9, NULL },         /* not in one piece */
	{ 9, 1, false, 9, "12+8 2+1" },  { 12, 1, false, 2, "12+8 2+4" }, /* as few as possible */
	{ 13, 1, false, 2, NULL },       { 15, 1, false, 9, "12+8 2+4 8+2 24+1" },
	{ 16, 1, false, 9, NULL },       { 4, 4, true, 9, "12+4" }, /* 2+4 has no aligned 4 */
	{ 8, 4, true, 9, "12+8" },       { 12, 4, false, 9, NULL },
	{ 10, 2, false, 9, "12+8 2+2" }, { 1, 1, true, 0, NULL },
};

static void test_plan(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(plan_rows); i++) {
		const PlanRow *row = &plan_rows[i];
		g_autoptr(DpaSpace) space = dpa_space_new(0, 32 * MIB);
		g_autoptr(GArray) pieces = NULL;
		g_autoptr(GString) text = g_string_new(NULL);
		uint64_t largest = 0;

		dpa_space_take(space, 0, 2 * MIB);
		dpa_space_take(space, 6 * MIB, 2 * MIB);
		dpa_space_take(space, 10 * MIB, 2 * MIB);
		dpa_space_take(space, 20 * MIB, 4 * MIB);
		dpa_space_take(space, 25 * MIB, 7 * MIB);
		assert_space(space, "2+4 8+2 12+8 24+1");
		pieces = dpa_space_plan(space, row->len * MIB, row->align * MIB, row->contiguous,
					row->max, &largest);
		if (!row->expected) {
			g_assert_null(pieces);
			g_assert_cmpuint(largest, ==, 8 * MIB);
			continue;
		}
		g_assert_nonnull(pieces);
		for (guint j = 0; j < pieces->len; j++)
			add_range(g_array_index(pieces, DpaPiece, j).dpa,
				  g_array_index(pieces, DpaPiece, j).len, text);
		g_assert_cmpstr(g_strchomp(text->str), ==, row->expected);
		assert_space(space, "2+4 8+2 12+8 24+1"); /* takes nothing */
	}
}

/* ---- bytes several devices share ---- */

static void test_byte_states(void)
{
	ByteStates *states = byte_states_new(16);
	CapacityCounters c = { .total = 16, .free = 16 };

	byte_states_move(states, 0, 8, BYTES_FREE, BYTES_RESERVED, &c);
	byte_states_move(states, 4, 8, BYTES_FREE, BYTES_RESERVED, &c);
	g_assert_cmpuint(c.reserved, ==, 12);
	byte_states_move(states, 0, 8, BYTES_RESERVED, BYTES_ACCEPTED, &c);
	g_assert_cmpuint(c.accepted, ==, 8);
	g_assert_cmpuint(c.reserved, ==, 4);
	byte_states_move(states, 4, 8, BYTES_RESERVED, BYTES_ACCEPTED, &c);
	g_assert_cmpuint(c.accepted, ==, 12); /* shared bytes count once */
	byte_states_move(states, 0, 8, BYTES_ACCEPTED, BYTES_DRAINING, &c);
	g_assert_cmpuint(c.accepted, ==, 8);
	g_assert_cmpuint(c.draining, ==, 4);
	byte_states_move(states, 0, 8, BYTES_DRAINING, BYTES_FREE, &c);
	byte_states_move(states, 4, 2, BYTES_ACCEPTED, BYTES_FREE, &c);
	byte_states_move(states, 6, 6, BYTES_ACCEPTED, BYTES_FREE, &c);
	g_assert_cmpuint(c.free, ==, 16);
	g_assert_cmpuint(c.accepted + c.draining + c.reserved, ==, 0);
	byte_states_free(states);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/capacity/extent/transitions", test_transitions);
	g_test_add_func("/unit/capacity/extent/illegal-transition", test_illegal_transition);
	g_test_add_func("/unit/capacity/sorted-map/random", test_map);
	g_test_add_func("/unit/capacity/sorted-map/rekey", test_map_rekey);
	g_test_add_func("/unit/capacity/extent-list/lookup", test_list_lookup);
	g_test_add_func("/unit/capacity/extent-list/order", test_list_order);
	g_test_add_func("/unit/capacity/extent-list/split", test_list_split);
	g_test_add_func("/unit/capacity/dpa-space/take-and-give", test_space);
	g_test_add_func("/unit/capacity/dpa-space/plan", test_plan);
	g_test_add_func("/unit/capacity/byte-states", test_byte_states);
	return g_test_run();
}
