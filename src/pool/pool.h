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
#include "ledger/ledger.h"

typedef struct Pool Pool;
typedef struct PoolDevice PoolDevice;

/* Called on the pool's thread for each state change; must not block. */
typedef void (*PoolNoticeFunc)(const CapacityNotice *notice, void *user_data);

/* A host has connected to a device's registers (control-only, for now) or memory link, or has left
 * its registers. */
typedef struct PoolHostInfo {
	uint64_t serial;
	pid_t pid;
	uid_t uid;
	bool control_only; /* has no memory link */
} PoolHostInfo;

typedef struct PoolHostEvent {
	const char *device;
	bool connected;
	PoolHostInfo host;
} PoolHostEvent;

/* Places where a test may want to kill the daemon. */
typedef enum PoolStep {
	POOL_STEP_EXPOSED, /* an acceptance is mapped and recorded; the host has no answer yet */
	POOL_STEP_REVOKED, /* memory is out of the host's reach; its wipe has not begun */
	POOL_STEP_WIPING,  /* a wipe begins; on a wipe worker */
	POOL_STEP_WIPED,   /* it is done, which is recorded nowhere yet; on a wipe worker */
} PoolStep;

typedef struct PoolConfig {
	unsigned faults;        /* CapacityFault bits, for tests of tests; 0 */
	unsigned wipe_delay_us; /* tests: each wipe takes this much longer; 0 = none */
	PoolNoticeFunc notice;
	void *notice_data;
	/*
	 * The pool has a ledger: pool_set_ledger() and pool_restore() come before all else, and
	 * what hosts have accepted outlives pool_free().
	 */
	bool durable;
	/* Hosts must run under the pool's uid, or as root, whatever the modes of sockets allow. */
	bool own_uid_only;
	/* As NOTICE, on the pool's thread; may be NULL. */
	void (*host_event)(const PoolHostEvent *event, void *opaque);
	/* WHY NULL: it is whole again. */
	void (*journal_failed)(const char *why, void *opaque);
	void (*wiped)(const WipeInfo *info, void *opaque);
	void (*step)(PoolStep step, void *opaque); /* any thread */
	unsigned resume_timeout_ms; /* for a host to come back after a restart; 0 = 30 s */
	void *opaque;               /* of these */
} PoolConfig;

/* Starts the thread. */
Pool *pool_new(const PoolConfig *config);
/*
 * Ends the thread and disconnects every host; a durable pool leaves all to the next one, after
 * ledger_close() by whoever opened it; else devices and backends are removed.
 */
void pool_free(Pool *pool);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pool, pool_free)
/* The first half of pool_free(): the thread has ended, nothing is submitted any more. */
void pool_stop(Pool *pool);

/* ---- a durable pool's beginning, in this order, before anything else ---- */
/* Where answers of the ledger are to be given. */
GMainContext *pool_peek_context(Pool *pool);
void pool_set_ledger(Pool *pool, Ledger *ledger);

/* Makes the device of a row, by pool_add_device() with that row. */
typedef PoolDevice *(*PoolRestoreDevice)(const RowDevice *row, void *opaque, GError **error);
/*
 * ROWS: what the ledger holds, with adopted files. Blocks until all that is due has been done: what
 * former hosts may no longer use is wiped. On failure only pool_free() may follow.
 */
bool pool_restore(Pool *pool, RowRecord *rows, PoolRestoreDevice add, void *opaque, GError **error);

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
	/* What its CDAT says of its memory; 0 = 150 ns, 150 ns, 16000 MB/s */
	uint16_t read_latency_ns, write_latency_ns; /* at most 65534 */
	uint32_t bandwidth_mbps;
	bool hold_off;        /* offers are delivered without waiting for a kernel to be ready */
	const char *settings; /* the daemon's, kept with the device's row; NULL = none */
	/* What its present host goes on with after a restart is kept in this file. It belongs into
	 * the runtime directory: on a file system in memory. NULL = a restart ends the session. */
	const char *session_path;
	const RowDevice *row; /* from pool_restore(): the device is one that was; else NULL */
} PoolDeviceConfig;

/* The device lives until pool_remove_device() or pool_free(). */
PoolDevice *pool_add_device(Pool *pool, const PoolDeviceConfig *config, GError **error);
bool pool_remove_device(Pool *pool, PoolDevice *device, GError **error);
/* Serves hosts that connect to these listening sockets; owns both. */
void pool_listen(Pool *pool, PoolDevice *device, int vfu_fd, int mem_fd);

typedef struct PoolDeviceState {
	bool has_host;
	PoolHostInfo host;
	uint64_t missed_reads, missed_writes; /* in its window, as the host says */
	CapacityCounters bytes;
	uint32_t generation, extents, extents_supported, extents_available, offers, releases;
} PoolDeviceState;
void pool_device_state(Pool *pool, PoolDevice *device, PoolDeviceState *ret);

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
/* The host at the registers of the device with this core part; false without one. */
bool pool_host_of(Pool *pool, const DcDevice *dc, PoolHostInfo *ret);
Capacity *pool_peek_capacity(Pool *pool);
DcDevice *pool_device_peek_dc(PoolDevice *device);
Device *pool_device_peek_endpoint(PoolDevice *device);

#endif
