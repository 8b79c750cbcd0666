/* SPDX-License-Identifier: BSD-3-Clause */
/* Interleaved decoders: each granule comes to its device, by plain loads and by the bus. */
#include "host_fixture.h"

#include "pool/pool_priv.h"

#define RAM_LEN   (256 * MIB)
#define MAX_WAYS  HOST_MAX_DEVICES
#define N_ARENAS  3
#define ARENA_LEN (64 * KIB) /* of each device; a multiple of every granularity */
#define N_WRITES  400

typedef struct Set {
	Pool *pool;
	PoolDevice *devices[MAX_WAYS];
	HostEnd *host;
	unsigned ways;
	uint32_t granularity;
	const CxlRegionInfo *region;
} Set;

static void take_decoders_back(HostEnd *host)
{
	CxlRegion *regions[64];
	unsigned n = 0;

	for (CxlRegion *region = cxl_driver_first_region(host_driver(host)); region;
	     region = cxl_region_next(region)) {
		g_assert_cmpuint(n, <, G_N_ELEMENTS(regions));
		regions[n++] = region;
	}
	while (n-- > 0)
		host_unprogram(host, regions[n]);
}

static void program(Set *set, uint64_t dpa, uint64_t len)
{
	CxlMemdev *memdevs[MAX_WAYS];
	CxlRegionSpec spec = {
		.memdevs = memdevs,
		.n_memdevs = set->ways,
		.dpa = dpa,
		.len = len,
		.granularity = set->granularity,
	};

	/* In any order: where each hangs decides its position. */
	for (unsigned i = 0; i < set->ways; i++)
		memdevs[i] = set->host->ports[set->ways - 1 - i].memdev;
	set->region = cxl_region_info(host_program(set->host, &spec));
	g_assert_cmpuint(set->region->ways, ==, set->ways);
	g_assert_cmpuint(set->region->granularity, ==, set->granularity);
	g_assert_cmpuint(set->region->len, ==, len * set->ways);
	g_assert_nonnull(
		process_host_hva(set->host->process, set->region->hpa + set->region->len - 1));
}

/* Which device has the granule at OFFSET of the region. */
static HostPort *port_at(Set *set, uint64_t offset)
{
	CxlMemdev *memdev = set->region->memdevs[offset / set->granularity % set->ways];

	for (unsigned i = 0; i < set->ways; i++) {
		if (set->host->ports[i].memdev == memdev)
			return &set->host->ports[i];
	}
	g_error("offset %#" PRIx64 " is nobody's", offset);
}

/* And where in what it contributes. */
static uint64_t device_offset(const Set *set, uint64_t offset)
{
	return offset / set->granularity / set->ways * set->granularity + offset % set->granularity;
}

/* ---- static ram, by the bus ---- */

/* A stretch of the region and what should be in it. */
typedef struct Arena {
	uint64_t offset, len;
	uint8_t *bytes;
} Arena;

typedef struct RamCall {
	PoolDevice *device;
	uint64_t offset, len;
	void *buf;
} RamCall;

static void read_ram(Pool *pool, void *user_data)
{
	RamCall *call = user_data;

	g_assert_cmpint(mem_file_read(backend_peek_file(call->device->ram), call->offset, call->buf,
				      call->len),
			==, 0);
}

static void assert_backing(Set *set, const Arena *arena)
{
	g_autofree uint8_t *ram[MAX_WAYS] = { NULL };
	uint64_t start = device_offset(set, arena->offset);

	for (unsigned i = 0; i < set->ways; i++) {
		RamCall call = { set->devices[i], start, ARENA_LEN, NULL };

		ram[i] = g_malloc(ARENA_LEN);
		call.buf = ram[i];
		pool_call(set->pool, read_ram, &call);
	}
	for (uint64_t at = 0; at < arena->len; at += set->granularity) {
		uint64_t offset = arena->offset + at;
		unsigned i = (unsigned)(port_at(set, offset) - set->host->ports);

		g_assert_cmpmem(ram[i] + device_offset(set, offset) - start, set->granularity,
				arena->bytes + at, set->granularity);
	}
	for (unsigned i = 0; i < set->ways; i++)
		g_clear_pointer(&ram[i], g_free);
}

/* Random stores, loads between them, then all of it at once. */
static void scribble(Set *set, Arena *arena)
{
	ProcessHost *process = set->host->process;
	uint64_t hpa = set->region->hpa + arena->offset;
	g_autofree uint8_t *buf = g_malloc(arena->len);

	for (unsigned i = 0; i < N_WRITES; i++) {
		uint64_t max = UINT64_C(1) << g_test_rand_int_range(1, 19);
		uint64_t len = (uint64_t)g_test_rand_int_range(1, (gint32)MIN(max, arena->len) + 1);
		uint64_t at = (uint64_t)g_test_rand_int_range(0, (gint32)(arena->len - len + 1));

		if (i % 4 == 3) {
			process_host_access(process, hpa + at, buf, len, false);
			g_assert_cmpmem(buf, len, arena->bytes + at, len);
			continue;
		}
		for (uint64_t j = 0; j < len; j++)
			arena->bytes[at + j] = (uint8_t)(j * 167 + i * 31 + j / 256);
		process_host_access(process, hpa + at, arena->bytes + at, len, true);
	}
	process_host_access(process, hpa, buf, arena->len, false);
	g_assert_cmpmem(buf, arena->len, arena->bytes, arena->len);
}

static void check_static(Set *set)
{
	uint64_t arena_len = ARENA_LEN * set->ways, len = RAM_LEN * set->ways;
	uint64_t word;
	Arena arenas[N_ARENAS] = {
		{ .offset = 0 },
		{ .offset = len / 2 / arena_len * arena_len },
		{ .offset = len - arena_len },
	};

	program(set, 0, RAM_LEN);
	for (unsigned i = 0; i < N_ARENAS; i++) {
		arenas[i].len = arena_len;
		arenas[i].bytes = g_malloc(arena_len);
		/* What the round before has left. */
		memset(arenas[i].bytes, 0, arena_len);
		process_host_access(set->host->process, set->region->hpa + arenas[i].offset,
				    arenas[i].bytes, arena_len, true);
		scribble(set, &arenas[i]);
	}
	for (unsigned i = 0; i < N_ARENAS; i++) {
		assert_backing(set, &arenas[i]);
		g_free(arenas[i].bytes);
	}
	/* One byte beyond is not there. */
	process_host_access(set->host->process, set->region->hpa + len - 4, &word, 8, false);
	g_assert_cmphex(word >> 32, ==, UINT32_MAX);
}

static void test_static(gconstpointer data)
{
	static const uint32_t granularities[] = { 256, 1024, 4096, 16384 };
	Set set = { .pool = host_pool(), .ways = GPOINTER_TO_UINT(data) };

	for (unsigned i = 0; i < set.ways; i++) {
		g_autofree char *name = g_strdup_printf("dev%u", i);
		PoolDeviceConfig config = { .name = name, .ram_len = RAM_LEN };

		set.devices[i] = host_device_with(set.pool, &config);
	}
	set.host = host_end_new(set.pool, set.devices, set.ways);
	for (unsigned i = 0; i < G_N_ELEMENTS(granularities); i++) {
		set.granularity = granularities[i];
		/* Address bits above 14 cannot choose. */
		if (set.granularity * set.ways / 2 >= 1u << 15)
			continue;
		take_decoders_back(set.host);
		check_static(&set);
	}
	host_end_free(set.host);
	pool_free(set.pool);
}

/* ---- dynamic capacity, by plain loads ---- */

#define FIRST_BLOCK 3
#define EXTENT_LEN  (2 * BLOCK)

/* Every page of the extents' stripe: its owner's word if HELD has its bit, else all-ones. */
static void assert_stripe(Set *set, unsigned held)
{
	uint64_t start = FIRST_BLOCK * BLOCK * set->ways;
	uint64_t step = MIN(set->granularity, PAGE);
	bool has_aliases = set->granularity >= PAGE;

	for (uint64_t at = 0; at < EXTENT_LEN * set->ways; at += step) {
		uint64_t hpa = set->region->hpa + start + at, word;
		unsigned i = (unsigned)(port_at(set, start + at) - set->host->ports);
		uint64_t want = host_word(i, device_offset(set, start + at));
		uint64_t load = *(volatile uint64_t *)process_host_hva(set->host->process, hpa);

		if (!(held & 1u << i))
			want = UINT64_MAX;
		process_host_access(set->host->process, hpa, &word, sizeof(word), false);
		g_assert_cmphex(word, ==, want);
		g_assert_cmphex(load, ==, has_aliases ? want : UINT64_MAX);
	}
	/* Before and behind. */
	for (unsigned i = 0; i < set->ways; i++) {
		uint64_t hpa = set->region->hpa + start + i * set->granularity;

		g_assert_cmphex(*(volatile uint64_t *)process_host_hva(
					set->host->process, hpa - set->ways * set->granularity),
				==, UINT64_MAX);
		g_assert_cmphex(*(volatile uint64_t *)process_host_hva(
					set->host->process, hpa + EXTENT_LEN * set->ways),
				==, UINT64_MAX);
	}
}

/* The backend of device I gets a word at every step, so that each place can be told. */
static void fill_backend(Set *set, unsigned i)
{
	g_autofree uint64_t *words = g_new0(uint64_t, EXTENT_LEN / 8);
	uint64_t step = MIN(set->granularity, PAGE);

	for (uint64_t at = 0; at < EXTENT_LEN; at += step)
		words[at / 8] = host_word(i, FIRST_BLOCK * BLOCK + at);
	host_backend_write(set->pool, i + 1, 0, words, EXTENT_LEN);
}

static void check_dynamic(Set *set)
{
	HostPort *ports = set->host->ports;
	unsigned all = (1u << set->ways) - 1;
	uint64_t hpa, offset = FIRST_BLOCK * BLOCK * set->ways + set->granularity;

	program(set, host_region_dpa(&ports[0], 0), REGION_LEN);
	for (unsigned i = 0; i < set->ways; i++) {
		host_give_one(&ports[i], i + 1, FIRST_BLOCK * BLOCK, EXTENT_LEN);
		g_assert_cmpuint(g_array_index(ports[i].extents, CxlHostExtent, 0).ways, ==,
				 set->ways);
		fill_backend(set, i);
		assert_stripe(set, (2u << i) - 1);
	}
	/* Stores, too: through the second granule, which another device has. */
	hpa = set->region->hpa + offset;
	if (set->granularity >= PAGE) {
		unsigned i = (unsigned)(port_at(set, offset) - ports);
		volatile uint64_t *at = process_host_hva(set->host->process, hpa);
		uint64_t word;

		at[1] = 42;
		host_backend_read(set->pool, i + 1, 8, &word, sizeof(word));
		g_assert_cmpuint(word, ==, 42);
		process_host_access(set->host->process, hpa + 8, &word, sizeof(word), false);
		g_assert_cmpuint(word, ==, 42);
	}
	/* A middle one lets go: the others keep their granules. */
	host_take_back_tag(&ports[set->ways / 2], set->ways / 2 + 1);
	assert_stripe(set, all & ~(1u << set->ways / 2));
	take_decoders_back(set->host);
	for (unsigned i = 0; i < set->ways; i++) {
		if (i != set->ways / 2)
			host_take_back_tag(&ports[i], i + 1);
	}
}

static void test_dynamic(gconstpointer data)
{
	static const uint32_t granularities[] = { 256, 4096, 8192, 16384 };
	Set set = { .pool = host_pool(), .ways = GPOINTER_TO_UINT(data) };
	unsigned n_mappings = 0;

	for (unsigned i = 0; i < set.ways; i++) {
		g_autofree char *name = g_strdup_printf("dev%u", i);

		set.devices[i] = host_device(set.pool, name, 1);
		host_backend(set.pool, i + 1, EXTENT_LEN);
	}
	set.host = host_end_new(set.pool, set.devices, set.ways);
	take_decoders_back(set.host);
	for (unsigned i = 0; i < G_N_ELEMENTS(granularities); i++) {
		set.granularity = granularities[i];
		if (set.granularity * set.ways / 2 >= 1u << 15)
			continue;
		check_dynamic(&set);
		/* Thousands of pieces came and went. */
		if (i > 0)
			host_assert_n_mappings(n_mappings);
		else
			n_mappings = count_mappings();
	}
	host_end_free(set.host);
	pool_free(set.pool);
}

/* ---- decoders that change under accepted extents ---- */

/* The same memory once by itself and once as one of two; each time where the decoder says. */
static void test_switch(void)
{
	Set set = { .pool = host_pool(), .ways = 2, .granularity = 4096 };
	CxlDcdOptions options = { .allow_unmapped = true };
	uint64_t dpa;

	for (unsigned i = 0; i < 2; i++) {
		set.devices[i] = host_device(set.pool, i ? "dev1" : "dev0", 1);
		host_backend(set.pool, i + 1, EXTENT_LEN);
	}
	set.host = host_end_new_with(set.pool, set.devices, 2, &options);
	dpa = host_region_dpa(&set.host->ports[0], 0);
	for (unsigned i = 0; i < 2; i++) {
		host_give_one(&set.host->ports[i], i + 1, FIRST_BLOCK * BLOCK, EXTENT_LEN);
		fill_backend(&set, i);
	}
	for (unsigned round = 0; round < 4; round++) {
		take_decoders_back(set.host);
		set.ways = round % 2 + 1;
		program(&set, dpa, REGION_LEN);
		assert_stripe(&set, (1u << set.ways) - 1);
	}
	host_end_free(set.host);
	pool_free(set.pool);
}

/* Three ways are for windows over three host bridges; one bridge refuses, and nothing changes. */
static void test_three(void)
{
	Set set = { .pool = host_pool() };
	CxlMemdev *memdevs[3];
	CxlRegionSpec spec = { .memdevs = memdevs, .n_memdevs = 3, .len = RAM_LEN };
	CxlRegion *region = NULL;
	uint64_t hpas[3];

	for (unsigned i = 0; i < 3; i++) {
		g_autofree char *name = g_strdup_printf("dev%u", i);
		PoolDeviceConfig config = { .name = name, .ram_len = RAM_LEN };

		set.devices[i] = host_device_with(set.pool, &config);
	}
	set.host = host_end_new(set.pool, set.devices, 3);
	take_decoders_back(set.host);
	for (unsigned i = 0; i < 3; i++)
		memdevs[i] = set.host->ports[i].memdev;
	g_assert_cmpint(cxl_driver_program(host_driver(set.host), &spec, &region), ==, -EINVAL);
	g_assert_nonnull(
		strstr(cxl_driver_error(host_driver(set.host)), "cannot interleave 3 ways"));
	g_assert_null(region);
	g_assert_null(cxl_driver_first_region(host_driver(set.host)));
	for (unsigned i = 0; i < 3; i++) {
		spec.n_memdevs = 1;
		spec.memdevs = &memdevs[i];
		hpas[i] = cxl_region_info(host_program(set.host, &spec))->hpa;
		g_assert_cmphex(hpas[i], ==, hpas[0] + i * RAM_LEN);
	}
	host_end_free(set.host);
	pool_free(set.pool);
}

#define P "/protocol/host/interleave/"

int main(int argc, char **argv)
{
	static const unsigned ways[] = { 2, 4, 8 };

	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
		g_autofree char *fixed = g_strdup_printf(P "static/%u", ways[i]);
		g_autofree char *dynamic = g_strdup_printf(P "dynamic/%u", ways[i]);

		g_test_add_data_func(fixed, GUINT_TO_POINTER(ways[i]), test_static);
		g_test_add_data_func(dynamic, GUINT_TO_POINTER(ways[i]), test_dynamic);
	}
	g_test_add_func(P "three", test_three);
	g_test_add_func(P "switch", test_switch);
	return g_test_run();
}
