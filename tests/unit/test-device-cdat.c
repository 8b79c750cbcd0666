/* SPDX-License-Identifier: BSD-3-Clause */
/* The CDAT: structure, checksum, one DSMAS with its figures per range of DPA. */
#include "device/cdat.h"
#include <string.h>

#define GIB (UINT64_C(1) << 30)

static const DcRegion regions[] = {
	{ .config = { .len = 4 * GIB }, .base = 3 * GIB },
	{ .config = { .len = GIB, .sharable = true, .non_volatile = true }, .base = 7 * GIB },
	{ .config = { .len = GIB, .read_only = true }, .base = 8 * GIB },
};

static const CdatConfig full = {
	.ram_len = GIB,
	.pmem_len = 2 * GIB,
	.regions = regions,
	.n_regions = G_N_ELEMENTS(regions),
	.read_latency_ns = 150,
	.write_latency_ns = 250,
	.bandwidth_mbps = 16000,
};

/* What Linux's parser checks of a whole table. */
static void check_table(const Cdat *cdat)
{
	uint8_t sum = 0;
	uint32_t total = 0, len = 0;
	const CxlCdatHeader *header = (const CxlCdatHeader *)cdat_peek_entry(cdat, 0, &len);

	g_assert_cmpuint(len, ==, 16);
	for (unsigned i = 0; i < cdat_n_entries(cdat); i++) {
		const uint8_t *entry = cdat_peek_entry(cdat, i, &len);

		g_assert_cmpuint(len % 4, ==, 0);
		if (i > 0) {
			g_assert_cmpuint(le16_get(((const CxlCdatEntry *)entry)->len), ==, len);
			g_assert_cmpuint(len, ==, 24);
		}
		for (uint32_t b = 0; b < len; b++)
			sum = (uint8_t)(sum + entry[b]);
		total += len;
	}
	g_assert_cmpuint(sum, ==, 0);
	g_assert_cmpuint(le32_get(header->len), ==, total);
	g_assert_cmpuint(header->revision, ==, CXL_CDAT_REVISION);
}

static const void *find(const Cdat *cdat, uint8_t type, uint8_t handle, uint8_t data_type)
{
	const void *found = NULL;
	uint32_t len;

	for (unsigned i = 1; i < cdat_n_entries(cdat); i++) {
		const CxlCdatDslbis *entry = (const void *)cdat_peek_entry(cdat, i, &len);

		if (entry->entry.type != type || entry->handle != handle)
			continue;
		if (type == CXL_CDAT_TYPE_DSLBIS && entry->data_type != data_type)
			continue;
		g_assert_null(found); /* handles are unique */
		found = entry;
	}
	return found;
}

static uint64_t figure(const Cdat *cdat, uint8_t handle, uint8_t data_type)
{
	const CxlCdatDslbis *dslbis = find(cdat, CXL_CDAT_TYPE_DSLBIS, handle, data_type);

	g_assert_nonnull(dslbis);
	g_assert_cmpuint(dslbis->flags, ==, 0);
	g_assert_cmpuint(le16_get(dslbis->value[0]), !=, 0);
	g_assert_cmpuint(le16_get(dslbis->value[0]), !=, 0xffff);
	return le16_get(dslbis->value[0]) * le64_get(dslbis->base_unit);
}

static void test_ranges(void)
{
	g_autoptr(Cdat) cdat = cdat_new(&full);
	const struct {
		uint8_t handle, flags, efi_type;
		uint64_t dpa, len;
	} rows[] = {
		{ CDAT_HANDLE_RAM, 0, 1, 0, GIB },
		{ CDAT_HANDLE_PMEM, 0x04, 2, GIB, 2 * GIB },
		{ cdat_dc_region_handle(0), 0x20, 1, 3 * GIB, 4 * GIB },
		{ cdat_dc_region_handle(1), 0x2c, 2, 7 * GIB, GIB },
		{ cdat_dc_region_handle(2), 0x60, 1, 8 * GIB, GIB },
	};

	check_table(cdat);
	g_assert_cmpuint(cdat_n_entries(cdat), ==, 1 + 6 * G_N_ELEMENTS(rows));
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		uint8_t handle = rows[i].handle;
		const CxlCdatDsmas *dsmas = find(cdat, CXL_CDAT_TYPE_DSMAS, handle, 0);
		const CxlCdatDsemts *dsemts = find(cdat, CXL_CDAT_TYPE_DSEMTS, handle, 0);

		g_assert_nonnull(dsmas);
		g_assert_cmphex(dsmas->flags, ==, rows[i].flags);
		g_assert_cmphex(le64_get(dsmas->dpa), ==, rows[i].dpa);
		g_assert_cmphex(le64_get(dsmas->len), ==, rows[i].len);
		g_assert_nonnull(dsemts);
		g_assert_cmpuint(dsemts->efi_type, ==, rows[i].efi_type);
		g_assert_cmphex(le64_get(dsemts->offset), ==, 0);
		g_assert_cmphex(le64_get(dsemts->len), ==, rows[i].len);
		/* ps, MB/s */
		g_assert_cmpuint(figure(cdat, handle, CXL_CDAT_DATA_READ_LATENCY), ==, 150000);
		g_assert_cmpuint(figure(cdat, handle, CXL_CDAT_DATA_WRITE_LATENCY), ==, 250000);
		g_assert_cmpuint(figure(cdat, handle, CXL_CDAT_DATA_READ_BANDWIDTH), ==, 16000);
		g_assert_cmpuint(figure(cdat, handle, CXL_CDAT_DATA_WRITE_BANDWIDTH), ==, 16000);
	}
}

static void test_partial(void)
{
	CdatConfig config = full;
	g_autoptr(Cdat) dc_only = NULL;
	g_autoptr(Cdat) nothing = NULL;

	config.ram_len = config.pmem_len = 0;
	config.n_regions = 1;
	dc_only = cdat_new(&config);
	check_table(dc_only);
	g_assert_null(find(dc_only, CXL_CDAT_TYPE_DSMAS, CDAT_HANDLE_RAM, 0));
	g_assert_null(find(dc_only, CXL_CDAT_TYPE_DSMAS, CDAT_HANDLE_PMEM, 0));
	/* The handle does not depend on what else there is */
	g_assert_nonnull(find(dc_only, CXL_CDAT_TYPE_DSMAS, cdat_dc_region_handle(0), 0));
	config.n_regions = 0;
	nothing = cdat_new(&config);
	check_table(nothing);
	g_assert_cmpuint(cdat_n_entries(nothing), ==, 1);
}

static void test_figures(void)
{
	static const uint32_t mbps[] = { 1, 65534, 65535, 65536, 131068, 1000000, UINT32_MAX };

	for (unsigned i = 0; i < G_N_ELEMENTS(mbps); i++) {
		CdatConfig config = full;
		g_autoptr(Cdat) cdat = NULL;
		uint64_t got;

		config.read_latency_ns = 65534;
		config.bandwidth_mbps = mbps[i];
		cdat = cdat_new(&config);
		check_table(cdat);
		got = figure(cdat, CDAT_HANDLE_RAM, CXL_CDAT_DATA_READ_BANDWIDTH);
		g_assert_cmpuint(got, <=, mbps[i]);
		g_assert_cmpuint(mbps[i] - got, <=, mbps[i] / 16384); /* rounding only */
		g_assert_cmpuint(figure(cdat, CDAT_HANDLE_RAM, CXL_CDAT_DATA_READ_LATENCY), ==,
				 65534000);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/device/cdat/ranges", test_ranges);
	g_test_add_func("/unit/device/cdat/partial", test_partial);
	g_test_add_func("/unit/device/cdat/figures", test_figures);
	return g_test_run();
}
