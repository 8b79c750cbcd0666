/* SPDX-License-Identifier: BSD-3-Clause */
/* CDAT: reads the table through DOE, checks its sum, and takes the memory ranges out of it. */
#include "cxl/cdat.h"

#include "driver/driver_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TABLE  (1u << 20)
#define LIMIT_US   10000000 /* for all entries together */
#define MAX_RANGES 64
#define MAX_ENTRY  (64u * 1024)

typedef struct Table {
	uint8_t *data;
	uint32_t len;
} Table;

/* One entry: its bytes to BUF (room for MAX bytes), their number, and the next entry's handle. */
static int read_entry(CxlMemdev *memdev, unsigned cap, uint16_t handle, void *buf, uint32_t max,
		      uint32_t *ret_len, uint16_t *ret_next)
{
	CxlDriver *driver = memdev->driver;
	uint32_t request = CXL_FIELD_PUT(CXL_CDAT_DOE_HANDLE, (uint32_t)handle);
	uint32_t *response = malloc(4 + max);
	unsigned n;
	int err;

	if (!response)
		return driver_fail(driver, -ENOMEM, "out of memory");
	err = doe_exchange(driver, memdev->info.bdf, cap, PCI_VENDOR_CXL, CXL_DOE_TYPE_CDAT,
			   &request, 1, response, 1 + max / 4, &n);
	if (err >= 0 && (n < 2 || n > 1 + max / 4 ||
			 response[0] & (CXL_CDAT_DOE_CODE | CXL_CDAT_DOE_TABLE_TYPE)))
		err = driver_fail(driver, -EPROTO, "CDAT entry %u: response of %u dwords", handle,
				  n);
	if (err >= 0) {
		for (unsigned i = 1; i < n; i++)
			le32_store((uint8_t *)buf + 4 * (i - 1), response[i]);
		*ret_len = 4 * (n - 1);
		*ret_next = (uint16_t)CXL_FIELD_GET(CXL_CDAT_DOE_HANDLE, response[0]);
	}
	free(response);
	return err;
}

static int read_table(CxlMemdev *memdev, unsigned cap, Table *ret_table)
{
	CxlDriver *driver = memdev->driver;
	uint64_t end = driver_now_us(driver) + LIMIT_US;
	CxlCdatHeader header;
	Table table = { 0 };
	uint16_t handle;
	uint8_t sum = 0;
	uint32_t pos;
	int err;

	err = read_entry(memdev, cap, 0, &header, sizeof(header), &pos, &handle);
	if (err < 0)
		return err;
	table.len = le32_get(header.len);
	if (pos != sizeof(header) || table.len < sizeof(header) || table.len > MAX_TABLE)
		return driver_fail(driver, -EPROTO, "CDAT of %u bytes with a header of %u",
				   table.len, pos);
	table.data = malloc(table.len);
	if (!table.data)
		return driver_fail(driver, -ENOMEM, "out of memory");
	memcpy(table.data, &header, sizeof(header));
	/* Every entry takes room in the table, so a loop of handles ends with it. */
	while (handle != CXL_CDAT_DOE_LAST && pos < table.len) {
		uint32_t room = table.len - pos < MAX_ENTRY ? table.len - pos : MAX_ENTRY;
		uint32_t len;

		err = read_entry(memdev, cap, handle, table.data + pos, room & ~3u, &len, &handle);
		if (err >= 0 && driver_now_us(driver) > end)
			err = driver_fail(driver, -ETIMEDOUT, "CDAT takes more than 10 s");
		if (err < 0)
			goto fail;
		if (len < sizeof(CxlCdatEntry) || le16_load(table.data + pos + 2) != len) {
			err = driver_fail(driver, -EPROTO, "CDAT entry of %u bytes says %u", len,
					  le16_load(table.data + pos + 2));
			goto fail;
		}
		pos += len;
	}
	for (uint32_t i = 0; i < pos; i++)
		sum = (uint8_t)(sum + table.data[i]);
	if (pos != table.len || handle != CXL_CDAT_DOE_LAST || sum) {
		err = driver_fail(driver, -EBADMSG, "CDAT of %u bytes: read %u, sum %02xh",
				  table.len, pos, sum);
		goto fail;
	}
	*ret_table = table;
	return 0;
fail:
	free(table.data);
	return err;
}

static void take_performance(CxlMemRange *range, const CxlCdatDslbis *entry)
{
	uint64_t value = le16_get(entry->value[0]);
	uint64_t unit = le64_get(entry->base_unit);

	if (entry->data_type >= ARRAY_LEN(range->perf) || value == 0 || value == 0xffff ||
	    __builtin_mul_overflow(value, unit, &value))
		return;
	range->perf[entry->data_type] = value;
}

/* Calls FUNC for entries of TYPE with exactly LEN bytes; others of that type make a bad table. */
static int foreach_entry(CxlMemdev *memdev, const Table *table, uint8_t type, uint16_t len,
			 void (*func)(CxlMemdev *memdev, const uint8_t *entry))
{
	uint32_t pos = sizeof(CxlCdatHeader);

	while (pos < table->len) {
		const CxlCdatEntry *entry = (const CxlCdatEntry *)(table->data + pos);

		if (entry->type == type) {
			if (le16_get(entry->len) != len)
				return driver_fail(memdev->driver, -EPROTO,
						   "CDAT entry of type %u has %u bytes", type,
						   le16_get(entry->len));
			func(memdev, table->data + pos);
		}
		pos += le16_get(entry->len);
	}
	return 0;
}

static void take_dsmas(CxlMemdev *memdev, const uint8_t *raw)
{
	const CxlCdatDsmas *entry = (const CxlCdatDsmas *)raw;

	if (memdev->n_ranges >= MAX_RANGES)
		return;
	memdev->ranges[memdev->n_ranges++] = (CxlMemRange){
		.handle = entry->handle,
		.flags = entry->flags,
		.dpa = le64_get(entry->dpa),
		.len = le64_get(entry->len),
	};
}

static void take_dslbis(CxlMemdev *memdev, const uint8_t *raw)
{
	const CxlCdatDslbis *entry = (const CxlCdatDslbis *)raw;

	for (unsigned i = 0; i < memdev->n_ranges; i++) {
		if (memdev->ranges[i].handle == entry->handle)
			take_performance(&memdev->ranges[i], entry);
	}
}

/* A DC region's attributes are those of the DSMAS with its handle, if that lies within it. */
static void mark_dc_regions(CxlMemdev *memdev)
{
	for (unsigned i = 0; i < memdev->info.n_dc_regions; i++) {
		CxlDcRegionInfo *region = &memdev->dc_regions[i];

		for (unsigned k = 0; k < memdev->n_ranges; k++) {
			const CxlMemRange *range = &memdev->ranges[k];

			if (range->handle != region->dsmad_handle || range->dpa < region->dpa ||
			    range->len > region->decode_len ||
			    range->dpa - region->dpa > region->decode_len - range->len)
				continue;
			region->sharable = range->flags & CXL_DSMAS_SHAREABLE;
			region->read_only = range->flags & CXL_DSMAS_READ_ONLY;
			region->nonvolatile = range->flags & CXL_DSMAS_NONVOLATILE;
			break;
		}
	}
}

int memdev_read_cdat(CxlMemdev *memdev)
{
	CxlDriver *driver = memdev->driver;
	uint32_t bdf = memdev->info.bdf;
	ExtCap caps[PCI_MAX_EXTCAPS];
	unsigned n = pci_read_extcaps(driver, bdf, caps);
	Table table = { 0 };
	int err;

	for (unsigned i = 0; i < n; i++) {
		if (caps[i].id != PCI_EXTCAP_DOE || caps[i].offset + PCI_DOE_LEN > PCI_CONFIG_LEN)
			continue;
		if (doe_abort(driver, bdf, caps[i].offset) < 0 ||
		    !doe_supports(driver, bdf, caps[i].offset, PCI_VENDOR_CXL, CXL_DOE_TYPE_CDAT))
			continue;
		err = read_table(memdev, caps[i].offset, &table);
		if (err < 0)
			return err;
		memdev->ranges = calloc(MAX_RANGES, sizeof(CxlMemRange));
		if (!memdev->ranges) {
			free(table.data);
			return driver_fail(driver, -ENOMEM, "out of memory");
		}
		err = foreach_entry(memdev, &table, CXL_CDAT_TYPE_DSMAS, sizeof(CxlCdatDsmas),
				    take_dsmas);
		if (err >= 0)
			err = foreach_entry(memdev, &table, CXL_CDAT_TYPE_DSLBIS,
					    sizeof(CxlCdatDslbis), take_dslbis);
		free(table.data);
		if (err < 0)
			memdev->n_ranges = 0;
		else
			mark_dc_regions(memdev);
		return err;
	}
	return driver_fail(driver, -ENOENT, "no DOE mailbox with CDAT");
}
