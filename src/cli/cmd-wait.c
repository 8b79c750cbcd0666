/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd wait: until a tag is in a state in a device. */
#include "cli/audit.h"
#include "cli/cmd.h"
#include "cli/columns.h"
#include "cli/request.h"
#include "cli/wait.h"

#include <string.h>

enum {
	STATE_OFFERED,
	STATE_ACCEPTED,
	STATE_DECLINED,
	STATE_RELEASED,
};

static const char *const states[] = { "offered", "accepted", "declined", "released", NULL };

/* What has become of an offer, which may be a different thing for each of its extents. */
typedef struct Verdict {
	int64_t offer; /* the newest one heard of */
	bool accepted, declined, withdrawn;
} Verdict;

typedef struct TagWait {
	const char *device, *tag;
	uint64_t wanted;
	Verdict verdict;
	int64_t audited_us; /* the audit log has been read up to here; 0 = not at all */
	uint64_t queued_len, offered_len, accepted_len, draining_len;
} TagWait;

/* WHAT: "offered", ... or, as the audit log has it, "offer", ...; in any order. */
static void take_verdict(TagWait *wait, JsonObject *about, int64_t offer, const char *what)
{
	Verdict *verdict = &wait->verdict;

	if (g_strcmp0(cli_member_text(about, "device"), wait->device) != 0 ||
	    g_strcmp0(cli_member_text(about, "tag"), wait->tag) != 0 || offer < verdict->offer)
		return;
	if (offer > verdict->offer)
		*verdict = (Verdict){ .offer = offer };
	verdict->accepted |= g_str_has_prefix(what, "accept");
	verdict->declined |= g_str_has_prefix(what, "decline");
	verdict->withdrawn |= g_str_has_prefix(what, "withdraw");
}

static bool is_declined(const Verdict *verdict)
{
	return verdict->declined && !verdict->accepted;
}

static void note_event(CliClient *client, const char *name, JsonObject *data, void *opaque)
{
	static const char *const names[] = { "CAPACITY_OFFERED", "CAPACITY_ACCEPTED",
					     "CAPACITY_DECLINED", "CAPACITY_WITHDRAWN", NULL };
	g_autofree char *what = g_ascii_strdown(name, -1);

	if (g_strv_contains(names, name))
		take_verdict(opaque, data, cli_member_int(data, "offer"),
			     what + strlen("CAPACITY_"));
}

/* ---- before we were here ---- */

static void look_at_record(JsonObject *record, int64_t time_us, void *opaque)
{
	static const char *const verdicts[] = { "offer", "accept", "decline", "withdraw", NULL };
	const char *what = cli_member_text(record, "what");
	TagWait *wait = opaque;

	wait->audited_us = MAX(wait->audited_us, time_us);
	if (what && g_strv_contains(verdicts, what) &&
	    g_strcmp0(cli_member_text(record, "result"), "ok") == 0)
		take_verdict(wait, record, cli_member_int(record, "id"), what);
}

/*
 * An offer that was declined is in no list any more; the audit log knows it, if maybe a moment
 * later than those who were told. A pool without one (ephemeral) cannot tell.
 */
static bool look_back(CliClient *client, TagWait *wait)
{
	GError *error = NULL;

	if (!wait->audited_us)
		wait->audited_us = g_get_real_time() - G_TIME_SPAN_DAY;
	if (cli_read_audit(client->qmp, wait->audited_us, CLI_CALL_TIMEOUT_MS, look_at_record, wait,
			   &error))
		return true;
	if (error->domain != QMP_ERROR) {
		cli_client_fail(client, error);
		return false;
	}
	g_error_free(error);
	return true;
}

/* ---- now ---- */

static bool is_over(const TagWait *wait)
{
	switch (wait->wanted) {
	case STATE_OFFERED:
		return wait->offered_len || wait->accepted_len;
	case STATE_ACCEPTED:
		return wait->accepted_len && !wait->queued_len && !wait->offered_len;
	case STATE_DECLINED:
		return is_declined(&wait->verdict);
	default:
		return !wait->queued_len && !wait->offered_len && !wait->accepted_len &&
		       !wait->draining_len;
	}
}

/* Nothing of it is there, and what was offered has come to its end. */
static bool is_hopeless(const TagWait *wait)
{
	return (wait->wanted == STATE_OFFERED || wait->wanted == STATE_ACCEPTED) &&
	       (is_declined(&wait->verdict) || wait->verdict.withdrawn) && !wait->queued_len &&
	       !wait->offered_len && !wait->accepted_len;
}

static CliWaitResult look(CliClient *client, void *opaque)
{
	TagWait *wait = opaque;
	g_autoptr(JsonArray) extents = NULL;

	if (wait->wanted == STATE_DECLINED && !wait->verdict.declined && !look_back(client, wait))
		return CLI_WAIT_OVER;
	extents = cli_query_extents(client, wait->device, wait->tag);
	if (!extents)
		return CLI_WAIT_OVER;
	wait->queued_len = cli_bytes_in_state(extents, "queued");
	wait->offered_len = cli_bytes_in_state(extents, "offered");
	wait->accepted_len = cli_bytes_in_state(extents, "accepted");
	wait->draining_len = cli_bytes_in_state(extents, "draining");
	if (is_over(wait))
		return CLI_WAIT_OVER;
	if (!is_hopeless(wait))
		return CLI_WAIT_ON;
	cli_complain(client->args, "tag %s was %s in device %s", wait->tag,
		     wait->verdict.declined ? "declined" : "withdrawn", wait->device);
	client->exit = EXIT_REFUSED;
	return CLI_WAIT_OVER;
}

static char *describe(void *opaque)
{
	TagWait *wait = opaque;
	const char *state = wait->accepted_len   ? "accepted"
			    : wait->offered_len  ? "offered"
			    : wait->queued_len   ? "queued"
			    : wait->draining_len ? "draining"
						 : "not";

	return g_strdup_printf("tag %s is %s%s in device %s", wait->tag, state,
			       g_str_equal(state, "not") ? " there" : "", wait->device);
}

static const CliWaitOps wait_ops = {
	.look = look,
	.event = note_event,
	.waited_for = describe,
};

static void print_state(const CliArgs *args, const TagWait *wait)
{
	static const CliColumn columns[] = {
		{ "DEVICE", "device", CLI_COLUMN_TEXT },
		{ "TAG", "tag", CLI_COLUMN_TEXT },
		{ "STATE", "state", CLI_COLUMN_TEXT },
		{ "ACCEPTED", "accepted", CLI_COLUMN_BYTES },
		{ .title = NULL },
	};
	g_autoptr(JsonObject) object = json_object_new();

	json_object_set_string_member(object, "device", wait->device);
	json_object_set_string_member(object, "tag", wait->tag);
	json_object_set_string_member(object, "state", states[wait->wanted]);
	json_object_set_int_member(object, "accepted", (gint64)wait->accepted_len);
	cli_print_object(args, object, columns);
}

static ExitCode run(const CliArgs *args)
{
	TagWait wait = {
		.device = cli_text(args, "DEVICE"),
		.tag = cli_value(args, "TAG", 0)->tag_text,
		.wanted = cli_value(args, "STATE", 0)->number,
	};
	CliClient client;
	g_autoptr(JsonArray) devices = NULL;

	if (!cli_client_open(&client, args))
		return client.exit;
	devices = cli_client_list(&client, "query-devices", cli_request_id(wait.device));
	cli_client_set_deadline(&client);
	if (devices)
		cli_wait(&client, &wait_ops, &wait);
	if (client.exit == EXIT_DONE)
		print_state(args, &wait);
	cli_client_close(&client);
	return client.exit;
}

/* ---- the table ---- */

static const CliParam positionals[] = {
	{ .name = "DEVICE",
	  .type = CLI_NAME,
	  .required = true,
	  .source = CLI_FROM_DEVICES,
	  .help = "the device" },
	{ .name = "TAG",
	  .type = CLI_TAG,
	  .required = true,
	  .source = CLI_FROM_TAGS,
	  .help = "the tag, a UUID" },
	{ .name = "STATE",
	  .type = CLI_ENUM,
	  .values = states,
	  .required = true,
	  .help = "what it is to be" },
	{ .name = NULL },
};

static const CliParam options[] = {
	{ .name = "timeout", .type = CLI_DURATION, .help = "wait no longer than this" },
	{ .name = NULL },
};

static const CliExample examples[] = {
	{ "wait dev0 5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee accepted --timeout 5s",
	  "go on when the host has it" },
	{ .command = NULL },
};

static const char *const see_also[] = { "offer", "release", "events", NULL };

const CliVerb verb_wait = {
	.name = "wait",
	.run = run,
	.summary = "wait until a tag is offered, accepted, declined or released",
	.text = "Returns at once if the tag is in that state already, and else as soon as it is; "
		"no change between looking and waiting is missed.\n\n"
		"offered: an event record of it is in the host's log, or it is accepted already. "
		"accepted: the host has answered and holds at least a part. declined: the last "
		"thing that happened to it, in the last day, is that the host declined. released: "
		"nothing of it is queued, offered, accepted or draining.\n\n"
		"While waiting for offered or accepted, that it is declined or withdrawn ends the "
		"verb with 1.",
	.positionals = positionals,
	.options = options,
	.examples = examples,
	.see_also = see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
	.exits = 1 << EXIT_TIMED_OUT | 1 << EXIT_NO_OBJECT | 1 << EXIT_NO_DAEMON,
};
