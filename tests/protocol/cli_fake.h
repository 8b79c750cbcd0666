/* SPDX-License-Identifier: BSD-3-Clause */
/* A daemon that says what a test tells it to, and the command line that speaks to it. */
#ifndef TESTS_CLI_FAKE_H
#define TESTS_CLI_FAKE_H

#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <sys/types.h>

#define FAKE_WAIT_MS 60000 /* only a test that fails waits this long */
#define FAKE_TAG     "5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee"

typedef struct Fake {
	char *dir, *path; /* of the socket */
	int listen_fd, fd;
	GString *received;
	char *id;            /* of the last request, as JSON; NULL = it had none */
	char *command;       /* of the last request */
	GHashTable *answers; /* command -> the last answer to it */
	pid_t pid;           /* the verb under test; 0 = none */
	int out_fd, err_fd;
	char *out, *err; /* once it has ended */
} Fake;

/* Listens. */
Fake *fake_new(void);
/* The verb must have ended. */
void fake_free(Fake *fake);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fake, fake_free)

/* Starts "softdcd LINE --socket PATH" (LINE as a shell would read it). */
void fake_run(Fake *fake, const char *line);
/* The same without --socket. */
void fake_run_as_it_is(Fake *fake, const char *line);
/* Waits for its end, answering queries as before; out and err are then there. Returns the exit
 * code. */
int fake_end(Fake *fake);
/* The whole of stdout as JSON. */
JsonNode *fake_out_json(Fake *fake);
void fake_assert_err(Fake *fake, const char *part);
/* Waits until stderr has PART, while the verb runs. */
void fake_wait_err(Fake *fake, const char *part);

/* ---- the daemon's side ---- */

/* Accepts, greets, and answers qmp_capabilities. */
void fake_accept(Fake *fake);
/*
 * The next request must be COMMAND; its arguments as compact JSON, "{}" without. A verb that waits
 * asks again after a second, and this machine may be slow: a query that has been answered before
 * is answered again on the way.
 */
char *fake_expect(Fake *fake, const char *command);
/* The same, and they must be ARGUMENTS. */
void fake_expect_with(Fake *fake, const char *command, const char *arguments);
/* fake_expect() and an answer. */
void fake_answer(Fake *fake, const char *command, const char *result);
void fake_say(Fake *fake, const char *text);
void fake_return(Fake *fake, const char *result);
void fake_refuse(Fake *fake, const char *class, const char *desc);
void fake_event(Fake *fake, const char *name, const char *data);
void fake_hang_up(Fake *fake);

#endif
