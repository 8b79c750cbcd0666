/* SPDX-License-Identifier: BSD-3-Clause */
/* Root port: configuration space of a CXL port and its component registers. */

#include "cxl/dvsec.h"
#include "cxl/pci.h"
#include "fabric/fabric_priv.h"
#include <string.h>

/* Nobody's product; drivers go by the class. */
#define ROOT_PORT_DEVICE_ID 0xdcd1

#define CAP_PCIE     0x40
#define EXT_AER      0x100
#define EXT_PORT     0x150
#define EXT_GPF      0x180
#define EXT_FLEX_BUS 0x190
#define EXT_LOCATOR  0x1b0
#define LOCATOR_LEN  CXL_DVSEC_LOCATOR_LEN(1)

/* A row of configuration space; what no row names reads as zero. */
typedef struct ConfigRow {
	uint16_t offset;
	uint8_t width;
	uint32_t value, writable, write_clear;
} ConfigRow;

#define EXT_HEADER(id, version, next) PCI_EXTCAP_HEADER(id, version, next)
#define DVSEC_ROWS(at, id, revision, len, next)                                   \
	{ (at), 4, EXT_HEADER(PCI_EXTCAP_DVSEC, PCI_DVSEC_VERSION, next), 0, 0 }, \
		{ (at) + 4, 4, CXL_DVSEC_HEADER1(revision, len), 0, 0 },          \
	{                                                                         \
		(at) + 8, 2, (id), 0, 0                                           \
	}

/* Flex bus: memory and I/O, as a virtual hierarchy */
#define FLEX_BUS_BITS (CXL_DVSEC_FLEX_BUS_IO | CXL_DVSEC_FLEX_BUS_MEM | CXL_DVSEC_FLEX_BUS_68B_VH)

static const ConfigRow rows[] = {
	{ PCI_CFG_VENDOR_ID, 2, PCI_VENDOR_CXL, 0, 0 },
	{ PCI_CFG_DEVICE_ID, 2, ROOT_PORT_DEVICE_ID, 0, 0 },
	{ PCI_CFG_COMMAND, 2, 0,
	  PCI_CMD_MEM | PCI_CMD_MASTER | PCI_CMD_PARITY | PCI_CMD_SERR | PCI_CMD_INTX_DISABLE, 0 },
	{ PCI_CFG_STATUS, 2, PCI_STA_CAP_LIST, 0, PCI_STA_WRITE_CLEAR },
	{ PCI_CFG_CLASS, 3, PCI_CLASS_BRIDGE, 0, 0 },
	{ PCI_CFG_CACHE_LINE, 1, 0, 0xff, 0 },
	{ PCI_CFG_HEADER_TYPE, 1, PCI_HDR_TYPE_1, 0, 0 },
	/* BAR 0 and 1: the component registers, 64-bit */
	{ PCI_CFG_BAR(0), 4, PCI_BAR_MEM_64, 0xffffffffu & ~(CXL_COMPONENT_LEN - 1u), 0 },
	{ PCI_CFG_BAR(1), 4, 0, 0xffffffff, 0 },
	{ PCI_CFG1_PRIMARY_BUS, 3, 0, 0xffffff, 0 },
	{ PCI_CFG1_SECONDARY_STATUS, 2, 0, 0, PCI_STA_WRITE_CLEAR },
	/* No I/O window. Both memory windows closed: base above limit. */
	{ PCI_CFG1_MEM_BASE, 2, 0xfff0, 0xfff0, 0 },
	{ PCI_CFG1_MEM_LIMIT, 2, 0, 0xfff0, 0 },
	{ PCI_CFG1_PREF_BASE, 2, 0xfff0 | PCI_BRIDGE_WINDOW_64, 0xfff0, 0 },
	{ PCI_CFG1_PREF_LIMIT, 2, PCI_BRIDGE_WINDOW_64, 0xfff0, 0 },
	{ PCI_CFG1_PREF_BASE_HI, 4, 0, 0xffffffff, 0 },
	{ PCI_CFG1_PREF_LIMIT_HI, 4, 0, 0xffffffff, 0 },
	{ PCI_CFG_CAP_PTR, 1, CAP_PCIE, 0, 0 },
	{ PCI_CFG_INT_LINE, 1, 0, 0xff, 0 },
	{ PCI_CFG1_BRIDGE_CTRL, 2, 0, PCI_BRIDGE_PARITY | PCI_BRIDGE_SERR | PCI_BRIDGE_BUS_RESET,
	  0 },

	{ CAP_PCIE, 2, PCI_CAP_PCIE, 0, 0 },
	{ CAP_PCIE + PCI_PCIE_CAPS, 2,
	  PCI_PCIE_CAPS_VERSION_2 | CXL_FIELD_PUT(PCI_PCIE_CAPS_TYPE, PCI_PCIE_TYPE_ROOT_PORT), 0,
	  0 },
	{ CAP_PCIE + PCI_PCIE_DEVCAP, 4,
	  CXL_FIELD_PUT(PCI_PCIE_DEVCAP_MPS, 2u) | PCI_PCIE_DEVCAP_EXT_TAG | PCI_PCIE_DEVCAP_RBER,
	  0, 0 },
	{ CAP_PCIE + PCI_PCIE_DEVCTL, 2, 0,
	  PCI_PCIE_DEVCTL_CERE | PCI_PCIE_DEVCTL_NFERE | PCI_PCIE_DEVCTL_FERE |
		  PCI_PCIE_DEVCTL_URRE | PCI_PCIE_DEVCTL_RELAXED | PCI_PCIE_DEVCTL_MPS |
		  PCI_PCIE_DEVCTL_EXT_TAG | PCI_PCIE_DEVCTL_NO_SNOOP | PCI_PCIE_DEVCTL_MRRS,
	  0 },
	{ CAP_PCIE + PCI_PCIE_DEVSTA, 2, 0, 0, PCI_PCIE_DEVSTA_WRITE_CLEAR },
	/* The port number is put in by root_port_init(). */
	{ CAP_PCIE + PCI_PCIE_LNKCAP, 4,
	  PCI_PCIE_SPEED_32 | CXL_FIELD_PUT(PCI_PCIE_LNKCAP_WIDTH, 8u) | PCI_PCIE_LNKCAP_DLLLARC |
		  PCI_PCIE_LNKCAP_ASPM_OPTIONAL,
	  0, 0 },
	{ CAP_PCIE + PCI_PCIE_LNKCTL, 2, 0,
	  PCI_PCIE_LNKCTL_ASPM | PCI_PCIE_LNKCTL_DISABLE | PCI_PCIE_LNKCTL_COMMON_CLOCK, 0 },
	{ CAP_PCIE + PCI_PCIE_LNKSTA, 2,
	  PCI_PCIE_SPEED_32 | CXL_FIELD_PUT(PCI_PCIE_LNKSTA_WIDTH, 8u) |
		  PCI_PCIE_LNKSTA_SLOT_CLOCK | PCI_PCIE_LNKSTA_DLLLA,
	  0, 0 },
	{ CAP_PCIE + PCI_PCIE_ROOTCTL, 2, 0, CXL_BITS(3, 0), 0 },
	{ CAP_PCIE + PCI_PCIE_DEVCTL2, 2, 0, CXL_BITS(4, 0), 0 },
	{ CAP_PCIE + PCI_PCIE_LNKCAP2, 4, CXL_BITS(PCI_PCIE_SPEED_32, PCI_PCIE_SPEED_2_5), 0, 0 },
	{ CAP_PCIE + PCI_PCIE_LNKCTL2, 2, PCI_PCIE_SPEED_32, PCI_PCIE_LNKCTL2_TARGET, 0 },

	{ EXT_AER, 4, EXT_HEADER(PCI_EXTCAP_AER, PCI_AER_VERSION, EXT_PORT), 0, 0 },
	{ EXT_AER + PCI_AER_UE_STATUS, 4, 0, 0, PCI_AER_UE_ALL },
	{ EXT_AER + PCI_AER_UE_MASK, 4, PCI_AER_UE_MASK_DEFAULT, PCI_AER_UE_ALL, 0 },
	{ EXT_AER + PCI_AER_UE_SEVERITY, 4, PCI_AER_UE_SEVERITY_DEFAULT, PCI_AER_UE_ALL, 0 },
	{ EXT_AER + PCI_AER_CE_STATUS, 4, 0, 0, PCI_AER_CE_ALL },
	{ EXT_AER + PCI_AER_CE_MASK, 4, PCI_AER_CE_MASK_DEFAULT, PCI_AER_CE_ALL, 0 },
	{ EXT_AER + PCI_AER_ROOT_CMD, 4, 0,
	  PCI_AER_ROOT_CMD_CE | PCI_AER_ROOT_CMD_NONFATAL | PCI_AER_ROOT_CMD_FATAL, 0 },
	{ EXT_AER + PCI_AER_ROOT_STATUS, 4, 0, 0, CXL_BITS(6, 0) },

	DVSEC_ROWS(EXT_PORT, CXL_DVSEC_ID_PORT, CXL_DVSEC_PORT_REVISION, sizeof(CxlDvsecPort),
		   EXT_GPF),
	{ EXT_PORT + offsetof(CxlDvsecPort, status), 2, CXL_DVSEC_PORT_STATUS_PM_INIT_DONE, 0,
	  CXL_DVSEC_PORT_STATUS_VIRAL },
	{ EXT_PORT + offsetof(CxlDvsecPort, ctrl), 2, 0,
	  CXL_DVSEC_PORT_CTRL_UNMASK_SBR | CXL_DVSEC_PORT_CTRL_UNMASK_LINK_DISABLE |
		  CXL_DVSEC_PORT_CTRL_ALT_MEM | CXL_DVSEC_PORT_CTRL_ALT_BME |
		  CXL_DVSEC_PORT_CTRL_VIRAL,
	  0 },
	{ EXT_PORT + offsetof(CxlDvsecPort, alt_bus_base), 2, 0, 0xffff, 0 },
	{ EXT_PORT + offsetof(CxlDvsecPort, alt_mem_base), 4, 0, 0xfff0fff0, 0 },
	{ EXT_PORT + offsetof(CxlDvsecPort, alt_pref_base), 4, 0, 0xfff0fff0, 0 },
	{ EXT_PORT + offsetof(CxlDvsecPort, alt_pref_base_hi), 4, 0, 0xffffffff, 0 },
	{ EXT_PORT + offsetof(CxlDvsecPort, alt_pref_limit_hi), 4, 0, 0xffffffff, 0 },

	DVSEC_ROWS(EXT_GPF, CXL_DVSEC_ID_GPF_PORT, CXL_DVSEC_GPF_PORT_REVISION,
		   sizeof(CxlDvsecGpfPort), EXT_FLEX_BUS),
	{ EXT_GPF + offsetof(CxlDvsecGpfPort, phase1_ctrl), 2, 0,
	  CXL_DVSEC_GPF_TIME_BASE | CXL_DVSEC_GPF_TIME_SCALE, 0 },
	{ EXT_GPF + offsetof(CxlDvsecGpfPort, phase2_ctrl), 2, 0,
	  CXL_DVSEC_GPF_TIME_BASE | CXL_DVSEC_GPF_TIME_SCALE, 0 },

	DVSEC_ROWS(EXT_FLEX_BUS, CXL_DVSEC_ID_FLEX_BUS, CXL_DVSEC_FLEX_BUS_REVISION,
		   sizeof(CxlDvsecFlexBus), EXT_LOCATOR),
	{ EXT_FLEX_BUS + offsetof(CxlDvsecFlexBus, cap), 2, FLEX_BUS_BITS, 0, 0 },
	{ EXT_FLEX_BUS + offsetof(CxlDvsecFlexBus, ctrl), 2, FLEX_BUS_BITS,
	  CXL_DVSEC_FLEX_BUS_MEM | CXL_DVSEC_FLEX_BUS_68B_VH, 0 },
	{ EXT_FLEX_BUS + offsetof(CxlDvsecFlexBus, status), 2, FLEX_BUS_BITS, 0, 0 },

	DVSEC_ROWS(EXT_LOCATOR, CXL_DVSEC_ID_REGISTER_LOCATOR, CXL_DVSEC_REGISTER_LOCATOR_REVISION,
		   LOCATOR_LEN, 0),
	{ EXT_LOCATOR + CXL_DVSEC_LOCATOR_ENTRY(0), 4,
	  CXL_LOCATOR_LO(0, CXL_LOCATOR_ID_COMPONENT, 0), 0, 0 },
};

void component_block_init(RegBlock *regs, unsigned n_decoders)
{
	static const ConfigRow ras[] = {
		{ CXL_RAS_UE_STATUS, 4, 0, 0, CXL_RAS_UE_ALL },
		{ CXL_RAS_UE_MASK, 4, CXL_RAS_UE_ALL, CXL_RAS_UE_ALL, 0 },
		{ CXL_RAS_UE_SEVERITY, 4, CXL_RAS_UE_ALL, CXL_RAS_UE_ALL, 0 },
		{ CXL_RAS_CE_STATUS, 4, 0, 0, CXL_RAS_CE_ALL },
		{ CXL_RAS_CE_MASK, 4, CXL_RAS_CE_ALL, CXL_RAS_CE_ALL, 0 },
	};
	uint32_t at = CXL_COMPONENT_CACHEMEM;

	reg_block_init(regs, CXL_COMPONENT_LEN);
	reg_block_define(regs, at, 4, CXL_CM_ARRAY_HEADER(n_decoders > 0 ? 2 : 1), 0, 0);
	reg_block_define(regs, at + 4, 4,
			 CXL_CM_CAP_HEADER(CXL_CM_ID_RAS, CXL_CM_RAS_VERSION, COMPONENT_RAS - at),
			 0, 0);
	if (n_decoders > 0)
		reg_block_define(
			regs, at + 8, 4,
			CXL_CM_CAP_HEADER(CXL_CM_ID_HDM, CXL_CM_HDM_VERSION, COMPONENT_HDM - at), 0,
			0);
	for (size_t i = 0; i < G_N_ELEMENTS(ras); i++)
		reg_block_define(regs, COMPONENT_RAS + ras[i].offset, ras[i].width, ras[i].value,
				 ras[i].writable, ras[i].write_clear);
}

void root_port_init(Port *port, unsigned number)
{
	uint8_t *port_number;

	g_mutex_init(&port->lock);
	reg_block_init(&port->config, PCI_CONFIG_LEN);
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		reg_block_define(&port->config, rows[i].offset, rows[i].width, rows[i].value,
				 rows[i].writable, rows[i].write_clear);
	/* Target lists of the host bridge's decoders name it by this. */
	port_number = &port->config.value[CAP_PCIE + PCI_PCIE_LNKCAP + 3];
	*port_number = (uint8_t)number;
	component_block_init(&port->component, 0);
}

void root_port_clear(Port *port)
{
	reg_block_clear(&port->config);
	reg_block_clear(&port->component);
	g_mutex_clear(&port->lock);
}

bool root_port_buses(Port *port, uint8_t *ret_secondary, uint8_t *ret_subordinate)
{
	g_mutex_lock(&port->lock);
	*ret_secondary = port->config.value[PCI_CFG1_SECONDARY_BUS];
	*ret_subordinate = port->config.value[PCI_CFG1_SUBORDINATE_BUS];
	g_mutex_unlock(&port->lock);
	return *ret_secondary != 0 && *ret_secondary <= *ret_subordinate;
}

static bool is_in_bus_reset(const RegBlock *config)
{
	uint32_t bridge_ctrl = reg_block_get(config, PCI_CFG1_BRIDGE_CTRL, 2);
	uint32_t port_ctrl = reg_block_get(config, EXT_PORT + offsetof(CxlDvsecPort, ctrl), 2);

	/* CXL 3.1 8.1.5.2: a port passes a bus reset on only if told that it is meant. */
	return (bridge_ctrl & PCI_BRIDGE_BUS_RESET) && (port_ctrl & CXL_DVSEC_PORT_CTRL_UNMASK_SBR);
}

void root_port_config_write(Port *port, uint32_t offset, const void *buf, uint32_t len)
{
	bool before, after;

	g_mutex_lock(&port->lock);
	before = is_in_bus_reset(&port->config);
	reg_block_write(&port->config, offset, buf, len);
	after = is_in_bus_reset(&port->config);
	g_mutex_unlock(&port->lock);
	if (after && !before && port->is_plugged && port->function.reset)
		port->function.reset(port->function_opaque);
}
