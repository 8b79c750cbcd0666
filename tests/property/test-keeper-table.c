/* SPDX-License-Identifier: BSD-3-Clause */
/* The keeper's table against a model: random keys, added and removed in any order. */
#include "keeper/keeper_table.h"

#include <fcntl.h>
#include <glib.h>
#include <unistd.h>

#define N_OPERATIONS 200000

/* Few keys and close ones, so that they meet; all of 64 bits, so that nothing is cut off. */
static uint64_t random_key(unsigned n_keys)
{
	uint64_t key = (uint64_t)g_test_rand_int_range(0, (gint32)n_keys);

	return g_test_rand_bit() ? key : UINT64_MAX - key;
}

static void check_all(const KeeperTable *table, GHashTable *model)
{
	g_assert_cmpuint(table->n, ==, g_hash_table_size(model));
	g_assert_cmpuint(table->n_slots, >=, 2 * table->n_allocated);
	for (uint32_t i = 0; i < table->n; i++) {
		const KeeperEntry *entry = &table->entries[i];
		gpointer len;

		g_assert_true(g_hash_table_lookup_extended(model, &entry->incarnation, NULL, &len));
		g_assert_cmpuint(entry->len, ==, *(uint64_t *)len);
		g_assert_true(keeper_table_find(table, entry->incarnation) == entry);
	}
}

static void run(KeeperTable *table, unsigned n_keys)
{
	g_autoptr(GHashTable)
		model = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	/* It grows, stays, and shrinks again. */
	const int chance_of_add[] = { 90, 50, 10 };

	for (unsigned i = 0; i < N_OPERATIONS; i++) {
		uint64_t key = random_key(n_keys);
		bool held = g_hash_table_contains(model, &key);

		if (g_test_rand_int_range(0, 100) < chance_of_add[i * 3ull / N_OPERATIONS]) {
			KeeperEntry entry = { .incarnation = key, .len = i, .fd = -1 };

			if (held) {
				g_assert_nonnull(keeper_table_find(table, key));
				continue;
			}
			g_assert_null(keeper_table_find(table, key));
			g_assert_true(keeper_table_add(table, &entry));
			g_hash_table_insert(model, g_memdup2(&key, sizeof(key)),
					    g_memdup2(&entry.len, sizeof(entry.len)));
		} else {
			g_assert_true(keeper_table_remove(table, key) == held);
			g_assert_true(g_hash_table_remove(model, &key) == held);
		}
		if (i % (N_OPERATIONS / 50) == 0)
			check_all(table, model);
	}
	check_all(table, model);
}

static void test_model(void)
{
	static const unsigned n_keys[] = { 4, 100, 20000 };

	for (unsigned i = 0; i < G_N_ELEMENTS(n_keys); i++) {
		KeeperTable table;
		uint64_t seed = (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();

		g_assert_true(keeper_table_init(&table, seed));
		run(&table, n_keys[i]);
		keeper_table_finish(&table);
	}
}

/* Memory follows what is held. */
static void test_shrink(void)
{
	KeeperTable table;
	uint32_t n_first;

	g_assert_true(keeper_table_init(&table, 1));
	n_first = table.n_allocated;
	for (uint64_t key = 0; key < 65536; key++)
		g_assert_true(
			keeper_table_add(&table, &(KeeperEntry){ .incarnation = key, .fd = -1 }));
	g_assert_cmpuint(table.n_allocated, ==, 65536);
	for (uint64_t key = 0; key < 65536; key++)
		g_assert_true(keeper_table_remove(&table, key));
	g_assert_cmpuint(table.n_allocated, ==, n_first);
	keeper_table_finish(&table);
}

/* Who holds a descriptor closes it: once, when it is removed, or at the end. */
static void test_closes(void)
{
	KeeperTable table;
	int fds[2];

	g_assert_true(keeper_table_init(&table, 1));
	for (unsigned i = 0; i < 2; i++) {
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		g_assert_true(
			keeper_table_add(&table, &(KeeperEntry){ .incarnation = i, .fd = fds[i] }));
	}
	g_assert_true(keeper_table_remove(&table, 0));
	g_assert_cmpint(fcntl(fds[0], F_GETFD), ==, -1);
	g_assert_cmpint(fcntl(fds[1], F_GETFD), >=, 0);
	keeper_table_finish(&table);
	g_assert_cmpint(fcntl(fds[1], F_GETFD), ==, -1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/property/keeper-table/model", test_model);
	g_test_add_func("/property/keeper-table/shrink", test_shrink);
	g_test_add_func("/property/keeper-table/closes", test_closes);
	return g_test_run();
}
