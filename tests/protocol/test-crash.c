/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon is killed again and again under load; after each restart all must be as it was told.
 */
#include "crash.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/*
 * Two hosts (softdcd host --check) accept whatever they are offered, fill it with patterns, and
 * verify it when it is asked back and when the daemon has returned: contents that are lost, mixed
 * up or left over from another tenant end them. The test plays the operator, and knows of a third
 * device, which has no host, exactly what must be there.
 *
 * CRASH_SEED repeats a run; CRASH_KILLS says how many kills.
 */

#define SETTLE_EVERY 25
#ifdef __SANITIZE_ADDRESS__
#define N_KILLS 40
#else
#define N_KILLS 200
#endif

/* ---- hosts ---- */

static bool *asked_for(Crash *crash, JsonObject *event)
{
	const char *device = json_object_get_string_member(event, "device");
	const char *tag = json_object_get_null_member(event, "tag")
				  ? NULL
				  : json_object_get_string_member(event, "tag");

	return tag ? &crash->asked[atoi(device + strlen("dev"))][atoi(tag + strlen(tag) - 4)]
		   : NULL;
}

/*
 * What was taken by force, or given back without hearing the answer, while the daemon was killed is
 * just gone for the host. Nothing else may be. (Untagged capacity is asked back all the time.)
 */
static bool is_loss(Crash *crash, JsonObject *event)
{
	const char *why = json_object_get_string_member(event, "why");
	const bool *asked = asked_for(crash, event);

	return !g_str_equal(why, "forced") && !(g_str_equal(why, "gone") && (!asked || *asked));
}

static void look_at_host_event(JsonObject *event, void *opaque)
{
	const char *name = json_object_get_string_member(event, "event");
	bool is_lost = g_str_equal(name, "lost");
	bool is_released = g_str_equal(name, "released");
	Crash *crash = opaque;

	if (g_str_equal(name, "mismatch") || (is_lost && is_loss(crash, event))) {
		g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), event);
		g_autofree char *text = json_to_string(node, FALSE);

		g_error("a host says: %s", text);
	}
	if ((is_lost || is_released) && asked_for(crash, event))
		*asked_for(crash, event) = false;
	crash->n_accepted += g_str_equal(name, "accepted");
	crash->n_released += is_released;
}

void crash_drain_hosts(Crash *crash)
{
	for (unsigned i = 0; i < N_HOSTS; i++)
		if (crash->hosts[i] &&
		    !serve_host_drain(crash->hosts[i], look_at_host_event, crash))
			g_error("host %u has ended", i);
}

/* A host that is only just starting may end when its pool does, so this waits until it answers. */
static void start_host(Crash *crash, unsigned i)
{
	g_autofree char *device = g_strdup_printf("dev%u", i);
	g_autofree char *seed = g_strdup_printf("%u", 1000 + i);
	gint64 deadline = g_get_monotonic_time() + WAIT_US;

	crash->hosts[i] = serve_host(crash->serve, device, "--check", seed, "--expect-zeros", NULL);
	serve_try(crash->serve, NULL, "cxl-add-dynamic-capacity",
		  "'path': '%s', 'host-id': 0, 'selection-policy': 'free', 'region': 0, "
		  "'length': 2097152",
		  device);
	while (serve_count(crash->serve, "query-offers", "'device': '%s'", device) > 0) {
		g_assert_cmpint(g_get_monotonic_time(), <, deadline);
		g_assert_true(serve_host_drain(crash->hosts[i], look_at_host_event, crash));
	}
}

/* ---- what the operator does ---- */

static unsigned pick(Crash *crash, unsigned n)
{
	return (unsigned)g_rand_int_range(crash->rand, 0, (gint32)n);
}

/* All of these: -1 when the daemon has gone, else whether it was done. */
static int do_offer(Crash *crash)
{
	static const char *const policies[] = { "free", "contiguous" };

	return serve_try(crash->serve, NULL, "cxl-add-dynamic-capacity",
			 "'path': 'dev%u', 'host-id': 0, 'selection-policy': '%s', 'region': 0, "
			 "'tag': '5be1f00d-0000-4000-8000-%012u'",
			 pick(crash, N_HOSTS), policies[pick(crash, 2)], pick(crash, N_TAGS));
}

static int do_offer_parts(Crash *crash)
{
	uint64_t at = pick(crash, 64) * 3 * BLOCK;

	return serve_try(crash->serve, NULL, "cxl-add-dynamic-capacity",
			 "'path': 'dev%u', 'host-id': 0, 'selection-policy': 'prescriptive', "
			 "'region': 0, 'tag': '5be1f00d-0000-4000-8000-%012u', 'extents': "
			 "[{'offset': %" G_GUINT64_FORMAT ", 'len': 2097152}, "
			 "{'offset': %" G_GUINT64_FORMAT ", 'len': 2097152}]",
			 pick(crash, N_HOSTS), pick(crash, N_TAGS), at + BLOCK, at);
}

static int do_offer_untagged(Crash *crash)
{
	return serve_try(crash->serve, NULL, "cxl-add-dynamic-capacity",
			 "'path': 'dev%u', 'host-id': 0, 'selection-policy': 'free', 'region': 0, "
			 "'length': 2097152",
			 pick(crash, N_HOSTS));
}

int crash_release_tag(Crash *crash, unsigned device, unsigned tag, bool forced)
{
	bool *asked = &crash->asked[device][tag], before = *asked;
	int done;

	*asked = true;
	done = serve_try(crash->serve, NULL, "cxl-release-dynamic-capacity",
			 "'path': 'dev%u', 'host-id': 0, 'removal-policy': 'tag-based', "
			 "'region': 0, 'tag': '5be1f00d-0000-4000-8000-%012u', "
			 "'forced-removal': %s",
			 device, tag, forced ? "true" : "false");
	if (done == 0)
		*asked = before;
	return done;
}

static int do_release(Crash *crash)
{
	unsigned device = pick(crash, N_HOSTS), tag = pick(crash, N_TAGS);

	return crash_release_tag(crash, device, tag, pick(crash, 8) == 0);
}

/* Everything accepted that has no tag, one by one. */
int crash_release_untagged(Crash *crash)
{
	g_autoptr(JsonNode) result = NULL;
	unsigned device = pick(crash, N_HOSTS);
	JsonArray *list;
	int done = serve_try(crash->serve, &result, "query-extents", "'device': 'dev%u'", device);

	list = done == 1 ? json_node_get_array(result) : NULL;
	for (guint i = 0; list && done >= 0 && i < json_array_get_length(list); i++) {
		JsonObject *extent = json_array_get_object_element(list, i);

		if (!json_object_get_null_member(extent, "tag") ||
		    !g_str_equal(json_object_get_string_member(extent, "state"), "accepted"))
			continue;
		done = serve_try(crash->serve, NULL, "cxl-release-dynamic-capacity",
				 "'path': 'dev%u', 'host-id': 0, 'removal-policy': "
				 "'prescriptive', 'region': 0, 'extents': [{'offset': "
				 "%" G_GINT64_FORMAT ", 'len': %" G_GINT64_FORMAT "}]",
				 device, json_object_get_int_member(extent, "dpa"),
				 json_object_get_int_member(extent, "len"));
	}
	return done;
}

static int do_withdraw(Crash *crash)
{
	return serve_try(crash->serve, NULL, "x-withdraw-offer",
			 "'path': 'dev%u', 'tag': '5be1f00d-0000-4000-8000-%012u'",
			 pick(crash, N_HOSTS), pick(crash, N_TAGS));
}

static int do_quiet(Crash *crash)
{
	unsigned i = pick(crash, N_QUIET);
	uint64_t before = crash->quiet[i];
	g_autoptr(JsonNode) result = NULL;
	int done;

	crash->quiet[i] = UNSURE;
	if (before == 0)
		done = serve_try(crash->serve, &result, "cxl-add-dynamic-capacity",
				 "'path': 'quiet', 'host-id': 0, 'selection-policy': "
				 "'contiguous', 'region': 0, 'tag': "
				 "'5be1f00d-0000-4000-8001-%012u'",
				 i);
	else
		done = serve_try(crash->serve, NULL, "x-withdraw-offer",
				 "'path': 'quiet', 'offer': %" G_GUINT64_FORMAT, before);
	if (done < 0)
		return done;
	/* Nobody else touches it, so it cannot be refused. */
	g_assert_cmpint(done, ==, 1);
	crash->quiet[i] = before == 0 ? (uint64_t)json_object_get_int_member(
						json_node_get_object(result), "offer")
				      : 0;
	return done;
}

static int do_extra(Crash *crash)
{
	int before = crash->extra;
	int done;

	crash->extra = EXTRA_UNSURE;
	if (before == EXTRA_GONE)
		done = serve_try(crash->serve, NULL, "object-add",
				 "'qom-type': 'memory-backend-ram', 'id': 'extra', 'size': 4096");
	else
		done = serve_try(crash->serve, NULL, "object-del", "'id': 'extra'");
	if (done < 0)
		return done;
	g_assert_cmpint(done, ==, 1);
	crash->extra = before == EXTRA_GONE ? EXTRA_HERE : EXTRA_GONE;
	return done;
}

/* Until the daemon is gone, which it must be some day. */
static void be_busy(Crash *crash)
{
	gint64 deadline = g_get_monotonic_time() + 2 * WAIT_US;
	static int (*const ops[])(Crash *) = {
		do_offer,   do_offer,   do_offer_parts,         do_offer_untagged,
		do_release, do_release, crash_release_untagged, do_withdraw,
		do_quiet,   do_extra,
	};
	int done;

	do {
		done = ops[pick(crash, G_N_ELEMENTS(ops))](crash);
		crash->n_ops++;
		crash->n_done += done == 1;
		crash_drain_hosts(crash);
		if (g_get_monotonic_time() > deadline)
			g_error("nothing has killed the daemon: the step was never hit");
	} while (done >= 0);
}

/* ---- the set-up ---- */

static Crash *crash_new(guint32 seed)
{
	Crash *crash = g_new0(Crash, 1);
	g_autoptr(GString) config = g_string_new(NULL);

	crash->serve = serve_new();
	crash->rand = g_rand_new_with_seed(seed);
	for (unsigned i = 0; i < N_HOSTS; i++)
		g_string_append_printf(config, "[device dev%u]\ndc-regions=512M\nhold=off\n", i);
	g_string_append(config, "[device quiet]\ndc-regions=256M\n");
	for (unsigned i = 0; i < N_TAGS; i++) {
		g_string_append_printf(config,
				       "[backend mem%u]\nsize=4M\n"
				       "tag=5be1f00d-0000-4000-8000-%012u\n",
				       i, i);
		if (i >= N_RAM)
			g_string_append_printf(config,
					       "type=file\npath=%s/file%u\non-release=wipe\n",
					       crash->serve->dir, i);
	}
	for (unsigned i = 0; i < N_QUIET; i++)
		g_string_append_printf(config,
				       "[backend quiet%u]\nsize=2M\n"
				       "tag=5be1f00d-0000-4000-8001-%012u\n",
				       i, i);
	serve_write_config(crash->serve, config->str);
	return crash;
}

static void start_hosts(Crash *crash)
{
	for (unsigned i = 0; i < N_HOSTS; i++)
		start_host(crash, i);
}

/* The hosts end well, which they do only if all they hold is as they left it. */
static void crash_end(Crash *crash)
{
	crash_settle(crash);
	for (unsigned i = 0; i < N_HOSTS; i++) {
		g_assert_cmpint(serve_host_end(crash->hosts[i], SIGTERM), ==, 0);
		serve_host_drain(crash->hosts[i], look_at_host_event, crash);
		serve_host_free(crash->hosts[i]);
	}
	g_assert_cmpint(serve_stop(crash->serve), ==, 0);
	serve_free(crash->serve);
	g_rand_free(crash->rand);
	g_test_message("%u operations, %u of them done; %u accepted, %u released; %u hosts killed",
		       crash->n_ops, crash->n_done, crash->n_accepted, crash->n_released,
		       crash->n_hosts_killed);
	g_free(crash);
}

static guint32 choose_seed(void)
{
	const char *text = g_getenv("CRASH_SEED");
	guint32 seed = text ? (guint32)g_ascii_strtoull(text, NULL, 10) : g_random_int();

	g_test_message("CRASH_SEED=%u", seed);
	return seed;
}

/* ---- at any instant ---- */

typedef struct Killer {
	pid_t pid;
	gulong delay_us;
} Killer;

static gpointer kill_later(gpointer data)
{
	const Killer *killer = data;

	g_usleep(killer->delay_us);
	kill(killer->pid, SIGKILL);
	return NULL;
}

/* From the first instants to a few hundred operations, short times more often. */
static gulong choose_delay_us(Crash *crash)
{
	return 200ul << pick(crash, 9);
}

static void kill_under_load(Crash *crash)
{
	Killer killer = { crash->serve->pid, choose_delay_us(crash) + pick(crash, 2000) };
	GThread *thread = g_thread_new("killer", kill_later, &killer);

	be_busy(crash);
	g_thread_join(thread);
	g_assert_cmpint(serve_wait_end(crash->serve), ==, -SIGKILL);
}

/* Also while it puts things back, and while it does that again. */
static void kill_at_start(Crash *crash)
{
	Killer killer = { .delay_us = 500ul << pick(crash, 8) };

	serve_spawn(crash->serve, NULL);
	killer.pid = crash->serve->pid;
	kill_later(&killer);
	g_assert_cmpint(serve_wait_end(crash->serve), ==, -SIGKILL);
}

static void maybe_replace_host(Crash *crash)
{
	unsigned i = pick(crash, N_HOSTS);

	if (pick(crash, 12) != 0)
		return;
	serve_host_drain(crash->hosts[i], look_at_host_event, crash);
	serve_host_end(crash->hosts[i], SIGKILL);
	serve_host_drain(crash->hosts[i], look_at_host_event, crash);
	serve_host_free(crash->hosts[i]);
	start_host(crash, i);
	crash->n_hosts_killed++;
}

static void test_random(void)
{
	const char *text = g_getenv("CRASH_KILLS");
	unsigned n_kills = text ? (unsigned)g_ascii_strtoull(text, NULL, 10) : N_KILLS;
	Crash *crash = crash_new(choose_seed());

	serve_start(crash->serve, NULL);
	start_hosts(crash);
	for (unsigned n = 0; n < n_kills; n++) {
		kill_under_load(crash);
		if (pick(crash, 4) == 0 && n + 1 < n_kills) {
			kill_at_start(crash);
			n++;
		}
		serve_start(crash->serve, NULL);
		crash_check_all(crash);
		if (n % SETTLE_EVERY == SETTLE_EVERY - 1)
			crash_settle(crash);
		maybe_replace_host(crash);
	}
	crash_end(crash);
}

/* ---- at each named step ---- */

static const char *const steps[] = {
	"ledger-before-commit",
	"ledger-after-commit",
	"after-prepare",
	"after-commit-before-expose",
	"after-expose-before-reply",
	"after-revoke-before-wipe",
	"mid-wipe",
	"after-new-file-before-drop",
};

static void test_step(gconstpointer data)
{
	const char *step = data;
	Crash *crash = crash_new(choose_seed());

	serve_start(crash->serve, NULL);
	start_hosts(crash);
	for (unsigned n = 1; n <= 7; n += 2) {
		g_autofree char *fault = g_strdup_printf("%s:%u", step, n);
		g_autofree char *said = g_strdup_printf("step %s %u kill", step, n);
		size_t offset = serve_log_len(crash->serve);

		g_assert_cmpint(serve_stop(crash->serve), ==, 0);
		serve_spawn(crash->serve,
			    (const char *const[]){ "--fault", fault, "--report-steps", NULL });
		/* It may be hit by what is due at the start already. */
		if (serve_connect(crash->serve))
			be_busy(crash);
		if (crash->serve->pid)
			g_assert_cmpint(serve_wait_end(crash->serve), ==, -SIGKILL);
		serve_assert_said(crash->serve, offset, said);
		serve_start(crash->serve, NULL);
		crash_check_all(crash);
	}
	crash_end(crash);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
		g_autofree char *path = g_strdup_printf("/protocol/crash/%s", steps[i]);

		g_test_add_data_func(path, steps[i], test_step);
	}
	g_test_add_func("/protocol/crash/random", test_random);
	return g_test_run();
}
