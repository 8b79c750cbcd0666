/* SPDX-License-Identifier: BSD-3-Clause */
/* Data object exchange: a mailbox in configuration space, one dword at a time. */
#include "driver/driver_private.h"

#include <errno.h>

#define STEP_LIMIT_US 1000000
#define POLL_US       1000
#define MAX_OBJECTS   256
#define MAX_DWORDS    (64u * 1024) /* longest object we read past; longer ones are aborted */

int doe_abort(CxlDriver *driver, uint32_t bdf, unsigned cap)
{
	uint64_t end = driver_now_us(driver) + STEP_LIMIT_US;

	pci_config_write(driver, bdf, cap + PCI_DOE_REG_CTRL, 4, PCI_DOE_CONTROL_ABORT);
	for (;;) {
		uint32_t status = pci_config_read(driver, bdf, cap + PCI_DOE_REG_STATUS, 4);

		if (status == UINT32_MAX)
			return driver_fail(driver, -ENODEV, "DOE status reads all-ones");
		if (!(status & (PCI_DOE_STA_BUSY | PCI_DOE_STA_ERROR)))
			return 0;
		if (driver_now_us(driver) >= end)
			return driver_fail(driver, -ETIMEDOUT, "DOE abort did not end in 1 s");
		driver_sleep_us(driver, POLL_US);
	}
}

static int wait_ready(CxlDriver *driver, uint32_t bdf, unsigned cap)
{
	uint64_t end = driver_now_us(driver) + STEP_LIMIT_US;

	for (;;) {
		uint32_t status = pci_config_read(driver, bdf, cap + PCI_DOE_REG_STATUS, 4);

		if (status == UINT32_MAX || status & PCI_DOE_STA_ERROR)
			return driver_fail(driver, -EIO, "DOE reports an error");
		if (status & PCI_DOE_STA_READY)
			return 0;
		if (driver_now_us(driver) >= end)
			return driver_fail(driver, -ETIMEDOUT, "DOE response did not come in 1 s");
		driver_sleep_us(driver, POLL_US);
	}
}

static uint32_t read_dword(CxlDriver *driver, uint32_t bdf, unsigned cap)
{
	uint32_t val = pci_config_read(driver, bdf, cap + PCI_DOE_REG_READ, 4);

	pci_config_write(driver, bdf, cap + PCI_DOE_REG_READ, 4, 0);
	return val;
}

static int read_response(CxlDriver *driver, uint32_t bdf, unsigned cap, uint32_t header,
			 uint32_t *response, unsigned max_response, unsigned *ret_n_response)
{
	uint32_t first = read_dword(driver, bdf, cap);
	uint32_t len = CXL_FIELD_GET(PCI_DOE_OBJECT_LEN, read_dword(driver, bdf, cap));

	if ((first & (PCI_DOE_OBJECT_VENDOR | PCI_DOE_OBJECT_TYPE)) != header)
		return driver_fail(driver, -EPROTO, "DOE answers %#x to %#x", first, header);
	if (len < PCI_DOE_HEADER_DWORDS || len > MAX_DWORDS)
		return driver_fail(driver, -EPROTO, "DOE response of %u dwords", len);
	len -= PCI_DOE_HEADER_DWORDS;
	for (unsigned i = 0; i < len; i++) {
		uint32_t val = read_dword(driver, bdf, cap);

		if (i < max_response)
			response[i] = val;
	}
	if (pci_config_read(driver, bdf, cap + PCI_DOE_REG_STATUS, 4) & PCI_DOE_STA_ERROR)
		return driver_fail(driver, -EIO, "DOE reports an error");
	*ret_n_response = len;
	return 0;
}

int doe_exchange(CxlDriver *driver, uint32_t bdf, unsigned cap, uint16_t vendor, uint8_t type,
		 const uint32_t *request, unsigned n_request, uint32_t *response,
		 unsigned max_response, unsigned *ret_n_response)
{
	uint32_t header = vendor | CXL_FIELD_PUT(PCI_DOE_OBJECT_TYPE, (uint32_t)type);
	int err;

	if (pci_config_read(driver, bdf, cap + PCI_DOE_REG_STATUS, 4) & PCI_DOE_STA_BUSY)
		return driver_fail(driver, -EBUSY, "DOE is busy");
	pci_config_write(driver, bdf, cap + PCI_DOE_REG_WRITE, 4, header);
	pci_config_write(driver, bdf, cap + PCI_DOE_REG_WRITE, 4,
			 n_request + PCI_DOE_HEADER_DWORDS);
	for (unsigned i = 0; i < n_request; i++)
		pci_config_write(driver, bdf, cap + PCI_DOE_REG_WRITE, 4, request[i]);
	pci_config_write(driver, bdf, cap + PCI_DOE_REG_CTRL, 4, PCI_DOE_CONTROL_GO);
	err = wait_ready(driver, bdf, cap);
	if (err >= 0)
		err = read_response(driver, bdf, cap, header, response, max_response,
				    ret_n_response);
	if (err < 0) {
		char text[sizeof(driver->error)];

		/* Leave the mailbox usable, and keep the first reason. */
		__builtin_memcpy(text, driver->error, sizeof(text));
		doe_abort(driver, bdf, cap);
		__builtin_memcpy(driver->error, text, sizeof(text));
	}
	return err;
}

bool doe_supports(CxlDriver *driver, uint32_t bdf, unsigned cap, uint16_t vendor, uint8_t type)
{
	unsigned version = pci_config_read(driver, bdf, cap, 4) >> 16 & 0xf;
	uint32_t index = 0;

	for (unsigned i = 0; i < MAX_OBJECTS; i++) {
		uint32_t request = index;
		uint32_t response;
		unsigned n;

		if (version >= 2)
			request |= CXL_FIELD_PUT(PCI_DOE_DISCOVERY_REQ_VERSION, 2u);
		if (doe_exchange(driver, bdf, cap, PCI_VENDOR_PCISIG, PCI_DOE_TYPE_DISCOVERY,
				 &request, 1, &response, 1, &n) < 0 ||
		    n != 1)
			return false;
		if (CXL_FIELD_GET(PCI_DOE_DISCOVERY_RSP_VENDOR, response) == vendor &&
		    CXL_FIELD_GET(PCI_DOE_DISCOVERY_RSP_TYPE, response) == type)
			return true;
		index = CXL_FIELD_GET(PCI_DOE_DISCOVERY_RSP_NEXT, response);
		if (index == 0)
			return false;
	}
	return false;
}
