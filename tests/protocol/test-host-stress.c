/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads at work in accepted extents while hundreds of others come and go; nothing is left over.
 */
#include "host_fixture.h"

#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#define N_THREADS  4
#define N_CYCLES   500
#define N_WARM_UP  50
#define N_BLOCKS   (REGION_LEN / BLOCK)
#define OWN_BLOCKS 4                            /* of each thread */
#define COME_GO    (2 * N_THREADS * OWN_BLOCKS) /* first block of those that come and go */
#define MAX_BLOCKS 24

typedef struct Worker {
	ProcessHost *process;
	uint8_t *hva;
	uint64_t hpa;
	unsigned number;
	gint *stop;
	uint64_t n_rounds;
} Worker;

/* Stores words, half of them by the bus, and looks for those of eight rounds ago. */
static gpointer work(gpointer data)
{
	Worker *worker = data;
	uint64_t len = OWN_BLOCKS * BLOCK;

	for (; !g_atomic_int_get(worker->stop) || worker->n_rounds < 2; worker->n_rounds++) {
		uint64_t seed = worker->n_rounds * N_THREADS + worker->number + 1;

		for (uint64_t at = worker->n_rounds % 8 * 512; at < len; at += 16 * PAGE) {
			uint64_t want = 0, bus;
			volatile uint64_t *word = (void *)(worker->hva + at);
			uint64_t fresh = host_word(seed, at);
			uint64_t hpa = worker->hpa + at;

			/* The same places come every eighth round. */
			if (worker->n_rounds >= 8)
				want = host_word(seed - 8 * N_THREADS, at);
			process_host_access(worker->process, hpa, &bus, sizeof(bus), false);
			if (*word != want || bus != want)
				g_error("thread %u: %#" PRIx64 " and %#" PRIx64 " at %#" PRIx64
					", should be %#" PRIx64,
					worker->number, *word, bus, at, want);
			if (at / (16 * PAGE) % 2)
				process_host_access(worker->process, hpa, &fresh, 8, true);
			else
				*word = fresh;
		}
		g_usleep(50); /* two processors have to do */
	}
	return NULL;
}

typedef struct Stress {
	uint64_t slowest_us; /* acceptance, doorbell to done */
	Pool *pool;
	PoolDevice *devices[2];
	HostEnd *host;
	Worker workers[N_THREADS];
	GThread *threads[N_THREADS];
	gint stop;
} Stress;

/* An extent for each, on the two devices in turn. */
static void start(Stress *stress)
{
	for (unsigned i = 0; i < N_THREADS; i++) {
		HostPort *port = &stress->host->ports[i % 2];
		uint64_t block = 2 * i * OWN_BLOCKS;

		host_backend(stress->pool, 1000 + i, OWN_BLOCKS * BLOCK);
		host_give_one(port, 1000 + i, block * BLOCK, OWN_BLOCKS * BLOCK);
		stress->workers[i] = (Worker){
			.process = stress->host->process,
			.hpa = host_hpa(port, host_region_dpa(port, 0) + block * BLOCK),
			.hva = host_hva(port, host_region_dpa(port, 0) + block * BLOCK),
			.number = i,
			.stop = &stress->stop,
		};
	}
	for (unsigned i = 0; i < N_THREADS; i++)
		stress->threads[i] = g_thread_new("worker", work, &stress->workers[i]);
}

static void on_mapped(HostPort *port, const CxlDcGroup *group)
{
	Stress *stress = port->data;

	stress->slowest_us = MAX(stress->slowest_us, cxl_memdev_last_command_us(port->memdev));
}

static unsigned pick(unsigned n)
{
	return (unsigned)g_test_rand_int_range(0, (gint32)n);
}

/* One offer in up to 24 pieces, used, then given back in two parts; some asked for, or forced. */
static void cycle(Stress *stress, unsigned i)
{
	HostPort *port = &stress->host->ports[pick(2)];
	uint64_t base = host_region_dpa(port, 0), first = COME_GO + pick(8);
	OfferExtent extents[MAX_BLOCKS];
	unsigned n = 1 + pick(MAX_BLOCKS);
	unsigned tag = pick(2) ? 1 + pick(MAX_BLOCKS) : 0;

	if (tag)
		n = tag; /* backend n has n blocks */
	for (unsigned j = 0; j < n; j++)
		extents[j] = (OfferExtent){ (first + (n - j) * 3) * BLOCK, BLOCK };
	host_give(port, tag, extents, n);
	for (unsigned j = 0; j < n; j++) {
		uint8_t *hva = host_hva(port, base + extents[j].offset);

		g_assert_cmphex(*(uint64_t *)(void *)hva, ==, 0);
		host_fill(hva, 4 * PAGE, i, j);
		host_assert_fill(hva, 4 * PAGE, i, j);
	}
	if (pick(4) == 0)
		host_ask_back(
			port,
			&(ReleaseRequest){ .extents = extents, .n_extents = 1, .forced = pick(2) });
	if (cxl_dcd_release_range(port->dcd, base + COME_GO * BLOCK, 40 * BLOCK) != -ENOENT)
		host_wait_drained(port);
	if (cxl_dcd_release_range(port->dcd, base + COME_GO * BLOCK,
				  (N_BLOCKS - COME_GO) * BLOCK) != -ENOENT)
		host_wait_drained(port);
	for (unsigned j = 0; j < n; j++)
		g_assert_cmphex(host_load(port, base + extents[j].offset), ==, UINT64_MAX);
}

/* Bytes of anonymous memory: ours, not what the windows show. */
static uint64_t anonymous_len(void)
{
	g_autofree char *text = NULL;
	const char *line;
	unsigned long long kib = 0;

	malloc_trim(0);
	g_assert_true(g_file_get_contents("/proc/self/status", &text, NULL, NULL));
	line = strstr(text, "RssAnon:");
	if (line)
		sscanf(line, "RssAnon: %llu", &kib);
	return kib * KIB;
}

/* Bytes that all backends and untagged files together have allocated. */
static uint64_t allocated_len(Stress *stress)
{
	uint64_t total = 0;

	for (unsigned i = 1; i <= MAX_BLOCKS; i++) {
		g_autofree char *name = g_strdup_printf("mem%u", i);
		CapacityCounters counters;
		uint64_t len;

		g_assert_true(pool_backend_counters(stress->pool, name, &counters, &len));
		g_assert_cmpuint(counters.free, ==, counters.total);
		total += len;
	}
	return total;
}

static void finish(Stress *stress)
{
	g_atomic_int_set(&stress->stop, 1);
	for (unsigned i = 0; i < N_THREADS; i++) {
		g_thread_join(stress->threads[i]);
		g_test_message("thread %u: %" PRIu64 " rounds", i, stress->workers[i].n_rounds);
	}
	for (unsigned i = 0; i < N_THREADS; i++)
		host_take_back_tag(&stress->host->ports[i % 2], 1000 + i);
	host_end_free(stress->host);
	pool_free(stress->pool);
}

static void test_stress(void)
{
	Stress stress = { .pool = host_pool() };
	unsigned n_fds, n_mappings;
	uint64_t len;

	for (unsigned i = 0; i < 2; i++)
		stress.devices[i] = host_device(stress.pool, i ? "dev1" : "dev0", 1);
	for (unsigned i = 1; i <= MAX_BLOCKS; i++)
		host_backend(stress.pool, i, i * BLOCK);
	stress.host = host_end_new(stress.pool, stress.devices, 2);
	for (unsigned i = 0; i < 2; i++) {
		stress.host->ports[i].data = &stress;
		stress.host->ports[i].mapped = on_mapped;
	}
	start(&stress);
	for (unsigned i = 0; i < N_WARM_UP; i++)
		cycle(&stress, i);
	n_fds = count_fds();
	n_mappings = count_mappings();
	len = anonymous_len();
	for (unsigned i = 0; i < N_CYCLES; i++)
		cycle(&stress, i);
	g_test_message(
		"descriptors %u, then %u; mappings %u, then %u; %" PRIu64 " KiB, then %" PRIu64,
		n_fds, count_fds(), n_mappings, count_mappings(), len / KIB, anonymous_len() / KIB);
	g_test_message("the slowest acceptance took %" PRIu64 " us", stress.slowest_us);
	g_assert_cmpuint(count_fds(), ==, n_fds);
	g_assert_cmpuint(allocated_len(&stress), ==, 0);
	host_assert_n_mappings(n_mappings);
	if (!HOST_IS_INSTRUMENTED)
		g_assert_cmpuint(anonymous_len(), <=, len + 2 * MIB);
	finish(&stress);
}

/* Hosts that come and go leave nothing either. */
static void test_sessions(void)
{
	g_autoptr(Pool) pool = host_pool();
	PoolDevice *devices[2] = { host_device(pool, "dev0", 2), host_device(pool, "dev1", 1) };
	unsigned n_fds = 0, n_mappings = 0;

	host_backend(pool, 1, 4 * BLOCK);
	for (unsigned i = 0; i < 20; i++) {
		HostEnd *host = host_end_new(pool, devices, 2);
		HostPort *port = &host->ports[i % 2];

		if (i < 10 || i % 2) {
			host_give_one(port, 1, 0, 4 * BLOCK);
			host_fill(host_hva(port, host_region_dpa(port, 0)), 4 * BLOCK, i, 0);
			host_take_back_tag(port, 1);
		}
		host_end_free(host);
		/* The pool has seen the end of it when its descriptors are gone. */
		for (gint64 end = g_get_monotonic_time() + WAIT_US;
		     i > 2 && count_fds() > n_fds && g_get_monotonic_time() < end;)
			g_usleep(1000);
		if (i <= 2) {
			g_usleep(50000);
			n_fds = count_fds();
			n_mappings = count_mappings();
		}
		g_assert_cmpuint(count_fds(), <=, n_fds);
		host_assert_n_mappings(n_mappings);
	}
}

#define P "/protocol/host/stress/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "extents", test_stress);
	g_test_add_func(P "sessions", test_sessions);
	return g_test_run();
}
