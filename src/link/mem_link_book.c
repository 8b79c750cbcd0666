/* SPDX-License-Identifier: BSD-3-Clause */
/* What a host holds of a device's memory, as told over the memory link. */
#include "link/mem_link_book.h"

#include <errno.h>

typedef struct Piece {
	uint64_t id, dpa, len;
} Piece;

typedef struct Map {
	uint64_t id;
	uint32_t n_pieces;
	bool exposed;
} Map;

struct MemLinkBook {
	uint32_t max_pieces;
	GHashTable *maps;  /* id -> Map */
	GSequence *pieces; /* of Piece, by id and dpa; those of one map do not touch each other's
			      range */
};

MemLinkBook *mem_link_book_new(uint32_t max_pieces)
{
	MemLinkBook *book = g_new0(MemLinkBook, 1);

	book->max_pieces = max_pieces;
	book->maps = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	book->pieces = g_sequence_new(g_free);
	return book;
}

void mem_link_book_free(MemLinkBook *book)
{
	if (book == NULL)
		return;
	g_hash_table_unref(book->maps);
	g_sequence_free(book->pieces);
	g_free(book);
}

uint32_t mem_link_book_n_pieces(const MemLinkBook *book)
{
	return (uint32_t)g_sequence_get_length(book->pieces);
}

bool mem_link_book_has_room(const MemLinkBook *book, uint32_t n)
{
	return n <= book->max_pieces - mem_link_book_n_pieces(book);
}

bool mem_link_book_knows(const MemLinkBook *book, uint64_t id)
{
	return g_hash_table_contains(book->maps, &id);
}

bool mem_link_book_is_exposed(const MemLinkBook *book, uint64_t id)
{
	const Map *map = g_hash_table_lookup(book->maps, &id);

	return map != NULL && map->exposed;
}

void mem_link_book_set_exposed(MemLinkBook *book, uint64_t id)
{
	Map *map = g_hash_table_lookup(book->maps, &id);

	if (map != NULL)
		map->exposed = true;
}

static int compare_pieces(const void *a, const void *b, void *unused)
{
	const Piece *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	if (x->dpa != y->dpa)
		return x->dpa < y->dpa ? -1 : 1;
	return 0;
}

/* Where a piece at (id, dpa) would go: behind all that start at or below it. */
static GSequenceIter *find_place(const MemLinkBook *book, uint64_t id, uint64_t dpa)
{
	Piece key = { .id = id, .dpa = dpa };

	return g_sequence_search(book->pieces, &key, compare_pieces, NULL);
}

static Piece *peek_before(GSequenceIter *place)
{
	if (g_sequence_iter_is_begin(place))
		return NULL;
	return g_sequence_get(g_sequence_iter_prev(place));
}

static void insert_piece(GSequenceIter *place, uint64_t id, uint64_t dpa, uint64_t len)
{
	Piece *piece = g_new(Piece, 1);

	*piece = (Piece){ .id = id, .dpa = dpa, .len = len };
	g_sequence_insert_before(place, piece);
}

int mem_link_book_add(MemLinkBook *book, uint64_t id, uint64_t dpa, uint64_t len)
{
	GSequenceIter *place = find_place(book, id, dpa);
	const Piece *before = peek_before(place);
	Map *map;

	if (before != NULL && before->id == id && dpa - before->dpa < before->len)
		return -EEXIST;
	if (!g_sequence_iter_is_end(place)) {
		const Piece *after = g_sequence_get(place);

		if (after->id == id && after->dpa - dpa < len)
			return -EEXIST;
	}
	if (!mem_link_book_has_room(book, 1))
		return -ENOSPC;
	insert_piece(place, id, dpa, len);
	map = g_hash_table_lookup(book->maps, &id);
	if (map == NULL) {
		map = g_new0(Map, 1);
		map->id = id;
		g_hash_table_insert(book->maps, &map->id, map);
	}
	map->n_pieces++;
	return 0;
}

int mem_link_book_revoke(MemLinkBook *book, uint64_t id, uint64_t dpa, uint64_t len)
{
	GSequenceIter *place = find_place(book, id, dpa);
	Piece *piece = peek_before(place);
	Map *map = g_hash_table_lookup(book->maps, &id);
	uint64_t head, tail;

	if (map == NULL || piece == NULL || piece->id != id || dpa - piece->dpa >= piece->len ||
	    len > piece->len - (dpa - piece->dpa))
		return -ENOENT;
	head = dpa - piece->dpa;
	tail = piece->len - head - len;
	if (head > 0 && tail > 0) {
		if (!mem_link_book_has_room(book, 1))
			return -ENOSPC;
		insert_piece(place, id, dpa + len, tail);
		map->n_pieces++;
		piece->len = head;
	} else if (head > 0) {
		piece->len = head;
	} else if (tail > 0) {
		/* Keeps its place: nothing of this map lies between. */
		piece->dpa += len;
		piece->len = tail;
	} else {
		g_sequence_remove(g_sequence_iter_prev(place));
		map->n_pieces--;
	}
	if (map->n_pieces > 0)
		return 0;
	g_hash_table_remove(book->maps, &id);
	return 1;
}

bool mem_link_book_drop(MemLinkBook *book, uint64_t id)
{
	GSequenceIter *iter = find_place(book, id, 0);

	if (!mem_link_book_knows(book, id))
		return false;
	/* A piece at dpa 0 sorts before the place. */
	if (peek_before(iter) != NULL && peek_before(iter)->id == id)
		iter = g_sequence_iter_prev(iter);
	while (!g_sequence_iter_is_end(iter)) {
		GSequenceIter *next = g_sequence_iter_next(iter);

		if (((const Piece *)g_sequence_get(iter))->id != id)
			break;
		g_sequence_remove(iter);
		iter = next;
	}
	g_hash_table_remove(book->maps, &id);
	return true;
}

GArray *mem_link_book_list_unexposed(const MemLinkBook *book)
{
	GArray *ids = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	GHashTableIter iter;
	void *value;

	g_hash_table_iter_init(&iter, book->maps);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const Map *map = value;

		if (!map->exposed)
			g_array_append_val(ids, map->id);
	}
	return ids;
}
