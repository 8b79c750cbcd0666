/* SPDX-License-Identifier: BSD-3-Clause */
/* Opens, sizes, seals and checks the descriptors behind MemFile. */

#include "capacity/mem_file_open.h"
#include "util/autofd.h"
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif

#define SEALS_RAM       (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define SEALS_READ_ONLY (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

static const char *type_name(BackendType type)
{
	switch (type) {
	case BACKEND_MEMFD:
		return "memfd";
	case BACKEND_HUGETLB:
		return "hugetlb";
	case BACKEND_FILE:
		return "file";
	case BACKEND_DEVDAX:
		return "devdax";
	}
	return "memory";
}

static uint64_t base_page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

void mem_file_opened_clear(MemFileOpened *opened)
{
	fd_close_auto(&opened->fd);
	if (opened->map)
		munmap(opened->map, opened->len);
	g_free(opened->path);
	opened->map = NULL;
	opened->path = NULL;
}

static bool set_error_errno(GError **error, int errnum, const char *what, const char *object)
{
	g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errnum), "%s: %s: %s", object, what,
		    g_strerror(errnum));
	return false;
}

static const char *config_label(const MemFileConfig *config)
{
	if (config->type == BACKEND_FILE || config->type == BACKEND_DEVDAX)
		return config->path;
	return config->name ? config->name : type_name(config->type);
}

/* LEN is neither 0 nor beyond what a file offset can say, and whole pages. */
static bool check_len(const MemFileConfig *config, uint64_t len, uint64_t page_size, GError **error)
{
	const char *label = config_label(config);

	if (len == 0) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "%s: size 0: a %s needs at least one page of %" PRIu64 " bytes", label,
			    type_name(config->type), page_size);
		return false;
	}
	if (len % page_size != 0) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "%s: size %" PRIu64 " is not a multiple of its page size of %" PRIu64
			    " bytes",
			    label, len, page_size);
		return false;
	}
	if (len > INT64_MAX) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "%s: size %" PRIu64 " is beyond the limit of 2^63-1 bytes", label, len);
		return false;
	}
	return true;
}

static uint64_t default_huge_page_size(void)
{
	g_autofree char *text = NULL;
	const char *line;

	if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL))
		return 0;
	line = strstr(text, "Hugepagesize:");
	return line ? g_ascii_strtoull(line + strlen("Hugepagesize:"), NULL, 10) * 1024 : 0;
}

static bool huge_page_size(const MemFileConfig *config, uint64_t *ret_size, GError **error)
{
	uint64_t size = config->page_size ? config->page_size : default_huge_page_size();
	char dir[80];

	snprintf(dir, sizeof(dir), "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB", size / 1024);
	if (size < 1024 || (size & (size - 1)) != 0 || access(dir, F_OK) != 0) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
			    "%s: no huge pages of %" PRIu64 " bytes here: see "
			    "/sys/kernel/mm/hugepages for the sizes this system has",
			    config_label(config), size);
		return false;
	}
	*ret_size = size;
	return true;
}

/* The writable mapping must be there before F_SEAL_FUTURE_WRITE: the seal spares it and no later.
 */
static bool seal_ram(const MemFileConfig *config, MemFileOpened *opened, GError **error)
{
	int seals = SEALS_RAM;

	if (config->read_only) {
		void *map = mmap(NULL, opened->len, PROT_READ | PROT_WRITE, MAP_SHARED, opened->fd,
				 0);

		if (map == MAP_FAILED)
			return set_error_errno(error, errno, "cannot map read-only memory",
					       config_label(config));
		opened->map = map;
		seals |= F_SEAL_FUTURE_WRITE;
	}
	if (fcntl(opened->fd, F_ADD_SEALS, seals) != 0)
		return set_error_errno(error, errno, "cannot seal memory", config_label(config));
	return true;
}

static bool open_ram(const MemFileConfig *config, MemFileOpened *ret, GError **error)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	char name[64];

	ret->page_size = base_page_size();
	ret->is_hugetlbfs = config->type == BACKEND_HUGETLB;
	if (ret->is_hugetlbfs) {
		if (!huge_page_size(config, &ret->page_size, error))
			return false;
		flags |= MFD_HUGETLB | (unsigned)__builtin_ctzll(ret->page_size) << MFD_HUGE_SHIFT;
	}
	if (!check_len(config, config->len, ret->page_size, error))
		return false;
	ret->len = config->len;
	g_strlcpy(name, config->name ? config->name : "softdcd", sizeof(name));
	ret->fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
	if (ret->fd < 0 && errno == EINVAL)
		ret->fd = memfd_create(name, flags);
	if (ret->fd < 0)
		return set_error_errno(error, errno, "cannot create memory", config_label(config));
	if (ftruncate(ret->fd, (off_t)ret->len) != 0) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
			    "%s: cannot make memory of %" PRIu64 " bytes: %s", config_label(config),
			    ret->len, g_strerror(errno));
		return false;
	}
	return seal_ram(config, ret, error);
}

static bool check_file(const MemFileConfig *config, MemFileOpened *ret, GError **error)
{
	struct statfs fs;
	struct stat st;

	if (fstat(ret->fd, &st) != 0 || fstatfs(ret->fd, &fs) != 0)
		return set_error_errno(error, errno, "cannot examine", config->path);
	if (!S_ISREG(st.st_mode)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_REGULAR_FILE,
			    "%s: not a regular file: a file backend cannot use it", config->path);
		return false;
	}
	ret->is_hugetlbfs = fs.f_type == HUGETLBFS_MAGIC;
	ret->page_size = ret->is_hugetlbfs ? (uint64_t)fs.f_bsize : base_page_size();
	ret->len = config->len ? config->len : (uint64_t)st.st_size;
	if ((uint64_t)st.st_size < ret->len) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "%s: the file has %" PRIu64 " bytes, fewer than the %" PRIu64
			    " asked for; an existing file is never grown: truncate(1) does that",
			    config->path, (uint64_t)st.st_size, ret->len);
		return false;
	}
	return check_len(config, ret->len, ret->page_size, error);
}

static bool open_file(const MemFileConfig *config, MemFileOpened *ret, GError **error)
{
	/* O_NONBLOCK: a FIFO must not hang us; O_NOFOLLOW: what is named is what is lent. */
	int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	int access_mode = config->read_only ? O_RDONLY : O_RDWR;
	bool created = false;

	ret->fd = open(config->path, flags | access_mode);
	if (ret->fd < 0 && errno == ENOENT && config->len > 0 && !config->read_only) {
		if (!check_len(config, config->len, base_page_size(), error))
			return false;
		ret->fd = open(config->path, flags | access_mode | O_CREAT | O_EXCL, 0600);
		created = ret->fd >= 0;
	}
	if (ret->fd < 0 && errno == ELOOP) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "%s: a symbolic link: name the file itself", config->path);
		return false;
	}
	if (ret->fd < 0)
		return set_error_errno(error, errno, "cannot open", config->path);
	if ((created && ftruncate(ret->fd, (off_t)config->len) != 0)) {
		set_error_errno(error, errno, "cannot make the new file as long as asked",
				config->path);
		unlink(config->path);
		return false;
	}
	ret->path = realpath(config->path, NULL);
	if (!ret->path)
		return set_error_errno(error, errno, "cannot resolve", config->path);
	if (check_file(config, ret, error))
		return true;
	if (created)
		unlink(config->path);
	return false;
}

static bool read_u64_attr(const char *dir, const char *attr, uint64_t *ret, GError **error)
{
	g_autofree char *path = g_build_filename(dir, attr, NULL);
	g_autofree char *text = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL) ||
	    !g_ascii_string_to_unsigned(g_strstrip(text), 10, 0, UINT64_MAX, ret, NULL)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s: not a number", path);
		return false;
	}
	return true;
}

/* Sysfs directory of the devdax FD is open on, NULL if it is none. */
static char *devdax_sysfs_dir(int fd)
{
	g_autofree char *dir = NULL, *link = NULL, *subsystem = NULL;
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISCHR(st.st_mode))
		return NULL;
	dir = g_strdup_printf("/sys/dev/char/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	link = g_build_filename(dir, "subsystem", NULL);
	subsystem = g_file_read_link(link, NULL);
	if (!subsystem || !g_str_has_suffix(subsystem, "/dax"))
		return NULL;
	return g_steal_pointer(&dir);
}

static bool check_devdax(const MemFileConfig *config, MemFileOpened *ret, GError **error)
{
	g_autofree char *dir = config->devdax_sysfs ? g_strdup(config->devdax_sysfs)
						    : devdax_sysfs_dir(ret->fd);
	uint64_t size, align;

	if (!dir) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "%s: not a devdax character device (/dev/daxX.Y)", config->path);
		return false;
	}
	if (!read_u64_attr(dir, "size", &size, error) ||
	    !read_u64_attr(dir, "align", &align, error))
		return false;
	if (align < base_page_size() || (align & (align - 1)) != 0) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
			    "%s: alignment %" PRIu64 " is not a power of two of at least a page",
			    config->path, align);
		return false;
	}
	ret->page_size = align;
	ret->len = config->len ? config->len : size;
	if (ret->len > size) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "%s: the device has %" PRIu64 " bytes, fewer than the %" PRIu64
			    " asked for",
			    config->path, size, ret->len);
		return false;
	}
	return check_len(config, ret->len, align, error);
}

static bool open_devdax(const MemFileConfig *config, MemFileOpened *ret, GError **error)
{
	ret->fd = open(config->path, (config->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC |
					     O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (ret->fd < 0)
		return set_error_errno(error, errno, "cannot open", config->path);
	ret->path = g_strdup(config->path);
	return check_devdax(config, ret, error);
}

bool mem_file_opened_new(const MemFileConfig *config, MemFileOpened *ret, GError **error)
{
	if ((config->type == BACKEND_FILE || config->type == BACKEND_DEVDAX) && !config->path) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "a %s needs a path",
			    type_name(config->type));
		return false;
	}
	switch (config->type) {
	case BACKEND_MEMFD:
	case BACKEND_HUGETLB:
		return open_ram(config, ret, error);
	case BACKEND_FILE:
		return open_file(config, ret, error);
	case BACKEND_DEVDAX:
		return open_devdax(config, ret, error);
	}
	g_assert_not_reached();
}

static bool refuse_adoption(const MemFileConfig *config, const char *why, GError **error)
{
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s: cannot adopt descriptor: %s",
		    config_label(config), why);
	return false;
}

static bool adopt_ram(const MemFileConfig *config, int fd, MemFileOpened *ret, GError **error)
{
	int seals = fcntl(fd, F_GET_SEALS);
	uint64_t page_size = base_page_size();
	struct statfs fs;
	struct stat st;

	ret->is_hugetlbfs = config->type == BACKEND_HUGETLB;
	if (fstat(fd, &st) != 0 || fstatfs(fd, &fs) != 0 || !S_ISREG(st.st_mode) || seals < 0 ||
	    fs.f_type != (ret->is_hugetlbfs ? HUGETLBFS_MAGIC : TMPFS_MAGIC))
		return refuse_adoption(config, "not memory of this type", error);
	if (ret->is_hugetlbfs && !huge_page_size(config, &page_size, error))
		return false;
	if (ret->is_hugetlbfs && (uint64_t)fs.f_bsize != page_size)
		return refuse_adoption(config, "its huge pages are of another size", error);
	if ((seals & SEALS_RAM) != SEALS_RAM)
		return refuse_adoption(config, "not sealed against shrinking, growing and seals",
				       error);
	if (((seals & SEALS_READ_ONLY) != 0) != config->read_only)
		return refuse_adoption(config,
				       config->read_only ? "not sealed against writing"
							 : "sealed against writing",
				       error);
	if (config->len != 0 && (uint64_t)st.st_size != config->len) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
			    "%s: cannot adopt descriptor: %" PRIu64 " bytes long, not %" PRIu64,
			    config_label(config), (uint64_t)st.st_size, config->len);
		return false;
	}
	ret->page_size = page_size;
	ret->len = (uint64_t)st.st_size;
	return check_len(config, ret->len, page_size, error);
}

static bool adopt_flags(const MemFileConfig *config, int fd, GError **error)
{
	int flags = fcntl(fd, F_GETFL);
	bool can_write = (flags & O_ACCMODE) == O_RDWR;

	if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY)
		return refuse_adoption(config, "not open for reading", error);
	if (!config->read_only && !can_write)
		return refuse_adoption(config, "not open for writing", error);
	/* O_APPEND would send pwrite() to the end of the file. */
	if (fcntl(fd, F_SETFL, 0) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return set_error_errno(error, errno, "cannot adopt descriptor",
				       config_label(config));
	return true;
}

bool mem_file_opened_adopt(const MemFileConfig *config, int fd, MemFileOpened *ret, GError **error)
{
	bool is_ram = config->type == BACKEND_MEMFD || config->type == BACKEND_HUGETLB;
	bool ok;

	if (!is_ram && !config->path)
		return refuse_adoption(config, "its path is not given", error);
	if (!adopt_flags(config, fd, error))
		return false;
	if (is_ram) {
		ok = adopt_ram(config, fd, ret, error);
	} else {
		ret->path = realpath(config->path, NULL);
		if (!ret->path)
			return set_error_errno(error, errno, "cannot resolve", config->path);
		ret->fd = fd;
		ok = config->type == BACKEND_FILE ? check_file(config, ret, error)
						  : check_devdax(config, ret, error);
	}
	ret->fd = ok ? fd : -EBADF;
	return ok;
}
