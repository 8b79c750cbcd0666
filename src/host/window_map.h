/* SPDX-License-Identifier: BSD-3-Clause */
/* A fixed memory window as a range of this process's address space. */
#ifndef HOST_WINDOW_MAP_H
#define HOST_WINDOW_MAP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Every byte of the window is mapped at all times: to backend memory where an alias stands, else
 * read-only to a file of all-ones. So a load anywhere is a plain load, and a store where nothing is
 * backed ends in SIGSEGV, as a process has no bus that could drop it; fabric_access() drops it.
 * Replacing a mapping is atomic for whoever reads it meanwhile.
 */
typedef struct WindowMap WindowMap;

/* LEN: bytes, multiple of 2 MiB. The base is aligned to 1 GiB, so that huge pages can match. */
WindowMap *window_map_new(uint64_t hpa, uint64_t len, GError **error);
void window_map_free(WindowMap *map);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WindowMap, window_map_free)

void *window_map_base(const WindowMap *map);
/* Bytes of memory the all-ones file takes. */
uint64_t window_map_ones_len(const WindowMap *map);
/* [HPA, HPA + LEN) lies in the window and is page aligned: 0 or -errno, unchanged on failure. */
int window_map_put(WindowMap *map, uint64_t hpa, uint64_t len, int fd, uint64_t offset,
		   bool writable);
/* Back to all-ones. When it returns nobody in this process reaches what was there. */
void window_map_clear(WindowMap *map, uint64_t hpa, uint64_t len);

#endif
