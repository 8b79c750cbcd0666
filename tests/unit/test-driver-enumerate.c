/* SPDX-License-Identifier: BSD-3-Clause */
/* Driver: scanning buses, DVSECs and register blocks, and devices that lie about them. */
#include "cxl-fake.h"

static void test_simple(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake = fake_simple(&ep, &memdev);
	const CxlMemdevInfo *info = cxl_memdev_info(memdev);
	const CxlDcRegionInfo *region = cxl_memdev_dc_region(memdev, 0);

	g_assert_cmphex(info->serial, ==, 0x1000);
	g_assert_cmphex(info->bdf, ==, 0x0100);
	g_assert_cmphex(info->vendor_id, ==, 0x1234);
	g_assert_cmpuint(info->bridge_uid, ==, 1);
	g_assert_cmpuint(info->payload_len, ==, 4096);
	g_assert_true(info->payload_mapped);
	g_assert_true(info->media_ready);
	g_assert_cmpstr(info->fw_revision, ==, "fake 1");
	g_assert_cmpuint(info->ram_len, ==, 256 * MIB);
	g_assert_cmpuint(info->n_decoders, ==, 4);
	g_assert_true(info->has_dc);
	g_assert_cmpuint(info->n_dc_regions, ==, 1);
	g_assert_cmpuint(info->n_extents_supported, ==, 4096);
	g_assert_cmpuint(region->dpa, ==, 256 * MIB);
	g_assert_cmpuint(region->len, ==, 16 * GIB);
	g_assert_cmpuint(region->block_len, ==, FAKE_BLOCK);
	g_assert_false(region->sharable);
	g_assert_null(cxl_memdev_dc_region(memdev, 1));
	g_assert_true(cxl_driver_find_serial(fake->driver, 0x1000) == memdev);
	g_assert_true(cxl_driver_find_bdf(fake->driver, 0x0100) == memdev);
	g_assert_null(cxl_driver_find_serial(fake->driver, 1));
	g_assert_cmpint(le16_load(ep->config + PCI_CFG_COMMAND), ==, PCI_CMD_MEM | PCI_CMD_MASTER);
	g_assert_cmpint(cxl_driver_enumerate(fake->driver), ==, -EALREADY);
}

static void test_numbering(void)
{
	g_autoptr(Fake) fake = fake_new(2, 3);

	fake_plug(fake, 0, 0);
	fake_plug(fake, 0, 2);
	fake_plug(fake, 1, 1);
	g_assert_cmpint(fake_start(fake, NULL), ==, 3);
	g_assert_cmphex(cxl_memdev_info(cxl_driver_memdev(fake->driver, 0))->bdf, ==, 0x0100);
	g_assert_cmphex(cxl_memdev_info(cxl_driver_memdev(fake->driver, 1))->bdf, ==, 0x0300);
	g_assert_cmphex(cxl_memdev_info(cxl_driver_memdev(fake->driver, 2))->bdf, ==, 0x2200);
	for (unsigned p = 0; p < 3; p++) {
		const uint8_t *c = fake->bridge[1].port[p].config;

		g_assert_cmphex(c[PCI_CFG1_PRIMARY_BUS], ==, 0x20);
		g_assert_cmphex(c[PCI_CFG1_SECONDARY_BUS], ==, 0x21 + p);
		g_assert_cmphex(c[PCI_CFG1_SUBORDINATE_BUS], ==, 0x21 + p);
	}
}

/* Numbers that are there are used, and impossible ones not followed. */
static void test_numbered(void)
{
	g_autoptr(Fake) fake = fake_new(1, 3);
	CxlPlatform platform = {
		.windows = fake->window,
		.n_windows = 1,
		.bridges = fake->host,
		.n_bridges = 1,
	};

	fake_plug(fake, 0, 0);
	fake_plug(fake, 0, 1);
	fake_plug(fake, 0, 2);
	fake->bridge[0].port[0].config[PCI_CFG1_SECONDARY_BUS] = 7;
	fake->bridge[0].port[1].config[PCI_CFG1_SECONDARY_BUS] = 0;    /* not numbered */
	fake->bridge[0].port[2].config[PCI_CFG1_SECONDARY_BUS] = 0x90; /* not the bridge's */
	fake->driver = cxl_driver_new(&fake_bus, fake, &platform, NULL);
	g_assert_cmpint(cxl_driver_enumerate(fake->driver), ==, 1);
	g_assert_cmphex(cxl_memdev_info(cxl_driver_memdev(fake->driver, 0))->bdf, ==, 0x0700);
}

static void test_buses_run_out(void)
{
	g_autoptr(Fake) fake = fake_new(1, 3);

	fake->host[0].bus_last = 2;
	g_assert_cmpint(fake_start(fake, NULL), ==, -ENOSPC);
	g_assert_nonnull(strstr(cxl_driver_error(fake->driver), "bus number"));
}

static void test_platform_refused(void)
{
	static const struct {
		CxlWindow window;
		const char *rule;
	} cases[] = {
		{ { .hpa = FAKE_WINDOW, .len = GIB, .ways = 5, .granularity = 256 }, "ways" },
		{ { .hpa = FAKE_WINDOW, .len = GIB, .ways = 0 }, "ways" },
		{ { .hpa = FAKE_WINDOW, .len = GIB, .ways = 2, .granularity = 100 },
		  "granularity" },
		{ { .hpa = FAKE_WINDOW + 1, .len = GIB, .ways = 1 }, "256 MiB" },
		{ { .hpa = FAKE_WINDOW, .len = 0, .ways = 1 }, "256 MiB" },
		{ { .hpa = -256 * MIB, .len = GIB, .ways = 1 }, "256 MiB" },
	};

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(Fake) fake = fake_new(1, 1);

		fake->window[0] = cases[i].window;
		g_assert_cmpint(fake_start(fake, NULL), ==, -EINVAL);
		g_assert_nonnull(strstr(cxl_driver_error(fake->driver), cases[i].rule));
	}
}

/* One thing wrong with the endpoint, and what its error must speak of ("" = still usable) */
typedef struct Lie {
	const char *name;
	void (*tell)(FakeEp *ep);
	const char *error;
} Lie;

static void extcap_loop(FakeEp *ep)
{
	put32(ep->config + FAKE_DSN,
	      PCI_EXTCAP_HEADER(PCI_EXTCAP_DSN, PCI_DSN_VERSION, FAKE_DVSEC_DEVICE));
}

static void extcap_self(FakeEp *ep)
{
	put32(ep->config + 0x100, PCI_EXTCAP_HEADER(PCI_EXTCAP_DVSEC, 1, 0x100));
}

static void extcap_low(FakeEp *ep)
{
	put32(ep->config + 0x100, PCI_EXTCAP_HEADER(PCI_EXTCAP_DVSEC, 1, 0x40));
}

static void no_extcaps(FakeEp *ep)
{
	put32(ep->config + 0x100, UINT32_MAX);
}

static void dvsec_zero_len(FakeEp *ep)
{
	put32(ep->config + FAKE_DVSEC_LOCATOR + 4, CXL_DVSEC_HEADER1(0, 0));
}

static void dvsec_beyond(FakeEp *ep)
{
	put32(ep->config + FAKE_DVSEC_LOCATOR + 4, CXL_DVSEC_HEADER1(0, 0xff0));
}

static void dvsec_short(FakeEp *ep)
{
	put32(ep->config + FAKE_DVSEC_DEVICE + 4, CXL_DVSEC_HEADER1(0, 0x18));
}

static void dvsec_at_end(FakeEp *ep)
{
	put32(ep->config + FAKE_DSN, PCI_EXTCAP_HEADER(PCI_EXTCAP_DVSEC, 1, 0xffc));
	put32(ep->config + 0xffc, PCI_EXTCAP_HEADER(PCI_EXTCAP_DVSEC, 1, 0));
	put32(ep->config + FAKE_DSN + 4, 0);
}

static void locator_beyond_bar(FakeEp *ep)
{
	put32(ep->config + FAKE_DVSEC_LOCATOR + CXL_DVSEC_LOCATOR_ENTRY(1),
	      CXL_LOCATOR_LO(0, CXL_LOCATOR_ID_DEVICE, FAKE_BAR_LEN));
}

static void locator_high(FakeEp *ep)
{
	put32(ep->config + FAKE_DVSEC_LOCATOR + CXL_DVSEC_LOCATOR_ENTRY(1) + 4, UINT32_MAX);
}

static void locator_no_bar(FakeEp *ep)
{
	put32(ep->config + FAKE_DVSEC_LOCATOR + CXL_DVSEC_LOCATOR_ENTRY(1),
	      CXL_LOCATOR_LO(4, CXL_LOCATOR_ID_DEVICE, 0));
}

static void locator_bar7(FakeEp *ep)
{
	put32(ep->config + FAKE_DVSEC_LOCATOR + CXL_DVSEC_LOCATOR_ENTRY(1),
	      CXL_LOCATOR_LO(7, CXL_LOCATOR_ID_DEVICE, 0));
}

static void locator_empty(FakeEp *ep)
{
	put32(ep->config + FAKE_DVSEC_LOCATOR + 4, CXL_DVSEC_HEADER1(0, 0x0c));
}

static void component_at_end(FakeEp *ep)
{
	put32(ep->config + FAKE_DVSEC_LOCATOR + CXL_DVSEC_LOCATOR_ENTRY(0),
	      CXL_LOCATOR_LO(0, CXL_LOCATOR_ID_COMPONENT, 0x30000));
}

static void hdm_outside(FakeEp *ep)
{
	put32(ep->bar + CXL_COMPONENT_CACHEMEM + 8, CXL_CM_CAP_HEADER(CXL_CM_ID_HDM, 3, 0xffc));
}

static void hdm_on_array(FakeEp *ep)
{
	put32(ep->bar + CXL_COMPONENT_CACHEMEM + 8, CXL_CM_CAP_HEADER(CXL_CM_ID_HDM, 3, 0));
}

static void hdm_count(FakeEp *ep)
{
	put32(ep->bar + CXL_COMPONENT_CACHEMEM + FAKE_HDM, 0xf);
}

static void hdm_out_of_order(FakeEp *ep)
{
	fake_hdm_preset(ep->bar, 1, FAKE_WINDOW, 256 * MIB, 0, 0);
}

static void hdm_empty(FakeEp *ep)
{
	fake_hdm_preset(ep->bar, 0, FAKE_WINDOW, 0, 0, 0);
}

static void hdm_ways(FakeEp *ep)
{
	fake_hdm_preset(ep->bar, 0, FAKE_WINDOW, 256 * MIB, 0x70, 0);
}

static void hdm_skip(FakeEp *ep)
{
	fake_hdm_preset(ep->bar, 0, FAKE_WINDOW, 256 * MIB, 0, -256 * MIB);
}

static void caps_count(FakeEp *ep)
{
	put32(ep->bar + FAKE_DEVICE + 4, 0xffff);
}

static void caps_many(FakeEp *ep)
{
	put32(ep->bar + FAKE_DEVICE + 4, 200);
}

static void caps_id(FakeEp *ep)
{
	put16(ep->bar + FAKE_DEVICE, 9);
}

static void mailbox_beyond(FakeEp *ep)
{
	fake_dev_cap(ep, 1, CXL_DEV_CAP_ID_MAILBOX, 0x30000 - 8, 0x1020);
}

static void mailbox_wraps(FakeEp *ep)
{
	fake_dev_cap(ep, 1, CXL_DEV_CAP_ID_MAILBOX, 0xfffffff8, 0x1020);
}

static void mailbox_zero(FakeEp *ep)
{
	fake_dev_cap(ep, 1, CXL_DEV_CAP_ID_MAILBOX, FAKE_MAILBOX, 0);
}

static void mailbox_short(FakeEp *ep)
{
	fake_dev_cap(ep, 1, CXL_DEV_CAP_ID_MAILBOX, FAKE_MAILBOX, 0x101f);
}

static void mailbox_tiny(FakeEp *ep)
{
	fake_set_payload(ep, 7);
}

static void mailbox_huge(FakeEp *ep)
{
	put32(ep->bar + FAKE_DEVICE + FAKE_MAILBOX + CXL_MBOX_CAPS, 31);
}

static void caps_overlap(FakeEp *ep)
{
	fake_dev_cap(ep, 0, CXL_DEV_CAP_ID_STATUS, FAKE_MAILBOX + 0x20, 8);
}

static void status_dead(FakeEp *ep)
{
	memset(ep->bar + FAKE_DEVICE + FAKE_MEMDEV, 0xff, 8);
}

static void status_fatal(FakeEp *ep)
{
	ep->bar[FAKE_DEVICE + FAKE_MEMDEV] |= 1;
}

static void status_not_ready(FakeEp *ep)
{
	ep->bar[FAKE_DEVICE + FAKE_MEMDEV] = 0;
}

static void mailbox_busy(FakeEp *ep)
{
	put32(ep->bar + FAKE_DEVICE + FAKE_MAILBOX + CXL_MBOX_CTRL, 1);
}

static void no_mem(FakeEp *ep)
{
	put16(ep->config + FAKE_DVSEC_DEVICE + 0x0a, 0x1a);
}

static void three_ranges(FakeEp *ep)
{
	put16(ep->config + FAKE_DVSEC_DEVICE + 0x0a, 0x3e);
}

static void media_not_ready(FakeEp *ep)
{
	ep->bar[FAKE_DEVICE + FAKE_MEMDEV] = 0x10;
}

static void range_not_active(FakeEp *ep)
{
	put32(ep->config + FAKE_DVSEC_DEVICE + 0x1c, CXL_DVSEC_RANGE_VALID);
}

static const Lie lies[] = {
	{ "extcap-loop", extcap_loop, "" },
	{ "extcap-self", extcap_self, "register locator" },
	{ "extcap-low", extcap_low, "register locator" },
	{ "no-extcaps", no_extcaps, "DVSEC" },
	{ "dvsec-zero-len", dvsec_zero_len, "register locator" },
	{ "dvsec-beyond", dvsec_beyond, "register locator" },
	{ "dvsec-short", dvsec_short, "DVSEC" },
	{ "dvsec-at-end", dvsec_at_end, "" },
	{ "locator-beyond-bar", locator_beyond_bar, "outside BAR0" },
	{ "locator-high", locator_high, "outside BAR0" },
	{ "locator-no-bar", locator_no_bar, "outside BAR4" },
	{ "locator-bar7", locator_bar7, "outside BAR7" },
	{ "locator-empty", locator_empty, "no block of type" },
	{ "component-at-end", component_at_end, "no capability array" },
	{ "hdm-outside", hdm_outside, "HDM capability" },
	{ "hdm-on-array", hdm_on_array, "HDM capability" },
	{ "hdm-count", hdm_count, "HDM capability" },
	{ "hdm-out-of-order", hdm_out_of_order, "out of order" },
	{ "hdm-empty", hdm_empty, "makes no sense" },
	{ "hdm-ways", hdm_ways, "makes no sense" },
	{ "hdm-skip", hdm_skip, "DPA space" },
	{ "caps-count", caps_count, "65535 device capabilities" },
	{ "caps-many", caps_many, "" },
	{ "caps-id", caps_id, "capability array" },
	{ "mailbox-beyond", mailbox_beyond, "mailbox" },
	{ "mailbox-wraps", mailbox_wraps, "mailbox" },
	{ "mailbox-zero", mailbox_zero, "mailbox" },
	{ "mailbox-short", mailbox_short, "too short" },
	{ "mailbox-tiny", mailbox_tiny, "payload of 2^7" },
	{ "mailbox-huge", mailbox_huge, "payload of 2^31" },
	{ "caps-overlap", caps_overlap, "overlap" },
	{ "status-dead", status_dead, "all-ones" },
	{ "status-fatal", status_fatal, "failed" },
	{ "status-not-ready", status_not_ready, "not ready" },
	{ "mailbox-busy", mailbox_busy, "busy" },
	{ "no-mem", no_mem, "CXL.mem" },
	{ "three-ranges", three_ranges, "3 memory ranges" },
	{ "media-not-ready", media_not_ready, "" },
	{ "range-not-active", range_not_active, "" },
};

static void test_lie(gconstpointer data)
{
	const Lie *lie = data;
	g_autoptr(Fake) fake = fake_new(1, 1);
	FakeEp *ep = fake_plug(fake, 0, 0);
	const char *error;

	lie->tell(ep);
	g_assert_cmpint(fake_start(fake, NULL), ==, 1);
	error = cxl_memdev_error(cxl_driver_memdev(fake->driver, 0));
	g_test_message("%s", error);
	if (lie->error[0])
		g_assert_nonnull(strstr(error, lie->error));
	else
		g_assert_cmpstr(error, ==, "");
	g_assert_cmpuint(fake->n_access, <, 20000);
}

static void test_media(void)
{
	g_autoptr(Fake) fake = fake_new(1, 1);
	FakeEp *ep = fake_plug(fake, 0, 0);
	CxlMemdev *memdev;
	CxlRegionSpec spec = { .memdevs = &memdev, .n_memdevs = 1, .len = 256 * MIB };
	CxlRegion *region;

	range_not_active(ep);
	g_assert_cmpint(fake_start(fake, &(CxlDriverOptions){ .media_ms = 3000 }), ==, 1);
	memdev = cxl_driver_memdev(fake->driver, 0);
	g_assert_false(cxl_memdev_info(memdev)->media_ready);
	g_assert_cmpuint(fake->now, >, 3000000);
	g_assert_cmpuint(fake->now, <, 4000000);
	g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==, -ENODEV);
}

/* ---- CDAT ---- */

static void test_cdat(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake G_GNUC_UNUSED = fake_simple(&ep, &memdev);
	const CxlMemRange *range = cxl_memdev_range(memdev, 1);

	g_assert_true(cxl_memdev_info(memdev)->has_cdat);
	g_assert_cmpuint(cxl_memdev_n_ranges(memdev), ==, 2);
	g_assert_cmpuint(range->dpa, ==, 256 * MIB);
	g_assert_cmpuint(range->len, ==, 16 * GIB);
	g_assert_cmphex(range->flags, ==, CXL_DSMAS_DYNAMIC_CAPACITY);
	g_assert_cmpuint(range->perf[CXL_CDAT_DATA_READ_LATENCY], ==, 150000);
	g_assert_cmpuint(range->perf[CXL_CDAT_DATA_WRITE_LATENCY], ==, 0);
	g_assert_null(cxl_memdev_range(memdev, 2));
}

static void cdat_checksum(FakeEp *ep)
{
	((GByteArray *)ep->cdat->pdata[2])->data[8] ^= 1;
}

static void cdat_length_long(FakeEp *ep)
{
	put32(((GByteArray *)ep->cdat->pdata[0])->data, 0x1000);
}

static void cdat_length_short(FakeEp *ep)
{
	put32(((GByteArray *)ep->cdat->pdata[0])->data, 24);
}

static void cdat_length_huge(FakeEp *ep)
{
	put32(((GByteArray *)ep->cdat->pdata[0])->data, UINT32_MAX);
}

static void cdat_length_zero(FakeEp *ep)
{
	put32(((GByteArray *)ep->cdat->pdata[0])->data, 0);
}

static void cdat_entry_zero(FakeEp *ep)
{
	put16(((GByteArray *)ep->cdat->pdata[1])->data + 2, 0);
}

static void cdat_entry_long(FakeEp *ep)
{
	put16(((GByteArray *)ep->cdat->pdata[1])->data + 2, 0x400);
}

static void cdat_header_long(FakeEp *ep)
{
	g_byte_array_set_size(ep->cdat->pdata[0], 24);
}

static void cdat_dsmas_short(FakeEp *ep)
{
	g_byte_array_set_size(ep->cdat->pdata[1], 16);
	put16(((GByteArray *)ep->cdat->pdata[1])->data + 2, 16);
	fake_cdat_seal(ep);
}

static const Lie cdat_lies[] = {
	{ "checksum", cdat_checksum, "sum" },
	{ "length-long", cdat_length_long, "CDAT" },
	{ "length-short", cdat_length_short, "CDAT" },
	{ "length-huge", cdat_length_huge, "CDAT of" },
	{ "length-zero", cdat_length_zero, "CDAT of" },
	{ "entry-zero", cdat_entry_zero, "says 0" },
	{ "entry-long", cdat_entry_long, "says 1024" },
	{ "header-long", cdat_header_long, "CDAT" },
	{ "dsmas-short", cdat_dsmas_short, "16 bytes" },
};

static void test_cdat_lie(gconstpointer data)
{
	const Lie *lie = data;
	g_autoptr(Fake) fake = fake_new(1, 1);
	CxlMemdev *memdev;

	lie->tell(fake_plug(fake, 0, 0));
	g_assert_cmpint(fake_start(fake, NULL), ==, 1);
	memdev = cxl_driver_memdev(fake->driver, 0);
	/* The device works without. */
	g_assert_cmpstr(cxl_memdev_error(memdev), ==, "");
	g_assert_false(cxl_memdev_info(memdev)->has_cdat);
	g_assert_cmpuint(cxl_memdev_n_ranges(memdev), ==, 0);
	g_assert_nonnull(strstr(fake->log->str, lie->error));
}

static void test_sharable(void)
{
	g_autoptr(Fake) fake = fake_new(1, 1);

	fake_set_sharable(fake_plug(fake, 0, 0));
	fake_start(fake, NULL);
	g_assert_true(cxl_memdev_dc_region(cxl_driver_memdev(fake->driver, 0), 0)->sharable);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/driver/enumerate/simple", test_simple);
	g_test_add_func("/unit/driver/enumerate/numbering", test_numbering);
	g_test_add_func("/unit/driver/enumerate/numbered", test_numbered);
	g_test_add_func("/unit/driver/enumerate/buses-run-out", test_buses_run_out);
	g_test_add_func("/unit/driver/enumerate/platform-refused", test_platform_refused);
	g_test_add_func("/unit/driver/enumerate/media", test_media);
	for (guint i = 0; i < G_N_ELEMENTS(lies); i++) {
		g_autofree char *path = g_strdup_printf("/unit/driver/enumerate/lie/%s",
							lies[i].name);

		g_test_add_data_func(path, &lies[i], test_lie);
	}
	g_test_add_func("/unit/driver/cdat/read", test_cdat);
	g_test_add_func("/unit/driver/cdat/sharable", test_sharable);
	for (guint i = 0; i < G_N_ELEMENTS(cdat_lies); i++) {
		g_autofree char *path = g_strdup_printf("/unit/driver/cdat/lie/%s",
							cdat_lies[i].name);

		g_test_add_data_func(path, &cdat_lies[i], test_cdat_lie);
	}
	return g_test_run();
}
