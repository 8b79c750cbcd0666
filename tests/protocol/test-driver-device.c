/* SPDX-License-Identifier: BSD-3-Clause */
/* Our driver against our endpoint, in one process and by register accesses only. */
#include "capacity/capacity.h"
#include "cxl/cdat.h"
#include "device/device.h"
#include "driver/cxl_driver.h"
#include "fabric/fabric.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define MIB    (UINT64_C(1) << 20)
#define GIB    (UINT64_C(1) << 30)
#define WINDOW (UINT64_C(0x80) << 32)
#define RAM    (512 * MIB)
#define SECOND UINT64_C(1000000)

/* A pool of one device and a host with one root port; time passes when somebody waits */
typedef struct Machine {
	uint64_t now;
	Capacity *cap;
	DcDevice *dc;
	Device *dev;
	Fabric *fabric;
	CxlDriver *driver;
	CxlMemdev *memdev;
	CxlDcd *dcd;
	bool irq;
	void *payload;
	bool trap_payload;
	CxlAccept verdict;
	CxlRelease release;
	GString *story;
	GArray *hpas; /* uint64_t, of mapped extents */
} Machine;

/* ---- device side ---- */

static uint64_t now_us(void *opaque)
{
	return ((Machine *)opaque)->now;
}

static void no_maps(void *opaque, uint64_t req, const DcMap *maps, size_t n)
{
	g_assert_not_reached();
}

static void no_ids(void *opaque, uint64_t req, const uint64_t *ids, size_t n)
{
	g_assert_not_reached();
}

static void no_parts(void *opaque, uint64_t req, const DcMapPart *parts, size_t n)
{
	g_assert_not_reached();
}

static bool log_reserve(void *opaque, uint32_t n)
{
	return device_dc_log_reserve(((Machine *)opaque)->dev, n);
}

static void log_unreserve(void *opaque, uint32_t n)
{
	device_dc_log_unreserve(((Machine *)opaque)->dev, n);
}

static void log_post(void *opaque, const DcEvent *event)
{
	device_dc_log_post(((Machine *)opaque)->dev, event);
}

static void log_withdraw(void *opaque, uint64_t cookie)
{
	device_dc_log_withdraw(((Machine *)opaque)->dev, cookie);
}

static const DcDeviceOps dc_ops = {
	.prepare = no_maps,
	.expose = no_ids,
	.revoke = no_parts,
	.drop = no_ids,
	.log_reserve = log_reserve,
	.log_unreserve = log_unreserve,
	.log_post = log_post,
	.log_withdraw = log_withdraw,
};

static void fire(void *opaque, unsigned vector)
{
	((Machine *)opaque)->irq = true;
}

static void decoder(void *opaque, uint64_t req, const HdmDecoder *dec)
{
	device_decoder_done(((Machine *)opaque)->dev, req, true);
}

static const DeviceOps device_ops = {
	.irq = fire,
	.decoder = decoder,
	.now_us = now_us,
};

/* ---- the host's hardware ---- */

static int fn_config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	return device_config_read(((Machine *)opaque)->dev, offset, buf, len);
}

static int fn_config_write(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
	return device_config_write(((Machine *)opaque)->dev, offset, buf, len);
}

static int fn_bar_read(void *opaque, unsigned bar, uint64_t offset, void *buf, uint32_t len)
{
	return device_bar_read(((Machine *)opaque)->dev, bar, offset, buf, len);
}

static int fn_bar_write(void *opaque, unsigned bar, uint64_t offset, const void *buf, uint32_t len)
{
	return device_bar_write(((Machine *)opaque)->dev, bar, offset, buf, len);
}

static const FabricFunction function = {
	.config_read = fn_config_read,
	.config_write = fn_config_write,
	.bar_read = fn_bar_read,
	.bar_write = fn_bar_write,
};

static int no_map(void *opaque, const FabricAlias *alias)
{
	g_assert_not_reached();
}

static void no_unmap(void *opaque, const FabricAlias *alias)
{
	g_assert_not_reached();
}

static const FabricMapper mapper = { .map = no_map, .unmap = no_unmap };

/* ---- the bus ---- */

static int bus_config_read(void *opaque, uint32_t bdf, uint32_t offset, void *buf, uint32_t len)
{
	return fabric_config_read(((Machine *)opaque)->fabric, bdf, offset, buf, len);
}

static int bus_config_write(void *opaque, uint32_t bdf, uint32_t offset, const void *buf,
			    uint32_t len)
{
	return fabric_config_write(((Machine *)opaque)->fabric, bdf, offset, buf, len);
}

static int bus_bar_read(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, void *buf,
			uint32_t len)
{
	return fabric_bar_read(((Machine *)opaque)->fabric, bdf, bar, offset, buf, len);
}

static int bus_bar_write(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, const void *buf,
			 uint32_t len)
{
	return fabric_bar_write(((Machine *)opaque)->fabric, bdf, bar, offset, buf, len);
}

static void *bus_bar_map(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, uint64_t len)
{
	Machine *m = opaque;

	if (m->trap_payload || bar != DEVICE_BAR_REGS || offset != device_payload_offset(m->dev) ||
	    len > device_payload_len(m->dev))
		return NULL;
	if (!m->payload)
		m->payload = mmap(NULL, device_payload_len(m->dev), PROT_READ | PROT_WRITE,
				  MAP_SHARED, device_peek_payload_fd(m->dev),
				  (off_t)device_payload_offset(m->dev));
	g_assert_true(m->payload != MAP_FAILED);
	return m->payload;
}

static int bus_chbcr_read(void *opaque, uint32_t uid, uint32_t offset, void *buf, uint32_t len)
{
	fabric_chbcr_read(((Machine *)opaque)->fabric, uid, offset, buf, len);
	return 0;
}

static int bus_chbcr_write(void *opaque, uint32_t uid, uint32_t offset, const void *buf,
			   uint32_t len)
{
	fabric_chbcr_write(((Machine *)opaque)->fabric, uid, offset, buf, len);
	return 0;
}

static void bus_sleep(void *opaque, uint64_t us)
{
	Machine *m = opaque;

	m->now += us;
	capacity_tick(m->cap);
	device_tick(m->dev);
}

static int bus_irq_wait(void *opaque, uint32_t bdf, unsigned timeout_ms)
{
	Machine *m = opaque;

	for (unsigned i = 0; i < timeout_ms && !m->irq; i++)
		bus_sleep(m, 1000);
	return m->irq ? m->irq = false, 1 : 0;
}

static uint64_t bus_now(void *opaque)
{
	return ++((Machine *)opaque)->now;
}

static void bus_log(void *opaque, const char *line)
{
	g_test_message("%s", line);
}

static const CxlBus bus = {
	.config_read = bus_config_read,
	.config_write = bus_config_write,
	.bar_read = bus_bar_read,
	.bar_write = bus_bar_write,
	.bar_map = bus_bar_map,
	.chbcr_read = bus_chbcr_read,
	.chbcr_write = bus_chbcr_write,
	.irq_wait = bus_irq_wait,
	.now_us = bus_now,
	.sleep_us = bus_sleep,
	.log = bus_log,
};

/* ---- the host's policy ---- */

static CxlAccept on_accept(void *opaque, const CxlDcGroup *group, bool *take)
{
	Machine *m = opaque;

	g_string_append_printf(m->story, "%s*%u ", group->recovered ? "found" : "offer",
			       group->n_extents);
	take[0] = true;
	return m->verdict;
}

static void on_mapped(void *opaque, const CxlDcGroup *group)
{
	Machine *m = opaque;

	g_string_append_printf(m->story, "mapped*%u ", group->n_extents);
	for (uint32_t i = 0; i < group->n_extents; i++) {
		g_assert_cmpuint(group->extents[i].ways, ==, 1);
		g_array_append_val(m->hpas, group->extents[i].hpa);
	}
}

static CxlRelease on_release(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges,
			     uint32_t n_ranges)
{
	Machine *m = opaque;

	g_string_append_printf(m->story, "release*%u ", n_ranges);
	return m->release;
}

static void on_revoked(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges,
		       uint32_t n_ranges)
{
	g_string_append_printf(((Machine *)opaque)->story, "revoked*%u ", n_ranges);
}

static const CxlDcdOps dcd_ops = {
	.accept = on_accept,
	.mapped = on_mapped,
	.release = on_release,
	.revoked = on_revoked,
};

/* ---- building it ---- */

static void machine_free(Machine *m)
{
	g_autoptr(GError) error = NULL;

	cxl_driver_free(m->driver);
	if (m->payload)
		munmap(m->payload, device_payload_len(m->dev));
	fabric_free(m->fabric);
	device_reset(m->dev, DEVICE_RESET_FORGET);
	dc_device_detach_host(m->dc);
	capacity_host_gone(m->cap, 1);
	device_free(m->dev);
	capacity_remove_device(m->cap, m->dc, &error);
	g_assert_no_error(error);
	for (unsigned i = 0; i < 8; i++) {
		g_autofree char *name = g_strdup_printf("b%u", i);

		if (capacity_peek_backend(m->cap, name))
			backend_free(capacity_remove_backend(m->cap, name, NULL));
	}
	capacity_free(m->cap);
	g_string_free(m->story, TRUE);
	g_array_unref(m->hpas);
	g_free(m);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Machine, machine_free)

static void start_driver(Machine *m, bool adopt)
{
	CxlWindow window = {
		.hpa = WINDOW,
		.len = 16 * GIB,
		.ways = 1,
		.granularity = 256,
		.restrictions = 6,
		.targets = { 1 },
	};
	CxlHostBridge bridge = { .uid = 1, .bus_last = 7 };
	CxlPlatform platform = { &window, 1, &bridge, 1, true };
	CxlDriverOptions options = { .adopt = adopt };

	cxl_driver_free(m->driver);
	m->driver = cxl_driver_new(&bus, m, &platform, &options);
	g_assert_cmpint(cxl_driver_enumerate(m->driver), ==, 1);
	m->memdev = cxl_driver_memdev(m->driver, 0);
	g_assert_cmpstr(cxl_memdev_error(m->memdev), ==, "");
}

static Machine *machine_new(bool trap_payload)
{
	static const DcRegionConfig regions[] = {
		{ .len = GIB, .block_size = 2 * MIB },
		{ .len = 256 * MIB, .block_size = 4 * MIB, .sharable = true },
	};
	FabricWindow window = {
		.hpa = WINDOW,
		.len = 16 * GIB,
		.ways = 1,
		.granularity = 256,
		.restrictions = 6,
		.targets = { 1 },
	};
	FabricHostBridge bridge = { .uid = 1, .bus_last = 7, .n_ports = 2 };
	FabricConfig fabric = {
		.windows = &window,
		.n_windows = 1,
		.bridges = &bridge,
		.n_bridges = 1,
	};
	CapacityOps cap_ops = { .now_us = now_us };
	DcDeviceConfig dc_config = {
		.name = "dev0",
		.static_len = RAM,
		.regions = regions,
		.n_regions = G_N_ELEMENTS(regions),
	};
	DeviceConfig config = { .name = "dev0", .serial = 0xabcd, .ram_len = RAM };
	DcHost host = { .serial = 1, .control_only = true, .max_maps = UINT32_MAX };
	g_autoptr(GError) error = NULL;
	Machine *m = g_new0(Machine, 1);

	m->now = SECOND;
	m->story = g_string_new(NULL);
	m->hpas = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	m->trap_payload = trap_payload;
	m->verdict = CXL_ACCEPT_ALL;
	m->release = CXL_RELEASE_GROUP;
	m->cap = capacity_new(&cap_ops, m);
	m->dc = capacity_add_device(m->cap, &dc_config, &dc_ops, m, &error);
	g_assert_no_error(error);
	m->dev = device_new(&config, m->dc, &device_ops, m, &error);
	g_assert_no_error(error);
	m->fabric = fabric_new(&fabric, &mapper, m, &error);
	g_assert_no_error(error);
	g_assert_true(fabric_plug(m->fabric, 1, 1, &function, m));
	dc_device_attach_host(m->dc, &host, NULL, 0);
	start_driver(m, false);
	return m;
}

static CxlRegion *program(Machine *m, uint64_t dpa, uint64_t len)
{
	CxlRegionSpec spec = { .memdevs = &m->memdev, .n_memdevs = 1, .dpa = dpa, .len = len };
	CxlRegion *region = NULL;

	g_assert_cmpint(cxl_driver_program(m->driver, &spec, &region), ==, 0);
	return region;
}

/* The machine with its DC regions mapped at WINDOW, and events handled */
static Machine *machine_running(bool trap_payload)
{
	Machine *m = machine_new(trap_payload);

	program(m, RAM, GIB);
	program(m, RAM + GIB, 256 * MIB);
	g_assert_cmpint(cxl_dcd_start(m->memdev, &dcd_ops, m, NULL, &m->dcd), ==, 0);
	return m;
}

static Uuid add_backend(Machine *m, unsigned n, uint64_t size, bool shareable)
{
	g_autofree char *name = g_strdup_printf("b%u", n);
	BackendConfig config = {
		.name = name,
		.type = BACKEND_MEMFD,
		.size = size,
		.tag = { { (uint8_t)(0xa0 + n) } },
		.shareable = shareable,
	};
	g_autoptr(GError) error = NULL;
	Backend *backend = backend_new(&config, &error);

	g_assert_no_error(error);
	g_assert_true(capacity_add_backend(m->cap, backend, &error));
	return config.tag;
}

static void offer(Machine *m, OfferRequest request)
{
	g_autoptr(GError) error = NULL;
	uint64_t id;

	capacity_offer(m->cap, m->dc, &request, &id, &error);
	g_assert_no_error(error);
}

/* Handles what comes within two seconds. */
static int settle(Machine *m)
{
	uint64_t end = m->now + 2 * SECOND;
	int total = 0;

	while (m->now < end) {
		int n = cxl_dcd_poll(m->dcd, 500);

		g_assert_cmpint(n, >=, 0);
		total += n;
	}
	return total;
}

static void assert_story(Machine *m, const char *story)
{
	g_assert_cmpstr(m->story->str, ==, story);
	g_string_truncate(m->story, 0);
}

static void assert_agreed(Machine *m, uint32_t n_extents)
{
	CxlDcdStats stats;

	cxl_dcd_stats(m->dcd, &stats);
	g_assert_cmpuint(stats.n_extents, ==, n_extents);
	g_assert_cmpuint(dc_device_n_extents(m->dc), ==, n_extents);
}

/* ---- tests ---- */

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
