/* SPDX-License-Identifier: BSD-3-Clause */
/* A CXL device as a guest's root reaches it in sysfs: configuration space, BARs, mailbox. */

/*
 * This is a driver of its own, and no good one: a test must be able to do what drivers never do.
 * It shares nothing with src/driver but the register maps.
 */
#include "device.h"

#include "cxl/cci.h"
#include "cxl/device.h"
#include "cxl/event.h"
#include "cxl/pci.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COMMAND_TIMEOUT_S 2   /* Linux waits no longer */
#define OFFER_TIMEOUT_S   240 /* for an offer that somebody outside makes */

void fail(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	printf("FAILED: ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
	exit(1);
}

static int open_file(const GuestDevice *dev, const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", dev->address, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		fail("%s: %s", path, strerror(errno));
	return fd;
}

static void map_bar(GuestDevice *dev, unsigned bar)
{
	char name[16];
	struct stat stat;
	void *mapped;
	int fd;

	snprintf(name, sizeof(name), "resource%u", bar);
	fd = open_file(dev, name, O_RDWR | O_SYNC);
	if (fd < 0)
		return;
	if (fstat(fd, &stat) < 0)
		fail("%s: %s", name, strerror(errno));
	mapped = mmap(NULL, (size_t)stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		fail("mmap of %s: %s", name, strerror(errno));
	close(fd);
	dev->bars[bar] = mapped;
	dev->bar_lens[bar] = (size_t)stat.st_size;
}

uint32_t guest_device_config_read(const GuestDevice *dev, unsigned offset, unsigned len)
{
	uint8_t bytes[4] = { 0 };

	if (pread(dev->config, bytes, len, offset) != (ssize_t)len)
		fail("read of %u bytes at %#x of configuration space: %s", len, offset,
		     strerror(errno));
	return le32_load(bytes);
}

void guest_device_config_write(const GuestDevice *dev, unsigned offset, const void *buf,
			       unsigned len)
{
	if (pwrite(dev->config, buf, len, offset) != (ssize_t)len)
		fail("write of %u bytes at %#x of configuration space: %s", len, offset,
		     strerror(errno));
}

void guest_device_restore(const GuestDevice *dev)
{
	static const uint8_t off[2] = { 0 };
	static const uint8_t on[2] = { PCI_CMD_MEM };

	guest_device_config_write(dev, PCI_CFG_COMMAND, off, sizeof(off));
	for (unsigned i = 0; i < N_BARS; i++) {
		uint8_t value[4];

		le32_store(value, dev->bar_values[i]);
		guest_device_config_write(dev, PCI_CFG_BAR(i), value, sizeof(value));
	}
	guest_device_config_write(dev, PCI_CFG_COMMAND, on, sizeof(on));
}

static void write_one(const GuestDevice *dev, const char *name)
{
	int fd = open_file(dev, name, O_WRONLY);

	if (fd < 0 || write(fd, "1", 1) != 1)
		fail("%s of %s: %s", name, dev->address, strerror(errno));
	close(fd);
}

void guest_device_reset(const GuestDevice *dev)
{
	write_one(dev, "reset");
	guest_device_restore(dev);
}

static volatile uint8_t *find_mailbox(const GuestDevice *dev)
{
	volatile uint8_t *regs = dev->bars[0] + REGS_OFFSET;
	unsigned n = *(volatile uint16_t *)(regs + offsetof(CxlDevCapArray, n_caps));

	for (unsigned i = 0; i < n && i < 16; i++) {
		volatile uint8_t *header = regs + CXL_DEV_CAP_HEADER(i);
		uint32_t offset;

		if (*(volatile uint16_t *)header != CXL_DEV_CAP_ID_MAILBOX)
			continue;
		offset = *(volatile uint32_t *)(header + offsetof(CxlDevCapHeader, offset));
		if (offset >= dev->bar_lens[0] - REGS_OFFSET)
			fail("the mailbox is at %#x, beyond BAR0", offset);
		return regs + offset;
	}
	fail("no mailbox among %u capabilities", n);
}

void guest_device_open(GuestDevice *dev, const char *address)
{
	*dev = (GuestDevice){ .address = address };
	dev->config = open_file(dev, "config", O_RDWR);
	if (dev->config < 0)
		fail("no device %s", address);
	write_one(dev, "enable"); /* the bridge above as well */
	for (unsigned i = 0; i < N_BARS; i++) {
		dev->bar_values[i] = guest_device_config_read(dev, PCI_CFG_BAR(i), 4);
		map_bar(dev, i);
	}
	guest_device_restore(dev);
	if (!dev->bars[0] || dev->bar_lens[0] <= REGS_OFFSET)
		fail("BAR0 of %s has %zu bytes", address, dev->bar_lens[0]);
	dev->mailbox = find_mailbox(dev);
	dev->payload_len = 1u << CXL_FIELD_GET(CXL_MBOX_CAPS_PAYLOAD_LOG2,
					       reg_read32(dev, CXL_MBOX_CAPS));
}

uint32_t reg_read32(const GuestDevice *dev, uint32_t offset)
{
	return *(volatile uint32_t *)(dev->mailbox + offset);
}

void reg_write32(const GuestDevice *dev, uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(dev->mailbox + offset) = value;
}

/* ---- mailbox ---- */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void mailbox_put(const GuestDevice *dev, uint16_t opcode, const void *in, uint32_t in_len,
		 uint32_t told_len)
{
	volatile uint8_t *payload = dev->mailbox + CXL_MBOX_PAYLOAD;
	const uint8_t *bytes = in;
	uint64_t command = CXL_FIELD_PUT(CXL_MBOX_CMD_OPCODE, (uint64_t)opcode) |
			   CXL_FIELD_PUT(CXL_MBOX_CMD_LEN, (uint64_t)told_len);

	for (uint32_t i = 0; i < in_len && i < dev->payload_len; i++)
		payload[i] = bytes[i];
	*(volatile uint64_t *)(dev->mailbox + CXL_MBOX_CMD) = command;
}

void mailbox_ring(const GuestDevice *dev)
{
	reg_write32(dev, CXL_MBOX_CTRL, CXL_MBOX_CTRL_DOORBELL);
}

bool mailbox_is_busy(const GuestDevice *dev)
{
	return (reg_read32(dev, CXL_MBOX_CTRL) & CXL_MBOX_CTRL_DOORBELL) != 0;
}

unsigned mailbox_wait(const GuestDevice *dev)
{
	uint64_t deadline = now_ms() + COMMAND_TIMEOUT_S * 1000;
	uint64_t status;

	while (mailbox_is_busy(dev)) {
		/* Once more after the time: this program may not have run meanwhile. */
		if (now_ms() > deadline && mailbox_is_busy(dev))
			fail("the doorbell is still set after %d s", COMMAND_TIMEOUT_S);
	}
	status = *(volatile uint64_t *)(dev->mailbox + CXL_MBOX_STATUS);
	return (unsigned)CXL_FIELD_GET(CXL_MBOX_STATUS_RC, status);
}

uint32_t mailbox_take(const GuestDevice *dev, void *out, uint32_t max)
{
	volatile uint8_t *payload = dev->mailbox + CXL_MBOX_PAYLOAD;
	uint64_t command = *(volatile uint64_t *)(dev->mailbox + CXL_MBOX_CMD);
	uint32_t len = (uint32_t)CXL_FIELD_GET(CXL_MBOX_CMD_LEN, command);
	uint8_t *bytes = out;

	if (len > dev->payload_len)
		fail("an answer of %u bytes in a payload of %u", len, dev->payload_len);
	for (uint32_t i = 0; i < len && i < max; i++)
		bytes[i] = payload[i];
	return len;
}

unsigned mailbox_run(const GuestDevice *dev, uint16_t opcode, const void *in, uint32_t in_len,
		     void *out, uint32_t max, uint32_t *ret_len)
{
	unsigned rc;
	uint32_t len;

	mailbox_put(dev, opcode, in, in_len, in_len);
	mailbox_ring(dev);
	rc = mailbox_wait(dev);
	if (rc != CXL_RC_SUCCESS)
		return rc;
	len = mailbox_take(dev, out, max);
	if (ret_len)
		*ret_len = len;
	return rc;
}

/* ---- dynamic capacity ---- */

void dc_enable_events(const GuestDevice *dev)
{
	CxlEventIntPolicy policy;
	unsigned rc;

	memset(&policy, CXL_INT_MODE_MSI, sizeof(policy));
	rc = mailbox_run(dev, CXL_OP_SET_EVENT_INT_POLICY, &policy, sizeof(policy), NULL, 0, NULL);
	if (rc != CXL_RC_SUCCESS)
		fail("Set Event Interrupt Policy: %#x", rc);
}

static uint32_t read_some(const GuestDevice *dev, uint32_t start, uint32_t n, ExtentList *ret)
{
	CxlDcExtentListIn in = { le32_put(n), le32_put(start) };
	static uint8_t out[1 << 20];
	const CxlDcExtentListOut *header = (const CxlDcExtentListOut *)out;
	uint32_t len, n_returned;
	unsigned rc = mailbox_run(dev, CXL_OP_GET_DC_EXTENT_LIST, &in, sizeof(in), out, sizeof(out),
				  &len);

	if (rc != CXL_RC_SUCCESS)
		fail("Get Dynamic Capacity Extent List from %u: %#x", start, rc);
	n_returned = le32_get(header->n_returned);
	if (len != sizeof(*header) + n_returned * sizeof(CxlDcExtent) || n_returned > n ||
	    n_returned > MAX_EXTENTS - start)
		fail("4801h returns %u of %u extents in %u bytes", n_returned, n, len);
	ret->n = le32_get(header->n_total);
	ret->generation = le32_get(header->generation);
	memcpy(&ret->extents[start], header + 1, n_returned * sizeof(CxlDcExtent));
	return n_returned;
}

void dc_read_list(const GuestDevice *dev, ExtentList *ret)
{
	uint32_t n = read_some(dev, 0, MAX_EXTENTS, ret);
	uint32_t generation = ret->generation;

	while (n < ret->n) {
		uint32_t got = read_some(dev, n, MAX_EXTENTS - n, ret);

		if (got == 0)
			fail("of %u extents only %u are to be had", ret->n, n);
		if (ret->generation != generation)
			fail("the extent list changed while it was read");
		n += got;
	}
}

void dc_read_state(const GuestDevice *dev, uint32_t *ret_n, uint32_t *ret_gen)
{
	static ExtentList list;

	(void)read_some(dev, 0, 0, &list);
	*ret_n = list.n;
	*ret_gen = list.generation;
}

static void clear_record(const GuestDevice *dev, le16 handle)
{
	uint8_t in[sizeof(CxlClearEventRecordsIn) + sizeof(le16)];
	CxlClearEventRecordsIn *header = (CxlClearEventRecordsIn *)in;
	unsigned rc;

	*header = (CxlClearEventRecordsIn){ .log = CXL_LOG_DC, .n_handles = 1 };
	memcpy(header + 1, &handle, sizeof(handle));
	rc = mailbox_run(dev, CXL_OP_CLEAR_EVENT_RECORDS, in, sizeof(in), NULL, 0, NULL);
	if (rc != CXL_RC_SUCCESS)
		fail("Clear Event Records, handle %u: %#x", le16_get(handle), rc);
}

/* False: the log is empty. */
static bool next_record(const GuestDevice *dev, CxlEventDc *ret)
{
	static const CxlGetEventRecordsIn in = { CXL_LOG_DC };
	uint8_t out[sizeof(CxlGetEventRecordsOut) + sizeof(CxlEventDc)];
	unsigned rc = mailbox_run(dev, CXL_OP_GET_EVENT_RECORDS, &in, sizeof(in), out, sizeof(out),
				  NULL);

	if (rc != CXL_RC_SUCCESS)
		fail("Get Event Records: %#x", rc);
	if (le16_get(((const CxlGetEventRecordsOut *)out)->n_records) == 0)
		return false;
	memcpy(ret, out + sizeof(CxlGetEventRecordsOut), sizeof(*ret));
	return true;
}

uint32_t dc_wait_for_offer(const GuestDevice *dev, CxlDcExtent *ret, uint32_t max)
{
	uint64_t deadline = now_ms() + OFFER_TIMEOUT_S * 1000;
	CxlEventDc record;
	uint32_t n = 0;

	for (;;) {
		if (!next_record(dev, &record)) {
			if (now_ms() > deadline)
				fail("no offer came within %d s", OFFER_TIMEOUT_S);
			usleep(10000);
			continue;
		}
		clear_record(dev, record.header.handle);
		if (record.type != CXL_DC_EVENT_ADD)
			continue;
		if (n == max)
			fail("an offer of more than %u extents", max);
		ret[n++] = record.extent;
		if ((record.flags & CXL_EVENT_DC_MORE) == 0)
			return n;
	}
}

uint32_t dc_response(void *buf, const CxlDcExtent *extents, uint32_t n)
{
	CxlDcResponseHeader *header = buf;
	CxlDcResponseEntry *entries = (CxlDcResponseEntry *)(header + 1);

	*header = (CxlDcResponseHeader){ .n_extents = le32_put(n) };
	for (uint32_t i = 0; i < n; i++)
		entries[i] = (CxlDcResponseEntry){ .dpa = extents[i].dpa, .len = extents[i].len };
	return (uint32_t)(sizeof(*header) + n * sizeof(*entries));
}
