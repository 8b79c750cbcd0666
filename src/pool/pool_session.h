/* SPDX-License-Identifier: BSD-3-Clause */
/* The session a device's host has with it, and how it goes on after a restart of the daemon. */
#ifndef POOL_POOL_SESSION_H
#define POOL_POOL_SESSION_H

/*
 * Design. A session is one process's use of a device: from its vfio-user connection on, until that
 * ends. It also ends with the daemon, and then goes on with the next one: the process is known by
 * pid and start time, its memory link also by the session's name that it chose, and the registers
 * are as they were. What is needed for that is in the device's session file before the host can see
 * it: a register's new value is saved before any read of it is answered, and COMMITTED before it is
 * set for anybody. That costs one small write to memory. It is not in the ledger, since it is worth
 * nothing after a power cut (the process is then gone), and since a commit that waits for a disk
 * would not make the 15 ms that a decoder has.
 *
 * After a restart the device waits for its host for a while and lets nobody else in, unless that
 * process ends. Its two connections may come in either order. Until the memory link is there it
 * counts as lost: nothing is mapped, nothing is confirmed.
 */

#include "pool/session_file.h"

#include <stdint.h>

#define POOL_RESUME_TIMEOUT_MS 30000

struct Pool;
struct PoolDevice;
struct PoolHost;

typedef struct PoolSession {
	SessionFile *file; /* NULL = a restart ends every session */
	uint8_t name[16];  /* as the memory link's hello said */
	bool has_name;
	bool resumed;     /* the registers are those of before a restart */
	uint64_t awaited; /* serial of the host of before the restart, until it is back; 0 = none */
	GSource *timeout; /* of waiting for it */
	bool has_failed;  /* to be saved, which has been told */
} PoolSession;

/* May block. PATH NULL = no file. */
bool pool_session_open(struct PoolDevice *device, const char *path, GError **error);
void pool_session_close(struct PoolDevice *device);
/* The device goes for good. */
void pool_session_remove(struct PoolDevice *device);

/* Saves it as it is now; nothing happens while there is neither host nor one awaited. */
void pool_session_save(struct PoolDevice *device);
/* There is none any more. */
void pool_session_clear(struct PoolDevice *device);

/* After a restart, with core, endpoints and hosts in place: registers as they were, and the wait
 * for their hosts begins. */
void pool_sessions_resume(struct Pool *pool);
/* Its registers have a client again. */
void pool_session_awaited_is_back(struct PoolDevice *device);
/* The awaited host has not come, or has ended: registers as after reset, anyone may come. */
void pool_session_give_up(struct PoolDevice *device);
void pool_sessions_host_gone(struct Pool *pool, uint64_t serial);

#endif
