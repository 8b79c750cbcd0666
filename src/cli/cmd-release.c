/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd release. */
#include "cli/cmd.h"
#include "cli/columns.h"
#include "cli/request.h"
#include "cli/wait.h"

#include <inttypes.h>
#include <string.h>

#define US_PER_MS 1000

static JsonObject *release_request(const CliArgs *args)
{
	static const CliMember members[] = {
		{ "DEVICE", "path" },
		{ "region", NULL },
		{ "tag", NULL },
		{ "extent", "extents" },
		{ "force", "forced-removal" },
		{ "sanitize", "sanitize-on-release" },
		{ NULL, NULL },
	};
	JsonObject *request = cli_request_new(args, members);
	const CliValue *timeout = cli_value(args, "timeout", 0);

	json_object_set_int_member(request, "host-id", 0);
	json_object_set_string_member(request, "removal-policy",
				      cli_given(args, "tag") ? "tag-based" : "prescriptive");
	if (timeout)
		json_object_set_int_member(request, "timeout", (gint64)timeout->number * US_PER_MS);
	return request;
}

/* ---- waiting ---- */

typedef struct ReleaseWait {
	const CliArgs *args;
	const char *device;
	const char *tag; /* canonical; NULL = extents */
	int64_t release;
	uint64_t region_dpa;
	char *state; /* as last seen in query-releases */
	uint64_t left_len;
	uint64_t draining_len, quarantined_len;
} ReleaseWait;

static bool is_asked_for(const ReleaseWait *wait, JsonObject *extent)
{
	uint64_t dpa = (uint64_t)cli_member_int(extent, "dpa");
	uint64_t len = (uint64_t)cli_member_int(extent, "len");

	if (cli_member_int(extent, "region") != (int64_t)cli_value(wait->args, "region", 0)->number)
		return false;
	if (wait->tag)
		return true; /* the query asked for it */
	for (unsigned i = 0; i < cli_n_values(wait->args, "extent"); i++) {
		const CliValue *asked = cli_value(wait->args, "extent", i);
		uint64_t start = wait->region_dpa + asked->offset;

		if (dpa < start + asked->len && start < dpa + len)
			return true;
	}
	return false;
}

/* What of it has left the list but is not free yet. */
static bool look_at_memory(CliClient *client, ReleaseWait *wait)
{
	g_autoptr(JsonArray) extents = cli_query_extents(client, wait->device, wait->tag);

	if (!extents)
		return false;
	wait->draining_len = wait->quarantined_len = 0;
	for (guint i = 0; i < json_array_get_length(extents); i++) {
		JsonObject *extent = json_array_get_object_element(extents, i);
		uint64_t len = (uint64_t)cli_member_int(extent, "len");

		if (!is_asked_for(wait, extent))
			continue;
		if (cli_is_in_state(extents, i, "draining"))
			wait->draining_len += len;
		else if (cli_is_in_state(extents, i, "quarantined"))
			wait->quarantined_len += len;
	}
	return true;
}

static bool look_at_request(CliClient *client, ReleaseWait *wait)
{
	JsonObject *arguments = json_object_new();
	g_autoptr(JsonArray) releases = NULL;

	json_object_set_string_member(arguments, "device", wait->device);
	json_object_set_int_member(arguments, "id", wait->release);
	releases = cli_client_list(client, "query-releases", arguments);
	if (!releases)
		return false;
	if (json_array_get_length(releases) > 0) {
		JsonObject *release = json_array_get_object_element(releases, 0);

		g_free(wait->state);
		wait->state = g_strdup(cli_member_text(release, "state"));
		wait->left_len = (uint64_t)cli_member_int(release, "len");
	}
	return true;
}

static bool state_is(const ReleaseWait *wait, const char *state)
{
	return g_strcmp0(wait->state, state) == 0;
}

static CliWaitResult look(CliClient *client, void *opaque)
{
	ReleaseWait *wait = opaque;

	if (!look_at_request(client, wait))
		return CLI_WAIT_OVER;
	if (state_is(wait, "timed-out") || state_is(wait, "failed"))
		return CLI_WAIT_OVER;
	if (!state_is(wait, "done") && !state_is(wait, "forced"))
		return CLI_WAIT_ON;
	if (!look_at_memory(client, wait))
		return CLI_WAIT_OVER;
	return wait->draining_len ? CLI_WAIT_ON : CLI_WAIT_OVER;
}

static char *describe(void *opaque)
{
	ReleaseWait *wait = opaque;

	if (wait->draining_len)
		return g_strdup_printf("device %s: %" PRIu64 " bytes are given back but not "
				       "confirmed and wiped yet",
				       wait->device, wait->draining_len);
	return g_strdup_printf("device %s: its host has not given back %" PRIu64
			       " bytes (%s); try again when they are not in use, or --force",
			       wait->device, wait->left_len, wait->state ? wait->state : "queued");
}

static const CliWaitOps wait_ops = {
	.look = look,
	.waited_for = describe,
};

/* The DPA of the region, for extents that are given as offsets into it. */
static bool find_region(CliClient *client, ReleaseWait *wait)
{
	g_autoptr(JsonArray) devices = NULL;
	JsonNode *regions;
	guint index = (guint)cli_value(wait->args, "region", 0)->number;

	if (wait->tag)
		return true;
	devices = cli_client_list(client, "query-devices", cli_request_id(wait->device));
	if (!devices || json_array_get_length(devices) == 0)
		return false;
	regions = json_object_get_member(json_array_get_object_element(devices, 0), "dc-regions");
	if (regions && JSON_NODE_HOLDS_ARRAY(regions) &&
	    index < json_array_get_length(json_node_get_array(regions))) {
		JsonNode *region = json_array_get_element(json_node_get_array(regions), index);

		if (JSON_NODE_HOLDS_OBJECT(region))
			wait->region_dpa = (uint64_t)cli_member_int(json_node_get_object(region),
								    "dpa");
	}
	return true;
}

static void print_release(const ReleaseWait *wait)
{
	static const CliColumn columns[] = {
		{ "RELEASE", "release", CLI_COLUMN_NUMBER },
		{ "DEVICE", "device", CLI_COLUMN_TEXT },
		{ "TAG", "tag", CLI_COLUMN_TEXT },
		{ "STATE", "state", CLI_COLUMN_TEXT },
		{ "LEFT", "left", CLI_COLUMN_BYTES },
		{ "QUARANTINED", "quarantined", CLI_COLUMN_BYTES },
		{ .title = NULL },
	};
	g_autoptr(JsonObject) object = json_object_new();

	json_object_set_int_member(object, "release", wait->release);
	json_object_set_string_member(object, "device", wait->device);
	if (wait->tag)
		json_object_set_string_member(object, "tag", wait->tag);
	else
		json_object_set_null_member(object, "tag");
	json_object_set_string_member(object, "state", wait->state ? wait->state : "queued");
	json_object_set_int_member(object, "left", (gint64)wait->left_len);
	json_object_set_int_member(object, "quarantined", (gint64)wait->quarantined_len);
	cli_print_object(wait->args, object, columns);
}

static void wait_until_free(CliClient *client, ReleaseWait *wait)
{
	cli_wait(client, &wait_ops, wait);
	if (client->exit != EXIT_DONE)
		return;
	if (state_is(wait, "timed-out")) {
		g_autofree char *what = describe(wait);

		cli_complain(wait->args, "timed out after %s: %s", cli_text(wait->args, "timeout"),
			     what);
		client->exit = EXIT_TIMED_OUT;
	} else if (state_is(wait, "failed")) {
		cli_complain(wait->args,
			     "device %s: could not be recorded, so nothing was taken away; "
			     "\"softdcd list\" says what is wrong with the ledger",
			     wait->device);
		client->exit = EXIT_REFUSED;
	} else if (wait->quarantined_len) {
		cli_complain(wait->args,
			     "%" PRIu64 " bytes are quarantined until their former user is "
			     "provably gone; \"softdcd backend reclaim\" is your word that it is",
			     wait->quarantined_len);
	}
}

static ExitCode run(const CliArgs *args)
{
	const CliValue *tag = cli_value(args, "tag", 0);
	ReleaseWait wait = {
		.args = args,
		.device = cli_text(args, "DEVICE"),
		.tag = tag ? tag->tag_text : NULL,
	};
	CliClient client;
	g_autoptr(JsonObject) result = NULL;

	if (!cli_client_open(&client, args))
		return client.exit;
	result = cli_client_object(&client, "cxl-release-dynamic-capacity", release_request(args));
	if (result) {
		wait.release = cli_member_int(result, "release");
		/* The daemon gives up asking at that time; what drains then gets as much again. */
		cli_client_set_deadline(&client);
		if (client.deadline_us)
			client.deadline_us += client.deadline_us - g_get_monotonic_time();
		if (cli_flag(args, "wait") && find_region(&client, &wait))
			wait_until_free(&client, &wait);
		else if (client.exit == EXIT_DONE)
			look_at_request(&client, &wait);
		if (client.exit == EXIT_DONE)
			print_release(&wait);
	}
	cli_client_close(&client);
	g_free(wait.state);
	return client.exit;
}

/* ---- the table ---- */

static const CliParam positionals[] = {
	{ .name = "DEVICE",
	  .type = CLI_NAME,
	  .required = true,
	  .source = CLI_FROM_DEVICES,
	  .help = "the device whose host has it" },
	{ .name = NULL },
};

static const CliParam options[] = {
	{ .name = "tag",
	  .type = CLI_TAG,
	  .one_of = 1,
	  .source = CLI_FROM_TAGS,
	  .help = "all that was accepted with this tag" },
	{ .name = "extent",
	  .type = CLI_EXTENT,
	  .repeatable = true,
	  .one_of = 1,
	  .help = "this part of the region" },
	{ .name = "region",
	  .type = CLI_UINT,
	  .max = 7,
	  .fallback = "0",
	  .help = "the region of the device" },
	{ .name = "force",
	  .type = CLI_FLAG,
	  .help = "take it away now: whoever uses it loses it without warning" },
	{ .name = "sanitize", .type = CLI_FLAG, .help = "wipe it even if its backend says keep" },
	{ .name = "wait", .type = CLI_FLAG, .help = "until the memory is free again" },
	{ .name = "timeout",
	  .type = CLI_DURATION,
	  .help = "give up asking after this long; without it the host is asked for ever" },
	{ .name = NULL },
};

static const CliExample examples[] = {
	{ "release dev0 --tag 5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee --wait --timeout 30s",
	  "ask for it back, and wait until it is wiped" },
	{ "release dev0 --extent 0:256M", "ask for a part of the region, whatever its tag" },
	{ .command = NULL },
};

static const char *const see_also[] = { "offer", "wait", "list", "backend reclaim", NULL };

const CliVerb verb_release = {
	.name = "release",
	.run = run,
	.summary = "ask a device's host to give memory back",
	.text = "Tells the host by Release Capacity event records, and asks again, after one "
		"second at first and later each minute, until it has given the memory back: Linux "
		"silently ignores the request while the memory is in use. Then the mapping is "
		"revoked, the host's side confirms that it cannot reach the memory any more, it is "
		"wiped, and only then free; --wait waits for all of that.\n\n"
		"With --force the memory is taken away at once. The addresses read all-ones and "
		"are "
		"not used again until the host acknowledges or is reset.\n\n"
		"\"state\" is queued, delivered, cleared-unanswered (the host saw the request and "
		"kept the memory), resent, done, timed-out, forced or failed; \"left\" are bytes "
		"still accepted.",
	.positionals = positionals,
	.options = options,
	.examples = examples,
	.see_also = see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
	.exits = 1 << EXIT_TIMED_OUT | 1 << EXIT_NO_OBJECT | 1 << EXIT_NO_DAEMON,
};
