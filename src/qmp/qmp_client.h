/* SPDX-License-Identifier: BSD-3-Clause */
/* QMP client for programs that do one thing at a time: blocking, with deadlines. */
#pragma once

#include "qmp/qmp_error.h"
#include "qmp/qmp_json.h"

typedef struct QmpClient QmpClient;

/* What went wrong with the connection; refusals of commands are QMP_ERROR with their class. */
#define QMP_CLIENT_ERROR qmp_client_error_quark()
GQuark qmp_client_error_quark(void);
typedef enum QmpClientError {
	QMP_CLIENT_ERROR_UNREACHABLE, /* nobody there, or it does not want us */
	QMP_CLIENT_ERROR_LOST,        /* it was there */
	QMP_CLIENT_ERROR_PROTOCOL,    /* what it said is not QMP */
	QMP_CLIENT_ERROR_TIMED_OUT,
} QmpClientError;

/* In all calls: milliseconds this call may take; 0 = without end. */
#define QMP_CLIENT_TIMEOUT_MS 10000

/* Connects, reads the greeting and negotiates. The error names PATH and the cure. */
QmpClient *qmp_client_connect(const char *path, unsigned timeout_ms, GError **error);
/* The same on a connected socket, which it owns; NAME is for errors. */
QmpClient *qmp_client_new(int fd, const char *name, unsigned timeout_ms, GError **error);
void qmp_client_free(QmpClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpClient, qmp_client_free)

/* The greeting's "QMP" object. */
JsonObject *qmp_client_peek_greeting(QmpClient *client);

/*
 * Each event while a call waits for its answer: the whole object with "event", "data", "timestamp".
 * Without this function they are kept for qmp_client_next_event(); 65,536 at most, then the oldest
 * are dropped.
 */
typedef void QmpClientEventFunc(JsonObject *event, void *opaque);
void qmp_client_on_event(QmpClient *client, QmpClientEventFunc *func, void *opaque);

/*
 * Sends COMMAND and returns its result, or NULL: QMP_ERROR (refused) or QMP_CLIENT_ERROR. ARGS is
 * taken and may be NULL. After an error of the connection or a time-out the client is of no more
 * use but to be freed.
 */
JsonNode *qmp_client_call(QmpClient *client, const char *command, JsonObject *args,
			  unsigned timeout_ms, GError **error);
/* Sends a whole request ({"execute": ...}) as it is, returns the whole answer, also a refusal. */
JsonNode *qmp_client_call_raw(QmpClient *client, JsonNode *request, unsigned timeout_ms,
			      GError **error);

/* The next event, kept or arriving now; NULL: QMP_CLIENT_ERROR. */
JsonObject *qmp_client_next_event(QmpClient *client, unsigned timeout_ms, GError **error);
/* Events until MATCHES says true; that one is returned. NULL: QMP_CLIENT_ERROR. */
typedef bool QmpClientMatchFunc(JsonObject *event, void *opaque);
JsonObject *qmp_client_wait_event(QmpClient *client, QmpClientMatchFunc *matches, void *opaque,
				  unsigned timeout_ms, GError **error);
/* To wait for together with other descriptors: readable = call qmp_client_next_event(). */
int qmp_client_peek_fd(const QmpClient *client);
/* An event is kept already: do not wait for the descriptor. */
bool qmp_client_has_event(const QmpClient *client);
