/* SPDX-License-Identifier: BSD-3-Clause */
/* The demo's set-up: a pool with two devices and a process host, joined by socketpairs. */
#include "cli/demo.h"

#include "util/autofd.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#define REGION_LEN (UINT64_C(4) << 30)
#define BLOCK_LEN  (UINT64_C(2) << 20)
#define WINDOW_LEN (UINT64_C(16) << 30)
#define LSA_LEN    (UINT64_C(128) << 10)
#define WAIT_US    (UINT64_C(10) * 1000000)

void demo_say(const Demo *demo, const char *format, ...)
{
	double seconds = (double)((uint64_t)g_get_monotonic_time() - demo->started_us) / 1e6;
	va_list args;

	if (!demo->talk)
		return;
	printf("%7.3f  ", seconds);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

bool demo_fail(GError **error, const char *step, const char *what)
{
	g_set_error(error, DEMO_ERROR, 0, "%s: %s", step, what);
	return false;
}

/* ---- what the driver tells ---- */

static void take_mapped(void *opaque, const CxlDcGroup *group)
{
	DemoPort *port = opaque;
	Demo *demo = port->demo;

	if (group->recovered || group->n_extents > DEMO_N_EXTENTS)
		return;
	for (uint32_t i = 0; i < group->n_extents; i++) {
		demo->mapped[i] = process_host_hva(demo->host, group->extents[i].hpa);
		demo->extent_len[i] = group->extents[i].len;
	}
	demo->n_mapped = group->n_extents;
	demo->mapped_len = group->len;

	*(volatile uint8_t *)demo->mapped[0] = 1;
	demo->accept_us = (double)cxl_memdev_last_command_us(port->memdev);
	demo->first_byte_us = (double)((uint64_t)g_get_monotonic_time() -
				       cxl_memdev_last_command_begun_us(port->memdev));
}

static CxlRelease give_back(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges,
			    uint32_t n_ranges)
{
	DemoPort *port = opaque;

	port->demo->released_len = group->len;
	return CXL_RELEASE_GROUP;
}

static const CxlDcdOps dcd_ops = {
	.mapped = take_mapped,
	.release = give_back,
};

static void log_line(void *opaque, const char *line)
{
	const Demo *demo = opaque;

	demo_say(demo, "  driver: %s", line);
}

/* ---- set-up ---- */

static bool make_socketpair(int type, int ret_fds[2], GError **error)
{
	if (!socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ret_fds))
		return true;
	g_set_error(error, DEMO_ERROR, 0, "socketpair: %s", g_strerror(errno));
	return false;
}

/* Device I of the pool becomes port I of the host. */
static bool plug(Demo *demo, unsigned i, GError **error)
{
	int vfu[2] = { -EBADF, -EBADF }, mem[2] = { -EBADF, -EBADF };

	if (!make_socketpair(SOCK_STREAM, vfu, error))
		return false;
	if (!make_socketpair(SOCK_SEQPACKET, mem, error)) {
		fd_close_auto(&vfu[0]);
		fd_close_auto(&vfu[1]);
		return false;
	}
	if (!pool_attach_host(demo->pool, demo->devices[i], vfu[0], mem[0], error)) {
		fd_close_auto(&vfu[1]);
		fd_close_auto(&mem[1]);
		return false;
	}
	return process_host_plug(demo->host, vfu[1], mem[1], error) >= 0;
}

static bool add_device(Demo *demo, unsigned i, GError **error)
{
	static const DcRegionConfig region = { .len = REGION_LEN, .block_size = BLOCK_LEN };
	g_autofree char *name = g_strdup_printf("dev%u", i);
	PoolDeviceConfig config = {
		.name = name,
		.serial = 0xdcd0 + i,
		.lsa_len = LSA_LEN,
		.regions = &region,
		.n_regions = 1,
	};

	demo->devices[i] = pool_add_device(demo->pool, &config, error);
	return demo->devices[i];
}

static bool start_dcd(Demo *demo, unsigned i, GError **error)
{
	DemoPort *port = &demo->ports[i];

	port->demo = demo;
	port->memdev = process_host_memdev(demo->host, i);
	if (cxl_dcd_start(port->memdev, &dcd_ops, port, NULL, &port->dcd) == 0)
		return true;
	g_set_error(error, DEMO_ERROR, 0, "dev%u: %s", i,
		    cxl_driver_error(process_host_peek_driver(demo->host)));
	return false;
}

bool demo_set_up(Demo *demo, GError **error)
{
	PoolConfig pool = { .faults = demo->faults };
	ProcessHostConfig host = {
		.window_len = WINDOW_LEN,
		.log = log_line,
		.log_opaque = demo,
	};

	uuid_parse(DEMO_TAG, &demo->tag, NULL);
	demo->pool = pool_new(&pool);
	demo->host = process_host_new(&host, error);
	if (!demo->host)
		return false;
	for (unsigned i = 0; i < DEMO_N_DEVICES; i++) {
		if (!add_device(demo, i, error) || !plug(demo, i, error))
			return false;
	}
	if (!process_host_start(demo->host, error))
		return false;
	for (unsigned i = 0; i < DEMO_N_DEVICES; i++) {
		if (!start_dcd(demo, i, error))
			return false;
	}
	return true;
}

void demo_clear(Demo *demo)
{
	for (unsigned i = 0; i < DEMO_N_DEVICES; i++)
		cxl_dcd_free(demo->ports[i].dcd);
	g_clear_pointer(&demo->host, process_host_free);
	g_clear_pointer(&demo->pool, pool_free);
}

/* Where the first DC region of device I begins in this process. */
uint8_t *demo_region_hva(Demo *demo, unsigned i)
{
	const CxlDcRegionInfo *region = cxl_memdev_dc_region(demo->ports[i].memdev, 0);
	uint64_t hpa, run;

	if (!region || cxl_memdev_hpa_of_dpa(demo->ports[i].memdev, region->dpa, &hpa, &run))
		return NULL;
	return process_host_hva(demo->host, hpa);
}

/* ---- moving things along ---- */

/* Handles events of PORT until *WATCHED is LEN. */
static bool wait_until(DemoPort *port, const uint64_t *watched, uint64_t len, const char *step,
		       GError **error)
{
	uint64_t deadline = (uint64_t)g_get_monotonic_time() + WAIT_US;

	while (*watched != len) {
		if ((uint64_t)g_get_monotonic_time() > deadline)
			return demo_fail(error, step, "nothing happened for 10 s");
		if (cxl_dcd_poll(port->dcd, 100) < 0)
			return demo_fail(
				error, step,
				cxl_driver_error(process_host_peek_driver(port->demo->host)));
	}
	return true;
}

bool demo_offer(Demo *demo, unsigned device, const OfferExtent *extents, size_t n_extents,
		GError **error)
{
	OfferRequest request = {
		.tag = demo->tag,
		.policy = n_extents ? OFFER_PRESCRIPTIVE : OFFER_CONTIGUOUS,
		.extents = extents,
		.n_extents = n_extents,
	};

	demo->mapped_len = 0;
	return pool_offer(demo->pool, demo->devices[device], &request, NULL, error);
}

/* Until the memory is free again, so that it can be offered to somebody else. */
static bool wait_free(Demo *demo, const char *step, GError **error)
{
	uint64_t deadline = (uint64_t)g_get_monotonic_time() + WAIT_US;
	CapacityCounters counters;
	uint64_t allocated_len;

	do {
		if ((uint64_t)g_get_monotonic_time() > deadline)
			return demo_fail(error, step, "the memory was not free again after 10 s");
		g_usleep(100);
		pool_backend_counters(demo->pool, DEMO_BACKEND, &counters, &allocated_len);
	} while (counters.free != counters.total);
	return true;
}

bool demo_wait_mapped(Demo *demo, unsigned device, const char *step, GError **error)
{
	return wait_until(&demo->ports[device], &demo->mapped_len, DEMO_LEN, step, error);
}

bool demo_release(Demo *demo, unsigned device, const char *step, GError **error)
{
	ReleaseRequest request = { .tag = demo->tag };

	demo->released_len = 0;
	return pool_release(demo->pool, demo->devices[device], &request, NULL, error) &&
	       wait_until(&demo->ports[device], &demo->released_len, DEMO_LEN, step, error) &&
	       wait_free(demo, step, error);
}

/* ---- idle ---- */

static uint64_t resident_len(void)
{
	g_autofree char *text = NULL;
	unsigned long long total, resident;

	if (!g_file_get_contents("/proc/self/statm", &text, NULL, NULL) ||
	    sscanf(text, "%llu %llu", &total, &resident) != 2)
		return 0;
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

bool demo_measure_idle(uint64_t *ret_len, GError **error)
{
	static const DcRegionConfig region = { .len = UINT64_C(1) << 40, .block_size = BLOCK_LEN };
	PoolConfig config = { 0 };
	g_autoptr(Pool) pool = pool_new(&config);

	for (unsigned i = 0; i < 16; i++) {
		g_autofree char *name = g_strdup_printf("idle%u", i);
		PoolDeviceConfig device = {
			.name = name,
			.serial = i + 1,
			.regions = &region,
			.n_regions = 1,
		};

		if (!pool_add_device(pool, &device, error))
			return false;
	}
	*ret_len = resident_len();
	return true;
}
