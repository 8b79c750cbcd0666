/* SPDX-License-Identifier: BSD-3-Clause */
/* Kernel modules for a guest: found in a directory of modules, unpacked, each after what it needs.
 */
#ifndef MACHINE_GUEST_MODULES_H
#define MACHINE_GUEST_MODULES_H

#include <glib.h>
#include <stdbool.h>

typedef struct GuestModules GuestModules;

typedef struct GuestModule {
	char *name; /* with underscores, without ".ko" */
	GBytes *code;
	GPtrArray *needs; /* names: all it needs, each after what itself needs */
	char **aliases;   /* what else it is asked for by; ends with NULL */
} GuestModule;

typedef enum GuestModuleState {
	GUEST_MODULE_ABSENT,
	GUEST_MODULE_BUILTIN, /* part of the kernel */
	GUEST_MODULE_FOUND,
} GuestModuleState;

/* DIR as in /lib/modules/VERSION; NULL = a kernel without any. */
GuestModules *guest_modules_new(const char *dir);
void guest_modules_free(GuestModules *modules);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestModules, guest_modules_free)

/* Whether there is such a module; '-' and '_' are the same. */
GuestModuleState guest_modules_look(const GuestModules *modules, const char *name);

/* Puts NAME and what it needs on the list. One that is absent or built in is no error and adds
 * nothing; the error is of one that cannot be read or unpacked. */
bool guest_modules_add(GuestModules *modules, const char *name, GError **error);

/* The list, of GuestModule in the order in which they can be loaded; borrowed. */
const GPtrArray *guest_modules_peek(const GuestModules *modules);

#endif
