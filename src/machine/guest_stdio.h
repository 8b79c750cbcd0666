/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest stdio: what of the guest's serial ports is whose stdin, stdout and stderr. */
#ifndef MACHINE_GUEST_STDIO_H
#define MACHINE_GUEST_STDIO_H

#include "machine/serial.h"

#include <glib.h>
#include <stdbool.h>

typedef struct GuestStdio GuestStdio;

typedef struct GuestStdioConfig {
	Serial *const *serials;    /* MACHINE_N_SERIAL, COM1 first; they outlive it */
	int in_fd, out_fd, err_fd; /* stay the caller's */
	bool has_command;          /* see guest_command.h */
	bool shows_console;        /* with a command: on stderr */
	/* From threads of its own; may be NULL. */
	void (*command_ended)(void *opaque, int code); /* its output has been written */
	void (*panicked)(void *opaque);                /* and will not reboot by itself */
	void (*quit)(void *opaque);                    /* Ctrl-A x */
	void *opaque;
} GuestStdioConfig;

GuestStdio *guest_stdio_new(const GuestStdioConfig *config, GError **error);
/* The guest has stopped: passes on what it has written, and ends. The terminal is as it was. */
void guest_stdio_finish(GuestStdio *stdio);
void guest_stdio_free(GuestStdio *stdio);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestStdio, guest_stdio_free)

/* Tells the guest's first process the size of the terminal, which may have changed. */
void guest_stdio_resize(GuestStdio *stdio);

/* After guest_stdio_finish(). */
bool guest_stdio_has_panicked(GuestStdio *stdio);
bool guest_stdio_command_code(GuestStdio *stdio, int *ret);
/* The last of the console, at most 64 KiB. Lives as long as STDIO. */
const char *guest_stdio_console(GuestStdio *stdio);

#endif
