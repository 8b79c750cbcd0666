/* SPDX-License-Identifier: BSD-3-Clause */
/* The host's own mapping of what a device lends it, and the files behind the mappings. */

#include "fabric/fabric_priv.h"
#include <errno.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define HUGE_LEN (UINT64_C(2) << 20)

guint map_file_hash(gconstpointer key)
{
	const MapFile *file = key;

	return (guint)(file->ino * 2654435761u ^ file->dev << 1 ^ file->writable);
}

gboolean map_file_equal(gconstpointer a, gconstpointer b)
{
	const MapFile *x = a, *y = b;

	return x->dev == y->dev && x->ino == y->ino && x->writable == y->writable;
}

/* What the file can be mapped in units of; an error if CONFIG reaches beyond its end. */
static int examine(const FabricMap *config, struct stat *ret_st, uint64_t *ret_page_size)
{
	struct statfs fs;

	*ret_page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	if (fstat(config->fd, ret_st) != 0)
		return -errno;
	if (S_ISCHR(ret_st->st_mode)) { /* devdax: knows no size, maps in 2 MiB */
		*ret_page_size = HUGE_LEN;
		return 0;
	}
	if (!S_ISREG(ret_st->st_mode))
		return -EINVAL;
	if (fstatfs(config->fd, &fs) != 0)
		return -errno;
	if (fs.f_type == HUGETLBFS_MAGIC)
		*ret_page_size = (uint64_t)fs.f_bsize;
	return (uint64_t)ret_st->st_size >= config->offset + config->len ? 0 : -EINVAL;
}

/* Address space with room to choose from, then the file into the middle of it. */
static uint8_t *map_in_room(int fd, uint64_t start, uint64_t len, int prot, uint64_t align,
			    uint64_t skew)
{
	uint8_t *room = mmap(NULL, len + align, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *base;

	if (room == MAP_FAILED)
		return MAP_FAILED;
	base = room + (skew + align - (uintptr_t)room % align) % align;
	if (mmap(base, len, prot, MAP_SHARED | MAP_FIXED, fd, (off_t)start) == MAP_FAILED) {
		int saved_errno = errno;

		munmap(room, len + align);
		errno = saved_errno;
		return MAP_FAILED;
	}
	if (base > room)
		munmap(room, (size_t)(base - room));
	munmap(base + len, (size_t)(room + align - base));
	return base;
}

/*
 * The hypervisor uses 2 MiB pages only where guest and host address are equal modulo 2 MiB, and HPA
 * and DPA are (unless interleaved). Below the last mapping there is mostly room, and asking for
 * that is one call instead of four.
 */
static int map_aligned(FabricEndpoint *ep, const FabricMap *config, uint64_t page_size, Map *map)
{
	int prot = PROT_READ | (config->writable ? PROT_WRITE : 0);
	uint64_t align = MAX(HUGE_LEN, page_size);
	uint64_t start = config->offset / page_size * page_size;
	uint64_t lead = config->offset - start;
	uint64_t len = (lead + config->len + page_size - 1) / page_size * page_size;
	uint64_t skew = (config->dpa - lead) % align;
	uint8_t *base = MAP_FAILED;

	if (len > (UINT64_C(1) << 46))
		return -ENOMEM;
	if (skew % page_size != 0)
		skew = 0;
	if (ep->lowest > len + align) {
		uintptr_t hint = ep->lowest - len;

		hint -= (hint - skew) % align;
		base = mmap((void *)hint, len, prot, MAP_SHARED, config->fd, (off_t)start);
		if (base != MAP_FAILED && (uintptr_t)base % align != skew) {
			munmap(base, len);
			base = MAP_FAILED;
		}
	}
	if (base == MAP_FAILED)
		base = map_in_room(config->fd, start, len, prot, align, skew);
	if (base == MAP_FAILED)
		return -errno;
	madvise(base, len, MADV_DONTDUMP);
	ep->lowest = (uintptr_t)base;
	map->mapping = base;
	map->mapping_len = len;
	map->hva = base + lead;
	return 0;
}

int map_open(FabricEndpoint *ep, const FabricMap *config, Map *map)
{
	struct stat st;
	MapFile key, *file;
	int ret;

	if (config->len == 0 || config->dpa + config->len < config->dpa ||
	    config->offset > INT64_MAX || config->len > INT64_MAX - config->offset)
		return -EINVAL;
	ret = examine(config, &st, &map->page_size);
	if (ret == 0)
		ret = map_aligned(ep, config, map->page_size, map);
	if (ret != 0)
		return ret;
	map->config = *config;
	key = (MapFile){ .dev = st.st_dev, .ino = st.st_ino, .writable = config->writable };
	file = g_hash_table_lookup(ep->files, &key);
	if (file) {
		close(config->fd);
	} else {
		file = g_new(MapFile, 1);
		*file = key;
		file->fd = config->fd;
		g_hash_table_add(ep->files, file);
	}
	file->refs++;
	map->file = file;
	return 0;
}

void map_forget(Map *map, uint64_t dpa, uint64_t len)
{
	uintptr_t page = map->page_size;
	uintptr_t start = (uintptr_t)map->hva + (uintptr_t)(dpa - map->config.dpa);
	uintptr_t end = (start + len) / page * page;

	start = (start + page - 1) / page * page;
	/*
	 * A hole instead of nothing keeps the addresses ours until map_close(). If the kernel has
	 * no room for one more mapping the pages stay in our tables, where nobody uses them.
	 */
	if (map->mapping && start < end)
		(void)!mmap((void *)start, end - start, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

void map_close(FabricEndpoint *ep, Map *map)
{
	if (map->mapping) {
		munmap(map->mapping, map->mapping_len);
		if (ep->lowest == (uintptr_t)map->mapping)
			ep->lowest += map->mapping_len;
	}
	map->mapping = NULL;
	if (map->file && --map->file->refs == 0) {
		close(map->file->fd);
		g_hash_table_remove(ep->files, map->file);
	}
	map->file = NULL;
}
