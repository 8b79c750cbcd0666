/* SPDX-License-Identifier: BSD-3-Clause */
/* `softdcd host` as a process of its own, and a pool in the test that serves it by sockets. */
#ifndef TESTS_HOST_PROC_H
#define TESTS_HOST_PROC_H

#include "pool/pool.h"

#include <json-glib/json-glib.h>
#include <sys/types.h>

#define MIB   (UINT64_C(1) << 20)
#define BLOCK (2 * MIB)

#define RIG_MAX_DEVICES 4
#define PROC_WAIT_US    (60 * (gint64)G_USEC_PER_SEC) /* only a test that fails waits this long */

/* A directory with the sockets of devices dev0, dev1, ... and the pool behind them. */
typedef struct Rig {
	char *dir;
	Pool *pool; /* NULL: nobody listens */
	PoolDevice *devices[RIG_MAX_DEVICES];
	unsigned n_devices;
} Rig;

/* Devices with one DC region of 256 MiB in blocks of 2 MiB; offers are delivered at once. */
Rig *rig_new(unsigned n_devices);
void rig_free(Rig *rig);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Rig, rig_free)
/* The pool and all it knew are gone; its sockets stay and refuse. */
void rig_stop(Rig *rig);
/* Another pool in its place, which knows nothing. */
void rig_start(Rig *rig);
/* Closes the connections of a device, as its pool might; it listens on. */
void rig_hang_up(Rig *rig, unsigned device);

Uuid rig_tag(unsigned n);
char *rig_tag_text(unsigned n);
/* memfd with tag N, named "memN". */
void rig_backend(Rig *rig, unsigned tag, uint64_t len);
/* Offers all of tag N, contiguous. */
void rig_offer(Rig *rig, unsigned device, unsigned tag);
bool rig_try_offer(Rig *rig, unsigned device, unsigned tag);
void rig_ask_back(Rig *rig, unsigned device, unsigned tag, bool forced);
CapacityCounters rig_counters(Rig *rig, unsigned tag);
/* Until as many bytes of backend "memN" are in this state. */
void rig_wait_free(Rig *rig, unsigned tag, uint64_t len);
void rig_wait_accepted(Rig *rig, unsigned tag, uint64_t len);
void rig_backend_read(Rig *rig, unsigned tag, uint64_t offset, void *buf, size_t len);

/* ---- the host ---- */

typedef struct HostProc {
	pid_t pid;
	int out; /* its stdout */
	GString *text;
} HostProc;

/* softdcd host --json, with more arguments up to NULL. */
HostProc *host_proc_start(Rig *rig, const char *arg, ...) G_GNUC_NULL_TERMINATED;
/* Under another user id, 0 = our own. */
HostProc *host_proc_start_as(Rig *rig, uid_t uid, const char *const *args);
/* Kills it if it is still there. */
void host_proc_free(HostProc *proc);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostProc, host_proc_free)
/* The next event. The caller frees. */
JsonObject *host_proc_next(HostProc *proc);
/* It must be this one. */
JsonObject *host_proc_expect(HostProc *proc, const char *event);
void host_proc_pass(HostProc *proc, const char *event); /* and nobody wants to know more of it */
/* Nothing for so long. */
void host_proc_expect_silence(HostProc *proc, unsigned ms);
/* Waits for its end: the exit code, or minus the signal that ended it. */
int host_proc_wait(HostProc *proc);
int host_proc_end(HostProc *proc, int signal_number);

/* Member "maps" of an event, its I-th: path and offset mapped here, LEN bytes. */
uint8_t *host_proc_map(JsonObject *accepted, unsigned i, uint64_t *ret_len);
void assert_tag(JsonObject *event, unsigned tag);

#endif
