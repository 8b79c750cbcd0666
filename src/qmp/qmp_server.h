/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP server: clients on UNIX sockets, a table of commands, events to everyone. */
#pragma once

/*
 * Lives on one GMainContext; every call from its thread. Never blocks, never trusts a client.
 *
 * Each client's commands run one after the other and are answered in that order; one that completes
 * later holds up only its own client. Every command that arrived is carried out, whether or not the
 * client stays for the answer; one that half-closes (a script's end of input) gets its answers
 * first. What is not JSON, too long or nested too deeply is answered with an error, then the client
 * is closed.
 *
 * A client is not read from while it does not read: what waits for it is then one answer and the
 * events meanwhile. When more than the queue limit waits already, it is closed instead of being
 * given more.
 */
#include "qmp/qmp_args.h"
#include "qmp/qmp_error.h"

#include <gio/gio.h>
#include <sys/types.h>

typedef struct QmpServer QmpServer;
/* A command that has begun and must be answered once, at once or later. */
typedef struct QmpCall QmpCall;

typedef struct QmpPeer {
	pid_t pid; /* SO_PEERCRED */
	uid_t uid;
	gid_t gid;
	uint64_t client; /* tells connections apart; never used twice, never 0 */
	/* SO_PEERGROUPS: all others it is a member of. Only in admit(), else NULL. */
	const gid_t *groups;
	unsigned n_groups;
} QmpPeer;

/* ARGS were checked against the table and live as long as the call. */
typedef void QmpRun(QmpCall *call, JsonObject *args, void *opaque);

typedef struct QmpCommand {
	const char *name; /* NULL ends the table */
	const QmpArg *args;
	QmpRun *run;
} QmpCommand;

typedef struct QmpServerConfig {
	unsigned major, minor, micro; /* the version of QEMU whose commands these are */
	const char *package;          /* "softdcd 0.1.0" */
	unsigned max_clients;         /* 0 = 64 */
	size_t max_queue_len;         /* bytes; 0 = 8 MiB */
	const QmpJsonLimits *limits;  /* NULL = qmp_json_request_limits; must outlive the server */
	/*
	 * May PEER talk to us? False with an error that says who may: the peer gets it and is
	 * closed. NULL: everyone who could connect.
	 */
	bool (*admit)(const QmpPeer *peer, void *opaque, GError **error);
	/* A client that was admitted is gone. May be NULL. Not called by qmp_server_free(). */
	void (*gone)(const QmpPeer *peer, void *opaque);
	/* "quit" was answered; once. NULL: there is no such command. From the main loop. */
	void (*quit)(const QmpPeer *peer, void *opaque);
	void *opaque; /* of these three */
} QmpServerConfig;

/* Strings are copied. qmp_capabilities, query-commands, query-version and quit are there. */
QmpServer *qmp_server_new(GMainContext *context, const QmpServerConfig *config);
/* Closes everything. Calls that are open stay valid and must still be answered, to nobody. */
void qmp_server_free(QmpServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpServer, qmp_server_free)

/* The table must outlive the server; names must be new. */
void qmp_server_add_commands(QmpServer *server, const QmpCommand *table, void *opaque);
/* Serves connections of a listening socket; any number of these. Owns FD. */
void qmp_server_listen(QmpServer *server, int fd);
/* No more new clients; those that are there stay. */
void qmp_server_unlisten(QmpServer *server);
/*
 * Before the end: no new clients, and nothing that has not begun is run any more; what has begun is
 * still answered, events still go out.
 */
void qmp_server_stop(QmpServer *server);
/* Serves one connected stream socket. Owns FD. */
void qmp_server_adopt(QmpServer *server, int fd);
unsigned qmp_server_n_clients(const QmpServer *server);

/* To every client that has negotiated. Takes DATA (an object), which may be NULL. */
void qmp_server_event(QmpServer *server, const char *name, JsonObject *data);
/* To one (QmpPeer.client). False if it is not there any more. */
bool qmp_server_event_to(QmpServer *server, uint64_t client, const char *name, JsonObject *data);
/* Bytes that wait for this client to read; what it has not taken is kept short by looking first. */
size_t qmp_server_backlog(const QmpServer *server, uint64_t client);
/* Sends what waits, for MS at most: before the end. This call blocks. */
void qmp_server_flush(QmpServer *server, unsigned ms);

/* ---- an open call ---- */
JsonObject *qmp_call_peek_args(QmpCall *call);
const char *qmp_call_peek_name(const QmpCall *call);
/* Whoever asked; also when it is gone. */
const QmpPeer *qmp_call_peek_peer(const QmpCall *call);
/* Nobody waits for the answer any more. */
bool qmp_call_is_orphan(const QmpCall *call);

/* Each of these ends the call. */
void qmp_call_return(QmpCall *call, JsonNode *result);   /* takes it; NULL = {} */
void qmp_call_return_text(QmpCall *call, GString *json); /* takes it: one JSON value (QmpText) */
void qmp_call_error(QmpCall *call, QmpErrorClass class, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
void qmp_call_fail(QmpCall *call, GError *error); /* takes it; qmp_error_class_of() */
