/* SPDX-License-Identifier: BSD-3-Clause */
/* Accesses without aliases: alignment, lengths, interleaving, read-only, and racing revocation. */

#include "fabric_fake.h"

#define WINDOW (16 * MIB256)
#define MIB    (UINT64_C(1) << 20)
#define N_EPS  6

/* Three bridges of two ports each: a 3-way window over 2-way bridges, and a plain window. */
static const FabricHostBridge bridges[] = {
	{ .uid = 0, .bus_first = 0x00, .bus_last = 0x0f, .n_ports = 2 },
	{ .uid = 1, .bus_first = 0x10, .bus_last = 0x1f, .n_ports = 2 },
	{ .uid = 2, .bus_first = 0x20, .bus_last = 0x2f, .n_ports = 2 },
};

static const FabricWindow windows[] = {
	{ .hpa = WINDOW, .len = 4 * MIB256, .ways = 1, .granularity = 256, .targets = { 0 } },
	{ .hpa = 2 * WINDOW,
	  .len = 6 * MIB256,
	  .ways = 3,
	  .granularity = 512,
	  .targets = { 1, 2, 0 } },
};

typedef struct Setup {
	FakeMapper fake;
	Fabric *fabric;
	FabricEndpoint *eps[N_EPS]; /* bridge * 2 + port */
} Setup;

static void setup(Setup *s)
{
	FabricConfig config = {
		.windows = windows, .n_windows = 2, .bridges = bridges, .n_bridges = 3
	};

	s->fabric = fake_fabric(&s->fake, &config, true);
	for (unsigned i = 0; i < N_EPS; i++)
		s->eps[i] = fabric_endpoint_new(s->fabric, i / 2, i % 2);
}

static void teardown(Setup *s)
{
	for (unsigned i = 0; i < N_EPS; i++)
		fabric_endpoint_free(s->eps[i]);
	fake_clear(&s->fake);
	fabric_free(s->fabric);
}

static void expose(FabricEndpoint *ep, uint64_t id, uint64_t dpa, uint64_t len, uint64_t offset,
		   int fd, bool writable)
{
	FabricMap map = { .id = id,
			  .dpa = dpa,
			  .len = len,
			  .offset = offset,
			  .writable = writable,
			  .fd = dup(fd) };

	g_assert_cmpint(fabric_endpoint_prepare(ep, &map), ==, 0);
	g_assert_cmpint(fabric_endpoint_expose(ep, &id, 1), ==, 0);
}

/* One device, one to one, at the plain window's start. */
static void program_plain(Setup *s)
{
	FakeBridgeDecoder b = { .hpa = WINDOW, .len = MIB256 };
	FabricDecoder d = {
		.committed = true, .hpa = WINDOW, .len = MIB256, .ways = 1, .granularity = 256
	};

	g_assert_true(bridge_commit(s->fabric, 0, &b));
	g_assert_cmpint(fabric_endpoint_decoder(s->eps[0], &d), ==, 0);
}

static void assert_stats(Setup *s, uint64_t n_reads, uint64_t n_writes)
{
	FabricStats stats;

	fabric_stats(s->fabric, &stats);
	g_assert_cmpuint(stats.n_unmapped_reads, ==, n_reads);
	g_assert_cmpuint(stats.n_unmapped_writes, ==, n_writes);
}

static void test_unmapped(void)
{
	uint8_t buf[64], ones[64];
	Setup s;
	int fd = fake_memory(MIB);

	memset(ones, 0xff, sizeof(ones));
	setup(&s);
	program_plain(&s);
	expose(s.eps[0], 1, 0, 4096, 0, fd, true);
	/* No window, window without decoder, decoder without memory, the last addresses there are.
	 */
	uint64_t places[] = { 0,          WINDOW - 64,     WINDOW + 2 * MIB256, WINDOW + 4096,
			      2 * WINDOW, UINT64_MAX - 63, UINT64_MAX - 7 };

	for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
		memset(buf, 0, sizeof(buf));
		fabric_access(s.fabric, places[i], buf, sizeof(buf), false);
		g_assert_cmpmem(buf, sizeof(buf), ones, sizeof(ones));
		fabric_access(s.fabric, places[i], buf, sizeof(buf), true);
	}
	assert_stats(&s, G_N_ELEMENTS(places), G_N_ELEMENTS(places));
	/* Half of it mapped: that half counts and works, the access is counted as well. */
	fabric_access(s.fabric, WINDOW + 4096 - 32, ones, 64, true);
	fabric_access(s.fabric, WINDOW + 4096 - 32, buf, 64, false);
	g_assert_cmpmem(buf, sizeof(buf), ones, sizeof(ones));
	assert_stats(&s, G_N_ELEMENTS(places) + 1, G_N_ELEMENTS(places) + 1);
	fabric_access(s.fabric, WINDOW + 4096 - 32, buf, 32, false);
	fabric_access(s.fabric, WINDOW, buf, 0, false);
	assert_stats(&s, G_N_ELEMENTS(places) + 1, G_N_ELEMENTS(places) + 1);
	close(fd);
	teardown(&s);
}

static void test_read_only(void)
{
	uint64_t value = 42;
	Setup s;
	int fd = fake_memory(MIB);

	setup(&s);
	program_plain(&s);
	g_assert_cmpint(pwrite(fd, "weights", 8, 0), ==, 8);
	expose(s.eps[0], 1, 0, MIB, 0, fd, false);
	g_assert_false(fake_find(&s.fake, WINDOW)->writable);
	fabric_access(s.fabric, WINDOW, &value, sizeof(value), true);
	fabric_access(s.fabric, WINDOW, &value, sizeof(value), false);
	g_assert_cmpmem(&value, 8, "weights", 8);
	assert_stats(&s, 0, 1);
	close(fd);
	teardown(&s);
}

/* All alignments and widths across the joint of two maps, and a joint that is on no page border. */
static void test_alignment(void)
{
	uint8_t want[256], have[256];
	Setup s;
	int fd = fake_memory(MIB);

	for (unsigned i = 0; i < sizeof(want); i++)
		want[i] = (uint8_t)(i * 7 + 1);
	setup(&s);
	program_plain(&s);
	expose(s.eps[0], 1, 0, 4096 + 64, 0, fd, true);
	expose(s.eps[0], 2, 4096 + 64, 8192, 512 * 1024, fd, true);
	for (unsigned at = 0; at < 32; at++) {
		for (unsigned len = 1; len <= 96; len++) {
			uint64_t hpa = WINDOW + 4096 + 64 - 48 + at;

			fabric_access(s.fabric, hpa, want + at, len, true);
			memset(have, 0, sizeof(have));
			fabric_access(s.fabric, hpa, have, len, false);
			g_assert_cmpmem(have, len, want + at, len);
		}
	}
	/* Where it went: the first map's end and the second one's beginning */
	g_assert_cmpint(pread(fd, have, 16, 4096 + 48), ==, 16);
	g_assert_cmpmem(have, 16, want + 32, 16);
	g_assert_cmpint(pread(fd, have, 16, 512 * 1024), ==, 16);
	g_assert_cmpmem(have, 16, want + 48, 16);
	assert_stats(&s, 0, 0);
	close(fd);
	teardown(&s);
}

/* 6 ways of 256 bytes: no aliases; a long write comes back, and lies spread over six devices. */
static void test_six_ways(void)
{
	enum {
		LEN = 6 * 16384
	};
	g_autofree uint8_t *data = g_malloc(LEN), *back = g_malloc(LEN);
	FabricDecoder d = { .committed = true,
			    .hpa = 2 * WINDOW,
			    .len = 6 * MIB256,
			    .ways = 6,
			    .granularity = 256 };
	Setup s;
	int fds[N_EPS];

	setup(&s);
	for (uint8_t i = 0; i < 3; i++) {
		FakeBridgeDecoder b = { .hpa = 2 * WINDOW,
					.len = 6 * MIB256,
					.ways = 2,
					.granularity = 256,
					.targets = { 1, 0 } };

		g_assert_true(bridge_commit(s.fabric, i, &b));
	}
	for (unsigned i = 0; i < N_EPS; i++) {
		g_assert_cmpint(fabric_endpoint_decoder(s.eps[i], &d), ==, 0);
		fds[i] = fake_memory(MIB);
		expose(s.eps[i], 1, MIB, MIB, 0, fds[i], true);
	}
	g_assert_cmpint(g_tree_nnodes(s.fake.aliases), ==, 0);
	for (unsigned i = 0; i < LEN; i++)
		data[i] = (uint8_t)(i / 256 + i % 256 * 3);
	fabric_access(s.fabric, 2 * WINDOW + 6 * MIB + 100, data, LEN, true);
	fabric_access(s.fabric, 2 * WINDOW + 6 * MIB + 100, back, LEN, false);
	g_assert_cmpmem(data, LEN, back, LEN);
	assert_stats(&s, 0, 0);
	for (unsigned granule = 1; granule < 48; granule++) {
		/* 512 bytes to each bridge in turn, of those 256 to each port, port 1 first */
		unsigned bridge = windows[1].targets[granule / 2 % 3], port = 1 - granule % 2;
		uint8_t have[256];

		g_assert_cmpint(pread(fds[bridge * 2 + port], have, 256, granule / 6 * 256), ==,
				256);
		g_assert_cmpmem(have, 256, data + granule * 256 - 100, 256);
	}
	for (unsigned i = 0; i < N_EPS; i++)
		close(fds[i]);
	teardown(&s);
}

/* ---- Revocation while others access ---- */

#define RACE_LEN (256 * UINT64_C(1024))

typedef struct Race {
	Setup s;
	int stop;          /* atomic */
	uint64_t n_seen;   /* atomic: accesses that met memory */
	uint64_t n_failed; /* atomic */
} Race;

/* Reads may see the tenant's zeros or nothing, never what the next tenant writes. */
static gpointer race_reader(gpointer data)
{
	Race *race = data;
	uint64_t n = 0;

	while (!__atomic_load_n(&race->stop, __ATOMIC_RELAXED)) {
		uint64_t words[32], at = n++ * 4999 % (RACE_LEN - sizeof(words)) / 8 * 8;

		fabric_access(race->s.fabric, WINDOW + at, words, sizeof(words), false);
		for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
			if (words[i] == 0)
				__atomic_add_fetch(&race->n_seen, 1, __ATOMIC_RELAXED);
			else if (words[i] != UINT64_MAX)
				__atomic_add_fetch(&race->n_failed, 1, __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

static gpointer race_decoders(gpointer data)
{
	Race *race = data;
	FakeBridgeDecoder b = { .hpa = WINDOW, .len = MIB256 };
	FabricDecoder d = { .hpa = WINDOW, .len = MIB256, .ways = 1, .granularity = 256 };

	while (!__atomic_load_n(&race->stop, __ATOMIC_RELAXED)) {
		bridge_take_back(race->s.fabric, 0, 0);
		g_assert_true(bridge_commit(race->s.fabric, 0, &b));
		d.committed = !d.committed;
		g_assert_cmpint(fabric_endpoint_decoder(race->s.eps[1], &d), ==, 0);
	}
	return NULL;
}

static void test_race(void)
{
	g_autofree uint8_t *secret = g_malloc(RACE_LEN), *zeros = g_malloc0(RACE_LEN);
	GThread *threads[4];
	Race race = { .stop = 0 };
	int fd = fake_memory(RACE_LEN);
	unsigned n_rounds;

	memset(secret, 0x5e, RACE_LEN);
	setup(&race.s);
	program_plain(&race.s);
	for (unsigned i = 0; i < 3; i++)
		threads[i] = g_thread_new("reader", race_reader, &race);
	threads[3] = g_thread_new("decoders", race_decoders, &race);
	for (n_rounds = 0; n_rounds < 2000 || !__atomic_load_n(&race.n_seen, __ATOMIC_RELAXED);
	     n_rounds++) {
		uint64_t half = RACE_LEN / 2;

		expose(race.s.eps[0], n_rounds, 0, RACE_LEN, 0, fd, true);
		/* In two steps, the second by itself; what is gone is the next tenant's at once. */
		g_assert_cmpint(fabric_endpoint_revoke(race.s.eps[0], n_rounds, half, half), ==, 0);
		g_assert_cmpint(pwrite(fd, secret, half, (off_t)half), ==, (ssize_t)half);
		g_assert_cmpint(fabric_endpoint_drop(race.s.eps[0], n_rounds), ==, 0);
		g_assert_cmpint(pwrite(fd, secret, half, 0), ==, (ssize_t)half);
		g_assert_cmpint(pwrite(fd, zeros, RACE_LEN, 0), ==, (ssize_t)RACE_LEN);
	}
	__atomic_store_n(&race.stop, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 4; i++)
		g_thread_join(threads[i]);
	g_assert_cmpuint(race.n_failed, ==, 0);
	g_assert_cmpuint(race.n_seen, >, 0);
	close(fd);
	teardown(&race.s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/fabric/access/unmapped", test_unmapped);
	g_test_add_func("/unit/fabric/access/read-only", test_read_only);
	g_test_add_func("/unit/fabric/access/alignment", test_alignment);
	g_test_add_func("/unit/fabric/access/six-ways", test_six_ways);
	g_test_add_func("/unit/fabric/access/race", test_race);
	return g_test_run();
}
