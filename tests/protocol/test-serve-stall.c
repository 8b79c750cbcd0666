/* SPDX-License-Identifier: BSD-3-Clause */
/* Ledger or wipes stand still for 10 s: registers answer as ever, and nothing is lost. */
#include "link/vfu_client.h"
#include "link/vfu_wire.h"
#include "serve_fixture.h"

#include <signal.h>

#define STALL_US   (10 * (gint64)G_USEC_PER_SEC)
#define PROMISE_US 5000    /* of a register read */
#define REGISTER   0x10000 /* in BAR 0: the device registers' capability array */

#define CONFIG                                           \
	"[device probed]\ndc-regions = 256M\n"           \
	"[device dev0]\ndc-regions = 256M\nhold = off\n" \
	"[backend mem0]\nsize = 4M\ntag = " TAG_A "\n"

/* ---- the load: offers and releases, as fast as they are answered ---- */

typedef struct Load {
	Serve *serve;
	int ends; /* atomic */
	unsigned n_done;
	gint64 longest_us;
} Load;

static void look_at_host(JsonObject *event, void *opaque)
{
	const char *name = json_object_get_string_member(event, "event");

	g_assert_cmpstr(name, !=, "mismatch");
	g_assert_cmpstr(name, !=, "lost");
}

static gpointer be_busy(gpointer data)
{
	Load *load = data;

	for (unsigned n = 0; !g_atomic_int_get(&load->ends); n++) {
		gint64 began = g_get_monotonic_time(), took;
		int done;

		if (n % 3 == 2)
			done = serve_try(load->serve, NULL, "object-add",
					 "'qom-type': 'memory-backend-ram', 'id': 'x%u', "
					 "'size': 4096",
					 n);
		else if (n % 3)
			done = serve_try(load->serve, NULL, "cxl-release-dynamic-capacity",
					 "'path': 'dev0', 'host-id': 0, 'region': 0, "
					 "'removal-policy': 'tag-based', 'tag': '" TAG_A "'");
		else
			done = serve_try(load->serve, NULL, "cxl-add-dynamic-capacity",
					 "'path': 'dev0', 'host-id': 0, 'region': 0, "
					 "'selection-policy': 'free', 'tag': '" TAG_A "'");
		g_assert_cmpint(done, >=, 0);
		load->n_done += done == 1;
		took = g_get_monotonic_time() - began;
		load->longest_us = MAX(load->longest_us, took);
	}
	return NULL;
}

/* ---- what is measured meanwhile ---- */

typedef struct Probe {
	unsigned n, n_slow;
	gint64 worst_us;
} Probe;

static Probe probe_registers(VfuClient *client, gint64 us)
{
	gint64 end = g_get_monotonic_time() + us;
	Probe probe = { 0 };

	while (g_get_monotonic_time() < end) {
		gint64 began = g_get_monotonic_time(), took;
		uint32_t value;

		g_assert_cmpint(vfu_client_read(client, 0, REGISTER, &value, sizeof(value)), ==, 0);
		took = g_get_monotonic_time() - began;
		probe.n++;
		probe.n_slow += took > PROMISE_US;
		probe.worst_us = MAX(probe.worst_us, took);
		g_usleep(1000);
	}
	return probe;
}

static void settle(Serve *serve)
{
	gint64 deadline = g_get_monotonic_time() + WAIT_US;

	for (;;) {
		g_autoptr(JsonObject)
			backend = serve_first(serve, "query-backends", "'id': 'mem0'");

		if (g_str_equal(json_object_get_string_member(backend, "state"), "free"))
			return;
		g_assert_cmpint(g_get_monotonic_time(), <, deadline);
		serve_try(serve, NULL, "x-withdraw-offer", "'path': 'dev0', 'tag': '" TAG_A "'");
		serve_try(serve, NULL, "cxl-release-dynamic-capacity",
			  "'path': 'dev0', 'host-id': 0, 'region': 0, 'removal-policy': "
			  "'tag-based', 'tag': '" TAG_A "'");
		g_usleep(10000);
	}
}

static void test_stall(gconstpointer data)
{
	g_autofree char *stall = g_strdup_printf("%s:10", (const char *)data);
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;
	g_autoptr(VfuClient) client = NULL;
	g_autofree char *path = NULL;
	Load load = { .serve = serve };
	GThread *thread;
	Probe probe;

	serve_write_config(serve, CONFIG);
	serve_start(serve, "--stall", stall, NULL);
	host = serve_host(serve, "dev0", "--check", "1", "--expect-zeros", NULL);
	path = g_build_filename(serve->runtime, "probed.vfio", NULL);
	client = vfu_client_connect(path, WAIT_MS, NULL);
	g_assert_nonnull(client);
	thread = g_thread_new("load", be_busy, &load);
	probe_registers(client, G_USEC_PER_SEC / 2);
	g_assert_cmpint(kill(serve->pid, SIGUSR2), ==, 0);
	probe = probe_registers(client, STALL_US);
	g_atomic_int_set(&load.ends, 1);
	g_thread_join(thread);
	g_test_message("%u reads, %u of them over %d us, worst %" G_GINT64_FORMAT
		       " us; %u operations, longest %" G_GINT64_FORMAT " us",
		       probe.n, probe.n_slow, PROMISE_US, probe.worst_us, load.n_done,
		       load.longest_us);
	/* The machine may be busy with other things for a moment; a wait for the stall is seconds.
	 */
	g_assert_cmpuint(probe.n, >, 100);
	g_assert_cmpuint(probe.n_slow * 50, <=, probe.n);
	g_assert_cmpint(probe.worst_us, <, 1000000);
	/* What has to be durable waited, which shows that there was a stall. */
	if (g_str_equal(data, "ledger"))
		g_assert_cmpint(load.longest_us, >, STALL_US * 8 / 10);
	settle(serve);
	g_assert_true(serve_host_drain(host, look_at_host, NULL));
	g_assert_cmpint(serve_host_end(host, SIGTERM), ==, 0);
	g_assert_cmpint(serve_stop(serve), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/protocol/serve-stall/ledger", "ledger", test_stall);
	g_test_add_data_func("/protocol/serve-stall/wipe", "wipe", test_stall);
	return g_test_run();
}
