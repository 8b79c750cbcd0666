/* SPDX-License-Identifier: BSD-3-Clause */
/* host-cycle: a tag offered, accepted, released, wiped, again and again, over one connection. */
#include "qmp/qmp_client.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPCODE_ADD_RESPONSE 0x4802
#define OPCODE_RELEASE      0x4803
#define WAIT_MS             120000
#define MAX_EXTENTS         64
#define MAX_DECLINES        10
#define LOOK_US             100000
#define STRIDE              2 /* an extent, then as much nothing */

typedef struct Cycle {
	QmpClient *client;
	const char *device, *tag;
	gint64 len; /* of one extent */
	unsigned n_extents, n_accepted, n_freed, n_declines;
	bool is_declined;
	GArray *accept_us, *release_us, *offer_us; /* of double */
} Cycle;

static void must(const void *ok, GError *error)
{
	if (ok)
		return;
	fprintf(stderr, "host-cycle: %s\n", error->message);
	exit(1);
}

static const char *text_of(JsonObject *object, const char *name)
{
	JsonNode *node = json_object_get_member(object, name);

	return node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
}

static void take_trace(Cycle *cycle, JsonObject *data)
{
	double took;
	gint64 opcode;

	if (g_strcmp0(text_of(data, "kind"), "command") != 0)
		return;
	opcode = json_object_get_int_member(data, "opcode");
	took = (double)json_object_get_int_member(data, "took-us");
	if (opcode == OPCODE_ADD_RESPONSE)
		g_array_append_val(cycle->accept_us, took);
	else if (opcode == OPCODE_RELEASE)
		g_array_append_val(cycle->release_us, took);
}

static void take_event(JsonObject *event, void *opaque)
{
	const char *name = json_object_get_string_member(event, "event");
	JsonObject *data = json_object_get_object_member(event, "data");
	Cycle *cycle = opaque;

	if (strcmp(name, "X_TRACE") == 0)
		take_trace(cycle, data);
	else if (g_strcmp0(text_of(data, "tag"), cycle->tag) != 0)
		return;
	else if (strcmp(name, "CAPACITY_ACCEPTED") == 0)
		cycle->n_accepted++;
	else if (strcmp(name, "CAPACITY_DECLINED") == 0)
		cycle->is_declined = true;
	else if (strcmp(name, "CAPACITY_FREED") == 0)
		cycle->n_freed++;
}

static void call(Cycle *cycle, const char *command, JsonObject *args)
{
	GError *error = NULL;
	JsonNode *result = qmp_client_call(cycle->client, command, args, WAIT_MS, &error);

	must(result, error);
	json_node_unref(result);
}

static void wait_event(Cycle *cycle)
{
	GError *error = NULL;
	JsonObject *event = qmp_client_next_event(cycle->client, WAIT_MS, &error);

	must(event, error);
	take_event(event, cycle);
	json_object_unref(event);
}

static JsonObject *new_args(const Cycle *cycle)
{
	JsonObject *args = json_object_new();

	json_object_set_string_member(args, "path", cycle->device);
	json_object_set_int_member(args, "host-id", 0);
	json_object_set_int_member(args, "region", 0);
	json_object_set_string_member(args, "tag", cycle->tag);
	return args;
}

/* The length of the backend with the tag, and whether it can be offered. */
static gint64 look_at_backend(Cycle *cycle, bool *ret_free)
{
	GError *error = NULL;
	JsonNode *result = qmp_client_call(cycle->client, "query-backends", NULL, WAIT_MS, &error);
	gint64 len = 0;
	JsonArray *array;

	must(result, error);
	array = json_node_get_array(result);
	for (guint i = 0; i < json_array_get_length(array); i++) {
		JsonObject *backend = json_array_get_object_element(array, i);

		if (g_strcmp0(text_of(backend, "tag"), cycle->tag) != 0)
			continue;
		len = json_object_get_int_member(backend, "size");
		*ret_free = g_strcmp0(text_of(backend, "state"), "free") == 0;
	}
	json_node_unref(result);
	return len;
}

/* A response that the pool has no time for is undone, and its host then declines. */
static void wait_after_decline(Cycle *cycle)
{
	gint64 end = g_get_monotonic_time() + WAIT_MS * G_TIME_SPAN_MILLISECOND;
	bool is_free = false;

	if (++cycle->n_declines > MAX_DECLINES) {
		fprintf(stderr, "host-cycle: %u offers were declined\n", cycle->n_declines);
		exit(1);
	}
	while (look_at_backend(cycle, &is_free), !is_free) {
		if (g_get_monotonic_time() > end) {
			fputs("host-cycle: what was declined does not become free\n", stderr);
			exit(1);
		}
		g_usleep(LOOK_US);
	}
}

static void offer(Cycle *cycle)
{
	JsonObject *args = new_args(cycle);
	JsonArray *extents = json_array_new();

	for (unsigned i = 0; i < cycle->n_extents; i++) {
		JsonObject *extent = json_object_new();

		json_object_set_int_member(extent, "offset", (gint64)i * STRIDE * cycle->len);
		json_object_set_int_member(extent, "len", cycle->len);
		json_array_add_object_element(extents, extent);
	}
	json_object_set_string_member(args, "selection-policy", "prescriptive");
	json_object_set_array_member(args, "extents", extents);
	cycle->n_accepted = 0;
	cycle->is_declined = false;
	call(cycle, "cxl-add-dynamic-capacity", args);
	while (cycle->n_accepted < cycle->n_extents && !cycle->is_declined)
		wait_event(cycle);
}

static void offer_until_accepted(Cycle *cycle)
{
	gint64 begin = g_get_monotonic_time();
	double took;

	for (offer(cycle); cycle->is_declined; offer(cycle)) {
		wait_after_decline(cycle);
		begin = g_get_monotonic_time();
	}
	took = (double)(g_get_monotonic_time() - begin);
	g_array_append_val(cycle->offer_us, took);
}

static void take_back(Cycle *cycle)
{
	JsonObject *args = new_args(cycle);

	json_object_set_string_member(args, "removal-policy", "tag-based");
	cycle->n_freed = 0;
	call(cycle, "cxl-release-dynamic-capacity", args);
	while (cycle->n_freed < cycle->n_extents)
		wait_event(cycle);
}

static void trace(Cycle *cycle)
{
	JsonObject *args = json_object_new();

	json_object_set_string_member(args, "device", cycle->device);
	json_object_set_boolean_member(args, "enable", TRUE);
	call(cycle, "x-trace", args);
}

static int compare(gconstpointer a, gconstpointer b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_of(GArray *values)
{
	g_array_sort(values, compare);
	return values->len ? g_array_index(values, double, values->len / 2) : 0.0;
}

static unsigned count(const char *text, const char *what, unsigned most)
{
	guint64 value;

	if (!g_ascii_string_to_unsigned(text, 10, 1, most, &value, NULL)) {
		fprintf(stderr, "host-cycle: %s '%s' is not a number from 1 to %u\n", what, text,
			most);
		exit(2);
	}
	return (unsigned)value;
}

int main(int argc, char **argv)
{
	GError *error = NULL;
	unsigned rounds;
	Cycle cycle;
	bool is_free;

	if (argc != 6) {
		fputs("usage: host-cycle SOCKET DEVICE TAG ROUNDS EXTENTS\n", stderr);
		return 2;
	}
	rounds = count(argv[4], "ROUNDS", 1000000);
	cycle = (Cycle){
		.client = qmp_client_connect(argv[1], WAIT_MS, &error),
		.device = argv[2],
		.tag = argv[3],
		.n_extents = count(argv[5], "EXTENTS", MAX_EXTENTS),
		.accept_us = g_array_new(FALSE, FALSE, sizeof(double)),
		.release_us = g_array_new(FALSE, FALSE, sizeof(double)),
		.offer_us = g_array_new(FALSE, FALSE, sizeof(double)),
	};
	must(cycle.client, error);
	qmp_client_on_event(cycle.client, take_event, &cycle);
	cycle.len = look_at_backend(&cycle, &is_free) / cycle.n_extents;
	trace(&cycle);
	for (unsigned i = 0; i < rounds; i++) {
		offer_until_accepted(&cycle);
		take_back(&cycle);
	}
	printf("{\"rounds\": %u, \"extents\": %u, \"accept_us\": %.0f, \"release_us\": %.0f, "
	       "\"offer_us\": %.0f, \"declined\": %u}\n",
	       rounds, cycle.n_extents, median_of(cycle.accept_us), median_of(cycle.release_us),
	       median_of(cycle.offer_us), cycle.n_declines);
	g_array_unref(cycle.accept_us);
	g_array_unref(cycle.release_us);
	g_array_unref(cycle.offer_us);
	qmp_client_free(cycle.client);
	return 0;
}
