/* SPDX-License-Identifier: BSD-3-Clause */
/* The ACPI tables a guest finds the machine by. */
#ifndef MACHINE_ACPI_H
#define MACHINE_ACPI_H

#include "machine/layout.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * RSDP, XSDT, FADT (hardware-reduced), MADT, MCFG, SRAT, HMAT, CEDT and DSDT for LAYOUT and the
 * I/O ports and interrupts in layout.h, as one block of bytes to be placed at AT: usually
 * layout->acpi, anyhow a multiple of 16 and below 4 GiB. The error says how many bytes it takes if
 * that is more than AT_LEN. *RET is the caller's; *RET_RSDP is where the RSDP is, for boot_params.
 */
bool acpi_tables_build(const MachineLayout *layout, uint64_t at, uint64_t at_len, GByteArray **ret,
		       uint64_t *ret_rsdp, GError **error);

#endif
