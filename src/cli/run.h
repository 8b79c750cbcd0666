/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of "softdcd run" share: the machine's configuration in the making. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "cli/cli.h"
#include "machine/machine.h"

/* All is owned; the MachineConfig points into the rest. */
typedef struct RunCmd {
	const CliArgs *args;
	GArray *devices;  /* MachineDevice; strings in TEXTS */
	GArray *traits;   /* MachineDeviceTraits, of the same devices */
	GArray *windows;  /* MachineWindowSpec */
	GArray *shares;   /* MachineShare; strings in TEXTS */
	GPtrArray *texts; /* char * */
	MachineConfig config;
} RunCmd;

/* Fills devices from --pool and --device. Says why if it is not EXIT_DONE. */
ExitCode run_find_devices(RunCmd *cmd);
/* Adds one; the strings are copied. */
void run_add_device(RunCmd *cmd, const char *name, const char *vfio_path, const char *mem_path,
		    bool is_persistent);

#endif
