/* SPDX-License-Identifier: BSD-3-Clause */
/* An initramfs in the making: a cpio archive of format "newc", in memory. */
#ifndef MACHINE_GUEST_CPIO_H
#define MACHINE_GUEST_CPIO_H

#include <glib.h>
#include <stdbool.h>

/*
 * Paths are absolute and without "." or ".."; the directories above a path are made as needed.
 * What is added a second time is ignored: the first one stays.
 */
typedef struct GuestCpio GuestCpio;

GuestCpio *guest_cpio_new(void);
void guest_cpio_free(GuestCpio *cpio);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestCpio, guest_cpio_free)

void guest_cpio_add_directory(GuestCpio *cpio, const char *path);
void guest_cpio_add_link(GuestCpio *cpio, const char *path, const char *target);
void guest_cpio_add_device(GuestCpio *cpio, const char *path, unsigned major, unsigned minor);
/* False if the archive would be over 4 GiB. */
bool guest_cpio_add_file(GuestCpio *cpio, const char *path, const void *data, gsize len,
			 bool executable);
bool guest_cpio_has(const GuestCpio *cpio, const char *path);

/* The finished archive; nothing can be added any more. */
GBytes *guest_cpio_finish(GuestCpio *cpio);

#endif
