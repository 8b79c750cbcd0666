/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory link's book of held maps against a plain array of pages; and the message table. */
#include "link/mem_link_book.h"
#include "link/mem_link_wire.h"

#include <errno.h>
#include <string.h>

#define N_MAPS     8u
#define N_PAGES    64u /* of each map */
#define MAX_PIECES 40u
#define N_STEPS    100000u

typedef struct Model {
	bool known[N_MAPS];
	bool page[N_MAPS][N_PAGES];
} Model;

static unsigned count_runs(const bool *page)
{
	unsigned n = 0;

	for (unsigned i = 0; i < N_PAGES; i++)
		n += page[i] && (i == 0 || !page[i - 1]);
	return n;
}

static unsigned count_pages(const bool *page)
{
	unsigned n = 0;

	for (unsigned i = 0; i < N_PAGES; i++)
		n += page[i];
	return n;
}

static unsigned count_all_runs(const Model *model)
{
	unsigned n = 0;

	for (unsigned i = 0; i < N_MAPS; i++)
		n += count_runs(model->page[i]);
	return n;
}

static int model_revoke(Model *model, unsigned map, unsigned first, unsigned n)
{
	bool after[N_PAGES];

	memcpy(after, model->page[map], sizeof(after));
	for (unsigned i = first; i < first + n; i++) {
		if (!after[i])
			return -ENOENT;
		after[i] = false;
	}
	if (count_all_runs(model) - count_runs(model->page[map]) + count_runs(after) > MAX_PIECES)
		return -ENOSPC;
	memcpy(model->page[map], after, sizeof(after));
	model->known[map] = count_pages(after) > 0;
	return !model->known[map];
}

/* Ids and DPAs at both ends of their range, where a comparison might go wrong. */
static uint64_t id_of(unsigned map)
{
	return map % 2 == 0 ? map + 1 : UINT64_MAX - map;
}

static uint64_t dpa_of(unsigned map, unsigned page)
{
	return (map < 4 ? 0 : -(N_PAGES + 1) * (uint64_t)MEM_LINK_PAGE) + page * MEM_LINK_PAGE;
}

static void random_step(MemLinkBook *book, Model *model)
{
	unsigned map = (unsigned)g_test_rand_int_range(0, N_MAPS);
	unsigned first = (unsigned)g_test_rand_int_range(0, N_PAGES);
	unsigned n = (unsigned)g_test_rand_int_range(1, g_test_rand_bit() ? 3 : N_PAGES + 1);

	n = MIN(n, N_PAGES - first);
	if (!model->known[map]) {
		int rc = count_all_runs(model) < MAX_PIECES ? 0 : -ENOSPC;

		g_assert_cmpint(mem_link_book_add(book, id_of(map), dpa_of(map, 0),
						  N_PAGES * (uint64_t)MEM_LINK_PAGE),
				==, rc);
		model->known[map] = rc == 0;
		for (unsigned i = 0; i < N_PAGES; i++)
			model->page[map][i] = rc == 0;
	} else if (g_test_rand_int_range(0, 40) == 0) {
		g_assert_true(mem_link_book_drop(book, id_of(map)));
		memset(model->page[map], 0, sizeof(model->page[map]));
		model->known[map] = false;
	} else {
		int rc = model_revoke(model, map, first, n);

		g_assert_cmpint(mem_link_book_revoke(book, id_of(map), dpa_of(map, first),
						     n * (uint64_t)MEM_LINK_PAGE),
				==, rc);
	}
}

static void test_random(void)
{
	g_autoptr(MemLinkBook) book = mem_link_book_new(MAX_PIECES);
	Model model = { 0 };

	for (unsigned i = 0; i < N_STEPS; i++) {
		random_step(book, &model);
		g_assert_cmpuint(mem_link_book_n_pieces(book), ==, count_all_runs(&model));
		for (unsigned map = 0; map < N_MAPS; map++)
			g_assert_cmpint(mem_link_book_knows(book, id_of(map)), ==,
					model.known[map]);
	}
}

static void test_pieces(void)
{
	g_autoptr(MemLinkBook) book = mem_link_book_new(3);
	const uint64_t page = MEM_LINK_PAGE;

	g_assert_cmpint(mem_link_book_add(book, 5, 2 * page, 2 * page), ==, 0);
	g_assert_cmpint(mem_link_book_add(book, 5, 3 * page, page), ==, -EEXIST);
	g_assert_cmpint(mem_link_book_add(book, 5, page, 2 * page), ==, -EEXIST);
	g_assert_cmpint(mem_link_book_add(book, 5, 2 * page, 2 * page), ==, -EEXIST);
	/* Touching is not overlapping, and other maps may be anywhere. */
	g_assert_cmpint(mem_link_book_add(book, 5, 4 * page, page), ==, 0);
	g_assert_cmpint(mem_link_book_add(book, 6, 3 * page, page), ==, 0);
	g_assert_cmpint(mem_link_book_add(book, 7, 9 * page, page), ==, -ENOSPC);
	g_assert_false(mem_link_book_knows(book, 7));
	g_assert_false(mem_link_book_is_exposed(book, 5));
	mem_link_book_set_exposed(book, 5);
	g_assert_true(mem_link_book_is_exposed(book, 5));
	g_assert_false(mem_link_book_drop(book, 4));
	g_assert_true(mem_link_book_drop(book, 5));
	g_assert_cmpuint(mem_link_book_n_pieces(book), ==, 1);
	g_assert_false(mem_link_book_drop(book, 5));
}

static void test_unexposed(void)
{
	g_autoptr(MemLinkBook) book = mem_link_book_new(10);
	g_autoptr(GArray) ids = NULL;

	for (uint64_t id = 1; id <= 3; id++)
		mem_link_book_add(book, id, 0, MEM_LINK_PAGE);
	mem_link_book_set_exposed(book, 1);
	mem_link_book_set_exposed(book, 3);
	ids = mem_link_book_list_unexposed(book);
	g_assert_cmpuint(ids->len, ==, 1);
	g_assert_cmpuint(g_array_index(ids, uint64_t, 0), ==, 2);
}

static void test_range(void)
{
	static const struct {
		uint64_t start, len;
		bool valid;
	} cases[] = {
		{ 0, 4096, true },
		{ 0, 0, false },
		{ 4096, 1, false },
		{ 1, 4096, false },
		{ 0, UINT64_MAX - 4095, true },
		{ 4096, UINT64_MAX - 4095, false },
		{ UINT64_MAX - 4095, 4096, false },
		{ UINT64_MAX - 8191, 4096, true },
	};

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpint(mem_link_range_is_valid(cases[i].start, cases[i].len), ==,
				cases[i].valid);
}

/* Every type is named once, and its longest message fits. */
static void test_formats(void)
{
	unsigned n = 0;

	for (unsigned type = 0; type <= UINT16_MAX; type++) {
		const MemLinkFormat *format = mem_link_format(type);

		if (format == NULL)
			continue;
		n++;
		g_assert_cmpuint(format->type, ==, type);
		g_assert_cmpuint(format->fixed_len + (size_t)format->max_count * format->entry_len,
				 <=, MEM_LINK_MAX_MESSAGE);
	}
	g_assert_cmpuint(n, ==, 10);
}

#define P "/unit/mem-link/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "book/random", test_random);
	g_test_add_func(P "book/pieces", test_pieces);
	g_test_add_func(P "book/unexposed", test_unexposed);
	g_test_add_func(P "range", test_range);
	g_test_add_func(P "formats", test_formats);
	return g_test_run();
}
