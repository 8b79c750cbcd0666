/* SPDX-License-Identifier: BSD-3-Clause */
/* A fixed memory window as a range of this process's address space. */
#include "host/window_map.h"
#include "util/autofd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

/*
 * Design. One file of all-ones, smaller than the window, is mapped again and again side by side.
 * Its length is a compromise: the kernel counts mappings (65530 a process by default) and takes
 * time for each that an alias replaces, while the file takes real memory.
 */
#define ONES_MIN_LEN  (UINT64_C(2) << 20)
#define ONES_MAX_LEN  (UINT64_C(32) << 20)
#define ONES_MAPPINGS 512u
#define BASE_ALIGN    (UINT64_C(1) << 30)

struct WindowMap {
	uint64_t hpa, len;
	uint8_t *reserved; /* what was reserved; BASE lies in it */
	uint64_t reserved_len;
	uint8_t *base;
	int ones_fd;
	uint64_t ones_len; /* power of two */
};

static int fill_ones(int fd, uint64_t len)
{
	uint8_t ones[64 * 1024];

	memset(ones, 0xff, sizeof(ones));
	for (uint64_t done = 0; done < len;) {
		ssize_t n = pwrite(fd, ones, sizeof(ones), (off_t)done);

		if (n < 0)
			return -errno;
		done += (uint64_t)n;
	}
	return 0;
}

static int make_ones(uint64_t len)
{
	AUTOFD int fd = memfd_create("all-ones", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (fd < 0)
		return -errno;
	rc = fill_ones(fd, len);
	if (rc)
		return rc;
	/* The whole window depends on it: nobody may change it, not even we. */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL))
		return -errno;
	return fd_steal(&fd);
}

/* Maps all-ones over [OFFSET, OFFSET + LEN) of the window; pieces keep to multiples of the file. */
static int map_ones(WindowMap *map, uint64_t offset, uint64_t len)
{
	uint64_t end = offset + len;

	while (offset < end) {
		uint64_t in_file = offset & (map->ones_len - 1);
		uint64_t piece = MIN(end - offset, map->ones_len - in_file);

		if (mmap(map->base + offset, piece, PROT_READ, MAP_SHARED | MAP_FIXED, map->ones_fd,
			 (off_t)in_file) == MAP_FAILED)
			return -errno;
		offset += piece;
	}
	return 0;
}

static bool reserve(WindowMap *map, GError **error)
{
	uint64_t len = map->len + BASE_ALIGN;
	void *reserved = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			      0);

	if (reserved == MAP_FAILED) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
			    "window of %" G_GUINT64_FORMAT " bytes: no address space: %s", map->len,
			    g_strerror(errno));
		return false;
	}
	map->reserved = reserved;
	map->reserved_len = len;
	map->base = (uint8_t *)(((uintptr_t)reserved + BASE_ALIGN - 1) & ~(BASE_ALIGN - 1));
	return true;
}

WindowMap *window_map_new(uint64_t hpa, uint64_t len, GError **error)
{
	g_autoptr(WindowMap) map = g_new0(WindowMap, 1);
	int rc;

	map->hpa = hpa;
	map->len = len;
	map->ones_fd = -EBADF;
	if (!len || len % ONES_MIN_LEN || len > G_MAXINT64 - BASE_ALIGN) {
		g_set_error(
			error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
			"window of %" G_GUINT64_FORMAT
			" bytes: the length must be a multiple of 2 MiB, not 0, and below 8 EiB",
			len);
		return NULL;
	}
	map->ones_len = ONES_MIN_LEN;
	while (map->ones_len < ONES_MAX_LEN && map->ones_len * ONES_MAPPINGS < len)
		map->ones_len *= 2;
	if (!reserve(map, error))
		return NULL;
	map->ones_fd = make_ones(map->ones_len);
	rc = map->ones_fd < 0 ? map->ones_fd : map_ones(map, 0, len);
	if (rc) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-rc),
			    "window of %" G_GUINT64_FORMAT " bytes: cannot map all-ones: %s", len,
			    g_strerror(-rc));
		return NULL;
	}
	return g_steal_pointer(&map);
}

void window_map_free(WindowMap *map)
{
	if (!map)
		return;
	if (map->reserved)
		munmap(map->reserved, map->reserved_len);
	fd_close_auto(&map->ones_fd);
	g_free(map);
}

void *window_map_base(const WindowMap *map)
{
	return map->base;
}

uint64_t window_map_ones_len(const WindowMap *map)
{
	return map->ones_len;
}

int window_map_put(WindowMap *map, uint64_t hpa, uint64_t len, int fd, uint64_t offset,
		   bool writable)
{
	int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
	uint8_t *at = map->base + (hpa - map->hpa);

	g_return_val_if_fail(hpa >= map->hpa && len <= map->len && hpa - map->hpa <= map->len - len,
			     -ERANGE);
	if (mmap(at, len, protection, MAP_SHARED | MAP_FIXED, fd, (off_t)offset) == MAP_FAILED) {
		int saved_errno = errno;

		/* A MAP_FIXED that failed may have unmapped the range already. */
		map_ones(map, hpa - map->hpa, len);
		return -saved_errno;
	}
	return 0;
}

void window_map_clear(WindowMap *map, uint64_t hpa, uint64_t len)
{
	uint64_t offset = hpa - map->hpa;

	g_return_if_fail(hpa >= map->hpa && len <= map->len && offset <= map->len - len);
	if (!map_ones(map, offset, len))
		return;
	/*
	 * Too many mappings to show all-ones. What must not happen is that the old memory stays
	 * reachable: one anonymous mapping without access takes its place, a load there faults.
	 */
	if (mmap(map->base + offset, len, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		g_error("cannot take away a mapping of %" G_GUINT64_FORMAT " bytes: %s", len,
			g_strerror(errno));
}
