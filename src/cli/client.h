/* SPDX-License-Identifier: BSD-3-Clause */
/* A client verb's talk with the daemon: every failure is told on stderr and becomes an exit code.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "cli/cli.h"
#include "qmp/qmp_client.h"

/* For calls that may wait for a disk. */
#define CLI_CALL_TIMEOUT_MS 60000

typedef struct CliClient {
	const CliArgs *args;
	QmpClient *qmp;
	ExitCode exit; /* what the verb ends with, once something has failed */
	/* Microseconds on the monotonic clock by which the verb must have ended; 0 = no limit. */
	gint64 deadline_us;
	bool waits; /* cli_wait() says what for when the deadline has passed, nobody else */
} CliClient;

/* Connects to --socket, or to the socket of --pool. False: said why, exit is set. */
bool cli_client_open(CliClient *client, const CliArgs *args);
void cli_client_close(CliClient *client);

/* The path cli_client_open() connects to; NULL: said why. The caller frees. */
char *cli_client_socket_path(const CliArgs *args);

/*
 * The command's result, or NULL: said why, exit is set: EXIT_REFUSED, EXIT_NO_OBJECT if the device,
 * backend, tag or offer named on the command line is not there, EXIT_TIMED_OUT, EXIT_NO_DAEMON.
 * ARGUMENTS is taken and may be NULL. TIMEOUT_MS 0 = without end.
 */
JsonNode *cli_client_call(CliClient *client, const char *command, JsonObject *arguments,
			  unsigned timeout_ms);
/* The same; a result that is no array, or no object, fails too. The caller unrefs. */
JsonArray *cli_client_list(CliClient *client, const char *command, JsonObject *arguments);
JsonObject *cli_client_object(CliClient *client, const char *command, JsonObject *arguments);

typedef enum CliEventResult {
	CLI_EVENT_ARRIVED,
	CLI_EVENT_NONE,   /* TIMEOUT_MS passed, the deadline has not */
	CLI_EVENT_FAILED, /* the deadline passed or the daemon went away: exit is set */
} CliEventResult;
/* Waits for the next event, but no longer than TIMEOUT_MS; 0 = without end. */
CliEventResult cli_client_event(CliClient *client, unsigned timeout_ms, JsonObject **ret_event);

/* Ends the verb by ERROR, which it frees. Always NULL. */
void *cli_client_fail(CliClient *client, GError *error);
/* --timeout of the command line, from now on; nothing without it. */
void cli_client_set_deadline(CliClient *client);

/* Members of objects the daemon sent: NULL or 0 when they are not there or of another type. */
const char *cli_member_text(JsonObject *object, const char *name);
int64_t cli_member_int(JsonObject *object, const char *name);

#endif
