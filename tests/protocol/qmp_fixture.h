/* SPDX-License-Identifier: BSD-3-Clause */
/* A QMP server on a thread of its own, commands to test it with, and a client that sends bytes. */
#pragma once

#include "qmp/qmp_server.h"

typedef struct QmpFixture {
	char *dir, *path; /* of the listening socket */
	GMainContext *context;
	GMainLoop *loop;
	GThread *thread;
	QmpServer *server;
	GPtrArray *held; /* open calls of "hold"; on the server's thread */
	gint n_run;      /* "nothing", "hold" and "echo" that ran */
	gint n_gone;     /* clients */
	gint n_quit;
	gint refuses; /* admit() says no */
} QmpFixture;

/*
 * CONFIG may be NULL; its callbacks are ours. Commands: "nothing"; "echo" {value} returns value;
 * "hold" is answered by the next "let-go" of whomever; "fill" {len} returns a string of that many
 * bytes; "fail" {class} is refused with that class; "number" {value: u64} returns value.
 */
QmpFixture *qmp_fixture_new(const QmpServerConfig *config);
void qmp_fixture_free(QmpFixture *fixture);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpFixture, qmp_fixture_free)

/* Runs FUNC on the server's thread and waits for it. */
void qmp_fixture_call(QmpFixture *fixture, void (*func)(QmpFixture *, void *), void *data);
unsigned qmp_fixture_n_clients(QmpFixture *fixture);
void qmp_fixture_wait_clients(QmpFixture *fixture, unsigned n);
/* Waits until *COUNTER is at least N. */
void qmp_fixture_wait_count(gint *counter, gint n);
/* An event of NAME with {"n": N} to everyone. */
void qmp_fixture_event(QmpFixture *fixture, const char *name, int64_t n);

/* ---- a client ---- */

typedef struct RawQmp {
	int fd;
	GString *rx;
} RawQmp;

int raw_qmp_connect_path(const char *path); /* -errno */
RawQmp *raw_qmp_at(const char *path);       /* connected, nothing read */
RawQmp *raw_qmp_negotiated_at(const char *path);
RawQmp *raw_qmp_new(QmpFixture *fixture);
RawQmp *raw_qmp_negotiated(QmpFixture *fixture);
void raw_qmp_free(RawQmp *raw);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RawQmp, raw_qmp_free)
/* False: the peer has closed. */
bool raw_qmp_send_len(RawQmp *raw, const void *data, size_t len);
bool raw_qmp_send(RawQmp *raw, const char *text);
/* Takes the greeting, or fails the test. */
void raw_qmp_greeted(RawQmp *raw);
/* One line without its end; NULL: closed. Fails the test after a minute. */
char *raw_qmp_line(RawQmp *raw);
/* Fails the test if the next line is another one. */
void raw_qmp_expect(RawQmp *raw, const char *line);
void raw_qmp_expect_closed(RawQmp *raw);
/* The next line is an error of this class, with this in its desc. */
void raw_qmp_expect_error(RawQmp *raw, const char *class, const char *part);
JsonObject *raw_qmp_object(RawQmp *raw); /* the next line, parsed */
