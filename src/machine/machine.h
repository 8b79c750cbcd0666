/* SPDX-License-Identifier: BSD-3-Clause */
/* Machine: a whole KVM computer with CXL devices of a pool, from its first instruction to its end.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include "machine/layout.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* A device of a pool, by its listening sockets; both may go away and come back. */
typedef struct MachineDevice {
	const char *name;
	const char *vfio_path;
	const char *mem_path;
	bool is_persistent; /* has a persistent partition */
} MachineDevice;

#define MACHINE_SHARE_TAG_MAX 36 /* bytes */

/* A directory for the guest, by virtiofs. */
typedef struct MachineShare {
	const char *dir;
	const char *tag; /* 1..MACHINE_SHARE_TAG_MAX */
} MachineShare;

/* Bytes in memory or in a file; MEM wins. */
typedef struct MachineBlob {
	const char *path; /* NULL without one */
	GBytes *bytes;    /* NULL without one */
} MachineBlob;

typedef struct MachineConfig {
	uint64_t ram_len; /* bytes, multiple of 2 MiB */
	unsigned n_cpus;
	MachineBlob kernel;  /* bzImage */
	MachineBlob initrd;  /* may be nothing */
	const char *cmdline; /* console, clock and the like are put before it */

	const MachineDevice *devices; /* in the order of the topology's traits */
	unsigned n_devices;
	const MachineWindowSpec *windows;
	unsigned n_windows;
	uint64_t default_window_len; /* 0 = 16 GiB */

	const MachineShare *shares;
	unsigned n_shares;
	bool has_net;
	bool no_dma; /* extents are not for virtio devices */

	/*
	 * Without COMMAND the console (COM1) is on stdin and stdout, raw if they are a terminal.
	 * With it stdin, stdout and stderr are those of the guest's command, which speaks the
	 * protocol in guest_command.h; the console is kept, and shown on stderr when VERBOSE or
	 * when the guest dies of itself. The kernel is quiet but when VERBOSE.
	 */
	bool has_command;
	bool verbose;
	bool no_reboot; /* a guest that reboots ends the machine */

	/* Sentences for a person: what is degraded, what has gone away. Any thread. May be NULL. */
	void (*log)(void *opaque, const char *line);
	void *opaque;
} MachineConfig;

/* How it ended; what is not in here is the guest command's own exit code. */
typedef enum MachineEnd {
	MACHINE_END_POWER_OFF, /* of the guest's own will */
	MACHINE_END_COMMAND,   /* the command has ended: see ret_code */
	MACHINE_END_REBOOT,    /* with no_reboot */
	MACHINE_END_PANIC,     /* the kernel said so */
	MACHINE_END_TRIPLE,    /* triple fault */
	MACHINE_END_KVM,       /* KVM cannot go on: an instruction or an address */
	MACHINE_END_ASKED,     /* a signal, or Ctrl-A x */
} MachineEnd;

/*
 * Boots and returns when the guest has ended, all threads and daemons have, and the terminal is as
 * it was. False if it could not be started. Blocks SIGINT and SIGTERM meanwhile to handle them: the
 * first presses the power button, the second ends the machine, a third the process. RET_CODE: of a
 * command, 0..255.
 */
bool machine_run(const MachineConfig *config, MachineEnd *ret_end, int *ret_code, GError **error);

#endif
