/* SPDX-License-Identifier: BSD-3-Clause */
/* What the pool's own files share. */
#ifndef POOL_POOL_PRIV_H
#define POOL_POOL_PRIV_H

#include "link/mem_link_server.h"
#include "link/vfu_server.h"
#include "link/vfu_wire.h"
#include "pool/pool.h"
#include "pool/pool_session.h"
#include "trace/trace_ring.h"

/* One process that holds, or has held, a device of ours. Its serial names it in the core. */
typedef struct PoolHost {
	Pool *pool;
	uint64_t serial;
	pid_t pid;
	uint64_t start_time; /* socket_peer_start_time(): pids are used again */
	uid_t uid;
	int pidfd;
	GSource *watch;
} PoolHost;

struct Pool {
	PoolConfig config;
	GThread *thread;
	GMainContext *context;
	GMainLoop *loop;
	Capacity *capacity;
	GSource *timer;
	GThreadPool *wipers;
	int n_wipes; /* on the workers; waited for at the end */
	GPtrArray *devices;
	GHashTable *hosts; /* serial -> PoolHost */
	uint64_t last_serial;
	Ledger *ledger;      /* NULL = none; answers on this thread */
	GQueue journal_reqs; /* of records that are with the ledger, in order */
	bool journal_fails;  /* as was told */
	bool stopped;        /* the thread has ended */
};

struct PoolDevice {
	Pool *pool;
	char *name;
	DcDevice *dc;
	Device *endpoint;
	VfuServer *vfu;
	MemLinkServer *link;
	MemFile *lsa;
	Backend *ram, *pmem;
	uint64_t host;        /* serial of the process at the vfio-user socket, 0 = none */
	bool had_link;        /* in this session: without it the device is control-only */
	bool attached;        /* the core has been told of a host */
	uint64_t waiting_req; /* of a commit that waits for static memory; 0 = none waits */
	HdmDecoder waiting;
	uint64_t missed_reads, missed_writes; /* as the host says: its, of this session */
	PoolSession session;
	TraceRing *trace; /* NULL = nobody looks */
};

void pool_update_timer(Pool *pool);

/* The process behind a socket, made known to the pool; NULL if it had ended already. */
PoolHost *pool_host_get(Pool *pool, const SocketPeer *peer);
/* The same if it is known already; else NULL. */
PoolHost *pool_host_find(Pool *pool, const SocketPeer *peer);
/* A known process by its serial; else NULL. */
PoolHost *pool_host_by_serial(Pool *pool, uint64_t serial);
/* The process of a ledger's row, watched again; NULL if it has ended. */
PoolHost *pool_host_restore(Pool *pool, const RowHost *row);
void pool_host_free(PoolHost *host);
/* Tells whoever wants to know that DEVICE's host has come or gone. */
void pool_tell_host(PoolDevice *device, bool connected);

/* A device comes in three steps: its name and core on the pool's thread, its files on any other
 * since that may block, then all the rest. It goes in two: remove on the pool's thread, free. */
PoolDevice *pool_device_new(Pool *pool, const PoolDeviceConfig *config, GError **error);
bool pool_device_open(PoolDevice *device, const PoolDeviceConfig *config, GError **error);
bool pool_device_start(PoolDevice *device, const PoolDeviceConfig *config, GError **error);
bool pool_device_remove(PoolDevice *device, GError **error);
/* Ends links and endpoint; nothing calls in or out any more. */
void pool_device_close(PoolDevice *device);
/* The core's part must have been removed, or the core freed. May block: memory is given back. */
void pool_device_free(PoolDevice *device);

/* The endpoint's trace and its decoder requests: over the link, or answered at once. REQ 0 is
 * nobody's. */
void pool_device_trace(void *device, const DeviceTrace *trace);
void pool_device_ask_decoder(void *device, uint64_t req, const HdmDecoder *decoder);
/* The link that a commit has waited for is gone. */
void pool_device_drop_waiting(PoolDevice *device);
extern const VfuServerOps pool_vfu_ops;
extern const MemLinkServerOps pool_link_ops;

#endif
