/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration space of functions nobody vouches for: capability lists, BARs, register locator. */
#include "driver/driver_private.h"

#include <errno.h>
#include <string.h>

#define MAX_CAPS 48 /* four-byte capabilities that fit between 40h and 100h */

uint32_t pci_config_read(CxlDriver *driver, uint32_t bdf, uint32_t offset, unsigned width)
{
	uint8_t buf[4] = { 0xff, 0xff, 0xff, 0xff };

	if (driver->bus.config_read(driver->opaque, bdf, offset, buf, width) < 0)
		memset(buf, 0xff, sizeof(buf));
	switch (width) {
	case 1:
		return buf[0];
	case 2:
		return le16_load(buf);
	default:
		return le32_load(buf);
	}
}

int pci_config_write(CxlDriver *driver, uint32_t bdf, uint32_t offset, unsigned width, uint32_t val)
{
	uint8_t buf[4];
	int err;

	le32_store(buf, val);
	err = driver->bus.config_write(driver->opaque, bdf, offset, buf, width);
	return err < 0 ? err : 0;
}

void pci_config_set_bits(CxlDriver *driver, uint32_t bdf, uint32_t offset, uint16_t bits)
{
	uint16_t val = (uint16_t)pci_config_read(driver, bdf, offset, 2);

	if ((val & bits) != bits)
		pci_config_write(driver, bdf, offset, 2, val | bits);
}

unsigned pci_find_cap(CxlDriver *driver, uint32_t bdf, uint8_t id)
{
	unsigned offset;

	if (!(pci_config_read(driver, bdf, PCI_CFG_STATUS, 2) & PCI_STA_CAP_LIST))
		return 0;
	offset = pci_config_read(driver, bdf, PCI_CFG_CAP_PTR, 1) & ~3u;
	for (unsigned i = 0; i < MAX_CAPS && offset >= 0x40 && offset <= 0xfc; i++) {
		uint32_t header = pci_config_read(driver, bdf, offset, 2);

		if ((header & 0xff) == id)
			return offset;
		offset = header >> 8 & 0xfc;
	}
	return 0;
}

unsigned pci_read_extcaps(CxlDriver *driver, uint32_t bdf, ExtCap caps[PCI_MAX_EXTCAPS])
{
	uint8_t seen[PCI_CONFIG_LEN / 4] = { 0 };
	unsigned offset = PCI_EXTCAP_FIRST;
	unsigned n = 0;

	while (n < PCI_MAX_EXTCAPS) {
		uint32_t header;

		if (offset < PCI_EXTCAP_FIRST || seen[offset / 4])
			break;
		seen[offset / 4] = 1;
		header = pci_config_read(driver, bdf, offset, 4);
		if (header == 0 || header == UINT32_MAX)
			break;
		caps[n].offset = (uint16_t)offset;
		caps[n].id = (uint16_t)CXL_FIELD_GET(PCI_EXTCAP_ID, header);
		n++;
		offset = CXL_FIELD_GET(PCI_EXTCAP_NEXT, header) & ~3u;
	}
	return n;
}

/* Sizes a memory BAR the classic way, with decoding off meanwhile. */
static uint64_t size_bar(CxlDriver *driver, uint32_t bdf, unsigned bar)
{
	uint32_t at = PCI_CFG_BAR(bar);
	uint32_t lo = pci_config_read(driver, bdf, at, 4);
	bool wide = CXL_FIELD_GET(PCI_BAR_TYPE, lo) == PCI_BAR_TYPE_64;
	uint32_t hi = wide ? pci_config_read(driver, bdf, at + 4, 4) : 0;
	uint32_t cmd = pci_config_read(driver, bdf, PCI_CFG_COMMAND, 2);
	uint64_t mask;

	if (lo & PCI_BAR_IO || lo == UINT32_MAX || (wide && bar + 1 >= PCI_CFG0_N_BARS))
		return 0;
	pci_config_write(driver, bdf, PCI_CFG_COMMAND, 2, cmd & ~PCI_CMD_MEM);
	pci_config_write(driver, bdf, at, 4, UINT32_MAX);
	mask = pci_config_read(driver, bdf, at, 4) & ~PCI_BAR_FLAGS;
	if (wide) {
		pci_config_write(driver, bdf, at + 4, 4, UINT32_MAX);
		mask |= (uint64_t)pci_config_read(driver, bdf, at + 4, 4) << 32;
		pci_config_write(driver, bdf, at + 4, 4, hi);
	} else if (mask) {
		mask |= UINT64_MAX << 32;
	}
	pci_config_write(driver, bdf, at, 4, lo);
	pci_config_write(driver, bdf, PCI_CFG_COMMAND, 2, cmd);
	/* Only an aligned block has a length: ones above, zeros below. */
	if (mask == 0 || (~mask & (~mask + 1)))
		return 0;
	return ~mask + 1;
}

uint64_t pci_bar_len(CxlDriver *driver, uint32_t bdf, unsigned bar)
{
	if (bar >= PCI_CFG0_N_BARS)
		return 0;
	if (driver->bus.bar_len)
		return driver->bus.bar_len(driver->opaque, bdf, bar);
	return size_bar(driver, bdf, bar);
}

void pci_find_dvsecs(CxlDriver *driver, uint32_t bdf, Dvsecs *ret_dvsecs)
{
	ExtCap caps[PCI_MAX_EXTCAPS];
	unsigned n = pci_read_extcaps(driver, bdf, caps);

	memset(ret_dvsecs, 0, sizeof(*ret_dvsecs));
	for (unsigned i = 0; i < n; i++) {
		uint32_t header;
		unsigned len;
		unsigned id;

		/* The second header ends at 0Ah and must be in configuration space. */
		if (caps[i].id != PCI_EXTCAP_DVSEC ||
		    caps[i].offset + sizeof(CxlDvsecHeader) > PCI_CONFIG_LEN)
			continue;
		header = pci_config_read(driver, bdf, caps[i].offset + 4u, 4);
		id = pci_config_read(driver, bdf, caps[i].offset + 8u, 2);
		len = CXL_FIELD_GET(CXL_DVSEC_LEN, header);
		if (CXL_FIELD_GET(CXL_DVSEC_VENDOR, header) != PCI_VENDOR_CXL ||
		    id >= ARRAY_LEN(ret_dvsecs->offset) || ret_dvsecs->offset[id])
			continue;
		if (len < sizeof(CxlDvsecHeader) || caps[i].offset + len > PCI_CONFIG_LEN)
			continue;
		ret_dvsecs->offset[id] = caps[i].offset;
		ret_dvsecs->len[id] = (uint16_t)len;
	}
}

int pci_find_block(CxlDriver *driver, uint32_t bdf, const Dvsecs *dvsecs, uint8_t id,
		   RegBlock *ret_block)
{
	unsigned at = dvsecs->offset[CXL_DVSEC_ID_REGISTER_LOCATOR];
	unsigned len = dvsecs->len[CXL_DVSEC_ID_REGISTER_LOCATOR];

	if (!at)
		return driver_fail(driver, -ENOENT, "%02x:%02x.%x has no register locator DVSEC",
				   bdf >> 8, bdf >> 3 & 0x1f, bdf & 7);
	for (unsigned pos = CXL_DVSEC_LOCATOR_ENTRY(0); pos + 8 <= len; pos += 8) {
		uint32_t lo = pci_config_read(driver, bdf, at + pos, 4);
		uint64_t offset = lo & CXL_LOCATOR_OFFSET_LO;
		unsigned bar = CXL_FIELD_GET(CXL_LOCATOR_BIR, lo);
		uint64_t bar_len;

		if (CXL_FIELD_GET(CXL_LOCATOR_ID, lo) != id || lo == UINT32_MAX)
			continue;
		offset |= (uint64_t)pci_config_read(driver, bdf, at + pos + 4, 4) << 32;
		bar_len = pci_bar_len(driver, bdf, bar);
		if (offset >= bar_len)
			return driver_fail(driver, -ERANGE,
					   "register block %u at %#llx is outside BAR%u of %#llx "
					   "bytes",
					   id, (unsigned long long)offset, bar,
					   (unsigned long long)bar_len);
		*ret_block = (RegBlock){
			.driver = driver,
			.id = bdf,
			.bar = bar,
			.offset = offset,
			.len = bar_len - offset,
		};
		return 0;
	}
	return driver_fail(driver, -ENOENT, "the register locator names no block of type %u", id);
}
