/* SPDX-License-Identifier: BSD-3-Clause */
/* What a user of the daemon gets: commands per second, offer to acceptance, restart, idle memory.
 */
#include "bench/bench.h"
#include "host/mem_speed.h"
#include "serve_fixture.h"

#include <stdio.h>
#include <unistd.h>

#define N_COMMANDS 4000u
#define N_OFFERS   300u
/* A process host maps up to 20000 extents, so it takes several to hold 65536. */
#define N_HOSTS     4u
#define N_CHAINS    128u /* offers to each host */
#define CHAIN       128u /* extents of each */
#define N_RESTARTS  5u
#define EXTENT_LEN  (UINT64_C(2) << 20)
#define N_IDLE      16u
#define TARGET_RSS  32
#define TARGET_BOOT 1

static double seconds_since(uint64_t start_ns)
{
	return (double)(bench_now_ns() - start_ns) / 1e9;
}

/* ---- commands ---- */

static void bench_commands(Serve *serve)
{
	uint64_t start_ns = bench_now_ns();

	for (unsigned i = 0; i < N_COMMANDS; i++)
		json_node_unref(serve_call(serve, "query-pool", NULL));
	bench_info("qmp-per-s", N_COMMANDS / seconds_since(start_ns), "1/s", BENCH_AT_LEAST);
}

/* ---- offer to acceptance ---- */

static void bench_offers(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;
	double us[N_OFFERS];

	serve_write_config(serve, "[device dev0]\ndc-regions = 4G\nhold = off\n"
				  "[backend kv]\nsize = 1G\ntag = " TAG_A "\n");
	serve_start(serve, NULL);
	bench_commands(serve);
	host = serve_host(serve, "dev0", NULL);
	for (unsigned i = 0; i < N_OFFERS; i++) {
		uint64_t start_ns = bench_now_ns();

		json_node_unref(
			serve_call(serve, "cxl-add-dynamic-capacity",
				   "'path': 'dev0', 'host-id': 0, 'region': 0, 'tag': '" TAG_A
				   "', 'selection-policy': 'contiguous'"));
		serve_pass_event(serve, "CAPACITY_ACCEPTED");
		us[i] = (double)(bench_now_ns() - start_ns) / 1e3;
		json_node_unref(
			serve_call(serve, "cxl-release-dynamic-capacity",
				   "'path': 'dev0', 'host-id': 0, 'region': 0, 'tag': '" TAG_A
				   "', 'removal-policy': 'tag-based'"));
		serve_pass_event(serve, "CAPACITY_FREED");
		/* It would wait for somebody to read what it tells. */
		serve_host_pass(host, "released");
	}
	bench_info("offer-accepted-us", median(us, N_OFFERS), "us", BENCH_AT_MOST);
	/* median() has sorted them. */
	bench_info("offer-accepted-p99-us", us[N_OFFERS * 99 / 100], "us", BENCH_AT_MOST);
}

/* ---- restart ---- */

static void fill(Serve *serve, ServeHost *host, unsigned device)
{
	for (unsigned i = 0; i < N_CHAINS; i++) {
		g_autoptr(GString) extents = g_string_new(NULL);

		for (unsigned j = 0; j < CHAIN; j++)
			g_string_append_printf(
				extents,
				"%s{'offset': %" G_GUINT64_FORMAT ", 'len': %" G_GUINT64_FORMAT "}",
				j ? ", " : "", (i * CHAIN + j) * EXTENT_LEN, EXTENT_LEN);
		json_node_unref(serve_call(serve, "cxl-add-dynamic-capacity",
					   "'path': 'dev%u', 'host-id': 0, 'region': 0, "
					   "'selection-policy': 'prescriptive', 'extents': [%s]",
					   device, extents->str));
		for (unsigned j = 0; j < CHAIN; j++)
			serve_pass_event(serve, "CAPACITY_ACCEPTED");
		serve_host_pass(host, "accepted");
	}
}

static guint64 accepted_len(Serve *serve)
{
	g_autoptr(JsonNode) pool = serve_call(serve, "query-pool", NULL);
	JsonObject *bytes = json_object_get_object_member(json_node_get_object(pool), "bytes");

	return (guint64)json_object_get_int_member(bytes, "accepted");
}

static void bench_restart(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(GString) config = g_string_new(NULL);
	ServeHost *hosts[N_HOSTS];
	double seconds[N_RESTARTS];

	for (unsigned i = 0; i < N_HOSTS; i++)
		g_string_append_printf(config,
				       "[device dev%u]\ndc-regions = 32G\nhold = off\n"
				       "max-chain = %u\n",
				       i, CHAIN);
	serve_write_config(serve, config->str);
	serve_start(serve, NULL);
	for (unsigned i = 0; i < N_HOSTS; i++) {
		g_autofree char *name = g_strdup_printf("dev%u", i);

		hosts[i] = serve_host(serve, name, "--window", "64G", NULL);
		fill(serve, hosts[i], i);
	}
	for (unsigned i = 0; i < N_RESTARTS; i++) {
		uint64_t start_ns;

		serve_kill(serve);
		start_ns = bench_now_ns();
		serve_start(serve, NULL);
		if (accepted_len(serve) != N_HOSTS * N_CHAINS * CHAIN * EXTENT_LEN)
			g_error("extents were lost");
		seconds[i] = seconds_since(start_ns);
		for (unsigned j = 0; j < N_HOSTS; j++)
			serve_host_pass(hosts[j], "resumed");
	}
	bench_report("restart-64k-s", median(seconds, N_RESTARTS), "s", BENCH_AT_MOST, TARGET_BOOT);
	for (unsigned i = 0; i < N_HOSTS; i++)
		serve_host_free(hosts[i]);
}

/* ---- idle ---- */

static double resident_mib(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/statm", (int)pid);
	g_autofree char *text = NULL;
	unsigned long long total, resident;

	if (!g_file_get_contents(path, &text, NULL, NULL) ||
	    sscanf(text, "%llu %llu", &total, &resident) != 2)
		g_error("%s cannot be read", path);
	return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static void bench_idle(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(GString) config = g_string_new(NULL);

	for (unsigned i = 0; i < N_IDLE; i++)
		g_string_append_printf(config, "[device dev%u]\ndc-regions = 1T\n", i);
	serve_write_config(serve, config->str);
	serve_start(serve, NULL);
	bench_report("idle-rss-mib", resident_mib(serve->pid), "MiB", BENCH_AT_MOST, TARGET_RSS);
}

int main(void)
{
	bench_idle();
	bench_offers();
	bench_restart();
	return 0;
}
