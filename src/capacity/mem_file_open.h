/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to mem_file.c: the descriptor of a memory file, made or adopted, and what is known of it.
 */
#ifndef CAPACITY_MEM_FILE_OPEN_H
#define CAPACITY_MEM_FILE_OPEN_H

#include "capacity/mem_file.h"

typedef struct MemFileOpened {
	int fd;
	uint64_t len;
	uint64_t page_size;
	bool is_hugetlbfs; /* write(2) is not implemented there */
	char *path;        /* absolute; NULL for RAM */
	uint8_t *map;      /* of LEN bytes, or NULL */
} MemFileOpened;

void mem_file_opened_clear(MemFileOpened *opened);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MemFileOpened, mem_file_opened_clear)

/* RET->fd is negative at first. On failure what is in RET is the caller's to clear. */
bool mem_file_opened_new(const MemFileConfig *config, MemFileOpened *ret, GError **error);
/* FD stays the caller's on failure. */
bool mem_file_opened_adopt(const MemFileConfig *config, int fd, MemFileOpened *ret, GError **error);

#endif
