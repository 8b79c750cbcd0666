/* SPDX-License-Identifier: BSD-3-Clause */
/* `softdcd serve` and `softdcd host` as processes of their own, in directories of a test's own. */
#ifndef TESTS_SERVE_FIXTURE_H
#define TESTS_SERVE_FIXTURE_H

#include "qmp/qmp_client.h"

#include <sys/types.h>

#define MIB     (UINT64_C(1) << 20)
#define GIB     (UINT64_C(1) << 30)
#define BLOCK   (2 * MIB)
#define TAG_A   "5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee"
#define TAG_B   "5be1f00d-2a6b-4f43-9c1e-0d5f3ac0beef"
#define WAIT_US (60 * (gint64)G_USEC_PER_SEC) /* only a test that fails waits this long */
#define WAIT_MS 60000

typedef struct Serve {
	char *dir;                      /* all is below */
	char *runtime, *state, *config; /* of pool "test": directories; the file's path */
	char *log;                      /* the daemon's stderr, one file for all its lives */
	pid_t pid;                      /* 0 = none runs */
	QmpClient *qmp;
} Serve;

Serve *serve_new(void);
/* Ends what runs, the keeper too, and removes everything. */
void serve_free(Serve *serve);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Serve, serve_free)

void serve_write_config(Serve *serve, const char *text);
/* Starts the daemon, with --config if that was written, and more arguments up to NULL; returns when
 * it answers. */
void serve_start(Serve *serve, ...) G_GNUC_NULL_TERMINATED;
/* The same, of one that must not start: its exit code; what it said is at the end of the log. */
int serve_fails(Serve *serve, ...) G_GNUC_NULL_TERMINATED;
/* Starts it and does not wait for anything. */
void serve_spawn(Serve *serve, const char *const *args);
/* Connects; false: it has ended before. */
bool serve_connect(Serve *serve);
int serve_stop(Serve *serve); /* SIGTERM; the exit code */
void serve_kill(Serve *serve);
/* Waits for its end: exit code, or minus the signal. */
int serve_wait_end(Serve *serve);
void serve_end_keeper(Serve *serve);
/* The log from byte OFFSET on. Caller frees. */
char *serve_log(Serve *serve, size_t offset);
size_t serve_log_len(Serve *serve);
/* The log must hold this text by now. */
void serve_assert_said(Serve *serve, size_t offset, const char *text);

/* COMMAND and its arguments, as in printf, in JSON with single quotes: "'id': 'dev0'"; NULL = none.
 * It must succeed. Caller owns the result. */
JsonNode *serve_call(Serve *serve, const char *command, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
/* It must succeed with nothing to say. */
void serve_do(Serve *serve, const char *command, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* It must be refused: class, a space, and the description. Caller frees. */
char *serve_refused(Serve *serve, const char *command, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* What may fail in any way: 1 and the result, 0: refused, -1: the daemon has gone. RET may be NULL,
 * else caller owns what is there after 1. */
int serve_try(Serve *serve, JsonNode **ret, const char *command, const char *format, ...)
	G_GNUC_PRINTF(4, 5);
/* The first element of the answer's list, which must have one. Caller owns it. */
JsonObject *serve_first(Serve *serve, const char *command, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
guint serve_count(Serve *serve, const char *command, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Waits for an event of this name; its data. Caller owns it. */
JsonObject *serve_event(Serve *serve, const char *name);
void serve_pass_event(Serve *serve, const char *name);
/* Until STATE is the one of query-backends. */
void serve_wait_backend(Serve *serve, const char *name, const char *state);

/* ---- a tagged allocation of device dev0, region 0 ---- */

void serve_add_backend(Serve *serve, const char *name, const char *tag, uint64_t len);
/* Contiguous, all of the backend with this tag. */
void serve_offer(Serve *serve, const char *tag);
void serve_ask_back(Serve *serve, const char *tag);

/* ---- hosts ---- */

typedef struct ServeHost {
	pid_t pid;
	int out;
	GString *text;
} ServeHost;

/* softdcd host --json --device DEVICE, with more arguments up to NULL; returns when attached. */
ServeHost *serve_host(Serve *serve, const char *device, ...) G_GNUC_NULL_TERMINATED;
void serve_host_free(ServeHost *host); /* SIGKILL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ServeHost, serve_host_free)
int serve_host_end(ServeHost *host, int signal_number);
/* What it has told by now and nobody has asked for; FUNC gets each. False: it has ended. */
typedef void ServeHostFunc(JsonObject *event, void *opaque);
bool serve_host_drain(ServeHost *host, ServeHostFunc *func, void *opaque);
/* Until it tells this event; all before it are passed over. Caller owns it. NULL: it has ended. */
JsonObject *serve_host_event(ServeHost *host, const char *event);
void serve_host_pass(ServeHost *host, const char *event);

#endif
