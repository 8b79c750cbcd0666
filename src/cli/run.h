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

/* A pool of the machine's own, and what it has. */
typedef struct RunPool RunPool;
#define RUN_STATIC_DEVICE  "static0"
#define RUN_DYNAMIC_DEVICE "dynamic0"
#define RUN_BACKEND        "memory"

/* Names: of the pool, before the machine's pid; of the directory its files are in, before pid and
 * dash; of the file there that the machine has locked. */
#define RUN_POOL_PREFIX "run-"
#define RUN_DIR_PREFIX  "softdcd-run-"
#define RUN_DIR_LOCK    "machine.lock"

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
	RunPool *pool; /* NULL: the devices are another's */
	MachineConfig config;
	MachineLayout layout; /* on a CPU with all the address bits there can be */
} RunCmd;

/* Each says why if it is not EXIT_DONE. */

/* Devices from --pool and --device. */
ExitCode run_find_devices(RunCmd *cmd);
/* Without --device: starts a pool with devices as --dc, --ram and --pmem say, and offers the
 * machine a tagged backend. Nothing if they say that there is to be nothing. */
ExitCode run_start_pool(RunCmd *cmd);
/* Whether windows are large enough for the devices of the pool it has started. Once there is a
 * layout. */
ExitCode run_check_pool(const RunCmd *cmd);
/* With --device: those options have no sense. */
ExitCode run_refuse_pool_options(RunCmd *cmd);
/* Removes what machines that were killed have left. */
void run_sweep_all(void);
/* The same in PARENT: PREFIX, a pid, and nothing or a dash and more; LOCK_NAME is the file that is
 * locked while a directory is in use. */
void run_sweep(const char *parent, const char *prefix, const char *lock_name);
/* Also ends the pool. NULL is fine. */
void run_end_pool(RunPool *pool);
/* The tag of its backend; NULL without one. */
const char *run_pool_tag(const RunCmd *cmd);
/* What to try in its guest; the caller frees. */
char *run_pool_motd(const RunCmd *cmd);

/* Kernel and initrd: given, or found and built. All else of CONFIG is there. */
ExitCode run_find_guest(RunCmd *cmd);

/* Adds one; the strings are copied. */
void run_add_device(RunCmd *cmd, const RunDevice *device);
/* TEXT becomes the command's, until its end. */
const char *run_keep(RunCmd *cmd, char *text);

#endif
