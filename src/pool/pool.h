/* SPDX-License-Identifier: BSD-3-Clause */
/* Pool: one thread that owns backends, devices and their links; the device side of everything. */
#ifndef POOL_POOL_H
#define POOL_POOL_H

/*
 * Design. The pool's thread runs one main loop and owns all state below; nothing in it is locked.
 * Other threads reach it through pool_call(), which runs a function there and waits for it. What
 * may block (wiping) runs on two worker threads and comes back as a message to the loop, so a
 * register access never waits for it.
 */

#include "capacity/capacity.h"
#include "device/device.h"

typedef struct Pool Pool;
typedef struct PoolDevice PoolDevice;

/* Called on the pool's thread for each state change; must not block. */
typedef void (*PoolNoticeFunc)(const CapacityNotice *notice, void *user_data);

typedef struct PoolConfig {
	unsigned faults;        /* CapacityFault bits, for tests of tests; 0 */
	unsigned wipe_delay_us; /* tests: each wipe takes this much longer; 0 = none */
	PoolNoticeFunc notice;
	void *notice_data;
} PoolConfig;

/* Starts the thread. */
Pool *pool_new(const PoolConfig *config);
/* Ends the thread: disconnects every host, removes devices and backends. */
void pool_free(Pool *pool);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pool, pool_free)

/* Runs FUNC on the pool's thread and returns when it has returned. Not from the pool's thread. */
typedef void (*PoolFunc)(Pool *pool, void *user_data);
void pool_call(Pool *pool, PoolFunc func, void *user_data);

/* ---- from any thread but the pool's ---- */
bool pool_add_backend(Pool *pool, const BackendConfig *config, GError **error);
bool pool_remove_backend(Pool *pool, const char *name, GError **error);

typedef struct PoolDeviceConfig {
	const char *name;
	uint64_t serial;
	uint64_t ram_len;      /* bytes of static volatile capacity, multiple of 256 MiB */
	uint64_t pmem_len;     /* bytes of static persistent capacity, multiple of 256 MiB */
	const char *pmem_path; /* its file; required with pmem_len */
	uint64_t lsa_len;      /* bytes of label storage; 0 = none */
	const char *lsa_path;  /* its file; NULL = lives as long as the device */
	const DcRegionConfig *regions;
	unsigned n_regions;
	uint32_t dc_log_depth; /* 0 = 4096 */
	uint32_t max_extents;  /* 0 = 65536 */
	uint32_t max_chain;    /* 0 = 100 */
	bool hold_off;         /* offers are delivered without waiting for a kernel to be ready */
} PoolDeviceConfig;

/* The device lives until pool_remove_device() or pool_free(). */
PoolDevice *pool_add_device(Pool *pool, const PoolDeviceConfig *config, GError **error);
bool pool_remove_device(Pool *pool, PoolDevice *device, GError **error);
/* Serves one connected vfio-user socket and one memory link socket; owns both. Either may be -1. */
bool pool_attach_host(Pool *pool, PoolDevice *device, int vfu_fd, int mem_fd, GError **error);

bool pool_offer(Pool *pool, PoolDevice *device, const OfferRequest *request, uint64_t *ret_offer,
		GError **error);
bool pool_release(Pool *pool, PoolDevice *device, const ReleaseRequest *request, uint64_t *ret_id,
		  GError **error);
void pool_device_counters(Pool *pool, PoolDevice *device, CapacityCounters *ret);
bool pool_backend_counters(Pool *pool, const char *name, CapacityCounters *ret,
			   uint64_t *ret_allocated_len);

/* ---- on the pool's thread ---- */
Capacity *pool_peek_capacity(Pool *pool);
DcDevice *pool_device_peek_dc(PoolDevice *device);
Device *pool_device_peek_endpoint(PoolDevice *device);

#endif
