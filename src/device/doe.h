/* SPDX-License-Identifier: BSD-3-Clause */
/* Data object exchange: the mailbox in configuration space through which the CDAT is read. */
#ifndef DEVICE_DOE_H
#define DEVICE_DOE_H

#include "cxl/pci.h"
#include "device/cdat.h"
#include <stdbool.h>

/*
 * PCIe 6.0 6.30. State changes only on aligned 4-byte accesses, so that a register written in
 * pieces cannot act twice. Everything is answered inside the GO write: Busy is never seen. An
 * object that is not understood sets Error, which only Abort clears.
 */
typedef struct Doe Doe;

/* Dwords an object may have; the longest request has 3, the longest response 3 + 6 */
#define DOE_MAX_DWORDS 16

Doe *doe_new(const Cdat *cdat);
void doe_free(Doe *doe);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Doe, doe_free)

/* REG: PCI_DOE_REG_*; MASK: bytes written */
uint32_t doe_read(const Doe *doe, unsigned reg);
void doe_write(Doe *doe, unsigned reg, uint32_t value, uint32_t mask);
void doe_reset(Doe *doe);

#endif
