/* SPDX-License-Identifier: BSD-3-Clause */
/* RAM: the guest's own memory, a file that back ends can map too. */
#ifndef MACHINE_RAM_H
#define MACHINE_RAM_H

#include "machine/guest_memory.h"
#include "machine/layout.h"

#include <glib.h>

typedef struct Ram {
	int fd;
	uint8_t *hva; /* low RAM, then high RAM; aligned to 2 MiB */
	uint64_t len;
	bool is_huge; /* of huge pages that the kernel had reserved */
} Ram;

/* Errors say how much was asked for. RET is untouched on failure. */
bool ram_init(Ram *ret, uint64_t len, GError **error);
/* A Ram of zeros with fd -1 is fine. */
void ram_clear(Ram *ram);
/* Puts it where LAYOUT says. 0 or -errno. */
int ram_add(const Ram *ram, const MachineLayout *layout, GuestMemory *memory);

#endif
