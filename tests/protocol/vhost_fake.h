/* SPDX-License-Identifier: BSD-3-Clause */
/* A vhost-user daemon as a process of its own: the test program started once more. */
#ifndef TESTS_VHOST_FAKE_H
#define TESTS_VHOST_FAKE_H

#include <stdbool.h>
#include <stdint.h>

/* What it does wrong, when asked LIE_AT for the LIE_NTH time (from 0). */
enum fake_lie {
	LIE_NONE,
	LIE_REQUEST,  /* replies to another request */
	LIE_VERSION,  /* of the header */
	LIE_NO_REPLY, /* the reply flag is missing */
	LIE_SHORT,    /* less payload than it has to have */
	LIE_LONG,     /* or more, than any buffer */
	LIE_FDS,      /* descriptors with it */
	LIE_EOF,      /* closes the connection, lives on */
	LIE_EXIT,     /* ends, with a last word */
	LIE_SILENT,   /* never answers, ignores SIGTERM */
	LIE_HALF,     /* half a header, then nothing */
	LIE_REFUSE,   /* acknowledges with an error */
	LIE_TWICE,    /* answers once more than it is asked */
	LIE_DRIP,     /* a byte at a time: no lie, only slow */
};

/* Command line: PROGRAM --fake TRAITS LIE LIE_AT LIE_NTH */
#define FAKE_SLOTS     0x01u /* takes regions one by one */
#define FAKE_LISTENS   0x02u /* descriptor 3 is a listening socket */
#define FAKE_FORKS     0x04u /* a child serves, as in a sandbox */
#define FAKE_NO_ACK    0x08u /* lacks REPLY_ACK */
#define FAKE_LEGACY    0x10u /* lacks virtio 1 */
#define FAKE_ONE_QUEUE 0x20u
#define FAKE_OLD       0x40u /* lacks protocol features altogether */

#define FAKE_FEATURES (UINT64_C(1) << 28 | UINT64_C(1) << 29 | UINT64_C(1) << 26)
#define FAKE_N_SLOTS  5

/*
 * Serves until the connection ends. It writes a line on stdout for each message, "REQUEST: HEX",
 * and maps the regions it is given. When its ring's KICK is written, it raises CALL. It ends with
 * code 99 when a region was taken from under rings that ran, and these were neither stopped nor
 * enabled once more before the next region came.
 */
int fake_main(int argc, char **argv);

#endif
