/* SPDX-License-Identifier: BSD-3-Clause */
/* Backend: a named host memory object of the pool, with an optional tag and a state per byte. */
#ifndef CAPACITY_BACKEND_H
#define CAPACITY_BACKEND_H

#include "capacity/mem_file.h"
#include "util/uuid.h"

typedef struct Backend Backend;

typedef enum OnRelease {
	ON_RELEASE_DEFAULT, /* wipe for memfd and hugetlb, keep for file, devdax and read-only */
	ON_RELEASE_WIPE,
	ON_RELEASE_KEEP,
} OnRelease;

typedef struct BackendConfig {
	const char *name;
	BackendType type;
	uint64_t size;      /* bytes, a multiple of the page size; 0 = whole file or device */
	uint64_t page_size; /* hugetlb only */
	const char *path;   /* file, devdax */
	Uuid tag;           /* all zero = none */
	bool share;         /* QEMU's word: MAP_SHARED; accepted, no effect on exclusiveness */
	bool shareable;     /* several hosts may hold it at once */
	bool read_only;
	bool prealloc;
	OnRelease on_release;
} BackendConfig;

/*
 * Bytes by state. In a device's counters these are DPA bytes of its DC regions; in a backend's and
 * the pool's they are bytes of memory, shared ones counted once.
 * total == free + reserved + accepted + draining + quarantined, always.
 */
typedef struct CapacityCounters {
	uint64_t total;
	uint64_t free;
	uint64_t reserved;
	uint64_t accepted;
	uint64_t draining;
	uint64_t quarantined;
} CapacityCounters;

/* May block (opens and sizes files). The backend is in no pool yet. Errors name option, value,
 * limit. */
Backend *backend_new(const BackendConfig *config, GError **error);
void backend_free(Backend *backend); /* must be in no pool and unused */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Backend, backend_free)

const char *backend_name(const Backend *backend);
const Uuid *backend_tag(const Backend *backend);
uint64_t backend_size(const Backend *backend);
BackendType backend_type(const Backend *backend);
bool backend_is_shareable(const Backend *backend);
bool backend_is_read_only(const Backend *backend);
bool backend_wipes_on_release(const Backend *backend);
/* Changes whenever the contents begin anew; never 0. */
uint64_t backend_incarnation(const Backend *backend);
/* False from before its first exposure until its wipe (or fresh file) is done. */
bool backend_is_clean(const Backend *backend);
void backend_counters(const Backend *backend, CapacityCounters *ret);
/* The current file, borrowed. */
MemFile *backend_peek_file(const Backend *backend);

#endif
