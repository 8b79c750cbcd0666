/* SPDX-License-Identifier: BSD-3-Clause */
/* One file of host memory: the thing whose descriptor is the capability to use it. */
#ifndef CAPACITY_MEM_FILE_H
#define CAPACITY_MEM_FILE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum BackendType {
	BACKEND_MEMFD,
	BACKEND_HUGETLB,
	BACKEND_FILE,
	BACKEND_DEVDAX,
} BackendType;

/*
 * Reference counted, so that a wipe running on another thread keeps it alive. A RAM file (memfd,
 * hugetlb) is sealed against shrinking, growing and further seals before anybody else sees it; a
 * read-only one also against any writing except through the pool's own mapping.
 * Nothing is allocated before first use unless mem_file_populate() is called.
 */
typedef struct MemFile MemFile;

/*
 * FILE: a regular file, no symbolic link. One that exists is used as it is and never grows; one
 * that does not exist is created (sparse, mode 0600) if LEN is given and it is to be writable.
 */
typedef struct MemFileConfig {
	const char *name; /* for /proc/PID/maps; RAM files only */
	BackendType type;
	uint64_t len;       /* bytes; 0 for file and devdax means "the whole of it" */
	uint64_t page_size; /* hugetlb: bytes, 0 = the system's default; ignored otherwise */
	const char *path;   /* file and devdax */
	bool read_only;
	/* Tests: directory with files "size" and "align" to take for a devdax's sysfs; path may
	 * then be any file. NULL = the real one. */
	const char *devdax_sysfs;
} MemFileConfig;

/* May block. Errors name the path or size and the rule broken. */
MemFile *mem_file_new(const MemFileConfig *config, GError **error);
/* A RAM file like TEMPLATE (same type, length, page size), zeroed, nothing shared with it. */
MemFile *mem_file_new_like(const MemFile *template_file, GError **error);
/* Adopts a descriptor kept elsewhere over a restart; checks type, length and seals. Owns FD on
 * success. An adopted read-only RAM file can no longer be written or zeroed (-EROFS). */
MemFile *mem_file_adopt(const MemFileConfig *config, int fd, GError **error);
MemFile *mem_file_ref(MemFile *file);
void mem_file_unref(MemFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MemFile, mem_file_unref)

BackendType mem_file_type(const MemFile *file);
uint64_t mem_file_len(const MemFile *file);
/* Alignment a host mapping of this file must keep, bytes (4096, huge page, devdax alignment). */
uint64_t mem_file_page_size(const MemFile *file);
/* True if a fresh file can take its place (RAM): then a wipe never reuses the old one. */
bool mem_file_is_replaceable(const MemFile *file);
/* Borrowed descriptor, writable as far as the file is. For handing on (keeper), not for hosts: a
 * host that holds the same open file could change its flags under the pool. */
int mem_file_peek_fd(const MemFile *file);
/*
 * A new close-on-exec descriptor to hand to a host; caller owns it. With WRITABLE false it can be
 * neither written nor mapped writable nor reopened for writing by its holder, root included. That
 * can be had for read-only RAM files (seals) and for files (a mount of its own), not for writable
 * RAM files and devdax: those are refused.
 */
int mem_file_open_for_host(MemFile *file, bool writable, GError **error);

/* These may block for long; any thread. 0 or -errno. Ranges are checked against the length. */
int mem_file_populate(MemFile *file);
/* Reads as zero after; memory is given back if it can be. */
int mem_file_zero(MemFile *file, uint64_t offset, uint64_t len);
int mem_file_read(MemFile *file, uint64_t offset, void *buf, size_t len);
int mem_file_write(MemFile *file, uint64_t offset, const void *buf, size_t len);
/* Bytes really allocated now. */
uint64_t mem_file_allocated_len(const MemFile *file);

#endif
