/* SPDX-License-Identifier: BSD-3-Clause */
/* Creates, checks, reads, writes and zeroes the files that back memory. */

/*
 * Design. A host may do whatever its descriptor allows, so what it must not do is made impossible
 * by the descriptor: RAM files are sealed before anybody sees them, read-only ones also against
 * future writing; the pool then writes them through a mapping made before. Hosts get an open file
 * of their own, never a duplicate of the pool's: flags such as O_APPEND belong to the open file.
 *
 * The pool never touches a mapping of a file with its own loads and stores: a host that punches
 * holes into its huge pages could make them fault. It lets the kernel copy, for which a fault is an
 * error code.
 */

#include "capacity/mem_file.h"
#include "capacity/mem_file_open.h"
#include "capacity/readonly_fd.h"
#include "util/autofd.h"
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* How much is mapped, populated or zeroed at a time; a multiple of any huge page below 1 GiB */
#define CHUNK_LEN (UINT64_C(64) << 20)

struct MemFile {
	gatomicrefcount refs;
	BackendType type;
	bool read_only;
	bool has_write; /* the file system implements write(2): not hugetlbfs, not devdax */
	bool has_read;
	int fd;
	int read_only_fd; /* of a file: nobody can make it writable; -EBADF = not made yet */
	uint64_t len;
	uint64_t page_size;
	char *name;
	char *path;
	uint8_t *map; /* read-only RAM: writable, made before the seals; NULL once adopted */
};

static bool is_ram(BackendType type)
{
	return type == BACKEND_MEMFD || type == BACKEND_HUGETLB;
}

/* Takes the members of OPENED and the mapping. */
static MemFile *mem_file_wrap(const MemFileConfig *config, MemFileOpened *opened)
{
	MemFile *file = g_new0(MemFile, 1);

	g_atomic_ref_count_init(&file->refs);
	file->type = config->type;
	file->read_only = config->read_only;
	file->has_write = !opened->is_hugetlbfs && config->type != BACKEND_DEVDAX;
	file->has_read = config->type != BACKEND_DEVDAX;
	file->fd = fd_steal(&opened->fd);
	file->read_only_fd = -EBADF;
	file->len = opened->len;
	file->page_size = opened->page_size;
	file->name = g_strdup(config->name);
	file->path = g_steal_pointer(&opened->path);
	file->map = g_steal_pointer(&opened->map);
	/* May fork, which here is no harm. Should it fail, the first host's turn says why. */
	if (file->type == BACKEND_FILE && file->read_only)
		file->read_only_fd = readonly_fd_open(file->fd, file->path, NULL);
	return file;
}

MemFile *mem_file_new(const MemFileConfig *config, GError **error)
{
	g_auto(MemFileOpened) opened = { .fd = -EBADF };

	if (!mem_file_opened_new(config, &opened, error))
		return NULL;
	return mem_file_wrap(config, &opened);
}

MemFile *mem_file_new_like(const MemFile *template_file, GError **error)
{
	MemFileConfig config = {
		.name = template_file->name,
		.type = template_file->type,
		.len = template_file->len,
		.page_size = template_file->page_size,
		.read_only = template_file->read_only,
	};

	if (!is_ram(template_file->type)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
			    "%s: only memfd and hugetlb memory can be replaced by a fresh file",
			    template_file->path);
		return NULL;
	}
	return mem_file_new(&config, error);
}

MemFile *mem_file_adopt(const MemFileConfig *config, int fd, GError **error)
{
	g_auto(MemFileOpened) opened = { .fd = -EBADF };

	if (!mem_file_opened_adopt(config, fd, &opened, error))
		return NULL;
	return mem_file_wrap(config, &opened);
}

MemFile *mem_file_ref(MemFile *file)
{
	g_atomic_ref_count_inc(&file->refs);
	return file;
}

void mem_file_unref(MemFile *file)
{
	if (!g_atomic_ref_count_dec(&file->refs))
		return;
	if (file->map)
		munmap(file->map, file->len);
	fd_close_auto(&file->fd);
	fd_close_auto(&file->read_only_fd);
	g_free(file->name);
	g_free(file->path);
	g_free(file);
}

BackendType mem_file_type(const MemFile *file)
{
	return file->type;
}

uint64_t mem_file_len(const MemFile *file)
{
	return file->len;
}

uint64_t mem_file_page_size(const MemFile *file)
{
	return file->page_size;
}

bool mem_file_is_replaceable(const MemFile *file)
{
	return is_ram(file->type);
}

int mem_file_peek_fd(const MemFile *file)
{
	return file->fd;
}

static int reopen(const MemFile *file, int of, int flags)
{
	char link[40];
	int fd;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", of);
	fd = open(link, flags | O_CLOEXEC | O_NOCTTY);
	/* A former host under our own uid may have taken the mode bits away. */
	if (fd < 0 && errno == EACCES && is_ram(file->type) && fchmod(file->fd, 0600) == 0)
		fd = open(link, flags | O_CLOEXEC | O_NOCTTY);
	return fd;
}

int mem_file_open_for_host(MemFile *file, bool writable, GError **error)
{
	const char *label = file->path ? file->path : file->name ? file->name : "memory";
	struct stat st;
	int fd, of = file->fd;

	if (writable && file->read_only) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_READ_ONLY,
			    "%s: read-only memory cannot be given to a host for writing", label);
		return -1;
	}
	if (file->type == BACKEND_FILE &&
	    (fstat(file->fd, &st) != 0 || st.st_size < 0 || (uint64_t)st.st_size < file->len)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
			    "%s: has become shorter than the %" PRIu64 " bytes of its backend",
			    label, file->len);
		return -1;
	}
	if (!writable && file->type == BACKEND_FILE) {
		if (file->read_only_fd < 0)
			file->read_only_fd = readonly_fd_open(file->fd, file->path, error);
		if (file->read_only_fd < 0)
			return -1;
		/* Opened again through it, it is in the same read-only mount. */
		of = file->read_only_fd;
	} else if (!writable && !(is_ram(file->type) && file->read_only)) {
		/* Its seals must let others write, and no mount can be put around it. */
		g_set_error(
			error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
			"%s: writable memory of this type cannot be given to a host for reading "
			"only; make the whole backend read-only or use a file",
			label);
		return -1;
	}
	fd = reopen(file, of, writable ? O_RDWR : O_RDONLY);
	if (fd < 0)
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
			    "%s: cannot open it once more for a host: %s", label,
			    g_strerror(errno));
	return fd;
}

static int check_range(const MemFile *file, uint64_t offset, uint64_t len)
{
	return offset <= file->len && len <= file->len - offset ? 0 : -ERANGE;
}

int mem_file_populate(MemFile *file)
{
	if (file->type == BACKEND_DEVDAX || (file->type == BACKEND_FILE && file->read_only))
		return 0;
	for (uint64_t at = 0; at < file->len;) {
		uint64_t n = MIN(MAX(CHUNK_LEN, file->page_size), file->len - at);

		if (fallocate(file->fd, 0, (off_t)at, (off_t)n) == 0)
			at += n;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* Has the kernel copy N bytes at SRC to DST, both in this process: a fault is -EFAULT. */
static int copy_safely(void *dst, const void *src, size_t n, bool dst_is_file)
{
	uint8_t *d = dst;
	uint8_t *s = (uint8_t *)(uintptr_t)src;

	while (n > 0) {
		struct iovec ours = { .iov_base = dst_is_file ? s : d, .iov_len = n };
		struct iovec file = { .iov_base = dst_is_file ? d : s, .iov_len = n };
		ssize_t done = dst_is_file ? process_vm_writev(getpid(), &ours, 1, &file, 1, 0)
					   : process_vm_readv(getpid(), &ours, 1, &file, 1, 0);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0)
			return -EFAULT;
		d += done;
		s += done;
		n -= (size_t)done;
	}
	return 0;
}

/* Reads into TO, else writes from FROM, through a mapping of a chunk at a time. */
static int copy_mapped(const MemFile *file, uint64_t offset, uint8_t *to, const uint8_t *from,
		       uint64_t len)
{
	uint64_t window_len = MAX(CHUNK_LEN, file->page_size);
	int ret = 0;

	while (len > 0 && ret == 0) {
		uint64_t base = file->map ? 0 : offset / window_len * window_len;
		uint64_t map_len = file->map ? file->len : MIN(window_len, file->len - base);
		uint64_t n = MIN(len, base + map_len - offset);
		uint8_t *map = file->map;

		if (!map) {
			map = mmap(NULL, map_len, to ? PROT_READ : PROT_READ | PROT_WRITE,
				   MAP_SHARED, file->fd, (off_t)base);
			if (map == MAP_FAILED)
				return -errno;
		}
		if (to)
			ret = copy_safely(to, map + (offset - base), n, false);
		else
			ret = copy_safely(map + (offset - base), from, n, true);
		if (!file->map)
			munmap(map, map_len);
		offset += n;
		len -= n;
		to = to ? to + n : NULL;
		from = from ? from + n : NULL;
	}
	return ret;
}

int mem_file_read(MemFile *file, uint64_t offset, void *buf, size_t len)
{
	uint8_t *to = buf;

	if (check_range(file, offset, len) != 0)
		return -ERANGE;
	if (!file->has_read)
		return copy_mapped(file, offset, to, NULL, len);
	while (len > 0) {
		ssize_t n = pread(file->fd, to, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) /* 0: somebody cut the file */
			return n < 0 ? -errno : -EIO;
		to += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int mem_file_write(MemFile *file, uint64_t offset, const void *buf, size_t len)
{
	const uint8_t *from = buf;

	if (check_range(file, offset, len) != 0)
		return -ERANGE;
	if (file->read_only && !file->map)
		return -EROFS;
	if (file->map || !file->has_write)
		return copy_mapped(file, offset, NULL, from, len);
	while (len > 0) {
		ssize_t n = pwrite(file->fd, from, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		from += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* The next [start, end) within [OFFSET, LIMIT) that may hold data; false if there is none. */
static bool next_data(const MemFile *file, uint64_t offset, uint64_t limit, uint64_t *ret_start,
		      uint64_t *ret_end)
{
	off_t data = -1, hole = -1;

	if (file->type != BACKEND_DEVDAX) {
		data = lseek(file->fd, (off_t)offset, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return false;
	}
	*ret_start = data < 0 ? offset : (uint64_t)data;
	if (data >= 0)
		hole = lseek(file->fd, data, SEEK_HOLE);
	*ret_end = hole <= data ? limit : MIN((uint64_t)hole, limit);
	return *ret_start < limit;
}

/* Writes zeros over what may hold data; for files that cannot be punched. */
static int write_zeros(MemFile *file, uint64_t offset, uint64_t len)
{
	size_t zeros_len = 1 << 20;
	g_autofree uint8_t *zeros = g_try_malloc0(zeros_len);
	uint64_t limit = offset + len, end;

	if (!zeros)
		return -ENOMEM;
	while (next_data(file, offset, limit, &offset, &end)) {
		while (offset < end) {
			uint64_t n = MIN(end - offset, zeros_len);
			int ret = mem_file_write(file, offset, zeros, n);

			if (ret != 0)
				return ret;
			offset += n;
		}
	}
	return 0;
}

int mem_file_zero(MemFile *file, uint64_t offset, uint64_t len)
{
	struct stat st;
	int ret;

	if (check_range(file, offset, len) != 0)
		return -ERANGE;
	if (len == 0)
		return 0;
	if (file->read_only)
		return file->map ? write_zeros(file, offset, len) : -EROFS;
	if (file->type == BACKEND_DEVDAX)
		return write_zeros(file, offset, len);
	/* A host that may write a file may also cut it: it must not stay short for the next one. */
	if (file->type == BACKEND_FILE && fstat(file->fd, &st) == 0 &&
	    (uint64_t)st.st_size < file->len && ftruncate(file->fd, (off_t)file->len) != 0)
		return -errno;
	/* Frees whole pages and zeroes the parts of pages at both ends. */
	do {
		ret = fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
				(off_t)len);
	} while (ret != 0 && errno == EINTR);
	if (ret != 0 && errno != EOPNOTSUPP)
		return -errno;
	if (ret != 0 && (ret = write_zeros(file, offset, len)) != 0)
		return ret;
	return file->type == BACKEND_FILE && fdatasync(file->fd) != 0 ? -errno : 0;
}

uint64_t mem_file_allocated_len(const MemFile *file)
{
	struct stat st;

	if (file->type == BACKEND_DEVDAX)
		return file->len;
	return fstat(file->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}
