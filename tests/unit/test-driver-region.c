/* SPDX-License-Identifier: BSD-3-Clause */
/* Driver: decoder programming from window to endpoint, its order, its undoing, and interleaving. */
#include "cxl-fake.h"

static CxlMemdev *memdev_of(Fake *fake, FakeEp *ep)
{
	CxlMemdev *memdev = cxl_driver_find_serial(fake->driver,
						   le64_load(ep->config + FAKE_DSN + PCI_DSN_LO));

	g_assert_nonnull(memdev);
	return memdev;
}

static int program(Fake *fake, CxlMemdev *memdev, uint64_t dpa, uint64_t len, CxlRegion **region)
{
	CxlRegionSpec spec = { .memdevs = &memdev, .n_memdevs = 1, .dpa = dpa, .len = len };

	return cxl_driver_program(fake->driver, &spec, region);
}

/* Contract 2.2: enable first, endpoint before bridge; base, size, skip or targets, then control. */
static void test_order(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake = fake_simple(&ep, &memdev);
	CxlRegion *region;

	g_assert_cmpint(program(fake, memdev, 256 * MIB, GIB, &region), ==, 0);
	g_assert_cmpstr(fake->trace->str, ==,
			"ep1.0 enable\n"
			"ep1.0 0+04 00000080\n"
			"ep1.0 0+00 00000000\n"
			"ep1.0 0+0c 00000000\n"
			"ep1.0 0+08 40000000\n"
			"ep1.0 0+18 00000000\n"
			"ep1.0 0+14 10000000\n"
			"ep1.0 0+10 00001200\n"
			"hb1 0+04 00000080\n"
			"hb1 0+00 00000000\n"
			"hb1 0+0c 00000000\n"
			"hb1 0+08 40000000\n"
			"hb1 0+18 00000000\n"
			"hb1 0+14 0000000a\n"
			"hb1 0+10 00001200\n");
	g_assert_cmpint(le16_load(ep->config + FAKE_DVSEC_DEVICE + 0x0c), ==,
			CXL_DVSEC_DEVICE_CTRL_MEM);
	g_string_truncate(fake->trace, 0);
	g_assert_cmpint(cxl_driver_unprogram(fake->driver, region), ==, 0);
	g_assert_cmpstr(fake->trace->str, ==,
			"hb1 0+10 00001000\n"
			"hb1 0+0c 00000000\n"
			"hb1 0+08 00000000\n"
			"hb1 0+04 00000000\n"
			"hb1 0+00 00000000\n"
			"ep1.0 0+10 00001000\n"
			"ep1.0 0+0c 00000000\n"
			"ep1.0 0+08 00000000\n"
			"ep1.0 0+04 00000000\n"
			"ep1.0 0+00 00000000\n");
	g_assert_null(cxl_driver_first_region(fake->driver));
}

/* Static memory, then the DC region: ascending HPA and DPA, decoders in order. */
static void test_two(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake = fake_simple(&ep, &memdev);
	CxlRegion *ram;
	CxlRegion *dc;
	CxlRegion *third;
	uint64_t hpa;
	uint64_t run;

	g_assert_cmpint(cxl_memdev_hpa_of_dpa(memdev, 0, &hpa, &run), ==, -ENOENT);
	g_assert_cmpint(program(fake, memdev, 0, 256 * MIB, &ram), ==, 0);
	g_assert_cmpint(program(fake, memdev, 512 * MIB, GIB, &dc), ==, 0);
	g_assert_cmphex(cxl_region_info(ram)->hpa, ==, FAKE_WINDOW);
	g_assert_cmphex(cxl_region_info(dc)->hpa, ==, FAKE_WINDOW + 256 * MIB);
	g_assert_true(cxl_driver_first_region(fake->driver) == ram);
	g_assert_true(cxl_region_next(ram) == dc);
	g_assert_cmphex(le64_load(ep->bar + CXL_COMPONENT_CACHEMEM + FAKE_HDM + CXL_HDM_SKIP_LO(1)),
			==, 256 * MIB);
	g_assert_cmpint(cxl_memdev_hpa_of_dpa(memdev, 512 * MIB + 4096, &hpa, &run), ==, 0);
	g_assert_cmphex(hpa, ==, FAKE_WINDOW + 256 * MIB + 4096);
	g_assert_cmphex(run, ==, GIB - 4096);
	g_assert_cmpint(cxl_memdev_hpa_of_dpa(memdev, 256 * MIB, &hpa, &run), ==, -ENOENT);
	/* DPA only grows: what was skipped is lost. */
	g_assert_cmpint(program(fake, memdev, 256 * MIB, 256 * MIB, &third), ==, -EBUSY);
	g_assert_nonnull(strstr(cxl_driver_error(fake->driver), "DPA below"));
	g_assert_cmpint(cxl_driver_unprogram(fake->driver, dc), ==, 0);
	g_assert_cmpint(program(fake, memdev, 256 * MIB, GIB, &dc), ==, 0);
	g_assert_cmphex(cxl_region_info(dc)->hpa, ==, FAKE_WINDOW + 256 * MIB);
}

static void test_refused(void)
{
	static const struct {
		uint64_t dpa, len;
		unsigned n;
		int err;
		uint64_t hpa;
		uint32_t granularity;
	} cases[] = {
		{ 1, GIB, 1, -EINVAL, 0, 0 },
		{ 0, GIB + MIB, 1, -EINVAL, 0, 0 },
		{ 0, 0, 1, -EINVAL, 0, 0 },
		{ 0, GIB, 0, -EINVAL, 0, 0 },
		{ 0, GIB, 5, -EINVAL, 0, 0 },
		{ 0, GIB, 32, -EINVAL, 0, 0 },
		{ 0, GIB, 2, -EINVAL, 0, 0 }, /* the same twice */
		{ -256 * MIB, GIB, 1, -EINVAL, 0, 0 },
		{ 0, 17 * GIB, 1, -ERANGE, 0, 0 },
		{ 0, GIB, 1, -EBUSY, 256 * MIB, 0 }, /* below the window */
		{ 0, GIB, 1, -EBUSY, FAKE_WINDOW + 1, 0 },
		{ 0, GIB, 1, -ENOSPC, FAKE_WINDOW + 64 * GIB - 256 * MIB, 0 },
		{ 0, GIB, 1, -EINVAL, 0, 128 },
	};
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake = fake_simple(&ep, &memdev);
	CxlMemdev *memdevs[32];

	for (guint i = 0; i < G_N_ELEMENTS(memdevs); i++)
		memdevs[i] = memdev;
	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		CxlRegionSpec spec = {
			.memdevs = memdevs,
			.n_memdevs = cases[i].n,
			.dpa = cases[i].dpa,
			.len = cases[i].len,
			.hpa = cases[i].hpa,
			.granularity = cases[i].granularity,
		};
		CxlRegion *region = NULL;

		g_test_message("case %u", i);
		g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==, cases[i].err);
		g_assert_null(region);
		g_assert_cmpstr(fake->trace->str, ==, "");
		g_assert_cmpuint(strlen(cxl_driver_error(fake->driver)), >, 0);
	}
}

static void test_window_restrictions(void)
{
	g_autoptr(Fake) fake = fake_new(1, 1);
	CxlRegion *region;

	fake_plug(fake, 0, 0);
	fake->window[0].restrictions = 0xa; /* persistent only */
	fake->window[1] = fake->window[0];
	fake->window[1].hpa += 128 * GIB;
	fake->window[1].restrictions = 6;
	fake->n_windows = 2;
	fake_start(fake, NULL);
	g_assert_cmpint(program(fake, cxl_driver_memdev(fake->driver, 0), 0, GIB, &region), ==, 0);
	g_assert_cmphex(cxl_region_info(region)->hpa, ==, FAKE_WINDOW + 128 * GIB);
}

static void test_decoders_run_out(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake = fake_simple(&ep, &memdev);
	CxlRegion *region;

	for (unsigned i = 0; i < 4; i++)
		g_assert_cmpint(program(fake, memdev, i * 256 * MIB, 256 * MIB, &region), ==, 0);
	g_assert_cmpint(program(fake, memdev, GIB, 256 * MIB, &region), ==, -ENOSPC);
}

static void test_range_registers(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake = fake_simple(&ep, &memdev);
	CxlRegion *region;

	put16(ep->config + FAKE_DVSEC_DEVICE + 0x0c, CXL_DVSEC_DEVICE_CTRL_MEM);
	g_assert_cmpint(program(fake, memdev, 0, GIB, &region), ==, -EBUSY);
	g_assert_nonnull(strstr(cxl_driver_error(fake->driver), "range registers"));
	g_assert_cmpstr(fake->trace->str, ==, "");
}

static void assert_untouched(const uint8_t *block)
{
	const uint8_t *hdm = block + CXL_COMPONENT_CACHEMEM + FAKE_HDM;

	for (unsigned n = 0; n < 4; n++) {
		g_assert_cmphex(le64_load(hdm + CXL_HDM_BASE_LO(n)), ==, 0);
		g_assert_cmphex(le64_load(hdm + CXL_HDM_SIZE_LO(n)), ==, 0);
		g_assert_false(le32_load(hdm + CXL_HDM_DEC_CTRL(n)) &
			       (CXL_HDM_DEC_COMMIT | CXL_HDM_DEC_COMMITTED));
	}
}

/* Four endpoints and two bridges: whichever decoder fails, none stays committed. */
static void test_rollback(gconstpointer data)
{
	FakeCommit how = GPOINTER_TO_INT(data);

	for (unsigned step = 0; step < 6; step++) {
		g_autoptr(Fake) fake = fake_new(2, 2);
		CxlMemdev *memdevs[4];
		CxlRegionSpec spec = { .memdevs = memdevs, .n_memdevs = 4, .len = GIB };
		CxlRegion *region = NULL;
		FakeHdm *hdm[6];

		fake->window[0].ways = 2;
		fake->window[0].targets[1] = 2;
		for (unsigned i = 0; i < 4; i++)
			hdm[i] = &fake_plug(fake, i / 2, i % 2)->hdm;
		hdm[4] = &fake->bridge[0].hdm;
		hdm[5] = &fake->bridge[1].hdm;
		fake_start(fake, NULL);
		for (unsigned i = 0; i < 4; i++)
			memdevs[i] = cxl_driver_memdev(fake->driver, i);
		hdm[step]->commit = how;
		g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==,
				how == FAKE_COMMIT_ERROR ? -EIO : -ETIMEDOUT);
		g_assert_nonnull(strstr(cxl_driver_error(fake->driver), "decoder 0"));
		g_assert_null(region);
		g_assert_null(cxl_driver_first_region(fake->driver));
		for (unsigned i = 0; i < 4; i++)
			assert_untouched(fake->bridge[i / 2].port[i % 2].ep->bar);
		assert_untouched(fake->bridge[0].chbcr);
		assert_untouched(fake->bridge[1].chbcr);
		/* And all of it can be used afterwards. */
		hdm[step]->commit = FAKE_COMMIT_OK;
		g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==, 0);
		g_assert_cmphex(cxl_region_info(region)->hpa, ==, FAKE_WINDOW);
	}
}

static void test_commit_time(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake = fake_simple(&ep, &memdev);
	uint64_t begun = fake->now;
	CxlRegion *region;

	ep->hdm.commit = FAKE_COMMIT_NEVER;
	g_assert_cmpint(program(fake, memdev, 0, GIB, &region), ==, -ETIMEDOUT);
	g_assert_cmpuint(fake->now - begun, >=, 20000);
	g_assert_cmpuint(fake->now - begun, <, 21000);
}

/* A decoder that does not let go keeps its region, and can be asked again. */
static void test_stuck(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake = fake_simple(&ep, &memdev);
	CxlRegion *region;

	g_assert_cmpint(program(fake, memdev, 0, GIB, &region), ==, 0);
	ep->hdm.stuck = true;
	g_assert_cmpint(cxl_driver_unprogram(fake->driver, region), ==, -ETIMEDOUT);
	g_assert_true(cxl_driver_first_region(fake->driver) == region);
	ep->hdm.stuck = false;
	g_assert_cmpint(cxl_driver_unprogram(fake->driver, region), ==, 0);
	assert_untouched(ep->bar);
}

static void test_locked(void)
{
	FakeEp *ep;
	CxlMemdev *memdev;
	g_autoptr(Fake) fake = fake_simple(&ep, &memdev);
	CxlRegionSpec spec = { .memdevs = &memdev, .n_memdevs = 1, .len = GIB, .lock = true };
	CxlRegion *region;

	g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==, 0);
	g_assert_cmpint(cxl_driver_unprogram(fake->driver, region), ==, -EPERM);
}

/* What others committed is respected, or adopted if told so. */
static void preset(Fake *fake, FakeEp *ep)
{
	fake_hdm_preset(ep->bar, 0, FAKE_WINDOW + GIB, GIB, CXL_HDM_DEC_HOST_ONLY, 256 * MIB);
	fake_hdm_preset(fake->bridge[0].chbcr, 0, FAKE_WINDOW + GIB, GIB, CXL_HDM_DEC_HOST_ONLY,
			10);
	put32(ep->bar + CXL_COMPONENT_CACHEMEM + FAKE_HDM + CXL_HDM_CTRL, CXL_HDM_CTRL_ENABLE);
}

static void test_foreign(void)
{
	g_autoptr(Fake) fake = fake_new(1, 2);
	FakeEp *ep = fake_plug(fake, 0, 0);
	FakeEp *other = fake_plug(fake, 0, 1);
	CxlRegion *region;
	uint64_t hpa;
	uint64_t run;

	preset(fake, ep);
	fake_start(fake, NULL);
	g_assert_null(cxl_driver_first_region(fake->driver));
	g_assert_cmpint(cxl_memdev_hpa_of_dpa(memdev_of(fake, ep), 256 * MIB, &hpa, &run), ==,
			-ENOENT);
	g_assert_cmpint(program(fake, memdev_of(fake, ep), 256 * MIB, GIB, &region), ==, -EBUSY);
	/* The neighbour goes above it: the bridge decodes in ascending order. */
	g_assert_cmpint(program(fake, memdev_of(fake, other), 0, GIB, &region), ==, 0);
	g_assert_cmphex(cxl_region_info(region)->hpa, ==, FAKE_WINDOW + 2 * GIB);
}

/* What an earlier host left is named from the top down, and taken back on demand only. */
static void test_foreign_taken_back(void)
{
	g_autoptr(Fake) fake = fake_new(1, 2);
	FakeEp *ep = fake_plug(fake, 0, 0);
	CxlForeignDecoder foreign;
	CxlMemdev *memdev;
	CxlRegion *region;

	preset(fake, ep);
	fake_start(fake, NULL);
	memdev = memdev_of(fake, ep);
	g_assert_true(cxl_memdev_find_foreign(memdev, &foreign));
	g_assert_cmpstr(foreign.owner, ==, "host bridge 1");
	g_assert_cmpuint(foreign.index, ==, 0);
	g_assert_cmphex(foreign.hpa, ==, FAKE_WINDOW + GIB);
	g_assert_cmphex(foreign.len, ==, GIB);
	g_assert_false(foreign.locked);
	/* What does not lie in the range wholly stays. */
	g_assert_cmpint(cxl_memdev_reset_foreign(memdev, FAKE_WINDOW, GIB), ==, 0);
	g_assert_cmpint(cxl_memdev_reset_foreign(memdev, FAKE_WINDOW + GIB + 1, GIB), ==, 0);
	g_assert_cmpint(cxl_memdev_reset_foreign(memdev, FAKE_WINDOW + GIB, GIB - 1), ==, 0);
	g_assert_cmpstr(fake->trace->str, ==, "");
	g_assert_cmpint(cxl_memdev_reset_foreign(memdev, FAKE_WINDOW + GIB, GIB), ==, 0);
	g_assert_cmpint(strncmp(fake->trace->str, "hb1 0+10", 8), ==, 0);
	g_assert_false(cxl_memdev_find_foreign(memdev, &foreign));
	g_assert_cmpint(program(fake, memdev, 256 * MIB, GIB, &region), ==, 0);
	g_assert_cmphex(cxl_region_info(region)->hpa, ==, FAKE_WINDOW);
	/* Ours are not foreign. */
	g_assert_false(cxl_memdev_find_foreign(memdev, &foreign));
	g_string_truncate(fake->trace, 0);
	g_assert_cmpint(cxl_memdev_reset_foreign(memdev, 0, UINT64_MAX), ==, 0);
	g_assert_cmpstr(fake->trace->str, ==, "");
}

/* Only the endpoint has one: the way above it is free. A locked one stays. */
static void test_foreign_locked(void)
{
	g_autoptr(Fake) fake = fake_new(1, 2);
	FakeEp *ep = fake_plug(fake, 0, 0);
	CxlForeignDecoder foreign;
	CxlMemdev *memdev;

	fake_hdm_preset(ep->bar, 0, FAKE_WINDOW, GIB, CXL_HDM_DEC_HOST_ONLY | CXL_HDM_DEC_LOCK,
			256 * MIB);
	fake_start(fake, NULL);
	memdev = memdev_of(fake, ep);
	g_assert_true(cxl_memdev_find_foreign(memdev, &foreign));
	g_assert_cmpint(strncmp(foreign.owner, "device ", 7), ==, 0);
	g_assert_true(foreign.locked);
	g_assert_cmpint(cxl_memdev_reset_foreign(memdev, 0, UINT64_MAX), ==, -EPERM);
	g_assert_true(cxl_memdev_find_foreign(memdev, &foreign));
}

static void test_adopt(void)
{
	g_autoptr(Fake) fake = fake_new(1, 2);
	FakeEp *ep = fake_plug(fake, 0, 0);
	CxlRegion *region;
	CxlRegion *again;
	uint64_t hpa;
	uint64_t run;

	preset(fake, ep);
	fake_start(fake, &(CxlDriverOptions){ .adopt = true });
	region = cxl_driver_first_region(fake->driver);
	g_assert_nonnull(region);
	g_assert_true(cxl_region_info(region)->adopted);
	g_assert_true(cxl_region_info(region)->memdevs[0] == memdev_of(fake, ep));
	g_assert_cmpint(cxl_memdev_hpa_of_dpa(memdev_of(fake, ep), 512 * MIB, &hpa, &run), ==, 0);
	g_assert_cmphex(hpa, ==, FAKE_WINDOW + GIB + 256 * MIB);
	g_assert_cmpint(program(fake, memdev_of(fake, ep), 256 * MIB, GIB, &again), ==, 0);
	g_assert_true(again == region);
	g_assert_cmpint(cxl_driver_unprogram(fake->driver, region), ==, -EPERM);
	g_assert_cmpstr(fake->trace->str, ==, "");
}

/* ---- interleaving ---- */

typedef struct Layout {
	const char *name;
	unsigned window_ways, bridge_ways;
} Layout;

static const Layout layouts[] = {
	{ "1x2", 1, 2 }, { "1x4", 1, 4 }, { "1x8", 1, 8 }, { "2x1", 2, 1 }, { "2x2", 2, 2 },
	{ "2x4", 2, 4 }, { "2x8", 2, 8 }, { "4x1", 4, 1 }, { "4x2", 4, 2 }, { "4x4", 4, 4 },
	{ "1x3", 1, 3 }, { "1x6", 1, 6 }, { "2x3", 2, 3 }, { "4x3", 4, 3 }, { "2x6", 2, 6 },
	{ "3x1", 3, 1 }, { "3x2", 3, 2 }, { "3x4", 3, 4 },
};

/* The target that a bridge's or switch's registers choose for an address */
static unsigned choose(const uint8_t *block, uint64_t hpa)
{
	const uint8_t *hdm = block + CXL_COMPONENT_CACHEMEM + FAKE_HDM;
	uint32_t ctrl = le32_load(hdm + CXL_HDM_DEC_CTRL(0));
	unsigned ways = cxl_iw_decode(CXL_FIELD_GET(CXL_HDM_DEC_IW, ctrl));
	uint32_t granularity = cxl_ig_decode(CXL_FIELD_GET(CXL_HDM_DEC_IG, ctrl));

	g_assert_true(ctrl & CXL_HDM_DEC_COMMITTED);
	return hdm[CXL_HDM_TARGET_LO(0) + hpa / granularity % ways];
}

/* Independent of the driver: what the committed registers do with an address. */
static FakeEp *decode(Fake *fake, uint64_t hpa, uint64_t *ret_dpa)
{
	const CxlWindow *window = &fake->window[0];
	uint64_t choice = (hpa - window->hpa) / window->granularity % window->ways;
	FakeBridge *bridge = fake_find_bridge(fake, window->targets[choice]);
	FakePort *port = &bridge->port[choose(bridge->chbcr, hpa) - 10];
	uint32_t granularity;
	uint64_t offset;
	uint32_t ctrl;
	unsigned ways;
	uint8_t *hdm;

	if (port->sw)
		port = &port->sw->port[choose(port->sw->bar, hpa) - 20];
	g_assert_nonnull(port->ep);
	hdm = port->ep->bar + CXL_COMPONENT_CACHEMEM + FAKE_HDM;
	ctrl = le32_load(hdm + CXL_HDM_DEC_CTRL(0));
	g_assert_true(ctrl & CXL_HDM_DEC_COMMITTED);
	ways = cxl_iw_decode(CXL_FIELD_GET(CXL_HDM_DEC_IW, ctrl));
	granularity = cxl_ig_decode(CXL_FIELD_GET(CXL_HDM_DEC_IG, ctrl));
	offset = hpa - le64_load(hdm + CXL_HDM_BASE_LO(0));
	*ret_dpa = le64_load(hdm + CXL_HDM_SKIP_LO(0)) + offset / granularity / ways * granularity +
		   offset % granularity;
	return port->ep;
}

static void check_decoding(Fake *fake, CxlRegion *region)
{
	const CxlRegionInfo *info = cxl_region_info(region);

	for (unsigned i = 0; i < 64; i++) {
		uint64_t hpa = info->hpa + i * info->granularity + 5 + (i % 3) * 13 * MIB;
		uint64_t dpa;
		uint64_t back;
		uint64_t run;
		CxlMemdev *memdev = memdev_of(fake, decode(fake, hpa, &dpa));
		uint64_t granule = (hpa - info->hpa) / info->granularity;

		g_assert_cmpint(cxl_memdev_hpa_of_dpa(memdev, dpa, &back, &run), ==, 0);
		g_assert_cmphex(back, ==, hpa);
		g_assert_cmpuint(run, ==,
				 info->granularity - (hpa - info->hpa) % info->granularity);
		g_assert_true(info->memdevs[granule % info->ways] == memdev);
	}
}

static void test_interleave(gconstpointer data)
{
	const Layout *layout = data;
	unsigned n = layout->window_ways * layout->bridge_ways;
	g_autoptr(Fake) fake = fake_new(layout->window_ways, layout->bridge_ways);
	CxlMemdev *memdevs[16];
	CxlRegionSpec spec = {
		.memdevs = memdevs,
		.n_memdevs = n,
		.dpa = 256 * MIB,
		.len = GIB,
		.granularity = layout->window_ways == 1 ? 1024 : 0,
	};
	uint32_t granularity = layout->window_ways == 1 ? 1024 : 512;
	CxlRegion *region;
	const CxlRegionInfo *info;

	fake->window[0].ways = layout->window_ways;
	fake->window[0].granularity = 512;
	for (unsigned b = 0; b < layout->window_ways; b++) {
		fake->window[0].targets[b] = layout->window_ways - b; /* not in order of UIDs */
		for (unsigned p = 0; p < layout->bridge_ways; p++)
			fake_plug(fake, b, p);
	}
	g_assert_cmpint(fake_start(fake, NULL), ==, (int)n);
	for (unsigned i = 0; i < n; i++) /* in any order */
		memdevs[i] = cxl_driver_memdev(fake->driver, (i * 5 + 3) % n);
	g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==, 0);
	info = cxl_region_info(region);
	g_assert_cmpuint(info->len, ==, n * GIB);
	g_assert_cmpuint(info->granularity, ==, granularity);
	check_decoding(fake, region);
	g_assert_cmpint(cxl_driver_unprogram(fake->driver, region), ==, 0);
	for (unsigned b = 0; b < layout->window_ways; b++) {
		assert_untouched(fake->bridge[b].chbcr);
		for (unsigned p = 0; p < layout->bridge_ways; p++)
			assert_untouched(fake->bridge[b].port[p].ep->bar);
	}
}

/* Two root ports with a switch below each, two devices below each of those */
static void test_switches(void)
{
	g_autoptr(Fake) fake = fake_new(1, 2);
	CxlMemdev *memdevs[4];
	CxlRegionSpec spec = {
		.memdevs = memdevs,
		.n_memdevs = 4,
		.dpa = 256 * MIB,
		.len = GIB,
		.granularity = 4096,
	};
	FakeSwitch *sw[2];
	CxlRegion *region;

	for (unsigned i = 0; i < 2; i++)
		sw[i] = fake_plug_switch(fake, 0, i, 2);
	g_assert_cmpint(fake_start(fake, NULL), ==, 4);
	for (unsigned i = 0; i < 4; i++)
		memdevs[i] = cxl_driver_memdev(fake->driver, i);
	/* root port 1, upstream port 2, downstream ports 3 and 4 lead to the first endpoint on 3 */
	g_assert_cmphex(cxl_memdev_info(memdevs[0])->bdf, ==, 0x0300);
	g_assert_cmphex(sw[0]->config[PCI_CFG1_SUBORDINATE_BUS], ==, 4);
	g_assert_cmphex(fake->bridge[0].port[0].config[PCI_CFG1_SUBORDINATE_BUS], ==, 4);
	sw[1]->hdm.commit = FAKE_COMMIT_ERROR;
	g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==, -EIO);
	assert_untouched(sw[0]->bar);
	sw[1]->hdm.commit = FAKE_COMMIT_OK;
	g_string_truncate(fake->trace, 0);
	g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==, 0);
	check_decoding(fake, region);
	/* Bottom up: no bridge opens before what is below it. */
	g_assert_true(g_strrstr(fake->trace->str, "ep1.") < strstr(fake->trace->str, "sw1."));
	g_assert_true(g_strrstr(fake->trace->str, "sw1.") < strstr(fake->trace->str, "hb1"));
	cxl_driver_free(fake->driver);
	fake_start(fake, &(CxlDriverOptions){ .adopt = true });
	check_decoding(fake, cxl_driver_first_region(fake->driver));
}

/* A second driver over the same registers finds the same positions. */
static void test_adopt_interleaved(void)
{
	g_autoptr(Fake) fake = fake_new(2, 2);
	CxlMemdev *memdevs[4];
	CxlRegionSpec spec = { .memdevs = memdevs, .n_memdevs = 4, .len = GIB };
	CxlRegion *region;
	uint64_t serials[4];

	fake->window[0].ways = 2;
	fake->window[0].targets[1] = 2;
	for (unsigned i = 0; i < 4; i++)
		fake_plug(fake, i / 2, i % 2);
	fake_start(fake, NULL);
	for (unsigned i = 0; i < 4; i++)
		memdevs[i] = cxl_driver_memdev(fake->driver, i);
	g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==, 0);
	for (unsigned i = 0; i < 4; i++)
		serials[i] = cxl_memdev_info(cxl_region_info(region)->memdevs[i])->serial;
	cxl_driver_free(fake->driver);
	fake_start(fake, &(CxlDriverOptions){ .adopt = true });
	region = cxl_driver_first_region(fake->driver);
	g_assert_cmpuint(cxl_region_info(region)->ways, ==, 4);
	for (unsigned i = 0; i < 4; i++)
		g_assert_cmphex(cxl_memdev_info(cxl_region_info(region)->memdevs[i])->serial, ==,
				serials[i]);
}

static void test_uneven(void)
{
	g_autoptr(Fake) fake = fake_new(2, 3);
	CxlMemdev *memdevs[4];
	CxlRegionSpec spec = { .memdevs = memdevs, .n_memdevs = 4, .len = GIB };
	CxlRegion *region;

	fake->window[0].ways = 2;
	fake->window[0].targets[1] = 2;
	for (unsigned p = 0; p < 3; p++)
		fake_plug(fake, 0, p);
	fake_plug(fake, 1, 0);
	fake_start(fake, NULL);
	for (unsigned i = 0; i < 4; i++)
		memdevs[i] = cxl_driver_memdev(fake->driver, i);
	g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==, -EINVAL);
	spec.n_memdevs = 1; /* one bridge cannot take all of a two-way window */
	g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==, -EINVAL);
	g_assert_cmpstr(fake->trace->str, ==, "");
}

static void test_capability_bits(void)
{
	g_autoptr(Fake) fake = fake_new(1, 3);
	CxlMemdev *memdevs[3];
	CxlRegionSpec spec = { .memdevs = memdevs, .n_memdevs = 2, .len = GIB };
	CxlRegion *region;
	uint8_t *cap = fake_plug(fake, 0, 0)->bar + CXL_COMPONENT_CACHEMEM + FAKE_HDM;

	fake_plug(fake, 0, 1);
	fake_plug(fake, 0, 2);
	put32(cap, 0x201); /* bits 14:12 only, no three ways */
	fake_start(fake, NULL);
	for (unsigned i = 0; i < 3; i++)
		memdevs[i] = cxl_driver_memdev(fake->driver, i);
	g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==, -EINVAL);
	spec.n_memdevs = 3;
	spec.granularity = 4096;
	g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==, -EINVAL);
	spec.n_memdevs = 2;
	g_assert_cmpint(cxl_driver_program(fake->driver, &spec, &region), ==, 0);
}

/* A bridge without HDM decoders passes all to its only port. */
static void test_passthrough(void)
{
	for (unsigned n_ports = 1; n_ports <= 2; n_ports++) {
		g_autoptr(Fake) fake = fake_new(1, n_ports);
		CxlRegion *region = NULL;

		fake_plug(fake, 0, 0);
		fake_component(fake->bridge[0].chbcr, 0, 0);
		fake_start(fake, NULL);
		g_assert_cmpint(program(fake, cxl_driver_memdev(fake->driver, 0), 0, GIB, &region),
				==, n_ports == 1 ? 0 : -ENXIO);
	}
}

static void test_same_port_number(void)
{
	g_autoptr(Fake) fake = fake_new(1, 2);
	CxlRegion *region;

	fake_plug(fake, 0, 0);
	put32(fake->bridge[0].port[1].config + 0x40 + PCI_PCIE_LNKCAP, 10u << 24);
	fake_start(fake, NULL);
	g_assert_cmpint(program(fake, cxl_driver_memdev(fake->driver, 0), 0, GIB, &region), ==,
			-ENXIO);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/driver/region/order", test_order);
	g_test_add_func("/unit/driver/region/two", test_two);
	g_test_add_func("/unit/driver/region/refused", test_refused);
	g_test_add_func("/unit/driver/region/window-restrictions", test_window_restrictions);
	g_test_add_func("/unit/driver/region/decoders-run-out", test_decoders_run_out);
	g_test_add_func("/unit/driver/region/range-registers", test_range_registers);
	g_test_add_data_func("/unit/driver/region/rollback-error",
			     GINT_TO_POINTER(FAKE_COMMIT_ERROR), test_rollback);
	g_test_add_data_func("/unit/driver/region/rollback-timeout",
			     GINT_TO_POINTER(FAKE_COMMIT_NEVER), test_rollback);
	g_test_add_func("/unit/driver/region/commit-time", test_commit_time);
	g_test_add_func("/unit/driver/region/stuck", test_stuck);
	g_test_add_func("/unit/driver/region/locked", test_locked);
	g_test_add_func("/unit/driver/region/foreign", test_foreign);
	g_test_add_func("/unit/driver/region/foreign-taken-back", test_foreign_taken_back);
	g_test_add_func("/unit/driver/region/foreign-locked", test_foreign_locked);
	g_test_add_func("/unit/driver/region/adopt", test_adopt);
	g_test_add_func("/unit/driver/region/adopt-interleaved", test_adopt_interleaved);
	g_test_add_func("/unit/driver/region/switches", test_switches);
	g_test_add_func("/unit/driver/region/uneven", test_uneven);
	g_test_add_func("/unit/driver/region/capability-bits", test_capability_bits);
	g_test_add_func("/unit/driver/region/passthrough", test_passthrough);
	g_test_add_func("/unit/driver/region/same-port-number", test_same_port_number);
	for (guint i = 0; i < G_N_ELEMENTS(layouts); i++) {
		g_autofree char *path = g_strdup_printf("/unit/driver/region/interleave/%s",
							layouts[i].name);

		g_test_add_data_func(path, &layouts[i], test_interleave);
	}
	return g_test_run();
}
