/* SPDX-License-Identifier: BSD-3-Clause */
/* The namespace of the machine: bridges, CXL root, serial ports, power. */
#include "machine/acpi_dsdt.h"

#include "machine/aml.h"

#include <stdio.h>

#define NAME_TEXT 5 /* a segment and its NUL */

#define UUID_PCI_OSC "33DB4D5B-1FF7-401C-9657-7441C03DD766" /* PCI firmware 3.3, 4.5.1 */
#define UUID_CXL_OSC "68F2D50B-C469-4D8A-BD3D-941A103FD3FC" /* CXL 3.1, 9.18.2 */
#define UUID_QTG_DSM "F365F9A6-A7DE-4071-A66A-B40C0B4F8E52" /* CXL 3.1, 9.18.3.1 */

/* _OSC: the first dword of the buffer says what was wrong */
#define OSC_BAD_UUID     0x04
#define OSC_BAD_REVISION 0x08
#define OSC_MASKED       0x10
/*
 * The third: of PCIe, the capability structure alone is the guest's. Hot-plug, power management
 * events and error reporting interrupt by a root port's MSI, which ours have not.
 */
#define OSC_PCI_CONTROL 0x10
/* The fifth: reporting of memory errors, that is of events. Linux: without it takes none. */
#define OSC_CXL_CONTROL 0x01

#define STA_PRESENT_HIDDEN 0x0b /* present, enabled, not shown, working */
#define NOTIFY_PRESSED     0x80

/* CreateDWordField (Arg3, OFFSET, NAME) */
static void add_dword_field(Aml *aml, uint8_t offset, const char *name)
{
	aml_op(aml, AML_DWORD_FIELD);
	aml_arg(aml, 3);
	aml_int(aml, offset);
	aml_path(aml, name);
}

/* NAME = NAME OR BITS */
static void add_or_bits(Aml *aml, const char *name, uint32_t bits)
{
	aml_op(aml, AML_OR);
	aml_path(aml, name);
	aml_int(aml, bits);
	aml_path(aml, name);
}

/* NAME keeps only BITS, and the guest is told if that took something away. */
static void add_mask(Aml *aml, const char *name, uint32_t bits)
{
	aml_if(aml);
	aml_op(aml, AML_LNOT);
	aml_op(aml, AML_LEQUAL);
	aml_path(aml, name);
	aml_op(aml, AML_AND);
	aml_path(aml, name);
	aml_int(aml, bits);
	aml_op(aml, AML_NO_TARGET);
	add_or_bits(aml, "CDW1", OSC_MASKED);
	aml_end(aml);

	aml_op(aml, AML_AND);
	aml_path(aml, name);
	aml_int(aml, bits);
	aml_path(aml, name);
}

static void add_is_uuid(Aml *aml, const char *uuid)
{
	aml_op(aml, AML_LEQUAL);
	aml_arg(aml, 0);
	aml_uuid(aml, uuid);
}

/* Arguments: UUID, revision, number of dwords, buffer of them. Returns the buffer. */
static void add_osc(Aml *aml, bool is_cxl)
{
	aml_method(aml, "_OSC", 4, true);
	add_dword_field(aml, 0, "CDW1");
	add_dword_field(aml, 8, "CDW3");
	add_mask(aml, "CDW3", OSC_PCI_CONTROL);

	aml_if(aml);
	aml_op(aml, AML_LNOT);
	aml_op(aml, AML_LEQUAL);
	aml_arg(aml, 1);
	aml_int(aml, 1);
	add_or_bits(aml, "CDW1", OSC_BAD_REVISION);
	aml_end(aml);

	if (is_cxl) {
		aml_if(aml);
		add_is_uuid(aml, UUID_CXL_OSC);
		add_dword_field(aml, 16, "CDW5");
		add_mask(aml, "CDW5", OSC_CXL_CONTROL);
		aml_end(aml);
		aml_else(aml);
	}
	aml_if(aml);
	aml_op(aml, AML_LNOT);
	add_is_uuid(aml, UUID_PCI_OSC);
	add_or_bits(aml, "CDW1", OSC_BAD_UUID);
	aml_end(aml);
	if (is_cxl)
		aml_end(aml);

	aml_op(aml, AML_RETURN);
	aml_arg(aml, 3);
	aml_end(aml);
}

/* ---- bridges ---- */

static void add_bridge(Aml *aml, const MachineBridge *bridge)
{
	char name[NAME_TEXT];

	snprintf(name, sizeof(name), bridge->is_cxl ? "HB%02X" : "PC%02X", bridge->uid & 0xff);
	aml_device(aml, name);
	if (bridge->is_cxl) {
		/* Linux: tells a CXL bridge by this text, and scans for PNP0A03. */
		aml_name_string(aml, "_HID", "ACPI0016");
		aml_name(aml, "_CID");
		aml_package(aml, 2);
		aml_eisa_id(aml, "PNP0A08");
		aml_eisa_id(aml, "PNP0A03");
		aml_end(aml);
	} else {
		aml_name_eisa_id(aml, "_HID", "PNP0A08");
		aml_name_eisa_id(aml, "_CID", "PNP0A03");
	}
	aml_name_int(aml, "_UID", bridge->uid);
	aml_name_int(aml, "_SEG", 0);
	aml_name_int(aml, "_BBN", bridge->bus_first);
	aml_name_int(aml, "_CCA", 1);
	/* Linux: warns of reduced performance without it. */
	aml_name_int(aml, "_PXM", ACPI_DSDT_DOMAIN);

	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_res_buses(aml, bridge->bus_first, bridge->bus_last);
	if (bridge->mem32_len)
		aml_res_window32(aml, (uint32_t)bridge->mem32, (uint32_t)bridge->mem32_len);
	if (bridge->mem64_len)
		aml_res_window64(aml, bridge->mem64, bridge->mem64_len);
	aml_end(aml);

	add_osc(aml, bridge->is_cxl);
	aml_end(aml);
}

static void add_if_function(Aml *aml, unsigned function)
{
	aml_if(aml);
	aml_op(aml, AML_LEQUAL);
	aml_arg(aml, 2);
	aml_int(aml, function);
}

/* The CXL root. Its _DSM says which QoS class a memory of given performance wants: that of the
 * windows, whatever the performance. */
static void add_cxl_root(Aml *aml, const MachineLayout *layout)
{
	static const uint8_t functions = 0x03; /* 0 and 1 */
	uint16_t max_qtg = 0;

	for (unsigned i = 0; i < layout->n_windows; i++)
		max_qtg = MAX(max_qtg, layout->windows[i].qtg_id);

	aml_device(aml, "CXLM");
	aml_name_string(aml, "_HID", "ACPI0017");
	aml_name_int(aml, "_UID", 0);
	aml_name_int(aml, "_STA", STA_PRESENT_HIDDEN);

	aml_method(aml, "_DSM", 4, true);
	aml_if(aml);
	add_is_uuid(aml, UUID_QTG_DSM);
	add_if_function(aml, 0);
	aml_op(aml, AML_RETURN);
	aml_buffer(aml, &functions, 1);
	aml_end(aml);
	add_if_function(aml, 1);
	aml_op(aml, AML_RETURN);
	aml_package(aml, 2);
	aml_int(aml, max_qtg);
	aml_package(aml, 1);
	aml_int(aml, layout->n_windows ? layout->windows[0].qtg_id : 0);
	aml_end(aml);
	aml_end(aml);
	aml_end(aml);
	aml_end(aml);
	aml_op(aml, AML_RETURN);
	aml_buffer(aml, "", 1);
	aml_end(aml);

	aml_end(aml);
}

/* ---- the rest ---- */

/* Addresses that are taken but belong to no window: nothing may be placed there. */
static void add_motherboard(Aml *aml, const MachineLayout *layout)
{
	aml_device(aml, "MB00");
	aml_name_eisa_id(aml, "_HID", "PNP0C02");
	aml_name_int(aml, "_UID", 0);
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_res_memory(aml, layout->ecam, layout->ecam_len);
	for (unsigned i = 0; i < layout->n_bridges; i++) {
		if (layout->bridges[i].is_cxl)
			aml_res_memory(aml, layout->bridges[i].chbcr, MACHINE_CHBCR_LEN);
	}
	aml_end(aml);
	aml_end(aml);
}

static void add_serial(Aml *aml, unsigned i)
{
	char name[NAME_TEXT];

	snprintf(name, sizeof(name), "COM%u", i + 1);
	aml_device(aml, name);
	aml_name_eisa_id(aml, "_HID", "PNP0501");
	aml_name_int(aml, "_UID", i + 1);
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_res_io(aml, machine_serial_ports[i], 8);
	aml_res_irq(aml, machine_serial_gsis[i]);
	aml_end(aml);
	aml_end(aml);
}

/* A power button, and the generic event device whose interrupt is a press. */
static void add_power_button(Aml *aml)
{
	aml_device(aml, "PWRB");
	aml_name_eisa_id(aml, "_HID", "PNP0C0C");
	aml_name_int(aml, "_UID", 0);
	aml_end(aml);

	aml_device(aml, "GED0");
	aml_name_string(aml, "_HID", "ACPI0013");
	aml_name_int(aml, "_UID", 0);
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_res_irq(aml, MACHINE_GSI_GED);
	aml_end(aml);
	aml_method(aml, "_EVT", 1, true);
	aml_op(aml, AML_NOTIFY);
	aml_path(aml, "PWRB");
	aml_int(aml, NOTIFY_PRESSED);
	aml_end(aml);
	aml_end(aml);
}

GByteArray *acpi_dsdt_build(const MachineLayout *layout)
{
	Aml *aml = aml_new();

	aml_scope(aml, "\\_SB_");
	add_motherboard(aml, layout);
	add_cxl_root(aml, layout);
	for (unsigned i = 0; i < layout->n_bridges; i++)
		add_bridge(aml, &layout->bridges[i]);
	for (unsigned i = 0; i < MACHINE_N_SERIAL; i++)
		add_serial(aml, i);
	add_power_button(aml);
	aml_end(aml);

	aml_name(aml, "\\_S5_");
	aml_package(aml, 4);
	aml_int(aml, MACHINE_SLEEP_TYPE_S5);
	for (unsigned i = 0; i < 3; i++)
		aml_int(aml, 0);
	aml_end(aml);
	return aml_finish(aml);
}
