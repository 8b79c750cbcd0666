/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds a Linux kernel on this machine for guests to boot, and its modules. */
#ifndef MACHINE_GUEST_KERNEL_H
#define MACHINE_GUEST_KERNEL_H

#include <glib.h>
#include <stdbool.h>

typedef struct GuestKernel {
	char *path;        /* of the bzImage */
	char *version;     /* "6.12.95+deb12-amd64" */
	char *modules_dir; /* where its modules are; NULL = there are none */
} GuestKernel;

void guest_kernel_clear(GuestKernel *kernel);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GuestKernel, guest_kernel_clear)

/*
 * The kernel PATH or, without one, that of the running release in ROOT/boot, else the newest there
 * that has modules: Debian's "vmlinuz-VERSION", or "vmlinuz" beside the modules as in Fedora.
 * Modules are looked for below ROOT and beside the kernel. ROOT is "" but in tests.
 */
bool guest_kernel_find(const char *root, const char *path, GuestKernel *ret, GError **error);

/* Only what FILE says of itself: "6.12.95+deb12-amd64"; NULL with an error if it is no bzImage. */
char *guest_kernel_version(const char *file, GError **error);

#endif
