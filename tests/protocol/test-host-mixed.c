/* SPDX-License-Identifier: BSD-3-Clause */
/* A device with everything: ram, pmem and three DC regions, each byte where it belongs. */
#include "host_fixture.h"

#include "cxl/cdat.h"
#include "pool/pool_priv.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RAM_LEN  (256 * MIB)
#define PMEM_LEN (512 * MIB)
#define STEP     (256 * KIB)

enum {
	PLAIN,
	SHARABLE,
	READ_ONLY
};

static const DcRegionConfig regions[] = {
	[PLAIN] = { .len = REGION_LEN, .block_size = BLOCK },
	[SHARABLE] = { .len = 2 * REGION_LEN, .block_size = 64 * KIB, .sharable = true },
	[READ_ONLY] = { .len = REGION_LEN, .block_size = PAGE, .read_only = true },
};

typedef struct Mixed {
	Pool *pool;
	PoolDevice *device;
	char *dir;
	char *pmem_path, *data_path;
} Mixed;

static void set_up(Mixed *mixed, gconstpointer data)
{
	PoolDeviceConfig config = {
		.name = "mixed",
		.ram_len = RAM_LEN,
		.pmem_len = PMEM_LEN,
		.lsa_len = 128 * KIB,
		.regions = regions,
		.n_regions = G_N_ELEMENTS(regions),
	};

	mixed->dir = g_dir_make_tmp("softdcd-host-XXXXXX", NULL);
	g_assert_nonnull(mixed->dir);
	mixed->pmem_path = g_build_filename(mixed->dir, "pmem", NULL);
	mixed->data_path = g_build_filename(mixed->dir, "data", NULL);
	config.pmem_path = mixed->pmem_path;
	mixed->pool = host_pool();
	mixed->device = host_device_with(mixed->pool, &config);
}

static void tear_down(Mixed *mixed, gconstpointer data)
{
	pool_free(mixed->pool);
	g_unlink(mixed->pmem_path);
	g_unlink(mixed->data_path);
	g_rmdir(mixed->dir);
	g_free(mixed->pmem_path);
	g_free(mixed->data_path);
	g_free(mixed->dir);
}

/* ---- static partitions ---- */

typedef struct RamCall {
	PoolDevice *device;
	uint64_t offset;
	uint64_t word;
} RamCall;

static void read_ram(Pool *pool, void *user_data)
{
	RamCall *call = user_data;

	g_assert_cmpint(mem_file_read(backend_peek_file(call->device->ram), call->offset,
				      &call->word, sizeof(call->word)),
			==, 0);
}

/* One word each STEP, its value its DPA; the last one ends where the partition ends. */
static void store_dpas(HostPort *port, uint64_t dpa, uint64_t len)
{
	for (uint64_t at = 0; at < len; at += STEP)
		*(volatile uint64_t *)(void *)host_hva(port, dpa + at) = dpa + at;
	*(volatile uint64_t *)(void *)host_hva(port, dpa + len - 8) = dpa + len - 8;
}

static void assert_dpas(HostPort *port, uint64_t dpa, uint64_t len)
{
	for (uint64_t at = 0; at < len; at += STEP) {
		g_assert_cmphex(host_load(port, dpa + at), ==, dpa + at);
		g_assert_cmphex(host_access(port, dpa + at), ==, dpa + at);
	}
	g_assert_cmphex(host_load(port, dpa + len - 8), ==, dpa + len - 8);
}

static void assert_files_hold_dpas(const Mixed *mixed)
{
	int fd = open(mixed->pmem_path, O_RDONLY | O_CLOEXEC);
	RamCall call = { .device = mixed->device };
	uint64_t word;

	g_assert_cmpint(fd, >=, 0);
	for (uint64_t at = 0; at < PMEM_LEN; at += STEP) {
		g_assert_cmpint(pread(fd, &word, sizeof(word), (off_t)at), ==, sizeof(word));
		g_assert_cmphex(word, ==, RAM_LEN + at);
	}
	close(fd);
	for (call.offset = STEP; call.offset < RAM_LEN; call.offset += 16 * STEP) {
		pool_call(mixed->pool, read_ram, &call);
		g_assert_cmphex(call.word, ==, call.offset);
	}
}

/* Its fresh file is made while the host starts. Until it is there, nothing is. */
static void wait_for_ram(HostPort *port)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_US;

	while (host_load(port, 0) == UINT64_MAX) {
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		g_usleep(100);
	}
}

static void test_static(Mixed *mixed, gconstpointer data)
{
	g_autoptr(HostEnd) host = host_end_new(mixed->pool, &mixed->device, 1);
	HostPort *port = &host->ports[0];

	wait_for_ram(port);
	store_dpas(port, 0, RAM_LEN);
	store_dpas(port, RAM_LEN, PMEM_LEN);
	assert_dpas(port, 0, RAM_LEN);
	assert_dpas(port, RAM_LEN, PMEM_LEN);
	assert_files_hold_dpas(mixed);
	g_clear_pointer(&host, host_end_free);

	/* A new session: persistent memory persists, the other begins anew. */
	host = host_end_new(mixed->pool, &mixed->device, 1);
	port = &host->ports[0];
	wait_for_ram(port);
	assert_dpas(port, RAM_LEN, PMEM_LEN);
	for (uint64_t at = 0; at < RAM_LEN; at += STEP)
		g_assert_cmphex(host_load(port, at), ==, 0);
	store_dpas(port, 0, RAM_LEN);
	assert_dpas(port, 0, RAM_LEN);
	assert_files_hold_dpas(mixed);
}

/* ---- what the driver is told ---- */

static void test_cdat(Mixed *mixed, gconstpointer data)
{
	g_autoptr(HostEnd) host = host_end_new(mixed->pool, &mixed->device, 1);
	const CxlMemdev *memdev = host->ports[0].memdev;
	const CxlMemdevInfo *info = cxl_memdev_info(memdev);
	uint64_t dpa = RAM_LEN + PMEM_LEN;
	static const struct {
		uint64_t dpa, len;
		uint8_t flags;
	} ranges[] = {
		{ 0, RAM_LEN, 0 },
		{ RAM_LEN, PMEM_LEN, CXL_DSMAS_NONVOLATILE },
		{ RAM_LEN + PMEM_LEN, REGION_LEN, CXL_DSMAS_DYNAMIC_CAPACITY },
		{ RAM_LEN + PMEM_LEN + REGION_LEN, 2 * REGION_LEN,
		  CXL_DSMAS_DYNAMIC_CAPACITY | CXL_DSMAS_SHAREABLE },
		{ RAM_LEN + PMEM_LEN + 3 * REGION_LEN, REGION_LEN,
		  CXL_DSMAS_DYNAMIC_CAPACITY | CXL_DSMAS_READ_ONLY },
	};

	g_assert_true(info->has_cdat && info->has_dc);
	g_assert_cmpuint(info->ram_len, ==, RAM_LEN);
	g_assert_cmpuint(info->pmem_len, ==, PMEM_LEN);
	g_assert_cmpuint(info->total_len, ==, RAM_LEN + PMEM_LEN);
	g_assert_cmpuint(info->lsa_len, ==, 128 * KIB);
	g_assert_cmpuint(cxl_memdev_n_ranges(memdev), ==, G_N_ELEMENTS(ranges));
	for (unsigned i = 0; i < G_N_ELEMENTS(ranges); i++) {
		const CxlMemRange *range = cxl_memdev_range(memdev, i);

		g_assert_cmphex(range->dpa, ==, ranges[i].dpa);
		g_assert_cmphex(range->len, ==, ranges[i].len);
		g_assert_cmphex(range->flags, ==, ranges[i].flags);
		g_assert_cmpuint(range->perf[CXL_CDAT_DATA_READ_LATENCY], >, 0);
	}
	g_assert_cmpuint(info->n_dc_regions, ==, G_N_ELEMENTS(regions));
	for (unsigned i = 0; i < G_N_ELEMENTS(regions); i++) {
		const CxlDcRegionInfo *region = cxl_memdev_dc_region(memdev, i);

		g_assert_cmphex(region->dpa, ==, dpa);
		g_assert_cmphex(region->len, ==, regions[i].len);
		g_assert_cmphex(region->decode_len, ==, regions[i].len);
		g_assert_cmphex(region->block_len, ==, regions[i].block_size);
		g_assert_true(region->sharable == regions[i].sharable);
		g_assert_true(region->read_only == regions[i].read_only);
		dpa += region->len;
	}
}

/* Each partition and region has a place of its own, and each byte of it one address. */
static void test_places(Mixed *mixed, gconstpointer data)
{
	g_autoptr(HostEnd) host = host_end_new(mixed->pool, &mixed->device, 1);
	HostPort *port = &host->ports[0];
	const uint64_t ends[] = {
		RAM_LEN,
		RAM_LEN + PMEM_LEN,
		RAM_LEN + PMEM_LEN + REGION_LEN,
		RAM_LEN + PMEM_LEN + 3 * REGION_LEN,
		RAM_LEN + PMEM_LEN + 4 * REGION_LEN,
	};
	uint64_t dpa = 0, last = 0, hpa, run;

	for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++) {
		g_assert_cmpint(cxl_memdev_hpa_of_dpa(port->memdev, dpa, &hpa, &run), ==, 0);
		g_assert_cmphex(run, ==, ends[i] - dpa);
		g_assert_cmphex(hpa, >, last);
		last = hpa + run - 1;
		g_assert_cmphex(host_hpa(port, ends[i] - 1), ==, last);
		g_assert_nonnull(process_host_hva(host->process, last));
		dpa = ends[i];
	}
	g_assert_cmpint(cxl_memdev_hpa_of_dpa(port->memdev, dpa, &hpa, &run), <, 0);
	/* Static capacity is there; dynamic capacity is not, before somebody accepts it. */
	dpa = RAM_LEN + PMEM_LEN;
	g_assert_cmphex(host_load(port, dpa - 8), ==, 0);
	for (; dpa < ends[4]; dpa += STEP) {
		g_assert_cmphex(host_load(port, dpa), ==, UINT64_MAX);
		g_assert_cmphex(host_access(port, dpa), ==, UINT64_MAX);
	}
}

/* ---- dynamic regions ---- */

/* All of a backend of LEN bytes in two extents, the second part first, at the region's ends. */
static void give_ends(HostPort *port, unsigned region, unsigned tag, uint64_t len)
{
	const OfferExtent extents[] = {
		{ regions[region].len - len / 2, len / 2 },
		{ 0, len / 2 },
	};
	OfferRequest request = {
		.region = (uint8_t)region,
		.tag = host_tag(tag),
		.policy = OFFER_PRESCRIPTIVE,
		.extents = extents,
		.n_extents = 2,
	};

	host_give_with(port, &request);
	g_assert_cmpuint(port->extents->len, ==, 2);
	for (unsigned i = 0; i < 2; i++) {
		const CxlHostExtent *extent = &g_array_index(port->extents, CxlHostExtent, i);

		g_assert_cmphex(extent->dpa, ==, host_region_dpa(port, region) + extents[i].offset);
		g_assert_cmphex(extent->len, ==, extents[i].len);
		g_assert_cmphex(extent->hpa, ==, host_hpa(port, extent->dpa));
	}
}

/* Stores through the window, looks into the file; then the other way round. */
static void check_both_ways(HostPort *port, unsigned region, unsigned tag, uint64_t len)
{
	uint64_t dpa = host_region_dpa(port, region), half = len / 2;
	uint8_t *first = host_hva(port, dpa + regions[region].len - half);
	uint8_t *second = host_hva(port, dpa);
	g_autofree uint8_t *bytes = g_malloc(len);

	host_fill(first, half, tag, 0);
	host_fill(second, half, tag, half);
	host_backend_read(port->host->pool, tag, 0, bytes, len);
	host_assert_fill(bytes, len, tag, 0);
	host_fill(bytes, len, tag + 1, 0);
	host_backend_write(port->host->pool, tag, 0, bytes, len);
	host_assert_fill(first, half, tag + 1, 0);
	host_assert_fill(second, half, tag + 1, half);
	/* The neighbours are not there. */
	g_assert_cmphex(host_load(port, dpa + half), ==, UINT64_MAX);
	g_assert_cmphex(host_load(port, dpa + regions[region].len - half - 8), ==, UINT64_MAX);
}

static void add_backend(Mixed *mixed, unsigned tag, const char *name, uint64_t size, bool shareable)
{
	BackendConfig config = {
		.name = name,
		.type = BACKEND_MEMFD,
		.size = size,
		.tag = host_tag(tag),
		.shareable = shareable,
	};

	host_backend_with(mixed->pool, &config);
}

static void test_dynamic(Mixed *mixed, gconstpointer data)
{
	g_autoptr(HostEnd) host = host_end_new(mixed->pool, &mixed->device, 1);
	HostPort *port = &host->ports[0];

	add_backend(mixed, 1, "plain", 4 * BLOCK, false);
	add_backend(mixed, 2, "shared", 6 * 64 * KIB, true);
	give_ends(port, PLAIN, 1, 4 * BLOCK);
	give_ends(port, SHARABLE, 2, 6 * 64 * KIB);
	check_both_ways(port, PLAIN, 1, 4 * BLOCK);
	check_both_ways(port, SHARABLE, 2, 6 * 64 * KIB);
	store_dpas(port, 0, RAM_LEN);
	store_dpas(port, RAM_LEN, PMEM_LEN);
	g_clear_pointer(&host, host_end_free);

	/* What was accepted stays so, contents and all, and the next driver finds it. */
	host = host_end_new(mixed->pool, &mixed->device, 1);
	port = &host->ports[0];
	g_assert_cmpuint(port->n_recovered, ==, 2);
	host_assert_fill(host_hva(port, host_region_dpa(port, PLAIN)), 2 * BLOCK, 2, 2 * BLOCK);
	check_both_ways(port, SHARABLE, 2, 6 * 64 * KIB);
	host_take_back_tag(port, 1);
	host_take_back_tag(port, 2);
	host_assert_filled(port, host_region_dpa(port, PLAIN), REGION_LEN, UINT64_MAX);
	g_assert_cmpuint(host_pool_counters(mixed->pool).free, ==, 4 * BLOCK + 6 * 64 * KIB);
}

/* ---- read-only ---- */

/* The signal that a store to HVA ends a process with. */
static int store_in_child(uint8_t *hva)
{
	pid_t pid = fork();
	int status;

	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile uint8_t *)hva = 1;
		_exit(0);
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* Neither by a store, nor by the bus, nor by asking the kernel for more. */
static void assert_read_only(HostPort *port, uint64_t dpa, uint64_t len)
{
	uint8_t *hva = host_hva(port, dpa);
	uint64_t before = host_load(port, dpa), word = 0x6666666666666666;
	char protection[5];

	host_protection(hva, len, protection);
	g_assert_cmpstr(protection, ==, "r--s");
	g_assert_cmpint(store_in_child(hva), ==, SIGSEGV);
	process_host_access(port->host->process, host_hpa(port, dpa), &word, sizeof(word), true);
	g_assert_cmphex(host_load(port, dpa), ==, before);
	g_assert_cmpint(mprotect(hva, len, PROT_READ | PROT_WRITE), ==, -1);
}

static void test_read_only(Mixed *mixed, gconstpointer data)
{
	g_autoptr(HostEnd) host = host_end_new(mixed->pool, &mixed->device, 1);
	HostPort *port = &host->ports[0];
	uint64_t dpa = host_region_dpa(port, READ_ONLY), len = 8 * PAGE;
	BackendConfig memfd = {
		.name = "read-only",
		.type = BACKEND_MEMFD,
		.size = len,
		.tag = host_tag(3),
		.read_only = true,
	};
	BackendConfig file = memfd;
	g_autofree uint8_t *bytes = g_malloc0(len);
	OfferRequest request = { .region = READ_ONLY, .policy = OFFER_CONTIGUOUS };
	g_autoptr(GError) error = NULL;
	uint8_t *hva;

	host_fill(bytes, len, 9, 0);
	g_assert_true(
		g_file_set_contents(mixed->data_path, (const char *)bytes, (gssize)len, NULL));
	file.name = "file";
	file.type = BACKEND_FILE;
	file.path = mixed->data_path;
	file.tag = host_tag(4);
	host_backend_with(mixed->pool, &memfd);
	host_backend_with(mixed->pool, &file);
	add_backend(mixed, 5, "writable", len, false);

	request.tag = host_tag(5);
	g_assert_false(pool_offer(mixed->pool, mixed->device, &request, NULL, &error));
	g_assert_nonnull(strstr(error->message, "read-only"));
	request.tag = host_tag(3);
	host_give_with(port, &request);
	host_assert_filled(port, port->extents->len ? dpa : 0, len, 0);
	assert_read_only(port, dpa, len);
	request.tag = host_tag(4);
	host_give_with(port, &request);
	hva = host_hva(port, g_array_index(port->extents, CxlHostExtent, 0).dpa);
	host_assert_fill(hva, len, 9, 0);
	assert_read_only(port, dpa + len, len);
	host_take_back(port, dpa, 2 * len);
	host_assert_filled(port, dpa, 4 * len, UINT64_MAX);
	/* Keeping is the default of what is read-only. */
	host_give_with(port, &request);
	hva = host_hva(port, g_array_index(port->extents, CxlHostExtent, 0).dpa);
	host_assert_fill(hva, len, 9, 0);
	host_take_back_tag(port, 4);
}

#define P "/protocol/host/mixed/"

static void add(const char *path, void (*test)(Mixed *mixed, gconstpointer data))
{
	g_test_add(path, Mixed, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add(P "static", test_static);
	add(P "cdat", test_cdat);
	add(P "places", test_places);
	add(P "dynamic", test_dynamic);
	add(P "read-only", test_read_only);
	return g_test_run();
}
