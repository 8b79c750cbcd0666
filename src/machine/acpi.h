/* SPDX-License-Identifier: BSD-3-Clause */
/* The ACPI tables a guest finds the machine by. */
#ifndef MACHINE_ACPI_H
#define MACHINE_ACPI_H

#include "machine/layout.h"

#include <glib.h>
#include <stdint.h>

#define ACPI_MAX_SERIALS 4

/* A 16550 with eight I/O ports; its interrupt is an edge on an I/O APIC pin of its own. */
typedef struct AcpiSerial {
	uint16_t port;
	uint8_t gsi;
} AcpiSerial;

/*
 * What of the machine is not in its physical map. The APIC id of CPU n is n. There are no fixed
 * ACPI registers but these I/O ports, one byte each.
 */
typedef struct AcpiOptions {
	/* Power off: the guest writes ACPI_SLEEP_S5 here; before, 0x80 to the status. */
	uint16_t sleep_control_port;
	uint16_t sleep_status_port;
	/* Reboot: the guest writes RESET_VALUE here. */
	uint16_t reset_port;
	uint8_t reset_value;
	uint8_t power_button_gsi; /* an edge is a press */
	AcpiSerial serials[ACPI_MAX_SERIALS];
	unsigned n_serials;
} AcpiOptions;

/* SLP_EN with the sleep type that the tables give S5 */
#define ACPI_SLEEP_S5 (0x20 | 5 << 2)

/*
 * Everything from RSDP to DSDT as one block of bytes to be placed at AT, a multiple of 16 below
 * 4 GiB. RET is the caller's; *RET_RSDP is the address of the RSDP, for boot_params. AT of LAYOUT's
 * ACPI range is the usual place; whether the block fits there is checked.
 */
bool acpi_tables_build(const MachineLayout *layout, const AcpiOptions *options, uint64_t at,
		       GByteArray **ret, uint64_t *ret_rsdp, GError **error);

#endif
