/* SPDX-License-Identifier: BSD-3-Clause */
/* The crash test's checks: counters, offers, objects, and that nothing leaks. */
#include "crash.h"

#include <stdlib.h>
#include <string.h>

/* ---- what must hold ---- */

static uint64_t member(JsonObject *object, const char *name)
{
	return (uint64_t)json_object_get_int_member(object, name);
}

/* I6 */
static void check_sum(JsonObject *owner, const char *what)
{
	JsonObject *bytes = json_object_get_object_member(owner, "bytes");

	if (member(bytes, "total") !=
	    member(bytes, "free") + member(bytes, "reserved") + member(bytes, "accepted") +
		    member(bytes, "draining") + member(bytes, "quarantined"))
		g_error("%s: the counters do not add up", what);
}

/* Bytes by what the counters call them. */
static void add_extents(JsonArray *list, uint64_t ret[4])
{
	static const char *const states[] = { "queued", "offered", "accepted", "draining",
					      "quarantined" };
	static const unsigned counters[] = { 0, 0, 1, 2, 3 };

	memset(ret, 0, 4 * sizeof(ret[0]));
	for (guint i = 0; i < json_array_get_length(list); i++) {
		JsonObject *extent = json_array_get_object_element(list, i);
		const char *state = json_object_get_string_member(extent, "state");

		for (size_t j = 0; j < G_N_ELEMENTS(states); j++)
			if (g_str_equal(state, states[j]))
				ret[counters[j]] += member(extent, "len");
	}
}

/* Hosts go on while we look, so once in many looks is enough; but then it must agree exactly. */
static void check_device(Crash *crash, const char *name)
{
	gint64 deadline = g_get_monotonic_time() + WAIT_US;

	for (;;) {
		g_autoptr(JsonNode)
			extents = serve_call(crash->serve, "query-extents", "'device': '%s'", name);
		g_autoptr(JsonObject)
			device = serve_first(crash->serve, "query-devices", "'id': '%s'", name);
		JsonObject *bytes = json_object_get_object_member(device, "bytes");
		uint64_t len[4];

		check_sum(device, name);
		add_extents(json_node_get_array(extents), len);
		if (len[0] == member(bytes, "reserved") && len[1] == member(bytes, "accepted") &&
		    len[2] == member(bytes, "draining") && len[3] == member(bytes, "quarantined"))
			return;
		if (g_get_monotonic_time() > deadline) {
			g_autofree char *text = json_to_string(extents, TRUE);

			g_error("%s: counters and extents differ: %s", name, text);
		}
		crash_drain_hosts(crash);
	}
}

static void check_backends(Crash *crash)
{
	g_autoptr(JsonNode) result = serve_call(crash->serve, "query-backends", NULL);
	JsonArray *list = json_node_get_array(result);
	bool has_extra = false;

	for (guint i = 0; i < json_array_get_length(list); i++) {
		JsonObject *backend = json_array_get_object_element(list, i);
		const char *id = json_object_get_string_member(backend, "id");

		check_sum(backend, id);
		g_assert_false(json_object_get_boolean_member(backend, "contents-lost"));
		has_extra |= g_str_equal(id, "extra");
	}
	g_assert_cmpuint(json_array_get_length(list), ==,
			 (guint)N_TAGS + N_QUIET + (has_extra ? 1 : 0));
	if (crash->extra != EXTRA_UNSURE)
		g_assert_cmpint(crash->extra, ==, has_extra ? EXTRA_HERE : EXTRA_GONE);
	crash->extra = has_extra ? EXTRA_HERE : EXTRA_GONE;
}

/* I5, as far as an operator can tell: what was answered is so. */
static void check_quiet(Crash *crash)
{
	g_autoptr(JsonNode) result = serve_call(crash->serve, "query-offers", "'device': 'quiet'");
	JsonArray *list = json_node_get_array(result);
	uint64_t found[N_QUIET] = { 0 };

	for (guint i = 0; i < json_array_get_length(list); i++) {
		JsonObject *offer = json_array_get_object_element(list, i);
		const char *tag = json_object_get_string_member(offer, "tag");
		unsigned index = (unsigned)strtoul(tag + strlen(tag) - 4, NULL, 10);

		g_assert_cmpuint(index, <, N_QUIET);
		g_assert_cmpuint(found[index], ==, 0);
		found[index] = member(offer, "id");
	}
	for (unsigned i = 0; i < N_QUIET; i++) {
		if (crash->quiet[i] != UNSURE)
			g_assert_cmpuint(found[i], ==, crash->quiet[i]);
		crash->quiet[i] = found[i];
	}
}

void crash_check_all(Crash *crash)
{
	g_autoptr(JsonNode) pool = serve_call(crash->serve, "query-pool", NULL);

	check_sum(json_node_get_object(pool), "pool");
	check_backends(crash);
	check_quiet(crash);
	for (unsigned i = 0; i < N_HOSTS; i++) {
		g_autofree char *name = g_strdup_printf("dev%u", i);

		check_device(crash, name);
	}
	check_device(crash, "quiet");
}

/* ---- no reservation leaks ---- */

static bool is_all_free(Crash *crash, const char *command)
{
	g_autoptr(JsonNode) result = serve_call(crash->serve, command, NULL);
	JsonArray *list = json_node_get_array(result);

	for (guint i = 0; i < json_array_get_length(list); i++) {
		JsonObject *object = json_array_get_object_element(list, i);
		JsonObject *bytes = json_object_get_object_member(object, "bytes");

		if (member(bytes, "free") != member(bytes, "total"))
			return false;
	}
	return true;
}

static void ask_everything_back(Crash *crash)
{
	for (unsigned i = 0; i < N_QUIET; i++) {
		if (crash->quiet[i])
			serve_do(crash->serve, "x-withdraw-offer",
				 "'path': 'quiet', 'offer': %" G_GUINT64_FORMAT, crash->quiet[i]);
		crash->quiet[i] = 0;
	}
	for (unsigned device = 0; device < N_HOSTS; device++) {
		for (unsigned tag = 0; tag < N_TAGS; tag++) {
			serve_try(crash->serve, NULL, "x-withdraw-offer",
				  "'path': 'dev%u', 'tag': '5be1f00d-0000-4000-8000-%012u'", device,
				  tag);
			crash_release_tag(crash, device, tag, false);
		}
		crash_release_untagged(crash);
	}
}

/* Offers and acceptances may be under way still, so it is asked again until it is so. */
void crash_settle(Crash *crash)
{
	gint64 deadline = g_get_monotonic_time() + 2 * WAIT_US;

	for (;;) {
		ask_everything_back(crash);
		if (is_all_free(crash, "query-backends") && is_all_free(crash, "query-devices"))
			break;
		if (g_get_monotonic_time() > deadline) {
			g_autoptr(JsonNode)
				extents = serve_call(crash->serve, "query-extents", NULL);
			g_autofree char *text = json_to_string(extents, TRUE);

			g_error("not all is free again: %s", text);
		}
		crash_drain_hosts(crash);
		g_usleep(5000);
	}
	g_assert_cmpuint(serve_count(crash->serve, "query-extents", NULL), ==, 0);
	g_assert_cmpuint(serve_count(crash->serve, "query-offers", NULL), ==, 0);
}
