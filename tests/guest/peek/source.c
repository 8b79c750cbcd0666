/* SPDX-License-Identifier: BSD-3-Clause */
/* guest-peek: memory by name. */
#include "peek.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* A figure in KiB from this process' smaps about the mapping that MEMORY is in. */
static uint64_t smaps(const uint8_t *memory, const char *key)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	unsigned long start, end;
	bool here = false;
	uint64_t kib = 0;
	char line[512];

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		unsigned long long value;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (uintptr_t)memory && (uintptr_t)memory < end;
		else if (here && !strncmp(line, key, strlen(key)) &&
			 sscanf(line + strlen(key), ": %llu", &value) == 1)
			kib = value;
	}
	fclose(file);
	return kib;
}

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

static uint64_t anonymous_page_len(const uint8_t *memory, uint64_t len)
{
	return smaps(memory, "AnonHugePages") * 1024 >= len ? HUGE_PAGE : SMALL_PAGE;
}

Source source_ordinary(uint64_t len, uint64_t page_len)
{
	Source source = { .name = "ordinary", .len = len };

	source.memory = map_anonymous(len, -1, page_len);
	source.page_len = anonymous_page_len(source.memory, len);
	return source;
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
	Source source = { .name = text, .page_len = SMALL_PAGE };

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
		source.page_len = HUGE_PAGE;
	} else if (!strcmp(copy, "node")) {
		source.memory = map_anonymous(source.len, (int)part(where, text), HUGE_PAGE);
		source.page_len = anonymous_page_len(source.memory, source.len);
	} else {
		die("no kind of memory '%s'", copy);
	}
	free(copy);
	return source;
}
