/* SPDX-License-Identifier: BSD-3-Clause */
/* What a run needs of the machine, checked by using it. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include "cli/cli.h"

typedef enum DoctorState {
	DOCTOR_OK,
	DOCTOR_LIMITED, /* works, but not all of it */
	DOCTOR_MISSING,
} DoctorState;

typedef struct DoctorFinding {
	DoctorState state;
	char *found; /* owned */
	char *cure;  /* owned; NULL = none is needed */
} DoctorFinding;

typedef struct DoctorCheck {
	const char *name;
	bool needed; /* nothing runs without it */
	const char *what_for;
	void (*run)(const CliArgs *args, DoctorFinding *ret);
} DoctorCheck;

/* Of the kernel and the process's limits; of what machines need; of the pool's directories, keeper
 * and daemon. Each ends with a NULL name. */
extern const DoctorCheck doctor_machine_checks[];
extern const DoctorCheck doctor_guest_checks[];
extern const DoctorCheck doctor_pool_checks[];

G_GNUC_PRINTF(2, 3) void doctor_found(DoctorFinding *finding, const char *format, ...);
/* With STATE, and what to do about it. */
G_GNUC_PRINTF(3, 4)
void doctor_cure(DoctorFinding *finding, DoctorState state, const char *format, ...);

#endif
