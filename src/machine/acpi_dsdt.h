/* SPDX-License-Identifier: BSD-3-Clause */
/* The namespace of the machine: what the DSDT holds. */
#ifndef MACHINE_ACPI_DSDT_H
#define MACHINE_ACPI_DSDT_H

#include "machine/layout.h"

/* The proximity domain of CPUs, RAM and bridges */
#define ACPI_DSDT_DOMAIN 0

/* The AML of the DSDT, without its table header; the caller's. */
GByteArray *acpi_dsdt_build(const MachineLayout *layout);

#endif
