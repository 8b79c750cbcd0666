/* SPDX-License-Identifier: BSD-3-Clause */
/* What stands where in the endpoint's configuration space. */
#include "device/endpoint_config.h"
#include "device/device_regs.h"
#include "device/ids.h"

#define ALL UINT32_MAX

static const ConfigReg header_regs[] = {
	{ PCI_CFG_VENDOR_ID, 2, .value = DEVICE_PCI_VENDOR },
	{ PCI_CFG_DEVICE_ID, 2, .value = DEVICE_PCI_DEVICE },
	{ PCI_CFG_COMMAND, 2,
	  .writable = PCI_CMD_MEM | PCI_CMD_MASTER | PCI_CMD_PARITY | PCI_CMD_SERR |
		      PCI_CMD_INTX_DISABLE },
	{ PCI_CFG_STATUS, 2, .value = PCI_STA_CAP_LIST, .write_clear = PCI_STA_WRITE_CLEAR },
	{ PCI_CFG_CLASS, 3, .value = PCI_CLASS_CXL_MEMDEV },
	{ PCI_CFG_CACHE_LINE, 1, .writable = ALL },
	{ PCI_CFG_HEADER_TYPE, 1, .value = PCI_HDR_TYPE_0 },
	{ PCI_CFG0_SUBSYS_VENDOR_ID, 2, .value = DEVICE_PCI_VENDOR },
	{ PCI_CFG0_SUBSYS_ID, 2, .value = DEVICE_PCI_DEVICE },
	{ PCI_CFG_CAP_PTR, 1, .value = EP_PCIE },
	{ PCI_CFG_INT_LINE, 1, .writable = ALL }, /* interrupt pin 0: no INTx */
};

/* What concerns the link outlives an FLR, PCIe 6.0 6.6.2. */
static const ConfigReg pcie_regs[] = {
	{ 0, 2, .value = PCI_CAP_PCIE | EP_MSIX << 8 },
	{ PCI_PCIE_CAPS, 2, .value = PCI_PCIE_CAPS_VERSION_2 | PCI_PCIE_TYPE_ENDPOINT << 4 },
	{ PCI_PCIE_DEVCAP, 4,
	  .value = CXL_FIELD_PUT(PCI_PCIE_DEVCAP_MPS, 2u) | PCI_PCIE_DEVCAP_EXT_TAG |
		   PCI_PCIE_DEVCAP_RBER | PCI_PCIE_DEVCAP_FLR },
	{ PCI_PCIE_DEVCTL, 2,
	  .value = PCI_PCIE_DEVCTL_RELAXED | PCI_PCIE_DEVCTL_NO_SNOOP |
		   CXL_FIELD_PUT(PCI_PCIE_DEVCTL_MRRS, 2u),
	  .writable = PCI_PCIE_DEVCTL_CERE | PCI_PCIE_DEVCTL_NFERE | PCI_PCIE_DEVCTL_FERE |
		      PCI_PCIE_DEVCTL_URRE | PCI_PCIE_DEVCTL_RELAXED | PCI_PCIE_DEVCTL_MPS |
		      PCI_PCIE_DEVCTL_EXT_TAG | PCI_PCIE_DEVCTL_NO_SNOOP | PCI_PCIE_DEVCTL_MRRS,
	  .kept = PCI_PCIE_DEVCTL_MPS },
	{ PCI_PCIE_DEVSTA, 2, .write_clear = PCI_PCIE_DEVSTA_WRITE_CLEAR },
	{ PCI_PCIE_LNKCAP, 4,
	  .value = PCI_PCIE_SPEED_32 | CXL_FIELD_PUT(PCI_PCIE_LNKCAP_WIDTH, 8u) |
		   PCI_PCIE_LNKCAP_ASPM_OPTIONAL },
	{ PCI_PCIE_LNKCTL, 2, .writable = PCI_PCIE_LNKCTL_ASPM | PCI_PCIE_LNKCTL_COMMON_CLOCK,
	  .kept = ALL },
	{ PCI_PCIE_LNKSTA, 2,
	  .value = PCI_PCIE_SPEED_32 | CXL_FIELD_PUT(PCI_PCIE_LNKSTA_WIDTH, 8u) |
		   PCI_PCIE_LNKSTA_SLOT_CLOCK },
	{ PCI_PCIE_DEVCAP2, 4, .value = CXL_BIT(4) }, /* completion timeout may be disabled ... */
	{ PCI_PCIE_DEVCTL2, 2, .writable = CXL_BIT(4) }, /* ... here */
	{ PCI_PCIE_LNKCAP2, 4, .value = CXL_BITS(PCI_PCIE_SPEED_32, PCI_PCIE_SPEED_2_5) },
	{ PCI_PCIE_LNKCTL2, 2, .value = PCI_PCIE_SPEED_32, .writable = PCI_PCIE_LNKCTL2_TARGET,
	  .kept = ALL },
};

/* Sticky: kept by an FLR. */
static const ConfigReg aer_regs[] = {
	{ 0, 4, .value = PCI_EXTCAP_HEADER(PCI_EXTCAP_AER, PCI_AER_VERSION, EP_DSN) },
	{ PCI_AER_UE_STATUS, 4, .write_clear = PCI_AER_UE_ALL, .kept = ALL },
	{ PCI_AER_UE_MASK, 4, .value = PCI_AER_UE_MASK_DEFAULT, .writable = PCI_AER_UE_ALL,
	  .kept = ALL },
	{ PCI_AER_UE_SEVERITY, 4, .value = PCI_AER_UE_SEVERITY_DEFAULT, .writable = PCI_AER_UE_ALL,
	  .kept = ALL },
	{ PCI_AER_CE_STATUS, 4, .write_clear = PCI_AER_CE_ALL, .kept = ALL },
	{ PCI_AER_CE_MASK, 4, .value = PCI_AER_CE_MASK_DEFAULT, .writable = PCI_AER_CE_ALL,
	  .kept = ALL },
};

static const ConfigReg gpf_regs[] = {
	{ 0, 4,
	  .value = PCI_EXTCAP_HEADER(PCI_EXTCAP_DVSEC, PCI_DVSEC_VERSION, EP_DVSEC_FLEX_BUS) },
	{ 4, 4,
	  .value = CXL_DVSEC_HEADER1(CXL_DVSEC_GPF_DEVICE_REVISION, sizeof(CxlDvsecGpfDevice)) },
	{ 8, 2, .value = CXL_DVSEC_ID_GPF_DEVICE },
	/* A flush is a no-op here: 1 us and 1 mW stand for "next to nothing" */
	{ offsetof(CxlDvsecGpfDevice, phase2_duration), 2,
	  .value = CXL_FIELD_PUT(CXL_DVSEC_GPF_TIME_BASE, 1u) },
	{ offsetof(CxlDvsecGpfDevice, phase2_power), 4, .value = 1 },
};

#define FLEX_BUS_MODES (CXL_DVSEC_FLEX_BUS_IO | CXL_DVSEC_FLEX_BUS_MEM | CXL_DVSEC_FLEX_BUS_68B_VH)

static const ConfigReg flex_bus_regs[] = {
	{ 0, 4, .value = PCI_EXTCAP_HEADER(PCI_EXTCAP_DVSEC, PCI_DVSEC_VERSION, EP_DVSEC_LOCATOR) },
	{ 4, 4, .value = CXL_DVSEC_HEADER1(CXL_DVSEC_FLEX_BUS_REVISION, sizeof(CxlDvsecFlexBus)) },
	{ 8, 2, .value = CXL_DVSEC_ID_FLEX_BUS },
	{ offsetof(CxlDvsecFlexBus, cap), 2, .value = FLEX_BUS_MODES },
	{ offsetof(CxlDvsecFlexBus, ctrl), 2, .value = FLEX_BUS_MODES },
	{ offsetof(CxlDvsecFlexBus, status), 2, .value = FLEX_BUS_MODES },
};

static const ConfigReg locator_regs[] = {
	{ 0, 4, .value = PCI_EXTCAP_HEADER(PCI_EXTCAP_DVSEC, PCI_DVSEC_VERSION, EP_DOE) },
	{ 4, 4,
	  .value = CXL_DVSEC_HEADER1(CXL_DVSEC_REGISTER_LOCATOR_REVISION,
				     CXL_DVSEC_LOCATOR_LEN(2)) },
	{ 8, 2, .value = CXL_DVSEC_ID_REGISTER_LOCATOR },
	{ CXL_DVSEC_LOCATOR_ENTRY(0), 4,
	  .value = CXL_LOCATOR_LO(DEVICE_BAR_REGS, CXL_LOCATOR_ID_COMPONENT, EP_COMPONENT_OFFSET) },
	{ CXL_DVSEC_LOCATOR_ENTRY(1), 4,
	  .value = CXL_LOCATOR_LO(DEVICE_BAR_REGS, CXL_LOCATOR_ID_DEVICE, DEVICE_REGS_BAR_OFFSET) },
};

/* Its registers are hooked; only the header lives here. */
static const ConfigReg doe_regs[] = {
	{ 0, 4, .value = PCI_EXTCAP_HEADER(PCI_EXTCAP_DOE, PCI_DOE_VERSION, 0) },
};

static void add_bar(ConfigSpace *space, unsigned index, uint64_t len)
{
	uint64_t mask = ~(len - 1);
	const ConfigReg regs[] = {
		{ 0, 4, .value = PCI_BAR_MEM_64, .writable = (uint32_t)mask & ~PCI_BAR_FLAGS },
		{ 4, 4, .writable = (uint32_t)(mask >> 32) },
	};

	g_assert(len >= 0x1000 && (len & (len - 1)) == 0);
	config_space_add(space, PCI_CFG_BAR(index), regs, G_N_ELEMENTS(regs));
}

static void add_msix(ConfigSpace *space, unsigned n_vectors)
{
	const ConfigReg regs[] = {
		{ 0, 2, .value = PCI_CAP_MSIX },
		{ PCI_MSIX_CTRL, 2, .value = n_vectors - 1,
		  .writable = PCI_MSIX_CTRL_MASK_ALL | PCI_MSIX_CTRL_ENABLE },
		{ PCI_MSIX_TABLE_REG, 4, .value = DEVICE_BAR_MSIX | EP_MSIX_TABLE },
		{ PCI_MSIX_PBA_REG, 4, .value = DEVICE_BAR_MSIX | EP_MSIX_PBA },
	};

	G_STATIC_ASSERT(EP_MSIX_TABLE + DEVICE_N_VECTORS * PCI_MSIX_ENTRY_LEN <= EP_MSIX_PBA);
	config_space_add(space, EP_MSIX, regs, G_N_ELEMENTS(regs));
}

static void add_dsn(ConfigSpace *space, uint64_t serial)
{
	const ConfigReg regs[] = {
		{ 0, 4,
		  .value = PCI_EXTCAP_HEADER(PCI_EXTCAP_DSN, PCI_DSN_VERSION, EP_DVSEC_DEVICE) },
		{ PCI_DSN_LO, 4, .value = (uint32_t)serial },
		{ PCI_DSN_HI, 4, .value = (uint32_t)(serial >> 32) },
	};

	config_space_add(space, EP_DSN, regs, G_N_ELEMENTS(regs));
}

/* Linux: waits for valid and active even of a range of size 0 (7.3, cxl_await_media_ready). */
static void add_range(ConfigSpace *space, unsigned index, uint64_t len)
{
	const uint32_t state = CXL_DVSEC_RANGE_VALID | CXL_DVSEC_RANGE_ACTIVE |
			       CXL_FIELD_PUT(CXL_DVSEC_RANGE_MEDIA, CXL_DVSEC_RANGE_MEDIA_CDAT) |
			       CXL_FIELD_PUT(CXL_DVSEC_RANGE_CLASS, CXL_DVSEC_RANGE_CLASS_CDAT);
	const ConfigReg regs[] = {
		{ offsetof(CxlDvsecRange, size_hi), 4, .value = (uint32_t)(len >> 32) },
		{ offsetof(CxlDvsecRange, size_lo), 4, .value = (uint32_t)len | state },
		{ offsetof(CxlDvsecRange, base_hi), 4, .writable = ALL, .kept = ALL,
		  .lockable = ALL },
		{ offsetof(CxlDvsecRange, base_lo), 4, .writable = CXL_DVSEC_RANGE_LO_MASK,
		  .kept = ALL, .lockable = ALL },
	};

	config_space_add(space,
			 EP_DVSEC_DEVICE + offsetof(CxlDvsecDevice, range) +
				 index * sizeof(CxlDvsecRange),
			 regs, G_N_ELEMENTS(regs));
}

static void add_dvsec_device(ConfigSpace *space, uint64_t ram_len, uint64_t pmem_len)
{
	unsigned n_ranges = ram_len != 0 && pmem_len != 0 ? 2 : 1;
	const ConfigReg regs[] = {
		{ 0, 4,
		  .value = PCI_EXTCAP_HEADER(PCI_EXTCAP_DVSEC, PCI_DVSEC_VERSION, EP_DVSEC_GPF) },
		{ 4, 4,
		  .value = CXL_DVSEC_HEADER1(CXL_DVSEC_DEVICE_REVISION, sizeof(CxlDvsecDevice)) },
		{ 8, 2, .value = CXL_DVSEC_ID_DEVICE },
		{ offsetof(CxlDvsecDevice, cap), 2,
		  .value = CXL_DVSEC_DEVICE_CAP_IO | CXL_DVSEC_DEVICE_CAP_MEM |
			   CXL_DVSEC_DEVICE_CAP_MEM_HW_INIT |
			   CXL_FIELD_PUT(CXL_DVSEC_DEVICE_CAP_RANGES, n_ranges) },
		{ offsetof(CxlDvsecDevice, ctrl), 2, .value = CXL_DVSEC_DEVICE_CTRL_IO,
		  .writable = CXL_DVSEC_DEVICE_CTRL_MEM, .kept = ALL,
		  .lockable = CXL_DVSEC_DEVICE_CTRL_MEM },
		/* Write once: what it locks includes itself */
		{ offsetof(CxlDvsecDevice, lock), 2, .writable = CXL_DVSEC_DEVICE_LOCK_CONFIG,
		  .kept = ALL, .lockable = CXL_DVSEC_DEVICE_LOCK_CONFIG },
	};

	config_space_add(space, EP_DVSEC_DEVICE, regs, G_N_ELEMENTS(regs));
	if (n_ranges == 2) {
		add_range(space, 0, ram_len);
		add_range(space, 1, pmem_len);
	} else {
		add_range(space, 0, ram_len + pmem_len);
	}
}

void endpoint_config_build(ConfigSpace *space, const EndpointConfig *config)
{
	config_space_add(space, 0, header_regs, G_N_ELEMENTS(header_regs));
	add_bar(space, DEVICE_BAR_REGS, config->bar0_len);
	add_bar(space, DEVICE_BAR_MSIX, EP_MSIX_BAR_LEN);
	config_space_add(space, EP_PCIE, pcie_regs, G_N_ELEMENTS(pcie_regs));
	add_msix(space, config->n_vectors);
	config_space_add(space, EP_AER, aer_regs, G_N_ELEMENTS(aer_regs));
	add_dsn(space, config->serial);
	add_dvsec_device(space, config->ram_len, config->pmem_len);
	config_space_add(space, EP_DVSEC_GPF, gpf_regs, G_N_ELEMENTS(gpf_regs));
	config_space_add(space, EP_DVSEC_FLEX_BUS, flex_bus_regs, G_N_ELEMENTS(flex_bus_regs));
	config_space_add(space, EP_DVSEC_LOCATOR, locator_regs, G_N_ELEMENTS(locator_regs));
	config_space_add(space, EP_DOE, doe_regs, G_N_ELEMENTS(doe_regs));
}
