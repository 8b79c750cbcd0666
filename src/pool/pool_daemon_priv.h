/* SPDX-License-Identifier: BSD-3-Clause */
/* What the daemon's files share. All of it is the daemon's thread's. */
#ifndef POOL_POOL_DAEMON_PRIV_H
#define POOL_POOL_DAEMON_PRIV_H

#include "capacity/restore.h"
#include "keeper/keeper_client.h"
#include "ledger/ledger.h"
#include "pool/pool_daemon.h"
#include "pool/pool_fault.h"
#include "qmp/qmp_server.h"
#include "util/socket_dir.h"

/* A device and its sockets. */
typedef struct DaemonDevice {
	DeviceSpec *spec;
	PoolDevice *device;
	bool leaving; /* its removal is under way: there for nobody any more */
} DaemonDevice;

typedef struct DaemonBackend {
	BackendSpec *spec;
	bool contents_lost; /* over the last restart */
	bool leaving;
} DaemonBackend;

struct PoolDaemon {
	char *name, *config_path, *state_dir, *group;
	bool ephemeral;
	int64_t started_us; /* since 1970 */
	Pool *pool;
	GMainLoop *loop;
	SocketDir *sockets;
	Ledger *ledger;       /* NULL = ephemeral */
	KeeperClient *keeper; /* the ledger thread's from ledger_open() on; NULL = ephemeral */
	QmpServer *qmp;
	GHashTable *devices;  /* name -> DaemonDevice */
	GHashTable *backends; /* name -> DaemonBackend */
	GHashTable *traces;   /* name of a device -> DaemonTrace */
	GArray *inherited;    /* SdListenFd */
	GPtrArray *sources;   /* GSource: signals */
	const char *end_reason;
	unsigned n_tasks;      /* on GTask threads; waited for at the end */
	PoolFault *fault;      /* NULL = none */
	int keeper_is_lost;    /* atomic: it holds less than it should */
	unsigned keeper_watch; /* source: its end, or the next attempt; 0 = one is under way */
	int keeper_sock;       /* what is watched; -1 = none */
	pid_t keeper_pid;      /* 0 = not known */
	bool keeper_ends;      /* since we do: it is watched no more */
	GMutex lock;           /* of what other threads set: */
	char *ledger_trouble;
	bool applying, apply_again; /* a configuration */
};

/* ---- pool_objects.c: backends and devices, each change durable before DONE hears of it ---- */

/* For what is done on the daemon's thread at once. */
void daemon_put_backend(PoolDaemon *daemon, BackendSpec *spec);
DaemonDevice *daemon_put_device(PoolDaemon *daemon, DeviceSpec *spec, PoolDevice *device);
/* Owns SPEC and BACKEND on success. */
bool daemon_insert_backend(PoolDaemon *daemon, BackendSpec *spec, Backend *backend, GError **error);
Backend *daemon_take_backend(PoolDaemon *daemon, const char *name, GError **error);
/* Any thread; opens files. ROW: of a device to be restored, else NULL. */
PoolDevice *daemon_make_device(PoolDaemon *daemon, const DeviceSpec *spec, const RowDevice *row,
			       GError **error);
/* The inherited socket of this name, else a new one; -1. */
int daemon_listen(PoolDaemon *daemon, const char *name, int type, GError **error);
bool daemon_name_is_free(PoolDaemon *daemon, const char *name, GError **error);
bool daemon_serve_device(PoolDaemon *daemon, DaemonDevice *device, GError **error);
void daemon_unserve_device(PoolDaemon *daemon, const char *name);
/* No host is connected, or FORCE says that it does not matter. */
bool daemon_device_is_idle(PoolDaemon *daemon, DaemonDevice *device, bool force, GError **error);

/* ERROR NULL: done, and durable. On the daemon's thread, never from inside. */
typedef void (*ObjectDone)(PoolDaemon *daemon, GError *error, void *opaque);

/* Own SPEC. */
void daemon_add_backend(PoolDaemon *daemon, BackendSpec *spec, ObjectDone done, void *opaque);
void daemon_add_device(PoolDaemon *daemon, DeviceSpec *spec, ObjectDone done, void *opaque);
void daemon_remove_backend(PoolDaemon *daemon, const char *name, ObjectDone done, void *opaque);
/* FORCE: though a host is connected. */
void daemon_remove_device(PoolDaemon *daemon, const char *name, bool force, ObjectDone done,
			  void *opaque);
/* NULL with ERROR if there is none or it is about to go. */
DaemonDevice *daemon_find_device(PoolDaemon *daemon, const char *name, GError **error);
DaemonBackend *daemon_find_backend(PoolDaemon *daemon, const char *name, GError **error);
/* Sorted by name; caller frees the array only. */
GPtrArray *daemon_list_devices(PoolDaemon *daemon);
GPtrArray *daemon_list_backends(PoolDaemon *daemon);
void daemon_objects_init(PoolDaemon *daemon);
void daemon_objects_clear(PoolDaemon *daemon);

/* DONE when all the pool has done so far is durable. */
void daemon_when_durable(PoolDaemon *daemon, ObjectDone done, void *opaque);

/* ---- pool_events.c ---- */

/* Takes DATA. */
void daemon_event(PoolDaemon *daemon, const char *name, JsonObject *data);
void daemon_event_object(PoolDaemon *daemon, const char *name, const char *key, const char *value);
/* For PoolConfig: on the pool's thread. */
void daemon_take_notice(const CapacityNotice *notice, void *opaque);
void daemon_take_host_event(const PoolHostEvent *event, void *opaque);
void daemon_take_wipe(const WipeInfo *info, void *opaque);

/* ---- pool_durable.c ---- */
bool daemon_restore(PoolDaemon *daemon, GError **error);
void daemon_end_keeper(PoolDaemon *daemon);
/* On the pool's thread; WHY NULL: it is whole again. */
void daemon_journal_failed(const char *why, void *opaque);
/* The last one, NULL = none; caller frees. */
char *daemon_ledger_trouble(PoolDaemon *daemon);

/* ---- pool_keeper.c ---- */

/* Between daemon_restore() and the end: a keeper that dies is replaced. */
void daemon_watch_keeper(PoolDaemon *daemon);
/* Before ledger_close(). */
void daemon_unwatch_keeper(PoolDaemon *daemon);

/* ---- pool_apply.c ---- */
/* At the start: what is in the way of FILE stays and is told; what cannot be added is an error. */
bool daemon_apply_first(PoolDaemon *daemon, PoolFile *file, GError **error);
/* Reads the configuration file again and makes the pool as it says, wholly or not at all. */
void daemon_apply_again(PoolDaemon *daemon);

/* ---- qmp_endpoint.c ---- */
void qmp_text_endpoint(PoolDaemon *daemon, QmpText *text, PoolDevice *device);

/* ---- qmp_trace.c ---- */
typedef struct DaemonTrace DaemonTrace;
void daemon_trace_free(gpointer trace);
void daemon_trace_client_gone(PoolDaemon *daemon, uint64_t client);

/* ---- the commands ---- */
extern const QmpCommand qmp_object_commands[];
extern const QmpCommand qmp_capacity_commands[];
extern const QmpCommand qmp_query_commands[];
extern const QmpCommand qmp_extent_commands[];
extern const QmpCommand qmp_inject_commands[];
extern const QmpCommand qmp_audit_commands[];
extern const QmpCommand qmp_trace_commands[];

/* "dev0" or the last part of a QOM path; a device with dynamic capacity or not. */
DaemonDevice *qmp_find_path(PoolDaemon *daemon, JsonObject *args, GError **error);
/* The one named by argument NAME, or all; NULL with ERROR. Caller frees the array. */
GPtrArray *qmp_pick_devices(PoolDaemon *daemon, JsonObject *args, const char *name, GError **error);
/* False: ARGS has a tag that is none. Without one RET is untouched. */
bool qmp_read_tag(JsonObject *args, Uuid *ret, GError **error);

/* A command that changes something: answered and written to the audit with its result. */
typedef struct QmpAction {
	QmpCall *call;
	AuditWhat what;
	char *device, *backend;
	Uuid tag;
	uint64_t id, len;
	const char *result; /* ID's name in the answer; NULL = an empty one */
} QmpAction;
QmpAction *qmp_action_new(QmpCall *call, AuditWhat what, const char *device, const char *backend);
void qmp_action_done(PoolDaemon *daemon, GError *error, void *action); /* an ObjectDone */
/* At once; takes ERROR. */
void qmp_action_fail(PoolDaemon *daemon, QmpAction *action, GError *error);

void qmp_text_counters(QmpText *text, const char *name, const CapacityCounters *counters);
void qmp_text_tag(QmpText *text, const char *name, const Uuid *tag);

#endif
