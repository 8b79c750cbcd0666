/* SPDX-License-Identifier: BSD-3-Clause */
/* What a host holds of a device's memory, as told over the memory link; and is a file safe to map.
 */
#ifndef LINK_MEM_LINK_BOOK_H
#define LINK_MEM_LINK_BOOK_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Maps by id, and of each the pieces that have not been revoked. Everything is O(log n) and there
 * are never more than max_pieces pieces, whatever the device sends.
 */
typedef struct MemLinkBook MemLinkBook;

MemLinkBook *mem_link_book_new(uint32_t max_pieces);
void mem_link_book_free(MemLinkBook *book);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MemLinkBook, mem_link_book_free)

uint32_t mem_link_book_n_pieces(const MemLinkBook *book);
/* Room for N more pieces. */
bool mem_link_book_has_room(const MemLinkBook *book, uint32_t n);
bool mem_link_book_knows(const MemLinkBook *book, uint64_t id);
bool mem_link_book_is_exposed(const MemLinkBook *book, uint64_t id);
void mem_link_book_set_exposed(MemLinkBook *book, uint64_t id);
/* A new map, or another piece of a known one. 0, -EEXIST (overlaps what the map has), -ENOSPC. */
int mem_link_book_add(MemLinkBook *book, uint64_t id, uint64_t dpa, uint64_t len);
/*
 * Takes out a range that lies in one piece. 1 if the map is now empty and forgotten, 0 if not;
 * -ENOENT (no such map, or not held throughout), -ENOSPC (the rest would be one piece too many).
 */
int mem_link_book_revoke(MemLinkBook *book, uint64_t id, uint64_t dpa, uint64_t len);
/* False if there is no such map. */
bool mem_link_book_drop(MemLinkBook *book, uint64_t id);
/* Ids of the maps never exposed; the caller frees the array of uint64_t. */
GArray *mem_link_book_list_unexposed(const MemLinkBook *book);

/*
 * True if OFFSET..+LEN of FD can be mapped without a surprise: a file long enough, which, if it is
 * memory without a name (memfd), can never be shortened; or a DAX device. A named file can still
 * be cut short by whoever may write it: SIGBUS is then the device's doing.
 */
bool mem_link_fd_is_safe(int fd, uint64_t offset, uint64_t len);

#endif
