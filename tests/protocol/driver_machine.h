/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool of one endpoint and a host with our driver, joined by register accesses only. */
#ifndef TESTS_DRIVER_MACHINE_H
#define TESTS_DRIVER_MACHINE_H

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

static inline uint64_t now_us(void *opaque)
{
	return ((Machine *)opaque)->now;
}

static inline void no_maps(void *opaque, uint64_t req, const DcMap *maps, size_t n)
{
	g_assert_not_reached();
}

static inline void no_ids(void *opaque, uint64_t req, const uint64_t *ids, size_t n)
{
	g_assert_not_reached();
}

static inline void no_parts(void *opaque, uint64_t req, const DcMapPart *parts, size_t n)
{
	g_assert_not_reached();
}

static inline bool log_reserve(void *opaque, uint32_t n)
{
	return device_dc_log_reserve(((Machine *)opaque)->dev, n);
}

static inline void log_unreserve(void *opaque, uint32_t n)
{
	device_dc_log_unreserve(((Machine *)opaque)->dev, n);
}

static inline void log_post(void *opaque, const DcEvent *event)
{
	device_dc_log_post(((Machine *)opaque)->dev, event);
}

static inline void log_withdraw(void *opaque, uint64_t cookie)
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

static inline void fire(void *opaque, unsigned vector)
{
	((Machine *)opaque)->irq = true;
}

static inline void decoder(void *opaque, uint64_t req, const HdmDecoder *dec)
{
	device_decoder_done(((Machine *)opaque)->dev, req, true);
}

static const DeviceOps device_ops = {
	.irq = fire,
	.decoder = decoder,
	.now_us = now_us,
};

/* ---- the host's hardware ---- */

static inline int fn_config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	return device_config_read(((Machine *)opaque)->dev, offset, buf, len);
}

static inline int fn_config_write(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
	return device_config_write(((Machine *)opaque)->dev, offset, buf, len);
}

static inline int fn_bar_read(void *opaque, unsigned bar, uint64_t offset, void *buf, uint32_t len)
{
	return device_bar_read(((Machine *)opaque)->dev, bar, offset, buf, len);
}

static inline int fn_bar_write(void *opaque, unsigned bar, uint64_t offset, const void *buf,
			       uint32_t len)
{
	return device_bar_write(((Machine *)opaque)->dev, bar, offset, buf, len);
}

static const FabricFunction function = {
	.config_read = fn_config_read,
	.config_write = fn_config_write,
	.bar_read = fn_bar_read,
	.bar_write = fn_bar_write,
};

static inline int no_map(void *opaque, const FabricAlias *alias)
{
	g_assert_not_reached();
}

static inline void no_unmap(void *opaque, const FabricAlias *alias)
{
	g_assert_not_reached();
}

static const FabricMapper mapper = { .map = no_map, .unmap = no_unmap };

/* ---- the bus ---- */

static inline int bus_config_read(void *opaque, uint32_t bdf, uint32_t offset, void *buf,
				  uint32_t len)
{
	return fabric_config_read(((Machine *)opaque)->fabric, bdf, offset, buf, len);
}

static inline int bus_config_write(void *opaque, uint32_t bdf, uint32_t offset, const void *buf,
				   uint32_t len)
{
	return fabric_config_write(((Machine *)opaque)->fabric, bdf, offset, buf, len);
}

static inline int bus_bar_read(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, void *buf,
			       uint32_t len)
{
	return fabric_bar_read(((Machine *)opaque)->fabric, bdf, bar, offset, buf, len);
}

static inline int bus_bar_write(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset,
				const void *buf, uint32_t len)
{
	return fabric_bar_write(((Machine *)opaque)->fabric, bdf, bar, offset, buf, len);
}

static inline void *bus_bar_map(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset,
				uint64_t len)
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

static inline int bus_chbcr_read(void *opaque, uint32_t uid, uint32_t offset, void *buf,
				 uint32_t len)
{
	fabric_chbcr_read(((Machine *)opaque)->fabric, uid, offset, buf, len);
	return 0;
}

static inline int bus_chbcr_write(void *opaque, uint32_t uid, uint32_t offset, const void *buf,
				  uint32_t len)
{
	fabric_chbcr_write(((Machine *)opaque)->fabric, uid, offset, buf, len);
	return 0;
}

static inline void bus_sleep(void *opaque, uint64_t us)
{
	Machine *m = opaque;

	m->now += us;
	capacity_tick(m->cap);
	device_tick(m->dev);
}

static inline int bus_irq_wait(void *opaque, uint32_t bdf, unsigned timeout_ms)
{
	Machine *m = opaque;

	for (unsigned i = 0; i < timeout_ms && !m->irq; i++)
		bus_sleep(m, 1000);
	return m->irq ? m->irq = false, 1 : 0;
}

static inline uint64_t bus_now(void *opaque)
{
	return ++((Machine *)opaque)->now;
}

static inline void bus_log(void *opaque, const char *line)
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

static inline CxlAccept on_accept(void *opaque, const CxlDcGroup *group, bool *take)
{
	Machine *m = opaque;

	g_string_append_printf(m->story, "%s*%u ", group->recovered ? "found" : "offer",
			       group->n_extents);
	take[0] = true;
	return m->verdict;
}

static inline void on_mapped(void *opaque, const CxlDcGroup *group)
{
	Machine *m = opaque;

	g_string_append_printf(m->story, "mapped*%u ", group->n_extents);
	for (uint32_t i = 0; i < group->n_extents; i++) {
		g_assert_cmpuint(group->extents[i].ways, ==, 1);
		g_array_append_val(m->hpas, group->extents[i].hpa);
	}
}

static inline CxlRelease on_release(void *opaque, const CxlDcGroup *group,
				    const CxlDpaRange *ranges, uint32_t n_ranges)
{
	Machine *m = opaque;

	g_string_append_printf(m->story, "release*%u ", n_ranges);
	return m->release;
}

static inline void on_revoked(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges,
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

static inline void machine_free(Machine *m)
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

static inline void start_driver(Machine *m, bool adopt)
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

static inline Machine *machine_new(bool trap_payload)
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

static inline CxlRegion *program(Machine *m, uint64_t dpa, uint64_t len)
{
	CxlRegionSpec spec = { .memdevs = &m->memdev, .n_memdevs = 1, .dpa = dpa, .len = len };
	CxlRegion *region = NULL;

	g_assert_cmpint(cxl_driver_program(m->driver, &spec, &region), ==, 0);
	return region;
}

/* The machine with its DC regions mapped at WINDOW, and events handled */
static inline Machine *machine_running(bool trap_payload)
{
	Machine *m = machine_new(trap_payload);

	program(m, RAM, GIB);
	program(m, RAM + GIB, 256 * MIB);
	g_assert_cmpint(cxl_dcd_start(m->memdev, &dcd_ops, m, NULL, &m->dcd), ==, 0);
	return m;
}

static inline Uuid add_backend(Machine *m, unsigned n, uint64_t size, bool shareable)
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

static inline void offer(Machine *m, OfferRequest request)
{
	g_autoptr(GError) error = NULL;
	uint64_t id;

	capacity_offer(m->cap, m->dc, &request, &id, &error);
	g_assert_no_error(error);
}

/* Handles what comes within two seconds. */
static inline int settle(Machine *m)
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

static inline void assert_story(Machine *m, const char *story)
{
	g_assert_cmpstr(m->story->str, ==, story);
	g_string_truncate(m->story, 0);
}

static inline void assert_agreed(Machine *m, uint32_t n_extents)
{
	CxlDcdStats stats;

	cxl_dcd_stats(m->dcd, &stats);
	g_assert_cmpuint(stats.n_extents, ==, n_extents);
	g_assert_cmpuint(dc_device_n_extents(m->dc), ==, n_extents);
}

#endif
