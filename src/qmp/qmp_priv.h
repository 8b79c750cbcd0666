/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of the QMP server: the server, one client, one command. */
#pragma once

#include "qmp/qmp_server.h"

typedef struct QmpConn QmpConn;

struct QmpServer {
	GMainContext *context;
	QmpServerConfig config; /* package is ours; no zeros left */
	char *package;
	GHashTable *commands; /* name -> QmpEntry */
	GPtrArray *entries;   /* in the order they were added */
	GPtrArray *listeners;
	GQueue conns; /* links are in the connections; oldest first */
	uint64_t last_client;
	bool quitting;
	bool stopped;  /* nothing more is run */
	GSource *quit; /* between the answer and the hook */
};

typedef struct QmpEntry {
	const QmpCommand *command;
	void *opaque;
} QmpEntry;

struct QmpConn {
	GSource source; /* first: this is the source */
	QmpServer *server;
	GList link;
	QmpPeer peer;
	int64_t since_us; /* monotonic */
	int fd;
	gpointer tag; /* NULL once the peer has hung up: poll would say so for ever */
	bool negotiated;
	bool in_turn; /* inside conn_turn(): closing and sending wait for its end */
	bool eof;     /* nothing more comes, */
	bool drained; /* and of what came nothing is left to run */
	bool mute;    /* nobody takes what we would send */
	bool closing; /* nothing more is read or run; closed when all is sent */
	bool doomed;  /* closed as soon as possible */
	int64_t close_deadline_us;

	QmpFrame frame;
	GByteArray *rx;
	guint rx_start, rx_scanned; /* the value being framed begins at or behind start */
	guint rx_peak;

	GQueue tx; /* of GBytes */
	size_t tx_offset, tx_len;

	QmpCall *call; /* the one that is open */
};

struct QmpCall {
	QmpConn *conn; /* NULL = gone */
	QmpPeer peer;
	const QmpEntry *entry; /* NULL: refused before it was one */
	char *name;
	JsonNode *request; /* args and id live in it */
	JsonObject *args;
	JsonNode *id; /* NULL = none */
};

/* ---- qmp_conn.c ---- */
/* Begins to serve FD, which it owns from here. */
QmpConn *qmp_conn_new(QmpServer *server, int fd, const QmpPeer *peer);
/* Frees CONN, too. Not inside its turn. */
void qmp_conn_close(QmpConn *conn);
/* Appends one whole message and sends what the socket takes. Shares MESSAGE. */
void qmp_conn_send(QmpConn *conn, GBytes *message);
void qmp_conn_flush(QmpConn *conn);
/* Its call has been answered: the next one may run. */
void qmp_conn_go_on(QmpConn *conn);
/* Last words: MESSAGE, then it is closed. */
void qmp_conn_end(QmpConn *conn, GBytes *message);

/* ---- qmp_call.c ---- */
/* Runs the request that TEXT is. False: not JSON; an error is on its way, CONN is closing. */
bool qmp_call_run(QmpConn *conn, const char *text, size_t len);
/* {"error": ...} without an id. */
GBytes *qmp_call_error_message(QmpErrorClass class, const char *desc);

/* ---- qmp_server.c ---- */
