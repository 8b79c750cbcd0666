/* SPDX-License-Identifier: BSD-3-Clause */
/* guest-peek: memory by name. */
#include "peek.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SMALL_PAGE UINT64_C(4096)
#define HUGE_PAGE  (UINT64_C(2) << 20)

/* Reserves LEN bytes at a multiple of a huge page, so that huge pages can be used there. */
static uint8_t *reserve(uint64_t len)
{
	uint8_t *at = mmap(NULL, len + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		die("no room for %llu bytes: %s", (unsigned long long)len, strerror(errno));
	return at + (-(uintptr_t)at & (HUGE_PAGE - 1));
}

static uint8_t *map_file(const char *path, uint64_t offset, uint64_t len)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("cannot open %s: %s", path, strerror(errno));
	uint8_t *memory = mmap(reserve(len), len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			       fd, (off_t)offset);
	if (memory == MAP_FAILED)
		die("cannot map %llu bytes at %#llx of %s: %s", (unsigned long long)len,
		    (unsigned long long)offset, path, strerror(errno));
	close(fd);
	return memory;
}

/* ---- PAGEMAP_SCAN, which Linux has from 6.7 on ---- */

#define PAGE_IS_HUGE (UINT64_C(1) << 6) /* mapped by one entry of a page directory */

typedef struct ScanRegion {
	uint64_t start, end, categories;
} ScanRegion;
static_assert(sizeof(ScanRegion) == 24, "struct page_region");

typedef struct ScanArg {
	uint64_t size, flags, start, end;
	uint64_t walk_end; /* where it came to */
	uint64_t vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
} ScanArg;
static_assert(sizeof(ScanArg) == 96, "struct pm_scan_arg");

#define PAGEMAP_SCAN_IOCTL _IOWR('f', 16, ScanArg)

uint64_t source_page_len(const Source *source)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t start = (uintptr_t)source->memory, huge = 0;
	ScanRegion regions[64];
	ScanArg arg = {
		.size = sizeof(arg),
		.end = start + source->len,
		.walk_end = start,
		.vec = (uintptr_t)regions,
		.vec_len = sizeof(regions) / sizeof(regions[0]),
		.category_mask = PAGE_IS_HUGE,
		.return_mask = PAGE_IS_HUGE,
	};
	int n = fd < 0 ? -1 : 0;

	while (n >= 0 && arg.walk_end < arg.end) {
		arg.start = arg.walk_end;
		n = ioctl(fd, PAGEMAP_SCAN_IOCTL, &arg);
		for (int i = 0; i < n; i++)
			huge += regions[i].end - regions[i].start;
	}
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return 0;
	return huge == source->len ? HUGE_PAGE : huge == 0 ? SMALL_PAGE : 0;
}

/* ---- mappings ---- */

/* Fresh memory; NODE < 0: of any node. */
static uint8_t *map_anonymous(uint64_t len, int node, uint64_t page_len)
{
	uint8_t *memory = mmap(reserve(len), len, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	unsigned long mask = node < 0 ? 0 : 1UL << node;

	if (memory == MAP_FAILED)
		die("cannot map %llu bytes: %s", (unsigned long long)len, strerror(errno));
	if (node >= 0 && syscall(SYS_mbind, memory, len, MPOL_BIND, &mask, sizeof(mask) * 8, 0))
		die("cannot bind memory to node %d: %s", node, strerror(errno));
	madvise(memory, len, page_len == SMALL_PAGE ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
	for (uint64_t at = 0; at < len; at += SMALL_PAGE)
		memory[at] = 1;
	return memory;
}

Source source_ordinary(uint64_t len, uint64_t page_len)
{
	return (Source){
		.name = "ordinary",
		.len = len,
		.memory = map_anonymous(len, -1, page_len),
	};
}

static uint64_t part(const char *text, const char *source)
{
	char *end;

	errno = 0;
	uint64_t value = strtoull(text, &end, 0);
	if (errno || end == text || *end)
		die("'%s' in '%s' is not a number", text, source);
	return value;
}

/* PATH, or PATH@OFFSET */
static uint8_t *map_named(char *where, uint64_t len, const char *source)
{
	char *at = strrchr(where, '@');
	uint64_t offset = at ? part(at + 1, source) : 0;

	if (at)
		*at = '\0';
	return map_file(where, offset, len);
}

/* KIND:WHERE:LEN */
Source source_map(const char *text)
{
	char *copy = strdup(text), *where = copy ? strchr(copy, ':') : NULL;
	char *length = where ? strrchr(where + 1, ':') : NULL;
	Source source = { .name = text };

	if (!length)
		die("'%s' is not KIND:WHERE:LEN", text);
	*where++ = '\0';
	*length++ = '\0';
	source.len = part(length, text);
	if (source.len == 0 || source.len % SMALL_PAGE)
		die("the length in '%s' is not a multiple of %llu", text,
		    (unsigned long long)SMALL_PAGE);

	if (!strcmp(copy, "mem")) {
		source.memory = map_file("/dev/mem", part(where, text), source.len);
	} else if (!strcmp(copy, "file")) {
		source.memory = map_named(where, source.len, text);
	} else if (!strcmp(copy, "dax")) {
		/* device_dax: never less than its alignment. */
		source.memory = map_named(where, (source.len + HUGE_PAGE - 1) & -HUGE_PAGE, text);
	} else if (!strcmp(copy, "node")) {
		source.memory = map_anonymous(source.len, (int)part(where, text), HUGE_PAGE);
	} else {
		die("no kind of memory '%s'", copy);
	}
	free(copy);
	return source;
}
