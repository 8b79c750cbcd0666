/* SPDX-License-Identifier: BSD-3-Clause */
/* Coherent Device Attribute Table: what the host learns about each range of DPA. */
#include "device/cdat.h"

struct Cdat {
	GByteArray *bytes;
	GArray *offsets; /* uint32_t, of each entry */
};

/* Largest value an entry may hold; FFFFh says "unknown" */
#define ENTRY_MAX 0xfffeu
#define PS_PER_NS 1000

static void append(Cdat *cdat, const void *entry, size_t len)
{
	uint32_t offset = cdat->bytes->len;

	g_array_append_val(cdat->offsets, offset);
	g_byte_array_append(cdat->bytes, entry, (guint)len);
}

static void append_dslbis(Cdat *cdat, uint8_t handle, uint8_t data_type, uint64_t unit,
			  uint16_t value)
{
	CxlCdatDslbis dslbis = {
		.entry = { .type = CXL_CDAT_TYPE_DSLBIS, .len = le16_put(sizeof(dslbis)) },
		.handle = handle,
		.data_type = data_type,
		.base_unit = le64_put(unit),
		.value[0] = le16_put(value),
	};

	append(cdat, &dslbis, sizeof(dslbis));
}

static void append_range(Cdat *cdat, const CdatConfig *config, uint8_t handle, uint8_t flags,
			 uint64_t dpa, uint64_t len)
{
	uint32_t unit_mbps = (config->bandwidth_mbps - 1) / ENTRY_MAX + 1;
	uint16_t mbps = (uint16_t)(config->bandwidth_mbps / unit_mbps);
	CxlCdatDsmas dsmas = {
		.entry = { .type = CXL_CDAT_TYPE_DSMAS, .len = le16_put(sizeof(dsmas)) },
		.handle = handle,
		.flags = flags,
		.dpa = le64_put(dpa),
		.len = le64_put(len),
	};
	CxlCdatDsemts dsemts = {
		.entry = { .type = CXL_CDAT_TYPE_DSEMTS, .len = le16_put(sizeof(dsemts)) },
		.handle = handle,
		/* As on other emulated devices: volatile memory is for a purpose of its own, and
		 * what is kept must not be taken for ordinary memory */
		.efi_type = flags & CXL_DSMAS_NONVOLATILE
				    ? CXL_DSEMTS_RESERVED
				    : CXL_DSEMTS_CONVENTIONAL_SPECIFIC_PURPOSE,
		.len = le64_put(len),
	};

	append(cdat, &dsmas, sizeof(dsmas));
	append_dslbis(cdat, handle, CXL_CDAT_DATA_READ_LATENCY, PS_PER_NS, config->read_latency_ns);
	append_dslbis(cdat, handle, CXL_CDAT_DATA_WRITE_LATENCY, PS_PER_NS,
		      config->write_latency_ns);
	append_dslbis(cdat, handle, CXL_CDAT_DATA_READ_BANDWIDTH, unit_mbps, mbps);
	append_dslbis(cdat, handle, CXL_CDAT_DATA_WRITE_BANDWIDTH, unit_mbps, mbps);
	append(cdat, &dsemts, sizeof(dsemts));
}

static uint8_t region_flags(const DcRegionConfig *region)
{
	return CXL_DSMAS_DYNAMIC_CAPACITY | (region->non_volatile ? CXL_DSMAS_NONVOLATILE : 0) |
	       (region->sharable ? CXL_DSMAS_SHAREABLE : 0) |
	       (region->read_only ? CXL_DSMAS_READ_ONLY : 0);
}

static void finish_header(Cdat *cdat)
{
	CxlCdatHeader *header = (CxlCdatHeader *)cdat->bytes->data;
	uint8_t sum = 0;

	header->len = le32_put(cdat->bytes->len);
	header->revision = CXL_CDAT_REVISION;
	for (guint i = 0; i < cdat->bytes->len; i++)
		sum = (uint8_t)(sum + cdat->bytes->data[i]);
	header->checksum = (uint8_t)-sum;
}

Cdat *cdat_new(const CdatConfig *config)
{
	Cdat *cdat = g_new0(Cdat, 1);
	CxlCdatHeader header = { .revision = 0 };

	cdat->bytes = g_byte_array_new();
	cdat->offsets = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	append(cdat, &header, sizeof(header));
	if (config->ram_len != 0)
		append_range(cdat, config, CDAT_HANDLE_RAM, 0, 0, config->ram_len);
	if (config->pmem_len != 0)
		append_range(cdat, config, CDAT_HANDLE_PMEM, CXL_DSMAS_NONVOLATILE, config->ram_len,
			     config->pmem_len);
	for (unsigned i = 0; i < config->n_regions; i++) {
		const DcRegion *region = &config->regions[i];

		append_range(cdat, config, cdat_dc_region_handle(i), region_flags(&region->config),
			     region->base, region->config.len);
	}
	finish_header(cdat);
	return cdat;
}

void cdat_free(Cdat *cdat)
{
	if (cdat == NULL)
		return;
	g_byte_array_unref(cdat->bytes);
	g_array_unref(cdat->offsets);
	g_free(cdat);
}

unsigned cdat_n_entries(const Cdat *cdat)
{
	return cdat->offsets->len;
}

const uint8_t *cdat_peek_entry(const Cdat *cdat, unsigned index, uint32_t *ret_len)
{
	uint32_t offset = g_array_index(cdat->offsets, uint32_t, index);
	uint32_t end = index + 1 < cdat->offsets->len
			       ? g_array_index(cdat->offsets, uint32_t, index + 1)
			       : cdat->bytes->len;

	*ret_len = end - offset;
	return cdat->bytes->data + offset;
}
