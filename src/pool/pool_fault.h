/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults for crash tests: the daemon kills itself, or stalls, at a named step. */
#ifndef POOL_POOL_FAULT_H
#define POOL_POOL_FAULT_H

#include <glib.h>
#include <stdbool.h>

/*
 * Any thread. FAULT is "STEP" or "STEP:N": SIGKILL when that step is passed for the N-th time. The
 * steps:
 *   ledger-before-commit        any commit of the ledger
 *   ledger-after-commit
 *   after-prepare               the host's maps are prepared, the acceptance is not recorded
 *   after-commit-before-expose  it is recorded, nothing is reachable
 *   after-expose-before-reply   all is reachable, the host's command is not answered
 *   after-revoke-before-wipe    memory is out of reach of its host, its wipe has not begun
 *   mid-wipe                    within the wipe, or at the latest at its end, not recorded
 *   after-new-file-before-drop  a fresh file is recorded, the keeper has the old one still
 */
typedef struct PoolFault PoolFault;

typedef enum PoolStall {
	POOL_STALL_LEDGER,
	POOL_STALL_WIPE,
	POOL_N_STALLS
} PoolStall;

/* STALL: "ledger:SECONDS" or "wipe:SECONDS", begun by pool_fault_begin_stall(). Any may be NULL.
 * REPORT: each step passed is named on stderr. */
PoolFault *pool_fault_new(const char *fault, const char *stall, bool report, GError **error);
void pool_fault_free(PoolFault *fault);

/* FAULT may be NULL in all of these. */
void pool_fault_pass(PoolFault *fault, const char *step);
/* As pool_fault_pass(), but the end comes US microseconds later while the caller goes on. */
void pool_fault_pass_later(PoolFault *fault, const char *step, unsigned us);
/* Kills now if pool_fault_pass_later() has been about to. */
void pool_fault_now(PoolFault *fault);
/* Until the seconds are over nobody gets past pool_fault_stall(). */
void pool_fault_begin_stall(PoolFault *fault);
void pool_fault_stall(PoolFault *fault, PoolStall what);

#endif
