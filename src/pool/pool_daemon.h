/* SPDX-License-Identifier: BSD-3-Clause */
/* The pool daemon: a pool with a ledger, a keeper, a control socket and a configuration file. */
#ifndef POOL_POOL_DAEMON_H
#define POOL_POOL_DAEMON_H

/*
 * Design. The daemon's own thread (the one that calls pool_daemon_run(), with the default main
 * context) owns the control socket, the configuration file, signals and the tables of objects; it
 * reaches the pool's thread by pool_call(). What may block for long (opening and filling files)
 * runs on GTask threads. What the pool has to tell comes as messages, in order.
 */

#include "pool/pool_config.h"

typedef struct PoolDaemon PoolDaemon;

typedef struct PoolDaemonConfig {
	const char *name;        /* of the pool */
	const char *config_path; /* NULL = none */
	const char *state_dir;   /* NULL = the default one */
	const char *group;       /* may open the sockets; NULL = the configuration's, or nobody */
	bool ephemeral;          /* no ledger and no keeper: all is forgotten at the end */
	const char *fault;       /* tests: "STEP[:N]" (pool_fault.h); NULL = none */
	const char *stall;       /* tests: "ledger:SECONDS" or "wipe:SECONDS"; NULL = none */
	bool report_steps;       /* tests: name each step on stderr when it is passed */
} PoolDaemonConfig;

/* Restores the pool, applies the configuration and listens: when it returns, hosts are served.
 * Errors say what is wrong and the cure; then nothing is left behind. */
PoolDaemon *pool_daemon_new(const PoolDaemonConfig *config, GError **error);
/* Until SIGTERM, SIGINT or "quit". */
void pool_daemon_run(PoolDaemon *daemon);
/* What hosts have accepted stays theirs. */
void pool_daemon_free(PoolDaemon *daemon);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PoolDaemon, pool_daemon_free)

#endif
