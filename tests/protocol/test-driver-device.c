/* SPDX-License-Identifier: BSD-3-Clause */
/* Our driver against our endpoint, in one process and by register accesses only. */
#include "driver_machine.h"

static void test_enumerate(gconstpointer data)
{
	g_autoptr(Machine) m = machine_new(data != NULL);
	const CxlMemdevInfo *info = cxl_memdev_info(m->memdev);
	bool found = false;

	g_assert_cmphex(info->serial, ==, 0xabcd);
	g_assert_cmpint(info->payload_mapped, ==, data == NULL);
	g_assert_cmpuint(info->total_len, ==, RAM);
	g_assert_cmpuint(info->ram_len, ==, RAM);
	g_assert_true(info->media_ready);
	g_assert_true(info->has_cdat);
	g_assert_true(info->has_dc);
	g_assert_cmpuint(info->n_dc_regions, ==, 2);
	g_assert_cmpuint(info->n_decoders, ==, DEVICE_N_DECODERS);
	g_assert_cmpuint(info->n_extents_supported, ==, 65536);
	g_assert_cmpuint(cxl_memdev_dc_region(m->memdev, 0)->dpa, ==, RAM);
	g_assert_cmpuint(cxl_memdev_dc_region(m->memdev, 0)->len, ==, GIB);
	g_assert_cmpuint(cxl_memdev_dc_region(m->memdev, 1)->block_len, ==, 4 * MIB);
	g_assert_false(cxl_memdev_dc_region(m->memdev, 0)->sharable);
	g_assert_true(cxl_memdev_dc_region(m->memdev, 1)->sharable);
	for (unsigned i = 0; i < cxl_memdev_n_ranges(m->memdev); i++) {
		const CxlMemRange *range = cxl_memdev_range(m->memdev, i);

		found = found || (range->dpa == 0 && range->len == RAM);
		g_assert_cmpuint(range->perf[CXL_CDAT_DATA_READ_LATENCY] +
					 range->perf[CXL_CDAT_DATA_ACCESS_LATENCY],
				 ==, 150000);
	}
	g_assert_true(found);
	g_assert_cmpint(cxl_memdev_effects(m->memdev, CXL_OP_RELEASE_DC), >=, 0);
}

static void count_decoder(const HdmDecoder *dec, void *opaque)
{
	unsigned *n = opaque;
	static const HdmDecoder expected[] = {
		{ .hpa = WINDOW, .len = RAM, .dpa = 0 },
		{ .hpa = WINDOW + RAM, .len = GIB, .dpa = RAM },
		{ .hpa = WINDOW + RAM + GIB, .len = 256 * MIB, .dpa = RAM + GIB },
	};

	if (!dec->committed)
		return;
	g_assert_cmpuint(*n, <, 3);
	g_assert_cmphex(dec->hpa, ==, expected[*n].hpa);
	g_assert_cmphex(dec->len, ==, expected[*n].len);
	g_assert_cmphex(dec->dpa, ==, expected[*n].dpa);
	g_assert_cmpuint(dec->ways, ==, 1);
	++*n;
}

static void test_decoders(void)
{
	g_autoptr(Machine) m = machine_new(false);
	CxlRegion *regions[3];
	unsigned n = 0;

	regions[0] = program(m, 0, RAM);
	regions[1] = program(m, RAM, GIB);
	regions[2] = program(m, RAM + GIB, 256 * MIB);
	device_foreach_decoder(m->dev, count_decoder, &n);
	g_assert_cmpuint(n, ==, 3);
	for (unsigned i = 3; i > 0; i--)
		g_assert_cmpint(cxl_driver_unprogram(m->driver, regions[i - 1]), ==, 0);
	n = 0;
	device_foreach_decoder(m->dev, count_decoder, &n);
	g_assert_cmpuint(n, ==, 0);
	regions[0] = program(m, 0, RAM);
	device_foreach_decoder(m->dev, count_decoder, &n);
	g_assert_cmpuint(n, ==, 1);
}

static void test_accept(gconstpointer data)
{
	static const OfferExtent extents[] = {
		{ 64 * MIB, 32 * MIB },
		{ 0, 16 * MIB },
		{ 256 * MIB, 16 * MIB },
	};
	g_autoptr(Machine) m = machine_running(data != NULL);
	Uuid tag = add_backend(m, 0, 64 * MIB, false);
	ReleaseRequest back = { .tag = tag };
	CapacityCounters counters;
	uint64_t id;

	offer(m, (OfferRequest){ .tag = tag,
				 .policy = OFFER_PRESCRIPTIVE,
				 .extents = extents,
				 .n_extents = 3 });
	assert_story(m, "");
	g_assert_cmpint(settle(m), ==, 3);
	assert_story(m, "offer*3 mapped*3 ");
	assert_agreed(m, 3);
	for (unsigned i = 0; i < 3; i++)
		g_assert_cmphex(g_array_index(m->hpas, uint64_t, i), ==,
				WINDOW + extents[i].offset);
	g_assert_true(capacity_release(m->cap, m->dc, &back, &id, NULL));
	settle(m);
	assert_story(m, "release*3 ");
	assert_agreed(m, 0);
	capacity_counters(m->cap, &counters);
	g_assert_cmpuint(counters.free, ==, 64 * MIB);
}

static void test_decline(void)
{
	g_autoptr(Machine) m = machine_running(false);
	CapacityCounters counters;

	m->verdict = CXL_ACCEPT_NONE;
	offer(m, (OfferRequest){ .tag = add_backend(m, 0, 64 * MIB, false) });
	settle(m);
	assert_story(m, "offer*1 ");
	assert_agreed(m, 0);
	capacity_counters(m->cap, &counters);
	g_assert_cmpuint(counters.free, ==, 64 * MIB);
}

/* The longest chain the device sends; then only its first extent is taken. */
static void test_long_chain(void)
{
	g_autoptr(Machine) m = machine_running(false);
	OfferExtent extents[100];

	for (unsigned i = 0; i < 100; i++)
		extents[i] = (OfferExtent){ (99 - i) * 4 * MIB, 2 * MIB };
	offer(m,
	      (OfferRequest){ .policy = OFFER_PRESCRIPTIVE, .extents = extents, .n_extents = 100 });
	g_assert_cmpint(settle(m), ==, 100);
	assert_story(m, "offer*100 mapped*100 ");
	assert_agreed(m, 100);
	g_assert_cmpint(cxl_dcd_release_range(m->dcd, RAM, GIB), ==, 0);
	assert_agreed(m, 0);
	settle(m);
	m->verdict = CXL_ACCEPT_SOME;
	offer(m,
	      (OfferRequest){ .policy = OFFER_PRESCRIPTIVE, .extents = extents, .n_extents = 100 });
	settle(m);
	assert_story(m, "offer*100 mapped*1 ");
	assert_agreed(m, 1);
}

static void test_shared(void)
{
	static const OfferExtent extents[] = { { 32 * MIB, 8 * MIB }, { 0, 8 * MIB } };
	g_autoptr(Machine) m = machine_running(false);

	offer(m, (OfferRequest){ .region = 1,
				 .tag = add_backend(m, 0, 16 * MIB, true),
				 .policy = OFFER_PRESCRIPTIVE,
				 .extents = extents,
				 .n_extents = 2 });
	settle(m);
	assert_story(m, "offer*2 mapped*2 ");
	assert_agreed(m, 2);
	g_assert_cmphex(g_array_index(m->hpas, uint64_t, 0), ==, WINDOW + GIB + 32 * MIB);
}

/* Kept at first: the device asks again by itself. */
static void test_keep(void)
{
	g_autoptr(Machine) m = machine_running(false);
	Uuid tag = add_backend(m, 0, 64 * MIB, false);
	ReleaseRequest back = { .tag = tag };
	uint64_t id;

	offer(m, (OfferRequest){ .tag = tag });
	settle(m);
	g_string_truncate(m->story, 0);
	m->release = CXL_RELEASE_KEEP;
	g_assert_true(capacity_release(m->cap, m->dc, &back, &id, NULL));
	g_assert_cmpint(cxl_dcd_poll(m->dcd, 100), ==, 1);
	assert_story(m, "release*1 ");
	assert_agreed(m, 1);
	m->release = CXL_RELEASE_GROUP;
	settle(m);
	assert_story(m, "release*1 ");
	assert_agreed(m, 0);
}

static void test_part(void)
{
	static const OfferExtent middle = { 16 * MIB, 8 * MIB };
	g_autoptr(Machine) m = machine_running(false);
	ReleaseRequest back = { .extents = &middle, .n_extents = 1 };
	uint64_t id;

	offer(m, (OfferRequest){ .len = 64 * MIB });
	settle(m);
	g_string_truncate(m->story, 0);
	m->release = CXL_RELEASE_RANGES;
	g_assert_true(capacity_release(m->cap, m->dc, &back, &id, NULL));
	settle(m);
	assert_story(m, "release*1 ");
	assert_agreed(m, 2);
	g_assert_cmpint(cxl_dcd_resync(m->dcd), ==, 0);
	assert_story(m, "");
}

static void test_forced(void)
{
	g_autoptr(Machine) m = machine_running(false);
	Uuid tag = add_backend(m, 0, 64 * MIB, false);
	ReleaseRequest back = { .tag = tag, .forced = true };
	CapacityCounters counters;
	uint64_t id;

	offer(m, (OfferRequest){ .tag = tag });
	settle(m);
	g_string_truncate(m->story, 0);
	g_assert_true(capacity_release(m->cap, m->dc, &back, &id, NULL));
	settle(m);
	assert_story(m, "revoked*1 ");
	assert_agreed(m, 0);
	/* The device no longer holds the range back. */
	dc_device_counters(m->dc, &counters);
	g_assert_cmpuint(counters.quarantined, ==, 0);
	g_assert_cmpuint(counters.free, ==, counters.total);
}

/* A driver that starts anew finds everything as it was left. */
static void test_restart(void)
{
	g_autoptr(Machine) m = machine_running(false);
	Uuid tag = add_backend(m, 0, 64 * MIB, false);
	CxlTag cxl_tag;

	offer(m, (OfferRequest){ .tag = tag });
	offer(m, (OfferRequest){ .len = 32 * MIB });
	settle(m);
	assert_agreed(m, 2);
	g_string_truncate(m->story, 0);
	g_array_set_size(m->hpas, 0);
	start_driver(m, true);
	g_assert_cmpuint(cxl_region_info(cxl_driver_first_region(m->driver))->len, ==, GIB);
	g_assert_cmpint(cxl_dcd_start(m->memdev, &dcd_ops, m, NULL, &m->dcd), ==, 0);
	assert_story(m, "found*1 found*1 mapped*1 mapped*1 ");
	assert_agreed(m, 2);
	g_assert_cmphex(g_array_index(m->hpas, uint64_t, 0), ==, WINDOW);
	memcpy(cxl_tag.b, tag.b, sizeof(cxl_tag.b));
	g_assert_true(cxl_dcd_has_tag(m->dcd, &cxl_tag));
	g_assert_cmpint(cxl_dcd_release_tag(m->dcd, &cxl_tag), ==, 0);
	assert_agreed(m, 1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/protocol/driver-device/enumerate", NULL, test_enumerate);
	g_test_add_data_func("/protocol/driver-device/enumerate-trapped", "", test_enumerate);
	g_test_add_func("/protocol/driver-device/decoders", test_decoders);
	g_test_add_data_func("/protocol/driver-device/accept", NULL, test_accept);
	g_test_add_data_func("/protocol/driver-device/accept-trapped", "", test_accept);
	g_test_add_func("/protocol/driver-device/decline", test_decline);
	g_test_add_func("/protocol/driver-device/long-chain", test_long_chain);
	g_test_add_func("/protocol/driver-device/shared", test_shared);
	g_test_add_func("/protocol/driver-device/keep", test_keep);
	g_test_add_func("/protocol/driver-device/part", test_part);
	g_test_add_func("/protocol/driver-device/forced", test_forced);
	g_test_add_func("/protocol/driver-device/restart", test_restart);
	return g_test_run();
}
