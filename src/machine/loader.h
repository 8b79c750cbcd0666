/* SPDX-License-Identifier: BSD-3-Clause */
/* Loader: puts Linux, its initrd and what it is told at boot into guest memory. */
#ifndef MACHINE_LOADER_H
#define MACHINE_LOADER_H

#include "machine/layout.h"

#include <glib.h>
#include <stdint.h>

/* Where the first CPU begins: 64-bit mode, paging on, addresses below 4 GiB mapped to themselves.
 */
typedef struct LoaderEntry {
	uint64_t rip;
	uint64_t rsi; /* boot_params */
	uint64_t rsp;
	uint64_t cr3;
	uint64_t gdt;
	uint16_t gdt_len;
	uint16_t code_selector, data_selector;
} LoaderEntry;

typedef struct LoaderImage {
	GBytes *kernel;         /* a bzImage with a 64-bit entry */
	GBytes *initrd;         /* NULL without one */
	const char *cmdline;    /* all of it */
	const GByteArray *acpi; /* to layout->acpi */
	uint64_t rsdp;
} LoaderImage;

/*
 * Fills low RAM: LAYOUT's ram_low_len bytes at LOW. Errors (G_IO_ERROR: INVALID_DATA for what is no
 * kernel of this kind, NO_SPACE, INVALID_ARGUMENT) name what does not fit and what there is.
 */
bool loader_load(const MachineLayout *layout, uint8_t *low, const LoaderImage *image,
		 LoaderEntry *ret, GError **error);

#endif
