/* SPDX-License-Identifier: BSD-3-Clause */
/* The initramfs of a guest: a small system that runs one command or a shell. */
#ifndef MACHINE_GUEST_IMAGE_H
#define MACHINE_GUEST_IMAGE_H

#include "machine/guest/modules.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* A shared directory and where it is to be in the guest. */
typedef struct GuestMount {
	const char *tag;
	const char *path; /* absolute */
} GuestMount;

/* A root port, by its place in the guest, below which no driver of the kernel shall be. */
typedef struct GuestPort {
	uint8_t bus, device;
} GuestPort;

typedef struct GuestImageConfig {
	const char *kernel_version; /* "6.12.95+deb12-amd64" */
	const char *modules_dir;    /* NULL: the kernel has none */

	const char *root_tag; /* a share that is the root; NULL = the initramfs itself */
	const GuestMount *mounts;
	unsigned n_mounts;
	bool has_net; /* an address is asked for by DHCP */

	/* Devices for softdcd-agent and not for the kernel. */
	const GuestPort *agent_ports;
	unsigned n_agent_ports;
	/* Its arguments, a shell's words; it is started in the background, its log is
	 * /run/softdcd-agent.log. NULL = it is not started. */
	const char *agent_arguments;

	/* What is run; ends with NULL. NULL = a shell on the console. */
	const char *const *command;
	bool is_terminal;       /* the command's input and output are a terminal */
	const char *directory;  /* where it runs, in the guest; NULL = the root */
	unsigned rows, columns; /* of the terminal; 0 = not known */
	const char *term;       /* $TERM; NULL = linux */
	const char *tag;        /* $TAG: what there is to accept; NULL = none */
	const char *motd;       /* what the shell says first; NULL = nothing */
} GuestImageConfig;

/*
 * Takes busybox, the agent and, where there are any, cxl-cli's programs from this machine. The
 * error says what is missing and the cure.
 */
GBytes *guest_image_build(const GuestImageConfig *config, GError **error);

/* Whether those programs are there. */
bool guest_image_check_programs(GError **error);

/* The modules that a guest cannot do without and MODULES has not; NULL = all there. The caller
 * frees. */
char *guest_image_missing_modules(const GuestModules *modules);

#endif
