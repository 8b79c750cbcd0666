/* SPDX-License-Identifier: BSD-3-Clause */
/* A real pool in its thread and real process hosts, joined by socketpairs. */
#include "host_fixture.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define COMMAND_US 900000 /* a little less than what a command may take */

/* ---- pool ---- */

Pool *host_pool(void)
{
	PoolConfig config = { .faults = 0 };

	return pool_new(&config);
}

PoolDevice *host_device_with(Pool *pool, const PoolDeviceConfig *config)
{
	static unsigned serial = 0xdcd00;
	PoolDeviceConfig own = *config;
	g_autoptr(GError) error = NULL;
	PoolDevice *device;

	own.serial = serial++;
	own.hold_off = true;
	device = pool_add_device(pool, &own, &error);
	g_assert_no_error(error);
	return device;
}

PoolDevice *host_device(Pool *pool, const char *name, unsigned n_regions)
{
	DcRegionConfig regions[DC_MAX_REGIONS];
	PoolDeviceConfig config = { .name = name, .regions = regions, .n_regions = n_regions };

	for (unsigned i = 0; i < n_regions; i++)
		regions[i] = (DcRegionConfig){ .len = REGION_LEN, .block_size = BLOCK };
	return host_device_with(pool, &config);
}

Uuid host_tag(unsigned n)
{
	Uuid tag = { .b = { 0x5b, 0xe1, 0, 0, 0, 0, 0x40, 0, 0x80 } };

	tag.b[14] = (uint8_t)(n >> 8);
	tag.b[15] = (uint8_t)n;
	return tag;
}

CxlTag host_cxl_tag(unsigned n)
{
	Uuid uuid = host_tag(n);
	CxlTag tag;

	memcpy(tag.b, uuid.b, sizeof(tag.b));
	return tag;
}

void host_backend_with(Pool *pool, const BackendConfig *config)
{
	g_autoptr(GError) error = NULL;

	pool_add_backend(pool, config, &error);
	g_assert_no_error(error);
}

void host_backend(Pool *pool, unsigned tag, uint64_t size)
{
	g_autofree char *name = g_strdup_printf("mem%u", tag);
	BackendConfig config = {
		.name = name,
		.type = BACKEND_MEMFD,
		.size = size,
		.tag = host_tag(tag),
	};

	host_backend_with(pool, &config);
}

typedef struct FileCall {
	unsigned tag;
	uint64_t offset;
	void *in;
	const void *out;
	size_t len;
} FileCall;

static void run_file_call(Pool *pool, void *user_data)
{
	const FileCall *call = user_data;
	Uuid tag = host_tag(call->tag);
	Backend *backend = capacity_peek_backend_by_tag(pool_peek_capacity(pool), &tag);
	MemFile *file = backend_peek_file(backend);
	int rc = call->in ? mem_file_read(file, call->offset, call->in, call->len)
			  : mem_file_write(file, call->offset, call->out, call->len);

	g_assert_cmpint(rc, ==, 0);
}

void host_backend_read(Pool *pool, unsigned tag, uint64_t offset, void *buf, size_t len)
{
	FileCall call = { .tag = tag, .offset = offset, .in = buf, .len = len };

	pool_call(pool, run_file_call, &call);
}

void host_backend_write(Pool *pool, unsigned tag, uint64_t offset, const void *buf, size_t len)
{
	FileCall call = { .tag = tag, .offset = offset, .out = buf, .len = len };

	pool_call(pool, run_file_call, &call);
}

CapacityCounters host_backend_counters(Pool *pool, unsigned tag)
{
	g_autofree char *name = g_strdup_printf("mem%u", tag);
	CapacityCounters counters;
	uint64_t allocated_len;

	g_assert_true(pool_backend_counters(pool, name, &counters, &allocated_len));
	return counters;
}

static void run_pool_counters(Pool *pool, void *user_data)
{
	capacity_counters(pool_peek_capacity(pool), user_data);
}

CapacityCounters host_pool_counters(Pool *pool)
{
	CapacityCounters counters;

	pool_call(pool, run_pool_counters, &counters);
	g_assert_cmpuint(counters.total, ==,
			 counters.free + counters.reserved + counters.accepted + counters.draining +
				 counters.quarantined);
	return counters;
}

void host_wait_drained(HostPort *port)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_US;
	CapacityCounters device;

	for (;;) {
		pool_device_counters(port->host->pool, port->device, &device);
		if (!device.draining && !host_pool_counters(port->host->pool).draining)
			return;
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		g_usleep(50);
	}
}

/* ---- what the driver tells ---- */

static CxlAccept on_accept(void *opaque, const CxlDcGroup *offer, bool *take)
{
	HostPort *port = opaque;

	port->n_offered++;
	return port->accept ? port->accept(port, offer, take) : CXL_ACCEPT_ALL;
}

static void on_mapped(void *opaque, const CxlDcGroup *group)
{
	HostPort *port = opaque;

	port->n_mapped++;
	port->n_recovered += group->recovered;
	g_array_set_size(port->extents, 0);
	g_array_append_vals(port->extents, group->extents, group->n_extents);
	port->tag = group->tag;
	port->group = group->id;
	port->len = group->len;
	if (port->mapped)
		port->mapped(port, group);
}

static void on_refused(void *opaque, const CxlDcGroup *group, int rc)
{
	HostPort *port = opaque;

	port->n_refused++;
	port->refused_us = cxl_memdev_last_command_us(port->memdev);
}

static CxlRelease on_release(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges,
			     uint32_t n_ranges)
{
	HostPort *port = opaque;

	port->n_asked++;
	if (port->gone && port->verdict != CXL_RELEASE_KEEP)
		port->gone(port, group, ranges, n_ranges);
	return port->verdict;
}

static void on_revoked(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges,
		       uint32_t n_ranges)
{
	HostPort *port = opaque;

	port->n_revoked++;
	if (port->gone)
		port->gone(port, group, ranges, n_ranges);
}

static const CxlDcdOps dcd_ops = {
	.accept = on_accept,
	.mapped = on_mapped,
	.refused = on_refused,
	.release = on_release,
	.revoked = on_revoked,
};

static void on_log(void *opaque, const char *line)
{
	HostEnd *host = opaque;

	g_ptr_array_add(host->log, g_strdup(line));
}

/* ---- hosts ---- */

static void plug(HostEnd *host, unsigned i)
{
	g_autoptr(GError) error = NULL;
	int vfu[2], mem[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, vfu), ==, 0);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, mem), ==, 0);
	/* A host that has just gone may not be noticed yet. */
	for (gint64 end = g_get_monotonic_time() + WAIT_US; g_get_monotonic_time() < end;) {
		int vfu_fd = dup(vfu[0]), mem_fd = dup(mem[0]);

		g_clear_error(&error);
		if (pool_attach_host(host->pool, host->ports[i].device, vfu_fd, mem_fd, &error))
			break;
		g_usleep(1000);
	}
	g_assert_no_error(error);
	close(vfu[0]);
	close(mem[0]);
	g_assert_cmpint(process_host_plug(host->process, vfu[1], mem[1], &error), ==, (int)i);
	g_assert_no_error(error);
}

HostEnd *host_end_new_with(Pool *pool, PoolDevice *const *devices, unsigned n,
			   const CxlDcdOptions *options)
{
	HostEnd *host = g_new0(HostEnd, 1);
	ProcessHostConfig config = {
		.window_len = WINDOW_LEN,
		.log = on_log,
		.log_opaque = host,
	};
	g_autoptr(GError) error = NULL;

	host->pool = pool;
	host->n_ports = n;
	host->log = g_ptr_array_new_with_free_func(g_free);
	host->process = process_host_new(&config, &error);
	g_assert_no_error(error);
	for (unsigned i = 0; i < n; i++) {
		host->ports[i] = (HostPort){
			.host = host,
			.device = devices[i],
			.verdict = CXL_RELEASE_GROUP,
			.extents = g_array_new(FALSE, FALSE, sizeof(CxlHostExtent)),
		};
		plug(host, i);
	}
	process_host_start(host->process, &error);
	g_assert_no_error(error);
	for (unsigned i = 0; i < n; i++) {
		HostPort *port = &host->ports[i];

		port->memdev = process_host_memdev(host->process, i);
		host_assert_ok(host,
			       cxl_dcd_start(port->memdev, &dcd_ops, port, options, &port->dcd));
	}
	return host;
}

HostEnd *host_end_new(Pool *pool, PoolDevice *const *devices, unsigned n)
{
	return host_end_new_with(pool, devices, n, NULL);
}

void host_end_free(HostEnd *host)
{
	if (!host)
		return;
	for (unsigned i = 0; i < host->n_ports; i++) {
		cxl_dcd_free(host->ports[i].dcd);
		g_array_unref(host->ports[i].extents);
	}
	process_host_free(host->process);
	g_ptr_array_unref(host->log);
	g_free(host);
}

CxlDriver *host_driver(HostEnd *host)
{
	return process_host_peek_driver(host->process);
}

CxlRegion *host_program(HostEnd *host, const CxlRegionSpec *spec)
{
	CxlRegion *region = NULL;
	int rc = -EIO;

	for (unsigned i = 0; rc == -EIO && i < 10; i++) {
		g_usleep(i * 20000);
		rc = cxl_driver_program(host_driver(host), spec, &region);
	}
	host_assert_ok(host, rc);
	return region;
}

void host_unprogram(HostEnd *host, CxlRegion *region)
{
	int rc = -ETIMEDOUT;

	for (unsigned i = 0; rc == -ETIMEDOUT && i < 10; i++)
		rc = cxl_driver_unprogram(host_driver(host), region);
	host_assert_ok(host, rc);
}

void host_assert_ok(HostEnd *host, int rc)
{
	if (rc < 0)
		g_error("%s: %s", g_strerror(-rc), cxl_driver_error(host_driver(host)));
}

bool host_log_has(const HostEnd *host, const char *text)
{
	for (guint i = 0; i < host->log->len; i++) {
		if (strstr(host->log->pdata[i], text))
			return true;
	}
	return false;
}

uint64_t host_hpa(HostPort *port, uint64_t dpa)
{
	uint64_t hpa = 0, run;

	g_assert_cmpint(cxl_memdev_hpa_of_dpa(port->memdev, dpa, &hpa, &run), ==, 0);
	return hpa;
}

uint8_t *host_hva(HostPort *port, uint64_t dpa)
{
	uint8_t *hva = process_host_hva(port->host->process, host_hpa(port, dpa));

	g_assert_nonnull(hva);
	return hva;
}

uint64_t host_region_dpa(HostPort *port, unsigned region)
{
	const CxlDcRegionInfo *info = cxl_memdev_dc_region(port->memdev, region);

	g_assert_nonnull(info);
	return info->dpa;
}

/* ---- moving things along ---- */

static void tell_offer(const OfferInfo *info, void *opaque)
{
	g_printerr("# offer %" PRIu64 ": state %d, %zu extents, waits for %s\n", info->id,
		   (int)info->state, info->n_extents, info->waits_for ? info->waits_for : "-");
}

static void tell_release(const ReleaseInfo *info, void *opaque)
{
	g_printerr("# release %" PRIu64 ": state %d, resent %u, %" PRIu64 " bytes left\n", info->id,
		   (int)info->state, info->n_resent, info->len);
}

static void run_tell(Pool *pool, void *user_data)
{
	DcDevice *dc = pool_device_peek_dc(user_data);

	dc_device_foreach_offer(dc, tell_offer, NULL);
	dc_device_foreach_release(dc, tell_release, NULL);
}

/* Nothing happened: what the pool and the driver say of it. */
static void give_up(HostPort *port)
{
	const GPtrArray *log = port->host->log;

	pool_call(port->host->pool, run_tell, port->device);
	g_printerr("# groups offered %u, mapped %u, refused %u, asked back %u, revoked %u\n",
		   port->n_offered, port->n_mapped, port->n_refused, port->n_asked,
		   port->n_revoked);
	for (guint i = log->len - MIN(log->len, 20); i < log->len; i++)
		g_printerr("# %s\n", (const char *)log->pdata[i]);
	g_error("nothing happened for %u s", (unsigned)(WAIT_US / G_USEC_PER_SEC));
}

void host_poll(HostPort *port, const unsigned *counter, unsigned value)
{
	gint64 end = g_get_monotonic_time() + WAIT_US;

	while (*counter < value) {
		host_assert_ok(port->host, cxl_dcd_poll(port->dcd, 100));
		if (g_get_monotonic_time() > end)
			give_up(port);
	}
}

void host_poll_now(HostPort *port)
{
	int n;

	while ((n = cxl_dcd_poll(port->dcd, 0)) > 0)
		;
	host_assert_ok(port->host, n);
}

void host_offer_with(HostPort *port, const OfferRequest *request)
{
	g_autoptr(GError) error = NULL;

	pool_offer(port->host->pool, port->device, request, NULL, &error);
	g_assert_no_error(error);
}

static OfferRequest prescription(unsigned tag, const OfferExtent *extents, size_t n)
{
	return (OfferRequest){
		.tag = tag ? host_tag(tag) : (Uuid){ .b = { 0 } },
		.policy = OFFER_PRESCRIPTIVE,
		.extents = extents,
		.n_extents = n,
	};
}

void host_offer(HostPort *port, unsigned tag, const OfferExtent *extents, size_t n)
{
	OfferRequest request = prescription(tag, extents, n);

	host_offer_with(port, &request);
}

void host_give(HostPort *port, unsigned tag, const OfferExtent *extents, size_t n)
{
	OfferRequest request = prescription(tag, extents, n);

	host_give_with(port, &request);
}

void host_give_one(HostPort *port, unsigned tag, uint64_t offset, uint64_t len)
{
	OfferExtent extent = { offset, len };

	host_give(port, tag, &extent, 1);
}

/* True when mapped, false when the device's second for the response was over. */
static bool poll_mapped(HostPort *port, unsigned value)
{
	unsigned n_refused = port->n_refused;
	gint64 end = g_get_monotonic_time() + WAIT_US;

	while (port->n_mapped < value && port->n_refused == n_refused) {
		host_assert_ok(port->host, cxl_dcd_poll(port->dcd, 100));
		if (g_get_monotonic_time() > end)
			give_up(port);
	}
	if (port->n_mapped >= value)
		return true;
	g_test_message("response refused after %" PRIu64 " us", port->refused_us);
	g_assert_cmpuint(port->refused_us, >=, COMMAND_US);
	return false;
}

void host_give_with(HostPort *port, const OfferRequest *request)
{
	unsigned value = port->n_mapped + 1;

	host_offer_with(port, request);
	while (!poll_mapped(port, value)) {
		host_wait_drained(port);
		host_offer_with(port, request);
	}
}

void host_take_back(HostPort *port, uint64_t dpa, uint64_t len)
{
	host_assert_ok(port->host, cxl_dcd_release_range(port->dcd, dpa, len));
	host_wait_drained(port);
}

void host_take_back_tag(HostPort *port, unsigned tag)
{
	CxlTag cxl_tag = host_cxl_tag(tag);

	host_assert_ok(port->host, cxl_dcd_release_tag(port->dcd, &cxl_tag));
	host_wait_drained(port);
}

void host_ask_back(HostPort *port, const ReleaseRequest *request)
{
	const unsigned *counter = request->forced ? &port->n_revoked : &port->n_asked;
	unsigned value = *counter + 1;
	g_autoptr(GError) error = NULL;

	pool_release(port->host->pool, port->device, request, NULL, &error);
	g_assert_no_error(error);
	host_poll(port, counter, value);
	host_wait_drained(port);
}

/* ---- looking ---- */

static uint64_t load(const uint8_t *hva)
{
	return *(const volatile uint64_t *)(const void *)hva;
}

uint64_t host_load(HostPort *port, uint64_t dpa)
{
	return load(host_hva(port, dpa));
}

uint64_t host_access(HostPort *port, uint64_t dpa)
{
	uint64_t word;

	process_host_access(port->host->process, host_hpa(port, dpa), &word, sizeof(word), false);
	return word;
}

void host_assert_filled(HostPort *port, uint64_t dpa, uint64_t len, uint64_t word)
{
	const uint8_t *hva = host_hva(port, dpa);

	for (uint64_t at = 0; at < len; at += PAGE) {
		if (load(hva + at) != word || load(hva + at + PAGE - 8) != word ||
		    host_access(port, dpa + at) != word)
			g_error("DPA %#" PRIx64 ": %#" PRIx64 ", %#" PRIx64 " by access, should be "
				"%#" PRIx64,
				dpa + at, load(hva + at), host_access(port, dpa + at), word);
	}
}

uint64_t host_word(uint64_t seed, uint64_t offset)
{
	return (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ offset;
}

void host_fill(uint8_t *hva, uint64_t len, uint64_t seed, uint64_t offset)
{
	for (uint64_t at = 0; at < len; at += PAGE) {
		*(volatile uint64_t *)(void *)(hva + at) = host_word(seed, offset + at);
		*(volatile uint64_t *)(void *)(hva + at + PAGE - 8) =
			host_word(seed, offset + at + PAGE - 8);
	}
}

void host_assert_fill(const uint8_t *hva, uint64_t len, uint64_t seed, uint64_t offset)
{
	for (uint64_t at = 0; at < len; at += PAGE) {
		uint64_t first = host_word(seed, offset + at);
		uint64_t last = host_word(seed, offset + at + PAGE - 8);

		if (load(hva + at) != first || load(hva + at + PAGE - 8) != last)
			g_error("offset %#" PRIx64 ": %#" PRIx64 " and %#" PRIx64
				", should be %#" PRIx64 " and %#" PRIx64,
				offset + at, load(hva + at), load(hva + at + PAGE - 8), first,
				last);
	}
}

void host_protection(const void *hva, uint64_t len, char ret[5])
{
	FILE *file = fopen("/proc/self/maps", "re");
	uint64_t start = 0, end = 0;
	bool is_found = false;
	char line[512];

	g_assert_nonnull(file);
	while (!is_found && fgets(line, sizeof(line), file)) {
		is_found = sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &start, &end, ret) == 3 &&
			   start <= (uintptr_t)hva && (uintptr_t)hva < end;
	}
	fclose(file);
	g_assert_true(is_found);
	g_assert_cmphex((uintptr_t)hva + len, <=, end);
}

void host_assert_n_mappings(unsigned before)
{
	/*
	 * The two wipe workers may have started since: each brings a stack, its guard, a malloc
	 * arena in two parts, and from glibc 2.41 on a page of getrandom() state.
	 */
	if (!HOST_IS_INSTRUMENTED)
		g_assert_cmpuint(count_mappings(), <=, before + 12);
}
