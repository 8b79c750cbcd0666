/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd offer, withdraw. */
#include "cli/cmd.h"
#include "cli/columns.h"
#include "cli/request.h"
#include "cli/wait.h"

#include "util/size.h"

#include <inttypes.h>
#include <string.h>

enum {
	POLICY_FREE,
	POLICY_CONTIGUOUS,
	POLICY_PRESCRIPTIVE,
	POLICY_SHARED,
};

static const char *const policies[] = { "free", "contiguous", "prescriptive",
					"enable-shared-access", NULL };

/* How long the word of what became of an offer may come after it has left the list. */
#define VERDICT_WAIT_US (2 * G_USEC_PER_SEC)

/* ---- the request ---- */

static uint64_t policy_of(const CliArgs *args)
{
	const CliValue *policy = cli_value(args, "policy", 0);

	if (policy)
		return policy->number;
	return cli_given(args, "extent") ? POLICY_PRESCRIPTIVE : POLICY_FREE;
}

/* The extents are the size, if both are given. */
static bool check_size(const CliArgs *args)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < cli_n_values(args, "extent"); i++)
		sum += cli_value(args, "extent", i)->len;
	if (!cli_given(args, "size") || sum == cli_value(args, "size", 0)->number)
		return true;
	cli_complain(args, "--size is %" PRIu64 " bytes, but the extents are %" PRIu64 " in all",
		     cli_value(args, "size", 0)->number, sum);
	return false;
}

static bool check_policy(const CliArgs *args)
{
	bool prescriptive = policy_of(args) == POLICY_PRESCRIPTIVE;

	if (prescriptive && !cli_given(args, "extent"))
		cli_complain(args, "--policy prescriptive needs --extent: where is it to be?");
	else if (!prescriptive && cli_given(args, "extent"))
		cli_complain(args, "--extent needs --policy prescriptive, not %s",
			     cli_text(args, "policy"));
	else if (policy_of(args) == POLICY_SHARED && !cli_given(args, "tag"))
		cli_complain(args, "--policy enable-shared-access needs --tag: what is shared?");
	else if (cli_given(args, "timeout") && !cli_flag(args, "wait"))
		cli_complain(args, "--timeout needs --wait");
	else
		return !prescriptive || check_size(args);
	return false;
}

static JsonObject *offer_request(const CliArgs *args)
{
	static const CliMember members[] = {
		{ "DEVICE", "path" },    { "region", NULL }, { "tag", NULL },
		{ "extent", "extents" }, { NULL, NULL },
	};
	JsonObject *request = cli_request_new(args, members);
	uint64_t policy = policy_of(args);

	json_object_set_int_member(request, "host-id", 0);
	json_object_set_string_member(request, "selection-policy", policies[policy]);
	if (policy != POLICY_PRESCRIPTIVE && cli_given(args, "size"))
		json_object_set_int_member(request, "length",
					   (gint64)cli_value(args, "size", 0)->number);
	return request;
}

/* ---- waiting ---- */

typedef struct OfferWait {
	const char *device;
	int64_t offer;
	char *state;                        /* as last seen in query-offers */
	char *waits_for;                    /* likewise */
	bool accepted, declined, withdrawn; /* events have come */
	gint64 gone_us;                     /* since when it is not in the list; 0 = it is */
	uint64_t accepted_len;
} OfferWait;

static void note_event(CliClient *client, const char *name, JsonObject *data, void *opaque)
{
	OfferWait *wait = opaque;

	if (cli_member_int(data, "offer") != wait->offer)
		return;
	wait->accepted |= strcmp(name, "CAPACITY_ACCEPTED") == 0;
	wait->declined |= strcmp(name, "CAPACITY_DECLINED") == 0;
	wait->withdrawn |= strcmp(name, "CAPACITY_WITHDRAWN") == 0;
}

static void say_what_it_waits_for(OfferWait *wait, JsonObject *offer)
{
	const char *waits_for = cli_member_text(offer, "waits-for");

	if (waits_for && g_strcmp0(waits_for, wait->waits_for) != 0)
		g_printerr("offer %" PRId64 " waits for %s\n", wait->offer, waits_for);
	g_free(wait->waits_for);
	wait->waits_for = g_strdup(waits_for);
	g_free(wait->state);
	wait->state = g_strdup(cli_member_text(offer, "state"));
}

static bool is_pending(JsonArray *offers, OfferWait *wait)
{
	for (guint i = 0; i < json_array_get_length(offers); i++) {
		JsonObject *offer = json_array_get_object_element(offers, i);

		if (cli_member_int(offer, "id") == wait->offer) {
			say_what_it_waits_for(wait, offer);
			return true;
		}
	}
	return false;
}

static uint64_t accepted_bytes(JsonArray *extents, int64_t offer)
{
	uint64_t bytes = 0;

	for (guint i = 0; i < json_array_get_length(extents); i++) {
		JsonObject *extent = json_array_get_object_element(extents, i);

		if (cli_is_in_state(extents, i, "accepted") &&
		    cli_member_int(extent, "offer") == offer)
			bytes += (uint64_t)cli_member_int(extent, "len");
	}
	return bytes;
}

static CliWaitResult look_at_offer(CliClient *client, void *opaque)
{
	OfferWait *wait = opaque;
	JsonObject *arguments = json_object_new();
	g_autoptr(JsonArray) offers = NULL;
	g_autoptr(JsonArray) extents = NULL;

	json_object_set_string_member(arguments, "device", wait->device);
	offers = cli_client_list(client, "query-offers", arguments);
	if (!offers)
		return CLI_WAIT_OVER;
	if (is_pending(offers, wait))
		return CLI_WAIT_ON;
	extents = cli_query_extents(client, wait->device, NULL);
	if (!extents)
		return CLI_WAIT_OVER;
	wait->accepted_len = accepted_bytes(extents, wait->offer);
	wait->accepted |= wait->accepted_len > 0;
	if (!wait->gone_us)
		wait->gone_us = g_get_monotonic_time();
	/* The event may come a moment after the list has changed. */
	return wait->accepted || wait->declined || wait->withdrawn ||
			       g_get_monotonic_time() - wait->gone_us > VERDICT_WAIT_US
		       ? CLI_WAIT_OVER
		       : CLI_WAIT_ON;
}

static char *offer_waited_for(void *opaque)
{
	OfferWait *wait = opaque;

	return g_strdup_printf("offer %" PRId64 " to device %s is %s%s%s; it stays, \"softdcd "
			       "withdraw\" takes it back",
			       wait->offer, wait->device, wait->state ? wait->state : "unanswered",
			       wait->waits_for ? " and waits for " : "",
			       wait->waits_for ? wait->waits_for : "");
}

static const CliWaitOps offer_wait_ops = {
	.look = look_at_offer,
	.event = note_event,
	.waited_for = offer_waited_for,
};

static void print_offer(const CliArgs *args, const OfferWait *wait, const char *state)
{
	static const CliColumn columns[] = {
		{ "OFFER", "offer", CLI_COLUMN_NUMBER },
		{ "DEVICE", "device", CLI_COLUMN_TEXT },
		{ "TAG", "tag", CLI_COLUMN_TEXT },
		{ "STATE", "state", CLI_COLUMN_TEXT },
		{ "ACCEPTED", "accepted", CLI_COLUMN_BYTES },
		{ .title = NULL },
	};
	g_autoptr(JsonObject) object = json_object_new();
	const CliValue *tag = cli_value(args, "tag", 0);

	json_object_set_int_member(object, "offer", wait->offer);
	json_object_set_string_member(object, "device", wait->device);
	if (tag)
		json_object_set_string_member(object, "tag", tag->tag_text);
	else
		json_object_set_null_member(object, "tag");
	json_object_set_string_member(object, "state", state);
	json_object_set_int_member(object, "accepted", (gint64)wait->accepted_len);
	cli_print_object(args, object, columns);
}

static void wait_for_answer(CliClient *client, OfferWait *wait)
{
	cli_wait(client, &offer_wait_ops, wait);
	if (client->exit != EXIT_DONE)
		return;
	if (wait->accepted) {
		print_offer(client->args, wait, "accepted");
		return;
	}
	client->exit = EXIT_REFUSED;
	cli_complain(client->args, "offer %" PRId64 " was %s", wait->offer,
		     wait->withdrawn ? "withdrawn" : "declined by its host");
	print_offer(client->args, wait, wait->withdrawn ? "withdrawn" : "declined");
}

/* How it is now; a host may have answered already. */
static void tell_state(CliClient *client, OfferWait *wait)
{
	JsonObject *arguments = json_object_new();
	g_autoptr(JsonArray) offers = NULL;

	json_object_set_string_member(arguments, "device", wait->device);
	offers = cli_client_list(client, "query-offers", arguments);
	if (offers)
		print_offer(client->args, wait,
			    is_pending(offers, wait) && wait->state ? wait->state : "offered");
}

static ExitCode run_offer(const CliArgs *args)
{
	OfferWait wait = { .device = cli_text(args, "DEVICE") };
	CliClient client;
	g_autoptr(JsonObject) result = NULL;

	if (!check_policy(args))
		return EXIT_USAGE;
	if (!cli_client_open(&client, args))
		return client.exit;
	result = cli_client_object(&client, "cxl-add-dynamic-capacity", offer_request(args));
	if (result) {
		cli_client_set_deadline(&client);
		wait.offer = cli_member_int(result, "offer");
		if (cli_flag(args, "wait"))
			wait_for_answer(&client, &wait);
		else
			tell_state(&client, &wait);
	}
	cli_client_close(&client);
	g_free(wait.state);
	g_free(wait.waits_for);
	return client.exit;
}

static ExitCode run_withdraw(const CliArgs *args)
{
	static const CliMember members[] = {
		{ "DEVICE", "path" },
		{ "tag", NULL },
		{ "offer", NULL },
		{ NULL, NULL },
	};
	CliClient client;
	g_autoptr(JsonNode) result = NULL;

	if (!cli_client_open(&client, args))
		return client.exit;
	result = cli_client_call(&client, "x-withdraw-offer", cli_request_new(args, members),
				 CLI_CALL_TIMEOUT_MS);
	if (result)
		cli_print_done(args, "offer to device", cli_text(args, "DEVICE"), "withdrawn");
	cli_client_close(&client);
	return client.exit;
}

/* ---- the table ---- */

#define EXITS (1 << EXIT_TIMED_OUT | 1 << EXIT_NO_OBJECT | 1 << EXIT_NO_DAEMON)
#define TAG   "5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee"

static const CliParam device_positionals[] = {
	{ .name = "DEVICE",
	  .type = CLI_NAME,
	  .required = true,
	  .source = CLI_FROM_DEVICES,
	  .help = "the device whose host it is for" },
	{ .name = NULL },
};

static const CliParam offer_options[] = {
	{ .name = "tag",
	  .type = CLI_TAG,
	  .one_of = 1,
	  .source = CLI_FROM_TAGS,
	  .help = "the backend with this tag" },
	{ .name = "size",
	  .type = CLI_SIZE,
	  .min = 1,
	  .max = INT64_MAX,
	  .one_of = 1,
	  .help = "so much untagged memory, made for this offer" },
	{ .name = "region",
	  .type = CLI_UINT,
	  .max = 7,
	  .fallback = "0",
	  .help = "the region of the device" },
	{ .name = "policy",
	  .type = CLI_ENUM,
	  .values = policies,
	  .meta = "POLICY",
	  .help = "who chooses where it is; free by default, and prescriptive with --extent" },
	{ .name = "extent",
	  .type = CLI_EXTENT,
	  .repeatable = true,
	  .help = "where in the region a piece of it is, in assembly order" },
	{ .name = "wait", .type = CLI_FLAG, .help = "until the host has answered" },
	{ .name = "timeout",
	  .type = CLI_DURATION,
	  .help = "wait no longer than this; the offer stays" },
	{ .name = NULL },
};

static const CliExample offer_examples[] = {
	{ "offer dev0 --tag " TAG " --wait", "offer a backend and wait for the host" },
	{ "offer dev0 --size 4G", "four gibibytes of untagged memory, zeroed" },
	{ "offer dev0 --tag " TAG " --extent 0:512M --extent 2G:512M",
	  "a backend of one gibibyte, in two extents at chosen places" },
	{ .command = NULL },
};

static const char *const offer_see_also[] = { "wait", "withdraw", "release", "list", NULL };

const CliVerb verb_offer = {
	.name = "offer",
	.run = run_offer,
	.summary = "offer memory to a device's host",
	.text = "Reserves memory and a place for it in the device's region, and tells the host by "
		"one Add Capacity event record for each extent. Nothing is mapped until the host "
		"accepts. That the verb succeeds means that every record has its room in the "
		"event log and that the offer survives a restart of the daemon.\n\n"
		"An offer is held back until the host's kernel is ready for it and earlier offers "
		"are answered; --wait says what it waits for. It ends with 0 when the host has "
		"accepted (maybe only a part: see \"accepted\", in bytes), and with 1 when it has "
		"declined or the offer was withdrawn.\n\n"
		"The policies are those of the CXL specification. free takes room in as many "
		"pieces as it needs, contiguous in one. prescriptive takes the given extents, of "
		"which the first holds the backend's first bytes. enable-shared-access offers a "
		"backend that somebody holds already to one more host.",
	.positionals = device_positionals,
	.options = offer_options,
	.examples = offer_examples,
	.see_also = offer_see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
	.exits = EXITS,
};

static const CliParam withdraw_options[] = {
	{ .name = "tag",
	  .type = CLI_TAG,
	  .one_of = 1,
	  .source = CLI_FROM_TAGS,
	  .help = "the offer of the backend with this tag" },
	{ .name = "offer",
	  .type = CLI_UINT,
	  .max = INT64_MAX,
	  .meta = "ID",
	  .one_of = 1,
	  .source = CLI_FROM_OFFERS,
	  .help = "the offer with this number" },
	{ .name = NULL },
};

static const CliExample withdraw_examples[] = {
	{ "withdraw dev0 --tag " TAG, "the host has not answered, and need not any more" },
	{ .command = NULL },
};

static const char *const withdraw_see_also[] = { "offer", "list", NULL };

const CliVerb verb_withdraw = {
	.name = "withdraw",
	.run = run_withdraw,
	.summary = "take back an offer that has not been answered",
	.text = "Takes the offer's event records that the host has not read out of the log and "
		"frees what it reserved. If the host answers it nevertheless, it is told that "
		"there is no such offer. Memory that was accepted is not withdrawn but released.",
	.positionals = device_positionals,
	.options = withdraw_options,
	.examples = withdraw_examples,
	.see_also = withdraw_see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
	.exits = EXITS,
};
