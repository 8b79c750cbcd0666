/* SPDX-License-Identifier: BSD-3-Clause */
/* What the pool's own files share. */
#ifndef POOL_POOL_PRIV_H
#define POOL_POOL_PRIV_H

#include "link/mem_link_server.h"
#include "link/vfu_server.h"
#include "link/vfu_wire.h"
#include "pool/pool.h"

/* One process that holds, or has held, a device of ours. Its serial names it in the core. */
typedef struct PoolHost {
	Pool *pool;
	uint64_t serial;
	pid_t pid;
	uint64_t start_time; /* of the process, clock ticks since boot: pids are used again */
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
	uint64_t host; /* serial of the process at the vfio-user socket, 0 = none */
	bool had_link; /* in this session: without it the device is control-only */
	bool attached; /* the core has been told of a host */
	uint8_t session[16];
	bool has_session;
};

void pool_update_timer(Pool *pool);

/* The process PID, made known to the pool; NULL if it has ended already. */
PoolHost *pool_host_get(Pool *pool, pid_t pid, uid_t uid);
/* The same if it is known already; else NULL. */
PoolHost *pool_host_find(Pool *pool, pid_t pid);
void pool_host_free(PoolHost *host);

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

#endif
