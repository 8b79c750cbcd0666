/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the crash test share. */
#ifndef TESTS_CRASH_H
#define TESTS_CRASH_H

#include "serve_fixture.h"

#define N_HOSTS 2
#define N_TAGS  8
#define N_RAM   6 /* of these; the others are files, wiped in place */
#define N_QUIET 4 /* backends for the device without a host */

typedef struct Crash {
	Serve *serve;
	GRand *rand;
	ServeHost *hosts[N_HOSTS];
	/* The quiet device: the offer of each backend; 0 = none, UNSURE = the answer was not heard
	 */
	uint64_t quiet[N_QUIET];
	/* A backend that comes and goes */
	int extra;
	/* The host was asked for it, perhaps, since it last said that it is rid of it. */
	bool asked[N_HOSTS][N_TAGS];
	unsigned n_ops, n_done, n_accepted, n_released, n_hosts_killed;
} Crash;

#define UNSURE       UINT64_MAX
#define EXTRA_GONE   0
#define EXTRA_HERE   1
#define EXTRA_UNSURE 2

/* What hosts have told meanwhile; a loss or mismatch ends the test. */
void crash_drain_hosts(Crash *crash);
/* Asks for a tag back; as serve_try(). */
int crash_release_tag(Crash *crash, unsigned device, unsigned tag, bool forced);
/* Asks for everything that has no tag back; -1: the daemon has gone. */
int crash_release_untagged(Crash *crash);

/* crash_check.c: after a restart all must be as it was told. */
void crash_check_all(Crash *crash);
/* Gives everything back; all must be free then. */
void crash_settle(Crash *crash);

#endif
