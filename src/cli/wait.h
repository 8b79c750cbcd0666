/* SPDX-License-Identifier: BSD-3-Clause */
/* Waiting for a state of the pool: ask, then ask again whenever something has happened. */
#ifndef CLI_WAIT_H
#define CLI_WAIT_H

#include "cli/client.h"

/*
 * Design. The daemon sends events from the moment of connecting, so what happens after a query is
 * never missed: it makes the next one. Events say when to ask; only what no query can tell (that
 * an offer was declined) is read from them.
 */

typedef enum CliWaitResult {
	CLI_WAIT_ON,
	CLI_WAIT_OVER, /* reached, or failed and client->exit is set */
} CliWaitResult;

typedef struct CliWaitOps {
	/* Asks the daemon how things are. */
	CliWaitResult (*look)(CliClient *client, void *opaque);
	/* NAME and DATA of an event; may be NULL. Never CLI_WAIT_ON with exit set. */
	void (*event)(CliClient *client, const char *name, JsonObject *data, void *opaque);
	/* What it was still waiting for, said when time is up. The caller frees. */
	char *(*waited_for)(void *opaque);
} CliWaitOps;

/* Until look() says it is over; --timeout counts from cli_client_set_deadline(). */
void cli_wait(CliClient *client, const CliWaitOps *ops, void *opaque);

/* The extents of a device, those with TAG or (NULL) all; NULL: said why. The caller unrefs. */
JsonArray *cli_query_extents(CliClient *client, const char *device, const char *tag);
/* Does the element I of LIST have this state? */
bool cli_is_in_state(JsonArray *list, guint i, const char *state);
/* Bytes of those in LIST in STATE. */
uint64_t cli_bytes_in_state(JsonArray *list, const char *state);

#endif
