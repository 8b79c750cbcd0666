/* SPDX-License-Identifier: BSD-3-Clause */
/* Hosts of a real daemon that is killed, loses its memory, or stands still. */
#include "host/process_host.h"
#include "serve_fixture.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define N_RESTARTS 6
#define N_WORDS    4096u /* looked at, one a page */

/* ---- a process host in this very process, whose window is read all the time ---- */

typedef struct Own {
	ProcessHost *host;
	uint8_t *hva; /* of TAG_A */
	unsigned n_mapped, n_released, n_mapped_b, n_released_b;
	unsigned n_revoked, n_away, n_kept, n_new;
	/* The reader's. */
	GThread *reader;
	int is_over;
	uint64_t n_reads;
	uint64_t first_wrong; /* what was found there; 0 = nothing wrong */
} Own;

static bool is_tag_a(const CxlDcGroup *group)
{
	CxlTag tag;

	return cxl_tag_parse(TAG_A, &tag) == 0 && memcmp(&tag, &group->tag, sizeof(tag)) == 0;
}

static void on_mapped(void *opaque, const CxlDcGroup *group)
{
	Own *own = opaque;

	if (!is_tag_a(group)) {
		own->n_mapped_b++;
		return;
	}
	own->n_mapped++;
	own->hva = process_host_hva(own->host, group->extents[0].hpa);
}

static CxlRelease on_release(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges,
			     uint32_t n)
{
	Own *own = opaque;

	*(is_tag_a(group) ? &own->n_released : &own->n_released_b) += 1;
	return CXL_RELEASE_GROUP;
}

static void on_revoked(void *opaque, const CxlDcGroup *group, const CxlDpaRange *ranges, uint32_t n)
{
	((Own *)opaque)->n_revoked++;
}

static void on_away(void *opaque, unsigned port, const char *why)
{
	((Own *)opaque)->n_away++;
}

static void on_resumed(void *opaque, unsigned port, bool kept, uint64_t away_us)
{
	Own *own = opaque;

	own->n_kept += kept;
	own->n_new += !kept;
}

static void on_log(void *opaque, const char *line)
{
	g_test_message("%s", line);
}

static const CxlDcdOps dcd_ops = {
	.mapped = on_mapped,
	.release = on_release,
	.revoked = on_revoked,
};

static void own_init(Own *own, Serve *serve)
{
	ProcessHostConfig config = {
		.window_len = GIB,
		.ops = { .away = on_away, .resumed = on_resumed },
		.opaque = own,
		.log = on_log,
	};
	g_autofree char *vfio = g_build_filename(serve->runtime, "dev0.vfio", NULL);
	g_autofree char *mem = g_build_filename(serve->runtime, "dev0.mem", NULL);
	g_autoptr(GError) error = NULL;

	memset(own, 0, sizeof(*own));
	own->host = process_host_new(&config, &error);
	g_assert_no_error(error);
	g_assert_cmpint(process_host_connect(own->host, vfio, mem, &error), ==, 0);
	g_assert_true(process_host_start(own->host, &error));
	g_assert_true(process_host_serve(own->host, 0, &dcd_ops, own, NULL, &error));
	g_assert_no_error(error);
}

static void own_poll(Own *own, const unsigned *counter, unsigned value)
{
	gint64 end = g_get_monotonic_time() + WAIT_US;
	g_autoptr(GError) error = NULL;

	while (*counter < value) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_assert_cmpint(process_host_poll(own->host, 100, &error), >=, 0);
	}
}

static uint64_t word_of(unsigned i)
{
	return UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
}

static gpointer read_window(gpointer opaque)
{
	Own *own = opaque;

	for (unsigned i = 0; !g_atomic_int_get(&own->is_over); i = (i + 1) % N_WORDS) {
		uint64_t word = *(volatile uint64_t *)(own->hva + i * 4096);

		if (word != word_of(i) && !own->first_wrong)
			own->first_wrong = word;
		own->n_reads++;
	}
	return NULL;
}

static void make_device(Serve *serve)
{
	serve_do(serve, "device-add", "'id': 'dev0', 'hold': 'off', 'dc-regions': [{'size': %d}]",
		 256 << 20);
}

/* Not one load meets anything but what was stored, through any number of restarts. */
static void test_window(void)
{
	g_autoptr(Serve) serve = serve_new();
	Own own;

	serve_start(serve, NULL);
	make_device(serve);
	serve_add_backend(serve, "kv", TAG_A, 16 * MIB);
	serve_add_backend(serve, "more", TAG_B, 2 * MIB);
	own_init(&own, serve);
	serve_offer(serve, TAG_A);
	own_poll(&own, &own.n_mapped, 1);
	for (unsigned i = 0; i < N_WORDS; i++)
		*(volatile uint64_t *)(own.hva + i * 4096) = word_of(i);
	own.reader = g_thread_new("reader", read_window, &own);
	for (unsigned i = 0; i < N_RESTARTS; i++) {
		serve_kill(serve);
		own_poll(&own, &own.n_away, i + 1);
		serve_start(serve, NULL);
		own_poll(&own, &own.n_kept, i + 1);
		/* What was free may not have been recorded yet; then it is wiped once more. */
		serve_wait_backend(serve, "more", "free");
		/* Interrupts, mailbox and link work as before. */
		serve_offer(serve, TAG_B);
		own_poll(&own, &own.n_mapped_b, i + 1);
		serve_ask_back(serve, TAG_B);
		own_poll(&own, &own.n_released_b, i + 1);
		serve_wait_backend(serve, "more", "free");
	}
	g_atomic_int_set(&own.is_over, 1);
	g_thread_join(own.reader);
	g_assert_cmphex(own.first_wrong, ==, 0);
	g_assert_cmpuint(own.n_reads, >, N_WORDS);
	g_assert_cmpuint(own.n_new, ==, 0);
	g_assert_cmpuint(own.n_mapped, ==, 1);
	g_assert_cmpuint(own.n_revoked, ==, 0);
	serve_ask_back(serve, TAG_A);
	own_poll(&own, &own.n_released, 1);
	serve_wait_backend(serve, "kv", "free");
	process_host_free(own.host);
	g_assert_cmpint(serve_stop(serve), ==, 0);
}

/* ---- hosts in processes of their own ---- */

/* The keeper ends with the daemon: what was in memory is gone, and that is said. */
static void test_contents_lost(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;
	g_autoptr(JsonObject) lost = NULL;

	serve_start(serve, NULL);
	make_device(serve);
	serve_add_backend(serve, "kv", TAG_A, 4 * MIB);
	host = serve_host(serve, "dev0", "--check=1", NULL);
	serve_offer(serve, TAG_A);
	serve_host_pass(host, "accepted");
	serve_kill(serve);
	serve_end_keeper(serve);
	serve_start(serve, NULL);
	serve_host_pass(host, "resumed");
	lost = serve_host_event(host, "lost");
	g_assert_cmpstr(json_object_get_string_member(lost, "tag"), ==, TAG_A);
	g_assert_cmpint(serve_host_end(host, SIGTERM), ==, 0);
	serve_wait_backend(serve, "kv", "free");
}

/* A daemon that does not answer is one that is away, until it does. */
static void test_stands_still(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;

	serve_start(serve, NULL);
	make_device(serve);
	serve_add_backend(serve, "kv", TAG_A, 4 * MIB);
	host = serve_host(serve, "dev0", "--check=1", NULL);
	serve_offer(serve, TAG_A);
	serve_host_pass(host, "accepted");
	kill(serve->pid, SIGSTOP);
	serve_host_pass(host, "reconnecting");
	kill(serve->pid, SIGCONT);
	serve_host_pass(host, "resumed");
	serve_ask_back(serve, TAG_A);
	serve_host_pass(host, "released");
	serve_wait_backend(serve, "kv", "free");
	g_assert_cmpint(serve_host_end(host, SIGTERM), ==, 0);
}

/* ---- killed while commands are in flight ---- */

#define N_TAGS  4
#define N_KILLS 20

static char *tag_text(unsigned i)
{
	return g_strdup_printf("5be1f00d-0000-4000-8000-00000000000%u", i);
}

/* Whatever can be done with a tag; it may be refused, and the daemon may be gone. */
static void act(Serve *serve, unsigned i)
{
	g_autofree char *tag = tag_text(i);

	if (g_test_rand_int_range(0, 2))
		serve_try(serve, NULL, "cxl-add-dynamic-capacity",
			  "'path': 'dev0', 'host-id': 0, 'region': 0, "
			  "'selection-policy': 'contiguous', 'tag': '%s'",
			  tag);
	else
		serve_try(serve, NULL, "cxl-release-dynamic-capacity",
			  "'path': 'dev0', 'host-id': 0, 'region': 0, "
			  "'removal-policy': 'tag-based', 'tag': '%s'",
			  tag);
}

typedef struct Told {
	unsigned n_accepted, n_released, n_resumed, n_lost, n_mismatches;
} Told;

static void count(JsonObject *event, void *opaque)
{
	const char *name = json_object_get_string_member(event, "event");
	g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), event);
	g_autofree char *text = json_to_string(node, FALSE);
	Told *told = opaque;

	g_test_message("%s", text);
	told->n_accepted += g_str_equal(name, "accepted");
	told->n_released += g_str_equal(name, "released");
	told->n_resumed += g_str_equal(name, "resumed");
	told->n_lost += g_str_equal(name, "lost");
	told->n_mismatches += g_str_equal(name, "mismatch");
}

static void wait_resumed(ServeHost *host, Told *told)
{
	gint64 end = g_get_monotonic_time() + WAIT_US;
	unsigned before = told->n_resumed;

	while (told->n_resumed == before) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_assert_true(serve_host_drain(host, count, told));
		g_usleep(1000);
	}
}

static bool is_free(Serve *serve, unsigned i)
{
	g_autoptr(JsonObject) backend = serve_first(serve, "query-backends", "'id': 'mem%u'", i);

	return g_str_equal(json_object_get_string_member(backend, "state"), "free");
}

static void free_all(Serve *serve, ServeHost *host, Told *told)
{
	gint64 end = g_get_monotonic_time() + WAIT_US;

	for (unsigned i = 0; i < N_TAGS;) {
		g_autofree char *tag = tag_text(i);

		g_assert_true(serve_host_drain(host, count, told));
		if (is_free(serve, i)) {
			i++;
			continue;
		}
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		/* Refused while it is only offered, or asked for already. */
		serve_try(serve, NULL, "cxl-release-dynamic-capacity",
			  "'path': 'dev0', 'host-id': 0, 'region': 0, "
			  "'removal-policy': 'tag-based', 'tag': '%s'",
			  tag);
		g_usleep(20000);
	}
	/* It tells a little later than the daemon knows. */
	while (told->n_released + told->n_lost < told->n_accepted) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_assert_true(serve_host_drain(host, count, told));
		g_usleep(1000);
	}
}

static void test_in_flight(void)
{
	g_autoptr(Serve) serve = serve_new();
	g_autoptr(ServeHost) host = NULL;
	Told told = { 0 };

	serve_start(serve, NULL);
	make_device(serve);
	for (unsigned i = 0; i < N_TAGS; i++) {
		g_autofree char *name = g_strdup_printf("mem%u", i);
		g_autofree char *tag = tag_text(i);

		serve_add_backend(serve, name, tag, 2 * MIB);
	}
	host = serve_host(serve, "dev0", "--check=1", NULL);
	for (unsigned i = 0; i < N_KILLS; i++) {
		unsigned n = (unsigned)g_test_rand_int_range(1, 12);

		for (unsigned k = 0; k < n; k++)
			act(serve, (unsigned)g_test_rand_int_range(0, N_TAGS));
		g_usleep((gulong)g_test_rand_int_range(0, 5000));
		serve_kill(serve);
		g_test_message("killed %u", i);
		serve_start(serve, NULL);
		/* Sometimes it is killed again before the host is back. */
		if (g_test_rand_int_range(0, 5))
			wait_resumed(host, &told);
	}
	free_all(serve, host, &told);
	g_test_message("%u accepted, %u released, %u resumed", told.n_accepted, told.n_released,
		       told.n_resumed);
	g_assert_cmpuint(told.n_mismatches, ==, 0);
	g_assert_cmpuint(told.n_lost, ==, 0);
	g_assert_cmpuint(told.n_accepted, ==, told.n_released);
	g_assert_cmpint(serve_host_end(host, SIGTERM), ==, 0);
	g_assert_cmpint(serve_stop(serve), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/host-restart/window", test_window);
	g_test_add_func("/protocol/host-restart/contents-lost", test_contents_lost);
	g_test_add_func("/protocol/host-restart/stands-still", test_stands_still);
	g_test_add_func("/protocol/host-restart/in-flight", test_in_flight);
	return g_test_run();
}
