/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of "softdcd run" share: the machine's configuration in the making. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "cli/cli.h"
#include "machine/machine.h"

/* A device of the machine, as far as the rest of "softdcd run" must know it. */
typedef struct RunDevice {
	const char *name, *vfio_path, *mem_path;
	bool is_persistent; /* has a persistent partition */
	bool is_dynamic;    /* has nothing but dynamic capacity */
} RunDevice;

/* CONFIG points into the rest. */
typedef struct RunCmd {
	const CliArgs *args;
	GArray *devices;         /* RunDevice */
	GArray *machine_devices; /* MachineDevice, of the same devices */
	GArray *traits;          /* MachineDeviceTraits, likewise */
	GArray *windows;         /* MachineWindowSpec */
	GArray *shares;          /* MachineShare */
	GPtrArray *texts;        /* char * that the above point to */
	GBytes *initrd;
	MachineConfig config;
} RunCmd;

/* Each says why if it is not EXIT_DONE. */

/* Devices from --pool and --device. */
ExitCode run_find_devices(RunCmd *cmd);
/* Kernel and initrd: given, or found and built. All else of CONFIG is there. */
ExitCode run_find_guest(RunCmd *cmd);

/* Adds one; the strings are copied. */
void run_add_device(RunCmd *cmd, const RunDevice *device);
/* TEXT becomes the command's, until its end. */
const char *run_keep(RunCmd *cmd, char *text);

#endif
