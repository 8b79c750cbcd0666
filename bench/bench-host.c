/* SPDX-License-Identifier: BSD-3-Clause */
/* What a host gets: speed of an accepted extent, time to accept, mailbox round trips. */
#include "bench/bench.h"
#include "cli/demo.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SPEED_ROUNDS   15u
#define SPEED_REPEATS  3u
#define N_ACCEPTS      101u
#define N_BATCHES      9u
#define BATCH_PAUSE_US 1000000u
#define N_COMMANDS     4001u
#define N_BIG_COMMANDS 2001u
#define PAGE_LEN       4096u

static void must(bool ok, GError *error)
{
	if (!ok)
		g_error("%s", error->message);
}

static void bench_speed(Demo *demo)
{
	double read[SPEED_REPEATS], write[SPEED_REPEATS], latency[SPEED_REPEATS];
	uint64_t len = MEM_SPEED_MIN_LEN * 2;
	GError *error = NULL;

	/* Memory anew each time: where it happens to lie is part of what must average out. */
	for (unsigned i = 0; i < SPEED_REPEATS; i++) {
		int fd = memfd_create("ordinary", MFD_CLOEXEC);
		MemSpeedResult result;
		uint8_t *ordinary;

		must(demo_offer(demo, 0, NULL, 0, &error), error);
		must(demo_wait_mapped(demo, 0, "accept", &error), error);
		if (ftruncate(fd, (off_t)len))
			g_error("ftruncate failed");
		ordinary = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
		for (uint64_t at = 0; at < len; at += PAGE_LEN) {
			demo->mapped[0][at] = 1;
			ordinary[at] = 1;
		}
		mem_speed_compare(demo->mapped[0], ordinary, len, SPEED_ROUNDS, &result);
		munmap(ordinary, len);
		must(demo_release(demo, 0, "release", &error), error);
		read[i] = result.read_ratio;
		write[i] = result.write_ratio;
		latency[i] = result.latency_ratio;
	}
	bench_report("extent-read-ratio", median(read, SPEED_REPEATS), "x", BENCH_AT_LEAST, 0.98);
	bench_report("extent-write-ratio", median(write, SPEED_REPEATS), "x", BENCH_AT_LEAST, 0.98);
	bench_report("extent-latency-ratio", median(latency, SPEED_REPEATS), "x", BENCH_AT_LEAST,
		     0.98);
}

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	/* With one CPU there is nothing to choose. */
	(void)!sched_setaffinity(0, sizeof(set), &set);
}

static void pin_pool(Pool *pool, void *user_data)
{
	run_on(1);
}

static double accept_batch(Demo *demo)
{
	double us[N_ACCEPTS];
	GError *error = NULL;

	for (unsigned i = 0; i < N_ACCEPTS; i++) {
		must(demo_offer(demo, 0, NULL, 0, &error), error);
		must(demo_wait_mapped(demo, 0, "accept", &error), error);
		us[i] = demo->first_byte_us;
		must(demo_release(demo, 0, "release", &error), error);
	}
	return median(us, N_ACCEPTS);
}

/*
 * Host and pool each on a CPU of its own: left to the scheduler, which of several ways it finds to
 * place three threads on two CPUs decides for a whole run. And in batches, some seconds apart, of
 * which the quietest counts: a virtual machine's own neighbours slow all of them down for a while,
 * by up to a factor of two, which is nothing this program could say something about.
 */
static void bench_accept(Demo *demo)
{
	double quietest = 0;
	cpu_set_t before;

	if (sched_getaffinity(0, sizeof(before), &before))
		g_error("sched_getaffinity failed");
	run_on(0);
	pool_call(demo->pool, pin_pool, NULL);
	for (unsigned i = 0; i < N_BATCHES; i++) {
		double us = accept_batch(demo);

		quietest = i > 0 ? MIN(quietest, us) : us;
		g_usleep(BATCH_PAUSE_US);
	}
	(void)!sched_setaffinity(0, sizeof(before), &before);
	bench_report("accept-us", quietest, "us", BENCH_AT_MOST, 100);
}

/* Whole calls as a driver makes them: payload, command, doorbell, completion, output. */
static double command_us(CxlMemdev *memdev, uint16_t opcode, const void *in, uint32_t in_len,
			 void *out, uint32_t out_len, unsigned n)
{
	g_autofree double *us = g_new(double, n);

	for (unsigned i = 0; i < n; i++) {
		uint64_t start = bench_now_ns();
		int rc = cxl_memdev_command(memdev, opcode, in, in_len, out, out_len, NULL);

		us[i] = (double)(bench_now_ns() - start) / 1e3;
		if (rc != CXL_RC_SUCCESS)
			g_error("command %04x: %s", opcode, cxl_rc_name(rc));
	}
	return median(us, n);
}

static void bench_mailbox(Demo *demo)
{
	CxlMemdev *memdev = demo->ports[0].memdev;
	uint32_t payload_len = cxl_memdev_info(memdev)->payload_len;
	g_autofree uint8_t *in = g_malloc0(payload_len);
	CxlTimestamp timestamp = { .ns = le64_put(1) };

	/* Set LSA fills the whole payload: offset and reserved, then labels. */
	bench_report("mailbox-roundtrip-us",
		     command_us(memdev, CXL_OP_SET_TIMESTAMP, &timestamp, sizeof(timestamp), NULL,
				0, N_COMMANDS),
		     "us", BENCH_AT_MOST, 60);
	bench_report("mailbox-64k-payload-us",
		     command_us(memdev, CXL_OP_SET_LSA, in, payload_len, NULL, 0, N_BIG_COMMANDS),
		     "us", BENCH_AT_MOST, 60);
}

int main(void)
{
	Demo demo = { 0 };
	GError *error = NULL;
	BackendConfig backend = {
		.name = DEMO_BACKEND,
		.type = BACKEND_MEMFD,
		.size = DEMO_LEN,
	};

	demo.started_us = (uint64_t)g_get_monotonic_time();
	must(demo_set_up(&demo, &error), error);
	backend.tag = demo.tag;
	must(pool_add_backend(demo.pool, &backend, &error), error);
	bench_mailbox(&demo);
	bench_accept(&demo);
	bench_speed(&demo);
	demo_clear(&demo);
	return 0;
}
